package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/onnxrun"
	"sampleonnx/sampler"
	"sampleonnx/schedules"
)

// setting is one field of the card that a flag gave.
type setting struct{ key, text, flag string }

// asked is what the flags say about the card. Which key --steps means depends on the sampler.
type asked struct {
	settings []setting
	steps    int // 0: not given
}

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
}

// resolveCard finds the card of a model: its metadata, the sidecar beside it, the flags, and what names and shapes tell.
func resolveCard(m *onnxrun.Model, path string, flags asked) (*card.Card, error) {
	c := new(card.Card)
	if err := c.SetMetadata(m.Metadata()); err != nil {
		return c, err
	}
	if err := c.ReadSidecar(card.File(path)); err != nil {
		return c, err
	}
	for _, s := range flags.settings {
		if err := c.SetText(s.key, s.text, card.Source{Rank: card.Flag, Name: s.flag}); err != nil {
			return c, err
		}
	}
	if err := c.ReadScheduler(filepath.Join(filepath.Dir(path), card.SchedulerFile)); err != nil {
		return c, err
	}
	if err := c.Infer(cardPorts(m.Inputs()), cardPorts(m.Outputs())); err != nil {
		return c, err
	}
	if err := c.Check(); err != nil {
		return c, err
	}
	if err := nameSampler(c); err != nil {
		return c, err
	}
	forgetOthers(c)
	if err := flags.apply(c); err != nil {
		return c, err
	}
	return c, fillIn(c)
}

// forgetOthers drops the settings that the card has for another sampler than the one that was asked for: a step size or a number of steps is
// one sampler's.
func forgetOthers(c *card.Card) {
	if slices.Contains([]string{"ald", "langevin", "pc", "ode"}, c.Sampler.Name) {
		return // which understand each other's
	}
	for _, line := range c.Lines() {
		if strings.HasPrefix(line.Key, "sampler.") && c.Rank(line.Key) < c.Rank("sampler.name") {
			c.Forget(line.Key)
		}
	}
}

func cardPorts(list []onnxrun.Info) []card.Port {
	ports := make([]card.Port, len(list))
	for i, v := range list {
		ports[i] = card.Port{Name: v.Name, DType: v.DType.String()}
		if v.Dims != nil {
			ports[i].Dims = make([]int, len(v.Dims))
			for k, d := range v.Dims {
				ports[i].Dims[k] = d.Size
			}
		}
	}
	return ports
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
	ladder := ladderOf(c)
	last := ladder[len(ladder)-1]
	r.path, r.top, r.most = schedules.Sigma{}, ladder[0], ladder[0]
	r.start = func(b *sampler.Batch) error { return b.Prior(ladder[0]) }
	if c.Sampler.Name == "ald" {
		r.sampler = sampler.Annealed{Sigmas: ladder, Steps: c.Sampler.Steps, Eps: c.Sampler.Eps, Denoise: c.Sampler.Denoise}
		r.about = fmt.Sprintf("annealed Langevin, %d levels %.4g to %.4g, %d steps a level, eps %.4g", len(ladder), ladder[0], last, c.Sampler.Steps, c.Sampler.Eps)
	} else {
		// One level, the lowest: no ladder has been climbed down, so it starts from the unit normal.
		r.start = func(b *sampler.Batch) error { return b.Prior(1) }
		r.sampler = sampler.Langevin{Sigma: last, Alpha: c.Sampler.Eps, Steps: c.Sampler.N}
		r.about = fmt.Sprintf("plain Langevin at sigma %.4g, %d steps of %.4g", last, c.Sampler.N, c.Sampler.Eps)
	}
	if c.Prior == "uniform" {
		r.start = (*sampler.Batch).Uniform
	}
	return nil
}

