package ops

import (
	"math"
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
)

// dft is a discrete Fourier transform of rows of n numbers, of which the first
// given are there and the rest zero. It is the sum as it is written, in float64.
type dft struct {
	n, given int
	kept     int       // how many frequencies, or samples, are wanted
	mirrored bool      // the input is half of a spectrum, whose other half mirrors it
	cos, sin []float64 // of 2πk/n, the sine negative for the forward transform
	scale    float64
}

// newDFT puts its tables into scratch memory of 16·n bytes; the tasks fill them.
func newDFT(n int, inverse bool, m *Memory) (*dft, []Task) {
	tables := scratchOf[float64](m.Shared(), 2*n)
	d := &dft{n: n, cos: tables[:n], sin: tables[n:], scale: 1}
	if inverse {
		d.scale = 1 / float64(n)
	}
	return d, eachPart(n, func(lo, hi int) {
		for k := lo; k < hi; k++ {
			s, c := math.Sincos(2 * math.Pi * float64(k) / float64(n))
			d.cos[k], d.sin[k] = c, -s
			if inverse {
				d.sin[k] = s
			}
		}
	})
}

// at is frequency k of a row; get gives its numbers. stopped is Memory's.
func (d *dft) at(k int, stopped func() bool, get func(i int) (re, im float64)) (re, im float64) {
	p := pace{stopped, paceWork}
	for i := range d.given {
		if i%paceBlock == 0 && p.over(8*paceBlock) {
			return
		}
		a, b := get(i)
		j := int(uint64(i) * uint64(k) % uint64(d.n))
		re += a*d.cos[j] - b*d.sin[j]
		im += a*d.sin[j] + b*d.cos[j]
		if d.mirrored && i > 0 && 2*i != d.n {
			// The conjugate at n-i.
			j = (d.n - j) % d.n
			re += a*d.cos[j] + b*d.sin[j]
			im += a*d.sin[j] - b*d.cos[j]
		}
	}
	return re * d.scale, im * d.scale
}

// scalar is input i as one integer known at compile time, or def.
func (c *Call) scalar(i, def int) (int, error) {
	list, err := c.ConstInts(i)
	switch {
	case err != nil:
		return 0, err
	case list == nil:
		return def, nil
	case len(list) != 1:
		return 0, c.Invalid("input %d is %v, want one number", i, c.In[i].Type)
	}
	return list[0], nil
}

// lowerDFT transforms along an axis of [..., 1 or 2], real or complex numbers.
// The axis is an attribute before opset 20 and an input since.
func lowerDFT(c *Call) (*Kernel, error) {
	if err := c.want(0, isFloat, "a float type"); err != nil {
		return nil, err
	}
	x := c.In[0].Type
	rank := len(x.Shape)
	if rank < 2 || x.Shape[rank-1] != 1 && x.Shape[rank-1] != 2 {
		return nil, c.Invalid("the input is %v, want [..., 1] or [..., 2]", x)
	}
	axis := c.Int("axis", 1)
	if c.Version() >= 20 {
		var err error
		if axis, err = c.scalar(2, -2); err != nil {
			return nil, err
		}
	}
	axis, err := c.Axis(axis, rank)
	if err != nil {
		return nil, err
	}
	if axis == rank-1 {
		return nil, c.Invalid("axis is %d, want one before the last, which holds the parts of a number", axis)
	}
	inverse, half := c.Int("inverse", 0) != 0, c.Int("onesided", 0) != 0
	n := x.Shape[axis]
	if inverse && half {
		n = 2 * (n - 1)
	}
	if n, err = c.scalar(1, n); err != nil {
		return nil, err
	}
	if n < 1 || n > maxElems/16 {
		return nil, c.Invalid("transforms %d numbers, want 1 to %d", n, maxElems/16)
	}
	kept, parts := n, 2
	mirrored := inverse && half
	switch {
	case mirrored:
		parts = 1
	case half:
		kept = n/2 + 1
	}
	out := Type{DType: x.DType, Shape: slices.Clone(x.Shape)}
	out.Shape[axis], out.Shape[rank-1] = kept, parts
	inner := elems(x.Shape[axis+1 : rank-1])
	g := dftGeometry{outer: elems(x.Shape[:axis]), have: x.Shape[axis], inner: inner, in: x.Shape[rank-1], out: parts}
	return &Kernel{Out: []Type{out}, Scratch: room(16, n), FLOPs: 8 * float64(out.Elems()) * float64(n), Bind: func(m Memory) []Task {
		d, tasks := newDFT(n, inverse, &m)
		d.kept, d.mirrored, d.given = kept, mirrored, min(n, g.have)
		if mirrored {
			d.given = min(n/2+1, g.have)
		}
		if x.DType == onnx.Double {
			return append(tasks, transform[float64](m, d, g)...)
		}
		return append(tasks, transform[float32](m, d, g)...)
	}}, nil
}

