package main

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"sampleonnx/cmd/sampleonnx/internal/npy"
)

// The published settings of NCSNv2: gamma and levels of two data sets by technique 2, and the ratio of proposition 3 at the published eps, which
// technique 4 is not above.
func TestPlan(t *testing.T) {
	planOf := func(args ...string) ladderPlan {
		var p ladderPlan
		if err := json.Unmarshal([]byte(must(t, append([]string{"plan", "--json"}, args...)...)), &p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, c := range []struct {
		hi, dim string
		gamma   float64
		levels  int
		best    float64
	}{{"50", "3072", 1.03980, 220, 1.0589}, {"90", "12288", 1.01951, 473, 1.0332}} {
		p := planOf("--sigma-max", c.hi, "--dim", c.dim, "--steps-per-level", "5")
		if p.Gamma == nil || math.Abs(*p.Gamma-c.gamma) > 5e-6 || p.Levels != c.levels || len(p.Steps) != 1 {
			t.Fatalf("%+v", p)
		}
		s := p.Steps[0]
		// Proposition 3 by five steps at σ = 1, one after another, from the variance of the level before.
		u, v := s.Eps/1e-4, p.Ratio*p.Ratio
		for range 5 {
			v = (1-u)*(1-u)*v + 2*u
		}
		if math.Abs(s.Variance-v) > 1e-9 || s.Variance > c.best || s.Calls != 5*c.levels+1 {
			t.Errorf("%s: %+v, by steps %.5f", c.hi, s, v)
		}
	}
	// Technique 1: the diameter of data; bytes are images on [0,1].
	data := writeNPY(t, npy.Array{Shape: []int{3, 2}, Data: []float32{0, 0, 3, 4, 1, 1}})
	if p := planOf(data); p.SigmaMax != 5 || p.Data != 3 || p.Dim != 2 || p.Gamma != nil || p.Levels != 2 || len(p.Steps) != 5 {
		t.Errorf("%+v", p)
	}
	bytes := writeNPY(t, npy.Array{Shape: []int{2, 1, 4, 4}, Data: append(make([]uint8, 31), 255)})
	if p := planOf(bytes); math.Abs(p.SigmaMax-1) > 1e-6 || p.Dim != 16 {
		t.Errorf("%+v", p)
	}
	if p := planOf(bytes, "--sigma-max", "7"); p.SigmaMax != 7 || p.Data != 0 || p.Dim != 16 {
		t.Errorf("%+v", p)
	}
	if out := must(t, "plan", "--sigma-max", "50", "--dim", "3072"); !strings.Contains(out, "gamma 1.03980, 220 levels") || strings.Count(out, "\n") != 8 {
		t.Error(out)
	}
	// What it plans is what the sampler does by default.
	p := planOf("--sigma-max", "16", "--dim", "1024", "--steps-per-level", "5")
	card := must(t, model("digits_ncsnpp_ve"), "--sampler", "ald", "--print-config")
	eps, err := json.Marshal(float32(p.Steps[0].Eps))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{fmt.Sprintf(`"levels": %d,`, p.Levels), fmt.Sprintf(`"eps": %s,`, eps)} {
		if !strings.Contains(card, want) {
			t.Errorf("no %s in %s", want, card)
		}
	}
	for want, args := range map[string][]string{
		"want --sigma-max and --dim, or a file of data": {"--dim", "4"}, "want two numbers above 0": {"--dim", "4", "--sigma-max", "0.001"}, "is no number of steps": {"--dim", "4", "--sigma-max", "5", "--steps-per-level", "5,x"},
		"--dim 3: the data have 2 values": {data, "--dim", "3"}, "want two samples or more": {writeNPY(t, npy.Array{Shape: []int{1, 2}, Data: []float32{0, 0}})},
		"--data is of no use": {"--dim", "4", "--sigma-max", "5", "-n", "7"},
	} {
		if code, _, stderr := command(t, append([]string{"plan"}, args...)...); code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit %d: %s", args, code, stderr)
		}
	}
}