func (r *recipe) predictorCorrector(c *card.Card) error {
	sde := process(c)
	pc := sampler.PC{SDE: sde, N: c.Sampler.N, Eps: c.TEps, Denoise: c.Sampler.Denoise, ProbabilityFlow: c.Sampler.ProbabilityFlow}
	switch c.Sampler.Predictor {
	case "euler_maruyama":
		pc.Predictor = sampler.EulerMaruyama
	case "reverse_diffusion":
		pc.Predictor = sampler.ReverseDiffusion
	case "ancestral_sampling":
		if _, ok := sde.(schedules.Chain); !ok {
			return usagef("--predictor ancestral_sampling is not defined for the sub-VP process: try reverse_diffusion")
		}
		if c.Sampler.ProbabilityFlow {
			return usagef("--predictor ancestral_sampling has no probability flow: try reverse_diffusion")
		}
		pc.Predictor = sampler.Ancestral
	}
	switch c.Sampler.Corrector {
	case "langevin":
		norm := sampler.Norm(slices.Index(card.CorrectorNorms(), c.Sampler.CorrectorNorm))
		r.coupled = norm == sampler.NormBatch
		pc.Corrector = sampler.LangevinCorrector{SNR: c.Sampler.SNR, Steps: c.Sampler.CorrectorSteps, Norm: norm}.Step
	case "ald":
		pc.Corrector = sampler.AnnealedCorrector{SNR: c.Sampler.SNR, Steps: c.Sampler.CorrectorSteps}.Step
	}
	r.sampler = pc
	r.from(sde, c)
	r.about = fmt.Sprintf("predictor–corrector (%s), predictor %s, corrector %s, %d steps", c.SDE, c.Sampler.Predictor, c.Sampler.Corrector, c.Sampler.N)
	return nil
}

func (r *recipe) flow(c *card.Card) {
	sde, method := process(c), "Dormand–Prince 5(4)"
	f := sampler.Flow{SDE: sde, Eps: c.TEps, RTol: c.Sampler.RTol, ATol: c.Sampler.ATol, Coupled: c.Sampler.Coupled, Denoise: c.Sampler.Denoise}
	if c.Sampler.Name == "ode_heun" {
		f.Heun, method = true, "Heun 2(1)"
	}
	r.sampler = f
	r.coupled = c.Sampler.Coupled
	r.from(sde, c)
	r.about = fmt.Sprintf("probability-flow ODE (%s), %s, rtol %.4g, atol %.4g", c.SDE, method, c.Sampler.RTol, c.Sampler.ATol)
}

func (r *recipe) adaptive(c *card.Card, in noiseKind) error {
	if in {
		return usagef("--sampler adaptive looks at noise before it uses it, which only --rng philox allows")
	}
	sde := process(c)
	r.sampler = sampler.AdaptiveSDE{SDE: sde, Eps: c.TEps, RTol: c.Sampler.RTol, ATol: c.Sampler.ATol, Denoise: c.Sampler.Denoise}
	r.from(sde, c)
	r.about = fmt.Sprintf("reverse SDE (%s) with adaptive steps, rtol %.4g, atol %.4g", c.SDE, c.Sampler.RTol, c.Sampler.ATol)
	return nil
}

// from starts at the prior of an SDE, the card's own or that in the VE coordinates of its path.
func (r *recipe) from(sde schedules.SDE, c *card.Card) {
	r.path, r.top, r.most = sde, sde.T(), sde.Prior()
	prior := sde.Prior()
	if path := coordinates(c); path != nil {
		r.path, r.outer, r.inner = path, path, sde
		_, _, prior = ends(c)
	}
	r.start = func(b *sampler.Batch) error { return b.Prior(prior) }
}

// process is the card's SDE; that of a path without one is VE between the path's ends.
func process(c *card.Card) schedules.SDE {
	switch c.SDE {
	case "vp":
		return schedules.VP{BetaMin: c.BetaMin, BetaMax: c.BetaMax}
	case "subvp":
		return schedules.SubVP{BetaMin: c.BetaMin, BetaMax: c.BetaMax}
	}
	hi, lo, _ := ends(c)
	return schedules.VE{SigmaMin: lo, SigmaMax: hi}
}

// relabel sets what the network is told at the sampler's time t.
func (r *recipe) relabel(c *card.Card) {
	sigma := func(t float64) float64 {
		_, s := r.path.Marginal(t)
		return s
	}
	sdeTime := func(t float64) float64 { return t }
	switch path := r.path.(type) {
	case schedules.Sigma:
		lo, hi := sigmaRange(c)
		sdeTime = func(s float64) float64 { return math.Log(s/lo) / math.Log(hi/lo) }
	case schedules.Discrete:
		sdeTime = func(i float64) float64 { return i / float64(max(len(path)-1, 1)) }
	}
	switch c.TimeKind {
	case "sigma":
		r.label = sigma
	case "log_sigma":
		r.label = func(t float64) float64 { return math.Log(sigma(t)) }
	case "log_sigma_4":
		r.label = func(t float64) float64 { return math.Log(sigma(t)) / 4 }
	case "atan":
		r.label = func(t float64) float64 { // of the noise beside the datum
			a, s := r.path.Marginal(t)
			return 2 / math.Pi * math.Atan2(s, a)
		}
	case "t":
		r.label = sdeTime
	case "t_scaled":
		r.label = func(t float64) float64 { return c.TimeScale * sdeTime(t) }
	case "index", "index_desc":
		r.index(c, sigma)
	}
}