// dftGeometry: rows of have numbers along the second axis of [outer, have,
// inner, in], to [outer, kept, inner, out].
type dftGeometry struct{ outer, have, inner, in, out int }

func transform[T float](m Memory, d *dft, g dftGeometry) []Task {
	dst, src := Data[T](m.Out[0]), Data[T](m.In[0])
	return eachRow(g.outer*d.kept*g.inner, 4*d.given, func(r, _ int) {
		row := r / (d.kept * g.inner) * g.have * g.inner
		col := r % g.inner
		re, im := d.at(r/g.inner%d.kept, m.Stopped, func(i int) (float64, float64) {
			p := (row + i*g.inner + col) * g.in
			if g.in == 1 {
				return float64(src[p]), 0
			}
			return float64(src[p]), float64(src[p+1])
		})
		dst[r*g.out] = T(re)
		if g.out == 2 {
			dst[r*g.out+1] = T(im)
		}
	})
}

// lowerSTFT transforms frames of a signal [batch, length, 1 or 2], weighted by a
// window.
func lowerSTFT(c *Call) (*Kernel, error) {
	if err := c.want(0, isFloat, "a float type"); err != nil {
		return nil, err
	}
	x := c.In[0].Type
	if len(x.Shape) == 2 {
		x.Shape = append(slices.Clone(x.Shape), 1)
	}
	if len(x.Shape) != 3 || x.Shape[2] != 1 && x.Shape[2] != 2 {
		return nil, c.Invalid("the signal is %v, want [batch, length, 1] or [batch, length, 2]", x)
	}
	step, err := c.scalar(1, 0)
	if err != nil {
		return nil, err
	}
	n := 0
	if c.Has(2) {
		if c.In[2].DType != x.DType || len(c.In[2].Shape) != 1 {
			return nil, c.Invalid("the window is %v, want a list of %v", c.In[2].Type, x.DType)
		}
		n = c.In[2].Shape[0]
	}
	if n, err = c.scalar(3, n); err != nil {
		return nil, err
	}
	if step < 1 || n < 1 || n > x.Shape[1] || c.Has(2) && c.In[2].Shape[0] != n {
		return nil, c.Invalid("cuts frames of %d in steps of %d out of %v, want frames as long as the window and no longer than the signal, and steps from 1", n, step, x)
	}
	frames, kept := (x.Shape[1]-n)/step+1, n
	if c.Int("onesided", 1) != 0 {
		kept = n/2 + 1
	}
	out := Type{DType: x.DType, Shape: []int{x.Shape[0], frames, kept, 2}}
	return &Kernel{Out: []Type{out}, Scratch: room(16, n), FLOPs: 8 * float64(out.Elems()) * float64(n), Bind: func(m Memory) []Task {
		d, tasks := newDFT(n, false, &m)
		d.kept, d.given = kept, n
		if x.DType == onnx.Double {
			return append(tasks, shortTransform[float64](m, d, x.Shape, frames, step)...)
		}
		return append(tasks, shortTransform[float32](m, d, x.Shape, frames, step)...)
	}}, nil
}

func shortTransform[T float](m Memory, d *dft, shape []int, frames, step int) []Task {
	dst, src := Data[T](m.Out[0]), Data[T](m.In[0])
	var window []T
	if len(m.In) > 2 && m.In[2] != nil {
		window = Data[T](m.In[2])
	}
	parts := shape[2]
	return eachRow(shape[0]*frames*d.kept, 4*d.given, func(r, _ int) {
		frame := r / d.kept
		from := frame/frames*shape[1] + frame%frames*step
		re, im := d.at(r%d.kept, m.Stopped, func(i int) (re, im float64) {
			re = float64(src[(from+i)*parts])
			if parts == 2 {
				im = float64(src[(from+i)*parts+1])
			}
			if window != nil {
				re, im = re*float64(window[i]), im*float64(window[i])
			}
			return re, im
		})
		dst[2*r], dst[2*r+1] = T(re), T(im)
	})
}

