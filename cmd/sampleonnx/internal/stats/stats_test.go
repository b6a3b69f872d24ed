package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func normals(seed uint64, n int, shift, scale float64) []float64 {
	r := rand.New(rand.NewPCG(seed, 7))
	x := make([]float64, n)
	for i := range x {
		x[i] = shift + scale*r.NormFloat64()
	}
	return x
}

var usual = Options{Alpha: 0.05, Points: 100, Directions: 8}

// Of samples of one law few are told apart: of 200 pairs at 5 %, 20 or more with a probability below 0.003 (the correction makes it less).
func TestSize(t *testing.T) {
	wrong := 0
	for seed := range uint64(200) {
		if _, p := Compare(normals(2*seed, 200, 1, 2), normals(2*seed+1, 300, 1, 2), 2, usual); p < 0.05 {
			wrong++
		}
	}
	t.Logf("%d of 200 told apart", wrong)
	if wrong >= 20 {
		t.Errorf("%d of 200 pairs of one law are told apart at 5 %%", wrong)
	}
}

// Each kind of test sees what it is for.
func TestPower(t *testing.T) {
	o := Options{Alpha: 1e-3, Points: 300, Directions: 32}
	base := normals(1, 2000, 0, 1)
	// A law with the moments of the normal, and another form.
	flat := normals(2, 2000, 0, 0.3)
	for i := range flat {
		flat[i] += math.Copysign(math.Sqrt(1-0.09), flat[(i+7)%len(flat)]-flat[i])
	}
	together := normals(4, 2000, 0, 1) // elements that depend on each other, with the same margins
	for i := 0; i < len(together); i += 2 {
		together[i+1] = math.Copysign(together[i+1], together[i])
	}
	for name, c := range map[string]struct {
		other []float64
		seen  []string
	}{
		"shift": {normals(3, 2000, 0.3, 1), []string{"element 0: mean", "energy distance", "MMD², unbiased", "sliced Wasserstein distance"}},
		"scale": {normals(3, 2000, 0, 1.5), []string{"element 0: variance", "energy distance", "MMD², unbiased"}},
		"form":  {flat, []string{"element 0: Kolmogorov–Smirnov D", "element 1: Kolmogorov–Smirnov D"}},
		"joint": {together, []string{"MMD², unbiased"}},
	} {
		results, p := Compare(base, c.other, 2, o)
		if p > 1e-3 {
			t.Errorf("%s: p = %.2g", name, p)
		}
		for _, r := range results {
			if slices.Contains(c.seen, r.What) && r.Adjusted > 1e-3 {
				t.Errorf("%s: %s sees nothing, p = %.2g", name, r.What, r.Adjusted)
			}
		}
	}
}

func TestExactValues(t *testing.T) {
	if got := Holm([]float64{0.01, 0.04, 0.03, 0.5}); !slices.EqualFunc(got, []float64{0.04, 0.09, 0.09, 0.5}, func(a, b float64) bool { return math.Abs(a-b) < 1e-12 }) {
		t.Errorf("Holm: %v", got)
	}
	if d, _ := KolmogorovSmirnov([]float64{1, 2, 3, 4}, []float64{3, 4, 5, 6}); d != 0.5 {
		t.Errorf("D = %v", d)
	}
	if d, p := KolmogorovSmirnov([]float64{1, 1, 2}, []float64{2, 1, 1}); d != 0 || p != 1 {
		t.Errorf("D = %v, p = %v of the same values", d, p)
	}
	// Kolmogorov's distribution has its 5 % point at 1.3581.
	n := 20000
	a, b := make([]float64, n), make([]float64, n)
	shift := int(1.3581 * math.Sqrt(2*float64(n)))
	for i := range n {
		a[i], b[i] = float64(i), float64(i+shift)
	}
	if _, p := KolmogorovSmirnov(a, b); math.Abs(p-0.05) > 1e-3 {
		t.Errorf("p = %v, want 0.05", p)
	}
	// By hand: X = {0, 2}, Y = {1, 4}.
	x := []float64{0, 2, 1, 4}
	d := between(x, 1)
	for i := range d {
		d[i] = -d[i]
	}
	// 2·(1+4+1+2)/4 − 2 − 3 = −1.
	if got := pairStatistic(d, 2, 2)([]int{0, 1}); math.Abs(got+1) > 1e-12 {
		t.Errorf("energy distance %v, want −1", got)
	}
	// W₁ = (1 + 2)/2.
	if got := sliced(x, 1, 2, 2, []float64{1})([]int{0, 1}); math.Abs(got-1.5) > 1e-12 {
		t.Errorf("Wasserstein distance %v, want 1.5", got)
	}
}
