package sampler

import (
	"context"
	"math"
	"testing"

	"sampleonnx/schedules"
)

// With a Gaussian's score the output is exactly Gaussian, with the moments of
// the affine map that the tests in float64 have measured and compared to the
// papers. Here the same samplers run as users run them, in float32 with our
// own noise. Each figure is N(0,1); a limit of 4.9 has a false alarm once in
// 10⁶, once in 10⁵ seeds for the ten figures here.
func TestMomentsOfSamples(t *testing.T) {
	const n, limit = 40000, 4.9
	ve := schedules.VE{SigmaMin: 0.01, SigmaMax: 5}
	for name, s := range map[string]setup{
		"langevin":     {Langevin{Sigma: 0.1, Alpha: 0.01, Steps: 30}, schedules.Sigma{}, 1},
		"annealed":     {Annealed{Sigmas: schedules.Geometric(5, 0.01, 10), Steps: 4, Eps: 2e-5, Denoise: true}, schedules.Sigma{}, 5},
		"ve":           {PC{SDE: ve, N: 50, Predictor: ReverseDiffusion, Corrector: AnnealedCorrector{}.Step}, ve, 5},
		"vp ancestral": {PC{SDE: schedules.VP{}, N: 50, Predictor: Ancestral, Denoise: true}, schedules.VP{}, 1},
		"sub-vp euler": {PC{SDE: schedules.SubVP{}, N: 50, Predictor: EulerMaruyama}, schedules.SubVP{}, 1},
	} {
		wantMean, wantVar := measure(t, s.sampler, s.path).moments(0, s.std*s.std)
		exact := gaussianScore(s.path)
		var x64, s64, t64 [1]float64
		b := &Batch{X: make([]float32, n), Dim: 1, Noise: Philox(1)}
		if err := b.Prior(s.std); err != nil {
			t.Fatal(err)
		}
		err := s.sampler.Sample(context.Background(), b, func(dst, x []float32, t []float64) error {
			for i, v := range x {
				x64[0], t64[0] = float64(v), t[i]
				if err := exact(s64[:], x64[:], t64[:]); err != nil {
					return err
				}
				dst[i] = float32(s64[0])
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var sum, squares float64
		for _, v := range b.X {
			sum += float64(v)
		}
		mean := sum / n
		for _, v := range b.X {
			squares += (float64(v) - mean) * (float64(v) - mean)
		}
		zMean := (mean - wantMean) * math.Sqrt(n/wantVar)
		// Wilson and Hilferty's cube root makes χ² normal.
		const nu = n - 1
		zVar := (math.Cbrt(squares/wantVar/nu) - (1 - 2./(9*nu))) / math.Sqrt(2./(9*nu))
		if math.Abs(zMean) > limit || math.Abs(zVar) > limit {
			t.Errorf("%s: mean %.5f, want %.5f (%.2f standard errors); variance %.5f, want %.5f (%.2f)",
				name, mean, wantMean, zMean, squares/nu, wantVar, zVar)
		}
	}
}

// On the ring of eight modes annealed Langevin dynamics finds the weights
// (1,2,1,3,1,2,1,1)/12, and so does every SDE sampler; plain Langevin at the
// smallest σ does not. The figure is χ² with 7 degrees of freedom: above 40.5
// once in 10⁶ if the weights are exact. The samplers' own bias adds to it,
// which is why n is no larger.
func TestModeWeights(t *testing.T) {
	if raceEnabled {
		t.Skip("slow, and one goroutine races with nobody")
	}
	const n, limit = 4000, 40.5
	ve := schedules.VE{SigmaMin: 0.01, SigmaMax: 30}
	for name, c := range map[string]struct {
		setup
		right bool
	}{
		"annealed":    {setup{Annealed{Sigmas: schedules.Geometric(8, 0.05, 20), Steps: 20, Eps: 5e-4, Denoise: true}, schedules.Sigma{}, 8}, true},
		"ve pc":       {setup{PC{SDE: ve, N: 200, Predictor: ReverseDiffusion, Corrector: AnnealedCorrector{}.Step}, ve, 30}, true},
		"vp":          {setup{PC{SDE: schedules.VP{}, N: 300, Predictor: EulerMaruyama}, schedules.VP{}, 1}, true},
		"sub-vp":      {setup{PC{SDE: schedules.SubVP{}, N: 300, Predictor: EulerMaruyama}, schedules.SubVP{}, 1}, true},
		"ve flow":     {setup{Flow{SDE: ve}, ve, 30}, true},
		"vp flow":     {setup{Flow{SDE: schedules.VP{}}, schedules.VP{}, 1}, true},
		"plain":       {setup{Langevin{Sigma: 0.05, Alpha: 5e-4, Steps: 400}, schedules.Sigma{}, 1}, false},
		"plain, wide": {setup{Langevin{Sigma: 0.05, Alpha: 5e-4, Steps: 400}, schedules.Sigma{}, 8}, false},
	} {
		b := &Batch{X: make([]float32, 2*n), Dim: 2, Noise: Philox(3)}
		if err := b.Prior(c.std); err != nil {
			t.Fatal(err)
		}
		if err := c.sampler.Sample(context.Background(), b, ring().score(c.path)); err != nil {
			t.Fatal(err)
		}
		counts := modeCounts(b.X)
		chi2 := 0.0
		for k, w := range ring().weights {
			d := float64(counts[k]) - w*n
			chi2 += d * d / (w * n)
		}
		if (chi2 < limit) != c.right {
			t.Errorf("%s: modes %v, χ² = %.1f", name, counts, chi2)
		}
		t.Logf("%s: χ² = %.1f", name, chi2)
	}
}

// modeCounts is how many points are nearest to each mode of the ring.
func modeCounts(x []float32) (counts [8]int) {
	for i := 0; i < len(x); i += 2 {
		turn := math.Atan2(float64(x[i+1]), float64(x[i])) / (2 * math.Pi)
		counts[int(math.Round(turn*8)+8)%8]++
	}
	return counts
}
