package main

import (
	"cmp"
	"fmt"
	"slices"

	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/sampler"
	"sampleonnx/schedules"
)

// recipe is a resolved card turned into the objects that draw samples.
type recipe struct {
	sampler  sampler.Sampler
	path     schedules.Path // what the sampler's time means
	label    func(t float64) float64
	outer    schedules.Timed // nil, or the path of a network whose sampler is in VE coordinates
	inner    schedules.Path  // nil, or the path in VE coordinates whose time the sampler's is; its time is σ otherwise
	velocity bool            // the sampler wants the velocity on the rectified path
	start    func(*sampler.Batch) error
	top      float64 // the time with the most noise, and how much that is
	most     float64
	mean     []float32                               // that the network's data lack, or nil
	guide    func(score sampler.Field) sampler.Field // nil, or what makes a score on the network's path another
	coupled  bool                                    // a sample depends on its batch
	about    string                                  // one line for people
	warnings []string                                // of what may not be what was wanted
}

// newRecipe builds the sampler that a resolved card describes, for noise of a kind.
func newRecipe(c *card.Card, in noiseKind) (*recipe, error) {
	if err := supported(c); err != nil {
		return nil, err
	}
	mean, err := meanOf(c)
	if err != nil {
		return nil, err
	}
	r := &recipe{mean: mean}
	switch c.Sampler.Name {
	case "ald", "langevin":
		err = r.langevin(c)
	case "pc":
		err = r.predictorCorrector(c)
	case "ode", "ode_heun":
		r.flow(c)
	case "adaptive":
		err = r.adaptive(c, in)
	case "dpm_adaptive":
		r.dpmAdaptive(c)
	case "flow_euler", "flow_heun":
		err = r.straight(c)
	default:
		if d, ok := descentOf(c.Sampler.Name); ok {
			err = r.descend(d, c, in)
		}
	}
	if err != nil {
		return nil, err
	}
	r.relabel(c)
	return r, nil
}

// warn adds to what a run says before it begins.
func (r *recipe) warn(format string, args ...any) {
	r.warnings = append(r.warnings, fmt.Sprintf(format, args...))
}

// supported refuses what a card can say and this command cannot do yet; to ignore it would give wrong samples.
func supported(c *card.Card) error {
	no := func(key string, value any) error {
		return &card.Error{Source: c.From[key], Reason: fmt.Sprintf("%s %v is not supported yet", key, value)}
	}
	switch {
	case c.Output == "flow" && c.SDE != "flow":
		return no("output", "flow with sde "+c.SDE)
	case c.Output == "edm_F" && !isVE(c):
		return no("output", "edm_F with sde "+c.SDE)
	case c.Output == "v" && !(c.SDE == "vp" || c.SDE == "ddpm" || isVE(c) && (c.CIn == "vp" || c.CIn == "edm")):
		return no("output", "v with sde "+c.SDE+" and c_in "+cmp.Or(c.CIn, "none"))
	case (c.CIn == "vp" || c.CIn == "edm") && !isVE(c) && !(c.CIn == "vp" && (c.SDE == "vp" || c.SDE == "ddpm")):
		return no("c_in", c.CIn+" with sde "+c.SDE)
	case len(c.Betas) > 0 && c.SDE != "ddpm":
		return no("betas", "with sde "+c.SDE)
	case c.BetaSchedule != "" && c.BetaSchedule != "linear" && c.SDE != "ddpm":
		return no("beta_schedule", c.BetaSchedule+" with sde "+c.SDE)
	}
	return nil
}

func (r *recipe) langevin(c *card.Card) error {
	if !isVE(c) {
		return usagef("--sampler %s needs a network of the VE process (its card says %s): try pc or ode", c.Sampler.Name, c.SDE)
	}
	s := &c.Sampler
	ladder := r.rungs(c)
	last := ladder[len(ladder)-1]
	r.path, r.top, r.most = schedules.Sigma{}, ladder[0], ladder[0]
	r.start = func(b *sampler.Batch) error { return b.Prior(ladder[0]) }
	if s.Name == "ald" {
		a := sampler.Annealed{Sigmas: ladder, Steps: card.Use(c, &s.Steps), Eps: card.Use(c, &s.Eps), Denoise: card.Use(c, &s.Denoise)}
		r.sampler = a
		r.about = fmt.Sprintf("annealed Langevin, %d levels %.4g to %.4g, %d steps a level, eps %.4g", len(ladder), ladder[0], last, a.Steps, a.Eps)
	} else {
		// One level, the lowest: no ladder has been climbed down, so it starts from the unit normal.
		r.start = func(b *sampler.Batch) error { return b.Prior(1) }
		l := sampler.Langevin{Sigma: last, Alpha: card.Use(c, &s.Eps), Steps: card.Use(c, &s.N), Temperature: card.Use(c, &s.Temperature)}
		r.sampler = l
		r.about = fmt.Sprintf("plain Langevin at sigma %.4g, %d steps of %.4g", last, l.Steps, l.Alpha)
		if l.Temperature != 0 && l.Temperature != 1 {
			r.about += fmt.Sprintf(", temperature %.4g", l.Temperature)
		}
	}
	if card.Use(c, &c.Prior) == "uniform" {
		r.start = (*sampler.Batch).Uniform
	}
	return nil
}

