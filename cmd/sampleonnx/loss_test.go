package main

import (
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/cmd/sampleonnx/internal/npy"
	"sampleonnx/sampler"
	"sampleonnx/sampler/stats"
)

// conventionNamed is a row of the table of conventions.
func conventionNamed(t *testing.T, name string) convention {
	t.Helper()
	list := conventions()
	i := slices.IndexFunc(list, func(c convention) bool { return c.name == name })
	if i < 0 {
		t.Fatalf("no convention %q", name)
	}
	return list[i]
}

// withCard writes the network of a convention and its card beside it.
func withCard(t *testing.T, c convention, more ...string) string {
	t.Helper()
	path := c.network(t)
	text := must(t, append(append([]string{path, "--sampler", "euler", "--print-config"}, c.flags()...), more...)...)
	if err := os.WriteFile(card.File(path), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func writeNPY(t *testing.T, a npy.Array) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "a.npy")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := npy.Write(f, a); err != nil {
		t.Fatal(err)
	}
	return name
}

// gaussianData are n of the data whose exact networks the conventions are.
func gaussianData(t *testing.T, n int) string {
	t.Helper()
	x := make([]float32, 2*n)
	if err := sampler.Philox(77).Normal(x, sampler.Draw{Purpose: 200, Dim: 2}); err != nil {
		t.Fatal(err)
	}
	for i := range x {
		x[i] = float32(center[i%2] + sd*float64(x[i]))
	}
	return writeNPY(t, npy.Array{Shape: []int{n, 2}, Data: x})
}

