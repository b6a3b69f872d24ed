//go:build !amd64 || purego

package philox

func pairsSIMD(*[group / 2]float32, *lanes, *Keys) bool { return false }
