package schedules

import "math"

// MaxDistance is technique 1 of NCSNv2 (Song & Ermon 2020, "Improved
// Techniques for Training Score-Based Generative Models"): σ_1 should be the
// largest Euclidean distance between two data points, so that chains can
// travel between any two of them. data holds points of dim values each; the
// time is quadratic in their number, and a few thousand points tell enough.
func MaxDistance(data []float32, dim int) float64 {
	n := len(data) / dim
	best := 0.0
	for i := 0; i < n; i++ {
		p := data[i*dim : (i+1)*dim]
		for j := i + 1; j < n; j++ {
			q := data[j*dim : (j+1)*dim]
			sum := 0.0
			for k, v := range p {
				d := float64(v) - float64(q[k])
				sum += float64(d * d)
			}
			best = max(best, sum)
		}
	}
	return math.Sqrt(best)
}

// Gamma is technique 2 of NCSNv2: the ratio γ = σ_{i−1}/σ_i at which
// neighbouring levels overlap just enough in dim dimensions,
//
//	Φ(√(2D)(γ−1)+3γ) − Φ(√(2D)(γ−1)−3γ) = ½.
//
// Below five dimensions levels always overlap by more, and Gamma is +Inf.
func Gamma(dim int) float64 {
	root := math.Sqrt(2 * float64(dim))
	overlap := func(gamma float64) float64 {
		m, w := float64(root*(gamma-1)), float64(3*gamma)
		return phi(m+w) - phi(m-w)
	}
	// As γ grows, the overlap tends to 0 where √(2D) > 3 and to 1 otherwise.
	lo, hi := 1.0, 2.0
	for overlap(hi) > 0.5 {
		if hi *= 2; hi > 1e6 {
			return math.Inf(1)
		}
	}
	for range 200 {
		mid := lo + float64((hi-lo)/2)
		if overlap(mid) > 0.5 {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// phi is Φ(x) = ½ + φ(x)(x + x³/3 + x⁵/(3·5) + …), the normal distribution
// function (Marsaglia 2004, "Evaluating the normal distribution"), within
// 3·10⁻¹⁵.
func phi(x float64) float64 {
	if math.Abs(x) > 9 {
		return 0.5 + math.Copysign(0.5, x)
	}
	x2 := float64(x * x)
	sum, term := x, x
	for k := 3.0; math.Abs(term) > 1e-17*math.Abs(sum); k += 2 {
		term = float64(term*x2) / k
		sum += term
	}
	return 0.5 + float64(exp(-x2/2)/math.Sqrt(2*math.Pi)*sum)
}

// Levels is the number of levels that leads from sigma1 to sigmaL in ratios
// of at most gamma.
func Levels(sigma1, sigmaL, gamma float64) int {
	return 1 + int(math.Ceil(log(sigma1/sigmaL)/log(gamma)))
}

// VarianceRatio is proposition 3 of NCSNv2: the variance, over σ_i², that t
// steps of annealed Langevin dynamics leave at level i on a single data point
// when the chain comes from level i−1. It is the same for every level:
//
//	b^t(γ²−κ)+κ,  b = (1−ε/σ_L²)²,  κ = 2ε/(σ_L²−σ_L²b) = 1/(1−ε/2σ_L²)
func VarianceRatio(eps, sigmaL, gamma float64, t int) float64 {
	u := eps / (sigmaL * sigmaL)
	kappa := 1 / (1 - float64(u/2))
	bt := exp(2 * float64(t) * log1p(-u))
	return float64(bt*(float64(gamma*gamma)-kappa)) + kappa
}

// Eps is technique 4 of NCSNv2: with the ladder given and t steps a level
// affordable, the ε in (0, σ_L²) whose VarianceRatio is nearest to 1. The
// ratio is above 1 for every ε (it lies between κ > 1 and γ² > 1), so this is
// its minimum.
func Eps(sigmaL, gamma float64, t int) float64 {
	// Golden-section search; the ratio falls from γ² at 0, then rises to 2.
	const golden = 0.6180339887498949
	ratio := func(u float64) float64 { return VarianceRatio(u, 1, gamma, t) }
	lo, hi := 0.0, 1.0
	a, b := hi-float64(golden*(hi-lo)), lo+float64(golden*(hi-lo))
	fa, fb := ratio(a), ratio(b)
	for range 100 {
		if fa < fb {
			hi, b, fb = b, a, fa
			a = hi - float64(golden*(hi-lo))
			fa = ratio(a)
		} else {
			lo, a, fa = a, b, fb
			b = lo + float64(golden*(hi-lo))
			fb = ratio(b)
		}
	}
	return (lo + hi) / 2 * sigmaL * sigmaL
}
