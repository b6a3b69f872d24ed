//go:build !purego

package kernel

func normRowsAsm(dst, src, scale, bias, mean, inverse *float32, rows, n int, over, eps float64, centred int) {
	normRowsNEON(dst, src, scale, bias, mean, inverse, rows, n, over, eps, centred)
}
