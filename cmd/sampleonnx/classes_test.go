package main

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"sampleonnx/cmd/sampleonnx/internal/npy"
	"sampleonnx/onnxrun"
	"sampleonnx/sampler"
)

// The derivative with guidance is that of the field with guidance, row by row: central differences over 2h are within h²/6 of the third derivative.
func TestClassPullback(t *testing.T) {
	for _, name := range []string{"classes3", "classes3_onehot"} {
		m, err := onnxrun.Open(model(name))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		var settings []setting
		if name == "classes3" {
			settings = []setting{{"cond.null", "3", "--null-class"}}
		}
		c, err := resolveCard(t.Context(), m, model(name), asked{settings: settings})
		if err != nil {
			t.Fatal(err)
		}
		net, err := differentiable(t.Context(), m, c)
		if err != nil {
			t.Fatal(err)
		}
		b := &sampler.Batch{First: 4} // so that row i is of class (4+i) mod 3
		x, v := []float32{0.3, 0.2, -0.4, 0.5, 0.1, -0.6, 0.7, 0.1}, []float32{1, -0.5, 0.3, 1, -1, 0.2, 0.4, 0.9}
		times := []float64{0.8, 1, 1.5, 0.9}
		for _, weight := range []float64{-1, 0, 1, 2.5} {
			for _, classes := range [][]int{nil, {0, 1, 2}} {
				field := net.field(b, classes, weight)
				got := make([]float32, len(x))
				if err := net.pullback(b, classes, weight)(got, v, x, times); err != nil {
					t.Fatal(err)
				}
				const h = 1. / 64
				for k := range 2 { // along the coordinate k of every sample
					var side [2][]float32
					for s, sign := range []float32{-1, 1} {
						at := slices.Clone(x)
						for i := k; i < len(at); i += 2 {
							at[i] += sign * h
						}
						side[s] = make([]float32, len(x))
						if err := field(side[s], at, times); err != nil {
							t.Fatal(err)
						}
					}
					for i := range times {
						want := 0.0
						for j := 2 * i; j < 2*i+2; j++ {
							want += float64(v[j]) * (float64(side[1][j]) - float64(side[0][j])) / (2 * h)
						}
						if d := math.Abs(float64(got[2*i+k]) - want); d > 1e-3*(1+math.Abs(want)) {
							t.Errorf("%s, classes %v, weight %v: sample %d, coordinate %d: %v, by differences %v", name, classes, weight, i, k, got[2*i+k], want)
						}
					}
				}
			}
		}
	}
}

// What is measured goes with the class: of a normal of variance τ² about the class's mean, A x = y leaves the direction across A as it was. Along A
// samples come to y, by ΠGDM exactly; the last steps of DPS go ζ far each in x, which is 2ζ in A x for an A of length √2. Five standard errors, of
// means and variances of 2000, are exceeded by one in 1.7 million.
func TestMeasuredClasses(t *testing.T) {
	const n, each, tau, zeta = 4000, 2000, 0.2, 0.1
	const y = 2.5
	known := []string{"--inverse", "matrix:" + writeNPY(t, npy.Array{Shape: []int{1, 2}, Data: []float64{1, 1}}),
		"--measurement", writeNPY(t, npy.Array{Shape: []int{1}, Data: []float64{y}})}
	for method, how := range map[string]struct {
		args []string
		off  float64
	}{"pigdm": {nil, 1e-4}, "dps": {[]string{"--strength", fmt.Sprint(zeta)}, 2 * zeta}} {
		args := slices.Concat([]string{model("classes3"), "-n", fmt.Sprint(n), "--class", "2,0", "--method", method, "--steps", "300"}, known, how.args)
		x := drawNPY(t, args...)
		for turn, class := range []int{2, 0} {
			var mean, square, off float64
			for i := turn; i < n; i += 2 {
				a, b := float64(x[2*i]), float64(x[2*i+1])
				d := (a - b - corners[class][0] + corners[class][1]) / math.Sqrt2
				mean += d / each
				square += d * d / each
				off += math.Abs(a+b-y) / each
			}
			t.Logf("%s, class %d: across, mean off by %.4f, variance %.4f; along, off by %.4f", method, class, mean, square, off)
			// A tenth more of the variance for the discretisation.
			if math.Abs(mean) > 5*tau/math.Sqrt(each) || math.Abs(square/(tau*tau)-1) > 5*math.Sqrt(2./each)+0.1 {
				t.Errorf("%s, class %d: across the measurement the mean is off by %.3f, the variance is %.4f", method, class, mean, square)
			}
			if off > how.off {
				t.Errorf("%s, class %d: on average %.3g from the measurement, want at most %.3g", method, class, off, how.off)
			}
		}
	}
}

