package ops

import (
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
)

// The operators of this file look for the largest or the smallest number of a
// row, the numbers along one axis of [outer, n, inner].

// rowsAlong sees a shape as [outer, n, inner] around an axis.
func rowsAlong(shape []int, axis int) (outer, n, inner int) {
	return elems(shape[:axis]), shape[axis], elems(shape[axis+1:])
}

// eachRow is a task over rows, each of so many elements.
func eachRow(rows, size int, f func(row, worker int)) []Task {
	each := max(1, grain/max(size, 1))
	return []Task{{(rows + each - 1) / each, func(part, worker int) {
		for r := part * each; r < min((part+1)*each, rows); r++ {
			f(r, worker)
		}
	}}}
}

// lowerArg is ArgMax and ArgMin: where the extreme is, the first or, when
// select_last_index is set, the last one.
func lowerArg(c *Call) (*Kernel, error) {
	if err := c.want(0, isNumber, "a numeric type"); err != nil {
		return nil, err
	}
	in := c.In[0].Type
	if len(in.Shape) == 0 {
		in.Shape = []int{1}
	}
	axis, err := c.Axis(c.Int("axis", 0), len(in.Shape))
	if err != nil {
		return nil, err
	}
	if in.Shape[axis] == 0 {
		return nil, c.Invalid("axis %d of %v is empty", axis, in.Shape)
	}
	out := Type{DType: onnx.Int64, Shape: slices.Clone(in.Shape)}
	out.Shape[axis] = 1
	if c.Int("keepdims", 1) == 0 {
		out.Shape = slices.Delete(out.Shape, axis, axis+1)
	}
	if len(c.In[0].Shape) == 0 {
		out.Shape = []int{}
	}
	k := &Kernel{Out: []Type{out}, FLOPs: float64(in.Elems())}
	least, last := c.Node.Op == "ArgMin", c.Int("select_last_index", 0) != 0
	k.Bind = func(m Memory) []Task {
		switch in.DType {
		case onnx.Double:
			return argTask[float64](m, in.Shape, axis, least, last)
		case onnx.Int8:
			return argTask[int8](m, in.Shape, axis, least, last)
		case onnx.Int16:
			return argTask[int16](m, in.Shape, axis, least, last)
		case onnx.Int32:
			return argTask[int32](m, in.Shape, axis, least, last)
		case onnx.Int64:
			return argTask[int64](m, in.Shape, axis, least, last)
		case onnx.Uint8:
			return argTask[uint8](m, in.Shape, axis, least, last)
		case onnx.Uint16:
			return argTask[uint16](m, in.Shape, axis, least, last)
		case onnx.Uint32:
			return argTask[uint32](m, in.Shape, axis, least, last)
		case onnx.Uint64:
			return argTask[uint64](m, in.Shape, axis, least, last)
		}
		return argTask[float32](m, in.Shape, axis, least, last)
	}
	return k, nil
}

func argTask[T number](m Memory, shape []int, axis int, least, last bool) []Task {
	outer, n, inner := rowsAlong(shape, axis)
	dst, src := Data[int64](m.Out[0]), Data[T](m.In[0])
	return eachRow(outer*inner, n, func(r, _ int) {
		row := src[r/inner*n*inner+r%inner:]
		best, at := row[0], 0
		p := m.pace()
		for i := 1; i < n; i++ {
			if i%paceBlock == 0 && p.over(paceBlock) {
				return
			}
			v := row[i*inner]
			if v == best && last || v > best && !least || v < best && least {
				best, at = v, i
			}
		}
		dst[r] = int64(at)
	})
}

// lowerHardmax is 1 at the first largest number of a row and 0 elsewhere; its
// rows are those of Softmax.
func lowerHardmax(c *Call) (*Kernel, error) {
	if err := c.want(0, isFloat, "a float type"); err != nil {
		return nil, err
	}
	t := c.In[0].Type
	old, def := c.Version() < 13, -1
	if old {
		def = 1
	}
	axis, err := c.Axis(c.Int("axis", def), len(t.Shape))
	if err != nil {
		return nil, err
	}
	outer, n, inner := rowsAlong(t.Shape, axis)
	if old {
		n, inner = n*inner, 1
	}
	return &Kernel{Out: []Type{t}, FLOPs: float64(t.Elems()), Bind: func(m Memory) []Task {
		if t.DType == onnx.Double {
			return hardmax[float64](m, outer, n, inner)
		}
		return hardmax[float32](m, outer, n, inner)
	}}, nil
}

