package main

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sampleonnx/cmd/sampleonnx/internal/npy"
)

// What is asked for is refused before the work, by its name, with what was found and what is wanted; and nothing is left behind.
func TestAskedTooMuchOrWrong(t *testing.T) {
	dir := t.TempDir()
	plane, err := filepath.Abs(model("mixture2"))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	data := writeNPY(t, npy.Array{Shape: []int{3, 2}, Data: make([]float32, 6)})
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{exitUsage, "--samples 99999999999999999999: want a whole number", []string{plane, "-n", "99999999999999999999"}},
		{exitUsage, "--seed -1: want a whole number from 0", []string{plane, "-s", "-1"}},
		{exitUsage, "--seed x: want a whole number from 0", []string{"interpolate", plane, "-s", "x"}},
		{exitUsage, "--guidance much: want a number", []string{"encode", plane, data, "--guidance", "much"}},
		{exitUsage, "--coupled 2: want true or false", []string{"decode", plane, data, "--coupled=2"}},
		{exitUsage, "--min-time soon: want a time", []string{"bench", plane, "--min-time", "soon"}},
		{exitUsage, "--threads 1000000: want 0 (all processors) to 1024", []string{plane, "--threads", "1000000"}},
		{exitLimit, "input \"x\" of shape [99999999999 2]: 2399999999976 bytes of data", []string{"bench", plane, "-b", "99999999999"}},
		{exitLimit, "input \"x\" of shape [1073741824 1073741824]", []string{"bench", plane, "--shape", "x=1073741824,1073741824"}},
		{exitLimit, "--draws 99999999999: the losses of 3 data", []string{"loss", plane, data, "--draws", "99999999999"}},
		{exitUsage, "--levels 9999999999: want at most", []string{"loss", plane, data, "--levels", "9999999999"}},
		{exitUsage, "--draws 0: want 1 or more", []string{"loss", plane, data, "--draws", "0"}},
		{exitUsage, "--data -1: want 1 or more", []string{"loss", plane, data, "-n", "-1"}},
		{exitUsage, "--rtol +Inf: want a number more than 0", []string{"likelihood", plane, data, "--rtol", "inf"}},
		{exitUsage, `--trace "x": want one of hutchinson, exact, central`, []string{"likelihood", plane, data, "--trace", "x"}},
		{exitUsage, "--alpha 2: want 1e-6 or more", []string{"compare", data, data, "--alpha", "2"}},
		{exitUsage, "--points 3: want 50 to", []string{"compare", data, data, "--points", "3"}},
		{exitUsage, "help dance: want one of bench, compare, decode, encode, inspect, interpolate, likelihood, loss, run, verify", []string{"help", "dance"}},
		{exitFailed, "cannot write", []string{"likelihood", plane, data, "-o", filepath.Join(dir, "nowhere", "p.npz")}},
	} {
		code, out, stderr := command(t, c.args...)
		if code != c.code || out != "" || !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: exit %d, want %d; stderr %q, want %q", c.args, code, c.code, stderr, c.want)
		}
	}
	if left := files(t, dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Data that are none are refused where they are read, by every verb that reads them; samples in an .npz are read as this command writes them.
func TestDataOfEveryVerb(t *testing.T) {
	dir := t.TempDir()
	plane, err := filepath.Abs(model("mixture2"))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	bad := func(v float64) string {
		return writeNPY(t, npy.Array{Shape: []int{2, 2}, Data: []float64{0, 1, v, 1}})
	}
	huge := bad(1e38)
	for _, verb := range []string{"likelihood", "encode", "decode", "interpolate", "loss"} {
		for want, data := range map[string]string{
			"value 2 is NaN, want a finite float32":  bad(math.NaN()),
			"value 2 is -Inf, want a finite float32": bad(math.Inf(-1)),
			"value 2 is +Inf, want a finite float32": bad(1e300), // as float32
			"a directory, want a file":               t.TempDir(),
		} {
			code, out, stderr := command(t, verb, plane, data)
			if code != exitFailed || out != "" || !strings.Contains(stderr, data+": "+want) {
				t.Errorf("%s: exit %d, %q, want %q", verb, code, stderr, want)
			}
		}
		if code, out, stderr := command(t, verb, plane, huge); code != exitFailed || out != "" || !strings.Contains(stderr, "not finite") {
			t.Errorf("%s of 1e38: exit %d, %q", verb, code, stderr)
		}
	}
	if left := files(t, dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	must(t, plane, "-n", "4", "-q", "-o", "x.npz")
	must(t, plane, "-n", "4", "-q", "-o", "x.npy")
	for _, verb := range []string{"encode", "decode"} {
		var codes [2][]byte
		for i, data := range []string{"x.npz", "x.npy"} {
			must(t, verb, plane, data, "-q", "-o", "z.npy")
			b, err := os.ReadFile("z.npy")
			if err != nil {
				t.Fatal(err)
			}
			codes[i] = b
		}
		if !slices.Equal(codes[0], codes[1]) {
			t.Errorf("%s: samples of an .npz are others than of an .npy", verb)
		}
	}
	if must(t, "likelihood", plane, "x.npz", "--trace", "exact") != strings.Replace(must(t, "likelihood", plane, "x.npy", "--trace", "exact"), "x.npy", "x.npz", 1) {
		t.Error("likelihood: samples of an .npz are others than of an .npy")
	}
}

// Bytes are on the card's range for every verb that reads data: those of the codes and of log p are those of the floats that they stand for.
func TestBytesAsData(t *testing.T) {
	dir := t.TempDir()
	bytes := writeNPY(t, npy.Array{Shape: []int{2, 2}, Data: []uint8{0, 255, 51, 102}})
	same := writeNPY(t, npy.Array{Shape: []int{2, 2}, Data: []float32{-1, 1, -0.6, -0.2}})
	var codes [2][]float32
	var logP [2]string
	for i, data := range []string{bytes, same} {
		z := filepath.Join(dir, "z.npy")
		must(t, "encode", model("mixture2"), data, "--set", "range=-1,1", "-q", "-o", z)
		codes[i] = floats(t, readNPY(t, z))
		logP[i] = must(t, "likelihood", model("mixture2"), data, "--set", "range=-1,1")
	}
	closeTo(t, "codes", codes[0], codes[1], 1e-4)
	if logP[0] != logP[1] {
		t.Errorf("log p of bytes %s, of their floats %s", logP[0], logP[1])
	}
	if code, _, stderr := command(t, "likelihood", model("mixture2"), bytes); code != exitUsage || !strings.Contains(stderr, "--set range=0,1") {
		t.Errorf("bytes without a range: exit %d, %s", code, stderr)
	}
}
