package onnxrun_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"sampleonnx/onnxrun/internal/onnx"
)

func randomMatMul(r *rand.Rand) *randomNode {
	dtype := pick(r, onnx.Float, onnx.Float, onnx.Float, onnx.Float, onnx.Double, onnx.Float16, onnx.Int32)
	m, k, n := pick(r, 1, 1, 2, 3, 7, 16, 33), pick(r, 1, 2, 3, 8, 17, 40, 64), pick(r, 1, 1, 2, 5, 16, 31, 48)
	batch := extents(r, r.IntN(4), 1, 3)
	a, b := slices.Clone(batch), slices.Clone(batch)
	for d := range batch {
		switch r.IntN(4) {
		case 0:
			a[d] = 1
		case 1:
			b[d] = 1
		}
	}
	a, b = a[r.IntN(len(a)+1)*r.IntN(2):], b[r.IntN(len(b)+1)*r.IntN(2):]
	out := together(a, b)
	if one(r, 30) {
		k = 0
	}
	a, b = append(slices.Clone(a), m, k), append(slices.Clone(b), k, n)
	full := append(slices.Clone(out), m, n) // before the axes of vectors are taken away
	out = slices.Clone(full)
	vectorA, vectorB := one(r, 10), one(r, 10)
	if vectorB {
		b, n = []int{k}, 1
		full = append(slices.Clone(a[:len(a)-1]), 1)
		out = a[:len(a)-1]
	}
	if vectorA {
		a, m = []int{k}, 1
		if vectorB {
			full, out = []int{1, 1}, []int{}
		} else {
			full = append(append(slices.Clone(b[:len(b)-2]), 1), n)
			out = append(slices.Clone(b[:len(b)-2]), n)
		}
	}
	node := &randomNode{op: "MatMul", opset: pick(r, 9, 13, 17), attrs: map[string]any{}, in: []*array{normals(r, dtype, a...), normals(r, dtype, b...)},
		fixed: []bool{false, one(r, 2)}}
	node.want = func(in []*array) []*array {
		left, right := in[0], in[1]
		if vectorA {
			left = &array{dtype, []int{1, k}, in[0].data}
		}
		if vectorB {
			right = &array{dtype, []int{k, 1}, in[1].data}
		}
		y := made(dtype, full, func(idx []int) float64 {
			sum := 0.0
			l, c := slices.Clone(idx), slices.Clone(idx)
			for i := range k {
				l[len(l)-1], c[len(c)-2] = i, i
				sum += left.broadcast(l) * right.broadcast(c)
			}
			return sum
		})
		y.shape = out
		return []*array{y}
	}
	return node
}

func randomGemm(r *rand.Rand) *randomNode {
	dtype := pick(r, onnx.Float, onnx.Float, onnx.Float, onnx.Double, onnx.Float16)
	m, k, n := pick(r, 0, 1, 2, 3, 7, 16, 33, 70), pick(r, 1, 2, 3, 8, 17, 40, 64), pick(r, 1, 2, 5, 16, 31, 48)
	attrs := map[string]any{}
	alpha, beta := 1.0, 1.0
	if one(r, 2) {
		alpha, beta = 0.5, pick(r, 0.25, 2, 0)
		attrs["alpha"], attrs["beta"] = float32(alpha), float32(beta)
	}
	a, b := []int{m, k}, []int{k, n}
	transA, transB := one(r, 2), one(r, 2)
	if transA {
		attrs["transA"], a = 1, []int{k, m}
	}
	if transB {
		attrs["transB"], b = 1, []int{n, k}
	}
	node := &randomNode{op: "Gemm", opset: pick(r, 7, 9, 11, 13), attrs: attrs, in: []*array{normals(r, dtype, a...), normals(r, dtype, b...)},
		fixed: []bool{false, !one(r, 4), !one(r, 4)}}
	if node.opset < 11 || !one(r, 3) {
		c := pick(r, []int{m, n}, []int{n}, []int{1, n}, []int{m, 1}, []int{1}, []int{})
		node.in = append(node.in, normals(r, dtype, c...))
	}
	node.want = func(in []*array) []*array {
		return []*array{made(dtype, []int{m, n}, func(idx []int) float64 {
			sum := 0.0
			for i := range k {
				l, c := []int{idx[0], i}, []int{i, idx[1]}
				if transA {
					slices.Reverse(l)
				}
				if transB {
					slices.Reverse(c)
				}
				sum += in[0].at(l) * in[1].at(c)
			}
			sum *= alpha
			if len(in) > 2 {
				sum += beta * in[2].broadcast(idx)
			}
			return sum
		})}
	}
	return node
}

