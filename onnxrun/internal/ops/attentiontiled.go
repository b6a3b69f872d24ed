package ops

import (
	"math"

	"sampleonnx/onnxrun/internal/kernel"
)

// tiledAttention is softmax(scale·Q·Kᵀ + mask)·V for a batch of matrices
// Q [tq, d], K [tk, d] and V [tk, dv], wherever they lie in their tensors. It
// never holds more scores than those of a tile of queries and a block of keys:
// with several blocks of keys, each raises the row's maximum and rescales what
// came before (the online softmax of Milakov & Gimelshein 2018, as in Dao et al.
// 2022). Tiles and blocks follow from tq and tk alone.
type tiledAttention struct {
	batch, tq, tk, d, dv int
	scale                float32
	q, k, v, y           matrices
	mask                 *matrices
	blind                int // what a query that sees nothing gets, see below

	rows, keys   int  // of a tile
	alone        bool // each part packs the keys and values it needs
	packK, packV int  // floats of one item's, packed
}

// What becomes of a query all of whose keys are masked, or have NaN scores.
const (
	blindNaN  = iota // NaN, as 0/0 is
	blindZero        // 0 if all keys are masked
	blindNone        // 0 if the softmax has any NaN
)

// lowerTiledAttention is the fused operator Attention. Its inputs are q, k, v
// and perhaps mask, its attributes
//
//	sizes   batch, tq, tk, d, dv
//	q k v y mask   where the matrices lie in the plain inputs and the output (newMatrices)
//	shape   the output's
//	scale   positive
//	blind   0, 1 or 2: see above
func lowerTiledAttention(c *Call) (*Kernel, error) {
	size := c.Ints("sizes")
	if len(size) != 5 {
		return nil, c.Invalid("sizes has %d elements, want 5", len(size))
	}
	for _, n := range size {
		if n < 1 {
			return nil, c.Invalid("sizes are %v, want positive ones", size)
		}
	}
	a := &tiledAttention{batch: size[0], tq: size[1], tk: size[2], d: size[3], dv: size[4],
		scale: c.Float("scale", 1), blind: c.Int("blind", blindNaN)}
	out := Type{DType: c.In[0].DType, Shape: c.Ints("shape")}
	if err := c.checkSize(out); err != nil {
		return nil, err
	}
	for i := range c.In {
		if !IsFloat32(c.In[i].DType) {
			return nil, c.Invalid("input %d is %v, want float32", i, c.In[i].DType)
		}
	}
	if !(a.scale > 0) || math.IsInf(float64(a.scale), 0) {
		return nil, c.Invalid("scale is %v, want a positive number", a.scale)
	}
	if out.Elems() != room(a.batch, a.tq, a.dv) {
		return nil, c.Invalid("the output of shape %v is not %d matrices of %d×%d", out.Shape, a.batch, a.tq, a.dv)
	}
	var err error
	for _, x := range []struct {
		to         *matrices
		name       string
		rows, cols int
		t          *Type
	}{
		{&a.q, "q", a.tq, a.d, &c.In[0].Type},
		{&a.k, "k", a.tk, a.d, &c.In[1].Type},
		{&a.v, "v", a.tk, a.dv, &c.In[2].Type},
		{&a.y, "y", a.tq, a.dv, &out},
	} {
		if *x.to, err = newMatrices(c, x.name, a.batch, x.rows, x.cols, x.t.Elems()); err != nil {
			return nil, err
		}
		if m, ok := x.to.image(*x.t, x.cols); ok && (x.t == &out || x.t.Layout == Blocked) {
			*x.to, x.t.Layout = m, Blocked
		} else if x.t.Layout == Blocked {
			return nil, c.Invalid("%s is %v and not an image", x.name, *x.t)
		}
	}
	if c.Has(3) {
		m, err := newMatrices(c, "mask", a.batch, a.tq, a.tk, c.In[3].Elems())
		if err != nil {
			return nil, err
		}
		if c.In[3].Layout == Blocked {
			return nil, c.Invalid("the mask is %v", c.In[3].Type)
		}
		a.mask = &m
	}
	k := &Kernel{Out: []Type{out}}
	a.plan(k)
	return k, nil
}

