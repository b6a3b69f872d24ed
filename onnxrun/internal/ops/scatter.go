package ops

import (
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
)

// A scatter copies its first input and then writes updates where indices say.
// Updates that meet on one element come in their order, so the writing is one
// part of work.

// A merge is what happens to an element and an update: the update replaces it,
// or is added, multiplied, compared.
var merges = map[string]bool{"none": true, "add": true, "mul": true, "min": true, "max": true}

func (c *Call) merge() (string, error) {
	r := c.Str("reduction", "none")
	if !merges[r] {
		return "", c.Invalid("reduction is %q, want none, add, mul, min or max", r)
	}
	if r != "none" && !isNumber(c.In[0].DType) {
		return "", c.Invalid("reduction is %q with elements of %v, want numbers", r, c.In[0].DType)
	}
	return r, nil
}

// scatterKernel copies input 0 and then merges elements of input 2: f tells
// where update i goes.
func scatterKernel(c *Call, how string, bind func(m Memory) (n, run int, to func(i int) int)) *Kernel {
	t := c.In[0].Type
	return &Kernel{Out: []Type{t}, InPlace: []int{0}, Bind: func(m Memory) []Task {
		tasks := eachPart(len(m.Out[0].mem), func(lo, hi int) { copy(m.Out[0].mem[lo:hi], m.In[0].mem[lo:hi]) })
		n, run, to := bind(m)
		if how == "none" {
			size := storageSize(t.DType)
			dst, src := m.Out[0].mem, m.In[2].mem
			return append(tasks, Serial(func() {
				p := m.pace()
				for i := range n {
					if p.over(16 + run/4) {
						return
					}
					copy(dst[to(i)*size:][:run*size], src[i*run*size:][:run*size])
				}
			})...)
		}
		switch t.DType {
		case onnx.Double:
			return append(tasks, scatter[float64](m, how, n, run, to)...)
		case onnx.Int8:
			return append(tasks, scatter[int8](m, how, n, run, to)...)
		case onnx.Int16:
			return append(tasks, scatter[int16](m, how, n, run, to)...)
		case onnx.Int32:
			return append(tasks, scatter[int32](m, how, n, run, to)...)
		case onnx.Int64:
			return append(tasks, scatter[int64](m, how, n, run, to)...)
		case onnx.Uint8:
			return append(tasks, scatter[uint8](m, how, n, run, to)...)
		case onnx.Uint16:
			return append(tasks, scatter[uint16](m, how, n, run, to)...)
		case onnx.Uint32:
			return append(tasks, scatter[uint32](m, how, n, run, to)...)
		case onnx.Uint64:
			return append(tasks, scatter[uint64](m, how, n, run, to)...)
		}
		return append(tasks, scatter[float32](m, how, n, run, to)...)
	}}
}

func scatter[T number](m Memory, how string, n, run int, to func(i int) int) []Task {
	dst, src := Data[T](m.Out[0]), Data[T](m.In[2])
	f := map[string]func(a, b T) T{
		"add": func(a, b T) T { return a + b },
		"mul": func(a, b T) T { return a * b },
		"min": func(a, b T) T { return min(a, b) },
		"max": func(a, b T) T { return max(a, b) },
	}[how]
	return Serial(func() {
		p := m.pace()
		for i := range n {
			if p.over(16 + 2*run) {
				return
			}
			d, s := dst[to(i):][:run], src[i*run:][:run]
			for j, v := range s {
				d[j] = f(d[j], v)
			}
		}
	})
}

// lowerScatterElements: each index replaces one coordinate of its own position.
func lowerScatterElements(c *Call) (*Kernel, error) {
	t, idx := c.In[0].Type, c.In[1].Type
	rank := len(t.Shape)
	axis, err := c.Axis(c.Int("axis", 0), rank)
	if err != nil {
		return nil, err
	}
	if err := c.wantUpdates(idx.Shape); err != nil {
		return nil, err
	}
	if len(idx.Shape) != rank {
		return nil, c.Invalid("indices have shape %v, want rank %d", idx.Shape, rank)
	}
	for i, d := range idx.Shape {
		if i != axis && d > t.Shape[i] {
			return nil, c.Invalid("indices have shape %v, want at most that of the input, %v, except on axis %d", idx.Shape, t.Shape, axis)
		}
	}
	if err := c.wantIndices(t.Shape[axis]); err != nil {
		return nil, err
	}
	how, err := c.merge()
	if err != nil {
		return nil, err
	}
	st, from := strides(t.Shape), strides(idx.Shape)
	x := indexer{c.Node.Where(), t.Shape[axis], st[axis]}
	return scatterKernel(c, how, func(m Memory) (int, int, func(i int) int) {
		at := indexAt(m.In[1])
		return idx.Elems(), 1, func(i int) int {
			off, rest := x.offset(at(i)), i
			for d := range from {
				if d != axis {
					off += rest / from[d] * st[d]
				}
				rest %= from[d]
			}
			return off
		}
	}), nil
}

