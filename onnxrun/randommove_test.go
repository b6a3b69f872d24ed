package onnxrun_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"sampleonnx/onnxrun/internal/onnx"
)

// anyType is a type of what is only moved.
func anyType(r *rand.Rand) onnx.DType {
	return pick(r, onnx.Float, onnx.Float, onnx.Float, onnx.Float, onnx.Double, onnx.Float16, onnx.Int32, onnx.Int64, onnx.Uint8)
}

// shapeOf is a shape of any rank, at times with an axis of nothing.
func shapeOf(r *rand.Rand, least, most int) []int {
	shape := extents(r, least+r.IntN(most-least+1), 1, pick(r, 4, 7, 20))
	for elements(shape) > 20000 {
		for d := range shape {
			shape[d] = (shape[d] + 1) / 2
		}
	}
	if len(shape) > 0 && one(r, 25) {
		shape[r.IntN(len(shape))] = 0
	}
	return shape
}

// axisOf is an axis, and how it may be written.
func axisOf(r *rand.Rand, rank int) (axis, written int) {
	axis = r.IntN(rank)
	return axis, axis - pick(r, 0, rank)
}

func randomPad(r *rand.Rand) *randomNode {
	opset := pick(r, 2, 11, 13, 18, 19, 21)
	mode := pick(r, "constant", "constant", "reflect", "edge", "wrap")
	if mode == "wrap" && opset < 19 {
		return nil
	}
	dtype := anyType(r)
	if opset == 2 {
		dtype = floatType(r)
	}
	shape := shapeOf(r, 1, 5)
	rank := len(shape)
	before, after := make([]int, rank), make([]int, rank)
	crops := one(r, 3)
	axes := r.Perm(rank)
	axes = axes[:1+r.IntN(rank)]
	listed := opset >= 18 && one(r, 2)
	for _, d := range axes {
		lo, hi := 0, 4
		if crops {
			lo = -2
		}
		before[d], after[d] = lo+r.IntN(hi-lo), lo+r.IntN(hi-lo)
		// What is left after cutting must still be there to be repeated.
		left := shape[d] + min(0, before[d]) + min(0, after[d])
		switch {
		case left < 0, left == 0 && (mode != "constant"):
			return nil
		case mode == "reflect" && (before[d] >= left || after[d] >= left) && max(before[d], after[d]) > 0:
			return nil
		case mode == "wrap" && (before[d] > left || after[d] > left):
			return nil
		}
	}
	attrs := map[string]any{}
	if mode != "constant" || one(r, 2) {
		attrs["mode"] = mode
	}
	pads := slices.Concat(before, after)
	fill := 0.0
	node := &randomNode{op: "Pad", opset: opset, attrs: attrs, in: []*array{normals(r, dtype, shape...)}}
	if mode == "constant" && one(r, 2) {
		fill = 3
	}
	if opset == 2 {
		attrs["pads"] = pads
		if fill != 0 {
			attrs["value"] = float32(fill)
		}
	} else {
		value := (*array)(nil)
		if fill != 0 {
			value = newArray(dtype)
			value.data[0] = fill
		}
		node.in = append(node.in, int64s(pads...), value)
		node.fixed = []bool{false, true, one(r, 2)}
		if listed {
			pads = nil
			written := slices.Clone(axes)
			for i, d := range axes {
				pads = append(pads, before[d])
				written[i] -= pick(r, 0, rank)
			}
			for _, d := range axes {
				pads = append(pads, after[d])
			}
			node.in[1] = int64s(pads...)
			node.in = append(node.in, int64s(written...))
			node.fixed = append(node.fixed, true)
		}
	}
	out := make([]int, rank)
	for d := range out {
		out[d] = shape[d] + before[d] + after[d]
	}
	node.want = func(in []*array) []*array {
		at := make([]int, rank)
		return []*array{made(dtype, out, func(idx []int) float64 {
			for d, i := range idx {
				// What is cut is cut first: lo and n are what is left of the axis.
				lo := max(0, -before[d])
				n := shape[d] - lo - max(0, -after[d])
				i -= max(0, before[d])
				if i < 0 || i >= n {
					switch mode {
					case "constant":
						return fill
					case "edge":
						i = min(max(i, 0), n-1)
					case "wrap":
						i = (i%n + n) % n
					case "reflect":
						if i < 0 {
							i = -i
						} else {
							i = 2*(n-1) - i
						}
					}
				}
				at[d] = lo + i
			}
			return in[0].at(at)
		})}
	}
	return node
}

