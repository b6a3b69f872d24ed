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
		if err := net(dst, x, t); err != nil {
			return err
		}
		onPath(dst, x, t, path, coeffs)
		return nil
	}
}

// onPath is dst = cx·x + cn·dst.
func onPath(dst, x []float32, t []float64, path schedules.Path, coeffs func(alpha, sigma float64) (cx, cn float64)) {
	dim := len(x) / max(len(t), 1)
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
}

// FromFlow takes flow matching's velocity u = z − x_0 (Lipman et al. 2023) on the
// path [schedules.Rectified]: score = −(x + (1−t) u)/t.
func FromFlow(net Field) Field {
	return convert(net, schedules.Rectified{}, func(alpha, sigma float64) (cx, cn float64) {
		return -1 / sigma, -alpha / sigma
	})
}

// Denoiser is the inverse of [FromDenoiser]: the denoised datum
// x̂_0 = (x + σ² s)/α of a score (Tweedie's formula).
func Denoiser(score Field, path schedules.Path) Field {
	return convert(score, path, func(alpha, sigma float64) (cx, cn float64) {
		return 1 / alpha, sigma * sigma / alpha
	})
}

// The samplers on a ladder work in VE coordinates: the state is x_t/α and
// time its noise level ρ = σ/α. InVE and FromPrecond make their scores.

// InVE returns the score in VE coordinates of a score on another path:
// α s(αx, t), t the time of the level ρ. With it every network runs in every
// sampler:
//
//	score := InVE(FromNoise(net, vp), vp)
func InVE(score Field, path schedules.Timed) Field {
	return inOut(score, inVE(path))
}

func inVE(path schedules.Timed) func(rho float64) (skip, out, in, label float64) {
	return func(rho float64) (skip, out, in, label float64) {
		t := path.Time(rho)
		alpha, _ := path.Marginal(t)
		return 0, alpha, alpha, t
	}
}

// FromPrecond returns the score in VE coordinates of a raw network F with its
// preconditioning (Karras et al. 2022, equation 7): with
// D = c_skip x + c_out F(c_in x, c_noise), the score is (D−x)/σ².
func FromPrecond(net Field, p schedules.Precond) Field {
	return inOut(net, fromPrecond(p))
}

func fromPrecond(p schedules.Precond) func(sigma float64) (skip, out, in, label float64) {
	return func(sigma float64) (skip, out, in, label float64) {
		skip, out, in, label = p(sigma)
		v := sigma * sigma
		return (skip - 1) / v, out / v, in, label
	}
}

// inOut is skip·x + out·net(in·x, label).
func inOut(net Field, coeffs func(sigma float64) (skip, out, in, label float64)) Field {
	var pool sync.Pool
	return func(dst, x []float32, t []float64) error {
		s, _ := pool.Get().(*preconditioned)
		if s == nil {
			s = new(preconditioned)
		}
		defer pool.Put(s)
		s.of(x, t, coeffs)
		if err := net(dst, s.x, s.t); err != nil {
			return err
		}
		for i, dim := 0, len(x)/max(len(t), 1); i < len(t); i++ {
			d, x := dst[i*dim:(i+1)*dim], x[i*dim:(i+1)*dim]
			rows := [2]row[float32]{{s.out[i], d}, {s.skip[i], x}}
			if s.skip[i] == 0 {
				combine(d, nil, rows[:1])
			} else {
				combine(d, nil, rows[:])
			}
		}
		return nil
	}
}

// preconditioned is what a network inside is asked, in·x at its labels, and what its
// answer is multiplied by.
type preconditioned struct {
	x                []float32
	t, skip, out, in []float64
}

func (s *preconditioned) of(x []float32, t []float64, coeffs func(sigma float64) (skip, out, in, label float64)) {
	n, dim := len(t), len(x)/max(len(t), 1)
	s.x, s.t = grow(s.x, len(x)), grow(s.t, n)
	s.skip, s.out, s.in = grow(s.skip, n), grow(s.out, n), grow(s.in, n)
	for i, v := range t {
		if i > 0 && v == t[i-1] {
			s.skip[i], s.out[i], s.in[i], s.t[i] = s.skip[i-1], s.out[i-1], s.in[i-1], s.t[i-1]
		} else {
			s.skip[i], s.out[i], s.in[i], s.t[i] = coeffs(v)
		}
		scale(s.x[i*dim:(i+1)*dim], x[i*dim:(i+1)*dim], s.in[i])
	}
}
