package schedules

import "math"

// A Precond says how a denoiser is made of a raw network F (Karras et al. 2022,
// equation 7 and table 1), in VE coordinates:
//
//	D(x, σ) = c_skip x + c_out F(c_in x, c_noise)
type Precond func(sigma float64) (cSkip, cOut, cIn, cNoise float64)

// EDM is Karras et al.'s own: c_skip = σ_d²/(σ²+σ_d²), c_out = σσ_d/√(σ²+σ_d²),
// c_in = 1/√(σ²+σ_d²), c_noise = ln(σ)/4. Their σ_data is .5.
func EDM(sigmaData float64) Precond {
	return func(sigma float64) (cSkip, cOut, cIn, cNoise float64) {
		cSkip, cOut, cIn = edm(sigma, sigmaData)
		return cSkip, cOut, cIn, log(sigma) / 4
	}
}

func edm(sigma, sigmaData float64) (cSkip, cOut, cIn float64) {
	v := float64(sigma*sigma) + float64(sigmaData*sigmaData)
	root := math.Sqrt(v)
	return sigmaData * sigmaData / v, sigma * sigmaData / root, 1 / root
}

// KDiffusion is k-diffusion's Denoiser: EDM's factors, and the network is told
// σ itself. Its σ_data is 1 by default.
func KDiffusion(sigmaData float64) Precond {
	return func(sigma float64) (cSkip, cOut, cIn, cNoise float64) {
		cSkip, cOut, cIn = edm(sigma, sigmaData)
		return cSkip, cOut, cIn, sigma
	}
}

// KDiffusionV is k-diffusion's VDenoiser: c_out has the other sign, and the
// network, which predicts v, is told (2/π) atan σ.
func KDiffusionV(sigmaData float64) Precond {
	return func(sigma float64) (cSkip, cOut, cIn, cNoise float64) {
		cSkip, cOut, cIn = edm(sigma, sigmaData)
		return cSkip, -cOut, cIn, Atan(sigma) * (2 / math.Pi)
	}
}

// EpsPrecond is table 1's "VP" for any path: the network predicts ε from
// αx, for VP x/√(1+σ²), and is told label(t), for instance 999·t.
//
//	c_skip = 1, c_out = −σ, c_in = α(t(σ)), c_noise = label(t(σ))
func EpsPrecond(path Timed, label func(t float64) float64) Precond {
	return func(sigma float64) (cSkip, cOut, cIn, cNoise float64) {
		t := path.Time(sigma)
		alpha, _ := path.Marginal(t)
		return 1, -sigma, alpha, label(t)
	}
}

// VEPrecond is table 1's "VE": the network predicts −ε from x and is told
// ln(σ/2).
func VEPrecond(sigma float64) (cSkip, cOut, cIn, cNoise float64) {
	return 1, sigma, 1, log(sigma / 2)
}
