//go:build !purego

package kernel

// sumSIMD returns the sum of the first n elements of x, and n.
func sumSIMD(x []float32) (s float64, n int) {
	n = len(x) &^ (lanes - 1)
	if n == 0 || isa != neon {
		return 0, 0
	}
	var out [8]float64
	sumNEON(&out[0], &x[0], n)
	return tree(&out), n
}

func sumSquaresSIMD(x []float32, mean float64) (s float64, n int) {
	n = len(x) &^ (lanes - 1)
	if n == 0 || isa != neon {
		return 0, 0
	}
	var out [8]float64
	sumSquaresNEON(&out[0], &x[0], n, mean)
	return tree(&out), n
}

func maxSIMD(x []float32) (m float32, n int) {
	m = negInf
	n = len(x) &^ (lanes - 1)
	if n == 0 || isa != neon {
		return m, 0
	}
	var out [16]float32
	maxOfNEON(&out[0], &x[0], n)
	for _, v := range out {
		m = max(v, m)
	}
	return m, n
}
