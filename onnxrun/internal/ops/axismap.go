package ops

import (
	"sort"

	"sampleonnx/onnxrun/internal/onnx"
)

// axisMap is a copy in which every output coordinate names its input
// coordinate, axis by axis:
//
//	out[i0, i1, …] = in[from[0](i0), from[1](i1), …], or a fill value where any is −1.
//
// Padding and nearest-neighbour resizing are both this.
type axisMap struct {
	in, out []int               // shapes
	from    []func(out int) int // for each axis; nil: as they are
}

// last is the last axis that moves, −1 for none, and the elements of the block behind
// each of its positions.
func (a *axisMap) last() (axis, inner int) {
	axis = len(a.from) - 1
	for axis >= 0 && a.from[axis] == nil {
		axis--
	}
	return axis, elems(a.out[axis+1:])
}

// tables is the memory that the lists of tasks take.
func (a *axisMap) tables() (bytes int) {
	last, inner := a.last()
	for d, from := range a.from {
		switch {
		case from == nil:
		case d == last && inner > 1:
			bytes += room(12, a.out[d])
		default:
			bytes += room(4, a.out[d])
		}
	}
	return min(bytes, unbounded)
}

// list is the input coordinates of an axis, as far as p lets it go on.
func (a *axisMap) list(axis int, p *pace) []int32 {
	list := make([]int32, a.out[axis])
	for i := range list {
		if p.over(16) {
			break
		}
		list[i] = int32(a.from[axis](i))
	}
	return list
}

// A run is a row of positions of an axis that follow each other in the input too, or
// are all filled: src is −1 then.
type run struct{ dst, src, n int32 }

// runs cuts an axis into runs. It gives up, with nil, when they are more than most.
func (a *axisMap) runs(axis, most int, p *pace) []run {
	var list []run
	for _, counted := range []bool{false, true} { // so that the list is no longer than it must be
		n, before := 0, -2
		for i := range a.out[axis] {
			if p.over(16) {
				return nil
			}
			s := max(a.from[axis](i), -1)
			follows := s < 0 && before == -1 || s >= 0 && before >= 0 && s == before+1
			before = s
			switch {
			case follows && counted:
				list[n-1].n++
			case follows:
			case n == most:
				return nil
			case counted:
				list = append(list, run{int32(i), int32(s), 1})
				fallthrough
			default:
				n++
			}
		}
		if !counted {
			list = make([]run, 0, n)
		}
	}
	return list
}

// tasks makes the copy for elements of any type. fill holds the fill value, one
// element, when the tasks run; nil means that no coordinate is −1.
func (a *axisMap) tasks(d onnx.DType, m *Memory, fill *Tensor) []Task {
	switch storageSize(d) {
	case 1:
		return axisTasks[uint8](a, m, fill)
	case 2:
		return axisTasks[uint16](a, m, fill)
	case 4:
		return axisTasks[uint32](a, m, fill)
	}
	return axisTasks[uint64](a, m, fill)
}

// rowPiece is the number of elements of a long row that are a piece of work.
const rowPiece = 1 << 18

func axisTasks[T uint8 | uint16 | uint32 | uint64](a *axisMap, m *Memory, fill *Tensor) []Task {
	src, dst := Data[T](m.In[0]), Data[T](m.Out[0])
	if len(dst) == 0 {
		return nil
	}
	// The axes after the last one that moves are one contiguous block, and the
	// last one that moves is the row that is copied by runs.
	last, inner := a.last()
	if last < 0 {
		parts, step := divide(len(dst), 0.25)
		return []Task{{parts, func(part, _ int) {
			lo, hi := bounds(part, step, len(dst))
			copy(dst[lo:hi], src[lo:hi])
		}}}
	}
	row := a.out[last] * inner
	rows := elems(a.out[:last])
	step := strides(a.in)

	pace := m.pace()
	outer := make([][]int32, last)
	for d := range outer {
		if a.from[d] != nil {
			outer[d] = a.list(d, &pace)
		}
	}
	most := a.out[last]
	if inner == 1 {
		most /= 4
	}
	var each []int32 // in place of runs, where these would be short
	runs := a.runs(last, most, &pace)
	if runs == nil {
		each = a.list(last, &pace)
	}
	if pace.stopped != nil && pace.stopped() {
		return nil
	}

	segs := ceilDiv(row, rowPiece)
	parts, size := divide(rows*segs, 0.5*float64(min(row, rowPiece)))
	return []Task{{parts, func(part, _ int) {
		var value T
		if fill != nil {
			value = Data[T](fill)[0]
		}
		first, end := bounds(part, size, rows*segs)
		before := -2 // where the row above came from
		for piece := first; piece < end; piece++ {
			r, lo := piece/segs, piece%segs*rowPiece
			hi := min(lo+rowPiece, row)
			off, rest := 0, r
			for d := last - 1; d >= 0; d-- {
				i := rest % a.out[d]
				rest /= a.out[d]
				if outer[d] != nil {
					i = int(outer[d][i])
				}
				if i < 0 {
					off = -1
					break
				}
				off += i * step[d]
			}
			y := dst[r*row:][:row]
			if off == before && segs == 1 {
				copy(y, dst[(r-1)*row:][:row])
				continue
			}
			before = off
			switch {
			case off < 0:
				for i := lo; i < hi; i++ {
					y[i] = value
				}
			case runs == nil:
				for i := lo; i < hi; i++ {
					y[i] = value
					if s := int(each[i]); s >= 0 {
						y[i] = src[off+s]
					}
				}
			default:
				at := 0
				if lo > 0 {
					at = sort.Search(len(runs), func(i int) bool { return int(runs[i].dst+runs[i].n)*inner > lo })
				}
				for ; at < len(runs) && int(runs[at].dst)*inner < hi; at++ {
					u := &runs[at]
					from := max(lo, int(u.dst)*inner)
					to := y[from:min(hi, int(u.dst+u.n)*inner)]
					if u.src >= 0 {
						copy(to, src[off+int(u.src)*inner+from-int(u.dst)*inner:])
						continue
					}
					for i := range to {
						to[i] = value
					}
				}
			}
		}
	}}}
}

// partNanos is the work that is worth handing to another worker, in ns.
const partNanos = 16e3

// divide splits n items of work, each about nanos long, into parts of step
// items, partNanos or more of work. It looks at the work alone, never at the number
// of workers.
func divide(n int, nanos float64) (parts, step int) {
	if n <= 0 {
		return 0, 1
	}
	step = n
	if nanos > 0 && float64(n)*nanos > partNanos {
		step = max(1, int(partNanos/nanos))
	}
	return (n + step - 1) / step, step
}

// bounds is the range of items of one part that divide made.
func bounds(part, step, n int) (lo, hi int) {
	return part * step, min(n, (part+1)*step)
}
