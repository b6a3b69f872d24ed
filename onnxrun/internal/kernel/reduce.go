package kernel

import "math"

// lanes is the number of partial sums a reduction keeps: element i goes to sum
// i mod lanes, so the order depends on the length alone.
const lanes = 32

// Sum returns the sum of x, accumulated in float64.
func Sum(x []float32) float64 {
	s, n := sumSIMD(x)
	var s0, s1, s2, s3 float64
	for ; n+4 <= len(x); n += 4 {
		v := (*[4]float32)(x[n:])
		s0 += float64(v[0])
		s1 += float64(v[1])
		s2 += float64(v[2])
		s3 += float64(v[3])
	}
	s += (s0 + s1) + (s2 + s3)
	for ; n < len(x); n++ {
		s += float64(x[n])
	}
	return s
}

// SumSquares returns Σ (x[i] - mean)², accumulated in float64.
func SumSquares(x []float32, mean float64) float64 {
	s, n := sumSquaresSIMD(x, mean)
	var s0, s1, s2, s3 float64
	for ; n+4 <= len(x); n += 4 {
		v := (*[4]float32)(x[n:])
		d0, d1, d2, d3 := float64(v[0])-mean, float64(v[1])-mean, float64(v[2])-mean, float64(v[3])-mean
		s0 += float64(d0 * d0)
		s1 += float64(d1 * d1)
		s2 += float64(d2 * d2)
		s3 += float64(d3 * d3)
	}
	s += (s0 + s1) + (s2 + s3)
	for ; n < len(x); n++ {
		d := float64(x[n]) - mean
		s += float64(d * d)
	}
	return s
}

// MaxOf returns the largest element of x, NaN if one is NaN, -Inf if x is empty.
func MaxOf(x []float32) float32 {
	m, n := maxSIMD(x)
	for _, v := range x[n:] {
		m = max(v, m)
	}
	return m
}

var negInf = float32(math.Inf(-1))

// SoftmaxRow: dst[i] = exp(src[i]-m) / Σ exp(src[j]-m), m = max(src). dst may be
// src.
func SoftmaxRow(dst, src []float32) {
	src = same2(dst, src)
	if len(src) == 0 {
		return
	}
	expSub(dst, src, MaxOf(src))
	MulScalar(dst, dst, float32(1/Sum(dst)))
}
