//go:build !purego

package kernel

import "unsafe"

func winoInSIMD(m int, dst, src []float32, dxi, col, row int) bool {
	d, s := unsafe.SliceData(dst), unsafe.SliceData(src)
	switch {
	case isa == avx512 && m == 4:
		winoIn4AVX512(d, s, dxi, col, row)
	case isa == avx512:
		winoIn2AVX512(d, s, dxi, col, row)
	case isa == avx2 && m == 4:
		winoIn4AVX2(d, s, dxi, col, row)
	case isa == avx2:
		winoIn2AVX2(d, s, dxi, col, row)
	default:
		return false
	}
	return true
}

func winoOutSIMD(size int, dst, m []float32, mxi, col, row int, bias *[Block]float32, add []float32, scale, floor float32) bool {
	d, s, a := unsafe.SliceData(dst), unsafe.SliceData(m), unsafe.SliceData(add)
	switch {
	case isa == avx512 && size == 4:
		winoOut4AVX512(d, s, mxi, col, row, &bias[0], a, scale, floor)
	case isa == avx512:
		winoOut2AVX512(d, s, mxi, col, row, &bias[0], a, scale, floor)
	case isa == avx2 && size == 4:
		winoOut4AVX2(d, s, mxi, col, row, &bias[0], a, scale, floor)
	case isa == avx2:
		winoOut2AVX2(d, s, mxi, col, row, &bias[0], a, scale, floor)
	default:
		return false
	}
	return true
}

// winoEdgeMasks reports whether there is assembly for the edges.
func winoEdgeMasks() bool { return isa == avx512 }

func winoEdgeSIMD(m int, dst, src []float32, dxi, col, row, from, rows, cols int) {
	d, s := unsafe.SliceData(dst), unsafe.SliceData(src)
	if m == 4 {
		winoEdge4AVX512(d, s, dxi, col, row, from, rows, cols)
	} else {
		winoEdge2AVX512(d, s, dxi, col, row, from, rows, cols)
	}
}

func winoWeightsSIMD(m int, dst, src []float32, dxi, n int) bool {
	d, s := unsafe.SliceData(dst), unsafe.SliceData(src)
	switch {
	case isa == avx512 && m == 4:
		winoWeights4AVX512(d, s, dxi, n)
	case isa == avx512:
		winoWeights2AVX512(d, s, dxi, n)
	case isa == avx2 && m == 4:
		winoWeights4AVX2(d, s, dxi, n)
	case isa == avx2:
		winoWeights2AVX2(d, s, dxi, n)
	default:
		return false
	}
	return true
}
