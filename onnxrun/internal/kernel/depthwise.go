package kernel

// Depthwise is a convolution of each channel by itself, or of groups of 2 or 4
// channels into as many, blocked layout to blocked layout, the source padded
// already:
//
//	for c := 0; c < C; c++ {
//		for z, y, x := range OD, OH, OW {
//			s := bias[c]
//			for d, h, w := range KD, KH, KW {
//				for j := 0; j < Width; j++ {
//					i := c/Width*Width + j
//					s = fma(S[i][z*StrideD+d*DilD][y*StrideH+h*DilH][x*StrideW+w*DilW], W[c][j][d][h][w], s)
//				}
//			}
//			D[c][z][y][x] = act((s + add[c][z][y][x])·Scale)
//		}
//	}
//
// S is [Blocks(C)][PD][PH][PW][Block]; D is [Blocks(C)][OD][OH][OW][Block] unless
// Dst says otherwise. Fill the exported fields and call Init.
type Depthwise struct {
	C     int
	Width int // channels of a group: 1 (0 means 1), 2 or 4
	Window
	Dst Strides // of add too

	Scale float32 // of the sum before act; 0 means 1

	off []int32
}

// Init checks the sizes and prepares the table of offsets; it panics as that of
// Conv does.
func (c *Depthwise) Init() {
	if c.Scale == 0 {
		c.Scale = 1
	}
	c.Window.init()
	c.Dst.init(&c.Window)
	if c.Width == 0 {
		c.Width = 1
	}
	if c.C < 1 || c.Width != 1 && c.Width != 2 && c.Width != 4 || c.C%c.Width != 0 {
		panic("kernel: Depthwise: sizes out of range")
	}
	c.off = c.offsets(nil, 0, Block)
}

// PackedLen returns the length of the packed weights.
func (c *Depthwise) PackedLen() int { return Blocks(c.C) * c.Taps() * c.Width * Block }

// Pack packs the weights w, [C][Width][KD][KH][KW], as
// [Blocks(C)][KD][KH][KW][Width][Block].
func (c *Depthwise) Pack(dst, w []float32) {
	taps := c.Taps()
	need("Depthwise.Pack dst", len(dst), c.PackedLen())
	need("Depthwise.Pack w", len(w), c.C*c.Width*taps)
	clear(dst[:c.PackedLen()])
	for ch := range c.C {
		out := dst[ch/Block*taps*c.Width*Block+ch%Block:]
		for j := range c.Width {
			for t, v := range w[(ch*c.Width+j)*taps:][:taps] {
				out[(t*c.Width+j)*Block] = v
			}
		}
	}
}

// Grouped reports whether Depthwise takes groups of that many channels into as
// many, at a rate that pays: Conv does it otherwise, with more multiplications.
func Grouped(width int) bool { return (width == 2 || width == 4) && isa != neon }

// SrcLen returns the least length of src.
func (c *Depthwise) SrcLen() int { return Blocks(c.C) * c.plane() * Block }

// DstLen returns the least length of dst.
func (c *Depthwise) DstLen() int { return c.Dst.extent(&c.Window, c.C) }

// Run computes blocks [block0,block1), rows [y0,y1) of the rows of all slices. bias (length C) and
// add may be nil; add may be dst itself, which must not overlap src.
func (c *Depthwise) Run(dst, src, packed, bias, add []float32, block0, block1, y0, y1 int, act Act) {
	if c.off == nil {
		panic("kernel: Depthwise.Run before Init")
	}
	if block0 < 0 || block1 < block0 || block1 > Blocks(c.C) || y0 < 0 || y1 < y0 || y1 > c.Rows() {
		panic("kernel: Depthwise.Run: range out of range")
	}
	if block0 == block1 || y0 == y1 || c.OW == 0 {
		return
	}
	need("Depthwise.Run dst", len(dst), c.DstLen())
	need("Depthwise.Run src", len(src), c.SrcLen())
	need("Depthwise.Run packed", len(packed), c.PackedLen())
	if bias != nil {
		need("Depthwise.Run bias", len(bias), c.C)
	}
	if add != nil {
		need("Depthwise.Run add", len(add), c.DstLen())
	}
	taps := len(c.off) * c.Width
	var lane [Block]float32
	t := tile{off: c.off, astep: c.StrideW * Block, crow: c.Dst.Col * Block, addrow: c.Dst.Col * Block}
	if act == ActRelu && c.Scale == 1 {
		t.relu = 1
	}
	rmax := tileRows()
	for b := block0; b < block1; b++ {
		t.b = packed[b*taps*Block : (b+1)*taps*Block]
		if bias != nil {
			clear(lane[:])
			copy(lane[:], bias[b*Block:min(c.C, (b+1)*Block)])
			t.bias = lane[:]
		}
		for y := y0; y < y1; y++ {
			in := src[(b*c.plane()+c.row(y))*Block:]
			at := c.Dst.row(&c.Window, b, y) * Block
			out := dst[at:]
			for x := 0; x < c.OW; {
				rows := evenly(c.OW-x, rmax)
				t.a, t.c = in[x*t.astep:], out[x*t.crow:]
				if add != nil {
					t.add = add[at+x*t.addrow:]
				}
				t.lanes(rows, c.Width)
				x += rows
			}
			if c.Scale != 1 {
				scalePixels(out, c.OW, c.Dst.Col, c.Scale)
			}
			if act > ActNone && t.relu == 0 {
				act.pixels(out, c.OW, c.Dst.Col)
			}
		}
	}
}
