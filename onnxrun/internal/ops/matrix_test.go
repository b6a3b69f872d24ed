package ops

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

func TestTrilu(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 8))
	for range 50 {
		x := randn(r, randShape(r, 2+r.IntN(2), 0, 5)...)
		k, upper := r.IntN(13)-6, r.IntN(2)
		tc := testCall{op: "Trilu", in: []*Tensor{x, int64s(k)}, attrs: map[string]onnx.Attr{"upper": attrInt(upper)}}
		got := Data[float32](tc.mustRun(t)[0])
		rank := len(x.Shape)
		for i, v := range Data[float32](x) {
			row, col := i/x.Shape[rank-1]%x.Shape[rank-2], i%x.Shape[rank-1]
			if upper == 1 && col < row+k || upper == 0 && col > row+k {
				v = 0
			}
			if got[i] != v {
				t.Fatalf("%v: element %d is %v, want %v", tc, i, got[i], v)
			}
		}
	}
	x := Of([]int{1, 2}, []uint8{1, 2})
	if got := Data[uint8](testCall{op: "Trilu", in: []*Tensor{x, int64s(math.MinInt32)}}.mustRun(t)[0]); !slices.Equal(got, []uint8{1, 2}) {
		t.Error(got)
	}
	testCall{op: "Trilu", in: []*Tensor{int64s(1)}}.mustFail(t, true)
}

func TestEyeLikeOneHotDet(t *testing.T) {
	eye := testCall{op: "EyeLike", in: []*Tensor{Of([]int{2, 3}, make([]int32, 6))},
		attrs: map[string]onnx.Attr{"k": attrInt(1), "dtype": attrInt(int(onnx.Double))}}.mustRun(t)[0]
	if !slices.Equal(Data[float64](eye), []float64{0, 1, 0, 0, 0, 1}) {
		t.Error(Data[float64](eye))
	}
	// Indices count from the end when negative, and are nowhere when too large.
	hot := testCall{op: "OneHot", in: []*Tensor{int64s(0, -1, 3), int64s(3), Of([]int{2}, []int8{-1, 5})},
		attrs: map[string]onnx.Attr{"axis": attrInt(0)}}.mustRun(t)[0]
	if !slices.Equal(hot.Shape, []int{3, 3}) || !slices.Equal(Data[int8](hot), []int8{5, -1, -1, -1, -1, -1, -1, 5, -1}) {
		t.Error(hot.Shape, Data[int8](hot))
	}
	testCall{op: "OneHot", in: []*Tensor{int64s(0), int64s(3), Of([]int{2}, []int8{-1, 5})}, allVar: true}.mustFail(t, false)
	testCall{op: "OneHot", in: []*Tensor{int64s(0), int64s(-3), Of([]int{2}, []int8{-1, 5})}}.mustFail(t, true)

	x := Of([]int{4, 2, 2}, []float32{1, 2, 3, 4, 0, 1, 1, 0, 0, 0, 0, 0, 2, 0, 0, 3})
	near(t, "Det", Data[float32](testCall{op: "Det", in: []*Tensor{x}}.mustRun(t)[0]), []float64{-2, -1, 0, 6}, 1e-6)
	testCall{op: "Det", in: []*Tensor{Of([]int{1, 2}, []float32{1, 2})}}.mustFail(t, true)
}
