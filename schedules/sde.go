package schedules

// A Path says how much of the datum and how much noise x_t holds:
// x_t | x_0 ~ N(α x_0, σ² I).
type Path interface {
	Marginal(t float64) (alpha, sigma float64)
}

// An SDE is a linear forward process dx = f(t)·x dt + g(t) dw from data at
// t=0 to noise at t=T (Song et al. 2021, equation 5 and appendix B).
type SDE interface {
	Path

	// T is the time at which the noise has taken over, Eps the smallest time
	// its authors sample down to.
	T() float64
	Eps() float64

	// Prior is the standard deviation of p_T, whose mean is 0.
	Prior() float64

	// Coeffs returns f and g of dx = f·x dt + g dw.
	Coeffs(t float64) (f, g float64)

	// Discretize returns the chain x_{k+1} = x_k + f·x_k + g·z that the
	// authors sample with, for k of n steps. t is the time at which the score
	// is taken, which is not k/(n−1) exactly.
	Discretize(t float64, k, n int) (f, g float64)

	// StepAlpha is the α_k of the Langevin correctors' step
	// (Song et al. 2021, algorithms 4 and 5): 1 for VE, 1−β_k for the others.
	StepAlpha(k, n int) float64
}

// A Chain is an SDE whose discretisation has a known posterior
// p(x_k | x_{k+1}, x_0), the base of ancestral sampling:
// x̄ = a·x + b·score, x = x̄ + √q z.
type Chain interface {
	SDE
	Posterior(k, n int) (a, b, q float64)
}

// Sigma is the path of annealed Langevin dynamics, where time is the noise
// level itself: x_σ = x_0 + σ z.
type Sigma struct{}

// Marginal returns 1 and t.
func (Sigma) Marginal(t float64) (alpha, sigma float64) { return 1, t }
