package sampler

import (
	"context"
	"errors"
	"fmt"
	"math"
)

// DPS and PiGDM go down a ladder in VE coordinates by the steps of DDIM(η),
// and after each towards the measurement, along the derivative of the denoised
// datum D(x, s) = x + s² score. Pull is the derivative of the score in these
// coordinates, and a step two evaluations and one derivative.

// DPS is diffusion posterior sampling (Chung et al. 2023, algorithm 1):
//
//	x ← DDIM(η) step from s to t − ζ √(1+s²) √(1+t²) ∇ₓ‖y − A D(x, s)‖
//
// The roots bring the paper's ζ, which is for the state of the VP process, into VE
// coordinates. The norm is not squared, which makes the step's length one of ζ;
// it is each sample's own, where the published code has one for the batch. The
// paper samples with η = 1, and ζ from 0.3 to 1. It is a heuristic: the law that comes
// out is not the posterior.
type DPS struct {
	Measurement
	Pull   Pullback
	Sigmas []float64
	Eta    float64
	Zeta   float64 // 0 means 1
}

func (d DPS) Sample(ctx context.Context, b *Batch, score Field) error {
	zeta := or(d.Zeta, 1)
	if !(zeta > 0) {
		return fmt.Errorf("sampler: DPS's Zeta is %g, not above 0", zeta)
	}
	return b.guidedDescent(ctx, score, d.Measurement, d.Pull, d.Sigmas, d.Eta, func(s, t float64) float64 {
		return zeta * math.Sqrt((1+float64(s*s))*(1+float64(t*t)))
	}, func(w *bench) {
		// −∇‖y − A D‖ by D is Aᵀ of the residual, made of length 1.
		norm := math.Sqrt(squares(w.y))
		for k := range w.y {
			if norm > 0 {
				w.y[k] /= norm
			}
		}
		d.A.Adjoint(w.u, w.y)
	})
}

// PiGDM is pseudo-inverse-guided diffusion for measurements without noise
// (Song, Vahdat, Mardani & Kautz 2023, "ΠGDM", algorithm 1, in VE coordinates,
// where the coefficient √ᾱ_s√ᾱ_t of its last line is 1):
//
//	x ← DDIM(η) step from s to t + w (A⁺y − A⁺A D(x, s))ᵀ ∂D/∂x
//
// The paper has w = 1 and η = 1. What is measured goes to y at once; what is not
// follows as D ties the two together.
type PiGDM struct {
	Measurement
	Pull   Pullback
	Sigmas []float64
	Eta    float64
	Weight float64 // w; 0 means 1
}

func (p PiGDM) Sample(ctx context.Context, b *Batch, score Field) error {
	weight := or(p.Weight, 1)
	if !(weight > 0) {
		return fmt.Errorf("sampler: PiGDM's Weight is %g, not above 0", weight)
	}
	return b.guidedDescent(ctx, score, p.Measurement, p.Pull, p.Sigmas, p.Eta, func(s, t float64) float64 { return weight },
		func(w *bench) { p.A.Inverse(w.u, w.y) })
}

// guidedDescent is what the two have in common: steps of DDIM(η) plus
// strength(s, t)·uᵀ ∂D/∂x, where turn makes u of the residual y − A D in w.y.
func (b *Batch) guidedDescent(ctx context.Context, score Field, m Measurement, pull Pullback, sigmas []float64, eta float64,
	strength func(s, t float64) float64, turn func(w *bench)) error {
	if pull == nil && b.wide == nil {
		return errors.New("sampler: guidance through the score needs its Pullback")
	}
	if err := m.check(b.Dim); err != nil {
		return err
	}
	if eta < 0 {
		return fmt.Errorf("sampler: Eta is at least 0, not %g", eta)
	}
	b.keep(3)
	const d, u, g = atPast, atPast + 1, atPast + 2
	return b.descend(ctx, score, sigmas, func(i int) error {
		s, t := sigmas[i], sigmas[i+1]
		if err := b.denoise(score, atX, s, d); err != nil {
			return err
		}
		w := b.bench.fit(m.A)
		for k := range b.t {
			from, to := k*b.Dim, (k+1)*b.Dim
			if wide := b.wide; wide != nil {
				residual(m, w, b.First+uint64(k), wide.array(d)[from:to])
				turn(w)
				scale(wide.array(u)[from:to], w.u, 1)
				continue
			}
			residual(m, w, b.First+uint64(k), b.array(d)[from:to])
			turn(w)
			scale(b.array(u)[from:to], w.u, 1)
		}
		// b.t is still s for every sample.
		var err error
		if wide := b.wide; wide != nil {
			err = wide.pull(wide.array(g), wide.array(u), wide.x, b.t)
		} else {
			err = pull(b.array(g), b.array(u), b.X, b.t)
		}
		if err != nil {
			return fmt.Errorf("sampler: derivative at t=%.6g: %w", s, err)
		}
		down, up := ancestral(s, t, eta)
		c := strength(s, t)
		return b.land(up, term{down / s, atX}, term{1 - down/s, d}, term{c, u}, term{c * s * s, g})
	})
}

// residual is w.y = y − A D.
func residual[F float](m Measurement, w *bench, sample uint64, d []F) {
	scale(w.x, d, 1)
	m.A.Apply(w.y, w.x)
	for k, y := range m.of(sample) {
		w.y[k] = y - w.y[k]
	}
}
