package ops

import "sampleonnx/onnxrun/internal/onnx"

// lowerCumulate is CumSum and CumProd along an axis: each element combined with
// all before it, or, when reverse is set, after it; without itself when
// exclusive is set.
func lowerCumulate(c *Call) (*Kernel, error) {
	if err := c.want(0, isNumber, "a numeric type"); err != nil {
		return nil, err
	}
	t := c.In[0].Type
	axes, err := c.ConstInts(1)
	if err != nil {
		return nil, err
	}
	if len(axes) != 1 {
		return nil, c.Invalid("axis is %v, want one number", axes)
	}
	axis, err := c.Axis(axes[0], len(t.Shape))
	if err != nil {
		return nil, err
	}
	k := &Kernel{Out: []Type{t}, FLOPs: float64(t.Elems())}
	product := c.Node.Op == "CumProd"
	exclusive, reverse := c.Int("exclusive", 0) != 0, c.Int("reverse", 0) != 0
	k.Bind = func(m Memory) []Task {
		switch t.DType {
		case onnx.Double:
			return cumulate[float64, float64](m, t.Shape, axis, product, exclusive, reverse)
		case onnx.Int8:
			return cumulate[int8, int8](m, t.Shape, axis, product, exclusive, reverse)
		case onnx.Int16:
			return cumulate[int16, int16](m, t.Shape, axis, product, exclusive, reverse)
		case onnx.Int32:
			return cumulate[int32, int32](m, t.Shape, axis, product, exclusive, reverse)
		case onnx.Int64:
			return cumulate[int64, int64](m, t.Shape, axis, product, exclusive, reverse)
		case onnx.Uint8:
			return cumulate[uint8, uint8](m, t.Shape, axis, product, exclusive, reverse)
		case onnx.Uint16:
			return cumulate[uint16, uint16](m, t.Shape, axis, product, exclusive, reverse)
		case onnx.Uint32:
			return cumulate[uint32, uint32](m, t.Shape, axis, product, exclusive, reverse)
		case onnx.Uint64:
			return cumulate[uint64, uint64](m, t.Shape, axis, product, exclusive, reverse)
		}
		return cumulate[float32, float64](m, t.Shape, axis, product, exclusive, reverse)
	}
	return k, nil
}

// cumulate combines elements of type T in an accumulator of type A.
func cumulate[T, A number](m Memory, shape []int, axis int, product, exclusive, reverse bool) []Task {
	outer, n, inner := rowsAlong(shape, axis)
	dst, src := Data[T](m.Out[0]), Data[T](m.In[0])
	if len(dst) == 0 {
		return nil
	}
	return eachRow(outer*inner, n, func(r, _ int) {
		at, step := r/inner*n*inner+r%inner, inner
		if reverse {
			at, step = at+(n-1)*inner, -inner
		}
		var acc A
		if product {
			acc = 1
		}
		p := m.pace()
		for i := range n {
			if i%paceBlock == 0 && p.over(paceBlock) {
				return
			}
			v := A(src[at])
			if exclusive {
				dst[at] = T(acc)
			}
			if product {
				acc *= v
			} else {
				acc += v
			}
			if !exclusive {
				dst[at] = T(acc)
			}
			at += step
		}
	})
}
