package kernel

// ExpRows is the middle of a softmax whose rows may come in pieces: for each of
// rows rows of n elements, ldd apart in dst and lds in src,
//
//	m := max(top[r], max over j of scale·src[r*lds+j])
//	top[r] = m
//	sum[r] = 0
//	for j := 0; j < n; j++ {
//		dst[r*ldd+j] = exp(fma(src[r*lds+j], scale, -m))
//		sum[r] += dst[r*ldd+j]
//	}
//
// scale must be positive. The softmax of a whole row is dst/sum when top was
// -MaxFloat32; of a row in pieces, each piece and its sum count exp(top then -
// top now) as much when a later piece has raised top. A row of nothing but -Inf
// has sum 0; one with a NaN or +Inf has the sum NaN.
//
// The sum is kept in float32, in 16 parts: n·2⁻²⁸ of it is the most that rounding
// can take, so long rows come in pieces. dst may be src.
//
// (The generic twin rounds the product.)
func ExpRows(dst []float32, ldd int, src []float32, lds int, rows, n int, scale float32, top, sum []float32) {
	if rows <= 0 || n <= 0 {
		if rows < 0 || n < 0 {
			panic("kernel: ExpRows: sizes out of range")
		}
		clear(sum[:rows])
		return
	}
	if ldd < n || lds < n {
		panic("kernel: ExpRows: rows overlap")
	}
	need("ExpRows dst", len(dst), (rows-1)*ldd+n)
	need("ExpRows src", len(src), (rows-1)*lds+n)
	need("ExpRows top", len(top), rows)
	need("ExpRows sum", len(sum), rows)
	if expRowsSIMD(dst, src, top, sum, rows, n, ldd, lds, scale) {
		return
	}
	for r := range rows {
		y, x := dst[r*ldd:][:n], src[r*lds:][:n]
		// max would bring a NaN into top; it comes back with the exponentials.
		m := negInf
		for _, v := range x {
			if v > m {
				m = v
			}
		}
		if m *= scale; m > top[r] {
			top[r] = m
		}
		m = top[r]
		var s [Block]float32
		for j, v := range x {
			e := float32(exp64(float64(float32(v*scale) - m)))
			y[j] = e
			s[j%Block] += e
		}
		for w := Block / 2; w > 0; w /= 2 {
			for l := range w {
				s[l] += s[l+w]
			}
		}
		sum[r] = s[0]
	}
}

// MaxSoftmaxRow is the longest row that SoftmaxRows takes.
const MaxSoftmaxRow = 1 << 11

// SoftmaxRows is SoftmaxRow for rows rows of n ≤ MaxSoftmaxRow elements, one
// after the other: many short ones cost less. dst may be src.
func SoftmaxRows(dst, src []float32, rows, n int) {
	if n > MaxSoftmaxRow {
		panic("kernel: SoftmaxRows: the rows are too long")
	}
	const most = 64
	var top, sum [most]float32
	for r := 0; r < rows; r += most {
		k := min(most, rows-r)
		for i := range k {
			top[i] = LeastFloat
		}
		y := dst[r*n:][:k*n]
		ExpRows(y, n, src[r*n:], n, k, n, 1, top[:k], sum[:k])
		for i, s := range sum[:k] {
			MulScalar(y[i*n:][:n], y[i*n:][:n], 1/s)
		}
	}
}

// LeastFloat is where top begins in ExpRows.
const LeastFloat = -0x1.fffffep127
