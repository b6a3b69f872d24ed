//go:build !purego

package kernel

func expRowsSIMD(dst, src, top, sum []float32, rows, n, ldd, lds int, scale float32) bool {
	if isa != neon {
		return false
	}
	step := max(1, simdMost/n)
	for r := 0; r < rows; r += step {
		expRowsNEON(&dst[r*ldd], &src[r*lds], &top[r], &sum[r], min(step, rows-r), n, ldd, lds, scale)
	}
	return true
}
