//go:build (!amd64 && !arm64) || purego

package kernel

func tileSIMD(t *tile, rows, cols int) bool { return false }

func lanesSIMD(t *tile, rows int) bool { return false }

func widePanels(rows int) int { return 0 }

func (t *tile) wide(rows int) {}