// index labels by level: the nearest one of a VE ladder, or DDPM's fractional position (N−1)t of a VP chain.
func (r *recipe) index(c *card.Card, sigma func(float64) float64) {
	up := c.TimeKind == "index_desc"
	if _, discrete := r.path.(schedules.Discrete); discrete { // whose time is the index
		r.label = func(i float64) float64 {
			if up {
				return i
			}
			return float64(c.Levels-1) - i
		}
		return
	}
	if !isVE(c) {
		n := float64(c.Levels - 1)
		r.label = func(t float64) float64 {
			if up {
				return n * t
			}
			return n * (1 - t)
		}
		return
	}
	ladder := ladderOf(c)
	n := float64(len(ladder) - 1)
	r.label = func(t float64) float64 {
		i := math.Round(schedules.Index(ladder, sigma(t)))
		if up {
			return n - i
		}
		return i
	}
}

// score is the network as the score that samplers want.
func (r *recipe) score(ctx context.Context, m *onnxrun.Model, c *card.Card) (sampler.Field, error) {
	net, err := network(ctx, m, c)
	if err != nil {
		return nil, err
	}
	return r.convert(net, c), nil
}

// network is what the file computes, of no class where it is told one.
func network(ctx context.Context, m *onnxrun.Model, c *card.Card) (sampler.Field, error) {
	net, err := newConditional(ctx, m, c)
	if err != nil {
		return nil, err
	}
	if !net.hasNull {
		return nil, usagef("--set cond.null=K is missing: the network is told one of %d classes; which index means none?", c.Cond.N)
	}
	return net.field(nil, nil, 1), nil
}

// convert turns what a network returns into what the sampler wants.
func (r *recipe) convert(net sampler.Field, c *card.Card) sampler.Field {
	if p, ok := precond(c, r.labelAt); ok {
		net = sampler.FromPrecond(net, p)
		if _, byLevel := r.path.(schedules.Sigma); !byLevel {
			net = sampler.Relabel(net, r.sigma)
		}
		return r.placed(net, c)
	}
	if r.label != nil {
		net = sampler.Relabel(net, r.label)
	}
	if r.velocity && c.Output == "flow" {
		return net
	}
	switch c.Output {
	case "score_sigma":
		net = sampler.FromNormalised(net, r.path)
	case "eps":
		net = sampler.FromNoise(net, r.path)
	case "x0", "D":
		net = sampler.FromDenoiser(net, r.path)
	case "v":
		net = sampler.FromVelocity(net, r.path)
	case "flow":
		net = sampler.FromFlow(net)
	}
	return r.placed(net, c)
}

// placed brings a score from the network's path to the sampler's coordinates.
func (r *recipe) placed(score sampler.Field, c *card.Card) sampler.Field {
	if r.guide != nil {
		score = r.guide(score)
	}
	if r.velocity {
		return r.rectified(score, c)
	}
	if r.outer != nil {
		score = sampler.InVE(score, r.outer)
	}
	if r.inner != nil {
		score = sampler.Relabel(score, func(t float64) float64 {
			_, sigma := r.inner.Marginal(t)
			return sigma
		})
	}
	return score
}

// sigma is the noise of the network's path at its time.
func (r *recipe) sigma(t float64) float64 {
	_, sigma := r.path.Marginal(t)
	return sigma
}

// labelAt is what a network of the VE path is told at a noise level.
func (r *recipe) labelAt(sigma float64) float64 {
	if r.label == nil {
		return 0
	}
	if path, ok := r.path.(schedules.VE); ok {
		return r.label(path.Time(sigma))
	}
	return r.label(sigma)
}

