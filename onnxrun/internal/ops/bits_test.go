package ops

import (
	"math"
	"slices"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

func TestBits(t *testing.T) {
	a, b := Of([]int{2, 2}, []uint8{0xF0, 0x0F, 1, 255}), Of([]int{2}, []uint8{4, 9})
	for _, c := range []struct {
		op, direction string
		want          []uint8
	}{
		{"BitwiseAnd", "", []uint8{0, 9, 0, 9}},
		{"BitwiseOr", "", []uint8{0xF4, 0x0F, 5, 255}},
		{"BitwiseXor", "", []uint8{0xF4, 6, 5, 246}},
		{"BitShift", "LEFT", []uint8{0, 0, 16, 0}}, // by more bits than there are: nothing is left
		{"BitShift", "RIGHT", []uint8{0x0F, 0, 0, 0}},
	} {
		tc := testCall{op: c.op, in: []*Tensor{a, b}}
		if c.direction != "" {
			tc.attrs = map[string]onnx.Attr{"direction": attrStr(c.direction)}
		}
		if got := Data[uint8](tc.mustRun(t)[0]); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, want %v", tc, got, c.want)
		}
	}
	if got := Data[int16](testCall{op: "BitwiseNot", in: []*Tensor{Of([]int{2}, []int16{0, -1})}}.mustRun(t)[0]); !slices.Equal(got, []int16{-1, 0}) {
		t.Error(got)
	}
	testCall{op: "BitShift", in: []*Tensor{Of([]int{1}, []int8{1}), Of([]int{1}, []int8{1})}}.mustFail(t, true)
	testCall{op: "BitShift", in: []*Tensor{a, b}}.mustFail(t, true)
	testCall{op: "BitwiseAnd", in: []*Tensor{a, Of([]int{2}, []int8{1, 2})}}.mustFail(t, true)
}

// TestBitCast: 16-bit floats are held as float32 and are cast as 16 bits.
func TestBitCast(t *testing.T) {
	half := &Tensor{Type{DType: onnx.Float16, Shape: []int{3}}, Of([]int{3}, []float32{1, -2, float32(math.Inf(1))}).mem}
	to := func(d onnx.DType) map[string]onnx.Attr { return map[string]onnx.Attr{"to": attrInt(int(d))} }
	bits := testCall{op: "BitCast", version: 26, attrs: to(onnx.Uint16), in: []*Tensor{half}}.mustRun(t)[0]
	if !slices.Equal(Data[uint16](bits), []uint16{0x3C00, 0xC000, 0x7C00}) {
		t.Errorf("%x", Data[uint16](bits))
	}
	back := testCall{op: "BitCast", version: 26, attrs: to(onnx.Float16), in: []*Tensor{bits}}.mustRun(t)[0]
	if !slices.Equal(back.mem, half.mem) {
		t.Error(Data[float32](back))
	}
	f := testCall{op: "BitCast", version: 26, attrs: to(onnx.Int32), in: []*Tensor{Of([]int{1}, []float32{-0.5})}}.mustRun(t)[0]
	if uint32(Data[int32](f)[0]) != math.Float32bits(-0.5) {
		t.Error(Data[int32](f))
	}
	testCall{op: "BitCast", version: 26, attrs: to(onnx.Int64), in: []*Tensor{half}}.mustFail(t, true)
	testCall{op: "BitCast", version: 26, attrs: to(onnx.String), in: []*Tensor{half}}.mustFail(t, false)
}

func TestIsNaNIsInf(t *testing.T) {
	x := Of([]int{4}, []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0})
	for _, c := range []struct {
		op    string
		attrs map[string]onnx.Attr
		want  []bool
	}{
		{"IsNaN", nil, []bool{true, false, false, false}},
		{"IsInf", nil, []bool{false, true, true, false}},
		{"IsInf", map[string]onnx.Attr{"detect_negative": attrInt(0)}, []bool{false, true, false, false}},
		{"IsInf", map[string]onnx.Attr{"detect_positive": attrInt(0)}, []bool{false, false, true, false}},
	} {
		if got := Data[bool](testCall{op: c.op, attrs: c.attrs, in: []*Tensor{x}}.mustRun(t)[0]); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.op, got, c.want)
		}
	}
	testCall{op: "IsNaN", in: []*Tensor{int64s(1)}}.mustFail(t, true)
}
