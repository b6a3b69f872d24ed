package ops

import (
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
)

// lowerConvTranspose is the transpose of Conv. Each output position gathers
// from the input: tap k of output o reads input (o + pad − k·dilation)/stride
// where that is a whole number inside the input. So seen it is a convolution
// with another table of offsets and the weights' channels exchanged: it is done like
// that where phases (convphases.go) do not apply.
func lowerConvTranspose(c *Call) (*Kernel, error) {
	v, err := newConvTranspose(c)
	if err != nil {
		return nil, err
	}
	w := v.w
	icg, ocg, taps := v.ic/v.groups, v.oc/v.groups, w.taps()
	out := Type{DType: v.x.DType, Shape: append([]int{v.n, v.oc}, w.out...)}
	k := &Kernel{Out: []Type{out}, FLOPs: 2 * float64(v.x.Elems()) * float64(ocg*taps)}
	if p := newPhased(v); p != nil {
		k.Out[0].Layout = Blocked
		p.bind(k, c)
		return k, nil
	}
	if v.x.Layout == Blocked {
		return nil, c.Invalid("a blocked input to a transposed convolution that is not direct")
	}
	switch {
	case !IsFloat32(v.x.DType):
		v.bindLoopsTable(k, w.transposedTable(), func(f []float64, group, o, i, t int) float64 {
			return f[((group*icg+i)*ocg+o)*taps+t]
		})
	case v.depthwise():
		v.bindDepthwiseTable(k, w.transposedTable())
	default:
		constant, packs := c.In[1].Const, c.Packs
		size := v.oc * icg * taps
		if constant == nil {
			k.Scratch = room(4, size)
		}
		v.bindGatherTable(k, w.transposedTable(), func(f *Tensor, scratch []byte) ([]float32, []Task) {
			if constant != nil {
				return packs.Get(constant, "transposed groups", size, func(dst []float32) {
					exchange(dst, Data[float32](constant), v.groups, icg, ocg, taps)
				}), nil
			}
			dst := Floats(scratch, size)
			return dst, Serial(func() { exchange(dst, Data[float32](f), v.groups, icg, ocg, taps) })
		})
	}
	return k, nil
}

// exchange turns weights [groups][ic][oc][taps] into [groups][oc][ic][taps].
func exchange(dst, src []float32, groups, ic, oc, taps int) {
	for g := range groups {
		for i := range ic {
			for o := range oc {
				copy(dst[((g*oc+o)*ic+i)*taps:][:taps], src[((g*ic+i)*oc+o)*taps:][:taps])
			}
		}
	}
}

func newConvTranspose(c *Call) (*conv, error) {
	x, f := c.In[0].Type, c.In[1].Type
	rank := len(x.Shape)
	if rank < 3 || len(f.Shape) != rank {
		return nil, c.Invalid("the input has shape %v and the weights %v, want equal ranks of at least 3", x.Shape, f.Shape)
	}
	if !IsFloat32(x.DType) && x.DType != onnx.Double {
		return nil, c.Invalid("the input is %v, want a float tensor", x.DType)
	}
	if f.DType != x.DType || c.Has(2) && c.In[2].DType != x.DType {
		return nil, c.Invalid("the input is %v, the weights %v, want one type for all inputs", x.DType, f.DType)
	}
	v := &conv{x: x, n: x.Shape[0], ic: x.Shape[1], groups: c.Int("group", 1), constant: c.In[1].Const != nil, bias: c.Has(2)}
	if v.groups < 1 || v.ic%v.groups != 0 || f.Shape[0] != v.ic {
		return nil, c.Invalid("group is %d, want one that divides the %d channels of the input and fits weights of shape %v", v.groups, v.ic, f.Shape)
	}
	v.oc = f.Shape[1] * v.groups
	if v.bias && !slices.Equal(c.In[2].Shape, []int{v.oc}) {
		return nil, c.Invalid("the bias has shape %v, want [%d]", c.In[2].Shape, v.oc)
	}
	kernel := f.Shape[2:]
	if given := c.Ints("kernel_shape"); given != nil && !slices.Equal(given, kernel) {
		return nil, c.Invalid("kernel_shape is %v, the weights have %v", given, kernel)
	}
	var err error
	if v.w, err = newTransposedWindow(c, x.Shape[2:], kernel); err != nil {
		return nil, err
	}
	if err := v.w.check(c, v.n, (v.ic+Block-1)&^(Block-1), (v.oc+Block-1)&^(Block-1)); err != nil {
		return nil, err
	}
	return v, nil
}

