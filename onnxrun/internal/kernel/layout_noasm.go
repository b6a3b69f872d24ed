//go:build (!amd64 && !arm64) || purego

package kernel

func transpose8(dst, src []float32, n, ldd, lds int) int { return 0 }

func copyRuns(dst, src []float32, runs, run, sd, ss int) bool { return false }
