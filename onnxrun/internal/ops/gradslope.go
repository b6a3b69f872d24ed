package ops

import (
	"math"

	"sampleonnx/onnxrun/internal/kernel"
	"sampleonnx/onnxrun/internal/onnx"
)

// slope is the derivative of one function of one number: f32 multiplies d by
// f′(x), with two pieces of memory of dst's length; what has none is computed in
// float64.
type slope struct {
	f32 func(dst, d, x, s, t []float32)
	f64 func(x float64) float64
}

// The derivatives, by the operator that they are of.
var slopes = map[string]func(c *Call) slope{
	"Celu": func(c *Call) slope {
		alpha := float64(c.Float("alpha", 1))
		return slope{nil, func(x float64) float64 { return math.Exp(math.Min(0, x/alpha)) }}
	},
	"Elu": func(c *Call) slope {
		alpha := float64(c.Float("alpha", 1))
		s := slope{nil, func(x float64) float64 { return eluSlope(x, alpha) }}
		if alpha == 1 {
			s.f32 = func(dst, d, x, s, _ []float32) { // exp(min(x, 0))
				kernel.MinScalar(s, x, 0)
				kernel.Exp(s, s)
				kernel.Mul(dst, d, s)
			}
		}
		return s
	},
	"Gelu": func(c *Call) slope {
		if c.Str("approximate", "none") == "tanh" {
			return slope{geluTanhSlope32, geluTanhSlope}
		}
		return slope{geluSlope32, geluSlope}
	},
	"HardSigmoid": func(c *Call) slope {
		alpha, beta := float64(c.Float("alpha", 0.2)), float64(c.Float("beta", 0.5))
		return slope{nil, func(x float64) float64 {
			if y := float64(alpha*x) + beta; y > 0 && y < 1 {
				return alpha
			}
			return 0
		}}
	},
	"HardSwish": func(*Call) slope {
		return slope{nil, func(x float64) float64 {
			switch {
			case x <= -3:
				return 0
			case x >= 3:
				return 1
			}
			return x/3 + 0.5
		}}
	},
	"LeakyRelu": func(c *Call) slope {
		alpha := c.Float("alpha", 0.01)
		return slope{
			func(dst, d, x, s, _ []float32) {
				kernel.MulScalar(s, d, alpha)
				positive(dst, d, s, x)
			},
			func(x float64) float64 {
				if x > 0 {
					return 1
				}
				return float64(alpha)
			}}
	},
	"Mish": func(*Call) slope {
		return slope{nil, func(x float64) float64 {
			t := math.Tanh(softplus(x))
			return t + x*(1-t*t)*sigmoid(x)
		}}
	},
	"Relu": func(*Call) slope {
		return slope{
			func(dst, d, x, s, _ []float32) {
				clear(s)
				positive(dst, d, s, x)
			},
			func(x float64) float64 {
				if x > 0 {
					return 1
				}
				return 0
			}}
	},
	"Selu": func(c *Call) slope {
		alpha, gamma := float64(c.Float("alpha", 1.67326319217681884765625)), float64(c.Float("gamma", 1.05070102214813232421875))
		return slope{nil, func(x float64) float64 { return gamma * eluSlope(x, alpha) }}
	},
	"Shrink": func(c *Call) slope {
		lambd := float64(c.Float("lambd", 0.5))
		return slope{nil, func(x float64) float64 {
			if x > lambd || x < -lambd {
				return 1
			}
			return 0
		}}
	},
	"SiLU": func(*Call) slope { return slope{siluSlope32, func(x float64) float64 { return swishSlope(x, 1) }} },
	"Softsign": func(*Call) slope {
		return slope{nil, func(x float64) float64 { return 1 / ((1 + math.Abs(x)) * (1 + math.Abs(x))) }}
	},
	"ThresholdedRelu": func(c *Call) slope {
		alpha := float64(c.Float("alpha", 1))
		return slope{nil, func(x float64) float64 {
			if x > alpha {
				return 1
			}
			return 0
		}}
	},
	"Swish": func(c *Call) slope {
		alpha := float64(c.Float("alpha", 1))
		s := slope{nil, func(x float64) float64 { return swishSlope(x, alpha) }}
		if alpha == 1 {
			s.f32 = siluSlope32
		}
		return s
	},
}

