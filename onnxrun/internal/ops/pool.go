package ops

import (
	"math"
	"slices"

	"sampleonnx/onnxrun/internal/kernel"
	"sampleonnx/onnxrun/internal/onnx"
)

// poolLayouts: a pool of a blocked input stays blocked, unless it must say
// where each maximum was. One of many channels is quicker blocked, by more than
// reordering takes.
func poolLayouts(c *Call) []Layout {
	x := c.In[0].Type
	indices := len(c.Node.Outputs) > 1 && c.Node.Outputs[1] >= 0
	if len(x.Shape) >= 3 && IsFloat32(x.DType) && !indices && (x.Layout == Blocked || x.Shape[1] >= Block) {
		return []Layout{Blocked}
	}
	return []Layout{Plain}
}

// lowerPool is AveragePool and MaxPool, over any number of spatial axes.
// dilations came with opset 10 (MaxPool) and 19 (AveragePool), ceil_mode with
// 10, 8-bit integers with 12 (MaxPool).
func lowerPool(c *Call) (*Kernel, error) {
	x := c.In[0].Type
	maximum := c.Node.Op == "MaxPool"
	if len(x.Shape) < 3 {
		return nil, c.Invalid("the input has shape %v, want at least 3 axes", x.Shape)
	}
	size := c.Ints("kernel_shape")
	if len(size) != len(x.Shape)-2 {
		return nil, c.Invalid("kernel_shape is %v, want %d numbers", size, len(x.Shape)-2)
	}
	w, err := newWindow(c, x.Shape[2:], size, c.Int("ceil_mode", 0) != 0)
	if err != nil {
		return nil, err
	}
	if err := w.check(c, x.Shape[0], x.Shape[1], x.Shape[1]); err != nil {
		return nil, err
	}
	out := x
	out.Shape = append(append([]int(nil), x.Shape[:2]...), w.out...)

	k := &Kernel{Out: []Type{out}, FLOPs: float64(out.Elems()) * float64(w.taps())}
	last := len(w.in) - 1
	// The windows' rows, of the indices too, what averages divide by, and a row of a separable pool.
	k.Tables = min(room(2, w.rowBytes())+room(storageSize(x.DType), elems(w.out[:last]))+room(storageSize(x.DType), 1+Block, w.out[last])+room(24, w.kernel[last]), unbounded)
	if len(c.Node.Outputs) > 1 {
		k.Out = append(k.Out, Type{DType: onnx.Int64, Shape: out.Shape})
	}
	if maximum {
		indices := len(c.Node.Outputs) > 1 && c.Node.Outputs[1] >= 0
		column := c.Int("storage_order", 0) != 0
		switch {
		case IsFloat32(x.DType):
			bindMaxPool[float32](k, w, x, indices, column, float32(math.Inf(-1)))
		case x.DType == onnx.Double:
			bindMaxPool[float64](k, w, x, indices, column, math.Inf(-1))
		case x.DType == onnx.Int8:
			bindMaxPool[int8](k, w, x, indices, column, math.MinInt8)
		case x.DType == onnx.Uint8:
			bindMaxPool[uint8](k, w, x, indices, column, 0)
		default:
			return nil, c.Invalid("the input is %v, want a float or 8-bit tensor", x)
		}
		if indices && x.Layout != Plain {
			return nil, c.Invalid("indices need a plain input")
		}
		return k, nil
	}
	pad := c.Int("count_include_pad", 0) != 0
	switch {
	case IsFloat32(x.DType) && x.Layout == Blocked && w.inside() && len(w.in) <= 3 && w.taps() <= lanewiseTaps && meanNanos(w) <= longRow:
		bindMeans(k, w, x)
	case IsFloat32(x.DType):
		bindAveragePool[float32](k, w, x, pad)
	case x.DType == onnx.Double:
		bindAveragePool[float64](k, w, x, pad)
	default:
		return nil, c.Invalid("the input is %v, want a float tensor", x)
	}
	return k, nil
}

