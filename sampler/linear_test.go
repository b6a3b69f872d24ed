package sampler

import (
	"context"
	"fmt"
	"math"
	"testing"

	"sampleonnx/schedules"
)

// With data N(mu0, s0²) the score is linear, so a sampler that does not adapt
// is an affine map of its start and its draws:
//
//	x_out = o + A x_T + Σ_k C_k z_k
//
// A run in float64 on one batch measures it: sample 0 starts at 0 without
// noise, sample 1 starts at 1, sample 2+k has z_k = 1.
const mu0, s0 = 0.7, 0.35

type affineMap struct {
	o, a float64
	c    []float64
}

// moments of the output when the start has mean m and variance v.
func (f affineMap) moments(m, v float64) (mean, variance float64) {
	mean, variance = f.o+f.a*m, f.a*f.a*v
	for _, c := range f.c {
		variance += c * c
	}
	return mean, variance
}

type impulses struct{}

func (impulses) Normal(dst []float32, at Draw) error {
	clear(dst)
	if i := 2 + at.Seq - int(at.First); i >= 0 && i < len(dst) {
		dst[i] = 1
	}
	return nil
}

func (i impulses) Uniform(dst []float32, at Draw) error { return i.Normal(dst, at) }

// gaussianScore is the exact score of N(mu0, s0²) along a path, in float64.
func gaussianScore(path schedules.Path) func(dst, x, t []float64) error {
	return func(dst, x, t []float64) error {
		for i := range x {
			a, sigma := path.Marginal(t[i])
			dst[i] = -(x[i] - a*mu0) / (a*a*s0*s0 + sigma*sigma)
		}
		return nil
	}
}

func measure(t *testing.T, s Sampler, path schedules.Path) affineMap {
	t.Helper()
	return measureField(t, s, gaussianScore(path))
}

func measureField(t *testing.T, s Sampler, field func(dst, x, t []float64) error) affineMap {
	t.Helper()
	run := func(n int) *Batch {
		b := &Batch{Dim: 1, Noise: impulses{}, wide: &wide{
			x: make([]float64, n), mean: make([]float64, n), score: make([]float64, n), z: make([]float64, n),
			field: field,
		}}
		if n > 1 {
			b.wide.x[1] = 1
		}
		if err := s.Sample(context.Background(), b, nil); err != nil {
			t.Fatal(err)
		}
		return b
	}
	draws := run(1).Draws
	x := run(2 + draws).wide.x
	f := affineMap{o: x[0], a: x[1] - x[0]}
	for _, v := range x[2:] {
		f.c = append(f.c, v-x[0])
	}
	return f
}

// A linearStep is x' = a·x + b·s + √q z at a place where the data have mean
// c and variance w.
type linearStep struct{ a, b, q, c, w float64 }

// compose is the affine map of a sequence of steps, from the last to the
// first.
func compose(steps []linearStep) affineMap {
	f := affineMap{a: 1, c: make([]float64, len(steps))}
	for i := len(steps) - 1; i >= 0; i-- {
		s := steps[i]
		f.c[i] = f.a * math.Sqrt(s.q)
		f.o += f.a * s.b * s.c / s.w
		f.a *= s.a - s.b/s.w
	}
	return f
}

func closeTo(t *testing.T, what string, got, want, tol float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tol*max(1, math.Abs(want))) {
		t.Errorf("%s is %.15g, want %.15g (off by %.2g)", what, got, want, got-want)
	}
}

func compare(t *testing.T, got, want affineMap) {
	t.Helper()
	closeTo(t, "offset", got.o, want.o, 1e-12)
	closeTo(t, "factor of the start", got.a, want.a, 1e-12)
	if len(got.c) != len(want.c) {
		t.Fatalf("%d draws, want %d", len(got.c), len(want.c))
	}
	for k := range got.c {
		closeTo(t, fmt.Sprintf("factor of draw %d", k), got.c[k], want.c[k], 1e-12)
	}
}

// The equations of the samplers, written a second time: nothing below uses
// package schedules.
type paper struct {
	name               string
	sde                schedules.SDE
	eps                float64
	betaMin, betaMax   float64
	sigmaMin, sigmaMax float64
}

var papers = []paper{
	{name: "ve", sde: schedules.VE{SigmaMin: 0.01, SigmaMax: 5}, eps: 1e-5, sigmaMin: 0.01, sigmaMax: 5},
	{name: "vp", sde: schedules.VP{BetaMin: 0.1, BetaMax: 20}, eps: 1e-3, betaMin: 0.1, betaMax: 20},
	{name: "sub-vp", sde: schedules.SubVP{}, eps: 1e-3, betaMin: 0.1, betaMax: 20},
}

// place is α μ0, α² s0² + σ² and σ at time t.
func (p paper) place(t float64) (c, w, sigma float64) {
	alpha := 1.0
	switch p.name {
	case "ve":
		sigma = p.sigmaMin * math.Pow(p.sigmaMax/p.sigmaMin, t)
	case "flow":
		alpha, sigma = 1-t, t
	default:
		alpha = math.Exp(-t*t*(p.betaMax-p.betaMin)/4 - t*p.betaMin/2)
		sigma = 1 - alpha*alpha
		if p.name == "vp" {
			sigma = math.Sqrt(sigma)
		}
	}
	return alpha * mu0, alpha*alpha*s0*s0 + sigma*sigma, sigma
}

