package ops

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

// gradients evaluates the derivative rule of a call: the gradients of its inputs
// for given gradients of its outputs; nil for zero. Rules are written down and
// run at once, each node in memory of its own.
func (tc testCall) gradients(t *testing.T, out, dOut []*Tensor, wrt ...int) []*Tensor {
	t.Helper()
	c := tc.call()
	g := &Grad{Node: c.Node, Packs: &Packs{}}
	ref := func(x *Tensor) *Ref {
		if x == nil {
			return nil
		}
		return &Ref{Arg: Arg{Type: x.Type}, Key: x}
	}
	value := func(r *Ref) *Tensor {
		switch {
		case r == nil:
			return nil
		case r.Key == nil:
			return r.Const
		}
		return r.Key.(*Tensor)
	}
	g.Emit = func(n *onnx.Node, in []*Ref) ([]*Ref, error) {
		c := &Call{Node: n, Packs: g.Packs}
		var values []*Tensor
		for _, r := range in {
			if r == nil {
				c.In = append(c.In, Arg{Absent: true})
			} else {
				c.In = append(c.In, r.Arg)
			}
			values = append(values, value(r))
		}
		k, err := Lower(c)
		if err != nil {
			return nil, err
		}
		known := !slices.ContainsFunc(c.In, func(a Arg) bool { return !a.Absent && a.Const == nil })
		var out []*Ref
		for j, y := range runKernel(k, values, 1, nil) {
			r := ref(plain(y))
			if known {
				r.Const = plain(y)
			}
			if n.Outputs[j] < 0 {
				r = nil
			}
			out = append(out, r)
		}
		return out, nil
	}
	for i, x := range tc.in {
		r := ref(x)
		if r != nil {
			r.Const = c.In[i].Const
		}
		g.In = append(g.In, r)
	}
	for j, y := range out {
		g.Out, g.DOut = append(g.Out, ref(y)), append(g.DOut, ref(dOut[j]))
	}
	grads := make([]*Tensor, len(tc.in))
	for _, i := range wrt {
		d, err := g.Wrt(i)
		if err == nil && d != nil {
			d, err = g.Spread(d, tc.in[i].Shape)
		}
		if err != nil {
			t.Fatalf("%v: gradient of input %d: %v", tc, i, err)
		}
		grads[i] = value(d)
	}
	return grads
}

// checkGrad compares the derivative rule of a call with central differences, in
// float64, and its float32 form with the float64 one. The call's floats are
// float32; wrt are the inputs to differentiate by.
func checkGrad(t *testing.T, tc testCall, wrt ...int) {
	t.Helper()
	r := rand.New(rand.NewPCG(9, 9))
	wide := tc
	wide.in = nil
	for _, x := range tc.in {
		if x != nil && IsFloat32(x.DType) {
			x = double(x)
		}
		wide.in = append(wide.in, x)
	}
	run := func(tc testCall) []*Tensor {
		out, err := tc.run()
		if err != nil {
			t.Fatalf("%v: %v", tc, err)
		}
		for j := range out {
			if out[j] != nil { // not the memory of an input that is about to change
				out[j] = plain(out[j])
				out[j] = &Tensor{out[j].Type, cloneMem(out[j].mem)}
			}
		}
		return out
	}
	out := run(wide)
	var dOut, dNarrow []*Tensor
	for _, y := range out {
		if y == nil || y.DType != onnx.Double || tc.onlyFirst && len(dOut) > 0 {
			dOut, dNarrow = append(dOut, nil), append(dNarrow, nil)
			continue
		}
		d := randn(r, y.Shape...)
		dOut, dNarrow = append(dOut, double(d)), append(dNarrow, d)
	}
	got := wide.gradients(t, out, dOut, wrt...)
	for _, i := range wrt {
		x := Data[float64](wide.in[i])
		if got[i] == nil {
			got[i] = New(wide.in[i].Type)
		}
		d := Data[float64](got[i])
		if len(d) != len(x) || got[i].DType != onnx.Double {
			t.Fatalf("%v: gradient of input %d is %v", tc, i, got[i].Type)
		}
		want, most := make([]float64, len(x)), 0.0
		for k, v := range x {
			const h = 1e-5
			x[k] = v + h
			up := run(wide)
			x[k] = v - h
			down := run(wide)
			x[k] = v
			for j := range out {
				if dOut[j] == nil {
					continue
				}
				for e, w := range Data[float64](dOut[j]) {
					if math.IsInf(Data[float64](out[j])[e], 0) { // the maximum of nothing
						continue
					}
					want[k] += w * (Data[float64](up[j])[e] - Data[float64](down[j])[e]) / (2 * h)
				}
			}
			most = max(most, math.Abs(want[k]))
		}
		for k := range want {
			if e := math.Abs(d[k] - want[k]); !(e <= 2e-7*max(1, most)) {
				t.Fatalf("%v: gradient of input %d, element %d: %v, by differences %v\n%v\n%v", tc, i, k, d[k], want[k], d, want)
			}
		}
	}
	narrow := tc.gradients(t, run(tc), dNarrow, wrt...)
	for _, i := range wrt {
		if narrow[i] == nil {
			narrow[i] = New(tc.in[i].Type)
		}
		most := 1.0
		for _, v := range Data[float64](got[i]) {
			most = max(most, math.Abs(v))
		}
		for k, v := range Data[float64](got[i]) {
			if e := math.Abs(float64(Data[float32](narrow[i])[k]) - v); !(e <= 2e-5*most) {
				t.Fatalf("%v: gradient of input %d, element %d: %v in float32, %v in float64", tc, i, k, Data[float32](narrow[i])[k], v)
			}
		}
	}
}

