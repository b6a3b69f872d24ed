package kernel

// Window is the geometry of a convolution over depth, rows and columns of a
// padded source: tap (d, h, w) of output (z, y, x) reads
//
//	S[z*StrideD+d*DilD][y*StrideH+h*DilH][x*StrideW+w*DilW]
//
// In two dimensions the fields of the depth stay 0.
type Window struct {
	KD, KH, KW                int // taps; KD: 0 means 1
	StrideD, StrideH, StrideW int // 0 means 1
	DilD, DilH, DilW          int // 0 means 1
	OD, OH, OW                int // output; OD: 0 means 1
	PD, PH, PW                int // padded source; PD: 0 means 1
}

// init checks the sizes and writes the meaning of zeros into the fields. It
// panics if the receptive field of an output leaves the padded source.
func (w *Window) init() {
	for _, p := range []*int{&w.KD, &w.StrideD, &w.StrideH, &w.StrideW, &w.DilD, &w.DilH, &w.DilW, &w.OD, &w.PD} {
		if *p == 0 {
			*p = 1
		}
	}
	if w.KD < 1 || w.KH < 1 || w.KW < 1 || w.StrideD < 1 || w.StrideH < 1 || w.StrideW < 1 || w.DilD < 1 || w.DilH < 1 || w.DilW < 1 ||
		w.OD < 0 || w.OH < 0 || w.OW < 0 || w.PD < 0 || w.PH < 0 || w.PW < 0 {
		panic("kernel: Window: sizes out of range")
	}
	if w.OD > 0 && w.OH > 0 && w.OW > 0 && ((w.OD-1)*w.StrideD+(w.KD-1)*w.DilD >= w.PD ||
		(w.OH-1)*w.StrideH+(w.KH-1)*w.DilH >= w.PH || (w.OW-1)*w.StrideW+(w.KW-1)*w.DilW >= w.PW) {
		panic("kernel: Window: the receptive field leaves the padded source")
	}
}

// Taps returns the number of taps.
func (w *Window) Taps() int { return max(1, w.KD) * w.KH * w.KW }

// Rows returns the number of output rows, those of all slices of the depth.
func (w *Window) Rows() int { return max(1, w.OD) * w.OH }

// plane is the number of pixels of a plane of the source.
func (w *Window) plane() int { return max(1, w.PD) * w.PH * w.PW }

// row is the pixel of the source where output row r starts to read.
func (w *Window) row(r int) int {
	return (r/w.OH*w.StrideD*w.PH + r%w.OH*w.StrideH) * w.PW
}

// offsets appends the places of the taps, from at on, lanes floats a pixel.
func (w *Window) offsets(off []int32, at, lanes int) []int32 {
	for d := range w.KD {
		for h := range w.KH {
			for x := range w.KW {
				o := at + ((d*w.DilD*w.PH+h*w.DilH)*w.PW+x*w.DilW)*lanes
				if int(int32(o)) != o {
					panic("kernel: Window: image too large")
				}
				off = append(off, int32(o))
			}
		}
	}
	return off
}

// Strides says where a convolution's outputs lie: pixels from column to column,
// from row to row, from slice to slice of the depth and from block to block of
// channels, for writing into the frame of a larger image, or every other pixel
// (a transposed convolution, phase by phase). 0 means 1, OW·Col, OH·Row and
// OD·Slice.
type Strides struct{ Col, Row, Slice, Plane int }

func (s *Strides) init(w *Window) {
	if s.Col == 0 {
		s.Col = 1
	}
	if s.Row == 0 {
		s.Row = w.OW * s.Col
	}
	if s.Slice == 0 {
		s.Slice = w.OH * s.Row
	}
	if s.Plane == 0 {
		s.Plane = w.OD * s.Slice
	}
	if s.Col < 1 || s.Row < 0 || s.Slice < 0 || s.Plane < 0 {
		panic("kernel: Strides: sizes out of range")
	}
}

// row is the pixel where row r of a block of channels starts.
func (s *Strides) row(w *Window, block, r int) int {
	return block*s.Plane + r/w.OH*s.Slice + r%w.OH*s.Row
}

// extent is the length of the blocks of c channels.
func (s *Strides) extent(w *Window, c int) int {
	if w.Rows() == 0 || w.OW == 0 {
		return 0
	}
	return (s.row(w, Blocks(c)-1, w.Rows()-1) + (w.OW-1)*s.Col + 1) * Block
}
