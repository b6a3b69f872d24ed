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

	"sampleonnx/cmd/sampleonnx/internal/npy"
)

// classData are data of the classes 2, 0, 1, 2, … of classes3, and the file of their classes.
func classData(t *testing.T, n int) (x []float32, data, classes string) {
	t.Helper()
	x = drawNPY(t, model("classes3"), "-n", fmt.Sprint(n), "--class", "2,0,1")
	list := make([]int64, n)
	for i := range list {
		list[i] = []int64{2, 0, 1}[i%3]
	}
	return x, writeNPY(t, npy.Array{Shape: []int{n, 2}, Data: x}), writeNPY(t, npy.Array{Shape: []int{n}, Data: list})
}

// The ODE of class m is x_T = m + (x−m)√((τ²+T²)/(τ²+ε²)): codes are that, each by its own class, and come back as the data they were; whether the
// classes are on the command line or in a file, told by an index or a vector, in whatever batches.
func TestEncodeUnderClass(t *testing.T) {
	const n, prior, eps, tau2 = 10, 10, 0.01, 0.04
	x, data, classes := classData(t, n)
	grow := math.Sqrt((tau2 + prior*prior) / (tau2 + eps*eps))
	dir := t.TempDir()
	z, back := filepath.Join(dir, "z.npy"), filepath.Join(dir, "x.npy")
	for _, how := range [][]string{{"classes3", "--class", "2,0-1"}, {"classes3_onehot", "--class", classes}, {"classes3", "--class", classes, "-b", "3"}} {
		args := append(slices.Clone(how[1:]), "-q", "--rtol", "1e-6", "--atol", "1e-6")
		must(t, append([]string{"encode", model(how[0]), data, "-o", z}, args...)...)
		must(t, append([]string{"decode", model(how[0]), z, "-o", back}, args...)...)
		codes, again := floats(t, readNPY(t, z)), floats(t, readNPY(t, back))
		for i, v := range x {
			m := corners[[]int{2, 0, 1}[i/2%3]][i%2]
			if want := m + (float64(v)-m)*grow; math.Abs(float64(codes[i])-want) > 2e-3*(1+math.Abs(want)) {
				t.Errorf("%v: value %d of the codes is %v, want %v", how, i, codes[i], want)
			}
			if math.Abs(float64(again[i]-v)) > 1e-3 {
				t.Errorf("%v: value %d comes back as %v, was %v", how, i, again[i], v)
			}
		}
	}
	// What a code is depends on the class: under another it decodes to that class's law.
	must(t, "decode", model("classes3"), z, "--class", "1", "-q", "-o", back)
	for i, v := range floats(t, readNPY(t, back)) {
		if math.Abs(float64(v)-corners[1][i%2]) > 6*0.2 {
			t.Errorf("value %d of class 1 is %v", i, v)
		}
	}
}

// A row is of one class, from end to end: between data of a class it leads through that class.
func TestInterpolateUnderClass(t *testing.T) {
	x, data, _ := classData(t, 12)
	// Data 0 and 3, 1 and 4, 2 and 5, … are of one class.
	var pairs []float32
	for _, i := range []int{0, 3, 1, 4, 2, 5} {
		pairs = append(pairs, x[2*i:2*i+2]...)
	}
	data = writeNPY(t, npy.Array{Shape: []int{6, 2}, Data: pairs})
	classes := writeNPY(t, npy.Array{Shape: []int{3}, Data: []int32{2, 0, 1}})
	out := filepath.Join(t.TempDir(), "x.npy")
	for _, class := range []string{"2,0,1", classes} {
		must(t, "interpolate", model("classes3"), data, "-q", "-n", "5", "--class", class, "-o", out)
		y := floats(t, readNPY(t, out))
		if len(y) != 3*5*2 {
			t.Fatalf("%d values, want 3 rows of 5 points", len(y))
		}
		for i, v := range y {
			row := i / 10
			if m := corners[[]int{2, 0, 1}[row]][i%2]; math.Abs(float64(v)-m) > 6*0.2 {
				t.Errorf("--class %s: row %d passes %v, away from its class at %v", class, row, v, m)
			}
			if k := i / 2 % 5; k%4 == 0 && math.Abs(float64(v-pairs[4*row+k/4*2+i%2])) > 1e-3 {
				t.Errorf("--class %s: row %d, end %d: %v, want %v", class, row, k/4, v, pairs[4*row+k/4*2+i%2])
			}
		}
	}
	must(t, "interpolate", model("classes3"), "-q", "-n", "3", "--rows", "2", "--class", "0,2", "-o", out)
	for i, v := range floats(t, readNPY(t, out)) {
		if m := corners[[]int{0, 2}[i/6]][i%2]; math.Abs(float64(v)-m) > 6*0.2 {
			t.Errorf("random codes: value %d is %v", i, v)
		}
	}
}

