package sampler

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"sampleonnx/schedules"
)

// A setup is a sampler with the path of its field and the spread of its start.
type setup struct {
	sampler Sampler
	path    schedules.Path
	std     float64
}

// field is what the sampler follows on the test's law.
func (s setup) field() Field {
	if _, ok := s.sampler.(Straight); ok {
		return Velocity(curved(s.path))
	}
	return curved(s.path)
}

// usual is every sampler in a few steps, on [curved].
func usual() map[string]setup { return samplers(9, testDim, curvedPull) }

var curvedPull = CentralDifference(curved(schedules.Sigma{}), schedules.Sigma{}, 0.05)

// samplers is every sampler of the package but those with settings that couple a
// batch, in its usual settings, with about n steps of dim values: the rows of
// every test that goes through them all. Those that choose their steps have
// tolerances that ask for more where n is more. pull is the derivative of the
// score at σ.
func samplers(n, dim int, pull Pullback) map[string]setup {
	levels, above := schedules.Karras(4, 0.05, 7, n), schedules.Geometric(4, 0.05, n+5)
	ladder := append(levels[:n:n], 0)
	all := map[string]setup{}
	add := func(name string, s Sampler) { all[name] = setup{s, schedules.Sigma{}, 4} }
	for name, s := range ladderSamplers(ladder) {
		add(name, s)
	}
	for name, s := range ladderSamplers(above) {
		add(name+", above 0", s)
	}
	add("ddim clip", DDIM{Sigmas: levels, Eta: 1, Clip: 0.5})
	add("ddpm clip", DDPM{Sigmas: levels, Clip: 0.5})
	add("ddim threshold", DDIM{Sigmas: levels, Eta: 1, Threshold: Threshold{0.7, 1.5}})
	add("dpm++2m threshold", Threshold{0.7, 1.5}.Of(DPMpp{Sigmas: levels}))

	tighter := 9 / float64(n)
	for order := 2; order <= 3; order++ {
		for _, denoise := range []bool{false, true} {
			tol := math.Pow(tighter, float64(order))
			s := DPMAdaptive{SigmaMax: 4, SigmaMin: 0.05, Order: order, RTol: 0.05 * tol, ATol: 0.0078 * tol, Denoise: denoise}
			add(fmt.Sprint("dpm adaptive ", order, " ", denoise), s)
		}
	}

	var known []bool
	for i := range dim {
		known = append(known, i%2 == 0)
	}
	mask, err := Mask(known)
	if err != nil {
		panic(err)
	}
	m := Measurement{A: mask}
	for i := range 3 * ((dim + 1) / 2) { // three, in turn
		m.Y = append(m.Y, float64(i%7)/3-1)
	}
	add("dps", DPS{Measurement: m, Pull: pull, Sigmas: ladder, Eta: 1})
	add("pigdm", PiGDM{Measurement: m, Pull: pull, Sigmas: ladder, Eta: 0.5})
	add("red-diff", REDdiff{Measurement: m, Sigmas: levels, Spread: 0.1})

	for name, s := range straightSamplers(schedules.Linear(0.98, 0, n)) {
		all[name] = setup{s, schedules.Rectified{}, 1}
	}
	for name, sde := range map[string]schedules.SDE{"ve": schedules.VE{SigmaMin: 0.05, SigmaMax: 4}, "vp": schedules.VP{}, "sub-vp": schedules.SubVP{}} {
		add := func(kind string, s Sampler) { all[kind+" "+name] = setup{s, sde, sde.Prior()} }
		for predictor, step := range predictors {
			if _, ok := sde.(schedules.Chain); predictor == "ancestral" && !ok {
				continue
			}
			for corrector, correct := range correctors {
				pc := PC{SDE: sde, N: n + 14, Predictor: step, Corrector: correct, Denoise: corrector == "ald"}
				all["pc "+name+" "+predictor+" "+corrector] = setup{pc, sde, sde.Prior()}
			}
		}
		add("flow", Flow{SDE: sde, RTol: 1e-5 * math.Pow(tighter, 4), ATol: 1e-5 * math.Pow(tighter, 4)})
		add("flow+denoise", Flow{SDE: sde, RTol: 1e-3 * math.Pow(tighter, 4), ATol: 1e-4 * math.Pow(tighter, 4), Denoise: true})
		add("flow heun", Flow{SDE: sde, Heun: true, RTol: 1e-2 * math.Pow(tighter, 2), ATol: 1e-2 * math.Pow(tighter, 2)})
		add("adaptive", AdaptiveSDE{SDE: sde, RTol: 0.05 * math.Pow(tighter, 2), ATol: 0.05 * math.Pow(tighter, 2), Denoise: name == "vp"})
	}
	return all
}

