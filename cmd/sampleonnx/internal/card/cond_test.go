package card

import (
	"strings"
	"testing"
)

// What tells a network the class is found by its form: an integer for each sample, or a vector with a value a class.
func TestCondIsInferred(t *testing.T) {
	x, time := Port{"x", "float32", []int{-1, 3, 8, 8}}, Port{"t", "float32", []int{-1}}
	out := []Port{{"y", "float32", []int{-1, 3, 8, 8}}}
	for _, c := range []struct {
		name  string
		class Port
		set   map[string]string
		want  Cond
		err   string
	}{
		{"index", Port{"class", "int64", []int{-1}}, map[string]string{"time": "t", "cond.n": "10"}, Cond{Name: "class", Kind: "int", N: 10}, ""},
		{"index with none", Port{"class", "int32", []int{-1}}, map[string]string{"time": "t", "cond.n": "10", "cond.null": "10"}, Cond{"class", "int", 10, 10}, ""},
		{"vector", Port{"label", "float32", []int{-1, 7}}, nil, Cond{Name: "label", Kind: "float", N: 7}, ""},
		{"a float by name", Port{"class", "float32", []int{-1}}, map[string]string{"cond.name": "class", "cond.n": "4"}, Cond{Name: "class", Kind: "int", N: 4}, ""},
		{"two that may be the time", Port{"class", "int64", []int{-1}}, nil, Cond{}, "could both be the time"},
		{"another number", Port{"label", "float32", []int{-1, 7}}, map[string]string{"cond.n": "5"}, Cond{}, "cond.n is 5"},
		{"open vector", Port{"label", "float32", []int{-1, -1}}, nil, Cond{}, "a class as a vector"},
		{"a text's embedding", Port{"encoder_hidden_states", "float32", []int{-1, 77, 768}}, nil, Cond{}, "neither the samples nor the time nor the class"},
		{"a name that is not there", Port{"label", "float32", []int{-1, 7}}, map[string]string{"cond.name": "class"}, Cond{}, "label"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var k Card
			for key, text := range c.set {
				if err := k.SetText(key, text, Source{Flag, "--set"}); err != nil {
					t.Fatal(err)
				}
			}
			err := k.Infer([]Port{x, time, c.class}, out)
			switch {
			case c.err == "" && err != nil:
				t.Error(err)
			case c.err == "" && k.Cond != c.want:
				t.Errorf("%+v, want %+v", k.Cond, c.want)
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
				t.Errorf("error %v, want %q", err, c.err)
			}
		})
	}
	var k Card
	if err := k.SetText("cond.null", "-1", Source{}); err == nil {
		t.Error("cond.null=-1: no error")
	}
	if err := k.SetText("cond.n", "0", Source{}); err == nil {
		t.Error("cond.n=0: no error")
	}
}

// A class is asked for how many there are.
func TestCondIsChecked(t *testing.T) {
	var k Card
	for key, text := range map[string]string{"output": "score", "shape": "2", "time_kind": "sigma", "sde": "ve", "sigma_min": "1", "sigma_max": "2", "cond.name": "class"} {
		if err := k.SetText(key, text, Source{Flag, "--set"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Check(); err == nil || !strings.Contains(err.Error(), "--set cond.n=") {
		t.Error(err)
	}
}