func randomSlice(r *rand.Rand) *randomNode {
	opset := pick(r, 1, 10, 11, 13)
	dtype := anyType(r)
	shape := shapeOf(r, 1, 5)
	axes := r.Perm(len(shape))[:1+r.IntN(len(shape))]
	if one(r, 3) {
		slices.Sort(axes)
	}
	var starts, ends, steps, written []int
	first, step := make([]int, len(shape)), ones(len(shape))
	out := slices.Clone(shape)
	for _, d := range axes {
		n := shape[d]
		s, e, st := r.IntN(2*n+5)-n-2, r.IntN(2*n+5)-n-2, 1
		if one(r, 6) {
			e = pick(r, math.MaxInt/2, 1<<31-1)
		}
		if opset >= 10 && one(r, 2) {
			st = pick(r, 1, 2, 3, -1, -1, -2, 7)
			if st < 0 && one(r, 3) {
				s, e = pick(r, -1, n, math.MaxInt/2), pick(r, math.MinInt/2, -n-1)
			}
		}
		starts, ends, steps, written = append(starts, s), append(ends, e), append(steps, st), append(written, d-pick(r, 0, len(shape)))
		if opset == 1 {
			written[len(written)-1] = d
		}
		// Negative places count from the end; then they are brought into the axis.
		if s < 0 {
			s += n
		}
		if e < 0 {
			e += n
		}
		if st > 0 {
			s, e = min(max(s, 0), n), min(max(e, 0), n)
			out[d] = max(0, (e-s+st-1)/st)
		} else {
			s, e = min(max(s, 0), n-1), min(max(e, -1), n-1)
			out[d] = max(0, (s-e-st-1)/-st)
		}
		first[d], step[d] = s, st
	}
	node := &randomNode{op: "Slice", opset: opset, attrs: map[string]any{}, in: []*array{normals(r, dtype, shape...)}}
	all := len(axes) == len(shape) && slices.IsSorted(axes) && one(r, 2)
	if opset == 1 {
		for i := range ends { // an attribute may be checked against 32 bits
			ends[i] = min(ends[i], 1<<31-1)
		}
		node.attrs["starts"], node.attrs["ends"] = starts, ends
		if !all {
			node.attrs["axes"] = written
		}
	} else {
		node.in = append(node.in, int64s(starts...), int64s(ends...), int64s(written...), int64s(steps...))
		if all {
			node.in[3] = nil
		}
		if slices.Equal(steps, ones(len(steps))) && one(r, 2) {
			node.in = node.in[:4]
		}
	}
	node.want = func(in []*array) []*array {
		at := make([]int, len(shape))
		return []*array{made(dtype, out, func(idx []int) float64 {
			for d, i := range idx {
				at[d] = first[d] + i*step[d]
			}
			return in[0].at(at)
		})}
	}
	return node
}

func randomConcat(r *rand.Rand) *randomNode {
	dtype := anyType(r)
	shape := shapeOf(r, 1, 5)
	axis, written := axisOf(r, len(shape))
	opset := pick(r, 4, 11, 13)
	if opset == 4 {
		written = axis
	}
	node := &randomNode{op: "Concat", opset: opset, attrs: map[string]any{"axis": written}}
	total := 0
	for range 1 + r.IntN(5) {
		part := slices.Clone(shape)
		part[axis] = r.IntN(8)
		if len(node.in) == 0 {
			part[axis]++
		}
		total += part[axis]
		node.in = append(node.in, normals(r, dtype, part...))
		node.fixed = append(node.fixed, len(node.fixed) > 0 && one(r, 4))
	}
	node.want = func(in []*array) []*array {
		out := slices.Clone(shape)
		out[axis] = total
		return []*array{made(dtype, out, func(idx []int) float64 {
			at := slices.Clone(idx)
			for _, a := range in {
				if at[axis] < a.shape[axis] {
					return a.at(at)
				}
				at[axis] -= a.shape[axis]
			}
			panic("beyond the end")
		})}
	}
	return node
}

func randomSplit(r *rand.Rand) *randomNode {
	dtype := anyType(r)
	shape := shapeOf(r, 1, 5)
	axis, written := axisOf(r, len(shape))
	opset := pick(r, 2, 11, 13, 18)
	if opset == 2 {
		written = axis
	}
	attrs := map[string]any{"axis": written}
	n := 1 + r.IntN(4)
	parts := make([]int, n)
	node := &randomNode{op: "Split", opset: opset, attrs: attrs, outs: n}
	if one(r, 2) {
		for i := range parts {
			parts[i] = (shape[axis] + n - 1) / n
			parts[i] = max(0, min(parts[i], shape[axis]-i*parts[i]))
		}
		switch {
		case opset < 18 && shape[axis]%n != 0 || shape[axis] < n*(n-1):
			return nil // only opset 18 lets the last be smaller
		case opset == 18:
			attrs["num_outputs"] = n
		}
		node.in = []*array{normals(r, dtype, shape...)}
	} else {
		shape[axis] = 0
		for i := range parts {
			parts[i] = r.IntN(6)
			shape[axis] += parts[i]
		}
		node.in = []*array{normals(r, dtype, shape...)}
		if opset >= 13 {
			node.in = append(node.in, int64s(parts...))
		} else {
			attrs["split"] = parts
		}
	}
	node.want = func(in []*array) []*array {
		var list []*array
		start := 0
		for _, p := range parts {
			out := slices.Clone(shape)
			out[axis] = p
			list = append(list, made(dtype, out, func(idx []int) float64 {
				at := slices.Clone(idx)
				at[axis] += start
				return in[0].at(at)
			}))
			start += p
		}
		return list
	}
	return node
}

