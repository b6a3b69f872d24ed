package sampler

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"sampleonnx/schedules"
)

// law is ln p_t(x) of a mixture and, by Hessian, its score's derivative.
func (m mixture) law(path schedules.Path, x []float64, t float64) (logp float64, hessian []float64) {
	alpha, sigma := path.Marginal(t)
	v := alpha*alpha*m.tau*m.tau + sigma*sigma
	logs, top := make([]float64, len(m.weights)), math.Inf(-1)
	for k, w := range m.weights {
		d2 := 0.0
		for j := range m.dim {
			d := x[j] - alpha*m.means[k*m.dim+j]
			d2 += d * d
		}
		logs[k] = math.Log(w) - d2/(2*v) - float64(m.dim)/2*math.Log(2*math.Pi*v)
		top = max(top, logs[k])
	}
	total := 0.0
	for _, l := range logs {
		total += math.Exp(l - top)
	}
	logp = top + math.Log(total)
	first, hessian := make([]float64, m.dim), make([]float64, m.dim*m.dim)
	for k, l := range logs {
		for i := range m.dim {
			p, a := math.Exp(l-logp), alpha*m.means[k*m.dim+i]
			first[i] += p * a
			for j := range m.dim {
				hessian[i*m.dim+j] += p * a * alpha * m.means[k*m.dim+j] / (v * v)
			}
		}
	}
	for i := range m.dim {
		for j := range m.dim {
			hessian[i*m.dim+j] -= first[i] * first[j] / (v * v)
		}
		hessian[i*m.dim+i] -= 1 / v
	}
	return logp, hessian
}

func (m mixture) pullback(path schedules.Path) Pullback {
	return func(dst, v, x []float32, t []float64) error {
		wide := make([]float64, m.dim)
		for i, t := range t {
			copyWide(wide, x[i*m.dim:(i+1)*m.dim])
			_, h := m.law(path, wide, t)
			for j := range m.dim {
				sum := 0.0
				for k := range m.dim {
					sum += float64(v[i*m.dim+k]) * h[k*m.dim+j]
				}
				dst[i*m.dim+j] = float32(sum)
			}
		}
		return nil
	}
}

// The ODE carries p_ε to p_T: for every datum ln p_ε(x) = ln p_T(z) + ℓ, and p_t is known for Gaussians and mixtures. The prior in place of p_T is
// part of the definition, and known too.
func TestLikelihoodExactly(t *testing.T) {
	laws := map[string]mixture{
		"gaussian": {dim: 3, means: []float64{0.5, -1, 0.2}, weights: []float64{1}, tau: 0.7},
		"mixture":  {dim: 1, means: []float64{-1, 0.2, 1.5}, weights: []float64{.3, .5, .2}, tau: 0.2},
		"ring":     ring(),
	}
	sdes := map[string]schedules.SDE{"ve": schedules.VE{SigmaMin: 0.05, SigmaMax: 8}, "vp": schedules.VP{}, "sub-vp": schedules.SubVP{}}
	for lawName, m := range laws {
		for name, sde := range sdes {
			for variant, l := range map[string]Likelihood{
				"exact": {Exact: true}, "coupled": {Exact: true, Coupled: true}, "signs": {}, "central": {Exact: true},
			} {
				if variant == "signs" && lawName == "ring" {
					continue // one probe is an estimate where the trace has two different terms; elsewhere ε² = 1 makes it exact
				}
				l.SDE, l.RTol, l.ATol = sde, 1e-7, 1e-7
				pull, tol := m.pullback(sde), 1e-4
				if variant == "central" {
					pull, tol = CentralDifference(m.score(sde), sde, 0.02), 2e-2
					l.RTol, l.ATol = 1e-4, 1e-4 // its rounding errors are noise to the step control
				}
				n := 12
				x := make([]float32, n*m.dim)
				if err := Philox(3).Normal(x, Draw{Dim: m.dim}); err != nil {
					t.Fatal(err)
				}
				for i := range x {
					k := i / m.dim % len(m.weights)
					x[i] = float32(m.means[k*m.dim+i%m.dim] + 1.5*m.tau*float64(x[i]))
				}
				b := &Batch{X: append([]float32(nil), x...), Dim: m.dim}
				got, err := l.LogP(context.Background(), b, m.score(sde), pull)
				if err != nil {
					t.Fatal(err)
				}
				worst := 0.0
				wide, z := make([]float64, m.dim), make([]float64, m.dim)
				for i := range n {
					copyWide(wide, x[i*m.dim:(i+1)*m.dim])
					copyWide(z, b.X[i*m.dim:(i+1)*m.dim])
					start, _ := m.law(sde, wide, sde.Eps())
					end, _ := m.law(sde, z, sde.T())
					prior := 0.0
					for _, v := range z {
						prior -= v*v/(2*sde.Prior()*sde.Prior()) + math.Log(sde.Prior()*math.Sqrt(2*math.Pi))
					}
					worst = max(worst, math.Abs(got[i]-(start-end+prior)))
				}
				if !(worst <= tol) {
					t.Errorf("%s, %s, %s: ln p is off by %.2g", lawName, name, variant, worst)
				}
				t.Logf("%s, %s, %s: %.2g, %d calls", lawName, name, variant, worst, b.Calls)
			}
		}
	}
}

