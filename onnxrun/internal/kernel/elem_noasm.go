//go:build (!amd64 && !arm64) || purego

package kernel

func simd(o op, dst, a, b []float32, p, q float32) outcome { return none }

func sumSIMD(x []float32) (float64, int)                      { return 0, 0 }
func sumSquaresSIMD(x []float32, mean float64) (float64, int) { return 0, 0 }
func maxSIMD(x []float32) (float32, int)                      { return negInf, 0 }
