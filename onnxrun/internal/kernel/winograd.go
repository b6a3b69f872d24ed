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
// times fewer multiplications than Conv and 16/9 of its memory for weights, M =
// 4 needs 4 times fewer and 4 times the memory. The points are 0, ±1, ∞ and
// 0, ±1/√2, ±√2, ∞, the latter after Barabasz et al., "Error Analysis and
// Improving the Accuracy of Winograd Convolution" (2018): they halve the error
// of the usual 0, ±1, ±2. The error relative to the mean output is about that
// of Conv for M = 2, and twice to three times that for M = 4.
//
// The source is not padded: Top rows and Left columns of zeros before it, and
// as many after it as OH and OW ask for, are part of the transform. A dilated
// convolution is DilH·DilW convolutions of every DilH'th row and DilW'th column.
//
// The work is in three steps, with V and M as large as Room tiles of the batch:
//
//	Input      V[xi][IC/16][Room][16] = Bᵀ d B for every xi < (M+2)²
//	Multiply   M[xi][OC/16][Room][16] = V·U
//	Output     D = act((Aᵀ M A + bias + add)·scale)
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
	vxi, mxi     int // from matrix to matrix
}

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
	c.vxi, c.mxi = (c.in*c.Room|1)*Block, (c.out*c.Room|1)*Block
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
		o := i * c.Room * Block
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
func (c *Winograd) PackedLen() int { return c.xis * c.Groups() * c.in * Block * PanelCols }

// InputLen and ProductLen return the lengths of V and M.
func (c *Winograd) InputLen() int   { return c.xis * c.vxi }
func (c *Winograd) ProductLen() int { return c.xis * c.mxi }

// Pack transforms the weights w, [OC][IC][3][3], in float64 and packs them:
// U[xi][group][IC/16][16 ic][2][16 oc], zero where there is no channel.
func (c *Winograd) Pack(dst, w []float32) { c.PackGroups(dst, w, 0, c.Groups()) }

// PackGroups is Pack for groups [group0,group1).
func (c *Winograd) PackGroups(dst, w []float32, group0, group1 int) {
	if group0 < 0 || group1 < group0 || group1 > c.Groups() {
		panic("kernel: Winograd.Pack: groups out of range")
	}
	need("Winograd.Pack dst", len(dst), c.PackedLen())
	need("Winograd.Pack w", len(w), c.OC*c.IC*9)
	k := c.in * Block
	next := c.Groups() * k * PanelCols
	// A row of every matrix at a time: written one by one, the values of a
	// filter would fall into one set of the cache.
	var rows [36 * PanelCols]float32
	for g := group0; g < group1; g++ {
		cols := min(PanelCols, c.OC-g*PanelCols)
		clear(rows[:])
		for i := 0; i < k; i++ {
			if i == c.IC {
				clear(rows[:])
			}
			for j := 0; j < cols && i < c.IC; j++ {
				f := (*[9]float32)(w[((g*PanelCols+j)*c.IC+i)*9:])
				if c.M == 2 {
					winoWeights2((*[15*PanelCols + 1]float32)(rows[j:]), f)
				} else {
					winoWeights4((*[35*PanelCols + 1]float32)(rows[j:]), f)
				}
			}
			for xi := 0; xi < c.xis; xi++ {
				*(*[PanelCols]float32)(dst[xi*next+(g*k+i)*PanelCols:]) = [PanelCols]float32(rows[xi*PanelCols:])
			}
		}
	}
}

// winoWeights2 writes G g Gᵀ, PanelCols apart, for the points 0, ±1, ∞.
func winoWeights2(dst *[15*PanelCols + 1]float32, g *[9]float32) {
	const step = PanelCols
	var t [4][3]float64
	for j := range 3 {
		a, b, c := float64(g[j]), float64(g[3+j]), float64(g[6+j])
		t[0][j], t[1][j], t[2][j], t[3][j] = a, (a+c+b)/2, (a+c-b)/2, c
	}
	for i := range t {
		a, b, c := t[i][0], t[i][1], t[i][2]
		d := (*[3*step + 1]float32)(dst[4*i*step:])
		d[0], d[step], d[2*step], d[3*step] = float32(a), float32((a+c+b)/2), float32((a+c-b)/2), float32(c)
	}
}