// One probe's estimate has the right mean: over many probes it approaches the trace, with signs and with normals.
func TestLikelihoodProbes(t *testing.T) {
	m, sde := ring(), schedules.VE{SigmaMin: 0.05, SigmaMax: 8}
	const n = 400
	for _, gaussian := range []bool{false, true} {
		x := make([]float32, 2*n)
		for i := range n {
			x[2*i], x[2*i+1] = 2.9, 3.0
		}
		exact, err := Likelihood{SDE: sde, Exact: true}.LogP(context.Background(), &Batch{X: []float32{2.9, 3.0}, Dim: 2}, m.score(sde), m.pullback(sde))
		if err != nil {
			t.Fatal(err)
		}
		l := Likelihood{SDE: sde, Gaussian: gaussian, RTol: 1e-4, ATol: 1e-4}
		got, err := l.LogP(context.Background(), &Batch{X: x, Dim: 2}, m.score(sde), m.pullback(sde))
		if err != nil {
			t.Fatal(err)
		}
		var mean, square float64
		for _, p := range got {
			mean += p / n
			square += p * p / n
		}
		se := math.Sqrt((square - mean*mean) / n)
		t.Logf("gaussian %v: %.4f ± %.4f, exact %.4f", gaussian, mean, se, exact[0])
		if math.Abs(mean-exact[0]) > 4.9*se+1e-3 { // 1e-6 by chance
			t.Errorf("gaussian %v: mean %.4f ± %.4f, exact %.4f", gaussian, mean, se, exact[0])
		}
	}
}

// Samples may be drawn with the probes' seed: their noise tells nothing of the
// probes. (One draw for both has estimates that know the samples: half a nat
// too many here.)
func TestLikelihoodOfSamplesOfTheSameSeed(t *testing.T) {
	m, sde := ring(), schedules.VE{SigmaMin: 0.05, SigmaMax: 8}
	const n = 400
	samples := &Batch{X: make([]float32, 2*n), Dim: 2, Noise: Philox(1)}
	if err := samples.Prior(sde.Prior()); err != nil {
		t.Fatal(err)
	}
	if err := (Flow{SDE: sde}).Sample(context.Background(), samples, m.score(sde)); err != nil {
		t.Fatal(err)
	}
	for _, gaussian := range []bool{false, true} {
		var logp [2][]float64
		for k, l := range []Likelihood{{Exact: true}, {Gaussian: gaussian}} {
			l.SDE, l.RTol, l.ATol = sde, 1e-4, 1e-4
			b := &Batch{X: append([]float32(nil), samples.X...), Dim: 2, Noise: Philox(1)}
			var err error
			if logp[k], err = l.LogP(context.Background(), b, m.score(sde), m.pullback(sde)); err != nil {
				t.Fatal(err)
			}
		}
		var mean, square float64
		for i, exact := range logp[0] {
			d := logp[1][i] - exact
			mean += d / n
			square += d * d / n
		}
		se := math.Sqrt((square - mean*mean) / n)
		t.Logf("gaussian %v: too large by %.4f ± %.4f", gaussian, mean, se)
		if math.Abs(mean) > 4.9*se+1e-3 { // 1e-6 by chance
			t.Errorf("gaussian %v: ln p is off by %.4f ± %.4f on average", gaussian, mean, se)
		}
	}
}

// A datum's likelihood does not depend on its batch.
func TestLikelihoodAlone(t *testing.T) {
	m, sde := ring(), schedules.VP{}
	x := []float32{4, 0.1, 0, -3.9, 2, 2, -2.7, 2.9}
	all, err := Likelihood{SDE: sde}.LogP(context.Background(), &Batch{X: append([]float32(nil), x...), Dim: 2}, m.score(sde), m.pullback(sde))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range all {
		b := &Batch{X: append([]float32(nil), x[2*i:2*i+2]...), Dim: 2, First: uint64(i)}
		if got, err := (Likelihood{SDE: sde}).LogP(context.Background(), b, m.score(sde), m.pullback(sde)); err != nil || got[0] != want {
			t.Errorf("datum %d: %v alone, %v among others (%v)", i, got, want, err)
		}
	}
}