// away keeps random numbers at a distance from where functions have a kink: the
// multiples of ½.
func away(x *Tensor) *Tensor {
	d := Data[float32](x)
	for i, v := range d {
		if f := float64(2*v) - math.Round(float64(2*v)); math.Abs(f) < 0.05 {
			d[i] = v + 0.05
		}
	}
	return x
}

func positiveNumbers(x *Tensor) *Tensor {
	for i, v := range Data[float32](x) {
		Data[float32](x)[i] = float32(math.Abs(float64(v))) + 0.3
	}
	return x
}

func TestUnaryGradients(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for op := range unaries {
		tc := testCall{op: op, in: []*Tensor{away(randn(r, 3, 40))}, version: 24, allVar: true}
		switch op {
		case "SiLU":
			tc.domain, tc.version = Fused, 1
		case "Log", "Sqrt", "Reciprocal":
			positiveNumbers(tc.in[0])
		case "Acosh":
			for i, v := range Data[float32](positiveNumbers(tc.in[0])) {
				Data[float32](tc.in[0])[i] = v + 1
			}
		case "Acos", "Asin", "Atanh", "Tan":
			for i, v := range Data[float32](tc.in[0]) {
				Data[float32](tc.in[0])[i] = float32(0.9 * math.Tanh(float64(v)))
			}
		case "Gelu":
			tanh := tc
			tanh.attrs = attrs{"approximate": attrStr("tanh")}
			checkGrad(t, tanh, 0)
		case "Celu", "Elu", "LeakyRelu", "Swish", "HardSigmoid":
			alpha := tc
			alpha.attrs = attrs{"alpha": attrFloat(0.375)}
			checkGrad(t, alpha, 0)
		}
		checkGrad(t, tc, 0)
	}
	for op := range slopes {
		if unaries[op] == nil {
			t.Errorf("slope of %s, which is no function of one number", op)
		}
	}
}

func TestClipGradient(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 1))
	scalar := func(v float32) *Tensor { return Of([]int{}, []float32{v}) }
	x := func() *Tensor { return away(randn(r, 5, 7)) }
	checkGrad(t, testCall{op: "Clip", in: []*Tensor{x(), scalar(-0.5), scalar(1)}, allVar: true}, 0, 1, 2)
	checkGrad(t, testCall{op: "Clip", in: []*Tensor{x(), nil, scalar(1)}, allVar: true}, 0, 2)
	checkGrad(t, testCall{op: "Clip", in: []*Tensor{x(), scalar(-0.5)}}, 0)
	checkGrad(t, testCall{op: "Clip", version: 6, in: []*Tensor{x()}, attrs: attrs{"min": attrFloat(-1), "max": attrFloat(0.5)}}, 0)
}

func TestBroadcastGradients(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	for _, op := range []string{"Add", "Sub", "Mul", "Div", "Pow", "PRelu", "Min", "Max", "Sum", "Mean", "Mod"} {
		for range 12 {
			shape := randShape(r, 1+r.IntN(4), 1, 4)
			tc := testCall{op: op, allVar: true}
			n := 2
			if slices.Contains([]string{"Min", "Max", "Sum", "Mean"}, op) {
				n = 1 + r.IntN(4)
			}
			for i := range n {
				s := slices.Clone(shape[r.IntN(len(shape)+1):])
				if op == "PRelu" && i == 0 {
					s = shape
				}
				for k := range s {
					if r.IntN(3) == 0 && !(op == "PRelu" && i == 0) {
						s[k] = 1
					}
				}
				x := away(randn(r, s...))
				if op == "Div" && i == 1 || op == "Pow" && i == 0 || op == "Mod" {
					positiveNumbers(x)
				}
				tc.in = append(tc.in, x)
			}
			if op == "Mod" {
				tc.attrs = attrs{"fmod": attrInt(1)}
				oddDivisor(tc)
			}
			checkGrad(t, tc, upTo(n)...)
		}
	}
	// Ties are shared, a power of zero has no slope, whole exponents are other types.
	x := Of([]int{4}, []float32{0, 1.5, -2, 3})
	checkGrad(t, testCall{op: "Pow", in: []*Tensor{x, Of([]int{}, []float32{2})}}, 0)
	checkGrad(t, testCall{op: "Pow", in: []*Tensor{x, Of([]int{4}, []float32{0, 0, 3, 1})}}, 0)
	checkGrad(t, testCall{op: "Pow", in: []*Tensor{x, Of([]int{}, []int64{3})}}, 0)
	// As operands were broadcast before opset 7.
	checkGrad(t, testCall{op: "Mul", version: 6, in: []*Tensor{randn(r, 2, 3, 4), randn(r, 3)}, allVar: true, attrs: attrs{"broadcast": attrInt(1), "axis": attrInt(1)}}, 0, 1)
	cond := Of([]int{3, 1}, []bool{true, false, true})
	checkGrad(t, testCall{op: "Where", in: []*Tensor{cond, randn(r, 3, 4), randn(r, 4)}, allVar: true}, 1, 2)
}

