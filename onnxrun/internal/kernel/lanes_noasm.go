//go:build (!amd64 && !arm64) || purego

package kernel

func sumLanesSIMD(out *[Block]float64, x []float32, n int) bool { return false }

func sumSquaresLanesSIMD(out *[Block]float64, x []float32, n int, mean *[Block]float64) bool {
	return false
}

func scaleShiftLanesSIMD(dst, src []float32, scale, shift *[Block]float32, n int, silu bool) bool {
	return false
}
