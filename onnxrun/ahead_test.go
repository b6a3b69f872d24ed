package onnxrun_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"sampleonnx/onnxrun"
)

// aheadModels are networks of samples and a time, in this order.
func aheadModels() []string {
	const shipped = "../testdata/models/"
	models := []string{shipped + "swissroll.onnx", shipped + "mixture2.onnx", shipped + "digits_ncsnpp_ve.onnx", shipped + "digits_ncsnv2.onnx"}
	if dir := os.Getenv("SAMPLEONNX_SHARED"); dir != "" {
		for _, name := range []string{"models/digits_ddpm_vp.onnx", "models/swissroll_dynamo.onnx", "perf/mlp.onnx", "perf/dit.onnx"} {
			models = append(models, filepath.Join(dir, name))
		}
	}
	return models
}

// openField is a model's field, and the number of elements of a sample.
func openField(t testing.TB, name string) (*onnxrun.Model, func(dst, x []float32, t []float64) error, int) {
	t.Helper()
	m, err := onnxrun.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	var shape []int
	dim := 1
	for _, d := range m.Inputs()[0].Dims[1:] {
		shape = append(shape, d.Size)
		dim *= d.Size
	}
	field, err := m.Field(shape...)
	if err != nil {
		t.Fatal(err)
	}
	return m, field, dim
}

// Samples that share their time get the bytes that they get among others, whether
// what depends on the time is computed or remembered.
func TestOneTimeGivesTheSameBytes(t *testing.T) {
	for _, name := range aheadModels() {
		_, field, dim := openField(t, name)
		for _, batch := range []int{1, 3, 8} {
			rng := rand.New(rand.NewPCG(7, uint64(batch)))
			// A sample too many, at another time, makes the times differ.
			x := make([]float32, (batch+1)*dim)
			for i := range x {
				x[i] = float32(rng.NormFloat64())
			}
			got, want := make([]float32, batch*dim), make([]float32, len(x))
			for _, at := range []float64{0.25, 3, 0.25, 0.25} {
				times := slices.Repeat([]float64{at}, batch+1)
				times[batch] = 1
				if err := field(want, x, times); err != nil {
					t.Fatal(err)
				}
				if err := field(got, x[:batch*dim], times[:batch]); err != nil {
					t.Fatal(err)
				}
				for i := range got {
					if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
						t.Fatalf("%s, %d samples at time %v: element %d is %v, among others %v", name, batch, at, i, got[i], want[i])
					}
				}
			}
			times := slices.Repeat([]float64{0.5}, batch)
			if n := testing.AllocsPerRun(5, func() { field(got, x[:batch*dim], times) }); n != 0 && !raceEnabled {
				t.Errorf("%s: %v allocations a call of %d", name, n, batch)
			}
		}
	}
}

// Many goroutines, each at its own times, share what is remembered.
func TestOneTimeManyCallers(t *testing.T) {
	m, field, _ := openField(t, "../testdata/models/swissroll.onnx")
	const batch, levels = 6, 2000
	rng := rand.New(rand.NewPCG(9, 9))
	x := make([]float32, 2*batch)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	at := func(level int) []float64 { return slices.Repeat([]float64{0.1 + 0.01*float64(level)}, batch) }
	want := make([][]float32, levels)
	for l := range want {
		in, out := m.Inputs(), make([]float32, 0, batch*2)
		times := make([]float32, batch)
		for i, v := range at(l) {
			times[i] = float32(v)
		}
		res, err := m.Run(context.Background(),
			onnxrun.Tensor{Name: in[0].Name, Shape: []int{batch, 2}, Data: x}, onnxrun.Tensor{Name: in[1].Name, Shape: []int{batch}, Data: times})
		if err != nil {
			t.Fatal(err)
		}
		want[l] = append(out, res[0].Data.([]float32)...)
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			got := make([]float32, 2*batch)
			r := rand.New(rand.NewPCG(1, uint64(w)))
			for range 3000 {
				l := r.IntN(levels)
				if err := field(got, x, at(l)); err != nil {
					t.Error(err)
					return
				}
				if !slices.Equal(got, want[l]) {
					t.Errorf("level %d: %v, want %v", l, got, want[l])
					return
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkOneTime is a call for samples at one time, and BenchmarkManyTimes for
// samples of which one is at another.
func BenchmarkOneTime(b *testing.B)   { benchmarkTimes(b, false) }
func BenchmarkManyTimes(b *testing.B) { benchmarkTimes(b, true) }

func benchmarkTimes(b *testing.B, many bool) {
	dir := os.Getenv("SAMPLEONNX_SHARED")
	if dir == "" {
		b.Skip("set SAMPLEONNX_SHARED to the folder with perf/")
	}
	for _, c := range []struct {
		name  string
		batch int
	}{
		{"perf/mlp.onnx", 1}, {"perf/mlp.onnx", 1000}, {"perf/mlp.onnx", 10000}, {"perf/ddpm.onnx", 8}, {"perf/dit.onnx", 8},
		{"models/digits_ncsnpp_ve.onnx", 64},
	} {
		b.Run(fmt.Sprint(filepath.Base(c.name), "-", c.batch), func(b *testing.B) {
			_, field, dim := openField(b, filepath.Join(dir, c.name))
			x, dst, times := make([]float32, c.batch*dim), make([]float32, c.batch*dim), make([]float64, c.batch)
			for i := range x {
				x[i] = float32(i%7) - 3
			}
			for i := 0; b.Loop(); i++ {
				for j := range times {
					times[j] = 0.1 + 0.001*float64(i%100)
				}
				if many {
					times[0] += 0.0001
				}
				if err := field(dst, x, times); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
