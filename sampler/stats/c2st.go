package stats

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
)

// C2ST is the classifier two-sample test (Lopez-Paz & Oquab 2017) with nearest neighbours for the classifier: half of the samples are known, and each
// of the other half is taken to be of the set that most of its k nearest known ones are of, k odd and close to the root of their number. accuracy is
// the part of which that is right. If the laws are the same it is close to normal,
//
//	accuracy ~ N(½, 1/4n),
//
// n being how many were judged, and p is the probability of so much or more. Both sets give equally many samples, as many as the smaller has, in an
// order that the seed draws; there must be 4 of each.
func C2ST(a, b []float64, dim int, seed uint64) (accuracy, p float64) {
	all := append(slices.Clone(a), b...)
	return c2st(context.Background(), between(context.Background(), all, dim), len(a)/dim, len(b)/dim, seed)
}

// c2st is C2ST of the distances of all pairs, of which the first n points are one set.
func c2st(ctx context.Context, d []float64, n, m int, seed uint64) (accuracy, p float64) {
	half := min(n, m) / 2
	r := rand.New(rand.NewPCG(seed, 5))
	var known, judged []int
	for _, set := range [2][2]int{{0, n}, {n, m}} {
		order := r.Perm(set[1])[:2*half]
		for i := range order {
			order[i] += set[0]
		}
		known, judged = append(known, order[:half]...), append(judged, order[half:]...)
	}
	r.Shuffle(len(known), func(i, j int) { known[i], known[j] = known[j], known[i] }) // so that equal distances favour nobody
	k := int(math.Sqrt(float64(len(known))))/2*2 + 1
	right := 0
	for _, i := range judged {
		if ctx.Err() != nil {
			break
		}
		if (votes(d, n+m, n, known, i, k) > k/2) == (i < n) {
			right++
		}
	}
	count := float64(len(judged))
	accuracy = float64(right) / count
	return accuracy, math.Erfc((accuracy-0.5)*2*math.Sqrt(count)/math.Sqrt2) / 2
}

// votes counts which of the k known points nearest to point i are among the first n.
func votes(d []float64, all, n int, known []int, i, k int) int {
	row := d[i*all : (i+1)*all]
	near := slices.Clone(known)
	slices.SortStableFunc(near, func(a, b int) int {
		switch {
		case row[a] < row[b]:
			return -1
		case row[a] > row[b]:
			return 1
		}
		return 0
	})
	first := 0
	for _, j := range near[:k] {
		if j < n {
			first++
		}
	}
	return first
}
