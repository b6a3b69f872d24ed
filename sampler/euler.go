package sampler

import "context"

// Euler is Euler's method on the ODE dx/dσ = (x − D)/σ (Karras et al. 2022,
// algorithm 2 without its correction; k-diffusion's euler):
//
//	x ← (t/s) x + (1−t/s) D(x, s)
//
// In these coordinates it is also DDIM (Song, Meng & Ermon 2021), DPM-Solver-1
// and DPM-Solver++(1). With Eta it is ancestral (k-diffusion's euler_a where
// Eta = 1; DDIM with that η), with Churn it is stochastic in the other way. Order 1,
// one evaluation a step.
type Euler struct {
	Sigmas []float64
	Churn  Churn
	Eta    float64 // of ancestral noise; 0 is none
	SNoise float64 // factor of all noise; 0 means 1
}

func (e Euler) Sample(ctx context.Context, b *Batch, score Field) error {
	b.keep(1)
	const d = atPast
	return b.singleStep(ctx, score, e.Sigmas, e.Churn, e.Eta, e.SNoise, func(s, t, up float64) error {
		if err := b.denoise(score, atX, s, d); err != nil {
			return err
		}
		return b.land(up, term{t / s, atX}, term{1 - t/s, d})
	})
}

// Heun is the sampler of Karras et al. 2022 ("EDM", algorithm 1, and algorithm
// 2 with Churn; k-diffusion's heun): Euler's step, corrected by the slope at
// its end.
//
//	d = (x − D(x, s))/s,       x' = x + (t−s) d
//	d' = (x' − D(x', t))/t,    x ← x + (t−s)(d + d')/2
//
// Order 2, two evaluations a step but for one at the step to 0. The paper's
// stochastic settings: S = 40, Min = .05, Max = 50, SNoise = 1.003 with 256
// levels.
type Heun struct {
	Sigmas []float64
	Churn  Churn
	SNoise float64 // factor of the churn's noise; 0 means 1
}

func (h Heun) Sample(ctx context.Context, b *Batch, score Field) error {
	b.keep(3)
	const d, dPrime, xPrime = atPast, atPast + 1, atPast + 2
	return b.singleStep(ctx, score, h.Sigmas, h.Churn, 0, h.SNoise, func(s, t, up float64) error {
		if err := b.noiseOf(score, atX, s, d); err != nil {
			return err
		}
		if t == 0 {
			return b.land(up, term{1, atX}, term{t - s, d})
		}
		b.set(xPrime, term{1, atX}, term{t - s, d})
		if err := b.noiseOf(score, xPrime, t, dPrime); err != nil {
			return err
		}
		return b.land(up, term{1, atX}, term{(t - s) / 2, d}, term{(t - s) / 2, dPrime})
	})
}
