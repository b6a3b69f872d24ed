package sampler

import (
	"context"
	"fmt"
	"math"
	"testing"

	"sampleonnx/schedules"
)

// One step of the Langevin corrector from x = 0, by hand: ‖s‖ is 5 and 2, ‖z‖
// is 1 and 2.
func TestLangevinCorrectorByHand(t *testing.T) {
	s, z := []float32{3, 4, 0, 2}, []float32{1, 0, 0, -2}
	const r, n, k = 0.25, 40, 39
	for name, c := range map[string]struct {
		sde    schedules.SDE
		alphaK float64
	}{
		"ve":     {schedules.VE{SigmaMin: 0.1, SigmaMax: 10}, 1},
		"vp":     {schedules.VP{}, 1 - 20./n},
		"sub-vp": {schedules.SubVP{BetaMin: 1, BetaMax: 10}, 1 - 10./n},
	} {
		for norm, ratios := range map[Norm][2]float64{
			NormSample: {1. / 5, 2. / 2},
			NormDim:    {math.Sqrt2 / 5, math.Sqrt2 / 2},
			NormBatch:  {1.5 / 3.5, 1.5 / 3.5},
		} {
			b := &Batch{X: make([]float32, 4), Dim: 2, Noise: Replay{Values: z, Samples: 2, Dim: 2}}
			if err := b.prepare(); err != nil {
				t.Fatal(err)
			}
			score := func(dst, x []float32, t []float64) error { copy(dst, s); return nil }
			at := Tick{SDE: c.sde, T: 1, Dt: 1. / n, K: k, N: n}
			if err := (LangevinCorrector{SNR: r, Norm: norm}).Step(b, score, at); err != nil {
				t.Fatal(err)
			}
			for i, got := range b.X {
				alpha := 2 * c.alphaK * math.Pow(r*ratios[i/2], 2)
				mean := alpha * float64(s[i])
				want := mean + math.Sqrt(2*alpha)*float64(z[i])
				closeTo(t, fmt.Sprintf("%s norm %d: value %d", name, norm, i), float64(got), want, 1e-7)
				closeTo(t, fmt.Sprintf("%s norm %d: mean %d", name, norm, i), float64(b.Mean[i]), mean, 1e-7)
			}
		}
	}
}

// With VE the annealed corrector is annealed Langevin dynamics with
// ε = 2r²σ_L².
func TestAnnealedCorrectorIsAnnealedLangevin(t *testing.T) {
	ve := schedules.VE{SigmaMin: 0.05, SigmaMax: 4}
	const n, r = 9, 0.16
	var sigmas []float64
	for _, s := range schedules.Linear(1, ve.Eps(), n) {
		_, sigma := ve.Marginal(s)
		sigmas = append(sigmas, sigma)
	}
	last := sigmas[n-1]
	pc := measure(t, PC{SDE: ve, N: n, Corrector: AnnealedCorrector{SNR: r, Steps: 3}.Step}, ve)
	ald := measure(t, Annealed{Sigmas: sigmas, Steps: 3, Eps: 2 * r * r * last * last}, schedules.Sigma{})
	compare(t, pc, ald)
}

// Flow's Denoise is the mean of the last reverse-diffusion step, at ε.
func TestFlowDenoise(t *testing.T) {
	for name, c := range map[string]struct {
		sde schedules.SDE
		a   float64 // x̄ = a·x + b·s
		b   float64
	}{
		"ve":     {schedules.VE{SigmaMin: 0.05, SigmaMax: 4}, 1, 0.0025},
		"vp":     {schedules.VP{}, 2 - math.Sqrt(1-0.1/500), 0.1 / 500},
		"sub-vp": {schedules.SubVP{}, 1 + (0.1+19.9e-3)/1000, (0.1 + 19.9e-3) * (1 - math.Exp(-2e-4-19.9e-6)) / 500},
	} {
		score := func(dst, x []float32, t []float64) error {
			for i, v := range x {
				dst[i] = 0.3 - v
			}
			return nil
		}
		plain := &Batch{X: []float32{0.5, -1, 2}, Dim: 1}
		denoised := &Batch{X: []float32{0.5, -1, 2}, Dim: 1}
		f := Flow{SDE: c.sde}
		if err := f.Sample(context.Background(), plain, score); err != nil {
			t.Fatal(err)
		}
		f.Denoise, f.N = true, 500
		if err := f.Sample(context.Background(), denoised, score); err != nil {
			t.Fatal(err)
		}
		for i, x := range plain.X {
			want := c.a*float64(x) + c.b*(0.3-float64(x))
			closeTo(t, name, float64(denoised.X[i]), want, 2e-7)
		}
		if denoised.Calls != plain.Calls+1 {
			t.Errorf("%s: denoising took %d evaluations", name, denoised.Calls-plain.Calls)
		}
	}
}
