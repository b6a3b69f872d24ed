//go:build !purego

package kernel

// sumSIMD returns the sum of the first n elements of x, and n.
func sumSIMD(x []float32) (s float64, n int) {
	n = len(x) &^ (lanes - 1)
	if n == 0 || isa == generic {
		return 0, 0
	}
	var out [8]float64
	if isa == avx512 {
		sumAVX512(&out[0], &x[0], n)
	} else {
		sumAVX2(&out[0], &x[0], n)
	}
	return tree(&out), n
}

func sumSquaresSIMD(x []float32, mean float64) (s float64, n int) {
	n = len(x) &^ (lanes - 1)
	if n == 0 || isa == generic {
		return 0, 0
	}
	var out [8]float64
	if isa == avx512 {
		sumSquaresAVX512(&out[0], &x[0], n, mean)
	} else {
		sumSquaresAVX2(&out[0], &x[0], n, mean)
	}
	return tree(&out), n
}

func maxSIMD(x []float32) (m float32, n int) {
	m = negInf
	n = len(x) &^ (lanes - 1)
	if n == 0 || isa == generic {
		return m, 0
	}
	var out [16]float32
	if isa == avx512 {
		maxOfAVX512(&out[0], &x[0], n)
	} else {
		maxOfAVX2(&out[0], &x[0], n)
	}
	for _, v := range out {
		m = max(v, m)
	}
	return m, n
}
