package ops

import (
	"slices"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

func TestLegacy(t *testing.T) {
	x := Of([]int{2, 3, 2}, []float32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11})
	channel := Of([]int{3}, []float32{10, 20, 30})
	for _, c := range []struct {
		name string
		tc   testCall
		want []float32
	}{
		{"broadcast along an axis", testCall{op: "Add", version: 1, in: []*Tensor{x, channel},
			attrs: map[string]onnx.Attr{"broadcast": attrInt(1), "axis": attrInt(1), "consumed_inputs": ints(0, 0)}},
			[]float32{10, 11, 22, 23, 34, 35, 16, 17, 28, 29, 40, 41}},
		{"broadcast at the end", testCall{op: "Mul", version: 6, in: []*Tensor{x, Of([]int{2}, []float32{1, 2})},
			attrs: map[string]onnx.Attr{"broadcast": attrInt(1)}},
			[]float32{0, 2, 2, 6, 4, 10, 6, 14, 8, 18, 10, 22}},
		{"a slope for each channel", testCall{op: "PRelu", version: 6, in: []*Tensor{Of([]int{1, 3, 2}, []float32{-1, 1, -1, 1, -1, 1}), channel}},
			[]float32{-10, 1, -20, 1, -30, 1}},
		{"paddings", testCall{op: "Pad", version: 1, in: []*Tensor{channel}, attrs: map[string]onnx.Attr{"paddings": ints(1, 0)}},
			[]float32{0, 10, 20, 30}},
		{"shape as an attribute", testCall{op: "Reshape", version: 1, in: []*Tensor{channel}, attrs: map[string]onnx.Attr{"shape": ints(3, -1)}},
			[]float32{10, 20, 30}},
		{"dropout", testCall{op: "Dropout", version: 6, in: []*Tensor{channel}, attrs: map[string]onnx.Attr{"is_test": attrInt(1)}},
			[]float32{10, 20, 30}},
		{"cast to a name", testCall{op: "Cast", version: 1, in: []*Tensor{int64s(7)}, attrs: map[string]onnx.Attr{"to": attrStr("FLOAT")}},
			[]float32{7}},
		{"scales of an image", testCall{op: "Upsample", version: 1, in: []*Tensor{Of([]int{1, 1, 1, 2}, []float32{1, 2})},
			attrs: map[string]onnx.Attr{"height_scale": attrFloat(2), "width_scale": attrFloat(1)}},
			[]float32{1, 2, 1, 2}},
	} {
		if got := Data[float32](c.tc.mustRun(t)[0]); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	testCall{op: "Add", version: 6, in: []*Tensor{x, channel}, attrs: map[string]onnx.Attr{"broadcast": attrInt(1), "axis": attrInt(2)}}.mustFail(t, true)
	testCall{op: "Dropout", version: 6, in: []*Tensor{channel}}.mustFail(t, false)
	testCall{op: "Add", version: 7, in: []*Tensor{x, channel}, attrs: map[string]onnx.Attr{"broadcast": attrInt(1)}}.mustFail(t, true)
}
