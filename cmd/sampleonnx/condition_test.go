package main

import (
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
	"sampleonnx/onnxrun"
	"sampleonnx/sampler"
	"sampleonnx/schedules"
)

// The means of the three classes of classes3, of which each is N(mean, 0.2²).
var corners = [3][2]float64{{0, 2}, {-1.75, -1}, {1.75, -1}}

// drawNPY runs sampleonnx and reads the samples that it writes to stdout.
func drawNPY(t *testing.T, args ...string) []float32 {
	t.Helper()
	out := must(t, append(args, "-o", "-", "-q")...)
	a, err := npy.Read(t.Context(), "stdout", strings.NewReader(out), int64(len(out)))
	if err != nil {
		t.Fatal(err)
	}
	return a.Data.([]float32)
}

// Samples take the classes in turn, and each is from its class's own law, whatever the sampler.
func TestClasses(t *testing.T) {
	const n = 600
	for _, sampler := range []string{"heun", "ode", "adaptive", "pc", "ddim"} {
		t.Run(sampler, func(t *testing.T) {
			x := drawNPY(t, model("classes3"), "-n", "600", "--class", "2,0-1", "--sampler", sampler)
			var sum, square [3][2]float64
			for i := range n {
				class := []int{2, 0, 1}[i%3]
				for k := range 2 {
					d := float64(x[2*i+k]) - corners[class][k]
					sum[class][k] += d / (n / 3)
					square[class][k] += d * d / (n / 3)
				}
			}
			for class := range 3 {
				for k := range 2 {
					// Five standard errors of a mean of 200, and as many of a variance and a tenth for the discretisation.
					if math.Abs(sum[class][k]) > 5*0.2/math.Sqrt(n/3) || math.Abs(square[class][k]/0.04-1) > 5*math.Sqrt(2./(n/3))+0.1 {
						t.Errorf("class %d: the mean of coordinate %d is off by %.3f, its variance is %.4f", class, k, sum[class][k], square[class][k])
					}
				}
			}
		})
	}
}

// The index and the unit vector are one class, the null class is all of them, and weight 1 is the class alone.
func TestClassForms(t *testing.T) {
	index, vector := model("classes3"), model("classes3_onehot")
	for _, args := range [][]string{
		{"--class", "0-2"},
		{"--class", "1", "--guidance", "2.5", "--null-class", "3"},
		{"--class", "2,1", "--guidance", "0", "--null-class", "3"},
		{"--null-class", "3"},
	} {
		args = append(args, "-n", "30")
		a := drawNPY(t, append([]string{index}, args...)...)
		if at := slices.Index(args, "--null-class"); at >= 0 { // zeros mean none to the other
			args = slices.Delete(slices.Clone(args), at, at+2)
		}
		b := drawNPY(t, append([]string{vector}, args...)...)
		closeTo(t, strings.Join(args, " "), a, b, 1e-5)
	}
	none, zero := drawNPY(t, vector, "-n", "300"), drawNPY(t, vector, "-n", "300", "--class", "0-2", "--guidance", "0")
	if !slices.Equal(none, zero) {
		t.Error("weight 0 differs from no class")
	}
	var share [3]float64
	for i := range 300 {
		for k, c := range corners {
			if math.Hypot(float64(none[2*i])-c[0], float64(none[2*i+1])-c[1]) < 1.2 {
				share[k] += 1. / 300
			}
		}
	}
	for k, s := range share {
		if math.Abs(s-1./3) > 5*math.Sqrt(2./9/300) {
			t.Errorf("without a class %.2f of the samples are of class %d", s, k)
		}
	}
}

