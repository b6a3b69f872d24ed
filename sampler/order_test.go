package sampler

import (
	"context"
	"maps"
	"math"
	"testing"

	"sampleonnx/schedules"
)

// orders are those of the rows on a ladder, of the ODE's solution or of the
// law, and 0 where a row's settings are of another law: noise is scaled, or
// Langevin steps are not small.
var orders = map[string]float64{
	"euler": 1, "euler churn": 0, "euler ancestral": 1, "euler half": 0, "heun": 2, "heun churn": 0,
	"dpm-1": 1, "dpm-2": 2, "dpm-2 churn": 2, "dpm-2 ancestral": 2, "dpm-3": 3, "dpm fast": 3,
	"lms": 4, "lms-2": 2, "dpm++2s": 2, "dpm++2s a": 2, "dpm++1m": 1, "dpm++2m": 2, "dpm++3m": 3, "dpm++3m halved": 2,
	"dpm++2m heun": 2, "dpm++3m lower": 3, "dpm++3m higher": 3, "dpm++2m ends": 2,
	"plms": 2, "pndm": 2, "ipndm": 2, "deis-1": 1, "deis-2": 2, "deis-3": 3, "deis-3 lower": 3,
	"sde": 1, "sde brownian": 2, "2m sde": 2, "2m sde heun": 2, "3m sde": 2, "3m sde brownian": 0,
	"unipc-1 bh1": 2, "unipc-2 bh1": 3, "unipc-3 bh1": 4, "unipc-1": 2, "unipc-2": 3, "unipc-3": 4,
	"ddim": 1, "ddim eta": 1, "ddpm": 1, "ddpm large": 1, "straight false": 1, "straight true": 2,
	"langevin": 0, "annealed": 0, "annealed denoised": 0, "consistent": 0, "consistent denoised": 0,
}

// noisy reports whether a sampler draws.
func noisy(t *testing.T, s Sampler) bool { return len(measure(t, s, schedules.Sigma{}).c) > 0 }

// On a Gaussian the ODE takes x_T to mu0+√(w/w_T)(x_T−mu0), and the SDE its law
// to the data's. The error of the factor, or of the variance, falls by 2^order
// when the steps are halved.
func TestOrdersOfConvergence(t *testing.T) {
	const from, to = 10, 0.1
	w := func(sigma float64) float64 { return s0*s0 + sigma*sigma }
	exact := math.Sqrt(w(to) / w(from))
	spread := func(s Sampler) float64 {
		_, v := measure(t, s, schedules.Sigma{}).moments(mu0, w(from))
		return math.Abs(v/w(to) - 1)
	}
	check := func(name string, order, coarse, fine float64) {
		slope := math.Log2(coarse / fine)
		t.Logf("%s: order %.2f, error %.2g", name, slope, fine)
		if !(math.Abs(slope-order) < 0.2) {
			t.Errorf("%s: the error falls by 2^%.2f when steps are halved, want 2^%g", name, slope, order)
		}
	}
	for name, s := range ladderSamplers(schedules.Geometric(from, to, 9)) {
		order, ok := orders[name]
		if !ok {
			t.Errorf("%s: of which order?", name)
		}
		if order == 0 {
			continue
		}
		err := func(n int) float64 { return spread(ladderSamplers(schedules.Geometric(from, to, n/2+1))[name]) }
		if !noisy(t, s) {
			err = func(n int) float64 {
				return math.Abs(measure(t, ladderSamplers(graded(from, to, n))[name], schedules.Sigma{}).a - exact)
			}
		}
		check(name, order, err(320), err(640))
	}
	for name, of := range map[string]func(s []float64) Sampler{
		"lms-1": func(s []float64) Sampler { return LMS{Sigmas: s, Order: 1} },
		"lms-3": func(s []float64) Sampler { return LMS{Sigmas: s, Order: 3} },
	} {
		err := func(n int) float64 {
			return math.Abs(measure(t, of(graded(from, to, n)), schedules.Sigma{}).a - exact)
		}
		check(name, float64(name[4]-'0'), err(320), err(640))
	}
	// With 1−η = γ² the steps are those of the ancestral sampler.
	cas := func(n int) float64 {
		s := schedules.Geometric(from, to, n+1)
		g := s[1] / s[0]
		return spread(Consistent{Sigmas: s, Eps: (1 - g*g) * to * to})
	}
	check("cas", 1, cas(160), cas(320))
}

