package kernel

import "unsafe"

// Block is the number of channels that lie side by side in the blocked layout
// NCHWc: a plane of C channels becomes ceil(C/Block) planes of pixels, each
// pixel holding Block channels, those past C being zero. It is one AVX-512
// vector of float32, and two AVX2 vectors.
const Block = 16

// Blocks returns the number of blocks that hold c channels.
func Blocks(c int) int { return (c + Block - 1) / Block }

const vector = 64

// misaligned returns how many elements of x lie before a 64-byte boundary.
func misaligned(x []float32) int {
	return int(-uintptr(unsafe.Pointer(unsafe.SliceData(x))) % vector / 4)
}

// ToBlocked copies channels of a plane of hw pixels into the blocked layout,
// zero in the channels past c, for blocks [block0,block1):
//
//	for b := block0; b < block1; b++ {
//		for p := 0; p < hw; p++ {
//			for l := 0; l < Block; l++ {
//				dst[(b*hw+p)*Block+l] = src[(b*Block+l)*hw+p] // or 0 when b*Block+l >= c
//			}
//		}
//	}
func ToBlocked(dst, src []float32, c, hw, block0, block1 int) {
	ToBlockedPadded(dst, src, c, 1, hw, 0, 0, 1, hw, block0, block1)
}

// ToBlockedPadded is ToBlocked into an image of ph rows of pw pixels, h rows of
// w pixels of which, from (top, left) on, are the source; the rest is set to 0.
func ToBlockedPadded(dst, src []float32, c, h, w, top, left, ph, pw, block0, block1 int) {
	checkFrame(h, w, top, left, ph, pw)
	checkBlocks(block0, block1, c)
	need("ToBlocked dst", len(dst), block1*ph*pw*Block)
	need("ToBlocked src", len(src), min(block1*Block, c)*h*w)
	for b := block0; b < block1; b++ {
		ToBlockedSlice(dst[b*ph*pw*Block:], src[b*Block*h*w:], min(Block, c-b*Block), h*w, h, w, top, left, ph, pw)
	}
}

// ToBlockedSlice copies one slice of a block of channels: c ≤ Block planes of h
// rows of w pixels, stride apart in src, into an image of ph rows of pw pixels of
// Block channels, from (top, left) on; the rest is set to 0.
func ToBlockedSlice(dst, src []float32, c, stride, h, w, top, left, ph, pw int) {
	checkFrame(h, w, top, left, ph, pw)
	if c < 1 || c > Block || stride < h*w {
		panic("kernel: ToBlocked: sizes out of range")
	}
	need("ToBlocked dst", len(dst), ph*pw*Block)
	need("ToBlocked src", len(src), (c-1)*stride+h*w)
	out := dst[:ph*pw*Block]
	frame(out, h, w, top, left, ph, pw, Block)
	for y := 0; y < h; y++ {
		o := ((top+y)*pw + left) * Block
		interleave(out[o:o+w*Block], src[y*w:], w, stride, c)
	}
}

// FromBlocked is the inverse of ToBlocked: channels past c are dropped.
//
//	for b := block0; b < block1; b++ {
//		for l := 0; l < Block && b*Block+l < c; l++ {
//			for p := 0; p < hw; p++ {
//				dst[(b*Block+l)*hw+p] = src[(b*hw+p)*Block+l]
//			}
//		}
//	}
func FromBlocked(dst, src []float32, c, hw, block0, block1 int) {
	if hw < 0 {
		panic("kernel: FromBlocked: sizes out of range")
	}
	checkBlocks(block0, block1, c)
	need("FromBlocked src", len(src), block1*hw*Block)
	need("FromBlocked dst", len(dst), min(block1*Block, c)*hw)
	for b := block0; b < block1; b++ {
		nc := min(Block, c-b*Block)
		deinterleave(dst[b*Block*hw:(b*Block+nc)*hw], src[b*hw*Block:(b+1)*hw*Block], hw, hw, nc)
	}
}

// PadBlocked copies blocks [block0,block1) of images of h rows of w pixels into
// images of ph rows of pw pixels, at (top, left), and sets the rest to 0:
//
//	dst[((b*ph+top+y)*pw+left+x)*Block+l] = src[((b*h+y)*w+x)*Block+l]
func PadBlocked(dst, src []float32, h, w, top, left, ph, pw, block0, block1 int) {
	pad(dst, src, h, w, top, left, ph, pw, block0, block1, Block)
}

