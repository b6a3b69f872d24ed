package ops

import (
	"math"
	"slices"
	"unsafe"

	"sampleonnx/onnxrun/internal/kernel"
	"sampleonnx/onnxrun/internal/onnx"
)

// reduceAxes tells which dimensions a reduction reduces: those of the axes
// attribute or, from some opset on, input; all when it names none, unless
// noop_with_empty_axes is set.
func reduceAxes(c *Call) ([]bool, error) {
	rank := len(c.In[0].Shape)
	axes, err := c.axes(rank)
	if err != nil {
		return nil, err
	}
	reduced := make([]bool, rank)
	for _, a := range axes {
		reduced[a] = true
	}
	if len(axes) == 0 && c.Int("noop_with_empty_axes", 0) == 0 {
		for i := range reduced {
			reduced[i] = true
		}
	}
	return reduced, nil
}

// isSpatial: the reduction is over all spatial dimensions of [N, C, spatial...]
// and keeps them, so that a block of channels is treated alike.
func isSpatial(c *Call, reduced []bool) bool {
	return len(reduced) > 2 && !reduced[0] && !reduced[1] && !slices.Contains(reduced[2:], false) && c.Int("keepdims", 1) != 0
}

func reduceLayouts(c *Call) []Layout {
	want := make([]Layout, len(c.In))
	if c.In[0].Layout == Blocked {
		if reduced, err := reduceAxes(c); err == nil && isSpatial(c, reduced) {
			want[0] = Blocked
		}
	}
	return want
}

// A reduction combines numbers of type T one after the other in an accumulator.
type reduction[T, A any] struct {
	init A
	row  func(acc A, x []T) A // numbers side by side, for one output
	cols func(acc []A, x []T) // one number for each of several outputs
	fin  func(acc A, n int) T // n is how many there were
}

// Floats accumulate in float64.
func floatReduction[T float](op string) reduction[T, float64] {
	plain := func(acc float64, n int) T { return T(acc) }
	each := func(f func(acc, v float64) float64) reduction[T, float64] {
		return reduction[T, float64]{
			row: func(acc float64, x []T) float64 {
				for _, v := range x {
					acc = f(acc, float64(v))
				}
				return acc
			},
			cols: func(acc []float64, x []T) {
				for i, v := range x[:len(acc)] {
					acc[i] = f(acc[i], float64(v))
				}
			},
			fin: plain,
		}
	}
	var r reduction[T, float64]
	switch op {
	case "ReduceSum", "ReduceMean", "ReduceLogSum":
		r = each(func(acc, v float64) float64 { return acc + v })
		r.cols = func(acc []float64, x []T) { // hot: nothing is called
			for i, v := range x[:len(acc)] {
				acc[i] += float64(v)
			}
		}
	case "ReduceL1":
		r = each(func(acc, v float64) float64 { return acc + math.Abs(v) })
	case "ReduceL2", "ReduceSumSquare":
		r = each(func(acc, v float64) float64 { return acc + float64(v*v) })
	case "ReduceProd":
		r = each(func(acc, v float64) float64 { return acc * v })
		r.init = 1
	case "ReduceMax":
		r = each(func(acc, v float64) float64 { return max(acc, v) })
		r.init = math.Inf(-1)
	case "ReduceMin":
		r = each(func(acc, v float64) float64 { return min(acc, v) })
		r.init = math.Inf(1)
	}
	switch op {
	case "ReduceMean":
		r.fin = func(acc float64, n int) T { return T(acc / float64(n)) }
	case "ReduceLogSum":
		r.fin = func(acc float64, n int) T { return T(math.Log(acc)) }
	case "ReduceL2":
		r.fin = func(acc float64, n int) T { return T(math.Sqrt(acc)) }
	}
	return r
}

// logSumExp is ∑ exp(x), as ∑ exp(x - most)·exp(most).
type logSumExp struct{ most, sum float64 }

