package ops

import (
	"slices"
	"unsafe"

	"sampleonnx/onnxrun/internal/kernel"
)

// A move copies elements between two tensors, each with a stride per dimension.
// Concat, Split, Slice, Transpose, Expand and Tile are moves: nothing but the
// size of an element matters to them.
type move struct {
	lattice        // the strides of the destination, of the source
	split          split
	dstOff, srcOff int
	tiled          bool // neighbours in the source are the rows: transpose in tiles
}

// newMove moves a box of the given extents. A destination's stride is never 0.
func newMove(dims, dst, src []int, dstOff, srcOff int) *move {
	v := &move{lattice: newLattice(dims, dst, src), dstOff: dstOff, srcOff: srcOff}
	k := len(v.dims) - 1
	run := v.run()
	if v.str[0][k] == 1 && v.str[1][k] != 1 && v.str[1][k] != 0 {
		// Bring the dimension in which the source is contiguous, if any, next to
		// the last: the two make a matrix to be transposed, unless it is tiny.
		if p := slices.Index(v.str[1], 1); p >= 0 && run*v.dims[p] >= 64 {
			v.swap(p, k-1)
			v.tiled = true
			// A part is whole tiles: columns of the source in multiples of transposeTile.
			rows, cols := v.dims[k-1], max(transposeTile, grain/max(run, 1)&^(transposeTile-1))
			v.split = split{rows: elems(v.dims[:k-1]), run: rows, each: cols}
			v.split.segs = (rows + cols - 1) / cols
			if run > 0 {
				v.split.parts = v.split.rows * v.split.segs
			}
			return v
		}
	}
	v.split = newSplit(v.lattice.rows(), run)
	return v
}

// moveKernel fills an output by one move from input 0, of type in.
func moveKernel(in, out Type, v *move) *Kernel {
	k := &Kernel{Out: []Type{out}, Bind: func(m Memory) []Task {
		return moveTask([]*move{v}, m.Out[:1], m.In[:1])
	}}
	if len(v.dims) == 1 && v.str[0][0] == 1 && v.str[1][0] == 1 && in.Elems() == out.Elems() {
		k.View = true // everything stays where it is
	}
	return k
}

// moveTask does several moves, which do not overlap, in one task; move i takes
// from src[i] and gives to dst[i].
func moveTask(moves []*move, dst, src []*Tensor) []Task {
	size := 0
	for _, t := range append(slices.Clone(dst), src...) {
		if t != nil {
			size = storageSize(t.DType)
		}
	}
	switch size {
	case 1:
		return moveWords[uint8](moves, dst, src)
	case 2:
		return moveWords[uint16](moves, dst, src)
	case 4:
		return moveWords[uint32](moves, dst, src)
	}
	return moveWords[uint64](moves, dst, src)
}

func moveWords[W Elem](moves []*move, dst, src []*Tensor) []Task {
	parts := 0
	first := make([]int, len(moves)) // the first part of each move
	d, s := make([][]W, len(moves)), make([][]W, len(moves))
	for i, v := range moves {
		first[i] = parts
		parts += v.split.parts
		d[i], s[i] = Data[W](dst[i]), Data[W](src[i])
	}
	return []Task{{parts, func(part, _ int) {
		i := len(moves) - 1
		for part < first[i] {
			i--
		}
		doMove(moves[i], d[i], s[i], part-first[i])
	}}}
}

