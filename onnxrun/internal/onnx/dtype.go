package onnx

import "fmt"

// DType is an element type; the numbers are those of onnx.TensorProto.DataType.
type DType int32

const (
	Float    DType = 1
	Uint8    DType = 2
	Int8     DType = 3
	Uint16   DType = 4
	Int16    DType = 5
	Int32    DType = 6
	Int64    DType = 7
	String   DType = 8
	Bool     DType = 9
	Float16  DType = 10
	Double   DType = 11
	Uint32   DType = 12
	Uint64   DType = 13
	BFloat16 DType = 16
)

// lastDType is the highest element type that onnx.proto defines.
const lastDType = 28

// DTypeOf is the element type that a number of a file means; false where that is
// none that ONNX defines.
func DTypeOf(n int64) (DType, bool) {
	if n < 0 || n > lastDType {
		return 0, false
	}
	return DType(n), true
}

var dtypes = map[DType]struct {
	name string
	size int // 0: not read here
}{
	0:     {"undefined", 0},
	Float: {"float32", 4}, Uint8: {"uint8", 1}, Int8: {"int8", 1}, Uint16: {"uint16", 2},
	Int16: {"int16", 2}, Int32: {"int32", 4}, Int64: {"int64", 8}, String: {"string", 0},
	Bool: {"bool", 1}, Float16: {"float16", 2}, Double: {"float64", 8}, Uint32: {"uint32", 4},
	Uint64: {"uint64", 8}, BFloat16: {"bfloat16", 2},
	14: {"complex64", 0}, 15: {"complex128", 0}, 17: {"float8e4m3fn", 0}, 18: {"float8e4m3fnuz", 0}, 19: {"float8e5m2", 0},
	20: {"float8e5m2fnuz", 0}, 21: {"uint4", 0}, 22: {"int4", 0}, 23: {"float4e2m1", 0}, 24: {"float8e8m0", 0}, 25: {"uint2", 0}, 26: {"int2", 0},
}

// Size is the number of bytes an element takes in a file; 0 for strings and
// for types this project does not read.
func (d DType) Size() int { return dtypes[d].size }

func (d DType) String() string {
	if t, ok := dtypes[d]; ok {
		return t.name
	}
	return fmt.Sprintf("dtype %d", int32(d))
}
