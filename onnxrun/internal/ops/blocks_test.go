package ops

import (
	"errors"
	"slices"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

// TestDepthAndSpace: SpaceToDepth undoes DepthToSpace.
func TestDepthAndSpace(t *testing.T) {
	x := New(Type{DType: onnx.Int32, Shape: []int{2, 8, 3, 2}})
	for i := range Data[int32](x) {
		Data[int32](x)[i] = int32(i)
	}
	block := map[string]onnx.Attr{"blocksize": attrInt(2)}
	y := testCall{op: "DepthToSpace", attrs: block, in: []*Tensor{x}}.mustRun(t)[0]
	if !slices.Equal(y.Shape, []int{2, 2, 6, 4}) {
		t.Fatal(y.Shape)
	}
	z := testCall{op: "SpaceToDepth", attrs: block, in: []*Tensor{y}}.mustRun(t)[0]
	if !slices.Equal(z.Shape, x.Shape) || !slices.Equal(z.mem, x.mem) {
		t.Error("SpaceToDepth does not undo DepthToSpace")
	}
	crd := testCall{op: "DepthToSpace", in: []*Tensor{Of([]int{1, 4, 1, 1}, []int8{1, 2, 3, 4})},
		attrs: map[string]onnx.Attr{"blocksize": attrInt(2), "mode": attrStr("CRD")}}.mustRun(t)[0]
	if !slices.Equal(Data[int8](crd), []int8{1, 2, 3, 4}) {
		t.Error(Data[int8](crd))
	}
	testCall{op: "DepthToSpace", attrs: map[string]onnx.Attr{"blocksize": attrInt(3)}, in: []*Tensor{x}}.mustFail(t, true)
	testCall{op: "SpaceToDepth", attrs: block, in: []*Tensor{x}}.mustFail(t, true)
	testCall{op: "SpaceToDepth", in: []*Tensor{x}}.mustFail(t, true)
}

func TestReverseSequence(t *testing.T) {
	x := Of([]int{3, 2}, []int16{1, 2, 3, 4, 5, 6})
	got := testCall{op: "ReverseSequence", in: []*Tensor{x, int64s(3, 1)}}.mustRun(t)[0]
	if !slices.Equal(Data[int16](got), []int16{5, 2, 3, 4, 1, 6}) {
		t.Error(Data[int16](got))
	}
	axes := map[string]onnx.Attr{"batch_axis": attrInt(0), "time_axis": attrInt(1)}
	got = testCall{op: "ReverseSequence", attrs: axes, in: []*Tensor{x, int64s(2, 0, 1)}}.mustRun(t)[0]
	if !slices.Equal(Data[int16](got), []int16{2, 1, 3, 4, 5, 6}) {
		t.Error(Data[int16](got))
	}
	defer func() {
		if err, ok := recover().(error); !ok || !errors.As(err, new(*IndexError)) {
			t.Errorf("a length beyond the sequence gives %v, want an IndexError", err)
		}
	}()
	testCall{op: "ReverseSequence", in: []*Tensor{x, int64s(4, 1)}}.run()
}

func TestCenterCropPad(t *testing.T) {
	x := Of([]int{1, 3}, []float32{1, 2, 3})
	for _, c := range []struct {
		shape []int
		want  []float32
	}{
		{[]int{1, 1}, []float32{2}},
		{[]int{1, 2}, []float32{1, 2}},
		{[]int{1, 6}, []float32{0, 1, 2, 3, 0, 0}},
		{[]int{2, 1}, []float32{2, 0}},
	} {
		got := testCall{op: "CenterCropPad", in: []*Tensor{x, int64s(c.shape...)}}.mustRun(t)[0]
		if !slices.Equal(got.Shape, c.shape) || !slices.Equal(Data[float32](got), c.want) {
			t.Errorf("%v: %v, want %v", got.Shape, Data[float32](got), c.want)
		}
	}
	testCall{op: "CenterCropPad", in: []*Tensor{x, int64s(1)}}.mustFail(t, true)
	testCall{op: "CenterCropPad", in: []*Tensor{x, int64s(1, -1)}}.mustFail(t, true)
}
