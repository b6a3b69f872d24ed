package kernel

// Depthwise is a convolution of each channel by itself, blocked layout to
// blocked layout, the source padded already:
//
//	for c := 0; c < C; c++ {
//		for y := 0; y < OH; y++ {
//			for x := 0; x < OW; x++ {
//				s := bias[c]
//				for h := 0; h < KH; h++ {
//					for w := 0; w < KW; w++ {
//						s = fma(S[c][y*StrideH+h*DilH][x*StrideW+w*DilW], W[c][h][w], s)
//					}
//				}
//				D[c][y][x] = act((s + add[c][y][x])·Scale)
//			}
//		}
//	}
//
// S is [Blocks(C)][PH][PW][Block]; D is [Blocks(C)][OH][OW][Block] unless the
// Dst strides, which are those of add too, say otherwise (see Conv). Fill the
// exported fields and call Init.
type Depthwise struct {
	C, KH, KW                int
	StrideH, StrideW         int // 0 means 1
	DilH, DilW               int // 0 means 1
	OH, OW                   int // output
	PH, PW                   int // padded source
	DstCol, DstRow, DstPlane int // 0 means 1, OW·DstCol, OH·DstRow

	Scale float32 // of the sum before act; 0 means 1

	off []int32
}

// Init checks the sizes and prepares the table of offsets; it panics as that of
// Conv does.
func (c *Depthwise) Init() {
	v := Conv{IC: 1, OC: 1, KH: c.KH, KW: c.KW, StrideH: c.StrideH, StrideW: c.StrideW, DilH: c.DilH, DilW: c.DilW,
		OH: c.OH, OW: c.OW, PH: c.PH, PW: c.PW, DstCol: c.DstCol, DstRow: c.DstRow, DstPlane: c.DstPlane, Scale: c.Scale}
	v.Init()
	if c.C < 1 {
		panic("kernel: Depthwise: sizes out of range")
	}
	c.StrideH, c.StrideW, c.DilH, c.DilW = v.StrideH, v.StrideW, v.DilH, v.DilW
	c.DstCol, c.DstRow, c.DstPlane = v.DstCol, v.DstRow, v.DstPlane
	c.off, c.Scale = v.off, v.Scale
}

// PackedLen returns the length of the packed weights.
func (c *Depthwise) PackedLen() int { return Blocks(c.C) * c.KH * c.KW * Block }

// Pack packs the weights w, [C][KH][KW], as [Blocks(C)][KH][KW][Block].
func (c *Depthwise) Pack(dst, w []float32) { ToBlocked(dst, w, c.C, c.KH*c.KW, 0, Blocks(c.C)) }

// SrcLen returns the least length of src.
func (c *Depthwise) SrcLen() int { return Blocks(c.C) * c.PH * c.PW * Block }

// DstLen returns the least length of dst.
func (c *Depthwise) DstLen() int {
	if c.OH == 0 || c.OW == 0 {
		return 0
	}
	return ((Blocks(c.C)-1)*c.DstPlane + (c.OH-1)*c.DstRow + (c.OW-1)*c.DstCol + 1) * Block
}

// Run computes blocks [block0,block1), output rows [y0,y1). bias (length C) and
// add may be nil; add may be dst itself, which must not overlap src.
func (c *Depthwise) Run(dst, src, packed, bias, add []float32, block0, block1, y0, y1 int, act Act) {
	if c.off == nil {
		panic("kernel: Depthwise.Run before Init")
	}
	if block0 < 0 || block1 < block0 || block1 > Blocks(c.C) || y0 < 0 || y1 < y0 || y1 > c.OH {
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
	taps := len(c.off)
	var lane [Block]float32
	t := tile{off: c.off, astep: c.StrideW * Block, crow: c.DstCol * Block, addrow: c.DstCol * Block}
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
			in := src[(b*c.PH+y*c.StrideH)*c.PW*Block:]
			at := (b*c.DstPlane + y*c.DstRow) * Block
			out := dst[at:]
			for x := 0; x < c.OW; {
				rows := evenly(c.OW-x, rmax)
				t.a, t.c = in[x*t.astep:], out[x*t.crow:]
				if add != nil {
					t.add = add[at+x*t.addrow:]
				}
				t.lanes(rows)
				x += rows
			}
			if c.Scale != 1 {
				scalePixels(out, c.OW, c.DstCol, c.Scale)
			}
			if act > ActNone && t.relu == 0 {
				act.pixels(out, c.OW, c.DstCol)
			}
		}
	}
}
