//go:build !purego

package kernel

func expRowsSIMD(dst, src, top, sum []float32, rows, n, ldd, lds int, scale float32) bool {
	if isa == generic {
		return false
	}
	step := max(1, simdMost/n)
	for r := 0; r < rows; r += step {
		k := min(step, rows-r)
		if isa == avx512 {
			expRowsAVX512(&dst[r*ldd], &src[r*lds], &top[r], &sum[r], k, n, ldd, lds, scale)
		} else {
			expRowsAVX2(&dst[r*ldd], &src[r*lds], &top[r], &sum[r], k, n, ldd, lds, scale)
		}
	}
	return true
}
