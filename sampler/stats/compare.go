package stats

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
)

// Options are the settings of [Compare].
type Options struct {
	Alpha      float64 // what the family's p is compared with, which decides how many permutations are needed; 0 means 1e-3
	Points     int     // at most so many samples of each set take part in tests of all pairs, whose time is quadratic; 0 means DefaultPoints
	Directions int     // of the sliced Wasserstein distance, and at most of the projections; 0 means DefaultDirections
	Principal  int     // projections onto principal directions, of samples of more than 16 values
	Seed       uint64  // of directions, permutations and halves

	Coordinates func(x []float64) []float64 // further numbers of one sample to compare, or nil
	Names       []string                    // theirs
}

// Result is one test.
type Result struct {
	What      string  `json:"what"`
	A         *Value  `json:"a,omitempty"` // what the sets have each, where it is such a number that is compared
	B         *Value  `json:"b,omitempty"`
	Statistic float64 `json:"statistic"`  // z, D, a distance, or an accuracy
	P         float64 `json:"p"`          // of so much or more if the laws are the same
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

// Defaults of [Options].
const (
	DefaultPoints     = 500
	DefaultDirections = 128
)

// Compare tests whether two sets of samples of dim values come from one law. p is the family's: the smallest adjusted one. There must be 4 of each;
// of few, and of a law with tails, sets of equal size are the better ones, as the tests of means then lean the least on the normal law. When ctx ends
// it stops, and its error is returned.
//
// Half of it belongs to the tests of single numbers (elements, or projections of samples of more than 16 values onto random and onto principal
// directions; means, variances and Kolmogorov–Smirnov) and to C2ST, whose p are asymptotic; half to the distances between laws (energy, MMD², sliced
// Wasserstein), whose p are those of permutations and cannot be as small as one likes. In each half p is corrected by Holm's method.
//
// Means are tested by Welch's t, variances by that of distances from the median (Brown & Forsythe 1974): the ratio of two variances would take a law
// with tails for another.
// Principal directions are those of both sets together. Those of one would fit it better than the other, and its variance along them be too large by
// about the number of dimensions by that of its samples; where both have the same part in them the two sets can still be exchanged.
func Compare(ctx context.Context, a, b []float64, dim int, o Options) (results []Result, p float64, err error) {
	o.Alpha, o.Points, o.Directions = cmp.Or(o.Alpha, 1e-3), cmp.Or(o.Points, DefaultPoints), cmp.Or(o.Directions, DefaultDirections)
	results = append(coordinates(ctx, a, b, dim, o), distances(ctx, a, b, dim, o)...)
	if err := ctx.Err(); err != nil { // every loop ends early then
		return nil, 0, err
	}
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
	return results, p, nil
}

// Holm adjusts n probabilities for their number (Holm 1979): the k-th smallest becomes the largest of (n−j+1)p_(j), j ≤ k, and 1 at most. All those
// below α are then wrong with a probability of α at most, however they depend on each other.
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
func coordinates(ctx context.Context, a, b []float64, dim int, o Options) []Result {
	var out []Result
	if dim <= few {
		for k := 0; k < dim && ctx.Err() == nil; k++ {
			out = append(out, single("element "+strconv.Itoa(k), column(a, dim, k), column(b, dim, k))...)
		}
	} else {
		along := func(name string, d []float64) {
			for k := 0; k < len(d)/dim && ctx.Err() == nil; k++ {
				v := d[k*dim : (k+1)*dim]
				out = append(out, single(name+" "+strconv.Itoa(k), project(a, v), project(b, v))...)
			}
		}
		along("projection", directions(min(o.Directions, 32), dim, o.Seed))
		if o.Principal > 0 {
			along("principal score", principal(ctx, thin(append(slices.Clone(a), b...), dim, 2000), dim, o.Principal))
		}
	}
	if len(o.Names) > 0 {
		fa, fb := further(ctx, a, dim, o), further(ctx, b, dim, o)
		for k, name := range o.Names {
			if ctx.Err() != nil {
				break
			}
			out = append(out, single(name, column(fa, len(o.Names), k), column(fb, len(o.Names), k))...)
		}
	}
	return out
}

func further(ctx context.Context, x []float64, dim int, o Options) []float64 {
	var out []float64
	for i := 0; i < len(x) && ctx.Err() == nil; i += dim {
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
	out[0].Statistic, out[0].P = Welch(ma, mb)
	out[1].Statistic, out[1].P = Welch(MomentsOf(deviations(a), 1), MomentsOf(deviations(b), 1))
	return out
}

// deviations are the distances of numbers from their median, whose means tell how far they spread.
func deviations(x []float64) []float64 {
	order := slices.Sorted(slices.Values(x))
	n := len(order)
	median := (order[(n-1)/2] + order[n/2]) / 2
	out := make([]float64, n)
	for i, v := range x {
		out[i] = math.Abs(v - median)
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

// KolmogorovSmirnov is the largest distance D of the distribution functions of two sets of numbers, and its asymptotic probability: with
// N = nm/(n+m) and Stephens' correction (Press et al., Numerical Recipes, section 14.3)
//
//	p = 2 Σ_k (−1)^{k−1} exp(−2k²λ²),  λ = (√N + 0.12 + 0.11/√N) D
//
// Where values are equal, as those of bytes, p is larger than it need be.
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
