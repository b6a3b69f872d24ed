//go:build !purego

package kernel

import "unsafe"

func winoInSIMD(m int, dst, src []float32, dxi, col, row int) bool {
	d, s := unsafe.SliceData(dst), unsafe.SliceData(src)
	switch {
	case isa != neon:
		return false
	case m == 4:
		winoIn4NEON(d, s, dxi, col, row)
	default:
		winoIn2NEON(d, s, dxi, col, row)
	}
	return true
}

func winoOutSIMD(size int, dst, m []float32, mxi, col, row int, bias *[Block]float32, add []float32, scale, floor float32) bool {
	d, s, a := unsafe.SliceData(dst), unsafe.SliceData(m), unsafe.SliceData(add)
	switch {
	case isa != neon:
		return false
	case size == 4:
		winoOut4NEON(d, s, mxi, col, row, &bias[0], a, scale, floor)
	default:
		winoOut2NEON(d, s, mxi, col, row, &bias[0], a, scale, floor)
	}
	return true
}

// winoEdgeMasks reports whether there is assembly for the edges.
func winoEdgeMasks() bool { return false }

func winoEdgeSIMD(m int, dst, src []float32, dxi, col, row, from, rows, cols int) {}

func winoWeightsSIMD(m int, dst, src []float32, dxi, n int) bool {
	d, s := unsafe.SliceData(dst), unsafe.SliceData(src)
	switch {
	case isa != neon:
		return false
	case m == 4:
		winoWeights4NEON(d, s, dxi, n)
	default:
		winoWeights2NEON(d, s, dxi, n)
	}
	return true
}