// The predictors' law is that of the data at t = 0 but for an error of order 1.
// The last time is next to 0: to a larger ε the published times and steps, which
// go to 0, leave an error that no number of steps takes away. A chain of VE's ends
// with a step from σ_min to 0, whatever their number.
func TestOrdersOfPredictors(t *testing.T) {
	for _, p := range papers {
		cT, wT, _ := p.place(1)
		for name, step := range predictors {
			for _, flow := range []bool{false, true} {
				if _, _, _, ok := p.predictor(name, flow, 1, 1, 2); !ok {
					continue
				}
				mean, variance, _ := p.place(0)
				if p.name == "ve" && name != "euler-maruyama" {
					_, b, q, _ := p.predictor(name, flow, 0, 0, 2)
					variance = (1-b/variance)*(1-b/variance)*variance + q
				}
				errs := func(n int) (ofMean, ofVariance float64) {
					pc := PC{SDE: p.sde, N: n, Eps: 1e-9, Predictor: step, ProbabilityFlow: flow}
					m, v := measure(t, pc, p.sde).moments(cT, wT)
					return math.Abs(m - mean), math.Abs(v - variance)
				}
				m1, v1 := errs(400)
				m2, v2 := errs(800)
				t.Logf("%s %s flow=%v: mean off by %.2g, order %.2f, variance by %.2g, order %.2f", p.name, name, flow, m2, math.Log2(m1/m2), v2, math.Log2(v1/v2))
				if p.name == "ve" { // where the mean stays
					if m2 > 1e-14 {
						t.Errorf("%s %s flow=%v: the mean is off by %g", p.name, name, flow, m2)
					}
				} else if math.Abs(math.Log2(m1/m2)-1) > 0.2 {
					t.Errorf("%s %s flow=%v: the mean's order is %.2f, want 1", p.name, name, flow, math.Log2(m1/m2))
				}
				if math.Abs(math.Log2(v1/v2)-1) > 0.2 {
					t.Errorf("%s %s flow=%v: the variance's order is %.2f, want 1", p.name, name, flow, math.Log2(v1/v2))
				}
			}
		}
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
// trajectory, here on a mixture of three normals: every sampler that draws
// nothing, as far as its order goes.
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
	// Flow matching's state is x/(1+σ) at t = σ/(1+σ), and its velocity −x − σ/(1−t)² s.
	velocity := func(dst, x, t []float64) error {
		rho, at := make([]float64, len(t)), make([]float64, len(t))
		for i, t := range t {
			rho[i], at[i] = t/(1-t), x[i]/(1-t)
		}
		if err := field(dst, at, rho); err != nil {
			return err
		}
		for i, t := range t {
			dst[i] = -(x[i] + t/(1-t)*dst[i]) / (1 - t)
		}
		return nil
	}
	const from, to = 10, 0.02
	worst := func(s Sampler) (worst float64) {
		const points = 41
		first, last, field := 1.0, 1.0, field
		if _, ok := s.(Straight); ok {
			first, last, field = 1+from, 1+to, velocity
		}
		b := &Batch{Dim: 1, wide: &wide{mean: make([]float64, points), score: make([]float64, points), z: make([]float64, points), field: field}}
		start := make([]float64, points)
		for i := range points {
			start[i] = (float64(i) - 20) / 8 * from
			b.wide.x = append(b.wide.x, start[i]/first)
		}
		if err := s.Sample(context.Background(), b, nil); err != nil {
			t.Fatal(err)
		}
		for i, x := range b.wide.x {
			worst = max(worst, math.Abs(cdf(x*last, to)-cdf(start[i], from)))
		}
		return worst
	}
	of := func(n int) map[string]Sampler {
		sigmas := graded(from, to, n)
		var times []float64
		for _, sigma := range sigmas {
			times = append(times, sigma/(1+sigma))
		}
		all := ladderSamplers(sigmas)
		maps.Copy(all, straightSamplers(times))
		return all
	}
	coarser, finer := of(200), of(400)
	for name, s := range of(10) {
		if noisy(t, s) {
			continue
		}
		coarse, fine := worst(coarser[name]), worst(finer[name])
		slope := math.Log2(coarse / fine)
		t.Logf("%s: F changed by %.2g in 200 steps, %.2g in 400, order %.2f", name, coarse, fine, slope)
		if math.Abs(slope-orders[name]) > 0.2 {
			t.Errorf("%s: of order %.2f, want %g", name, slope, orders[name])
		}
	}
}