// A sample has the derivative of its own class: class 3 is all three here, whose score bends otherwise, and among samples of others they are those
// that are drawn alone; as are data of which log p is asked. Guidance of weight 0 is without a class, of weight 1 the class.
func TestEachSampleHasItsClass(t *testing.T) {
	known := []string{"--inverse", "matrix:" + writeNPY(t, npy.Array{Shape: []int{1, 2}, Data: []float64{1, 0.5}}),
		"--measurement", writeNPY(t, npy.Array{Shape: []int{1}, Data: []float64{0.5}}), "--method", "pigdm", "--steps", "20"}
	data := writeNPY(t, npy.Array{Shape: []int{4, 2}, Data: []float32{0, 2, -0.5, 1.5, 0.2, 0.1, 0.1, 1.9}})
	draw := func(args ...string) []float32 {
		return drawNPY(t, append(append([]string{model("classes3"), "-n", "4", "--set", "cond.n=4"}, known...), args...)...)
	}
	logP := func(args ...string) []float32 {
		var r likelihoods
		if err := json.Unmarshal([]byte(must(t, append([]string{"likelihood", model("classes3"), data, "--json", "--set", "cond.n=4"}, args...)...)), &r); err != nil {
			t.Fatal(err)
		}
		list := make([]float32, 0, 8)
		for _, p := range r.LogP {
			list = append(list, float32(p), float32(p))
		}
		return list
	}
	for what, run := range map[string]func(args ...string) []float32{"samples": draw, "log p": logP} {
		mixed, none, zero := run("--class", "3,0"), run("--class", "3"), run("--class", "0")
		if slices.Equal(none, zero) {
			t.Fatalf("%s: the classes are the same", what)
		}
		for i := range 4 {
			want := [][]float32{none, zero}[i%2][2*i : 2*i+2]
			if got := mixed[2*i : 2*i+2]; !slices.Equal(got, want) {
				t.Errorf("%s %d of two classes: %v, want %v", what, i, got, want)
			}
		}
		if !slices.Equal(mixed, run("--class", "3,0", "-b", "1")) {
			t.Errorf("%s depend on the batch", what)
		}
		if !slices.Equal(none, run("--set", "cond.null=3")) {
			t.Errorf("%s of the class that means none are others than those of none", what)
		}
	}
	weigh := func(weight string) []float32 { return draw("--class", "0", "--null-class", "3", "--guidance", weight) }
	if !slices.Equal(weigh("0"), draw("--class", "3")) || !slices.Equal(weigh("1"), draw("--class", "0")) || slices.Equal(weigh("2"), weigh("1")) {
		t.Error("guidance of weight 0, 1 and 2 is not none, the class, and another")
	}
}

// The flow of a normal N(m, τ²) is x_T = m + (x−m)√((τ²+T²)/(τ²+ε²)), T and ε the noise at its ends; log p is that of the prior N(0, T²) at x_T and the
// flow's ln of volume.
func TestLikelihoodOfClasses(t *testing.T) {
	x := []float32{0, 2, -1.5, -1.1, 1.9, -0.7, 0.3, 2.1, -0.9, 0.4}
	data := writeNPY(t, npy.Array{Shape: []int{5, 2}, Data: x})
	const prior, eps = 10, 0.01 // VE's noise at its time ε is 1.00007 times its smallest
	grow := (0.04 + prior*prior) / (0.04 + eps*eps)
	for _, args := range [][]string{{"classes3"}, {"classes3_onehot"}, {"classes3", "--trace", "hutchinson"}, {"classes3_onehot", "-b", "2"}, {"classes3", "--coupled"}} {
		var r likelihoods
		run := append([]string{"likelihood", model(args[0]), data, "--json", "--class", "0-2", "--rtol", "1e-6", "--atol", "1e-6"}, args[1:]...)
		if err := json.Unmarshal([]byte(must(t, run...)), &r); err != nil {
			t.Fatal(err)
		}
		if r.Class != "0-2" || len(r.LogP) != 5 {
			t.Fatalf("%v: class %q, %d values", args, r.Class, len(r.LogP))
		}
		for i, got := range r.LogP {
			want := math.Log(grow) - math.Log(2*math.Pi*prior*prior)
			for k, m := range corners[i%3] {
				z := m + (float64(x[2*i+k])-m)*math.Sqrt(grow)
				want -= z * z / (2 * prior * prior)
			}
			if math.Abs(got-want) > 1e-3 {
				t.Errorf("%v: datum %d: log p %.5f, want %.5f", args, i, got, want)
			}
		}
	}
	if out := must(t, "likelihood", model("classes3"), data, "--class", "1"); !strings.Contains(out, "5 data of a.npy of class 1: log p") {
		t.Error(out)
	}
	for want, args := range map[string][]string{
		"--class is missing": {model("classes3"), data}, "--class 3: the network knows 3, 0 to 2": {model("classes3"), data, "--class", "1-3"},
		"want a class K": {model("classes3"), data, "--class", "cat"}, "told no class": {model("mixture2"), data, "--class", "1"},
	} {
		if code, _, stderr := command(t, append([]string{"likelihood"}, args...)...); code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit %d: %s", args, code, stderr)
		}
	}
}

// Sliced score matching and the loss are one objective (Vincent 2011): 1 + 2σ²/d times the one is the other, whatever the data.
func TestSlicedLossWithoutClass(t *testing.T) {
	data := writeNPY(t, npy.Array{Shape: []int{300, 2}, Data: drawNPY(t, model("classes3_onehot"), "-n", "300")})
	var tables []lossTable
	for _, args := range [][]string{{"classes3_onehot"}, {"classes3", "--set", "cond.null=3"}} {
		var r lossTable
		args = append([]string{"loss", model(args[0]), data, "--sliced", "--levels", "5", "--draws", "4", "--json", "--progress", "none"}, args[1:]...)
		if err := json.Unmarshal([]byte(must(t, args...)), &r); err != nil {
			t.Fatal(err)
		}
		tables = append(tables, r)
	}
	for i, v := range tables[0].Levels {
		scale := 2 * v.Sigma * v.Sigma / 2
		// Five of the errors' sum, which is at least that of the difference.
		if d := 1 + scale*v.Sliced.Value - v.Loss.Value; math.Abs(d) > 5*(scale*v.Sliced.Error+v.Loss.Error) {
			t.Errorf("sigma %.3g: loss %.4f, by derivatives %.4f more", v.Sigma, v.Loss.Value, d)
		}
		if other := tables[1].Levels[i]; math.Abs(other.Sliced.Value-v.Sliced.Value) > 1e-4*(1+math.Abs(v.Sliced.Value)) {
			t.Errorf("sigma %.3g: told an index %.6g, a vector %.6g", v.Sigma, other.Sliced.Value, v.Sliced.Value)
		}
	}
}
