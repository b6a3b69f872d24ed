package kernel

import "math"

// NormRows is LayerNormalization on the first rows·n elements of src, rows of n
// elements that follow each other, or RMSNormalization if not centred:
//
//	mean[r], variance := those of row r // mean 0 and the mean square if not centred
//	inverse[r] = 1/√(variance + eps)
//	dst[r*n+j] = (src[r*n+j] - mean[r])·inverse[r]·scale[j] + bias[j]
//
// bias, mean and inverse may be nil; the inverse of a row of no elements is
// NaN. dst may be src.
//
// (Sums are kept in float64, of the distances from the first element of the row,
// so that one pass is as exact as two. The generic twin takes two, and rounds the
// products of the last line.)
func NormRows(dst, src, scale, bias, mean, inverse []float32, rows, n int, eps float64, centred bool) {
	if rows < 0 || n < 0 {
		panic("kernel: NormRows: sizes out of range")
	}
	need("NormRows dst", len(dst), rows*n)
	need("NormRows src", len(src), rows*n)
	need("NormRows scale", len(scale), n)
	if bias != nil {
		need("NormRows bias", len(bias), n)
	}
	if mean != nil {
		need("NormRows mean", len(mean), rows)
	}
	if inverse != nil {
		need("NormRows inverse", len(inverse), rows)
	}
	if rows > 0 && n > 0 && normRowsSIMD(dst, src, scale, bias, mean, inverse, rows, n, eps, centred) {
		return
	}
	for r := range rows {
		y, x := dst[r*n:][:n], src[r*n:][:n]
		m := 0.0
		if centred {
			m = Sum(x) / float64(n)
		}
		inv := 1 / math.Sqrt(SumSquares(x, m)/float64(n)+eps)
		near := float32(m)
		rest, times := float32((float64(near)-m)*inv), float32(inv)
		if mean != nil {
			mean[r] = near
		}
		if inverse != nil {
			inverse[r] = times
		}
		for j, v := range x {
			z := float32(float32(float32(v-near)*times)+rest) * scale[j]
			if bias != nil {
				z = float32(z) + bias[j]
			}
			y[j] = z
		}
	}
}