// poolPlanes is a pool's input as independent planes: images × channels of
// single elements, or images × blocks of 16 elements.
func poolPlanes(x Type) (planes, lanes int) {
	p := x.Physical()
	if x.Layout == Blocked {
		return p[0] * p[1], Block
	}
	return p[0] * p[1], 1
}

func bindMaxPool[T float32 | float64 | int8 | uint8](k *Kernel, w *window, x Type, indices, column bool, lowest T) {
	planes, lanes := poolPlanes(x)
	if w.separable() {
		k.WorkerScratch = w.separableScratch(storageSize(x.DType) * lanes)
	}
	k.Bind = func(m Memory) []Task {
		src, dst := Data[T](m.In[0]), Data[T](m.Out[0])
		tasks := slide(w, m, src, dst, planes, lanes, lowest, maxInto[T], nil)
		if indices {
			offsets, _, _ := w.rows(&m)
			tasks = append(tasks, maxIndices(w, src, dst, Data[int64](m.Out[1]), offsets, planes, column, m.Stopped))
		}
		return tasks
	}
}

// slide pools the windows of every plane. into joins what is pooled, beginning with
// start; finish, if any, ends an output row.
func slide[T ~float32 | ~float64 | ~int8 | ~uint8](w *window, m Memory, src, dst []T, planes, lanes int, start T,
	into func(y, x []T, lanes, stride int), finish func(y []T, r int)) []Task {
	if w.separable() {
		return separablePool(w, m, src, dst, planes, lanes, start, into, finish)
	}
	last := len(w.in) - 1
	inPlane, outPlane := elems(w.in)*lanes, elems(w.out)*lanes
	offsets, rows, taps := w.rows(&m)
	row := w.out[last]
	parts, step := divide(planes*rows, float64(w.taps())*(8+0.15*float64(row*lanes)))
	return []Task{{parts, func(part, _ int) {
		lo, hi := bounds(part, step, planes*rows)
		p := m.pace()
		for i := lo; i < hi; i++ {
			plane, r := i/rows, i%rows
			in := src[plane*inPlane:][:inPlane]
			y := dst[plane*outPlane+r*row*lanes:][:row*lanes]
			fill(y, start)
			for t := range taps {
				off := int(offsets[r*taps+t])
				if off < 0 {
					continue
				}
				for kx := range w.kernel[last] {
					if p.over(8 + row*lanes/8) {
						return
					}
					a, b, first := w.span(kx)
					if a < b {
						x := in[(off+first+a*w.stride[last])*lanes:]
						into(y[a*lanes:b*lanes], x, lanes, w.stride[last])
					}
				}
			}
			if finish != nil {
				finish(y, r)
			}
		}
	}}}
}

// separable: the windows are rectangles of more than one row, so that a pool is
// one along the rows and then one along the columns.
func (w *window) separable() bool { return len(w.in) == 2 && w.kernel[0] > 1 }

// poolRows is the number of output rows in a part of a separable pool.
const poolRows = 16

// separableRows is the range of input rows that output rows [r0,r1) depend on.
func (w *window) separableRows(r0, r1 int) (lo, hi int) {
	lo = max(0, w.at(0, r0, 0))
	return lo, max(lo, min(w.in[0], w.at(0, r1-1, w.kernel[0]-1)+1))
}

// separableScratch is the memory of the pooled rows of a part, for pixels of
// that many bytes.
func (w *window) separableScratch(pixel int) int {
	rows := room(max(0, min(poolRows, w.out[0])-1), w.stride[0]) + room(w.kernel[0]-1, w.dilation[0]) + 1
	return room(min(rows, w.in[0]), w.out[1], pixel)
}