// Under its class a datum of variance τ² has the loss τ²/(τ²+σ²) of the exact score, and under another one the score is off by the means' distance D:
// D²σ²/d/(τ²+σ²)² more.
func TestLossOfClass(t *testing.T) {
	const tau2 = 0.04
	_, data, classes := classData(t, 300)
	args := []string{data, "--levels", "4", "--draws", "4", "-b", "7"}
	right := lossOf(t, append([]string{model("classes3"), "--class", "2,0,1", "--exact-score", model("classes3_onehot"), "--sliced"}, args...)...)
	file := lossOf(t, append([]string{model("classes3_onehot"), "--class", classes}, args...)...)
	wrong := lossOf(t, append([]string{model("classes3"), "--class", "0,1,2"}, args...)...)
	guided := lossOf(t, append([]string{model("classes3"), "--class", "2,0,1", "--null-class", "3", "--guidance", "1.5"}, args...)...)
	if right.Class != "2,0,1" || right.Guidance == nil || *right.Guidance != 1 || *guided.Guidance != 1.5 {
		t.Errorf("class %q, guidance %v", right.Class, right.Guidance)
	}
	for i, v := range right.Levels {
		w := tau2 + v.Sigma*v.Sigma
		if math.Abs(v.Loss.Value-tau2/w) > 5*v.Loss.Error+1e-5 {
			t.Errorf("sigma %.3g: loss %v, want %v", v.Sigma, v.Loss, tau2/w)
		}
		if math.Abs(file.Levels[i].Loss.Value-v.Loss.Value) > 1e-5*(1+v.Loss.Value) {
			t.Errorf("sigma %.3g: loss %v with the classes of a file", v.Sigma, file.Levels[i].Loss)
		}
		if v.Fisher == nil || v.Fisher.Value*v.Sigma*v.Sigma > 1e-9 {
			t.Errorf("sigma %.3g: the classes' exact score is off by %v from itself", v.Sigma, v.Fisher)
		}
		if d := 1 + v.Sigma*v.Sigma*v.Sliced.Value - v.Loss.Value; math.Abs(d) > 5*(v.Sigma*v.Sigma*v.Sliced.Error+v.Loss.Error) {
			t.Errorf("sigma %.3g: loss %.4f, by derivatives %.4f more", v.Sigma, v.Loss.Value, d)
		}
		// Each class is taken for another, and the three distances' squares are 3.5², and twice 1.75²+3².
		more := (3.5*3.5 + 2*(1.75*1.75+9)) / 3 * v.Sigma * v.Sigma / 2 / (w * w)
		off := wrong.Levels[i].Loss
		if math.Abs(off.Value-v.Loss.Value-more) > 5*(off.Error+v.Loss.Error)+1e-5*more {
			t.Errorf("sigma %.3g: loss %v under the wrong class, want %v more than %v", v.Sigma, off, more, v.Loss)
		}
		if guided.Levels[i].Loss.Value < v.Loss.Value-5*v.Loss.Error {
			t.Errorf("sigma %.3g: loss %v with guidance, %v without, which is the least there is", v.Sigma, guided.Levels[i].Loss, v.Loss)
		}
	}
}

