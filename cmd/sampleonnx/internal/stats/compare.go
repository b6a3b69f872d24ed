package stats

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Options are the settings of [Compare].
type Options struct {
	Alpha       float64 // what the family's p is compared with: it decides how many permutations are needed
	Points      int     // at most so many samples of each kind take part in tests of all pairs
	Directions  int     // of the sliced Wasserstein distance, and of projections
	Seed        uint64
	Coordinates func(x []float64) []float64 // further numbers of one sample to compare
	Names       []string                    // theirs
}

// Result is one test. Values and their standard errors are there where both samples have one.
type Result struct {
	What      string  `json:"what"`
	A         *Value  `json:"a,omitempty"`
	B         *Value  `json:"b,omitempty"`
	Statistic float64 `json:"statistic"`
	P         float64 `json:"p"`
	Adjusted  float64 `json:"p_adjusted"` // for the number of tests
	half      int
}

// Value is an estimate.
type Value struct {
	Value float64 `json:"value"`
	Error float64 `json:"standard_error"`
}

// few is the largest dimension whose elements are compared one by one; samples of more are projected.
const few = 16

// Compare tests whether two sets of samples of dim values come from one law. p is the family's: the smallest adjusted one.
//
// Half of it belongs to the tests of coordinates (elements, or projections onto random directions; means, variances and Kolmogorov–Smirnov), whose
// p are asymptotic; half to the distances between laws (energy, MMD, sliced Wasserstein), whose p are those of permutations and cannot be as small
// as one likes. In each half p is corrected by Holm's method.
func Compare(a, b []float64, dim int, o Options) (results []Result, p float64) {
	results = append(coordinates(a, b, dim, o), distances(a, b, dim, o)...)
	p = 1
	for half := range 2 {
		var at []int
		var ps []float64
		for i, r := range results {
			if r.half == half {
				at, ps = append(at, i), append(ps, r.P)
			}
		}
		for i, q := range Holm(ps) {
			results[at[i]].Adjusted = min(1, 2*q)
			p = min(p, 2*q)
		}
	}
	return results, p
}

// Holm adjusts probabilities for their number (Holm 1979).
func Holm(p []float64) []float64 {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		switch {
		case p[i] < p[j]:
			return -1
		case p[i] > p[j]:
			return 1
		}
		return i - j
	})
	out, least := make([]float64, len(p)), 0.0
	for k, i := range order {
		least = max(least, min(1, float64(len(p)-k)*p[i]))
		out[i] = least
	}
	return out
}

// directions are n unit vectors, the same for the same seed.
func directions(n, dim int, seed uint64) []float64 {
	r := rand.New(rand.NewPCG(seed, 1))
	d := make([]float64, n*dim)
	for i := range n {
		row, sum := d[i*dim:(i+1)*dim], 0.0
		for j := range row {
			row[j] = r.NormFloat64()
			sum += row[j] * row[j]
		}
		for j := range row {
			row[j] /= math.Sqrt(sum)
		}
	}
	return d
}

// project is one number of every sample: its product with v.
func project(x, v []float64) []float64 {
	dim := len(v)
	out := make([]float64, len(x)/dim)
	for i := range out {
		for j, w := range v {
			out[i] += x[i*dim+j] * w
		}
	}
	return out
}

// column is element k of every sample.
func column(x []float64, dim, k int) []float64 {
	out := make([]float64, len(x)/dim)
	for i := range out {
		out[i] = x[i*dim+k]
	}
	return out
}

// coordinates tests single numbers of the samples.
func coordinates(a, b []float64, dim int, o Options) []Result {
	var out []Result
	if dim <= few {
		for k := range dim {
			out = append(out, single("element "+itoa(k), column(a, dim, k), column(b, dim, k))...)
		}
	} else {
		n := min(o.Directions, 32)
		d := directions(n, dim, o.Seed)
		for k := range n {
			v := d[k*dim : (k+1)*dim]
			out = append(out, single("projection "+itoa(k), project(a, v), project(b, v))...)
		}
	}
	if len(o.Names) > 0 {
		fa, fb := further(a, dim, o), further(b, dim, o)
		for k, name := range o.Names {
			out = append(out, single(name, column(fa, len(o.Names), k), column(fb, len(o.Names), k))...)
		}
	}
	return out
}

func further(x []float64, dim int, o Options) []float64 {
	var out []float64
	for i := 0; i < len(x); i += dim {
		out = append(out, o.Coordinates(x[i:i+dim])...)
	}
	return out
}

// single tests the means, variances and distribution functions of one number.
func single(name string, a, b []float64) []Result {
	ma, mb := MomentsOf(a, 1), MomentsOf(b, 1)
	d, p := KolmogorovSmirnov(a, b)
	out := []Result{
		{What: name + ": mean", A: ma.mean(), B: mb.mean()}, {What: name + ": variance", A: ma.spread(), B: mb.spread()},
		{What: name + ": Kolmogorov–Smirnov D", Statistic: d, P: p},
	}
	if !(ma.Variance[0] > 0 && mb.Variance[0] > 0) { // constants
		for i := range out[:2] {
			if out[i].P = 1; out[i].A.Value != out[i].B.Value {
				out[i].P = 0
			}
		}
		return out
	}
	out[0].Statistic = ma.ZMean(0, mb.Mean[0], mb.Variance[0], mb.N)
	ka, kb := max(ma.Kurtosis[0]-1, 0.1), max(mb.Kurtosis[0]-1, 0.1)
	out[1].Statistic = math.Log(ma.Variance[0]/mb.Variance[0]) / math.Sqrt(ka/float64(ma.N)+kb/float64(mb.N))
	for i := range out[:2] {
		out[i].P = math.Erfc(math.Abs(out[i].Statistic) / math.Sqrt2)
	}
	return out
}

func (m Moments) mean() *Value {
	return &Value{m.Mean[0], math.Sqrt(m.Variance[0] / float64(m.N))}
}

func (m Moments) spread() *Value {
	if !(m.Variance[0] > 0) {
		return &Value{m.Variance[0], 0}
	}
	return &Value{m.Variance[0], m.Variance[0] * math.Sqrt(max(m.Kurtosis[0]-1, 0.1)/float64(m.N))}
}

// KolmogorovSmirnov is the largest distance of two empirical distribution functions, and its asymptotic probability with Stephens' correction
// (Press et al., Numerical Recipes, section 14.3).
func KolmogorovSmirnov(a, b []float64) (d, p float64) {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	n, m := float64(len(a)), float64(len(b))
	for i, j := 0, 0; i < len(a) && j < len(b); {
		x := min(a[i], b[j])
		for i < len(a) && a[i] == x {
			i++
		}
		for j < len(b) && b[j] == x {
			j++
		}
		d = max(d, math.Abs(float64(i)/n-float64(j)/m))
		if x != x {
			return math.Inf(1), 0
		}
	}
	root := math.Sqrt(n * m / (n + m))
	l := (root + 0.12 + 0.11/root) * d
	if l < 0.2 {
		return d, 1
	}
	sign := 1.0
	for k := 1.0; k < 200; k++ {
		term := math.Exp(-2 * k * k * l * l)
		p += 2 * sign * term
		if term < 1e-17*p {
			break
		}
		sign = -sign
	}
	return d, min(max(p, 0), 1)
}

func itoa(k int) string {
	if k >= 10 {
		return itoa(k/10) + string(rune('0'+k%10))
	}
	return string(rune('0' + k))
}