// PadPlanes is PadBlocked for plain planes, one value a pixel, planes
// [plane0,plane1).
func PadPlanes(dst, src []float32, h, w, top, left, ph, pw, plane0, plane1 int) {
	pad(dst, src, h, w, top, left, ph, pw, plane0, plane1, 1)
}

func pad(dst, src []float32, h, w, top, left, ph, pw, p0, p1, lanes int) {
	checkFrame(h, w, top, left, ph, pw)
	if p0 < 0 || p1 < p0 {
		panic("kernel: Pad: planes out of range")
	}
	need("Pad dst", len(dst), p1*ph*pw*lanes)
	need("Pad src", len(src), p1*h*w*lanes)
	for p := p0; p < p1; p++ {
		out := dst[p*ph*pw*lanes : (p+1)*ph*pw*lanes]
		in := src[p*h*w*lanes : (p+1)*h*w*lanes]
		frame(out, h, w, top, left, ph, pw, lanes)
		for y := 0; y < h; y++ {
			copy(out[((top+y)*pw+left)*lanes:], in[y*w*lanes:(y+1)*w*lanes])
		}
	}
}

// frame zeroes the border around the h×w pixels at (top, left).
func frame(img []float32, h, w, top, left, ph, pw, lanes int) {
	if h == 0 || w == 0 {
		clear(img)
		return
	}
	first, last := (top*pw+left)*lanes, ((top+h-1)*pw+left+w)*lanes
	clear(img[:first])
	clear(img[last:])
	if w < pw {
		for y := top; y < top+h-1; y++ {
			clear(img[(y*pw+left+w)*lanes : ((y+1)*pw+left)*lanes])
		}
	}
}

// interleave writes w pixels of Block channels, of which nc come from planes
// stride apart in src.
func interleave(dst, src []float32, w, stride, nc int) {
	transpose(dst, src, nc, w, Block, stride)
	if nc < Block {
		for x := 0; x < w; x++ {
			clear(dst[x*Block+nc : (x+1)*Block])
		}
	}
}

func deinterleave(dst, src []float32, w, stride, nc int) {
	transpose(dst, src, w, nc, stride, Block)
}

// Transpose writes the transpose of the rows×cols matrix src, rows lds apart,
// to dst, rows ldd apart:
//
//	dst[j*ldd+i] = src[i*lds+j]
func Transpose(dst, src []float32, rows, cols, ldd, lds int) {
	if rows < 0 || cols < 0 || ldd < rows || lds < cols {
		panic("kernel: Transpose: sizes out of range")
	}
	if rows == 0 || cols == 0 {
		return
	}
	need("Transpose dst", len(dst), (cols-1)*ldd+rows)
	need("Transpose src", len(src), (rows-1)*lds+cols)
	// Narrow bands of columns keep the lines of dst in the first-level cache
	// until they are full.
	const band = 64
	for j := 0; j < cols; j += band {
		transpose(dst[j*ldd:], src[j:], rows, min(band, cols-j), ldd, lds)
	}
}

// ShortRun is the longest run that CopyRuns takes.
const ShortRun = 32

// CopyRuns copies runs of 1 to ShortRun elements, sd and ss apart:
//
//	for i := range runs {
//		copy(dst[i*sd:][:run], src[i*ss:][:run])
//	}
//
// without the call that copy is. The two must not overlap.
func CopyRuns(dst, src []float32, runs, run, sd, ss int) {
	if runs <= 0 {
		return
	}
	if run < 1 || run > ShortRun || sd < 0 || ss < 0 {
		panic("kernel: CopyRuns: sizes out of range")
	}
	need("CopyRuns dst", len(dst), (runs-1)*sd+run)
	need("CopyRuns src", len(src), (runs-1)*ss+run)
	if copyRuns(dst, src, runs, run, sd, ss) {
		return
	}
	for i := range runs {
		d, s := dst[i*sd:][:run], src[i*ss:][:run]
		if run < 4 {
			for l := range d {
				d[l] = s[l]
			}
			continue
		}
		// Four at a time, the last four again where they are not a whole four.
		for ; len(d) > 4 && len(s) > 4; d, s = d[4:], s[4:] {
			*(*[4]float32)(d) = [4]float32(s)
		}
		*(*[4]float32)(dst[i*sd+run-4:]) = [4]float32(src[i*ss+run-4:])
	}
}