func (a logSumExp) add(x float64) logSumExp {
	switch {
	case x > a.most:
		return logSumExp{x, float64(a.sum*math.Exp(a.most-x)) + 1}
	case x == a.most && math.IsInf(x, 0): // no difference of infinities
		a.sum++
	default:
		a.sum += math.Exp(x - a.most)
	}
	return a
}

func logSumExpReduction[T number]() reduction[T, logSumExp] {
	return reduction[T, logSumExp]{
		init: logSumExp{most: math.Inf(-1)},
		row: func(acc logSumExp, x []T) logSumExp {
			for _, v := range x {
				acc = acc.add(float64(v))
			}
			return acc
		},
		cols: func(acc []logSumExp, x []T) {
			for i, v := range x[:len(acc)] {
				acc[i] = acc[i].add(float64(v))
			}
		},
		fin: func(acc logSumExp, n int) T {
			if acc.most == math.Inf(-1) {
				acc.sum = 1 // all were -∞, or there was nothing
			}
			return floatTo[T](acc.most + math.Log(acc.sum))
		},
	}
}

// float32Reduction uses the kernels for numbers side by side.
func float32Reduction(op string) reduction[float32, float64] {
	r := floatReduction[float32](op)
	switch op {
	case "ReduceSum", "ReduceMean", "ReduceLogSum":
		r.row = func(acc float64, x []float32) float64 { return acc + kernel.Sum(x) }
	case "ReduceL2", "ReduceSumSquare":
		r.row = func(acc float64, x []float32) float64 { return acc + kernel.SumSquares(x, 0) }
	case "ReduceMax":
		r.row = func(acc float64, x []float32) float64 { return max(acc, float64(kernel.MaxOf(x))) }
	}
	return r
}

// Integers accumulate in the widest type of their sign; what does not fit wraps.
// lo and hi are the least and the greatest number of the type.
func integerReduction[T integer, A int64 | uint64](op string, lo, hi T) reduction[T, A] {
	var f func(acc, v A) A
	r := reduction[T, A]{fin: func(acc A, n int) T { return T(acc) }}
	switch op {
	case "ReduceSum":
		f = func(acc, v A) A { return acc + v }
	case "ReduceLogSum":
		f = func(acc, v A) A { return acc + v }
		r.fin = func(acc A, n int) T { return floatTo[T](math.Log(float64(acc))) }
	case "ReduceMean":
		f = func(acc, v A) A { return acc + v }
		r.fin = func(acc A, n int) T { return T(acc / max(A(n), 1)) }
	case "ReduceL1":
		f = func(acc, v A) A {
			if v < 0 {
				v = -v
			}
			return acc + v
		}
	case "ReduceSumSquare":
		f = func(acc, v A) A { return acc + v*v }
	case "ReduceL2":
		f = func(acc, v A) A { return acc + v*v }
		r.fin = func(acc A, n int) T { return T(math.Sqrt(float64(acc))) }
	case "ReduceProd":
		f = func(acc, v A) A { return acc * v }
		r.init = 1
	case "ReduceMax":
		f = func(acc, v A) A { return max(acc, v) }
		r.init = A(lo)
	case "ReduceMin":
		f = func(acc, v A) A { return min(acc, v) }
		r.init = A(hi)
	}
	r.row = func(acc A, x []T) A {
		for _, v := range x {
			acc = f(acc, A(v))
		}
		return acc
	}
	r.cols = func(acc []A, x []T) {
		for i, v := range x[:len(acc)] {
			acc[i] = f(acc[i], A(v))
		}
	}
	return r
}

