package sampler

import (
	"context"
	"fmt"
	"math"

	"sampleonnx/schedules"
)

// The samplers on a ladder of noise levels live in VE coordinates: the state
// is x_σ = x_0 + σ z and time is σ, so the field is the score at t = σ (a
// network of another path enters through [InVE]). What they need of it is the
// denoised datum D = x + σ² s or the noise ε = −σ s, and a step from s to t
// is
//
//	x ← Σ_k c_k v_k + r z,  v: the state and the last few D or ε
//
// so that a sampler is little more than its coefficients. Sigmas run from the
// highest level to the lowest; a last 0 is the end without noise, reached by
// a step of first order: there t/s = 0, x = D. [schedules.Karras] and its
// like have no 0: append it.

// descend walks down a ladder: step(i) is from sigmas[i] to sigmas[i+1].
func (b *Batch) descend(ctx context.Context, score Field, sigmas []float64, step func(i int) error) error {
	if len(sigmas) < 2 {
		return fmt.Errorf("sampler: %d noise levels are no ladder", len(sigmas))
	}
	for i, sigma := range sigmas {
		last := i == len(sigmas)-1
		if !(sigma > 0 || last && sigma == 0) || math.IsInf(sigma, 1) || i > 0 && !(sigma < sigmas[i-1]) {
			return fmt.Errorf("sampler: noise level %d is %g: levels fall, and only the last may be 0", i, sigma)
		}
	}
	if err := b.ready(score); err != nil {
		return err
	}
	n := len(sigmas) - 1
	for i := range n {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := step(i); err != nil {
			return err
		}
		s := sigmas[i]
		if err := b.done(Progress{Step: i + 1, Steps: n, Level: i, T: s, Sigma: s}); err != nil {
			return err
		}
	}
	return nil
}

// denoise is into = D(from, σ) = from + σ² s(from, σ), Tweedie's formula.
func (b *Batch) denoise(score Field, from slot, sigma float64, into slot) error {
	if err := b.evalAt(score, from, sigma); err != nil {
		return err
	}
	b.set(into, term{1, from}, term{sigma * sigma, atScore})
	return nil
}

// noiseOf is into = ε(from, σ) = −σ s(from, σ), which is also dx/dσ.
func (b *Batch) noiseOf(score Field, from slot, sigma float64, into slot) error {
	if err := b.evalAt(score, from, sigma); err != nil {
		return err
	}
	b.set(into, term{-sigma, atScore})
	return nil
}

// Churn raises the noise level before a step (Karras et al. 2022, algorithm 2):
// where σ is in [Min, Max], to σ̂ = σ(1+γ) with γ = min(S/n, √2−1) on n steps.
// S = 0 is no churn and draws nothing; with S > 0 noise is drawn at every
// step, also outside [Min, Max], as in the published code.
type Churn struct {
	S        float64
	Min, Max float64 // Max 0 means no limit
}

// stir is that part of a step which is before the ODE's: it returns σ̂.
func (b *Batch) stir(c Churn, sNoise, sigma float64, n int) (float64, error) {
	if c.S == 0 {
		return sigma, nil
	}
	if err := b.draw(PurposeChurn); err != nil {
		return 0, err
	}
	if sigma < c.Min || c.Max > 0 && sigma > c.Max {
		return sigma, nil
	}
	gamma := min(c.S/float64(n), math.Sqrt2-1)
	// σ̂²−σ² without the cancellation.
	b.set(atX, term{1, atX}, term{sNoise * sigma * math.Sqrt(gamma*(2+gamma)), atNoise})
	return sigma + float64(gamma*sigma), nil
}

// ancestral splits a step from s to t into the ODE's, which goes down to a
// lower level, and fresh noise up again (Song et al. 2021, DDIM, equation 16,
// in VE coordinates): up² = η² t²(s²−t²)/s², down² = t²−up². With η = 0 down
// is t, with η = 1 it is t²/s.
func ancestral(s, t, eta float64) (down, up float64) {
	if eta == 0 || t == 0 {
		return t, 0
	}
	r := t / s
	up = eta * t * math.Sqrt((1-r)*(1+r))
	e2 := float64(eta * eta)
	rest := 1 - e2 + float64(e2*float64(r*r))
	if rest <= 0 {
		return 0, t
	}
	return t * math.Sqrt(rest), up
}

// singleStep walks down a ladder by steps of the ODE from s to t that need
// nothing of the steps before, with churn before them and ancestral noise of
// size up after them, which step leaves to land.
func (b *Batch) singleStep(ctx context.Context, score Field, sigmas []float64, churn Churn, eta, sNoise float64,
	step func(s, t, up float64) error) error {
	if churn.S < 0 || eta < 0 || sNoise < 0 {
		return fmt.Errorf("sampler: churn, Eta and SNoise are at least 0, not %g, %g and %g", churn.S, eta, sNoise)
	}
	sNoise = or(sNoise, 1)
	return b.descend(ctx, score, sigmas, func(i int) error {
		s, err := b.stir(churn, sNoise, sigmas[i], len(sigmas)-1)
		if err != nil {
			return err
		}
		down, up := ancestral(s, sigmas[i+1], eta)
		return step(s, down, sNoise*up)
	})
}

// land ends a step with noise of size up, if any.
func (b *Batch) land(up float64, terms ...term) error {
	if up > 0 {
		if err := b.draw(PurposePredictor); err != nil {
			return err
		}
	}
	b.arrive(up, terms...)
	return nil
}

// or is a setting or, where it is 0, its default.
func or(given, usual float64) float64 {
	if given == 0 {
		return usual
	}
	return given
}

// between is s^{1−r} t^r, evenly spaced in ln σ.
func between(s, t, r float64) float64 {
	if r == 0.5 {
		return math.Sqrt(s) * math.Sqrt(t)
	}
	return s * schedules.Exp(r*schedules.Log(t/s))
}
