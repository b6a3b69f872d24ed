package kernel

// The kernels of this file work on pixels of the blocked layout, Block lanes of
// one channel each; len(x) is a multiple of Block.

// SumLanes: out[l] = Σ x[i·Block+l], accumulated in float64.
func SumLanes(out *[Block]float64, x []float32) {
	n := pixels(x)
	if n == 0 {
		*out = [Block]float64{}
		return
	}
	if sumLanesSIMD(out, x, n) {
		return
	}
	var s [Block]float64
	for ; len(x) >= Block; x = x[Block:] {
		for l, v := range (*[Block]float32)(x) {
			s[l] += float64(v)
		}
	}
	*out = s
}

// SumSquaresLanes: out[l] = Σ (x[i·Block+l] - mean[l])², accumulated in float64.
func SumSquaresLanes(out *[Block]float64, x []float32, mean *[Block]float64) {
	n := pixels(x)
	if n == 0 {
		*out = [Block]float64{}
		return
	}
	if sumSquaresLanesSIMD(out, x, n, mean) {
		return
	}
	var s [Block]float64
	for ; len(x) >= Block; x = x[Block:] {
		for l, v := range (*[Block]float32)(x) {
			d := float64(v) - mean[l]
			s[l] += float64(d * d)
		}
	}
	*out = s
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
