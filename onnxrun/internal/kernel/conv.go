package kernel

// Act is an activation applied to a convolution's output while it is in the
// cache. Each maps 0 to 0, so the padding channels of the blocked layout stay 0.
type Act int

const (
	ActNone Act = iota
	ActRelu
	ActSiLU
	ActTanh
	ActElu // alpha = 1
	ActGelu
)

// Conv is a direct two-dimensional convolution of one image, written into the
// blocked layout. The source is padded already, so the loop knows no borders:
//
//	for o := 0; o < OC; o++ {
//		for y := 0; y < OH; y++ {
//			for x := 0; x < OW; x++ {
//				s := bias[o]
//				for i := 0; i < IC; i++ { // by blocks of 16: i/16, kh, kw, i%16; if Plain: i, kh, kw
//					for h := 0; h < KH; h++ {
//						for w := 0; w < KW; w++ {
//							s += W[o][i][h][w] * S[i][y*StrideH+h*DilH][x*StrideW+w*DilW]
//						}
//					}
//				}
//				D[o][y][x] = act((s + add[o][y][x])·Scale)
//			}
//		}
//	}
//
// S is [Blocks(IC)][PH][PW][Block], or [IC][PH][PW] if Plain (best for a few
// channels); D is [Blocks(OC)][OH][OW][Block] unless the Dst strides say
// otherwise. A value of D depends on its receptive field alone, to the bit.
//
// Fill the exported fields, call Init, and use the Conv from any number of
// goroutines.
type Conv struct {
	IC, OC, KH, KW   int
	StrideH, StrideW int // 0 means 1
	DilH, DilW       int // 0 means 1
	OH, OW           int // output
	PH, PW           int // padded source
	Plain            bool

	// Pixels from column to column, from row to row and from block to block of
	// dst, for writing into the frame of a larger image, or every other pixel
	// (a transposed convolution, phase by phase); 0 means 1, OW·DstCol and
	// OH·DstRow.
	DstCol, DstRow, DstPlane int
	// The same for add.
	AddCol, AddRow, AddPlane int

	Scale float32 // of the sum before act; 0 means 1

	off   []int32 // start of each segment of k in the source
	kseg  int     // steps of k in a segment
	chunk int     // segments in one pass over the output
}

// Init checks the sizes, writes the meaning of zeros into the exported fields
// and prepares the table of offsets. It panics if the
// receptive field of an output leaves the padded source.
func (c *Conv) Init() {
	one := func(p *int) {
		if *p == 0 {
			*p = 1
		}
	}
	one(&c.StrideH)
	one(&c.StrideW)
	one(&c.DilH)
	one(&c.DilW)
	one(&c.DstCol)
	one(&c.AddCol)
	if c.Scale == 0 {
		c.Scale = 1
	}
	if c.DstRow == 0 {
		c.DstRow = c.OW * c.DstCol
	}
	if c.DstPlane == 0 {
		c.DstPlane = c.OH * c.DstRow
	}
	if c.AddRow == 0 {
		c.AddRow = c.OW * c.AddCol
	}
	if c.AddPlane == 0 {
		c.AddPlane = c.OH * c.AddRow
	}
	if c.IC < 1 || c.OC < 1 || c.KH < 1 || c.KW < 1 || c.StrideH < 1 || c.StrideW < 1 || c.DilH < 1 || c.DilW < 1 ||
		c.OH < 0 || c.OW < 0 || c.PH < 0 || c.PW < 0 || c.DstCol < 1 || c.AddCol < 1 || c.DstRow < 0 || c.AddRow < 0 || c.DstPlane < 0 || c.AddPlane < 0 {
		panic("kernel: Conv: sizes out of range")
	}
	if c.OH > 0 && c.OW > 0 && ((c.OH-1)*c.StrideH+(c.KH-1)*c.DilH >= c.PH || (c.OW-1)*c.StrideW+(c.KW-1)*c.DilW >= c.PW) {
		panic("kernel: Conv: the receptive field leaves the padded source")
	}
	lanes, planes := Block, Blocks(c.IC)
	if c.Plain {
		lanes, planes = 1, c.IC
	}
	c.kseg = lanes
	c.off = make([]int32, 0, planes*c.KH*c.KW)
	for i := 0; i < planes; i++ {
		for h := 0; h < c.KH; h++ {
			for w := 0; w < c.KW; w++ {
				o := (i*c.PH*c.PW + h*c.DilH*c.PW + w*c.DilW) * lanes
				if int(int32(o)) != o {
					panic("kernel: Conv: image too large")
				}
				c.off = append(c.off, int32(o))
			}
		}
	}
	// As many whole blocks a pass as make k at least convK deep: a deep pass
	// keeps the sums in registers, a shallow one its weights in the cache.
	per := c.KH * c.KW
	n := max(1, convK/(per*lanes))
	c.chunk = n * per
}

