package ops

import (
	"math/rand/v2"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

func TestRotate(t *testing.T) {
	r := rand.New(rand.NewPCG(93, 1))
	for range 100 {
		b, n, rows, d := 1+r.IntN(3), 1+r.IntN(3), 1+r.IntN(20), 2*(1+r.IntN(40))
		interleaved := r.IntN(2)
		names := []string{"[B,H,T,D]", "[B,T,H·D]", "[B,T,3,H,D]"}
		x := homes[names[r.IntN(3)]](r, b, n, rows, d)
		cos, sin := homes["[1,1,T,D]"](r, b, n, rows, d), homes["[B,T,H·D]"](r, b, n, rows, d)
		tc := testCall{op: "Rotary", domain: Fused, allVar: true, in: []*Tensor{x.t, cos.t, sin.t}, attrs: map[string]onnx.Attr{
			"sizes": ints(b*n, rows, d), "x": ints(x.attr...), "cos": ints(cos.attr...), "sin": ints(sin.attr...),
			"interleaved": attrInt(interleaved), "shape": ints(b, n, rows, d)}}
		var want []float64
		xs, cs, ss := refOf(x.t).data, refOf(cos.t).data, refOf(sin.t).data
		everywhere([]int{b, n, rows, d}, func(at []int) {
			j := at[3]
			other, sign := j+d/2, -1.0
			if j >= d/2 {
				other, sign = j-d/2, 1
			}
			if interleaved != 0 {
				other, sign = j^1, float64(2*(j&1)-1)
			}
			want = append(want, x.at(xs, at[0], at[1], at[2], j)*cos.at(cs, at[0], at[1], at[2], j)+
				sign*x.at(xs, at[0], at[1], at[2], other)*sin.at(ss, at[0], at[1], at[2], j))
		})
		near(t, tc, Data[float32](tc.mustRun(t)[0]), want, 1e-6)
	}
	x := ints(0, 4, 1, 1, 0)
	bad := testCall{op: "Rotary", domain: Fused, in: []*Tensor{randn(r, 3, 4), randn(r, 3, 4), randn(r, 3, 4)},
		attrs: map[string]onnx.Attr{"sizes": ints(1, 3, 4), "x": x, "cos": x, "sin": x, "shape": ints(3, 4)}}
	if _, err := bad.run(); err != nil {
		t.Fatal(err)
	}
	for name, a := range map[string]onnx.Attr{"sizes": ints(1, 4, 3), "shape": ints(4, 4), "x": ints(0, 1, 3, 1, 0), "cos": ints(1, 4, 1, 1, 0)} {
		tc := bad
		tc.attrs = map[string]onnx.Attr{}
		for k, v := range bad.attrs {
			tc.attrs[k] = v
		}
		tc.attrs[name] = a
		tc.mustFail(t, true)
	}
}
