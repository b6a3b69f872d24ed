package sampler

import (
	"context"
	"errors"
	"hash/fnv"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"sampleonnx/schedules"
)

const testDim = 3

// curved is a field with no symmetry to hide behind: the score of a mixture of
// two Gaussians in three dimensions, the same for all paths (with σ taken
// from where the path says).
func curved(path schedules.Path) Field {
	return func(dst, x []float32, t []float64) error {
		for i, t := range t {
			alpha, sigma := path.Marginal(t)
			w := alpha*alpha*0.04 + sigma*sigma
			x, dst := x[i*testDim:(i+1)*testDim], dst[i*testDim:(i+1)*testDim]
			var logs [2]float64
			for m := range logs {
				for j, v := range x {
					d := float64(v) - alpha*modes[m][j]
					logs[m] -= d * d / (2 * w)
				}
			}
			p := 1 / (1 + math.Exp(logs[1]-logs[0]))
			for j, v := range x {
				dst[j] = float32((alpha*(p*modes[0][j]+(1-p)*modes[1][j]) - float64(v)) / w)
			}
		}
		return nil
	}
}

var modes = [2][testDim]float64{{1, -0.5, 0.3}, {-0.7, 0.4, 0.9}}

func runSampler(t testing.TB, s setup, noise Noise, first uint64, n int) []float32 {
	t.Helper()
	b := &Batch{X: make([]float32, n*testDim), Dim: testDim, First: first, Noise: noise}
	if err := b.Prior(s.std); err != nil {
		t.Fatal(err)
	}
	if err := s.sampler.Sample(context.Background(), b, s.field()); err != nil {
		t.Fatal(err)
	}
	return b.X
}

func same(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}

// Sample i is the same alone, in a batch, and in another batch.
func TestSamplesDoNotDependOnTheirBatch(t *testing.T) {
	const n = 7
	for name, s := range usual() {
		t.Run(name, func(t *testing.T) {
			all := runSampler(t, s, Philox(11), 0, n)
			for i := range n {
				one := runSampler(t, s, Philox(11), uint64(i), 1)
				if !same(one, all[i*testDim:(i+1)*testDim]) {
					t.Errorf("sample %d is %v alone and %v in the batch", i, one, all[i*testDim:(i+1)*testDim])
				}
			}
			parts := append(runSampler(t, s, Philox(11), 0, 3), runSampler(t, s, Philox(11), 3, 4)...)
			if !same(parts, all) {
				t.Error("batches of 3 and 4 differ from one of 7")
			}
			for i := 1; i < n; i++ {
				if same(all[:testDim], all[i*testDim:(i+1)*testDim]) {
					t.Errorf("samples 0 and %d are equal", i)
				}
			}
		})
	}
}

// The settings of the published code that couple a batch really do.
func TestCoupledSettingsCouple(t *testing.T) {
	ve := schedules.VE{SigmaMin: 0.05, SigmaMax: 4}
	for name, s := range map[string]Sampler{
		"batch norms":   PC{SDE: ve, N: 7, Corrector: LangevinCorrector{Norm: NormBatch}.Step},
		"coupled flow":  Flow{SDE: ve, Coupled: true},
		"coupled steps": DPMAdaptive{SigmaMax: 4, SigmaMin: 0.05, Coupled: true},
	} {
		s := setup{s, ve, 4}
		if name == "coupled steps" {
			s.path = schedules.Sigma{}
		}
		if same(runSampler(t, s, Philox(1), 0, 1), runSampler(t, s, Philox(1), 0, 4)[:testDim]) {
			t.Errorf("%s: sample 0 is the same in two batches", name)
		}
	}
}

// A batch can be started again, and its runs do not leave traces.
func TestBatchCanBeUsedAgain(t *testing.T) {
	for name, s := range usual() {
		b := &Batch{X: make([]float32, 4*testDim), Dim: testDim, Noise: Philox(5)}
		for _, first := range []uint64{0, 4, 0} {
			b.First = first
			if err := b.Prior(s.std); err != nil {
				t.Fatal(err)
			}
			if err := s.sampler.Sample(context.Background(), b, s.field()); err != nil {
				t.Fatal(err)
			}
			if !same(b.X, runSampler(t, s, Philox(5), first, 4)) {
				t.Errorf("%s: samples from %d differ in a used batch", name, first)
			}
		}
	}
}