func lossOf(t *testing.T, args ...string) lossTable {
	t.Helper()
	var r lossTable
	if err := json.Unmarshal([]byte(must(t, append([]string{"loss", "--json", "--progress", "none"}, args...)...)), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// The Gaussian's exact score has the loss α²s²/w, w = α²s²+σ²; its sliced objective is −½E‖s‖² = −d/2w; scaled by 1+c it is c²E‖s‖² = c²d/w from
// itself and c²σ²/w worse; and zeros have the loss 1. All within standard errors, with a probability of 1e-6 of failing by chance, together.
func TestLossInClosedForm(t *testing.T) {
	const c, tests = 0.1, 500
	data := gaussianData(t, 1000)
	limit := stats.TwoSided(chance / tests)
	within := func(what string, e estimate, want float64) {
		t.Helper()
		if !(math.Abs(e.Value-want) <= limit*e.Error+1e-5*math.Abs(want)) {
			t.Errorf("%s: %.5g ± %.2g, want %.5g", what, e.Value, e.Error, want)
		}
	}
	exact := withCard(t, conventionNamed(t, "VE score_sigma, log_sigma"))
	for _, name := range []string{"VE score, sigma", "EDM F", "VP eps, t_scaled", "sub-VP score_sigma, t", "flow, t", "DDPM linear, eps", "VE x0, t", "eps with c_in vp"} {
		one := conventionNamed(t, name)
		net := withCard(t, one)
		args := []string{data, "--levels", "5", "--exact-score", exact}
		if !one.int64 { // a table of levels, which the derivative's pass need not know
			args = append(args, "--sliced")
		}
		r := lossOf(t, append([]string{net}, args...)...)
		if len(r.Levels) != 5 || r.Samples != 1000 || r.Draws != 1 {
			t.Fatalf("%s: %d levels, %d samples, %d draws", name, len(r.Levels), r.Samples, r.Draws)
		}
		mean := 0.0
		for _, v := range r.Levels {
			w := v.Alpha*v.Alpha*sd*sd + v.Sigma*v.Sigma
			within(name+", loss", v.Loss, v.Alpha*v.Alpha*sd*sd/w)
			mean += v.Loss.Value / 5
			// A float32 datum's rounding, through /σ².
			rounding := 4e-7 * (1 + v.Sigma) / (v.Sigma * v.Sigma)
			if most := 2 * rounding * rounding; !(v.Fisher.Value < most) {
				t.Errorf("%s, fisher: %.3g at sigma %.3g, want less than %.3g", name, v.Fisher.Value, v.Sigma, most)
			}
			if v.Sliced != nil {
				within(name+", sliced", *v.Sliced, -1/w)
			}
		}
		if math.Abs(r.Objective.Value-mean) > 1e-9*mean { // d/2 = 1
			t.Errorf("%s: objective %v, want %v", name, r.Objective.Value, mean)
		}
		if one.output == "score" {
			one.sign = 1 + c
			r := lossOf(t, withCard(t, one), data, "--levels", "5", "--exact-score", exact)
			for _, v := range r.Levels {
				w := sd*sd + v.Sigma*v.Sigma
				within("scaled, fisher", *v.Fisher, c*c*2/w)
				within("scaled, loss", v.Loss, (sd*sd+c*c*v.Sigma*v.Sigma)/w)
			}
			one.sign = 1e-30
			for _, v := range lossOf(t, withCard(t, one), data, "--levels", "5").Levels {
				within("zeros", v.Loss, 1)
			}
		}
	}
}

// The models whose score is exact do not differ from themselves, at the levels of their own ladders.
func TestFisherOfExactModels(t *testing.T) {
	for name, data := range map[string]string{"gaussian4": "gaussian4_ald_samples.npy", "mixture2": "mixture2_ald_samples.npy"} {
		r := lossOf(t, model(name), filepath.Join(golden, data), "--exact-score", model(name), "-n", "100")
		if len(r.Levels) != 20 || r.Levels[0].Sigma != 8 || math.Abs(r.Levels[19].Sigma-0.05) > 1e-12 {
			t.Errorf("%s: levels %+v", name, r.Levels)
		}
		for _, v := range r.Levels {
			// To VE coordinates and back costs a rounding of the level.
			if !(v.Fisher.Value < 1e-9/(v.Sigma*v.Sigma)) {
				t.Errorf("%s: divergence %.3g at sigma %.3g", name, v.Fisher.Value, v.Sigma)
			}
			if v.Loss.Value > 1+6*v.Loss.Error || v.Loss.Error <= 0 {
				t.Errorf("%s: loss %+v", name, v.Loss)
			}
		}
	}
}

// The sliced objective is the loss by another way: 1+2σ²/d·J, for any score of noised data (Vincent 2011; Song et al. 2019), so also for a trained
// network and through its derivative.
func TestSlicedIsTheLoss(t *testing.T) {
	r := lossOf(t, model("swissroll"), filepath.Join(models, "swissroll_data.npy"), "--levels", "4", "-n", "2000", "--sliced", "--draws", "2")
	limit := stats.TwoSided(chance / 4)
	for _, v := range r.Levels {
		f := 2 * v.Sigma * v.Sigma / 2
		if z := (1 + f*v.Sliced.Value - v.Loss.Value) / math.Hypot(f*v.Sliced.Error, v.Loss.Error); math.Abs(z) > limit {
			t.Errorf("sigma %.3g: loss %+v, sliced %+v: z = %.1f", v.Sigma, v.Loss, *v.Sliced, z)
		}
	}
}

// Same bytes, whatever the batch and the threads; other data when the seed is another.
func TestLossDoesNotDependOnTheBatch(t *testing.T) {
	args := []string{"loss", "--json", "--progress", "none", model("swissroll"), filepath.Join(models, "swissroll_data.npy"), "--levels", "3", "-n", "50", "--sliced", "--draws", "3"}
	want := must(t, append(args, "-b", "50", "-t", "2")...)
	for _, more := range [][]string{{"-b", "1", "-t", "1"}, {"-b", "7"}} {
		if got := must(t, append(slices.Clone(args), more...)...); got != want {
			t.Errorf("%v: %s\nwant %s", more, got, want)
		}
	}
	if other := must(t, append(slices.Clone(args), "-s", "1")...); other == want {
		t.Error("the seed has no effect")
	}
}

func TestLossTableAndPlot(t *testing.T) {
	name := filepath.Join(t.TempDir(), "loss.png")
	out := must(t, "loss", model("swissroll"), filepath.Join(models, "swissroll_data.npy"), "-n", "20", "--levels", "3", "-o", name, "--progress", "none")
	if lines := strings.Split(out, "\n"); len(lines) != 7 || !strings.Contains(lines[0], "20 data of swissroll_data.npy, noised 4× each") ||
		!strings.Contains(lines[1], "sigma") || !strings.Contains(lines[5], "mean over the levels") {
		t.Errorf("%s", out)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := png.Decode(f); err != nil {
		t.Error(err)
	}
}

// Images and bytes are put where the card has its data; floats are there already.
func TestReadData(t *testing.T) {
	pixels := []uint8{0, 255, 51, 204}
	img := image.NewGray(image.Rect(0, 0, 2, 2))
	for i, p := range pixels {
		img.SetGray(i%2, i/2, color.Gray{Y: p})
	}
	picture := filepath.Join(t.TempDir(), "p.png")
	f, err := os.Create(picture)
	if err != nil {
		t.Fatal(err)
	}
	if err := png.Encode(f, img); err != nil {
		t.Fatal(err)
	}
	f.Close()
	bytes := writeNPY(t, npy.Array{Shape: []int{1, 1, 2, 2}, Data: pixels})
	same := []float32{-1, 1, -0.6, 0.6}
	floats := writeNPY(t, npy.Array{Shape: []int{1, 1, 2, 2}, Data: same})
	c := card.Card{Shape: []int{1, 2, 2}, Range: []float64{-1, 1}}
	for _, name := range []string{picture, bytes, floats} {
		x, n, err := readData(t.Context(), &c, []string{name}, 10, 0)
		if err != nil || n != 1 {
			t.Fatalf("%s: %d, %v", name, n, err)
		}
		for i, want := range same {
			if math.Abs(float64(x[i]-want)) > 1e-6 {
				t.Errorf("%s: %v, want %v", name, x, same)
			}
		}
	}
	c.Mean = []float64{0.25}
	x, n, err := readData(t.Context(), &c, []string{picture, picture, picture}, 2, 0)
	if err != nil || n != 2 || len(x) != 8 || x[5] != 0.75 {
		t.Errorf("%v, %d, %v", x, n, err)
	}
	c.Mean, c.Range, c.Dequant = nil, []float64{0, 1}, "uniform"
	x, _, err = readData(t.Context(), &c, []string{bytes}, 1, 0)
	for i, p := range pixels {
		if u := float64(x[i])*256 - float64(p); err != nil || u < -1e-4 || u >= 1.0001 || u == 0 {
			t.Errorf("dequantised %d to %v (%v)", p, x[i], err)
		}
	}
	c.Range, c.Dequant, c.LogitAlpha = nil, "", 0.05
	x, _, err = readData(t.Context(), &c, []string{picture}, 1, 0)
	for i, p := range pixels {
		u := 0.05 + 0.9*float64(p)/255
		if want := math.Log(u / (1 - u)); err != nil || math.Abs(float64(x[i])-want) > 1e-6 {
			t.Errorf("logit %v, want %v (%v)", x[i], want, err)
		}
	}
}

// A card that is right passes; of one that is wrong in one convention the right one is named.
func TestProbeOfModels(t *testing.T) {
	data := map[string]string{
		"gaussian4": filepath.Join(golden, "gaussian4_ald_samples.npy"), "mixture2": filepath.Join(golden, "mixture2_ald_samples.npy"),
		"swissroll": filepath.Join(models, "swissroll_data.npy"), "digits_empirical": filepath.Join(models, "digits_empirical.law.npz"),
		"digits_ncsnv2": filepath.Join(models, "digits_empirical.law.npz"),
	}
	for name, file := range data {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && strings.HasPrefix(name, "digits") {
				t.Skip("takes a while")
			}
			t.Parallel()
			if out := must(t, "inspect", model(name), "--probe", "--data", file); strings.Count(out, ": ok: ") != 2 {
				t.Errorf("%s", out)
			}
		})
	}
	wrong := []struct {
		net, name string
		set       []string
		want      string
	}{
		{"mixture2", "output", []string{"output=eps"}, "output=score"},
		{"mixture2", "output of σ", []string{"output=score_sigma"}, "output=score"},
		{"mixture2", "output as data", []string{"output=x0"}, "output=score"},
		{"gaussian4", "time", []string{"time_kind=t"}, "time_kind=sigma"},
		{"swissroll", "logarithm", []string{"time_kind=log_sigma"}, "time_kind=sigma"},
		{"mixture2", "scaled time", []string{"time_kind=t_scaled", "time_scale=999"}, "time_kind=sigma"},
		{"gaussian4", "output and time", []string{"output=eps", "time_kind=log_sigma"}, "output=score"},
		{"digits_ncsnv2", "direction", []string{"time_kind=index_desc"}, "time_kind=index"},
		{"digits_ncsnv2", "range", []string{"range=-1,1"}, "range=0,1"},
	}
	for _, w := range wrong {
		t.Run("wrong "+w.name, func(t *testing.T) {
			if testing.Short() && strings.HasPrefix(w.net, "digits") {
				t.Skip("takes a while")
			}
			t.Parallel()
			args := []string{"inspect", model(w.net), "--probe", "--data", data[w.net]}
			for _, s := range w.set {
				args = append(args, "--set", s)
			}
			caught(t, args, w.want)
		})
	}
}

// caught wants an inspection to fail and to name what is right.
func caught(t *testing.T, args []string, want string) {
	t.Helper()
	code, out, err := command(t, args...)
	if named := strings.SplitN(err, "what would: ", 2); code != exitFailed || len(named) < 2 || !strings.Contains(named[1], want) {
		t.Errorf("exit %d, %s\n%s", code, err, out)
	}
	if !strings.Contains(out, "WRONG") {
		t.Errorf("not said to be wrong:\n%s", out)
	}
}

// The same of networks of every process and output, with the sign among the conventions.
func TestProbeOfConventions(t *testing.T) {
	data := gaussianData(t, 200)
	for _, c := range conventions() {
		args := []string{"inspect", withCard(t, c), "--probe", "--data", data}
		if out := must(t, args...); strings.Count(out, ": ok: ") != 2 {
			t.Errorf("%s:\n%s", c.name, out)
		}
	}
	for _, w := range []struct{ name, set, want string }{
		{"VP eps, t_scaled", "output=score", "output=eps"},
		{"VP eps, t_scaled", "time_kind=sigma", "time_kind=t_scaled, time_scale=999"},
		{"VP eps, t_scaled", "time_kind=t", "time_kind=t_scaled, time_scale=999"},
		{"VP v, t", "output=eps", "output=v"},
		{"VE eps, log_sigma_4", "time_kind=sigma", "time_kind=log_sigma_4"},
		{"flow, t", "output=eps", "output=flow"},
		{"flow, 1000 t", "time_kind=t", "time_kind=t_scaled"},
		{"DDPM linear, eps", "time_kind=index", "time_kind=index_desc"},
		{"DDPM squaredcos_cap_v2, v", "output=eps", "output=v"},
		{"index", "time_kind=index_desc", "time_kind=index"},
		{"EDM F", "output=D", "output=edm_F"},
		{"EDM D", "output=eps", "output=x0"},
		{"sub-VP score_sigma, t", "output=eps", "output=score_sigma"},
	} {
		args := []string{"inspect", withCard(t, conventionNamed(t, w.name)), "--probe", "--data", data, "--set", w.set}
		if w.name == "EDM F" {
			args = append(args, "--set", "c_in=none")
		}
		caught(t, args, w.want)
	}
	negative := conventionNamed(t, "VE score, sigma")
	negative.sign = -1
	caught(t, []string{"inspect", withCard(t, negative), "--probe", "--data", data}, "the opposite sign")
	// Without data the answer to noise tells most.
	caught(t, []string{"inspect", withCard(t, negative), "--probe"}, "the opposite sign")
	caught(t, []string{"inspect", model("mixture2"), "--probe", "--set", "output=eps"}, "output=score")
	caught(t, []string{"inspect", model("swissroll"), "--probe", "--set", "output=score_sigma"}, "output=score")
	if !testing.Short() {
		caught(t, []string{"inspect", model("digits_ncsnv2"), "--probe", "--set", "time_kind=index_desc"}, "time_kind=index")
	}
	// Data on [0, 255], of a network and a card for [0, 1].
	x := floats(t, readNPY(t, data))
	for i := range x {
		x[i] *= 255
	}
	far := writeNPY(t, npy.Array{Shape: []int{200, 2}, Data: x})
	caught(t, []string{"inspect", withCard(t, conventionNamed(t, "VE score, sigma")), "--probe", "--data", far}, "data on [0, 1] that are now on [0, 255]")
	// A card that has a range says itself where they should be.
	code, out, stderr := command(t, "inspect", withCard(t, conventionNamed(t, "VE score, sigma")), "--probe", "--data", far, "--set", "range=0,1")
	if code != exitFailed || !strings.Contains(out, "; but the data are on [") || !strings.Contains(out, "and the card's range is [0, 1]") {
		t.Errorf("exit %d, %s\n%s", code, stderr, out)
	}
	// What the data cannot tell apart is named together.
	caught(t, []string{"inspect", withCard(t, conventionNamed(t, "VP eps, t_scaled")), "--probe", "--data", data, "--set", "time_kind=sigma"},
		"time_kind=t_scaled, time_scale=999 or time_kind=t_scaled, time_scale=1000")
}
