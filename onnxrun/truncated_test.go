//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package onnxrun_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sampleonnx/onnxrun"
)

// A model file that loses its end while it is mapped is an error of the run that
// reads what is gone, in whichever thread and whichever kernel; the process goes
// on, and other models with it.
func TestTruncatedWhileInUse(t *testing.T) {
	for _, net := range nets {
		data, err := os.ReadFile(filepath.Join(models, net.name))
		if err != nil {
			t.Fatal(err)
		}
		for _, threads := range []int{1, 2} {
			path := filepath.Join(t.TempDir(), "model.onnx")
			if err := os.WriteFile(path, data, 0o666); err != nil {
				t.Fatal(err)
			}
			m, err := onnxrun.Config{Threads: threads}.Open(context.Background(), path)
			if err != nil {
				t.Fatal(err)
			}
			f, err := m.Field(net.shape...) // compiles; nothing is packed before the first run
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
			dim := 1
			for _, d := range net.shape {
				dim *= d
			}
			for _, n := range []int{1, 1, 3, 8, 8} {
				x, times := samples(n, dim, net.level)
				err := f(make([]float32, n*dim), x, times)
				format, ok := errors.AsType[*onnxrun.FormatError](err)
				if !ok || format.Node == "" || !strings.Contains(err.Error(), "truncated") {
					t.Errorf("%s, %d threads, batch %d: %v", net.name, threads, n, err)
				}
			}
			if _, err := m.Pullback(net.shape...); err != nil {
				t.Log(err) // may have been compiled from what is in memory
			}
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	// The same process, another model.
	m := open(t, nets[0].name, 2)
	f, err := m.Field(nets[0].shape...)
	if err != nil {
		t.Fatal(err)
	}
	x, times := samples(4, 2, false)
	if err := f(make([]float32, 8), x, times); err != nil {
		t.Error(err)
	}
}

// An output may be a weight, which lies in the mapped file.
func TestTruncatedOutput(t *testing.T) {
	const n = 1 << 14
	w := message(nil).text(8, "w").number(2, 1).number(1, n).text(9, string(make([]byte, 4*n)))
	g := message(nil).with(5, w).with(11, valueInfo("x", 1, []int{1})).with(1, nodeProto("Sin", []string{"x"}, []string{"y"}, nil)).
		with(12, valueInfo("y", 1, []int{1})).with(12, valueInfo("w", 1, []int{n}))
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(path, modelProto(17, g), 0o666); err != nil {
		t.Fatal(err)
	}
	m, err := onnxrun.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	_, err = m.Run(t.Context(), onnxrun.Tensor{Shape: []int{1}, Data: []float32{1}})
	if _, ok := errors.AsType[*onnxrun.FormatError](err); !ok {
		t.Errorf("got %v", err)
	}
}

// What was packed before the file was truncated is no longer read from it.
func TestTruncatedAfterTheFirstRun(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(models, "digits_ncsnv2.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	m, err := onnxrun.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	f, err := m.Field(1, 28, 28)
	if err != nil {
		t.Fatal(err)
	}
	x, times := samples(1, 784, true)
	want, got := make([]float32, 784), make([]float32, 784)
	if err := f(want, x, times); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	// Biases and scales may still be read in place: then it is the error.
	err = f(got, x, times)
	if _, ok := errors.AsType[*onnxrun.FormatError](err); err != nil && !ok {
		t.Errorf("error %T: %v", err, err)
	}
	for i := range got {
		if err == nil && got[i] != want[i] {
			t.Fatalf("element %d is %v, was %v", i, got[i], want[i])
		}
	}
}
