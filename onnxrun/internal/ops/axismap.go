package ops

import "sampleonnx/onnxrun/internal/onnx"

// axisMap is a copy in which every output coordinate names its input
// coordinate, axis by axis:
//
//	out[i0, i1, …] = in[at[0][i0], at[1][i1], …], or a fill value where any at is −1.
//
// Padding and nearest-neighbour resizing are both this.
type axisMap struct {
	in, out []int   // shapes
	at      [][]int // for each axis, out[axis] input coordinates; nil means all as they are
}

// tasks makes the copy for elements of any type. fill holds the fill value, one
// element, when the tasks run; nil means that no coordinate is −1.
func (a *axisMap) tasks(d onnx.DType, in, out *Tensor, fill *Tensor) []Task {
	switch storageSize(d) {
	case 1:
		return axisTasks[uint8](a, in, out, fill)
	case 2:
		return axisTasks[uint16](a, in, out, fill)
	case 4:
		return axisTasks[uint32](a, in, out, fill)
	}
	return axisTasks[uint64](a, in, out, fill)
}

func axisTasks[T uint8 | uint16 | uint32 | uint64](a *axisMap, in, out *Tensor, fill *Tensor) []Task {
	src, dst := Data[T](in), Data[T](out)
	if len(dst) == 0 {
		return nil
	}
	// The axes after the last one that moves are one contiguous block, and the
	// last one that moves is the row that is copied by runs.
	last := len(a.at) - 1
	for last >= 0 && a.at[last] == nil {
		last--
	}
	if last < 0 {
		parts, step := divide(len(dst), 0.25)
		return []Task{{parts, func(part, _ int) {
			lo, hi := bounds(part, step, len(dst))
			copy(dst[lo:hi], src[lo:hi])
		}}}
	}
	inner := elems(a.out[last+1:])
	row := a.out[last] * inner
	rows := elems(a.out[:last])
	step := strides(a.in)

	type run struct{ dst, src, n int } // src −1: fill
	var runs []run
	for i, s := range a.at[last] {
		s *= inner
		if s < 0 {
			s = -1
		}
		if k := len(runs) - 1; k >= 0 {
			p := &runs[k]
			if s < 0 && p.src < 0 || s >= 0 && p.src >= 0 && s == p.src+p.n {
				p.n += inner
				continue
			}
		}
		runs = append(runs, run{i * inner, s, inner})
	}
	single := inner == 1 && len(runs) > row/4
	at := a.at[last]

	parts, size := divide(rows, 0.5*float64(row))
	return []Task{{parts, func(part, _ int) {
		var value T
		if fill != nil {
			value = Data[T](fill)[0]
		}
		lo, hi := bounds(part, size, rows)
		before := -2 // where the row above came from
		for r := lo; r < hi; r++ {
			off, rest := 0, r
			for d := last - 1; d >= 0; d-- {
				i := rest % a.out[d]
				rest /= a.out[d]
				if a.at[d] != nil {
					i = a.at[d][i]
				}
				if i < 0 {
					off = -1
					break
				}
				off += i * step[d]
			}
			y := dst[r*row:][:row]
			if off == before {
				copy(y, dst[(r-1)*row:][:row])
				continue
			}
			before = off
			switch {
			case off < 0:
				for i := range y {
					y[i] = value
				}
			case single:
				for i, s := range at {
					if s < 0 {
						y[i] = value
					} else {
						y[i] = src[off+s]
					}
				}
			default:
				for _, u := range runs {
					if u.src >= 0 {
						copy(y[u.dst:][:u.n], src[off+u.src:][:u.n])
						continue
					}
					for i := range y[u.dst:][:u.n] {
						y[u.dst+i] = value
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
