//go:build (amd64 || arm64) && !purego

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

func tree(s *[8]float64) float64 {
	return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]))
}
