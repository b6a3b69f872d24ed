package ops

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

// The reductions as they are defined, of all the numbers at once.
var reduceWant = map[string]func(x []float64) float64{
	"ReduceSum":  sum64,
	"ReduceMean": func(x []float64) float64 { return sum64(x) / float64(len(x)) },
	"ReduceProd": func(x []float64) float64 {
		p := 1.0
		for _, v := range x {
			p *= v
		}
		return p
	},
	"ReduceMax": func(x []float64) float64 { return slices.Max(append(slices.Clone(x), math.Inf(-1))) },
	"ReduceMin": func(x []float64) float64 { return slices.Min(append(slices.Clone(x), math.Inf(1))) },
	"ReduceL1": func(x []float64) float64 {
		s := 0.0
		for _, v := range x {
			s += math.Abs(v)
		}
		return s
	},
	"ReduceL2":        func(x []float64) float64 { return math.Sqrt(sumSquares64(x)) },
	"ReduceSumSquare": sumSquares64,
}

func sum64(x []float64) (s float64) {
	for _, v := range x {
		s += v
	}
	return s
}

func sumSquares64(x []float64) (s float64) {
	for _, v := range x {
		s += v * v
	}
	return s
}

// reduced groups the elements of x by output.
func reduced[T number](x []T, shape []int, gone []bool) (out [][]float64) {
	kept := 1
	for i, d := range shape {
		if !gone[i] {
			kept *= d
		}
	}
	out = make([][]float64, kept)
	positions(shape, func(i int, pos []int) {
		o := 0
		for d := range shape {
			if !gone[d] {
				o = o*shape[d] + pos[d]
			}
		}
		out[o] = append(out[o], float64(x[i]))
	})
	return out
}

func TestReduce(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 250 {
		shape := movableShape(r)
		gone := make([]bool, len(shape))
		var axes []int
		for _, a := range r.Perm(len(shape)) {
			if r.IntN(2) == 0 {
				gone[a] = true
				axes = append(axes, a-len(shape)*r.IntN(2))
			}
		}
		x := randn(r, shape...)
		small := make([]int32, x.Elems())
		for i := range small {
			small[i] = int32(r.IntN(7) - 3)
		}
		whole := Of(shape, small)
		keep := r.IntN(2)
		for op, f := range reduceWant {
			since := int64(18)
			if op == "ReduceSum" {
				since = 13
			}
			tc := testCall{op: op, version: since - int64(r.IntN(2)), in: []*Tensor{x}, attrs: map[string]onnx.Attr{"keepdims": attrInt(keep)}}
			switch {
			case tc.version == since:
				tc.in = append(tc.in, int64s(axes...))
				tc.attrs["noop_with_empty_axes"] = attrInt(1)
			case len(axes) == 0:
				continue
			default:
				tc.attrs["axes"] = ints(axes...)
			}
			var want []float64
			for _, g := range reduced(Data[float32](x), shape, gone) {
				want = append(want, f(g))
			}
			var wantShape []int
			for i, d := range shape {
				if gone[i] && keep == 1 {
					d = 1
				}
				if !gone[i] || keep == 1 {
					wantShape = append(wantShape, d)
				}
			}
			got := tc.mustRun(t)[0]
			if !slices.Equal(got.Shape, wantShape) {
				t.Fatalf("%s: shape %v, want %v", tc, got.Shape, wantShape)
			}
			near(t, tc, Data[float32](got), want, 1e-5)
			wide := New(Type{DType: onnx.Double, Shape: shape})
			caster(wide, x)(0, x.Elems())
			tc.in[0] = wide
			near64(t, tc, Data[float64](tc.mustRun(t)[0]), want, 1e-11)

			tc.in[0] = whole
			ints := Data[int32](tc.mustRun(t)[0])
			for i, g := range reduced(small, shape, gone) {
				if op == "ReduceProd" && len(g) > 15 || len(g) == 0 {
					continue
				}
				if w := math.Trunc(f(g)); float64(ints[i]) != w {
					t.Fatalf("%s: %v gives %v, want %v", tc, g, ints[i], w)
				}
			}
		}
	}
}

