package stats_test

import (
	"context"
	"fmt"
	"math/rand/v2"

	"sampleonnx/sampler/stats"
)

// Two sets of points in the plane: of one law, and of laws with the same means and variances where only one's elements depend on each other.
func ExampleCompare() {
	draw := func(seed uint64, slope float64) []float64 {
		r := rand.New(rand.NewPCG(seed, 0))
		var x []float64
		for range 1000 {
			u, v := r.NormFloat64(), r.NormFloat64()
			x = append(x, u, slope*u+(1-slope)*v)
		}
		return x
	}
	_, p, _ := stats.Compare(context.Background(), draw(1, 0), draw(2, 0), 2, stats.Options{Points: 150})
	fmt.Println("one law:", p > 1e-3)
	results, p, _ := stats.Compare(context.Background(), draw(1, 0), draw(2, 1), 2, stats.Options{Points: 150})
	fmt.Println("two laws:", p > 1e-3)
	for _, r := range results {
		if r.Adjusted < 1e-3 {
			fmt.Println("told apart by", r.What)
		}
	}
	// Output:
	// one law: true
	// two laws: false
	// told apart by energy distance
	// told apart by MMD², unbiased
	// told apart by sliced Wasserstein distance
	// told apart by C2ST accuracy
}
