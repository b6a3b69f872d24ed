package sampler

import (
	"context"
	"errors"
	"fmt"

	"sampleonnx/schedules"
)

// Flow follows the probability-flow ODE (Song et al. 2021, equation 13)
//
//	dx/dt = f(t)x − ½ g(t)² s(x, t)
//
// from T to ε with the Dormand–Prince pair of order 5(4) and the step control
// of scipy's RK45, which the published code calls. The state is float64
// inside the solver and float32 for the network.
//
// Every sample has its own time and step, so that it does not depend on its
// batch. In the published code the batch is one system with one step and one
// error norm over all its values: Coupled does that, and needs the same number
// of evaluations. Where a sample has only a value or two, its own error
// estimate can vanish by chance and let a long step pass: ask for smaller
// tolerances there, they cost little.
type Flow struct {
	SDE        schedules.SDE
	Eps        float64 // the last time; 0 means SDE.Eps()
	RTol, ATol float64 // tolerances; 0 means 1e-5
	Coupled    bool

	// Heun takes Heun's method with Euler's as its error estimate, of order
	// 2(1), in place of Dormand and Prince's pair: two evaluations a step, for
	// rough tolerances.
	Heun bool

	// Denoise ends with the mean of one reverse-diffusion step at ε, one of N
	// in all; N is 0 for 1000.
	Denoise bool
	N       int
}

func (f Flow) Sample(ctx context.Context, b *Batch, score Field) error {
	t0, eps, n, err := f.checked()
	if err != nil {
		return err
	}
	if err := b.ready(score); err != nil {
		return err
	}
	attempts, err := f.integrate(ctx, b, score, t0, eps)
	if err != nil || !f.Denoise {
		return err
	}
	if err := b.eval(score, eps); err != nil {
		return err
	}
	drift, g := f.SDE.Discretize(eps, 0, n)
	b.move(1-drift, g*g, 0)
	_, sigma := f.SDE.Marginal(eps)
	return b.done(Progress{Step: attempts + 1, Done: 1, T: eps, Sigma: sigma})
}

// checked are the ends and N of valid settings.
func (f Flow) checked() (t0, eps float64, n int, err error) {
	if f.SDE == nil {
		return 0, 0, 0, errors.New("sampler: Flow needs an SDE")
	}
	eps, t0, n = f.Eps, f.SDE.T(), f.N
	if eps == 0 {
		eps = f.SDE.Eps()
	}
	if n == 0 {
		n = 1000
	}
	if n < 0 || f.RTol < 0 || f.ATol < 0 || !(eps > 0 && eps <= t0) {
		return 0, 0, 0, fmt.Errorf("sampler: Flow needs tolerances and N above 0 and Eps in (0, %g], has %g, %g, %d and %g",
			t0, f.RTol, f.ATol, n, eps)
	}
	return t0, eps, n, nil
}

// integrate carries b.X from t0 to t1 and returns the number of steps tried.
func (f Flow) integrate(ctx context.Context, b *Batch, score Field, t0, t1 float64) (attempts int, err error) {
	n := len(b.X) / b.Dim
	size := b.Dim
	if f.Coupled {
		size = len(b.X)
	}
	d := &b.ode
	d.rtol, d.atol, d.heun = tolerance(f.RTol), tolerance(f.ATol), f.Heun
	b.state = grow(b.state, len(b.X))
	scale(b.state, b.X, 1)

	err = d.solve(func(dst, y, t []float64, id []int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		// The predictors' scratch holds the network's side.
		x, s, ts := b.z[:len(y)], b.score[:len(y)], b.t[:len(y)/b.Dim]
		scale(x, y, 1)
		for i := range ts {
			ts[i] = t[i*b.Dim/size]
		}
		b.Calls++
		b.Evals += len(ts)
		if !f.Coupled {
			b.asked = id
		}
		err := score(s, x, ts)
		b.asked = nil
		if err != nil {
			return fmt.Errorf("sampler: score at t=%.6g: %w", ts[0], err)
		}
		if bad := nonFinite(s); bad >= 0 {
			_, sigma := f.SDE.Marginal(ts[bad/b.Dim])
			sample := b.First + uint64(id[bad/size]*(size/b.Dim)+bad%size/b.Dim)
			return &NonFiniteError{Sample: sample, Step: attempts + 1, Sigma: sigma}
		}
		for i, t := range t {
			cx, cs := flowCoeffs(f.SDE, t)
			from, to := i*size, (i+1)*size
			dst, y, s := dst[from:to], y[from:to], s[from:to]
			for j, v := range y {
				dst[j] = float64(cx*v) + float64(cs*float64(s[j]))
			}
		}
		return nil
	}, b.state, size, t0, t1, func(tried int) error {
		attempts = tried
		if b.Trace == nil {
			return nil
		}
		p := Progress{Step: tried, T: t1}
		behind := 0.0
		for i := range d.active {
			if t0 > t1 {
				p.T = max(p.T, d.t[i])
			} else {
				p.T = min(p.T, d.t[i])
			}
			behind += (d.t[i] - t1) / (t0 - t1)
			copy(b.state[d.id[i]*size:], d.row(d.y, i))
		}
		p.Done = 1 - behind/float64(n*b.Dim/size)
		_, p.Sigma = f.SDE.Marginal(p.T)
		scale(b.X, b.state, 1)
		return b.done(p)
	})
	if stuck, ok := errors.AsType[*stuckError](err); ok {
		return attempts, fmt.Errorf("sampler: sample %d: the ODE solver's step became too small at t=%.6g; larger tolerances may help",
			b.First+uint64(stuck.id), stuck.t)
	}
	if err != nil {
		return attempts, err
	}
	scale(b.X, b.state, 1)
	if bad := nonFinite(b.X); bad >= 0 {
		_, sigma := f.SDE.Marginal(t1)
		return attempts, &NonFiniteError{Sample: b.First + uint64(bad/b.Dim), Step: attempts, Sigma: sigma}
	}
	return attempts, nil
}

// flowCoeffs are the ODE's: dx/dt = cx·x + cs·s.
func flowCoeffs(sde schedules.SDE, t float64) (cx, cs float64) {
	f, g := sde.Coeffs(t)
	return f, -g * g / 2
}

func tolerance(given float64) float64 {
	if given == 0 {
		return 1e-5
	}
	return given
}