// winoWeights4 is winoWeights2 for the points 0, ±1/√2, ±√2, ∞.
func winoWeights4(dst *[35*PanelCols + 1]float32, g *[9]float32) {
	const step = PanelCols
	const a, b = 1 / math.Sqrt2, math.Sqrt2
	const na, nb = -1 / 1.5, 1 / 6.
	var t [6][3]float64
	for j := range 3 {
		x, y, z := float64(g[j]), float64(g[3+j]), float64(g[6+j])
		e1, o1 := (x+z*.5)*na, y*(a*na)
		e2, o2 := (x+z*2)*nb, y*(b*nb)
		t[0][j], t[1][j], t[2][j], t[3][j], t[4][j], t[5][j] = x, e1+o1, e1-o1, e2+o2, e2-o2, z
	}
	for i := range t {
		x, y, z := t[i][0], t[i][1], t[i][2]
		e1, o1 := (x+z*.5)*na, y*(a*na)
		e2, o2 := (x+z*2)*nb, y*(b*nb)
		d := (*[5*step + 1]float32)(dst[6*i*step:])
		d[0], d[step], d[2*step] = float32(x), float32(e1+o1), float32(e1-o1)
		d[3*step], d[4*step], d[5*step] = float32(e2+o2), float32(e2-o2), float32(z)
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
			to := v[(b*c.Room+at+t-tile0)*Block:]
			from := ((int(tile.y)-c.Top)*c.W + int(tile.x) - c.Left) * Block
			r0, r1, c0, c1 := int(tile.r0), int(tile.r1), int(tile.c0), int(tile.c1)
			switch {
			case r0 == 0 && c0 == 0 && r1 == n && c1 == n:
				winoIn(c.M, to, plane[from:], c.vxi, col, row)
			case r0 < r1 && winoEdgeMasks():
				winoEdge(c.M, to, plane, c.vxi, col, row, from, r0, r1, c0, c1)
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
				winoIn(c.M, to, edge, c.vxi, Block, n*Block)
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

// Multiply computes matrix products [xi0,xi1) for output groups [group0,group1)
// of the first n tiles.
func (c *Winograd) Multiply(m, v, packed []float32, n, xi0, xi1, group0, group1 int) {
	if n < 0 || n > c.Room || xi0 < 0 || xi1 < xi0 || xi1 > c.xis || group0 < 0 || group1 < group0 || group1 > c.Groups() {
		panic("kernel: Winograd.Multiply: range out of range")
	}
	need("Winograd.Multiply m", len(m), c.ProductLen())
	need("Winograd.Multiply v", len(v), c.InputLen())
	need("Winograd.Multiply packed", len(packed), c.PackedLen())
	rmax := tileRows()
	t := tile{off: c.off, kseg: Block, astep: Block, crow: Block, cvec: c.Room * Block}
	panel := c.in * Block * PanelCols
	for xi := xi0; xi < xi1; xi++ {
		for g := group0; g < group1; g++ {
			t.b = packed[(xi*c.Groups()+g)*panel:][:panel]
			cols := min(PanelCols, (c.out-2*g)*Block)
			from, to := v[xi*c.vxi:], m[xi*c.mxi+2*g*c.Room*Block:]
			for r := 0; r < n; {
				rows := evenly(n-r, rmax)
				t.a, t.c = from[r*Block:], to[r*Block:]
				t.run(rows, cols)
				r += rows
			}
		}
	}
}

// Output transforms blocks [block0,block1) of the products from place at on to
// tiles [tile0,tile1) of an image. bias (length OC) and add (laid out as dst)
// may be nil; add may be dst itself.
func (c *Winograd) Output(dst, m, bias, add []float32, scale float32, at, tile0, tile1, block0, block1 int, act Act) {
	c.check("Output", at, tile0, tile1)
	if block0 < 0 || block1 < block0 || block1 > c.out {
		panic("kernel: Winograd.Output: blocks out of range")
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
	for b := block0; b < block1; b++ {
		var lane [Block]float32
		if bias != nil {
			copy(lane[:], bias[b*Block:min(c.OC, (b+1)*Block)])
		}
		for t := tile0; t < tile1; t++ {
			tile := &c.tiles[t]
			from := m[(b*c.Room+at+t-tile0)*Block:]
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
	for l := range Block {
		var d, t [6][6]float32
		for y := range n {
			for x := range n {
				d[x][y] = src[y*row+x*col+l]
			}
		}
		for x := range n { // down the columns
			winoInLine(m, &d[x])
			for y := range n {
				t[y][x] = d[x][y]
			}
		}
		for y := range n {
			winoInLine(m, &t[y])
			for x := range n {
				dst[(y*n+x)*dxi+l] = t[y][x]
			}
		}
	}
}

// winoEdge is winoIn for a tile of which only rows [r0,r1) and columns [c0,c1)
// exist, the others being zeros; it starts from elements after src, or before.
func winoEdge(m int, dst, src []float32, dxi, col, row, from, r0, r1, c0, c1 int) {
	n := m + 2
	_ = dst[(n*n-1)*dxi+Block-1]
	_ = src[from+r0*row+c0*col : from+(r1-1)*row+(c1-1)*col+Block]
	winoEdgeSIMD(m, dst, src, dxi, col, row, from, 1<<r1-1<<r0, 1<<c1-1<<c0)
}

// winoInLine replaces d by Bᵀd.
func winoInLine(m int, d *[6]float32) {
	if m == 2 {
		d[0], d[1], d[2], d[3] = d[0]-d[2], d[2]+d[1], d[2]-d[1], d[1]-d[3]
		return
	}
	const a, b = 1 / math.Sqrt2, math.Sqrt2
	e1, o1 := d[4]-2*d[2], float32(a*(d[3]-2*d[1]))
	e2, o2 := d[4]-.5*d[2], float32(b*(d[3]-.5*d[1]))
	d[0] = d[0] + d[4] - float32(2.5*d[2])
	d[5] = d[1] + d[5] - float32(2.5*d[3])
	d[1], d[2], d[3], d[4] = e1+o1, e1-o1, e2+o2, e2-o2
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
	for l := range Block {
		var d, t [6][6]float32
		for y := range n {
			for x := range n {
				d[x][y] = m[(y*n+x)*mxi+l]
			}
		}
		for x := range n {
			winoOutLine(size, &d[x])
			for y := range size {
				t[y][x] = d[x][y]
			}
		}
		for y := range size {
			winoOutLine(size, &t[y])
			for x := range size {
				s := t[y][x] + bias[l]
				if add != nil {
					s += add[y*row+x*col+l]
				}
				dst[y*row+x*col+l] = max(s*scale, floor)
			}
		}
	}
}

// winoOutLine replaces m by Aᵀm.
func winoOutLine(size int, m *[6]float32) {
	if size == 2 {
		m[0], m[1] = m[0]+m[1]+m[2], m[1]-m[2]-m[3]
		return
	}
	const a, b = 1 / math.Sqrt2, math.Sqrt2
	s1, d1, s2, d2 := m[1]+m[2], m[1]-m[2], m[3]+m[4], m[3]-m[4]
	m[0] = s1 + m[0] + s2
	m[1] = float32(a*d1) + float32(b*d2)
	m[2] = .5*s1 + 2*s2
	m[3] = m[5] + float32(a/2*d1) + float32(2*b*d2)
}
