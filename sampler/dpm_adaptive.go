package sampler

import (
	"context"
	"errors"
	"fmt"
	"math"

	"sampleonnx/schedules"
)

// DPMAdaptive is DPM-Solver-12 and -23, which choose their steps (Lu et al.
// 2022, "DPM-Solver", appendix C), with the step control of k-diffusion's
// dpm_adaptive. A step of h in λ = −ln σ is made by two orders that share their
// evaluations ([DPMSolver] has the formulas; order 2 beside order 3 has
// r_1 = ⅓):
//
//	E = RMS((x_low−x_high)/δ),  δ = max(ATol, RTol·max(|x_low|, |x_low,prev|))
//	e_n = 1/(E+10⁻⁸),  f = e_n^{(P+I+D)/k} e_{n−1}^{−(P+2D)/k} e_{n−2}^{D/k}
//
// with k the higher order, and h grows by 1 + arctan(f−1), whatever f is. A
// factor of at least Safety accepts x_high.
//
// Every sample has its own λ, step and errors, so that it does not depend on
// its batch; with Coupled the batch is one system, as in the published code.
// The state is float64 between evaluations.
type DPMAdaptive struct {
	SigmaMax, SigmaMin float64 // where the state is, and where it goes
	Order              int     // 2 or 3, the higher one; 0 means 3
	RTol, ATol         float64 // 0 means .05 and .0078, for data of unit size
	H                  float64 // the first step; 0 means .05
	P, I, D            float64 // the controller's coefficients; all 0 means I = 1
	Safety             float64 // 0 means .81
	Coupled            bool
	Denoise            bool // end with D(x, SigmaMin)
}

// dpmPair integrates independent systems dx/dσ = ε(x, σ) side by side.
type dpmPair struct {
	order, size     int
	rtol, atol      float64
	b               [3]float64 // exponents of the errors' inverses
	safety          float64
	tried           int
	id              []int // of the systems still on their way, packed
	lambda, h, to   []float64
	at              []float64    // levels of the stage
	errs            [][3]float64 // 1/E of this step and of the last two accepted
	x, prev         []float64    // states, and the lower orders' before
	u, low          []float64
	eps, eps1, eps2 []float64
}

func (a DPMAdaptive) Sample(ctx context.Context, b *Batch, score Field) error {
	order, h := a.Order, or(a.H, 0.05)
	if order == 0 {
		order = 3
	}
	if a.P == 0 && a.I == 0 && a.D == 0 {
		a.I = 1
	}
	switch {
	case order != 2 && order != 3:
		return fmt.Errorf("sampler: DPMAdaptive has the orders 2 and 3, not %d", a.Order)
	case !(a.SigmaMin > 0 && a.SigmaMax > a.SigmaMin) || math.IsInf(a.SigmaMax, 1):
		return fmt.Errorf("sampler: DPMAdaptive needs 0 < SigmaMin < SigmaMax, has %g and %g", a.SigmaMin, a.SigmaMax)
	case !(a.RTol >= 0 && a.ATol >= 0 && h > 0 && a.Safety >= 0 && a.Safety < 1):
		return fmt.Errorf("sampler: DPMAdaptive needs tolerances, H and Safety of at least 0, and Safety below 1, has %g, %g, %g and %g", a.RTol, a.ATol, h, a.Safety)
	}
	if err := b.ready(score); err != nil {
		return err
	}
	d, k := &b.pair, float64(order)
	d.order, d.size = order, b.Dim
	if a.Coupled {
		d.size = len(b.X)
	}
	d.rtol, d.atol, d.safety = or(a.RTol, 0.05), or(a.ATol, 0.0078), or(a.Safety, 0.81)
	d.b = [3]float64{(a.P + a.I + a.D) / k, -(a.P + 2*a.D) / k, a.D / k}
	b.state = grow(b.state, len(b.X))
	scale(b.state, b.X, 1)
	start, end := -schedules.Log(a.SigmaMax), -schedules.Log(a.SigmaMin)
	each := d.size / b.Dim
	eps := func(dst, x, sigma []float64, id []int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return b.packed(score, dst, x, sigma, id, each, d.tried)
	}
	systems := len(b.X) / d.size
	err := d.solve(eps, b.state, start, end, h, func() error {
		p := Progress{Step: d.tried, Done: 1, T: a.SigmaMin}
		for i, j := range d.id {
			p.Done -= (end - d.lambda[i]) / (end - start) / float64(systems)
			p.T = max(p.T, schedules.Exp(-d.lambda[i]))
			copy(b.state[j*d.size:], d.row(d.x, i))
		}
		p.Sigma = p.T
		scale(b.X, b.state, 1)
		return b.done(p)
	})
	if stuck, ok := errors.AsType[*stuckError](err); ok {
		return fmt.Errorf("sampler: sample %d: the solver's step became too small at σ=%.6g; larger tolerances may help",
			b.First+uint64(stuck.id*each), schedules.Exp(-stuck.t))
	}
	if err != nil {
		return err
	}
	copy(b.Mean, b.X)
	if !a.Denoise {
		return nil
	}
	if err := b.eval(score, a.SigmaMin); err != nil {
		return err
	}
	b.move(1, a.SigmaMin*a.SigmaMin, 0)
	return b.done(Progress{Step: d.tried + 1, Done: 1, T: a.SigmaMin, Sigma: a.SigmaMin})
}