// A second Sample without a new start must not see the same noise again.
func TestSecondSampleDrawsOn(t *testing.T) {
	l := Langevin{Sigma: 1, Alpha: 0.1, Steps: 1}
	zero := func(dst, x []float32, t []float64) error { clear(dst); return nil }
	b := &Batch{X: make([]float32, 8), Dim: 8}
	run := func() []float32 {
		clear(b.X)
		if err := l.Sample(context.Background(), b, zero); err != nil {
			t.Fatal(err)
		}
		return slices.Clone(b.X)
	}
	if first, second := run(), run(); same(first, second) {
		t.Error("two runs on one batch had the same noise")
	}
}

func TestNonFiniteIsNamed(t *testing.T) {
	ve := schedules.VE{SigmaMin: 0.1, SigmaMax: 10}
	for name, c := range map[string]struct {
		sampler Sampler
		call    int // of the field, that fails
		step    int
		sigma   float64
	}{
		"langevin":   {Langevin{Sigma: 0.3, Alpha: 0.02, Steps: 9}, 4, 4, 0.3},
		"annealed":   {Annealed{Sigmas: []float64{4, 2, 1}, Steps: 3, Eps: 0.1}, 5, 5, 2},
		"denoise":    {Annealed{Sigmas: []float64{4, 2, 1}, Steps: 3, Eps: 0.1, Denoise: true}, 10, 10, 1},
		"predictor":  {PC{SDE: ve, N: 11, Predictor: ReverseDiffusion}, 6, 6, 1},
		"corrector":  {PC{SDE: ve, N: 11, Predictor: Ancestral, Corrector: LangevinCorrector{}.Step}, 11, 6, 1},
		"flow":       {Flow{SDE: ve}, 2 + 6 + 1, 2, -1},
		"first":      {Flow{SDE: ve}, 1, 1, 10},
		"coupled":    {Flow{SDE: ve, Coupled: true}, 1, 1, 10},
		"adaptive":   {DPMAdaptive{SigmaMax: 10, SigmaMin: 0.1}, 3 + 1, 2, -1},
		"all as one": {DPMAdaptive{SigmaMax: 10, SigmaMin: 0.1, Coupled: true}, 1, 1, 10},
	} {
		for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(-1))} {
			calls := 0
			score := func(dst, x []float32, t []float64) error {
				for i := range dst {
					dst[i] = 0.01
				}
				if calls++; calls == c.call {
					dst[2*testDim+1] = bad
				}
				return nil
			}
			b := &Batch{X: make([]float32, 4*testDim), Dim: testDim, First: 100}
			err := c.sampler.Sample(context.Background(), b, score)
			var e *NonFiniteError
			if !errors.As(err, &e) {
				t.Errorf("%s: error is %v, want a NonFiniteError", name, err)
				continue
			}
			if e.Sample != 102 || e.Step != c.step || c.sigma >= 0 && math.Abs(e.Sigma-c.sigma) > 1e-3 {
				t.Errorf("%s: %v; want sample 102, step %d, sigma %g", name, e, c.step, c.sigma)
			}
			// The step is finished first: a corrector's is seen after the predictor.
			if calls > c.call+1 {
				t.Errorf("%s: the field was called %d times, %d after the failure", name, calls, calls-c.call)
			}
		}
	}
}

// A zero score has no Langevin step size: an error, not a silent infinity.
func TestZeroScoreStopsTheLangevinCorrector(t *testing.T) {
	pc := PC{SDE: schedules.VP{}, N: 30, Corrector: LangevinCorrector{}.Step}
	b := &Batch{X: make([]float32, 2), Dim: 2}
	err := pc.Sample(context.Background(), b, func(dst, x []float32, t []float64) error { clear(dst); return nil })
	var e *NonFiniteError
	if !errors.As(err, &e) {
		t.Errorf("error is %v, want a NonFiniteError", err)
	}
}

func TestStopping(t *testing.T) {
	stop := errors.New("enough")
	for name, s := range usual() {
		b := &Batch{X: make([]float32, 2*testDim), Dim: testDim}
		if err := b.Prior(s.std); err != nil {
			t.Fatal(err)
		}
		b.Trace = func(p Progress) error {
			if p.Step == 2 {
				return stop
			}
			return nil
		}
		if err := s.sampler.Sample(context.Background(), b, s.field()); !errors.Is(err, stop) {
			t.Errorf("%s: stopped by Trace, returned %v", name, err)
		}

		ctx, cancel := context.WithCancel(context.Background())
		steps := 0
		b.Trace = func(p Progress) error {
			if steps = p.Step; steps == 2 {
				cancel()
			}
			return nil
		}
		if err := s.sampler.Sample(ctx, b, s.field()); !errors.Is(err, context.Canceled) || steps != 2 {
			t.Errorf("%s: cancelled after step 2, stopped after step %d with %v", name, steps, err)
		}

		failed := errors.New("no memory")
		b.Trace = nil
		score := func(dst, x []float32, t []float64) error { return failed }
		if err := s.sampler.Sample(context.Background(), b, score); !errors.Is(err, failed) &&
			!strings.HasSuffix(name, " none none") {
			t.Errorf("%s: the field failed, Sample returned %v", name, err)
		}
	}
}