// oddDivisor keeps a quotient away from whole numbers, where a remainder jumps.
func oddDivisor(tc testCall) {
	for i := range Data[float32](tc.in[1]) {
		Data[float32](tc.in[1])[i] = 0.7310585
	}
}

func TestReduceGradients(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 1))
	for _, op := range []string{"ReduceMax", "ReduceMin", "ReduceMean", "ReduceSum", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"} {
		for range 10 {
			shape := randShape(r, 1+r.IntN(4), 1, 4)
			tc := testCall{op: op, version: 18, in: []*Tensor{away(randn(r, shape...))}, runtime: []bool{true}, attrs: attrs{"keepdims": attrInt(r.IntN(2))}}
			if op == "ReduceLogSum" {
				positiveNumbers(tc.in[0])
			}
			if r.IntN(4) > 0 {
				tc.in = append(tc.in, int64s(r.Perm(len(shape))[:r.IntN(len(shape)+1)]...))
				tc.attrs["noop_with_empty_axes"] = attrInt(r.IntN(2))
			}
			checkGrad(t, tc, 0)
		}
	}
	zeros := Of([]int{2, 3}, []float32{0, 2, 3, 0, 0, 5})
	checkGrad(t, testCall{op: "ReduceProd", version: 18, in: []*Tensor{zeros, int64s(1)}}, 0)
	for _, op := range []string{"Softmax", "LogSoftmax"} {
		for range 10 {
			shape := randShape(r, 1+r.IntN(4), 1, 5)
			tc := testCall{op: op, version: []int64{11, 13}[r.IntN(2)], in: []*Tensor{randn(r, shape...)}, attrs: attrs{"axis": attrInt(r.IntN(len(shape)))}}
			checkGrad(t, tc, 0)
		}
	}
}

func TestProductGradients(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 1))
	for _, s := range [][2][]int{{{3, 4}, {4, 5}}, {{4}, {4}}, {{4}, {4, 3}}, {{2, 4}, {4}}, {{2, 3, 4}, {4, 5}}, {{2, 1, 3, 4}, {5, 4, 2}},
		{{2, 3, 4}, {2, 4, 2}}, {{4}, {2, 4, 3}}, {{1, 1, 4}, {3, 4, 1}}} {
		for _, constant := range []bool{false, true} {
			tc := testCall{op: "MatMul", in: []*Tensor{randn(r, s[0]...), randn(r, s[1]...)}, runtime: []bool{true, !constant}}
			checkGrad(t, tc, 0, 1)
		}
	}
	for range 12 {
		m, k, n := 1+r.IntN(4), 1+r.IntN(4), 1+r.IntN(4)
		a, b := []int{m, k}, []int{k, n}
		tA, tB := r.IntN(2), r.IntN(2)
		if tA == 1 {
			slices.Reverse(a)
		}
		if tB == 1 {
			slices.Reverse(b)
		}
		tc := testCall{op: "Gemm", allVar: true, in: []*Tensor{randn(r, a...), randn(r, b...)}, attrs: attrs{"transA": attrInt(tA), "transB": attrInt(tB)}}
		wrt := []int{0, 1}
		if r.IntN(2) == 0 {
			tc.attrs["alpha"], tc.attrs["beta"] = attrFloat(0.5), attrFloat(-2)
			tc.in = append(tc.in, randn(r, [][]int{{n}, {m, n}, {m, 1}, {}}[r.IntN(4)]...))
			wrt = append(wrt, 2)
		}
		checkGrad(t, tc, wrt...)
	}
	for _, e := range []struct {
		equation string
		shapes   [][]int
	}{
		{"ij,jk->ik", [][]int{{2, 3}, {3, 4}}},
		{"ij,jk", [][]int{{2, 3}, {3, 4}}},
		{"ij->ji", [][]int{{2, 3}}},
		{"ij->i", [][]int{{2, 3}}},
		{"ij->", [][]int{{2, 3}}},
		{"ii->i", [][]int{{3, 3}}},
		{"ii->", [][]int{{3, 3}}},
		{"iij,jk->ik", [][]int{{3, 3, 2}, {2, 2}}},
		{"...ij,...jk->...ik", [][]int{{2, 3, 2}, {2, 2, 4}}},
		{"...ij,...jk->...ik", [][]int{{2, 2}, {3, 1, 2, 4}}},
		{"i,j->ij", [][]int{{2}, {3}}},
		{"i,i->", [][]int{{3}, {3}}},
		{"bhwc,co->bhwo", [][]int{{2, 2, 3, 4}, {4, 3}}},
		{"ab,bc,cd->ad", [][]int{{2, 3}, {3, 2}, {2, 4}}},
		{"ab,cd->a", [][]int{{2, 3}, {2, 2}}},
		{"ab,ab->b", [][]int{{2, 3}, {1, 3}}},
		{"...a->a...", [][]int{{2, 3, 2}}},
	} {
		tc := testCall{op: "Einsum", attrs: attrs{"equation": attrStr(e.equation)}, allVar: true}
		for _, s := range e.shapes {
			tc.in = append(tc.in, randn(r, s...))
		}
		if _, err := Lower(tc.call()); err != nil {
			continue
		}
		checkGrad(t, tc, upTo(len(tc.in))...)
	}
}

