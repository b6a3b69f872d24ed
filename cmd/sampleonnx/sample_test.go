package main

import (
	"context"
	"encoding/json"
	"fmt"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sampleonnx/cmd/sampleonnx/internal/npy"
	"sampleonnx/cmd/sampleonnx/internal/stats"
)

func readNPY(t *testing.T, name string) npy.Array {
	t.Helper()
	a, err := npy.ReadFile(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Every suffix, and stdout, carries the same samples; stderr carries the rest.
func TestOutputs(t *testing.T) {
	dir := t.TempDir()
	file := func(suffix string) string { return filepath.Join(dir, "x"+suffix) }
	args := []string{model("swissroll"), "-n", "50", "--steps", "5", "--steps-per-level", "2", "-o"}
	for _, suffix := range []string{".npy", ".npz", ".csv", ".png"} {
		code, out, err := command(t, append(slices.Clone(args), file(suffix))...)
		if code != exitDone || out != "" || !strings.Contains(err, "wrote "+file(suffix)+": 50 samples") {
			t.Fatalf("%s: exit %d, stdout %q, stderr %q", suffix, code, out, err)
		}
	}
	code, out, err := command(t, append(slices.Clone(args), "-", "-q")...)
	if code != exitDone || err != "" {
		t.Fatalf("exit %d: %s", code, err)
	}
	want, e := os.ReadFile(file(".npy"))
	if e != nil || out != string(want) {
		t.Error("stdout and the file differ")
	}
	a := readNPY(t, file(".npy"))
	if !slices.Equal(a.Shape, []int{50, 2}) {
		t.Errorf("shape %v", a.Shape)
	}
	z, e := npy.ReadZipFile(t.Context(), file(".npz"))
	if e != nil || !slices.Equal(z["x"].Data.([]float32), a.Data.([]float32)) {
		t.Errorf("npz: %v", e)
	}
	var meta struct {
		Model string
		Card  map[string]any
	}
	text, _ := z["meta"].Text()
	if e := json.Unmarshal([]byte(text), &meta); e != nil || meta.Model != "swissroll.onnx" || meta.Card["sigma_max"] != 4.0 {
		t.Errorf("meta: %v %s", e, text)
	}
	csv, _ := os.ReadFile(file(".csv"))
	if lines := strings.Split(string(csv), "\n"); len(lines) != 52 || lines[0] != "x0,x1" || lines[1] != fmt.Sprintf("%v,%v", a.Data.([]float32)[0], a.Data.([]float32)[1]) {
		t.Errorf("csv: %d lines, %q", len(lines), lines[:2])
	}
	f, e := os.Open(file(".png"))
	if e != nil {
		t.Fatal(e)
	}
	defer f.Close()
	if _, e := png.Decode(f); e != nil {
		t.Error(e)
	}
	if got := files(t, dir); len(got) != 4 {
		t.Errorf("left behind: %v", got)
	}
}

// A sample depends on the model, the settings, the seed and its index: not on the batch and not on the threads.
func TestSameBytes(t *testing.T) {
	for name, args := range map[string][]string{
		"swissroll":        {"-n", "70", "--steps", "4", "--steps-per-level", "3"},
		"gaussian4":        {"-n", "70", "--sampler", "pc", "--steps", "20"},
		"mixture2":         {"-n", "70", "--sampler", "ode"},
		"digits_empirical": {"-n", "66", "--steps", "2", "--steps-per-level", "2"},
		"digits_ncsnv2":    {"-n", "65", "--sampler", "pc", "--steps", "2", "--corrector", "none"},
		"digits_ncsnpp_ve": {"-n", "65", "--steps", "2", "--corrector", "none"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var want string
			for _, batch := range []string{"64", "1", "7"} {
				for _, threads := range []string{"1", "2"} {
					if testing.Short() && batch == "1" {
						continue
					}
					got := must(t, append([]string{model(name), "-o", "-", "-q", "-b", batch, "-t", threads, "-s", "5"}, args...)...)
					if want == "" {
						want = got
					}
					if got != want {
						t.Errorf("batch %s, %s threads: other bytes", batch, threads)
					}
				}
			}
			if other := must(t, append([]string{model(name), "-o", "-", "-q", "-s", "6"}, args...)...); other == want {
				t.Error("another seed gives the same samples")
			}
		})
	}
}

// The first samples of a longer run are those of a shorter one.
func TestMoreSamplesOfTheSame(t *testing.T) {
	dir := t.TempDir()
	var all [][]float32
	for _, n := range []string{"3", "10"} {
		name := filepath.Join(dir, n+".npy")
		must(t, model("gaussian4"), "-n", n, "-o", name)
		all = append(all, readNPY(t, name).Data.([]float32))
	}
	if !slices.Equal(all[0], all[1][:12]) {
		t.Error("they differ")
	}
}

// Recorded noise, given with --noise, leads to the recorded samples.
func TestNoiseFile(t *testing.T) {
	dir := t.TempDir()
	name, trace := filepath.Join(dir, "x.npy"), filepath.Join(golden, "gaussian4_ald.npz")
	must(t, model("gaussian4"), "-n", "10", "-b", "4", "--noise", trace, "-o", name)
	want, err := npy.ReadZipFile(t.Context(), trace)
	if err != nil {
		t.Fatal(err)
	}
	final, _ := want["x_final"].Float32s()
	if d := relativeRMS(readNPY(t, name).Data.([]float32), final[:40]); !(d < 1e-5) {
		t.Errorf("relative RMS %g", d)
	}
}

func TestTrajectory(t *testing.T) {
	dir := t.TempDir()
	out, way := filepath.Join(dir, "x.npy"), filepath.Join(dir, "way.npz")
	must(t, model("gaussian4"), "-n", "5", "-b", "2", "-o", out, "--trajectory", way)
	z, err := npy.ReadZipFile(t.Context(), way)
	if err != nil {
		t.Fatal(err)
	}
	x := z["x"]
	if !slices.Equal(x.Shape, []int{maxFrames, 5, 4}) {
		t.Fatalf("shape %v", x.Shape)
	}
	if last := x.Data.([]float32)[(maxFrames-1)*20:]; !slices.Equal(last, readNPY(t, out).Data.([]float32)) {
		t.Error("the last frame is not the result")
	}
	sigma := z["sigma"].Data.([]float64)
	if sigma[0] != 8 || sigma[maxFrames-1] != 0.05 || !slices.IsSortedFunc(sigma, func(a, b float64) int { return int(b*1e6) - int(a*1e6) }) {
		t.Errorf("sigma %v", sigma)
	}
	strip := filepath.Join(dir, "way.png")
	must(t, model("digits_empirical"), "-n", "2", "--steps", "3", "--steps-per-level", "1", "-o", out, "--trajectory", strip)
	if got := files(t, dir); len(got) != 3 {
		t.Error(got)
	}
	if code, _, err := command(t, model("gaussian4"), "-o", out, "--sampler", "ode", "--trajectory", way); code != exitUsage {
		t.Errorf("exit %d: %s", code, err)
	}
}

// --print-config prints a card that can be used as a sidecar.
func TestPrintConfig(t *testing.T) {
	dir := t.TempDir()
	copyFile(t, model("gaussian4"), filepath.Join(dir, "g.onnx"))
	text := must(t, model("gaussian4"), "--sampler", "pc", "--steps", "30", "--sigma-max", "12", "--print-config")
	if err := os.WriteFile(filepath.Join(dir, "g.score.json"), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	if again := must(t, filepath.Join(dir, "g.onnx"), "--print-config"); again != text {
		t.Errorf("printed again:\n%s\nwant\n%s", again, text)
	}
	for _, want := range []string{`"sigma_max": 12`, `"name": "pc"`, `"n": 30`, `"predictor": "reverse_diffusion"`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
}

// A network without a card can be sampled with flags alone: y = −x is the score of a standard normal when its output is σ·score at σ = 1.
func TestFlagsAlone(t *testing.T) {
	dir := t.TempDir()
	net, out := filepath.Join(dir, "n.onnx"), filepath.Join(dir, "x.npy")
	if err := os.WriteFile(net, tinyModel("Mul", "", nil), 0o666); err != nil {
		t.Fatal(err)
	}
	must(t, net, "--sde", "ve", "--sigmas", "1", "--sampler", "langevin", "--eps", "0.02", "--steps", "500", "-n", "4000", "-o", out)
	x := readNPY(t, out).Data.([]float32)
	m := stats.MomentsOf(float64s(x), 2)
	// The fixed point of Langevin steps of α = 0.02 has the variance 1/(1−α/2). Four tests, with a probability of 1e-6 in all to fail by chance.
	limit := stats.TwoSided(1e-6 / 4)
	for k := range 2 {
		v := 1 / (1 - 0.01)
		if z := m.Mean[k] / math.Sqrt(v/4000); math.Abs(z) > limit {
			t.Errorf("mean %d: z %.2f", k, z)
		}
		if z := (m.Variance[k]/v - 1) / math.Sqrt(2./4000); math.Abs(z) > limit {
			t.Errorf("variance %d: z %.2f", k, z)
		}
	}
}

// Ctrl-C stops a long run at once, with nothing left behind.
func TestInterrupt(t *testing.T) {
	dir := t.TempDir()
	net := filepath.Join(dir, "n.onnx")
	if err := os.WriteFile(net, tinyModel("Mul", "", nil), 0o666); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var asked time.Time
	time.AfterFunc(300*time.Millisecond, func() { asked = time.Now(); cancel() })
	code, out, stderr := commandIn(ctx, net, "--sde", "ve", "--sigmas", "3,2,1", "--steps-per-level", "1000000", "-o", filepath.Join(dir, "x.npy"), "--trajectory", filepath.Join(dir, "t.npz"))
	if code != exitInterrupted || out != "" || !strings.HasSuffix(stderr, "sampleonnx: interrupted\n") {
		t.Errorf("exit %d, stdout %q, stderr %q", code, out, stderr)
	}
	if took := time.Since(asked); took > 2*time.Second {
		t.Errorf("stopped after %v", took)
	}
	if got := files(t, dir); len(got) != 1 {
		t.Errorf("left behind: %v", got)
	}
}

func TestVerbose(t *testing.T) {
	code, out, err := command(t, model("gaussian4"), "-n", "3", "-o", filepath.Join(t.TempDir(), "x.npy"), "-v", "--sampler", "pc", "--steps", "10")
	if code != exitDone || out != "" {
		t.Fatalf("exit %d: %s", code, err)
	}
	for _, want := range []string{"predictor reverse_diffusion, corrector langevin, 10 steps", "20 network calls, 3 samples at once", "threads"} {
		if !strings.Contains(err, want) {
			t.Errorf("no %q in %q", want, err)
		}
	}
}

// A card with the wrong kind of output is told from the right one.
func TestProbe(t *testing.T) {
	out := filepath.Join(t.TempDir(), "x.npy")
	for kind, warned := range map[string]bool{"score": false, "eps": true, "score_sigma": true} {
		code, _, err := command(t, model("swissroll"), "--set", "output="+kind, "-n", "1", "-o", out, "--steps", "2", "--eps", "1e-9")
		if code != exitDone || strings.Contains(err, "warning: ") != warned {
			t.Errorf("%s: exit %d: %s", kind, code, err)
		}
	}
}
