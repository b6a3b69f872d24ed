package sampler

import (
	"math"
	"testing"

	"sampleonnx/schedules"
)

// karras is k-diffusion's ladder of n levels from 10 to .02, then 0.
func karras(n int) []float64 { return append(schedules.Karras(10, 0.02, 7, n), 0) }

// vpTimes is the ladder of n steps of the VP path from t = 1 to .001, even in
// t; a0 and aT are the path's α at its ends.
func vpTimes(n int) (sigmas []float64, a0, aT float64) {
	for _, t := range schedules.Linear(1, 1e-3, n+1) {
		a, sigma := schedules.VP{}.Marginal(t)
		sigmas = append(sigmas, sigma/a)
		if t == 1 {
			aT = a
		}
		a0 = a
	}
	return sigmas, a0, aT
}

// Moments of the authors' programs on data N(mu0, s0²): k-diffusion's samplers
// on twelve Karras levels in float32, started from N(0, 10²).
func TestMomentsOfKDiffusion(t *testing.T) {
	sigmas := schedules.Round32(karras(12))
	for _, row := range []struct {
		name           string
		sampler        Sampler
		mean, variance float64
	}{
		{"euler", Euler{Sigmas: sigmas}, .678991811, .090070205},
		{"heun", Heun{Sigmas: sigmas}, .674445304, .133273978},
		{"heun churn", Heun{Sigmas: sigmas, Churn: Churn{S: 4}, SNoise: 1.003}, .696912538, .147099780},
		{"dpm_2", DPMSolver{Sigmas: sigmas}, .674922894, .128339027},
		{"lms", LMS{Sigmas: sigmas}, .676400981, .113655856},
		{"euler_a", Euler{Sigmas: sigmas, Eta: 1}, .699143549, .069427181},
		{"dpm_2_a", DPMSolver{Sigmas: sigmas, Eta: 1}, .698187725, .153113404},
		{"2s_a", DPMpp2S{Sigmas: sigmas, Eta: 1}, .698686513, .104734965},
		{"2m", DPMpp{Sigmas: sigmas}, .674566268, .132015247},
		{"sde", DPMppSDE{Sigmas: sigmas, Independent: true}, .699143549, .079895518},
		{"2m_sde", DPMpp2MSDE{Sigmas: sigmas, Independent: true}, .699143549, .141478376},
		{"3m_sde", DPMpp3MSDE{Sigmas: sigmas, Independent: true}, .699143549, .170672365},
		// Where the ODE itself leads, to σ = 0.
		{"exact ODE", DPMSolver{Sigmas: append(schedules.Geometric(10, 1e-5, 1000), 0), Order: 3}, .675514992, .122350121},
	} {
		t.Run(row.name, func(t *testing.T) {
			mean, variance := measure(t, row.sampler, schedules.Sigma{}).moments(0, 100)
			closeTo(t, "mean", mean, row.mean, 3e-7)
			closeTo(t, "variance", variance, row.variance, 3e-7)
		})
	}
}

// The offsets and squared factors of the programs of UniPC and DPM-Solver on the
// VP path, and consistent annealed sampling's moments.
func TestAffineMapsOfThePublishedPrograms(t *testing.T) {
	nine, a0, aT := vpTimes(9)
	fifteen, _, _ := vpTimes(15)
	for _, row := range []struct {
		name       string
		sampler    Sampler
		o, squared float64
	}{
		{"UniPC-3", UniPC{Sigmas: nine}, .698858434442, .0575017052971},
		{"UniPC-2", UniPC{Sigmas: nine, Order: 2}, .698859339889, .0574073455618},
		{"UniPC-1", UniPC{Sigmas: nine, Order: 1}, .698902470742, .053002285908},
		{"DPM++2M, 9", DPMpp{Sigmas: nine}, .698869167776, .0563881323859},
		{"DPM++2M, 15", DPMpp{Sigmas: fifteen}, .697830956505, .214512121588},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := measure(t, row.sampler, schedules.Sigma{})
			// From VE coordinates to VP's.
			closeTo(t, "offset", a0*f.o, row.o, 1e-10)
			closeTo(t, "squared factor", math.Pow(a0*f.a/aT, 2), row.squared, 1e-10)
		})
	}
	eps := 0.3 * 0.01 * 0.01
	mean, variance := measure(t, Consistent{Sigmas: schedules.Geometric(5, 0.01, 60), Eps: eps, Denoise: true}, schedules.Sigma{}).moments(0.5, 1./12)
	closeTo(t, "CAS: mean", mean, .699972437171, 1e-11)
	closeTo(t, "CAS: variance", variance, .103307996567, 1e-11)
}