func TestProgress(t *testing.T) {
	for name, s := range usual() {
		b := &Batch{X: make([]float32, 3*testDim), Dim: testDim}
		if err := b.Prior(s.std); err != nil {
			t.Fatal(err)
		}
		var last Progress
		calls := 0
		lastT := math.Inf(1)
		b.Trace = func(p Progress) error {
			calls++
			if p.Step != last.Step+1 || p.Done < last.Done || p.Done > 1 || p.T > lastT || !(p.Sigma > 0) {
				t.Errorf("%s: progress %+v after %+v", name, p, last)
			}
			last, lastT = p, p.T
			return nil
		}
		if err := s.sampler.Sample(context.Background(), b, s.field()); err != nil {
			t.Fatal(err)
		}
		if last.Done != 1 || last.Steps != 0 && last.Step != last.Steps || calls == 0 {
			t.Errorf("%s: ended at %+v", name, last)
		}
	}
}

func TestTraceSeesTheResult(t *testing.T) {
	for name, s := range usual() {
		b := &Batch{X: make([]float32, 3*testDim), Dim: testDim}
		if err := b.Prior(s.std); err != nil {
			t.Fatal(err)
		}
		var seen []float32
		b.Trace = func(Progress) error {
			seen = append(seen[:0], b.X...)
			return nil
		}
		if err := s.sampler.Sample(context.Background(), b, s.field()); err != nil {
			t.Fatal(err)
		}
		if !same(seen, b.X) {
			t.Errorf("%s: the last state traced is not the result", name)
		}
		if !same(b.X, runSampler(t, s, nil, 0, 3)) {
			t.Errorf("%s: tracing changed the result", name)
		}
	}
}

