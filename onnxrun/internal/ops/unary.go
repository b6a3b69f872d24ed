package ops

import (
	"math"

	"sampleonnx/onnxrun/internal/kernel"
	"sampleonnx/onnxrun/internal/onnx"
)

// followLayout is for operators that treat every element alike: whatever the
// layout is, it stays.
func followLayout(c *Call) []Layout {
	want := make([]Layout, len(c.In))
	for i := range c.In {
		if !c.In[i].Absent {
			want[i] = c.In[i].Layout
		}
	}
	return want
}

// unary is one function of one number. What has no kernel for float32 is
// computed in float64 and rounded once.
type unary struct {
	f32  func(dst, src []float32)
	f64  func(x float64) float64
	ints func(onnx.DType) bool // the integer types it has; nil: none
}

// The functions, by operator; those with attributes read them from the call.
var unaries = map[string]func(c *Call) unary{
	"Abs":        func(*Call) unary { return unary{kernel.Abs, math.Abs, isInteger} },
	"Acos":       func(*Call) unary { return unary{nil, math.Acos, nil} },
	"Acosh":      func(*Call) unary { return unary{nil, math.Acosh, nil} },
	"Asin":       func(*Call) unary { return unary{nil, math.Asin, nil} },
	"Asinh":      func(*Call) unary { return unary{nil, math.Asinh, nil} },
	"Atan":       func(*Call) unary { return unary{nil, math.Atan, nil} },
	"Atanh":      func(*Call) unary { return unary{nil, math.Atanh, nil} },
	"Ceil":       func(*Call) unary { return unary{kernel.Ceil, math.Ceil, nil} },
	"Cos":        func(*Call) unary { return unary{kernel.Cos, math.Cos, nil} },
	"Cosh":       func(*Call) unary { return unary{nil, math.Cosh, nil} },
	"Erf":        func(*Call) unary { return unary{kernel.Erf, math.Erf, nil} },
	"Exp":        func(*Call) unary { return unary{kernel.Exp, math.Exp, nil} },
	"Floor":      func(*Call) unary { return unary{kernel.Floor, math.Floor, nil} },
	"HardSwish":  func(*Call) unary { return unary{hardSwishes, hardSwish, nil} },
	"Log":        func(*Call) unary { return unary{kernel.Log, math.Log, nil} },
	"Mish":       func(*Call) unary { return unary{mishes, mish, nil} },
	"Neg":        func(*Call) unary { return unary{kernel.Neg, neg, isSigned} },
	"Reciprocal": func(*Call) unary { return unary{kernel.Reciprocal, reciprocal, nil} },
	"Relu":       func(*Call) unary { return unary{kernel.Relu, relu, isSigned} },
	"Round":      func(*Call) unary { return unary{kernel.Round, math.RoundToEven, nil} },
	"Sigmoid":    func(*Call) unary { return unary{kernel.Sigmoid, sigmoid, nil} },
	"Sign":       func(*Call) unary { return unary{nil, sign, isInteger} },
	"SiLU":       func(*Call) unary { return unary{kernel.SiLU, silu, nil} },
	"Sin":        func(*Call) unary { return unary{kernel.Sin, math.Sin, nil} },
	"Sinh":       func(*Call) unary { return unary{nil, math.Sinh, nil} },
	"Softplus":   func(*Call) unary { return unary{kernel.Softplus, softplus, nil} },
	"Softsign":   func(*Call) unary { return unary{softsigns, softsign, nil} },
	"Sqrt":       func(*Call) unary { return unary{kernel.Sqrt, math.Sqrt, nil} },
	"Tan":        func(*Call) unary { return unary{nil, math.Tan, nil} },
	"Tanh":       func(*Call) unary { return unary{kernel.Tanh, math.Tanh, nil} },

	"Celu": func(c *Call) unary {
		alpha := c.Float("alpha", 1)
		u := unary{f64: func(x float64) float64 {
			return math.Max(0, x) + math.Min(0, float64(alpha)*math.Expm1(x/float64(alpha)))
		}}
		if alpha > 0 {
			u.f32 = inPieces(func(y, s, x []float32) {
				kernel.DivScalar(s, x, alpha)
				kernel.MinScalar(s, s, 0)
				kernel.Elu(s, s, alpha)
				kernel.MaxScalar(y, x, 0)
				kernel.Add(y, y, s)
			})
		}
		return u
	},
	"Elu": func(c *Call) unary {
		alpha := c.Float("alpha", 1)
		return unary{
			func(dst, src []float32) { kernel.Elu(dst, src, alpha) },
			func(x float64) float64 { return elu(x, float64(alpha)) }, nil}
	},
	"Gelu": func(c *Call) unary {
		if c.Str("approximate", "none") == "tanh" {
			return unary{kernel.GeluTanh, geluTanh, nil}
		}
		return unary{kernel.Gelu, gelu, nil}
	},
	"HardSigmoid": func(c *Call) unary {
		a, b := c.Float("alpha", 0.2), c.Float("beta", 0.5)
		alpha, beta := float64(a), float64(b)
		return unary{
			inPieces(func(y, _, x []float32) {
				kernel.ScaleShift(y, x, a, b)
				kernel.Clip(y, y, 0, 1)
			}),
			func(x float64) float64 { return math.Max(0, math.Min(1, float64(alpha*x)+beta)) }, nil}
	},
	"LeakyRelu": func(c *Call) unary {
		alpha := c.Float("alpha", 0.01)
		return unary{
			func(dst, src []float32) { kernel.LeakyRelu(dst, src, alpha) },
			func(x float64) float64 {
				if x < 0 {
					x *= float64(alpha)
				}
				return x
			}, nil}
	},
	"Selu": func(c *Call) unary {
		alpha, gamma := c.Float("alpha", 1.67326319217681884765625), c.Float("gamma", 1.05070102214813232421875)
		return unary{
			inPieces(func(y, _, x []float32) {
				kernel.Elu(y, x, alpha)
				kernel.MulScalar(y, y, gamma)
			}),
			func(x float64) float64 { return float64(gamma) * elu(x, float64(alpha)) }, nil}
	},
	"Shrink": func(c *Call) unary {
		bias, lambd := float64(c.Float("bias", 0)), float64(c.Float("lambd", 0.5))
		return unary{nil, func(x float64) float64 {
			switch {
			case x < -lambd:
				return x + bias
			case x > lambd:
				return x - bias
			}
			return 0
		}, nil}
	},
	"ThresholdedRelu": func(c *Call) unary {
		alpha := float64(c.Float("alpha", 1))
		return unary{nil, func(x float64) float64 {
			if x > alpha {
				return x
			}
			return 0
		}, nil}
	},
	"Swish": func(c *Call) unary {
		alpha := c.Float("alpha", 1)
		if alpha == 1 {
			return unary{kernel.SiLU, silu, nil}
		}
		return unary{
			inPieces(func(y, s, x []float32) {
				kernel.MulScalar(s, x, alpha)
				kernel.Sigmoid(s, s)
				kernel.Mul(y, s, x)
			}),
			func(x float64) float64 { return x * sigmoid(float64(alpha)*x) }, nil}
	},
}