// rungs is the ladder that Langevin dynamics go down: as given, or the network's own.
func (r *recipe) rungs(c *card.Card) []float64 {
	if len(c.Sampler.Sigmas) == 0 {
		return ladderOf(c)
	}
	return r.given(c)
}

func (r *recipe) predictorCorrector(c *card.Card) error {
	sde, s := process(c), &c.Sampler
	switch {
	case s.N < 2:
		return usagef("--steps %d: --sampler pc needs 2 steps or more", s.N)
	case s.Predictor == "none" && s.Corrector == "none":
		return usagef("--predictor none and --corrector none: neither leaves nothing to do")
	}
	pc := sampler.PC{SDE: sde, N: card.Use(c, &s.N), Eps: card.Use(c, &c.TEps), Denoise: card.Use(c, &s.Denoise), ProbabilityFlow: card.Use(c, &s.ProbabilityFlow)}
	switch card.Use(c, &s.Predictor) {
	case "euler_maruyama":
		pc.Predictor = sampler.EulerMaruyama
	case "reverse_diffusion":
		pc.Predictor = sampler.ReverseDiffusion
	case "ancestral_sampling":
		if _, ok := sde.(schedules.Chain); !ok {
			return usagef("--predictor ancestral_sampling is not defined for the sub-VP process: try reverse_diffusion")
		}
		if s.ProbabilityFlow {
			return usagef("--predictor ancestral_sampling has no probability flow: try reverse_diffusion")
		}
		pc.Predictor = sampler.Ancestral
	}
	switch card.Use(c, &s.Corrector) {
	case "langevin":
		norm := sampler.Norm(slices.Index(card.CorrectorNorms(), card.Use(c, &s.CorrectorNorm)))
		r.coupled = norm == sampler.NormBatch
		pc.Corrector = sampler.LangevinCorrector{SNR: card.Use(c, &s.SNR), Steps: card.Use(c, &s.CorrectorSteps), Norm: norm}.Step
		if dim := elements(c.Shape); stepVaries(dim) {
			r.warn("in %d dimensions the corrector langevin's step varies with the sample and widens the law; ald is the one for few", dim)
		}
	case "ald":
		pc.Corrector = sampler.AnnealedCorrector{SNR: card.Use(c, &s.SNR), Steps: card.Use(c, &s.CorrectorSteps)}.Step
	}
	r.sampler = pc
	r.from(sde, c)
	r.about = fmt.Sprintf("predictor–corrector (%s), predictor %s, corrector %s, %d steps", c.SDE, s.Predictor, s.Corrector, s.N)
	return nil
}

func (r *recipe) flow(c *card.Card) {
	sde, s, method := process(c), &c.Sampler, "Dormand–Prince 5(4)"
	f := sampler.Flow{SDE: sde, Eps: card.Use(c, &c.TEps), RTol: r.rtol(c), ATol: card.Use(c, &s.ATol), Coupled: card.Use(c, &s.Coupled), Denoise: card.Use(c, &s.Denoise)}
	r.warnBetween(c)
	if s.Name == "ode_heun" {
		f.Heun, method = true, "Heun 2(1)"
	}
	r.sampler = f
	r.coupled = f.Coupled
	r.from(sde, c)
	r.about = fmt.Sprintf("probability-flow ODE (%s), %s, rtol %.4g, atol %.4g", c.SDE, method, f.RTol, f.ATol)
}

func (r *recipe) adaptive(c *card.Card, in noiseKind) error {
	if in {
		return usagef("--sampler adaptive looks at noise before it uses it, which only --rng philox allows")
	}
	sde, s := process(c), &c.Sampler
	a := sampler.AdaptiveSDE{SDE: sde, Eps: card.Use(c, &c.TEps), RTol: r.rtol(c), ATol: card.Use(c, &s.ATol), Denoise: card.Use(c, &s.Denoise)}
	r.warnBetween(c)
	r.sampler = a
	r.from(sde, c)
	r.about = fmt.Sprintf("reverse SDE (%s) with adaptive steps, rtol %.4g, atol %.4g", c.SDE, a.RTol, a.ATol)
	return nil
}

// rtol is the relative tolerance of a solver, which below 100 float64 roundings would be of those alone (as in scipy).
func (r *recipe) rtol(c *card.Card) float64 {
	const least = 100 * 0x1p-52
	rtol := card.Use(c, &c.Sampler.RTol)
	if rtol < least {
		r.warn("rtol %.2g is %.2g, below which there is rounding alone; that of a network in float32 is above 1e-7", rtol, least)
		return least
	}
	return rtol
}

// from starts at the prior of an SDE, the card's own or that in the VE coordinates of its path.
func (r *recipe) from(sde schedules.SDE, c *card.Card) {
	r.path, r.top, r.most = sde, sde.T(), sde.Prior()
	prior := sde.Prior()
	if path := coordinates(c); path != nil {
		r.path, r.outer, r.inner = path, path, sde
		prior = priorAt(c, prior)
	}
	r.start = func(b *sampler.Batch) error { return b.Prior(prior) }
}
