package onnxrun

import (
	"fmt"
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// Tensor is a value outside the runtime: a shape and its elements in row-major
// order. A scalar has an empty shape. Data is a slice of the element type:
// []float32 (float16 and bfloat16 as well), []float64, []bool, or a slice of
// any integer type of 8 to 64 bits.
type Tensor struct {
	Name  string // the input or output; inputs without a name go by position
	Shape []int
	Data  any
}

// DType is an element type, as ONNX numbers them; String gives its name.
type DType = onnx.DType

// Dim is a declared dimension: Size, or -1 and perhaps a name.
type Dim = onnx.Dim

// Info describes an input or an output as the model declares it.
type Info struct {
	Name  string
	DType DType
	Dims  []Dim
}

func infos(values []onnx.Value) []Info {
	list := make([]Info, len(values))
	for i, v := range values {
		list[i] = Info{v.Name, v.DType, v.Dims}
	}
	return list
}

// accepts reports how a shape breaks the declaration; "" when it does not.
func (in Info) accepts(shape []int) string {
	for _, d := range shape {
		if d < 0 {
			return fmt.Sprintf("shape %v has a negative dimension", shape)
		}
	}
	if in.Dims == nil {
		return ""
	}
	ok := len(shape) == len(in.Dims)
	for i := 0; ok && i < len(shape); i++ {
		ok = in.Dims[i].Size < 0 || in.Dims[i].Size == shape[i]
	}
	if ok {
		return ""
	}
	return fmt.Sprintf("has shape %v, want %s", shape, FormatDims(in.Dims))
}

// FormatDims prints declared dimensions: [batch,3,32,32].
func FormatDims(dims []Dim) string {
	s := "["
	for i, d := range dims {
		if i > 0 {
			s += ","
		}
		switch {
		case d.Size >= 0:
			s += fmt.Sprint(d.Size)
		case d.Param != "":
			s += d.Param
		default:
			s += "?"
		}
	}
	return s + "]"
}

// dtypeOf is the element type of a Tensor's data and its length.
func dtypeOf(data any) (DType, int, bool) {
	switch d := data.(type) {
	case []float32:
		return onnx.Float, len(d), true
	case []float64:
		return onnx.Double, len(d), true
	case []int8:
		return onnx.Int8, len(d), true
	case []int16:
		return onnx.Int16, len(d), true
	case []int32:
		return onnx.Int32, len(d), true
	case []int64:
		return onnx.Int64, len(d), true
	case []uint8:
		return onnx.Uint8, len(d), true
	case []uint16:
		return onnx.Uint16, len(d), true
	case []uint32:
		return onnx.Uint32, len(d), true
	case []uint64:
		return onnx.Uint64, len(d), true
	case []bool:
		return onnx.Bool, len(d), true
	}
	return 0, 0, false
}

// fill copies a Tensor's data into t, whose type has been checked.
func fill(t *ops.Tensor, data any) {
	switch d := data.(type) {
	case []float32:
		copy(ops.Data[float32](t), d)
	case []float64:
		copy(ops.Data[float64](t), d)
	case []int8:
		copy(ops.Data[int8](t), d)
	case []int16:
		copy(ops.Data[int16](t), d)
	case []int32:
		copy(ops.Data[int32](t), d)
	case []int64:
		copy(ops.Data[int64](t), d)
	case []uint8:
		copy(ops.Data[uint8](t), d)
	case []uint16:
		copy(ops.Data[uint16](t), d)
	case []uint32:
		copy(ops.Data[uint32](t), d)
	case []uint64:
		copy(ops.Data[uint64](t), d)
	case []bool:
		copy(ops.Data[bool](t), d)
	}
}

// copyOut is a Tensor with a copy of t.
func copyOut(name string, t *ops.Tensor) Tensor {
	out := Tensor{Name: name, Shape: slices.Clone(t.Shape)}
	switch {
	case ops.IsFloat32(t.DType):
		out.Data = clone[float32](t)
	case t.DType == onnx.Double:
		out.Data = clone[float64](t)
	case t.DType == onnx.Int8:
		out.Data = clone[int8](t)
	case t.DType == onnx.Int16:
		out.Data = clone[int16](t)
	case t.DType == onnx.Int32:
		out.Data = clone[int32](t)
	case t.DType == onnx.Int64:
		out.Data = clone[int64](t)
	case t.DType == onnx.Uint8:
		out.Data = clone[uint8](t)
	case t.DType == onnx.Uint16:
		out.Data = clone[uint16](t)
	case t.DType == onnx.Uint32:
		out.Data = clone[uint32](t)
	case t.DType == onnx.Uint64:
		out.Data = clone[uint64](t)
	case t.DType == onnx.Bool:
		out.Data = clone[bool](t)
	}
	return out
}

func clone[T ops.Elem](t *ops.Tensor) []T {
	d := make([]T, t.Elems())
	copy(d, ops.Data[T](t))
	return d
}
