package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/sampler"
	"sampleonnx/schedules"
)

// A network with nothing but diffusers' file beside it is sampled as the file says: DDIM at the steps 1, 101, …, 901 of 1000, and last to ᾱ_0.
func TestSchedulerConfigBesideAModel(t *testing.T) {
	betas := schedules.ScaledLinear(0.00085, 0.012, 1000)
	var alphas, sigmas []float64
	bar := 1.0
	for _, b := range betas {
		bar *= 1 - b
		alphas, sigmas = append(alphas, math.Sqrt(bar)), append(sigmas, math.Sqrt(1-bar))
	}
	c := convention{time: []int{-1}, int64: true, noise: told(alphas, sigmas), output: "eps"}
	net := c.network(t)
	config := `{"_class_name": "DDIMScheduler", "_diffusers_version": "0.8.0", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
		"clip_sample": false, "set_alpha_to_one": false, "steps_offset": 1, "num_train_timesteps": 1000, "trained_betas": null, "predict_x0": false}`
	if err := os.WriteFile(filepath.Join(filepath.Dir(net), card.SchedulerFile), []byte(config), 0o666); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "x.npy")
	must(t, net, "-q", "-s", "4", "-n", "20", "--steps", "10", "-o", out)
	z := make([]float32, 40)
	if err := sampler.Philox(4).Normal(z, sampler.Draw{Purpose: sampler.PurposeInit, Dim: 2}); err != nil {
		t.Fatal(err)
	}
	for i, got := range floats(t, readNPY(t, out)) {
		x, mu := float64(z[i]), center[i%2]
		for step := 901; step >= 1; step -= 100 {
			a, s := alphas[step], sigmas[step]
			before := max(step-100, 0)
			x0 := mu + a*sd*sd/(a*a*sd*sd+s*s)*(x-a*mu)
			eps := (x - a*x0) / s
			x = alphas[before]*x0 + sigmas[before]*eps
		}
		x /= alphas[0] // samples are x/α
		if math.Abs(float64(got)-x) > 1e-4 {
			t.Fatalf("value %d: %.6f, want %.6f", i, got, x)
		}
	}

	var i inspection
	if err := json.Unmarshal([]byte(must(t, "inspect", net, "--json")), &i); err != nil {
		t.Fatal(err)
	}
	if len(i.Ignored) != 1 || i.Ignored[0].Key != "predict_x0" {
		t.Errorf("ignored: %+v", i.Ignored)
	}
	from := func(key string) string {
		at := slices.IndexFunc(i.Card, func(l card.Line) bool { return l.Key == key })
		if at < 0 {
			return ""
		}
		return filepath.Base(i.Card[at].From)
	}
	if from("beta_max") != "scheduler_config.json beta_end" || from("x") != "inferred from names and shapes" {
		t.Errorf("beta_max from %q, x from %q", from("beta_max"), from("x"))
	}
	text := must(t, "inspect", net)
	if !strings.Contains(text, "ignored of scheduler_config.json: predict_x0 false is not of ddim") || !strings.Contains(text, "scheduler_config.json prediction_type") {
		t.Errorf("%s", text)
	}
	// The sidecar is stronger, and a flag stronger still.
	if err := os.WriteFile(card.File(net), []byte(`{"beta_schedule": "linear", "sampler": {"name": "euler_a", "n": 5}}`), 0o666); err != nil {
		t.Fatal(err)
	}
	var k struct {
		BetaSchedule string         `json:"beta_schedule"`
		Sampler      map[string]any `json:"sampler"`
	}
	if err := json.Unmarshal([]byte(must(t, net, "--print-config", "--steps", "7")), &k); err != nil || k.BetaSchedule != "linear" || k.Sampler["name"] != "euler_a" || fmt.Sprint(k.Sampler["n"]) != "7" {
		t.Errorf("%v: %+v", err, k)
	}
}

