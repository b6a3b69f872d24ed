package stats

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
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
		if _, p, _ := Compare(t.Context(), normals(2*seed, 200, 1, 2), normals(2*seed+1, 300, 1, 2), 2, usual); p < 0.05 {
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
		"far":   {normals(3, 2000, 1, 1), []string{"C2ST accuracy"}},
		"scale": {normals(3, 2000, 0, 1.5), []string{"element 0: variance", "energy distance", "MMD², unbiased"}},
		"form":  {flat, []string{"element 0: Kolmogorov–Smirnov D", "element 1: Kolmogorov–Smirnov D"}},
		"joint": {together, []string{"MMD², unbiased", "C2ST accuracy"}},
	} {
		results, p, _ := Compare(t.Context(), base, c.other, 2, o)
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
	d := between(t.Context(), x, 1)
	for i := range d {
		d[i] = -d[i]
	}
	// 2·(1+4+1+2)/4 − 2 − 3 = −1.
	if got := pairStatistic(d, 2, 2)([]int{0, 1}); math.Abs(got+1) > 1e-12 {
		t.Errorf("energy distance %v, want −1", got)
	}
	// W₁ = (1 + 2)/2.
	if got := sliced(t.Context(), x, 1, 2, 2, []float64{1})([]int{0, 1}); math.Abs(got-1.5) > 1e-12 {
		t.Errorf("Wasserstein distance %v, want 1.5", got)
	}
}

// The public distances are the tests' own.
func TestDistances(t *testing.T) {
	x, y := []float64{0, 2}, []float64{1, 4}
	if got := Energy(x, y, 1); math.Abs(got+1) > 1e-12 {
		t.Errorf("energy distance %v, want −1", got)
	}
	// Distances 1, 1, 2, 2, 3, 4, whose median as a list of pairs and their mirrors is 2.
	k := func(d float64) float64 { return math.Exp(-d*d/2) + math.Exp(-d*d/8) + math.Exp(-d*d/32) }
	if got, want := MMD2(x, y, 1), k(2)+k(3)-(k(1)+k(4)+k(1)+k(2))/2; math.Abs(got-want) > 1e-12 {
		t.Errorf("MMD² %v, want %v", got, want)
	}
	if got := SlicedWasserstein(x, y, 1, 5, 3); math.Abs(got-1.5) > 1e-12 { // in one dimension every direction is the same
		t.Errorf("Wasserstein distance %v, want 1.5", got)
	}
}

// By hand: what is far apart is told apart; nearest neighbours vote.
func TestC2STExactly(t *testing.T) {
	accuracy, p := C2ST([]float64{0, 1, 2, 3}, []float64{10, 11, 12, 13}, 1, 7)
	if want := math.Erfc(2/math.Sqrt2) / 2; accuracy != 1 || math.Abs(p-want) > 1e-12 { // 4 judged, 2 standard deviations of ¼ above ½
		t.Errorf("accuracy %v, p %v, want 1 and %v", accuracy, p, want)
	}
	points := []float64{0, 0.4, 1, 5, -7}
	d := between(t.Context(), points, 1)
	for k, want := range map[int]int{1: 1, 2: 1, 3: 1, 4: 2} { // of the first two: 0 is nearest to 0.4, then 1, 5 and −7
		if got := votes(d, 5, 2, []int{0, 2, 3, 4}, 1, k); got != want-map[bool]int{true: 1}[k == 4] {
			t.Errorf("%d votes of %d, want %d", got, k, want)
		}
	}
}

// If the laws are the same the accuracy is N(½, 1/4n): its mean over 400 pairs, their variance, and how many are below 5 %. Each of the three would
// fail with a probability below 1e-4.
func TestC2STSize(t *testing.T) {
	const pairs, n = 400, 100 // of which 2·50 are judged
	sum, squares, wrong := 0.0, 0.0, 0
	for seed := range uint64(pairs) {
		accuracy, p := C2ST(normals(2*seed, 2*n, 1, 2), normals(2*seed+1, 2*n, 1, 2), 2, seed)
		z := (accuracy - 0.5) * 2 * math.Sqrt(n)
		sum += z
		squares += z * z
		if p < 0.05 {
			wrong++
		}
	}
	mean, variance := sum/pairs, squares/pairs
	t.Logf("mean %.3f, variance %.3f, %d told apart", mean, variance, wrong)
	if math.Abs(mean) > 4/math.Sqrt(pairs) || math.Abs(variance-1) > 4*math.Sqrt(2./pairs) || wrong > 38 {
		t.Errorf("mean %.3f, variance %.3f, %d of %d told apart at 5 %%", mean, variance, wrong, pairs)
	}
}

// The directions of the largest variances, orthogonal and of unit length; as many as there are.
func TestPrincipal(t *testing.T) {
	const n, dim = 3000, 20
	x := normals(3, n*dim, 0, 1)
	axes := [][]float64{make([]float64, dim), make([]float64, dim)}
	for j := range dim {
		axes[0][j], axes[1][j] = 1/math.Sqrt(dim), math.Sqrt(2./dim)*math.Cos(2*math.Pi*float64(j)/dim)
	}
	r := rand.New(rand.NewPCG(4, 4))
	for i := range n {
		a, b := 6*r.NormFloat64(), 3*r.NormFloat64()
		for j := range dim {
			x[i*dim+j] += 5 + a*axes[0][j] + b*axes[1][j]
		}
	}
	v := Principal(x, dim, 3)
	for c := range 3 {
		for e := range c + 1 {
			want := 0.0
			if c == e {
				want = 1
			}
			if got := dot(v[c*dim:(c+1)*dim], v[e*dim:(e+1)*dim]); math.Abs(got-want) > 1e-12 {
				t.Errorf("directions %d and %d: product %v", c, e, got)
			}
		}
	}
	for c, axis := range axes { // within about √(1/n) of the noise's by the axis' deviation
		if got := math.Abs(dot(v[c*dim:(c+1)*dim], axis)); got < 0.99 {
			t.Errorf("direction %d: cosine %v to the axis", c, got)
		}
	}
	line := []float64{0, 0, 1, 2, 2, 4, 3, 6}
	if v := Principal(line, 2, 2); len(v) != 2 || math.Abs(math.Abs(v[0]*2)-math.Abs(v[1])) > 1e-9 {
		t.Errorf("of points on a line: %v", v)
	}
}

