package ops

import (
	"math"

	"sampleonnx/onnxrun/internal/onnx"
)

// Casting is defined here where the standard leaves it to the machine: a float
// is truncated toward zero and saturates at the bounds of the integer type, NaN
// becomes 0; an integer that does not fit wraps; to bool, what is not 0 is true.

func lowerCast(c *Call) (*Kernel, error) {
	to, err := c.DType("to", 0)
	if err != nil {
		return nil, err
	}
	return cast(c, to)
}

func lowerCastLike(c *Call) (*Kernel, error) { return cast(c, c.In[1].DType) }

// castLayouts: between the types that float32 holds in memory, any layout does.
func castLayouts(c *Call) []Layout {
	want := make([]Layout, len(c.In))
	to, _ := c.DType("to", 0)
	if len(c.In) == 2 {
		to = c.In[1].DType
	}
	if IsFloat32(c.In[0].DType) && IsFloat32(to) {
		want[0] = c.In[0].Layout
	}
	return want
}

func cast(c *Call, to onnx.DType) (*Kernel, error) {
	from := c.In[0].Type
	if !isStored(from.DType) || !isStored(to) {
		return nil, c.Unsupported("casts %v to %v", from.DType, to)
	}
	out := from
	out.DType = to
	if from.DType == to || IsFloat32(from.DType) && to == onnx.Float {
		return &Kernel{Out: []Type{out}, View: true}, nil // wider floats hold the narrower ones
	}
	if from.Layout == Blocked && !IsFloat32(to) {
		return nil, c.Unsupported("casts %v to %v", from, to)
	}
	k := &Kernel{Out: []Type{out}, FLOPs: float64(out.Elems())}
	if from.Bytes() == out.Bytes() {
		k.InPlace = []int{0}
	}
	k.Bind = func(m Memory) []Task {
		return eachPart(out.Len(), caster(m.Out[0], m.In[0]))
	}
	return k, nil
}

// caster converts the elements [lo, hi) of src to the type of dst.
func caster(dst, src *Tensor) func(lo, hi int) {
	switch src.DType {
	case onnx.Double:
		return castFloat(dst, Data[float64](src))
	case onnx.Int8:
		return castInt(dst, Data[int8](src))
	case onnx.Int16:
		return castInt(dst, Data[int16](src))
	case onnx.Int32:
		return castInt(dst, Data[int32](src))
	case onnx.Int64:
		return castInt(dst, Data[int64](src))
	case onnx.Uint8:
		return castInt(dst, Data[uint8](src))
	case onnx.Uint16:
		return castInt(dst, Data[uint16](src))
	case onnx.Uint32:
		return castInt(dst, Data[uint32](src))
	case onnx.Uint64:
		return castInt(dst, Data[uint64](src))
	case onnx.Bool:
		d, s := dst, Data[uint8](src) // a Go bool is a byte of 0 or 1
		return castInt(d, s)
	}
	return castFloat(dst, Data[float32](src))
}

func castInt[S integer](dst *Tensor, src []S) func(lo, hi int) {
	switch dst.DType {
	case onnx.Double:
		return converted(Data[float64](dst), src, func(x S) float64 { return float64(x) })
	case onnx.Float16:
		return converted(Data[float32](dst), src, func(x S) float32 { return toFloat16(oddInt(x)) })
	case onnx.BFloat16:
		return converted(Data[float32](dst), src, func(x S) float32 { return toBFloat16(oddInt(x)) })
	case onnx.Int8:
		return converted(Data[int8](dst), src, func(x S) int8 { return int8(x) })
	case onnx.Int16:
		return converted(Data[int16](dst), src, func(x S) int16 { return int16(x) })
	case onnx.Int32:
		return converted(Data[int32](dst), src, func(x S) int32 { return int32(x) })
	case onnx.Int64:
		return converted(Data[int64](dst), src, func(x S) int64 { return int64(x) })
	case onnx.Uint8:
		return converted(Data[uint8](dst), src, func(x S) uint8 { return uint8(x) })
	case onnx.Uint16:
		return converted(Data[uint16](dst), src, func(x S) uint16 { return uint16(x) })
	case onnx.Uint32:
		return converted(Data[uint32](dst), src, func(x S) uint32 { return uint32(x) })
	case onnx.Uint64:
		return converted(Data[uint64](dst), src, func(x S) uint64 { return uint64(x) })
	case onnx.Bool:
		return converted(Data[bool](dst), src, func(x S) bool { return x != 0 })
	}
	return converted(Data[float32](dst), src, func(x S) float32 { return float32(oddInt(x)) })
}

