package kernel

import "math"

// Neg: dst[i] = -src[i]
func Neg(dst, src []float32) {
	src = same2(dst, src)
	if simd(opNeg, dst, src, nil, 0, 0) == done {
		return
	}
	for i, x := range src {
		dst[i] = -x
	}
}

// Abs: dst[i] = |src[i]|
func Abs(dst, src []float32) {
	src = same2(dst, src)
	if simd(opAbs, dst, src, nil, 0, 0) == done {
		return
	}
	for i, x := range src {
		dst[i] = math.Float32frombits(math.Float32bits(x) &^ (1 << 31))
	}
}

// Sqrt: dst[i] = √src[i]
func Sqrt(dst, src []float32) {
	src = same2(dst, src)
	if simd(opSqrt, dst, src, nil, 0, 0) == done {
		return
	}
	for i, x := range src {
		dst[i] = float32(math.Sqrt(float64(x)))
	}
}

// Floor: dst[i] = ⌊src[i]⌋
func Floor(dst, src []float32) { rounded(opFloor, dst, src, math.Floor) }

// Ceil: dst[i] = ⌈src[i]⌉
func Ceil(dst, src []float32) { rounded(opCeil, dst, src, math.Ceil) }

// Round: dst[i] = the integer nearest to src[i], the even one of two.
func Round(dst, src []float32) { rounded(opRound, dst, src, math.RoundToEven) }

func rounded(o op, dst, src []float32, f func(float64) float64) {
	src = same2(dst, src)
	if simd(o, dst, src, nil, 0, 0) == done {
		return
	}
	for i, x := range src {
		dst[i] = float32(f(float64(x)))
	}
}

// Reciprocal: dst[i] = 1 / src[i]
func Reciprocal(dst, src []float32) { RdivScalar(dst, src, 1) }

// Relu: dst[i] = max(src[i], 0); NaN stays.
func Relu(dst, src []float32) {
	src = same2(dst, src)
	if simd(opRelu, dst, src, nil, 0, 0) == done {
		return
	}
	for i, x := range src {
		dst[i] = max(x, 0)
	}
}

// LeakyRelu: dst[i] = src[i] if src[i] ≥ 0, else alpha·src[i].
func LeakyRelu(dst, src []float32, alpha float32) {
	src = same2(dst, src)
	if simd(opLeakyRelu, dst, src, nil, alpha, 0) == done {
		return
	}
	for i, x := range src {
		if x < 0 {
			x *= alpha
		}
		dst[i] = x
	}
}

// Clip: dst[i] = min(max(src[i], lo), hi); NaN stays.
func Clip(dst, src []float32, lo, hi float32) {
	src = same2(dst, src)
	if simd(opClip, dst, src, nil, lo, hi) == done {
		return
	}
	for i, x := range src {
		if x < lo {
			x = lo
		}
		if x > hi {
			x = hi
		}
		dst[i] = x
	}
}

// Exp: dst[i] = exp(src[i])
func Exp(dst, src []float32) {
	src = same2(dst, src)
	if simd(opExp, dst, src, nil, 0, 0) == done {
		return
	}
	for i, x := range src {
		dst[i] = float32(exp64(float64(x)))
	}
}

// expSub: dst[i] = exp(src[i] - s), the middle of a softmax.
func expSub(dst, src []float32, s float32) {
	if simd(opExpSub, dst, src, nil, s, 0) == done {
		return
	}
	for i, x := range src {
		dst[i] = float32(exp64(float64(x - s)))
	}
}

// Log: dst[i] = ln(src[i])
func Log(dst, src []float32) {
	src = same2(dst, src)
	if simd(opLog, dst, src, nil, 0, 0) == done {
		return
	}
	for i, x := range src {
		dst[i] = float32(math.Log(float64(x)))
	}
}

// Sigmoid: dst[i] = 1 / (1 + exp(-src[i]))
func Sigmoid(dst, src []float32) {
	src = same2(dst, src)
	if simd(opSigmoid, dst, src, nil, 0, 0) == done {
		return
	}
	for i, x := range src {
		// Negated before the conversion: so it is converted in place. Into
		// another register it would wait for that one's last result, and the
		// turns of the loop for one another.
		dst[i] = float32(1 / (1 + exp64(float64(-x))))
	}
}

// SiLU: dst[i] = src[i] · sigmoid(src[i]), the bits of Sigmoid and Mul in turn.
func SiLU(dst, src []float32) {
	src = same2(dst, src)
	if simd(opSiLU, dst, src, nil, 0, 0) == done {
		return
	}
	for i, x := range src {
		dst[i] = x * float32(1/(1+exp64(float64(-x))))
	}
}

// Tanh: dst[i] = tanh(src[i])
func Tanh(dst, src []float32) {
	src = same2(dst, src)
	if simd(opTanh, dst, src, nil, 0, 0) == done {
		return
	}
	for i, x := range src {
		dst[i] = float32(tanh64(float64(x)))
	}
}

// Elu: dst[i] = src[i] if src[i] > 0, else alpha·(exp(src[i]) - 1).
func Elu(dst, src []float32, alpha float32) {
	src = same2(dst, src)
	if simd(opElu, dst, src, nil, alpha, 0) == done {
		return
	}
	for i, x := range src {
		if !(x > 0) {
			x = alpha * float32(expm164(float64(x)))
		}
		dst[i] = x
	}
}

