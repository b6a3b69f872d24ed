package sampler

import (
	"context"
	"errors"
	"fmt"

	"sampleonnx/schedules"
)

// PC is the predictor–corrector sampler for reverse-time SDEs (Song et al.
// 2021, algorithms 1 to 3), in the order of the published code, which differs
// from the paper's: at every t the corrector comes first.
//
//	for t_i = linspace(T, ε, N)_i:
//	  x ← corrector(x, t_i)
//	  x, x̄ ← predictor(x, t_i)
//
// The score is taken at t_i while the tables σ_k, β_k are read at k = N−1−i;
// the published code finds the same k by truncating t_i(N−1).
type PC struct {
	SDE schedules.SDE
	N   int     // steps, 2 or more; 0 means 1000
	Eps float64 // the last time; 0 means SDE.Eps()

	// Predictor is [EulerMaruyama], [ReverseDiffusion], [Ancestral] or another
	// Step; nil predicts nothing.
	Predictor Step
	// Corrector is the Step method of [LangevinCorrector] or
	// [AnnealedCorrector], or another; nil corrects nothing.
	Corrector Step

	// ProbabilityFlow makes the predictor follow the probability-flow ODE in
	// place of the SDE: half the score, no noise.
	ProbabilityFlow bool
	// Denoise returns x̄, the last predictor's state before its noise.
	Denoise bool
}

// A Tick is one position on the way of a [PC] run.
type Tick struct {
	SDE  schedules.SDE
	T    float64 // where the score is taken
	Dt   float64 // T()/N
	K, N int     // position in the discrete tables, N−1 at first and 0 at last
	Flow bool    // PC.ProbabilityFlow
}

// A Step advances a batch in place, predictors and correctors alike. It
// changes b.X, and keeps b.Mean its value before noise was added.
type Step func(b *Batch, score Field, at Tick) error

func (p PC) Sample(ctx context.Context, b *Batch, score Field) error {
	if p.SDE == nil {
		return errors.New("sampler: PC needs an SDE")
	}
	n, eps := p.N, p.Eps
	if n == 0 {
		n = 1000
	}
	if eps == 0 {
		eps = p.SDE.Eps()
	}
	if n < 2 || !(eps > 0 && eps <= p.SDE.T()) {
		return fmt.Errorf("sampler: PC needs N of 2 or more, since its times and tables have two ends, and Eps in (0, %g], has %d and %g", p.SDE.T(), n, eps)
	}
	if err := b.ready(score); err != nil {
		return err
	}
	times := schedules.Linear(p.SDE.T(), eps, n)
	at := Tick{SDE: p.SDE, Dt: p.SDE.T() / float64(n), N: n, Flow: p.ProbabilityFlow}
	for i, t := range times {
		if err := ctx.Err(); err != nil {
			return err
		}
		at.T, at.K = t, n-1-i
		if p.Corrector != nil {
			if err := p.Corrector(b, score, at); err != nil {
				return err
			}
		}
		if p.Predictor != nil {
			if err := p.Predictor(b, score, at); err != nil {
				return err
			}
		}
		if i == n-1 && p.Denoise && p.Predictor != nil {
			b.toMean()
		}
		_, sigma := p.SDE.Marginal(t)
		if err := b.done(Progress{Step: i + 1, Steps: n, T: t, Sigma: sigma}); err != nil {
			return err
		}
	}
	return nil
}
