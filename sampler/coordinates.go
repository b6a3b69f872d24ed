package sampler

import (
	"sync"

	"sampleonnx/schedules"
)

// FromVE is the inverse of [InVE]: the score at time t of a path, from a score
// in VE coordinates, where x_t/α has the noise ρ = σ/α:
//
//	s(x, t) = s̄(x/α, σ/α)/α
func FromVE(score Field, path schedules.Path) Field {
	return inOut(score, func(t float64) (skip, out, in, label float64) {
		alpha, sigma := path.Marginal(t)
		return 0, 1 / alpha, 1 / alpha, sigma / alpha
	})
}

// Velocity is the inverse of [FromFlow]: flow matching's u = −(x + t s)/(1−t) of
// a score on the path [schedules.Rectified]. At t = 1, where the score knows
// nothing of the data, it is not defined.
func Velocity(score Field) Field {
	return convert(score, schedules.Rectified{}, func(alpha, sigma float64) (cx, cn float64) { return -1 / alpha, -sigma / alpha })
}

// PullFlow is the derivative of [FromFlow] of a network with derivative net, as
// [PullNoise] is that of [FromNoise].
func PullFlow(net Pullback) Pullback {
	return pulled(net, schedules.Rectified{}, func(alpha, sigma float64) (cx, cn float64) { return -1 / sigma, -alpha / sigma })
}

// PullVE is the derivative of [InVE] of a score with derivative pull.
func PullVE(pull Pullback, path schedules.Timed) Pullback {
	return pullInOut(pull, inVE(path))
}

// PullPrecond is the derivative of [FromPrecond] of a network with derivative
// net.
func PullPrecond(net Pullback, p schedules.Precond) Pullback {
	return pullInOut(net, fromPrecond(p))
}

// pullInOut is vᵀ∂(skip·x + out·net(in·x, label))/∂x = skip·v + out·in·vᵀ∂net.
func pullInOut(net Pullback, coeffs func(t float64) (skip, out, in, label float64)) Pullback {
	var pool sync.Pool
	return func(dst, v, x []float32, t []float64) error {
		s, _ := pool.Get().(*preconditioned)
		if s == nil {
			s = new(preconditioned)
		}
		defer pool.Put(s)
		s.of(x, t, coeffs)
		if err := net(dst, v, s.x, s.t); err != nil {
			return err
		}
		for i, dim := 0, len(x)/max(len(t), 1); i < len(t); i++ {
			d, v := dst[i*dim:(i+1)*dim], v[i*dim:(i+1)*dim]
			out, skip := s.out[i]*s.in[i], s.skip[i]
			for j := range d {
				d[j] = float32(float64(out*float64(d[j])) + float64(skip*float64(v[j])))
			}
		}
		return nil
	}
}