func randomEinsum(r *rand.Rand) *randomNode {
	dtype := pick(r, onnx.Float, onnx.Float, onnx.Float, onnx.Double)
	letters := "abcdxyIZ"
	length := map[byte]int{}
	for i := range letters {
		length[letters[i]] = 1 + r.IntN(5)
	}
	batch := extents(r, r.IntN(3), 1, 3) // what "..." stands for
	dots := one(r, 4)
	var terms []string
	node := &randomNode{op: "Einsum", opset: pick(r, 12, 13), attrs: map[string]any{}, fixed: []bool{false, one(r, 2), one(r, 2)}}
	used := ""
	out := []int{} // what "..." comes to
	for range 1 + r.IntN(3) {
		var term string
		for range r.IntN(4) {
			l := letters[r.IntN(5)]
			if one(r, 6) {
				l = letters[5+r.IntN(3)]
			}
			if strings.IndexByte(term, l) >= 0 && !one(r, 3) { // else a diagonal
				continue
			}
			term += string(l)
		}
		shape := []int{}
		split := len(term)
		hasDots := dots && (len(terms) == 0 || !one(r, 3))
		if hasDots {
			split = r.IntN(len(term) + 1)
		}
		for i := range split {
			shape = append(shape, length[term[i]])
		}
		if hasDots {
			part := slices.Clone(batch[r.IntN(len(batch)+1)*r.IntN(2):])
			for d := range part {
				if one(r, 4) {
					part[d] = 1
				}
			}
			for len(out) < len(part) {
				out = append([]int{1}, out...)
			}
			for d, n := range part {
				if n != 1 {
					out[len(out)-len(part)+d] = n
				}
			}
			shape = append(shape, part...)
			for i := split; i < len(term); i++ {
				shape = append(shape, length[term[i]])
			}
			term = term[:split] + "..." + term[split:]
		}
		used += strings.ReplaceAll(term, "...", "")
		terms = append(terms, term)
		node.in = append(node.in, normals(r, dtype, shape...))
	}
	// The letters of the result: those that occur once, sorted, or as is asked for.
	var all, once []byte
	for i := range used {
		if strings.IndexByte(used, used[i]) == i {
			all = append(all, used[i])
		}
		if strings.Count(used, used[i:i+1]) == 1 {
			once = append(once, used[i])
		}
	}
	slices.Sort(once)
	equation := strings.Join(terms, ",")
	result := once
	front := true
	if !one(r, 3) {
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		result = all[:r.IntN(len(all)+1)]
		front = one(r, 2)
		text := string(result)
		if dots {
			if front {
				text = "..." + text
			} else {
				text += "..."
			}
		}
		equation += "->" + text
	}
	if one(r, 4) {
		equation = strings.NewReplacer(",", " , ", "->", " -> ").Replace(equation)
	}
	node.attrs["equation"] = equation
	total := elements(out)
	for _, l := range used {
		if strings.IndexRune(used, l) >= 0 {
			total = max(total, 1)
		}
	}
	var sums []byte // letters of no result
	for i := range used {
		if strings.IndexByte(used, used[i]) == i && slices.Index(result, used[i]) < 0 {
			sums = append(sums, used[i])
		}
	}
	shape := []int{}
	for _, l := range result {
		shape = append(shape, length[l])
		total *= length[l]
	}
	if front {
		shape = slices.Concat(out, shape)
	} else {
		shape = append(shape, out...)
	}
	over := make([]int, len(sums))
	for i, l := range sums {
		over[i] = length[l]
		total *= length[l]
	}
	if total > 30000 {
		return nil
	}
	node.want = func(in []*array) []*array {
		return []*array{made(dtype, shape, func(idx []int) float64 {
			place := map[byte]int{}
			dotted, named := idx[len(idx)-len(out):], idx
			if front {
				dotted, named = idx[:len(out)], idx[len(out):]
			}
			for i, l := range result {
				place[l] = named[i]
			}
			sum := 0.0
			each(over, func(k []int) {
				for i, l := range sums {
					place[l] = k[i]
				}
				product := 1.0
				for i, term := range terms {
					a := in[i]
					skip := len(a.shape) - len(strings.ReplaceAll(term, "...", "")) // axes of "..."
					at := []int{}
					for j := 0; j < len(term); j++ {
						if term[j] != '.' {
							at = append(at, place[term[j]])
							continue
						}
						for d := range skip {
							v := dotted[len(dotted)-skip+d]
							if a.shape[len(at)] == 1 {
								v = 0
							}
							at = append(at, v)
						}
						j += 2
					}
					product *= a.at(at)
				}
				sum += product
			})
			return sum
		})}
	}
	return node
}

