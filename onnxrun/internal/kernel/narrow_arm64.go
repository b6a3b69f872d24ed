//go:build !purego

package kernel

// narrowSIMD is GemmNarrow in assembly, if there is any for this machine; rows ≥ 1
// and k ≥ 1.
func narrowSIMD(c []float32, ldc int, a []float32, lda int, b []float32, rows, cols, k int, bias *[4]float32) bool {
	if isa != neon {
		return false
	}
	switch cols {
	case 1:
		narrow1x1NEON(&c[0], ldc, &a[0], lda, &b[0], k, &bias[0], rows)
	case 2:
		narrow1x2NEON(&c[0], ldc, &a[0], lda, &b[0], k, &bias[0], rows)
	case 3:
		narrow1x3NEON(&c[0], ldc, &a[0], lda, &b[0], k, &bias[0], rows)
	case 4:
		narrow1x4NEON(&c[0], ldc, &a[0], lda, &b[0], k, &bias[0], rows)
	}
	return true
}
