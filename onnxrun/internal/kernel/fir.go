package kernel

// FIR resamples every channel with the same filter, blocked layout to blocked
// layout: zeros are put between the pixels (Up), around the image or, where Top
// and Left are negative, cut off from it, the filter is applied, and every
// Down'th result is kept (upfirdn2d of Karras et al., "Analyzing and Improving
// the Image Quality of StyleGAN", 2020; the filter is not turned round here):
//
//	for y := 0; y < OH; y++ {
//		for x := 0; x < OW; x++ {
//			var s float32
//			for h := 0; h < KH; h++ {
//				for k := 0; k < KW; k++ {
//					i, j := y*Down+h-Top, x*Down+k-Left
//					if i%Up == 0 && j%Up == 0 { // S is 0 where there is no pixel
//						s = fma(S[i/Up][j/Up], W[h][k], s)
//					}
//				}
//			}
//			D[y][x] = s
//		}
//	}
//
// S is [H][W][Block], D is [OH][OW][Block]. The zeros between pixels cost
// nothing: outputs whose taps meet pixels in the same way form a phase, a
// convolution with some of the taps. Fill the exported fields and call Init.
type FIR struct {
	KH, KW    int
	Up, Down  int // 0 means 1
	H, W      int // source
	Top, Left int
	OH, OW    int // output

	phases         []firPhase
	period, stride int // outputs, source pixels from one output of a phase to the next
	y0, x0, ph, pw int // the part of the source that is read: where it starts, its size
	inside         bool
}

// firPhase is the outputs (y+i·period, x+j·period).
type firPhase struct {
	y, x int
	taps []int32 // places in the filter
	off  []int32 // places in the part of the source that is read
}

// Init checks the sizes, writes the meaning of zeros into the exported fields
// and finds the phases.
func (c *FIR) Init() {
	c.Up, c.Down = max(c.Up, 1), max(c.Down, 1)
	if c.KH < 1 || c.KW < 1 || c.H < 0 || c.W < 0 || c.OH < 0 || c.OW < 0 {
		panic("kernel: FIR: sizes out of range")
	}
	g := c.Up
	for b := c.Down; b != 0; {
		g, b = b, g%b
	}
	c.period, c.stride = c.Up/g, c.Down/g
	c.phases = nil
	// From the row that the first tap of the first output meets, or would if it
	// met one, to that of the last tap of the last output.
	span := func(first, taps, outs int) (lo, n int) {
		lo = floorDiv(-first, c.Up)
		return lo, max(0, floorDiv((outs-1)*c.Down+taps-1-first, c.Up)+1-lo)
	}
	c.y0, c.ph = span(c.Top, c.KH, c.OH)
	c.x0, c.pw = span(c.Left, c.KW, c.OW)
	c.inside = c.y0 == 0 && c.x0 == 0 && c.ph <= c.H && c.pw == c.W
	if n := c.ph * c.pw * Block; int(int32(n)) != n {
		panic("kernel: FIR: image too large")
	}
	for y := 0; y < min(c.period, c.OH); y++ {
		for x := 0; x < min(c.period, c.OW); x++ {
			p := firPhase{y: y, x: x}
			for h := 0; h < c.KH; h++ {
				for k := 0; k < c.KW; k++ {
					i, j := y*c.Down+h-c.Top, x*c.Down+k-c.Left
					if fi, fj := floorDiv(i, c.Up), floorDiv(j, c.Up); fi*c.Up == i && fj*c.Up == j {
						p.taps = append(p.taps, int32(h*c.KW+k))
						p.off = append(p.off, int32(((fi-c.y0)*c.pw+fj-c.x0)*Block))
					}
				}
			}
			c.phases = append(c.phases, p)
		}
	}
}

func floorDiv(a, b int) int {
	q := a / b
	if q*b > a {
		q--
	}
	return q
}

// PackedLen returns the length of the packed filter.
func (c *FIR) PackedLen() int {
	n := 0
	for i := range c.phases {
		n += len(c.phases[i].taps) * Block
	}
	return n
}

// Pack packs the filter w, [KH][KW]: the taps of each phase, Block times each.
func (c *FIR) Pack(dst, w []float32) {
	need("FIR.Pack dst", len(dst), c.PackedLen())
	need("FIR.Pack w", len(w), c.KH*c.KW)
	for i := range c.phases {
		for _, t := range c.phases[i].taps {
			for l := range Block {
				dst[l] = w[t]
			}
			dst = dst[Block:]
		}
	}
}

// FrameLen returns the length of the working memory of Run.
func (c *FIR) FrameLen() int {
	if c.inside {
		return 0
	}
	return c.ph * c.pw * Block
}

// Run resamples one block of one image; frame is working memory.
func (c *FIR) Run(dst, src, packed, frame []float32) {
	if c.period == 0 {
		panic("kernel: FIR.Run before Init")
	}
	need("FIR.Run dst", len(dst), c.OH*c.OW*Block)
	need("FIR.Run src", len(src), c.H*c.W*Block)
	need("FIR.Run packed", len(packed), c.PackedLen())
	need("FIR.Run frame", len(frame), c.FrameLen())
	from := src
	if !c.inside {
		from = frame[:c.FrameLen()]
		c.cut(from, src)
	}
	rmax := tileRows()
	for i := range c.phases {
		p := &c.phases[i]
		n := len(p.taps) * Block
		t := tile{off: p.off, b: packed[:n], astep: c.stride * Block, crow: c.period * Block}
		packed = packed[n:]
		outs := (c.OW - p.x + c.period - 1) / c.period
		for y := p.y; y < c.OH; y += c.period {
			in := from[y/c.period*c.stride*c.pw*Block:]
			out := dst[(y*c.OW+p.x)*Block:]
			for x := 0; x < outs; {
				rows := evenly(outs-x, rmax)
				t.a, t.c = in[x*t.astep:], out[x*t.crow:]
				if n > 0 {
					t.lanes(rows, 1)
				} else {
					for r := range rows {
						clear(t.c[r*t.crow:][:Block])
					}
				}
				x += rows
			}
		}
	}
}

// cut copies the part of the source that is read, zeros where there is none.
func (c *FIR) cut(frame, src []float32) {
	row := c.pw * Block
	x0, x1 := max(0, c.x0), min(c.W, c.x0+c.pw)
	for y := 0; y < c.ph; y++ {
		to := frame[y*row : (y+1)*row]
		if i := y + c.y0; i < 0 || i >= c.H || x0 >= x1 {
			clear(to)
			continue
		}
		a, b := (x0-c.x0)*Block, (x1-c.x0)*Block
		clear(to[:a])
		copy(to[a:b], src[((y+c.y0)*c.W+x0)*Block:])
		clear(to[b:])
	}
}