func TestSettingsAreChecked(t *testing.T) {
	ok := func(dst, x []float32, t []float64) error { return nil }
	for name, s := range map[string]Sampler{
		"zero Langevin":      Langevin{},
		"zero Annealed":      Annealed{},
		"negative level":     Annealed{Sigmas: []float64{1, -1}, Steps: 1, Eps: 1},
		"zero PC":            PC{},
		"negative N":         PC{SDE: schedules.VP{}, N: -1},
		"one step":           PC{SDE: schedules.VE{SigmaMin: 0.01, SigmaMax: 50}, N: 1, Predictor: EulerMaruyama},
		"time beyond T":      PC{SDE: schedules.VP{}, Eps: 2},
		"unknown norm":       PC{SDE: schedules.VP{}, Corrector: LangevinCorrector{Norm: 7}.Step},
		"zero Flow":          Flow{},
		"negative tolerance": Flow{SDE: schedules.VP{}, RTol: -1},
		"negative heat":      Langevin{Sigma: 1, Alpha: 1, Steps: 1, Temperature: -1},
		"zero Euler":         Euler{},
		"one level":          Euler{Sigmas: []float64{1}},
		"rising levels":      Heun{Sigmas: []float64{1, 2}},
		"equal levels":       DPMpp{Sigmas: []float64{1, 1, 0}},
		"0 within":           UniPC{Sigmas: []float64{1, 0, 0}},
		"infinite level":     Euler{Sigmas: []float64{math.Inf(1), 1}},
		"NaN level":          Euler{Sigmas: []float64{1, math.NaN()}},
		"negative churn":     Heun{Sigmas: []float64{1, 0}, Churn: Churn{S: -1}},
		"negative Eta":       Euler{Sigmas: []float64{1, 0}, Eta: -1},
		"negative SNoise":    DPMppSDE{Sigmas: []float64{1, 0}, SNoise: -1},
		"DPM-Solver-4":       DPMSolver{Sigmas: []float64{1, 0}, Order: 4},
		"DPM-Solver++(4M)":   DPMpp{Sigmas: []float64{1, 0}, Order: 4},
		"UniPC-4":            UniPC{Sigmas: []float64{1, 0}, Order: 4},
		"LMS-5":              LMS{Sigmas: []float64{1, 0}, Order: 5},
		"negative clip":      DDIM{Sigmas: []float64{1, 0}, Clip: -1},
		"negative clip too":  DDPM{Sigmas: []float64{1, 0}, Clip: -1},
		"quantile 2":         Threshold{Ratio: 2}.Of(DPMpp{Sigmas: []float64{1, 0}}),
		"quantile 0":         DDIM{Sigmas: []float64{1, 0}, Threshold: Threshold{Most: 2}},
		"threshold below 1":  Threshold{Ratio: 1, Most: 0.5}.Of(DEIS{Sigmas: []float64{1, 0}}),
		"DEIS-4":             DEIS{Sigmas: []float64{1, 0}, Order: 4},
		"a middle too few":   PNDM{Sigmas: []float64{4, 3, 2, 1}, Middles: []float64{3.5, 2.5}},
		"a middle outside":   PNDM{Sigmas: []float64{4, 3}, Middles: []float64{3}},
		"two beginnings":     PNDM{Sigmas: []float64{4, 3}, Middles: []float64{3.5}, LowerOrders: true},
		"zero Consistent":    Consistent{},
		"too small a step":   Consistent{Sigmas: []float64{2, 1}, Eps: 0.1},
		"zero AdaptiveSDE":   AdaptiveSDE{},
		"a short order":      DPMSolver{Sigmas: []float64{2, 1, 0}, Orders: []int{3}},
		"order 0 of a step":  DPMSolver{Sigmas: []float64{2, 1, 0}, Orders: []int{3, 0}},
		"two kinds of order": DPMSolver{Sigmas: []float64{2, 1}, Order: 3, Orders: []int{3}},
		"zero DPMAdaptive":   DPMAdaptive{},
		"upwards":            DPMAdaptive{SigmaMax: 1, SigmaMin: 2},
		"from infinity":      DPMAdaptive{SigmaMax: math.Inf(1), SigmaMin: 2},
		"DPM-Solver-34":      DPMAdaptive{SigmaMax: 2, SigmaMin: 1, Order: 4},
		"negative H":         DPMAdaptive{SigmaMax: 2, SigmaMin: 1, H: -1},
		"unsafe":             DPMAdaptive{SigmaMax: 2, SigmaMin: 1, Safety: 1},
		"time T":             AdaptiveSDE{SDE: schedules.VP{}, Eps: 1},
	} {
		b := &Batch{X: make([]float32, 2), Dim: 2}
		if err := s.Sample(context.Background(), b, ok); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	l := Langevin{Sigma: 1, Alpha: 1, Steps: 1}
	for name, b := range map[string]*Batch{
		"empty":  {Dim: 2},
		"no Dim": {X: make([]float32, 2)},
		"ragged": {X: make([]float32, 3), Dim: 2},
	} {
		if err := l.Sample(context.Background(), b, ok); err == nil {
			t.Errorf("%s batch: no error", name)
		}
	}
	if err := l.Sample(context.Background(), &Batch{X: make([]float32, 2), Dim: 2}, nil); err == nil {
		t.Error("no score, no error")
	}
}

// Where β_k = 1 the chain's posterior divides by 0: the error is about the
// steps, and not about what came of the first.
func TestTooFewStepsAreNamed(t *testing.T) {
	for name, pc := range map[string]PC{
		"ancestral at 1":     {N: 20, Predictor: Ancestral},
		"ancestral above":    {N: 7, Predictor: Ancestral},
		"reverse, above":     {N: 19, Predictor: ReverseDiffusion},
		"corrector at 1":     {N: 20, Corrector: LangevinCorrector{}.Step},
		"annealed corrector": {N: 20, Corrector: AnnealedCorrector{}.Step},
	} {
		pc.SDE = schedules.VP{}
		b := &Batch{X: []float32{1, 1}, Dim: 2}
		err := pc.Sample(context.Background(), b, func(dst, x []float32, t []float64) error { return nil })
		if err == nil || !strings.Contains(err.Error(), "take more steps") || !same(b.X, []float32{1, 1}) {
			t.Errorf("%s: %v, and the state is %v", name, err, b.X)
		}
	}
}

// After a first run nothing is allocated but what a run needs once: runs of
// few and of many steps cost the same.
func TestStepsDoNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	few, many := samplers(9, testDim, curvedPull), samplers(40, testDim, curvedPull)
	for name := range few {
		b := &Batch{X: make([]float32, 5*testDim), Dim: testDim, Noise: Philox(2)}
		run := func(s setup) (allocs float64, steps int) {
			score := Relabel(s.field(), func(t float64) float64 { return t })
			b.Trace = func(p Progress) error { steps = p.Step; return nil }
			return testing.AllocsPerRun(5, func() {
				if err := b.Prior(s.std); err != nil {
					t.Fatal(err)
				}
				if err := s.sampler.Sample(context.Background(), b, score); err != nil {
					t.Fatal(err)
				}
			}), steps
		}
		few, fewSteps := run(few[name])
		many, manySteps := run(many[name])
		if manySteps < 2*fewSteps {
			t.Fatalf("%s: %d and %d steps tell nothing", name, fewSteps, manySteps)
		}
		if few != many || few > 1 {
			t.Errorf("%s: %v allocations in %d steps, %v in %d", name, few, fewSteps, many, manySteps)
		}
	}
}

