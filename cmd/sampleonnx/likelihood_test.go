package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sampleonnx/cmd/sampleonnx/internal/npy"
)

// s = −x is the score of unit normal data on the VP process at every time, so that log p is the normal's, whatever the trace.
func TestLikelihood(t *testing.T) {
	dir := t.TempDir()
	net, data, out := filepath.Join(dir, "n.onnx"), filepath.Join(dir, "d.npy"), filepath.Join(dir, "p.npz")
	if err := os.WriteFile(net, tinyModel("Mul", "", nil), 0o666); err != nil {
		t.Fatal(err)
	}
	x := []float32{0, 0, 1, -1, 2, 0.5}
	f, err := os.Create(data)
	if err != nil {
		t.Fatal(err)
	}
	if err := npy.Write(f, npy.Array{Shape: []int{3, 2}, Data: x}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	vp := []string{"--set", "sde=vp", "--set", "beta_min=0.1", "--set", "beta_max=20", "--set", "output=score"}
	for _, args := range [][]string{{}, {"--trace", "hutchinson"}, {"--trace", "central", "--rtol", "1e-4", "--atol", "1e-4"}, {"--coupled"}, {"-b", "1"}, {"--set", "range=-1,1"}} {
		args = append(args, vp...)
		var r likelihoods
		if err := json.Unmarshal([]byte(must(t, append([]string{"likelihood", net, data, "--json", "-o", out}, args...)...)), &r); err != nil {
			t.Fatal(err)
		}
		offset := 0.0
		if args[1] == "range=-1,1" {
			offset = 7
		}
		for i, p := range r.LogP {
			a, b := float64(x[2*i]), float64(x[2*i+1])
			want := -(a*a+b*b)/2 - math.Log(2*math.Pi)
			if math.Abs(p-want) > 2e-3 || math.Abs(r.Bits[i]-(-p/(2*math.Ln2)+offset)) > 1e-9 {
				t.Errorf("%v: datum %d: log p %.5f, %.5f bits/dim, want %.5f", args, i, p, r.Bits[i], want)
			}
		}
		file, err := npy.ReadZipFile(t.Context(), out)
		if err != nil {
			t.Fatal(err)
		}
		z := floats(t, file["z"])
		for i := range z { // the flow of s = −x leaves every point where it is
			if math.Abs(float64(z[i]-x[i])) > 1e-4 {
				t.Errorf("%v: value %d went to %v", args, i, z[i])
			}
		}
	}
	if out := must(t, append([]string{"likelihood", net, data}, vp...)...); !strings.Contains(out, "bits/dim (exact trace") {
		t.Error(out)
	}
	for want, args := range map[string][]string{
		"samples have [4]": {model("gaussian4"), data}, "want one of": {net, data, "--trace", "x"}, "the suffix must be": {net, data, "-o", "x.npy"}, "--rtol 0: want a number more than 0": {net, data, "--rtol", "0"},
		"want one of rademacher": {net, data, "--probe", "x"}, "want a model and data": {net},
	} {
		if code, _, stderr := command(t, append([]string{"likelihood"}, args...)...); code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit %d: %s", args, code, stderr)
		}
	}
}

// The derivative is the network's: on exact scores and trained networks, one probe's trace by Pullback and by central differences agree.
func TestLikelihoodTraces(t *testing.T) {
	for _, name := range []string{"gaussian4", "mixture2", "swissroll"} {
		data := filepath.Join(golden, name+"_ald_samples.npy")
		var bits []float64
		for _, how := range []string{"hutchinson", "central"} {
			a := readNPY(t, data)
			small := filepath.Join(t.TempDir(), "d.npy")
			f, err := os.Create(small)
			if err != nil {
				t.Fatal(err)
			}
			dim := a.Shape[1]
			if err := npy.Write(f, npy.Array{Shape: []int{20, dim}, Data: floats(t, a)[:20*dim]}); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			args := []string{"likelihood", model(name), small, "--json", "--trace", how, "--rtol", "1e-5", "--atol", "1e-5"}
			var r likelihoods
			if err := json.Unmarshal([]byte(must(t, args...)), &r); err != nil {
				t.Fatal(err)
			}
			bits = append(bits, r.Mean)
		}
		t.Logf("%s: %v", name, bits)
		if math.Abs(bits[0]-bits[1]) > 1e-3 {
			t.Errorf("%s: %.4f bits/dim by derivatives, %.4f by differences", name, bits[0], bits[1])
		}
	}
}