func castFloat[S float](dst *Tensor, src []S) func(lo, hi int) {
	if src, ok := any(src).([]float32); ok && dst.DType == onnx.Float16 { // nothing is rounded twice
		return converted(Data[float32](dst), src, func(x float32) float32 { return onnx.Float16ToFloat32(onnx.Float32ToFloat16(x)) })
	}
	switch dst.DType {
	case onnx.Double:
		return converted(Data[float64](dst), src, func(x S) float64 { return float64(x) })
	case onnx.Float16:
		return converted(Data[float32](dst), src, func(x S) float32 { return toFloat16(float64(x)) })
	case onnx.BFloat16:
		return converted(Data[float32](dst), src, func(x S) float32 { return toBFloat16(float64(x)) })
	case onnx.Int8:
		return converted(Data[int8](dst), src, func(x S) int8 { return int8(saturate(float64(x), math.MinInt8, math.MaxInt8)) })
	case onnx.Int16:
		return converted(Data[int16](dst), src, func(x S) int16 { return int16(saturate(float64(x), math.MinInt16, math.MaxInt16)) })
	case onnx.Int32:
		return converted(Data[int32](dst), src, func(x S) int32 { return int32(saturate(float64(x), math.MinInt32, math.MaxInt32)) })
	case onnx.Int64:
		return converted(Data[int64](dst), src, func(x S) int64 { return saturate(float64(x), math.MinInt64, math.MaxInt64) })
	case onnx.Uint8:
		return converted(Data[uint8](dst), src, func(x S) uint8 { return uint8(saturate(float64(x), 0, math.MaxUint8)) })
	case onnx.Uint16:
		return converted(Data[uint16](dst), src, func(x S) uint16 { return uint16(saturate(float64(x), 0, math.MaxUint16)) })
	case onnx.Uint32:
		return converted(Data[uint32](dst), src, func(x S) uint32 { return uint32(saturate(float64(x), 0, math.MaxUint32)) })
	case onnx.Uint64:
		return converted(Data[uint64](dst), src, func(x S) uint64 { return saturateUint64(float64(x)) })
	case onnx.Bool:
		return converted(Data[bool](dst), src, func(x S) bool { return x != 0 })
	}
	return converted(Data[float32](dst), src, func(x S) float32 { return float32(x) })
}

func converted[D, S Elem](dst []D, src []S, f func(S) D) func(lo, hi int) {
	return func(lo, hi int) {
		d, s := dst[lo:hi], src[lo:hi]
		for i, v := range s {
			d[i] = f(v)
		}
	}
}

// saturate truncates x toward zero into [lo, hi].
func saturate(x float64, lo, hi int64) int64 {
	switch {
	case x != x:
		return 0
	case x <= float64(lo):
		return lo
	case x >= float64(hi): // for MaxInt64 this is 2⁶³, the first that does not fit
		return hi
	}
	return int64(x)
}

func saturateUint64(x float64) uint64 {
	switch {
	case !(x > 0):
		return 0
	case x >= 1<<64:
		return math.MaxUint64
	case x >= 1<<63:
		return uint64(int64(x-1<<63)) + 1<<63
	}
	return uint64(int64(x))
}

// floatTo is a cast of x to any type of number, except 16-bit floats.
func floatTo[T number](x float64) T {
	var z T
	switch any(z).(type) {
	case float32, float64:
		return T(x)
	case int8:
		return T(saturate(x, math.MinInt8, math.MaxInt8))
	case int16:
		return T(saturate(x, math.MinInt16, math.MaxInt16))
	case int32:
		return T(saturate(x, math.MinInt32, math.MaxInt32))
	case int64:
		return T(saturate(x, math.MinInt64, math.MaxInt64))
	case uint8:
		return T(saturate(x, 0, math.MaxUint8))
	case uint16:
		return T(saturate(x, 0, math.MaxUint16))
	case uint32:
		return T(saturate(x, 0, math.MaxUint32))
	}
	return T(saturateUint64(x))
}

// toFloat16 and toBFloat16 round to the 16-bit type, held in a float32.
func toFloat16(x float64) float32 {
	return onnx.Float16ToFloat32(onnx.Float32ToFloat16(roundToOdd(x)))
}

func toBFloat16(x float64) float32 {
	return onnx.BFloat16ToFloat32(onnx.Float32ToBFloat16(roundToOdd(x)))
}

// roundToOdd is x as a float32 with its last bit set when it is not exact, so
// that rounding it again to fewer bits gives what rounding x itself would.
func roundToOdd(x float64) float32 {
	f := float32(x)
	if w := float64(f); w != x && x == x && !math.IsInf(x, 0) {
		b := math.Float32bits(f)
		if math.Abs(w) > math.Abs(x) {
			b-- // toward zero
		}
		f = math.Float32frombits(b | 1)
	}
	return f
}

// oddInt is x as a float64, rounded to odd where it has more than 53 bits. Going
// through it also spares the conversion of 64-bit integers to float32, which
// does not round to nearest on every machine.
func oddInt[S integer](x S) float64 {
	if x < 0 {
		i := int64(x)
		if i < -1<<53 && i&0x7ff != 0 {
			i = i&^0x7ff | 0x800
		}
		return float64(i)
	}
	u := uint64(x)
	if u >= 1<<53 && u&0x7ff != 0 {
		u = u&^0x7ff | 0x800
	}
	return float64(u)
}
