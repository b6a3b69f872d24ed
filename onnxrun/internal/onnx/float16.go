package onnx

import "math"

// Float16ToFloat32 widens an IEEE 754 binary16 number; every one has its exact
// float32.
func Float16ToFloat32(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp := uint32(h>>10) & 0x1f
	man := uint32(h) & 0x3ff
	switch exp {
	case 0: // zero or subnormal: man·2⁻²⁴, exact in float32
		return math.Float32frombits(math.Float32bits(float32(man)*0x1p-24) | sign)
	case 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | man<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | man<<13)
}

// Float32ToFloat16 rounds to the nearest binary16 number, ties to even.
// Overflow gives ±Inf; a NaN stays a NaN.
func Float32ToFloat16(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b>>16) & 0x8000
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000: // NaN: keep the payload's top, make it quiet
		return sign | 0x7e00 | uint16(b>>13)&0x3ff
	case b >= 0x47800000: // 2¹⁶ and above
		return sign | 0x7c00
	case b < 0x38800000: // below 2⁻¹⁴: subnormal or zero
		// Adding ½ lets the adder round: its ulp there, 2⁻²⁴, is the ulp of
		// subnormal binary16.
		return sign | uint16(math.Float32bits(math.Float32frombits(b)+0.5)-0x3f000000)
	}
	// The carry of the rounding runs into the exponent, as it should.
	b += 0xfff + b>>13&1
	return sign | uint16((b-112<<23)>>13)
}

// BFloat16ToFloat32 widens a bfloat16 number: the upper half of a float32.
func BFloat16ToFloat32(h uint16) float32 {
	return math.Float32frombits(uint32(h) << 16)
}

// Float32ToBFloat16 rounds to the nearest bfloat16 number, ties to even.
func Float32ToBFloat16(f float32) uint16 {
	b := math.Float32bits(f)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}
