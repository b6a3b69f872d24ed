package sampler

import (
	"context"
	"math"
	"testing"

	"sampleonnx/schedules"
)

// On a Gaussian the ODE takes x_T to mu0+√(w/w_T)(x_T−mu0). The error of the
// factor falls by 2^order when the steps are halved.
func TestOrdersOfConvergence(t *testing.T) {
	const from, to = 10, 0.1
	w := func(sigma float64) float64 { return s0*s0 + sigma*sigma }
	exact := math.Sqrt(w(to) / w(from))
	for _, row := range []struct {
		name  string
		order float64
		of    func(sigmas []float64) Sampler
	}{
		{"euler", 1, func(s []float64) Sampler { return Euler{Sigmas: s} }},
		{"heun", 2, func(s []float64) Sampler { return Heun{Sigmas: s} }},
		{"dpm-1", 1, func(s []float64) Sampler { return DPMSolver{Sigmas: s, Order: 1} }},
		{"dpm-2", 2, func(s []float64) Sampler { return DPMSolver{Sigmas: s} }},
		{"dpm-3", 3, func(s []float64) Sampler { return DPMSolver{Sigmas: s, Order: 3} }},
		{"dpm fast", 3, func(s []float64) Sampler { return DPMSolver{Sigmas: s, Orders: FastOrders(3*len(s) - 4)} }},
		{"lms-1", 1, func(s []float64) Sampler { return LMS{Sigmas: s, Order: 1} }},
		{"lms-2", 2, func(s []float64) Sampler { return LMS{Sigmas: s, Order: 2} }},
		{"lms-3", 3, func(s []float64) Sampler { return LMS{Sigmas: s, Order: 3} }},
		{"dpm++2s", 2, func(s []float64) Sampler { return DPMpp2S{Sigmas: s} }},
		{"dpm++1m", 1, func(s []float64) Sampler { return DPMpp{Sigmas: s, Order: 1} }},
		{"dpm++2m", 2, func(s []float64) Sampler { return DPMpp{Sigmas: s} }},
		{"dpm++3m", 3, func(s []float64) Sampler { return DPMpp{Sigmas: s, Order: 3} }},
		{"dpm++3m halved", 2, func(s []float64) Sampler { return DPMpp{Sigmas: s, Order: 3, Halved: true} }},
		{"unipc-1", 2, func(s []float64) Sampler { return UniPC{Sigmas: s, Order: 1} }},
		{"unipc-2", 3, func(s []float64) Sampler { return UniPC{Sigmas: s, Order: 2} }},
		// Of order 4 but for its last steps.
		{"unipc-3", 3.2, func(s []float64) Sampler { return UniPC{Sigmas: s, Order: 3} }},
		{"ddim", 1, func(s []float64) Sampler { return DDIM{Sigmas: s} }},
		{"dpm++2m heun", 2, func(s []float64) Sampler { return DPMpp{Sigmas: s, Heun: true} }},
		{"deis-1", 1, func(s []float64) Sampler { return DEIS{Sigmas: s, Order: 1} }},
		{"deis-2", 2, func(s []float64) Sampler { return DEIS{Sigmas: s} }},
	} {
		err := func(n int) float64 {
			return math.Abs(measure(t, row.of(graded(from, to, n)), schedules.Sigma{}).a - exact)
		}
		slope := math.Log2(err(80) / err(160))
		if !(math.Abs(slope-row.order) < 0.2) {
			t.Errorf("%s: the error falls by 2^%.2f when steps are halved, want 2^%g", row.name, slope, row.order)
		}
		t.Logf("%s: order %.2f, error %.2g", row.name, slope, err(160))
	}
	// Those whose coefficients are of even steps, and one that needs more of them.
	even := func(n int) []float64 { return schedules.Geometric(from, to, n+1) }
	for _, row := range []struct {
		name   string
		order  float64
		ladder func(n int) []float64
		of     func(sigmas []float64) Sampler
	}{
		{"plms", 2, even, func(s []float64) Sampler { return PNDM{Sigmas: s} }},
		{"ipndm", 2, even, func(s []float64) Sampler { return PNDM{Sigmas: s, LowerOrders: true} }},
		{"pndm", 2, even, func(s []float64) Sampler {
			return PNDM{Sigmas: s, Middles: []float64{math.Sqrt(s[0] * s[1]), math.Sqrt(s[1] * s[2]), math.Sqrt(s[2] * s[3])}}
		}},
		{"deis-3", 3, func(n int) []float64 { return graded(from, to, n) }, func(s []float64) Sampler { return DEIS{Sigmas: s, Order: 3} }},
	} {
		err := func(n int) float64 {
			return math.Abs(measure(t, row.of(row.ladder(n)), schedules.Sigma{}).a - exact)
		}
		slope := math.Log2(err(320) / err(640))
		if !(math.Abs(slope-row.order) < 0.2) {
			t.Errorf("%s: the error falls by 2^%.2f when steps are halved, want 2^%g", row.name, slope, row.order)
		}
		t.Logf("%s: order %.2f, error %.2g", row.name, slope, err(640))
	}
	// The law of the samplers of the SDE, from the exact start.
	for _, row := range []struct {
		name  string
		order float64
		of    func(sigmas []float64) Sampler
	}{
		{"euler_a", 1, func(s []float64) Sampler { return Euler{Sigmas: s, Eta: 1} }},
		{"dpm-2 a", 2, func(s []float64) Sampler { return DPMSolver{Sigmas: s, Eta: 1} }},
		{"2s a", 2, func(s []float64) Sampler { return DPMpp2S{Sigmas: s, Eta: 1} }},
		{"sde", 1, func(s []float64) Sampler { return DPMppSDE{Sigmas: s, Independent: true} }},
		{"sde path", 2, func(s []float64) Sampler { return DPMppSDE{Sigmas: s} }},
		{"2m sde", 2, func(s []float64) Sampler { return DPMpp2MSDE{Sigmas: s, Independent: true} }},
		{"2m sde heun", 2, func(s []float64) Sampler { return DPMpp2MSDE{Sigmas: s, Heun: true, Independent: true} }},
		{"3m sde", 2, func(s []float64) Sampler { return DPMpp3MSDE{Sigmas: s, Independent: true} }},
		{"cas", 1, func(s []float64) Sampler {
			// η is the step: 1−η = √(…)
			g := s[1] / s[0]
			return Consistent{Sigmas: s, Eps: (1 - g*g) * s[len(s)-1] * s[len(s)-1]}
		}},
	} {
		err := func(n int) float64 {
			_, v := measure(t, row.of(schedules.Geometric(from, to, n+1)), schedules.Sigma{}).moments(mu0, w(from))
			return math.Abs(v/w(to) - 1)
		}
		slope := math.Log2(err(160) / err(320))
		if !(math.Abs(slope-row.order) < 0.2) {
			t.Errorf("%s: the variance's error falls by 2^%.2f when steps are halved, want 2^%g", row.name, slope, row.order)
		}
		t.Logf("%s: order %.2f, error %.2g", row.name, slope, err(320))
	}
}

