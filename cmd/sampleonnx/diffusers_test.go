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
		"clip_sample": false, "set_alpha_to_one": false, "steps_offset": 1, "num_train_timesteps": 1000, "trained_betas": null, "thresholding": true}`
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
	if len(i.Ignored) != 1 || i.Ignored[0].Key != "thresholding" {
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
	if !strings.Contains(text, "ignored of scheduler_config.json: thresholding true is not here") || !strings.Contains(text, "scheduler_config.json prediction_type") {
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
