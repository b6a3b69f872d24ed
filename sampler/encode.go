package sampler

import (
	"context"
	"math"

	"sampleonnx/schedules"
)

// Encode carries data in b.X along the probability-flow ODE from Eps to T: what
// it leaves there is where Sample, started from it, comes back to the data
// (Song et al. 2021, section 4.3). Data have one code, that of the prior's law
// if they have the data's. Denoise and N are of no use here.
func (f Flow) Encode(ctx context.Context, b *Batch, score Field) error {
	t1, eps, _, err := f.checked()
	if err != nil {
		return err
	}
	if err := b.ready(score); err != nil {
		return err
	}
	if _, err := f.integrate(ctx, b, score, eps, t1); err != nil {
		return err
	}
	copy(b.Mean, b.X)
	return nil
}

// Slerp interpolates on the great circle from the vectors of dim values in a to
// those in b (Shoemake 1985): with Ω the angle between two of them,
//
//	dst = sin((1−part)Ω)/sin Ω · a + sin(part·Ω)/sin Ω · b
//
// Between codes of one norm it keeps the norm, which is what the codes of a
// Gaussian prior have in many dimensions; on a straight line they would come
// far inside. Parallel vectors, and all of one dimension, have no such circle,
// and get the line.
func Slerp(dst, a, b []float32, dim int, part float64) {
	for i := range len(dst) / dim {
		from, to := i*dim, (i+1)*dim
		d, a, b := dst[from:to], a[from:to], b[from:to]
		dot := 0.0
		for i, v := range a {
			dot += float64(float64(v) * float64(b[i]))
		}
		ca, cb := 1-part, part
		norms := math.Sqrt(squares(a)) * math.Sqrt(squares(b))
		cos := max(-1, min(1, dot/norms))
		if sin := math.Sqrt((1 - cos) * (1 + cos)); sin > 1e-6 {
			omega := 2 * schedules.Atan(sin/(1+cos))
			sa, _ := schedules.Sincos(float64((1 - part) * omega))
			sb, _ := schedules.Sincos(float64(part * omega))
			ca, cb = sa/sin, sb/sin
		}
		for i, v := range a {
			d[i] = float32(float64(ca*float64(v)) + float64(cb*float64(b[i])))
		}
	}
}
