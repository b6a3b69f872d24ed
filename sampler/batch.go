package sampler

import (
	"context"
	"errors"
	"fmt"
)

// A Batch is the state of a run: samples side by side, where their noise comes
// from, and who wants to hear of their progress. Set X and Dim, start it with
// Prior, Uniform or values of your own, and hand it to a [Sampler], which
// leaves the result in X. For other samples take another Batch, or move First
// and start again.
type Batch struct {
	// X is the state, Dim values a sample, sample after sample.
	X   []float32
	Dim int

	// First is the global index of the first sample. It keys the noise, so
	// that a sample does not depend on the batch it is drawn in.
	First uint64

	// Noise is where random numbers come from; nil means Philox(0).
	Noise Noise

	// Trace, if set, is called after every step, when X is the state the step
	// left. An error stops the run, which returns it. It must not keep or
	// change X.
	Trace func(Progress) error

	// Mean is x̄: the state before the last step's noise was added.
	Mean []float32

	// Calls counts evaluations of the field, Evals the samples they held.
	Calls, Evals int

	// Draws counts the arrays of noise taken since the run was started.
	Draws int

	asked    []int // the places in the batch of the samples in a field's arguments; nil: all, in order
	score, z []float32
	past     [pasts][]float32 // what a step has evaluated before, newest first
	t        []float64
	step     []float64 // step sizes, where every sample has its own
	state    []float64 // an ODE's state
	ode      dopri
	path     brownian
	adaptive adaptive
	pair     dpmPair
	drawn    [256]uint32
	wide     *wide
	bench    bench
	held     held
	sorted   []float32 // of one sample, for quantiles
}

// Progress tells how far a run has come.
type Progress struct {
	Step, Steps int     // steps done, of how many; Steps is 0 where nobody knows
	Done        float64 // the part of the run that is over, 0 to 1
	Level       int     // index of the noise level, where there is a ladder
	T           float64 // time of the step
	Sigma       float64 // noise level of the step
}

// A Sampler carries a batch from noise to samples with the help of the score
// ∇ ln p_t(x). It is a value: a Sampler can serve any number of batches at
// once. Cancelling ctx stops it within a step.
type Sampler interface {
	Sample(ctx context.Context, b *Batch, score Field) error
}

// A NonFiniteError says where a run met its first NaN or infinity.
type NonFiniteError struct {
	Sample uint64  // global index
	Step   int     // counted from 1
	Sigma  float64 // noise level of the step
}

func (e *NonFiniteError) Error() string {
	return fmt.Sprintf("sampler: sample %d is not finite after step %d (sigma %.6g)", e.Sample, e.Step, e.Sigma)
}

// Prior starts the run at X = std·z, the samplers' usual beginning: std is
// [schedules.SDE]'s Prior, or σ_1 with annealed Langevin dynamics.
func (b *Batch) Prior(std float64) error {
	if err := b.start(); err != nil {
		return err
	}
	if err := b.draw(PurposeInit); err != nil {
		return err
	}
	if w := b.wide; w != nil {
		scale(w.x, w.z, std)
		return nil
	}
	scale(b.X, b.z, std)
	return nil
}

// Uniform starts the run uniformly on [0,1), as NCSN's published code does.
func (b *Batch) Uniform() error {
	if err := b.start(); err != nil {
		return err
	}
	return b.noise().Uniform(b.X, b.next(PurposeInit))
}

// Normal fills dst, as long as X, with the run's next normals: noise for Steps
// written elsewhere.
func (b *Batch) Normal(dst []float32, p Purpose) error {
	if len(dst) != len(b.X) {
		return fmt.Errorf("sampler: noise for %d values in a batch of %d", len(dst), len(b.X))
	}
	return b.noise().Normal(dst, b.next(p))
}

// start rewinds the noise: a run is named by its seed and its samples.
func (b *Batch) start() error {
	clear(b.drawn[:])
	b.Draws, b.held.sigma = 0, 0
	return b.prepare()
}

