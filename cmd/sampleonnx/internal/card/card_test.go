package card

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const digits = `{"score": 1, "output": "score", "x": "x", "time": "level", "out": "score", "time_kind": "index", "time_dtype": "int64", "time_shape": "B",
 "sde": "ve", "sigma_min": 0.01, "sigma_max": 14.0, "levels": 80, "shape": [1, 28, 28], "range": [0, 1], "prior": "uniform",
 "sampler": {"name": "ald", "eps": 1.3e-05, "steps": 5, "denoise": true}}`

func ports() (in, out []Port) {
	return []Port{{"level", "int64", []int{-1}}, {"x", "float32", []int{-1, 1, 28, 28}}}, []Port{{"score", "float32", []int{-1, 1, 28, 28}}}
}

func TestOrderOfSources(t *testing.T) {
	var c Card
	in, out := ports()
	steps := []error{
		c.SetMetadata(map[string]string{"score.output": "eps", "score.levels": "7", "score.sampler.eps": "1e-3", "producer": "x", "score.t_eps": "1e-4"}),
		c.SetJSON([]byte(digits), Source{Sidecar, "m.score.json"}),
		c.SetText("levels", "40", Source{Flag, "--steps"}),
		c.SetText("sampler.denoise", "false", Source{Flag, "--denoise"}),
		c.SetJSON([]byte(`{"levels": 3}`), Source{Sidecar, "late"}), // too late: the flag stays
		c.Infer(in, out),
		c.Check(),
	}
	for i, err := range steps {
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
	if c.Output != "score" || c.Levels != 40 || c.TEps != 1e-4 || c.Sampler.Denoise || c.Sampler.Eps != 1.3e-5 || !reflect.DeepEqual(c.Shape, []int{1, 28, 28}) {
		t.Errorf("%+v", c)
	}
	for key, want := range map[string]int{"output": Sidecar, "levels": Flag, "t_eps": Metadata, "sampler.eps": Sidecar, "sigmas": -1} {
		if got := c.Rank(key); got != want {
			t.Errorf("%s: rank %d, want %d", key, got, want)
		}
	}
	var again Card
	if err := again.SetJSON(c.JSON(), Source{Sidecar, "again"}); err != nil {
		t.Fatalf("%v\n%s", err, c.JSON())
	}
	c.From, again.From = nil, nil
	if !reflect.DeepEqual(again, c) {
		t.Errorf("printed and read again:\n%+v\n%+v", again, c)
	}
}

func TestRefusedCards(t *testing.T) {
	for text, want := range map[string]string{
		`[1]`:                         "not a JSON object",
		``:                            "not a JSON object",
		`{} {}`:                       "something follows",
		`{"score": 2}`:                "version 2",
		`{"sgima_max": 1}`:            `unknown key "sgima_max" (did you mean "sigma_max"?)`,
		`{"sampler": {"epsilon": 1}}`: `unknown key "sampler.epsilon"`,
		`{"sampler": "ald"}`:          `key "sampler": want an object`,
		`{"output": "scores"}`:        `"scores" is not one of score, score_sigma, eps`,
		`{"output": 1}`:               "want a string, have 1",
		`{"output": null}`:            "null is not allowed",
		`{"levels": "eighty"}`:        `want an integer, have "eighty"`,
		`{"levels": 2.5}`:             "want an integer, have 2.5",
		`{"levels": 0}`:               "want more than 0",
		`{"levels": 200000000}`:       `key "levels": want at most 1000000, have 200000000`,
		`{"levels": 5000000000}`:      `key "levels": 5000000000 is too large`,
		`{"sampler": {"n": 1e6, "steps": 1000001}}`:      `key "sampler.steps": want at most 1000000`,
		`{"sampler": {"n": 1073741824}}`:                 `key "sampler.n": want at most 1000000`,
		`{"sampler": {"lower": 1e9}}`:                    "at most 1000000, have 1000000000",
		`{"sampler": {"eta": -1}}`:                       "want 0 or more, have -1",
		`{"sampler": {"clip": 0}}`:                       "want more than 0, have 0",
		`{"cond": {"name": "y", "n": 1e9}}`:              `key "cond.n": want at most`,
		`{"cond": {"null": -1}}`:                         `key "cond.null": want 0 or more`,
		`{"` + strings.Repeat("k", 1<<19) + `": 1}`:      `unknown key "` + strings.Repeat("k", 40) + `"`,
		`{"shape": [` + strings.Repeat("1,", 40) + `1]}`: "at most 32",
		`{"sigma_max": "14"}`:                            `want a number, have "14"`,
		`{"sigma_max": 1e999}`:                           "want a number",
		`{"sigma_max": -1}`:                              "want more than 0",
		`{"shape": 28}`:                                  "want a list, have 28",
		`{"shape": []}`:                                  "at least one dimension",
		`{"shape": [1, 0]}`:                              "not the shape",
		`{"shape": [99999, 99999]}`:                      "not the shape",
		`{"range": [1, 0]}`:                              "the smaller first",
		`{"sigmas": [1, 2]}`:                             "falling",
		`{"sampler": {"denoise": 1}}`:                    "want true or false, have 1",
		`{"t_eps": 1}`:                                   "between 0 and 1",
	} {
		var c Card
		err := c.SetJSON([]byte(text), Source{Sidecar, "m.score.json"})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "m.score.json: ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.200s: %v, want %q", text, err, want)
		}
	}
	var c Card
	long := map[string]string{"score.x": strings.Repeat("x", 1<<19), "score.time": strings.Repeat("t", 1<<19), "other": strings.Repeat("x", 2<<20)}
	if err := c.SetMetadata(long); err == nil || !strings.Contains(err.Error(), "larger than 1 MiB") {
		t.Errorf("%.200v", err)
	}
}