// Repeat writes each element of src so many times: dst[j*times+i] = src[j]. It is the
// transpose of a matrix whose rows are all src.
func Repeat(dst, src []float32, times int) {
	if times < 0 {
		panic("kernel: Repeat: times is negative")
	}
	if len(src)*times == 0 {
		return
	}
	need("Repeat dst", len(dst), len(src)*times)
	transpose(dst, src, times, len(src), times, 0)
}

func transpose(dst, src []float32, rows, cols, ldd, lds int) {
	for i := 0; i < rows; i += 8 {
		n := min(8, rows-i)
		d, s := dst[i:], src[i*lds:]
		j := 0
		if n == 8 {
			j = transpose8(d, s, cols, ldd, lds)
		}
		for ; j < cols; j += 8 {
			m := min(8, cols-j)
			for r := 0; r < n; r++ {
				at := j*ldd + r
				for _, v := range s[r*lds+j : r*lds+j+m] {
					d[at] = v
					at += ldd
				}
			}
		}
	}
}

func checkFrame(h, w, top, left, ph, pw int) {
	if h < 0 || w < 0 || top < 0 || left < 0 || top+h > ph || left+w > pw {
		panic("kernel: image does not fit into its padded frame")
	}
}

func checkBlocks(b0, b1, c int) {
	if b0 < 0 || b1 < b0 || b1 > Blocks(c) {
		panic("kernel: blocks out of range")
	}
}

// need panics unless a slice of n elements holds want.
func need(what string, n, want int) {
	if n < want {
		panic("kernel: " + what + " is too short")
	}
}

// GatherPanels fills columns [p0,p1) of the packed form (see PackB) of the
// matrix with channels*taps rows and P = len(tab)/taps columns
//
//	b[ch*taps+t][p] = src[ch*chStride + tab[t*P+p]]    // 0 where tab is negative
//
// p0 must be a multiple of PanelCols, p1 too unless it is P: ranges of whole
// panels, so that callers can split the work. dst is the whole packed matrix.
func GatherPanels(dst, src []float32, tab []int32, channels, chStride, taps, p0, p1 int) {
	if channels == 0 || taps == 0 || p0 >= p1 {
		return
	}
	cols := len(tab) / taps
	k := channels * taps
	if channels < 0 || taps < 0 || p0 < 0 || p1 > cols || p0%PanelCols != 0 || (p1%PanelCols != 0 && p1 != cols) {
		panic("kernel: GatherPanels: columns out of range")
	}
	need("GatherPanels dst", len(dst), PackedLen(k, p1))
	var runs [gatherRuns]run
	for p := p0; p < p1; p += PanelCols {
		n := min(PanelCols, p1-p)
		panel := dst[p*k : (p+PanelCols)*k]
		for t := 0; t < taps; t++ {
			offs := tab[t*cols+p : t*cols+p+n]
			count := findRuns(&runs, offs)
			for ch := 0; ch < channels; ch++ {
				plane := src[ch*chStride:]
				row := panel[(ch*taps+t)*PanelCols:][:PanelCols]
				if count == 1 && runs[0].n == PanelCols && runs[0].off >= 0 {
					*(*[PanelCols]float32)(row) = [PanelCols]float32(plane[runs[0].off:])
					continue
				}
				if count >= 0 {
					j := 0
					for _, r := range runs[:count] {
						if r.off < 0 {
							clear(row[j : j+r.n])
						} else {
							copy(row[j:j+r.n], plane[r.off:r.off+r.n])
						}
						j += r.n
					}
				} else {
					for j, o := range offs {
						var v float32
						if o >= 0 {
							v = plane[o]
						}
						row[j] = v
					}
				}
				clear(row[n:])
			}
		}
	}
}

// A run is n columns from consecutive places of the source, or n zeros if off
// is negative. Rows of an image give a few to a panel; past gatherRuns, moving
// elements one by one is faster.
type run struct{ off, n int }

const gatherRuns = 8

// findRuns returns the number of runs in offs, or -1 if there are too many.
func findRuns(runs *[gatherRuns]run, offs []int32) int {
	count := 0
	for i := 0; i < len(offs); {
		if count == gatherRuns {
			return -1
		}
		first := offs[i]
		j := i + 1
		if first < 0 {
			for first = -1; j < len(offs) && offs[j] < 0; j++ {
			}
		} else {
			for ; j < len(offs) && int(offs[j]) == int(first)+j-i; j++ {
			}
		}
		runs[count] = run{int(first), j - i}
		count++
		i = j
	}
	return count
}
