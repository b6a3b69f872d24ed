package ops

import (
	"math"

	"sampleonnx/onnxrun/internal/onnx"
)

// lowerBitwise is BitwiseAnd, BitwiseOr, BitwiseXor and BitShift.
func lowerBitwise(c *Call) (*Kernel, error) {
	op := c.Node.Op
	if err := c.want(0, isInteger, "an integer type"); err != nil {
		return nil, err
	}
	if op == "BitShift" {
		if isSigned(c.In[0].DType) {
			return nil, c.Invalid("input 0 has elements of %v, want an unsigned type", c.In[0].DType)
		}
		switch d := c.Str("direction", ""); d {
		case "LEFT", "RIGHT":
			op += d
		default:
			return nil, c.Invalid("direction is %q, want LEFT or RIGHT", d)
		}
	}
	if err := c.wantSame(0); err != nil {
		return nil, err
	}
	out, phys, err := c.broadcastType(c.In[0].DType, 0, 1)
	if err != nil {
		return nil, err
	}
	switch out.DType {
	case onnx.Int8:
		return zipKernel(c, out, phys, bitwise[int8](op)), nil
	case onnx.Int16:
		return zipKernel(c, out, phys, bitwise[int16](op)), nil
	case onnx.Int32:
		return zipKernel(c, out, phys, bitwise[int32](op)), nil
	case onnx.Int64:
		return zipKernel(c, out, phys, bitwise[int64](op)), nil
	case onnx.Uint8:
		return zipKernel(c, out, phys, bitwise[uint8](op)), nil
	case onnx.Uint16:
		return zipKernel(c, out, phys, bitwise[uint16](op)), nil
	case onnx.Uint32:
		return zipKernel(c, out, phys, bitwise[uint32](op)), nil
	}
	return zipKernel(c, out, phys, bitwise[uint64](op)), nil
}

func bitwise[T integer](op string) zipper[T, T] {
	return zipEach(map[string]func(a, b T) T{
		"BitwiseAnd":    func(a, b T) T { return a & b },
		"BitwiseOr":     func(a, b T) T { return a | b },
		"BitwiseXor":    func(a, b T) T { return a ^ b },
		"BitShiftLEFT":  func(a, b T) T { return a << uint64(b) },
		"BitShiftRIGHT": func(a, b T) T { return a >> uint64(b) },
	}[op])
}

func lowerBitwiseNot(c *Call) (*Kernel, error) {
	if err := c.want(0, isInteger, "an integer type"); err != nil {
		return nil, err
	}
	t := c.In[0].Type
	switch storageSize(t.DType) {
	case 1:
		return mapKernel(t, each(func(x uint8) uint8 { return ^x })), nil
	case 2:
		return mapKernel(t, each(func(x uint16) uint16 { return ^x })), nil
	case 4:
		return mapKernel(t, each(func(x uint32) uint32 { return ^x })), nil
	}
	return mapKernel(t, each(func(x uint64) uint64 { return ^x })), nil
}

// lowerBitCast gives the bits of the elements another type of the same width.
// Bits of 16-bit floats go through their own form: they are held as float32.
func lowerBitCast(c *Call) (*Kernel, error) {
	in := c.In[0].Type
	to, err := c.DType("to", 0)
	if err != nil {
		return nil, err
	}
	if !isStored(in.DType) || !isStored(to) {
		return nil, c.Unsupported("casts the bits of %v to %v", in.DType, to)
	}
	if in.DType.Size() != to.Size() {
		return nil, c.Invalid("casts the bits of %v to %v, want types of one width", in.DType, to)
	}
	out := Type{DType: to, Shape: in.Shape}
	if in.DType == to {
		return &Kernel{Out: []Type{out}, View: true}, nil
	}
	k := &Kernel{Out: []Type{out}}
	k.Bind = func(m Memory) []Task {
		src, dst := m.In[0], m.Out[0]
		if in.DType.Size() == 2 {
			get, put := bits16(src), put16(dst)
			return eachPart(in.Elems(), func(lo, hi int) {
				for i := lo; i < hi; i++ {
					put(i, get(i))
				}
			})
		}
		return eachPart(len(dst.mem), func(lo, hi int) {
			copy(dst.mem[lo:hi], src.mem[lo:hi])
			if to == onnx.Bool {
				for i, b := range dst.mem[lo:hi] {
					if b != 0 {
						dst.mem[lo+i] = 1
					}
				}
			}
		})
	}
	return k, nil
}

// bits16 and put16 read and write the elements of 16 bits as the standard
// stores them.
func bits16(t *Tensor) func(i int) uint16 {
	switch t.DType {
	case onnx.Float16:
		d := Data[float32](t)
		return func(i int) uint16 { return onnx.Float32ToFloat16(d[i]) }
	case onnx.BFloat16:
		d := Data[float32](t)
		return func(i int) uint16 { return onnx.Float32ToBFloat16(d[i]) }
	}
	d := Data[uint16](t)
	return func(i int) uint16 { return d[i] }
}

func put16(t *Tensor) func(i int, bits uint16) {
	switch t.DType {
	case onnx.Float16:
		d := Data[float32](t)
		return func(i int, b uint16) { d[i] = onnx.Float16ToFloat32(b) }
	case onnx.BFloat16:
		d := Data[float32](t)
		return func(i int, b uint16) { d[i] = onnx.BFloat16ToFloat32(b) }
	}
	d := Data[uint16](t)
	return func(i int, b uint16) { d[i] = b }
}

// lowerIsNaN and lowerIsInf ask each float.
func lowerIsNaN(c *Call) (*Kernel, error) {
	return ask(c, func(x float64) bool { return x != x })
}

func lowerIsInf(c *Call) (*Kernel, error) {
	positive, negative := c.Int("detect_positive", 1) != 0, c.Int("detect_negative", 1) != 0
	return ask(c, func(x float64) bool {
		return positive && math.IsInf(x, 1) || negative && math.IsInf(x, -1)
	})
}

func ask(c *Call, f func(x float64) bool) (*Kernel, error) {
	if err := c.want(0, isFloat, "a float type"); err != nil {
		return nil, err
	}
	in := c.In[0].Type
	return &Kernel{Out: []Type{{DType: onnx.Bool, Shape: in.Shape}}, Bind: func(m Memory) []Task {
		dst := Data[bool](m.Out[0])
		if in.DType == onnx.Double {
			return eachPart(len(dst), converted(dst, Data[float64](m.In[0]), f))
		}
		return eachPart(len(dst), converted(dst, Data[float32](m.In[0]), func(x float32) bool { return f(float64(x)) }))
	}}, nil
}
