package ops

import (
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

// One part of these operators is a long piece of work: it asks on its way whether
// it is to stop, again and again, and after the answer that it is, no more.
func TestLongPartsStop(t *testing.T) {
	numbers := func(shape ...int) *Tensor { return New(Type{DType: onnx.Float, Shape: shape}) }
	doubles := func(shape ...int) *Tensor { return New(Type{DType: onnx.Double, Shape: shape}) }
	identity := func(n int) *Tensor {
		m := doubles(n, n)
		for i := range n {
			Data[float64](m)[i*n+i] = 1
		}
		return m
	}
	distinct := numbers(1 << 19)
	for i := range Data[float32](distinct) {
		Data[float32](distinct)[i] = float32(i * 48271 % 65537)
	}
	const side = 1 << 21
	for name, tc := range map[string]testCall{
		"MaxPool 3-D":     {op: "MaxPool", in: []*Tensor{numbers(1, 1, 4, 1024, 4096)}, attrs: map[string]onnx.Attr{"kernel_shape": ints(4, 1024, 1024)}},
		"MaxPool 2-D":     {op: "MaxPool", in: []*Tensor{numbers(1, 1, 1024, 1024)}, attrs: map[string]onnx.Attr{"kernel_shape": ints(1024, 1024)}},
		"MaxPool indices": {op: "MaxPool", in: []*Tensor{numbers(1, 1, 2048, 2048)}, attrs: map[string]onnx.Attr{"kernel_shape": ints(2048, 2048)}, outs: 2},
		"AveragePool 1-D": {op: "AveragePool", in: []*Tensor{doubles(1, 1, side)}, attrs: map[string]onnx.Attr{"kernel_shape": ints(side / 2)}},
		"RoiAlign": {op: "RoiAlign", in: []*Tensor{numbers(1, 4, 8, 8), Of([]int{1, 4}, []float32{0, 0, 7, 7}), Of([]int{1}, []int64{0})},
			attrs: map[string]onnx.Attr{"sampling_ratio": attrInt(1 << 10)}},
		"Einsum, doubles": {op: "Einsum", in: []*Tensor{doubles(side), doubles(4)}, attrs: map[string]onnx.Attr{"equation": attrStr("i,j->")}},
		"CumSum":          {op: "CumSum", in: []*Tensor{numbers(4 * side), Of([]int{}, []int64{0})}},
		"ArgMax":          {op: "ArgMax", in: []*Tensor{numbers(4 * side)}},
		"Hardmax":         {op: "Hardmax", in: []*Tensor{numbers(4 * side)}},
		"TopK":            {op: "TopK", in: []*Tensor{distinct, Of([]int{1}, []int64{1 << 19})}, outs: 2},
		"Det":             {op: "Det", in: []*Tensor{identity(300)}},
		"DFT":             {op: "DFT", in: []*Tensor{numbers(1, 1048573, 1)}, attrs: map[string]onnx.Attr{"axis": attrInt(1)}, version: 17},
		"ScatterND": {op: "ScatterND", in: []*Tensor{numbers(4), New(Type{DType: onnx.Int64, Shape: []int{side, 1}}), numbers(side)},
			attrs: map[string]onnx.Attr{"reduction": attrStr("add")}},
		"Resize, antialiased": {op: "Resize", in: []*Tensor{numbers(1, 1, 1, 4*side), nil, nil, Of([]int{4}, []int64{1, 1, 1, 3})},
			attrs: map[string]onnx.Attr{"mode": attrStr("linear"), "antialias": attrInt(1)}},
		"LSTM":      {op: "LSTM", in: []*Tensor{numbers(1<<12, 1, 64), numbers(1, 128, 64), numbers(1, 128, 32)}, attrs: map[string]onnx.Attr{"hidden_size": attrInt(32)}},
		"GRU":       {op: "GRU", in: []*Tensor{numbers(1<<12, 1, 64), numbers(1, 96, 64), numbers(1, 96, 32)}, attrs: map[string]onnx.Attr{"hidden_size": attrInt(32)}},
		"ReduceSum": {op: "ReduceSum", in: []*Tensor{numbers(1<<12, 2, 1<<11), Of([]int{2}, []int64{0, 2})}},
	} {
		t.Run(name, func(t *testing.T) {
			tc.allVar = true
			c := tc.call()
			for i, in := range tc.in { // sizes and axes are known
				if in != nil && i > 0 && in.DType == onnx.Int64 && in.Elems() <= 4 {
					c.In[i].Const = in
				}
			}
			k, err := Lower(c)
			if err != nil {
				t.Fatal(err)
			}
			out := make([]*Tensor, len(k.Out))
			for i, o := range k.Out {
				out[i] = New(o)
			}
			m := NewMemory(k, tc.in, out, AlignedBytes(ScratchBytes(k, 1)), 1)
			asked, until := 0, 3
			m.Stopped = func() bool { asked++; return asked >= until }
			for _, task := range k.Bind(m) {
				if asked = 0; task.Parts > 0 {
					task.Run(0, 0)
				}
				if asked >= until {
					break
				}
			}
			if asked != until {
				t.Errorf("asked %d times, want until the answer, the %dth time", asked, until)
			}
		})
	}
}

// A long row is sorted another way than a short one, to the same order.
func TestLongRowsAreRanked(t *testing.T) {
	const n = sortWhole + 1
	row := make([]int32, n)
	for i := range row {
		row[i] = int32(i * 48271 % 1021)
	}
	for _, largest := range []bool{false, true} {
		for _, count := range []int{1, 1000, n} {
			r := ranking[int32]{row, 1, largest}
			order, p := make([]int32, n), pace{nil, paceWork}
			if !r.first(order, count, &p) {
				t.Fatal("stopped")
			}
			seen := make([]bool, n)
			for i, at := range order[:count] {
				if seen[at] {
					t.Fatalf("place %d comes twice", at)
				}
				seen[at] = true
				if i > 0 && r.compare(order[i-1], at) >= 0 {
					t.Fatalf("largest %v: places %d and %d are in the wrong order", largest, order[i-1], at)
				}
			}
			last := order[count-1]
			for at, in := range seen {
				if !in && r.compare(int32(at), last) < 0 {
					t.Fatalf("largest %v, the first %d: place %d is missing", largest, count, at)
				}
			}
		}
	}
}

// How many taps lie inside is a formula; here they are counted.
func TestWindowCount(t *testing.T) {
	for _, w := range []window{
		{in: []int{7}, out: []int{9}, kernel: []int{3}, stride: []int{1}, dilation: []int{2}, begin: []int{3}, end: []int{3}},
		{in: []int{5}, out: []int{4}, kernel: []int{6}, stride: []int{3}, dilation: []int{1}, begin: []int{4}, end: []int{5}},
		{in: []int{1}, out: []int{6}, kernel: []int{2}, stride: []int{2}, dilation: []int{3}, begin: []int{7}, end: []int{7}},
	} {
		for o := range w.out[0] {
			for _, pad := range []bool{false, true} {
				lo, hi, want := 0, w.in[0], 0
				if pad {
					lo, hi = -w.begin[0], w.in[0]+w.end[0]
				}
				for k := range w.kernel[0] {
					if p := w.at(0, o, k); p >= lo && p < hi {
						want++
					}
				}
				if got := w.count(0, o, pad); got != want {
					t.Errorf("%+v, output %d, padding %v: %d taps, want %d", w, o, pad, got, want)
				}
			}
		}
	}
}