// Conditioned samples do not depend on their batch, in any of the ways.
func TestConditionedBytes(t *testing.T) {
	dir := t.TempDir()
	put := func(name string, a npy.Array) string {
		path := filepath.Join(dir, name)
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := npy.Write(f, a); err != nil {
			t.Fatal(err)
		}
		return path
	}
	matrix := put("a.npy", npy.Array{Shape: []int{2, 4}, Data: []float64{1, 2, 0, -1, 0, 1, 1, 1}})
	y := put("y.npy", npy.Array{Shape: []int{3, 2}, Data: []float64{1, 0.5, -1, 0, 0.3, 0.2}})
	sum2 := put("sum.npy", npy.Array{Shape: []int{1, 2}, Data: []float64{1, 1}})
	y2 := put("y2.npy", npy.Array{Shape: []int{2, 1}, Data: []float64{1, 0.5}})
	mask := put("mask.npy", npy.Array{Shape: []int{4}, Data: []bool{true, false, false, true}})
	image := put("image.npy", npy.Array{Shape: []int{2, 4}, Data: []float32{0.5, 0, 0, -1, 1, 0, 0, 1}})
	known := []string{"--inpaint", image, "--mask", mask}
	measured := []string{"--inverse", "matrix:" + matrix, "--measurement", y}
	with := func(parts ...[]string) []string { return slices.Concat(parts...) }
	for name, c := range map[string]struct {
		model string
		args  []string
		tight bool // A x = y in the end
	}{
		"classes":         {"classes3", []string{"--class", "0-2", "--sampler", "ode"}, false},
		"classes, pigdm":  {"classes3", []string{"--class", "0-2", "--inverse", "matrix:" + sum2, "--measurement", y2, "--method", "pigdm", "--steps", "20"}, false},
		"guidance, dps":   {"classes3_onehot", []string{"--class", "0-2", "--guidance", "2", "--inverse", "matrix:" + sum2, "--measurement", y2, "--method", "dps", "--steps", "20"}, false},
		"free guidance":   {"classes3_onehot", []string{"--class", "0-2", "--guidance", "2"}, false},
		"inpaint, pc":     {"gaussian4", with(known, []string{"--sampler", "pc", "--steps", "20"}), true},
		"inpaint, ald":    {"gaussian4", with(known, []string{"--sampler", "ald", "--set", "levels=10", "--steps-per-level", "2"}), true},
		"inpaint, held":   {"gaussian4", with(known, []string{"--sampler", "ald", "--set", "levels=10", "--steps-per-level", "2", "--hold-noise"}), true},
		"inpaint, dpm":    {"gaussian4", with(known, []string{"--sampler", "dpmpp_2m"}), true},
		"inpaint, ode":    {"gaussian4", with(known, []string{"--sampler", "ode"}), true},
		"project, a part": {"gaussian4", with(measured, []string{"--sampler", "pc", "--steps", "20", "--strength", "0.5"}), false},
		"project, cas":    {"gaussian4", with(measured, []string{"--sampler", "cas"}), true},
		"mask, dps":       {"gaussian4", []string{"--inverse", "mask", "--mask", mask, "--measure", image, "--method", "dps", "--steps", "20"}, false},
		"dps":             {"gaussian4", with(measured, []string{"--method", "dps", "--steps", "20", "--strength", "0.5"}), false},
		"pigdm":           {"gaussian4", with(measured, []string{"--method", "pigdm", "--steps", "20"}), false},
		"reddiff":         {"gaussian4", with(measured, []string{"--method", "reddiff", "--steps", "50"}), false},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{model(c.model), "-n", "7"}, c.args...)
			want := drawNPY(t, args...)
			for _, batch := range []string{"1", "3"} {
				if got := drawNPY(t, append(args, "-b", batch)...); !slices.Equal(got, want) {
					t.Errorf("batches of %s give other samples", batch)
				}
			}
			if !c.tight {
				return
			}
			for i := range 7 {
				x, off := want[4*i:4*i+4], 0.0
				if slices.Contains(c.args, mask) {
					k := []float32{0.5, -1, 1, 1}[i%2*2:]
					off = max(math.Abs(float64(x[0]-k[0])), math.Abs(float64(x[3]-k[1])))
				} else {
					k := []float32{1, 0.5, -1, 0, 0.3, 0.2}[i%3*2:]
					off = max(math.Abs(float64(x[0]+2*x[1]-x[3]-k[0])), math.Abs(float64(x[1]+x[2]+x[3]-k[1])))
				}
				if off > 1e-5 {
					t.Errorf("sample %d is %v: it misses its measurement by %.2g", i, x, off)
				}
			}
		})
	}
}

