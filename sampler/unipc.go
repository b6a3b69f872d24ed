package sampler

import (
	"context"
	"fmt"

	"sampleonnx/schedules"
)

// UniPC is the unified predictor–corrector of Zhao et al. 2023 (algorithms 1
// and 2, multistep, data prediction) with B(h) = h or e^h−1. With h = ln(s/t),
// φ = e^{−h}−1, r_k h the way back to the level of k steps ago, and
// D_k = (D(σ_{i−k})−D(s))/r_k:
//
//	predict:  x' = (t/s) x − φ D(s) − B Σ_{k<p} ρ_k D_k
//	correct:  x ← the same with other ρ, and ρ_p(D(x', t)−D(s)) in the sum
//
// where ρ solves Σ_k r_k^{j−1} ρ_k = b_j. D(x', t) is the next step's D(s), so
// that there is one evaluation a step; the last step, whose D nobody needs, is
// not corrected. Order p, with lower orders at both ends.
type UniPC struct {
	Sigmas []float64
	Order  int  // p: 1, 2 or 3; 0 means 3
	BH1    bool // B(h) = h, the authors' bh1; otherwise bh2
}

func (u UniPC) Sample(ctx context.Context, b *Batch, score Field) error {
	most := u.Order
	if most == 0 {
		most = 3
	}
	if most < 1 || most > 3 {
		return fmt.Errorf("sampler: UniPC has the orders 1, 2 and 3, not %d", u.Order)
	}
	// D of the levels behind, and D(x', t) in front of them.
	b.keep(most + 1)
	const next, d0 = atPast, atPast + 1
	n := len(u.Sigmas) - 1
	return b.descend(ctx, score, u.Sigmas, func(i int) error {
		s, t := u.Sigmas[i], u.Sigmas[i+1]
		if i == 0 {
			if err := b.denoise(score, atX, s, next); err != nil {
				return err
			}
		}
		b.age(most + 1)
		if t == 0 {
			b.arrive(0, term{1, d0})
			return nil
		}
		p := min(most, i+1, n-i)
		hh := schedules.Log(t / s)
		phi := t/s - 1
		B := phi
		if u.BH1 {
			B = hh
		}
		// r_k for k < p is the way back, r_p = 1 the way ahead.
		var r, rhs [3]float64
		for k := range p - 1 {
			r[k] = schedules.Log(u.Sigmas[i-1-k]/s) / hh
		}
		r[p-1] = 1
		g, factorial := phi/hh-1, 1.0
		for k := range p {
			rhs[k] = g * factorial / B
			factorial *= float64(k + 2)
			g = g/hh - 1/factorial
		}
		// The sum over k of ρ_k D_k, as terms in the D.
		sum := func(rho [3]float64, ahead bool) (terms [6]term, n int) {
			base := -phi
			n = 2
			for k := range p - 1 {
				c := float64(-B * rho[k] / r[k])
				terms[n] = term{c, d0 + slot(1+k)}
				base -= c
				n++
			}
			if ahead {
				c := float64(-B * rho[p-1])
				terms[n] = term{c, next}
				base -= c
				n++
			}
			terms[0], terms[1] = term{t / s, atX}, term{base, d0}
			return terms, n
		}
		var rho [3]float64
		switch p {
		case 1:
		case 2:
			rho[0] = 0.5 // as in the authors' code, in place of solving
		default:
			rho = vandermonde(r, rhs, p-1)
		}
		terms, m := sum(rho, false)
		if i == n-1 {
			b.arrive(0, terms[:m]...)
			return nil
		}
		b.set(atMean, terms[:m]...)
		if err := b.denoise(score, atMean, t, next); err != nil {
			return err
		}
		if p == 1 {
			rho[0] = 0.5
		} else {
			rho = vandermonde(r, rhs, p)
		}
		terms, m = sum(rho, true)
		b.arrive(0, terms[:m]...)
		return nil
	})
}

// vandermonde solves Σ_k r_k^j ρ_k = b_j for j < n by elimination.
func vandermonde(r, b [3]float64, n int) (rho [3]float64) {
	var a [3][4]float64
	for k := range n {
		power := 1.0
		for j := range n {
			a[j][k] = power
			power *= r[k]
		}
	}
	for j := range n {
		a[j][n] = b[j]
	}
	for j := range n {
		for l := range n {
			if l == j {
				continue
			}
			f := a[l][j] / a[j][j]
			for k := j; k <= n; k++ {
				a[l][k] -= float64(f * a[j][k])
			}
		}
	}
	for j := range n {
		rho[j] = a[j][n] / a[j][j]
	}
	return rho
}
