package stats

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"slices"
)

// enough exceedances end a permutation test: what happens so often is not rare (Besag & Clifford 1991).
const enough = 50

// Energy is the energy distance of two laws (Székely & Rizzo 2004), without bias, of two samples or more of each:
//
//	2E‖X−Y‖ − E‖X−X'‖ − E‖Y−Y'‖
//
// It is 0 if and only if they are the same. The estimate may be below.
func Energy(a, b []float64, dim int) float64 {
	d := between(context.Background(), append(slices.Clone(a), b...), dim)
	return first(pairStatistic(negated(d), len(a)/dim, len(b)/dim), len(a)/dim)
}

// MMD2 is the squared maximum mean discrepancy of two laws (Gretton et al. 2012, equation 3), without bias, of two samples or more of each:
//
//	E k(X,X') + E k(Y,Y') − 2E k(X,Y),  k(x,y) = Σ_h exp(−‖x−y‖²/2h²)
//
// with h half, once and twice the median distance of all samples. It is 0 if and only if the laws are the same. The estimate may be below.
func MMD2(a, b []float64, dim int) float64 {
	d := between(context.Background(), append(slices.Clone(a), b...), dim)
	return first(pairStatistic(gaussians(context.Background(), d), len(a)/dim, len(b)/dim), len(a)/dim)
}

// SlicedWasserstein is the mean, over so many random directions, of the first Wasserstein distance of two sets' projections, the area between their
// distribution functions (Rabin, Peyré, Delon & Bernot 2011).
func SlicedWasserstein(a, b []float64, dim, count int, seed uint64) float64 {
	n, m := len(a)/dim, len(b)/dim
	return first(sliced(context.Background(), append(slices.Clone(a), b...), dim, n, m, directions(count, dim, seed)), n)
}

// first is a statistic of the first n points.
func first(of func(first []int) float64, n int) float64 {
	index := make([]int, n)
	for i := range index {
		index[i] = i
	}
	return of(index)
}

func negated(d []float64) []float64 {
	out := make([]float64, len(d))
	for i, v := range d {
		out[i] = -v
	}
	return out
}

// pace is how many pairs are gone through between two looks at the context.
const pace = 1 << 16

// gaussians is MMD2's kernel of distances.
func gaussians(ctx context.Context, d []float64) []float64 {
	median, out := medianOf(d), make([]float64, len(d))
	for i, v := range d {
		if i%pace == 0 && ctx.Err() != nil {
			break
		}
		for _, h := range [...]float64{0.5, 1, 2} {
			z := v / (h * median)
			out[i] += math.Exp(-z * z / 2)
		}
	}
	return out
}

// distances tests the laws as a whole: by permutations, and by what a classifier tells apart.
func distances(ctx context.Context, a, b []float64, dim int, o Options) []Result {
	a, b = thin(a, dim, o.Points), thin(b, dim, o.Points)
	n, m := len(a)/dim, len(b)/dim
	all := append(slices.Clone(a), b...)
	most := int(math.Ceil(6 / o.Alpha)) // so that three tests in half of the family can reach alpha
	d := between(ctx, all, dim)
	tests := []struct {
		what string
		of   func(first []int) float64
	}{
		{"energy distance", pairStatistic(negated(d), n, m)},
		{"MMD², unbiased", pairStatistic(gaussians(ctx, d), n, m)},
		{"sliced Wasserstein distance", sliced(ctx, all, dim, n, m, directions(o.Directions, dim, o.Seed))},
	}
	accuracy, p := c2st(ctx, d, n, m, o.Seed)
	out := make([]Result, len(tests), len(tests)+1)
	for i, t := range tests {
		v, p := permute(ctx, t.of, n, m, most, rand.New(rand.NewPCG(o.Seed, uint64(2+i))))
		out[i] = Result{What: t.what, Statistic: v, P: p, half: 1}
	}
	return append(out, Result{What: "C2ST accuracy", Statistic: accuracy, P: p})
}

// thin takes at most n samples, evenly.
func thin(x []float64, dim, n int) []float64 {
	have := len(x) / dim
	if have <= n {
		return x
	}
	out := make([]float64, 0, n*dim)
	for i := range n {
		k := i * have / n
		out = append(out, x[k*dim:(k+1)*dim]...)
	}
	return out
}

