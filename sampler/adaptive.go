package sampler

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/bits"

	"sampleonnx/schedules"
)

// AdaptiveSDE solves the reverse-time SDE with a step for every sample, chosen
// from the difference of Euler–Maruyama and the stochastic improved Euler
// method (Jolicoeur-Martineau et al. 2021, "Gotta go fast when generating data
// with score-based models", algorithm 1, with extrapolation). With the drift
// f̃ = f·x − g² s and one z for both:
//
//	K = −h f̃(x, t) + g(t)√h z,        x' = x + K
//	K' = −h f̃(x', t−h) + g(t−h)√h z,  x'' = x + (K+K')/2
//	E = RMS(½(K'−K)/δ),  δ = max(ATol, RTol·max(|x'_prev|, |x'|))
//
// E ≤ 1 accepts the second state, and h becomes .9 h E^{−.9}, never beyond Eps.
//
// The published algorithm draws a new z after a rejection. But whether a step
// is rejected depends on its z, so that what is thrown away is not like the
// rest, and the law is biased. Here z is the increment of a Brownian path, each
// sample's own, that is there before anybody looks at it: a rejected step is tried
// again over a part of the same path, whose law given the whole is the
// Brownian bridge's. For that, time is rounded, steps to a 32nd of themselves at
// most and all to T/2⁴¹, and Noise must be a function of the draw, as [Philox]
// is and [Torch], [Jax] and [Replay] are not.
//
// Two evaluations a try. Strong order ½: the tolerances are of the law, not of
// a path; .01 to .05 is what the authors use.
type AdaptiveSDE struct {
	SDE        schedules.SDE
	Eps        float64 // the last time; 0 means SDE.Eps()
	RTol, ATol float64 // 0 means .01
	Denoise    bool    // end with x + σ² s
}

// adaptive is the state of the samples on their way.
type adaptive struct {
	id   []int     // of the active
	t, h []float64 // of all
	to   []float64 // where the try leads
	next []uint64  // the same on the path
	path []brownian
}

func (a AdaptiveSDE) Sample(ctx context.Context, b *Batch, score Field) error {
	if a.SDE == nil {
		return errors.New("sampler: AdaptiveSDE needs an SDE")
	}
	eps, end := or(a.Eps, a.SDE.Eps()), a.SDE.T()
	if a.RTol < 0 || a.ATol < 0 || !(eps > 0 && eps < end) {
		return fmt.Errorf("sampler: AdaptiveSDE needs tolerances of at least 0 and Eps in (0, %g), has %g, %g and %g", end, a.RTol, a.ATol, eps)
	}
	switch b.noise().(type) {
	case *Torch, Jax, Replay:
		return fmt.Errorf("sampler: AdaptiveSDE needs noise that is a function of the draw, not %T", b.Noise)
	}
	if err := b.ready(score); err != nil {
		return err
	}
	b.keep(3)
	n, d := len(b.X)/b.Dim, &b.adaptive
	d.t, d.h, d.to, d.next = grow(d.t, n), grow(d.h, n), grow(d.to, n), grow(d.next, n)
	d.path, d.id = grow(d.path, n), grow(d.id, n)
	run, err := b.nextPath()
	if err != nil {
		return err
	}
	for i := range n {
		d.id[i], d.t[i], d.h[i] = i, end, 0.01*end
		d.path[i].start(brownianEnd, b.Dim, run)
	}
	copy(b.past[0], b.X)
	copy(b.Mean, b.X)
	tries := 0
	for len(d.id) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		tries++
		if err := a.try(b, score, tries, eps); err != nil {
			return err
		}
		p := Progress{Step: tries, T: eps}
		behind := 0.0
		for _, i := range d.id {
			p.T = max(p.T, d.t[i])
			behind += (d.t[i] - eps) / (end - eps)
		}
		p.Done = 1 - behind/float64(n)
		_, p.Sigma = a.SDE.Marginal(p.T)
		if err := b.done(p); err != nil {
			return err
		}
	}
	if !a.Denoise {
		return nil
	}
	if err := b.eval(score, eps); err != nil {
		return err
	}
	_, sigma := a.SDE.Marginal(eps)
	b.move(1, sigma*sigma, 0)
	return b.done(Progress{Step: tries + 1, Done: 1, T: eps, Sigma: sigma})
}