// packed is ε of the systems in x, each of so many samples, at their own
// levels.
func (b *Batch) packed(score Field, dst, x, sigma []float64, id []int, each, tried int) error {
	in, s, ts := b.z[:len(x)], b.score[:len(x)], b.t[:len(x)/b.Dim]
	scale(in, x, 1)
	for i := range ts {
		ts[i] = sigma[i/each]
	}
	b.Calls++
	b.Evals += len(ts)
	if each == 1 {
		b.asked = id
	}
	err := score(s, in, ts)
	b.asked = nil
	if err != nil {
		return fmt.Errorf("sampler: score at t=%.6g: %w", ts[0], err)
	}
	if bad := nonFinite(s); bad >= 0 {
		i := bad / b.Dim
		return &NonFiniteError{Sample: b.First + uint64(id[i/each]*each+i%each), Step: tried, Sigma: ts[i]}
	}
	for i, v := range s {
		dst[i] = -sigma[i/b.Dim/each] * float64(v)
	}
	return nil
}

// solve carries the systems in out from λ to end; after every try it calls
// after.
func (d *dpmPair) solve(eps rhs, out []float64, lambda, end, h float64, after func() error) error {
	n := len(out) / d.size
	d.id, d.errs = grow(d.id, n), grow(d.errs, n)
	d.lambda, d.h, d.to, d.at = grow(d.lambda, n), grow(d.h, n), grow(d.to, n), grow(d.at, n)
	for _, v := range []*[]float64{&d.x, &d.prev, &d.u, &d.low, &d.eps, &d.eps1, &d.eps2} {
		*v = grow(*v, len(out))
	}
	copy(d.x, out)
	copy(d.prev, out)
	for i := range n {
		d.id[i], d.lambda[i], d.h[i], d.errs[i] = i, lambda, h, [3]float64{}
	}
	for d.tried = 1; len(d.id) > 0; d.tried++ {
		if err := d.try(eps, end); err != nil {
			return err
		}
		d.judge(out, end)
		if err := after(); err != nil {
			return err
		}
	}
	d.tried--
	return nil
}

