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

// Conv is a direct convolution of one image over two axes or three, written into
// the blocked layout. The source is padded already, so the loop knows no borders:
//
//	for o := 0; o < OC; o++ {
//		g := o / (OC/Group)
//		for z, y, x := range OD, OH, OW {
//			s := bias[o]
//			for i := 0; i < IC/Group; i++ {
//				for d, h, w := range KD, KH, KW {
//					s += W[o][i][d][h][w] * S[g*(IC/Group)+i][z*StrideD+d*DilD][y*StrideH+h*DilH][x*StrideW+w*DilW]
//				}
//			}
//			D[o][z][y][x] = act((s + add[o][z][y][x])·Scale)
//		}
//	}
//
// The order of the sum: by pieces of 16, 8 or 4 channels (see Init), in a piece
// by taps, for each tap by channels; if Plain, by channels, then by taps.
//
// The 16 outputs of a block share what they multiply, so where a block holds
// several groups each of its outputs also multiplies the channels of the others
// by zero; a value there that is not finite makes it NaN. That costs
// multiplications (4 times as many for groups of 4 channels), but keeps the rate
// of the microkernel, many times that of products of a few rows.
//
// S is [Blocks(IC)][PD][PH][PW][Block], or [IC][PD][PH][PW] if Plain (best for a
// few channels); D is [Blocks(OC)][OD][OH][OW][Block] unless Dst says otherwise.
// A value of D depends on its receptive field alone, to the bit.
//
// Fill the exported fields, call Init, and use the Conv from any number of
// goroutines.
type Conv struct {
	IC, OC int
	Group  int // of channels; 0 means 1
	Window
	Plain    bool
	Dst, Add Strides

	Scale float32 // of the sum before act; 0 means 1

	off   []int32 // start of each segment of k in the source, for all channels
	kseg  int     // steps of k in a segment: a tap of so many channels
	steps int     // of k, at most, for a block of outputs
	chunk int     // segments in one pass over the output
}

// Init checks the sizes, writes the meaning of zeros into the exported fields
// and prepares the table of offsets. It panics if the receptive field of an
// output leaves the padded source.
func (c *Conv) Init() {
	if c.Group == 0 {
		c.Group = 1
	}
	if c.Scale == 0 {
		c.Scale = 1
	}
	c.Window.init()
	c.Dst.init(&c.Window)
	c.Add.init(&c.Window)
	if c.IC < 1 || c.OC < 1 || c.Group < 1 || c.IC%c.Group != 0 || c.OC%c.Group != 0 {
		panic("kernel: Conv: channels out of range")
	}
	// The pieces are as small as pays: a group's channels need not begin or end
	// with a block.
	lanes, pieces, total := Block, []int{Block, 8, 4}, 0
	if c.Plain {
		lanes, pieces = 1, []int{1}
	}
	for _, q := range pieces {
		was := c.kseg
		c.kseg = q
		sum, most := 0, 0
		for b := range Blocks(c.OC) {
			s0, s1 := c.reach(b)
			sum, most = sum+(s1-s0)*q, max(most, (s1-s0)*q)
		}
		if total > 0 && sum > total*9/10 {
			c.kseg = was
			continue
		}
		total, c.steps = sum, most
	}
	c.off = make([]int32, 0, ceil(c.IC, c.kseg)*c.Taps())
	for i := 0; i < c.IC; i += c.kseg {
		c.off = c.offsets(c.off, i/lanes*c.plane()*lanes+i%lanes, lanes)
	}
	// As many whole pieces a pass as make k at least convK deep: a deep pass
	// keeps the sums in registers, a shallow one its weights in the cache.
	c.chunk = max(1, convK/(c.Taps()*c.kseg)) * c.Taps()
}

const convK = 256

func ceil(n, d int) int { return (n + d - 1) / d }

// reach returns the segments that a block of outputs sums: those of the channels
// of its groups.
func (c *Conv) reach(block int) (s0, s1 int) {
	icg, ocg := c.IC/c.Group, c.OC/c.Group
	g0, g1 := block*Block/ocg, (min(c.OC, (block+1)*Block)-1)/ocg+1
	return g0 * icg / c.kseg * c.Taps(), ceil(g1*icg, c.kseg) * c.Taps()
}

// Groups returns the number of groups of two output blocks.
func (c *Conv) Groups() int { return Panels(c.OC) }

// PackedLen returns the length of the packed weights.
func (c *Conv) PackedLen() int { return c.Groups() * c.steps * PanelCols }

// SrcLen returns the least length of src.
func (c *Conv) SrcLen() int {
	if c.Plain {
		return c.IC * c.plane()
	}
	return Blocks(c.IC) * c.plane() * Block
}

// DstLen returns the least length of dst.
func (c *Conv) DstLen() int { return c.Dst.extent(&c.Window, c.OC) }

// Pack packs the weights w, [OC][IC/Group][KD][KH][KW], into groups of two output
// blocks: [group][steps][2][16 oc], the steps those of each block's sums, zero
// where there is no channel or that of another group.
func (c *Conv) Pack(dst, w []float32) { c.PackGroups(dst, w, 0, c.Groups()) }