// probe feeds the network pure noise σu at the top of the noise. There the data hardly matter, so the score must be close to −u/σ, and what it
// returns, −σ⟨score,u⟩/‖u‖², close to 1. A wrong kind of output, scale or sign of the card shows here.
func (r *recipe) probe(score sampler.Field, dim int) (float64, error) {
	n := min(8, max(1, 1<<16/dim))
	u, x, s := make([]float32, n*dim), make([]float32, n*dim), make([]float32, n*dim)
	if err := sampler.Philox(0).Normal(u, sampler.Draw{Purpose: sampler.PurposeInit, Dim: dim}); err != nil {
		return 0, err
	}
	for i, v := range u {
		x[i] = float32(r.most * float64(v))
	}
	if err := score(s, x, slices.Repeat([]float64{r.top}, n)); err != nil {
		return 0, err
	}
	var su, uu float64
	for i, v := range u {
		su += float64(s[i]) * float64(v)
		uu += float64(v) * float64(v)
	}
	if r.velocity { // close to u itself
		return su / uu, nil
	}
	return -r.most * su / uu, nil
}

// sigmaRange is the smallest and the largest noise of a VE card. What a flag says about an end beats an explicit ladder from elsewhere.
func sigmaRange(c *card.Card) (lo, hi float64) {
	lo, hi = c.SigmaMin, c.SigmaMax
	if n := len(c.Sigmas); n > 0 {
		if c.Rank("sigmas") >= c.Rank("sigma_min") {
			lo = c.Sigmas[n-1]
		}
		if c.Rank("sigmas") >= c.Rank("sigma_max") {
			hi = c.Sigmas[0]
		}
	}
	return lo, hi
}

// ladderOf is the ladder of a VE card, the largest noise first: the explicit one, unless a stronger source gave its ends or its length.
func ladderOf(c *card.Card) []float64 {
	if len(c.Sigmas) > 0 && c.Rank("sigmas") >= max(c.Rank("sigma_min"), c.Rank("sigma_max"), c.Rank("levels")) {
		return c.Sigmas
	}
	lo, hi := sigmaRange(c)
	n := c.Levels
	if n == 0 {
		n = len(c.Sigmas)
	}
	return schedules.Geometric(hi, lo, n)
}

// nameSampler chooses the algorithm where nobody did: annealed Langevin for a network with a ladder, predictor–corrector otherwise.
func nameSampler(c *card.Card) error {
	if c.Has("sampler.name") {
		return nil
	}
	name := "pc"
	switch {
	case c.SDE == "ve" && (c.Has("levels") || c.Has("sigmas")):
		name = "ald"
	case c.SDE == "edm":
		name = "heun"
	case c.SDE == "ddpm":
		name = "ddim"
	case c.SDE == "flow":
		name = "flow_euler"
	}
	return c.SetText("sampler.name", name, card.Source{Rank: card.Default, Name: "default"})
}

// apply settles --steps, and refuses flags that the sampler would ignore.
func (a asked) apply(c *card.Card) error {
	name := c.Sampler.Name
	for _, s := range a.settings {
		if users := usersOf(s.key); users != nil && strings.HasPrefix(s.flag, "--") && !slices.Contains(users, name) {
			return usagef("%s is of no use to --sampler %s, only to %s", s.flag, name, strings.Join(users, ", "))
		}
	}
	if a.steps == 0 {
		return nil
	}
	key := "sampler.n"
	switch {
	case name == "ode" || name == "ode_heun":
		return usagef("--steps: the ODE solver chooses its steps; set --set sampler.rtol=… and sampler.atol=…")
	case name == "adaptive" || name == "dpm_adaptive":
		return usagef("--steps: the adaptive solver chooses its steps; set --set sampler.rtol=… and sampler.atol=…")
	case name == "ald" && strings.HasPrefix(c.TimeKind, "index"):
		return usagef("--steps: the network knows its %d levels by their index, which cannot change; set --steps-per-level", max(c.Levels, len(c.Sigmas)))
	case name == "ald":
		key = "levels"
	}
	return c.SetText(key, fmt.Sprint(a.steps), card.Source{Rank: card.Flag, Name: "--steps"})
}