// The known values have the noise of T when pc begins, of which the score knows
// only states; with the noise of published code they are as it has them.
func TestKnownValuesBeginWithNoise(t *testing.T) {
	mask, err := sampler.Mask([]bool{true, false})
	if err != nil {
		t.Fatal(err)
	}
	for name, sde := range map[string]schedules.SDE{"ve": schedules.VE{SigmaMin: 0.01, SigmaMax: 50}, "vp": schedules.VP{}} {
		m := &known{Measurement: sampler.Measurement{A: mask, Y: []float64{3}}, lambda: 1, begin: sde}
		const n = 2000
		b := &sampler.Batch{X: make([]float32, 2*n), Dim: 2}
		if err := b.Prior(sde.Prior()); err != nil {
			t.Fatal(err)
		}
		if err := m.started(b); err != nil {
			t.Fatal(err)
		}
		alpha, sigma := sde.Marginal(sde.T())
		squares := 0.0
		for i := range n {
			z := (float64(b.X[2*i]) - 3*alpha) / sigma
			squares += z * z
		}
		if off := (squares/n - 1) * math.Sqrt(n/2.); math.Abs(off) > 4.9 { // once in 10⁶
			t.Errorf("%s: the noise's variance is %.3g of T's", name, squares/n)
		}
		for _, noise := range []sampler.Noise{sampler.Replay{}, &sampler.Torch{}, sampler.Jax(0)} {
			b.X[0], b.Noise, b.Draws = 0, noise, 0
			if err := m.started(b); err != nil || b.X[0] != 3 || b.Draws != 0 {
				t.Errorf("%s, %T: the known value is %v after %d draws (%v)", name, noise, b.X[0], b.Draws, err)
			}
		}
	}
}

