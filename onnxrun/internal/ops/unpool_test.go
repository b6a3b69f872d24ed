package ops

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

// TestMaxUnpool: what MaxPool takes away comes back where it was.
func TestMaxUnpool(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 12))
	x := randn(r, 2, 3, 4, 6)
	attrs := map[string]onnx.Attr{"kernel_shape": ints(2, 2), "strides": ints(2, 2)}
	pooled := testCall{op: "MaxPool", attrs: attrs, in: []*Tensor{x}, outs: 2}.mustRun(t)
	got := Data[float32](testCall{op: "MaxUnpool", attrs: attrs, in: pooled}.mustRun(t)[0])
	kept := 0
	for i, v := range Data[float32](x) {
		if got[i] == v {
			kept++
		} else if got[i] != 0 {
			t.Fatalf("element %d is %v, want %v or 0", i, got[i], v)
		}
	}
	if kept != pooled[0].Elems() {
		t.Errorf("%d elements came back, want %d", kept, pooled[0].Elems())
	}
	testCall{op: "MaxUnpool", attrs: attrs, in: []*Tensor{pooled[0], pooled[1], int64s(2, 3, 3, 6)}}.mustFail(t, true)
	defer func() {
		if err, ok := recover().(error); !ok || !errors.As(err, new(*IndexError)) {
			t.Errorf("an index beyond the output gives %v, want an IndexError", err)
		}
	}()
	testCall{op: "MaxUnpool", attrs: attrs, in: []*Tensor{Of([]int{1, 1, 1, 1}, []float32{1}), Of([]int{1, 1, 1, 1}, []int64{4})}}.run()
}

// TestCol2Im: blocks that do not overlap are put side by side, those that do add
// up.
func TestCol2Im(t *testing.T) {
	x := Of([]int{1, 2, 3}, []float32{1, 2, 3, 10, 20, 30})
	tc := testCall{op: "Col2Im", in: []*Tensor{x, int64s(4), int64s(2)}, runtime: []bool{true}}
	if got := Data[float32](tc.mustRun(t)[0]); !slices.Equal(got, []float32{1, 12, 23, 30}) {
		t.Error(got)
	}
	tc.in[1], tc.attrs = int64s(6), map[string]onnx.Attr{"strides": ints(2)}
	if got := Data[float32](tc.mustRun(t)[0]); !slices.Equal(got, []float32{1, 10, 2, 20, 3, 30}) {
		t.Error(got)
	}
	tc.in[1] = int64s(8)
	tc.mustFail(t, true)
	tc.in[1] = int64s(-1)
	tc.mustFail(t, true)
}
