//go:build !purego

package kernel

func sumLanesSIMD(out *[Block]float64, x []float32, n int) bool {
	switch isa {
	case avx512:
		sumLanesAVX512(&out[0], &x[0], n)
	case avx2:
		sumLanesAVX2(&out[0], &x[0], n)
	default:
		return false
	}
	return true
}

func sumSquaresLanesSIMD(out *[Block]float64, x []float32, n int, mean *[Block]float64) bool {
	switch isa {
	case avx512:
		sumSquaresLanesAVX512(&out[0], &x[0], n, &mean[0])
	case avx2:
		sumSquaresLanesAVX2(&out[0], &x[0], n, &mean[0])
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
