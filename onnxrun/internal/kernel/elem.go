package kernel

// The element-wise kernels. dst may be one of the sources (in place) or apart
// from them; other overlaps are not allowed. All slices have dst's length, or
// more. A result depends on its own operands alone, to the bit, never on its
// position or on the length of the slice.

func same2(dst, a []float32) []float32 {
	if len(a) < len(dst) {
		panic("kernel: source is shorter than dst")
	}
	return a[:len(dst)]
}

// Add: dst[i] = a[i] + b[i]
func Add(dst, a, b []float32) {
	a, b = same2(dst, a), same2(dst, b)
	if simd(opAdd, dst, a, b, 0, 0) == done {
		return
	}
	for i, x := range a {
		dst[i] = x + b[i]
	}
}

// Sub: dst[i] = a[i] - b[i]
func Sub(dst, a, b []float32) {
	a, b = same2(dst, a), same2(dst, b)
	if simd(opSub, dst, a, b, 0, 0) == done {
		return
	}
	for i, x := range a {
		dst[i] = x - b[i]
	}
}

// Mul: dst[i] = a[i] * b[i]
func Mul(dst, a, b []float32) {
	a, b = same2(dst, a), same2(dst, b)
	if simd(opMul, dst, a, b, 0, 0) == done {
		return
	}
	for i, x := range a {
		dst[i] = x * b[i]
	}
}

// Div: dst[i] = a[i] / b[i]
func Div(dst, a, b []float32) {
	a, b = same2(dst, a), same2(dst, b)
	if simd(opDiv, dst, a, b, 0, 0) == done {
		return
	}
	for i, x := range a {
		dst[i] = x / b[i]
	}
}

// Max: dst[i] = max(a[i], b[i]); NaN if either is.
func Max(dst, a, b []float32) {
	a, b = same2(dst, a), same2(dst, b)
	if simd(opMax, dst, a, b, 0, 0) == done {
		return
	}
	for i, x := range a {
		dst[i] = max(x, b[i])
	}
}

// Min: dst[i] = min(a[i], b[i]); NaN if either is.
func Min(dst, a, b []float32) {
	a, b = same2(dst, a), same2(dst, b)
	if simd(opMin, dst, a, b, 0, 0) == done {
		return
	}
	for i, x := range a {
		dst[i] = min(x, b[i])
	}
}

// AddScalar: dst[i] = a[i] + s
func AddScalar(dst, a []float32, s float32) {
	a = same2(dst, a)
	if simd(opAddScalar, dst, a, nil, s, 0) == done {
		return
	}
	for i, x := range a {
		dst[i] = x + s
	}
}

// SubScalar: dst[i] = a[i] - s
func SubScalar(dst, a []float32, s float32) { AddScalar(dst, a, -s) }

// RsubScalar: dst[i] = s - a[i]
func RsubScalar(dst, a []float32, s float32) {
	a = same2(dst, a)
	if simd(opRsubScalar, dst, a, nil, s, 0) == done {
		return
	}
	for i, x := range a {
		dst[i] = s - x
	}
}

// MulScalar: dst[i] = a[i] * s
func MulScalar(dst, a []float32, s float32) {
	a = same2(dst, a)
	if simd(opMulScalar, dst, a, nil, s, 0) == done {
		return
	}
	for i, x := range a {
		dst[i] = x * s
	}
}

// DivScalar: dst[i] = a[i] / s
func DivScalar(dst, a []float32, s float32) {
	a = same2(dst, a)
	if simd(opDivScalar, dst, a, nil, s, 0) == done {
		return
	}
	for i, x := range a {
		dst[i] = x / s
	}
}

// RdivScalar: dst[i] = s / a[i]
func RdivScalar(dst, a []float32, s float32) {
	a = same2(dst, a)
	if simd(opRdivScalar, dst, a, nil, s, 0) == done {
		return
	}
	for i, x := range a {
		dst[i] = s / x
	}
}

// MaxScalar: dst[i] = max(a[i], s); NaN if either is.
func MaxScalar(dst, a []float32, s float32) {
	a = same2(dst, a)
	if simd(opMaxScalar, dst, a, nil, s, 0) == done {
		return
	}
	for i, x := range a {
		dst[i] = max(x, s)
	}
}

// MinScalar: dst[i] = min(a[i], s); NaN if either is.
func MinScalar(dst, a []float32, s float32) {
	a = same2(dst, a)
	if simd(opMinScalar, dst, a, nil, s, 0) == done {
		return
	}
	for i, x := range a {
		dst[i] = min(x, s)
	}
}

// Axpy: dst[i] = fma(a, x[i], dst[i])
//
// (The generic twin rounds the product.)
func Axpy(dst, x []float32, a float32) {
	x = same2(dst, x)
	if simd(opAxpy, dst, x, dst, a, 0) == done {
		return
	}
	for i, v := range x {
		dst[i] += float32(a * v)
	}
}

// ScaleShift: dst[i] = fma(src[i], scale, shift)
//
// (The generic twin rounds the product.)
func ScaleShift(dst, src []float32, scale, shift float32) {
	src = same2(dst, src)
	if simd(opScaleShift, dst, src, nil, scale, shift) == done {
		return
	}
	for i, x := range src {
		dst[i] = float32(x*scale) + shift
	}
}

// MulAdd: dst[i] = fma(a[i], b[i], dst[i])
//
// (The generic twin rounds the product.)
func MulAdd(dst, a, b []float32) {
	a, b = same2(dst, a), same2(dst, b)
	if simd(opMulAdd, dst, a, b, 0, 0) == done {
		return
	}
	for i, x := range a {
		dst[i] += float32(x * b[i])
	}
}
