package ops

import "sampleonnx/onnxrun/internal/kernel"

// convTable says which input element each tap of the window at each output
// position reads: an offset into one channel's plane, −1 for zero.
type convTable func(p int, taps []int32)

// gatherTiles is a convTable for all output positions, cut into tiles of
// columns; a tile holds tap after tap.
type gatherTiles struct {
	taps, cols, tile int // windows, output positions, positions in a tile
	offsets          []int32
}

func newGatherTiles(w *window, table convTable, channels int, m *Memory) *gatherTiles {
	t := &gatherTiles{taps: w.taps(), cols: elems(w.out)}
	t.tile = gatherTile(channels*t.taps, t.cols)
	t.offsets = make([]int32, t.taps*t.cols)
	one := make([]int32, t.taps)
	pace := m.pace()
	for p := range t.cols {
		if pace.over(16 * t.taps) {
			break
		}
		table(p, one)
		first := p / t.tile * t.tile
		n := min(t.tile, t.cols-first)
		for i, o := range one {
			t.offsets[first*t.taps+i*n+p-first] = o
		}
	}
	return t
}

// gatherTile is the number of columns gathered at a time: whole panels, as many
// as stay in the second-level cache beside the rows that multiply them.
func gatherTile(k, cols int) int {
	const floats = 96 << 10 // 384 KiB
	panels := max(1, floats/(max(1, k)*kernel.PanelCols))
	return max(1, min(panels, kernel.Panels(cols))) * kernel.PanelCols
}

// table is the convTable of a convolution.
func (w *window) table() convTable {
	step := strides(w.in)
	return func(p int, taps []int32) {
		for t := range taps {
			off, po, to := 0, p, t
			for d := len(w.in) - 1; d >= 0; d-- {
				i := w.at(d, po%w.out[d], to%w.kernel[d])
				po /= w.out[d]
				to /= w.kernel[d]
				if i < 0 || i >= w.in[d] {
					off = -1
					break
				}
				off += i * step[d]
			}
			taps[t] = int32(off)
		}
	}
}

// bindGather multiplies the weights, as a matrix [oc/groups, ic/groups·taps] for
// each group, by the matrix of all windows, tile by tile. prepare gives that
// matrix and the tasks that make it.
func (v *conv) bindGather(k *Kernel, prepare func(w *Tensor, scratch []byte) ([]float32, []Task)) {
	v.bindGatherTable(k, v.w.table(), prepare)
}

func (v *conv) bindGatherTable(k *Kernel, table convTable, prepare func(w *Tensor, scratch []byte) ([]float32, []Task)) {
	icg, ocg := v.ic/v.groups, v.oc/v.groups
	depth := icg * v.w.taps()
	space, cols := elems(v.w.in), elems(v.w.out)
	tile := gatherTile(depth, cols)
	k.Algo = "gemm"
	k.WorkerScratch = room(4, packedLen(depth, min(tile, cols)))
	k.Tables = room(4, v.w.taps(), cols+1)
	k.Bind = func(m Memory) []Task {
		weights, tasks := prepare(m.In[1], m.Shared())
		src, dst := Data[float32](m.In[0]), Data[float32](m.Out[0])
		if len(dst) == 0 {
			return nil
		}
		bias := v.biasOf(m)
		t := newGatherTiles(v.w, table, icg, &m)
		// A piece gathers a tile and multiplies it by some of the rows: enough
		// of them to outweigh the gathering, and of deep ones no more than a part may
		// take before it is asked whether to go on.
		rows := min(128, max(1, 1<<26/max(1, depth)))
		tiles, rowPieces := ceilDiv(cols, tile), ceilDiv(ocg, rows)
		pieces := v.n * v.groups * tiles * rowPieces
		nanos := float64(depth*min(tile, cols)) * (1 + float64(min(rows, ocg))/30)
		parts, step := divide(pieces, nanos)
		return append(tasks, Task{parts, func(part, worker int) {
			panels := Floats(m.Worker(worker), kernel.PackedLen(depth, min(tile, cols)))
			lo, hi := bounds(part, step, pieces)
			for i := lo; i < hi; i++ {
				r0, rest := i%rowPieces*rows, i/rowPieces
				p0, plane := rest%tiles*tile, rest/tiles // plane: image·groups + group
				n := min(tile, cols-p0)
				if depth > 0 {
					kernel.GatherPanels(panels, src[plane*icg*space:][:icg*space],
						t.offsets[p0*t.taps:][:n*t.taps], icg, space, t.taps, 0, n)
				}
				r1 := min(ocg, r0+rows)
				out := dst[(plane*ocg+r0)*cols+p0:]
				group := plane % v.groups
				for r := r0; r < r1; r++ {
					var b float32
					if bias != nil {
						b = bias[group*ocg+r]
					}
					row := out[(r-r0)*cols:][:n]
					for j := range row {
						row[j] = b
					}
				}
				if depth > 0 {
					kernel.Gemm(out, cols, weights[(group*ocg+r0)*depth:], depth, panels, r1-r0, n, depth, nil, true)
				}
			}
		}})
	}
}

