package sampler

import (
	"sync"

	"sampleonnx/schedules"
)

// A Field is a vector field over samples and time: a network, a score, a
// drift. It reads len(t) samples that lie side by side in x, each at its own
// time t[i], and writes as many to dst. It must not keep the slices, and what
// it writes for a sample must depend on that sample and its time alone.
type Field func(dst, x []float32, t []float64) error

// Relabel returns the field whose network is told label(t) in place of t:
// 999·t, σ(t), or the index of a level.
func Relabel(net Field, label func(t float64) float64) Field {
	// A pool and not one buffer: fields are called from several goroutines.
	var pool sync.Pool
	return func(dst, x []float32, t []float64) error {
		labels, _ := pool.Get().(*[]float64)
		if labels == nil {
			labels = new([]float64)
		}
		*labels = append((*labels)[:0], t...)
		for i, v := range t {
			if i > 0 && v == t[i-1] {
				(*labels)[i] = (*labels)[i-1]
				continue
			}
			(*labels)[i] = label(v)
		}
		err := net(dst, x, *labels)
		pool.Put(labels)
		return err
	}
}

// The From functions return the score ∇ ln p_t(x) that a network of another
// output predicts, for x_t = α x_0 + σ z. A [schedules.SDE] is a path; with
// annealed Langevin dynamics, whose time is σ, it is [schedules.Sigma].

// FromNormalised takes r = σ·score, the output of networks that are divided
// by σ afterwards (NCSNv2, technique 3): score = r/σ.
func FromNormalised(net Field, path schedules.Path) Field {
	return convert(net, path, func(_, sigma float64) (cx, cn float64) { return 0, 1 / sigma })
}

// FromNoise takes the noise ε (Ho et al. 2020): score = −ε/σ.
func FromNoise(net Field, path schedules.Path) Field {
	return convert(net, path, func(_, sigma float64) (cx, cn float64) { return 0, -1 / sigma })
}

// FromDenoiser takes the denoised datum x̂_0: score = (α x̂_0 − x)/σ², Tweedie's
// formula read backwards.
func FromDenoiser(net Field, path schedules.Path) Field {
	return convert(net, path, func(alpha, sigma float64) (cx, cn float64) {
		return -1 / sigma / sigma, alpha / sigma / sigma
	})
}

// FromVelocity takes v = αε − σx_0 (Salimans & Ho 2022) on a path with
// α²+σ² = 1: score = −(α v + σ x)/σ.
func FromVelocity(net Field, path schedules.Path) Field {
	return convert(net, path, func(alpha, sigma float64) (cx, cn float64) { return -1, -alpha / sigma })
}

// convert returns score = cx·x + cn·net.
func convert(net Field, path schedules.Path, coeffs func(alpha, sigma float64) (cx, cn float64)) Field {
	return func(dst, x []float32, t []float64) error {
		if err := net(dst, x, t); err != nil || len(t) == 0 {
			return err
		}
		dim := len(x) / len(t)
		var cx, cn float64
		for i, v := range t {
			if i == 0 || v != t[i-1] {
				cx, cn = coeffs(path.Marginal(v))
			}
			d, x := dst[i*dim:(i+1)*dim], x[i*dim:(i+1)*dim]
			if cx == 0 {
				for j := range d {
					d[j] = float32(cn * float64(d[j]))
				}
				continue
			}
			for j := range d {
				d[j] = float32(float64(cx*float64(x[j])) + float64(cn*float64(d[j])))
			}
		}
		return nil
	}
}
