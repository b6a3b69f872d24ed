package ops

// Everything that walks several tensors of different strides side by side
// (broadcasting, data movement) does it with the two types of this file.

// grain is the number of elements worth a part of their own: small enough to
// share a tensor out evenly, large enough to forget the cost of starting. It is
// a multiple of Block; only tests change it, to see that results do not.
var grain = 1 << 14

// maxDims bounds the dimensions of a walk; Tile, with two for each dimension of
// its input, needs the most.
const maxDims = 2 * (maxRank + 1)

// strides are the steps, in elements, of a row-major tensor.
func strides(shape []int) []int {
	s := make([]int, len(shape))
	for i, n := len(shape)-1, 1; i >= 0; i-- {
		s[i] = n
		n *= shape[i]
	}
	return s
}

// A spread is where items lie that are counted through some dimensions, the last one
// fastest: at the sum of their coordinates times steps.
type spread struct{ dims, steps []int }

// newSpread joins the dimensions that steps go through evenly.
func newSpread(dims, steps []int) spread {
	l := newLattice(dims, steps)
	return spread{l.dims, l.str[0]}
}

// evenly is n items, step apart.
func evenly(n, step int) spread { return spread{[]int{n}, []int{step}} }

func (s *spread) len() int { return room(s.dims...) }

func (s *spread) at(i int) int {
	d := len(s.dims) - 1
	at := 0
	for ; d > 0; d-- {
		at += i % s.dims[d] * s.steps[d]
		i /= s.dims[d]
	}
	return at + i*s.steps[0]
}

// A lattice is a box of positions with one stride per dimension for each of a
// few tensors.
type lattice struct {
	dims []int
	str  [3][]int
	n    int // tensors in use
}

// newLattice drops dimensions of extent 1 and merges neighbours that every
// tensor steps through evenly, so that the last dimension is as long as can be.
// A lattice has at least one dimension.
func newLattice(dims []int, str ...[]int) lattice {
	l := lattice{n: len(str)}
	for i, d := range dims {
		if d == 1 {
			continue
		}
		k := len(l.dims) - 1
		even := k >= 0
		for j := range str {
			even = even && l.str[j][k] == str[j][i]*d
		}
		if even {
			l.dims[k] *= d
		} else {
			l.dims = append(l.dims, d)
			k++
		}
		for j := range str {
			l.str[j] = append(l.str[j][:k], str[j][i])
		}
	}
	if len(l.dims) == 0 {
		l.dims = []int{1}
		for j := range str {
			l.str[j] = []int{1}
		}
	}
	return l
}

// run is the extent of the last dimension, rows the product of the others.
func (l *lattice) run() int  { return l.dims[len(l.dims)-1] }
func (l *lattice) rows() int { return elems(l.dims[:len(l.dims)-1]) }

// swap exchanges two dimensions.
func (l *lattice) swap(a, b int) {
	l.dims[a], l.dims[b] = l.dims[b], l.dims[a]
	for j := range l.n {
		l.str[j][a], l.str[j][b] = l.str[j][b], l.str[j][a]
	}
}

// A walk goes through the first dims of a lattice in row-major order and keeps
// every tensor's offset.
type walk struct {
	l   *lattice
	k   int // dimensions walked
	idx [maxDims]int
	off [3]int
}

// walkTo starts a walk over the first k dimensions of l at the given position.
func (l *lattice) walkTo(k, pos int) walk {
	w := walk{l: l, k: k}
	if pos == 0 {
		return w
	}
	for d := k - 1; d >= 0; d-- {
		w.idx[d] = pos % l.dims[d]
		pos /= l.dims[d]
		for j := range l.n {
			w.off[j] += w.idx[d] * l.str[j][d]
		}
	}
	return w
}

func (w *walk) next() {
	l := w.l
	for d := w.k - 1; d >= 0; d-- {
		w.idx[d]++
		for j := range l.n {
			w.off[j] += l.str[j][d]
		}
		if w.idx[d] < l.dims[d] {
			return
		}
		for j := range l.n {
			w.off[j] -= l.dims[d] * l.str[j][d]
		}
		w.idx[d] = 0
	}
}

// A split shares rows of equal length out into parts of about grain elements:
// whole rows, or pieces of a row when one is longer than that.
type split struct {
	parts, rows, run int
	each             int // rows of a part, when rows are whole
	segs             int // pieces of a row
}

func newSplit(rows, run int) split {
	s := split{rows: rows, run: run, each: 1, segs: 1}
	switch {
	case rows == 0 || run == 0:
		return s
	case run > grain:
		s.segs = (run + grain - 1) / grain
		s.parts = rows * s.segs
	default:
		s.each = max(1, grain/run)
		s.parts = (rows + s.each - 1) / s.each
	}
	return s
}

// of is the share of a part: elements [lo, hi) of the rows [r0, r1).
func (s *split) of(part int) (r0, r1, lo, hi int) {
	if s.segs > 1 {
		lo = part % s.segs * grain
		return part / s.segs, part/s.segs + 1, lo, min(lo+grain, s.run)
	}
	r0 = part * s.each
	return r0, min(r0+s.each, s.rows), 0, s.run
}