// tiledAttentionLayouts: an image whose channels are the columns stays blocked.
func tiledAttentionLayouts(c *Call) []Layout {
	l := make([]Layout, len(c.In))
	size := c.Ints("sizes")
	if len(size) != 5 {
		return l
	}
	for i, name := range []string{"q", "k", "v"} {
		rows, cols := size[2], size[3]
		if i == 0 {
			rows = size[1]
		}
		if i == 2 {
			cols = size[4]
		}
		t := c.In[i].Type
		if t.Layout != Blocked {
			continue
		}
		if x, err := newMatrices(c, name, size[0], rows, cols, t.Elems()); err == nil {
			if _, ok := x.image(t, cols); ok {
				l[i] = Blocked
			}
		}
	}
	return l
}

// The most queries of a tile, a multiple of the microkernel's height, and of
// keys: with both, the scores of a tile stay in the second-level cache.
const (
	tileQueries = 70
	tileKeys    = 640
)

func (a *tiledAttention) plan(k *Kernel) {
	tiles := ceilDiv(a.tq, tileQueries)
	a.rows = ceilDiv(a.tq, tiles)
	a.keys = a.tk
	if a.tk > tileKeys {
		a.keys = ceilDiv(ceilDiv(a.tk, ceilDiv(a.tk, tileKeys)), kernel.PanelCols) * kernel.PanelCols
	}
	a.packK = packedLen(a.d, a.tk)
	a.packV = packedLen(a.tk, a.dv)
	// Where there are few items their tiles are shared out as well, and keys and
	// values are packed for all of them first.
	a.alone = a.batch >= 8 && float64(a.packK+a.packV) <= 1<<19
	k.Algo = "tiled"
	k.FLOPs = 2 * float64(a.batch) * float64(a.tq) * float64(a.tk) * float64(a.d+a.dv)
	k.WorkerScratch = room(4, a.roomQ()+a.rows*a.ld()+a.rows*a.dv+3*tileQueries)
	if a.alone {
		k.WorkerScratch = align64(k.WorkerScratch) + room(4, a.packK+a.packV)
	} else {
		k.Scratch = room(4, a.batch, a.packK+a.packV)
	}
	k.Bind = a.bind
}

// ld is the distance between rows of scores: not a multiple of many lines of
// cache, or the rows of the microkernel's tile would fall on each other.
func (a *tiledAttention) ld() int { return (a.keys+Block-1)/Block*Block + Block }

// roomQ is the room for a tile of queries; none when they are read in place.
func (a *tiledAttention) roomQ() int {
	if a.q.rowMajor(a.d) {
		return 0
	}
	return a.rows * a.d
}

func (a *tiledAttention) bind(m Memory) []Task {
	w := &attentionWork{a: a, y: Data[float32](m.Out[0]),
		q: Data[float32](m.In[0]), k: Data[float32](m.In[1]), v: Data[float32](m.In[2])}
	if a.mask != nil {
		w.mask = Data[float32](m.In[3])
	}
	each := a.packK + a.packV
	tiles := ceilDiv(a.tq, a.rows)
	tileNanos := float64(a.rows) * float64(a.tk) * (0.5 + float64(a.d+a.dv)/50)
	if a.alone {
		parts, step := divide(a.batch, float64(tiles)*tileNanos)
		used := align64(4 * (a.roomQ() + a.rows*a.ld() + a.rows*a.dv + 3*tileQueries))
		return []Task{{parts, func(part, worker int) {
			lo, hi := bounds(part, step, a.batch)
			mem := m.Worker(worker)
			packed := Floats(mem[used:], each)
			for i := lo; i < hi; i++ {
				w.packK(packed, i)
				w.packV(packed, i)
				for t := range tiles {
					w.tile(packed, i, t*a.rows, mem)
				}
			}
		}}}
	}
	packed := Floats(m.Shared(), a.batch*each)
	packParts, packStep := divide(2*a.batch, 0.3*float64(each)/2)
	parts, step := divide(a.batch*tiles, tileNanos)
	return []Task{
		{packParts, func(part, _ int) {
			lo, hi := bounds(part, packStep, 2*a.batch)
			for i := lo; i < hi; i++ {
				if i%2 == 0 {
					w.packK(packed[i/2*each:][:each], i/2)
				} else {
					w.packV(packed[i/2*each:][:each], i/2)
				}
			}
		}},
		{parts, func(part, worker int) {
			lo, hi := bounds(part, step, a.batch*tiles)
			mem := m.Worker(worker)
			for i := lo; i < hi; i++ {
				w.tile(packed[i/tiles*each:][:each], i/tiles, i%tiles*a.rows, mem)
			}
		}},
	}
}