// withInts is x and lists of integers known at compile time.
func withInts(x *Tensor, lists ...[]int) []*Tensor {
	in := []*Tensor{x}
	for _, l := range lists {
		if l == nil {
			in = append(in, nil)
		} else {
			in = append(in, int64s(l...))
		}
	}
	return in
}

func TestMoveGradients(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 1))
	first := []bool{true}
	x := func(shape ...int) *Tensor { return randn(r, shape...) }
	for _, mode := range []string{"constant", "edge", "reflect", "wrap"} {
		checkGrad(t, testCall{op: "Pad", in: withInts(x(3, 4), []int{2, -1, 1, 3}), runtime: first, attrs: attrs{"mode": attrStr(mode)}}, 0)
		checkGrad(t, testCall{op: "Pad", in: withInts(x(2, 5, 3), []int{7, 2}, nil, []int{1}), runtime: first, attrs: attrs{"mode": attrStr(mode)}}, 0)
	}
	checkGrad(t, testCall{op: "Pad", version: 9, in: withInts(x(3, 4)), attrs: attrs{"pads": ints(0, 1, 2, 0)}}, 0)
	checkGrad(t, testCall{op: "Pad", in: append(withInts(x(3, 4), []int{0, 1, 2, 0}), Of([]int{}, []float32{2})), runtime: []bool{true, false, true}}, 0, 2)

	checkGrad(t, testCall{op: "Slice", in: withInts(x(4, 5), []int{1}, []int{3}), runtime: first}, 0)
	checkGrad(t, testCall{op: "Slice", in: withInts(x(4, 7, 2), []int{5, 0}, []int{-100, 4}, []int{1, 0}, []int{-2, 3}), runtime: first}, 0)
	checkGrad(t, testCall{op: "Slice", in: withInts(x(4, 7), []int{3}, []int{2}, []int{0}), runtime: first}, 0)
	checkGrad(t, testCall{op: "Slice", version: 9, in: withInts(x(4, 7)), attrs: attrs{"starts": ints(1), "ends": ints(-1), "axes": ints(1)}}, 0)

	checkGrad(t, testCall{op: "Concat", in: []*Tensor{x(2, 3), x(2, 1), x(2, 2)}, attrs: attrs{"axis": attrInt(-1)}, allVar: true}, 0, 1, 2)
	checkGrad(t, testCall{op: "Concat", in: []*Tensor{x(2, 3)}, attrs: attrs{"axis": attrInt(0)}, allVar: true}, 0)
	checkGrad(t, testCall{op: "Split", in: withInts(x(5, 3), []int{1, 3, 1}), outs: 3, runtime: first}, 0)
	checkGrad(t, testCall{op: "Split", in: withInts(x(5, 3), []int{1, 3, 1}), outs: 3, runtime: first, onlyFirst: true}, 0)
	checkGrad(t, testCall{op: "Split", in: withInts(x(5, 4)), outs: 2, attrs: attrs{"axis": attrInt(1)}, runtime: first}, 0)

	checkGrad(t, testCall{op: "Transpose", in: withInts(x(2, 3, 4))}, 0)
	checkGrad(t, testCall{op: "Transpose", in: withInts(x(2, 3, 4)), attrs: attrs{"perm": ints(1, 2, 0)}}, 0)
	checkGrad(t, testCall{op: "Reshape", in: withInts(x(2, 3, 4), []int{4, -1}), runtime: first}, 0)
	checkGrad(t, testCall{op: "Flatten", in: withInts(x(2, 3, 4))}, 0)
	checkGrad(t, testCall{op: "Squeeze", in: withInts(x(2, 1, 4), []int{1}), runtime: first}, 0)
	checkGrad(t, testCall{op: "Unsqueeze", in: withInts(x(2, 4), []int{0, 2}), runtime: first}, 0)
	checkGrad(t, testCall{op: "Identity", in: withInts(x(2, 4))}, 0)
	checkGrad(t, testCall{op: "Dropout", in: withInts(x(2, 4)), outs: 2}, 0)
	checkGrad(t, testCall{op: "Cast", in: withInts(x(2, 4)), attrs: attrs{"to": attrInt(int(onnx.Double))}}, 0)
	checkGrad(t, testCall{op: "Expand", in: withInts(x(3, 1), []int{2, 1, 4}), runtime: first}, 0)
	checkGrad(t, testCall{op: "Tile", in: withInts(x(2, 3, 2), []int{2, 1, 3}), runtime: first}, 0)

	for _, mode := range []string{"DCR", "CRD"} {
		checkGrad(t, testCall{op: "DepthToSpace", in: withInts(x(2, 8, 2, 3)), attrs: attrs{"blocksize": attrInt(2), "mode": attrStr(mode)}}, 0)
	}
	checkGrad(t, testCall{op: "SpaceToDepth", in: withInts(x(2, 2, 4, 6)), attrs: attrs{"blocksize": attrInt(2)}}, 0)
	checkGrad(t, testCall{op: "Trilu", in: withInts(x(2, 4, 3)), attrs: attrs{"upper": attrInt(0)}}, 0)
	for flags := range 4 {
		checkGrad(t, testCall{op: "CumSum", in: []*Tensor{x(2, 4, 3), Of([]int{}, []int64{1})}, runtime: first, attrs: attrs{"exclusive": attrInt(flags & 1), "reverse": attrInt(flags / 2)}}, 0)
	}

	index := Of([]int{2, 2}, []int64{2, -1, 0, 2})
	for _, known := range []bool{false, true} {
		runtime := []bool{true, !known}
		checkGrad(t, testCall{op: "Gather", in: []*Tensor{x(2, 3, 2), index}, attrs: attrs{"axis": attrInt(1)}, runtime: runtime}, 0)
		checkGrad(t, testCall{op: "Gather", in: []*Tensor{x(3, 2), Of([]int{}, []int64{1})}, runtime: runtime}, 0)
		checkGrad(t, testCall{op: "GatherND", in: []*Tensor{x(3, 3, 2), index}, runtime: runtime}, 0)
		checkGrad(t, testCall{op: "GatherND", in: []*Tensor{x(2, 3, 2), Of([]int{2, 1}, []int64{1, 2})}, attrs: attrs{"batch_dims": attrInt(1)}, runtime: runtime}, 0)
		checkGrad(t, testCall{op: "GatherElements", in: []*Tensor{x(3, 3), index}, attrs: attrs{"axis": attrInt(0)}, runtime: runtime}, 0)
		checkGrad(t, testCall{op: "GatherElements", in: []*Tensor{x(3, 3), index}, attrs: attrs{"axis": attrInt(1)}, runtime: runtime}, 0)
	}
}

