package ops

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

// The unary operators as their papers or the standard write them.
var unaryWant = map[string]func(x float64) float64{
	"Abs":   func(x float64) float64 { return math.Sqrt(x * x) },
	"Acos":  math.Acos,
	"Acosh": func(x float64) float64 { return math.Log(x + math.Sqrt(x*x-1)) },
	"Asin":  math.Asin,
	"Asinh": math.Asinh,
	"Atan":  func(x float64) float64 { return math.Asin(x / math.Sqrt(1+x*x)) },
	"Atanh": func(x float64) float64 { return 0.5 * math.Log((1+x)/(1-x)) },
	"Cosh":  func(x float64) float64 { return (math.Exp(x) + math.Exp(-x)) / 2 },
	"Sinh":  func(x float64) float64 { return (math.Exp(x) - math.Exp(-x)) / 2 },
	"Tan":   func(x float64) float64 { return math.Sin(x) / math.Cos(x) },
	"Shrink": func(x float64) float64 {
		return ifElse(x < -0.25, x+0.5, ifElse(x > 0.25, x-0.5, 0))
	},
	"ThresholdedRelu": func(x float64) float64 { return ifElse(x > 1.5, x, 0) },
	"Ceil":            func(x float64) float64 { return -math.Floor(-x) },
	"Celu":            func(x float64) float64 { return math.Max(0, x) + math.Min(0, 1.5*(math.Exp(x/1.5)-1)) },
	"Cos":             func(x float64) float64 { return math.Sin(x + math.Pi/2) },
	"Elu":             func(x float64) float64 { return ifElse(x >= 0, x, 1.5*(math.Exp(x)-1)) },
	"Erf":             math.Erf,
	"Exp":             func(x float64) float64 { return math.Pow(math.E, x) },
	"Floor":           math.Floor,
	"Gelu":            func(x float64) float64 { return 0.5 * x * (1 + math.Erf(x*math.Sqrt(0.5))) },
	"HardSigmoid":     func(x float64) float64 { return math.Max(0, math.Min(1, 1.5*x+0.25)) },
	"HardSwish":       func(x float64) float64 { return x * math.Max(0, math.Min(1, x/6+0.5)) },
	"LeakyRelu":       func(x float64) float64 { return ifElse(x < 0, 1.5*x, x) },
	"Log":             math.Log,
	"Mish":            func(x float64) float64 { return x * math.Tanh(math.Log(1+math.Exp(x))) },
	"Neg":             func(x float64) float64 { return 0 - x },
	"Reciprocal":      func(x float64) float64 { return 1 / x },
	"Relu":            func(x float64) float64 { return math.Max(0, x) },
	"Round":           func(x float64) float64 { return math.RoundToEven(x) },
	"Selu":            func(x float64) float64 { return 0.5 * ifElse(x > 0, x, 1.5*math.Exp(x)-1.5) },
	"Sigmoid":         func(x float64) float64 { return 1 / (1 + math.Exp(-x)) },
	"Sign":            func(x float64) float64 { return ifElse(x == 0, 0, x/math.Abs(x)) },
	"SiLU":            func(x float64) float64 { return x / (1 + math.Exp(-x)) },
	"Sin":             math.Sin,
	"Softplus":        func(x float64) float64 { return math.Log(1 + math.Exp(x)) },
	"Softsign":        func(x float64) float64 { return x / (1 + math.Abs(x)) },
	"Sqrt":            math.Sqrt,
	"Swish":           func(x float64) float64 { return x / (1 + math.Exp(-1.5*x)) },
	"Tanh":            func(x float64) float64 { return 1 - 2/(math.Exp(2*x)+1) },
}

var unaryAttrs = map[string]map[string]onnx.Attr{
	"Celu":            {"alpha": attrFloat(1.5)},
	"Elu":             {"alpha": attrFloat(1.5)},
	"HardSigmoid":     {"alpha": attrFloat(1.5), "beta": attrFloat(0.25)},
	"LeakyRelu":       {"alpha": attrFloat(1.5)},
	"Shrink":          {"bias": attrFloat(0.5), "lambd": attrFloat(0.25)},
	"ThresholdedRelu": {"alpha": attrFloat(1.5)},
	"Selu":            {"alpha": attrFloat(1.5), "gamma": attrFloat(0.5)},
	"Swish":           {"alpha": attrFloat(1.5)},
}

func ifElse(b bool, x, y float64) float64 {
	if b {
		return x
	}
	return y
}

