package onnxrun_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"sync"
	"testing"

	"sampleonnx/onnxrun"
)

// After Close every way to use a model gives fs.ErrClosed, and what describes it stays.
func TestClosedModel(t *testing.T) {
	m, err := onnxrun.Open("../testdata/models/gaussian4.onnx")
	if err != nil {
		t.Fatal(err)
	}
	score, err := m.Field(4)
	if err != nil {
		t.Fatal(err)
	}
	pullback, err := m.Pullback(4)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if err := m.Close(); err != nil {
			t.Errorf("Close number %d: %v", i+1, err)
		}
	}
	ctx, x, dst := context.Background(), []float32{1, 2, 3, 4}, make([]float32, 4)
	with := func(n int) []onnxrun.Tensor {
		return []onnxrun.Tensor{{Name: "x", Shape: []int{n, 4}, Data: slices.Repeat(x, n)}, {Name: "sigma", Shape: []int{n}, Data: make([]float32, n)}}
	}
	for what, use := range map[string]func() error{
		"Run":              func() error { _, err := m.Run(ctx, with(1)...); return err },
		"Run, a new batch": func() error { _, err := m.Run(ctx, with(5)...); return err },
		"Plan":             func() error { _, err := m.Plan(ctx, with(6)...); return err },
		"Profile":          func() error { _, err := m.Profile(ctx, with(1)...); return err },
		"Shapes":           func() error { _, err := m.Shapes(ctx, with(1)...); return err },
		"the field":        func() error { return score(dst, x, []float64{1}) },
		"the pullback":     func() error { return pullback(dst, x, x, []float64{1}) },
		"another pullback": func() error {
			return pullback(make([]float32, 12), slices.Repeat(x, 3), slices.Repeat(x, 3), []float64{1, 2, 3})
		},
	} {
		if err := use(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s after Close: %v, want fs.ErrClosed", what, err)
		}
	}
	if in := m.Inputs(); len(in) != 2 || in[0].Name != "x" {
		t.Errorf("Inputs after Close: %v", in)
	}
}

// Close among runs waits for those under way: each gives its result or fs.ErrClosed.
func TestCloseAmongRuns(t *testing.T) {
	for range 5 {
		m, err := onnxrun.Open("../testdata/models/gaussian4.onnx")
		if err != nil {
			t.Fatal(err)
		}
		score, err := m.Field(4)
		if err != nil {
			t.Fatal(err)
		}
		x, want := []float32{2, -2, 0.5, 3}, make([]float32, 4)
		if err := score(want, x, []float64{8}); err != nil {
			t.Fatal(err)
		}
		var wg, running sync.WaitGroup
		for range 8 {
			running.Add(1)
			wg.Go(func() {
				for n := 0; ; n++ {
					size := 1 + n%3 // some have a plan by now, some not
					dst := make([]float32, 4*size)
					err := score(dst, slices.Repeat(x, size), slices.Repeat([]float64{8}, size))
					if n == 0 {
						running.Done()
					}
					if err != nil {
						if !errors.Is(err, fs.ErrClosed) {
							t.Error(err)
						}
						return
					}
					if !slices.Equal(dst, slices.Repeat(want, size)) {
						t.Errorf("the score is %v, want %v", dst, want)
					}
				}
			})
		}
		running.Wait()
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	}
}