func TestResizeGradients(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 1))
	for _, mode := range []string{"nearest", "linear", "cubic"} {
		for _, coord := range []string{"half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel", "tf_crop_and_resize"} {
			for _, scales := range [][]float32{{1, 1, 2, 2}, {1, 1, 0.5, 1.7}, {1, 2, 1, 3}} {
				tc := testCall{op: "Resize", version: 19, runtime: []bool{true}, attrs: attrs{"mode": attrStr(mode), "coordinate_transformation_mode": attrStr(coord)},
					in: []*Tensor{randn(r, 1, 2, 4, 5), Of([]int{8}, []float32{0, 0, 0.2, -0.3, 1, 1, 0.9, 1}), Of([]int{4}, scales)}}
				if mode == "cubic" && r.IntN(2) == 0 {
					tc.attrs["exclude_outside"] = attrInt(1)
				}
				if mode != "nearest" && r.IntN(2) == 0 {
					tc.attrs["antialias"] = attrInt(1)
				}
				checkGrad(t, tc, 0)
			}
		}
	}
	checkGrad(t, testCall{op: "Upsample", version: 9, runtime: []bool{true}, in: []*Tensor{randn(r, 1, 2, 3, 2), Of([]int{4}, []float32{1, 1, 2, 3})}}, 0)
}

func TestPoolGradients(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 1))
	for range 40 {
		axes := 1 + r.IntN(3)
		a := attrs{"kernel_shape": ints(randShape(r, axes, 1, 3)...), "strides": ints(randShape(r, axes, 1, 3)...), "dilations": ints(randShape(r, axes, 1, 2)...),
			"pads": ints(randShape(r, 2*axes, 0, 1)...), "ceil_mode": attrInt(r.IntN(2))}
		x := randn(r, append([]int{2, 3}, randShape(r, axes, 5, 7)...)...)
		if axes == 3 {
			x = randn(r, 1, 2, 5, 5, 5)
		}
		tc := testCall{op: "MaxPool", in: []*Tensor{x}, attrs: a, allVar: true}
		if r.IntN(2) == 0 {
			tc.outs = 2
		}
		checkGrad(t, tc, 0)
		a["count_include_pad"] = attrInt(r.IntN(2))
		checkGrad(t, testCall{op: "AveragePool", in: []*Tensor{x}, attrs: a}, 0)
	}
	for _, op := range []string{"GlobalAveragePool", "GlobalMaxPool"} {
		checkGrad(t, testCall{op: op, in: []*Tensor{randn(r, 2, 3, 4, 2)}}, 0)
		checkGrad(t, testCall{op: op, in: []*Tensor{randn(r, 2, 3)}}, 0)
	}
}

