package onnxrun

import (
	"math"
	"testing"
)

// A field that is asked for every batch size has plans for few of them, and
// gives every sample the same bytes.
func TestFewPlansForManyBatchSizes(t *testing.T) {
	m, err := Open("../testdata/models/swissroll.onnx")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	f, err := m.field(t.Context(), FieldSpec{Shape: []int{2}}, false)
	if err != nil {
		t.Fatal(err)
	}
	f.compile = m.plan
	const most = 70
	x, times := make([]float32, 2*most), make([]float64, most)
	for i := range times {
		x[2*i], x[2*i+1], times[i] = float32(i)/20-1, float32(i%9)/5, 0.1+float64(i)/100
	}
	want := make([]float32, len(x))
	for i := range times {
		if err := f.eval(want[2*i:2*i+2], x[2*i:2*i+2], times[i:i+1]); err != nil {
			t.Fatal(err)
		}
	}
	for n := most; n > 0; n-- {
		got := make([]float32, 2*n)
		if err := f.eval(got, x[:2*n], times[:n]); err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
				t.Fatalf("batch of %d: element %d is %v, alone %v", n, i, got[i], want[i])
			}
		}
	}
	if len(f.plans) > oddSizes+7 { // the powers of two up to 64
		t.Errorf("%d plans for %d batch sizes", len(f.plans), most)
	}
}