// What the flag makes of a classifier is the recorded gradient of ln p(class | x, t), from PyTorch's autograd, and the time is the process's.
func TestClassifierOfAFlag(t *testing.T) {
	file, err := npy.ReadZipFile(t.Context(), filepath.Join(models, "digits_classifier.npz"))
	if err != nil {
		t.Fatal(err)
	}
	classes, err := file["grad_class"].Int64s()
	if err != nil {
		t.Fatal(err)
	}
	list := make([]int, len(classes))
	for i, k := range classes {
		list[i] = int(k)
	}
	times, err := file["in_t"].Float64s()
	if err != nil {
		t.Fatal(err)
	}
	flags := classFlags{classifier: model("digits_classifier")}
	net := &card.Card{Shape: []int{1, 32, 32}, SDE: "vp"}
	c, err := flags.newClassifier(t.Context(), &recipe{path: schedules.VP{}}, net, list, runConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.model.Close()
	gradient, err := c.gradient(nil, list[:1])
	if err != nil {
		t.Fatal(err)
	}
	x, want := floats(t, file["in_x"]), floats(t, file["grad_x"])
	got := make([]float32, len(x))
	for i := range list { // one class for all: one sample at a time
		if gradient, err = c.gradient(nil, list[i:i+1]); err != nil {
			t.Fatal(err)
		}
		if err := gradient(got[i*1024:(i+1)*1024], x[i*1024:(i+1)*1024], times[i:i+1]); err != nil {
			t.Fatal(err)
		}
	}
	closeTo(t, "gradient", got, want, 1e-4)
}

// A measurement of pictures is on the network's range, less its mean.
func TestMeasurementOfPictures(t *testing.T) {
	dir := t.TempDir()
	grey := filepath.Join(dir, "grey.png")
	img := image.NewGray(image.Rect(0, 0, 4, 2))
	for i := range 8 {
		img.SetGray(i%4, i/4, color.Gray{Y: uint8(i * 34)})
	}
	f, err := os.Create(grey)
	if err != nil {
		t.Fatal(err)
	}
	if err := png.Encode(f, img); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	mean := make([]float32, 24)
	for i := range mean {
		mean[i] = 0.25
	}
	newJob := func(s conditionFlags) *job {
		return &job{card: &card.Card{Shape: []int{3, 2, 4}, Range: []float64{-1, 1}}, recipe: &recipe{mean: mean}, flags: sampleFlags{condition: s}}
	}
	value := func(i int) float64 { return -1 + 2*float64(i*34)/255 - 0.25 }
	for name, c := range map[string]struct {
		flags conditionFlags
		n     int
		want  func(i int) float64
	}{
		"colorize": {conditionFlags{colorize: grey}, 8, func(i int) float64 { return math.Sqrt(3) * value(i) }},
		"average": {conditionFlags{inverse: "average:2", measure: grey}, 6, func(i int) float64 {
			return (value(i%2*2) + value(i%2*2+1) + value(i%2*2+4) + value(i%2*2+5)) / 4
		}},
		"mask":                {conditionFlags{inpaint: grey, mask: "left"}, 12, func(i int) float64 { return value(i%2 + i/2%2*4) }},
		"mask from a picture": {conditionFlags{inpaint: grey, mask: grey}, 12, func(i int) float64 { return value(4 + i%4) }},
		"blur":                {conditionFlags{inverse: "blur:1", measurement: grey}, 24, func(i int) float64 { return value(i % 8) }},
	} {
		j := newJob(c.flags)
		a, err := j.operator(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		y, err := j.measurement(t.Context(), a)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(y) != c.n {
			t.Fatalf("%s: %d values measured, want %d", name, len(y), c.n)
		}
		for i, v := range y {
			if math.Abs(v-c.want(i)) > 1e-6 {
				t.Errorf("%s: value %d is %v, want %v", name, i, v, c.want(i))
			}
		}
	}
}

func TestConditionsRefuse(t *testing.T) {
	dir := t.TempDir()
	put := func(name string, shape []int, data any) string {
		path := filepath.Join(dir, name)
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := npy.Write(f, npy.Array{Shape: shape, Data: data}); err != nil {
			t.Fatal(err)
		}
		return path
	}
	image4 := put("image4.npy", []int{4}, make([]float32, 4))
	image5 := put("image5.npy", []int{5}, make([]float32, 5))
	nan := put("nan.npy", []int{4}, []float64{0, 0, math.NaN(), 0})
	mask4 := put("mask4.npy", []int{4}, []bool{true, false, false, true})
	nothing := put("nothing.npy", []int{4}, make([]bool, 4))
	matrix := put("matrix.npy", []int{1, 4}, []float32{1, 2, 3, 4})
	zeros := put("zeros.npy", []int{1, 4}, make([]float32, 4))
	scalar := put("scalar.npy", []int{1}, []float32{1})
	good, three, digits, judge := model("gaussian4"), model("classes3"), model("digits_ncsnpp_ve"), model("digits_classifier")
	for _, c := range []struct {
		name, want string
		args       []string
	}{
		{"no class input", "told no class", []string{good, "--class", "1"}},
		{"class out of range", "--class 3: the network knows 3, 0 to 2", []string{three, "--class", "1-3"}},
		{"class list", "want a class K", []string{three, "--class", "2-1"}},
		{"class text", "want a class K", []string{three, "--class", "cat"}},
		{"negative class", "want a class K", []string{three, "--class", "-1"}},
		{"class range", "at most", []string{three, "--class", "0-999999999"}},
		{"class missing", "--class is missing", []string{three}},
		{"no null class", "--null-class", []string{three, "--class", "1", "--guidance", "3"}},
		{"guidance alone", "--guidance is of no use without --class", []string{good, "--guidance", "3"}},
		{"guidance NaN", "--guidance NaN", []string{three, "--class", "1", "--guidance", "nan"}},
		{"classifier alone", "--classifier", []string{digits, "--classifier", judge}},
		{"classifier's class", "--class 10: the classifier knows 10", []string{digits, "--classifier", judge, "--class", "10"}},
		{"classifier's shape", "it takes samples of shape [1 32 32], those of the model have [4]", []string{good, "--classifier", judge, "--class", "1"}},
		{"no classifier", "want the logits of a known number of classes", []string{good, "--classifier", model("anysize"), "--class", "1"}},
		{"not logits", "want the logits", []string{digits, "--classifier", digits, "--class", "1"}},
		{"classifier's time", "--classifier-time", []string{digits, "--classifier", judge, "--class", "1", "--classifier-time", "noon"}},
		{"classifier's file", "no such file", []string{digits, "--classifier", filepath.Join(dir, "none.onnx"), "--class", "1"}},
		{"classifier and velocity", "follows a velocity", []string{digits, "--classifier", judge, "--class", "1", "--sampler", "flow_euler"}},
		{"no mask", "--mask is missing", []string{good, "--inpaint", image4}},
		{"mask alone", "--mask " + mask4 + " is of no use", []string{good, "--mask", mask4}},
		{"mask's shape", "--mask " + image5 + ": it has shape [5]", []string{good, "--inpaint", image4, "--mask", image5}},
		{"empty mask", "nothing is known", []string{good, "--inpaint", image4, "--mask", nothing}},
		{"mask's side", "have no sides", []string{good, "--inpaint", image4, "--mask", "left"}},
		{"image's shape", "--inpaint " + image5 + ": it has shape [5]", []string{good, "--inpaint", image5, "--mask", mask4}},
		{"image of NaN", "value 2 is NaN", []string{good, "--inpaint", nan, "--mask", mask4}},
		{"image's suffix", "want a file .png or .npy", []string{good, "--inpaint", "image.gif", "--mask", mask4}},
		{"colorize points", "which is no image", []string{good, "--colorize", image4}},
		{"colorize grey", "have 1 channels, not 3", []string{digits, "--colorize", image4}},
		{"two problems", "want one of them", []string{good, "--inpaint", image4, "--mask", mask4, "--inverse", "average:2", "--measure", image4}},
		{"unknown operator", "want mask, average:K", []string{digits, "--inverse", "squeeze", "--measure", image4}},
		{"average of what", "want average:K", []string{digits, "--inverse", "average:x", "--measure", image4}},
		{"ragged blocks", "has no blocks of 5×5", []string{digits, "--inverse", "average:5", "--measure", image4}},
		{"blur of nothing", "no blur of 0 pixels", []string{digits, "--inverse", "blur:0", "--measure", image4}},
		{"matrix's shape", "want a row of 4 values", []string{good, "--inverse", "matrix:" + image4, "--measurement", scalar}},
		{"zero matrix", "no value but 0", []string{good, "--inverse", "matrix:" + zeros, "--measurement", scalar}},
		{"measurement's length", "want 1 values", []string{good, "--inverse", "matrix:" + matrix, "--measurement", put("two.npy", []int{2, 3}, make([]float32, 6))}},
		{"no measurement", "--measurement", []string{good, "--inverse", "matrix:" + matrix}},
		{"two measurements", "--measurement", []string{good, "--inverse", "matrix:" + matrix, "--measurement", scalar, "--measure", image4}},
		{"measurement alone", "--measurement " + scalar + " is of no use", []string{good, "--measurement", scalar}},
		{"measurement as a picture", "is no picture", []string{good, "--inverse", "matrix:" + matrix, "--measurement", "y.png"}},
		{"unknown method", "--method", []string{good, "--inverse", "matrix:" + matrix, "--measurement", scalar, "--method", "magic"}},
		{"method alone", "of no use", []string{good, "--method", "dps"}},
		{"method and sampler", "a sampler of its own", []string{good, "--inverse", "matrix:" + matrix, "--measurement", scalar, "--method", "dps", "--sampler", "heun"}},
		{"method and clip", "does not clip", []string{good, "--inverse", "matrix:" + matrix, "--measurement", scalar, "--method", "dps", "--set", "sampler.clip=1"}},
		{"method and classifier", "which is not there with --classifier", []string{digits, "--classifier", judge, "--class", "1", "--inpaint", image4, "--mask", "left", "--method", "pigdm"}},
		{"method and eta", "--eta is of no use", []string{good, "--inverse", "matrix:" + matrix, "--measurement", scalar, "--method", "reddiff", "--eta", "1"}},
		{"method and denoise", "--denoise is of no use", []string{good, "--inverse", "matrix:" + matrix, "--measurement", scalar, "--method", "reddiff", "--denoise"}},
		{"null class of none", "--null-class: the network is told no class", []string{good, "--null-class", "3"}},
		{"strength", "--strength 0", []string{good, "--inverse", "matrix:" + matrix, "--measurement", scalar, "--strength", "0"}},
		{"all the way and more", "at most 1", []string{good, "--inverse", "matrix:" + matrix, "--measurement", scalar, "--strength", "2"}},
		{"velocity", "takes no measurement", []string{good, "--inverse", "matrix:" + matrix, "--measurement", scalar, "--sampler", "flow_euler"}},
		{"noise of nothing", "--hold-noise is of no use without", []string{good, "--hold-noise"}},
		{"noise of dps", "--hold-noise is of no use to --method dps", []string{good, "--inverse", "matrix:" + matrix, "--measurement", scalar, "--method", "dps", "--hold-noise"}},
		{"no noise", "--hold-noise is of no use to --sampler heun, only to ald, pc", []string{good, "--inverse", "matrix:" + matrix, "--measurement", scalar, "--sampler", "heun", "--hold-noise"}},
		{"npz without the array", `no array "nobody"`, []string{model("digits_ncsnv2"), "--mask", "left", "--inpaint", filepath.Join(models, "digits_empirical.law.npz") + ":nobody"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, err := command(t, append(c.args, "-n", "2", "-o", filepath.Join(dir, "out.npy"), "-q")...)
			want := exitUsage
			if c.name == "classifier's file" {
				want = exitModel
			}
			if code != want || out != "" || !strings.Contains(err, strings.Join(strings.Fields(c.want), " ")) {
				t.Errorf("exit %d, want %d; stderr %q, want %q", code, want, err, c.want)
			}
		})
	}
}

// A class-conditional network needs its classes told, in number and meaning.
func TestConditionalFieldRefuses(t *testing.T) {
	m, err := onnxrun.Open(model("classes3"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	spec := onnxrun.FieldSpec{X: "x", Time: "sigma", Out: "score", Shape: []int{2}}
	if _, err := m.FieldOf(t.Context(), spec); err == nil {
		t.Error("FieldOf without the class: no error")
	}
	if _, err := m.ConditionalOf(t.Context(), spec); err == nil {
		t.Error("ConditionalOf without a name: no error")
	}
	spec.Cond = "classes"
	if _, err := m.ConditionalOf(t.Context(), spec); err == nil {
		t.Error("ConditionalOf of an input that is not there: no error")
	}
	spec.Cond = "class"
	if _, err := m.FieldOf(t.Context(), spec); err == nil {
		t.Error("FieldOf with a class: no error")
	}
	if _, err := m.PullbackOf(t.Context(), spec); err == nil {
		t.Error("PullbackOf with a class: no error")
	}
	f, err := m.ConditionalOf(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]float32, 4)
	if err := f(dst, make([]float32, 4), []float64{1}, []float64{1, 1}); err == nil {
		t.Error("one class for two samples: no error")
	}
	if err := f(dst, make([]float32, 4), []float64{0, 2}, []float64{0.2, 0.2}); err != nil {
		t.Fatal(err)
	}
	closeTo(t, "scores of two classes", dst, []float32{0, 2 / 0.08, 1.75 / 0.08, -1 / 0.08}, 1e-6)
}