// newTransposedWindow: the output size follows from the pads, or with
// output_shape or auto_pad SAME the pads from the output size.
func newTransposedWindow(c *Call, in, kernel []int) (*window, error) {
	n := len(in)
	w := &window{in: in, out: make([]int, n), kernel: kernel}
	var err error
	if w.stride, err = positives(c, "strides", n); err != nil {
		return nil, err
	}
	if w.dilation, err = positives(c, "dilations", n); err != nil {
		return nil, err
	}
	auto := c.Str("auto_pad", "NOTSET")
	if auto == "" {
		auto = "NOTSET"
	}
	if w.begin, w.end, err = padding(c, n, auto); err != nil {
		return nil, err
	}
	extra := c.Ints("output_padding")
	if len(extra) == 0 {
		extra = make([]int, n)
	}
	if len(extra) != n {
		return nil, c.Invalid("output_padding has %d elements, want %d", len(extra), n)
	}
	shape := c.Ints("output_shape")
	if len(shape) == n+2 {
		shape = shape[2:] // some exporters write the batch and the channels too
	}
	if len(shape) != 0 && len(shape) != n {
		return nil, c.Invalid("output_shape has %d elements, want %d", len(shape), n)
	}
	for i := range in {
		if kernel[i] < 1 || extra[i] < 0 || extra[i] > maxElems {
			return nil, c.Invalid("kernel_shape is %v and output_padding %v, want numbers from 1 and from 0 to %d", kernel, extra, maxElems)
		}
		full := room(w.stride[i], in[i]) - w.stride[i] + extra[i] + room(kernel[i]-1, w.dilation[i]) + 1
		size := 0
		switch {
		case len(shape) != 0:
			size = shape[i]
		case auto == "SAME_UPPER" || auto == "SAME_LOWER":
			size = room(in[i], w.stride[i])
		default:
			w.out[i] = full - w.begin[i] - w.end[i]
			if in[i] == 0 {
				w.out[i] = max(0, w.out[i])
			}
			if w.out[i] < 0 || in[i] > 0 && w.out[i] == 0 {
				return nil, c.Invalid("axis %d has no output: %d less pads %d and %d", i+2, full, w.begin[i], w.end[i])
			}
			continue
		}
		if size < 1 || size > maxElems {
			return nil, c.Invalid("axis %d of the output has %d elements, want 1 to %d", i+2, size, maxElems)
		}
		w.out[i] = size
		total := max(0, full-size)
		w.begin[i] = total - total/2
		if auto == "SAME_UPPER" {
			w.begin[i] = total / 2
		}
		w.end[i] = total - w.begin[i]
	}
	return w, nil
}

// transposedTable is the convTable of a transposed convolution.
func (w *window) transposedTable() convTable {
	step := strides(w.in)
	return func(p int, taps []int32) {
		for t := range taps {
			off, po, to := 0, p, t
			for d := len(w.in) - 1; d >= 0; d-- {
				i := po%w.out[d] + w.begin[d] - to%w.kernel[d]*w.dilation[d]
				po /= w.out[d]
				to /= w.kernel[d]
				if i < 0 || i%w.stride[d] != 0 || i/w.stride[d] >= w.in[d] {
					off = -1
					break
				}
				off += i / w.stride[d] * step[d]
			}
			taps[t] = int32(off)
		}
	}
}

// bindDepthwiseTable adds up the taps of each output element that read
// something: of a window with strides most read nothing, so the table keeps
// only those that do.
func (v *conv) bindDepthwiseTable(k *Kernel, table convTable) {
	per := v.oc / v.groups
	space, cols, taps := elems(v.w.in), elems(v.w.out), v.w.taps()
	k.Algo = "depthwise"
	// Each element of the input goes to one output by each tap, or to none.
	most := room(min(space, cols), taps)
	k.Tables = min(room(8, most)+room(8, cols)+room(4, taps), unbounded)
	k.Bind = func(m Memory) []Task {
		src, weights, dst := Data[float32](m.In[0]), Data[float32](m.In[1]), Data[float32](m.Out[0])
		if len(dst) == 0 {
			return nil
		}
		bias := v.biasOf(m)
		type term struct{ tap, at int32 }
		terms := make([]term, 0, most)
		ends := make([]int, cols)
		one := make([]int32, taps)
		binding := m.pace()
		for p := range cols {
			if binding.over(16 * taps) {
				return nil
			}
			table(p, one)
			for t, o := range one {
				if o >= 0 {
					terms = append(terms, term{int32(t), o})
				}
			}
			ends[p] = len(terms)
		}
		items := v.n * v.oc
		parts, step := divide(items, 2*float64(cols)+float64(len(terms)))
		return []Task{{parts, func(part, _ int) {
			lo, hi := bounds(part, step, items)
			pace := m.pace()
			for o := lo; o < hi; o++ {
				n, ch := o/v.oc, o%v.oc
				x := src[(n*v.ic+ch/per)*space:][:space]
				f := weights[ch*taps:][:taps]
				y := dst[o*cols:][:cols]
				var b float32
				if bias != nil {
					b = bias[ch]
				}
				first := 0
				for p, end := range ends {
					if pace.over(4 + end - first) {
						return
					}
					sum := b
					for _, t := range terms[first:end] {
						sum += float32(f[t.tap] * x[t.at])
					}
					y[p] = sum
					first = end
				}
			}
		}}}
	}
}
