package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/cmd/sampleonnx/internal/npy"
	"sampleonnx/schedules"
)

// A flag that nothing reads is refused by its name, whatever the reason that nothing does, with the choice that would read it.
func TestUselessFlags(t *testing.T) {
	vp := []string{model("gaussian4"), "--sde", "vp", "--set", "beta_min=0.1", "--set", "beta_max=20"}
	with := func(args []string, more ...string) []string { return append(append([]string(nil), args...), more...) }
	points := []string{model("mixture2")}
	data := writeNPY(t, npy.Array{Shape: []int{3, 2}, Data: make([]float32, 6)})
	for want, args := range map[string][]string{
		"--sigmas is of no use to --sampler pc, only to ald, langevin, cas, euler,":                   with(points, "--sampler", "pc", "--sigmas", "8,4,1"),
		"--sigmas is of no use to --sampler ode, only to ald, langevin, cas, euler,":                  with(points, "--sampler", "ode", "--sigmas", "8,4,1"),
		"--steps is of no use with --sigmas":                                                          with(points, "--sampler", "heun", "--sigmas", "8,4,1", "--steps", "9"),
		"--sigma-max is of no use to --sampler heun with this model and these settings":               with(vp, "--sampler", "heun", "--sigma-max", "5"),
		"--sigma-min is of no use to --sampler ddim with this model and these settings":               with(vp, "--sampler", "ddim", "--sigma-min", "5"),
		"--schedule is of no use with --sigmas":                                                       with(points, "--sampler", "heun", "--schedule", "karras", "--sigmas", "8,4,1"),
		"--predictor none and --corrector none":                                                       with(points, "--sampler", "pc", "--predictor", "none", "--corrector", "none"),
		"--eps 5: --sampler cas wants it between 6.3e-05 and 0.00494 on this ladder":                  with(points, "--sampler", "cas", "--eps", "5"),
		"--set levels is of no use to --sampler heun, only to ald, langevin":                          with(points, "--sampler", "heun", "--set", "levels=5"),
		"--set t_eps is of no use to --sampler heun, only to pc, ode, ode_heun, adaptive":             with(points, "--sampler", "heun", "--set", "t_eps=0.01"),
		"--set prior is of no use to --sampler heun, only to ald, langevin":                           with(points, "--sampler", "heun", "--set", "prior=uniform"),
		"--set sampler.rho is of no use to --schedule linear, only to karras, polyexponential":        with(points, "--sampler", "heun", "--schedule", "linear", "--set", "sampler.rho=3"),
		"--set sampler.spacing is of no use to --schedule karras, only to index":                      with(points, "--sampler", "heun", "--set", "sampler.spacing=leading"),
		"--set sampler.offset is of no use to --sampler heun with this model and these settings":      with(points, "--sampler", "heun", "--schedule", "index", "--set", "sampler.offset=1"),
		"--snr is of no use to --corrector none, only to langevin, ald":                               with(points, "--sampler", "pc", "--corrector", "none", "--snr", "0.1"),
		"--corrector-norm is of no use to --corrector ald, only to langevin":                          with(points, "--sampler", "pc", "--corrector", "ald", "--corrector-norm", "dim"),
		"--set sampler.s_min is of no use to --sampler heun":                                          with(points, "--sampler", "heun", "--set", "sampler.s_min=1"),
		"--set beta_max is of no use to --sampler ald":                                                with(points, "--set", "beta_max=20"),
		"--denoise is of no use to --sampler langevin, only to ald, pc, ode":                          with(points, "--sampler", "langevin", "--denoise"),
		"--temperature is of no use to --sampler ald, only to langevin: it is that of an equilibrium": with(points, "--temperature", "0.5"),
		"--set sampler.independent is of no use to --sampler heun, only to dpmpp_sde, dpmpp_2m_s":     with(points, "--sampler", "heun", "--set", "sampler.independent=true"),
		"--seed is of no use with --noise":                                                            with(points, "--seed", "3", "--noise", filepath.Join(golden, "mixture2_ald.npz")),
		"--seed is of no use to " + filepath.Join(models, "mixture2.npz") + ": pairs":                 {"verify", model("mixture2"), filepath.Join(models, "mixture2.npz"), "--seed", "3"},
		"--samples is of no use to " + filepath.Join(golden, "mixture2_ald.npz") + ": replay":         {"verify", model("mixture2"), filepath.Join(golden, "mixture2_ald.npz"), "-n", "3"},
		"--tol is of no use to " + filepath.Join(golden, "stats.json") + ": statistics":               {"verify", model("mixture2"), filepath.Join(golden, "stats.json"), "--tol", "0.1"},
		"--alpha is of no use to --record":                                                            {"verify", model("mixture2"), filepath.Join(t.TempDir(), "s.json"), "--record", "drawn", "--alpha", "0.1"},
		"--set sampler.eta is of no use to encode":                                                    {"encode", model("mixture2"), data, "--set", "sampler.eta=1"},
		"--set sampler.denoise is of no use to likelihood":                                            {"likelihood", model("mixture2"), data, "--set", "sampler.denoise=true"},
		"--set sampler.denoise is of no use to encode":                                                {"encode", model("mixture2"), data, "--set", "sampler.denoise=true"},
		"--set sampler.name is of no use to likelihood":                                               {"likelihood", model("mixture2"), data, "--set", "sampler.name=pc"},
		"--seed is of no use to the exact trace of data that are not":                                 {"likelihood", model("mixture2"), data, "--seed", "3"},
		"--seed is of no use between data":                                                            {"interpolate", model("mixture2"), data, "--seed", "3"},
		"--set sampler.rtol is of no use to loss":                                                     {"loss", model("mixture2"), data, "--set", "sampler.rtol=1e-3"},
	} {
		code, out, stderr := command(t, args...)
		if code != exitUsage || out != "" || !strings.HasPrefix(stderr, "sampleonnx: "+want) {
			t.Errorf("%v: exit %d: %q, want %q", args[1:], code, stderr, want)
		}
	}
}

