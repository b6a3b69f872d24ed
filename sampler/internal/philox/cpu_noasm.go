//go:build !amd64 || purego

package philox

func detect() int { return 0 }

func normalsSIMD([]float32, *lanes, *Keys) bool { return false }
