package ops

import (
	"math"

	"sampleonnx/onnxrun/internal/onnx"
)

// The operators of this file give what is known as soon as shapes are.

// known is a kernel whose output is t.
func known(t *Tensor) *Kernel { return &Kernel{Out: []Type{t.Type}, Const: []*Tensor{t}} }

func lowerShape(c *Call) (*Kernel, error) {
	shape := c.In[0].Shape
	rank := len(shape)
	bound := func(name string, def int) int {
		b := c.Int(name, def)
		if b < 0 {
			b += rank
		}
		return min(max(b, 0), rank)
	}
	start, end := bound("start", 0), bound("end", rank)
	list := []int64{}
	for i := start; i < end; i++ {
		list = append(list, int64(shape[i]))
	}
	return known(Of([]int{len(list)}, list)), nil
}

func lowerSize(c *Call) (*Kernel, error) {
	return known(Of([]int{}, []int64{int64(c.In[0].Elems())})), nil
}

func lowerConstantOfShape(c *Call) (*Kernel, error) {
	shape, err := c.ConstInts(0)
	if err != nil {
		return nil, err
	}
	if len(c.In[0].Shape) != 1 {
		return nil, c.Invalid("the shape is %v, want one dimension", c.In[0].Type)
	}
	out := Type{DType: onnx.Float, Shape: shape}
	var value *Tensor
	if a, ok := c.Node.Attrs["value"]; ok {
		if a.Tensor == nil || elems(a.Tensor.Shape) != 1 {
			return nil, c.Invalid("value has another number of elements, want 1")
		}
		if !isStored(a.Tensor.DType) {
			return nil, c.Unsupported("value is of %v", a.Tensor.DType)
		}
		value = Constant(a.Tensor)
		out.DType = value.DType
	}
	if err := c.checkSize(out); err != nil {
		return nil, err
	}
	fillOut := func(t *Tensor) {
		clear(t.mem)
		if value != nil {
			for n := copy(t.mem, value.mem); 0 < n && n < len(t.mem); n *= 2 {
				copy(t.mem[n:], t.mem[:n])
			}
		}
	}
	return knownOnce(out, fillOut), nil
}

// knownOnce is a constant that is made now when it is small, and else when there is
// memory for it.
func knownOnce(t Type, fill func(*Tensor)) *Kernel {
	if t.Bytes() > maxKnown {
		return &Kernel{Out: []Type{t}, Bind: func(m Memory) []Task {
			return Serial(func() { fill(m.Out[0]) })
		}}
	}
	out := New(t)
	fill(out)
	return known(out)
}

// maxKnown bounds the bytes of a constant that is made when its node is lowered,
// before anybody has looked at how much memory there is.
const maxKnown = 1 << 20

// maxRange bounds the numbers that Range lists.
const maxRange = 1 << 24

func lowerRange(c *Call) (*Kernel, error) {
	ok := func(d onnx.DType) bool { return isNumber(d) && d != onnx.Float16 && d != onnx.BFloat16 }
	if err := c.want(0, ok, "float32, float64 or an integer type"); err != nil {
		return nil, err
	}
	if err := c.wantSame(0); err != nil {
		return nil, err
	}
	for i := range c.In {
		if c.In[i].Elems() != 1 {
			return nil, c.Invalid("input %d has shape %v, want a scalar", i, c.In[i].Shape)
		}
		if c.In[i].Const == nil {
			return nil, c.Unsupported("input %d decides a shape but depends on the data of this run", i)
		}
	}
	switch c.In[0].DType {
	case onnx.Double:
		return floatRange[float64](c)
	case onnx.Int8:
		return integerRange[int8](c)
	case onnx.Int16:
		return integerRange[int16](c)
	case onnx.Int32:
		return integerRange[int32](c)
	case onnx.Int64:
		return integerRange[int64](c)
	case onnx.Uint8:
		return integerRange[uint8](c)
	case onnx.Uint16:
		return integerRange[uint16](c)
	case onnx.Uint32:
		return integerRange[uint32](c)
	case onnx.Uint64:
		return integerRange[uint64](c)
	}
	return floatRange[float32](c)
}

// floatRange has max(⌈(limit-start)/delta⌉, 0) elements, start + i·delta.
func floatRange[T float](c *Call) (*Kernel, error) {
	start, limit, delta := Data[T](c.In[0].Const)[0], Data[T](c.In[1].Const)[0], Data[T](c.In[2].Const)[0]
	n := math.Ceil((float64(limit) - float64(start)) / float64(delta))
	switch {
	case delta == 0 || n != n:
		return nil, c.Invalid("counts from %v to %v by %v, want finite numbers and a step that is not 0", start, limit, delta)
	case n > maxRange:
		return nil, &onnx.LimitError{Node: c.Node.Where(), What: "elements of a range", Got: int64(min(n, 1<<62)), Max: maxRange}
	}
	return knownOnce(Type{DType: dtypeOf[T](), Shape: []int{int(max(n, 0))}}, func(list *Tensor) {
		for i, at := 0, Data[T](list); i < len(at); i++ {
			at[i] = T(float64(start) + float64(float64(i)*float64(delta)))
		}
	}), nil
}

func integerRange[T integer](c *Call) (*Kernel, error) {
	start, limit, delta := Data[T](c.In[0].Const)[0], Data[T](c.In[1].Const)[0], Data[T](c.In[2].Const)[0]
	var n uint64 // the distance does not overflow an unsigned number
	switch {
	case delta == 0:
		return nil, c.Invalid("counts from %v to %v by %v, want finite numbers and a step that is not 0", start, limit, delta)
	case delta > 0 && limit > start:
		n = (uint64(limit)-uint64(start)-1)/uint64(delta) + 1
	case delta < 0 && limit < start:
		n = (uint64(start)-uint64(limit)-1)/-uint64(delta) + 1
	}
	if n > maxRange {
		return nil, &onnx.LimitError{Node: c.Node.Where(), What: "elements of a range", Got: int64(min(n, math.MaxInt64)), Max: maxRange}
	}
	return knownOnce(Type{DType: dtypeOf[T](), Shape: []int{int(n)}}, func(list *Tensor) {
		for i, at := 0, Data[T](list); i < len(at); i++ {
			at[i] = start + T(i)*delta
		}
	}), nil
}