func TestConvGradients(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 1))
	for range 60 {
		axes, groups := 1+r.IntN(3), 1+r.IntN(3)
		most := []int{0, 7, 4, 3}[axes]
		ic, oc, kernel := groups*(1+r.IntN(3)), groups*(1+r.IntN(3)), randShape(r, axes, 1, 3)
		constant := r.IntN(3) > 0
		a := attrs{"group": attrInt(groups)}
		if r.IntN(2) == 0 {
			a["strides"] = ints(randShape(r, axes, 1, 3)...)
		}
		if r.IntN(2) == 0 && axes < 3 {
			a["dilations"] = ints(randShape(r, axes, 1, 2)...)
		}
		switch r.IntN(3) {
		case 0:
			a["pads"] = ints(randShape(r, 2*axes, 0, 3)...)
		case 1:
			a["auto_pad"] = attrStr([]string{"SAME_UPPER", "SAME_LOWER"}[r.IntN(2)])
		}
		x := randn(r, append([]int{2, ic}, randShape(r, axes, most, most+1)...)...)
		tc := testCall{op: "Conv", attrs: a, runtime: []bool{true, !constant, true},
			in: []*Tensor{x, randn(r, append([]int{oc, ic / groups}, kernel...)...), randn(r, oc)}}
		checkGrad(t, tc, 0, 2)
		if axes == 3 {
			continue
		}
		tc.op, tc.in = "ConvTranspose", []*Tensor{x, randn(r, append([]int{ic, oc / groups}, kernel...)...), randn(r, oc)}
		if r.IntN(3) == 0 {
			a["output_padding"] = ints(randShape(r, axes, 0, 3)...)
		}
		if _, err := Lower(tc.call()); err == nil {
			checkGrad(t, tc, 0, 2)
		}
	}
}

// A FIR is linear, so that its gradient is its transpose: v·Ax = Aᵀv·x.
func TestFIRGradient(t *testing.T) {
	r := rand.New(rand.NewPCG(14, 1))
	for range 60 {
		x, w := randn(r, 2, 1+r.IntN(20), 4+r.IntN(5), 4+r.IntN(5)), randn(r, 1+r.IntN(4), 1+r.IntN(4))
		pads := []int{r.IntN(5) - 1, r.IntN(5) - 1, r.IntN(5) - 1, r.IntN(5) - 1}
		tc := testCall{op: "FIR", domain: Fused, in: []*Tensor{x, w}, runtime: []bool{true}, attrs: attrs{"up": attrInt(1 + r.IntN(3)), "down": attrInt(1 + r.IntN(3)), "pads": ints(pads...)}}
		out, err := tc.run()
		if err != nil {
			t.Fatal(err)
		}
		y := plain(out[0])
		v := randn(r, y.Shape...)
		dx := tc.gradients(t, []*Tensor{y}, []*Tensor{v}, 0)[0]
		dot := func(a, b *Tensor) (sum, size float64) {
			for i, x := range Data[float32](a) {
				p := float64(x) * float64(Data[float32](b)[i])
				sum, size = sum+p, size+math.Abs(p)
			}
			return sum, size
		}
		a, size := dot(v, y)
		b, _ := dot(dx, x)
		if math.Abs(a-b) > 1e-5*size {
			t.Fatalf("%v: v·Ax is %v, Aᵀv·x is %v", tc, a, b)
		}
	}
}

