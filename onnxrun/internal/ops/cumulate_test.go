package ops

import (
	"slices"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

func TestCumulate(t *testing.T) {
	x := Of([]int{2, 3}, []int32{1, 2, 3, 4, 5, 6})
	for _, c := range []struct {
		op                 string
		axis               int
		exclusive, reverse int
		want               []int32
	}{
		{"CumSum", 0, 0, 0, []int32{1, 2, 3, 5, 7, 9}},
		{"CumSum", -1, 0, 0, []int32{1, 3, 6, 4, 9, 15}},
		{"CumSum", 1, 1, 0, []int32{0, 1, 3, 0, 4, 9}},
		{"CumSum", 1, 0, 1, []int32{6, 5, 3, 15, 11, 6}},
		{"CumSum", 1, 1, 1, []int32{5, 3, 0, 11, 6, 0}},
		{"CumProd", 1, 0, 0, []int32{1, 2, 6, 4, 20, 120}},
		{"CumProd", 1, 1, 1, []int32{6, 3, 1, 30, 6, 1}},
	} {
		tc := testCall{op: c.op, version: 26, in: []*Tensor{x, int64s(c.axis)},
			attrs: map[string]onnx.Attr{"exclusive": attrInt(c.exclusive), "reverse": attrInt(c.reverse)}}
		if got := Data[int32](tc.mustRun(t)[0]); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, want %v", tc, got, c.want)
		}
	}
	testCall{op: "CumSum", in: []*Tensor{Of([]int{0, 3}, []float32{}), int64s(0)}}.mustRun(t)
	testCall{op: "CumSum", in: []*Tensor{x, int64s(2)}}.mustFail(t, true)
	testCall{op: "CumSum", in: []*Tensor{x, int64s(0)}, allVar: true}.mustFail(t, false)
}