// separablePool pools along the rows into scratch memory, and from there along
// the columns. into joins what is pooled, beginning with start; finish, if any,
// ends an output row.
func separablePool[T ~float32 | ~float64 | ~int8 | ~uint8](w *window, m Memory, src, dst []T, planes, lanes int, start T,
	into func(y, x []T, lanes, stride int), finish func(y []T, r int)) []Task {
	inRow, outRow := w.in[1]*lanes, w.out[1]*lanes
	pieces := ceilDiv(w.out[0], poolRows)
	nothing := make([]T, outRow)
	for i := range nothing {
		nothing[i] = start
	}
	type tap struct{ lo, hi, first int }
	taps := make([]tap, w.kernel[1])
	for k := range taps {
		taps[k].lo, taps[k].hi, taps[k].first = w.span(k)
	}
	nanos := float64(w.kernel[0]+w.kernel[1]+1) * (8 + 0.05*float64(outRow)) * float64(min(poolRows, w.out[0]))
	parts, step := divide(planes*pieces, nanos)
	return []Task{{parts, func(part, worker int) {
		mid := scratchOf[T](m.Worker(worker), len(m.Worker(worker))/storageSize(dtypeOf[T]()))
		lo, hi := bounds(part, step, planes*pieces)
		p := m.pace()
		for i := lo; i < hi; i++ {
			plane, r0 := i/pieces, i%pieces*poolRows
			r1 := min(w.out[0], r0+poolRows)
			first, last := w.separableRows(r0, r1)
			for y := first; y < last; y++ {
				x := src[(plane*w.in[0]+y)*inRow:][:inRow]
				to := mid[(y-first)*outRow:][:outRow]
				copy(to, nothing)
				for _, t := range taps {
					if p.over(4 + outRow/8) {
						return
					}
					if t.lo < t.hi {
						into(to[t.lo*lanes:t.hi*lanes], x[(t.first+t.lo*w.stride[1])*lanes:], lanes, w.stride[1])
					}
				}
			}
			for r := r0; r < r1; r++ {
				to := dst[(plane*w.out[0]+r)*outRow:][:outRow]
				from := nothing
				for k := range w.kernel[0] {
					if p.over(4 + outRow/8) {
						return
					}
					if y := w.at(0, r, k); y >= first && y < last {
						if from != nil {
							from = nil
							copy(to, mid[(y-first)*outRow:])
							continue
						}
						into(to, mid[(y-first)*outRow:][:outRow], lanes, 1)
					}
				}
				if from != nil {
					copy(to, from)
				}
				if finish != nil {
					finish(to, r)
				}
			}
		}
	}}}
}

// maxInto is y[i] = max(y[i], x[i·stride]) for elements of some lanes. A NaN
// stays.
func maxInto[T float32 | float64 | int8 | uint8](y, x []T, lanes, stride int) {
	if stride == 1 {
		x = x[:len(y)]
		if y, ok := any(y).([]float32); ok {
			kernel.Max(y, y, any(x).([]float32))
			return
		}
		for i, v := range x {
			if v > y[i] || v != v {
				y[i] = v
			}
		}
		return
	}
	if lanes == 1 {
		for i := range y {
			if v := x[i*stride]; v > y[i] || v != v {
				y[i] = v
			}
		}
		return
	}
	if y, ok := any(y).([]float32); ok {
		eachPixel(kernel.Max, y, any(x).([]float32), lanes, stride)
		return
	}
	for i := 0; i < len(y); i += lanes {
		yy, xx := y[i:][:lanes], x[i*stride:][:lanes]
		for l, v := range xx {
			if v > yy[l] || v != v {
				yy[l] = v
			}
		}
	}
}

// eachPixel is y = f(y, x) for every stride'th pixel of x.
func eachPixel(f func(dst, a, b []float32), y, x []float32, lanes, stride int) {
	for i := 0; i < len(y); i += lanes {
		pixel := y[i:][:lanes]
		f(pixel, pixel, x[i*stride:][:lanes])
	}
}

