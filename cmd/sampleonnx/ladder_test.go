package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/sampler/stats"
	"sampleonnx/schedules"
)

// Every sampler, as it is by default, puts the modes of a mixture where they are, with their weights (χ² with a probability of 1e-6 of failing by
// chance) and nearly their width. Plain Langevin dynamics cannot; TestMixtureWeights has it.
func TestEverySampler(t *testing.T) {
	means, weights := law(t, "mixture2", "means"), law(t, "mixture2", "weights")
	for _, name := range card.Samplers() {
		if name == "langevin" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := drawWith(t, "mixture2", "--sampler", name, "-n", "2000")
			if p := weightsTail(modes(x, means), weights); p < chance {
				t.Errorf("counts %v, tail probability %.2g", modes(x, means), p)
			}
			far, sum := 0.0, 0.0
			for i := 0; i < len(x); i += 2 {
				best := math.Inf(1)
				for k := 0; k < len(means); k += 2 {
					best = min(best, math.Hypot(float64(x[i])-means[k], float64(x[i+1])-means[k+1]))
				}
				far, sum = max(far, best), sum+best*best
			}
			width := math.Sqrt(sum / float64(len(x)))
			if far > 6*0.2 || math.Abs(width-0.2) > 0.02 {
				t.Errorf("modes of width %.3f, a sample %.2f from its mode; want 0.2, and at most 1.2", width, far)
			}
		})
	}
}

// The predictor–corrector sampler as it is by default draws from the law in few dimensions too: every mean and variance of a normal law in R⁴, whose
// discretisation may be 2 % of the deviation and of the variance. It says so where a corrector is asked for that does not.
func TestCorrectorOfFewDimensions(t *testing.T) {
	const n = 5000
	mu, cov := law(t, "gaussian4", "mu"), law(t, "gaussian4", "cov")
	m := stats.MomentsOf(float64s(drawWith(t, "gaussian4", "--sampler", "pc", "-n", "5000")), 4)
	limit := stats.TwoSided(chance / 8)
	for k := range 4 {
		v := cov[5*k]
		dm, dv := math.Abs(m.Mean[k]-mu[k])/math.Sqrt(v)-0.02, math.Abs(m.Variance[k]/v-1)-0.02
		if dm*math.Sqrt(n) > limit || dv*math.Sqrt(n/2.) > limit {
			t.Errorf("element %d: mean %.4f, want %.4f; variance %.4f, want %.4f", k, m.Mean[k], mu[k], m.Variance[k], v)
		}
	}
	for corrector, warned := range map[string]bool{"ald": false, "langevin": true} {
		out := filepath.Join(t.TempDir(), "x.npy")
		_, _, stderr := command(t, model("gaussian4"), "--sampler", "pc", "--corrector", corrector, "--steps", "9", "-n", "1", "-o", out)
		if strings.Contains(stderr, "warning: in 4 dimensions the corrector langevin") != warned {
			t.Errorf("%s: %q", corrector, stderr)
		}
	}
	// Of many values it is the published one.
	for name, want := range map[string]string{"mixture2": `"corrector": "ald"`, "digits_empirical": `"corrector": "langevin"`} {
		if got := must(t, model(name), "--sampler", "pc", "--print-config"); !strings.Contains(got, want) {
			t.Errorf("%s: no %s in %s", name, want, got)
		}
	}
}

// A sample of any sampler in its default setting does not depend on its batch.
func TestEverySamplerSampleBySample(t *testing.T) {
	for _, name := range card.Samplers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var want string
			for _, batch := range []string{"9", "1", "7"} {
				got := must(t, model("mixture2"), "--sampler", name, "-o", "-", "-q", "-n", "9", "-b", batch, "-s", "5")
				if want == "" {
					want = got
				}
				if got != want {
					t.Errorf("batch %s: other bytes", batch)
				}
			}
		})
	}
}

// A network of the VP process in samplers of VE coordinates: s = −x is the score of unit normal data at every time.
func TestLaddersOfVP(t *testing.T) {
	net := filepath.Join(t.TempDir(), "n.onnx")
	if err := os.WriteFile(net, tinyModel("Mul", "", nil), 0o666); err != nil {
		t.Fatal(err)
	}
	const n = 2000
	limit := stats.TwoSided(chance / 4)
	for _, name := range append(card.Descents(), "adaptive", "dpm_adaptive", "ode_heun") {
		for _, schedule := range card.Schedules()[:2] {
			out := filepath.Join(t.TempDir(), "x.npy")
			args := []string{net, "-q", "--sde", "vp", "--set", "beta_min=0.1", "--set", "beta_max=20", "--set", "output=score", "--sampler", name, "-n", "2000", "-o", out}
			if _, ok := descentOf(name); ok {
				args = append(args, "--schedule", schedule)
			}
			must(t, args...)
			m := stats.MomentsOf(float64s(readNPY(t, out).Data.([]float32)), 2)
			for k := range 2 {
				// The steps' own error may be 6 % of the variance.
				z := math.Sqrt(n / 2.)
				if d := math.Abs(m.Variance[k]-1) - 0.06; math.Abs(m.Mean[k])*math.Sqrt(n) > limit || d*z > limit {
					t.Errorf("%s, %s: mean %.3f, variance %.3f", name, schedule, m.Mean[k], m.Variance[k])
				}
			}
		}
	}
}

