package sampler

import (
	"context"
	"fmt"
	"math"

	"sampleonnx/schedules"
)

// DEIS is the diffusion exponential integrator of Zhang & Chen 2022 (tAB-DEIS,
// equation 15) with the polynomial in ln ρ, as diffusers has it: ε is
// extrapolated through its last values and integrated over σ,
//
//	x ← x + Σ_j c_j ε_{i−j},  c_j = ∫_s^t Π_{l≠j} ln(τ/σ_{i−l})/ln(σ_{i−j}/σ_{i−l}) dτ
//
// [LMS] has the polynomial in σ. One evaluation a step. It starts with lower
// orders, steps to 0 in the first, and with few steps ends in lower orders too.
type DEIS struct {
	Sigmas []float64
	Order  int // 1, 2 or 3; 0 means 2
	Lower  int // with fewer steps than this it ends in lower orders; 0 means 15, as in diffusers, and −1 never
}

func (d DEIS) Sample(ctx context.Context, b *Batch, score Field) error {
	most := d.Order
	if most == 0 {
		most = 2
	}
	if most < 1 || most > 3 {
		return fmt.Errorf("sampler: DEIS has the orders 1, 2 and 3, not %d", d.Order)
	}
	few := d.Lower
	if few == 0 {
		few = 15
	}
	b.keep(most)
	n := len(d.Sigmas) - 1
	return b.descend(ctx, score, d.Sigmas, func(i int) error {
		s, t := d.Sigmas[i], d.Sigmas[i+1]
		b.age(most)
		if err := b.noiseOf(score, atX, s, atPast); err != nil {
			return err
		}
		order := min(most, i+1)
		if n < few {
			order = min(order, n-i)
		}
		if t == 0 {
			order = 1
		}
		var sum [4]term
		sum[0] = term{1, atX}
		for j, c := range logAdams(d.Sigmas, i, order) {
			if j < order {
				sum[1+j] = term{c, atPast + slot(j)}
			}
		}
		b.arrive(0, sum[:1+order]...)
		return nil
	})
}

// logAdams are the coefficients c_j of order ε, newest first. With u = ln(τ/s),
// which runs from 0 to −h, dτ = s e^u du and the integrals of the powers of u are
//
//	∫ e^u du = t/s−1,  ∫ u e^u du = −h t/s − (t/s−1),  ∫ u² e^u du = h² t/s − 2 ∫ u e^u du
func logAdams(sigmas []float64, i, order int) (c [3]float64) {
	s, t := sigmas[i], sigmas[i+1]
	if order == 1 {
		return [3]float64{t - s}
	}
	h := schedules.Log(s / t)
	q0 := t - s
	q1, q2 := powers(s, t, h)
	u1 := schedules.Log(sigmas[i-1] / s)
	if order == 2 {
		c[1] = q1 / u1
		c[0] = q0 - c[1]
		return c
	}
	u2 := schedules.Log(sigmas[i-2] / s)
	c[1] = (q2 - float64(u2*q1)) / (u1 * (u1 - u2))
	c[2] = (q2 - float64(u1*q1)) / (u2 * (u2 - u1))
	c[0] = q0 - c[1] - c[2]
	return c
}

// powers are the integrals of u and u², by their series where steps are short
// and the closed forms cancel.
func powers(s, t, h float64) (q1, q2 float64) {
	if h > 0.5 {
		q1 = -float64(h*t) - (t - s)
		return q1, float64(h*h*t) - 2*q1
	}
	// ∫_{−h}^0 u^k e^u du = (−h)^{k+1} Σ_n (−h)^n/(n!(n+k+1)), and −1.
	power := 1.0 // (−h)^n/n!
	for n := 0; math.Abs(power) > 1e-19; n++ {
		q1 += power / float64(n+2)
		q2 += power / float64(n+3)
		power *= -h / float64(n+1)
	}
	return s * h * h * q1, -s * h * h * h * q2
}