// maxIndices finds where each maximum came from: the first element of the
// window that equals it, as an index into the whole input. storage_order 1
// counts the first spatial axis fastest.
func maxIndices[T float32 | float64 | int8 | uint8](w *window, src, dst []T, index []int64, offsets []int32, planes int, column bool, stopped func() bool) Task {
	last := len(w.in) - 1
	inPlane, rows, taps, row := elems(w.in), elems(w.out[:last]), elems(w.kernel[:last]), w.out[last]
	parts, step := divide(planes*rows, float64(row*w.taps()))
	return Task{parts, func(part, _ int) {
		p := pace{stopped, paceWork}
		lo, hi := bounds(part, step, planes*rows)
		for i := lo; i < hi; i++ {
			plane, r := i/rows, i%rows
			in := src[plane*inPlane:][:inPlane]
			for o := range row {
				best := dst[i*row+o]
				at := -1
			search:
				for t := range taps {
					off := int(offsets[r*taps+t])
					if p.over(2 + w.kernel[last]) {
						return
					}
					if off < 0 {
						continue
					}
					for kx := range w.kernel[last] {
						x := w.at(last, o, kx)
						if x < 0 || x >= w.in[last] {
							continue
						}
						if v := in[off+x]; v == best || v != v {
							at = off + x
							break search
						}
					}
				}
				if column && at >= 0 {
					at = w.columnMajor(at)
				}
				index[i*row+o] = int64(plane*inPlane + at)
			}
		}
	}}
}

// columnMajor turns an index that counts the last axis fastest into one that
// counts the first axis fastest.
func (w *window) columnMajor(at int) int {
	out := 0
	for d := len(w.in) - 1; d >= 0; d-- {
		out = out*w.in[d] + at%w.in[d]
		at /= w.in[d]
	}
	return out
}

// lanewiseTaps bounds the windows for which the mean is a convolution.
const lanewiseTaps = 64

// meanNanos is about the time for a row of a block of means.
func meanNanos(w *window) float64 { return float64(w.taps()*w.out[len(w.out)-1]) / 2 }

// bindMeans is AveragePool of windows that lie inside the input, as a convolution of
// every channel by itself: the sum over a window, times one over its size.
func bindMeans(k *Kernel, w *window, x Type) {
	given := kernel.Depthwise{C: x.Shape[1], Scale: float32(1 / float64(w.taps())), Window: w.kernels()}
	given.PD, given.PH, given.PW = volume(w.in, 1) // without the padding that no window reads
	k.Algo, k.Tables = "lanewise", room(4*Block, kernel.Blocks(given.C), w.taps())+room(8, w.taps())
	k.Bind = func(m Memory) []Task {
		src, dst := Data[float32](m.In[0]), Data[float32](m.Out[0])
		if len(dst) == 0 {
			return nil
		}
		g := given
		g.Init()
		ones := slices.Repeat([]float32{1}, g.PackedLen())
		blocks := kernel.Blocks(g.C)
		_, rows := divide(g.Rows(), meanNanos(w))
		pieces := ceilDiv(g.Rows(), rows)
		parts, step := divide(x.Shape[0]*blocks*pieces, float64(rows)*meanNanos(w))
		return []Task{{parts, func(part, _ int) {
			lo, hi := bounds(part, step, x.Shape[0]*blocks*pieces)
			for i := lo; i < hi; i++ {
				n, b, y := i/(blocks*pieces), i/pieces%blocks, i%pieces*rows
				g.Run(dst[n*g.DstLen():], src[n*g.SrcLen():], ones, nil, nil, b, b+1, y, min(g.Rows(), y+rows), kernel.ActNone)
			}
		}}}
	}
}

func bindAveragePool[T float](k *Kernel, w *window, x Type, includePad bool) {
	planes, lanes := poolPlanes(x)
	if w.separable() {
		k.WorkerScratch = w.separableScratch(storageSize(x.DType) * lanes)
	}
	k.Bind = func(m Memory) []Task {
		src, dst := Data[T](m.In[0]), Data[T](m.Out[0])
		last := len(w.in) - 1
		// The number of elements that count is a product over the axes.
		rowCount, colCount := make([]T, elems(w.out[:last])), make([]T, w.out[last])
		for r := range rowCount {
			rowCount[r] = 1
			rest := r
			for d := last - 1; d >= 0; d-- {
				rowCount[r] *= T(w.count(d, rest%w.out[d], includePad))
				rest /= w.out[d]
			}
		}
		for o := range colCount {
			colCount[o] = T(w.count(last, o, includePad))
		}
		average := func(y []T, r int) {
			for o := 0; o < len(colCount); {
				first := o
				for o++; o < len(colCount) && colCount[o] == colCount[first]; o++ {
				}
				if n := colCount[first] * rowCount[r]; n > 0 { // else windows of nothing but padding
					divideBy(y[first*lanes:o*lanes], n)
				}
			}
		}
		return slide(w, m, src, dst, planes, lanes, 0, addInto[T], average)
	}
}

