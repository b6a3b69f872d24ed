package ops

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

func TestQuantizeLinear(t *testing.T) {
	inf := float32(math.Inf(1))
	x := Of([]int{6}, []float32{0.5, 1.5, -2.5, 1000, -inf, 3})
	scale, zero := Of([]int{}, []float32{1}), Of([]int{}, []int8{1})
	got := testCall{op: "QuantizeLinear", in: []*Tensor{x, scale, zero}, runtime: []bool{true, true, true}}.mustRun(t)[0]
	if want := []int8{1, 3, -1, 127, -128, 4}; !slices.Equal(Data[int8](got), want) {
		t.Errorf("%v, want %v", Data[int8](got), want) // half to even, then the zero point
	}
	// A scale for each row, then one for each pair of columns.
	x = Of([]int{2, 4}, []float32{1, 2, 3, 4, 5, 6, 7, 8})
	rows := testCall{op: "QuantizeLinear", in: []*Tensor{x, Of([]int{2}, []float32{1, 2})}, attrs: map[string]onnx.Attr{"axis": attrInt(0)}}
	if got := rows.mustRun(t)[0]; got.DType != onnx.Uint8 || !slices.Equal(Data[uint8](got), []uint8{1, 2, 3, 4, 2, 3, 4, 4}) {
		t.Error(got.DType, Data[uint8](got))
	}
	scales := Of([]int{2, 2}, []float32{1, 2, 4, 8})
	pairs := testCall{op: "DequantizeLinear", in: []*Tensor{Of([]int{2, 4}, []int16{1, 2, 3, 4, 5, 6, 7, 8}), scales, Of([]int{2, 2}, []int16{0, 0, 1, 1})},
		attrs: map[string]onnx.Attr{"block_size": attrInt(2)}}
	if got := Data[float32](pairs.mustRun(t)[0]); !slices.Equal(got, []float32{1, 2, 6, 8, 16, 20, 48, 56}) {
		t.Error(got)
	}
	testCall{op: "QuantizeLinear", in: []*Tensor{x, Of([]int{3}, []float32{1, 2, 3})}}.mustFail(t, true)
	testCall{op: "QuantizeLinear", in: []*Tensor{x, scale}, attrs: map[string]onnx.Attr{"output_dtype": attrInt(22)}}.mustFail(t, false)
	testCall{op: "DequantizeLinear", in: []*Tensor{x, scale}}.mustFail(t, true)
}

func TestDynamicQuantizeLinear(t *testing.T) {
	for _, c := range []struct {
		x     []float32
		scale float32
		zero  uint8
	}{
		{[]float32{0, 2, -3, -2.5, 1.34, 0.5}, 5. / 255, 153},
		{[]float32{1, 2}, 2. / 255, 0},
		{[]float32{0, 0}, 1. / 255, 0},
	} {
		out := testCall{op: "DynamicQuantizeLinear", in: []*Tensor{Of([]int{len(c.x)}, c.x)}, outs: 3}.mustRun(t)
		if Data[float32](out[1])[0] != c.scale || Data[uint8](out[2])[0] != c.zero {
			t.Errorf("%v: scale %v, zero point %v, want %v and %v", c.x, Data[float32](out[1])[0], Data[uint8](out[2])[0], c.scale, c.zero)
		}
		for i, q := range Data[uint8](out[0]) {
			if back := (float32(q) - float32(c.zero)) * c.scale; math.Abs(float64(back-c.x[i])) > float64(c.scale) {
				t.Errorf("%v: element %d comes back as %v", c.x, i, back)
			}
		}
	}
}

func randBytes[T int8 | uint8](r *rand.Rand, shape ...int) *Tensor {
	d := make([]T, elems(shape))
	for i := range d {
		d[i] = T(r.IntN(256))
	}
	return Of(shape, d)
}

// shifted is a tensor of bytes as floats, less a zero point.
func shifted(x *Tensor, zero float32) *Tensor {
	f := New(Type{DType: onnx.Float, Shape: x.Shape})
	caster(f, x)(0, x.Elems())
	for i := range Data[float32](f) {
		Data[float32](f)[i] -= zero
	}
	return f
}

// TestIntegerProducts: products of bytes are those of floats.
func TestIntegerProducts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 14))
	same := func(tc, as testCall) {
		t.Helper()
		got, want := tc.mustRun(t)[0], plain(as.mustRun(t)[0])
		if !slices.Equal(got.Shape, want.Shape) {
			t.Fatalf("%v: shape %v, want %v", tc, got.Shape, want.Shape)
		}
		for i, v := range Data[int32](got) {
			if float32(v) != Data[float32](want)[i] {
				t.Fatalf("%v: element %d is %v, want %v", tc, i, v, Data[float32](want)[i])
			}
		}
	}
	for _, s := range [][2][]int{{{3, 4}, {4, 5}}, {{2, 1, 3, 4}, {3, 4, 5}}, {{4}, {4, 5}}, {{3, 4}, {4}}, {{4}, {4}}, {{0, 4}, {4, 2}}} {
		a, b := randBytes[uint8](r, s[0]...), randBytes[int8](r, s[1]...)
		all := []bool{true, true, true, true}
		same(testCall{op: "MatMulInteger", in: []*Tensor{a, b, Of([]int{}, []uint8{3}), Of([]int{}, []int8{-5})}, runtime: all},
			testCall{op: "MatMul", in: []*Tensor{shifted(a, 3), shifted(b, -5)}})
	}
	x, w := randBytes[uint8](r, 2, 4, 5, 6), randBytes[int8](r, 6, 2, 3, 2)
	attrs := map[string]onnx.Attr{"group": attrInt(2), "pads": ints(1, 0, 1, 1), "strides": ints(1, 2), "dilations": ints(1, 2)}
	same(testCall{op: "ConvInteger", attrs: attrs, in: []*Tensor{x, w, Of([]int{}, []uint8{3}), Of([]int{6}, []int8{1, 1, 1, 1, 1, 1})}},
		testCall{op: "Conv", attrs: attrs, in: []*Tensor{shifted(x, 3), shifted(w, 1)}})

	// A zero point for each column.
	a, b := Of([]int{1, 2}, []int8{1, 2}), Of([]int{2, 2}, []int8{3, 4, 5, 6})
	got := testCall{op: "MatMulInteger", in: []*Tensor{a, b, nil, Of([]int{2}, []int8{0, 1})}}.mustRun(t)[0]
	if !slices.Equal(Data[int32](got), []int32{13, 13}) {
		t.Error(Data[int32](got))
	}
	// The result saturates.
	one := func(v float32) *Tensor { return Of([]int{}, []float32{v}) }
	zero := Of([]int{}, []int8{0})
	got = testCall{op: "QLinearMatMul", in: []*Tensor{a, one(1), zero, b, one(1), zero, one(0.1), zero}}.mustRun(t)[0]
	if !slices.Equal(Data[int8](got), []int8{127, 127}) {
		t.Error(Data[int8](got))
	}
	testCall{op: "MatMulInteger", in: []*Tensor{a, Of([]int{3, 1}, []int8{1, 2, 3})}}.mustFail(t, true)
	testCall{op: "MatMulInteger", in: []*Tensor{a, int64s(1, 2)}}.mustFail(t, true)
	testCall{op: "ConvInteger", in: []*Tensor{x, w}}.mustFail(t, true)
}
