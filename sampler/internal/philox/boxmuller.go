package philox

import (
	"math"
	"math/bits"
)

// boxMuller turns pairs of words into pairs of normals (Box & Muller 1958):
// with u = (w+½)2⁻³²,
//
//	z_0 = √(−2 ln u_0) cos 2πu_1,  z_1 = √(−2 ln u_0) sin 2πu_1
//
// computed in float64 and rounded once, so |z| ≤ 6.76. Every product is
// rounded before it is added (float64(x*y) forbids fusing) and nothing comes
// from package math but the square root, which is exact by definition: the
// bits are the same on every machine. The polynomials are those of FreeBSD's
// msun (e_log.c, k_sin.c, k_cos.c; Copyright 1993 Sun Microsystems, Inc.,
// freely granted).
//
// Both functions are without branches, which random bits would mispredict
// half of the time.
func boxMuller(dst []float32, w *[chunk]uint32) {
	i := 0
	for ; i+2 <= len(dst) && i+2 <= len(w); i += 2 {
		r := math.Sqrt(-2 * logUnit(w[i]))
		sin, cos := sincosTurn(w[i+1])
		dst[i], dst[i+1] = float32(r*cos), float32(r*sin)
	}
	if i < len(dst) {
		r := math.Sqrt(-2 * logUnit(w[i]))
		_, cos := sincosTurn(w[i+1])
		dst[i] = float32(r * cos)
	}
}

// logUnit is ln((w+½)2⁻³²).
func logUnit(w uint32) float64 {
	const (
		ln2Hi = 6.93147180369123816490e-01
		ln2Lo = 1.90821492927058770002e-10
		l1    = 6.666666666666735130e-01
		l2    = 3.999999999940941908e-01
		l3    = 2.857142874366239149e-01
		l4    = 2.222219843214978396e-01
		l5    = 1.818357216161805012e-01
		l6    = 1.531383769920937332e-01
		l7    = 1.479819860511658591e-01
	)
	// 2w+1 = m·2ⁿ with m in [½,1), then m in [√½,√2).
	odd := 2*uint64(w) + 1
	n := bits.Len64(odd)
	const root = 0x3FE6A09E667F3BCD // √½, rounded up
	m := (odd<<(53-n&63))&(1<<52-1) | 1022<<52
	less := (m - root) >> 63
	f := math.Float64frombits(m+less<<52) - 1
	kf := float64(n - 33 - int(less))
	s := f / (2 + f)
	s2 := float64(s * s)
	s4 := float64(s2 * s2)
	a := l5 + float64(s4*l7)
	a = l3 + float64(s4*a)
	a = l1 + float64(s4*a)
	b := l4 + float64(s4*l6)
	b = l2 + float64(s4*b)
	r := float64(s2*a) + float64(s4*b)
	half := float64(0.5 * f * f)
	return float64(kf*ln2Hi) - ((half - (float64(s*(half+r)) + float64(kf*ln2Lo))) - f)
}

// sincosTurn is the sine and cosine of 2π(w+½)2⁻³². Counting in turns makes
// the reduction to [−π/4, π/4] exact integer arithmetic.
func sincosTurn(w uint32) (sin, cos float64) {
	const (
		s1 = -1.66666666666666324348e-01
		s2 = 8.33333333332248946124e-03
		s3 = -1.98412698298579493134e-04
		s4 = 2.75573137070700676789e-06
		s5 = -2.50507602534068634195e-08
		s6 = 1.58969099521155010221e-10
		c1 = 4.16666666666666019037e-02
		c2 = -1.38888888888741095749e-03
		c3 = 2.48015872894767294178e-05
		c4 = -2.75573143513906633035e-07
		c5 = 2.08757232129817482790e-09
		c6 = -1.13596475577881948265e-11
	)
	quarter := (w + 1<<29) >> 30
	rest := int32(w - quarter<<30)
	x := float64((float64(rest) + 0.5) * (math.Pi / (1 << 31)))

	z := float64(x * x)
	p := s5 + float64(z*s6)
	p = s4 + float64(z*p)
	p = s3 + float64(z*p)
	p = s2 + float64(z*p)
	p = s1 + float64(z*p)
	s := x + float64(float64(z*x)*p)

	p = c5 + float64(z*c6)
	p = c4 + float64(z*p)
	p = c3 + float64(z*p)
	p = c2 + float64(z*p)
	p = c1 + float64(z*p)
	half := float64(0.5 * z)
	one := 1 - half
	c := one + (((1 - one) - half) + float64(z*float64(z*p)))

	// Swapped in the odd quarters; sine is negative in the third and fourth,
	// cosine in the second and third.
	sb, cb := math.Float64bits(s), math.Float64bits(c)
	swap := (sb ^ cb) & -uint64(quarter&1)
	sb ^= swap ^ uint64(quarter>>1)<<63
	cb ^= swap ^ uint64((quarter+1)>>1&1)<<63
	return math.Float64frombits(sb), math.Float64frombits(cb)
}