func TestReduceAxes(t *testing.T) {
	x := randn(rand.New(rand.NewPCG(1, 1)), 2, 3)
	all := sum64([]float64{float64(Data[float32](x)[0]), float64(Data[float32](x)[1]), float64(Data[float32](x)[2]),
		float64(Data[float32](x)[3]), float64(Data[float32](x)[4]), float64(Data[float32](x)[5])})
	for _, tc := range []testCall{
		{op: "ReduceSum", version: 11, in: []*Tensor{x}},
		{op: "ReduceSum", version: 13, in: []*Tensor{x}},
		{op: "ReduceSum", version: 13, in: []*Tensor{x, nil}},
		{op: "ReduceSum", version: 13, in: []*Tensor{x, int64s()}},
		{op: "ReduceSum", version: 13, in: []*Tensor{x, int64s(1, 0)}},
	} {
		got := tc.mustRun(t)[0]
		near(t, tc, Data[float32](got), []float64{all}, 1e-6)
		if !slices.Equal(got.Shape, []int{1, 1}) {
			t.Errorf("%s: shape %v", tc, got.Shape)
		}
	}
	noop := map[string]onnx.Attr{"noop_with_empty_axes": attrInt(1)}
	if got := (testCall{op: "ReduceSum", attrs: noop, in: []*Tensor{x}}).mustRun(t)[0]; !slices.Equal(got.mem, x.mem) || !slices.Equal(got.Shape, x.Shape) {
		t.Error("not the identity")
	}
	if got := (testCall{op: "ReduceL1", attrs: noop, in: []*Tensor{x, int64s()}}).mustRun(t)[0]; Data[float32](got)[1] != float32(math.Abs(float64(Data[float32](x)[1]))) {
		t.Error("not the absolute value")
	}
	testCall{op: "ReduceSum", in: []*Tensor{x, int64s(2)}}.mustFail(t, true)
	testCall{op: "ReduceSum", in: []*Tensor{x, int64s(0, -2)}}.mustFail(t, true)
	testCall{op: "ReduceSum", version: 11, in: []*Tensor{x, int64s(0)}}.mustFail(t, true)
	testCall{op: "ReduceSum", in: []*Tensor{x}, attrs: map[string]onnx.Attr{"axes": ints(0)}}.mustFail(t, true)
	testCall{op: "ReduceMax", version: 17, in: []*Tensor{x, int64s(0)}}.mustFail(t, true)
	testCall{op: "ReduceSum", in: []*Tensor{x, int64s(0)}, allVar: true}.mustFail(t, false)
	testCall{op: "ReduceSum", in: []*Tensor{Of([]int{2}, []bool{true, false})}}.mustFail(t, true)
}

func TestReduceSpecials(t *testing.T) {
	b := Of([]int{2, 2}, []bool{true, false, false, false})
	axis := int64s(1)
	if got := Data[bool](testCall{op: "ReduceMax", in: []*Tensor{b, axis}}.mustRun(t)[0]); !got[0] || got[1] {
		t.Error(got)
	}
	if got := Data[bool](testCall{op: "ReduceMin", in: []*Tensor{b, axis}}.mustRun(t)[0]); got[0] || got[1] {
		t.Error(got)
	}
	testCall{op: "ReduceMax", version: 18, in: []*Tensor{b, axis}}.mustFail(t, true)
	nan := float32(math.NaN())
	x := Of([]int{2, 3}, []float32{1, nan, 3, 4, 5, 6})
	for _, op := range []string{"ReduceMax", "ReduceMin", "ReduceSum"} {
		for a := range 2 {
			got := Data[float32](testCall{op: op, in: []*Tensor{x, int64s(a)}}.mustRun(t)[0])
			if i := 1 - a; got[i] == got[i] {
				t.Errorf("%s over axis %d loses the NaN: %v", op, a, got)
			}
		}
	}
	none := Of([]int{0, 2}, []int8{})
	if got := Data[int8](testCall{op: "ReduceMax", in: []*Tensor{none, int64s(0)}}.mustRun(t)[0]); got[0] != math.MinInt8 {
		t.Error(got)
	}
	if got := Data[int8](testCall{op: "ReduceMin", in: []*Tensor{none, int64s(0)}}.mustRun(t)[0]); got[0] != math.MaxInt8 {
		t.Error(got)
	}
	if got := Data[uint64](testCall{op: "ReduceMean", in: []*Tensor{Of([]int{2}, []uint64{1 << 63, 1<<63 - 2})}}.mustRun(t)[0]); got[0] != math.MaxInt64 {
		t.Error(got)
	}
}

