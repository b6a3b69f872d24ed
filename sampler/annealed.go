package sampler

import (
	"context"
	"fmt"
	"math"
)

// Langevin is plain Langevin dynamics at one noise level (Song & Ermon 2019,
// equation 4, which writes its step as ε/2 = Alpha; the published code's
// Langevin_dynamics has Alpha = 5e-5, 200 steps, σ = .01):
//
//	x ← x + α s(x, σ) + √(2α) z
//
// It cannot cross between separated modes in any useful time and its score is
// unknown where there are no data; [Annealed] is the remedy. The field is
// called with t = σ.
//
// Temperature τ scales the noise to √(2ατ), and the chain then samples
// p_σ^{1/τ} as α → 0. That is so for Langevin dynamics in equilibrium only: the
// samplers that change σ have no such setting, because there scaled noise
// samples no power of p (EDM's SNoise corrects an error of the network).
type Langevin struct {
	Sigma float64
	Alpha float64
	Steps int

	Temperature float64 // τ; 0 means 1
}

func (l Langevin) Sample(ctx context.Context, b *Batch, score Field) error {
	if !(l.Sigma > 0) || !(l.Alpha > 0) || l.Steps <= 0 {
		return fmt.Errorf("sampler: Langevin needs a Sigma, an Alpha and Steps above 0, has %g, %g and %d",
			l.Sigma, l.Alpha, l.Steps)
	}
	if l.Temperature < 0 {
		return fmt.Errorf("sampler: Langevin's Temperature is %g, below 0", l.Temperature)
	}
	if err := b.ready(score); err != nil {
		return err
	}
	for i := range l.Steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := b.langevin(score, l.Sigma, l.Alpha, or(l.Temperature, 1)); err != nil {
			return err
		}
		if err := b.done(Progress{Step: i + 1, Steps: l.Steps, T: l.Sigma, Sigma: l.Sigma}); err != nil {
			return err
		}
	}
	return nil
}

// langevin is x ← x + α s(x, t) + √(2ατ) z.
func (b *Batch) langevin(score Field, t, alpha, tau float64) error {
	if err := b.eval(score, t); err != nil {
		return err
	}
	if err := b.draw(PurposeCorrector); err != nil {
		return err
	}
	b.move(1, alpha, math.Sqrt(2*alpha*tau))
	return nil
}

// Annealed is annealed Langevin dynamics (Song & Ermon 2019, algorithm 1, with
// the conventions and the last step of Song & Ermon 2020, NCSNv2):
//
//	for every σ_i, from the highest:  α = ε (σ_i/σ_L)²
//	  Steps times:                    x ← x + α s(x, σ_i) + √(2α) z
//	Denoise:                          x ← x + σ_L² s(x, σ_L)
//
// Eps is NCSNv2's ε. NCSN's paper writes the step x + (α/2) s + √α z with the
// same formula for α, so its ε is twice this one; NCSN's published code and
// its settings agree with this one. The last step, Tweedie's formula, is
// NCSNv2's; NCSN has none.
//
// The field is called with t = σ_i: a network that takes a level's index is
// wrapped by [Relabel]. Nothing is clamped on the way. Start it with
// [Batch.Prior] of σ_1, or with [Batch.Uniform] as the published code does.
type Annealed struct {
	Sigmas  []float64 // σ_1 … σ_L, highest first
	Steps   int       // a level
	Eps     float64
	Denoise bool

	// Before, if set, is called before every step with its noise level, and may
	// change the state: Impose(b, 1, sigma, 1) of a [Measurement] is NCSNv2's
	// inpainting, whose known values have fresh noise at every step, and with
	// Held NCSN's, where they keep that of the level.
	Before func(b *Batch, sigma float64) error
}

func (a Annealed) Sample(ctx context.Context, b *Batch, score Field) error {
	if len(a.Sigmas) == 0 || a.Steps <= 0 || !(a.Eps > 0) {
		return fmt.Errorf("sampler: Annealed needs Sigmas, and Steps and Eps above 0, has %d, %d and %g",
			len(a.Sigmas), a.Steps, a.Eps)
	}
	for i, sigma := range a.Sigmas {
		if !(sigma > 0) {
			return fmt.Errorf("sampler: Annealed's level %d is %g, not above 0", i, sigma)
		}
	}
	if err := b.ready(score); err != nil {
		return err
	}
	last := a.Sigmas[len(a.Sigmas)-1]
	p := Progress{Steps: len(a.Sigmas) * a.Steps}
	if a.Denoise {
		p.Steps++
	}
	for i, sigma := range a.Sigmas {
		ratio := sigma / last
		alpha := a.Eps * float64(ratio*ratio)
		p.Level, p.T, p.Sigma = i, sigma, sigma
		for range a.Steps {
			if err := ctx.Err(); err != nil {
				return err
			}
			if a.Before != nil {
				if err := a.Before(b, sigma); err != nil {
					return err
				}
			}
			if err := b.langevin(score, sigma, alpha, 1); err != nil {
				return err
			}
			p.Step++
			if err := b.done(p); err != nil {
				return err
			}
		}
	}
	if !a.Denoise {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := b.eval(score, last); err != nil {
		return err
	}
	b.move(1, last*last, 0)
	p.Step, p.Level = p.Steps, len(a.Sigmas)
	return b.done(p)
}
