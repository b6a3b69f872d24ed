package sampler

import (
	"context"
	"fmt"

	"sampleonnx/schedules"
)

// DPMpp2S is DPM-Solver++(2S) (Lu et al. 2022, "DPM-Solver++", algorithm 1 with
// r = ½): with m the middle of s and t in ln σ
//
//	u = (m/s) x + (1−m/s) D(x, s),  x ← (t/s) x + (1−t/s) D(u, m)
//
// With Eta = 1 it is k-diffusion's dpmpp_2s_ancestral. Order 2, two evaluations
// a step but for one at a step to 0.
type DPMpp2S struct {
	Sigmas []float64
	Eta    float64 // of ancestral noise; 0 is none
	SNoise float64 // factor of that noise; 0 means 1
}

func (p DPMpp2S) Sample(ctx context.Context, b *Batch, score Field) error {
	b.keep(2)
	const d, u = atPast, atPast + 1
	return b.singleStep(ctx, score, p.Sigmas, Churn{}, p.Eta, p.SNoise, func(s, t, up float64) error {
		if err := b.denoise(score, atX, s, d); err != nil {
			return err
		}
		if t > 0 {
			m := between(s, t, 0.5)
			b.set(u, term{m / s, atX}, term{1 - m/s, d})
			if err := b.denoise(score, u, m, d); err != nil {
				return err
			}
		}
		return b.land(up, term{t / s, atX}, term{1 - t/s, d})
	})
}

// DPMpp is DPM-Solver++ in its multistep form, 1M, 2M and 3M (Lu et al. 2022,
// "DPM-Solver++", algorithm 2 and the third order of the authors' code). With
// h = ln(s/t), φ_1 = e^{−h}−1, r_0 and r_1 the last two h by this one, D_k the
// denoised data of k steps ago:
//
//	1:  x ← (t/s) x − φ_1 D_0
//	2:  … − ½φ_1 (D_0−D_1)/r_0
//	3:  … + (φ_1/h+1) Δ_1 − ((φ_1/h+1)/h − ½) Δ_2,
//	    a = (D_0−D_1)/r_0,  b = (D_1−D_2)/r_1,
//	    Δ_1 = a + (a−b) r_0/(r_0+r_1),  Δ_2 = 2(a−b)/(r_0+r_1)
//
// The authors' code (and diffusers') has Δ_2 without the 2, which belongs to
// the second derivative in Taylor's formula: its third order converges as the
// second does, by measurement. Halved does as they do.
//
// With Heun the second order's ½φ_1 is −(φ_1/h+1), the exact integral of the
// polynomial (diffusers' solver_type heun).
//
// One evaluation a step. It starts with lower orders, steps to 0 in the first,
// and with fewer than Lower steps ends in lower orders too.
type DPMpp struct {
	Sigmas    []float64
	Order     int  // 0 means 2
	Halved    bool // order 3 as published, with half of Δ_2
	Heun      bool // of order 2
	Lower     int  // 0 means 10, as in the authors' code; diffusers has 15, k-diffusion's dpmpp_2m none, which is −1
	EulerLast bool // the last step is of order 1 whatever n (diffusers' euler_at_final)
}

func (p DPMpp) Sample(ctx context.Context, b *Batch, score Field) error {
	most := p.Order
	if most == 0 {
		most = 2
	}
	if most < 1 || most > 3 {
		return fmt.Errorf("sampler: DPM-Solver++ has the orders 1, 2 and 3, not %d", p.Order)
	}
	few := p.Lower
	if few == 0 {
		few = 10
	}
	b.keep(most)
	const d0, d1, d2 = atPast, atPast + 1, atPast + 2
	n := len(p.Sigmas) - 1
	return b.descend(ctx, score, p.Sigmas, func(i int) error {
		s, t := p.Sigmas[i], p.Sigmas[i+1]
		b.age(most)
		if err := b.denoise(score, atX, s, d0); err != nil {
			return err
		}
		order := min(most, i+1)
		if n < few {
			order = min(order, n-i)
		}
		if p.EulerLast && i == n-1 {
			order = 1
		}
		phi1 := t/s - 1
		if order == 1 || t == 0 {
			b.arrive(0, term{t / s, atX}, term{-phi1, d0})
			return nil
		}
		h := schedules.Log(s / t)
		r0 := schedules.Log(p.Sigmas[i-1]/s) / h
		if order == 2 {
			c := -phi1 / (2 * r0)
			if p.Heun {
				c = (phi1/h + 1) / r0
			}
			b.arrive(0, term{t / s, atX}, term{c - phi1, d0}, term{-c, d1})
			return nil
		}
		r1 := schedules.Log(p.Sigmas[i-2]/p.Sigmas[i-1]) / h
		phi2 := phi1/h + 1
		second := 2 * (phi2/h - 0.5)
		if p.Halved {
			second /= 2
		}
		ca, cb := slopes(r0, r1, phi2, -second)
		b.arrive(0, term{t / s, atX}, term{ca - phi1, d0}, term{cb - ca, d1}, term{-cb, d2})
		return nil
	})
}

// slopes is what c_1 Δ_1 + c_2 Δ_2 holds of D_0−D_1 and of D_1−D_2, with
// Δ_2 = (a−b)/(r_0+r_1).
func slopes(r0, r1, c1, c2 float64) (ca, cb float64) {
	diff := (float64(c1*r0) + c2) / (r0 + r1)
	return (c1 + diff) / r0, -diff / r1
}
