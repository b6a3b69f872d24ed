package sampler

import (
	"context"
	"fmt"
	"math"
)

// DDIM is the sampler of Song, Meng & Ermon 2021 (equations 12 and 16) in VE
// coordinates, where σ = √((1−ᾱ)/ᾱ):
//
//	x ← x̂_0 + √(t²−u²) ε + u z,  u² = η² t²(s²−t²)/s²
//
// Without Clip it is [Euler] with Eta. Clip bounds the data that x̂_0 may be, as
// diffusers does by default (with 1), and leaves ε as predicted; Threshold, where
// there is one, is in its place. The authors' ladder
// is [schedules.Ladder] of [schedules.Discrete] at a spacing's times, then 0
// or ᾱ_0's level. Order 1, one evaluation a step.
type DDIM struct {
	Sigmas []float64
	Eta    float64 // 0 is deterministic, 1 is DDPM
	Clip   float64 // bound of |x̂_0|; 0 is none

	Threshold Threshold // of x̂_0
}

func (d DDIM) Sample(ctx context.Context, b *Batch, score Field) error {
	if d.Clip < 0 {
		return fmt.Errorf("sampler: DDIM cannot clip to %g", d.Clip)
	}
	thresholds := d.Threshold != (Threshold{})
	if thresholds {
		if err := d.Threshold.check(); err != nil {
			return err
		}
	}
	b.keep(1)
	const x0 = atPast
	return b.singleStep(ctx, score, d.Sigmas, Churn{}, d.Eta, 0, func(s, t, up float64) error {
		if err := b.denoise(score, atX, s, x0); err != nil {
			return err
		}
		switch {
		case thresholds:
			b.threshold(x0, d.Threshold)
		case d.Clip > 0:
			b.clip(x0, d.Clip)
		}
		return b.land(up, term{1, x0}, term{-t * s, atScore})
	})
}

// DDPM is the ancestral sampler of Ho et al. 2020 (algorithm 2) in VE
// coordinates:
//
//	x ← (t²/s²) x + (1−t²/s²) x̂_0 + u z
//
// with their smaller variance β̃, u² = t²(s²−t²)/s², or with Large their β,
// u² = (s²−t²)(1+t²)/(1+s²). The last step, to 0, has no noise. Clip bounds
// x̂_0, as their code does. Order 1, one evaluation a step.
type DDPM struct {
	Sigmas []float64
	Large  bool
	Clip   float64 // bound of |x̂_0|; 0 is none
}

func (d DDPM) Sample(ctx context.Context, b *Batch, score Field) error {
	if d.Clip < 0 {
		return fmt.Errorf("sampler: DDPM cannot clip to %g", d.Clip)
	}
	b.keep(1)
	const x0 = atPast
	return b.descend(ctx, score, d.Sigmas, func(i int) error {
		s, t := d.Sigmas[i], d.Sigmas[i+1]
		if err := b.denoise(score, atX, s, x0); err != nil {
			return err
		}
		if d.Clip > 0 {
			b.clip(x0, d.Clip)
		}
		r := t / s
		up := t * math.Sqrt((1-r)*(1+r))
		if d.Large && t > 0 {
			up = math.Sqrt((s - t) * (s + t) * (1 + float64(t*t)) / (1 + float64(s*s)))
		}
		return b.land(up, term{r * r, atX}, term{(1 - r) * (1 + r), x0})
	})
}