// Softplus: dst[i] = ln(1 + exp(src[i]))
func Softplus(dst, src []float32) {
	src = same2(dst, src)
	if simd(opSoftplus, dst, src, nil, 0, 0) == done {
		return
	}
	for i, x := range src {
		v := float64(x)
		dst[i] = float32(max(v, 0) + math.Log1p(exp64(-math.Abs(v))))
	}
}

// Erf: dst[i] = erf(src[i])
func Erf(dst, src []float32) {
	src = same2(dst, src)
	if simd(opErf, dst, src, nil, 0, 0) == done {
		return
	}
	for i, x := range src {
		dst[i] = float32(math.Erf(float64(x)))
	}
}

// Gelu: dst[i] = src[i]/2 · (1 + erf(src[i]/√2)); its limit 0 at -Inf.
func Gelu(dst, src []float32) {
	src = same2(dst, src)
	if simd(opGelu, dst, src, nil, 0, 0) == done {
		return
	}
	for i, x := range src {
		if x < -20 { // less than the smallest number
			x = 0
		}
		v := float64(x)
		dst[i] = float32(v / 2 * (1 + math.Erf(v*(math.Sqrt2/2))))
	}
}

// GeluTanh: dst[i] = x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³))), x = src[i]; its
// limit 0 at -Inf.
func GeluTanh(dst, src []float32) {
	src = same2(dst, src)
	if simd(opGeluTanh, dst, src, nil, 0, 0) == done {
		return
	}
	for i, x := range src {
		if x < -20 {
			x = 0
		}
		// 1 + tanh(u) = 2·sigmoid(2u) loses no digits where u is very negative.
		v := float64(x)
		u := 2 * math.Sqrt2 / sqrtPi * (v + 0.044715*v*v*v)
		dst[i] = float32(v * sigmoid64(u))
	}
}

const sqrtPi = 1.77245385090551602729816748334114518279754945612238712821380779

// Sin: dst[i] = sin(src[i])
func Sin(dst, src []float32) {
	src = same2(dst, src)
	switch simd(opSin, dst, src, nil, 0, 0) {
	case done:
		return
	case leftovers:
		// The vector code passes through what is beyond its range, and only
		// that is left with a magnitude above 1.
		for i, x := range dst {
			if x > 1.5 || x < -1.5 {
				dst[i] = float32(math.Sin(float64(x)))
			}
		}
		return
	}
	for i, x := range src {
		dst[i] = float32(math.Sin(float64(x)))
	}
}

// Cos: dst[i] = cos(src[i])
func Cos(dst, src []float32) {
	src = same2(dst, src)
	switch simd(opCos, dst, src, nil, 0, 0) {
	case done:
		return
	case leftovers:
		for i, x := range dst {
			if x > 1.5 || x < -1.5 {
				dst[i] = float32(math.Cos(float64(x)))
			}
		}
		return
	}
	for i, x := range src {
		dst[i] = float32(math.Cos(float64(x)))
	}
}

// The scalar functions work in float64, where a short polynomial is exact to
// the last bit of a float32 without further care.

// exp64 is exp to about 1e-13: x = n·ln 2 + r, exp(r) by its series.
func exp64(x float64) float64 {
	switch {
	case x > 700:
		return math.Inf(1)
	case x < -700:
		return 0
	case x != x:
		return x
	}
	n, s := pow2(x)
	return (1 + expm1Poly(x-float64(n*math.Ln2))) * s
}

// expm164 is exp(x)-1 for the x ≤ 0 that Elu asks for, exact near 0.
func expm164(x float64) float64 {
	if x < -50 {
		return -1
	}
	if x != x {
		return x
	}
	n, s := pow2(x)
	return expm1Poly(x-float64(n*math.Ln2))*s + (s - 1)
}

// pow2 returns n, the integer nearest to x/ln 2, and 2ⁿ. Adding a number whose
// last place is 1 rounds, and leaves n in the low bits.
func pow2(x float64) (n, s float64) {
	const magic = 0x1.8p52
	t := float64(x*math.Log2E) + magic
	return t - magic, math.Float64frombits((math.Float64bits(t) + 1023) << 52)
}

// expm1Poly is exp(r)-1 for |r| ≤ ln(2)/2.
func expm1Poly(r float64) float64 {
	const (
		c2 = 1. / 2
		c3 = 1. / 6
		c4 = 1. / 24
		c5 = 1. / 120
		c6 = 1. / 720
		c7 = 1. / 5040
		c8 = 1. / 40320
		c9 = 1. / 362880
	)
	q := r * r
	// Estrin's scheme: half the latency of Horner's.
	hi := (c6 + r*c7) + q*(c8+r*c9)
	lo := (c2 + r*c3) + q*(c4+r*c5)
	return r + q*(lo+q*q*hi)
}

func sigmoid64(x float64) float64 { return 1 / (1 + exp64(-x)) }

func tanh64(x float64) float64 {
	if math.Abs(x) < 1e-3 {
		return x - x*x*x/3
	}
	return 1 - 2/(exp64(2*x)+1)
}