func eluSlope(x, alpha float64) float64 {
	if x > 0 {
		return 1
	}
	return alpha * math.Exp(x)
}

// swishSlope: y = x·σ(αx), y′ = σ + αx·σ·(1 − σ).
func swishSlope(x, alpha float64) float64 {
	s := sigmoid(alpha * x)
	return s * (1 + alpha*x*sigmoid(-alpha*x))
}

// geluSlope: y = x·Φ(x), y′ = Φ + x·φ.
func geluSlope(x float64) float64 {
	return (1+math.Erf(x/math.Sqrt2))/2 + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
}

// geluTanhSlope: y = x·σ(u), u = 2·√(2/π)·(x + 0.044715·x³), y′ = σ + x·σ·(1 − σ)·u′.
func geluTanhSlope(x float64) float64 {
	u := 2 * math.Sqrt(2/math.Pi) * (x + 0.044715*x*x*x)
	return sigmoid(u) * (1 + x*sigmoid(-u)*2*math.Sqrt(2/math.Pi)*(1+3*0.044715*x*x))
}

// positive is a where x > 0 and b where not, without a branch: signs of
// activations are as good as random.
func positive(dst, a, b, x []float32) {
	a, b, x = a[:len(dst)], b[:len(dst)], x[:len(dst)]
	for i, v := range x {
		not := uint32((int64(int32(math.Float32bits(v))) - 1) >> 63) // all ones unless the bits, seen as an integer, are > 0
		dst[i] = math.Float32frombits(math.Float32bits(a[i])&^not | math.Float32bits(b[i])&not)
	}
}

func siluSlope32(dst, d, x, s, t []float32) {
	kernel.Sigmoid(s, x)
	kernel.RsubScalar(t, s, 1) // σ·(1 + x·(1 − σ))
	kernel.Mul(t, t, x)
	kernel.AddScalar(t, t, 1)
	kernel.Mul(s, s, t)
	kernel.Mul(dst, d, s)
}

func geluSlope32(dst, d, x, s, t []float32) {
	kernel.MulScalar(s, x, math.Sqrt2/2)
	kernel.Mul(t, s, s)
	kernel.Erf(s, s)
	kernel.AddScalar(s, s, 1)
	kernel.MulScalar(s, s, 0.5)
	kernel.Neg(t, t)
	kernel.Exp(t, t)
	kernel.Mul(t, t, x)
	kernel.MulScalar(t, t, float32(1/math.Sqrt(2*math.Pi)))
	kernel.Add(s, s, t)
	kernel.Mul(dst, d, s)
}

func geluTanhSlope32(dst, d, x, s, t []float32) {
	c := 2 * math.Sqrt(2/math.Pi)
	kernel.Mul(t, x, x)
	kernel.ScaleShift(s, t, float32(0.044715*c), float32(c))
	kernel.Mul(s, s, x)
	kernel.Sigmoid(s, s)
	kernel.ScaleShift(t, t, float32(3*0.044715*c), float32(c)) // u′
	kernel.Mul(t, t, x)
	kernel.Mul(t, t, s)
	kernel.Mul(dst, d, s) // d·(σ + x·u′·σ·(1 − σ))
	kernel.Mul(t, t, d)
	kernel.RsubScalar(s, s, 1)
	kernel.MulAdd(dst, t, s)
}

