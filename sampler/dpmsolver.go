package sampler

import (
	"context"
	"fmt"

	"sampleonnx/schedules"
)

// DPMSolver is the single-step DPM-Solver of orders 1, 2 and 3 (Lu et al. 2022,
// "DPM-Solver", algorithms 1 and 2 with r_1 = ½ and with r_1 = ⅓, r_2 = ⅔). In
// VE coordinates, with h = ln(s/t), m the middle in ln σ and s_1, s_2 its
// thirds:
//
//	1:  x ← x − (s−t) ε(x, s)
//	2:  u = x − (s−m) ε(x, s),  x ← x − (s−t) ε(u, m)
//	3:  u_1 = x − (s−s_1) ε,  u_2 = x − (s−s_2) ε − 2((s−s_2)/(2h/3) − s_2)(ε_1−ε)
//	    x ← x − (s−t) ε − (3/2)((s−t)/h − t)(ε_2−ε)
//
// Order 2 is k-diffusion's dpm_2, and dpm_2_a with Eta = 1; with [FastOrders]
// on even steps in ln σ it is DPM-Solver-fast (their section 3.4; dpm_fast). As
// many evaluations a step as the order, but for one at a step to 0.
type DPMSolver struct {
	Sigmas []float64
	Order  int   // 0 means 2
	Orders []int // of every step, in place of Order
	Churn  Churn
	Eta    float64 // of ancestral noise; 0 is none
	SNoise float64 // factor of all noise; 0 means 1
}

func (p DPMSolver) Sample(ctx context.Context, b *Batch, score Field) error {
	order := p.Order
	if order == 0 {
		order = 2
	}
	if p.Orders != nil && (len(p.Orders) != len(p.Sigmas)-1 || p.Order != 0) {
		return fmt.Errorf("sampler: DPM-Solver has %d orders for %d steps, and Order %d: want one a step, or Order", len(p.Orders), len(p.Sigmas)-1, p.Order)
	}
	for i := -1; i < len(p.Orders); i++ {
		of := order
		if i >= 0 {
			of = p.Orders[i]
		}
		if of < 1 || of > 3 {
			return fmt.Errorf("sampler: DPM-Solver has the orders 1, 2 and 3, not %d", of)
		}
	}
	steps := 0
	b.keep(3)
	const eps, epsMid, u = atPast, atPast + 1, atPast + 2
	return b.singleStep(ctx, score, p.Sigmas, p.Churn, p.Eta, p.SNoise, func(s, t, up float64) error {
		if p.Orders != nil {
			order = p.Orders[steps]
			steps++
		}
		if err := b.noiseOf(score, atX, s, eps); err != nil {
			return err
		}
		switch {
		case order == 1 || t == 0:
			return b.land(up, term{1, atX}, term{t - s, eps})
		case order == 2:
			m := between(s, t, 0.5)
			b.set(u, term{1, atX}, term{m - s, eps})
			if err := b.noiseOf(score, u, m, epsMid); err != nil {
				return err
			}
			return b.land(up, term{1, atX}, term{t - s, epsMid})
		}
		h := schedules.Log(s / t)
		s1, s2 := between(s, t, 1./3), between(s, t, 2./3)
		b.set(u, term{1, atX}, term{s1 - s, eps})
		if err := b.noiseOf(score, u, s1, epsMid); err != nil {
			return err
		}
		c := float64(2 * ((s-s2)/(h*2/3) - s2))
		b.set(u, term{1, atX}, term{s2 - s + c, eps}, term{-c, epsMid})
		if err := b.noiseOf(score, u, s2, epsMid); err != nil {
			return err
		}
		c = float64(1.5 * ((s-t)/h - t))
		return b.land(up, term{1, atX}, term{t - s + c, eps}, term{-c, epsMid})
	})
}

// FastOrders are the orders of the steps on which DPM-Solver-fast spends its
// evaluations (Lu et al. 2022, section 3.4): as many of order 3 as can be, and
// the rest in a step or two of lower order.
func FastOrders(evaluations int) []int {
	var orders []int
	for ; evaluations > 3; evaluations -= 3 {
		orders = append(orders, 3)
	}
	if evaluations == 3 {
		return append(orders, 2, 1)
	}
	return append(orders, evaluations)
}
