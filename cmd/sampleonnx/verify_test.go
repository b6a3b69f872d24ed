package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sampleonnx/cmd/sampleonnx/internal/npy"
)

// places are the directories with models and recorded results: the repository's, and another one where the environment names it.
func places(t *testing.T) []string {
	dirs := []string{filepath.Dir(models)}
	if shared := os.Getenv("SAMPLEONNX_SHARED"); shared != "" {
		return append(dirs, shared)
	}
	t.Log("SAMPLEONNX_SHARED is not set: only the models and recordings in testdata are checked")
	return dirs
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	list, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// modelOf finds the model that a recording was made with, beside it or in testdata.
func modelOf(dir, name string) string {
	for _, d := range []string{filepath.Join(dir, "models"), models} {
		if path := filepath.Join(d, name); name != "" {
			if _, err := os.Stat(path); err == nil {
				return path
			}
		}
	}
	return ""
}

// Every recorded pair of inputs and outputs.
func TestPairs(t *testing.T) {
	for _, dir := range places(t) {
		list := append(glob(t, filepath.Join(dir, "models", "*.onnx")), glob(t, filepath.Join(dir, "perf", "*.onnx"))...)
		for _, path := range list {
			pairs := strings.TrimSuffix(path, ".onnx") + ".npz"
			if _, err := os.Stat(pairs); err != nil {
				continue
			}
			t.Run(filepath.Base(path), func(t *testing.T) { t.Log(must(t, "verify", path, pairs)) })
		}
	}
}

// Every recorded run: a new one in a folder needs no line here.
func TestTraces(t *testing.T) {
	for _, dir := range places(t) {
		for _, path := range glob(t, filepath.Join(dir, "golden", "*.npz")) {
			t.Run(filepath.Base(path), func(t *testing.T) {
				file, err := npy.ReadZipFile(t.Context(), path)
				if err != nil {
					t.Fatal(err)
				}
				if _, ok := file["meta"]; !ok {
					t.Skip("no recorded run: samples only")
				}
				text, err := file["meta"].Text()
				if err != nil {
					t.Fatal(err)
				}
				var meta goldenMeta
				if err := json.Unmarshal([]byte(text), &meta); err != nil {
					t.Fatal(err)
				}
				net := modelOf(dir, meta.Model)
				if net == "" {
					t.Skipf("%s is not here", meta.Model)
				}
				t.Parallel()
				code, out, stderr := command(t, "verify", net, path, "--progress", "none", "--json")
				var r report
				if err := json.Unmarshal([]byte(out), &r); err != nil {
					t.Fatalf("exit %d: %s%s", code, out, stderr)
				}
				t.Log(out)
				if r.OK {
					return
				}
				// A chaotic ODE cannot be followed on another machine's roundings. It still has to end as near the record as
				// two runs end near each other whose starts differ by a rounding error, after about as many evaluations.
				for _, f := range r.Figures {
					switch {
					case f.Rounding > f.Limit && f.Value <= 4*f.Rounding:
						t.Logf("chaotic: rounding the start moves the end by %.2g; the record is %.2g away", f.Rounding, f.Value)
					case meta.Sampler == "ode" && strings.HasPrefix(f.What, "evaluations") && f.Value <= 0.15*float64(meta.NFE):
					case !f.OK:
						t.Errorf("%s: %.3g, want at most %.3g", f.What, f.Value, f.Limit)
					}
				}
			})
		}
	}
}

// Every recorded run of k-diffusion and diffusers whose settings a model card has words for; the others are named as what they are.
func TestLadderRuns(t *testing.T) {
	replayed, refused := 0, 0
	for _, path := range glob(t, filepath.Join(golden, "ladders", "*.npz")) {
		code, out, stderr := command(t, "verify", model("mixture2"), path, "--progress", "none")
		switch {
		case code == exitDone:
			replayed++
		case code == exitUsage && (strings.Contains(stderr, "more than the model card has words for") || strings.Contains(stderr, "does not say at which levels")):
			refused++
		default:
			t.Errorf("%s: exit %d: %s%s", filepath.Base(path), code, out, stderr)
		}
	}
	t.Logf("%d replayed, %d refused", replayed, refused)
	if replayed < 45 {
		t.Errorf("only %d replayed", replayed)
	}
}

func TestVerifyJSON(t *testing.T) {
	trace := filepath.Join(golden, "gaussian4_ald.npz")
	out := must(t, "verify", model("gaussian4"), trace, "--json")
	var r report
	if err := json.Unmarshal([]byte(out), &r); err != nil || strings.Count(out, "\n") != 1 {
		t.Fatalf("%v: %s", err, out)
	}
	if !r.OK || r.Kind != "replay" || r.Model != "gaussian4.onnx" || len(r.Figures) != 11 {
		t.Errorf("%+v", r)
	}
	code, out, stderr := command(t, "verify", model("gaussian4"), trace, "--tol", "1e-12")
	if code != exitFailed || !strings.Contains(out, "FAILED") || !strings.Contains(stderr, "did not verify against gaussian4_ald.npz") {
		t.Errorf("exit %d: %s", code, out)
	}
	// What rounding does to an ODE is told, and excuses nothing; the help promises no more.
	code, out, _ = command(t, "verify", model("mixture2"), filepath.Join(golden, "mixture2_ode_ve.npz"), "--tol", "1e-9", "--json")
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != exitFailed || r.OK || r.Figures[0].OK || r.Figures[0].Limit != 1e-9 || !(r.Figures[0].Rounding > 1e-9) {
		t.Errorf("%v, exit %d: %s", err, code, out)
	}
	if help := must(t, "verify", "--help"); strings.Contains(help, "4 times") || !strings.Contains(help, "It has failed\nall the same") {
		t.Error(help)
	}
	// Another network must not pass for the one recorded.
	dir := t.TempDir()
	copyFile(t, model("gaussian4"), filepath.Join(dir, "mixture2.onnx"))
	if code, _, _ := command(t, "verify", filepath.Join(dir, "mixture2.onnx"), filepath.Join(golden, "mixture2_ald.npz")); code != exitUsage && code != exitFailed {
		t.Errorf("exit %d", code)
	}
}

func TestInspect(t *testing.T) {
	text := must(t, "inspect", model("digits_ncsnv2"))
	for _, want := range []string{"opset 20", "parameters", "level", "int64", "GFLOP", "Conv", "sigma_max", "digits_ncsnv2.score.json", "annealed Langevin, 80 levels"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	var i inspection
	if err := json.Unmarshal([]byte(must(t, "inspect", model("digits_ncsnv2"), "--json", "-b", "3")), &i); err != nil {
		t.Fatal(err)
	}
	if i.Plan == nil || i.Plan.GFLOP <= 0 || i.Plan.MemoryBytes <= 0 || i.Plan.Shapes["x"][0] != 3 || i.CardError != "" || len(i.Inputs) != 2 || i.Opset[""] != 20 || i.Parameters < 100000 || i.Operators["Conv"] == 0 {
		t.Errorf("%+v", i)
	}
	// What is missing in a card is said, and is no failure here.
	net := filepath.Join(t.TempDir(), "n.onnx")
	if err := os.WriteFile(net, tinyModel("Mul", "", map[string]string{"author": "somebody"}), 0o666); err != nil {
		t.Fatal(err)
	}
	if text := must(t, "inspect", net); !strings.Contains(text, "incomplete: the model card does not say which process") || !strings.Contains(text, "somebody") {
		t.Error(text)
	}
	// So is what a run would be warned of.
	const warning = "in 2 dimensions the corrector langevin's step varies"
	args := []string{"inspect", model("swissroll"), "--set", "sampler.name=pc", "--set", "sampler.corrector=langevin"}
	if text := must(t, args...); !strings.Contains(text, "warning: "+warning) {
		t.Error(text)
	}
	var warned inspection
	if err := json.Unmarshal([]byte(must(t, append(args, "--json")...)), &warned); err != nil || len(warned.Warnings) != 1 || !strings.HasPrefix(warned.Warnings[0], warning) {
		t.Errorf("%v: %q", err, warned.Warnings)
	}
}

func TestBench(t *testing.T) {
	out := must(t, "bench", model("swissroll"), "--batch", "8", "--threads", "1", "--min-time", "10ms", "--json")
	var got map[string]any
	if err := json.Unmarshal([]byte(out), &got); err != nil || strings.Count(out, "\n") != 1 {
		t.Fatalf("%v: %s", err, out)
	}
	for _, key := range []string{"model", "batch", "threads", "runs", "median_ms", "min_ms", "load_ms", "rss_mb", "gflop", "gflops"} {
		if v, ok := got[key]; !ok || v == 0.0 {
			t.Errorf("%s: %v", key, v)
		}
	}
	if got["batch"] != 8.0 || got["threads"] != 1.0 || len(got) != 10 {
		t.Error(got)
	}
	if text := must(t, "bench", model("swissroll"), "--min-time", "1ms"); !strings.Contains(text, "operator") {
		t.Error(text)
	}
}

func TestRunVerb(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out.npz")
	pairs := filepath.Join(models, "gaussian4.npz")
	must(t, "run", model("gaussian4"), "-i", pairs, "-o", out)
	got, err := npy.ReadZipFile(t.Context(), out)
	if err != nil {
		t.Fatal(err)
	}
	file, err := npy.ReadZipFile(t.Context(), pairs)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := file["out_score"].Float32s()
	if d := relativeRMS(got["score"].Data.([]float32), want); !(d < 1e-5) {
		t.Errorf("relative RMS %g", d)
	}
	// The same from single files; float64 is what numpy makes by default.
	for _, name := range []string{"x", "sigma"} {
		a := file["in_"+name]
		wide, _ := a.Float64s()
		f, err := os.Create(filepath.Join(dir, name+".npy"))
		if err != nil {
			t.Fatal(err)
		}
		if err := npy.Write(f, npy.Array{Shape: a.Shape, Data: wide}); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	again := filepath.Join(dir, "out.npy")
	must(t, "run", model("gaussian4"), "-i", "sigma="+filepath.Join(dir, "sigma.npy"), "-i", "x="+filepath.Join(dir, "x.npy"), "-o", again)
	if d := relativeRMS(readNPY(t, again).Data.([]float32), want); !(d < 1e-5) {
		t.Errorf("relative RMS %g", d)
	}
	if text := must(t, "run", model("gaussian4"), "-i", pairs); !strings.Contains(text, "score []float32 [5 4]") {
		t.Error(text)
	}
}
