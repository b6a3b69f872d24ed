package sampler

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
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

// The law on a Gaussian, at every tolerance: figures N(0,1), 4.9 is exceeded
// once in 10⁶. The bias is far below the error of the mean.
func TestAdaptiveSDEHasTheRightLaw(t *testing.T) {
	const dim = 5
	laws := slices.DeleteFunc(slices.Clone(papers), func(p paper) bool { return p.name == "sub-vp" })
	laws = append(laws, paper{name: "ve", sde: schedules.VE{SigmaMin: 0.01, SigmaMax: 50}, eps: 1e-5, sigmaMin: 0.01, sigmaMax: 50})
	for _, p := range laws {
		_, w, _ := p.place(p.eps)
		last := 0.0
		for _, c := range []struct {
			tol float64
			n   int
		}{{1e-2, 300}, {1e-3, 40}, {3e-4, 20}, {1e-4, 5}, {1e-5, 1}} {
			b := &Batch{X: make([]float32, c.n*dim), Dim: dim, Noise: Philox(8)}
			if err := b.Prior(p.sde.Prior()); err != nil {
				t.Fatal(err)
			}
			score := func(dst, x []float32, t []float64) error {
				for i, t := range t {
					c, w, _ := p.place(t)
					for j := i * dim; j < (i+1)*dim; j++ {
						dst[j] = float32((c - float64(x[j])) / w)
					}
				}
				return nil
			}
			if err := (AdaptiveSDE{SDE: p.sde, RTol: c.tol, ATol: c.tol}).Sample(context.Background(), b, score); err != nil {
				t.Errorf("%s at tolerance %g: %v", p.name, c.tol, err)
				continue
			}
			n := float64(len(b.X))
			var sum, squares float64
			for _, v := range b.X {
				sum += float64(v) - mu0
				squares += (float64(v) - mu0) * (float64(v) - mu0)
			}
			mean, variance, tries := sum/math.Sqrt(n*w), (squares/(n*w)-1)*math.Sqrt(n/2), float64(b.Evals)/float64(2*c.n)
			t.Logf("%s to %g at tolerance %g: mean off by %.2f standard errors, variance by %.2f, %.0f tries", p.name, p.sigmaMax, c.tol, mean, variance, tries)
			if math.Abs(mean) > 4.9 || math.Abs(variance) > 4.9 {
				t.Errorf("%s at tolerance %g: the law is off", p.name, c.tol)
			}
			if tries < 1.3*last {
				t.Errorf("%s at tolerance %g: %.0f tries, and %.0f before", p.name, c.tol, tries, last)
			}
			last = tries
		}
	}
}

// A step is never longer than asked, nor much shorter, and of what was
// rejected nothing is tried again, down to the last unit.
func TestRejectedStepsShrink(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		from := r.Uint64N(brownianEnd) + 1
		units := math.Exp(r.Float64() * 30)
		for try := 0; ; try++ {
			to := stop(from, units)
			step := float64(from - to)
			if to > 0 && (step > units && step > 1 || step < units*31/32-1) || to >= from || try > 400 {
				t.Fatalf("from %d by %g: to %d, try %d", from, units, to, try)
			}
			if step == 1 {
				break
			}
			if units = 0.9 * step; stop(from, units) <= to {
				t.Fatalf("from %d by %g: to %d again", from, units, to)
			}
		}
	}
	// A score that is never the same twice.
	sign := float32(1)
	score := func(dst, x []float32, t []float64) error {
		sign = -sign
		for i := range dst {
			dst[i] = sign * 1e30
		}
		return nil
	}
	b := &Batch{X: make([]float32, 6), Dim: 3, First: 7}
	err := AdaptiveSDE{SDE: schedules.VP{}, RTol: 0.02, ATol: 0.03}.Sample(context.Background(), b, score)
	if want := "sample 7: at t=1 no step is small enough for the tolerances RTol 0.02 and ATol 0.03"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
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
