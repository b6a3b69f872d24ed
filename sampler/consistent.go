package sampler

import (
	"context"
	"fmt"
	"math"
)

// Consistent is consistent annealed sampling (Jolicoeur-Martineau et al. 2021,
// "Adversarial score matching and improved sampling for image generation",
// algorithm 2): with η = ε/σ_L², one step a level,
//
//	x ← x + ησ_i² s(x, σ_i) + σ_{i+1} β z,  β² = 1−((1−η)σ_i/σ_{i+1})²
//
// so that on a single datum the noise of the state is σ_i exactly, at every
// level. The last level adds none. Denoise returns Tweedie's x + σ_L² s of the
// state before the last step, as the published code does. Eps is as in
// [Annealed].
//
// The ladder has no 0; the paper's is geometric, of which 1−γ < η < 1+γ is
// asked, γ = σ_{i+1}/σ_i. Here every level has a γ of its own.
type Consistent struct {
	Sigmas  []float64 // σ_1 … σ_L, highest first
	Eps     float64
	Denoise bool
}

func (c Consistent) Sample(ctx context.Context, b *Batch, score Field) error {
	n := len(c.Sigmas)
	if n == 0 || !(c.Eps > 0) {
		return fmt.Errorf("sampler: Consistent needs Sigmas and an Eps above 0, has %d and %g", n, c.Eps)
	}
	last := c.Sigmas[n-1]
	eta := c.Eps / (last * last)
	beta := func(i int) float64 {
		if i == n-1 {
			return 0
		}
		left := (1 - eta) * c.Sigmas[i] / c.Sigmas[i+1]
		return math.Sqrt((1 - left) * (1 + left))
	}
	for i := range n {
		if math.IsNaN(beta(i)) {
			return fmt.Errorf("sampler: consistent sampling needs η = Eps/σ_L² = %g to be within σ_{i+1}/σ_i of 1, which it is not at level %d", eta, i)
		}
	}
	// What follows the last level is where it leads: nowhere.
	return b.descend(ctx, score, append(append(make([]float64, 0, n+1), c.Sigmas...), 0), func(i int) error {
		sigma := c.Sigmas[i]
		if err := b.eval(score, sigma); err != nil {
			return err
		}
		if i == n-1 {
			step := eta
			if c.Denoise {
				step = 1
			}
			b.arrive(0, term{1, atX}, term{step * float64(sigma*sigma), atScore})
			return nil
		}
		return b.land(c.Sigmas[i+1]*beta(i), term{1, atX}, term{eta * float64(sigma*sigma), atScore})
	})
}
