package onnxrun_test

import (
	"math"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

// TestFoundConfigurations keeps what random configurations found: mistakes, and
// places where runtimes differ and the text of the standard decides.
func TestFoundConfigurations(t *testing.T) {
	of := func(dtype onnx.DType, shape []int, data ...float64) *array { return &array{dtype, shape, data} }
	for _, w := range []struct {
		name string
		node randomNode
		want *array
	}{
		{"the default scale of float64 attention was rounded to float32",
			randomNode{op: "Attention", opset: 23, in: []*array{of(onnx.Double, []int{1, 1, 1, 2}, 3, 4),
				of(onnx.Double, []int{1, 1, 2, 2}, 1, 0, 0, 1), of(onnx.Double, []int{1, 1, 2, 1}, 0, 1)}},
			of(onnx.Double, []int{1, 1, 1, 1}, 1/(1+math.Exp(-1/math.Sqrt2)))},
		{"SAME_UPPER that would pad by less than nothing pads by nothing",
			randomNode{op: "AveragePool", opset: 19, attrs: map[string]any{"auto_pad": "SAME_UPPER", "kernel_shape": []int{1}, "strides": []int{3}},
				in: []*array{of(onnx.Float, []int{1, 1, 6}, 0, 1, 2, 3, 4, 5)}},
			of(onnx.Float, []int{1, 1, 2}, 0, 3)},
		{"SAME_UPPER counts the dilation",
			randomNode{op: "MaxPool", opset: 12, attrs: map[string]any{"auto_pad": "SAME_UPPER", "kernel_shape": []int{2}, "dilations": []int{3}},
				in: []*array{of(onnx.Float, []int{1, 1, 4}, 5, 1, 2, 3)}},
			of(onnx.Float, []int{1, 1, 4}, 2, 5, 1, 2)},
		{"VALID is not rounded up by ceil_mode",
			randomNode{op: "MaxPool", opset: 22, attrs: map[string]any{"auto_pad": "VALID", "kernel_shape": []int{3}, "strides": []int{2}, "ceil_mode": 1},
				in: []*array{of(onnx.Float, []int{1, 1, 4}, 5, 1, 2, 3)}},
			of(onnx.Float, []int{1, 1, 1}, 5)},
		{"an end beyond the last element is the last element when stepping backward",
			randomNode{op: "Slice", opset: 13, in: []*array{of(onnx.Float, []int{3}, 0, 1, 2), int64s(2), int64s(math.MaxInt32), int64s(0), int64s(-1)}},
			of(onnx.Float, []int{0})},
		{"align_corners of a scale divides by a length that is not cut",
			randomNode{op: "Resize", opset: 13, attrs: map[string]any{"mode": "linear", "coordinate_transformation_mode": "align_corners"},
				in: []*array{of(onnx.Float, []int{1, 1, 4}, 0, 1, 2, 3), nil, of(onnx.Float, []int{3}, 1, 1, 0.625)}, fixed: []bool{false, false, true}},
			of(onnx.Float, []int{1, 1, 2}, 0, 2)},
		{"a resizing by 1 moves nothing, whatever the coordinates",
			randomNode{op: "Resize", opset: 11, attrs: map[string]any{"mode": "linear", "coordinate_transformation_mode": "tf_half_pixel_for_nn"},
				in: []*array{of(onnx.Float, []int{1, 2, 2}, 0, 1, 2, 3), of(onnx.Float, []int{0}), of(onnx.Float, []int{3}, 1, 1, 1)}, fixed: []bool{false, true, true}},
			of(onnx.Float, []int{1, 2, 2}, 0, 1, 2, 3)},
		{"sizes that hold the batch size leave no tiles of fewer rows",
			randomNode{op: "Resize", opset: 13, attrs: map[string]any{"mode": "linear"},
				in: []*array{of(onnx.Float, []int{6, 1}, 0, 1, 2, 3, 4, 5), nil, nil, int64s(6, 99)}, fixed: []bool{false, false, false, true}},
			made(onnx.Float, []int{6, 99}, func(at []int) float64 { return float64(at[0]) })},
	} {
		t.Run(w.name, func(t *testing.T) {
			w.node.want = func([]*array) []*array { return []*array{w.want} }
			if err := (&surrounded{randomNode: &w.node, threads: 1}).check(); err != nil {
				t.Error(err)
			}
		})
	}
}