// lowerWindow is HannWindow, HammingWindow and BlackmanWindow: sums of cosines.
func lowerWindow(c *Call) (*Kernel, error) {
	n, err := c.scalar(0, 0)
	if err != nil {
		return nil, err
	}
	to, err := c.DType("output_datatype", onnx.Float)
	if err != nil {
		return nil, err
	}
	if !isNumber(to) {
		return nil, c.Unsupported("makes elements of %v", to)
	}
	if n < 0 || n > maxElems/8 {
		return nil, c.Invalid("the size is %d, want 0 to %d", n, maxElems/8)
	}
	a := map[string][3]float64{
		"HannWindow":     {0.5, 0.5, 0},
		"HammingWindow":  {25. / 46, 21. / 46, 0},
		"BlackmanWindow": {0.42, 0.5, 0.08},
	}[c.Node.Op]
	period := float64(n)
	if c.Int("periodic", 1) == 0 {
		period--
	}
	wide := Type{DType: onnx.Double, Shape: []int{n}}
	return &Kernel{Out: []Type{{DType: to, Shape: []int{n}}}, Scratch: wide.Bytes(), Bind: func(m Memory) []Task {
		w := View(wide, m.Shared())
		data := Data[float64](w)
		tasks := eachPart(n, func(lo, hi int) {
			for i := lo; i < hi; i++ {
				t := 2 * math.Pi * float64(i) / period
				data[i] = a[0] - a[1]*math.Cos(t) + a[2]*math.Cos(2*t)
			}
		})
		return append(tasks, eachPart(n, caster(m.Out[0], w))...)
	}}, nil
}

// lowerMelWeightMatrix gives the weights of triangular filters, evenly spaced on
// the mel scale, over the bins of a spectrum.
func lowerMelWeightMatrix(c *Call) (*Kernel, error) {
	var v [5]float64
	for i := range v {
		switch {
		case c.In[i].Elems() != 1 || !isNumber(c.In[i].DType):
			return nil, c.Invalid("input %d is %v, want one number", i, c.In[i].Type)
		case c.In[i].Const == nil:
			return nil, c.Unsupported("input %d decides a shape but depends on the data of this run", i)
		}
		wide := New(Type{DType: onnx.Double, Shape: []int{1}})
		caster(wide, c.In[i].Const)(0, 1)
		v[i] = Data[float64](wide)[0]
	}
	mels, length, rate, low, high := v[0], v[1], v[2], v[3], v[4]
	to, err := c.DType("output_datatype", onnx.Float)
	if err != nil {
		return nil, err
	}
	switch {
	case !isNumber(to):
		return nil, c.Unsupported("makes elements of %v", to)
	case !(mels >= 1 && mels <= 1<<20 && length >= 1 && length <= 1<<20 && rate >= 1 && rate <= math.MaxFloat32 && low >= 0 && high > low && high <= rate/2):
		return nil, c.Invalid("%v filters from %v to %v Hz over a transform of %v at %v Hz, want at most 2²⁰ of both and 0 to half the rate, rising", mels, low, high, length, rate)
	}
	n, bins := int(mels), int(length)/2+1
	wide := Type{DType: onnx.Double, Shape: []int{bins, n}}
	if err := c.checkSize(Type{Shape: []int{bins, n, 8}}); err != nil {
		return nil, err
	}
	mel := func(hz float64) float64 { return 2595 * math.Log10(1+hz/700) }
	step := (mel(high) - mel(low)) / float64(n+2)
	edge := func(i int) int {
		hz := 700 * (math.Pow(10, (mel(low)+float64(i)*step)/2595) - 1)
		return min(max(int(math.Floor((length+1)*hz/rate)), 0), bins)
	}
	return &Kernel{Out: []Type{{DType: to, Shape: wide.Shape}}, Scratch: wide.Bytes(), Bind: func(m Memory) []Task {
		t := View(wide, m.Shared())
		w := Data[float64](t)
		tasks := Serial(func() {
			clear(w)
			p := m.pace()
			for i := range n {
				left, centre, right := edge(i), edge(i+1), edge(i+2)
				if p.over(300 + bins) {
					return
				}
				if left == centre && centre < bins {
					w[centre*n+i] = 1
				}
				for j := left; j <= centre && j < bins && left < centre; j++ {
					w[j*n+i] = float64(j-left) / float64(centre-left)
				}
				for j := centre; j < right; j++ {
					w[j*n+i] = float64(right-j) / float64(right-centre)
				}
			}
		})
		return append(tasks, eachPart(len(w), caster(m.Out[0], t))...)
	}}, nil
}
