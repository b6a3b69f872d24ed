package onnxrun_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"sampleonnx/onnxrun"
)

// cotangents are v for samples: numbers that have nothing to do with them.
func cotangents(x []float32) []float32 {
	v := make([]float32, len(x))
	for i := range v {
		v[i] = float32(math.Sin(float64(7*i + 1)))
	}
	return v
}

func size(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// A sample's gradient is the same bytes in any batch, with any number of
// threads, and from many goroutines.
func TestGradientsDoNotDependOnBatchOrThreads(t *testing.T) {
	for _, net := range nets {
		dim, n := size(net.shape), 16
		if testing.Short() {
			n = 5
		}
		x, times := samples(n, dim, net.level)
		v := cotangents(x)
		var want []float32
		same := func(what string, got []float32, from int) {
			for i := range got {
				if math.Float32bits(got[i]) != math.Float32bits(want[from+i]) {
					t.Fatalf("%s: %s: element %d of sample %d is %v, alone on one thread %v",
						net.name, what, i%dim, (from+i)/dim, got[i], want[from+i])
				}
			}
		}
		for _, threads := range []int{1, 2} {
			pullback, err := open(t, net.name, threads).Pullback(net.shape...)
			if err != nil {
				t.Fatal(err)
			}
			for _, batch := range []int{1, 3, n} {
				got := make([]float32, len(x))
				for i := 0; i < n; i += batch {
					j := min(i+batch, n)
					if err := pullback(got[i*dim:j*dim], v[i*dim:j*dim], x[i*dim:j*dim], times[i:j]); err != nil {
						t.Fatal(err)
					}
				}
				if want == nil {
					want = got
				}
				same(fmt.Sprintf("batch %d, %d threads", batch, threads), got, 0)
			}
			var wg sync.WaitGroup
			got := make([]float32, 4*dim)
			for g := range 4 {
				wg.Go(func() {
					if err := pullback(got[g*dim:(g+1)*dim], v[g*dim:(g+1)*dim], x[g*dim:(g+1)*dim], times[g:g+1]); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			same("concurrently", got, 0)
		}
	}
}

// The output that comes with a gradient is the field's, and after the first call
// nothing is allocated.
func TestPullbackGivesTheFieldAndAllocatesNothing(t *testing.T) {
	for _, net := range nets {
		m := open(t, net.name, 2)
		field, err := m.Field(net.shape...)
		if err != nil {
			t.Fatal(err)
		}
		pullback, err := m.PullbackOf(t.Context(), onnxrun.FieldSpec{Shape: net.shape})
		if err != nil {
			t.Fatal(err)
		}
		x, times := samples(2, size(net.shape), net.level)
		want, out, dst, v := make([]float32, len(x)), make([]float32, len(x)), make([]float32, len(x)), cotangents(x)
		if err := field(want, x, times); err != nil {
			t.Fatal(err)
		}
		if err := pullback(out, dst, v, x, times); err != nil {
			t.Fatal(err)
		}
		var d, most float64
		for i := range want {
			d, most = max(d, math.Abs(float64(out[i]-want[i]))), max(most, math.Abs(float64(want[i])))
		}
		if !(d <= 3e-6*most) {
			t.Errorf("%s: the output differs from the field's by %.2g of its maximum", net.name, d/most)
		}
		if n := testing.AllocsPerRun(3, func() { pullback(out, dst, v, x, times) }); n != 0 && !raceEnabled {
			t.Errorf("%s: %v allocations a call", net.name, n)
		}
	}
}

func TestPullbackErrors(t *testing.T) {
	m := open(t, "mixture2.onnx", 1)
	if _, err := m.Pullback(3); err == nil {
		t.Error("a pullback of shape [3] from a network of points in the plane")
	}
	if _, err := m.PullbackOf(t.Context(), onnxrun.FieldSpec{Shape: []int{2}, OutShape: []int{10}}); err == nil {
		t.Error("a pullback of an output of shape [10] from one of points in the plane")
	}
	f, err := m.PullbackOf(t.Context(), onnxrun.FieldSpec{Shape: []int{2}})
	if err != nil {
		t.Fatal(err)
	}
	two, four := make([]float32, 2), make([]float32, 4)
	var bad *onnxrun.FormatError
	for _, err := range []error{
		f(four, two, two, two, []float64{1}), f(nil, four, two, two, []float64{1}), f(nil, two, four, two, []float64{1}), f(nil, two, two, four, []float64{1}),
	} {
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), "pullback of shape [2] to [2]: 1 times") {
			t.Errorf("error %v", err)
		}
	}
}

func BenchmarkPullback(b *testing.B) {
	for _, net := range nets {
		m := open(b, net.name, 1)
		x, times := samples(8, size(net.shape), net.level)
		dst, v := make([]float32, len(x)), cotangents(x)
		field, err := m.Field(net.shape...)
		if err != nil {
			b.Fatal(err)
		}
		pullback, err := m.Pullback(net.shape...)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(net.name+"/field", func(b *testing.B) {
			for b.Loop() {
				field(dst, x, times)
			}
		})
		b.Run(net.name+"/pullback", func(b *testing.B) {
			for b.Loop() {
				pullback(dst, v, x, times)
			}
		})
	}
}
