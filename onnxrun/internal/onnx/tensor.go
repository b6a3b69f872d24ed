package onnx

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Elems is the number of elements: the product of the shape, 1 for a scalar.
func (t *Tensor) Elems() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Float32s writes the elements, converted, to dst, which must have Elems()
// elements.
func (t *Tensor) Float32s(dst []float32) error { return Decode(dst, t) }

// Float64s is Float32s for float64.
func (t *Tensor) Float64s(dst []float64) error { return Decode(dst, t) }

// Int64s is Float32s for int64. Floats are truncated as Go does.
func (t *Tensor) Int64s(dst []int64) error { return Decode(dst, t) }

// Bools writes to dst whether each element differs from zero.
func (t *Tensor) Bools(dst []bool) error {
	if t.DType != Bool {
		wide := make([]float64, len(dst))
		if err := t.Float64s(wide); err != nil {
			return err
		}
		for i, v := range wide {
			dst[i] = v != 0
		}
		return nil
	}
	if err := t.check(len(dst)); err != nil {
		return err
	}
	for i, v := range t.Raw {
		dst[i] = v != 0
	}
	return nil
}

// Number is what elements can be converted to.
type Number interface {
	~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~float32 | ~float64
}

// Decode writes the elements of t, converted as Go converts numbers (a bool is
// 0 or 1), to dst, which must have t.Elems() elements. It fails for strings and
// for element types that this project does not read.
func Decode[T Number](dst []T, t *Tensor) error {
	if err := t.check(len(dst)); err != nil {
		return err
	}
	raw := t.Raw
	switch t.DType {
	case Float:
		for i := range dst {
			dst[i] = T(math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:])))
		}
	case Double:
		for i := range dst {
			dst[i] = T(math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:])))
		}
	case Float16:
		for i := range dst {
			dst[i] = T(Float16ToFloat32(binary.LittleEndian.Uint16(raw[2*i:])))
		}
	case BFloat16:
		for i := range dst {
			dst[i] = T(BFloat16ToFloat32(binary.LittleEndian.Uint16(raw[2*i:])))
		}
	case Int64:
		for i := range dst {
			dst[i] = T(int64(binary.LittleEndian.Uint64(raw[8*i:])))
		}
	case Uint64:
		for i := range dst {
			dst[i] = T(binary.LittleEndian.Uint64(raw[8*i:]))
		}
	case Int32:
		for i := range dst {
			dst[i] = T(int32(binary.LittleEndian.Uint32(raw[4*i:])))
		}
	case Uint32:
		for i := range dst {
			dst[i] = T(binary.LittleEndian.Uint32(raw[4*i:]))
		}
	case Int16:
		for i := range dst {
			dst[i] = T(int16(binary.LittleEndian.Uint16(raw[2*i:])))
		}
	case Uint16:
		for i := range dst {
			dst[i] = T(binary.LittleEndian.Uint16(raw[2*i:]))
		}
	case Int8:
		for i := range dst {
			dst[i] = T(int8(raw[i]))
		}
	case Uint8:
		for i := range dst {
			dst[i] = T(raw[i])
		}
	case Bool:
		for i := range dst {
			dst[i] = 0
			if raw[i] != 0 {
				dst[i] = 1
			}
		}
	}
	return nil
}

// check is for tensors built by hand as much as for those of a file.
func (t *Tensor) check(n int) error {
	size := t.DType.Size()
	switch {
	case size == 0:
		return fmt.Errorf("onnxrun: elements of type %s cannot be read as numbers", t.DType)
	case t.Elems() != n || len(t.Raw) != n*size:
		return fmt.Errorf("onnxrun: %v %s in %d bytes cannot be read as %d elements", t.Shape, t.DType, len(t.Raw), n)
	}
	return nil
}
