package onnxrun_test

import (
	"math"
	"math/rand/v2"
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
)

// reductions are the operators by what they make of numbers.
var reductions = []struct {
	op string
	of func(x []float64) float64
}{
	{"ReduceSum", sum},
	{"ReduceMean", func(x []float64) float64 { return sum(x) / float64(len(x)) }},
	{"ReduceProd", func(x []float64) float64 {
		p := 1.0
		for _, v := range x {
			p *= v
		}
		return p
	}},
	{"ReduceMax", func(x []float64) float64 { return slices.Max(append([]float64{math.Inf(-1)}, x...)) }},
	{"ReduceMin", func(x []float64) float64 { return slices.Min(append([]float64{math.Inf(1)}, x...)) }},
	{"ReduceL1", func(x []float64) float64 { return sum(each1(x, math.Abs)) }},
	{"ReduceL2", func(x []float64) float64 { return math.Sqrt(sum(each1(x, square))) }},
	{"ReduceSumSquare", func(x []float64) float64 { return sum(each1(x, square)) }},
	{"ReduceLogSum", func(x []float64) float64 { return math.Log(sum(x)) }},
	{"ReduceLogSumExp", func(x []float64) float64 { return math.Log(sum(each1(x, math.Exp))) }},
}

func sum(x []float64) float64 {
	s := 0.0
	for _, v := range x {
		s += v
	}
	return s
}

func square(x float64) float64 { return x * x }

func each1(x []float64, f func(float64) float64) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = f(v)
	}
	return out
}

func randomReduce(r *rand.Rand) *randomNode {
	kind := reductions[r.IntN(len(reductions))]
	dtype := pick(r, onnx.Float, onnx.Float, onnx.Float, onnx.Double, onnx.Float16, onnx.Int32, onnx.Int64)
	whole := dtype == onnx.Int32 || dtype == onnx.Int64
	if whole && !slices.Contains([]string{"ReduceSum", "ReduceMax", "ReduceMin", "ReduceSumSquare", "ReduceL1"}, kind.op) {
		dtype, whole = onnx.Float, false
	}
	shape := shapeOf(r, 1, 5)
	node := &randomNode{op: kind.op, opset: pick(r, 1, 11, 13, 18, 20), attrs: map[string]any{}}
	x := normals(r, dtype, shape...)
	if kind.op == "ReduceLogSum" {
		node.noPre = true
		x = positive(x)
	}
	node.in = []*array{x}
	axes := r.Perm(len(shape))[:1+r.IntN(len(shape))]
	keep := 1
	if one(r, 2) {
		keep = r.IntN(2)
		node.attrs["keepdims"] = keep
	}
	byInput := node.opset >= 18 || node.opset == 13 && kind.op == "ReduceSum"
	written := slices.Clone(axes)
	if node.opset >= 11 {
		for i := range written {
			written[i] -= pick(r, 0, len(shape))
		}
	}
	switch {
	case one(r, 4): // over all axes, or over none
		axes = nil
		for d := range shape {
			axes = append(axes, d)
		}
		if byInput && one(r, 3) {
			node.attrs["noop_with_empty_axes"] = 1
			if one(r, 2) {
				node.in = append(node.in, int64s())
			}
			axes = nil
		}
	case byInput:
		node.in = append(node.in, int64s(written...))
	default:
		node.attrs["axes"] = written
	}
	slices.Sort(axes)
	empty := elements(shape) == 0
	if empty && (node.opset < 18 || kind.op == "ReduceMean" || whole && (kind.op == "ReduceMax" || kind.op == "ReduceMin")) {
		return nil // has no value
	}
	if axes == nil && kind.op != "ReduceSum" && kind.op != "ReduceMax" && kind.op != "ReduceMin" && kind.op != "ReduceMean" && kind.op != "ReduceProd" {
		return nil // whether the function is applied without axes is not agreed on
	}
	var out []int
	for d, n := range shape {
		switch {
		case !slices.Contains(axes, d):
			out = append(out, n)
		case keep == 1:
			out = append(out, 1)
		}
	}
	node.want = func(in []*array) []*array {
		at := make([]int, len(shape))
		return []*array{made(dtype, out, func(idx []int) float64 {
			i := 0
			for d := range shape {
				at[d] = 0
				if !slices.Contains(axes, d) {
					at[d] = idx[i]
					i++
				} else if keep == 1 {
					i++
				}
			}
			return kind.of(gathered(in[0], at, axes))
		})}
	}
	return node
}