// try steps every system: the lower order in low, the higher one in u.
func (d *dpmPair) try(eps rhs, end float64) error {
	n := len(d.id)
	all := n * d.size
	at := func(part float64) []float64 {
		for i := range n {
			d.at[i] = schedules.Exp(-(d.lambda[i] + float64(part*(d.to[i]-d.lambda[i]))))
		}
		return d.at[:n]
	}
	for i := range n {
		if d.to[i] = min(end, d.lambda[i]+d.h[i]); !(d.to[i] > d.lambda[i]) {
			return &stuckError{d.id[i], d.lambda[i]}
		}
	}
	if err := eps(d.eps[:all], d.x[:all], at(0), d.id); err != nil {
		return err
	}
	// u_1 at r_1, where both orders ask.
	r1 := 1 / float64(d.order)
	for i := range n {
		d.advance(d.u, i, r1, 0, nil)
	}
	if err := eps(d.eps1[:all], d.u[:all], at(r1), d.id); err != nil {
		return err
	}
	if d.order == 2 {
		for i := range n {
			h := d.to[i] - d.lambda[i]
			d.advance(d.low, i, 1, 0, nil)
			d.advance(d.u, i, 1, schedules.Expm1(h), d.eps1)
		}
		return nil
	}
	const r2 = 2. / 3
	for i := range n {
		h := d.to[i] - d.lambda[i]
		d.advance(d.low, i, 1, 1.5*schedules.Expm1(h), d.eps1)
		d.advance(d.u, i, r2, 2*(schedules.Expm1(r2*h)/(r2*h)-1), d.eps1)
	}
	if err := eps(d.eps2[:all], d.u[:all], at(r2), d.id); err != nil {
		return err
	}
	for i := range n {
		h := d.to[i] - d.lambda[i]
		d.advance(d.u, i, 1, (schedules.Expm1(h)/h-1)/r2, d.eps2)
	}
	return nil
}

// advance is dst = x − σ_r expm1(rh) ε − σ_r c (ε'−ε) for one system, at the
// part r of its step.
func (d *dpmPair) advance(dst []float64, i int, r, c float64, prime []float64) {
	h := d.to[i] - d.lambda[i]
	sigma := schedules.Exp(-(d.lambda[i] + float64(r*h)))
	a := sigma * schedules.Expm1(r*h)
	x, eps, out := d.row(d.x, i), d.row(d.eps, i), d.row(dst, i)
	if prime == nil {
		for j, v := range x {
			out[j] = v - float64(a*eps[j])
		}
		return
	}
	c *= sigma
	p := d.row(prime, i)
	for j, v := range x {
		out[j] = v - float64(a*eps[j]) - float64(c*(p[j]-eps[j]))
	}
}

// judge accepts or rejects every system's step, sets its next one, and packs
// those that are still on their way.
func (d *dpmPair) judge(out []float64, end float64) {
	kept := 0
	for i, id := range d.id {
		e := &d.errs[i]
		e[0] = 1 / (d.norm(i) + 1e-8)
		if e[0] != e[0] {
			e[0] = 0
		}
		if e[1] == 0 {
			e[1], e[2] = e[0], e[0]
		}
		f := 0.0
		for k, b := range d.b {
			if b != 0 {
				f += float64(b * schedules.Log(e[k]))
			}
		}
		f = 1 + schedules.Atan(schedules.Exp(f)-1)
		d.h[i] *= f
		if f >= d.safety {
			e[1], e[2] = e[0], e[1]
			copy(d.row(d.prev, i), d.row(d.low, i))
			copy(d.row(d.x, i), d.row(d.u, i))
			d.lambda[i] = d.to[i]
			// As published, the rest of a step too short to matter is left.
			if !(d.lambda[i] < end-1e-5) {
				copy(out[id*d.size:], d.row(d.x, i))
				continue
			}
		}
		if kept != i {
			d.id[kept], d.lambda[kept], d.h[kept], d.errs[kept] = id, d.lambda[i], d.h[i], *e
			copy(d.row(d.x, kept), d.row(d.x, i))
			copy(d.row(d.prev, kept), d.row(d.prev, i))
		}
		kept++
	}
	d.id = d.id[:kept]
}

// norm is E.
func (d *dpmPair) norm(i int) float64 {
	low, high, prev := d.row(d.low, i), d.row(d.u, i), d.row(d.prev, i)
	sum := 0.0
	for j, v := range low {
		delta := max(d.atol, d.rtol*max(math.Abs(v), math.Abs(prev[j])))
		e := (v - high[j]) / delta
		sum += float64(e * e)
	}
	return math.Sqrt(sum / float64(d.size))
}

func (d *dpmPair) row(v []float64, i int) []float64 { return v[i*d.size : (i+1)*d.size] }
