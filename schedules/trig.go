package schedules

import "math"

// Sincos is the sine and cosine of x, |x| ≤ 10⁶, with the same bits on every
// machine; further out it is package math's. It follows FreeBSD's msun (k_sin.c, k_cos.c and
// the second stage of e_rem_pio2.c; Copyright 1993 Sun Microsystems, Inc.,
// freely granted) and is within an ulp, near the zeros beyond π/2 within
// 10⁻²⁰ where that is more.
func Sincos(x float64) (sin, cos float64) {
	if !(math.Abs(x) <= 1e6) {
		return math.Sincos(x)
	}
	const (
		halfPiHi = 1.57079632673412561417e+00 // 33 bits: times k it is exact
		halfPiLo = 6.07710050630396597660e-11 // the next 33
		halfPiX  = 2.02226624879595063154e-21 // and the rest
		s1       = -1.66666666666666324348e-01
		s2       = 8.33333333332248946124e-03
		s3       = -1.98412698298579493134e-04
		s4       = 2.75573137070700676789e-06
		s5       = -2.50507602534068634195e-08
		s6       = 1.58969099521155010221e-10
		c1       = 4.16666666666666019037e-02
		c2       = -1.38888888888741095749e-03
		c3       = 2.48015872894767294178e-05
		c4       = -2.75573143513906633035e-07
		c5       = 2.08757232129817482790e-09
		c6       = -1.13596475577881948265e-11
	)
	// x = kπ/2 + y + rest, |y| ≤ π/4.
	k := math.Floor(float64(x*(2/math.Pi)) + 0.5)
	high := x - float64(k*halfPiHi)
	middle := float64(k * halfPiLo)
	near := high - middle
	low := float64(k*halfPiX) - ((high - near) - middle)
	y := near - low
	rest := (near - y) - low

	z := float64(y * y)
	p := s5 + float64(z*s6)
	p = s4 + float64(z*p)
	p = s3 + float64(z*p)
	p = s2 + float64(z*p)
	cube := float64(z * y)
	s := y - ((float64(z*(float64(0.5*rest)-float64(cube*p))) - rest) - float64(cube*s1))

	p = c5 + float64(z*c6)
	p = c4 + float64(z*p)
	p = c3 + float64(z*p)
	p = c2 + float64(z*p)
	p = c1 + float64(z*p)
	half := float64(0.5 * z)
	one := 1 - half
	c := one + (((1 - one) - half) + (float64(z*float64(z*p)) - float64(y*rest)))

	switch int(k) & 3 {
	case 1:
		return c, -s
	case 2:
		return -s, -c
	case 3:
		return -c, s
	}
	return s, c
}

// Atan is the arc tangent of x with the same bits on every machine, within 4
// ulps.
func Atan(x float64) float64 {
	if math.Abs(x) > 1 {
		return math.Copysign(math.Pi/2, x) - Atan(1/x)
	}
	// Half of the angle, three times; what is left has a tangent below .1.
	for range 3 {
		x /= 1 + math.Sqrt(1+float64(x*x))
	}
	z, sum := float64(x*x), 0.0
	for k := 17.0; k >= 1; k -= 2 {
		sum = 1/k - float64(z*sum)
	}
	return 8 * float64(x*sum)
}
