package ops

import (
	"errors"
	"slices"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

func TestScatter(t *testing.T) {
	x := Of([]int{2, 3}, []float32{1, 2, 3, 4, 5, 6})
	at := Of([]int{2, 2}, []int64{0, 0, -1, 1})
	up := Of([]int{2, 2}, []float32{10, 20, 30, 40})
	for how, want := range map[string][]float32{
		"none": {20, 2, 3, 4, 40, 30},
		"add":  {31, 2, 3, 4, 45, 36},
		"mul":  {200, 2, 3, 4, 200, 180},
		"min":  {1, 2, 3, 4, 5, 6},
		"max":  {20, 2, 3, 4, 40, 30},
	} {
		tc := testCall{op: "ScatterElements", in: []*Tensor{x, at, up}, runtime: []bool{true, true, true},
			attrs: map[string]onnx.Attr{"axis": attrInt(1), "reduction": attrStr(how)}}
		if got := Data[float32](tc.mustRun(t)[0]); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", how, got, want)
		}
	}
	rows := testCall{op: "ScatterND", in: []*Tensor{x, Of([]int{1, 1}, []int64{-1}), Of([]int{1, 3}, []float32{7, 8, 9})}}
	if got := Data[float32](rows.mustRun(t)[0]); !slices.Equal(got, []float32{1, 2, 3, 7, 8, 9}) {
		t.Error(got)
	}
	beyond := testCall{op: "ScatterND", in: []*Tensor{x, Of([]int{1, 1}, []int64{2}), Of([]int{1, 3}, []float32{7, 8, 9})}}
	beyond.mustFail(t, true)
	testCall{op: "ScatterND", in: []*Tensor{x, at, up}}.mustFail(t, true)
	testCall{op: "ScatterElements", in: []*Tensor{x, at, up}, attrs: map[string]onnx.Attr{"reduction": attrStr("mean")}}.mustFail(t, true)
	defer func() {
		if err, ok := recover().(error); !ok || !errors.As(err, new(*IndexError)) {
			t.Errorf("an index beyond the tensor gives %v, want an IndexError", err)
		}
	}()
	beyond.allVar = true
	beyond.run()
}

func TestTensorScatter(t *testing.T) {
	cache := New(Type{DType: onnx.Float, Shape: []int{2, 3, 1}})
	up := Of([]int{2, 2, 1}, []float32{1, 2, 3, 4})
	tc := testCall{op: "TensorScatter", version: 24, in: []*Tensor{cache, up, int64s(0, 2)}, runtime: []bool{true, true, true},
		attrs: map[string]onnx.Attr{"mode": attrStr("circular")}}
	if got := Data[float32](tc.mustRun(t)[0]); !slices.Equal(got, []float32{1, 2, 0, 4, 0, 3}) {
		t.Error(got)
	}
	defer func() {
		if err, ok := recover().(error); !ok || !errors.As(err, new(*IndexError)) {
			t.Errorf("a place beyond the cache gives %v, want an IndexError", err)
		}
	}()
	tc.attrs = nil
	tc.run()
}