func (p paper) betaK(k, n int) float64 {
	return (p.betaMin + (p.betaMax-p.betaMin)*float64(k)/float64(n-1)) / float64(n)
}

func (p paper) sigmaK(k, n int) float64 {
	if k < 0 {
		return 0
	}
	return p.sigmaMin * math.Pow(p.sigmaMax/p.sigmaMin, float64(k)/float64(n-1))
}

// predictor is a, b and q; ok is false where it is not defined.
func (p paper) predictor(name string, flow bool, t float64, k, n int) (a, b, q float64, ok bool) {
	h := 1 / float64(n)
	beta := p.betaMin + t*(p.betaMax-p.betaMin)
	switch p.name + " " + name {
	case "ve euler-maruyama":
		_, _, sigma := p.place(t)
		g2 := 2 * sigma * sigma * math.Log(p.sigmaMax/p.sigmaMin)
		a, b, q = 1, g2*h, g2*h
	case "ve reverse-diffusion", "ve ancestral":
		s1, s0 := p.sigmaK(k, n), p.sigmaK(k-1, n)
		gap := s1*s1 - s0*s0
		a, b, q = 1, gap, gap
		if name == "ancestral" {
			q = s0 * s0 * gap / (s1 * s1)
		}
	case "vp euler-maruyama":
		a, b, q = 1+beta*h/2, beta*h, beta*h
	case "vp reverse-diffusion":
		bk := p.betaK(k, n)
		a, b, q = 2-math.Sqrt(1-bk), bk, bk
	case "vp ancestral":
		bk := p.betaK(k, n)
		a, b, q = 1/math.Sqrt(1-bk), bk/math.Sqrt(1-bk), bk
	case "sub-vp euler-maruyama", "sub-vp reverse-diffusion":
		g2 := beta * (1 - math.Exp(-2*p.betaMin*t-(p.betaMax-p.betaMin)*t*t))
		a, b, q = 1+beta*h/2, g2*h, g2*h
	default:
		return 0, 0, 0, false
	}
	if flow {
		if name == "ancestral" {
			return 0, 0, 0, false
		}
		b, q = b/2, 0
	}
	return a, b, q, true
}

// pc is algorithm 1 of Song et al. 2021 with annealed correctors.
func (p paper) pc(n int, predictor string, flow bool, snr float64, corrections int, denoise bool) (steps []linearStep, ok bool) {
	for i := range n {
		k := n - 1 - i
		t := 1 + float64(i)/float64(n-1)*(p.eps-1)
		c, w, sigma := p.place(t)
		for range corrections {
			alpha := 2 * snr * snr * sigma * sigma
			if p.name != "ve" {
				alpha *= 1 - p.betaK(k, n)
			}
			steps = append(steps, linearStep{1, alpha, 2 * alpha, c, w})
		}
		if predictor == "none" {
			continue
		}
		a, b, q, ok := p.predictor(predictor, flow, t, k, n)
		if !ok {
			return nil, false
		}
		if denoise && i == n-1 {
			q = 0
		}
		steps = append(steps, linearStep{a, b, q, c, w})
	}
	return steps, true
}

func TestPCIsTheAffineMapOfThePaper(t *testing.T) {
	const n = 23
	tried := 0
	for _, p := range papers {
		for predictor, step := range predictors {
			for _, flow := range []bool{false, true} {
				for corrections := range 3 {
					for _, denoise := range []bool{false, true} {
						pc := PC{SDE: p.sde, N: n, Predictor: step, ProbabilityFlow: flow, Denoise: denoise}
						if corrections > 0 {
							pc.Corrector = AnnealedCorrector{SNR: 0.2, Steps: corrections}.Step
						}
						name := fmt.Sprintf("%s/%s/flow=%v/corrections=%d/denoise=%v", p.name, predictor, flow, corrections, denoise)
						t.Run(name, func(t *testing.T) {
							steps, ok := p.pc(n, predictor, flow, 0.2, corrections, denoise)
							if !ok {
								b := &Batch{X: make([]float32, 1), Dim: 1}
								score := func(dst, x []float32, t []float64) error { return nil }
								if err := pc.Sample(context.Background(), b, score); err == nil {
									t.Error("ran, though it is not defined")
								}
								return
							}
							tried++
							compare(t, measure(t, pc, p.sde), compose(steps))
						})
					}
				}
			}
		}
	}
	// 3 SDEs × 4 predictors × 2 × 3 × 2, less sub-VP ancestral and the flows
	// of VE and VP ancestral.
	if want := 144 - 12 - 2*6; tried != want {
		t.Errorf("%d combinations compared, want %d", tried, want)
	}
}

