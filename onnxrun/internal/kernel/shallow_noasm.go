//go:build !amd64 || purego

package kernel

func shallowSIMD(c []float32, ldc int, a []float32, lda int, b []float32, bpanel int, bias *[2 * PanelCols]float32, rows, panels, k int) int {
	return 0
}