// An instant score shows what the samplers themselves cost: every one of the
// package, per step and value, evaluations of the instant score included. A step
// of those that choose their own is a try, Slerp is one step.
func BenchmarkStep(b *testing.B) {
	const n, dim = 16, 3072
	score := func(dst, x []float32, t []float64) error {
		for i, v := range x {
			dst[i] = -v
		}
		return nil
	}
	pull := func(dst, v, x []float32, t []float64) error { return score(dst, v, t) }
	runs := map[string]func(batch *Batch) error{}
	for name, s := range samplers(20, dim, pull) {
		base, above := strings.CutSuffix(name, ", above 0")
		if _, twice := ladderSamplers([]float64{1, 0})[base]; above && twice || strings.Contains(name, "vp") {
			continue // what costs the same
		}
		runs[base] = func(batch *Batch) error { return s.sampler.Sample(context.Background(), batch, score) }
	}
	ve := schedules.VE{SigmaMin: 0.05, SigmaMax: 4}
	runs["encode"] = func(batch *Batch) error { return Flow{SDE: ve}.Encode(context.Background(), batch, score) }
	for name, l := range map[string]Likelihood{"likelihood": {}, "likelihood coupled": {Coupled: true}} {
		l.SDE, l.RTol, l.ATol = ve, 1e-3, 1e-3
		runs[name] = func(batch *Batch) error {
			_, err := l.LogP(context.Background(), batch, score, pull)
			return err
		}
	}
	other := make([]float32, n*dim)
	for i := range other {
		other[i] = float32(i % 5)
	}
	runs["slerp"] = func(batch *Batch) error {
		Slerp(batch.X, batch.X, other, dim, 0.3)
		return batch.Trace(Progress{})
	}
	for _, name := range slices.Sorted(maps.Keys(runs)) {
		b.Run(name, func(b *testing.B) {
			batch, steps := &Batch{X: make([]float32, n*dim), Dim: dim}, 0
			batch.Trace = func(p Progress) error { steps++; return nil }
			run := func() {
				for i := range batch.X {
					batch.X[i] = 1
				}
				if err := runs[name](batch); err != nil {
					b.Fatal(err)
				}
			}
			run() // makes the arrays
			steps = 0
			b.ReportAllocs()
			for b.Loop() {
				run()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(steps)/(n*dim), "ns/step/value")
		})
	}
}