func divideBy[T float](y []T, n T) {
	if y, ok := any(y).([]float32); ok {
		kernel.DivScalar(y, y, float32(n))
		return
	}
	for i := range y {
		y[i] /= n
	}
}

// addInto is y[i] += x[i·stride] for elements of some lanes.
func addInto[T float](y, x []T, lanes, stride int) {
	if stride == 1 {
		x = x[:len(y)]
		if y, ok := any(y).([]float32); ok {
			kernel.Add(y, y, any(x).([]float32))
			return
		}
		for i, v := range x {
			y[i] += v
		}
		return
	}
	if lanes == 1 {
		for i := range y {
			y[i] += x[i*stride]
		}
		return
	}
	if y, ok := any(y).([]float32); ok {
		eachPixel(kernel.Add, y, any(x).([]float32), lanes, stride)
		return
	}
	for i := 0; i < len(y); i += lanes {
		yy, xx := y[i:][:lanes], x[i*stride:][:lanes]
		for l, v := range xx {
			yy[l] += v
		}
	}
}

// count is how many taps of the window at output coordinate o of axis d lie
// inside the input or, with the padding, inside the padded input. What
// ceil_mode adds beyond that never counts.
func (w *window) count(d, o int, includePad bool) int {
	lo, hi := 0, w.in[d]
	if includePad {
		lo, hi = -w.begin[d], w.in[d]+w.end[d]
	}
	first := w.at(d, o, 0)
	before := func(end int) int { // taps that lie before end
		return min(w.kernel[d], max(0, ceilDiv(end-first, w.dilation[d])))
	}
	return before(hi) - before(lo)
}

// lowerGlobalPool is GlobalAveragePool and GlobalMaxPool: all spatial axes to one.
func lowerGlobalPool(c *Call) (*Kernel, error) {
	x := c.In[0].Type
	if len(x.Shape) < 2 {
		return nil, c.Invalid("the input has shape %v, want at least 2 axes", x.Shape)
	}
	out := Type{DType: x.DType, Shape: append([]int(nil), x.Shape...)}
	for i := range out.Shape[2:] {
		out.Shape[2+i] = 1
	}
	k := &Kernel{Out: []Type{out}, FLOPs: float64(x.Elems())}
	planes, space := elems(x.Shape[:2]), elems(x.Shape[2:])
	if space == 0 && planes > 0 {
		return nil, c.Invalid("there is nothing to pool in %v", x.Shape)
	}
	maximum := c.Node.Op == "GlobalMaxPool"
	switch {
	case IsFloat32(x.DType):
		bindGlobalPool[float32](k, planes, space, maximum)
	case x.DType == onnx.Double:
		bindGlobalPool[float64](k, planes, space, maximum)
	default:
		return nil, c.Invalid("the input is %v, want a float tensor", x)
	}
	return k, nil
}

func bindGlobalPool[T float](k *Kernel, planes, space int, maximum bool) {
	k.Bind = func(m Memory) []Task {
		src, dst := Data[T](m.In[0]), Data[T](m.Out[0])
		parts, step := divide(planes, 0.5*float64(space))
		return []Task{{parts, func(part, _ int) {
			lo, hi := bounds(part, step, planes)
			for p := lo; p < hi; p++ {
				x := src[p*space:][:space]
				if maximum {
					best := x[0]
					for _, v := range x {
						if v > best || v != v {
							best = v
						}
					}
					dst[p] = best
					continue
				}
				sum := 0.0
				for _, v := range x {
					sum += float64(v)
				}
				dst[p] = T(sum / float64(space))
			}
		}}}
	}
}
