package sampler

import (
	"context"
	"math"
	"testing"

	"sampleonnx/schedules"
)

// conditioned is every way to condition a sampler, with conditions that
// differ from sample to sample, as a function of the batch.
func conditioned(t testing.TB) map[string]func(b *Batch) (Sampler, Field, float64) {
	m := Measurement{A: built(t)(Matrix([]float64{1, 2, -1}, testDim)), Y: []float64{1.5, -0.25}}
	known := Measurement{A: built(t)(Mask([]bool{true, false, true})), Y: []float64{1, 0.3, -0.7, 0.9, 0, 0}}
	all := map[string]func(b *Batch) (Sampler, Field, float64){}
	for name, s := range usual() {
		switch s.sampler.(type) {
		case Straight, DPS, PiGDM, REDdiff:
			continue // whose field is no score, or which are conditioned
		}
		all["class "+name] = func(b *Batch) (Sampler, Field, float64) {
			_, logits, pull := curvedClass(s.path, nil)
			g, err := Classifier{Logits: logits, Pull: pull, Classes: 2, Class: []int{0, 1, 1}}.Gradient(b)
			if err != nil {
				t.Fatal(err)
			}
			return s.sampler, Guided(s.field(), g, 1.5), s.std
		}
		all["measured "+name] = func(b *Batch) (Sampler, Field, float64) {
			f, err := m.Score(b, s.field(), s.path, 0.9)
			if err != nil {
				t.Fatal(err)
			}
			return s.sampler, f, s.std
		}
	}
	ve := schedules.VE{SigmaMin: 0.05, SigmaMax: 4}
	ladder := schedules.Karras(4, 0.05, 7, 9)
	held := known
	held.Held = true
	for name, c := range map[string]struct {
		s    Sampler
		path schedules.Path
	}{
		"after":    {PC{SDE: ve, N: 15, Predictor: known.After(ReverseDiffusion), Corrector: known.After(LangevinCorrector{}.Step), Denoise: true}, ve},
		"before":   {PC{SDE: ve, N: 15, Predictor: m.Before(EulerMaruyama, 0.7), Corrector: m.Before(nil, 1)}, ve},
		"held":     {Annealed{Sigmas: ladder, Steps: 3, Eps: 2e-4, Before: func(b *Batch, s float64) error { return held.Impose(b, 1, s, 1) }}, schedules.Sigma{}},
		"annealed": {Annealed{Sigmas: ladder, Steps: 2, Eps: 2e-4, Before: func(b *Batch, s float64) error { return known.Impose(b, 1, s, 1) }}, schedules.Sigma{}},
	} {
		all[name] = func(*Batch) (Sampler, Field, float64) { return c.s, curved(c.path), 4 }
	}
	return all
}

// Sample i is the same alone and in any batch, with its own condition, also where
// samples finish one after the other.
func TestConditionedSamplesDoNotDependOnTheirBatch(t *testing.T) {
	for name, of := range conditioned(t) {
		t.Run(name, func(t *testing.T) {
			run := func(first uint64, n int) []float32 {
				b := &Batch{X: make([]float32, n*testDim), Dim: testDim, First: first, Noise: Philox(11)}
				s, score, std := of(b)
				if err := b.Prior(std); err != nil {
					t.Fatal(err)
				}
				if err := s.Sample(context.Background(), b, score); err != nil {
					t.Fatal(err)
				}
				return b.X
			}
			all := run(0, 7)
			for _, i := range []int{0, 2, 5} {
				if one := run(uint64(i), 1); !same(one, all[i*testDim:(i+1)*testDim]) {
					t.Errorf("sample %d is %v alone and %v in the batch", i, one, all[i*testDim:(i+1)*testDim])
				}
			}
			if parts := append(run(0, 3), run(3, 4)...); !same(parts, all) {
				t.Error("batches of 3 and 4 differ from one of 7")
			}
		})
	}
}