func TestNormGradients(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 1))
	all := attrs{"epsilon": attrFloat(0.01)}
	for range 8 {
		groups := 1 + r.IntN(3)
		ch := groups * (1 + r.IntN(3))
		x := randn(r, 2, ch, 3, 2)
		with := func(a attrs) attrs {
			a["epsilon"] = attrFloat(0.01)
			return a
		}
		vec := func(n int) *Tensor { return randn(r, n) }
		checkGrad(t, testCall{op: "InstanceNormalization", in: []*Tensor{x, vec(ch), vec(ch)}, attrs: all, allVar: true}, 0, 1, 2)
		checkGrad(t, testCall{op: "GroupNormalization", version: 21, in: []*Tensor{x, vec(ch), vec(ch)}, attrs: with(attrs{"num_groups": attrInt(groups)}), allVar: true}, 0, 1, 2)
		checkGrad(t, testCall{op: "GroupNormalization", version: 18, in: []*Tensor{x, vec(groups), vec(groups)}, attrs: with(attrs{"num_groups": attrInt(groups)}), allVar: true}, 0, 1, 2)
		for silu := range 2 {
			checkGrad(t, testCall{op: "GroupNorm", domain: Fused, version: 1, in: []*Tensor{x, vec(ch), vec(ch)}, attrs: with(attrs{"groups": attrInt(groups), "silu": attrInt(silu)}), allVar: true}, 0, 1, 2)
		}
		checkGrad(t, testCall{op: "BatchNormalization", in: []*Tensor{x, vec(ch), vec(ch), vec(ch), positiveNumbers(vec(ch))}, attrs: all, runtime: []bool{true}}, 0)
		for axis := range 3 {
			scale := randn(r, x.Shape[1+r.IntN(3):]...)
			checkGrad(t, testCall{op: "LayerNormalization", in: []*Tensor{x, scale, randn(r, 2)}, attrs: with(attrs{"axis": attrInt(axis - 3)}), allVar: true, outs: 1}, 0, 1, 2)
			checkGrad(t, testCall{op: "RMSNormalization", in: []*Tensor{x, scale}, attrs: with(attrs{"axis": attrInt(axis - 3)}), allVar: true}, 0, 1)
		}
	}
	checkGrad(t, testCall{op: "LayerNormalization", in: []*Tensor{randn(r, 3, 5), randn(r, 5)}, allVar: true, outs: 3, onlyFirst: true}, 0)
	checkGrad(t, testCall{op: "BatchNormalization", version: 7, runtime: []bool{true}, attrs: attrs{"spatial": attrInt(0)},
		in: []*Tensor{randn(r, 2, 3, 4), randn(r, 3, 4), randn(r, 3, 4), randn(r, 3, 4), positiveNumbers(randn(r, 3, 4))}}, 0)
}

func TestAttentionGradients(t *testing.T) {
	r := rand.New(rand.NewPCG(12, 1))
	for round := range 60 {
		kv, group, b, l, s, d, e := 1+r.IntN(2), 1+r.IntN(2), 1+r.IntN(2), 1+r.IntN(3), 1+r.IntN(3), 1+r.IntN(3), 1+r.IntN(3)
		h, past := kv*group, 0
		tc := testCall{op: "Attention", version: 24, attrs: attrs{}, allVar: true, in: make([]*Tensor, 3)}
		wrt := []int{0, 1, 2}
		if r.IntN(2) == 0 {
			tc.attrs["q_num_heads"], tc.attrs["kv_num_heads"] = attrInt(h), attrInt(kv)
			tc.in[0], tc.in[1], tc.in[2] = randn(r, b, l, h*d), randn(r, b, s, kv*d), randn(r, b, s, kv*e)
		} else {
			tc.in[0], tc.in[1], tc.in[2] = randn(r, b, h, l, d), randn(r, b, kv, s, d), randn(r, b, kv, s, e)
		}
		if round%3 == 0 {
			past = 2
		}
		switch r.IntN(4) {
		case 0:
			tc.in = append(tc.in, randn(r, b, h, l, past+s))
			wrt = append(wrt, 3)
		case 1:
			tc.in = append(tc.in, randn(r, l, past+s))
			wrt = append(wrt, 3)
		case 2:
			mask := New(Type{DType: onnx.Bool, Shape: []int{b, 1, l, past + s}})
			for i := range Data[bool](mask) {
				Data[bool](mask)[i] = r.IntN(3) > 0
			}
			tc.in = append(tc.in, mask)
		}
		if past > 0 {
			for len(tc.in) < 4 {
				tc.in = append(tc.in, nil)
			}
			tc.in = append(tc.in, randn(r, b, kv, past, d), randn(r, b, kv, past, e))
			wrt = append(wrt, 4, 5)
			if r.IntN(2) == 0 {
				tc.outs = 3
			}
		}
		if r.IntN(3) == 0 {
			tc.attrs["is_causal"] = attrInt(1)
		}
		if r.IntN(3) == 0 {
			tc.attrs["softcap"] = attrFloat(1.5)
		}
		if r.IntN(3) == 0 {
			tc.attrs["scale"] = attrFloat(0.7)
		}
		checkGrad(t, tc, wrt...)
	}
	for interleaved := range 2 {
		checkGrad(t, testCall{op: "RotaryEmbedding", in: []*Tensor{randn(r, 2, 2, 3, 6), randn(r, 2, 3, 2), randn(r, 2, 3, 2)}, runtime: []bool{true},
			attrs: attrs{"rotary_embedding_dim": attrInt(4), "interleaved": attrInt(interleaved)}}, 0)
	}
}

