package kernel

import "time"

// Peak measures how many multiplications and additions of float32 one thread
// can do in a second: the rate of the matrix product on operands in the
// first-level cache, the best of some hundred tries.
func Peak() float64 {
	const m, n, k = 14, PanelCols, 128
	a, c, packed := make([]float32, m*k), make([]float32, m*n), make([]float32, PackedLen(k, n))
	best := time.Duration(1<<63 - 1)
	const often = 100
	for range 200 {
		start := time.Now()
		for range often {
			Gemm(c, n, a, k, packed, m, n, k, nil, false)
		}
		best = min(best, time.Since(start))
	}
	return 2 * m * n * k * often / best.Seconds()
}
