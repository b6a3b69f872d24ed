package kernel

// ConvOut is a convolution from the blocked layout into plain planes, for
// layers with a few output channels: the last one of a network, which Conv
// would compute in vectors of 16 channels most of which are padding. It equals
// Conv's loop, with
//
//	D[o][y][x] = act(s), D = [OC][OH][OW]
//
// It multiplies each source pixel by the weights of all OC·KH·KW taps at once,
// a matrix product with full vectors, and then adds the taps up along the rows.
// So s is bias, plus tap by tap a sum over the input channels.
type ConvOut struct {
	IC, OC int
	Window // of two axes; the source is [Blocks(IC)][PH][PW][Block]

	off  []int32
	cols int // OC·KH·KW, the width of the product
	span int // source columns that outputs depend on
	ring int // source rows that one output row depends on
}

// Init checks the sizes and prepares the table of offsets; it panics as that of
// Conv does.
func (c *ConvOut) Init() {
	c.Window.init()
	if c.IC < 1 || c.OC < 1 || c.PD != 1 || c.OD != 1 {
		panic("kernel: ConvOut: sizes out of range")
	}
	if n := Blocks(c.IC) * c.PH * c.PW * Block; int(int32(n)) != n {
		panic("kernel: ConvOut: image too large")
	}
	c.off = make([]int32, Blocks(c.IC))
	for i := range c.off {
		c.off[i] = int32(i * c.PH * c.PW * Block)
	}
	c.cols = c.OC * c.KH * c.KW
	c.span = (c.OW-1)*c.StrideW + (c.KW-1)*c.DilW + 1
	c.ring = (c.KH-1)*c.DilH + 1
}

// PackedLen returns the length of the packed weights.
func (c *ConvOut) PackedLen() int { return PackedLen(Blocks(c.IC)*Block, c.OC*c.KH*c.KW) }

// Pack packs the weights w, [OC][IC][KH][KW]: as PackB does, input channels for
// rows and (o, h, w) for columns.
func (c *ConvOut) Pack(dst, w []float32) {
	taps := c.KH * c.KW
	k := Blocks(c.IC) * Block
	need("ConvOut.Pack dst", len(dst), c.PackedLen())
	need("ConvOut.Pack w", len(w), c.OC*c.IC*taps)
	clear(dst[:c.PackedLen()])
	for o := 0; o < c.OC; o++ {
		for i := 0; i < c.IC; i++ {
			for t := 0; t < taps; t++ {
				j := o*taps + t
				dst[(j/PanelCols*k+i)*PanelCols+j%PanelCols] = w[(o*c.IC+i)*taps+t]
			}
		}
	}
}

// SrcLen returns the least length of src.
func (c *ConvOut) SrcLen() int { return Blocks(c.IC) * c.PH * c.PW * Block }

// WorkLen returns the length of the working memory of Run: a row of products
// and the ring of rows in use.
func (c *ConvOut) WorkLen() int { return (1 + c.ring) * max(0, c.span) * Panels(c.cols) * PanelCols }

// Run computes output rows [y0,y1) of all channels. bias (length OC) may be
// nil; work is working memory.
func (c *ConvOut) Run(dst, src, packed, bias, work []float32, y0, y1 int, act Act) {
	if c.off == nil {
		panic("kernel: ConvOut.Run before Init")
	}
	if y0 < 0 || y1 < y0 || y1 > c.OH {
		panic("kernel: ConvOut.Run: rows out of range")
	}
	if y0 == y1 || c.OW == 0 {
		return
	}
	need("ConvOut.Run dst", len(dst), c.OC*c.OH*c.OW)
	need("ConvOut.Run src", len(src), c.SrcLen())
	need("ConvOut.Run packed", len(packed), c.PackedLen())
	if bias != nil {
		need("ConvOut.Run bias", len(bias), c.OC)
	}
	need("ConvOut.Run work", len(work), c.WorkLen())
	width := Panels(c.cols) * PanelCols
	products := work[:c.span*width]
	ring := work[c.span*width:][:c.ring*c.span*width]
	taps := c.KH * c.KW
	for y := y0; y < y1; y++ {
		for h := 0; h < c.KH; h++ {
			// Source row r stays in place r%ring while it is needed; it is new
			// unless the output row above reached it too.
			r := y*c.StrideH + h*c.DilH
			slot := ring[r%c.ring*c.span*width:][:c.span*width]
			if y == y0 || !c.reaches(y0, y-1, r) {
				c.products(products, src, packed, r, width)
				transpose(slot, products, c.span, c.cols, c.span, width)
			}
		}
		for o := 0; o < c.OC; o++ {
			out := dst[(o*c.OH+y)*c.OW:][:c.OW]
			var b float32
			if bias != nil {
				b = bias[o]
			}
			for t := 0; t < taps; t++ {
				r := y*c.StrideH + t/c.KW*c.DilH
				row := ring[(r%c.ring*width+o*taps+t)*c.span+t%c.KW*c.DilW:]
				switch {
				case c.StrideW == 1 && t == 0:
					AddScalar(out, row, b)
				case c.StrideW == 1:
					Add(out, out, row)
				default:
					for x := range out {
						s := b
						if t > 0 {
							s = out[x]
						}
						out[x] = s + row[x*c.StrideW]
					}
				}
			}
			if act != ActNone {
				act.Apply(out)
			}
		}
	}
}

// reaches reports whether source row r is one of those that the output rows
// from y0 to y depend on and still hold: the latest that could is y.
func (c *ConvOut) reaches(y0, y, r int) bool {
	for ; y >= y0; y-- {
		d := r - y*c.StrideH
		if d > (c.KH-1)*c.DilH {
			return false
		}
		if d%c.DilH == 0 {
			return true
		}
	}
	return false
}

// products writes the products of a source row, width for each pixel.
func (c *ConvOut) products(out, src, packed []float32, r, width int) {
	k := len(c.off) * Block
	rmax := tileRows()
	t := tile{off: c.off, kseg: Block, astep: Block, crow: width, cvec: Block}
	for p := 0; p < width/PanelCols; p++ {
		t.b = packed[p*k*PanelCols : (p+1)*k*PanelCols]
		cols := PanelCols
		if c.cols-p*PanelCols <= Block {
			cols = Block
		}
		for x := 0; x < c.span; {
			rows := evenly(c.span-x, rmax)
			t.a = src[(r*c.PW+x)*Block:]
			t.c = out[x*width+p*PanelCols:]
			t.run(rows, cols)
			x += rows
		}
	}
}
