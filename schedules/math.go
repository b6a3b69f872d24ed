package schedules

import "math"

// The functions below follow FreeBSD's msun (e_exp.c, e_log.c; Copyright 1993
// and 2004 Sun Microsystems, Inc., freely granted), written so that every
// product is rounded before it is added: float64(x*y) forbids fusing.

const (
	ln2Hi = 6.93147180369123816490e-01
	ln2Lo = 1.90821492927058770002e-10
)

func exp(x float64) float64 {
	switch {
	case x != x:
		return x
	case x > 709.78:
		return math.Inf(1)
	case x < -745.2:
		return 0
	}
	k := math.Floor(float64(x*math.Log2E) + 0.5)
	hi, lo := x-float64(k*ln2Hi), float64(k*ln2Lo)
	const (
		p1 = 1.66666666666666019037e-01
		p2 = -2.77777777770155933842e-03
		p3 = 6.61375632143793436117e-05
		p4 = -1.65339022054652515390e-06
		p5 = 4.13813679705723846039e-08
	)
	r := hi - lo
	t := float64(r * r)
	p := p4 + float64(t*p5)
	p = p3 + float64(t*p)
	p = p2 + float64(t*p)
	p = p1 + float64(t*p)
	c := r - float64(t*p)
	y := 1 - ((lo - float64(r*c)/(2-c)) - hi)
	return math.Ldexp(y, int(k))
}

// expm1 is e^x−1. Near 0 it is the Taylor series, which gains nothing from
// msun's tricks at the few places where a schedule needs it.
func expm1(x float64) float64 {
	if math.Abs(x) > 0.35 {
		return exp(x) - 1
	}
	s := 1.0
	for i := 16; i > 1; i-- {
		s = 1 + float64(x*s)/float64(i)
	}
	return x * s
}

func log(x float64) float64 {
	switch {
	case x == 0:
		return math.Inf(-1)
	case !(x > 0):
		return math.NaN()
	case math.IsInf(x, 1):
		return x
	}
	const (
		l1 = 6.666666666666735130e-01
		l2 = 3.999999999940941908e-01
		l3 = 2.857142874366239149e-01
		l4 = 2.222219843214978396e-01
		l5 = 1.818357216161805012e-01
		l6 = 1.531383769920937332e-01
		l7 = 1.479819860511658591e-01
	)
	m, e := math.Frexp(x)
	if m < math.Sqrt2/2 {
		m, e = 2*m, e-1
	}
	f, k := m-1, float64(e)
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
	return float64(k*ln2Hi) - ((half - (float64(s*(half+r)) + float64(k*ln2Lo))) - f)
}

// log1p is ln(1+x) with the digits of a small x.
func log1p(x float64) float64 {
	u := 1 + x
	switch {
	case u == 1 || math.IsInf(u, 1):
		return x
	case !(u > 0):
		return log(u) // −∞, or not a number
	}
	// What was lost in u is made up by the ratio (Goldberg 1991, theorem 4).
	return log(u) * (x / (u - 1))
}

// Exp, Log, Expm1 and Log1p are e^x, ln x, e^x−1 and ln(1+x) with the same bits
// on every machine, for the coefficients of samplers. They are within an ulp of
// package math's, Log1p within three.
func Exp(x float64) float64   { return exp(x) }
func Log(x float64) float64   { return log(x) }
func Expm1(x float64) float64 { return expm1(x) }
func Log1p(x float64) float64 { return log1p(x) }
