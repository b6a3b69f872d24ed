//go:build !purego

package kernel

func normRowsAsm(dst, src, scale, bias, mean, inverse *float32, rows, n int, over, eps float64, centred int) {
	if isa == avx512 {
		normRowsAVX512(dst, src, scale, bias, mean, inverse, rows, n, over, eps, centred)
	} else {
		normRowsAVX2(dst, src, scale, bias, mean, inverse, rows, n, over, eps, centred)
	}
}
