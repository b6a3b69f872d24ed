package ops

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
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
			out[j] = plain(out[j])
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
		case "Gelu":
			tanh := tc
			tanh.attrs = attrs{"approximate": attrStr("tanh")}
			checkGrad(t, tanh, 0)
		case "Celu", "Elu", "LeakyRelu", "Swish", "HardSigmoid":
			alpha := tc
			alpha.attrs = attrs{"alpha": attrFloat(0.375)}
			checkGrad(t, alpha, 0)
		}
		if !Differentiable(tc.call().Node) {
			t.Logf("%s has no derivative rule", op)
			continue
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
				away2(tc)
			}
			checkGrad(t, tc, upTo(n, 1)...)
		}
	}
	// Ties are shared, a power of zero has no slope, whole exponents are other types.
	x := Of([]int{4}, []float32{0, 1.5, -2, 3})
	checkGrad(t, testCall{op: "Pow", in: []*Tensor{x, Of([]int{}, []float32{2})}}, 0)
	checkGrad(t, testCall{op: "Pow", in: []*Tensor{x, Of([]int{4}, []float32{0, 0, 3, 1})}}, 0)
	checkGrad(t, testCall{op: "Pow", in: []*Tensor{x, Of([]int{}, []int64{3})}}, 0)
	cond := Of([]int{3, 1}, []bool{true, false, true})
	checkGrad(t, testCall{op: "Where", in: []*Tensor{cond, randn(r, 3, 4), randn(r, 4)}, allVar: true}, 1, 2)
}

// away2 keeps a quotient away from whole numbers, where a remainder jumps.
func away2(tc testCall) {
	for i := range Data[float32](tc.in[1]) {
		Data[float32](tc.in[1])[i] = 0.7310585
	}
}

func TestReduceGradients(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 1))
	for _, op := range []string{"ReduceMax", "ReduceMin", "ReduceMean", "ReduceSum", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare"} {
		for range 10 {
			shape := randShape(r, 1+r.IntN(4), 1, 4)
			tc := testCall{op: op, version: 18, in: []*Tensor{away(randn(r, shape...))}, runtime: []bool{true}, attrs: attrs{"keepdims": attrInt(r.IntN(2))}}
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
		checkGrad(t, tc, upTo(len(tc.in), 1)...)
	}
}

var _ = fmt.Sprint
