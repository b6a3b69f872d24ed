package ops

import (
	"math/rand/v2"
	"slices"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

func TestPad(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 1))
	for range 400 {
		rank := 1 + r.IntN(5)
		shape := randShape(r, rank, 1, 6)
		x := randn(r, shape...)
		mode := []string{"constant", "reflect", "edge", "wrap"}[r.IntN(4)]
		begin, end := make([]int, rank), make([]int, rank)
		for d := range rank {
			if r.IntN(2) == 0 {
				continue
			}
			begin[d], end[d] = r.IntN(6)-2, r.IntN(6)-2
			if min(begin[d], 0)+min(end[d], 0)+shape[d] < 1 {
				begin[d], end[d] = 0, 3
			}
		}
		fill := Of([]int{}, []float32{2.5})
		out := make([]int, rank)
		for d := range rank {
			out[d] = shape[d] + begin[d] + end[d]
		}
		want := zeros(out...)
		ref, k := refOf(x), 0
		everywhere(out, func(o []int) {
			at := make([]int, rank)
			outside := false
			for d := range rank {
				// Steps within what the negative pads leave.
				lo, hi := max(0, -begin[d]), shape[d]-1-max(0, -end[d])
				p := o[d] - begin[d]
				for p < lo || p > hi {
					switch mode {
					case "constant":
						outside = true
						p = lo
					case "edge":
						p = min(max(p, lo), hi)
					case "wrap":
						if p < lo {
							p += hi - lo + 1
						} else {
							p -= hi - lo + 1
						}
					default:
						if lo == hi {
							p = lo
						} else if p < lo {
							p = 2*lo - p
						} else {
							p = 2*hi - p
						}
					}
				}
				at[d] = p
			}
			want.data[k] = ref.at(at...)
			if outside {
				want.data[k] = 2.5
			}
			k++
		})
		attrs := map[string]onnx.Attr{"mode": attrStr(mode)}
		all := int64s(slices.Concat(begin, end)...)
		tc := testCall{op: "Pad", attrs: attrs, in: []*Tensor{x, all, fill}, runtime: []bool{true, false, true}}
		agree(t, tc, tc.mustRun(t)[0], want, 0)

		// Only the axes that change, in another order, and some from the end.
		var axes, b, e []int
		for d := rank - 1; d >= 0; d-- {
			if begin[d] != 0 || end[d] != 0 || r.IntN(2) == 0 {
				axes, b, e = append(axes, d-rank*r.IntN(2)), append(b, begin[d]), append(e, end[d])
			}
		}
		tc.in = []*Tensor{x, int64s(slices.Concat(b, e)...), fill, int64s(axes...)}
		agree(t, tc, tc.mustRun(t)[0], want, 0)

		if mode != "wrap" {
			tc = testCall{op: "Pad", version: 10, in: []*Tensor{x}, attrs: map[string]onnx.Attr{
				"mode": attrStr(mode), "pads": ints(slices.Concat(begin, end)...), "value": attrFloat(2.5)}}
			agree(t, tc, tc.mustRun(t)[0], want, 0)
		}
	}
}

func TestPadTypes(t *testing.T) {
	tc := testCall{op: "Pad", in: []*Tensor{int64s(1, 2, 3), int64s(1, 2), int64s(7).As(Type{DType: onnx.Int64})}}
	if got := Data[int64](tc.mustRun(t)[0]); !slices.Equal(got, []int64{7, 1, 2, 3, 7, 7}) {
		t.Error(got)
	}
	tc = testCall{op: "Pad", in: []*Tensor{Of([]int{3}, []uint8{1, 2, 3}), int64s(-1, 2)}}
	if got := Data[uint8](tc.mustRun(t)[0]); !slices.Equal(got, []uint8{2, 3, 0, 0}) {
		t.Error(got)
	}
	tc = testCall{op: "Pad", in: []*Tensor{Of([]int{0, 2}, []bool{}), int64s(1, 0, 0, 0)}}
	if got := Data[bool](tc.mustRun(t)[0]); !slices.Equal(got, []bool{false, false}) {
		t.Error(got)
	}
}

func TestPadErrors(t *testing.T) {
	x := New(Type{DType: onnx.Float, Shape: []int{2, 3}})
	bad := func(version int64, attrs map[string]onnx.Attr, in ...*Tensor) {
		t.Helper()
		testCall{op: "Pad", version: version, attrs: attrs, in: in}.mustFail(t, true)
	}
	bad(13, nil, x)
	bad(13, nil, x, int64s(1, 1))
	bad(13, nil, x, int64s(-2, 0, -1, 0))
	bad(13, nil, x, int64s(1, 1, 1, 1), int64s(0))
	bad(18, nil, x, int64s(1, 1), nil, int64s(2))
	bad(18, nil, x, int64s(1, 1, 1, 1), nil, int64s(0, -2))
	bad(17, map[string]onnx.Attr{"mode": attrStr("wrap")}, x, int64s(1, 1, 1, 1))
	bad(13, map[string]onnx.Attr{"mode": attrStr("mirror")}, x, int64s(1, 1, 1, 1))
	bad(13, map[string]onnx.Attr{"mode": attrStr("edge")}, New(Type{DType: onnx.Float, Shape: []int{0}}), int64s(1, 0))
	bad(10, map[string]onnx.Attr{"pads": ints(1, 1)}, x)
	testCall{op: "Pad", in: []*Tensor{x, int64s(1, 1, 1, 1)}, allVar: true}.mustFail(t, false)
}
