package ops

import (
	"math/rand/v2"
	"runtime"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

// doubles is a tensor of float64.
func doubles(x *Tensor) *Tensor {
	d := New(Type{DType: onnx.Double, Shape: x.Shape})
	for i, v := range Data[float32](x) {
		Data[float64](d)[i] = float64(v)
	}
	return d
}

// listing are calls that list something when they are bound, of a size that shows.
func listing() []testCall {
	r := rand.New(rand.NewPCG(71, 1))
	const n = 1 << 15
	row := randn(r, 1, 1, n)
	words := func(s ...string) map[string]onnx.Attr {
		a := map[string]onnx.Attr{}
		for i := 0; i < len(s); i += 2 {
			a[s[i]] = attrStr(s[i+1])
		}
		return a
	}
	pads := func(n ...int) map[string]onnx.Attr { return map[string]onnx.Attr{"pads": ints(n...)} }
	pool := map[string]onnx.Attr{"kernel_shape": ints(3, 3, 3)}
	wide := map[string]onnx.Attr{"kernel_shape": ints(15, 3)}
	none := (*Tensor)(nil)
	return []testCall{
		{op: "Pad", attrs: words("mode", "reflect"), in: []*Tensor{randn(r, n), int64s(n-1, n-1)}},
		{op: "Pad", attrs: words("mode", "edge"), in: []*Tensor{randn(r, n, 2), int64s(n, 0, n, 1)}},
		{op: "Pad", in: []*Tensor{randn(r, n), int64s(n, n)}},
		{op: "CenterCropPad", in: []*Tensor{randn(r, n), int64s(3*n + 1)}},
		{op: "Resize", attrs: words("mode", "nearest"), in: []*Tensor{row, none, none, int64s(1, 1, 3*n+1)}},
		{op: "Resize", attrs: words("mode", "nearest"), in: []*Tensor{randn(r, 1, 1, n, 2), none, none, int64s(1, 1, n-7, 2)}},
		{op: "Resize", attrs: words("mode", "linear"), in: []*Tensor{row, none, none, int64s(1, 1, 2*n+1)}},
		{op: "Resize", attrs: words("mode", "cubic"), in: []*Tensor{doubles(row), none, none, int64s(1, 1, n/2)}},
		{op: "Resize", attrs: map[string]onnx.Attr{"mode": attrStr("cubic"), "antialias": attrInt(1)}, in: []*Tensor{row, none, none, int64s(1, 1, 99)}},
		{op: "Resize", attrs: words("mode", "linear", "coordinate_transformation_mode", "tf_crop_and_resize"),
			in: []*Tensor{row, Of([]int{6}, []float32{0, 0, -1, 1, 1, 2}), none, int64s(1, 1, n)}},
		{op: "MaxPool", attrs: pool, in: []*Tensor{randn(r, 1, 1, 40, 40, 40)}},
		{op: "MaxPool", attrs: wide, in: []*Tensor{randn(r, 1, 1, 5000, 8)}, outs: 2},
		{op: "AveragePool", attrs: pool, in: []*Tensor{doubles(randn(r, 1, 1, 40, 40, 40))}},
		{op: "AveragePool", attrs: wide, in: []*Tensor{randn(r, 1, 1, 20, 9000)}},
		{op: "Conv", attrs: pads(7, 7), in: []*Tensor{row, randn(r, 1, 1, 15)}},
		{op: "Conv", attrs: pads(7, 7), in: []*Tensor{doubles(row), doubles(randn(r, 1, 1, 15))}},
		{op: "Conv", in: []*Tensor{randn(r, 1, 2, 10, 10, 10, 10), randn(r, 2, 2, 2, 2, 2, 2)}},
		{op: "Conv", in: []*Tensor{randn(r, 1, 2, 40, 40, 40), randn(r, 2, 2, 3, 3, 3)}, allVar: true},
		{op: "Conv", in: []*Tensor{randn(r, 1, 8, 3000), randn(r, 16, 8, 2000)}},
		{op: "Conv", in: []*Tensor{randn(r, 1, 8, 3000), randn(r, 2, 8, 2000)}},
		{op: "Conv", attrs: map[string]onnx.Attr{"group": attrInt(16)}, in: []*Tensor{randn(r, 1, 16, 9000), randn(r, 16, 1, 8000)}},
		{op: "ConvTranspose", attrs: pads(7, 7), in: []*Tensor{row, randn(r, 1, 1, 15)}},
		{op: "ConvTranspose", attrs: map[string]onnx.Attr{"strides": ints(4)}, in: []*Tensor{row, randn(r, 1, 1, 15)}},
		{op: "ConvTranspose", in: []*Tensor{randn(r, 1, 2, n), randn(r, 2, 2, 15)}},
		{op: "ConvTranspose", in: []*Tensor{doubles(row), doubles(randn(r, 1, 1, 15))}},
		{op: "ConvTranspose", attrs: map[string]onnx.Attr{"strides": ints(2)}, in: []*Tensor{randn(r, 1, 8, 900), randn(r, 8, 8, 4000)}},
		{op: "Einsum", attrs: words("equation", "ab,cd->"), in: []*Tensor{randn(r, 200, 200), randn(r, 200, 200)}},
		{op: "Einsum", attrs: words("equation", "ab->b"), in: []*Tensor{randn(r, n, 2)}},
		{op: "Einsum", attrs: words("equation", "abc,acd->abd"), in: []*Tensor{randn(r, n, 1, 2), randn(r, n, 2, 1)}},
		{op: "Einsum", attrs: words("equation", "ab,bc,c->a"), in: []*Tensor{doubles(randn(r, 3, 100)), doubles(randn(r, 100, 90)), doubles(randn(r, 90))}},
		{op: "MatMul", in: []*Tensor{randn(r, n, 1, 1), randn(r, n, 1, 1)}},
		{op: "MatMul", in: []*Tensor{randn(r, n, 1, 1), randn(r, n, 1, 1)}, allVar: true},
		{op: "MatMul", in: []*Tensor{doubles(randn(r, n, 1, 1)), doubles(randn(r, n, 1, 1))}},
		{op: "Conv", in: []*Tensor{randn(r, n, 1, 1), randn(r, 8, 1, 1)}, allVar: true},
		{op: "LayerNormalization", attrs: map[string]onnx.Attr{"axis": attrInt(0)}, in: []*Tensor{randn(r, n, 2), randn(r, n, 1)}},
		{op: "QuantizeLinear", attrs: map[string]onnx.Attr{"axis": attrInt(0)}, in: []*Tensor{randn(r, n), randn(r, n)}},
		{op: "MelWeightMatrix", in: []*Tensor{Of([]int{}, []int64{2000}), Of([]int{}, []int64{64}), Of([]int{}, []int64{8000}), Of([]int{}, []float32{0}), Of([]int{}, []float32{4000})}},
		{op: "MatMulInteger", in: []*Tensor{Of([]int{1, 100}, make([]uint8, 100)), Of([]int{100, 2000}, make([]uint8, 200000))}},
		{op: "Transpose", in: []*Tensor{randn(r, 200, 200)}},
		{op: "GatherND", in: []*Tensor{randn(r, n), Of([]int{n, 1}, make([]int64, n))}},
		{op: "TopK", in: []*Tensor{randn(r, n), int64s(n)}, outs: 2},
	}
}

// TestTablesAreDeclared: what a kernel lists when it is bound counts as memory before
// it is bound.
func TestTablesAreDeclared(t *testing.T) {
	for _, tc := range listing() {
		k, err := Lower(tc.call())
		if err != nil {
			t.Errorf("%s: %v", tc, err)
			continue
		}
		out := make([]*Tensor, len(k.Out))
		for i := range out {
			out[i] = New(k.Out[i])
		}
		k.Bind(NewMemory(k, tc.in, out, AlignedBytes(ScratchBytes(k, 1)), 1)) // packs
		tc.bound(t, k, out)
		if k.Tables > 64<<20 {
			t.Errorf("%s: declared are %d bytes", tc, k.Tables)
		}
	}
}

// TestBindStops: binding asks whether anybody still waits.
func TestBindStops(t *testing.T) {
	for _, tc := range listing() {
		k, err := Lower(tc.call())
		if err != nil {
			t.Fatal(err)
		}
		if k.Tables < 1<<20 {
			continue
		}
		out := make([]*Tensor, len(k.Out))
		for i := range out {
			out[i] = New(k.Out[i])
		}
		asked := 0
		m := NewMemory(k, tc.in, out, AlignedBytes(ScratchBytes(k, 1)), 1)
		m.Stopped = func() bool { asked++; return true }
		k.Bind(m)
		if asked == 0 || asked > 20 {
			t.Errorf("%s: asked %d times while %d bytes were listed", tc, asked, k.Tables)
		}
	}
}

// TestLowerTakesNoMemory: what an operator means is found without going through
// its axes, however long they are.
func TestLowerTakesNoMemory(t *testing.T) {
	const n = 1<<26 - 1
	long := func(shape ...int) *Tensor { return &Tensor{Type: Type{DType: onnx.Float, Shape: shape}} }
	words := func(s string) map[string]onnx.Attr { return map[string]onnx.Attr{"mode": attrStr(s)} }
	none := (*Tensor)(nil)
	pairs := map[string]onnx.Attr{"equation": attrStr("ab,ab->a")}
	for _, tc := range []testCall{
		{op: "Pad", attrs: words("reflect"), in: []*Tensor{long(4), int64s(n-10, 3)}},
		{op: "Pad", attrs: words("wrap"), in: []*Tensor{long(4), int64s(n-10, 3)}},
		{op: "CenterCropPad", in: []*Tensor{long(4), int64s(n)}},
		{op: "Resize", attrs: words("nearest"), in: []*Tensor{long(1, 1, 4), none, none, int64s(1, 1, n)}},
		{op: "Resize", attrs: words("cubic"), in: []*Tensor{long(1, 1, 4), none, none, int64s(1, 1, n)}},
		{op: "Resize", attrs: map[string]onnx.Attr{"mode": attrStr("linear"), "antialias": attrInt(1)}, in: []*Tensor{long(1, 1, n), none, none, int64s(1, 1, 4)}},
		{op: "MatMul", in: []*Tensor{long(n/2, 1, 1), long(n/2, 1, 1)}},
		{op: "Einsum", attrs: pairs, in: []*Tensor{long(n/2, 1), long(n/2, 1)}},
		{op: "Einsum", attrs: map[string]onnx.Attr{"equation": attrStr("ab,cd->")}, in: []*Tensor{long(n/2, 2), long(n/2, 2)}},
		{op: "Conv", in: []*Tensor{long(n/16, 1, 1), long(1, 1, 1)}},
		{op: "Conv", in: []*Tensor{long(1, 1, n/16), long(1, 1, 1000)}},
		{op: "Conv", attrs: map[string]onnx.Attr{"group": attrInt(n / 16)}, in: []*Tensor{long(1, n/16, 1), long(n/16, 1, 1)}},
		{op: "ConvTranspose", in: []*Tensor{long(1, 1, n/16), long(1, 1, 1000)}},
		{op: "MaxPool", attrs: map[string]onnx.Attr{"kernel_shape": ints(1000, 1)}, in: []*Tensor{long(1, 1, n, 1)}, outs: 2},
		{op: "LayerNormalization", attrs: map[string]onnx.Attr{"axis": attrInt(0)}, in: []*Tensor{long(n), long(1)}},
		{op: "QuantizeLinear", attrs: map[string]onnx.Attr{"axis": attrInt(0)}, in: []*Tensor{long(n / 4), long(n / 4)}},
		{op: "MelWeightMatrix", in: []*Tensor{Of([]int{}, []int64{1 << 20}), Of([]int{}, []int64{6}), Of([]int{}, []int64{8000}), Of([]int{}, []float32{0}), Of([]int{}, []float32{4000})}},
		{op: "TopK", in: []*Tensor{long(n), int64s(n)}, outs: 2},
		{op: "Range", in: []*Tensor{Of([]int{}, []int64{0}), Of([]int{}, []int64{1 << 24}), Of([]int{}, []int64{1})}},
		{op: "Tile", in: []*Tensor{long(1), int64s(n)}},
	} {
		for i, x := range tc.in {
			tc.runtime = append(tc.runtime, x != nil && i < 2 && x.mem == nil)
		}
		c := tc.call()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Lower(c)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; err != nil || took > 32<<10 {
			t.Errorf("%s: takes %d bytes, %v", tc, took, err)
		}
	}
}