func doMove[W Elem](v *move, dst, src []W, part int) {
	if v.tiled {
		doTranspose(v, dst, src, part)
		return
	}
	r0, r1, lo, hi := v.split.of(part)
	k := len(v.dims) - 1
	sd, ss := v.str[0][k], v.str[1][k]
	if k > 0 && v.run() <= kernel.ShortRun && v.split.segs == 1 {
		M, down, up := v.dims[k-1], v.str[0][k-1], v.str[1][k-1]
		w := v.walkTo(k-1, r0/M)
		for r := r0; r < r1; {
			m := r % M
			n := min(M-m, r1-r)
			i, j := v.dstOff+w.off[0]+m*down, v.srcOff+w.off[1]+m*up
			moveRuns(dst, src, i, j, n, down, up, v.run(), sd, ss)
			r += n
			w.next()
		}
		return
	}
	w := v.walkTo(k, r0)
	for r := r0; r < r1; r++ {
		d, s := v.dstOff+w.off[0]+sd*lo, v.srcOff+w.off[1]+ss*lo
		switch {
		case sd == 1 && ss == 1:
			copy(dst[d:d+hi-lo], src[s:s+hi-lo])
		case sd == 1 && ss == 0:
			fill(dst[d:d+hi-lo], src[s])
		default:
			for range hi - lo {
				dst[d] = src[s]
				d += sd
				s += ss
			}
		}
		w.next()
	}
}

// moveRuns moves runs of a few elements, down and up apart, the first of the first from
// src[j] to dst[i].
func moveRuns[W Elem](dst, src []W, i, j, runs, down, up, run, sd, ss int) {
	if to, ok := any(dst).([]uint32); ok && sd == 1 && ss == 1 && down >= 0 && up >= 0 {
		kernel.CopyRuns(floats(to[i:]), floats(any(src).([]uint32)[j:]), runs, run, down, up)
		return
	}
	for range runs {
		for l := range run {
			dst[i+l*sd] = src[j+l*ss]
		}
		i, j = i+down, j+up
	}
}

// floats is x for kernels that move elements of its size.
func floats(x []uint32) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}

// transposeTile is the side of the squares in which matrices are transposed:
// the lines of cache that one touches are used whole.
const transposeTile = 16

// doTranspose copies the transpose of a matrix: its rows are contiguous in the
// source, its columns in the destination.
func doTranspose[W Elem](v *move, dst, src []W, part int) {
	k := len(v.dims) - 1
	outer := part / v.split.segs
	p0 := part % v.split.segs * v.split.each
	p1, q1 := min(p0+v.split.each, v.dims[k-1]), v.dims[k]
	sd, ss := v.str[0][k-1], v.str[1][k]
	w := v.walkTo(k-1, outer)
	dst, src = dst[v.dstOff+w.off[0]:], src[v.srcOff+w.off[1]:]
	if d, ok := any(dst).([]uint32); ok {
		kernel.Transpose(floats(d[p0*sd:]), floats(any(src).([]uint32)[p0:]), q1, p1-p0, sd, ss)
		return
	}
	for p := p0; p < p1; p += transposeTile {
		for q := 0; q < q1; q += transposeTile {
			if p+transposeTile <= p1 && q+transposeTile <= q1 {
				// Lines of the source in the inner loop, used up one by one: when
				// rows are a power of two apart they evict each other.
				for j := 0; j < transposeTile; j += 8 {
					for i := 0; i < transposeTile; i += 8 {
						transpose8(dst[(p+i)*sd+q+j:], src[(q+j)*ss+p+i:], sd, ss)
					}
				}
				continue
			}
			for i := p; i < min(p+transposeTile, p1); i++ {
				for j := q; j < min(q+transposeTile, q1); j++ {
					dst[i*sd+j] = src[j*ss+i]
				}
			}
		}
	}
}

// transpose8 is the transpose of 8×8 elements.
func transpose8[W Elem](dst, src []W, sd, ss int) {
	a, b, c, d := (*[8]W)(src), (*[8]W)(src[ss:]), (*[8]W)(src[2*ss:]), (*[8]W)(src[3*ss:])
	e, f, g, h := (*[8]W)(src[4*ss:]), (*[8]W)(src[5*ss:]), (*[8]W)(src[6*ss:]), (*[8]W)(src[7*ss:])
	for i := range 8 {
		o := (*[8]W)(dst[i*sd:])
		o[0], o[1], o[2], o[3] = a[i], b[i], c[i], d[i]
		o[4], o[5], o[6], o[7] = e[i], f[i], g[i], h[i]
	}
}
