package kernel

import "math"

// Winograd is a 3×3 convolution of stride 1, blocked layout to blocked layout,
// by Winograd's minimal filtering (Lavin and Gray, "Fast Algorithms for
// Convolutional Neural Networks", 2016): an M×M tile of outputs is
//
//	Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A
//
// for filter g and the (M+2)×(M+2) tile d of the source, and the elementwise
// products over all channels are (M+2)² products of matrices. M = 2 needs 2.25
// times fewer multiplications than Conv, M = 4 needs 4 times fewer. The points are
// 0, ±1, ∞ and 0, ±1/√2, ±√2, ∞, the latter after Barabasz et al., "Error Analysis
// and Improving the Accuracy of Winograd Convolution" (2018): they halve the error
// of the usual 0, ±1, ±2. The error relative to the mean output is about that
// of Conv for M = 2, and twice to three times that for M = 4. What is constant in a
// row of G stands in Aᵀ instead.
//
// The source is not padded: Top rows and Left columns of zeros before it, and
// as many after it as OH and OW ask for, are part of the transform. A dilated
// convolution is DilH·DilW convolutions of every DilH'th row and DilW'th column.
//
// The work is in two steps, with V as large as Room tiles of the batch, and U and
// M as one group of outputs needs:
//
//	Input      V[IC/16][Room][xi][16] = Bᵀ d B for every xi < (M+2)²
//	Multiply   U[xi][ic][32] = G g Gᵀ, M[xi][2][Room][16] = V·U, then
//	           D = act((Aᵀ M A + bias + add)·scale)
//
// Filters are kept as they are and transformed when they are needed, winoDepth
// channels at a time: memory gives the transformed ones, which are 16/9 and 4 times
// as large, no faster than arithmetic does.
//
// A value of D depends on its receptive field, and its place in the image,
// alone: neither Room nor the cut of the work changes a bit.
type Winograd struct {
	M            int // 2 or 4
	IC, OC       int
	H, W         int // source, [Blocks(IC)][H][W][Block]
	OH, OW       int // output, [Blocks(OC)][OH][OW][Block]
	Top, Left    int // zeros before the source
	DilH, DilW   int // 0 means 1
	Room         int // tiles
	tiles        []winoTile
	off          []int32
	xis, in, out int // (M+2)²; blocks
	vstep        int // from tile to tile
	uxi, mxi     int // from matrix to matrix
}

// winoDepth bounds the blocks of input channels of U: the transformed filters of
// a group of outputs stay in the second-level cache, beside V and M.
const winoDepth = 4

// winoTile is a tile of outputs: where the first one is, how many rows and
// columns of the tile exist, and which of the source's.
type winoTile struct {
	y, x           int32
	rows, cols     int8
	r0, r1, c0, c1 int8
}

// Init checks the sizes, writes the meaning of zeros into the exported fields
// and lists the tiles.
func (c *Winograd) Init() {
	c.DilH, c.DilW = max(c.DilH, 1), max(c.DilW, 1)
	if c.M != 2 && c.M != 4 || c.IC < 1 || c.OC < 1 || c.H < 0 || c.W < 0 || c.OH < 0 || c.OW < 0 || c.Room < 0 {
		panic("kernel: Winograd: sizes out of range")
	}
	c.xis, c.in, c.out = (c.M+2)*(c.M+2), Blocks(c.IC), Blocks(c.OC)
	// An odd number of vectors apart: with a power of two a tile would have
	// all its places in one set of the cache.
	c.vstep, c.mxi = (c.xis|1)*Block, (2*c.Room|1)*Block
	c.uxi = (2*min(c.in, winoDepth)*Block | 1) * Block
	c.tiles = c.tiles[:0:0]
	for py := 0; py < min(c.DilH, c.OH); py++ {
		for px := 0; px < min(c.DilW, c.OW); px++ {
			for y := py; y < c.OH; y += c.M * c.DilH {
				for x := px; x < c.OW; x += c.M * c.DilW {
					t := winoTile{y: int32(y), x: int32(x),
						rows: int8(min(c.M, (c.OH-y+c.DilH-1)/c.DilH)), cols: int8(min(c.M, (c.OW-x+c.DilW-1)/c.DilW))}
					t.r0, t.r1 = winoSpan(y-c.Top, c.DilH, c.M+2, c.H)
					t.c0, t.c1 = winoSpan(x-c.Left, c.DilW, c.M+2, c.W)
					if t.c0 == t.c1 {
						t.r1 = t.r0 // nothing but zeros
					}
					c.tiles = append(c.tiles, t)
				}
			}
		}
	}
	c.off = make([]int32, c.in)
	for i := range c.off {
		o := i * c.Room * c.vstep
		if int(int32(o)) != o {
			panic("kernel: Winograd: too much room")
		}
		c.off[i] = int32(o)
	}
}

