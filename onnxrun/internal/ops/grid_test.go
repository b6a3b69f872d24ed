package ops

import (
	"math"
	"math/rand/v2"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

// TestGridSampleIdentity: sampled at its own pixels, an image comes back, by
// every mode and padding.
func TestGridSampleIdentity(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	for _, shape := range [][]int{{2, 3, 7}, {2, 3, 4, 5}, {1, 2, 3, 4, 5}} {
		n := len(shape) - 2
		x := randn(r, shape...)
		for _, align := range []int{0, 1} {
			theta := New(Type{DType: onnx.Float, Shape: []int{shape[0], n, n + 1}})
			for b := range shape[0] {
				for i := range n {
					Data[float32](theta)[(b*n+i)*(n+1)+i] = 1
				}
			}
			attrs := map[string]onnx.Attr{"align_corners": attrInt(align)}
			var grid *Tensor
			if n == 1 {
				grid = New(Type{DType: onnx.Float, Shape: []int{shape[0], shape[2], 1}})
				for i := range grid.Elems() {
					p, d := float64(i%shape[2]), float64(shape[2])
					v := (2*p+1)/d - 1
					if align == 1 {
						v = 2*p/(d-1) - 1
					}
					Data[float32](grid)[i] = float32(v)
				}
			} else {
				grid = testCall{op: "AffineGrid", attrs: attrs, in: []*Tensor{theta, int64s(shape...)}, runtime: []bool{true}}.mustRun(t)[0]
			}
			for _, mode := range []string{"linear", "nearest", "cubic"} {
				for _, padding := range []string{"zeros", "border", "reflection"} {
					tc := testCall{op: "GridSample", in: []*Tensor{x, grid}, attrs: map[string]onnx.Attr{
						"align_corners": attrInt(align), "mode": attrStr(mode), "padding_mode": attrStr(padding)}}
					agree(t, tc, tc.mustRun(t)[0], refOf(x), 1e-4)
				}
			}
		}
	}
}

func TestGridSampleOutside(t *testing.T) {
	x := Of([]int{1, 1, 1, 4}, []float32{1, 2, 3, 4})
	nan := float32(math.NaN())
	grid := Of([]int{1, 1, 4, 2}, []float32{-1.25, 0, 3, 0, nan, 0, float32(math.Inf(1)), 0})
	for padding, want := range map[string][]float64{
		"zeros":  {0, 0, 0, 0},
		"border": {1, 4, 1, 1}, // what is no number is far to the left
	} {
		tc := testCall{op: "GridSample", in: []*Tensor{x, grid}, attrs: map[string]onnx.Attr{"padding_mode": attrStr(padding)}}
		near(t, tc, Data[float32](tc.mustRun(t)[0]), want, 1e-6)
	}
	testCall{op: "GridSample", in: []*Tensor{x, Of([]int{1, 1, 1, 3}, []float32{0, 0, 0})}}.mustFail(t, true)
	testCall{op: "GridSample", in: []*Tensor{x, grid}, attrs: map[string]onnx.Attr{"mode": attrStr("sinc")}}.mustFail(t, true)
	testCall{op: "GridSample", in: []*Tensor{Of([]int{1, 1, 0, 4}, []float32{}), grid}}.mustFail(t, true)
	testCall{op: "AffineGrid", in: []*Tensor{New(Type{DType: onnx.Float, Shape: []int{1, 2, 3}}), int64s(2, 1, 3, 3)}}.mustFail(t, true)
}