func lowerReduce(c *Call) (*Kernel, error) {
	op := c.Node.Op
	ok := isNumber
	if (op == "ReduceMax" || op == "ReduceMin") && c.Version() >= 20 {
		ok = isStored
	}
	if err := c.want(0, ok, "a numeric type"); err != nil {
		return nil, err
	}
	reduced, err := reduceAxes(c)
	if err != nil {
		return nil, err
	}
	in := c.In[0].Type
	if in.Layout == Blocked && !isSpatial(c, reduced) {
		return nil, c.Unsupported("reduces %v over %v", in, reduced)
	}
	out := Type{DType: in.DType, Layout: in.Layout, Shape: []int{}}
	for i, d := range in.Shape {
		switch {
		case !reduced[i]:
			out.Shape = append(out.Shape, d)
		case c.Int("keepdims", 1) != 0:
			out.Shape = append(out.Shape, 1)
		}
	}
	if in.Layout == Blocked {
		reduced = append(reduced, false) // the lanes
	}
	l := newReduceLoop(in.Physical(), reduced)
	if op == "ReduceLogSumExp" {
		return logSumExpKernel(in, out, l), nil
	}
	switch in.DType {
	case onnx.Double:
		return reduceKernel(in, out, l, floatReduction[float64](op)), nil
	case onnx.Int8:
		return reduceKernel(in, out, l, integerReduction[int8, int64](op, math.MinInt8, math.MaxInt8)), nil
	case onnx.Int16:
		return reduceKernel(in, out, l, integerReduction[int16, int64](op, math.MinInt16, math.MaxInt16)), nil
	case onnx.Int32:
		return reduceKernel(in, out, l, integerReduction[int32, int64](op, math.MinInt32, math.MaxInt32)), nil
	case onnx.Int64:
		return reduceKernel(in, out, l, integerReduction[int64, int64](op, math.MinInt64, math.MaxInt64)), nil
	case onnx.Uint8:
		return reduceKernel(in, out, l, integerReduction[uint8, uint64](op, 0, math.MaxUint8)), nil
	case onnx.Uint16:
		return reduceKernel(in, out, l, integerReduction[uint16, uint64](op, 0, math.MaxUint16)), nil
	case onnx.Uint32:
		return reduceKernel(in, out, l, integerReduction[uint32, uint64](op, 0, math.MaxUint32)), nil
	case onnx.Uint64:
		return reduceKernel(in, out, l, integerReduction[uint64, uint64](op, 0, math.MaxUint64)), nil
	case onnx.Bool: // false < true, as the bytes
		return reduceKernel(in, out, l, integerReduction[uint8, uint64](op, 0, 1)), nil
	}
	return reduceKernel(in, out, l, float32Reduction(op)), nil
}

func logSumExpKernel(in, out Type, l *reduceLoop) *Kernel {
	switch in.DType {
	case onnx.Double:
		return reduceKernel(in, out, l, logSumExpReduction[float64]())
	case onnx.Int8:
		return reduceKernel(in, out, l, logSumExpReduction[int8]())
	case onnx.Int16:
		return reduceKernel(in, out, l, logSumExpReduction[int16]())
	case onnx.Int32:
		return reduceKernel(in, out, l, logSumExpReduction[int32]())
	case onnx.Int64:
		return reduceKernel(in, out, l, logSumExpReduction[int64]())
	case onnx.Uint8:
		return reduceKernel(in, out, l, logSumExpReduction[uint8]())
	case onnx.Uint16:
		return reduceKernel(in, out, l, logSumExpReduction[uint16]())
	case onnx.Uint32:
		return reduceKernel(in, out, l, logSumExpReduction[uint32]())
	case onnx.Uint64:
		return reduceKernel(in, out, l, logSumExpReduction[uint64]())
	}
	return reduceKernel(in, out, l, logSumExpReduction[float32]())
}

// A reduceLoop is the order of a reduction: for each output, walk the reduced
// positions in row-major order. The last dimension of the input decides the
// innermost loop: along it if it is reduced, over several outputs at once if not.
type reduceLoop struct {
	kept, gone lattice // the outputs and what each of them reduces, less the innermost
	along      bool    // the innermost dimension is reduced
	run        int     // its extent
	outs       int     // output groups: one output each, or run of them
	count      int     // numbers reduced for each output
}

