//go:build !purego

package kernel

func momentSumsSIMD(out *[2 * Block]float64, x []float32, n int, shift *[Block]float32) bool {
	if isa != neon {
		return false
	}
	momentSumsNEON(&out[0], &x[0], n, &shift[0])
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