// What is not known is left alone: where the values are independent, inpainting
// changes not a bit of the others, x̄ included. The published code returns the last
// step's noise there.
func TestInpaintingLeavesTheRestAlone(t *testing.T) {
	sde := schedules.VE{SigmaMin: 0.01, SigmaMax: 5}
	m := Measurement{A: built(t)(Mask([]bool{true, false})), Y: []float64{0.25}}
	score := func(dst, x []float32, t []float64) error {
		for i, v := range x {
			_, sigma := sde.Marginal(t[i/2])
			dst[i] = float32((mu0 - float64(v)) / (s0*s0 + sigma*sigma))
		}
		return nil
	}
	run := func(wrap func(Step) Step) []float32 {
		b := &Batch{X: make([]float32, 2*50), Dim: 2, Noise: Philox(3)}
		if err := b.Prior(5); err != nil {
			t.Fatal(err)
		}
		pc := PC{SDE: sde, N: 50, Predictor: wrap(ReverseDiffusion), Corrector: wrap(AnnealedCorrector{}.Step), Denoise: true}
		if err := pc.Sample(context.Background(), b, score); err != nil {
			t.Fatal(err)
		}
		return b.X
	}
	free, known := run(func(s Step) Step { return s }), run(m.After)
	for i := range 50 {
		if known[2*i] != 0.25 {
			t.Errorf("sample %d: the known value became %v", i, known[2*i])
		}
		if free[2*i+1] != known[2*i+1] {
			t.Errorf("sample %d: the unknown value is %v, without inpainting %v", i, known[2*i+1], free[2*i+1])
		}
	}
}

// conditional is the mean and the covariance of the tests' Gaussian given
// gaussRow·x = y.
func conditional(y float64) (mean []float64, cov [3][3]float64) {
	ca := make([]float64, 3)
	for r := range 3 {
		for c := range 3 {
			ca[r] += gaussCov[r][c] * gaussRow[c]
		}
	}
	v := dot(gaussRow, ca)
	mean = add(gaussMean, (y-dot(gaussRow, gaussMean))/v, ca)
	for r := range 3 {
		for c := range 3 {
			cov[r][c] = gaussCov[r][c] - ca[r]*ca[c]/v
		}
	}
	return mean, cov
}

// How near the methods come to the conditional law of a correlated Gaussian given
// one linear measurement: the largest error of a mean and of a covariance, of data
// with a variance of a half, beyond five standard errors of the run. With enough
// correctors imposing is exact; the others are approximations, and what they
// miss does not vanish with more samples or steps.
func TestConditionalLaw(t *testing.T) {
	const n, y = 6000, 1.5
	m := Measurement{A: built(t)(Matrix(gaussRow, 3)), Y: []float64{y}}
	wantMean, wantCov := conditional(y)
	ve := schedules.VE{SigmaMin: 0.01, SigmaMax: 10}
	ladder := append(schedules.Karras(10, 0.01, 7, 60), 0)
	sigma := schedules.Sigma{}
	pull := gaussPull[float32](sigma)
	pc := func(wrap func(Step) Step, correct int) Sampler {
		return PC{SDE: ve, N: 150, Predictor: wrap(ReverseDiffusion), Corrector: wrap(AnnealedCorrector{SNR: 0.3, Steps: correct}.Step), Denoise: true}
	}
	before := func(s Step) Step { return m.Before(s, 1) }
	agreeing, err := m.Score(nil, gaussField[float32](sigma), sigma, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		s         Sampler
		score     Field
		mean, cov float64 // bounds of the bias
	}{
		{"after", pc(m.After, 1), gaussField[float32](ve), 0.02, 0.005},
		{"after, corrected", pc(m.After, 6), gaussField[float32](ve), 0, 0},
		{"before", pc(before, 1), gaussField[float32](ve), 0.02, 0.005},
		{"score, ancestral", Euler{Sigmas: ladder, Eta: 1}, agreeing, 0.1, 0.02},
		{"score, ODE", Heun{Sigmas: ladder}, agreeing, 0.15, 0.03},
		{"pigdm", PiGDM{Measurement: m, Pull: pull, Sigmas: ladder, Eta: 1}, gaussField[float32](sigma), 0.02, 0.04},
		{"pigdm, ODE", PiGDM{Measurement: m, Pull: pull, Sigmas: ladder}, gaussField[float32](sigma), 0.04, 0.03},
		{"dps", DPS{Measurement: m, Pull: pull, Sigmas: ladder, Eta: 1, Zeta: 0.3}, gaussField[float32](sigma), 0.08, 0.04},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &Batch{X: make([]float32, 3*n), Dim: 3, Noise: Philox(5)}
			if err := b.Prior(10); err != nil {
				t.Fatal(err)
			}
			if err := c.s.Sample(context.Background(), b, c.score); err != nil {
				t.Fatal(err)
			}
			if err := m.Impose(b, 1, 0, 1); err != nil {
				t.Fatal(err)
			}
			sum, square := make([]float64, 3), [3][3]float64{}
			far := 0.0
			for i := 0; i < len(b.X); i += 3 {
				x := []float64{float64(b.X[i]), float64(b.X[i+1]), float64(b.X[i+2])}
				far = max(far, math.Abs(dot(gaussRow, x)-y))
				sum = add(sum, 1./n, x)
				for r := range 3 {
					for k := range 3 {
						square[r][k] += (x[r] - wantMean[r]) * (x[k] - wantMean[k]) / n
					}
				}
			}
			if far > 1e-5 {
				t.Errorf("A x misses y by %.2g", far)
			}
			var offMean, offCov, seMean, seCov float64
			for r := range 3 {
				offMean = max(offMean, math.Abs(sum[r]-wantMean[r]))
				seMean = max(seMean, math.Sqrt(wantCov[r][r]/n))
				for k := range 3 {
					d := square[r][k] - (sum[r]-wantMean[r])*(sum[k]-wantMean[k]) - wantCov[r][k]
					offCov = max(offCov, math.Abs(d))
					seCov = max(seCov, math.Sqrt((wantCov[r][r]*wantCov[k][k]+wantCov[r][k]*wantCov[r][k])/n))
				}
			}
			t.Logf("mean misses by %.4f (standard error %.4f), covariance by %.4f (%.4f)", offMean, seMean, offCov, seCov)
			if offMean > c.mean+5*seMean || offCov > c.cov+5*seCov {
				t.Errorf("mean misses by %.4f, want %.4f, and covariance by %.4f, want %.4f", offMean, c.mean, offCov, c.cov)
			}
		})
	}
}