// try attempts a step of every sample on its way and packs those that are not
// there yet.
func (a AdaptiveSDE) try(b *Batch, score Field, tries int, eps float64) error {
	d, dim, end := &b.adaptive, b.Dim, a.SDE.T()
	rtol, atol := or(a.RTol, 0.01), or(a.ATol, 0.01)
	last := uint64(eps / end * brownianEnd)
	row := func(v []float32, i int) []float32 { return v[i*dim : (i+1)*dim] }
	prev, step, prime := b.past[0], b.past[1], b.past[2]

	for k, i := range d.id {
		copy(row(b.z, k), row(b.X, i))
		b.t[k] = d.t[i]
	}
	if err := a.eval(b, score, tries); err != nil {
		return err
	}
	for k, i := range d.id {
		path := &d.path[i]
		d.to[i], d.next[i] = eps, last
		if n := stop(path.at, d.h[i]/end*brownianEnd); n > last {
			d.next[i], d.to[i] = n, float64(n)/brownianEnd*end
		}
		from := path.at
		err := path.moveTo(d.next[i], func(dst []float32, id uint64) error {
			return b.noise().Normal(dst, Draw{Purpose: PurposeBrownian, Index: id, Seq: b.Draws, First: b.First + uint64(i), Dim: dim})
		})
		if err != nil {
			return err
		}
		path.at = from
		h := d.t[i] - d.to[i]
		f, g := a.SDE.Coeffs(d.t[i])
		cx, cs, cz := -h*f, h*g*g, g*math.Sqrt(h/float64(from-d.next[i]))
		x, s, kRow, p := row(b.X, i), row(b.score, k), row(step, i), row(prime, i)
		for j, v := range x {
			kRow[j] = float32(float64(cx*float64(v)) + float64(cs*float64(s[j])) + float64(cz*path.sum[j]))
			p[j] = v + kRow[j]
		}
		copy(row(b.z, k), p)
		b.t[k] = d.to[i]
	}
	if err := a.eval(b, score, tries); err != nil {
		return err
	}
	kept := 0
	for k, i := range d.id {
		path, h := &d.path[i], d.t[i]-d.to[i]
		f, g := a.SDE.Coeffs(d.to[i])
		cx, cs, cz := -h*f, h*g*g, g*math.Sqrt(h/float64(path.at-d.next[i]))
		x, s, kRow, p, before := row(b.X, i), row(b.score, k), row(step, i), row(prime, i), row(prev, i)
		sum := 0.0
		for j, v := range p {
			k2 := float64(cx*float64(v)) + float64(cs*float64(s[j])) + float64(cz*path.sum[j])
			delta := max(atol, rtol*max(math.Abs(float64(before[j])), math.Abs(float64(v))))
			half := float64((k2 - float64(kRow[j])) / 2)
			e := half / delta
			sum += float64(e * e)
			kRow[j] = float32(float64(x[j]) + float64(kRow[j]) + half) // x''
		}
		size := math.Sqrt(sum / float64(dim))
		if size != size || math.IsInf(size, 1) {
			_, sigma := a.SDE.Marginal(d.to[i])
			return &NonFiniteError{Sample: b.First + uint64(i), Step: tries, Sigma: sigma}
		}
		factor := math.Inf(1)
		if size > 0 {
			factor = 0.9 * schedules.Exp(-0.9*schedules.Log(size))
		}
		if size <= 1 {
			copy(x, kRow)
			copy(before, p)
			copy(row(b.Mean, i), x)
			d.t[i], path.at = d.to[i], d.next[i]
			if d.t[i] == eps {
				continue
			}
		} else if path.at-d.next[i] <= 1 {
			return fmt.Errorf("sampler: sample %d: at t=%.6g no step is small enough for the tolerances RTol %g and ATol %g",
				b.First+uint64(i), d.t[i], rtol, atol)
		}
		d.h[i] = min(d.t[i]-eps, factor*h)
		d.id[kept] = i
		kept++
	}
	d.id = d.id[:kept]
	return nil
}

// stop is where a step of so many units ends, or a little before it, at a place
// that is an end of most of the path's intervals. A step of fewer units ends
// before: what was rejected is never tried again.
func stop(from uint64, units float64) uint64 {
	step := uint64(max(1, units))
	if step >= from {
		return 0
	}
	grain := uint64(1) << max(0, bits.Len64(step)-6) // a 32nd to a 64th of the step
	return (from - step + grain - 1) &^ (grain - 1)
}

// eval is the score of the active samples, packed, each at its own time.
func (a AdaptiveSDE) eval(b *Batch, score Field, tries int) error {
	n := len(b.adaptive.id)
	b.Calls++
	b.Evals += n
	s := b.score[:n*b.Dim]
	b.asked = b.adaptive.id
	err := score(s, b.z[:n*b.Dim], b.t[:n])
	b.asked = nil
	if err != nil {
		return fmt.Errorf("sampler: score at t=%.6g: %w", b.t[0], err)
	}
	if bad := nonFinite(s); bad >= 0 {
		_, sigma := a.SDE.Marginal(b.t[bad/b.Dim])
		return &NonFiniteError{Sample: b.First + uint64(b.adaptive.id[bad/b.Dim]), Step: tries, Sigma: sigma}
	}
	return nil
}
