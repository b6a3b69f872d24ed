package onnxrun_test

import (
	"context"
	"errors"
	"math/bits"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sampleonnx/onnxrun"
)

const hostileDir = "../testdata/hostile"

// hostileFiles are the models that once brought a part of this project down.
func hostileFiles(t testing.TB) map[string][]byte {
	files, err := filepath.Glob(filepath.Join(hostileDir, "*.onnx"))
	if err != nil || len(files) == 0 {
		t.Fatal("no models in ", hostileDir, err)
	}
	list := map[string][]byte{}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		list[strings.TrimSuffix(filepath.Base(f), ".onnx")] = data
	}
	return list
}

// TestHostileFiles: what once brought a part of this project down now ends in a
// result or in a typed error, in time.
func TestHostileFiles(t *testing.T) {
	for name, data := range hostileFiles(t) {
		t.Run(name, func(t *testing.T) {
			took := shortest(mutantDeadline+mutantGrace, func() {
				end, trouble := runMutant(rand.New(rand.NewPCG(1, 1)), &seedModel{}, data)
				if trouble != "" {
					t.Error(trouble)
				}
				t.Log(end)
			})
			if took > mutantDeadline+mutantGrace {
				t.Errorf("took %v", took)
			}
		})
	}
}

// smallModels are seeds for fuzzing.
func smallModels(f *testing.F) {
	for _, data := range hostileFiles(f) {
		f.Add(data)
	}
	for _, name := range []string{"anysize", "gaussian4", "mixture2"} {
		data, err := os.ReadFile(filepath.Join(models, name+".onnx"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(reshapeModel()))
	f.Add(longChain(3, 4))
}

// FuzzLoad opens any bytes and compiles what they are for inputs as declared:
// that ends in a plan or in a typed error, and in time.
func FuzzLoad(f *testing.F) {
	smallModels(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), mutantDeadline)
		defer cancel()
		start := time.Now()
		m, err := parseMutant(ctx, data)
		if err == nil {
			defer m.Close()
			var stats *onnxrun.Stats
			stats, err = m.Plan(ctx, inputsFor(rand.New(rand.NewPCG(1, 1)), m.Inputs())...)
			if err == nil && (stats.Memory < 0 || stats.Memory > mutantMemory || !(stats.FLOPs >= 0)) {
				t.Errorf("%d bytes, %v operations", stats.Memory, stats.FLOPs)
			}
		}
		if err != nil {
			if _, trouble := failure("load", err); trouble != "" {
				t.Error(trouble)
			}
		}
		if took := time.Since(start); took > mutantDeadline+10*mutantGrace {
			t.Errorf("took %v", took)
		}
	})
}

// FuzzRun takes any bytes through load, compile and run, the derivative too.
func FuzzRun(f *testing.F) {
	smallModels(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, trouble := runMutant(rand.New(rand.NewPCG(uint64(len(data)), 1)), &seedModel{}, data); trouble != "" {
			t.Error(trouble)
		}
		ctx, cancel := context.WithTimeout(t.Context(), mutantDeadline)
		defer cancel()
		m, err := parseMutant(ctx, data)
		if err != nil {
			return
		}
		defer m.Close()
		for _, shape := range [][]int{{2}, {1, 4, 4}} {
			if _, err := m.Pullback(shape...); err != nil {
				if _, internal := errors.AsType[*onnxrun.InternalError](err); internal {
					t.Error(err)
				}
			}
		}
	})
}

// TestOneValueAsManyOutputs: what a run gives counts as memory too, here 200 times
// the same 100 kB.
func TestOneValueAsManyOutputs(t *testing.T) {
	g := message(nil).with(11, valueInfo("x", 1, []int{25_000})).with(1, nodeProto("Sin", []string{"x"}, []string{"y"}, nil))
	for range 200 {
		g = g.with(12, valueInfo("y", 1, nil))
	}
	config := onnxrun.Config{Limits: onnxrun.Limits{Memory: 10 << 20}}
	_, err := config.Parse(t.Context(), modelProto(17, g))
	if over, ok := errors.AsType[*onnxrun.LimitError](err); !ok || over.Limit != "Memory" {
		t.Errorf("got %v", err)
	}
	config.Limits.Memory = 50 << 20
	if _, err := config.Parse(t.Context(), modelProto(17, g)); err != nil {
		t.Error(err)
	}
}

// TestInputsOfHugeShapes: the product of a shape's extents may wrap around to the
// number of elements that are given, or to none.
func TestInputsOfHugeShapes(t *testing.T) {
	m, err := onnxrun.Parse(longChain(1, 4)) // takes float32[4]
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	free := message(nil).with(11, valueInfo("x", 1, nil)).with(1, nodeProto("Sin", []string{"x"}, []string{"y"}, nil)).with(12, valueInfo("y", 1, nil))
	any, err := onnxrun.Parse(modelProto(17, free))
	if err != nil {
		t.Fatal(err)
	}
	defer any.Close()
	const half = bits.UintSize / 2
	for _, m := range []*onnxrun.Model{m, any} {
		for _, shape := range [][]int{{1 << half, 1 << half}, {1 << (2*half - 2), 4}, {1 << (half - 1), 1 << (half - 1), 4}, {0, 1 << (2*half - 2)}, {-1, -4}, {1 << (2*half - 3), 8, 1}} {
			_, err := m.Run(t.Context(), onnxrun.Tensor{Shape: shape, Data: []float32{}})
			if _, trouble := failure("run", err); err == nil || trouble != "" {
				t.Errorf("shape %v: %v", shape, err)
			}
		}
	}
	// A model that declares such an input is refused when it is opened.
	huge := message(nil).with(11, valueInfo("x", 1, []int{1<<31 - 1, 1<<31 - 1, 4})).with(1, nodeProto("Sin", []string{"x"}, []string{"y"}, nil)).with(12, valueInfo("y", 1, nil))
	_, err = onnxrun.Parse(modelProto(17, huge))
	if _, ok := errors.AsType[*onnxrun.LimitError](err); !ok {
		t.Errorf("got %v", err)
	}
}
