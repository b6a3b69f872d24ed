package main

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/onnxrun"
	"sampleonnx/schedules"
)

// What a model is and how it is sampled: its metadata, the sidecar beside it, the flags, what names and shapes tell, and defaults, in one card.

// setting is one field of the card that a flag gave.
type setting struct{ key, text, flag string }

// asked is what the flags say about the card. Which key --steps means depends on the sampler.
type asked struct {
	settings []setting
	steps    int    // 0: not given
	sequence string // the flag that gives noise in which there is no Brownian path, or ""
	by       string // the verb, where the sampler is not for the flags to choose, or ""
}

// resolve finds the card of a model and makes its recipe. A flag that neither needs is refused.
func resolve(ctx context.Context, m *onnxrun.Model, path string, flags asked) (*card.Card, *recipe, error) {
	c, err := resolveCard(ctx, m, path, flags)
	if err != nil {
		return c, nil, err
	}
	r, err := newRecipe(c, noiseKind(flags.sequence != ""))
	if err != nil {
		return c, nil, err
	}
	return c, r, flags.needed(ctx, c, m, path)
}

// resolveCard finds the card of a model: its metadata, the sidecar beside it, the flags, and what names and shapes tell.
func resolveCard(ctx context.Context, m *onnxrun.Model, path string, flags asked) (*card.Card, error) {
	c := new(card.Card)
	if err := c.SetMetadata(m.Metadata()); err != nil {
		return c, err
	}
	if err := c.ReadSidecar(card.File(path)); err != nil {
		return c, err
	}
	ranged := c.Has("sigmas") || c.Has("sigma_min") && c.Has("sigma_max")
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
	if err := flags.rangeOf(c, ranged); err != nil {
		return c, err
	}
	if err := c.Check(); err != nil {
		return c, err
	}
	if err := holdBatch(ctx, 1, c.Shape); err != nil {
		return c, err
	}
	if err := nameSampler(c); err != nil {
		return c, err
	}
	forgetOthers(c)
	if err := flags.apply(c); err != nil {
		return c, err
	}
	return c, fillIn(c, flags.sequence)
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

// rangeOf settles what the flags say of a VE network's noise. A ladder that is asked for is also the network's where nothing else is known of it; but
// of one that is told its place in a range, or on a ladder, the range is known and stays what it was in training.
func (a asked) rangeOf(c *card.Card, ranged bool) error {
	if !isVE(c) {
		return nil
	}
	if ladder := "sampler.sigmas"; c.Has(ladder) && !c.Has("sigmas") && !c.Has("sigma_min") && !c.Has("sigma_max") {
		return c.SetText("sigmas", strings.Trim(strings.ReplaceAll(fmt.Sprint(c.Sampler.Sigmas), " ", ","), "[]"), c.From[ladder])
	}
	for _, s := range a.settings {
		if ranged && (s.flag == "--sigma-min" || s.flag == "--sigma-max") && slices.Contains([]string{"t", "t_scaled", "index", "index_desc"}, c.TimeKind) {
			return usagef("%s: the network is told where a level stands in the range of its training (time_kind %s), which cannot change; give the levels with --sigmas", s.flag, c.TimeKind)
		}
	}
	return nil
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

// apply settles --steps.
func (a asked) apply(c *card.Card) error {
	if a.steps == 0 {
		return nil
	}
	switch name := c.Sampler.Name; {
	case name == "ode" || name == "ode_heun":
		return usagef("--steps: the ODE solver chooses its steps; set --set sampler.rtol=… and sampler.atol=…")
	case name == "adaptive" || name == "dpm_adaptive":
		return usagef("--steps: the adaptive solver chooses its steps; set --set sampler.rtol=… and sampler.atol=…")
	case name == "ald" && strings.HasPrefix(c.TimeKind, "index"):
		return usagef("--steps: the network knows its %d levels by their index, which cannot change; set --steps-per-level", max(c.Levels, len(c.Sigmas)))
	}
	return c.SetText(stepsKey(c), fmt.Sprint(a.steps), card.Source{Rank: card.Flag, Name: "--steps"})
}

// stepsKey is the key that --steps gives.
func stepsKey(c *card.Card) string {
	if c.Sampler.Name == "ald" {
		return "levels"
	}
	return "sampler.n"
}

// describes reports whether a key tells what the network and its data are. The others tell how noise grows and how samples are drawn, and those of
// them that nothing has used were given in vain.
func describes(key string) bool {
	head, _, _ := strings.Cut(key, "_")
	return slices.Contains([]string{"score", "output", "x", "time", "out", "sde", "sigma_data", "c_in", "shape", "range", "logit_alpha", "mean", "dequant"}, key) ||
		head == "time" || strings.HasPrefix(key, "cond.")
}

// needed refuses a flag that was given in vain, and says with which other choice it would be of use.
func (a asked) needed(ctx context.Context, c *card.Card, m *onnxrun.Model, path string) error {
	settings := slices.Clip(a.settings)
	if a.steps > 0 {
		settings = append(settings, setting{key: stepsKey(c), flag: "--steps"})
	}
	for _, s := range settings {
		own := s.key == "sampler.name" && a.by == ""
		toNoise := s.key == "sampler.denoise" && (a.by == "likelihood" || a.by == "encode") // whose ODE ends in the noise
		if !strings.HasPrefix(s.flag, "--") || describes(s.key) || own || c.Used(s.key) && !toNoise {
			continue
		}
		if a.by != "" {
			return usagef("%s is of no use to %s", s.flag, a.by)
		}
		choices := []choice{
			{"sampler.name", "--sampler", c.Sampler.Name, card.Samplers()},
			{"sampler.schedule", "--schedule", c.Sampler.Schedule, card.Schedules()},
			{"sampler.corrector", "--corrector", c.Sampler.Corrector, card.Correctors()},
		}
		// A flag that takes another's place says so; a choice tells what else there is.
		for _, other := range a.settings {
			chosen := slices.ContainsFunc(choices, func(c choice) bool { return c.key == other.key })
			if strings.HasPrefix(other.flag, "--") && other.key != s.key && !chosen && !describes(other.key) && a.without(other.key).uses(ctx, s.key, m, path) {
				return usagef("%s is of no use with %s", s.flag, other.flag)
			}
		}
		for _, choice := range choices {
			var users []string
			for _, word := range choice.words {
				if a.with(choice.key, word).uses(ctx, s.key, m, path) {
					users = append(users, word)
				}
			}
			if len(users) > 0 {
				return usagef("%s is of no use to %s %s, only to %s%s", s.flag, choice.of, choice.name, strings.Join(users, ", "), reasons[s.key])
			}
		}
		return usagef("%s is of no use to --sampler %s with this model and these settings", s.flag, c.Sampler.Name)
	}
	return nil
}

// choice is a key with words to choose from, its flag, and what was chosen.
type choice struct {
	key, of, name string
	words         []string
}

// reasons say of keys why they are of use to so few.
var reasons = map[string]string{
	"sampler.temperature": ": it is that of an equilibrium, and where the noise level changes scaled noise samples no power of p",
}

// with is the same with another choice.
func (a asked) with(key, word string) asked {
	a = a.without(key)
	a.settings = append(a.settings, setting{key, word, "--"})
	return a
}

// without is the same without a key.
func (a asked) without(key string) asked {
	a.settings = slices.DeleteFunc(slices.Clone(a.settings), func(s setting) bool { return s.key == key })
	return a
}

// uses reports whether anything needs a key.
func (a asked) uses(ctx context.Context, key string, m *onnxrun.Model, path string) bool {
	c, err := resolveCard(ctx, m, path, a)
	if err != nil {
		return false
	}
	_, err = newRecipe(c, noiseKind(a.sequence != ""))
	return err == nil && c.Used(key)
}

// fillIn completes the sampler's settings with their defaults.
func fillIn(c *card.Card, sequence string) error {
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
		set("sampler.rtol", 0.01, " (k-diffusion's is 0.05, with which unit normal data of the VP process have a variance of 1.24)")
		set("sampler.atol", 0.0078, "")
	case "flow_euler":
		set("sampler.n", 100, "")
	case "flow_heun":
		set("sampler.n", 50, "")
	}
	if d, ok := descentOf(c.Sampler.Name); ok {
		d.defaults(c, sequence, set)
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
	if !c.Has("levels") && !c.Has("sigmas") && !c.Has("sampler.sigmas") {
		lo, hi := sigmaRange(c)
		set("levels", max(2, schedules.Levels(hi, lo, schedules.Gamma(elements(c.Shape)))), " (NCSNv2, technique 2)")
	}
	set("sampler.steps", 5, "")
	ladder := new(recipe).rungs(c)
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
		if stepVaries(elements(c.Shape)) {
			set("sampler.corrector", "ald", fmt.Sprintf(" (of samples with %.0f values or more it is langevin)", math.Ceil(4/(usualSNR*usualSNR))))
		} else {
			set("sampler.corrector", "langevin", "")
		}
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
	set("sampler.snr", usualSNR, "")
	set("sampler.corrector_steps", 1, "")
	if c.Sampler.Corrector == "langevin" {
		set("sampler.corrector_norm", "sample", "")
	}
}

const usualSNR = 0.16

// stepVaries reports whether the Langevin corrector's step α = 2(r‖z‖/‖s‖)² changes too much from sample to sample. Langevin dynamics with a step that
// depends on the state, and no drift for it, draws from p/α ∝ p‖s‖² in place of p; and a step that depends on its own noise adds more noise than its
// mean would. Of a normal law in d dimensions each makes the variance larger by 2/d, to first order; at d = 4 and below moments of the step are
// infinite, where ‖s‖ → 0. Any step of this size adds r² by being finite. So from d = 4/r² on, 157 with the usual r, what varies is the lesser error.
// Below, the corrector is ald, whose step is the one that langevin's comes to in many dimensions: ‖z‖/‖s‖ → σ where the score is that of noise.
func stepVaries(dim int) bool { return 4/float64(dim) > usualSNR*usualSNR }
