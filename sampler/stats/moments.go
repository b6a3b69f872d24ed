package stats

import "math"

// Moments of n samples: mean m and variance v of each of their elements, with Σ(x−m)²/(n−1) for v, and the kurtosis k, the fourth central moment by
// v². Their standard errors are √(v/n) and v√((k−1)/n), for other laws than the normal too, whose k is 3.
type Moments struct {
	N              int
	Mean, Variance []float64
	Kurtosis       []float64
}

// MomentsOf computes the moments of samples of dim values that lie side by side in x. There must be two.
func MomentsOf(x []float64, dim int) Moments {
	n := len(x) / dim
	m := Moments{n, make([]float64, dim), make([]float64, dim), make([]float64, dim)}
	for i, v := range x {
		m.Mean[i%dim] += v / float64(n)
	}
	for i, v := range x {
		d := v - m.Mean[i%dim]
		m.Variance[i%dim] += d * d / float64(n-1)
		m.Kurtosis[i%dim] += d * d * d * d / float64(n)
	}
	for k, v := range m.Variance {
		m.Kurtosis[k] /= v * v
	}
	return m
}

// ZMean compares the mean of element k with that of n independent samples, given with their variance: the difference in standard errors, which
// is close to normal if the laws are the same.
func (m Moments) ZMean(k int, mean, variance float64, n int) float64 {
	return (m.Mean[k] - mean) / math.Sqrt(m.Variance[k]/float64(m.N)+variance/float64(n))
}

// ZVariance compares the variance of element k with that of n independent samples: the difference of their logarithms, which are closer to normal
// than variances are, in standard errors, the kurtosis taken for both.
func (m Moments) ZVariance(k int, variance float64, n int) float64 {
	spread := max(m.Kurtosis[k]-1, 0.1)
	return math.Log(m.Variance[k]/variance) / math.Sqrt(spread/float64(m.N)+spread/float64(n))
}

// Welch compares the means of element 0 of two sets of samples: t, their difference in standard errors, and the probability of so much either way if
// the laws have one mean and are normal, whatever their variances (Welch 1947). Other laws come to it with more samples.
func Welch(a, b Moments) (t, p float64) {
	ea, eb := a.Variance[0]/float64(a.N), b.Variance[0]/float64(b.N)
	if ea+eb == 0 {
		if a.Mean[0] == b.Mean[0] {
			return 0, 1
		}
		return math.Copysign(math.Inf(1), a.Mean[0]-b.Mean[0]), 0
	}
	t = (a.Mean[0] - b.Mean[0]) / math.Sqrt(ea+eb)
	freedom := (ea + eb) * (ea + eb) / (ea*ea/float64(a.N-1) + eb*eb/float64(b.N-1))
	return t, 2 * StudentTail(math.Abs(t), freedom)
}

// StudentTail is the probability that Student's t with k degrees of freedom is t or more, for t of 0 or more: half the regularised incomplete beta
// function I_x(k/2, ½) at x = k/(k+t²), by its continued fraction (Press et al., Numerical Recipes, section 6.4).
func StudentTail(t, k float64) float64 {
	a, b, x := k/2, 0.5, k/(k+t*t)
	if !(x > 0) {
		return 0
	}
	mirrored := x > (a+1)/(a+b+2) // where the fraction converges slowly, the other side's does not
	if mirrored {
		a, b, x = b, a, 1-x
	}
	if x == 0 {
		return 0.5
	}
	la, _ := math.Lgamma(a)
	lb, _ := math.Lgamma(b)
	lab, _ := math.Lgamma(a + b)
	front := math.Exp(lab-la-lb+a*math.Log(x)+b*math.Log1p(-x)) / a
	c, d := 1.0, 1/(1-(a+b)*x/(a+1))
	h := d
	for n := 1.0; n < 1000; n++ {
		for _, step := range [...]float64{n * (b - n) * x / ((a + 2*n - 1) * (a + 2*n)), -(a + n) * (a + b + n) * x / ((a + 2*n) * (a + 2*n + 1))} {
			d = 1 / (1 + step*d)
			c = 1 + step/c
			h *= c * d
		}
		if math.Abs(c*d-1) < 1e-15 {
			break
		}
	}
	if mirrored {
		return (1 - front*h) / 2
	}
	return front * h / 2
}

// TwoSided is the z that a standard normal exceeds in absolute value with probability p: 1.96 for 0.05.
func TwoSided(p float64) float64 {
	lo, hi := 0.0, 40.0
	for range 100 {
		if mid := (lo + hi) / 2; math.Erfc(mid/math.Sqrt2) > p {
			lo = mid
		} else {
			hi = mid
		}
	}
	return hi
}

// ChiSquareTail is the probability that χ² with k degrees of freedom is x or more: the regularised upper incomplete gamma function Q(k/2, x/2),
// by its series below k/2+1 and its continued fraction above (Press et al., Numerical Recipes, section 6.2).
func ChiSquareTail(x float64, k int) float64 {
	a, z := float64(k)/2, x/2
	if z <= 0 {
		return 1
	}
	lg, _ := math.Lgamma(a)
	front := math.Exp(a*math.Log(z) - z - lg)
	if z < a+1 {
		sum, term := 1/a, 1/a
		for n := 1; n < 10000 && term > sum*1e-16; n++ {
			term *= z / (a + float64(n))
			sum += term
		}
		return 1 - front*sum
	}
	b := z + 1 - a
	c, d := 1e300, 1/b
	h := d
	for n := 1; n < 10000; n++ {
		an := -float64(n) * (float64(n) - a)
		b += 2
		d = 1 / (an*d + b)
		c = b + an/c
		h *= d * c
		if math.Abs(d*c-1) < 1e-15 {
			break
		}
	}
	return front * h
}

// UniformTail is the tail probability of the χ² of counts against equal probabilities.
func UniformTail(counts []int) float64 {
	n := 0
	for _, c := range counts {
		n += c
	}
	want, x := float64(n)/float64(len(counts)), 0.0
	for _, c := range counts {
		x += (float64(c) - want) * (float64(c) - want) / want
	}
	return ChiSquareTail(x, len(counts)-1)
}

// SameTail is the tail probability of the χ² test that two lists of counts come from one law.
func SameTail(a, b []int) float64 {
	na, nb := 0, 0
	for i := range a {
		na, nb = na+a[i], nb+b[i]
	}
	x, cells := 0.0, 0
	for i := range a {
		all := float64(a[i] + b[i])
		if all == 0 {
			continue
		}
		cells++
		wa, wb := all*float64(na)/float64(na+nb), all*float64(nb)/float64(na+nb)
		x += (float64(a[i])-wa)*(float64(a[i])-wa)/wa + (float64(b[i])-wb)*(float64(b[i])-wb)/wb
	}
	return ChiSquareTail(x, cells-1)
}