// between are the Euclidean distances of all pairs, a symmetric matrix.
func between(ctx context.Context, x []float64, dim int) []float64 {
	n := len(x) / dim
	d := make([]float64, n*n)
	for i := 0; i < n && ctx.Err() == nil; i++ {
		for j := range i {
			sum := 0.0
			for k, v := range x[i*dim : (i+1)*dim] {
				u := v - x[j*dim+k]
				sum += u * u
			}
			d[i*n+j] = math.Sqrt(sum)
			d[j*n+i] = d[i*n+j]
		}
	}
	return d
}

// medianOf is the median distance, or 1 where it is 0.
func medianOf(d []float64) float64 {
	var positive []float64
	for _, v := range d {
		if v > 0 {
			positive = append(positive, v)
		}
	}
	if len(positive) == 0 {
		return 1
	}
	slices.Sort(positive)
	return positive[len(positive)/2]
}

// pairStatistic is E k(X,X') + E k(Y,Y') − 2 E k(X,Y), without bias, as a function of which n of the n+m points are the X: with k = −|x−y| the
// energy distance, with a positive definite k the squared maximum mean discrepancy.
func pairStatistic(k []float64, n, m int) func(first []int) float64 {
	all := n + m
	rows, total := make([]float64, all), 0.0
	for i := range all {
		for j, v := range k[i*all : (i+1)*all] {
			if j != i {
				rows[i] += v
			}
		}
		total += rows[i]
	}
	return func(first []int) float64 {
		var xx, cross float64 // ordered pairs
		for a, i := range first {
			row := k[i*all : (i+1)*all]
			for _, j := range first[:a] {
				xx += 2 * row[j]
			}
			cross += rows[i]
		}
		xy := cross - xx
		yy := total - xx - 2*xy
		return xx/float64(n*(n-1)) + yy/float64(m*(m-1)) - 2*xy/float64(n*m)
	}
}

// sliced is the mean over directions of the first Wasserstein distance of the projections: the area between their distribution functions.
func sliced(ctx context.Context, x []float64, dim, n, m int, d []float64) func(first []int) float64 {
	type line struct {
		order []int32
		gaps  []float64
	}
	lines := make([]line, len(d)/dim)
	for i := range lines {
		if ctx.Err() != nil {
			break
		}
		p := project(x, d[i*dim:(i+1)*dim])
		order := make([]int32, n+m)
		for k := range order {
			order[k] = int32(k)
		}
		slices.SortFunc(order, func(a, b int32) int { return cmp.Compare(p[a], p[b]) })
		gaps := make([]float64, n+m-1)
		for k := range gaps {
			gaps[k] = p[order[k+1]] - p[order[k]]
		}
		lines[i] = line{order, gaps}
	}
	step := make([]float64, n+m)
	return func(first []int) float64 {
		for i := range step {
			step[i] = -1 / float64(m)
		}
		for _, i := range first {
			step[i] = 1 / float64(n)
		}
		sum := 0.0
		for _, l := range lines {
			f := 0.0
			for k, g := range l.gaps {
				f += step[l.order[k]]
				sum += math.Abs(f) * g
			}
		}
		return sum / float64(len(lines))
	}
}

// permute compares a statistic of the first n of n+m points with those of random choices, at most so many.
func permute(ctx context.Context, of func(first []int) float64, n, m, most int, r *rand.Rand) (value, p float64) {
	index := make([]int, n+m)
	for i := range index {
		index[i] = i
	}
	value = of(index[:n])
	least := value - 1e-12*math.Abs(value) // the same points in another order
	if value != value {
		return math.Inf(1), 0
	}
	above := 0
	for k := 1; k <= most && ctx.Err() == nil; k++ {
		for i := range n {
			j := i + r.IntN(n+m-i)
			index[i], index[j] = index[j], index[i]
		}
		if of(index[:n]) >= least {
			if above++; above == enough {
				return value, float64(above) / float64(k)
			}
		}
	}
	return value, float64(1+above) / float64(1+most)
}
