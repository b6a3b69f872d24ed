package ops

import (
	"maps"
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

func TestProductOfViews(t *testing.T) {
	r := rand.New(rand.NewPCG(94, 1))
	rows := []string{"[B,H,T,D]", "[B,T,H·D]", "[B,T,3,H,D]", "[1,1,T,D]"}
	either := append([]string{"[B,H·D,T]", "[B,3·H·D,1,T]"}, rows...)
	for range 200 {
		b, h, m, n, k := 1+r.IntN(3), 1+r.IntN(3), 1+r.IntN(40), 1+r.IntN(40), 1+r.IntN(40)
		x := homes[rows[r.IntN(4)]](r, b, h, m, k)
		w := homes[either[r.IntN(6)]](r, b, h, k, n)
		y := homes[rows[r.IntN(2)]](r, b, h, m, n)
		tc := testCall{op: "Product", domain: Fused, allVar: true, in: []*Tensor{x.t, w.t}, attrs: map[string]onnx.Attr{
			"sizes": ints(b*h, m, n, k), "a": ints(x.attr...), "b": ints(w.attr...), "c": ints(y.attr...), "shape": ints(y.t.Shape...)}}
		want := make([]float64, y.t.Elems())
		xs, ws := refOf(x.t).data, refOf(w.t).data
		everywhere([]int{b, h, m, n, k}, func(at []int) {
			want[y.offset(at[0], at[1], at[2], at[3])] += x.at(xs, at[0], at[1], at[2], at[4]) * w.at(ws, at[0], at[1], at[4], at[3])
		})
		near(t, tc, Data[float32](tc.mustRun(t)[0]), want, 1e-5)
	}
	good := ints(0, 4, 1, 2, 12)
	for name, a := range map[string]onnx.Attr{"": {}, "sizes": ints(2, 3, 4), "shape": ints(5), "a": ints(0, 1, 3, 2, 12), "b": ints(0, 1, 1, 2, 12), "c": ints(0, 4, 1, 3, 8)} {
		tc := testCall{op: "Product", domain: Fused, in: []*Tensor{randn(r, 2, 3, 4), randn(r, 2, 4, 4)}, attrs: map[string]onnx.Attr{
			"sizes": ints(2, 3, 4, 4), "a": good, "b": ints(0, 4, 1, 2, 16), "c": good, "shape": ints(2, 3, 4)}}
		if name == "" {
			if _, err := tc.run(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		tc.attrs[name] = a
		tc.mustFail(t, true)
	}
}

// TestMatricesDoNotWrapAround: places are not within an operand because their sum is
// beyond the largest integer.
func TestMatricesDoNotWrapAround(t *testing.T) {
	r := rand.New(rand.NewPCG(94, 2))
	good := map[string]onnx.Attr{"sizes": ints(2, 3, 4, 4), "a": ints(0, 4, 1, 2, 12), "b": ints(0, 4, 1, 2, 16), "c": ints(0, 4, 1, 2, 12), "shape": ints(2, 3, 4)}
	bad := func(name string, v ...int) {
		tc := testCall{op: "Product", domain: Fused, in: []*Tensor{randn(r, 2, 3, 4), randn(r, 2, 4, 4)}, attrs: maps.Clone(good)}
		tc.attrs[name] = ints(v...)
		tc.mustFail(t, true)
	}
	for _, k := range []int{0, 3, 1000, 1 << 20} {
		for _, name := range []string{"a", "b", "c"} {
			for at := range 3 {
				v := []int{0, 4, 1, 2, 12}
				v[at] = math.MaxInt - k
				bad(name, v...)
				v[at] = (math.MaxInt-k)/2 + 1 // twice that wraps around
				bad(name, v...)
			}
			bad(name, 0, 4, 1, 2, math.MaxInt-k)
			bad(name, 0, 4, 1, 2, math.MinInt+k)
			bad(name, 0, 4, 1, 3, math.MaxInt/2+1)
			bad(name, 0, 4, 1, math.MaxInt-k, 0)
		}
	}
	const half = bits.UintSize / 2
	bad("a", 0, 4, 1, 1<<half, 12, 1<<half, 12, 2, 12) // the items' product is 0
	bad("sizes", 1<<half, 1<<half, 4, 4)
	bad("sizes", 1<<(2*half-2), 4, 16, 1)
}
