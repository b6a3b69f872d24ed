package sampler

import (
	"context"
	"math"
	"testing"

	"sampleonnx/schedules"
)

// With a path that is there before the steps are, smaller tolerances lead to
// the same samples, and not only to the same law. The steps that were rejected
// and tried again are among them.
func TestAdaptiveSDEFollowsOnePath(t *testing.T) {
	for name, sde := range map[string]schedules.SDE{"ve": schedules.VE{SigmaMin: 0.05, SigmaMax: 4}, "vp": schedules.VP{}} {
		run := func(tol float64, seed Philox) ([]float32, float64) {
			b := &Batch{X: make([]float32, 40*testDim), Dim: testDim, Noise: seed}
			if err := b.Prior(sde.Prior()); err != nil {
				t.Fatal(err)
			}
			if err := (AdaptiveSDE{SDE: sde, RTol: tol, ATol: tol}).Sample(context.Background(), b, curved(sde)); err != nil {
				t.Fatal(err)
			}
			return b.X, float64(b.Evals) / 80
		}
		rough, few := run(0.05, 1)
		mid, some := run(0.01, 1)
		fine, many := run(0.002, 1)
		other, _ := run(0.01, 2)
		a, b, c := relativeRMS(rough, fine), relativeRMS(mid, fine), relativeRMS(other, fine)
		t.Logf("%s: tolerances .05, .01 and .002 take %.0f, %.0f and %.0f tries; off by %.3f and %.3f, another seed by %.3f", name, few, some, many, a, b, c)
		if !(b < a) || b > c/5 {
			t.Errorf("%s: samples do not converge", name)
		}
	}
}

// The law on a Gaussian, whose bias at these tolerances is far below the
// error of the mean: figures N(0,1), 4.9 is exceeded once in 10⁶.
func TestAdaptiveSDEHasTheRightLaw(t *testing.T) {
	const n, dim = 3000, 30
	for _, p := range papers {
		if p.name == "sub-vp" {
			continue
		}
		_, w, _ := p.place(p.eps)
		b := &Batch{X: make([]float32, n), Dim: dim, Noise: Philox(8)}
		if err := b.Prior(p.sde.Prior()); err != nil {
			t.Fatal(err)
		}
		score := func(dst, x []float32, t []float64) error {
			for i, v := range x {
				c, w, _ := p.place(t[i/dim])
				dst[i] = float32((c - float64(v)) / w)
			}
			return nil
		}
		if err := (AdaptiveSDE{SDE: p.sde, RTol: 0.01, ATol: 0.01}).Sample(context.Background(), b, score); err != nil {
			t.Fatal(err)
		}
		var sum, squares float64
		for _, v := range b.X {
			sum += float64(v) - mu0
			squares += (float64(v) - mu0) * (float64(v) - mu0)
		}
		mean, variance := sum/math.Sqrt(n*w), (squares/(n*w)-1)*math.Sqrt(n/2.)
		t.Logf("%s: mean off by %.2f standard errors, variance by %.2f, %.1f tries", p.name, mean, variance, float64(b.Evals)/(n/dim)/2)
		if math.Abs(mean) > 4.9 || math.Abs(variance) > 4.9 {
			t.Errorf("%s: the law is off", p.name)
		}
	}
}

// Heun's method with Euler's as its estimate: of order 2 in the tolerance's
// steps, and right.
func TestHeunFlow(t *testing.T) {
	for _, p := range papers {
		cT, wT, _ := p.place(1)
		c0, w0, _ := p.place(p.eps)
		var last float64
		for _, tol := range []float64{1e-3, 1e-5, 1e-7} {
			y := []float64{-2, 0.3, 1, 4}
			d := &dopri{rtol: tol, atol: tol, heun: true}
			calls := 0
			err := d.solve(func(dst, y, ts []float64, id []int) error {
				calls++
				for i := range y {
					c, w, _ := p.place(ts[i])
					cx, cs := flowCoeffs(p.sde, ts[i])
					dst[i] = cx*y[i] + cs*(c-y[i])/w
				}
				return nil
			}, y, 1, 1, p.eps, func(int) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			worst := 0.0
			for i, x := range []float64{-2, 0.3, 1, 4} {
				worst = max(worst, math.Abs(y[i]-c0-math.Sqrt(w0/wT)*(x-cT)))
			}
			t.Logf("%s at tolerance %g: off by %.2g after %d evaluations", p.name, tol, worst, calls)
			if worst > 30*tol {
				t.Errorf("%s at tolerance %g: off by %g", p.name, tol, worst)
			}
			if last != 0 && worst > last/20 {
				t.Errorf("%s: a hundredth of the tolerance leaves %g of %g", p.name, worst, last)
			}
			last = worst
		}
	}
}

// Langevin dynamics at temperature τ: the law p^{1/τ} of a Gaussian has τ times
// its variance.
func TestTemperature(t *testing.T) {
	const sigma, alpha, tau = 0.5, 0.1, 0.36
	w := s0*s0 + sigma*sigma
	_, v := measure(t, Langevin{Sigma: sigma, Alpha: alpha, Steps: 80, Temperature: tau}, schedules.Sigma{}).moments(2, 3)
	closeTo(t, "variance", v, tau*w/(1-alpha/(2*w)), 1e-9)
}