// Guidance is of weight 1 the class and of weight 0 none, in likelihoods as in samples; and of weight w it is the density of the ODE's samples: it
// sums to 1, here over a grid that holds all of it.
func TestLikelihoodUnderGuidance(t *testing.T) {
	logP := func(data string, args ...string) []float64 {
		var r likelihoods
		if err := json.Unmarshal([]byte(must(t, append([]string{"likelihood", model("classes3"), data, "--json", "-b", "4096", "--rtol", "1e-4", "--atol", "1e-4", "--null-class", "3"}, args...)...)), &r); err != nil {
			t.Fatal(err)
		}
		return r.LogP
	}
	few := writeNPY(t, npy.Array{Shape: []int{3, 2}, Data: []float32{0, 2, -0.3, 1.8, -1.5, -1.1}})
	class, none := logP(few, "--class", "0"), logP(few)
	if one := logP(few, "--class", "0", "--guidance", "1"); !slices.Equal(one, class) {
		t.Errorf("weight 1: %v, want the class's %v", one, class)
	}
	if zero := logP(few, "--class", "0", "--guidance", "0"); !slices.Equal(zero, none) {
		t.Errorf("weight 0: %v, want that of no class, %v", zero, none)
	}
	const side, step = 41, 0.06
	grid := make([]float32, 0, 2*side*side)
	for i := range side {
		for k := range side {
			grid = append(grid, float32(step*float64(i-side/2)), float32(2.2+step*float64(k-side/2)))
		}
	}
	sum := 0.0
	for _, p := range logP(writeNPY(t, npy.Array{Shape: []int{side * side, 2}, Data: grid}), "--class", "0", "--guidance", "1.5") {
		sum += step * step * math.Exp(p)
	}
	t.Logf("the density sums to %.4f", sum)
	if math.Abs(sum-1) > 0.01 {
		t.Errorf("the density under guidance sums to %.4f", sum)
	}
}

