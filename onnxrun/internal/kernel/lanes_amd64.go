//go:build !purego

package kernel

func momentSumsSIMD(out *[2 * Block]float64, x []float32, n int, shift *[Block]float32) bool {
	switch isa {
	case avx512:
		momentSumsAVX512(&out[0], &x[0], n, &shift[0])
	case avx2:
		momentSumsAVX2(&out[0], &x[0], n, &shift[0])
	default:
		return false
	}
	return true
}

// scaleShiftLanesSIMD applies SiLU too if silu.
func scaleShiftLanesSIMD(dst, src []float32, scale, shift *[Block]float32, n int, silu bool) bool {
	switch {
	case isa == avx512 && silu:
		scaleShiftSiLULanesAVX512(&dst[0], &src[0], &scale[0], &shift[0], n)
	case isa == avx512:
		scaleShiftLanesAVX512(&dst[0], &src[0], &scale[0], &shift[0], n)
	case isa == avx2 && silu:
		scaleShiftSiLULanesAVX2(&dst[0], &src[0], &scale[0], &shift[0], n)
	case isa == avx2:
		scaleShiftLanesAVX2(&dst[0], &src[0], &scale[0], &shift[0], n)
	default:
		return false
	}
	return true
}
