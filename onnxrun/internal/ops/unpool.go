package ops

import (
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
)

// lowerMaxUnpool puts numbers back where MaxPool says it took them from, and
// zeros elsewhere.
func lowerMaxUnpool(c *Call) (*Kernel, error) {
	if err := c.want(0, isStored, "a numeric type or bool"); err != nil {
		return nil, err
	}
	x := c.In[0].Type
	n := len(x.Shape) - 2
	if c.In[1].DType != onnx.Int64 || !slices.Equal(c.In[1].Shape, x.Shape) {
		return nil, c.Invalid("the indices are %v, want int64%v", c.In[1].Type, x.Shape)
	}
	size := c.Ints("kernel_shape")
	if n < 1 || len(size) != n {
		return nil, c.Invalid("kernel_shape is %v for %v, want a number for each axis after the first two", size, x)
	}
	step, err := positives(c, "strides", n)
	if err != nil {
		return nil, err
	}
	begin, end, err := padding(c, n, "NOTSET")
	if err != nil {
		return nil, err
	}
	// The indices count within the shape that was pooled, as far as it can be
	// told; the output may be larger.
	pooled := slices.Clone(x.Shape)
	for i := range n {
		if size[i] < 1 || size[i] > maxElems {
			return nil, c.Invalid("kernel_shape is %v, want numbers from 1 to %d", size, maxElems)
		}
		pooled[2+i] = room(x.Shape[2+i], step[i]) - step[i] + size[i] - begin[i] - end[i]
		if pooled[2+i] < 0 {
			return nil, c.Invalid("the windows %v of %v do not fit", size, x)
		}
	}
	if err := c.checkSize(Type{Shape: pooled}); err != nil {
		return nil, err
	}
	shape := pooled
	if given, err := c.ConstInts(2); err != nil {
		return nil, err
	} else if given != nil {
		shape = given
	}
	if len(shape) != len(pooled) {
		return nil, c.Invalid("the output is to have shape %v, want %d dimensions", shape, len(pooled))
	}
	for i, d := range shape {
		if d < pooled[i] || d > maxElems {
			return nil, c.Invalid("the output is to have shape %v, want at least %v", shape, pooled)
		}
	}
	out := Type{DType: x.DType, Shape: shape}
	from, to := strides(pooled), strides(shape)
	index := indexer{c.Node.Where(), elems(pooled), 1}
	return &Kernel{Out: []Type{out}, Bind: func(m Memory) []Task {
		at := Data[int64](m.In[1])
		s := storageSize(x.DType)
		dst, src := m.Out[0].mem, m.In[0].mem
		return Serial(func() {
			clear(dst)
			p := m.pace()
			for i, v := range at {
				if p.over(16) {
					return
				}
				rest, off := index.offset(v), 0
				for d := range from {
					off += rest / from[d] * to[d]
					rest %= from[d]
				}
				copy(dst[off*s:][:s], src[i*s:][:s])
			}
		})
	}}, nil
}

// lowerCol2Im adds columns, each the flattened block of a position, back into an
// image.
func lowerCol2Im(c *Call) (*Kernel, error) {
	if err := c.want(0, isFloat, "a float type"); err != nil {
		return nil, err
	}
	x := c.In[0].Type
	image, err := c.ConstInts(1)
	if err != nil {
		return nil, err
	}
	block, err := c.ConstInts(2)
	if err != nil {
		return nil, err
	}
	if len(image) == 0 || len(block) != len(image) || len(x.Shape) != 3 {
		return nil, c.Invalid("puts blocks of %v, %v, into an image of %v", block, x, image)
	}
	for _, d := range image {
		if d < 1 || d > maxElems {
			return nil, c.Invalid("the image has shape %v, want numbers from 1 to %d", image, maxElems)
		}
	}
	w, err := newWindow(c, image, block, false)
	if err != nil {
		return nil, err
	}
	taps := 1
	for _, b := range block {
		if b > maxElems/taps {
			return nil, c.Invalid("blocks are %v, want at most %d elements", block, maxElems)
		}
		taps *= b
	}
	if x.Shape[1]%taps != 0 || x.Shape[2] != elems(w.out) {
		return nil, c.Invalid("puts blocks of %v, %v, into an image of %v", block, x, image)
	}
	channels := x.Shape[1] / taps
	out := Type{DType: x.DType, Shape: slices.Concat([]int{x.Shape[0], channels}, image)}
	return &Kernel{Out: []Type{out}, FLOPs: float64(x.Elems()), Bind: func(m Memory) []Task {
		if x.DType == onnx.Double {
			return col2im[float64](m, w, channels)
		}
		return col2im[float32](m, w, channels)
	}}, nil
}

func col2im[T float](m Memory, w *window, channels int) []Task {
	dst, src := Data[T](m.Out[0]), Data[T](m.In[0])
	taps, plane, places := w.taps(), elems(w.in), elems(w.out)
	st := strides(w.in)
	return eachRow(m.Out[0].Shape[0]*channels, taps*places*4, func(r, _ int) {
		image := dst[r*plane:][:plane]
		clear(image)
		pace := m.pace()
		for t := range taps {
			for o := range places {
				if pace.over(16) {
					return
				}
				if off := w.offset(o, t, st); off >= 0 {
					image[off] += src[(r*taps+t)*places+o]
				}
			}
		}
	})
}
