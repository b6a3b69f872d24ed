package onnxrun_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"sampleonnx/onnxrun"
)

const models = "../testdata/models"

func open(t testing.TB, name string, threads int) *onnxrun.Model {
	t.Helper()
	m, err := onnxrun.Config{Threads: threads}.Open(t.Context(), filepath.Join(models, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// nets are networks that between them use every family of kernels.
var nets = []struct {
	name  string
	shape []int
	level bool // the time is an integer
}{
	{"mixture2.onnx", []int{2}, false},
	{"swissroll.onnx", []int{2}, false},
	{"digits_ncsnv2.onnx", []int{1, 28, 28}, true},
	{"digits_ncsnpp_ve.onnx", []int{1, 32, 32}, false},
}

func samples(n, dim int, level bool) (x []float32, t []float64) {
	rng := rand.New(rand.NewPCG(5, 6))
	x, t = make([]float32, n*dim), make([]float64, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	for i := range t {
		if t[i] = 0.05 + 0.9*rng.Float64(); level {
			t[i] = float64(rng.IntN(80))
		}
	}
	return x, t
}

// A sample's output is the same bytes in any batch and with any number of
// threads.
func TestBytesDoNotDependOnBatchOrThreads(t *testing.T) {
	for _, net := range nets {
		dim := 1
		for _, d := range net.shape {
			dim *= d
		}
		n := 64
		if testing.Short() {
			n = 9
		}
		x, times := samples(n, dim, net.level)
		var want []float32
		for _, threads := range []int{1, 2} {
			field, err := open(t, net.name, threads).Field(net.shape...)
			if err != nil {
				t.Fatal(err)
			}
			for _, batch := range []int{1, 7, n} {
				got := make([]float32, len(x))
				for i := 0; i < n; i += batch {
					j := min(i+batch, n)
					if err := field(got[i*dim:j*dim], x[i*dim:j*dim], times[i:j]); err != nil {
						t.Fatal(err)
					}
				}
				if want == nil {
					want = got
				}
				for i := range want {
					if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
						t.Fatalf("%s: batch %d, %d threads: element %d of sample %d is %v, alone on one thread %v",
							net.name, batch, threads, i%dim, i/dim, got[i], want[i])
					}
				}
			}
		}
	}
}

// Many goroutines may use one model; each gets what it would get alone.
func TestConcurrentRuns(t *testing.T) {
	for _, net := range nets {
		dim := 1
		for _, d := range net.shape {
			dim *= d
		}
		field, err := open(t, net.name, 2).Field(net.shape...)
		if err != nil {
			t.Fatal(err)
		}
		const n = 8
		x, times := samples(n, dim, net.level)
		want := make([]float32, len(x))
		if err := field(want, x, times); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for g := range n {
			wg.Go(func() {
				got := make([]float32, dim)
				for range 3 {
					if err := field(got, x[g*dim:(g+1)*dim], times[g:g+1]); err != nil {
						t.Error(err)
					}
					for i, v := range got {
						if math.Float32bits(v) != math.Float32bits(want[g*dim+i]) {
							t.Errorf("%s: sample %d differs under concurrency", net.name, g)
							return
						}
					}
				}
			})
		}
		wg.Wait()
	}
}

// After the first call a field allocates nothing.
func TestFieldAllocatesNothing(t *testing.T) {
	for _, net := range nets {
		dim := 1
		for _, d := range net.shape {
			dim *= d
		}
		field, err := open(t, net.name, 2).Field(net.shape...)
		if err != nil {
			t.Fatal(err)
		}
		x, times := samples(2, dim, net.level)
		dst := make([]float32, len(x))
		if n := testing.AllocsPerRun(3, func() { field(dst, x, times) }); n != 0 && !raceEnabled {
			t.Errorf("%s: %v allocations a call", net.name, n)
		}
	}
}

// A run under a context that is done stops with its error.
func TestRunStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := open(t, "mixture2.onnx", 1).Run(ctx,
		onnxrun.Tensor{Shape: []int{1, 2}, Data: []float32{1, 2}}, onnxrun.Tensor{Shape: []int{1}, Data: []float32{1}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

// What is wrong with an input is said with its name.
func TestInputErrors(t *testing.T) {
	m := open(t, "mixture2.onnx", 1)
	x := onnxrun.Tensor{Name: "x", Shape: []int{1, 2}, Data: []float32{1, 2}}
	sigma := onnxrun.Tensor{Name: "sigma", Shape: []int{1}, Data: []float32{1}}
	with := func(t onnxrun.Tensor, f func(*onnxrun.Tensor)) onnxrun.Tensor { f(&t); return t }
	for _, c := range []struct {
		in   []onnxrun.Tensor
		want string
	}{
		{[]onnxrun.Tensor{x}, `input "sigma": missing`},
		{[]onnxrun.Tensor{x, x}, `input "x": given twice`},
		{[]onnxrun.Tensor{x, sigma, {Name: "y"}}, `input "y": the model has no such input`},
		{[]onnxrun.Tensor{with(x, func(t *onnxrun.Tensor) { t.Shape = []int{1, 3} }), sigma}, `has shape [1 3], want [batch,2]`},
		{[]onnxrun.Tensor{with(x, func(t *onnxrun.Tensor) { t.Shape = []int{2, 2} }), sigma}, `has 2 elements, shape [2 2] wants 4`},
		{[]onnxrun.Tensor{with(x, func(t *onnxrun.Tensor) { t.Shape = []int{-1, 2} }), sigma}, `negative dimension`},
		{[]onnxrun.Tensor{with(x, func(t *onnxrun.Tensor) { t.Data = []int64{1, 2} }), sigma}, `is int64, want float32`},
		{[]onnxrun.Tensor{with(x, func(t *onnxrun.Tensor) { t.Data = "no" }), sigma}, `data is a string`},
	} {
		_, err := m.Run(context.Background(), c.in...)
		var f *onnxrun.FormatError
		if !errors.As(err, &f) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want a FormatError with %q", err, c.want)
		}
	}
	for _, shape := range [][]int{{3}, {1, 28, 28}, {}} {
		if _, err := m.Field(shape...); err == nil {
			t.Errorf("a field of shape %v from a network of points in the plane", shape)
		}
	}
}

// Whatever is not a model is refused with an error that names the file.
func TestOpenErrors(t *testing.T) {
	whole, err := os.ReadFile(filepath.Join(models, "mixture2.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, data := range map[string][]byte{
		"empty.onnx":     {},
		"truncated.onnx": whole[:len(whole)/2],
		"text.onnx":      []byte("this is not a model\n"),
		"zeros.onnx":     make([]byte, 1000),
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := onnxrun.Open(path)
		var f *onnxrun.FormatError
		if !errors.As(err, &f) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v, want a FormatError that names the file", name, err)
		}
	}
	if _, err := onnxrun.Open(filepath.Join(dir, "none.onnx")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want os.ErrNotExist", err)
	}
}

// Image sizes that the model leaves open are followed through its shape
// arithmetic, a plan for each.
func TestAnyImageSize(t *testing.T) {
	m := open(t, "anysize.onnx", 2)
	for _, size := range [][3]int{{1, 3, 5}, {2, 8, 8}, {1, 1, 17}, {3, 20, 2}} {
		n, h, w := size[0], size[1], size[2]
		x := make([]float32, n*h*w)
		for i := range x {
			x[i] = float32(i%7) - 2
		}
		out, err := m.Run(context.Background(), onnxrun.Tensor{Shape: []int{n, 1, h, w}, Data: x})
		if err != nil {
			t.Fatal(err)
		}
		y := out[0].Data.([]float32)
		if s := out[0].Shape; len(s) != 2 || s[0] != n || s[1] != 4*h*w {
			t.Fatalf("%v: output of shape %v", size, s)
		}
		for i, got := range y {
			k, r, c := i/(4*h*w), i/(2*w)%(2*h), i%(2*w)
			want := float32(0)
			for a := max(0, r-1); a <= min(2*h-1, r+1); a++ {
				for b := max(0, c-1); b <= min(2*w-1, c+1); b++ {
					want += x[(k*h+a/2)*w+b/2]
				}
			}
			if got != want {
				t.Fatalf("%v: element %d is %v, want %v", size, i, got, want)
			}
		}
	}
}