// Levels that are given are those of the ladder: every sampler that goes down one draws the same bytes from them as from the schedule that they are of.
func TestGivenLadder(t *testing.T) {
	const n = 7
	vp := schedules.Ladder(schedules.VP{}, []float64{1, 1e-5}) // t_eps of the card
	for _, of := range []struct {
		model  []string
		karras []float64
	}{
		{[]string{model("mixture2")}, schedules.Karras(8, 0.05, 7, n)},
		{[]string{model("mixture2"), "--sde", "vp", "--set", "beta_min=0.1", "--set", "beta_max=20"}, schedules.Karras(vp[0], vp[1], 7, n)},
	} {
		for _, name := range card.Descents() {
			args := append(of.model, "--sampler", name, "-n", "5", "-o", "-", "-q")
			given := must(t, append(args, "--sigmas", join(of.karras))...)
			if spaced := must(t, append(args, "--schedule", "karras", "--steps", fmt.Sprint(n))...); given != spaced {
				t.Errorf("%s: other samples of the same levels", name)
			}
		}
	}
}

// What a run does otherwise than it may have been meant to is said before it begins.
func TestWarnings(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "x.npy")
	var counting convention
	for _, c := range conventions() {
		if c.name == "index" {
			counting = c
		}
	}
	net := counting.network(t)
	levels := []string{net, "-n", "2", "-o", out, "--set", "sigma_min=0.05", "--set", "sigma_max=8", "--set", "levels=12", "--set", "time_kind=index", "--set", "output=score", "--set", "sde=ve"}
	data := writeNPY(t, npy.Array{Shape: []int{1, 2}, Data: []float32{0, 0}})
	for _, c := range []struct {
		want string // "" for none
		args []string
	}{
		{"30 steps are 12: between the 12 levels that it was trained at", append(levels, "--sampler", "heun", "--steps", "30")},
		{"30 steps are 11: between the 12 levels", append(levels, "--sampler", "heun", "--steps", "30", "--denoise=false")},
		{"", append(levels, "--sampler", "heun")},
		{"", append(levels, "--sampler", "heun", "--schedule", "index")},
		{"of the 12 levels that the network knows, the nearest to those asked for are [8 0.7966 0.05]", append(levels, "--sampler", "heun", "--sigmas", "8,1,0.05")},
		{"of the 12 levels that the network knows, the nearest to those asked for are [8 0.7966 0.05]", append(levels, "--sampler", "ald", "--sigmas", "8,1,0.05")},
		{"", append(levels, "--sampler", "heun", "--sigmas", "8,0.05")},
		{"the network knows 12 levels and no others: --sampler ode asks between them", append(levels, "--sampler", "ode")},
		{"the network knows 12 levels and no others: --sampler adaptive asks between them", append(levels, "--sampler", "adaptive")},
		{"the network knows 12 levels and no others: --sampler ode asks between them", append([]string{"likelihood", net, data}, levels[5:]...)},
		{"rtol 1e-30 is 2.2e-14", []string{model("mixture2"), "-n", "1", "-o", out, "--sampler", "adaptive", "--set", "sampler.rtol=1e-30", "--set", "sampler.atol=0.1"}},
	} {
		code, _, stderr := command(t, c.args...)
		if code != exitDone || strings.Contains(stderr, "warning: ") != (c.want != "") || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: exit %d: %q, want %q", c.args[1:], code, stderr, c.want)
		}
	}
	if _, _, stderr := command(t, append(levels, "--sampler", "ode", "-q")...); stderr != "" {
		t.Errorf("quiet, and yet %q", stderr)
	}
	// That a Brownian path is none with another's random numbers is on the card, and told.
	for flag, independent := range map[string]bool{"torch": true, "jax": true, "philox": false} {
		args := []string{model("mixture2"), "--sampler", "dpmpp_2m_sde", "--rng", flag, "-n", "1", "-o", out}
		if card := must(t, append(args, "--print-config")...); strings.Contains(card, `"independent": true`) != independent {
			t.Errorf("--rng %s: %s", flag, card)
		}
		if _, _, stderr := command(t, append(args, "-v")...); strings.Contains(stderr, "every step's noise its own") != independent {
			t.Errorf("--rng %s: %s", flag, stderr)
		}
	}
	apart := []string{model("mixture2"), "--sampler", "dpmpp_2m_sde", "-n", "1", "-o", "-", "-q"}
	if must(t, apart...) == must(t, append(apart, "--set", "sampler.independent=true")...) {
		t.Error("sampler.independent changes nothing")
	}
}
