package main

import "math"

// moments of samples: mean and variance of each of dim elements, with standard errors. That of the variance uses the fourth moment, so it holds
// for other laws than the normal.
type moments struct {
	n              int
	mean, variance []float64
	kurtosis       []float64 // fourth central moment over the variance's square
}

func momentsOf(x []float64, dim int) moments {
	n := len(x) / dim
	m := moments{n, make([]float64, dim), make([]float64, dim), make([]float64, dim)}
	for i, v := range x {
		m.mean[i%dim] += v / float64(n)
	}
	for i, v := range x {
		d := v - m.mean[i%dim]
		m.variance[i%dim] += d * d / float64(n-1)
		m.kurtosis[i%dim] += d * d * d * d / float64(n)
	}
	for k, v := range m.variance {
		m.kurtosis[k] /= v * v
	}
	return m
}

// zMean compares the mean of element k with that of an independent sample, given with its variance and size.
func (m moments) zMean(k int, mean, variance float64, n int) float64 {
	return (m.mean[k] - mean) / math.Sqrt(m.variance[k]/float64(m.n)+variance/float64(n))
}

// zVariance compares logarithms of variances, which are closer to normal than variances are.
func (m moments) zVariance(k int, variance float64, n int) float64 {
	spread := max(m.kurtosis[k]-1, 0.1)
	return math.Log(m.variance[k]/variance) / math.Sqrt(spread/float64(m.n)+spread/float64(n))
}

// twoSided is the z that a standard normal exceeds in absolute value with probability p.
func twoSided(p float64) float64 {
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

// chiSquareTail is the probability that χ² with k degrees of freedom is x or more: the regularised upper incomplete gamma function Q(k/2, x/2),
// by its series below k/2+1 and its continued fraction above (Press et al., Numerical Recipes, section 6.2).
func chiSquareTail(x float64, k int) float64 {
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

// uniformTail is the tail probability of the χ² of counts against equal probabilities.
func uniformTail(counts []int) float64 {
	n := 0
	for _, c := range counts {
		n += c
	}
	want, x := float64(n)/float64(len(counts)), 0.0
	for _, c := range counts {
		x += (float64(c) - want) * (float64(c) - want) / want
	}
	return chiSquareTail(x, len(counts)-1)
}

// sameTail is the tail probability of the χ² test that two lists of counts come from one law.
func sameTail(a, b []int) float64 {
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
	return chiSquareTail(x, cells-1)
}

// relativeRMS is the root mean square of got−want over that of want.
func relativeRMS(got, want []float32) float64 {
	var diff, size float64
	for i, w := range want {
		d := float64(got[i]) - float64(w)
		diff += d * d
		size += float64(w) * float64(w)
	}
	if size == 0 {
		size = 1
	}
	return math.Sqrt(diff / size)
}

// features are three numbers of an image: mean, standard deviation, and the mean square of vertical differences. Comparing few features of
// many images is more telling than comparing every pixel.
func features(x []float32, shape []int) [3]float64 {
	n := float64(len(x))
	var mean, sq, grad float64
	for _, v := range x {
		mean += float64(v) / n
	}
	for _, v := range x {
		d := float64(v) - mean
		sq += d * d / n
	}
	w := shape[len(shape)-1]
	plane := w * shape[len(shape)-2]
	pairs := 0
	for i := range x {
		if i%plane >= w {
			d := float64(x[i]) - float64(x[i-w])
			grad += d * d
			pairs++
		}
	}
	return [3]float64{mean, math.Sqrt(sq), grad / float64(max(pairs, 1))}
}