func TestReduceBlocked(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for op := range reduceWant {
		for _, shape := range [][]int{{2, 5, 3, 4}, {1, 32, 8, 8}, {3, 17, 7}, {2, 40, 2, 3, 4}, {2, 3, 0, 4}} {
			x := randn(r, shape...)
			tc := testCall{op: op, in: []*Tensor{x, int64s(2)}}
			for i := 3; i < len(shape); i++ {
				tc.in[1] = Of([]int{i - 1}, append(Data[int64](tc.in[1]), int64(i-len(shape))))
			}
			want := tc.mustRun(t)[0]
			tc.in[0] = blocked(x)
			if Layouts(tc.call())[0] != Blocked {
				t.Errorf("%s: not blocked", tc)
			}
			got := tc.mustRun(t)[0]
			var ref []float64
			for _, v := range Data[float32](want) {
				ref = append(ref, float64(v))
			}
			near(t, tc, Data[float32](plain(got)), ref, 1e-6)
			for _, axes := range [][]int{{0, 2}, {1, 2}, {1}} {
				tc.in[1] = int64s(axes...)
				if Layouts(tc.call())[0] != Plain {
					t.Errorf("%s: blocked", tc)
				}
				tc.mustFail(t, false)
			}
		}
	}
}

func BenchmarkReduce(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, bench := range []struct {
		name  string
		shape []int
		axes  []int
		block bool
	}{
		{"HW plain", []int{1, 64, 64, 64}, []int{2, 3}, false},
		{"HW blocked", []int{1, 64, 64, 64}, []int{2, 3}, true},
		{"C", []int{1, 64, 64, 64}, []int{1}, false},
	} {
		x := randn(r, bench.shape...)
		if bench.block {
			x = blocked(x)
		}
		in := []*Tensor{x, int64s(bench.axes...)}
		k, err := Lower(testCall{op: "ReduceMean", in: in}.call())
		if err != nil {
			b.Fatal(err)
		}
		task := k.Bind(NewMemory(k, in, []*Tensor{New(k.Out[0])}, AlignedBytes(ScratchBytes(k, 1)), 1))[0]
		b.Run(bench.name, func(b *testing.B) {
			b.SetBytes(int64(x.Bytes()))
			for b.Loop() {
				for p := range task.Parts {
					task.Run(p, 0)
				}
			}
		})
	}
}

// The logarithms of sums, also where exp alone would overflow, and of nothing.
func TestReduceLog(t *testing.T) {
	inf := float32(math.Inf(1))
	x := Of([]int{3, 3}, []float32{1, 2, 5, 1000, 1000, -inf, -inf, -inf, -inf})
	for _, c := range []struct {
		op   string
		axis int
		want []float64
	}{
		{"ReduceLogSum", 1, []float64{math.Log(8), math.Inf(-1), math.NaN()}},
		{"ReduceLogSumExp", 1, []float64{5 + math.Log(1+math.Exp(-3)+math.Exp(-4)), 1000 + math.Ln2, math.Inf(-1)}},
		{"ReduceLogSumExp", 0, []float64{1000, 1000, 5}},
	} {
		tc := testCall{op: c.op, in: []*Tensor{x, int64s(c.axis)}, attrs: map[string]onnx.Attr{"keepdims": attrInt(0)}}
		if c.op == "ReduceLogSum" {
			tc.in[0] = Of([]int{3, 3}, []float32{1, 2, 5, 0, 0, 0, -1, -1, -1})
		}
		near(t, tc, Data[float32](tc.mustRun(t)[0]), c.want, 1e-5)
	}
	whole := testCall{op: "ReduceLogSumExp", in: []*Tensor{Of([]int{2}, []int32{20, 20})}}.mustRun(t)[0]
	if Data[int32](whole)[0] != 20 {
		t.Error(Data[int32](whole))
	}
	none := testCall{op: "ReduceLogSumExp", in: []*Tensor{Of([]int{0}, []float32{})}}.mustRun(t)[0]
	if v := float64(Data[float32](none)[0]); !math.IsInf(v, -1) {
		t.Error(v)
	}
}
