//go:build !amd64 || purego

package kernel

func tileSIMD(t *tile, rows, cols int) bool { return false }