func neg(x float64) float64        { return -x }
func reciprocal(x float64) float64 { return 1 / x }
func silu(x float64) float64       { return x * sigmoid(x) }
func softsign(x float64) float64   { return x / (1 + math.Abs(x)) }
func softplus(x float64) float64   { return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }
func mish(x float64) float64       { return x * math.Tanh(softplus(x)) }
func hardSwish(x float64) float64  { return x * math.Max(0, math.Min(1, x/6+0.5)) }
func gelu(x float64) float64       { return x / 2 * (1 + math.Erf(x/math.Sqrt2)) }

func geluTanh(x float64) float64 {
	return x * sigmoid(2*math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)) // 1 + tanh u = 2·sigmoid(2u)
}

func relu(x float64) float64 {
	if x < 0 {
		return 0
	}
	return x
}

func elu(x, alpha float64) float64 {
	if x > 0 {
		return x
	}
	return alpha * math.Expm1(x)
}

func sigmoid(x float64) float64 {
	e := math.Exp(-math.Abs(x))
	if x >= 0 {
		return 1 / (1 + e)
	}
	return e / (1 + e)
}

func sign(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return x // ±0 and NaN
}

// The same for integers, whose arithmetic wraps.
func integerUnary[T integer](op string) func(dst, src []T) {
	f := map[string]func(T) T{
		"Abs": func(x T) T {
			if x < 0 {
				return -x
			}
			return x
		},
		"Neg":  func(x T) T { return -x },
		"Relu": func(x T) T { return max(x, 0) },
		"Sign": func(x T) T {
			switch {
			case x > 0:
				return 1
			case x < 0:
				x = 0
				return x - 1
			}
			return 0
		},
	}[op]
	return each(f)
}

