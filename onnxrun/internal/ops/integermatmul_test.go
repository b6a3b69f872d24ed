package ops

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// With constant weights the products come from the float32 microkernel, and are the
// same integers, at any depth and for the largest bytes.
func TestIntegerProductsByConstants(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 15))
	extremes := func(t *Tensor, v uint8) *Tensor {
		for i := range t.Mem()[:t.Elems()] {
			t.Mem()[i] = v
		}
		return t
	}
	for _, c := range []struct{ a, zeroA, b, zeroB *Tensor }{
		{randBytes[uint8](r, 3, 4), nil, randBytes[int8](r, 4, 5), nil},
		{randBytes[uint8](r, 2, 60, 700), Of([]int{}, []uint8{131}), randBytes[int8](r, 700, 33), Of([]int{}, []int8{-7})},
		{randBytes[int8](r, 5, 256), Of([]int{5}, []int8{1, -2, 127, -128, 0}), randBytes[uint8](r, 256, 3), Of([]int{3}, []uint8{0, 255, 9})},
		{randBytes[int8](r, 257), nil, randBytes[int8](r, 257, 4), randBytes[int8](r, 4)},
		{extremes(randBytes[uint8](r, 2, 1000), 255), nil, extremes(randBytes[uint8](r, 1000, 2), 255), nil},
		{extremes(randBytes[uint8](r, 2, 1000), 255), nil, extremes(randBytes[uint8](r, 1000, 2), 0), Of([]int{}, []uint8{255})},
	} {
		tc := testCall{op: "MatMulInteger", in: []*Tensor{c.a, c.b, c.zeroA, c.zeroB}, runtime: []bool{true, true, true, true}}
		want := tc.mustRun(t)[0]
		tc.runtime = []bool{true, false, true, false}
		got := tc.mustRun(t)[0]
		if !slices.Equal(got.Shape, want.Shape) || !slices.Equal(Data[int32](got), Data[int32](want)) {
			t.Errorf("%v·%v differs", c.a.Type, c.b.Type)
		}
	}
}
