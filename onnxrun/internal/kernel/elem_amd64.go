//go:build !purego

package kernel

// simdMost bounds the elements of one call: assembly cannot be preempted, and a
// collection of garbage waits for it.
const simdMost = 1 << 14

// simd runs an element-wise kernel in assembly, if there is any for this
// machine. b is nil if the op has no second source.
func simd(o op, dst, a, b []float32, p, q float32) (r outcome) {
	r = done
	for len(dst) > simdMost {
		var bs []float32
		if b != nil {
			bs, b = b[:simdMost], b[simdMost:]
		}
		switch simdOnce(o, dst[:simdMost], a[:simdMost], bs, p, q) {
		case none:
			return none
		case leftovers:
			r = leftovers
		}
		dst, a = dst[simdMost:], a[simdMost:]
	}
	if last := simdOnce(o, dst, a, b, p, q); last != done {
		return last
	}
	return r
}

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

func tree(s *[8]float64) float64 {
	return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]))
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