func newReduceLoop(shape []int, reduced []bool) *reduceLoop {
	st := strides(shape)
	var dims, str [2][]int // kept, reduced
	for i, d := range shape {
		j := 0
		if reduced[i] {
			j = 1
		}
		dims[j], str[j] = append(dims[j], d), append(str[j], st[i])
	}
	l := &reduceLoop{kept: newLattice(dims[0], str[0]), gone: newLattice(dims[1], str[1]), count: elems(dims[1])}
	// The innermost loop goes where neighbours in memory are.
	inner := &l.kept
	if l.gone.unit() && (!l.kept.unit() || l.gone.run() > l.kept.run()) {
		l.along, inner = true, &l.gone
	}
	k := len(inner.dims) - 1
	l.run = inner.dims[k]
	inner.dims, inner.str[0] = inner.dims[:k], inner.str[0][:k]
	l.outs = elems(l.kept.dims)
	return l
}

// unit: the last dimension is one of neighbours.
func (l *lattice) unit() bool { return l.str[0][len(l.dims)-1] == 1 }

const reduceCols = 256 // outputs reduced side by side

func reduceKernel[T Elem, A any](in, out Type, l *reduceLoop, f reduction[T, A]) *Kernel {
	k := &Kernel{Out: []Type{out}, FLOPs: float64(in.Elems())}
	if l.along {
		each := max(1, grain/max(l.count, 1))
		k.Bind = func(m Memory) []Task {
			dst, src := Data[T](m.Out[0]), Data[T](m.In[0])
			return []Task{{(l.outs + each - 1) / each, func(part, _ int) {
				lo, hi := part*each, min((part+1)*each, l.outs)
				w := l.kept.walkTo(len(l.kept.dims), lo)
				p := m.pace()
				for o := lo; o < hi; o++ {
					acc := f.init
					v := l.gone.walkTo(len(l.gone.dims), 0)
					for range elems(l.gone.dims) {
						for x := src[w.off[0]+v.off[0]:][:l.run]; len(x) > 0; {
							n := min(len(x), paceWork)
							if p.over(n) {
								return
							}
							acc, x = f.row(acc, x[:n]), x[n:]
						}
						v.next()
					}
					dst[o] = f.fin(acc, l.count)
					w.next()
				}
			}}}
		}
		return k
	}
	var a A
	k.WorkerScratch = reduceCols * int(unsafe.Sizeof(a))
	// A unit of work is some neighbouring columns of one group of outputs.
	segs := (l.run + reduceCols - 1) / reduceCols
	units := l.outs * segs
	each := max(1, grain/(max(l.count, 1)*max(min(l.run, reduceCols), 1)))
	k.Bind = func(m Memory) []Task {
		dst, src, pad := Data[T](m.Out[0]), Data[T](m.In[0]), spareOf(m.Out[0])
		return []Task{{(units + each - 1) / each, func(part, worker int) {
			tile := scratchOf[A](m.Worker(worker), reduceCols)
			p := m.pace()
			for u := part * each; u < min((part+1)*each, units); u++ {
				o, lo := u/segs, u%segs*reduceCols
				hi := min(lo+reduceCols, l.run)
				w := l.kept.walkTo(len(l.kept.dims), o)
				acc := tile[:hi-lo]
				for i := range acc {
					acc[i] = f.init
				}
				v := l.gone.walkTo(len(l.gone.dims), 0)
				for range elems(l.gone.dims) {
					if p.over(hi - lo) {
						return
					}
					f.cols(acc, src[w.off[0]+v.off[0]+lo:][:hi-lo])
					v.next()
				}
				for i, a := range acc {
					dst[o*l.run+lo+i] = f.fin(a, l.count)
				}
				pad.zero(o*l.run+lo, o*l.run+hi)
			}
		}}}
	}
	return k
}
