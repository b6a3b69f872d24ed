package sampler

import (
	"context"
	"fmt"
)

// PNDM are the pseudo numerical methods of Liu, Ren, Lin & Zhao 2022: Adams
// and Bashforth's coefficients for even steps in time, with DDIM's transfer in
// place of x + hε. In VE coordinates that transfer is a step of Euler, so that
//
//	x ← x + (t−s) ε̄,  ε̄ = (55ε_0 − 59ε_1 + 37ε_2 − 9ε_3)/24
//
// with ε_k the noise predicted k steps ago (equation 12). The first three steps
// have no four ε, and there are three ways to begin:
//
//   - PLMS, as latent diffusion and Stable Diffusion 1 sample: the first step is
//     done twice, ε̄ = (ε(x, s)+ε(x', t))/2 with x' = x+(t−s)ε(x, s), and the next
//     have the orders 2 and 3. One evaluation a step, and one.
//   - Middles, the paper's F-PNDM: three pseudo Runge–Kutta steps of four
//     evaluations (equation 13), with Middles the levels in the middle of
//     those steps, in the process's own time. diffusers' PNDM without
//     skip_prk_steps, whose steps halve to whole training steps: where theirs
//     are odd it evaluates beside the level it stepped to.
//   - LowerOrders: the orders 1, 2 and 3, diffusers' IPNDM (Zhang & Chen 2022
//     call it iPNDM). One evaluation a step.
//
// The coefficients know nothing of the ladder, which should be even in some
// time. Order 2, however many ε there are: the polynomial is in time, and what
// is integrated is in σ. A last step to 0 is one as any other.
type PNDM struct {
	Sigmas      []float64
	Middles     []float64 // of the first three steps; nil is none
	LowerOrders bool      // begin so, and not as PLMS; not with Middles
}

// adams are Adams and Bashforth's coefficients of order 1 to 4, newest first.
var adams = [4][4]float64{{1}, {3. / 2, -1. / 2}, {23. / 12, -16. / 12, 5. / 12}, {55. / 24, -59. / 24, 37. / 24, -9. / 24}}

func (p PNDM) Sample(ctx context.Context, b *Batch, score Field) error {
	if p.Middles != nil && p.LowerOrders {
		return fmt.Errorf("sampler: PNDM begins with Middles or with LowerOrders, not with both")
	}
	if p.Middles != nil && len(p.Middles) != min(3, len(p.Sigmas)-1) {
		return fmt.Errorf("sampler: PNDM has %d levels in the middle of %d steps: want one for each of the first three", len(p.Middles), len(p.Sigmas)-1)
	}
	for i, m := range p.Middles {
		if !(m < p.Sigmas[i] && m > p.Sigmas[i+1]) {
			return fmt.Errorf("sampler: PNDM's middle level %d is %g, between %g and %g", i, m, p.Sigmas[i], p.Sigmas[i+1])
		}
	}
	b.keep(5)
	const eps, room = atPast, atPast + 4
	return b.descend(ctx, score, p.Sigmas, func(i int) error {
		s, t := p.Sigmas[i], p.Sigmas[i+1]
		b.age(4)
		if err := b.noiseOf(score, atX, s, eps); err != nil {
			return err
		}
		switch {
		case i < len(p.Middles) && t > 0:
			return b.rungeKutta(score, s, p.Middles[i], t, eps, room)
		case i == 0 && p.Middles == nil && !p.LowerOrders && t > 0:
			b.set(room, term{1, atX}, term{t - s, eps})
			if err := b.noiseOf(score, room, t, room); err != nil {
				return err
			}
			b.arrive(0, term{1, atX}, term{(t - s) / 2, eps}, term{(t - s) / 2, room})
			return nil
		}
		order := min(i+1, 4)
		var sum [5]term
		sum[0] = term{1, atX}
		for k, c := range adams[order-1][:order] {
			sum[1+k] = term{(t - s) * c, eps + slot(k)}
		}
		b.arrive(0, sum[:1+order]...)
		return nil
	})
}

// rungeKutta is a step from s over m to t of the classical method of order 4,
// of which the first ε is there. The sum of the other three gathers in x̄.
func (b *Batch) rungeKutta(score Field, s, m, t float64, eps, room slot) error {
	b.set(room, term{1, atX}, term{m - s, eps})
	if err := b.noiseOf(score, room, m, room); err != nil {
		return err
	}
	b.set(atMean, term{1, eps}, term{2, room})
	b.set(room, term{1, atX}, term{m - s, room})
	if err := b.noiseOf(score, room, m, room); err != nil {
		return err
	}
	b.set(atMean, term{1, atMean}, term{2, room})
	b.set(room, term{1, atX}, term{t - s, room})
	if err := b.noiseOf(score, room, t, room); err != nil {
		return err
	}
	b.arrive(0, term{1, atX}, term{(t - s) / 6, atMean}, term{(t - s) / 6, room})
	return nil
}