const convK = 256

// Groups returns the number of groups of two output blocks.
func (c *Conv) Groups() int { return Panels(c.OC) }

// PackedLen returns the length of the packed weights.
func (c *Conv) PackedLen() int { return c.Groups() * c.segments() * PanelCols }

func (c *Conv) segments() int {
	if c.Plain {
		return c.IC * c.KH * c.KW
	}
	return Blocks(c.IC) * Block * c.KH * c.KW
}

// SrcLen returns the least length of src.
func (c *Conv) SrcLen() int {
	if c.Plain {
		return c.IC * c.PH * c.PW
	}
	return Blocks(c.IC) * c.PH * c.PW * Block
}

// DstLen returns the least length of dst.
func (c *Conv) DstLen() int { return c.extent(c.DstCol, c.DstRow, c.DstPlane) }

func (c *Conv) extent(col, row, plane int) int {
	if c.OH == 0 || c.OW == 0 {
		return 0
	}
	return ((Blocks(c.OC)-1)*plane + (c.OH-1)*row + (c.OW-1)*col + 1) * Block
}

// Pack packs the weights w, [OC][IC][KH][KW], into groups of two output blocks:
// [group][IC/16][KH][KW][16 ic][2][16 oc], zero where there is no channel; if
// Plain, [group][IC][KH][KW][2][16 oc].
func (c *Conv) Pack(dst, w []float32) { c.PackGroups(dst, w, 0, c.Groups()) }

// PackGroups is Pack for groups [group0,group1).
func (c *Conv) PackGroups(dst, w []float32, group0, group1 int) {
	per := c.KH * c.KW
	k := c.segments()
	if group0 < 0 || group1 < group0 || group1 > c.Groups() {
		panic("kernel: Conv.Pack: groups out of range")
	}
	need("Conv.Pack dst", len(dst), group1*k*PanelCols)
	need("Conv.Pack w", len(w), c.OC*c.IC*per)
	lanes := Block
	if c.Plain {
		lanes = 1
	}
	for g := group0; g < group1; g++ {
		out := dst[g*k*PanelCols : (g+1)*k*PanelCols]
		if (g+1)*PanelCols > c.OC || c.IC%lanes != 0 {
			clear(out)
		}
		for j := 0; j < min(PanelCols, c.OC-g*PanelCols); j++ {
			ow := w[(g*PanelCols+j)*c.IC*per:][:c.IC*per]
			for i := 0; i < c.IC; i++ {
				at := (i/lanes*per*lanes+i%lanes)*PanelCols + j
				for s, v := range ow[i*per : (i+1)*per] {
					out[at+s*lanes*PanelCols] = v
				}
			}
		}
	}
}