func hardmax[T float](m Memory, outer, n, inner int) []Task {
	dst, src := Data[T](m.Out[0]), Data[T](m.In[0])
	if len(dst) == 0 {
		return nil
	}
	return eachRow(outer*inner, n, func(r, _ int) {
		at := r/inner*n*inner + r%inner
		best := at
		p := m.pace()
		for i := range n {
			if i%paceBlock == 0 && p.over(paceBlock) {
				return
			}
			if src[at+i*inner] > src[best] {
				best = at + i*inner
			}
			dst[at+i*inner] = 0
		}
		dst[best] = 1
	})
}

// lowerTopK gives the k largest or smallest numbers of each row in order, and
// where they are; of equal ones the first comes first.
func lowerTopK(c *Call) (*Kernel, error) {
	if err := c.want(0, isNumber, "a numeric type"); err != nil {
		return nil, err
	}
	in := c.In[0].Type
	axis, err := c.Axis(c.Int("axis", -1), len(in.Shape))
	if err != nil {
		return nil, err
	}
	count := c.Int("k", -1)
	if c.Version() >= 10 {
		list, err := c.ConstInts(1)
		if err != nil {
			return nil, err
		}
		if len(list) != 1 {
			return nil, c.Invalid("k is %v, want one number", list)
		}
		count = list[0]
	}
	if count < 0 || count > in.Shape[axis] {
		return nil, c.Invalid("k is %d, want 0 to the %d of axis %d", count, in.Shape[axis], axis)
	}
	out := Type{DType: in.DType, Shape: slices.Clone(in.Shape)}
	out.Shape[axis] = count
	largest := c.Int("largest", 1) != 0
	k := &Kernel{
		Out:           []Type{out, {DType: onnx.Int64, Shape: out.Shape}},
		WorkerScratch: room(4, in.Shape[axis]),
		FLOPs:         float64(in.Elems()),
	}
	k.Bind = func(m Memory) []Task {
		switch in.DType {
		case onnx.Double:
			return topK[float64](m, in.Shape, axis, count, largest)
		case onnx.Int8:
			return topK[int8](m, in.Shape, axis, count, largest)
		case onnx.Int16:
			return topK[int16](m, in.Shape, axis, count, largest)
		case onnx.Int32:
			return topK[int32](m, in.Shape, axis, count, largest)
		case onnx.Int64:
			return topK[int64](m, in.Shape, axis, count, largest)
		case onnx.Uint8:
			return topK[uint8](m, in.Shape, axis, count, largest)
		case onnx.Uint16:
			return topK[uint16](m, in.Shape, axis, count, largest)
		case onnx.Uint32:
			return topK[uint32](m, in.Shape, axis, count, largest)
		case onnx.Uint64:
			return topK[uint64](m, in.Shape, axis, count, largest)
		}
		return topK[float32](m, in.Shape, axis, count, largest)
	}
	k.Out = k.Out[:len(c.Node.Outputs)]
	return k, nil
}

func topK[T number](m Memory, shape []int, axis, count int, largest bool) []Task {
	outer, n, inner := rowsAlong(shape, axis)
	src := Data[T](m.In[0])
	var values []T
	var places []int64
	if m.Out[0] != nil {
		values = Data[T](m.Out[0])
	}
	if len(m.Out) > 1 && m.Out[1] != nil {
		places = Data[int64](m.Out[1])
	}
	if count == 0 {
		return nil
	}
	return eachRow(outer*inner, n, func(r, worker int) {
		row := src[r/inner*n*inner+r%inner:]
		order := scratchOf[int32](m.Worker(worker), n)
		p := m.pace()
		if sorted := (&ranking[T]{row, inner, largest}).first(order, count, &p); !sorted {
			return
		}
		at := r/inner*count*inner + r%inner
		for i, p := range order[:count] {
			if values != nil {
				values[at+i*inner] = row[int(p)*inner]
			}
			if places != nil {
				places[at+i*inner] = int64(p)
			}
		}
	})
}