// A gradient does not depend on the layout in memory, nor do the kernels of
// derivatives break any rule of kernels.
func TestGradientKernels(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 1))
	both := func(tc testCall, images ...int) {
		t.Helper()
		want := tc.mustRun(t)[0]
		bc := tc
		bc.in = slices.Clone(tc.in)
		for _, i := range images {
			bc.in[i] = blocked(tc.in[i])
		}
		if l := Layouts(bc.call()); l[0] != Blocked {
			t.Fatalf("%v: wants %v", bc, l)
		}
		got := bc.mustRun(t)[0]
		for i, v := range Data[float32](plain(got)) {
			if w := Data[float32](want)[i]; math.Abs(float64(v-w)) > 1e-6*max(1, math.Abs(float64(w))) {
				t.Fatalf("%v: element %d is %v, plain %v", bc, i, v, w)
			}
		}
	}
	for range 30 {
		groups := 1 + r.IntN(5)
		ch := groups * (1 + r.IntN(20))
		x, d := randn(r, 2, ch, 1+r.IntN(6), 1+r.IntN(9)), (*Tensor)(nil)
		d = randn(r, x.Shape...)
		for op := range slopes {
			both(testCall{op: "Slope", domain: Fused, in: []*Tensor{d, x}, attrs: attrs{"of": attrStr(op)}}, 0, 1)
		}
		both(testCall{op: "NormGrad", domain: Fused, in: []*Tensor{d, x}, attrs: attrs{"axis": attrInt(1), "groups": attrInt(groups)}}, 0, 1)
		at, weight, n := []int{}, []float32{}, 1+r.IntN(7)
		for range 2 * n {
			at, weight = append(at, r.IntN(x.Shape[3])), append(weight, float32(r.NormFloat64()))
		}
		both(testCall{op: "Filter", domain: Fused, in: []*Tensor{x}, attrs: attrs{"axis": attrInt(3), "size": attrInt(n), "at": ints(at...), "weight": attrFloats(weight...)}}, 0)
		places := New(Type{DType: onnx.Int64, Shape: []int{4, 5}})
		for i := range Data[int64](places) {
			Data[int64](places)[i] = int64(i/10*6 + r.IntN(6))
		}
		pooled := testCall{op: "MaxPoolGrad", domain: Fused, in: []*Tensor{randn(r, 2, ch, 4, 3), randn(r, 2, ch, 7, 5)}, attrs: attrs{"kernel_shape": ints(3, 3), "strides": ints(2, 2), "pads": ints(1, 1, 1, 1)}}
		pooled.mustRun(t)
		testCall{op: "ScatterAdd", domain: Fused, in: []*Tensor{randn(r, 4, 5), places}, attrs: attrs{"shape": ints(12), "chunks": attrInt(2)}}.mustRun(t)
		testCall{op: "ProductGrad", domain: Fused, in: []*Tensor{randn(r, 4, 1), randn(r, 4, 5)}}.mustRun(t)
	}
}

// flatOps are operators through which no gradient goes, and why.
var flatOps = map[string]string{
	"Shape": "reads no data", "Size": "reads no data", "ConstantOfShape": "reads no data", "Range": "decides a shape",
	"Not": "gives bools", "Equal": "gives bools", "Greater": "gives bools", "GreaterOrEqual": "gives bools", "Less": "gives bools",
	"LessOrEqual": "gives bools", "And": "gives bools", "Or": "gives bools", "Xor": "gives bools",
}

// differentiable are the operators that score networks are made of: those that
// PyTorch's exporters write for them.
const differentiable = `Add Sub Mul Div Neg Pow Sqrt Reciprocal Exp Log Sin Cos Tanh Erf Sigmoid Relu LeakyRelu Elu Celu Selu PRelu Mish HardSwish
	HardSigmoid Softplus Softsign Gelu Swish Clip Abs Floor Ceil Round Sign Mod Min Max Sum Mean Where Greater Less Equal Not Cast CastLike Conv ConvTranspose Gemm
	MatMul Einsum Softmax LogSoftmax BatchNormalization InstanceNormalization LayerNormalization GroupNormalization RMSNormalization
	Attention RotaryEmbedding AveragePool MaxPool GlobalAveragePool GlobalMaxPool ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1
	ReduceL2 ReduceSumSquare Resize Upsample Pad Concat Split Slice Gather GatherND GatherElements Reshape Flatten Squeeze Unsqueeze
	Transpose Expand Tile Shape Size ConstantOfShape Range Identity Dropout`

// Every operator of score networks has a derivative rule or a reason to have none.
func TestEveryOperatorHasADerivative(t *testing.T) {
	for op := range strings.FieldsSeq(differentiable) {
		switch reason := flatOps[op]; {
		case byName[op] == nil:
			t.Errorf("there is no operator %s", op)
		case reason != "" && rules[op] != nil:
			t.Errorf("%s has a derivative rule, though it %s", op, reason)
		case reason == "" && rules[op] == nil:
			t.Errorf("%s has no derivative rule", op)
		}
	}
	for _, which := range []struct {
		rules map[string]rule
		known map[string]*operator
	}{{rules, byName}, {fusedRules, fusedByName}} {
		for op := range which.rules {
			if which.known[op] == nil {
				t.Errorf("there is a derivative rule for %s, but no such operator", op)
			}
		}
	}
	var without []string
	for _, row := range table {
		if rules[row.op] == nil && flatOps[row.op] == "" {
			without = append(without, row.op)
		}
	}
	t.Logf("refused on the way from an output to the samples: %s", strings.Join(without, " "))
}

// upTo lists the numbers below n.
func upTo(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}
