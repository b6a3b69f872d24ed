package sampler

import (
	"context"
	"fmt"
	"math"
)

// LMS is the linear multistep method of k-diffusion's lms, Adams–Bashforth on
// an uneven ladder: the slope d = (x−D)/σ is extrapolated by the polynomial
// through its last values and integrated,
//
//	x ← x + Σ_j c_j d_{i−j},  c_j = ∫_s^t Π_{l≠j} (τ−σ_{i−l})/(σ_{i−j}−σ_{i−l}) dτ
//
// One evaluation a step; of order Order where σ is the right variable, which
// it is not near 0.
type LMS struct {
	Sigmas []float64
	Order  int // 1 to 4; 0 means 4
}

func (l LMS) Sample(ctx context.Context, b *Batch, score Field) error {
	order := l.Order
	if order == 0 {
		order = 4
	}
	if order < 1 || order > 4 {
		return fmt.Errorf("sampler: LMS has the orders 1 to 4, not %d", l.Order)
	}
	b.keep(order)
	return b.descend(ctx, score, l.Sigmas, func(i int) error {
		b.age(order)
		if err := b.noiseOf(score, atX, l.Sigmas[i], atPast); err != nil {
			return err
		}
		var sum [5]term
		sum[0] = term{1, atX}
		n := min(order, i+1)
		for j := range n {
			sum[1+j] = term{lagrange(l.Sigmas, i, j, n), atPast + slot(j)}
		}
		b.arrive(0, sum[:1+n]...)
		return nil
	})
}

// lagrange is c_j of n. Two Gauss points are exact for the degrees up to 3.
func lagrange(sigmas []float64, i, j, n int) float64 {
	s, t := sigmas[i], sigmas[i+1]
	mid, half := float64((s+t)/2), float64((t-s)/2)
	sum := 0.0
	for _, at := range [2]float64{-1, 1} {
		tau := mid + float64(at*half/math.Sqrt(3))
		p := 1.0
		for l := range n {
			if l != j {
				p *= (tau - sigmas[i-l]) / (sigmas[i-j] - sigmas[i-l])
			}
		}
		sum += p
	}
	return half * sum
}