// wantUpdates checks input 2 against input 0 and a shape.
func (c *Call) wantUpdates(shape []int) error {
	if c.In[2].DType != c.In[0].DType {
		return c.Invalid("updates are of %v, want %v", c.In[2].DType, c.In[0].DType)
	}
	if !slices.Equal(c.In[2].Shape, shape) {
		return c.Invalid("updates have shape %v, want %v", c.In[2].Shape, shape)
	}
	return nil
}

// lowerScatterND: the last dimension of the indices holds coordinates.
func lowerScatterND(c *Call) (*Kernel, error) {
	t, idx := c.In[0].Type, c.In[1].Type
	q := len(idx.Shape)
	if q == 0 || idx.Shape[q-1] > len(t.Shape) {
		return nil, c.Invalid("indices have shape %v, want at most %d coordinates", idx.Shape, len(t.Shape))
	}
	k := idx.Shape[q-1]
	if err := c.wantUpdates(slices.Concat(idx.Shape[:q-1], t.Shape[k:])); err != nil {
		return nil, err
	}
	if k == 0 {
		return nil, c.Unsupported("indices have no coordinates")
	}
	if err := c.wantIndices(t.Shape[:k]...); err != nil {
		return nil, err
	}
	how, err := c.merge()
	if err != nil {
		return nil, err
	}
	st := strides(t.Shape)
	xs := make([]indexer, k)
	for i := range xs {
		xs[i] = indexer{c.Node.Where(), t.Shape[i], st[i]}
	}
	return scatterKernel(c, how, func(m Memory) (int, int, func(i int) int) {
		at := indexAt(m.In[1])
		return elems(idx.Shape[:q-1]), elems(t.Shape[k:]), func(i int) int {
			off := 0
			for j := range xs {
				off += xs[j].offset(at(i*k + j))
			}
			return off
		}
	}), nil
}

// lowerTensorScatter writes a short sequence into a cache [batch, …, length, …]
// at a place for each image of the batch, in a circle if asked to.
func lowerTensorScatter(c *Call) (*Kernel, error) {
	if err := c.want(0, isStored, "a numeric type or bool"); err != nil {
		return nil, err
	}
	t, u := c.In[0].Type, c.In[1].Type
	rank := len(t.Shape)
	axis, err := c.Axis(c.Int("axis", -2), rank)
	if err != nil {
		return nil, err
	}
	want := slices.Clone(t.Shape)
	if len(u.Shape) == rank {
		want[axis] = min(u.Shape[axis], t.Shape[axis])
	}
	if axis == 0 || u.DType != t.DType || !slices.Equal(u.Shape, want) {
		return nil, c.Invalid("writes %v into %v along axis %d", u, t, axis)
	}
	if c.Has(2) && (c.In[2].DType != onnx.Int64 || !slices.Equal(c.In[2].Shape, t.Shape[:1])) {
		return nil, c.Invalid("the places are %v, want %d of int64", c.In[2].Type, t.Shape[0])
	}
	circular := false
	switch mode := c.Str("mode", "linear"); mode {
	case "linear":
	case "circular":
		circular = true
	default:
		return nil, c.Invalid("mode is %q, want linear or circular", mode)
	}
	outer, length, inner := rowsAlong(t.Shape, axis)
	steps, where := u.Shape[axis], c.Node.Where()
	perImage := outer / max(t.Shape[0], 1)
	return &Kernel{Out: []Type{t}, InPlace: []int{0}, Bind: func(m Memory) []Task {
		tasks := eachPart(len(m.Out[0].mem), func(lo, hi int) { copy(m.Out[0].mem[lo:hi], m.In[0].mem[lo:hi]) })
		size := storageSize(t.DType) * inner
		dst, src := m.Out[0].mem, m.In[1].mem
		var places []int64
		if len(m.In) > 2 && m.In[2] != nil {
			places = Data[int64](m.In[2])
		}
		return append(tasks, eachRow(outer, steps*inner, func(r, _ int) {
			first := int64(0)
			if places != nil {
				first = places[r/perImage]
			}
			for s := range steps {
				at := first + int64(s)
				if circular && at >= 0 {
					at %= int64(length)
				}
				if at < 0 || at >= int64(length) {
					panic(&IndexError{where, at, length})
				}
				copy(dst[(r*length+int(at))*size:][:size], src[(r*steps+s)*size:][:size])
			}
		})...)
	}}, nil
}