var predictors = map[string]Step{
	"euler-maruyama":    EulerMaruyama,
	"reverse-diffusion": ReverseDiffusion,
	"ancestral":         Ancestral,
	"none":              nil,
}

var correctors = map[string]Step{
	"none":          nil,
	"langevin":      LangevinCorrector{}.Step,
	"langevin norm": LangevinCorrector{Norm: NormDim, Steps: 2}.Step,
	"ald":           AnnealedCorrector{}.Step,
}

// ladderSamplers is every sampler on a ladder, of levels that end in 0 or above.
func ladderSamplers(sigmas []float64) map[string]Sampler {
	// As many evaluations as there can be in so many steps.
	fast := FastOrders(3*len(sigmas) - 4)
	var middles []float64 // of the first three steps, in ln σ
	for i := range min(3, len(sigmas)-1) {
		middles = append(middles, math.Sqrt(sigmas[i]*sigmas[i+1]))
		if sigmas[i+1] == 0 {
			middles[i] = sigmas[i] / 2 // which is not used
		}
	}
	all := map[string]Sampler{
		"euler":           Euler{Sigmas: sigmas},
		"euler churn":     Euler{Sigmas: sigmas, Churn: Churn{S: 3, Min: 0.1, Max: 2}, SNoise: 1.1},
		"euler ancestral": Euler{Sigmas: sigmas, Eta: 1},
		"euler half":      Euler{Sigmas: sigmas, Eta: 0.5, SNoise: 0.9},
		"heun":            Heun{Sigmas: sigmas},
		"heun churn":      Heun{Sigmas: sigmas, Churn: Churn{S: 3}, SNoise: 1.003},
		"dpm-1":           DPMSolver{Sigmas: sigmas, Order: 1},
		"dpm-2":           DPMSolver{Sigmas: sigmas},
		"dpm-2 churn":     DPMSolver{Sigmas: sigmas, Churn: Churn{S: 3}},
		"dpm-2 ancestral": DPMSolver{Sigmas: sigmas, Eta: 1},
		"dpm-3":           DPMSolver{Sigmas: sigmas, Order: 3},
		"dpm fast":        DPMSolver{Sigmas: sigmas, Orders: fast},
		"lms":             LMS{Sigmas: sigmas},
		"lms-2":           LMS{Sigmas: sigmas, Order: 2},
		"dpm++2s":         DPMpp2S{Sigmas: sigmas},
		"dpm++2s a":       DPMpp2S{Sigmas: sigmas, Eta: 1},
		"dpm++1m":         DPMpp{Sigmas: sigmas, Order: 1},
		"dpm++2m":         DPMpp{Sigmas: sigmas},
		"dpm++3m":         DPMpp{Sigmas: sigmas, Order: 3},
		"dpm++3m halved":  DPMpp{Sigmas: sigmas, Order: 3, Halved: true},
		"dpm++2m heun":    DPMpp{Sigmas: sigmas, Heun: true},
		"dpm++3m lower":   DPMpp{Sigmas: sigmas, Order: 3, Lower: 100},
		"dpm++3m higher":  DPMpp{Sigmas: sigmas, Order: 3, Lower: -1},
		"dpm++2m ends":    DPMpp{Sigmas: sigmas, Lower: -1, EulerLast: true},
		"plms":            PNDM{Sigmas: sigmas},
		"pndm":            PNDM{Sigmas: sigmas, Middles: middles},
		"ipndm":           PNDM{Sigmas: sigmas, LowerOrders: true},
		"deis-1":          DEIS{Sigmas: sigmas, Order: 1},
		"deis-2":          DEIS{Sigmas: sigmas},
		"deis-3":          DEIS{Sigmas: sigmas, Order: 3, Lower: -1},
		"deis-3 lower":    DEIS{Sigmas: sigmas, Order: 3},
		"sde":             DPMppSDE{Sigmas: sigmas, Independent: true},
		"sde brownian":    DPMppSDE{Sigmas: sigmas, Eta: 0.8},
		"2m sde":          DPMpp2MSDE{Sigmas: sigmas, Independent: true},
		"2m sde heun":     DPMpp2MSDE{Sigmas: sigmas, Eta: 0.7, Heun: true},
		"3m sde":          DPMpp3MSDE{Sigmas: sigmas, Independent: true},
		"3m sde brownian": DPMpp3MSDE{Sigmas: sigmas, SNoise: 0.9},
		"unipc-1 bh1":     UniPC{Sigmas: sigmas, Order: 1, BH1: true},
		"unipc-2 bh1":     UniPC{Sigmas: sigmas, Order: 2, BH1: true},
		"unipc-3 bh1":     UniPC{Sigmas: sigmas, Order: 3, BH1: true},
		"unipc-1":         UniPC{Sigmas: sigmas, Order: 1},
		"unipc-2":         UniPC{Sigmas: sigmas, Order: 2},
		"unipc-3":         UniPC{Sigmas: sigmas},
		"ddim":            DDIM{Sigmas: sigmas},
		"ddim eta":        DDIM{Sigmas: sigmas, Eta: 0.4},
		"ddpm":            DDPM{Sigmas: sigmas},
		"ddpm large":      DDPM{Sigmas: sigmas, Large: true},
	}
	if last := sigmas[len(sigmas)-1]; last > 0 {
		v := last * last
		all["langevin"] = Langevin{Sigma: last, Alpha: 0.3 * v, Steps: len(sigmas) - 1}
		all["annealed"] = Annealed{Sigmas: sigmas, Steps: 2, Eps: 0.1 * v}
		all["annealed denoised"] = Annealed{Sigmas: sigmas, Steps: 3, Eps: 0.2 * v, Denoise: true}
		all["consistent"] = Consistent{Sigmas: sigmas, Eps: 1.01 * v}
		all["consistent denoised"] = Consistent{Sigmas: sigmas, Eps: 0.99 * v, Denoise: true}
	}
	return all
}

