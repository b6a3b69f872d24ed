//go:build (amd64 || arm64) && !purego

package kernel

func normRowsSIMD(dst, src, scale, bias, mean, inverse []float32, rows, n int, eps float64, centred bool) bool {
	if isa == generic {
		return false
	}
	var take int
	if centred {
		take = 1
	}
	at := func(x []float32, i int) *float32 {
		if x == nil {
			return nil
		}
		return &x[i]
	}
	over := 1 / float64(n)
	step := max(1, simdMost/n)
	for r := 0; r < rows; r += step {
		normRowsAsm(&dst[r*n], &src[r*n], &scale[0], at(bias, 0), at(mean, r), at(inverse, r), min(step, rows-r), n, over, eps, take)
	}
	return true
}