// bindPointwise multiplies the weights by the channels of each image.
func (v *conv) bindPointwise(k *Kernel) {
	icg, ocg, space := v.ic/v.groups, v.oc/v.groups, elems(v.w.in)
	planes := v.n * v.groups
	p := &product{
		m: ocg, n: space, k: icg, lda: icg, ldb: space, ldc: space,
		a: evenly(v.groups, ocg*icg), b: evenly(planes, icg*space), c: evenly(planes, ocg*space),
		aOf: newSpread([]int{v.n, v.groups}, []int{0, 1}), bOf: evenly(planes, 1),
	}
	k.Algo = "pointwise"
	k.Scratch = p.scratch(false)
	k.Bind = func(m Memory) []Task {
		dst := Data[float32](m.Out[0])
		var after func(batch, i0, i1, j0, j1 int)
		if bias := v.biasOf(m); bias != nil {
			after = func(batch, i0, i1, j0, j1 int) {
				for i := i0; i < i1; i++ {
					row := dst[(batch*ocg+i)*space:][j0:j1]
					kernel.AddScalar(row, row, bias[batch%v.groups*ocg+i])
				}
			}
		}
		return p.tasks(dst, Data[float32](m.In[1]), Data[float32](m.In[0]), nil, nil, m.Shared(), after)
	}
}

// bindDepthwise adds up the taps row by row: a row of output gets a row of
// input times a weight.
func (v *conv) bindDepthwise(k *Kernel) {
	w := v.w
	last := len(w.in) - 1
	per := v.oc / v.groups
	space, cols, row := elems(w.in), elems(w.out), w.out[last]
	k.Algo = "depthwise"
	k.Tables = min(w.rowBytes()+room(24, w.kernel[last]), unbounded)
	k.Bind = func(m Memory) []Task {
		src, weights, dst := Data[float32](m.In[0]), Data[float32](m.In[1]), Data[float32](m.Out[0])
		if len(dst) == 0 {
			return nil
		}
		bias := v.biasOf(m)
		offsets, rows, taps := w.rows(&m)
		width, stride := w.kernel[last], w.stride[last]
		type tap struct{ lo, hi, first int }
		spans := make([]tap, width)
		for i := range spans {
			spans[i].lo, spans[i].hi, spans[i].first = w.span(i)
		}
		items := v.n * v.oc * rows
		parts, step := divide(items, float64(w.taps())*(6+0.2*float64(row)))
		return []Task{{parts, func(part, _ int) {
			lo, hi := bounds(part, step, items)
			p := m.pace()
			for i := lo; i < hi; i++ {
				o, r := i/rows, i%rows // o: image·oc + channel
				n, ch := o/v.oc, o%v.oc
				x := src[(n*v.ic+ch/per)*space:][:space]
				f := weights[ch*w.taps():][:w.taps()]
				y := dst[o*cols+r*row:][:row]
				var b float32
				if bias != nil {
					b = bias[ch]
				}
				for j := range y {
					y[j] = b
				}
				for t := range taps {
					off := int(offsets[r*taps+t])
					if off < 0 {
						continue
					}
					for kx, s := range spans {
						if s.lo >= s.hi {
							continue
						}
						if p.over(8 + row/4) {
							return
						}
						from := x[off+s.first+s.lo*stride:]
						weight := f[t*width+kx]
						to := y[s.lo:s.hi]
						if stride == 1 {
							kernel.Axpy(to, from[:len(to)], weight)
							continue
						}
						for j := range to {
							to[j] += float32(weight * from[j*stride])
						}
					}
				}
			}
		}}}
	}
}

// bindLoops is the convolution of float64, as it is defined.
func (v *conv) bindLoops(k *Kernel) {
	v.bindLoopsTable(k, v.w.table(), func(w []float64, group, o, i, t int) float64 {
		icg, taps := v.ic/v.groups, v.w.taps()
		return w[((group*v.oc/v.groups+o)*icg+i)*taps+t]
	})
}

func (v *conv) bindLoopsTable(k *Kernel, table convTable, weight func(w []float64, group, o, i, t int) float64) {
	icg, ocg := v.ic/v.groups, v.oc/v.groups
	space, cols, taps := elems(v.w.in), elems(v.w.out), v.w.taps()
	k.Algo = "loops"
	k.Tables = room(4, taps, cols)
	k.Bind = func(m Memory) []Task {
		src, weights, dst := Data[float64](m.In[0]), Data[float64](m.In[1]), Data[float64](m.Out[0])
		if len(dst) == 0 {
			return nil
		}
		var bias []float64
		if v.bias {
			bias = Data[float64](m.In[2])
		}
		offsets := make([]int32, cols*taps)
		binding := m.pace()
		for p := range cols {
			if binding.over(16 * taps) {
				return nil
			}
			table(p, offsets[p*taps:][:taps])
		}
		items := v.n * v.oc
		parts, step := divide(items, 2*float64(cols*icg*taps))
		return []Task{{parts, func(part, _ int) {
			lo, hi := bounds(part, step, items)
			pace := m.pace()
			for o := lo; o < hi; o++ {
				n, ch := o/v.oc, o%v.oc
				group := ch / ocg
				x := src[(n*v.ic+group*icg)*space:]
				for p := range cols {
					sum := 0.0
					if bias != nil {
						sum = bias[ch]
					}
					for i := range icg {
						if pace.over(4 * taps) {
							return
						}
						for t, off := range offsets[p*taps:][:taps] {
							if off >= 0 {
								sum += weight(weights, group, ch%ocg, i, t) * x[i*space+int(off)]
							}
						}
					}
					dst[o*cols+p] = sum
				}
			}
		}}}
	}
}