// PackGroups is Pack for groups [group0,group1).
func (c *Conv) PackGroups(dst, w []float32, group0, group1 int) {
	taps, icg := c.Taps(), c.IC/c.Group
	if group0 < 0 || group1 < group0 || group1 > c.Groups() {
		panic("kernel: Conv.Pack: groups out of range")
	}
	need("Conv.Pack dst", len(dst), group1*c.steps*PanelCols)
	need("Conv.Pack w", len(w), c.OC*icg*taps)
	for g := group0; g < group1; g++ {
		out := dst[g*c.steps*PanelCols : (g+1)*c.steps*PanelCols]
		if (g+1)*PanelCols > c.OC || c.IC%c.kseg != 0 || c.Group > 1 {
			clear(out)
		}
		for j := range min(PanelCols, c.OC-g*PanelCols) {
			o := g*PanelCols + j
			s0, _ := c.reach(o / Block)
			first := o/(c.OC/c.Group)*icg - s0/taps*c.kseg // of its channels among the block's
			ow := w[o*icg*taps:][:icg*taps]
			for i := range icg {
				at := first + i
				at = (at/c.kseg*taps*c.kseg+at%c.kseg)*PanelCols + j
				for s, v := range ow[i*taps : (i+1)*taps] {
					out[at+s*c.kseg*PanelCols] = v
				}
			}
		}
	}
}

// Run computes output groups [group0,group1), rows [y0,y1) of the rows of all
// slices. bias (length OC) and add (laid out by Add) may be nil; add may be dst
// itself, from the same element on and with the same strides. dst must not
// overlap src.
func (c *Conv) Run(dst, src, packed, bias, add []float32, group0, group1, y0, y1 int, act Act) {
	if c.off == nil {
		panic("kernel: Conv.Run before Init")
	}
	if group0 < 0 || group1 < group0 || group1 > c.Groups() || y0 < 0 || y1 < y0 || y1 > c.Rows() {
		panic("kernel: Conv.Run: range out of range")
	}
	if group0 == group1 || y0 == y1 || c.OW == 0 {
		return
	}
	need("Conv.Run dst", len(dst), c.DstLen())
	need("Conv.Run src", len(src), c.SrcLen())
	need("Conv.Run packed", len(packed), group1*c.steps*PanelCols)
	if bias != nil {
		need("Conv.Run bias", len(bias), c.OC)
	}
	if add != nil {
		need("Conv.Run add", len(add), c.Add.extent(&c.Window, c.OC))
	}
	for g := group0; g < group1; g++ {
		weights := packed[g*c.steps*PanelCols:] // and those of the groups that are next
		b := 2 * g
		s0, s1 := c.reach(b)
		cols := Block
		if b+1 < Blocks(c.OC) {
			if z0, z1 := c.reach(b + 1); s0 == z0 && s1 == z1 {
				cols = PanelCols
			} else {
				c.blocks(dst, src, weights[Block:], bias, add, b+1, Block, z0, z1, y0, y1, act)
			}
		}
		c.blocks(dst, src, weights, bias, add, b, cols, s0, s1, y0, y1, act)
	}
}

// blocks computes a block of outputs, or two, which sum segments [first,end).
func (c *Conv) blocks(dst, src, weights, bias, add []float32, block, cols, first, end, y0, y1 int, act Act) {
	var (
		t     tile
		lane  [PanelCols]float32
		rmax  = tileRows()
		chunk = c.chunk
	)
	t.kseg = c.kseg
	lanes := Block
	if c.Plain {
		lanes = 1
	}
	t.astep = c.StrideW * lanes
	t.crow, t.cvec = c.Dst.Col*Block, c.Dst.Plane*Block
	t.addrow, t.addvec = c.Add.Col*Block, c.Add.Plane*Block
	height := max(1, convPixels/c.OW)
	if add != nil && &add[0] == &dst[0] {
		chunk = end - first // partial sums would overwrite the addend
	}
	if bias != nil {
		copy(lane[:cols], bias[block*Block:min(c.OC, block*Block+cols)])
	}
	for ya := y0; ya < y1; ya += height {
		yb := min(y1, ya+height)
		for s0 := first; s0 < end; s0 += chunk {
			s1 := min(end, s0+chunk)
			t.off = c.off[s0:s1]
			t.b = weights[(s0-first)*c.kseg*PanelCols:]
			t.acc, t.bias, t.add, t.relu = 1, nil, nil, 0
			if s0 == first {
				t.acc = 0
				if bias != nil {
					t.bias = lane[:]
				}
			}
			t.fetch(weights, (s1-first)*c.kseg*PanelCols, (s1-s0)*c.kseg*PanelCols, c.OW, (yb-ya)*(s1-s0)*c.kseg)
			last := s1 == end
			if last && act == ActRelu && c.Scale == 1 {
				t.relu = 1
			}
			for y := ya; y < yb; y++ {
				in := src[c.row(y)*lanes:]
				at := c.Dst.row(&c.Window, block, y) * Block
				aa := c.Add.row(&c.Window, block, y) * Block
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
						scalePixels(dst[at+v*c.Dst.Plane:], c.OW, c.Dst.Col, c.Scale)
					}
				}
				if last && act > ActNone && t.relu == 0 {
					for v := 0; v < cols; v += Block {
						act.pixels(dst[at+v*c.Dst.Plane:], c.OW, c.Dst.Col)
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
