package main

import (
	"context"
	"fmt"
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
	steps    int // 0: not given
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
	return c, fillIn(c)
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
	case "sampler.schedule", "sampler.rho", "sampler.threshold", "sampler.threshold_max":
		return card.Descents()
	case "sampler.spacing", "sampler.offset":
		return card.Descents()
	case "shift":
		return append([]string{"flow_euler", "flow_heun"}, card.Descents()...)
	case "sampler.eta", "sampler.s_churn", "sampler.s_min", "sampler.s_max", "sampler.s_noise", "sampler.clip", "sampler.variance", "sampler.solver", "sampler.lower",
		"sampler.euler_last":
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