func TestMeasurementsRefuse(t *testing.T) {
	a := built(t)(Matrix(gaussRow, 3))
	good := Measurement{A: a, Y: []float64{1}}
	ladder := []float64{1, 0.1}
	zero := Field(func(dst, x []float32, t []float64) error { clear(dst); return nil })
	pull := Pullback(func(dst, v, x []float32, t []float64) error { clear(dst); return nil })
	for name, s := range map[string]Sampler{
		"no operator":       REDdiff{Measurement: Measurement{Y: []float64{1}}, Sigmas: ladder},
		"no measurement":    REDdiff{Measurement: Measurement{A: a}, Sigmas: ladder},
		"NaN":               REDdiff{Measurement: Measurement{A: a, Y: []float64{math.NaN()}}, Sigmas: ladder},
		"no levels":         REDdiff{Measurement: good},
		"level 0":           REDdiff{Measurement: good, Sigmas: []float64{1, 0}},
		"negative rate":     REDdiff{Measurement: good, Sigmas: ladder, Rate: -1},
		"negative weight":   REDdiff{Measurement: good, Sigmas: ladder, Weight: -1},
		"negative spread":   REDdiff{Measurement: good, Sigmas: ladder, Spread: -1},
		"DPS, no pullback":  DPS{Measurement: good, Sigmas: ladder},
		"DPS, no operator":  DPS{Pull: pull, Sigmas: ladder},
		"DPS, no levels":    DPS{Measurement: good, Pull: pull},
		"negative Zeta":     DPS{Measurement: good, Pull: pull, Sigmas: ladder, Zeta: -1},
		"negative Eta":      DPS{Measurement: good, Pull: pull, Sigmas: ladder, Eta: -1},
		"negative strength": PiGDM{Measurement: good, Pull: pull, Sigmas: ladder, Weight: -1},
		"PC, no operator":   PC{SDE: schedules.VP{}, Predictor: Measurement{}.After(EulerMaruyama)},
		"PC, lambda 2":      PC{SDE: schedules.VP{}, Predictor: good.Before(EulerMaruyama, 2)},
		"PC, lambda NaN":    PC{SDE: schedules.VP{}, Predictor: good.Before(EulerMaruyama, math.NaN())},
	} {
		b := &Batch{X: make([]float32, 3), Dim: 3}
		if err := s.Sample(context.Background(), b, zero); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	b := &Batch{X: make([]float32, 4), Dim: 2}
	if err := good.Impose(b, 1, 0, 1); err == nil {
		t.Error("samples of another size: no error")
	}
	for name, c := range map[string]struct {
		m      Measurement
		lambda float64
	}{"no operator": {Measurement{}, 1}, "no measurement": {Measurement{A: a}, 1}, "lambda -1": {good, -1}} {
		if _, err := c.m.Score(nil, zero, schedules.Sigma{}, c.lambda); err == nil {
			t.Errorf("Score, %s: no error", name)
		}
	}
	f, err := good.Score(nil, zero, schedules.Sigma{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := f(make([]float32, 4), make([]float32, 4), []float64{1, 1}); err == nil {
		t.Error("Score of samples of another size: no error")
	}
}

// Many steps allocate no more than few.
func TestConditioningDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	m := gaussMeasurement(t)
	held := m
	held.Held = true
	pull := Pullback(func(dst, v, x []float32, t []float64) error { copy(dst, v); return nil })
	ladder := func(n int) []float64 { return schedules.Karras(4, 0.05, 7, n) }
	ve := schedules.VE{SigmaMin: 0.05, SigmaMax: 4}
	for name, of := range map[string]func(n int) Sampler{
		"dps":      func(n int) Sampler { return DPS{Measurement: m, Pull: pull, Sigmas: ladder(n), Eta: 1} },
		"pigdm":    func(n int) Sampler { return PiGDM{Measurement: m, Pull: pull, Sigmas: ladder(n), Eta: 1} },
		"red-diff": func(n int) Sampler { return REDdiff{Measurement: m, Sigmas: ladder(n), Spread: 0.1} },
		"after":    func(n int) Sampler { return PC{SDE: ve, N: n, Predictor: m.After(ReverseDiffusion)} },
		"held":     func(n int) Sampler { return PC{SDE: ve, N: n, Predictor: held.After(ReverseDiffusion)} },
		"fields":   func(n int) Sampler { return Euler{Sigmas: ladder(n)} },
	} {
		few, many := of(5), of(60)
		b := &Batch{X: make([]float32, 5*3), Dim: 3, Noise: Philox(2)}
		score := Field(func(dst, x []float32, t []float64) error { copy(dst, x); return nil })
		if name == "fields" {
			agreeing, err := m.Score(b, Guided(score, score, 0.5), schedules.Sigma{}, 1)
			if err != nil {
				t.Fatal(err)
			}
			judge := Classifier{Logits: func(dst, x []float32, t []float64) error { clear(dst); return nil }, Pull: func(dst, v, x []float32, t []float64) error { copy(dst, x); return nil }, Classes: 4, Class: []int{1, 3}}
			gradient, err := judge.Gradient(b)
			if err != nil {
				t.Fatal(err)
			}
			score = Guided(agreeing, gradient, 2)
		}
		count := func(s Sampler) float64 {
			return testing.AllocsPerRun(10, func() {
				if err := b.Prior(1); err != nil {
					t.Fatal(err)
				}
				if err := s.Sample(context.Background(), b, score); err != nil {
					t.Fatal(err)
				}
			})
		}
		if f, n := count(few), count(many); n != f {
			t.Errorf("%s: %v allocations with 5 levels, %v with 60", name, f, n)
		}
	}
}

// What the conditions themselves cost, a step and an element, with an instant score.
func BenchmarkConditionedStep(b *testing.B) {
	const n, side = 16, 32
	const dim = 3 * side * side
	ok := built(b)
	known := make([]bool, dim)
	for i := range known {
		known[i] = i%side < side/2
	}
	score := Field(func(dst, x []float32, t []float64) error {
		for i, v := range x {
			dst[i] = -v
		}
		return nil
	})
	pull := Pullback(func(dst, v, x []float32, t []float64) error { copy(dst, v); return nil })
	ve := schedules.VE{SigmaMin: 0.05, SigmaMax: 4}
	for _, op := range []struct {
		name string
		a    Operator
	}{{"mask", ok(Mask(known))}, {"average", ok(Average(3, side, side, 4))}, {"blur", ok(Blur(3, side, side, 2, 0))}} {
		rows, _ := op.a.Size()
		m := Measurement{A: op.a, Y: make([]float64, rows)}
		agreeing, err := m.Score(nil, score, schedules.Sigma{}, 1)
		if err != nil {
			b.Fatal(err)
		}
		ladder := func(n int) []float64 { return schedules.Geometric(4, 0.05, n+1) }
		for _, c := range []struct {
			name  string
			of    func(steps int) Sampler
			score Field
		}{
			{"after", func(n int) Sampler { return PC{SDE: ve, N: max(n, 2), Predictor: m.After(ReverseDiffusion)} }, score},
			{"score", func(n int) Sampler { return Euler{Sigmas: ladder(n)} }, agreeing},
			{"dps", func(n int) Sampler { return DPS{Measurement: m, Pull: pull, Sigmas: ladder(n), Eta: 1} }, score},
			{"pigdm", func(n int) Sampler { return PiGDM{Measurement: m, Pull: pull, Sigmas: ladder(n), Eta: 1} }, score},
			{"reddiff", func(n int) Sampler { return REDdiff{Measurement: m, Sigmas: ladder(n)} }, score},
		} {
			b.Run(op.name+"/"+c.name, func(b *testing.B) {
				batch := &Batch{X: make([]float32, n*dim), Dim: dim}
				if err := batch.Prior(1); err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				b.ResetTimer()
				if err := c.of(b.N).Sample(context.Background(), batch, c.score); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n*dim), "ns/element")
			})
		}
	}
}
