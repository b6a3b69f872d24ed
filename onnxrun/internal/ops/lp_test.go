package ops

import (
	"math"
	"math/rand/v2"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

func TestLpPool(t *testing.T) {
	x := Of([]int{1, 1, 4}, []float32{3, -4, 0, 12})
	attrs := map[string]onnx.Attr{"kernel_shape": ints(2), "strides": ints(2)}
	near(t, "LpPool", Data[float32](testCall{op: "LpPool", attrs: attrs, in: []*Tensor{x}}.mustRun(t)[0]), []float64{5, 12}, 1e-6)
	attrs = map[string]onnx.Attr{"kernel_shape": ints(3), "pads": ints(1, 1), "p": attrInt(1)}
	near(t, "LpPool", Data[float32](testCall{op: "LpPool", attrs: attrs, in: []*Tensor{x}}.mustRun(t)[0]), []float64{7, 7, 16, 12}, 1e-6)
	attrs = map[string]onnx.Attr{"p": attrInt(3)}
	near(t, "GlobalLpPool", Data[float32](testCall{op: "GlobalLpPool", attrs: attrs, in: []*Tensor{x}}.mustRun(t)[0]), []float64{math.Cbrt(27 + 64 + 1728)}, 1e-6)
	testCall{op: "LpPool", in: []*Tensor{x}}.mustFail(t, true)
	testCall{op: "LpPool", attrs: map[string]onnx.Attr{"kernel_shape": ints(2), "p": attrInt(0)}, in: []*Tensor{x}}.mustFail(t, true)
}

func TestLpNormalization(t *testing.T) {
	x := Of([]int{2, 2}, []float32{3, 0, -4, 0})
	got := testCall{op: "LpNormalization", attrs: map[string]onnx.Attr{"axis": attrInt(0)}, in: []*Tensor{x}}.mustRun(t)[0]
	near(t, "LpNormalization", Data[float32](got), []float64{0.6, 0, -0.8, 0}, 1e-6) // zeros stay
	testCall{op: "LpNormalization", attrs: map[string]onnx.Attr{"p": attrInt(3)}, in: []*Tensor{x}}.mustFail(t, true)
}

func TestLRN(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 10))
	for size := 1; size < 7; size++ {
		x := randn(r, 2, 5, 3)
		want := zeros(x.Shape...)
		k := 0
		everywhere(x.Shape, func(at []int) {
			sum := 0.0
			for c := at[1] - (size-1)/2; c <= at[1]+size/2; c++ { // the standard's ⌊(size-1)/2⌋ and ⌈(size-1)/2⌉
				if c >= 0 && c < 5 {
					sum += refOf(x).at(at[0], c, at[2]) * refOf(x).at(at[0], c, at[2])
				}
			}
			want.data[k] = refOf(x).at(at...) / math.Pow(2+0.5/float64(size)*sum, 0.75)
			k++
		})
		tc := testCall{op: "LRN", in: []*Tensor{x}, attrs: map[string]onnx.Attr{"size": attrInt(size), "bias": attrFloat(2), "alpha": attrFloat(0.5)}}
		agree(t, tc, tc.mustRun(t)[0], want, 1e-6)
	}
	testCall{op: "LRN", in: []*Tensor{randn(r, 1, 2, 3)}}.mustFail(t, true)
}

func TestMeanVariance(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 11))
	x := randn(r, 2, 3, 4, 5)
	got := refOf(testCall{op: "MeanVarianceNormalization", in: []*Tensor{x}}.mustRun(t)[0])
	for c := range 3 {
		var sum, squares float64
		everywhere([]int{2, 4, 5}, func(at []int) {
			v := got.at(at[0], c, at[1], at[2])
			sum, squares = sum+v/40, squares+v*v/40
		})
		if math.Abs(sum) > 1e-6 || math.Abs(squares-1) > 1e-6 {
			t.Errorf("channel %d has mean %v and mean square %v", c, sum, squares)
		}
	}
	testCall{op: "MeanVarianceNormalization", in: []*Tensor{randn(r, 2, 3)}}.mustFail(t, true)
}