// randomAttention draws Attention as opset 23 and 24 have it.
func randomAttention(r *rand.Rand) *randomNode {
	dtype := pick(r, onnx.Float, onnx.Float, onnx.Float, onnx.Double)
	opset := pick(r, 23, 24)
	batch, kvHeads := 1+r.IntN(2), 1+r.IntN(3)
	heads := kvHeads * (1 + r.IntN(3))
	queries, keys, past := pick(r, 1, 2, 5, 17, 40), pick(r, 1, 2, 5, 17, 40), 0
	width, valueWidth := pick(r, 1, 2, 8, 15, 16, 32), pick(r, 1, 3, 8, 16, 17)
	attrs := map[string]any{}
	flat := one(r, 2)
	tensor := func(heads, length, width int) *array {
		if flat {
			return normals(r, dtype, batch, length, heads*width)
		}
		return normals(r, dtype, batch, heads, length, width)
	}
	if flat {
		attrs["q_num_heads"], attrs["kv_num_heads"] = heads, kvHeads
	}
	node := &randomNode{op: "Attention", opset: opset, attrs: attrs, outs: 1, noPre: true, fixed: []bool{},
		in: []*array{tensor(heads, queries, width), tensor(kvHeads, keys, width), tensor(kvHeads, keys, valueWidth), nil, nil, nil}}
	withPast := one(r, 3)
	if withPast {
		past = 1 + r.IntN(6)
		node.in[4], node.in[5] = normals(r, dtype, batch, kvHeads, past, width), normals(r, dtype, batch, kvHeads, past, valueWidth)
		node.outs = 3
	}
	total := past + keys
	scale := 1 / math.Sqrt(float64(width))
	if one(r, 4) {
		attrs["scale"], scale = float32(0.25), 0.25
	}
	softcap := 0.0
	if one(r, 4) {
		attrs["softcap"], softcap = float32(2), 2
	}
	causal := one(r, 3)
	if causal {
		attrs["is_causal"] = 1
	}
	var mask *array
	if one(r, 2) && !(causal && opset == 23) {
		shape := [][]int{{queries, total}, {1, total}, {heads, queries, total}, {batch, 1, queries, total}, {batch, heads, queries, total}}[r.IntN(5)]
		if mask = normals(r, dtype, shape...); one(r, 2) {
			mask.dtype = onnx.Bool
			for i := range mask.data {
				mask.data[i] = 0
				if i%total == 0 || one(r, 2) { // the first key can always be seen
					mask.data[i] = 1
				}
			}
		}
		node.in[3] = mask
	}
	mode := 0
	if one(r, 3) {
		if node.outs = 4; one(r, 2) {
			mode = r.IntN(4)
			attrs["qk_matmul_output_mode"] = mode
		}
		if mask != nil && mask.dtype == onnx.Bool || causal || opset == 24 && mode > 0 || softcap != 0 {
			mode = pick(r, 0, 3) // between, hidden keys have no agreed score
			attrs["qk_matmul_output_mode"] = mode
		}
	}
	if softcap != 0 && mask != nil && mask.dtype != onnx.Bool { // which comes first was decided late
		return nil
	}
	for len(node.in) > 3 && node.in[len(node.in)-1] == nil {
		node.in = node.in[:len(node.in)-1]
	}
	node.want = func(in []*array) []*array {
		// element of a query, key or value given with heads in an axis of their own or not
		elem := func(a *array, b, h, i, w, width int) float64 {
			if flat {
				return a.at([]int{b, i, h*width + w})
			}
			return a.at([]int{b, h, i, w})
		}
		joined := func(past, a *array, before, width int) *array {
			return made(dtype, []int{batch, kvHeads, total, width}, func(x []int) float64 {
				if x[2] < before {
					return past.at(x)
				}
				return elem(a, x[0], x[1], x[2]-before, x[3], width)
			})
		}
		var pastK, pastV *array
		if withPast {
			pastK, pastV = in[4], in[5]
		}
		k, v := joined(pastK, in[1], past, width), joined(pastV, in[2], past, valueWidth)
		raw := made(dtype, []int{batch, heads, queries, total}, func(x []int) float64 {
			sum := 0.0
			for w := range width {
				sum += elem(in[0], x[0], x[1], x[2], w, width) * k.at([]int{x[0], x[1] / (heads / kvHeads), x[3], w})
			}
			return sum * scale
		})
		masked := made(dtype, raw.shape, func(x []int) float64 {
			s := raw.at(x)
			if mask != nil {
				m := mask.broadcast(x)
				if mask.dtype == onnx.Bool && m == 0 {
					return math.Inf(-1)
				} else if mask.dtype != onnx.Bool {
					s += m
				}
			}
			return s
		})
		capped := made(dtype, raw.shape, func(x []int) float64 {
			s := masked.at(x)
			if softcap != 0 && !math.IsInf(s, -1) {
				s = softcap * math.Tanh(s/softcap)
			}
			if causal && x[3] > x[2]+past {
				return math.Inf(-1)
			}
			return s
		})
		weights := made(dtype, raw.shape, func(x []int) float64 { return softmaxOf(along(capped, x, 3), x[3]) })
		y := made(dtype, []int{batch, heads, queries, valueWidth}, func(x []int) float64 {
			sum := 0.0
			for j, w := range along(weights, []int{x[0], x[1], x[2], 0}, 3) {
				sum += w * v.at([]int{x[0], x[1] / (heads / kvHeads), j, x[3]})
			}
			return sum
		})
		if flat {
			byHead := y
			y = made(dtype, []int{batch, queries, heads * valueWidth}, func(x []int) float64 {
				return byHead.at([]int{x[0], x[2] / valueWidth, x[1], x[2] % valueWidth})
			})
		}
		return []*array{y, k, v, []*array{raw, masked, capped, weights}[mode]}[:node.outs]
	}
	return node
}

// softmaxOf is element i of the softmax of x.
func softmaxOf(x []float64, i int) float64 {
	most, sum := slices.Max(x), 0.0
	for _, v := range x {
		sum += math.Exp(v - most)
	}
	return math.Exp(x[i]-most) / sum
}