// each applies f to every element.
func each[T any](f func(T) T) func(dst, src []T) {
	return func(dst, src []T) {
		src = src[:len(dst)]
		for i, v := range src {
			dst[i] = f(v)
		}
	}
}

// eachWide applies a float64 function to float32 elements.
func eachWide(f func(float64) float64) func(dst, src []float32) {
	return func(dst, src []float32) {
		src = src[:len(dst)]
		for i, v := range src {
			dst[i] = float32(f(float64(v)))
		}
	}
}

// inPieces makes a kernel of one that has room for a piece beside it, in the
// first-level cache. y may be x; s is neither.
func inPieces(f func(y, s, x []float32)) func(dst, src []float32) {
	return func(dst, src []float32) {
		var room [256]float32
		for len(dst) > 0 {
			n := min(len(dst), len(room))
			f(dst[:n], room[:n], src[:n])
			dst, src = dst[n:], src[n:]
		}
	}
}

// mishes is mish: with e = exp(x) and n = e·(e+2), tanh(softplus(x)) is n/(n+2), which
// takes no logarithm and cancels nothing. Beyond 20 it is 1. dst may be src.
func mishes(dst, src []float32) {
	var a, b [256]float32
	for len(src) > 0 {
		k := min(len(src), len(a))
		e, n, x := a[:k], b[:k], src[:k]
		kernel.MinScalar(e, x, 20)
		kernel.Exp(e, e)
		kernel.AddScalar(n, e, 2)
		kernel.Mul(n, n, e)
		kernel.AddScalar(e, n, 2)
		kernel.Div(n, n, e)
		kernel.Mul(dst[:k], n, x)
		dst, src = dst[k:], src[k:]
	}
}

var hardSwishes = inPieces(func(y, s, x []float32) {
	kernel.ScaleShift(s, x, 1./6, 0.5)
	kernel.Clip(s, s, 0, 1)
	kernel.Mul(y, s, x)
})

var softsigns = inPieces(func(y, s, x []float32) {
	kernel.Abs(s, x)
	kernel.AddScalar(s, s, 1)
	kernel.Div(y, x, s)
})

func lowerUnary(c *Call) (*Kernel, error) {
	op := c.Node.Op
	if a := c.Str("approximate", "none"); a != "none" && a != "tanh" {
		return nil, c.Invalid("approximate is %q, want none or tanh", a)
	}
	f := unaries[op](c)
	t := c.In[0].Type
	ok := func(d onnx.DType) bool { return isFloat(d) || f.ints != nil && f.ints(d) }
	if err := c.want(0, ok, "a type that "+op+" is defined for"); err != nil {
		return nil, err
	}
	switch t.DType {
	case onnx.Double:
		return mapKernel(t, each(f.f64)), nil
	case onnx.Int8:
		return mapKernel(t, integerUnary[int8](op)), nil
	case onnx.Int16:
		return mapKernel(t, integerUnary[int16](op)), nil
	case onnx.Int32:
		return mapKernel(t, integerUnary[int32](op)), nil
	case onnx.Int64:
		return mapKernel(t, integerUnary[int64](op)), nil
	case onnx.Uint8:
		return mapKernel(t, integerUnary[uint8](op)), nil
	case onnx.Uint16:
		return mapKernel(t, integerUnary[uint16](op)), nil
	case onnx.Uint32:
		return mapKernel(t, integerUnary[uint32](op)), nil
	case onnx.Uint64:
		return mapKernel(t, integerUnary[uint64](op)), nil
	}
	if f.f32 == nil {
		f.f32 = eachWide(f.f64)
	}
	return mapKernel(t, f.f32), nil
}

// mapKernel computes out = f(in), element by element, in any layout.
func mapKernel[T Elem](t Type, f func(dst, src []T)) *Kernel {
	return &Kernel{
		Out:     []Type{t},
		InPlace: []int{0},
		FLOPs:   float64(t.Elems()),
		Bind: func(m Memory) []Task {
			dst, src, pad := Data[T](m.Out[0]), Data[T](m.In[0]), spareOf(m.Out[0])
			return eachPart(t.Len(), func(lo, hi int) {
				f(dst[lo:hi], src[lo:hi])
				pad.zero(lo, hi)
			})
		},
	}
}

