package main

import (
	"fmt"
	"math"

	"sampleonnx/cmd/sampleonnx/internal/npy"
	"sampleonnx/onnxrun"
)

// tensor makes an array the input that info describes. An element type that numpy chose by default (float64, int64) is changed to the wanted one
// where no value changes; floats may be rounded.
func tensor(info onnxrun.Info, a npy.Array) (onnxrun.Tensor, error) {
	t := onnxrun.Tensor{Name: info.Name, Shape: a.Shape}
	var err error
	switch want := info.DType.String(); want {
	case "float32", "float16", "bfloat16":
		t.Data, err = a.Float32s()
	case "float64":
		t.Data, err = a.Float64s()
	case "bool":
		data, ok := a.Data.([]bool)
		if !ok {
			err = fmt.Errorf("want booleans, have %T", a.Data)
		}
		t.Data = data
	default:
		t.Data, err = integers(want, a)
	}
	if err != nil {
		return t, usagef("input %q: %v", info.Name, err)
	}
	return t, nil
}

func integers(want string, a npy.Array) (any, error) {
	if u, ok := a.Data.([]uint64); ok && want == "uint64" {
		return u, nil
	}
	v, err := a.Int64s()
	if err != nil {
		return nil, err
	}
	switch want {
	case "int64":
		return v, nil
	case "int32":
		return narrow[int32](v, math.MinInt32, math.MaxInt32)
	case "int16":
		return narrow[int16](v, math.MinInt16, math.MaxInt16)
	case "int8":
		return narrow[int8](v, math.MinInt8, math.MaxInt8)
	case "uint8":
		return narrow[uint8](v, 0, math.MaxUint8)
	case "uint16":
		return narrow[uint16](v, 0, math.MaxUint16)
	case "uint32":
		return narrow[uint32](v, 0, math.MaxUint32)
	case "uint64":
		return narrow[uint64](v, 0, math.MaxInt64)
	}
	return nil, fmt.Errorf("element type %s cannot be read from a file", want)
}

func narrow[T int8 | int16 | int32 | uint8 | uint16 | uint32 | uint64](v []int64, lo, hi int64) ([]T, error) {
	out := make([]T, len(v))
	for i, x := range v {
		if x < lo || x > hi {
			return nil, fmt.Errorf("%d does not fit the input's type", x)
		}
		out[i] = T(x)
	}
	return out, nil
}

// elements is how many values an array of a shape has.
func elements(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