// A classifier's guidance needs no class of the network's, and in likelihoods and losses only the score: what needs its derivative is refused.
func TestConditionsOfEveryVerb(t *testing.T) {
	dir := t.TempDir()
	data := writeNPY(t, npy.Array{Shape: []int{2, 2}, Data: []float32{0, 2, 1, 1}})
	ints := func(values ...int64) string {
		return writeNPY(t, npy.Array{Shape: []int{len(values)}, Data: values})
	}
	halves := writeNPY(t, npy.Array{Shape: []int{2}, Data: []float32{0, 1}})
	column := writeNPY(t, npy.Array{Shape: []int{2, 1}, Data: []int64{0, 1}})
	three, plain, judge := model("classes3"), model("mixture2"), model("digits_classifier")
	for _, verb := range [][]string{{"likelihood"}, {"encode"}, {"decode"}, {"interpolate", "--rows", "2"}, {"loss"}} {
		for want, args := range map[string][]string{
			"--class 3: the network knows 3, 0 to 2":                       {three, "--class", "1-3"},
			"--class 7: the network knows 3, 0 to 2":                       {three, "--class", ints(0, 7)},
			"value 1 is -1, want a class, from 0":                          {three, "--class", ints(0, -1)},
			"want integers":                                                {three, "--class", halves},
			"has shape [2 1], want [n]":                                    {three, "--class", column},
			"holds 3 classes, want one for each of":                        {three, "--class", ints(0, 1, 2)},
			"--class is missing":                                           {three},
			"the network is told no class (its card has no cond); with":    {plain, "--class", "1"},
			"--null-class: the network is told no class":                   {plain, "--null-class", "1"},
			"--guidance is of no use without --class":                      {three, "--guidance", "2"},
			"--guidance 2: without a classifier it needs":                  {three, "--class", "1", "--guidance", "2"},
			"is of no use without --class":                                 {three, "--classifier", judge},
			"--classifier-time t is of no use without --classifier":        {three, "--class", "1", "--classifier-time", "t"},
			"it takes samples of shape [1 32 32], those of the model have": {three, "--class", "1", "--classifier", judge},
		} {
			all := slices.Concat(verb, args[:1], []string{data}, args[1:])
			if verb[0] != "likelihood" && verb[0] != "loss" {
				all = append(all, "-o", filepath.Join(dir, "out.npy"))
			}
			if code, out, stderr := command(t, all...); code != exitUsage || out != "" || !strings.Contains(stderr, want) {
				t.Errorf("%v: exit %d: %s; want %q", all, code, stderr, want)
			}
		}
	}
	for want, args := range map[string][]string{
		"--trace exact: it needs the derivative": {"likelihood", three, data, "--class", "1", "--classifier", judge, "--trace", "exact"},
		"--sliced: it needs the derivative":      {"loss", three, data, "--class", "1", "--classifier", judge, "--sliced"},
		"no such file":                           {"encode", three, data, "--class", filepath.Join(dir, "none.npy"), "-o", filepath.Join(dir, "out.npy")},
	} {
		if code, _, stderr := command(t, args...); code == exitDone || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit %d: %s", args, code, stderr)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// cornersOf writes the exact classifier of classes3's normals, or the exact score of all of them to a network that is told no class.
func cornersOf(t *testing.T, classify bool) string {
	t.Helper()
	g := new(graph)
	x, s := g.input("x", isFloat, -1, 2), g.input("sigma", isFloat, -1)
	v := g.column(g.op("Add", g.op("Mul", s, s), g.c(0.04)), 2)
	var flat, turned, half []float64
	for k := range 2 {
		for _, m := range corners {
			turned = append(turned, m[k])
		}
	}
	for _, m := range corners {
		flat = append(flat, m[:]...)
		half = append(half, (m[0]*m[0]+m[1]*m[1])/2)
	}
	logits := g.op("Div", g.op("Sub", g.op("MatMul", x, g.op("Reshape", g.c(turned...), g.ints(2, 3))), g.c(half...)), v)
	if classify {
		return g.write(t, logits, -1, 3)
	}
	mean := g.op("MatMul", g.op("Softmax", logits), g.op("Reshape", g.c(flat...), g.ints(3, 2)))
	return g.write(t, g.op("Div", g.op("Sub", mean, x), v), -1, 2)
}

// The score of all classes and the exact classifier's gradient are the class's score (Bayes), so that every verb has with the one what it has with a
// network that is told the class.
func TestClassifierOfEveryVerb(t *testing.T) {
	const n = 6
	_, data, classes := classData(t, n)
	judge := cornersOf(t, true)
	told := []string{model("classes3"), data, "--class", classes}
	judged := []string{cornersOf(t, false), data, "--class", classes, "--classifier", judge,
		"--set", "sde=ve", "--set", "sigma_min=0.01", "--set", "sigma_max=10", "--set", "output=score", "--set", "time_kind=sigma"}
	logP := func(args []string, more ...string) []float32 {
		var r likelihoods
		if err := json.Unmarshal([]byte(must(t, slices.Concat([]string{"likelihood"}, args, more, []string{"--json"})...)), &r); err != nil {
			t.Fatal(err)
		}
		list := make([]float32, n)
		for i, p := range r.LogP {
			list[i] = float32(p)
		}
		return list
	}
	closeTo(t, "log p", logP(judged), logP(told, "--trace", "central"), 1e-3)
	z := filepath.Join(t.TempDir(), "z.npy")
	codes := func(args []string) []float32 {
		must(t, slices.Concat([]string{"encode"}, args, []string{"-q", "-o", z})...)
		return floats(t, readNPY(t, z))
	}
	closeTo(t, "codes", codes(judged), codes(told), 1e-2)
	a, b := lossOf(t, append(judged, "--levels", "3")...), lossOf(t, append(told, "--levels", "3")...)
	for i, v := range a.Levels {
		if want := b.Levels[i].Loss.Value; math.Abs(v.Loss.Value-want) > 1e-3*(1+want) {
			t.Errorf("sigma %.3g: loss %v, want %v", v.Sigma, v.Loss.Value, want)
		}
	}
}
