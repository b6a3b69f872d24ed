package ops

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

func TestReshapes(t *testing.T) {
	axes := func(v ...int) map[string]onnx.Attr { return map[string]onnx.Attr{"axes": ints(v...)} }
	axis := func(v int) map[string]onnx.Attr { return map[string]onnx.Attr{"axis": attrInt(v)} }
	zero := map[string]onnx.Attr{"allowzero": attrInt(1)}
	for _, c := range []struct {
		op      string
		version int64
		in      []int
		second  []int // nil: none
		attrs   map[string]onnx.Attr
		want    string // "" for an error
	}{
		{"Reshape", 13, []int{2, 3, 4}, []int{4, 6}, nil, "[4 6]"},
		{"Reshape", 13, []int{2, 3, 4}, []int{-1}, nil, "[24]"},
		{"Reshape", 13, []int{2, 3, 4}, []int{0, -1}, nil, "[2 12]"},
		{"Reshape", 13, []int{2, 3, 4}, []int{4, 0, -1}, nil, "[4 3 2]"},
		{"Reshape", 13, []int{2, 3, 4}, []int{0, 0, 0}, nil, "[2 3 4]"},
		{"Reshape", 13, []int{}, []int{1, 1}, nil, "[1 1]"},
		{"Reshape", 13, []int{1, 1}, []int{}, nil, "[]"},
		{"Reshape", 13, []int{0, 3}, []int{0, -1}, nil, "[0 0]"},
		{"Reshape", 13, []int{0, 3}, []int{3, 0}, nil, ""},
		{"Reshape", 14, []int{0, 3}, []int{3, 0}, zero, "[3 0]"},
		{"Reshape", 14, []int{0, 3}, []int{-1, 3}, zero, "[0 3]"},
		{"Reshape", 14, []int{0, 3}, []int{0, -1}, zero, ""},
		{"Reshape", 14, []int{2, 3}, []int{0, 6}, zero, ""},
		{"Reshape", 13, []int{2, 3}, []int{-1, -1}, nil, ""},
		{"Reshape", 13, []int{2, 3}, []int{-2, 3}, nil, ""},
		{"Reshape", 13, []int{2, 3}, []int{4, -1}, nil, ""},
		{"Reshape", 13, []int{2, 3}, []int{7}, nil, ""},
		{"Reshape", 13, []int{2, 3}, []int{2, 3, 0}, nil, ""},
		{"Reshape", 13, []int{2, 3}, []int{1 << 30, 1 << 30, 0}, nil, ""},
		{"Reshape", 13, []int{1}, []int{1, 1, 1, 1, 1, 1, 1, 1, 1}, nil, ""},

		{"Flatten", 13, []int{2, 3, 4}, nil, nil, "[2 12]"},
		{"Flatten", 13, []int{2, 3, 4}, nil, axis(0), "[1 24]"},
		{"Flatten", 13, []int{2, 3, 4}, nil, axis(3), "[24 1]"},
		{"Flatten", 13, []int{2, 3, 4}, nil, axis(-1), "[6 4]"},
		{"Flatten", 9, []int{2, 3, 4}, nil, axis(-1), ""},
		{"Flatten", 13, []int{2, 3, 4}, nil, axis(4), ""},
		{"Flatten", 13, []int{}, nil, axis(0), "[1 1]"},

		{"Squeeze", 13, []int{1, 3, 1}, nil, nil, "[3]"},
		{"Squeeze", 13, []int{1, 3, 1}, []int{0}, nil, "[3 1]"},
		{"Squeeze", 13, []int{1, 3, 1}, []int{-1, 0}, nil, "[3]"},
		{"Squeeze", 13, []int{1, 3, 1}, []int{}, nil, "[1 3 1]"},
		{"Squeeze", 13, []int{1, 3, 1}, []int{1}, nil, ""},
		{"Squeeze", 13, []int{1, 3, 1}, []int{3}, nil, ""},
		{"Squeeze", 11, []int{1, 3, 1}, nil, axes(2), "[1 3]"},
		{"Squeeze", 11, []int{1, 3, 1}, []int{2}, nil, ""},
		{"Squeeze", 13, []int{1, 3, 1}, nil, axes(2), ""},

		{"Unsqueeze", 13, []int{3}, []int{0, 2}, nil, "[1 3 1]"},
		{"Unsqueeze", 13, []int{3, 4}, []int{-1}, nil, "[3 4 1]"},
		{"Unsqueeze", 13, []int{3, 4}, []int{-1, -4}, nil, "[1 3 4 1]"},
		{"Unsqueeze", 13, []int{}, []int{0}, nil, "[1]"},
		{"Unsqueeze", 11, []int{3}, nil, axes(1, 0), "[1 1 3]"},
		{"Unsqueeze", 13, []int{3}, []int{0, 0}, nil, ""},
		{"Unsqueeze", 13, []int{3}, []int{2}, nil, ""},
		{"Unsqueeze", 13, []int{3}, nil, nil, ""},
		{"Unsqueeze", 11, []int{3}, nil, nil, ""},
	} {
		x := numbered(onnx.Float, c.in...)
		tc := testCall{op: c.op, version: c.version, attrs: c.attrs, in: []*Tensor{x}}
		if c.second != nil {
			tc.in = append(tc.in, int64s(c.second...))
		}
		out, err := tc.run()
		switch {
		case c.want == "" && err == nil:
			t.Errorf("%s: shape %v, want an error", tc, out[0].Shape)
		case c.want == "":
		case err != nil:
			t.Errorf("%s: %v", tc, err)
		case fmt.Sprint(out[0].Shape) != c.want:
			t.Errorf("%s: shape %v, want %s", tc, out[0].Shape, c.want)
		case !slices.Equal(out[0].mem, x.mem):
			t.Errorf("%s: elements changed", tc)
		}
	}
	testCall{op: "Reshape", in: []*Tensor{numbered(onnx.Float, 2), int64s(2)}, allVar: true}.mustFail(t, false)
}

func TestIdentityDropout(t *testing.T) {
	x := randn(rand.New(rand.NewPCG(1, 1)), 2, 5, 3, 3)
	for _, in := range []*Tensor{x, blocked(x)} {
		tc := testCall{op: "Identity", in: []*Tensor{in}}
		if got := tc.mustRun(t)[0]; !slices.Equal(got.mem, in.mem) || got.Layout != in.Layout {
			t.Errorf("%s: changed", tc)
		}
		tc = testCall{op: "Dropout", in: []*Tensor{in, Of([]int{}, []float32{0.5}), Of([]int{}, []bool{false})}}
		for tc.outs = range 3 {
			out := tc.mustRun(t)
			if !slices.Equal(out[0].mem, in.mem) || out[0].Layout != in.Layout {
				t.Errorf("%s: changed", tc)
			}
			if tc.outs == 2 && (out[1].Layout != Plain || out[1].DType != onnx.Bool || slices.Contains(Data[bool](out[1]), false)) {
				t.Errorf("%s: mask is not all true", tc)
			}
		}
		old := testCall{op: "Dropout", version: 7, in: []*Tensor{in}, outs: 2}
		if mask := old.mustRun(t)[1]; mask.DType != onnx.Float || Data[float32](mask)[3] != 1 {
			t.Errorf("%s: mask is not all 1", old)
		}
		tc.in[2] = Of([]int{}, []bool{true})
		tc.mustFail(t, false)
	}
}