// lowerSlope is d·f′(x), element by element, f being the operator that the
// attribute of names.
func lowerSlope(c *Call) (*Kernel, error) {
	of := slopes[c.Str("of", "")]
	if of == nil {
		return nil, c.Invalid("there is no slope of %q", c.Str("of", ""))
	}
	d, x := c.In[0].Type, c.In[1].Type
	if !isFloat(x.DType) || d.DType != x.DType || d.Layout != x.Layout || d.Len() != x.Len() {
		return nil, c.Invalid("%v is no gradient of %v", d, x)
	}
	f := of(c)
	k := &Kernel{Out: []Type{x}, InPlace: []int{0, 1}, FLOPs: 6 * float64(x.Elems())}
	if x.DType == onnx.Double {
		k.Bind = func(m Memory) []Task {
			dst, d, x := Data[float64](m.Out[0]), Data[float64](m.In[0]), Data[float64](m.In[1])
			return eachPart(len(dst), func(lo, hi int) {
				for i := lo; i < hi; i++ {
					dst[i] = d[i] * f.f64(x[i])
				}
			})
		}
		return k, nil
	}
	const tile = tileLen / 2
	k.WorkerScratch = 2 * 4 * tile
	k.Bind = func(m Memory) []Task {
		dst, d, x := Data[float32](m.Out[0]), Data[float32](m.In[0]), Data[float32](m.In[1])
		n := len(dst)
		return []Task{{(n + grain - 1) / grain, func(part, worker int) {
			scratch := Floats(m.Worker(worker), 2*tile)
			end := min((part+1)*grain, n)
			for lo := part * grain; lo < end; lo += tile {
				hi := min(lo+tile, end)
				if f.f32 != nil {
					f.f32(dst[lo:hi], d[lo:hi], x[lo:hi], scratch[:hi-lo], scratch[tile:][:hi-lo])
					continue
				}
				for i := lo; i < hi; i++ {
					dst[i] = float32(float64(d[i]) * f.f64(float64(x[i])))
				}
			}
		}}}
	}
	return k, nil
}

// slopeLayouts keeps both in blocks when one of them is: where d is 0, in the
// spare lanes, so is the product.
func slopeLayouts(c *Call) []Layout {
	for i := range c.In {
		if c.In[i].Layout == Blocked {
			return []Layout{Blocked, Blocked}
		}
	}
	return make([]Layout, 2)
}

// lowerProductGrad: of the product of each row of x, with d its gradient: d
// times the product of all others in the row, which no division gives where
// there are zeros.
func lowerProductGrad(c *Call) (*Kernel, error) {
	x := c.In[1].Type
	if err := c.want(1, isFloat, "a float type"); err != nil {
		return nil, err
	}
	if len(x.Shape) != 2 || c.In[0].DType != x.DType || c.In[0].Elems() != x.Shape[0] {
		return nil, c.Invalid("%v is no gradient of the products of the rows of %v", c.In[0].Type, x)
	}
	k := &Kernel{Out: []Type{x}, FLOPs: 3 * float64(x.Elems())}
	k.Bind = func(m Memory) []Task {
		if x.DType == onnx.Double {
			return productGrad[float64](m, x.Shape[1])
		}
		return productGrad[float32](m, x.Shape[1])
	}
	return k, nil
}

func productGrad[T float](m Memory, n int) []Task {
	d, x, dst := Data[T](m.In[0]), Data[T](m.In[1]), Data[T](m.Out[0])
	parts, step := divide(len(d), 3*float64(n))
	return []Task{{parts, func(part, _ int) {
		lo, hi := bounds(part, step, len(d))
		for r := lo; r < hi; r++ {
			x, y := x[r*n:][:n], dst[r*n:][:n]
			p := float64(d[r])
			for i, v := range x { // what comes before
				y[i] = T(p)
				p *= float64(v)
			}
			p = 1
			for i := n - 1; i >= 0; i-- { // what comes after
				y[i] = T(float64(y[i]) * p)
				p *= float64(x[i])
			}
		}
	}}}
}