// The steps that diffusers' classes choose: Euler's are not whole, DPM-Solver's are spaced below the clipped λ, and Euler's other ladders run between the spaced steps.
func TestStepsOfASchedulerConfig(t *testing.T) {
	level := func(c *card.Card, step float64) float64 {
		known, i := trained(c), int(step)
		if part := step - float64(i); part > 0 {
			return known[i] + part*(known[i+1]-known[i])
		}
		return known[i]
	}
	for _, row := range []struct {
		config, dtype string
		steps         []float64
	}{
		{`{"_class_name": "EulerDiscreteScheduler"}`, "float32", []float64{999, 749.25, 499.5, 249.75, 0}},
		{`{"_class_name": "EulerDiscreteScheduler"}`, "int64", []float64{999, 749, 500, 250, 0}},
		{`{"_class_name": "LMSDiscreteScheduler", "timestep_spacing": "leading", "steps_offset": 1}`, "float32", []float64{801, 601, 401, 201, 1}},
		{`{"_class_name": "DPMSolverMultistepScheduler"}`, "float32", []float64{999, 799, 599, 400, 200}},
		// 999 levels are up to e^5.055, and linspace(0, 998, 6).
		{`{"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -5.055}`, "float32", []float64{998, 798, 599, 399, 200}},
	} {
		var c card.Card
		if err := c.SetScheduler([]byte(row.config), "f"); err != nil {
			t.Fatal(err)
		}
		c.TimeDType = row.dtype
		d, _ := descentOf(c.Sampler.Name)
		got, err := stepsOf(&c, d, 5)
		if err != nil {
			t.Fatal(err)
		}
		for i, step := range row.steps {
			if want := level(&c, step); math.Abs(got[i]/want-1) > 1e-12 {
				t.Errorf("%s, %s: level %d is %v (step %.2f), want step %g", row.config, row.dtype, i, got[i], schedules.Index(trained(&c), got[i]), step)
			}
		}
	}
	var c card.Card
	if err := c.SetScheduler([]byte(`{"_class_name": "HeunDiscreteScheduler", "use_beta_sigmas": true, "timestep_spacing": "leading", "steps_offset": 1}`), "f"); err != nil {
		t.Fatal(err)
	}
	c.Sampler.N = 5
	d, _ := descentOf(c.Sampler.Name)
	var r recipe
	if err := r.descend(d, &c, false); err != nil {
		t.Fatal(err)
	}
	got, want := r.sampler.(sampler.Heun).Sigmas, append(schedules.Beta(level(&c, 801), level(&c, 1), 0.6, 5), 0)
	if !slices.Equal(got, want) {
		t.Errorf("beta's levels are %v, want %v", got, want)
	}
}