// prepare checks the batch and makes its scratch arrays.
func (b *Batch) prepare() error {
	if b.Dim <= 0 || b.len() == 0 || b.len()%b.Dim != 0 {
		return fmt.Errorf("sampler: a batch of %d values is no samples of %d", b.len(), b.Dim)
	}
	n := b.len()
	b.asked = nil
	b.Mean = grow(b.Mean, n)
	b.score = grow(b.score, n)
	b.z = grow(b.z, n)
	b.t = grow(b.t, n/b.Dim)
	b.step = grow(b.step, n/b.Dim)
	return nil
}

func grow[E any](s []E, n int) []E {
	if cap(s) < n {
		return make([]E, n)
	}
	return s[:n]
}

func (b *Batch) len() int {
	if b.wide != nil {
		return len(b.wide.x)
	}
	return len(b.X)
}

// Sample is the global index of the sample in row i of a field's arguments,
// while the batch's sampler evaluates it: First+i with most samplers, but those
// with steps of each sample's own ask for fewer and fewer. Fields that treat
// samples differently, by class or measurement, need it. A nil batch has sample
// 0 in all rows.
func (b *Batch) Sample(i int) uint64 {
	if b == nil {
		return 0
	}
	if b.asked != nil {
		i = b.asked[i]
	}
	return b.First + uint64(i)
}

func (b *Batch) noise() Noise {
	if b.Noise == nil {
		return Philox(0)
	}
	return b.Noise
}

// next names the run's next draw.
func (b *Batch) next(p Purpose) Draw {
	at := Draw{Purpose: p, Index: uint64(b.drawn[p]), Seq: b.Draws, First: b.First, Dim: b.Dim}
	b.drawn[p]++
	b.Draws++
	return at
}

// draw is z ~ N(0, I).
func (b *Batch) draw(p Purpose) error {
	if err := b.noise().Normal(b.z, b.next(p)); err != nil {
		return err
	}
	if w := b.wide; w != nil {
		scale(w.z, b.z, 1)
	}
	return nil
}

// eval is s = score(x, t), every sample at the same time.
func (b *Batch) eval(score Field, t float64) error { return b.evalAt(score, atX, t) }

// evalAt is the same for a state that is not the batch's own.
func (b *Batch) evalAt(score Field, x slot, t float64) error {
	for i := range b.t {
		b.t[i] = t
	}
	b.Calls++
	b.Evals += len(b.t)
	var err error
	if w := b.wide; w != nil {
		err = w.field(w.score, w.array(x), b.t)
	} else {
		err = score(b.score, b.array(x), b.t)
	}
	if err != nil {
		return fmt.Errorf("sampler: score at t=%.6g: %w", t, err)
	}
	return nil
}

// move is the linear step all samplers are made of: x̄ = a·x + c·s,
// x = x̄ + r·z.
func (b *Batch) move(a, c, r float64) {
	if w := b.wide; w != nil {
		affine(w.mean, w.x, w.score, w.z, a, c, r)
		return
	}
	affine(b.Mean, b.X, b.score, b.z, a, c, r)
}

// toMean is x = x̄.
func (b *Batch) toMean() {
	if w := b.wide; w != nil {
		copy(w.x, w.mean)
		return
	}
	copy(b.X, b.Mean)
}

// done ends a step: it looks for values that are not finite and tells
// who listens. Steps are counted from 1.
func (b *Batch) done(p Progress) error {
	bad := -1
	if w := b.wide; w != nil {
		bad = nonFinite(w.x)
	} else {
		bad = nonFinite(b.X)
	}
	if bad >= 0 {
		return &NonFiniteError{Sample: b.First + uint64(bad/b.Dim), Step: p.Step, Sigma: p.Sigma}
	}
	if b.Trace == nil {
		return nil
	}
	if p.Steps > 0 {
		p.Done = float64(p.Step) / float64(p.Steps)
	}
	return b.Trace(p)
}

var errNoScore = errors.New("sampler: no score")

// ready is what every Sample begins with.
func (b *Batch) ready(score Field) error {
	if score == nil && b.wide == nil {
		return errNoScore
	}
	return b.prepare()
}
