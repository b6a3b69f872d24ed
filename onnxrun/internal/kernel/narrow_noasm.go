//go:build (!amd64 && !arm64) || purego

package kernel

func narrowSIMD(c []float32, ldc int, a []float32, lda int, b []float32, rows, cols, k int, bias *[4]float32) bool {
	return false
}