// Principal scores have no more false alarms than other tests: of 100 pairs of few samples in many dimensions at 5 %, 15 and more with a probability
// below 2e-4. Along directions that fit one set alone its variance is larger, and all 100 would be told apart.
func TestPrincipalSize(t *testing.T) {
	wrong := 0
	for seed := range uint64(100) {
		results := coordinates(t.Context(), normals(2*seed, 200*40, 0, 1), normals(2*seed+1, 200*40, 0, 1), 40, Options{Directions: 8, Principal: 8})
		var ps []float64
		for _, r := range results {
			if strings.HasPrefix(r.What, "principal score") {
				ps = append(ps, r.P)
			}
		}
		if len(ps) != 24 {
			t.Fatalf("%d tests of principal scores", len(ps))
		}
		if slices.Min(Holm(ps)) < 0.05 {
			wrong++
		}
	}
	t.Logf("%d of 100 told apart", wrong)
	if wrong >= 15 {
		t.Errorf("%d of 100 pairs of one law are told apart at 5 %%", wrong)
	}
}

// Student's distribution at its tabulated points, and close to the normal one.
func TestStudentTail(t *testing.T) {
	for _, c := range []struct{ t, k, want float64 }{
		{12.706204736174698, 1, 0.025}, {2.2281388519649385, 10, 0.025}, {4.143700494046859, 10, 0.001}, {0, 5, 0.5}, {1, 1, 0.25}, {0.7, 3.5, 0.2638170711728394},
		{6, 1e9, 9.865879822492407e-10}, {31.82051595377396, 1, 0.01},
	} { // scipy.stats.t.sf
		if got := StudentTail(c.t, c.k); math.Abs(got/c.want-1) > 1e-6 {
			t.Errorf("tail of t = %v with %v: %v, want %v", c.t, c.k, got, c.want)
		}
	}
	a, b := MomentsOf([]float64{1, 2, 3, 4, 5}, 1), MomentsOf([]float64{2, 4, 6, 8, 10, 12}, 1)
	if got, p := Welch(a, b); math.Abs(got+2.3763541031440183) > 1e-12 || math.Abs(p-0.04928433820673053) > 1e-12 { // scipy.stats.ttest_ind

		t.Errorf("t %v, p %v", got, p)
	}
}

// Few samples are told apart hardly more often than they should: 48 and 48 of one law, with tails or without, of 20000 pairs 20 times; 45 and more have a
// probability below 1e-6.
func TestSizeOfFew(t *testing.T) {
	for name, law := range map[string]func(x float64) float64{"normal": func(x float64) float64 { return x }, "exponential": func(x float64) float64 { return -math.Log(math.Erfc(x/math.Sqrt2) / 2) }} {
		var wrong [3]int
		for seed := range uint64(20000) {
			a, b := normals(2*seed, 48, 0, 1), normals(2*seed+1, 48, 0, 1)
			for _, set := range [][]float64{a, b} {
				for i := range set {
					set[i] = law(set[i])
				}
			}
			for i, r := range single("", a, b) {
				if r.P < 0.001 {
					wrong[i]++
				}
			}
		}
		t.Logf("%s: %v of 20000 below 0.001", name, wrong)
		for i, n := range wrong {
			if n >= 45 {
				t.Errorf("%s: test %d: %d of 20000 below 0.001", name, i, n)
			}
		}
	}
}

// A countdown is done at its n-th look.
type countdown struct {
	context.Context
	left int
}

func (c *countdown) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// Compare looks at its context once for so much work, wherever it is, and stops at the next look.
func TestCompareStops(t *testing.T) {
	const dim = 20
	a, b := normals(1, 60*dim, 0, 1), normals(2, 60*dim, 0, 1)
	o := Options{Alpha: 0.01, Directions: 8, Principal: 2, Names: []string{"first"}, Coordinates: func(x []float64) []float64 { return x[:1] }}
	whole := &countdown{t.Context(), math.MaxInt}
	if _, _, err := Compare(whole, a, b, dim, o); err != nil {
		t.Fatal(err)
	}
	looks := math.MaxInt - whole.left
	// One for each of 8 projections, of 20×120 rows for 2 principal directions and 2 scores, of 1+120 values of the function, 120 rows of distances, 8
	// lines, 60 votes, 3×50 permutations or more.
	if least := 8 + 20*120 + 2 + 121 + 120 + 8 + 60 + 150; looks < least {
		t.Errorf("%d looks, want %d or more", looks, least)
	}
	for n := 0; n < looks; n += 1 + looks/200 {
		c := &countdown{t.Context(), n}
		if results, _, err := Compare(c, a, b, dim, o); !errors.Is(err, context.Canceled) || results != nil {
			t.Fatalf("%d results, %v", len(results), err)
		}
		if more := -c.left - 1; more > 40 { // each of the parts looks once
			t.Fatalf("%d more looks after the context's end at look %d", more, n)
		}
	}
}