func TestUnary(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	shapes := [][]int{{}, {0}, {1}, {7}, {2, 0, 3}, {3, 5, 4}, {2, 19, 3, 5}, {2, 16, 4, 4}, {1, 3, 100, 171}, {2, 3, 1, 2, 1, 2, 3, 1}}
	for op := range unaries {
		want := unaryWant[op]
		if want == nil {
			t.Errorf("%s is not tested", op)
			continue
		}
		tc := testCall{op: op, version: 24, attrs: unaryAttrs[op]}
		if op == "SiLU" {
			tc.domain, tc.version = Fused, 1
		}
		for _, shape := range shapes {
			x := randn(r, shape...)
			ref := make([]float64, x.Elems())
			wide := New(Type{DType: onnx.Double, Shape: shape})
			for i, v := range Data[float32](x) {
				ref[i] = want(float64(v))
				Data[float64](wide)[i] = float64(v)
			}
			tc.in = []*Tensor{x}
			out := tc.mustRun(t)[0]
			near(t, tc, Data[float32](out), ref, 2e-6)
			if len(shape) >= 3 && x.Elems() > 0 {
				tc.in = []*Tensor{blocked(x)}
				b := tc.mustRun(t)[0]
				if b.Layout != Blocked || !slices.Equal(plain(b).mem, out.mem) {
					t.Errorf("%s: blocked differs from plain", tc)
				}
			}
			for _, d := range []onnx.DType{onnx.Float16, onnx.BFloat16} {
				half := &Tensor{x.Type, x.mem}
				half.DType = d
				tc.in = []*Tensor{half}
				if h := tc.mustRun(t)[0]; !slices.Equal(h.mem, out.mem) || h.DType != d {
					t.Errorf("%s: differs from float32", tc)
				}
			}
			tc.in = []*Tensor{wide}
			near64(t, tc, Data[float64](tc.mustRun(t)[0]), ref, 1e-12)
		}
	}
}

func near64(t *testing.T, what any, got, want []float64, tol float64) {
	t.Helper()
	for i, g := range got {
		if w := want[i]; !(math.Abs(g-w) <= tol*max(1, math.Abs(w))) && !(g != g && w != w) && g != w {
			t.Fatalf("%v: element %d is %v, want %v", what, i, g, w)
		}
	}
}

func TestUnarySpecials(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	neg0 := float32(math.Copysign(0, -1))
	in := Of([]int{6}, []float32{0, neg0, inf, -inf, nan, 2.5})
	for op, want := range map[string][]float32{
		"Abs":        {0, 0, inf, inf, nan, 2.5},
		"Ceil":       {0, neg0, inf, -inf, nan, 3},
		"Exp":        {1, 1, inf, 0, nan, float32(math.Exp(2.5))},
		"Log":        {-inf, -inf, inf, nan, nan, float32(math.Log(2.5))},
		"Reciprocal": {inf, -inf, 0, neg0, nan, 0.4},
		"Relu":       {0, 0, inf, 0, nan, 2.5},
		"Round":      {0, neg0, inf, -inf, nan, 2},
		"Sigmoid":    {0.5, 0.5, 1, 0, nan, float32(1 / (1 + math.Exp(-2.5)))},
		"Sign":       {0, 0, 1, -1, nan, 1},
		"Softplus":   {float32(math.Ln2), float32(math.Ln2), inf, 0, nan, float32(math.Log1p(math.Exp(2.5)))},
		"Sqrt":       {0, neg0, inf, nan, nan, float32(math.Sqrt(2.5))},
		"Tanh":       {0, neg0, 1, -1, nan, float32(math.Tanh(2.5))},
		"Erf":        {0, neg0, 1, -1, nan, float32(math.Erf(2.5))},
	} {
		tc := testCall{op: op, in: []*Tensor{in}}
		ref := make([]float64, len(want))
		for i, w := range want {
			ref[i] = float64(w)
		}
		near(t, tc, Data[float32](tc.mustRun(t)[0]), ref, 1e-6)
	}
}

func testIntegerUnary[T integer](t *testing.T, least T) {
	in := Of([]int{5}, []T{least, 0, 1, least + 3, 100})
	for op, f := range map[string]func(T) T{
		"Abs":  func(x T) T { return max(x, -x) },
		"Neg":  func(x T) T { return ^x + 1 },
		"Relu": func(x T) T { return max(0, x) },
		"Sign": func(x T) T {
			if x == 0 {
				return 0
			}
			return x / max(x, -x)
		},
	} {
		if least == 0 && (op == "Neg" || op == "Relu") {
			testCall{op: op, in: []*Tensor{in}}.mustFail(t, true)
			continue
		}
		if least == 0 && op == "Abs" {
			f = func(x T) T { return x }
		}
		if least == 0 && op == "Sign" {
			f = func(x T) T { return min(x, 1) }
		}
		tc := testCall{op: op, in: []*Tensor{in}}
		got := Data[T](tc.mustRun(t)[0])
		for i, x := range Data[T](in) {
			if op == "Abs" && x == least && least != 0 || op == "Sign" && x == least && least != 0 {
				continue // -least wraps
			}
			if got[i] != f(x) {
				t.Errorf("%s of %T %v is %v, want %v", op, x, x, got[i], f(x))
			}
		}
	}
}

