package ops

import (
	"math"
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
)

// The operators of this file divide by, or are, a norm over neighbours.

// lowerLpPool is LpPool and GlobalLpPool: (∑ |x|^p)^(1/p) over a window.
func lowerLpPool(c *Call) (*Kernel, error) {
	if err := c.want(0, isFloat, "a float type"); err != nil {
		return nil, err
	}
	x := c.In[0].Type
	if len(x.Shape) < 3 {
		return nil, c.Invalid("the input has shape %v, want at least 3 axes", x.Shape)
	}
	p := float64(c.Int("p", 2))
	if a := c.Node.Attrs["p"]; a.Kind == onnx.AttrFloat {
		p = float64(a.Float)
	}
	if !(p > 0) {
		return nil, c.Invalid("p is %v, want a positive number", p)
	}
	size := c.Ints("kernel_shape")
	if c.Node.Op == "GlobalLpPool" {
		size = x.Shape[2:]
	}
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
	out := Type{DType: x.DType, Shape: slices.Concat(x.Shape[:2], w.out)}
	return &Kernel{Out: []Type{out}, FLOPs: 2 * float64(out.Elems()) * float64(w.taps()), Bind: func(m Memory) []Task {
		if x.DType == onnx.Double {
			return lpPool[float64](m, w, p)
		}
		return lpPool[float32](m, w, p)
	}}, nil
}

func lpPool[T float](m Memory, w *window, p float64) []Task {
	dst, src := Data[T](m.Out[0]), Data[T](m.In[0])
	taps, inPlane, outPlane := w.taps(), elems(w.in), elems(w.out)
	st := strides(w.in)
	if outPlane == 0 {
		return nil
	}
	return eachRow(len(dst), 8*taps, func(i, _ int) {
		sum := 0.0
		plane := src[i/outPlane*inPlane:]
		pace := m.pace()
		for t := range taps {
			if pace.over(16) {
				return
			}
			if off := w.offset(i%outPlane, t, st); off >= 0 {
				sum += powAbs(float64(plane[off]), p)
			}
		}
		dst[i] = T(rootOf(sum, p))
	})
}

// offset is where tap t of the window at output o lies in a plane with strides
// st; -1 in the padding.
func (w *window) offset(o, t int, st []int) int {
	off := 0
	for d := len(w.in) - 1; d >= 0; d-- {
		p := w.at(d, o%w.out[d], t%w.kernel[d])
		o /= w.out[d]
		t /= w.kernel[d]
		if p < 0 || p >= w.in[d] {
			return -1
		}
		off += p * st[d]
	}
	return off
}

func powAbs(x, p float64) float64 {
	switch p {
	case 1:
		return math.Abs(x)
	case 2:
		return x * x
	}
	return math.Pow(math.Abs(x), p)
}

func rootOf(x, p float64) float64 {
	switch p {
	case 1:
		return x
	case 2:
		return math.Sqrt(x)
	}
	return math.Pow(x, 1/p)
}

// lowerLpNormalization divides every row along an axis by its norm; a row of
// zeros stays.
func lowerLpNormalization(c *Call) (*Kernel, error) {
	if err := c.want(0, isFloat, "a float type"); err != nil {
		return nil, err
	}
	t := c.In[0].Type
	axis, err := c.Axis(c.Int("axis", -1), len(t.Shape))
	if err != nil {
		return nil, err
	}
	p := float64(c.Int("p", 2))
	if p != 1 && p != 2 {
		return nil, c.Invalid("p is %v, want 1 or 2", p)
	}
	return &Kernel{Out: []Type{t}, InPlace: []int{0}, FLOPs: 3 * float64(t.Elems()), Bind: func(m Memory) []Task {
		if t.DType == onnx.Double {
			return lpNormalize[float64](m, t.Shape, axis, p)
		}
		return lpNormalize[float32](m, t.Shape, axis, p)
	}}, nil
}

func lpNormalize[T float](m Memory, shape []int, axis int, p float64) []Task {
	outer, n, inner := rowsAlong(shape, axis)
	dst, src := Data[T](m.Out[0]), Data[T](m.In[0])
	return eachRow(outer*inner, n, func(r, _ int) {
		at, sum := r/inner*n*inner+r%inner, 0.0
		pace := m.pace()
		for i := range n {
			if i%paceBlock == 0 && pace.over(4*paceBlock) {
				return
			}
			sum += powAbs(float64(src[at+i*inner]), p)
		}
		norm := rootOf(sum, p)
		for i := range n {
			if i%paceBlock == 0 && pace.over(4*paceBlock) {
				return
			}
			dst[at+i*inner] = src[at+i*inner]
			if norm != 0 {
				dst[at+i*inner] = T(float64(src[at+i*inner]) / norm)
			}
		}
	})
}