func randomTranspose(r *rand.Rand) *randomNode {
	dtype := anyType(r)
	shape := shapeOf(r, 0, 6)
	perm := r.Perm(len(shape))
	node := &randomNode{op: "Transpose", opset: pick(r, 1, 13, 21), attrs: map[string]any{}, in: []*array{normals(r, dtype, shape...)}}
	if one(r, 4) || len(shape) == 0 {
		for i := range perm {
			perm[i] = len(perm) - 1 - i
		}
	} else {
		node.attrs["perm"] = perm
	}
	node.want = func(in []*array) []*array {
		out := make([]int, len(shape))
		for i, p := range perm {
			out[i] = shape[p]
		}
		at := make([]int, len(shape))
		return []*array{made(dtype, out, func(idx []int) float64 {
			for i, p := range perm {
				at[p] = idx[i]
			}
			return in[0].at(at)
		})}
	}
	return node
}

// randomGather draws Gather and GatherElements, with negative indices as well.
func randomGather(r *rand.Rand) *randomNode {
	dtype := anyType(r)
	shape := shapeOf(r, 1, 4)
	axis, written := axisOf(r, len(shape))
	if shape[axis] == 0 {
		return nil
	}
	opset := pick(r, 11, 13)
	node := &randomNode{op: pick(r, "Gather", "GatherElements"), opset: opset, attrs: map[string]any{"axis": written}, fixed: []bool{false, one(r, 2)}}
	of := shapeOf(r, 0, 3)
	if node.op == "GatherElements" {
		of = slices.Clone(shape)
		for d := range of {
			if d == axis {
				of[d] = r.IntN(9)
			} else if of[d] > 1 {
				of[d] -= r.IntN(2)
			}
		}
	}
	if elements(of)*elements(shape) > 100000 {
		return nil
	}
	indices := made(pick(r, onnx.Int64, onnx.Int32), of, func([]int) float64 { return float64(r.IntN(2*shape[axis]) - shape[axis]) })
	node.in = []*array{normals(r, dtype, shape...), indices}
	node.want = func(in []*array) []*array {
		index := func(v float64) int { return (int(v) + shape[axis]) % shape[axis] }
		if node.op == "GatherElements" {
			return []*array{made(dtype, of, func(idx []int) float64 {
				at := slices.Clone(idx)
				at[axis] = index(in[1].at(idx))
				return in[0].at(at)
			})}
		}
		out := slices.Concat(shape[:axis], of, shape[axis+1:])
		return []*array{made(dtype, out, func(idx []int) float64 {
			at := slices.Concat(idx[:axis], []int{index(in[1].at(idx[axis : axis+len(of)]))}, idx[axis+len(of):])
			return in[0].at(at)
		})}
	}
	return node
}

// randomExpand draws Expand and Tile.
func randomExpand(r *rand.Rand) *randomNode {
	dtype := anyType(r)
	shape := extents(r, 1+r.IntN(4), 1, 5)
	node := &randomNode{op: "Tile", opset: pick(r, 8, 13), attrs: map[string]any{}}
	out := slices.Clone(shape)
	given := make([]int, len(shape))
	if one(r, 2) {
		node.op = "Expand"
		for d := range shape {
			given[d] = pick(r, 1, shape[d])
			if one(r, 2) {
				shape[d], given[d] = 1, r.IntN(6)
			}
			out[d] = max(shape[d], given[d])
			if given[d] == 0 {
				out[d] = 0
			}
		}
		switch {
		case one(r, 3): // more axes than there are
			given, out = append([]int{2}, given...), append([]int{2}, out...)
		case given[0] == 1 && one(r, 2):
			given = given[1:]
		}
	} else {
		for d := range shape {
			given[d] = r.IntN(4)
			out[d] *= given[d]
		}
	}
	node.in = []*array{normals(r, dtype, shape...), int64s(given...)}
	node.want = func(in []*array) []*array {
		at := make([]int, len(shape))
		return []*array{made(dtype, out, func(idx []int) float64 {
			for d := range at {
				at[d] = idx[len(idx)-len(at)+d] % shape[d]
			}
			return in[0].at(at)
		})}
	}
	return node
}

