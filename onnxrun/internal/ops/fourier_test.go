package ops

import (
	"math"
	"math/cmplx"
	"math/rand/v2"
	"slices"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

// TestDFT compares with the sum, and there and back again.
func TestDFT(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 16))
	for n := 1; n < 9; n++ {
		x := randn(r, 2, n, 3, 2)
		tc := testCall{op: "DFT", in: []*Tensor{x, nil, int64s(1)}, runtime: []bool{true}}
		y := tc.mustRun(t)[0]
		for row := range 6 {
			for k := range n {
				var want complex128
				for i := range n {
					p := ((row/3*n+i)*3 + row%3) * 2
					want += complex(float64(Data[float32](x)[p]), float64(Data[float32](x)[p+1])) *
						cmplx.Exp(complex(0, -2*math.Pi*float64(i*k)/float64(n)))
				}
				p := ((row/3*n+k)*3 + row%3) * 2
				if got := complex(float64(Data[float32](y)[p]), float64(Data[float32](y)[p+1])); cmplx.Abs(got-want) > 1e-5 {
					t.Fatalf("%v: frequency %d is %v, want %v", tc, k, got, want)
				}
			}
		}
		back := testCall{op: "DFT", in: []*Tensor{y, nil, int64s(1)}, attrs: map[string]onnx.Attr{"inverse": attrInt(1)}}.mustRun(t)[0]
		agree(t, "there and back", back, refOf(x), 1e-5)

		// Real numbers, by half a spectrum.
		real := randn(r, 2, n, 1)
		half := testCall{op: "DFT", in: []*Tensor{real}, attrs: map[string]onnx.Attr{"onesided": attrInt(1)}}.mustRun(t)[0]
		if half.Shape[1] != n/2+1 {
			t.Fatalf("%d frequencies of %d", half.Shape[1], n)
		}
		back = testCall{op: "DFT", in: []*Tensor{half, int64s(n)}, attrs: map[string]onnx.Attr{"inverse": attrInt(1), "onesided": attrInt(1)}}.mustRun(t)[0]
		agree(t, "half a spectrum and back", back, refOf(real), 1e-5)
	}
	// Longer than the signal: zeros follow. Shorter: it is cut.
	x := Of([]int{1, 3, 1}, []float64{1, 2, 3})
	for n, want := range map[int][]float64{4: {6, 0, -2, -2, 2, 0, -2, 2}, 2: {3, 0, -1, 0}} {
		near64(t, n, Data[float64](testCall{op: "DFT", in: []*Tensor{x, int64s(n)}}.mustRun(t)[0]), want, 1e-12)
	}
	testCall{op: "DFT", in: []*Tensor{x, int64s(0)}}.mustFail(t, true)
	testCall{op: "DFT", in: []*Tensor{x, nil, int64s(2)}}.mustFail(t, true)
	testCall{op: "DFT", in: []*Tensor{Of([]int{1, 3}, []float32{1, 2, 3})}}.mustFail(t, true)
}

func TestSTFT(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 17))
	x, w := randn(r, 2, 11, 1), randn(r, 4)
	tc := testCall{op: "STFT", in: []*Tensor{x, int64s(3), w}, runtime: []bool{true}}
	got := tc.mustRun(t)[0]
	if !slices.Equal(got.Shape, []int{2, 3, 3, 2}) {
		t.Fatal(got.Shape)
	}
	frame := New(Type{DType: onnx.Float, Shape: []int{1, 4, 1}})
	for i := range 4 { // the last frame of the second signal
		Data[float32](frame)[i] = Data[float32](x)[11+6+i] * Data[float32](w)[i]
	}
	want := testCall{op: "DFT", in: []*Tensor{frame}, attrs: map[string]onnx.Attr{"onesided": attrInt(1)}}.mustRun(t)[0]
	for i, v := range Data[float32](want) {
		if g := Data[float32](got)[5*6+i]; math.Abs(float64(g-v)) > 1e-5 {
			t.Errorf("element %d is %v, want %v", i, g, v)
		}
	}
	tc.in[1] = int64s(0)
	tc.mustFail(t, true)
}

func TestWindows(t *testing.T) {
	for op, want := range map[string][]float64{
		"HannWindow":     {0, 0.5, 1, 0.5},
		"HammingWindow":  {4. / 46, 25. / 46, 1, 25. / 46},
		"BlackmanWindow": {0, 0.34, 1, 0.34},
	} {
		tc := testCall{op: op, in: []*Tensor{Of([]int{}, []int32{4})}, attrs: map[string]onnx.Attr{"output_datatype": attrInt(int(onnx.Double))}}
		near64(t, tc, Data[float64](tc.mustRun(t)[0]), want, 1e-12)
		tc = testCall{op: op, in: []*Tensor{int64s(5)}, attrs: map[string]onnx.Attr{"periodic": attrInt(0)}}
		near(t, tc, Data[float32](tc.mustRun(t)[0]), append(slices.Clone(want), want[0]), 1e-6)
		testCall{op: op, in: []*Tensor{int64s(-1)}}.mustFail(t, true)
	}
	f := func(v float32) *Tensor { return Of([]int{}, []float32{v}) }
	n := func(v int64) *Tensor { return Of([]int{}, []int64{v}) }
	mel := testCall{op: "MelWeightMatrix", in: []*Tensor{n(8), n(16), n(8192), f(0), f(4096)}}.mustRun(t)[0]
	if !slices.Equal(mel.Shape, []int{9, 8}) {
		t.Error(mel.Shape)
	}
	testCall{op: "MelWeightMatrix", in: []*Tensor{n(8), n(16), n(8192), f(0), f(5000)}}.mustFail(t, true)
}