// usersOf lists the samplers that a key means something to; nil is all.
func usersOf(key string) []string {
	switch key {
	case "sampler.steps":
		return []string{"ald", "langevin"}
	case "sampler.eps":
		return []string{"ald", "langevin", "cas"}
	case "sampler.snr", "sampler.predictor", "sampler.corrector", "sampler.corrector_norm", "sampler.corrector_steps", "sampler.probability_flow":
		return []string{"pc"}
	case "sampler.rtol", "sampler.atol":
		return []string{"ode", "ode_heun", "adaptive", "dpm_adaptive"}
	case "sampler.coupled":
		return []string{"ode", "ode_heun", "dpm_adaptive"}
	case "sampler.order":
		return append(descentsWith(key), "dpm_adaptive")
	case "sampler.denoise":
		return slices.DeleteFunc(card.Samplers(), func(name string) bool { return name == "langevin" })
	case "sampler.schedule", "sampler.rho":
		return card.Descents()
	case "sampler.spacing", "sampler.offset":
		return card.Descents()
	case "shift":
		return append([]string{"flow_euler", "flow_heun"}, card.Descents()...)
	case "sampler.eta", "sampler.s_churn", "sampler.s_min", "sampler.s_max", "sampler.s_noise", "sampler.clip", "sampler.variance":
		return descentsWith(key)
	}
	return nil
}

// fillIn completes the sampler's settings with their defaults.
func fillIn(c *card.Card) error {
	var err error
	set := func(key string, value any, why string) {
		if err == nil && !c.Has(key) {
			err = c.SetText(key, fmt.Sprint(value), card.Source{Rank: card.Default, Name: "default" + why})
		}
	}
	switch c.Sampler.Name {
	case "ald", "langevin":
		if isVE(c) && err == nil {
			langevinDefaults(c, set)
		}
	case "pc":
		pcDefaults(c, set)
	case "ode":
		set("sampler.rtol", 1e-5, "")
		set("sampler.atol", 1e-5, "")
	case "ode_heun":
		set("sampler.rtol", 1e-3, "")
		set("sampler.atol", 1e-3, "")
	case "adaptive":
		set("sampler.rtol", 1e-2, "")
		set("sampler.atol", 1e-2, "")
	case "dpm_adaptive":
		set("sampler.rtol", 0.01, "")
		set("sampler.atol", 0.0078, "")
	case "flow_euler":
		set("sampler.n", 100, "")
	case "flow_heun":
		set("sampler.n", 50, "")
	}
	if d, ok := descentOf(c.Sampler.Name); ok {
		d.defaults(c, set)
	}
	if c.Sampler.Name != "langevin" {
		set("sampler.denoise", c.Sampler.Name != "ode" && c.Sampler.Name != "ode_heun", "")
	}
	if isVE(c) || c.SDE == "ddpm" { // whose samplers have VE's time
		set("t_eps", 1e-5, "")
	} else {
		set("t_eps", 1e-3, "")
	}
	return err
}

func langevinDefaults(c *card.Card, set func(string, any, string)) {
	if !c.Has("levels") && !c.Has("sigmas") {
		lo, hi := sigmaRange(c)
		set("levels", max(2, schedules.Levels(hi, lo, schedules.Gamma(elements(c.Shape)))), " (NCSNv2, technique 2)")
	}
	set("sampler.steps", 5, "")
	ladder := ladderOf(c)
	last := ladder[len(ladder)-1]
	if len(ladder) > 1 {
		set("sampler.eps", float32(schedules.Eps(last, ladder[0]/ladder[1], c.Sampler.Steps)), " (NCSNv2, technique 4)")
	} else {
		set("sampler.eps", 0.1*last*last, "")
	}
	if c.Sampler.Name == "langevin" {
		set("sampler.n", len(ladder)*c.Sampler.Steps, " (as many steps as annealed Langevin)")
	}
}

func pcDefaults(c *card.Card, set func(string, any, string)) {
	set("sampler.n", 1000, "")
	switch {
	case isVE(c):
		set("sampler.predictor", "reverse_diffusion", "")
		set("sampler.corrector", "langevin", "")
	case coordinates(c) != nil:
		set("sampler.predictor", "reverse_diffusion", "")
		set("sampler.corrector", "none", "")
	default:
		set("sampler.predictor", "euler_maruyama", "")
		set("sampler.corrector", "none", "")
	}
	if c.Sampler.Corrector == "none" {
		return
	}
	set("sampler.snr", 0.16, "")
	set("sampler.corrector_steps", 1, "")
	if c.Sampler.Corrector == "langevin" {
		set("sampler.corrector_norm", "sample", "")
	}
}

func elements(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
