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