// What a ladder is made of.
func TestSpaced(t *testing.T) {
	c := &card.Card{SDE: "ve"}
	c.Sampler.Rho = 7
	for name, want := range map[string][]float64{
		"karras": schedules.Karras(8, 0.05, 7, 5), "geometric": schedules.Geometric(8, 0.05, 5), "exponential": schedules.Geometric(8, 0.05, 5),
		"polyexponential": schedules.PolyExponential(8, 0.05, 7, 5), "linear": schedules.Linear(8, 0.05, 5), "vp": nil,
	} {
		c.Sampler.Schedule = name
		got := spaced(c, 8, 0.05, 5)
		if want != nil && !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
		for i, s := range got {
			if i > 0 && s >= got[i-1] {
				t.Errorf("%s does not fall: %v", name, got)
			}
		}
		if math.Abs(got[0]-8) > 1e-9 || math.Abs(got[4]-0.05) > 1e-9 {
			t.Errorf("%s: %v does not run from 8 to 0.05", name, got)
		}
	}
	// A network that counts levels is asked about its own.
	c.TimeKind, c.Sigmas, c.From = "index", []float64{8, 4, 2, 1, 0.5}, map[string]card.Source{"sigmas": {}}
	if got := snapped(c, []float64{8, 6, 5, 0.9, 0.4}); !slices.Equal(got, []float64{8, 4, 1, 0.5}) {
		t.Errorf("snapped to %v", got)
	}
}

// A card's settings for one sampler are not another's.
func TestOtherSamplersSettings(t *testing.T) {
	var c struct {
		Sampler map[string]any
	}
	if err := json.Unmarshal([]byte(must(t, model("mixture2"), "--sampler", "cas", "--print-config")), &c); err != nil {
		t.Fatal(err)
	}
	if _, has := c.Sampler["eps"]; has || c.Sampler["n"] != 200.0 || c.Sampler["schedule"] != "geometric" {
		t.Errorf("%v", c.Sampler)
	}
	must(t, model("mixture2"), "--sampler", "heun", "--set", "sampler.s_churn=10", "--set", "sampler.s_min=0.1", "--steps", "20", "-o", "-", "-q")
}

// With --rng torch the start is what torch.manual_seed(0); torch.randn(4, 2) prints: one step of Euler's method from σ = 3 to 0 takes x = 3z with
// the score −x to −8x.
func TestTorchNoise(t *testing.T) {
	dir := t.TempDir()
	net, out := filepath.Join(dir, "n.onnx"), filepath.Join(dir, "x.npy")
	if err := os.WriteFile(net, tinyModel("Mul", "", nil), 0o666); err != nil {
		t.Fatal(err)
	}
	must(t, net, "-q", "--sde", "ve", "--sigma-min", "1", "--sigma-max", "3", "--set", "output=score", "--sampler", "euler", "--steps", "1",
		"--rng", "torch", "-s", "0", "-n", "4", "-o", out)
	want := []float64{1.5410, -0.2934, -2.1788, 0.5684, -1.0845, -1.3986, 0.4033, 0.8380}
	for i, x := range readNPY(t, out).Data.([]float32) {
		if math.Abs(float64(x)/-24-want[i]) > 5.1e-5 {
			t.Errorf("value %d: %.4f, want %.4f", i, float64(x)/-24, want[i])
		}
	}
	must(t, net, "-q", "--sde", "ve", "--sigma-min", "1", "--sigma-max", "3", "--sampler", "dpmpp_2m_sde", "--rng", "torch", "-n", "5000", "-o", out)
}

// With --rng jax the start is what key, sub = split(PRNGKey(7)); normal(sub, (n, 2)) prints, in batches of any size.
func TestJaxNoise(t *testing.T) {
	dir := t.TempDir()
	net, out := filepath.Join(dir, "n.onnx"), filepath.Join(dir, "x.npy")
	if err := os.WriteFile(net, tinyModel("Mul", "", nil), 0o666); err != nil {
		t.Fatal(err)
	}
	want := []float64{0.4541, 0.9392, -0.2689, -0.1909, -0.8079, 0.0583, 0.8394, 0.7949}
	for _, batch := range []string{"1", "3", "4"} {
		must(t, net, "-q", "--sde", "ve", "--sigma-min", "1", "--sigma-max", "3", "--set", "output=score", "--sampler", "euler", "--steps", "1",
			"--rng", "jax", "-s", "7", "-n", "4", "-b", batch, "-o", out)
		for i, x := range readNPY(t, out).Data.([]float32) {
			if math.Abs(float64(x)/-24-want[i]) > 5.1e-5 {
				t.Errorf("value %d: %.4f, want %.4f", i, float64(x)/-24, want[i])
			}
		}
	}
}
