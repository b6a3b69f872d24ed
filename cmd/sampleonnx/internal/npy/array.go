// Package npy reads and writes NumPy's .npy and .npz files.
//
// Input is never trusted: a header is bounded, a shape must be that of the bytes that are there, an archive's members cannot be larger than
// compression allows, and memory is taken once, after package bounded has counted it.
package npy

import (
	"fmt"
	"math"
)

// Array is a dense array in C order. Data is one of []float32, []float64, []Float16, []int8, []int16, []int32, []int64, []uint8, []uint16,
// []uint32, []uint64, []bool or []string, with as many elements as Shape asks for (one for an empty Shape).
type Array struct {
	Shape []int
	Data  any
}

// Float16 holds the bits of an IEEE 754 half.
type Float16 uint16

// Float32 widens h; every half is exactly a float32.
func (h Float16) Float32() float32 {
	sign := uint32(h>>15) << 31
	exp := uint32(h>>10) & 31
	frac := uint32(h) & 1023
	switch {
	case exp == 31:
		return math.Float32frombits(sign | 0xff<<23 | frac<<13)
	case exp > 0:
		return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
	}
	v := float32(frac) * (1.0 / (1 << 24))
	if sign != 0 {
		v = -v
	}
	return v
}

// ToFloat16 rounds to the nearest half, ties to even.
func ToFloat16(f float32) Float16 {
	b := math.Float32bits(f)
	sign := uint16(b>>16) & 0x8000
	a := b & 0x7fffffff
	switch {
	case a > 0x7f800000:
		return Float16(sign | 0x7e00)
	case a >= 0x47800000: // 65536 and beyond, infinity
		return Float16(sign | 0x7c00)
	case a >= 0x38800000: // a normal half; a carry out of the fraction may reach infinity, rightly
		a += 0xfff + (a>>13)&1
		return Float16(sign | uint16((a-0x38000000)>>13))
	case a < 0x33000000: // below half of the smallest subnormal
		return Float16(sign)
	}
	shift := 126 - a>>23
	frac := a&0x7fffff | 0x800000
	half := uint32(1) << (shift - 1)
	v := frac >> shift
	if rest := frac & (2*half - 1); rest > half || rest == half && v&1 == 1 {
		v++
	}
	return Float16(sign | uint16(v))
}

// Len is the number of elements of the data, or -1 for data of a type that Array does not carry.
func (a Array) Len() int {
	switch d := a.Data.(type) {
	case []float32:
		return len(d)
	case []float64:
		return len(d)
	case []Float16:
		return len(d)
	case []int8:
		return len(d)
	case []int16:
		return len(d)
	case []int32:
		return len(d)
	case []int64:
		return len(d)
	case []uint8:
		return len(d)
	case []uint16:
		return len(d)
	case []uint32:
		return len(d)
	case []uint64:
		return len(d)
	case []bool:
		return len(d)
	case []string:
		return len(d)
	}
	return -1
}

// Float64s converts a numeric array.
func (a Array) Float64s() ([]float64, error) { return numbers[float64](a) }

// Float32s converts a numeric array; an array of float32 is returned as it is.
func (a Array) Float32s() ([]float32, error) {
	if d, ok := a.Data.([]float32); ok {
		return d, nil
	}
	return numbers[float32](a)
}

// Int64s converts an array of integers or booleans.
func (a Array) Int64s() ([]int64, error) {
	switch d := a.Data.(type) {
	case []int64:
		return d, nil
	case []float32, []float64, []Float16:
		return nil, fmt.Errorf("want integers, have %T", a.Data)
	case []uint64:
		for _, v := range d {
			if v > math.MaxInt64 {
				return nil, fmt.Errorf("%d does not fit an int64", v)
			}
		}
	}
	return numbers[int64](a)
}

// Text is the one string of a scalar or one-element array of strings.
func (a Array) Text() (string, error) {
	if s, ok := a.Data.([]string); ok && len(s) == 1 {
		return s[0], nil
	}
	return "", fmt.Errorf("want one string, have %T of shape %v", a.Data, a.Shape)
}

func numbers[T float32 | float64 | int64](a Array) ([]T, error) {
	switch d := a.Data.(type) {
	case []float32:
		return convert[T](d), nil
	case []float64:
		return convert[T](d), nil
	case []int8:
		return convert[T](d), nil
	case []int16:
		return convert[T](d), nil
	case []int32:
		return convert[T](d), nil
	case []int64:
		return convert[T](d), nil
	case []uint8:
		return convert[T](d), nil
	case []uint16:
		return convert[T](d), nil
	case []uint32:
		return convert[T](d), nil
	case []uint64:
		return convert[T](d), nil
	case []Float16:
		out := make([]T, len(d))
		for i, v := range d {
			out[i] = T(v.Float32())
		}
		return out, nil
	case []bool:
		out := make([]T, len(d))
		for i, v := range d {
			if v {
				out[i] = 1
			}
		}
		return out, nil
	}
	return nil, fmt.Errorf("want numbers, have %T", a.Data)
}

type number interface {
	~float32 | ~float64 | ~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64
}

func convert[T float32 | float64 | int64, S number](src []S) []T {
	out := make([]T, len(src))
	for i, v := range src {
		out[i] = T(v)
	}
	return out
}

// elements multiplies a shape out, and reports whether the product fits an int.
func elements(shape []int) (int, bool) {
	n := 1
	for _, d := range shape {
		if d < 0 {
			return 0, false
		}
		if d != 0 && n > math.MaxInt/d {
			return 0, false
		}
		n *= d
	}
	return n, true
}