// A sample is the same bits on every machine as far as the field is, and from
// one release to the next: this field multiplies and adds without fusing. The
// hashes change only with a deliberate change of an algorithm, which changes
// what seeds mean.
func TestSamplesAreFrozen(t *testing.T) {
	all := usual()
	for name, want := range map[string]uint64{
		"langevin, above 0":                      0x6ca69d4e06fade2e,
		"annealed denoised, above 0":             0x774be5686e71b7bd,
		"pc ve reverse-diffusion langevin":       0x6fca55024b466475,
		"pc vp euler-maruyama none":              0x2b67188c1dcacb49,
		"pc vp ancestral ald":                    0x3ef98a485d9d08b8,
		"pc sub-vp euler-maruyama langevin norm": 0x544d7890b0afd3fe,
		"flow+denoise ve":                        0xabfe8fac9cb654fe,
		"flow vp":                                0x499ab21f03278b59,
		"heun churn":                             0x37f7e01f3f8cd1e7,
		"dpm-2 ancestral":                        0x930d50ac54c33f55,
		"dpm-3, above 0":                         0x2003e7f91a7a210,
		"lms":                                    0x3c61016ccd982f5e,
		"dpm++3m":                                0x3a3de6ceafb6145f,
		"unipc-3, above 0":                       0xdc2ebade4c178ddc,
		"sde brownian":                           0x9d98e417b4405cf4,
		"2m sde heun":                            0x74b4c3bb0b4739da,
		"3m sde":                                 0x3ba5199f9a4f76ab,
		"consistent denoised, above 0":           0xcddd20075193ced8,
		"straight true":                          0x753d52ea324111ab,
		"adaptive vp":                            0xe9644a9926b1626f,
		"flow heun ve":                           0x20f20c7eb6008566,
		"dpm fast":                               0x5cf6b0ce486ce503,
		"dpm adaptive 3 true":                    0x29296e789d99c8b8,
		"dpm adaptive 2 false":                   0x7dd272e29b37f1e6,
		"plms":                                   0x33fc66d0daa596b2,
		"pndm, above 0":                          0x6f3c15fdcaa13519,
		"deis-3":                                 0x87ffe8d3a1022390,
		"ddim threshold":                         0x38ffaac3c7e27d17,
		"dpm++2m threshold":                      0x417e1dc4db632ff,
	} {
		s := all[name]
		b := &Batch{X: make([]float32, 20*testDim), Dim: testDim, Noise: Philox(2026)}
		if err := b.Prior(s.std); err != nil {
			t.Fatal(err)
		}
		err := s.sampler.Sample(context.Background(), b, func(dst, x []float32, t []float64) error {
			for i, v := range x {
				a, sigma := s.path.Marginal(t[i/testDim])
				w := float32(0.04*float64(a*a)) + float32(sigma*sigma)
				dst[i] = (float32(float32(a)*0.5) - v) / w
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := hashOf(b.X); got != want {
			t.Errorf("%s: %#x, want %#x", name, got, want)
		}
	}
}

func hashOf(x []float32) uint64 {
	h := fnv.New64a()
	for _, v := range x {
		b := math.Float32bits(v)
		h.Write([]byte{byte(b), byte(b >> 8), byte(b >> 16), byte(b >> 24)})
	}
	return h.Sum64()
}

// Samplers and fields are values without state: batches can share them.
func TestBatchesRunAtOnce(t *testing.T) {
	all := usual()
	for _, name := range []string{"annealed, above 0", "pc ve reverse-diffusion langevin", "flow vp", "unipc-3", "sde brownian", "adaptive ve"} {
		s := all[name]
		score := FromNormalised(Relabel(s.field(), func(t float64) float64 { return t }), schedules.Sigma{})
		run := func(first uint64) []float32 {
			b := &Batch{X: make([]float32, 2*testDim), Dim: testDim, First: first}
			if err := b.Prior(s.std); err != nil {
				t.Error(err)
			}
			if err := s.sampler.Sample(context.Background(), b, score); err != nil {
				t.Error(err)
			}
			return b.X
		}
		var got [6][]float32
		var wg sync.WaitGroup
		for i := range got {
			wg.Go(func() { got[i] = run(uint64(2 * i)) })
		}
		wg.Wait()
		for i := range got {
			if !same(got[i], run(uint64(2*i))) {
				t.Errorf("%s: batch %d differs when run beside others", name, i)
			}
		}
	}
}

// Uniform's figures are N(0,1): 4.9 is exceeded once in 10⁶.
func TestUniformStart(t *testing.T) {
	const n, dim = 300, 100
	b := &Batch{X: make([]float32, n*dim), Dim: dim, Noise: Philox(4)}
	if err := b.Uniform(); err != nil {
		t.Fatal(err)
	}
	var sum, squares float64
	for _, v := range b.X {
		if v < 0 || v >= 1 {
			t.Fatalf("%v is not in [0,1)", v)
		}
		sum += float64(v)
		squares += float64(v) * float64(v)
	}
	const total = n * dim
	for what, z := range map[string]float64{
		"mean":   (sum/total - 1./2) * math.Sqrt(12*total),
		"square": (squares/total - 1./3) * math.Sqrt(total*45./4),
	} {
		if math.Abs(z) > 4.9 {
			t.Errorf("%s is off by %.2f standard errors", what, z)
		}
	}
	one := &Batch{X: make([]float32, dim), Dim: dim, First: 7, Noise: Philox(4)}
	if err := one.Uniform(); err != nil {
		t.Fatal(err)
	}
	if !same(one.X, b.X[7*dim:8*dim]) {
		t.Error("sample 7 starts elsewhere when alone")
	}
	if one.Draws != 1 {
		t.Errorf("%d draws, want 1", one.Draws)
	}
}
