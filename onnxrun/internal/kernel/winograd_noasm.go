//go:build (!amd64 && !arm64) || purego

package kernel

func winoInSIMD(m int, dst, src []float32, dxi, col, row int) bool { return false }

func winoOutSIMD(size int, dst, m []float32, mxi, col, row int, bias *[Block]float32, add []float32, scale, floor float32) bool {
	return false
}

func winoEdgeMasks() bool { return false }

func winoEdgeSIMD(m int, dst, src []float32, dxi, col, row, from, rows, cols int) {}

func winoWeightsSIMD(m int, dst, src []float32, dxi, n int) bool { return false }