func TestNeverGuessed(t *testing.T) {
	in, out := ports()
	for key, flag := range map[string]string{
		"output": "--set output=", "time_kind": "--set time_kind=index", "sde": "--sde ve|vp", "sigma_min": "--sigma-min", "sigma_max": "--sigma-max",
	} {
		var c Card
		if err := c.SetJSON([]byte(digits), Source{Sidecar, "s"}); err != nil {
			t.Fatal(err)
		}
		delete(c.From, key)
		if err := c.Infer(in, out); err != nil {
			t.Fatal(err)
		}
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("without %s: %v, want a hint at %s", key, err, flag)
		}
	}
	var c Card
	c.SetText("output", "score", Source{Flag, ""})
	c.SetText("sde", "ddpm", Source{Flag, ""})
	c.SetText("time_kind", "t", Source{Flag, ""})
	if err := c.Infer(in, out); err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); err == nil || !strings.Contains(err.Error(), "--set levels=1000") {
		t.Error(err)
	}
}

func TestInference(t *testing.T) {
	x := Port{"sample", "float32", []int{-1, 3, -1, -1}}
	y := []Port{{"y", "float32", nil}}
	cases := []struct {
		in   []Port
		out  []Port
		set  map[string]string
		want map[string]string // key: value, or "error": text
	}{
		{in: []Port{{"t", "float32", []int{-1}}, {"x", "float32", []int{-1, 2}}}, out: y, want: map[string]string{"x": "x", "time": "t", "time_shape": "B", "shape": "[2]", "out": "y"}},
		{in: []Port{x, {"timestep", "int64", []int{}}}, out: y, want: map[string]string{"time_shape": "scalar", "time_dtype": "int64", "shape": "none"}},
		{in: []Port{x, {"s", "float32", []int{-1, 1, 1, 1}}}, out: y, want: map[string]string{"x": "sample", "time": "s", "time_shape": "B111"}},
		{in: []Port{x, {"s", "float32", []int{1}}}, out: y, want: map[string]string{"time_shape": "1"}},
		{in: []Port{x}, out: y, want: map[string]string{"time_kind": "none", "output": "score_sigma"}},
		{in: []Port{x}, out: y, set: map[string]string{"output": "score"}, want: map[string]string{"output": "score"}},
		{in: []Port{x}, out: y, set: map[string]string{"time_kind": "sigma"}, want: map[string]string{"error": "no time input"}},
		{in: []Port{x, {"s", "float32", []int{1}}}, out: y, set: map[string]string{"time_kind": "none"}, want: map[string]string{"error": `the network has a time input, "s"`}},
		{in: []Port{{"t", "float32", []int{-1}}}, out: y, want: map[string]string{"error": "--set x=NAME"}},
		{in: []Port{x, {"a", "float32", []int{-1}}, {"b", "int64", []int{-1}}}, out: y, want: map[string]string{"error": "--set time=NAME"}},
		{in: []Port{x, {"a", "float32", []int{-1}}, {"b", "int64", []int{-1, 77, 8}}}, out: y, set: map[string]string{"time": "a"}, want: map[string]string{"error": `input "b"`}},
		{in: []Port{x}, out: append(y, y...), want: map[string]string{"error": "--set out=NAME"}},
		{in: []Port{x}, out: y, set: map[string]string{"x": "nope"}, want: map[string]string{"error": `no input "nope" (it has sample)`}},
		{in: []Port{x}, out: y, set: map[string]string{"shape": "1,8,8"}, want: map[string]string{"error": "does not fit"}},
		{in: []Port{x}, out: y, set: map[string]string{"shape": "3,8,8"}, want: map[string]string{"shape": "[3 8 8]"}},
	}
	for i, c := range cases {
		var k Card
		var err error
		for key, v := range c.set {
			if err = k.SetText(key, v, Source{Flag, "--set " + key}); err != nil {
				t.Fatal(err)
			}
		}
		err = k.Infer(c.in, c.out)
		if want := c.want["error"]; want != "" || err != nil {
			if err == nil || want == "" || !strings.Contains(err.Error(), want) {
				t.Errorf("case %d: %v, want %q", i, err, want)
			}
			continue
		}
		got := map[string]string{"x": k.X, "time": k.Time, "out": k.Out, "output": k.Output, "time_kind": k.TimeKind, "time_shape": k.TimeShape, "time_dtype": k.TimeDType, "shape": "none"}
		if k.Has("shape") {
			got["shape"] = strings.TrimSpace(Dims(k.Shape))
		}
		for key, want := range c.want {
			if got[key] != want {
				t.Errorf("case %d: %s is %q, want %q", i, key, got[key], want)
			}
		}
	}
}

