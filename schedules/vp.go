package schedules

import "math"

// betas is what the VP and sub-VP equations share: β(t) = β_min+t(β_max−β_min).
type betas struct{ min, max float64 }

// or is the pair every published network uses when none is given.
func (b betas) or() betas {
	if b == (betas{}) {
		return betas{0.1, 20}
	}
	return b
}

func (b betas) at(t float64) float64 { return b.min + float64(t*(b.max-b.min)) }

// logAlpha is ln α(t) = −½∫β = −t²(β_max−β_min)/4 − tβ_min/2.
func (b betas) logAlpha(t float64) float64 {
	return -float64(t*t*(b.max-b.min)/4) - float64(t*b.min/2)
}

// step is DDPM's β_k = (β_min + (β_max−β_min)k/(n−1))/n.
func (b betas) step(k, n int) float64 {
	if k == 0 {
		return b.min / float64(n)
	}
	return b.at(float64(k)/float64(n-1)) / float64(n)
}

// VP is the variance-preserving SDE (Song et al. 2021, equation 11 and appendix C),
// the continuous form of DDPM's chain:
//
//	β(t) = β_min + t(β_max−β_min),  dx = −½β(t)x dt + √β(t) dw
//
// The zero value has β from 0.1 to 20.
type VP struct {
	BetaMin, BetaMax float64
}

func (v VP) beta() betas { return betas{v.BetaMin, v.BetaMax}.or() }

func (v VP) T() float64     { return 1 }
func (v VP) Eps() float64   { return 1e-3 }
func (v VP) Prior() float64 { return 1 }

func (v VP) Coeffs(t float64) (f, g float64) {
	beta := v.beta().at(t)
	return -beta / 2, math.Sqrt(beta)
}

func (v VP) Marginal(t float64) (alpha, sigma float64) {
	l := v.beta().logAlpha(t)
	return exp(l), math.Sqrt(-expm1(2 * l))
}

// Discretize is DDPM's chain x_{k+1} = √(1−β_k) x_k + √β_k z.
func (v VP) Discretize(_ float64, k, n int) (f, g float64) {
	beta := v.beta().step(k, n)
	// √(1−β)−1 without the cancellation.
	return -beta / (1 + math.Sqrt(1-beta)), math.Sqrt(beta)
}

func (v VP) StepAlpha(k, n int) float64 { return 1 - v.beta().step(k, n) }

// Posterior is DDPM's ancestral step with the larger of its two variances,
// q = β_k (Song et al. 2021, equation 4; Ho et al. 2020, algorithm 2).
func (v VP) Posterior(k, n int) (a, b, q float64) {
	beta := v.beta().step(k, n)
	root := math.Sqrt(1 - beta)
	return 1 / root, beta / root, beta
}

// SubVP is the sub-VP SDE (Song et al. 2021, equation 12 and appendix B),
// whose noise stays below VP's:
//
//	dx = −½β(t)x dt + √(β(t)(1−e^{−2∫β})) dw,  σ(t) = 1−α(t)²
//
// Mind that σ, not σ², is 1−α². The zero value has β from 0.1 to 20.
type SubVP struct {
	BetaMin, BetaMax float64
}

func (v SubVP) beta() betas { return betas{v.BetaMin, v.BetaMax}.or() }

func (v SubVP) T() float64     { return 1 }
func (v SubVP) Eps() float64   { return 1e-3 }
func (v SubVP) Prior() float64 { return 1 }

func (v SubVP) Coeffs(t float64) (f, g float64) {
	b := v.beta()
	beta := b.at(t)
	return -beta / 2, math.Sqrt(-beta * expm1(4*b.logAlpha(t)))
}

func (v SubVP) Marginal(t float64) (alpha, sigma float64) {
	l := v.beta().logAlpha(t)
	return exp(l), -expm1(2 * l)
}

// Discretize is one Euler step of length 1/n: the sub-VP equation has no
// chain of its own, so reverse diffusion equals Euler–Maruyama.
func (v SubVP) Discretize(t float64, _, n int) (f, g float64) {
	dt := v.T() / float64(n)
	f, g = v.Coeffs(t)
	return f * dt, g * math.Sqrt(dt)
}

// StepAlpha is 1−β_k as for VP. The published code has no value here: it
// fails on sub-VP with a Langevin corrector (score_sde_pytorch issue 8).
func (v SubVP) StepAlpha(k, n int) float64 { return 1 - v.beta().step(k, n) }