// Tiles returns the number of tiles of an image.
func (c *Winograd) Tiles() int { return len(c.tiles) }

// Products returns the number of matrix products, (M+2)².
func (c *Winograd) Products() int { return c.xis }

// Groups returns the number of groups of two output blocks.
func (c *Winograd) Groups() int { return Panels(c.OC) }

// PackedLen returns the length of the packed weights.
func (c *Winograd) PackedLen() int { return c.Groups() * c.in * Block * 9 * PanelCols }

// InputLen, WeightLen and ProductLen return the lengths of V, U and M.
func (c *Winograd) InputLen() int   { return c.in * c.Room * c.vstep }
func (c *Winograd) WeightLen() int  { return c.xis * c.uxi }
func (c *Winograd) ProductLen() int { return c.xis * c.mxi }

// Pack packs the weights w, [OC][IC][3][3]: [group][ic][3][3][2][16 oc], zero
// where there is no channel.
func (c *Winograd) Pack(dst, w []float32) {
	need("Winograd.Pack dst", len(dst), c.PackedLen())
	need("Winograd.Pack w", len(w), c.OC*c.IC*9)
	k, taps := c.in*Block*9, c.IC*9
	for g := range c.Groups() {
		out := dst[g*k*PanelCols:][:k*PanelCols]
		cols := min(PanelCols, c.OC-g*PanelCols)
		transpose(out, w[g*PanelCols*taps:], cols, taps, PanelCols, taps)
		for i := 0; cols < PanelCols && i < taps; i++ {
			clear(out[i*PanelCols+cols:][:PanelCols-cols])
		}
		clear(out[taps*PanelCols:])
	}
}

// Input transforms blocks [block0,block1) of tiles [tile0,tile1) of an image
// to the places from at on.
func (c *Winograd) Input(v, src []float32, at, tile0, tile1, block0, block1 int) {
	c.check("Input", at, tile0, tile1)
	if block0 < 0 || block1 < block0 || block1 > c.in {
		panic("kernel: Winograd.Input: blocks out of range")
	}
	need("Winograd.Input v", len(v), c.InputLen())
	need("Winograd.Input src", len(src), c.in*c.H*c.W*Block)
	var mem [37 * Block]float32
	edge := alignedPart(mem[:])
	n := c.M + 2
	col, row := c.DilW*Block, c.DilH*c.W*Block
	for b := block0; b < block1; b++ {
		plane := src[b*c.H*c.W*Block:][:c.H*c.W*Block]
		for t := tile0; t < tile1; t++ {
			tile := &c.tiles[t]
			to := v[(b*c.Room+at+t-tile0)*c.vstep:]
			from := ((int(tile.y)-c.Top)*c.W + int(tile.x) - c.Left) * Block
			r0, r1, c0, c1 := int(tile.r0), int(tile.r1), int(tile.c0), int(tile.c1)
			switch {
			case r0 == 0 && c0 == 0 && r1 == n && c1 == n:
				winoIn(c.M, to, plane[from:], Block, col, row)
			case r0 < r1 && winoEdgeMasks():
				winoEdge(c.M, to, plane, Block, col, row, from, r0, r1, c0, c1)
			default:
				clear(edge[:n*n*Block])
				for r := r0; r < r1; r++ {
					in := plane[from+r*row+c0*col:]
					pixels := edge[(r*n+c0)*Block : (r*n+c1)*Block]
					if c.DilW == 1 {
						copy(pixels, in)
						continue
					}
					for ; len(pixels) > 0; pixels = pixels[Block:] {
						*(*[Block]float32)(pixels) = [Block]float32(in)
						in = in[min(len(in), col):]
					}
				}
				winoIn(c.M, to, edge, Block, Block, n*Block)
			}
		}
	}
}

// winoSpan returns the range of those i < n with 0 ≤ first+i·step < size.
func winoSpan(first, step, n, size int) (int8, int8) {
	lo, hi := 0, 0
	if first < 0 {
		lo = min(n, (-first+step-1)/step)
	}
	if first < size {
		hi = min(n, (size-first+step-1)/step)
	}
	return int8(lo), int8(max(lo, hi))
}