// Run computes output groups [group0,group1), rows [y0,y1). bias (length OC)
// and add (laid out by the Add strides) may be nil; add may be dst itself, from
// the same element on and with the same strides. dst must not overlap src.
func (c *Conv) Run(dst, src, packed, bias, add []float32, group0, group1, y0, y1 int, act Act) {
	if c.off == nil {
		panic("kernel: Conv.Run before Init")
	}
	if group0 < 0 || group1 < group0 || group1 > c.Groups() || y0 < 0 || y1 < y0 || y1 > c.OH {
		panic("kernel: Conv.Run: range out of range")
	}
	if group0 == group1 || y0 == y1 || c.OW == 0 {
		return
	}
	k := c.segments()
	need("Conv.Run dst", len(dst), c.DstLen())
	need("Conv.Run src", len(src), c.SrcLen())
	need("Conv.Run packed", len(packed), group1*k*PanelCols)
	if bias != nil {
		need("Conv.Run bias", len(bias), c.OC)
	}
	if add != nil {
		need("Conv.Run add", len(add), c.extent(c.AddCol, c.AddRow, c.AddPlane))
	}
	var (
		t     tile
		gbias [PanelCols]float32
		rmax  = tileRows()
	)
	t.kseg = c.kseg
	t.astep = c.StrideW * c.kseg
	t.crow, t.cvec = c.DstCol*Block, c.DstPlane*Block
	t.addrow, t.addvec = c.AddCol*Block, c.AddPlane*Block
	height := max(1, convPixels/c.OW)
	chunk := c.chunk
	if add != nil && &add[0] == &dst[0] {
		chunk = len(c.off) // partial sums would overwrite the addend
	}
	for g := group0; g < group1; g++ {
		cols := min(PanelCols, (Blocks(c.OC)-2*g)*Block)
		if bias != nil {
			clear(gbias[:])
			copy(gbias[:], bias[g*PanelCols:min(c.OC, (g+1)*PanelCols)])
		}
		for ya := y0; ya < y1; ya += height {
			yb := min(y1, ya+height)
			for s0 := 0; s0 < len(c.off); s0 += chunk {
				s1 := min(len(c.off), s0+chunk)
				t.off = c.off[s0:s1]
				t.b = packed[(g*k+s0*c.kseg)*PanelCols : (g*k+s1*c.kseg)*PanelCols]
				t.acc, t.bias, t.add, t.relu = 1, nil, nil, 0
				if s0 == 0 {
					t.acc = 0
					if bias != nil {
						t.bias = gbias[:]
					}
				}
				last := s1 == len(c.off)
				if last && act == ActRelu && c.Scale == 1 {
					t.relu = 1
				}
				for y := ya; y < yb; y++ {
					in := src[y*c.StrideH*c.PW*c.kseg:]
					at := (2*g*c.DstPlane + y*c.DstRow) * Block
					aa := (2*g*c.AddPlane + y*c.AddRow) * Block
					for x := 0; x < c.OW; {
						rows := evenly(c.OW-x, rmax)
						t.a = in[x*t.astep:]
						t.c = dst[at+x*t.crow:]
						if last && add != nil {
							t.add = add[aa+x*t.addrow:]
						}
						t.run(rows, cols)
						x += rows
					}
					if last && c.Scale != 1 {
						for v := 0; v < cols; v += Block {
							scalePixels(dst[at+v*c.DstPlane:], c.OW, c.DstCol, c.Scale)
						}
					}
					if last && act > ActNone && t.relu == 0 {
						for v := 0; v < cols; v += Block {
							act.pixels(dst[at+v*c.DstPlane:], c.OW, c.DstCol)
						}
					}
				}
			}
		}
	}
}

// convPixels bounds the output pixels a pass covers, so that partial sums stay
// in the second-level cache from pass to pass.
const convPixels = 1024

// pixels applies a to n pixels, step pixels apart.
func (a Act) pixels(x []float32, n, step int) {
	if step == 1 {
		a.Apply(x[:n*Block])
		return
	}
	for i := 0; i < n; i++ {
		a.Apply(x[i*step*Block:][:Block])
	}
}

// scalePixels multiplies n pixels, step pixels apart, by s.
func scalePixels(x []float32, n, step int, s float32) {
	if step == 1 {
		MulScalar(x[:n*Block], x, s)
		return
	}
	for i := 0; i < n; i++ {
		p := x[i*step*Block:][:Block]
		MulScalar(p, p, s)
	}
}

// Apply replaces every element of x by a of it.
func (a Act) Apply(x []float32) {
	switch a {
	case ActRelu:
		Relu(x, x)
	case ActSiLU:
		SiLU(x, x)
	case ActTanh:
		Tanh(x, x)
	case ActElu:
		Elu(x, x, 1)
	case ActGelu:
		Gelu(x, x)
	}
}