func TestLikelihoodErrors(t *testing.T) {
	m, sde := ring(), schedules.VP{}
	run := func(l Likelihood, x ...float32) error {
		_, err := l.LogP(context.Background(), &Batch{X: x, Dim: 2}, m.score(sde), m.pullback(sde))
		return err
	}
	for want, err := range map[string]error{
		"needs an SDE": run(Likelihood{}, 0, 0), "Eps in (0, 1)": run(Likelihood{SDE: sde, Eps: 2}, 0, 0), "no samples": run(Likelihood{SDE: sde}, 0, 0, 0),
		"a probe of 1": run(Likelihood{SDE: sde, Probe: make([]float32, 1)}, 0, 0), "not finite": run(Likelihood{SDE: sde}, float32(math.NaN()), 0),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := (Likelihood{SDE: sde}).LogP(ctx, &Batch{X: []float32{0, 0}, Dim: 2}, m.score(sde), m.pullback(sde)); err != context.Canceled {
		t.Error(err)
	}
}

// Who listens sees where the data are on their way, and a score that breaks
// down is reported with its sample, not as a step that became too small.
func TestLikelihoodOnItsWay(t *testing.T) {
	m, sde := ring(), schedules.VP{}
	x := []float32{4, 0.1, 0, -3.9, 2, 2}
	for _, coupled := range []bool{false, true} {
		b := &Batch{X: append([]float32(nil), x...), Dim: 2}
		var way [][]float32
		b.Trace = func(p Progress) error {
			way = append(way, append([]float32(nil), b.X...))
			return nil
		}
		if _, err := (Likelihood{SDE: sde, Coupled: coupled}).LogP(context.Background(), b, m.score(sde), m.pullback(sde)); err != nil {
			t.Fatal(err)
		}
		if middle := way[len(way)/2]; same(middle, x) || same(middle, b.X) {
			t.Errorf("coupled %v: half-way the data are where they began or end: %v", coupled, middle)
		}
		if last := way[len(way)-1]; !same(last, b.X) {
			t.Errorf("coupled %v: the last step left %v, and the end is %v", coupled, last, b.X)
		}
		steps := 0
		b = &Batch{X: append([]float32(nil), x...), Dim: 2, First: 10, Trace: func(p Progress) error { steps = p.Step; return nil }}
		score := func(dst, x []float32, t []float64) error {
			err := m.score(sde)(dst, x, t)
			for i := range t {
				if b.Sample(i) == 12 && t[i] > 0.5 {
					dst[2*i+1] = float32(math.NaN())
				}
			}
			return err
		}
		_, err := Likelihood{SDE: sde, Coupled: coupled}.LogP(context.Background(), b, score, m.pullback(sde))
		bad, ok := errors.AsType[*NonFiniteError](err)
		if !ok || bad.Sample != 12 || bad.Step != steps+1 {
			t.Errorf("coupled %v: %v after %d steps, want a NonFiniteError of sample 12", coupled, err, steps)
		}
	}
}

// What a call allocates is what it returns, however many evaluations it takes.
func TestLikelihoodDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	sde := schedules.VE{SigmaMin: 0.05, SigmaMax: 8}
	score := curved(sde)
	pull := CentralDifference(score, sde, 0.02)
	for name, l := range map[string]Likelihood{"signs": {}, "normals": {Gaussian: true}, "exact": {Exact: true}, "coupled": {Coupled: true}} {
		l.SDE = sde
		var allocs [2]float64
		var calls [2]int
		for k, tol := range []float64{0.1, 1e-5} {
			l.RTol, l.ATol = tol, tol
			b := &Batch{X: make([]float32, 4*testDim), Dim: testDim}
			allocs[k] = testing.AllocsPerRun(5, func() {
				b.Calls = 0
				for i := range b.X {
					b.X[i] = float32(i) / 9
				}
				if _, err := l.LogP(context.Background(), b, score, pull); err != nil {
					t.Fatal(err)
				}
			})
			calls[k] = b.Calls
		}
		if allocs != [2]float64{1, 1} || calls[1] < 2*calls[0] {
			t.Errorf("%s: %v allocations in %v evaluations", name, allocs, calls)
		}
	}
}