// Stable Diffusion 1's own file: PLMS at the steps 901, 801, …, 1, of which the second is evaluated twice, and last to ᾱ_0. With a threshold it is DDIM whose x̂_0 is
// clipped to the larger of its two values and divided by it.
func TestPLMSAndThresholds(t *testing.T) {
	betas := schedules.ScaledLinear(0.00085, 0.012, 1000)
	var alphas, sigmas []float64
	bar := 1.0
	for _, b := range betas {
		bar *= 1 - b
		alphas, sigmas = append(alphas, math.Sqrt(bar)), append(sigmas, math.Sqrt(1-bar))
	}
	c := convention{time: []int{-1}, int64: true, noise: told(alphas, sigmas), output: "eps"}
	net := c.network(t)
	z := make([]float32, 40)
	if err := sampler.Philox(4).Normal(z, sampler.Draw{Purpose: sampler.PurposeInit, Dim: 2}); err != nil {
		t.Fatal(err)
	}
	x0 := func(x float64, i, step int) float64 {
		a, s, mu := alphas[step], sigmas[step], center[i%2]
		return mu + a*sd*sd/(a*a*sd*sd+s*s)*(x-a*mu)
	}
	eps := func(x float64, i, step int) float64 { return (x - alphas[step]*x0(x, i, step)) / sigmas[step] }
	const common = `"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000, "set_alpha_to_one": false, "steps_offset": 1, "clip_sample": false`
	for _, row := range []struct {
		name, config string
		of           func(z [2]float64) [2]float64
	}{
		{"PLMS", `{"_class_name": "PNDMScheduler", "skip_prk_steps": true, ` + common + `}`, func(pair [2]float64) [2]float64 {
			for i, x := range pair {
				var e []float64
				for step := 901; step >= 1; step -= 100 {
					before := max(step-100, 0)
					move := func(e float64) float64 {
						return alphas[before]/alphas[step]*x + (sigmas[before]-alphas[before]*sigmas[step]/alphas[step])*e
					}
					e = append(e, eps(x, i, step))
					switch n := len(e); n {
					case 1:
						x = move((e[0] + eps(move(e[0]), i, before)) / 2)
					case 2:
						x = move((3*e[1] - e[0]) / 2)
					case 3:
						x = move((23*e[2] - 16*e[1] + 5*e[0]) / 12)
					default:
						x = move((55*e[n-1] - 59*e[n-2] + 37*e[n-3] - 9*e[n-4]) / 24)
					}
				}
				pair[i] = x
			}
			return pair
		}},
		{"threshold", `{"_class_name": "DDIMScheduler", "thresholding": true, "dynamic_thresholding_ratio": 1.0, "sample_max_value": 1.5, ` + common + `}`, func(pair [2]float64) [2]float64 {
			for step := 901; step >= 1; step -= 100 {
				before := max(step-100, 0)
				var d, e [2]float64
				for i, x := range pair {
					d[i], e[i] = x0(x, i, step), eps(x, i, step)
				}
				bound := max(1, min(1.5, max(math.Abs(d[0]), math.Abs(d[1]))))
				for i := range pair {
					pair[i] = alphas[before]*max(-bound, min(bound, d[i]))/bound + sigmas[before]*e[i]
				}
			}
			return pair
		}},
	} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(net), card.SchedulerFile), []byte(row.config), 0o666); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(t.TempDir(), "x.npy")
		must(t, net, "-q", "-s", "4", "-n", "20", "--steps", "10", "-o", out)
		got := floats(t, readNPY(t, out))
		for i := 0; i < len(z); i += 2 {
			want := row.of([2]float64{float64(z[i]), float64(z[i+1])})
			for j, w := range want {
				if math.Abs(float64(got[i+j])-w/alphas[0]) > 1e-4 { // samples are x/α
					t.Fatalf("%s: value %d: %.6f, want %.6f", row.name, i+j, got[i+j], w/alphas[0])
				}
			}
		}
	}
}

// diffusers' Euler steps of flow matching: times even from 1 to the lowest training step, shifted (the lowest twice), and then 0.
func TestFlowMatchEuler(t *testing.T) {
	c := conventionNamed(t, "flow, 1000 t")
	net := c.network(t)
	config := `{"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0, "use_dynamic_shifting": false}`
	if err := os.WriteFile(filepath.Join(filepath.Dir(net), card.SchedulerFile), []byte(config), 0o666); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "x.npy")
	must(t, net, "-q", "-s", "4", "-n", "20", "--steps", "8", "-o", out)
	z := make([]float32, 40)
	if err := sampler.Philox(4).Normal(z, sampler.Draw{Purpose: sampler.PurposeInit, Dim: 2}); err != nil {
		t.Fatal(err)
	}
	shift := func(s float64) float64 { return 3 * s / (1 + 2*s) }
	last := shift(1. / 1000)
	times := make([]float64, 9)
	for i := range 8 {
		times[i] = shift(1 + float64(i)*(last-1)/7)
	}
	for i, got := range floats(t, readNPY(t, out)) {
		x, mu := float64(z[i]), center[i%2]
		for k, s := range times[:8] {
			a := 1 - s
			x0 := mu + a*sd*sd/(a*a*sd*sd+s*s)*(x-a*mu)
			x += (times[k+1] - s) * ((x-a*x0)/s - x0)
		}
		if math.Abs(float64(got)-x) > 1e-4 {
			t.Fatalf("value %d: %.6f, want %.6f", i, got, x)
		}
	}
}
