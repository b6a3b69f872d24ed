package sampler

import (
	"errors"
	"fmt"
	"sync"

	"sampleonnx/schedules"
)

// Measurement is what is known of the data, y = A x_0: the condition of an
// inverse problem. With [Mask] it is inpainting, with [Gray] colorization, with
// [Average] super-resolution.
//
// Two ways bring it into a sampler with nothing more than the score. After and
// Before put the measurement, with the noise of the time, into the state after
// or before every step of [PC]; [Annealed] calls Impose by itself. Score puts it
// into the score, for every other sampler. [DPS] and [PiGDM] also need the
// score's derivative; [REDdiff] is an optimisation and no sampler of a law.
type Measurement struct {
	A Operator
	// Y is A x_0, one measurement for all samples or several: sample i of the
	// run has the (i mod k)-th of k.
	Y []float64
	// Held draws the noise of what is known once for a time, or level, and keeps
	// it as long as that lasts, as NCSN's published inpainting does; NCSNv2's
	// draws it at every step.
	Held bool
}

var errNoOperator = errors.New("sampler: a measurement without an Operator")

// check compares the measurement with samples of dim values.
func (m Measurement) check(dim int) error {
	if m.A == nil {
		return errNoOperator
	}
	rows, cols := m.A.Size()
	if cols != dim {
		return fmt.Errorf("sampler: the measurement is of samples of %d values, not %d", cols, dim)
	}
	if len(m.Y) == 0 || len(m.Y)%rows != 0 {
		return fmt.Errorf("sampler: %d values are no measurements of %d", len(m.Y), rows)
	}
	if i := nonFinite(m.Y); i >= 0 {
		return fmt.Errorf("sampler: value %d of a measurement is %g", i, m.Y[i])
	}
	return nil
}

// of is the measurement of a sample.
func (m Measurement) of(sample uint64) []float64 {
	rows, _ := m.A.Size()
	k := int(sample % uint64(len(m.Y)/rows))
	return m.Y[k*rows : (k+1)*rows]
}

// bench is room to work on one sample: a state or noise, and measurements.
type bench struct{ x, u, y, z []float64 }

func (w *bench) fit(a Operator) *bench {
	rows, cols := a.Size()
	w.x, w.u, w.y, w.z = grow(w.x, cols), grow(w.u, cols), grow(w.y, rows), grow(w.z, rows)
	return w
}

// toward is x ← x + λ A⁺(α y + σ A z − A x) of one sample; z is nil where σ = 0.
func toward[F float](m Measurement, w *bench, sample uint64, x, z []F, alpha, sigma, lambda float64) {
	clear(w.z)
	if z != nil {
		scale(w.x, z, 1)
		m.A.Apply(w.z, w.x)
	}
	scale(w.x, x, 1)
	m.A.Apply(w.y, w.x)
	for k, y := range m.of(sample) {
		w.y[k] = float64(alpha*y) + float64(sigma*w.z[k]) - w.y[k]
	}
	m.A.Inverse(w.u, w.y)
	for j, v := range w.x {
		x[j] = F(v + float64(lambda*w.u[j]))
	}
}

// Impose moves the state λ of the way to the measurement at the noise of x_t =
// α x_0 + σ z (Song, Shen, Xing & Ermon 2022, equation 7, written for any A):
//
//	x ← x + λ A⁺(α y + σ A z − A x)
//
// λ = 1 makes A x what the measurement was at that noise, and with α = 1, σ = 0
// exactly y: so a run ends. σ = 0 draws nothing. A run starts, after
// [Batch.Prior], with α and σ of T, since it is for such states that the score is
// made; the published code of Song et al. 2021 starts with y itself.
func (m Measurement) Impose(b *Batch, alpha, sigma, lambda float64) error {
	if err := m.check(b.Dim); err != nil {
		return err
	}
	if !(lambda >= 0 && lambda <= 1) {
		return fmt.Errorf("sampler: a measurement is imposed between 0 and 1, not %g", lambda)
	}
	if err := b.prepare(); err != nil {
		return err
	}
	noisy := sigma != 0
	if noisy {
		if err := b.drawKnown(m.Held, alpha, sigma); err != nil {
			return err
		}
	}
	b.impose(m, atX, alpha, sigma, lambda, noisy)
	return nil
}

// held is noise of what is known, and the α and σ of the state that it is in.
type held struct {
	z            []float32
	alpha, sigma float64
}

// drawKnown is z ~ N(0, I) for what is known or, if it is to be held, the same as
// at the last call of the same α and σ.
func (b *Batch) drawKnown(hold bool, alpha, sigma float64) error {
	h := &b.held
	if !hold {
		return b.draw(PurposeKnown)
	}
	if h.alpha != alpha || h.sigma != sigma {
		if err := b.draw(PurposeKnown); err != nil {
			return err
		}
		h.z, h.alpha, h.sigma = append(h.z[:0], b.z...), alpha, sigma
		return nil
	}
	copy(b.z, h.z)
	if w := b.wide; w != nil {
		scale(w.z, b.z, 1)
	}
	return nil
}