// eachPart is a task over n elements in a row; the bounds are multiples of
// Block when n is.
func eachPart(n int, f func(lo, hi int)) []Task {
	return []Task{{(n + grain - 1) / grain, func(part, _ int) {
		lo := part * grain
		f(lo, min(lo+grain, n))
	}}}
}

func lowerNot(c *Call) (*Kernel, error) {
	if err := c.want(0, isBool, "bool"); err != nil {
		return nil, err
	}
	return mapKernel(c.In[0].Type, each(func(x bool) bool { return !x })), nil
}

// lowerClip reads the bounds from attributes before opset 11 and from inputs,
// which may change from run to run, since.
func lowerClip(c *Call) (*Kernel, error) {
	t := c.In[0].Type
	if c.Version() < 11 {
		if err := c.want(0, isFloat, "a float type"); err != nil {
			return nil, err
		}
		lo, hi := float64(c.Float("min", float32(math.Inf(-1)))), float64(c.Float("max", float32(math.Inf(1))))
		if t.DType == onnx.Double {
			return mapKernel(t, each(func(x float64) float64 { return clip(x, lo, hi) })), nil
		}
		return mapKernel(t, func(dst, src []float32) { kernel.Clip(dst, src, float32(lo), float32(hi)) }), nil
	}
	if _, ok := c.Node.Attrs["min"]; ok {
		return nil, c.Invalid("min is an attribute, want an input from opset 11")
	}
	if _, ok := c.Node.Attrs["max"]; ok {
		return nil, c.Invalid("max is an attribute, want an input from opset 11")
	}
	if err := c.want(0, isNumber, "a numeric type"); err != nil {
		return nil, err
	}
	if err := c.wantSame(0); err != nil {
		return nil, err
	}
	for i := 1; i < len(c.In); i++ {
		if c.Has(i) && c.In[i].Elems() != 1 {
			return nil, c.Invalid("input %d has shape %v, want a scalar", i, c.In[i].Shape)
		}
	}
	switch t.DType {
	case onnx.Double:
		return clipKernel(c, math.Inf(-1), math.Inf(1), clipEach[float64]), nil
	case onnx.Int8:
		return clipKernel(c, math.MinInt8, math.MaxInt8, clipEach[int8]), nil
	case onnx.Int16:
		return clipKernel(c, math.MinInt16, math.MaxInt16, clipEach[int16]), nil
	case onnx.Int32:
		return clipKernel(c, math.MinInt32, math.MaxInt32, clipEach[int32]), nil
	case onnx.Int64:
		return clipKernel(c, math.MinInt64, math.MaxInt64, clipEach[int64]), nil
	case onnx.Uint8:
		return clipKernel(c, 0, math.MaxUint8, clipEach[uint8]), nil
	case onnx.Uint16:
		return clipKernel(c, 0, math.MaxUint16, clipEach[uint16]), nil
	case onnx.Uint32:
		return clipKernel(c, 0, math.MaxUint32, clipEach[uint32]), nil
	case onnx.Uint64:
		return clipKernel(c, 0, math.MaxUint64, clipEach[uint64]), nil
	}
	return clipKernel(c, float32(math.Inf(-1)), float32(math.Inf(1)), kernel.Clip), nil
}

// clipKernel clips to bounds read at run time; lo and hi stand for those left out.
func clipKernel[T number](c *Call, lo, hi T, f func(dst, src []T, lo, hi T)) *Kernel {
	t := c.In[0].Type
	return &Kernel{
		Out:     []Type{t},
		InPlace: []int{0},
		FLOPs:   float64(t.Elems()),
		Bind: func(m Memory) []Task {
			dst, src, pad := Data[T](m.Out[0]), Data[T](m.In[0]), spareOf(m.Out[0])
			los, his := []T{lo}, []T{hi}
			if len(m.In) > 1 && m.In[1] != nil {
				los = Data[T](m.In[1])
			}
			if len(m.In) > 2 && m.In[2] != nil {
				his = Data[T](m.In[2])
			}
			return eachPart(t.Len(), func(a, b int) {
				f(dst[a:b], src[a:b], los[0], his[0])
				pad.zero(a, b)
			})
		},
	}
}

func clipEach[T number](dst, src []T, lo, hi T) {
	for i, x := range src[:len(dst)] {
		dst[i] = clip(x, lo, hi)
	}
}

// clip is hi when the bounds are the wrong way round, and NaN stays.
func clip[T number](x, lo, hi T) T {
	if x < lo {
		x = lo
	}
	if x > hi {
		x = hi
	}
	return x
}