// alignedPart drops up to a vector from the start of x.
func alignedPart(x []float32) []float32 {
	return x[misaligned(x):]
}

// Multiply multiplies the transforms in places [at0,at1) of v by a group's filters,
// which it transforms into u.
func (c *Winograd) Multiply(m, u, v, packed []float32, at0, at1, group int) {
	if at0 < 0 || at1 < at0 || at1 > c.Room || group < 0 || group >= c.Groups() {
		panic("kernel: Winograd.Multiply: out of range")
	}
	need("Winograd.Multiply m", len(m), c.ProductLen())
	need("Winograd.Multiply u", len(u), c.WeightLen())
	need("Winograd.Multiply v", len(v), c.InputLen())
	need("Winograd.Multiply packed", len(packed), c.PackedLen())
	rmax := tileRows()
	t := tile{kseg: Block, astep: c.vstep, crow: Block, cvec: c.Room * Block}
	cols := min(PanelCols, (c.out-2*group)*Block)
	for b := 0; b < c.in; b += winoDepth {
		blocks := min(winoDepth, c.in-b)
		winoWeights(c.M, u, packed[(group*c.in+b)*Block*9*PanelCols:], c.uxi, blocks*Block)
		t.off = c.off[b : b+blocks]
		t.fetch(packed, (group*c.in+b+blocks)*Block*9*PanelCols, winoDepth*Block*9*PanelCols, at1-at0, c.xis*blocks*Block)
		for xi := 0; xi < c.xis; xi++ {
			t.b = u[xi*c.uxi:][:blocks*Block*PanelCols]
			from, to := v[xi*Block:], m[xi*c.mxi:]
			for r := at0; r < at1; {
				rows := evenly(at1-r, rmax)
				t.a, t.c = from[r*c.vstep:], to[r*Block:]
				t.addTo(b > 0)
				t.run(rows, cols)
				r += rows
			}
		}
	}
}

// Output transforms the products m of a group, from place at on, to tiles
// [tile0,tile1) of an image. bias (length OC) and add (laid out as dst) may be nil;
// add may be dst itself.
func (c *Winograd) Output(dst, m, bias, add []float32, scale float32, at, tile0, tile1, group int, act Act) {
	c.check("Output", at, tile0, tile1)
	if group < 0 || group >= c.Groups() {
		panic("kernel: Winograd.Output: group out of range")
	}
	need("Winograd.Output dst", len(dst), c.out*c.OH*c.OW*Block)
	need("Winograd.Output m", len(m), c.ProductLen())
	if bias != nil {
		need("Winograd.Output bias", len(bias), c.OC)
	}
	if add != nil {
		need("Winograd.Output add", len(add), c.out*c.OH*c.OW*Block)
	}
	var mem [33 * Block]float32
	edge := alignedPart(mem[:])
	addEdge := edge[16*Block:]
	floor := float32(math.Inf(-1))
	if act == ActRelu {
		floor = 0
	}
	col, row := c.DilW*Block, c.DilH*c.OW*Block
	for b := 2 * group; b < min(2*group+2, c.out); b++ {
		var lane [Block]float32
		if bias != nil {
			copy(lane[:], bias[b*Block:min(c.OC, (b+1)*Block)])
		}
		for t := tile0; t < tile1; t++ {
			tile := &c.tiles[t]
			from := m[((b&1)*c.Room+at+t-tile0)*Block:]
			o := ((b*c.OH+int(tile.y))*c.OW + int(tile.x)) * Block
			to := dst[o:]
			var plus []float32
			if add != nil {
				plus = add[o:]
			}
			if int(tile.rows) == c.M && int(tile.cols) == c.M {
				winoOut(c.M, to, from, c.mxi, col, row, &lane, plus, scale, floor)
				continue
			}
			if add != nil {
				for y := 0; y < int(tile.rows); y++ {
					for x := 0; x < int(tile.cols); x++ {
						copy(addEdge[(y*c.M+x)*Block:][:Block], plus[y*row+x*col:])
					}
				}
				plus = addEdge
			}
			winoOut(c.M, edge, from, c.mxi, Block, c.M*Block, &lane, plus, scale, floor)
			for y := 0; y < int(tile.rows); y++ {
				for x := 0; x < int(tile.cols); x++ {
					copy(to[y*row+x*col:][:Block], edge[(y*c.M+x)*Block:])
				}
			}
		}
		if act > ActRelu {
			c.activate(dst[b*c.OH*c.OW*Block:][:c.OH*c.OW*Block], tile0, tile1, act)
		}
	}
}

