package schedules

import "math"

// VE is the variance-exploding SDE (Song et al. 2021, equation 9 and appendix C),
// the continuous form of NCSN's ladder:
//
//	σ(t) = σ_min (σ_max/σ_min)^t,  dx = σ(t) √(2 ln(σ_max/σ_min)) dw
//
// Marginal's σ is σ(t) and not √(σ(t)²−σ_min²): data carry noise σ_min
// already at t=0, as the networks are trained.
type VE struct {
	SigmaMin, SigmaMax float64
}

func (v VE) T() float64     { return 1 }
func (v VE) Eps() float64   { return 1e-5 }
func (v VE) Prior() float64 { return v.SigmaMax }

func (v VE) logRatio() float64 { return log(v.SigmaMax / v.SigmaMin) }

func (v VE) sigma(t float64) float64 { return v.SigmaMin * exp(t*v.logRatio()) }

func (v VE) Coeffs(t float64) (f, g float64) {
	return 0, v.sigma(t) * math.Sqrt(2*v.logRatio())
}

func (v VE) Marginal(t float64) (alpha, sigma float64) { return 1, v.sigma(t) }

// level is σ_k of the n geometric levels, lowest first, and gap is
// σ_k²−σ_{k−1}², with σ_{−1} = 0.
func (v VE) level(k, n int) (sigma, gap float64) {
	if k == 0 {
		return v.SigmaMin, v.SigmaMin * v.SigmaMin
	}
	step := v.logRatio() / float64(n-1)
	sigma = v.SigmaMin * exp(float64(k)*step)
	return sigma, -sigma * sigma * expm1(-2*step)
}

// Discretize is the SMLD chain, g² = σ_k²−σ_{k−1}² (Song et al. 2021,
// appendix E).
func (v VE) Discretize(_ float64, k, n int) (f, g float64) {
	_, gap := v.level(k, n)
	return 0, math.Sqrt(gap)
}

func (v VE) StepAlpha(int, int) float64 { return 1 }

// Posterior is the ancestral step of SMLD (Song et al. 2021, appendix F):
// q = σ_{k−1}²(σ_k²−σ_{k−1}²)/σ_k². The last step (k=0) has no noise.
func (v VE) Posterior(k, n int) (a, b, q float64) {
	_, gap := v.level(k, n)
	if k == 0 {
		return 1, gap, 0
	}
	// σ_{k−1}²/σ_k² is the same for all k.
	return 1, gap, gap * exp(-2*v.logRatio()/float64(n-1))
}
