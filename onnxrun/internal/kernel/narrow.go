package kernel

// NarrowCols is the most columns that GemmNarrow takes.
const NarrowCols = 4

// GemmNarrow multiplies the row-major m×k matrix a, rows lda apart, by a matrix of
// n ≤ NarrowCols columns into c, rows ldc apart. b holds the columns one after the
// other, k numbers each. The microkernel would leave most of its lanes empty; here
// they go along k:
//
//	for i := 0; i < m; i++ {
//		for j := 0; j < n; j++ {
//			var s [16]float32
//			for l := 0; l < k; l++ {
//				s[l%16] = fma(a[i*lda+l], b[j*k+l], s[l%16])
//			}
//			for w := 8; w > 0; w /= 2 {
//				for l := 0; l < w; l++ {
//					s[l] += s[l+w]
//				}
//			}
//			c[i*ldc+j] = s[0] + bias[j] // or 0
//		}
//	}
//
// A value of c depends on its row of a and its column of b alone, to the bit. c
// must not overlap the others. (The generic twin rounds the product.)
func GemmNarrow(c []float32, ldc int, a []float32, lda int, b []float32, m, n, k int, bias []float32) {
	if m <= 0 || n <= 0 {
		return
	}
	if n > NarrowCols || ldc < n || lda < k {
		panic("kernel: GemmNarrow: too many columns, or a leading dimension is too small")
	}
	need("GemmNarrow a", len(a), (m-1)*lda+k)
	need("GemmNarrow b", len(b), n*k)
	need("GemmNarrow c", len(c), (m-1)*ldc+n)
	var begin [NarrowCols]float32
	copy(begin[:n], bias)
	if k > 0 && narrowSIMD(c, ldc, a, lda, b, m, n, k, &begin) {
		return
	}
	for i := range m {
		for j := range n {
			c[i*ldc+j] = narrowDot(a[i*lda:][:k], b[j*k:][:k]) + begin[j]
		}
	}
}

func narrowDot(x, y []float32) float32 {
	var s [16]float32
	for ; len(x) >= 16 && len(y) >= 16; x, y = x[16:], y[16:] {
		u, v := (*[16]float32)(x), (*[16]float32)(y)
		for l := range s {
			s[l] += float32(u[l] * v[l])
		}
	}
	y = y[:len(x)]
	for l, v := range x {
		s[l&15] += float32(v * y[l])
	}
	for w := 8; w > 0; w /= 2 {
		for l := range w {
			s[l] += s[l+w]
		}
	}
	return s[0]
}