// attentionWork is a tiledAttention bound to memory.
type attentionWork struct {
	a                *tiledAttention
	y, q, k, v, mask []float32
}

func (w *attentionWork) packK(packed []float32, item int) {
	a := w.a
	a.k.packTurned(packed[:a.packK], w.k[a.k.of(item):], a.tk, a.d)
}

// packV packs the values of each block of keys for itself.
func (w *attentionWork) packV(packed []float32, item int) {
	a := w.a
	src := w.v[a.v.of(item):]
	for j := 0; j < a.tk; j += a.keys {
		a.v.pack(packed[a.packK+kernel.PackedLen(j, a.dv):], src, j, min(a.keys, a.tk-j), a.dv)
	}
}

// tile computes the results of queries from i0 on.
func (w *attentionWork) tile(packed []float32, item, i0 int, mem []byte) {
	a := w.a
	n := min(a.rows, a.tq-i0)
	ld, room := a.ld(), a.roomQ()
	scratch := Floats(mem, room+a.rows*ld+a.rows*a.dv+3*tileQueries)
	copied, scratch := scratch[:room], scratch[room:]
	scores, scratch := scratch[:a.rows*ld], scratch[a.rows*ld:]
	out, scratch := scratch[:n*a.dv], scratch[a.rows*a.dv:]
	top, sum, more := scratch[:n], scratch[tileQueries:][:n], scratch[2*tileQueries:][:n]

	q, ldq := w.q[a.q.of(item):], a.d
	if room > 0 {
		a.q.read(copied, q, i0, n, a.d)
		q = copied
	} else {
		q, ldq = q[i0*a.q.row:], a.q.row
	}
	for i := range top {
		top[i], sum[i] = kernel.LeastFloat, 0
	}
	for j := 0; j < a.tk; j += a.keys {
		keys := min(a.keys, a.tk-j)
		kernel.Gemm(scores, ld, q, ldq, packed[j*a.d:], n, keys, a.d, nil, false)
		scale := a.scale
		if a.mask != nil {
			w.addMask(scores, ld, item, i0, n, j, keys)
			scale = 1
		}
		if j == 0 {
			kernel.ExpRows(scores, ld, scores, ld, n, keys, scale, top, sum)
		} else {
			var before [tileQueries]float32
			copy(before[:], top)
			kernel.ExpRows(scores, ld, scores, ld, n, keys, scale, top, more)
			for i := range top {
				if shrunk := before[i] != top[i]; shrunk {
					by := float32(math.Exp(float64(before[i]) - float64(top[i])))
					sum[i] *= by
					kernel.MulScalar(out[i*a.dv:][:a.dv], out[i*a.dv:][:a.dv], by)
				}
				sum[i] += more[i]
			}
		}
		kernel.Gemm(out, a.dv, scores, ld, packed[a.packK+kernel.PackedLen(j, a.dv):], n, a.dv, keys, nil, j > 0)
	}
	y := w.y[a.y.of(item):]
	straight := a.y.rowMajor(a.dv)
	for i, s := range sum {
		row := out[i*a.dv:][:a.dv]
		to := row
		if straight {
			to = y[(i0+i)*a.y.row:][:a.dv]
		}
		if s == 0 && a.blind != blindNaN || s != s && a.blind == blindNone {
			clear(to)
			continue
		}
		kernel.MulScalar(to, row, 1/s)
		if s == 0 {
			fill(to, float32(math.NaN())) // 0·(1/0) for every value, infinite ones too
		}
	}
	if !straight {
		a.y.write(y, out, i0, n, a.dv)
	}
}

// addMask scales n rows of scores and adds the mask for keys [j, j+keys).
func (w *attentionWork) addMask(scores []float32, ld, item, i0, n, j, keys int) {
	m := w.a.mask
	at := m.of(item) + j*m.col
	for i := range n {
		row := scores[i*ld:][:keys]
		kernel.MulScalar(row, row, w.a.scale)
		add := w.mask[at+(i0+i)*m.row:]
		if m.col == 1 {
			kernel.Add(row, row, add[:keys])
			continue
		}
		for l := range row {
			row[l] += add[l*m.col]
		}
	}
}
