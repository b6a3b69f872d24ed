package sampler

import (
	"errors"
	"fmt"
	"math"

	"sampleonnx/schedules"
)

// All predictors are x̄ = a·x + b·s, x = x̄ + √q z. They draw z even where
// q = 0, as the published code does, so that recorded noise stays in step.

// EulerMaruyama is one Euler–Maruyama step of the reverse-time SDE
// dx = (f·x − g²s) dt + g dw̄ (Song et al. 2021, equation 6):
// a = 1−f·h, b = q = g²h. With probability flow (equation 13) b is halved and
// q is 0; the published PyTorch code fails there, the JAX code does this.
func EulerMaruyama(b *Batch, score Field, at Tick) error {
	f, g := at.SDE.Coeffs(at.T)
	g2 := g * g * at.Dt
	return b.predict(score, at, 1-float64(f*at.Dt), g2, g2)
}

// ReverseDiffusion discretises the reverse SDE as the forward one is (Song et
// al. 2021, appendix E, and the predictors of algorithms 2 and 3):
// a = 1−f_k, b = q = g_k². For sub-VP it equals Euler–Maruyama.
func ReverseDiffusion(b *Batch, score Field, at Tick) error {
	f, g := at.SDE.Discretize(at.T, at.K, at.N)
	return b.predict(score, at, 1-f, g*g, g*g)
}

// Ancestral samples the chain's posterior (Song et al. 2021, equation 4 for VP
// and appendix F for VE). It is defined for VE and VP, and has no probability flow.
func Ancestral(b *Batch, score Field, at Tick) error {
	chain, ok := at.SDE.(schedules.Chain)
	if !ok {
		return fmt.Errorf("sampler: ancestral sampling is not defined for %T", at.SDE)
	}
	if at.Flow {
		return errors.New("sampler: ancestral sampling has no probability flow")
	}
	a, c, q := chain.Posterior(at.K, at.N)
	return b.predict(score, at, a, c, q)
}

func (b *Batch) predict(score Field, at Tick, a, c, q float64) error {
	if a-a != 0 || c-c != 0 || !(q >= 0) || q-q != 0 {
		return tooFewSteps(at)
	}
	if at.Flow {
		c, q = c/2, 0
	}
	if err := b.eval(score, at.T); err != nil {
		return err
	}
	if err := b.draw(PurposePredictor); err != nil {
		return err
	}
	b.move(a, c, math.Sqrt(q))
	return nil
}

// tooFewSteps is β_k ≥ 1: DDPM's chain needs more than β_max steps.
func tooFewSteps(at Tick) error {
	return fmt.Errorf("sampler: %T has no chain of %d steps: beta_%d is not below 1; take more steps", at.SDE, at.N, at.K)
}
