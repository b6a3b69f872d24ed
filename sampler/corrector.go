package sampler

import (
	"fmt"
	"math"
)

// A Norm says over what the Langevin corrector takes its norms.
type Norm int

const (
	// NormSample is ‖z‖/‖s‖ of each sample: a sample does not depend on its
	// batch.
	NormSample Norm = iota
	// NormDim is √d/‖s‖ of each sample, which the paper suggests for small
	// batches (Song et al. 2021, appendix G).
	NormDim
	// NormBatch is the mean of ‖z‖ over the batch by the mean of ‖s‖, as in the
	// published code: here a sample does depend on its batch.
	NormBatch
)

// LangevinCorrector is a number of Langevin steps whose size is set by the
// signal-to-noise ratio r (Song et al. 2021, algorithms 4 and 5):
//
//	α = 2 α_k (r ‖z‖/‖s‖)²,  x ← x + α s + √(2α) z
//
// where α_k is the SDE's StepAlpha: one step's 1−β_k, as in the published
// code, and not their product.
type LangevinCorrector struct {
	SNR   float64 // r; 0 means .16
	Steps int     // 0 means 1
	Norm  Norm
}

// Step is the corrector as a [Step].
func (l LangevinCorrector) Step(b *Batch, score Field, at Tick) error {
	if l.Norm < NormSample || l.Norm > NormBatch {
		return fmt.Errorf("sampler: there is no Norm %d", l.Norm)
	}
	r, alphaK := snr(l.SNR), at.SDE.StepAlpha(at.K, at.N)
	if !(alphaK > 0) {
		return tooFewSteps(at)
	}
	for range max(l.Steps, 1) {
		if err := b.eval(score, at.T); err != nil {
			return err
		}
		if err := b.draw(PurposeCorrector); err != nil {
			return err
		}
		b.normRatios(l.Norm)
		for i, ratio := range b.step {
			step := r * ratio
			b.step[i] = 2 * alphaK * float64(step*step)
		}
		b.moveEach()
	}
	return nil
}

// AnnealedCorrector is a number of Langevin steps of α = 2 α_k (r σ_t)² (the
// published code's "ald"; Song et al. 2021, appendix G). With VE it is
// annealed Langevin dynamics with ε = 2r²σ_L².
type AnnealedCorrector struct {
	SNR   float64 // r; 0 means .16
	Steps int     // 0 means 1
}

// Step is the corrector as a [Step].
func (a AnnealedCorrector) Step(b *Batch, score Field, at Tick) error {
	alphaK := at.SDE.StepAlpha(at.K, at.N)
	if !(alphaK > 0) {
		return tooFewSteps(at)
	}
	_, sigma := at.SDE.Marginal(at.T)
	step := snr(a.SNR) * sigma
	alpha := 2 * alphaK * float64(step*step)
	for range max(a.Steps, 1) {
		if err := b.langevin(score, at.T, alpha, 1); err != nil {
			return err
		}
	}
	return nil
}

// snr is the published setting for CIFAR-10 where none is given.
func snr(r float64) float64 {
	if r == 0 {
		return 0.16
	}
	return r
}

// normRatios puts ‖z‖/‖s‖ into b.step, in the chosen sense.
func (b *Batch) normRatios(norm Norm) {
	zz, ss := 0.0, 0.0
	for i := range b.step {
		z, s := b.norms(i)
		if norm == NormDim {
			z = math.Sqrt(float64(b.Dim))
		}
		b.step[i] = z / s
		zz, ss = zz+z, ss+s
	}
	if norm == NormBatch {
		for i := range b.step {
			b.step[i] = zz / ss
		}
	}
}

// norms is ‖z‖ and ‖s‖ of one sample.
func (b *Batch) norms(i int) (z, s float64) {
	from, to := i*b.Dim, (i+1)*b.Dim
	if w := b.wide; w != nil {
		return math.Sqrt(squares(w.z[from:to])), math.Sqrt(squares(w.score[from:to]))
	}
	return math.Sqrt(squares(b.z[from:to])), math.Sqrt(squares(b.score[from:to]))
}

// moveEach is a Langevin step of its own size for every sample:
// x ← x + α_i s + √(2α_i) z, α = b.step.
func (b *Batch) moveEach() {
	for i, alpha := range b.step {
		from, to, r := i*b.Dim, (i+1)*b.Dim, math.Sqrt(2*alpha)
		if w := b.wide; w != nil {
			affine(w.mean[from:to], w.x[from:to], w.score[from:to], w.z[from:to], 1, alpha, r)
			continue
		}
		affine(b.Mean[from:to], b.X[from:to], b.score[from:to], b.z[from:to], 1, alpha, r)
	}
}
