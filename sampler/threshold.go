package sampler

import (
	"context"
	"fmt"
)

// Threshold is dynamic thresholding (Saharia et al. 2022, "Imagen", section
// 2.3): of every sample, s is the Ratio quantile of |x̂_0|, at least 1 and at
// most Most, and x̂_0 is clipped to [−s, s] and divided by s. It holds strongly
// guided samples of data in [−1, 1] where the data are, with less saturation
// than clipping. The quantile is a sample's own and interpolated, as in
// diffusers.
//
// The zero value is none.
type Threshold struct {
	Ratio float64 // above 0, at most 1; the paper's is 0.995
	Most  float64 // at least 1; 0 means 1, which is clipping to [−1, 1]
}

// Of returns the sampler with every x̂_0 that the score implies thresholded, and
// ε with it: x − x̂_0 is what else the state holds. It is for samplers in VE
// coordinates, those on a ladder. [DDIM] has a Threshold of its own, which
// leaves ε as predicted.
func (h Threshold) Of(s Sampler) Sampler {
	if h == (Threshold{}) {
		return s
	}
	return thresholded{h, s}
}

type thresholded struct {
	Threshold
	Sampler
}

func (t thresholded) Sample(ctx context.Context, b *Batch, score Field) error {
	if err := t.check(); err != nil {
		return err
	}
	if score == nil {
		return errNoScore
	}
	return t.Sampler.Sample(ctx, b, func(dst, x []float32, times []float64) error {
		if err := score(dst, x, times); err != nil {
			return err
		}
		dim := len(x) / max(len(times), 1)
		for i, sigma := range times {
			part, at := dst[i*dim:(i+1)*dim], x[i*dim:(i+1)*dim]
			v := float64(sigma * sigma)
			for j, s := range part { // x̂_0, by Tweedie's formula
				part[j] = float32(float64(at[j]) + float64(v*float64(s)))
			}
			b.sorted = t.apply(part, b.sorted)
			for j, d := range part {
				part[j] = float32((float64(d) - float64(at[j])) / v)
			}
		}
		return nil
	})
}

func (h Threshold) check() error {
	if !(h.Ratio > 0 && h.Ratio <= 1) || h.Most != 0 && !(h.Most >= 1) {
		return fmt.Errorf("sampler: a threshold at the quantile %g of at most %g: want one above 0 and up to 1, and 1 or more", h.Ratio, h.Most)
	}
	return nil
}

// apply is the threshold of one sample. It returns its scratch, grown.
func (h Threshold) apply(x []float32, scratch []float32) []float32 {
	scratch = grow(scratch, len(x))
	for i, v := range x {
		if v != v {
			return scratch // what is not finite is found at the step's end
		}
		scratch[i] = max(v, -v)
	}
	s := max(1, min(quantile(scratch, h.Ratio), or(h.Most, 1)))
	bound := float32(s)
	for i, v := range x {
		x[i] = float32(float64(max(min(v, bound), -bound)) / s)
	}
	return scratch
}

// threshold is the same for every sample in a slot. The wide state of the tests
// has none.
func (b *Batch) threshold(s slot, h Threshold) {
	x := b.array(s)
	for i := 0; i < len(x); i += b.Dim {
		b.sorted = h.apply(x[i:i+b.Dim], b.sorted)
	}
}

// quantile is the value the part q of the way up the sorted values, between two
// of them in proportion. It reorders them.
func quantile(v []float32, q float64) float64 {
	at := float64(q * float64(len(v)-1))
	k := int(at)
	selectNth(v, k)
	low, part := float64(v[k]), at-float64(k)
	if part == 0 || k+1 == len(v) {
		return low
	}
	high := v[k+1]
	for _, w := range v[k+1:] {
		high = min(high, w)
	}
	return low + float64(part*(float64(high)-low))
}

// selectNth moves the value that sorting would put at k there, with no greater
// one before it and no smaller one behind (Hoare 1961, "Find"). There must be
// no NaN among the values.
func selectNth(v []float32, k int) {
	lo, hi := 0, len(v)-1
	for lo < hi {
		// The middle of three guards against order.
		a, m, c := v[lo], v[lo+(hi-lo)/2], v[hi]
		pivot := max(min(a, m), min(max(a, m), c))
		i, j := lo, hi
		for i <= j {
			for v[i] < pivot {
				i++
			}
			for v[j] > pivot {
				j--
			}
			if i <= j {
				v[i], v[j] = v[j], v[i]
				i++
				j--
			}
		}
		switch {
		case k <= j:
			hi = j
		case k >= i:
			lo = i
		default:
			return
		}
	}
}