func TestAnnealedIsTheAffineMapOfThePaper(t *testing.T) {
	for _, denoise := range []bool{false, true} {
		a := Annealed{Sigmas: schedules.Geometric(5, 0.01, 10), Steps: 4, Eps: 2e-5, Denoise: denoise}
		var steps []linearStep
		for i := range 10 {
			sigma := 5 * math.Pow(0.01/5, float64(i)/9)
			alpha := 2e-5 * math.Pow(sigma/0.01, 2)
			for range 4 {
				steps = append(steps, linearStep{1, alpha, 2 * alpha, mu0, s0*s0 + sigma*sigma})
			}
		}
		want := compose(steps)
		if denoise {
			// The mean of the data given x, not a step: m' = μ+(s0²/w)(m−μ).
			shrink := s0 * s0 / (s0*s0 + 1e-4)
			want.o, want.a = mu0+shrink*(want.o-mu0), want.a*shrink
			for k := range want.c {
				want.c[k] *= shrink
			}
		}
		compare(t, measure(t, a, schedules.Sigma{}), want)
	}
}

// T Langevin steps have a closed form, and a fixed point whose variance is too
// large by 1/(1−α/2w).
func TestLangevinIsTheClosedForm(t *testing.T) {
	const sigma, alpha, steps = 0.5, 0.1, 60
	w := s0*s0 + sigma*sigma
	f := measure(t, Langevin{Sigma: sigma, Alpha: alpha, Steps: steps}, schedules.Sigma{})
	rho := 1 - alpha/w
	m, v := f.moments(2, 3)
	closeTo(t, "mean", m, mu0+math.Pow(rho, steps)*(2-mu0), 1e-12)
	closeTo(t, "variance", v, math.Pow(rho, 2*steps)*3+2*alpha*(1-math.Pow(rho, 2*steps))/(1-rho*rho), 1e-12)
	closeTo(t, "fixed point", v, w/(1-alpha/(2*w)), 1e-9)
}

// Moments of the published implementations on the same problem: the programs
// of Song et al. 2021 with 50 steps, and of Song & Ermon 2020.
func TestMomentsOfThePublishedCode(t *testing.T) {
	ve := schedules.VE{SigmaMin: 0.01, SigmaMax: 5}
	ald := AnnealedCorrector{SNR: 0.16}.Step
	levels := schedules.Geometric(5, 0.01, 10)
	for _, row := range []struct {
		name           string
		sampler        Sampler
		mean, variance float64
	}{
		{"VE EM", PC{SDE: ve, Predictor: EulerMaruyama}, 0.698228468206, 0.125433360578},
		{"VE EM + ald", PC{SDE: ve, Predictor: EulerMaruyama, Corrector: ald}, 0.699424061529, 0.123347340336},
		{"VE reverse", PC{SDE: ve, Predictor: ReverseDiffusion}, 0.696586340633, 0.139169661979},
		{"VE reverse + ald", PC{SDE: ve, Predictor: ReverseDiffusion, Corrector: ald}, 0.698890193354, 0.132656928342},
		{"VE reverse flow", PC{SDE: ve, Predictor: ReverseDiffusion, ProbabilityFlow: true}, 0.643944639872, 0.160316499951},
		{"VE ancestral", PC{SDE: ve, Predictor: Ancestral}, 0.696586340633, 0.108122952106},
		{"VP EM", PC{SDE: schedules.VP{}, Predictor: EulerMaruyama}, 0.705778618455, 0.124399084153},
		{"VP reverse", PC{SDE: schedules.VP{}, Predictor: ReverseDiffusion}, 0.707015951536, 0.126973686903},
		{"VP ancestral", PC{SDE: schedules.VP{}, Predictor: Ancestral}, 0.711110843455, 0.122013177512},
		{"VP reverse + ald", PC{SDE: schedules.VP{}, Predictor: ReverseDiffusion, Corrector: ald}, 0.706665070143, 0.124745325101},
		{"sub-VP EM", PC{SDE: schedules.SubVP{}, Predictor: EulerMaruyama}, 0.707915021145, 0.128031327623},
		{"sub-VP reverse flow", PC{SDE: schedules.SubVP{}, Predictor: ReverseDiffusion, ProbabilityFlow: true}, 0.699116165163, 0.120254408785},
		{"NCSNv2 denoised", Annealed{Sigmas: levels, Steps: 4, Eps: 2e-5, Denoise: true}, 0.695587350868, 0.554008700145},
		{"NCSNv2", Annealed{Sigmas: levels, Steps: 4, Eps: 2e-5}, 0.695583748706, 0.55491357333},
	} {
		t.Run(row.name, func(t *testing.T) {
			var path schedules.Path = schedules.Sigma{}
			m, v := 0.5, 1./12
			if pc, ok := row.sampler.(PC); ok {
				pc.N, pc.Denoise = 50, true
				row.sampler, path = pc, pc.SDE
				m, v = 0, pc.SDE.Prior()*pc.SDE.Prior()
			}
			mean, variance := measure(t, row.sampler, path).moments(m, v)
			closeTo(t, "mean", mean, row.mean, 1e-11)
			closeTo(t, "variance", variance, row.variance, 1e-11)
		})
	}
}
