//go:build (!amd64 && !arm64) || purego

package kernel

func momentSumsSIMD(out *[2 * Block]float64, x []float32, n int, shift *[Block]float32) bool {
	return false
}

func scaleShiftLanesSIMD(dst, src []float32, scale, shift *[Block]float32, n int, silu bool) bool {
	return false
}
