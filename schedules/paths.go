package schedules

import "math"

// A Timed path knows the time of a noise level: Time is the t at which
// σ(t)/α(t) is rho. The quotient ρ is the noise of x_t/α, the level that
// samplers in VE coordinates work with (Karras et al. 2022, appendix B).
type Timed interface {
	Path
	Time(rho float64) float64
}

// Ladder returns the levels ρ = σ/α of a path at the given times: a noise
// ladder for samplers in VE coordinates. k-diffusion's "VP" ladder is
// Ladder(VP{}, Linear(1, 1e-3, n)).
func Ladder(path Path, times []float64) []float64 {
	v := make([]float64, len(times))
	for i, t := range times {
		alpha, sigma := path.Marginal(t)
		v[i] = sigma / alpha
	}
	return v
}

// Time returns ρ itself.
func (Sigma) Time(rho float64) float64 { return rho }

// Time solves σ_min (σ_max/σ_min)^t = ρ.
func (v VE) Time(rho float64) float64 { return log(rho/v.SigmaMin) / v.logRatio() }

// Time solves α = 1/√(1+ρ²).
func (v VP) Time(rho float64) float64 { return v.beta().time(log1p(rho*rho) / 2) }

// Time solves (1−α²)/α = ρ: α = √(1+ρ²/4) − ρ/2.
func (v SubVP) Time(rho float64) float64 {
	// α = 1/(ρ/2+√(1+ρ²/4)), of which the root is 1 and a little.
	half := float64(rho / 2)
	h2 := float64(half * half)
	return v.beta().time(log1p(half + h2/(1+math.Sqrt(1+h2))))
}

// time is the t at which −ln α is l: t²(β_max−β_min)/4 + tβ_min/2 = l.
func (b betas) time(l float64) float64 {
	d := b.max - b.min
	root := math.Sqrt(float64(b.min*b.min) + float64(4*d*l))
	return 4 * l / (b.min + root)
}

// Rectified is the straight path of flow matching (Lipman et al. 2023; Liu et al. 2023,
// "rectified flow"): x_t = (1−t)x_0 + t z.
type Rectified struct{}

func (Rectified) Marginal(t float64) (alpha, sigma float64) { return 1 - t, t }

// Time solves t/(1−t) = ρ.
func (Rectified) Time(rho float64) float64 {
	if math.IsInf(rho, 1) {
		return 1
	}
	return rho / (1 + rho)
}

// Discrete is the path of a network that takes the index of one of DDPM's
// steps: its values are ρ_i = √((1−ᾱ_i)/ᾱ_i), lowest first, and time is the
// index. Between two indices ρ is interpolated in ln ρ, as k-diffusion does;
// beyond them it stays.
type Discrete []float64

// FromBetas returns the path of a chain x_{i} = √(1−β_i) x_{i−1} + √β_i z
// (Ho et al. 2020), ᾱ_i = Π_{j≤i} (1−β_j).
func FromBetas(betas []float64) Discrete {
	d := make(Discrete, len(betas))
	bar, noise := 1.0, 0.0
	for i, beta := range betas {
		// 1−ᾱ is added up by itself: it begins far below 1.
		noise += float64(bar * beta)
		bar *= 1 - beta
		d[i] = math.Sqrt(noise / bar)
	}
	return d
}

func (d Discrete) Marginal(t float64) (alpha, sigma float64) {
	rho := Level(d, t)
	if math.IsInf(rho, 1) {
		return 0, 1
	}
	root := math.Sqrt(1 + float64(rho*rho))
	return 1 / root, rho / root
}

// Time is rho's place among the levels. Rounded, it is the nearest in ln ρ
// (k-diffusion's quantize).
func (d Discrete) Time(rho float64) float64 { return Index(d, rho) }

// Level is the inverse of [Index]: the level at a position between 0 and
// len−1, interpolated in ln σ.
func Level(ladder []float64, position float64) float64 {
	n := len(ladder)
	if n == 0 {
		return math.NaN()
	}
	position = max(0, min(position, float64(n-1)))
	i := int(position)
	part := position - float64(i)
	if part == 0 {
		return ladder[i]
	}
	return exp(float64((1-part)*log(ladder[i])) + float64(part*log(ladder[i+1])))
}