// impose is Impose of one of the batch's arrays.
func (b *Batch) impose(m Measurement, to slot, alpha, sigma, lambda float64, noisy bool) {
	w := b.bench.fit(m.A)
	for i := range b.t {
		from, end := i*b.Dim, (i+1)*b.Dim
		if wide := b.wide; wide != nil {
			var z []float64
			if noisy {
				z = wide.z[from:end]
			}
			toward(m, w, b.First+uint64(i), wide.array(to)[from:end], z, alpha, sigma, lambda)
			continue
		}
		var z []float32
		if noisy {
			z = b.z[from:end]
		}
		toward(m, w, b.First+uint64(i), b.array(to)[from:end], z, alpha, sigma, lambda)
	}
}

// After wraps a predictor or corrector of [PC]: after the step the measurement
// takes its place in the state, with fresh noise of the time, and without in x̄
// (Song et al. 2021, appendices I.2 and I.3):
//
//	x ← x + A⁺(α y + σ A z − A x),  x̄ ← x̄ + A⁺(α y − A x̄)
//
// The published code takes x̄ from the noisy x, so that denoising leaves the last
// step's noise where nothing is known; this does not.
func (m Measurement) After(inner Step) Step {
	return func(b *Batch, score Field, at Tick) error {
		if inner == nil {
			b.set(atMean, term{1, atX})
		} else if err := inner(b, score, at); err != nil {
			return err
		}
		alpha, sigma := at.SDE.Marginal(at.T)
		if err := m.Impose(b, alpha, sigma, 1); err != nil {
			return err
		}
		b.impose(m, atMean, alpha, 0, 1, false)
		return nil
	}
}

// Before wraps a predictor or corrector of [PC]: before the step the state
// goes λ of the way to the measurement with the noise of the time (Song, Shen,
// Xing & Ermon 2022, algorithm 1). A run ends with Impose(b, 1, 0, 1).
func (m Measurement) Before(inner Step, lambda float64) Step {
	return func(b *Batch, score Field, at Tick) error {
		alpha, sigma := at.SDE.Marginal(at.T)
		if err := m.Impose(b, alpha, sigma, lambda); err != nil {
			return err
		}
		if inner == nil {
			return nil
		}
		return inner(b, score, at)
	}
}

// Score is Field → Field: the score whose denoised datum agrees with the
// measurement, λ of the way (Wang, Yu & Zhang 2023, "DDNM", equation 13, for any
// sampler):
//
//	x̂_0 ← x̂_0 + λ A⁺(y − A x̂_0),  s = (α x̂_0 − x)/σ²
//
// In what is measured it is with λ = 1 the score of the known datum's own law
// N(α y, σ²), so that there the state has the right noise at every time. Which
// sample is asked for the batch tells; it may be nil with one measurement.
func (m Measurement) Score(b *Batch, score Field, path schedules.Path, lambda float64) (Field, error) {
	if m.A == nil {
		return nil, errNoOperator
	}
	_, cols := m.A.Size()
	if err := m.check(cols); err != nil {
		return nil, err
	}
	if !(lambda >= 0 && lambda <= 1) {
		return nil, fmt.Errorf("sampler: a measurement is imposed between 0 and 1, not %g", lambda)
	}
	return agreeing(m, b, score, path, lambda), nil
}

func agreeing[F float](m Measurement, b *Batch, score func(dst, x []F, t []float64) error, path schedules.Path, lambda float64) func(dst, x []F, t []float64) error {
	var pool sync.Pool
	return func(dst, x []F, t []float64) error {
		if err := score(dst, x, t); err != nil || len(t) == 0 {
			return err
		}
		dim := len(x) / len(t)
		if err := m.check(dim); err != nil {
			return err
		}
		w, _ := pool.Get().(*bench)
		if w == nil {
			w = new(bench)
		}
		defer pool.Put(w)
		w.fit(m.A)
		for i, t := range t {
			alpha, sigma := path.Marginal(t)
			s, x := dst[i*dim:(i+1)*dim], x[i*dim:(i+1)*dim]
			// s changes by α/σ² times the change of x̂_0, which takes only the
			// residual: no difference of large numbers.
			for j, v := range s {
				w.x[j] = (float64(x[j]) + float64(sigma*sigma*float64(v))) / alpha
			}
			m.A.Apply(w.y, w.x)
			for k, y := range m.of(b.Sample(i)) {
				w.y[k] = y - w.y[k]
			}
			m.A.Inverse(w.u, w.y)
			c := lambda * alpha / sigma / sigma
			for j, u := range w.u {
				s[j] = F(float64(s[j]) + float64(c*u))
			}
		}
		return nil
	}
}
