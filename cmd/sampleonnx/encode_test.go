package main

import (
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sampleonnx/cmd/sampleonnx/internal/npy"
	"sampleonnx/cmd/sampleonnx/internal/stats"
)

// some writes the first n data of an array to a file.
func some(t *testing.T, from string, n int) string {
	t.Helper()
	a := readNPY(t, from)
	x := floats(t, a)
	a.Shape[0], a.Data = n, x[:n*elements(a.Shape[1:])]
	name := filepath.Join(t.TempDir(), "d.npy")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := npy.Write(f, a); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}

// Data come back from their codes, and the codes are the prior's: on these laws to what the tolerance leaves.
func TestEncodeAndDecode(t *testing.T) {
	for _, name := range []string{"gaussian4", "mixture2"} {
		const n = 2000
		dir := t.TempDir()
		data, z, back := some(t, filepath.Join(golden, name+"_ald_samples.npy"), n), filepath.Join(dir, "z.npy"), filepath.Join(dir, "x.npy")
		fine := []string{"-q", "--rtol", "1e-6", "--atol", "1e-6"}
		must(t, append([]string{"encode", model(name), data, "-o", z}, fine...)...)
		must(t, append([]string{"decode", model(name), z, "-o", back, "-b", "700"}, fine...)...)
		x, y := floats(t, readNPY(t, data)), floats(t, readNPY(t, back))
		worst := 0.0
		for i, v := range x {
			worst = max(worst, math.Abs(float64(v-y[i])))
		}
		t.Logf("%s: data come back within %.2g", name, worst)
		if len(y) != len(x) || worst > 1e-3 {
			t.Errorf("%s: data come back off by %g", name, worst)
		}
		// σ_max = 8 on data of unit size and means of up to 3: codes are of about N(mean, 8² + 1).
		m := stats.MomentsOf(float64s(floats(t, readNPY(t, z))), len(x)/n)
		for k, v := range m.Variance {
			if v < 55 || v > 90 || math.Abs(m.Mean[k]) > 4 {
				t.Errorf("%s: codes of mean %.2f and variance %.1f", name, m.Mean[k], v)
			}
		}
	}
	// A code is the likelihood's.
	data, dir := some(t, filepath.Join(golden, "mixture2_ald_samples.npy"), 5), t.TempDir()
	must(t, "encode", model("mixture2"), data, "-q", "--rtol", "1e-7", "--atol", "1e-7", "-o", filepath.Join(dir, "z.npy"))
	must(t, "likelihood", model("mixture2"), data, "--rtol", "1e-7", "--atol", "1e-7", "-o", filepath.Join(dir, "p.npz"))
	file, err := npy.ReadZipFile(t.Context(), filepath.Join(dir, "p.npz"))
	if err != nil {
		t.Fatal(err)
	}
	want := floats(t, file["z"])
	for i, z := range floats(t, readNPY(t, filepath.Join(dir, "z.npy"))) {
		if math.Abs(float64(z-want[i])) > 1e-4 {
			t.Errorf("value %d of the codes is %v, the likelihood's is %v", i, z, want[i])
		}
	}
}

// A row begins and ends with the data, as decoded; a picture has a row a pair.
func TestInterpolate(t *testing.T) {
	dir := t.TempDir()
	data, out := some(t, filepath.Join(golden, "gaussian4_ald_samples.npy"), 7), filepath.Join(dir, "x.npy")
	must(t, "interpolate", model("gaussian4"), data, "-q", "-n", "5", "-o", out)
	x, a := floats(t, readNPY(t, data)), readNPY(t, out)
	y := floats(t, a)
	if a.Shape[0] != 15 {
		t.Fatalf("%v, want 3 rows of 5", a.Shape)
	}
	for pair := range 3 {
		for k := range 4 {
			for end := range 2 {
				got, want := y[(5*pair+4*end)*4+k], x[(2*pair+end)*4+k]
				if math.Abs(float64(got-want)) > 1e-3 {
					t.Errorf("pair %d, end %d, value %d: %v, want %v", pair, end, k, got, want)
				}
			}
		}
	}
	// Random codes; one seed, one picture.
	var before string
	for _, batch := range []string{"1", "4"} {
		must(t, "interpolate", model("digits_empirical"), "-q", "-n", "3", "--rows", "2", "-s", "4", "-b", batch, "--rtol", "1e-2", "--atol", "1e-2", "-o", filepath.Join(dir, "i.png"))
		b, err := os.ReadFile(filepath.Join(dir, "i.png"))
		if err != nil {
			t.Fatal(err)
		}
		if before == "" {
			before = string(b)
		}
		if string(b) != before {
			t.Errorf("batch %s: another picture", batch)
		}
		img, err := png.Decode(strings.NewReader(string(b)))
		if err != nil {
			t.Fatal(err)
		}
		if size := img.Bounds().Size(); (size.X-2)*2 != (size.Y-2)*3 {
			t.Errorf("a picture of %v for 2 rows of 3", size)
		}
	}
	for want, args := range map[string][]string{
		"want a model and data":                 {"encode", model("gaussian4")},
		"want a model and codes":                {"decode", model("gaussian4")},
		"samples have [2]":                      {"encode", model("mixture2"), data},
		"want a model and perhaps data":         {"interpolate"},
		"holds one datum":                       {"interpolate", model("gaussian4"), some(t, data, 1)},
		"want 2 and 1 or more":                  {"interpolate", model("gaussian4"), "-n", "1"},
		"the suffix decides":                    {"decode", model("gaussian4"), data, "-o", "x.gif"},
		"a picture needs":                       {"encode", model("gaussian4"), data, "-o", filepath.Join(dir, "x.png")},
		"--batch -1":                            {"decode", model("gaussian4"), data, "-b", "-1"},
		"sampler.rtol":                          {"decode", model("gaussian4"), data, "--rtol", "no"},
		"unknown flag: --rows (see --help)":     {"encode", model("gaussian4"), data, "--rows", "3"},
		"unknown shorthand flag: 'k' in -k (se": {"interpolate", model("gaussian4"), "-k"},
	} {
		if code, _, stderr := command(t, args...); code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit %d: %s", args, code, stderr)
		}
	}
	for verb, want := range map[string]string{"encode": "one code each", "decode": "from the noise", "interpolate": "great circle"} {
		if out := must(t, verb, "--help"); !strings.Contains(out, want) || !strings.Contains(out, "--rtol") {
			t.Errorf("%s --help: %s", verb, out)
		}
	}
}