// activate applies act to some tiles of a block, in runs as long as they come.
func (c *Winograd) activate(plane []float32, tile0, tile1 int, act Act) {
	if tile0 == 0 && tile1 == len(c.tiles) {
		act.pixels(plane, len(plane)/Block, 1)
		return
	}
	for t := tile0; t < tile1; {
		first := c.tiles[t]
		cols := int(first.cols)
		for t++; t < tile1 && c.tiles[t].y == first.y && int(c.tiles[t].x) == int(first.x)+cols*c.DilW; t++ {
			cols += int(c.tiles[t].cols)
		}
		for r := 0; r < int(first.rows); r++ {
			at := (int(first.y)+r*c.DilH)*c.OW + int(first.x)
			act.pixels(plane[at*Block:], cols, c.DilW)
		}
	}
}

func (c *Winograd) check(what string, at, tile0, tile1 int) {
	if c.off == nil {
		panic("kernel: Winograd." + what + " before Init")
	}
	if tile0 < 0 || tile1 < tile0 || tile1 > len(c.tiles) || at < 0 || at+tile1-tile0 > c.Room {
		panic("kernel: Winograd." + what + ": tiles out of range")
	}
}

// winoIn writes Bᵀ d B of an (M+2)×(M+2) tile of pixels of Block lanes, col and
// row apart, to dst, dxi apart.
func winoIn(m int, dst, src []float32, dxi, col, row int) {
	n := m + 2
	_ = dst[(n*n-1)*dxi+Block-1]
	_ = src[(n-1)*(row+col)+Block-1]
	if winoInSIMD(m, dst, src, dxi, col, row) {
		return
	}
	var t [6][6]pixel
	for x := range n { // down the columns
		var from, to [6]*pixel
		for y := range n {
			from[y], to[y] = (*pixel)(src[y*row+x*col:]), &t[x][y]
		}
		winoInLine(m, &to, &from)
	}
	for y := range n {
		var from, to [6]*pixel
		for x := range n {
			from[x], to[x] = &t[x][y], (*pixel)(dst[(y*n+x)*dxi:])
		}
		winoInLine(m, &to, &from)
	}
}

type pixel = [Block]float32

// winoEdge is winoIn for a tile of which only rows [r0,r1) and columns [c0,c1)
// exist, the others being zeros; it starts from elements after src, or before.
func winoEdge(m int, dst, src []float32, dxi, col, row, from, r0, r1, c0, c1 int) {
	n := m + 2
	_ = dst[(n*n-1)*dxi+Block-1]
	_ = src[from+r0*row+c0*col : from+(r1-1)*row+(c1-1)*col+Block]
	winoEdgeSIMD(m, dst, src, dxi, col, row, from, 1<<r1-1<<r0, 1<<c1-1<<c0)
}

// winoInLine is Bᵀd for the lanes of a pixel.
func winoInLine(m int, dst, src *[6]*pixel) {
	s0, s1, s2, s3, d0, d1, d2, d3 := src[0], src[1], src[2], src[3], dst[0], dst[1], dst[2], dst[3]
	if m == 2 {
		for l := range d0 {
			d0[l], d1[l], d2[l], d3[l] = s0[l]-s2[l], s2[l]+s1[l], s2[l]-s1[l], s1[l]-s3[l]
		}
		return
	}
	s4, s5, d4, d5 := src[4], src[5], dst[4], dst[5]
	for l := range d0 {
		e1, o1 := s4[l]-2*s2[l], float32(winoA*(s3[l]-2*s1[l]))
		e2, o2 := s4[l]-.5*s2[l], float32(winoB*(s3[l]-.5*s1[l]))
		d0[l], d5[l] = s0[l]+s4[l]-float32(2.5*s2[l]), s1[l]+s5[l]-float32(2.5*s3[l])
		d1[l], d2[l], d3[l], d4[l] = e1+o1, e1-o1, e2+o2, e2-o2
	}
}

