package ops

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

// TestArg compares with a plain search, over few values, so that many are equal.
func TestArg(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 7))
	for range 100 {
		x := randn(r, randShape(r, 1+r.IntN(4), 1, 9)...)
		for i := range Data[float32](x) {
			Data[float32](x)[i] = float32(r.IntN(5))
		}
		axis := r.IntN(len(x.Shape))
		outer, n, inner := rowsAlong(x.Shape, axis)
		last, keep := r.IntN(2), r.IntN(2)
		for _, op := range []string{"ArgMax", "ArgMin", "TopK"} {
			sign := float32(1)
			if op == "ArgMin" {
				sign = -1
			}
			count := 1 + r.IntN(n)
			tc := testCall{op: op, in: []*Tensor{x}, attrs: map[string]onnx.Attr{"axis": attrInt(axis - len(x.Shape))}}
			if op == "TopK" {
				largest := r.IntN(2)
				sign = float32(2*largest - 1)
				tc.in, tc.outs = append(tc.in, int64s(count)), 2
				tc.attrs["largest"] = attrInt(largest)
			} else {
				tc.attrs["select_last_index"], tc.attrs["keepdims"] = attrInt(last), attrInt(keep)
			}
			out := tc.mustRun(t)
			for row := range outer * inner {
				at := row/inner*n*inner + row%inner
				order := make([]int, n)
				for i := range order {
					order[i] = i
				}
				value := func(i int) float32 { return Data[float32](x)[at+i*inner] }
				slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(sign*value(b), sign*value(a)) })
				if op != "TopK" {
					want := order[0]
					for _, i := range order {
						if last == 1 && value(i) == value(want) {
							want = i
						}
					}
					if got := Data[int64](out[0])[row]; got != int64(want) {
						t.Fatalf("%v: row %d: %d, want %d", tc, row, got, want)
					}
					continue
				}
				for k := range count {
					to := (row/inner*count+k)*inner + row%inner
					if v, i := Data[float32](out[0])[to], Data[int64](out[1])[to]; v != value(order[k]) || i != int64(order[k]) {
						t.Fatalf("%v: row %d has %v from %d in place %d, want %v from %d", tc, row, v, i, k, value(order[k]), order[k])
					}
				}
			}
		}
	}
	testCall{op: "ArgMax", in: []*Tensor{randn(r, 2, 0)}, attrs: map[string]onnx.Attr{"axis": attrInt(1)}}.mustFail(t, true)
	testCall{op: "TopK", in: []*Tensor{randn(r, 3), int64s(4)}, outs: 2}.mustFail(t, true)
	testCall{op: "TopK", in: []*Tensor{randn(r, 3), int64s(1)}, outs: 2, runtime: []bool{true, true}}.mustFail(t, false)
}

func TestHardmax(t *testing.T) {
	x := Of([]int{2, 2, 2}, []float32{1, 5, 5, 0, -1, -2, -3, -1})
	for version, want := range map[int64][]float32{
		11: {0, 1, 0, 0, 1, 0, 0, 0}, // a row is all that follows the axis
		13: {0, 1, 1, 0, 1, 0, 0, 1},
	} {
		if got := Data[float32](testCall{op: "Hardmax", version: version, in: []*Tensor{x}}.mustRun(t)[0]); !slices.Equal(got, want) {
			t.Errorf("version %d: %v, want %v", version, got, want)
		}
	}
	testCall{op: "Hardmax", in: []*Tensor{Of([]int{0, 3}, []float32{})}}.mustRun(t)
}
