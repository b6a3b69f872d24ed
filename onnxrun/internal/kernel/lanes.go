package kernel

// The kernels of this file work on pixels of the blocked layout, Block lanes of
// one channel each; len(x) is a multiple of Block.

// MomentsLanes computes the moments of the numbers x[i·Block+l] of each lane l:
//
//	mean[l]    their mean
//	squares[l] Σ (x[i·Block+l] - mean[l])²
//
// in one pass, by what they differ by from one of them; or, where that is far from the mean
// and few digits would be left of the squares, in a second pass from the mean.
// Sums are float32 over 32 pixels, four chains of eight, and float64 beyond: squares are
// off by 1e-7 of them where the one is near the mean, and by 4e-6 at most. (The generic
// twin rounds the product.)
func MomentsLanes(mean, squares *[Block]float64, x []float32) {
	n := pixels(x)
	if n == 0 {
		*mean, *squares = [Block]float64{}, [Block]float64{}
		return
	}
	shift := *(*[Block]float32)(x[n*33/64*Block:]) // not at the edge of an image, where outliers are
	far := momentsFrom(mean, squares, x, n, &shift)
	if far == [Block]bool{} {
		return
	}
	for l, m := range mean {
		shift[l] = float32(m)
	}
	var m, q [Block]float64
	momentsFrom(&m, &q, x, n, &shift)
	for l := range far {
		if far[l] {
			mean[l], squares[l] = m[l], q[l]
		}
	}
}

// momentsFrom is a pass of MomentsLanes. It reports which lanes' means are far from shift.
func momentsFrom(mean, squares *[Block]float64, x []float32, n int, shift *[Block]float32) (far [Block]bool) {
	var sums [2 * Block]float64
	momentSums(&sums, x, n, shift)
	for l := range Block {
		s, q := sums[l], sums[Block+l]
		// Squares leave the range of float32 long before what is squared does.
		if !(q <= 1e30) || q < 1e-30 && (q > 0 || s != 0) {
			mean[l], squares[l] = momentsOf(x[l:])
			continue
		}
		d := s / float64(n)
		off := float64(d * s)
		mean[l], squares[l] = float64(shift[l])+d, max(q-off, 0)
		far[l] = off > 16*squares[l]
	}
	return far
}

// momentsOf is MomentsLanes of a lane, in float64.
func momentsOf(x []float32) (mean, squares float64) {
	n := 0.0
	for i := 0; i < len(x); i += Block {
		mean += float64(x[i])
		n++
	}
	mean /= n
	for i := 0; i < len(x); i += Block {
		d := float64(x[i]) - mean
		squares += float64(d * d)
	}
	return mean, squares
}

// momentSums adds up what n ≥ 1 pixels differ by from shift, and the squares of that.
func momentSums(out *[2 * Block]float64, x []float32, n int, shift *[Block]float32) {
	if momentSumsSIMD(out, x, n, shift) {
		return
	}
	const chains, chunk = 4, 32 * Block
	*out = [2 * Block]float64{}
	for len(x) > 0 {
		var sum, squares [chains][Block]float32
		for i := 0; i < min(chunk, len(x)); i += Block {
			s, q := &sum[i/Block%chains], &squares[i/Block%chains]
			for l, v := range (*[Block]float32)(x[i:]) {
				d := v - shift[l]
				s[l] += d
				q[l] += float32(d * d)
			}
		}
		for l := range Block {
			out[l] += float64((sum[0][l] + sum[1][l]) + (sum[2][l] + sum[3][l]))
			out[Block+l] += float64((squares[0][l] + squares[1][l]) + (squares[2][l] + squares[3][l]))
		}
		x = x[min(chunk, len(x)):]
	}
}

// ScaleShiftLanes: dst[i·Block+l] = act(fma(src[i·Block+l], scale[l], shift[l])),
// the end of a normalisation; dst may be src.
//
// (The generic twin rounds the product.)
func ScaleShiftLanes(dst, src []float32, scale, shift *[Block]float32, act Act) {
	src = same2(dst, src)
	n := pixels(src)
	if n == 0 {
		return
	}
	if act != ActNone && act != ActSiLU { // piece by piece, so that the activation finds it in the cache
		const piece = 256 * Block
		for ; len(src) > piece; src, dst = src[piece:], dst[piece:] {
			ScaleShiftLanes(dst[:piece], src[:piece], scale, shift, act)
		}
		n = pixels(src)
	}
	if scaleShiftLanesSIMD(dst, src, scale, shift, n, act == ActSiLU) {
		if act != ActSiLU {
			act.Apply(dst)
		}
		return
	}
	for i := 0; i+Block <= len(src); i += Block {
		d := (*[Block]float32)(dst[i:])
		for l, v := range (*[Block]float32)(src[i:]) {
			d[l] = float32(v*scale[l]) + shift[l]
		}
	}
	act.Apply(dst)
}

func pixels(x []float32) int {
	if len(x)%Block != 0 {
		panic("kernel: length is not a multiple of Block")
	}
	return len(x) / Block
}
