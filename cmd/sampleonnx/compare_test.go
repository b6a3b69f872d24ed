package main

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sampleonnx/cmd/sampleonnx/internal/npy"
)

// Samples of one law with other seeds are not told apart; those of another law are, by an exit code of 1.
func TestCompare(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, args ...string) string {
		out := filepath.Join(dir, name+".npy")
		must(t, append([]string{"-q", "-o", out, "-n", "2000"}, args...)...)
		return out
	}
	a := file("a", model("gaussian4"), "--sampler", "heun", "-s", "1")
	b := file("b", model("gaussian4"), "--sampler", "heun", "-s", "2")
	noisy := file("c", model("gaussian4"), "--sampler", "heun", "-s", "3", "--sigma-max", "2")
	code, out, stderr := command(t, "compare", a, b, "--json")
	var r comparedSamples
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != exitDone || !r.OK || len(r.Tests) != 16 {
		t.Errorf("%v, exit %d: %s%s", err, code, out, stderr)
	}
	code, out, stderr = command(t, "compare", a, noisy)
	if code != exitFailed || !strings.Contains(out, "DIFFERS") || !strings.Contains(stderr, "not samples of one law") {
		t.Errorf("exit %d: %s%s", code, out, stderr)
	}
	if code, _, stderr = command(t, "compare", a, filepath.Join(golden, "mixture2_ald_samples.npy")); code != exitUsage {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if code, _, stderr = command(t, "compare", a, b, "--alpha", "0"); code != exitUsage {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if out := must(t, "compare", "--help"); !strings.Contains(out, "--directions") {
		t.Error(out)
	}
}

// Images are compared by their features, along random and principal directions, and by what a classifier sees; a table tells standard errors.
func TestCompareImages(t *testing.T) {
	dir := t.TempDir()
	var names [3]string
	r := rand.New(rand.NewPCG(5, 5))
	for i, slope := range []float32{0, 0, 0.5} { // of the brightness down an image
		x := make([]float32, 300*36)
		for k := range x {
			x[k] = float32(r.NormFloat64()) + slope*float32(k/6%6)
		}
		names[i] = filepath.Join(dir, string(rune('a'+i))+".npz")
		must := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		f, err := os.Create(names[i])
		must(err)
		must(npy.WriteZip(f, []npy.Named{{Name: "x", Array: npy.Array{Shape: []int{300, 1, 6, 6}, Data: x}}}))
		must(f.Close())
	}
	var same, other comparedSamples
	if err := json.Unmarshal([]byte(must(t, "compare", names[0], names[1], "--json", "--points", "100")), &same); err != nil || !same.OK {
		t.Fatalf("%v: %+v", err, same)
	}
	// 32 projections, 8 principal scores and 3 features with three tests each, and four of the laws.
	if len(same.Tests) != 3*(32+8+3)+4 {
		t.Errorf("%d tests", len(same.Tests))
	}
	code, out, _ := command(t, "compare", names[0], names[2], "--json", "--points", "100")
	if err := json.Unmarshal([]byte(out), &other); err != nil || code != exitFailed {
		t.Fatalf("%v, exit %d: %s", err, code, out)
	}
	for _, r := range other.Tests {
		switch r.What {
		case "image mean: mean", "image std: mean", "gradient energy: mean", "principal score 0: mean", "C2ST accuracy":
			if r.Adjusted > 1e-3 {
				t.Errorf("%s sees nothing: %+v", r.What, r)
			}
		}
	}
	if out := must(t, "compare", names[0], names[1], "--points", "100"); !strings.Contains(out, "C2ST accuracy") || !strings.Contains(out, "gradient energy: mean") || !strings.Contains(out, " ± ") {
		t.Error(out)
	}
}

// What is made of all pairs of samples is counted before it is made.
func TestComparePairsAreCounted(t *testing.T) {
	data := writeNPY(t, npy.Array{Shape: []int{4000, 1}, Data: make([]float32, 4000)})
	code, out, stderr := command(t, "compare", data, data, "--points", "20000", "--limit", "data=100MB")
	if code != exitLimit || out != "" || !strings.Contains(stderr, "the distances of 8000 samples from each other") || !strings.Contains(stderr, "--limit data=") {
		t.Errorf("exit %d: %s%s", code, out, stderr)
	}
}