// graded is a ladder of n even steps in ln σ whose first and last are divided:
// from h² on steps double. Multistep methods begin (and some end) in order 1,
// and one step of it is an error of the step's square: with even steps they
// would all be of order 2.
func graded(from, to float64, n int) []float64 {
	h := math.Log(from/to) / float64(n)
	var parts []float64
	left := h
	for step := h * h; left > step; step *= 2 {
		parts = append(parts, step)
		left -= step
	}
	parts = append(parts, left)
	var u []float64
	at := 0.0
	for _, p := range parts {
		u = append(u, at)
		at += p
	}
	for i := range n - 2 {
		u = append(u, float64(i+1)*h)
	}
	for i := len(parts); i >= 0; i-- {
		at = 0
		for _, p := range parts[:i] {
			at += p
		}
		u = append(u, float64(n)*h-at)
	}
	sigmas := make([]float64, len(u))
	for i, u := range u {
		sigmas[i] = from * math.Exp(-u)
	}
	return sigmas
}

// In one dimension the ODE keeps the distribution function of every
// trajectory, here for the deterministic ladders on a mixture of three normals.
func TestLaddersKeepTheDistributionFunction(t *testing.T) {
	weights, means, stds := [3]float64{0.3, 0.5, 0.2}, [3]float64{-1, 0.2, 1.5}, [3]float64{0.1, 0.3, 0.05}
	cdf := func(x, sigma float64) (f float64) {
		for k, w := range weights {
			f += w * math.Erfc((means[k]-x)/math.Sqrt(2*(stds[k]*stds[k]+sigma*sigma))) / 2
		}
		return f
	}
	field := func(dst, x, t []float64) error {
		for i := range x {
			var slope, density float64
			for k, w := range weights {
				v := stds[k]*stds[k] + t[i]*t[i]
				d := x[i] - means[k]
				e := w / math.Sqrt(v) * math.Exp(-d*d/(2*v))
				density += e
				slope -= e * d / v
			}
			dst[i] = slope / density
		}
		return nil
	}
	for name, c := range map[string]struct {
		of    func(sigmas []float64) Sampler
		order float64
	}{
		"dpm fast": {func(s []float64) Sampler { return DPMSolver{Sigmas: s, Orders: FastOrders(3*len(s) - 4)} }, 3},
		"euler":    {func(s []float64) Sampler { return Euler{Sigmas: s} }, 1},
		"heun":     {func(s []float64) Sampler { return Heun{Sigmas: s} }, 2},
		"dpm-2":    {func(s []float64) Sampler { return DPMSolver{Sigmas: s} }, 2},
		"dpm-3":    {func(s []float64) Sampler { return DPMSolver{Sigmas: s, Order: 3} }, 3},
		"dpm++2s":  {func(s []float64) Sampler { return DPMpp2S{Sigmas: s} }, 2},
		"dpm++2m":  {func(s []float64) Sampler { return DPMpp{Sigmas: s} }, 2},
		"dpm++3m":  {func(s []float64) Sampler { return DPMpp{Sigmas: s, Order: 3} }, 3},
		"unipc-2":  {func(s []float64) Sampler { return UniPC{Sigmas: s, Order: 2} }, 3},
	} {
		worst := func(n int) (worst float64) {
			const points = 41
			b := &Batch{Dim: 1, wide: &wide{mean: make([]float64, points), score: make([]float64, points), z: make([]float64, points), field: field}}
			for i := range points {
				b.wide.x = append(b.wide.x, (float64(i)-20)/8*10)
			}
			start := append([]float64(nil), b.wide.x...)
			if err := c.of(graded(10, 0.02, n)).Sample(context.Background(), b, nil); err != nil {
				t.Fatal(err)
			}
			for i, x := range b.wide.x {
				worst = max(worst, math.Abs(cdf(x, 0.02)-cdf(start[i], 10)))
			}
			return worst
		}
		coarse, fine := worst(200), worst(400)
		slope := math.Log2(coarse / fine)
		t.Logf("%s: F changed by %.2g in 200 steps, %.2g in 400, order %.2f", name, coarse, fine, slope)
		if slope < c.order-0.4 {
			t.Errorf("%s: of order %.2f, want %g", name, slope, c.order)
		}
	}
}