// winoOut writes the M×M tile max(floor, (Aᵀ M A + bias + add)·scale), col and
// row apart in dst and add, of the matrices m, mxi apart.
func winoOut(size int, dst, m []float32, mxi, col, row int, bias *[Block]float32, add []float32, scale, floor float32) {
	n := size + 2
	_ = m[(n*n-1)*mxi+Block-1]
	_ = dst[(size-1)*(row+col)+Block-1]
	if add != nil {
		_ = add[(size-1)*(row+col)+Block-1]
	}
	if winoOutSIMD(size, dst, m, mxi, col, row, bias, add, scale, floor) {
		return
	}
	var t [6][4]pixel
	for x := range n {
		var from, to [6]*pixel
		for y := range n {
			from[y] = (*pixel)(m[(y*n+x)*mxi:])
		}
		for y := range size {
			to[y] = &t[x][y]
		}
		winoOutLine(size, &to, &from)
	}
	var y0 [4]pixel
	for y := range size {
		var from, to [6]*pixel
		for x := range n {
			from[x] = &t[x][y]
		}
		for x := range size {
			to[x] = &y0[x]
		}
		winoOutLine(size, &to, &from)
		for x := range size {
			at := y*row + x*col
			var plus pixel
			if add != nil {
				plus = pixel(add[at:])
			}
			out := (*pixel)(dst[at:])
			for l, s := range y0[x] {
				out[l] = max((s+bias[l]+plus[l])*scale, floor)
			}
		}
	}
}

// winoOutLine is Aᵀm for the lanes of a pixel.
func winoOutLine(size int, dst, m *[6]*pixel) {
	m0, m1, m2, m3, d0, d1 := m[0], m[1], m[2], m[3], dst[0], dst[1]
	if size == 2 {
		for l := range m0 {
			d0[l], d1[l] = m0[l]+float32(.5*(m1[l]+m2[l])), float32(.5*(m1[l]-m2[l]))-m3[l]
		}
		return
	}
	m4, m5, d2, d3 := m[4], m[5], dst[2], dst[3]
	for l := range m0 {
		s1, t1, s2, t2 := m1[l]+m2[l], m1[l]-m2[l], m3[l]+m4[l], m3[l]-m4[l]
		d0[l] = m0[l] + float32(winoP*s1) + float32(winoQ*s2)
		d1[l] = float32(winoP*winoA*t1) + float32(winoQ*winoB*t2)
		d2[l] = float32(.5*winoP*s1) + float32(2*winoQ*s2)
		d3[l] = m5[l] + float32(.5*winoP*winoA*t1) + float32(2*winoQ*winoB*t2)
	}
}

// The points of M = 4 are 0, ±winoA, ±winoB and ∞; winoP and winoQ are what its
// rows of G have in common.
const (
	winoA, winoB = 1 / math.Sqrt2, math.Sqrt2
	winoP, winoQ = -2. / 3, 1. / 6
)

// winoWeights writes G g Gᵀ for n input channels of a panel of outputs: dst is
// [xi][n][PanelCols], dxi from matrix to matrix, src [n][3][3][PanelCols].
func winoWeights(m int, dst, src []float32, dxi, n int) {
	xis := (m + 2) * (m + 2)
	_ = dst[(xis-1)*dxi+n*PanelCols-1]
	_ = src[n*9*PanelCols-1]
	if winoWeightsSIMD(m, dst, src, dxi, n) {
		return
	}
	type row = [PanelCols]float32
	for c := range n {
		g, u := src[c*9*PanelCols:], dst[c*PanelCols:]
		var t [3][6]row
		for x := range t {
			var lines [6]*row
			for y := range lines {
				lines[y] = &t[x][y]
			}
			winoWeightLine(m, &lines, (*row)(g[x*PanelCols:]), (*row)(g[(3+x)*PanelCols:]), (*row)(g[(6+x)*PanelCols:]))
		}
		for y := range m + 2 {
			var lines [6]*row
			for x := range m + 2 {
				lines[x] = (*row)(u[(y*(m+2)+x)*dxi:])
			}
			winoWeightLine(m, &lines, &t[0][y], &t[1][y], &t[2][y])
		}
	}
}

// winoWeightLine is Gg for a panel of filters.
func winoWeightLine(m int, dst *[6]*[PanelCols]float32, a, b, c *[PanelCols]float32) {
	*dst[0], *dst[m+1] = *a, *c
	d1, d2, d3, d4 := dst[1], dst[2], dst[3], dst[4]
	if m == 2 {
		for l := range a {
			s := a[l] + c[l]
			d1[l], d2[l] = s+b[l], s-b[l]
		}
		return
	}
	for l := range a {
		e1, o1 := a[l]+float32(.5*c[l]), float32(winoA*b[l])
		e2, o2 := a[l]+float32(2*c[l]), float32(winoB*b[l])
		d1[l], d2[l], d3[l], d4[l] = e1+o1, e1-o1, e2+o2, e2-o2
	}
}