func TestSidecarFile(t *testing.T) {
	dir := t.TempDir()
	var c Card
	if err := c.ReadSidecar(filepath.Join(dir, "none.score.json")); err != nil || len(c.From) != 0 {
		t.Errorf("no sidecar: %v", err)
	}
	name := File(filepath.Join(dir, "digits.onnx"))
	if filepath.Base(name) != "digits.score.json" {
		t.Error(name)
	}
	if err := os.WriteFile(name, []byte(digits), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := c.ReadSidecar(name); err != nil || c.Levels != 80 || c.From["levels"].Name != name {
		t.Errorf("%v %+v", err, c)
	}
	if n := len(c.Lines()); n != 19 {
		t.Errorf("%d lines", n)
	}
	other := File(filepath.Join(dir, "model", "m.onnx"))
	if err := errors.Join(os.Mkdir(filepath.Dir(other), 0o777), os.Symlink(name, other)); err != nil {
		t.Skip(err)
	}
	c = Card{}
	if err := c.ReadSidecar(other); err == nil || !strings.Contains(err.Error(), "leads out of the model's folder") || len(c.From) != 0 {
		t.Errorf("a link to another folder: %v", err)
	}
}

func TestTextLists(t *testing.T) {
	for _, text := range []string{"3,2,1", "[3, 2, 1]", " (3,2,1) "} {
		var c Card
		if err := c.SetText("sigmas", text, Source{Flag, "--sigmas"}); err != nil || !reflect.DeepEqual(c.Sigmas, []float64{3, 2, 1}) {
			t.Errorf("%q: %v %v", text, c.Sigmas, err)
		}
	}
	var c Card
	if err := c.SetText("time", "null", Source{Flag, "--set"}); err != nil || !c.Has("time") || c.Time != "" {
		t.Error(err)
	}
}

// FuzzCard reads any bytes as a card, which is the same when it is printed and read again, and as diffusers' configuration.
func FuzzCard(f *testing.F) {
	f.Add([]byte(digits))
	f.Add([]byte(`{"cond": {"name": "y", "kind": "int", "n": 10}, "time": null, "mean": null}`))
	f.Add([]byte(`{"_class_name": "DDIMScheduler", "trained_betas": [0.1], "lambda_min_clipped": -Infinity}`))
	f.Add([]byte(`{"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0, "shift_terminal": 0.02}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var scheduled Card
		if scheduled.SetScheduler(b, "f") == nil {
			scheduled.Lines()
		}
		var c Card
		if c.SetJSON(b, Source{Sidecar, "f"}) != nil {
			return
		}
		var again Card
		if err := again.SetJSON(c.JSON(), Source{Sidecar, "f"}); err != nil {
			t.Fatalf("%v\n%s", err, c.JSON())
		}
	})
}