// straightSamplers are those on flow matching's path.
func straightSamplers(times []float64) map[string]Sampler {
	return map[string]Sampler{"straight false": Straight{Times: times}, "straight true": Straight{Times: times, Heun: true}}
}

// Whoever writes another sampler, predictor or corrector hears of the table: it
// is read from the source what there is.
func TestEverySamplerIsInTheTable(t *testing.T) {
	have := map[string]bool{}
	for _, s := range usual() {
		have[reflect.TypeOf(s.sampler).Name()] = true
	}
	for _, steps := range []map[string]Step{predictors, correctors} {
		for _, step := range steps {
			if step != nil {
				path := runtime.FuncForPC(reflect.ValueOf(step).Pointer()).Name()
				have[strings.TrimSuffix(path[strings.LastIndex(path, "sampler.")+len("sampler."):], ".Step-fm")] = true
			}
		}
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || len(f.Type.Params.List) != 3 {
				continue
			}
			name := f.Name.Name
			if f.Recv != nil && (name == "Sample" || name == "Step") {
				name = fmt.Sprint(f.Recv.List[0].Type)
			} else if last, ok := f.Type.Params.List[2].Type.(*ast.Ident); !ok || last.Name != "Tick" {
				continue
			}
			if !ast.IsExported(name) {
				continue
			}
			if found++; !have[name] {
				t.Errorf("%s of %s is not in the table", name, file)
			}
		}
	}
	if found < 25 {
		t.Errorf("%d samplers and steps in the source", found)
	}
}

// tally counts the draws of each name.
type tally struct {
	Philox
	taken map[Draw]int
}

func (t tally) Normal(dst []float32, at Draw) error {
	t.taken[Draw{Purpose: at.Purpose, Index: at.Index, First: at.First}]++
	return t.Philox.Normal(dst, at)
}

// Of what one seed draws nothing is for two things: not the start, steps and
// conditions of a sampler, and not what is measured of the samples with their own
// seed. (A walk that looks at a Brownian path again draws it again.)
func TestNoDrawIsTakenTwice(t *testing.T) {
	sde := schedules.VE{SigmaMin: 0.05, SigmaMax: 4}
	for name, s := range usual() {
		taken := map[Draw]int{}
		b := &Batch{X: make([]float32, testDim), Dim: testDim, Noise: tally{1, taken}}
		if err := b.Prior(s.std); err != nil {
			t.Fatal(err)
		}
		m := Measurement{A: built(t)(Mask([]bool{true, false, true})), Y: []float64{1, 0}}
		if err := m.Impose(b, 1, s.std, 1); err != nil {
			t.Fatal(err)
		}
		if err := s.sampler.Sample(context.Background(), b, s.field()); err != nil {
			t.Fatal(err)
		}
		if _, err := (Likelihood{SDE: sde, RTol: 0.1, ATol: 0.1}).LogP(context.Background(), b, curved(sde), curvedPull); err != nil {
			t.Fatal(err)
		}
		if taken[Draw{Purpose: PurposeInit}] == 0 || taken[Draw{Purpose: PurposeHutchinson}] == 0 {
			t.Fatalf("%s: %v", name, taken)
		}
		for at, times := range taken {
			if times > 1 && at.Purpose != PurposeBrownian {
				t.Errorf("%s: draw %d of purpose %d is taken %d times", name, at.Index, at.Purpose, times)
			}
		}
	}
}
