package ops

import (
	"math/rand/v2"
	"slices"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

func TestReorder(t *testing.T) {
	r := rand.New(rand.NewPCG(71, 1))
	for range 100 {
		x := randn(r, append([]int{r.IntN(3), 1 + r.IntN(40)}, randShape(r, 1+r.IntN(3), 1, 7)...)...)
		to := func(x *Tensor, l Layout) *Tensor {
			return testCall{op: "Reorder", domain: Fused, in: []*Tensor{x}, attrs: map[string]onnx.Attr{"layout": attrInt(int(l))}}.mustRun(t)[0]
		}
		b := to(x, Blocked)
		if b.Layout != Blocked || !slices.Equal(b.mem, blocked(x).mem) {
			t.Fatalf("%v to blocked", x.Type)
		}
		if p := to(b, Plain); p.Layout != Plain || !slices.Equal(p.mem, x.mem) {
			t.Fatalf("%v to plain", x.Type)
		}
		if !slices.Equal(to(x, Plain).mem, x.mem) || !slices.Equal(to(b, Blocked).mem, b.mem) {
			t.Fatalf("%v to what it is", x.Type)
		}
	}
	for _, x := range []*Tensor{New(Type{DType: onnx.Float, Shape: []int{2, 3}}), New(Type{DType: onnx.Double, Shape: []int{2, 3, 4}})} {
		testCall{op: "Reorder", domain: Fused, in: []*Tensor{x}, attrs: map[string]onnx.Attr{"layout": attrInt(1)}}.mustFail(t, true)
	}
}
