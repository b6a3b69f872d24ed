package ops

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

// TestRoiAlign: samples of a plane y = a + b·i + c·j are its values at the
// samples' places.
func TestRoiAlign(t *testing.T) {
	x := New(Type{DType: onnx.Float, Shape: []int{1, 1, 8, 8}})
	for i := range 64 {
		Data[float32](x)[i] = float32(1 + 2*(i/8) + i%8)
	}
	rois := Of([]int{1, 4}, []float32{1, 2, 5, 6}) // x from 1 to 5, y from 2 to 6
	attrs := map[string]onnx.Attr{"output_height": attrInt(2), "output_width": attrInt(2), "sampling_ratio": attrInt(2),
		"coordinate_transformation_mode": attrStr("output_half_pixel")}
	tc := testCall{op: "RoiAlign", attrs: attrs, in: []*Tensor{x, rois, int64s(0)}, runtime: []bool{true, true, true}}
	at := func(y, x float64) float64 { return 1 + 2*y + x }
	near(t, tc, Data[float32](tc.mustRun(t)[0]), []float64{at(3, 2), at(3, 4), at(5, 2), at(5, 4)}, 1e-6)
	attrs["coordinate_transformation_mode"] = attrStr("half_pixel")
	near(t, tc, Data[float32](tc.mustRun(t)[0]), []float64{at(2.5, 1.5), at(2.5, 3.5), at(4.5, 1.5), at(4.5, 3.5)}, 1e-6)
	delete(attrs, "sampling_ratio")
	near(t, tc, Data[float32](tc.mustRun(t)[0]), []float64{at(2.5, 1.5), at(2.5, 3.5), at(4.5, 1.5), at(4.5, 3.5)}, 1e-6)
	testCall{op: "RoiAlign", in: []*Tensor{x, rois, int64s(0, 1)}}.mustFail(t, true)
	defer func() {
		if err, ok := recover().(error); !ok || !errors.As(err, new(*IndexError)) {
			t.Errorf("an image beyond the batch gives %v, want an IndexError", err)
		}
	}()
	tc.in[2] = int64s(1)
	tc.run()
}

// TestDeformConv: without offsets it is a convolution, and with whole ones a
// convolution of the moved image.
func TestDeformConv(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 13))
	x, w, b := randn(r, 2, 4, 5, 6), randn(r, 6, 2, 3, 2), randn(r, 6)
	attrs := map[string]onnx.Attr{"group": attrInt(2), "pads": ints(1, 0, 1, 1), "strides": ints(1, 2), "dilations": ints(1, 2)}
	conv := testCall{op: "Conv", attrs: attrs, in: []*Tensor{x, w, b}}.mustRun(t)[0]
	off := New(Type{DType: onnx.Float, Shape: []int{2, 12, conv.Shape[2], conv.Shape[3]}})
	tc := testCall{op: "DeformConv", attrs: attrs, in: []*Tensor{x, w, off, b}}
	agree(t, tc, tc.mustRun(t)[0], refOf(conv), 1e-5)

	for i := range Data[float32](off) {
		Data[float32](off)[i] = 1
	}
	moved := New(x.Type)
	for i := range Data[float32](moved) {
		if col := i % 6; col < 5 && i/6%5 < 4 {
			Data[float32](moved)[i] = Data[float32](x)[i+7]
		}
	}
	attrs = map[string]onnx.Attr{"group": attrInt(2)}
	conv = testCall{op: "Conv", attrs: attrs, in: []*Tensor{moved, w, b}}.mustRun(t)[0]
	off = New(Type{DType: onnx.Float, Shape: []int{2, 12, conv.Shape[2], conv.Shape[3]}})
	for i := range Data[float32](off) {
		Data[float32](off)[i] = 1
	}
	mask := New(Type{DType: onnx.Float, Shape: []int{2, 6, conv.Shape[2], conv.Shape[3]}})
	for i := range Data[float32](mask) {
		Data[float32](mask)[i] = 1
	}
	tc = testCall{op: "DeformConv", attrs: attrs, in: []*Tensor{x, w, off, b, mask}}
	agree(t, tc, tc.mustRun(t)[0], refOf(conv), 1e-5)
	// However far outside there is zero; an offset that is no number gives none.
	for offset, outside := range map[float64]bool{math.Inf(1): true, math.Inf(-1): true, -math.MaxFloat32: true, math.MaxFloat32: true, math.NaN(): false} {
		for i := range Data[float32](off) {
			Data[float32](off)[i] = float32(offset)
		}
		for i, v := range Data[float32](tc.mustRun(t)[0]) {
			bias := Data[float32](b)[i/elems(conv.Shape[2:])%6]
			if outside && v != bias || !outside && v == v {
				t.Fatalf("offsets of %v give %v, the bias is %v", offset, v, bias)
			}
		}
	}
	tc.in[2] = randn(r, 2, 11, conv.Shape[2], conv.Shape[3])
	tc.mustFail(t, true)
}