// lowerLRN divides by (bias + alpha/size · ∑ x²)^beta, the sum over size
// neighbouring channels.
func lowerLRN(c *Call) (*Kernel, error) {
	if err := c.want(0, isFloat, "a float type"); err != nil {
		return nil, err
	}
	t := c.In[0].Type
	size := c.Int("size", 0)
	if len(t.Shape) < 2 || size < 1 || size > maxElems {
		return nil, c.Invalid("normalises %v over %d channels, want two dimensions or more and 1 to %d channels", t, size, maxElems)
	}
	alpha, beta, bias := float64(c.Float("alpha", 1e-4)), float64(c.Float("beta", 0.75)), float64(c.Float("bias", 1))
	f := func(x, sum float64) float64 { return x / math.Pow(bias+alpha/float64(size)*sum, beta) }
	return &Kernel{Out: []Type{t}, FLOPs: float64(t.Elems()) * float64(size+10), Bind: func(m Memory) []Task {
		if t.DType == onnx.Double {
			return lrn[float64](m, t.Shape, size, f)
		}
		return lrn[float32](m, t.Shape, size, f)
	}}, nil
}

func lrn[T float](m Memory, shape []int, size int, f func(x, sum float64) float64) []Task {
	_, n, inner := rowsAlong(shape, 1)
	dst, src := Data[T](m.Out[0]), Data[T](m.In[0])
	if len(dst) == 0 {
		return nil
	}
	return eachRow(len(dst)/inner, inner*min(size, n), func(r, _ int) {
		image, ch := r/n*n, r%n
		lo, hi := max(0, ch-(size-1)/2), min(n, ch+size/2+1)
		pace := m.pace()
		for i := range inner {
			if pace.over(32 + hi - lo) {
				return
			}
			sum := 0.0
			for k := lo; k < hi; k++ {
				v := float64(src[(image+k)*inner+i])
				sum += v * v
			}
			dst[r*inner+i] = T(f(float64(src[r*inner+i]), sum))
		}
	})
}

// lowerMeanVariance subtracts the mean over some axes and divides by the
// standard deviation.
func lowerMeanVariance(c *Call) (*Kernel, error) {
	if err := c.want(0, isFloat, "a float type"); err != nil {
		return nil, err
	}
	t := c.In[0].Type
	axes := c.Ints("axes")
	if axes == nil {
		axes = []int{0, 2, 3}
	}
	reduced := make([]bool, len(t.Shape))
	for _, a := range axes {
		axis, err := c.Axis(a, len(t.Shape))
		if err != nil {
			return nil, err
		}
		reduced[axis] = true
	}
	var dims, str [2][]int // kept, reduced
	for i, s := range strides(t.Shape) {
		j := 0
		if reduced[i] {
			j = 1
		}
		dims[j], str[j] = append(dims[j], t.Shape[i]), append(str[j], s)
	}
	kept, gone := newLattice(dims[0], str[0]), newLattice(dims[1], str[1])
	return &Kernel{Out: []Type{t}, FLOPs: 5 * float64(t.Elems()), Bind: func(m Memory) []Task {
		if t.DType == onnx.Double {
			return meanVariance[float64](m, &kept, &gone)
		}
		return meanVariance[float32](m, &kept, &gone)
	}}, nil
}

func meanVariance[T float](m Memory, kept, gone *lattice) []Task {
	dst, src := Data[T](m.Out[0]), Data[T](m.In[0])
	n := elems(gone.dims)
	if len(dst) == 0 {
		return nil
	}
	return eachRow(elems(kept.dims), n, func(r, _ int) {
		at := kept.walkTo(len(kept.dims), r)
		base := at.off[0]
		mean, variance := 0.0, 0.0
		pace := m.pace()
		w := gone.walkTo(len(gone.dims), 0)
		for range n {
			if pace.over(8) {
				return
			}
			mean += float64(src[base+w.off[0]])
			w.next()
		}
		mean /= float64(n)
		w = gone.walkTo(len(gone.dims), 0)
		for range n {
			if pace.over(8) {
				return
			}
			d := float64(src[base+w.off[0]]) - mean
			variance += d * d
			w.next()
		}
		std := math.Sqrt(variance/float64(n)) + 1e-9
		w = gone.walkTo(len(gone.dims), 0)
		for range n {
			if pace.over(8) {
				return
			}
			i := base + w.off[0]
			dst[i] = T((float64(src[i]) - mean) / std)
			w.next()
		}
	})
}