// randomArg draws ArgMax and ArgMin.
func randomArg(r *rand.Rand) *randomNode {
	dtype := pick(r, onnx.Float, onnx.Float, onnx.Double, onnx.Int32)
	shape := shapeOf(r, 1, 4)
	if elements(shape) == 0 {
		return nil
	}
	x := normals(r, dtype, shape...)
	for i := range x.data { // with ties
		x.data[i] = math.Round(2 * x.data[i])
	}
	axis, written := axisOf(r, len(shape))
	node := &randomNode{op: pick(r, "ArgMax", "ArgMin"), opset: pick(r, 11, 12, 13), attrs: map[string]any{"axis": written}, in: []*array{x}, noPre: true}
	if axis == 0 && one(r, 2) {
		delete(node.attrs, "axis")
	}
	last := node.opset >= 12 && one(r, 2)
	if last {
		node.attrs["select_last_index"] = 1
	}
	out := slices.Clone(shape)
	out[axis] = 1
	final := out
	if one(r, 2) {
		node.attrs["keepdims"] = 0
		final = slices.Concat(shape[:axis], shape[axis+1:])
	}
	node.want = func(in []*array) []*array {
		y := made(onnx.Int64, out, func(idx []int) float64 {
			best := 0
			list := along(in[0], idx, axis)
			for i, v := range list {
				if node.op == "ArgMin" {
					v = -v
				}
				most := list[best]
				if node.op == "ArgMin" {
					most = -most
				}
				if v > most || last && v == most {
					best = i
				}
			}
			return float64(best)
		})
		y.shape = final
		return []*array{y}
	}
	return node
}

// randomSoftmax draws Softmax and LogSoftmax, which before opset 13 took all axes
// from the given one together.
func randomSoftmax(r *rand.Rand) *randomNode {
	dtype := pick(r, onnx.Float, onnx.Float, onnx.Float, onnx.Double, onnx.Float16)
	shape := shapeOf(r, 1, 4)
	node := &randomNode{op: pick(r, "Softmax", "LogSoftmax"), opset: pick(r, 1, 11, 13, 17), attrs: map[string]any{}, in: []*array{normals(r, dtype, shape...)}}
	axis := len(shape) - 1
	if node.opset < 13 {
		axis = 1
	}
	if axis >= len(shape) || one(r, 2) {
		var written int
		axis, written = axisOf(r, len(shape))
		if node.opset < 11 {
			written = axis
		}
		node.attrs["axis"] = written
	}
	axes := []int{axis}
	for d := axis + 1; d < len(shape) && node.opset < 13; d++ {
		axes = append(axes, d)
	}
	node.want = func(in []*array) []*array {
		return []*array{made(dtype, shape, func(idx []int) float64 {
			first := slices.Clone(idx)
			group := make([]int, len(axes))
			extent := make([]int, len(axes))
			for i, a := range axes {
				first[a], group[i], extent[i] = 0, idx[a], shape[a]
			}
			y := softmaxOf(gathered(in[0], first, axes), offset(extent, group))
			if node.op == "LogSoftmax" {
				return math.Log(y)
			}
			return y
		})}
	}
	return node
}

func randomCumSum(r *rand.Rand) *randomNode {
	dtype := pick(r, onnx.Float, onnx.Double, onnx.Int32, onnx.Int64)
	shape := shapeOf(r, 1, 4)
	axis, written := axisOf(r, len(shape))
	at := newArray(pick(r, onnx.Int32, onnx.Int64))
	at.data[0] = float64(written)
	exclusive, reverse := r.IntN(2), r.IntN(2)
	return &randomNode{op: "CumSum", opset: pick(r, 11, 14), attrs: map[string]any{"exclusive": exclusive, "reverse": reverse},
		in: []*array{normals(r, dtype, shape...), at}, fixed: []bool{false, true}, want: func(in []*array) []*array {
			return []*array{made(dtype, shape, func(idx []int) float64 {
				list := along(in[0], idx, axis)
				from, to := 0, idx[axis]+1-exclusive
				if reverse == 1 {
					from, to = idx[axis]+exclusive, len(list)
				}
				return sum(list[min(from, to):to])
			})}
		}}
}