// randomDepthToSpace draws DepthToSpace and SpaceToDepth.
func randomDepthToSpace(r *rand.Rand) *randomNode {
	dtype := pick(r, onnx.Float, onnx.Float, onnx.Double)
	b, c, h, w := 1+r.IntN(3), pick(r, 1, 2, 3, 5, 8, 16), 1+r.IntN(5), 1+r.IntN(5)
	n := r.IntN(3)
	node := &randomNode{op: "SpaceToDepth", opset: pick(r, 1, 13), attrs: map[string]any{"blocksize": b}}
	deep, wide := []int{n, c * b * b, h, w}, []int{n, c, h * b, w * b}
	if one(r, 2) {
		node.in = []*array{normals(r, dtype, wide...)}
		node.want = func(in []*array) []*array {
			return []*array{made(dtype, deep, func(i []int) float64 {
				block := i[1] / c
				return in[0].at([]int{i[0], i[1] % c, i[2]*b + block/b, i[3]*b + block%b})
			})}
		}
		return node
	}
	node.op, node.in = "DepthToSpace", []*array{normals(r, dtype, deep...)}
	columns := false
	if node.opset = pick(r, 1, 11, 13); node.opset > 1 && one(r, 2) {
		node.attrs["mode"], columns = "CRD", true
	}
	node.want = func(in []*array) []*array {
		return []*array{made(dtype, wide, func(i []int) float64 {
			block := i[2]%b*b + i[3]%b
			ch := block*c + i[1]
			if columns {
				ch = i[1]*b*b + block
			}
			return in[0].at([]int{i[0], ch, i[2] / b, i[3] / b})
		})}
	}
	return node
}

// randomBinary draws the element-wise operators of two operands, broadcast.
func randomBinary(r *rand.Rand) *randomNode {
	op := pick(r, "Add", "Sub", "Mul", "Div", "Max", "Min", "PRelu", "Greater", "Where", "Equal")
	dtype := pick(r, onnx.Float, onnx.Float, onnx.Float, onnx.Double, onnx.Int32, onnx.Int64)
	if op == "PRelu" && dtype != onnx.Double {
		dtype = onnx.Float
	}
	out := shapeOf(r, 1, 5)
	operand := func() []int {
		s := slices.Clone(out)
		for d := range s {
			if one(r, 4) {
				s[d] = 1
			}
		}
		return s[r.IntN(len(s)+1)*r.IntN(2):]
	}
	shapes := [][]int{operand(), operand()}
	if op == "PRelu" {
		shapes[0] = out
	}
	node := &randomNode{op: op, opset: pick(r, 9, 13, 14, 16), attrs: map[string]any{}, fixed: []bool{false, one(r, 3), one(r, 3)}, noPre: true}
	if op == "Where" {
		c := normals(r, onnx.Bool, operand()...)
		for i := range c.data {
			c.data[i] = float64(r.IntN(2))
		}
		node.in = append(node.in, c)
		shapes = append([][]int{c.shape}, shapes...)
	}
	if strings.Contains("Max Min", op) && (dtype == onnx.Int32 || dtype == onnx.Int64) {
		node.opset = 13
	}
	for _, s := range shapes[len(node.in):] {
		a := normals(r, dtype, s...)
		if op == "Div" {
			for i, v := range a.data {
				if v == 0 {
					a.data[i] = 1
				}
			}
		}
		node.in = append(node.in, a)
	}
	shape := together(shapes...)
	result := dtype
	if op == "Greater" || op == "Equal" {
		result = onnx.Bool
	}
	node.want = func(in []*array) []*array {
		return []*array{made(result, shape, func(idx []int) float64 {
			a, b := in[0].broadcast(idx), in[1].broadcast(idx)
			truth := map[bool]float64{true: 1}
			switch op {
			case "Add":
				return a + b
			case "Sub":
				return a - b
			case "Mul":
				return a * b
			case "Div":
				if dtype == onnx.Int32 || dtype == onnx.Int64 {
					return float64(int(a) / int(b))
				}
				return a / b
			case "Max":
				return max(a, b)
			case "Min":
				return min(a, b)
			case "PRelu":
				if a < 0 {
					return a * b
				}
				return a
			case "Greater":
				return truth[a > b]
			case "Equal":
				return truth[a == b]
			}
			if a != 0 {
				return b
			}
			return in[2].broadcast(idx)
		})}
	}
	return node
}