func TestIntegerUnary(t *testing.T) {
	testIntegerUnary[int8](t, math.MinInt8)
	testIntegerUnary[int16](t, math.MinInt16)
	testIntegerUnary[int32](t, math.MinInt32)
	testIntegerUnary[int64](t, math.MinInt64)
	testIntegerUnary[uint8](t, 0)
	testIntegerUnary[uint16](t, 0)
	testIntegerUnary[uint32](t, 0)
	testIntegerUnary[uint64](t, 0)
	testCall{op: "Exp", in: []*Tensor{int64s(1)}}.mustFail(t, true)
	testCall{op: "Abs", in: []*Tensor{Of([]int{1}, []bool{true})}}.mustFail(t, true)
	testCall{op: "Gelu", attrs: map[string]onnx.Attr{"approximate": attrStr("what")}, in: []*Tensor{New(Type{DType: onnx.Float})}}.mustFail(t, true)
}

func TestNot(t *testing.T) {
	got := Data[bool](testCall{op: "Not", in: []*Tensor{Of([]int{2}, []bool{true, false})}}.mustRun(t)[0])
	if got[0] || !got[1] {
		t.Error(got)
	}
	testCall{op: "Not", in: []*Tensor{int64s(1)}}.mustFail(t, true)
}

func TestGeluTanh(t *testing.T) {
	x := randn(rand.New(rand.NewPCG(3, 3)), 1000)
	tc := testCall{op: "Gelu", attrs: map[string]onnx.Attr{"approximate": attrStr("tanh")}, in: []*Tensor{x}}
	var want []float64
	for _, v := range Data[float32](x) {
		x := float64(v)
		want = append(want, 0.5*x*(1+math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x))))
	}
	near(t, tc, Data[float32](tc.mustRun(t)[0]), want, 1e-6)
}

func TestClip(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	scalar := func(v float32) *Tensor { return Of([]int{}, []float32{v}) }
	x := randn(r, 2, 5, 3, 4)
	nan := float32(math.NaN())
	Data[float32](x)[7] = nan
	for _, version := range []int64{7, 11, 13} {
		for _, b := range [][2]float32{{-0.5, 0.5}, {0.5, -0.5}, {-0.5, nan}, {nan, 0.25}, {nan, nan}, {1, 2}} { // NaN: left out
			tc := testCall{op: "Clip", version: version, in: []*Tensor{x}}
			if version < 11 {
				tc.attrs = map[string]onnx.Attr{}
				if b[0] == b[0] {
					tc.attrs["min"] = attrFloat(b[0])
				}
				if b[1] == b[1] {
					tc.attrs["max"] = attrFloat(b[1])
				}
			} else {
				tc.runtime = []bool{true, true, true}
				tc.in = append(tc.in, nil, nil)
				if b[0] == b[0] {
					tc.in[1] = scalar(b[0])
				}
				if b[1] == b[1] {
					tc.in[2] = scalar(b[1])
				}
			}
			var want []float64
			for _, v := range Data[float32](x) {
				if b[0] == b[0] && v < b[0] {
					v = b[0]
				}
				if b[1] == b[1] && v > b[1] {
					v = b[1]
				}
				want = append(want, float64(v))
			}
			out := tc.mustRun(t)[0]
			near(t, tc, Data[float32](out), want, 0)
			tc.in[0] = blocked(x)
			near(t, tc, Data[float32](plain(tc.mustRun(t)[0])), want, 0)
			tc.in[0] = x
		}
	}
	tc := testCall{op: "Clip", in: []*Tensor{int64s(-5, 0, 5, 9), Of([]int{}, []int64{-1}), Of([]int{}, []int64{5})}}
	if got := fmt.Sprint(Data[int64](tc.mustRun(t)[0])); got != "[-1 0 5 5]" {
		t.Error(got)
	}
	testCall{op: "Clip", in: []*Tensor{x, int64s(1)}}.mustFail(t, true)
	testCall{op: "Clip", in: []*Tensor{x, randn(r, 2)}}.mustFail(t, true)
	testCall{op: "Clip", attrs: map[string]onnx.Attr{"min": attrFloat(0)}, in: []*Tensor{x}}.mustFail(t, true)
	testCall{op: "Clip", version: 7, in: []*Tensor{x, scalar(1)}}.mustFail(t, true)
}
