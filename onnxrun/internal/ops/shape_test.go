package ops

import (
	"fmt"
	"math"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

func TestShape(t *testing.T) {
	x := numbered(onnx.Float, 2, 17, 4)
	for _, c := range []struct {
		attrs map[string]int
		want  string
	}{
		{nil, "[2 17 4]"}, {map[string]int{"start": 1}, "[17 4]"}, {map[string]int{"end": -1}, "[2 17]"},
		{map[string]int{"start": -2, "end": 2}, "[17]"}, {map[string]int{"start": -9, "end": 9}, "[2 17 4]"},
		{map[string]int{"start": 2, "end": 1}, "[]"}, {map[string]int{"start": 5}, "[]"}, {map[string]int{"end": -5}, "[]"},
	} {
		for _, in := range []*Tensor{x, blocked(x)} {
			tc := testCall{op: "Shape", in: []*Tensor{in}, attrs: map[string]onnx.Attr{}, allVar: true}
			for name, v := range c.attrs {
				tc.attrs[name] = attrInt(v)
			}
			if got := tc.mustRun(t)[0]; fmt.Sprint(Data[int64](got)) != c.want || got.DType != onnx.Int64 {
				t.Errorf("%s: %v, want %s", tc, Data[int64](got), c.want)
			}
		}
	}
	if got := Data[int64](testCall{op: "Size", in: []*Tensor{blocked(x)}, allVar: true}.mustRun(t)[0]); got[0] != 136 {
		t.Error(got)
	}
	testCall{op: "Shape", version: 13, attrs: map[string]onnx.Attr{"start": attrInt(0)}, in: []*Tensor{x}}.mustFail(t, true)
}

func TestConstantOfShape(t *testing.T) {
	value := func(d onnx.DType, raw ...byte) map[string]onnx.Attr {
		return map[string]onnx.Attr{"value": {Kind: onnx.AttrTensor, Tensor: &onnx.Tensor{DType: d, Shape: []int{1}, Raw: raw}}}
	}
	tc := testCall{op: "ConstantOfShape", in: []*Tensor{int64s(2, 3)}}
	if got := tc.mustRun(t)[0]; fmt.Sprint(got.Shape, Data[float32](got)) != "[2 3] [0 0 0 0 0 0]" {
		t.Error(got.Type, Data[float32](got))
	}
	tc.attrs = value(onnx.Int64, 7, 1, 0, 0, 0, 0, 0, 0)
	if got := tc.mustRun(t)[0]; fmt.Sprint(Data[int64](got)) != "[263 263 263 263 263 263]" {
		t.Error(got.Type, Data[int64](got))
	}
	tc.attrs = value(onnx.Float16, 0, 0x3c)
	if got := tc.mustRun(t)[0]; got.DType != onnx.Float16 || Data[float32](got)[5] != 1 {
		t.Error(got.Type, Data[float32](got))
	}
	tc.in = []*Tensor{int64s()}
	if got := tc.mustRun(t)[0]; len(got.Shape) != 0 || Data[float32](got)[0] != 1 {
		t.Error(got.Type)
	}
	tc.in = []*Tensor{int64s(3, 0)}
	if got := tc.mustRun(t)[0]; fmt.Sprint(got.Shape) != "[3 0]" {
		t.Error(got.Type)
	}
	tc.in = []*Tensor{int64s(3, -1)}
	tc.mustFail(t, true)
	tc.in = []*Tensor{int64s(3)}
	tc.allVar = true
	tc.mustFail(t, false)
	for _, shape := range [][]int{{1 << 30, 1 << 30}, {0, 1 << 30, 1 << 30, 1 << 30}} {
		if _, err := Lower((testCall{op: "ConstantOfShape", in: []*Tensor{int64s(shape...)}}).call()); err == nil {
			t.Errorf("no error for shape %v", shape)
		}
	}
}

func testRange[T number](t *testing.T, start, limit, delta T, want string) {
	t.Helper()
	scalar := func(v T) *Tensor { return Of([]int{}, []T{v}) }
	tc := testCall{op: "Range", in: []*Tensor{scalar(start), scalar(limit), scalar(delta)}}
	if want == "" {
		if _, err := tc.run(); err == nil {
			t.Errorf("%s: no error", tc)
		}
		return
	}
	if got := tc.mustRun(t)[0]; fmt.Sprint(Data[T](got)) != want {
		t.Errorf("%s: %v to %v by %v is %v, want %s", tc, start, limit, delta, Data[T](got), want)
	}
}

func TestRange(t *testing.T) {
	testRange[int64](t, 3, 9, 3, "[3 6]")
	testRange[int64](t, 3, 10, 3, "[3 6 9]")
	testRange[int64](t, 10, 4, -2, "[10 8 6]")
	testRange[int64](t, 0, -5, 1, "[]")
	testRange[int64](t, 0, 5, -1, "[]")
	testRange[int64](t, 0, 5, 0, "")
	testRange[int64](t, math.MinInt64, math.MaxInt64, math.MaxInt64, "[-9223372036854775808 -1 9223372036854775806]")
	testRange[int64](t, math.MinInt64, math.MaxInt64, 1, "")
	testRange[int64](t, math.MaxInt64, math.MinInt64, math.MinInt64, "[9223372036854775807 -1]")
	testRange[int32](t, -2, 2, 1, "[-2 -1 0 1]")
	testRange[int16](t, 30000, -30000, -30000, "[30000 0]")
	testRange[uint8](t, 250, 255, 2, "[250 252 254]")
	testRange[float32](t, 0, 1, 0.25, "[0 0.25 0.5 0.75]")
	testRange[float32](t, 1, 0.1, -0.5, "[1 0.5]")
	testRange[float64](t, 0, -1, 1, "[]")
	testRange[float32](t, 0, 1, 0, "")
	testRange[float32](t, 0, 1e30, 1, "")
	testRange[float32](t, 0, float32(math.Inf(1)), 1, "")
	testRange[float32](t, 0, float32(math.Inf(-1)), 1, "[]")
	testRange[float32](t, 0, float32(math.NaN()), 1, "")
	testCall{op: "Range", in: []*Tensor{int64s(0, 1), int64s(3), int64s(1)}}.mustFail(t, true)
	testCall{op: "Range", in: []*Tensor{int64s(0), int64s(3), int64s(1)}, allVar: true}.mustFail(t, false)
}
