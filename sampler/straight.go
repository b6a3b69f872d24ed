package sampler

import (
	"context"
	"fmt"
)

// Straight follows the ODE of flow matching on the path [schedules.Rectified]
// (Liu et al. 2023, "rectified flow"; Lipman et al. 2023),
//
//	dx/dt = u(x, t),  u = E[z − x_0 | x_t = x]
//
// along Times, which fall from noise at 1 to data at 0. The field is the
// velocity u, not the score, which at t = 1 says nothing of the data: [Velocity]
// makes one of a score, for times below 1. Start with [Batch.Prior] of 1, or of
// the first time where that is less.
//
//	Euler:  x ← x + (t'−t) u(x, t)
//	Heun:   x ← x + (t'−t) (u(x, t) + u(x + (t'−t) u(x, t), t'))/2
//
// Euler's method here is [Euler]'s in VE coordinates, and DDIM. Heun's is not
// that of [Heun]: the two take other steps of time. Its step to 0 is Euler's,
// since a velocity made of a score has no value there. Order 1 and 2, one and
// two evaluations a step.
type Straight struct {
	Times []float64
	Heun  bool
}

func (s Straight) Sample(ctx context.Context, b *Batch, velocity Field) error {
	if len(s.Times) < 2 {
		return fmt.Errorf("sampler: Straight needs two times or more, has %d", len(s.Times))
	}
	for i, t := range s.Times {
		if !(t >= 0 && t <= 1) || i > 0 && !(t < s.Times[i-1]) {
			return fmt.Errorf("sampler: Straight's time %d is %g: times fall, from 1 at most to 0 at least", i, t)
		}
	}
	if err := b.ready(velocity); err != nil {
		return err
	}
	const u, there = atPast, atPast + 1
	b.keep(2)
	n := len(s.Times) - 1
	for i, t := range s.Times[:n] {
		if err := ctx.Err(); err != nil {
			return err
		}
		next := s.Times[i+1]
		dt := next - t
		if err := b.evalAt(velocity, atX, t); err != nil {
			return err
		}
		if !s.Heun || next == 0 {
			b.arrive(0, term{1, atX}, term{dt, atScore})
		} else {
			b.set(u, term{1, atScore})
			b.set(there, term{1, atX}, term{dt, u})
			if err := b.evalAt(velocity, there, next); err != nil {
				return err
			}
			b.arrive(0, term{1, atX}, term{dt / 2, u}, term{dt / 2, atScore})
		}
		if err := b.done(Progress{Step: i + 1, Steps: n, Level: i, T: t, Sigma: t}); err != nil {
			return err
		}
	}
	return nil
}

// ShiftTimes moves times of [Straight] towards noise, t ← s·t/(1+(s−1)t), as
// flow matching does for large images (Esser et al. 2024, equation 23, where
// s = √(m/n)), in place, and returns them.
func ShiftTimes(times []float64, s float64) []float64 {
	for i, t := range times {
		times[i] = s * t / (1 + float64((s-1)*t))
	}
	return times
}
