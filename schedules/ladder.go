package schedules

import (
	"math"
	"sort"
)

// Linear returns n evenly spaced values from first to last, both included: a
// time grid (T down to ε) or a ladder.
func Linear(first, last float64, n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = at(first, last, i, n)
	}
	return v
}

// at is entry i of n evenly spaced values; both ends are exact.
func at(first, last float64, i, n int) float64 {
	switch i {
	case 0:
		return first
	case n - 1:
		return last
	}
	return first + float64(float64(i)*((last-first)/float64(n-1)))
}

// Geometric returns n levels from first to last with one ratio between
// neighbours: the ladder of NCSN (Song & Ermon 2019), which runs from the
// highest noise to the lowest.
func Geometric(first, last float64, n int) []float64 {
	v := Linear(log(first), log(last), n)
	for i := range v {
		v[i] = exp(v[i])
	}
	if n > 0 {
		v[0] = first
	}
	if n > 1 {
		v[n-1] = last
	}
	return v
}

// PolyExponential returns n levels from sigmaMax to sigmaMin with
// ln σ = ln σ_min + u^p ln(σ_max/σ_min), u even from 1 to 0 (k-diffusion's
// polyexponential; with p = 1 it is [Geometric], its exponential).
func PolyExponential(sigmaMax, sigmaMin, p float64, n int) []float64 {
	v := Linear(1, 0, n)
	ratio := log(sigmaMax / sigmaMin)
	for i, u := range v {
		v[i] = sigmaMin * exp(float64(exp(p*log(u))*ratio))
	}
	if n > 0 {
		v[0] = sigmaMax
	}
	if n > 1 {
		v[n-1] = sigmaMin
	}
	return v
}

// Karras returns n levels from sigmaMax to sigmaMin, evenly spaced in
// σ^{1/ρ} (Karras et al. 2022, equation 5; there ρ = 7). The paper's final
// level 0 is not in it: a sampler that ends at zero noise adds it.
func Karras(sigmaMax, sigmaMin, rho float64, n int) []float64 {
	v := Linear(exp(log(sigmaMax)/rho), exp(log(sigmaMin)/rho), n)
	for i := range v {
		v[i] = exp(rho * log(v[i]))
	}
	if n > 0 {
		v[0] = sigmaMax
	}
	if n > 1 {
		v[n-1] = sigmaMin
	}
	return v
}

// Beta returns n levels from sigmaMax to sigmaMin at the quantiles of a beta
// distribution with both parameters alpha, evenly spaced in probability (Lee,
// Wang, Lee & Choi 2024, "Beta Sampling is All You Need"; diffusers, whose
// alpha is 0.6, takes them of σ and not of time). Below 1 levels are close at
// both ends. alpha > 0.
func Beta(sigmaMax, sigmaMin, alpha float64, n int) []float64 {
	v := Linear(1, 0, n)
	for i, p := range v {
		v[i] = sigmaMin + float64(betaQuantile(p, alpha)*(sigmaMax-sigmaMin))
	}
	if n > 0 {
		v[0] = sigmaMax
	}
	if n > 1 {
		v[n-1] = sigmaMin
	}
	return v
}

// betaQuantile is the x at which the distribution function of Beta(a, a) is p.
func betaQuantile(p, a float64) float64 {
	switch {
	case p <= 0:
		return 0
	case p > 0.5:
		return 1 - betaQuantile(1-p, a)
	case p == 0.5:
		return 0.5
	}
	// Up to a constant the function is x^a Σ_n (1−a)_n x^n/(n!(a+n)), which is
	// ½ at ½. Newton's method in the logarithms of both, between which the
	// function is nearly a line.
	series := func(x float64) (sum float64) {
		c := 1.0
		for n := 0.0; n < 200; n++ {
			part := c / (a + n)
			sum += part
			if math.Abs(part) < 1e-17*math.Abs(sum) {
				break
			}
			c *= (n + 1 - a) / (n + 1) * x
		}
		return sum
	}
	half := float64(a*log(0.5)) + log(series(0.5)) - log(0.5)
	want := log(p) + half
	u := (want - log(1/a)) / a // ln x, of the series' first part
	for range 50 {
		u = min(u, log(0.5))
		x := exp(u)
		s := series(x)
		// d ln F/d ln x = (1−x)^{a−1}/Σ
		step := (float64(a*u) + log(s) - want) * s / exp(float64((a-1)*log(1-x)))
		u -= step
		if math.Abs(step) < 1e-15*math.Abs(u) {
			break
		}
	}
	return exp(u)
}

// Round32 rounds every level to float32, in place, and returns the ladder.
// The published code keeps its ladders in float32; the step sizes
// ε(σ_i/σ_L)² feel the difference in their seventh digit.
func Round32(ladder []float64) []float64 {
	for i, v := range ladder {
		ladder[i] = float64(float32(v))
	}
	return ladder
}

// Index returns where sigma stands in a monotone ladder, as a position
// between 0 and len−1 interpolated in ln σ. Rounded, it is the label of a
// network that takes a level's index; some take the fraction.
func Index(ladder []float64, sigma float64) float64 {
	n := len(ladder)
	if n < 2 {
		return 0
	}
	down := ladder[0] > ladder[n-1]
	// i is the first entry at or beyond sigma.
	i := sort.Search(n, func(i int) bool {
		if down {
			return ladder[i] <= sigma
		}
		return ladder[i] >= sigma
	})
	switch {
	case i == 0:
		return 0
	case i == n:
		return float64(n - 1)
	case ladder[i] == sigma:
		return float64(i)
	}
	part := log(sigma/ladder[i-1]) / log(ladder[i]/ladder[i-1])
	return float64(i-1) + part
}
