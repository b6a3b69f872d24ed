//go:build !purego

package kernel

func sumLanesSIMD(out *[Block]float64, x []float32, n int) bool {
	if isa != neon {
		return false
	}
	sumLanesNEON(&out[0], &x[0], n)
	return true
}

func sumSquaresLanesSIMD(out *[Block]float64, x []float32, n int, mean *[Block]float64) bool {
	if isa != neon {
		return false
	}
	sumSquaresLanesNEON(&out[0], &x[0], n, &mean[0])
	return true
}

// scaleShiftLanesSIMD applies SiLU too if silu.
func scaleShiftLanesSIMD(dst, src []float32, scale, shift *[Block]float32, n int, silu bool) bool {
	switch {
	case isa != neon:
		return false
	case silu:
		scaleShiftSiLULanesNEON(&dst[0], &src[0], &scale[0], &shift[0], n)
	default:
		scaleShiftLanesNEON(&dst[0], &src[0], &scale[0], &shift[0], n)
	}
	return true
}
