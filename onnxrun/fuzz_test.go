package onnxrun_test

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sampleonnx/onnxrun"
	"sampleonnx/onnxrun/internal/onnx"
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
			var most uint64
			took := shortest(mutantDeadline+mutantGrace, func() {
				before := allocated()
				end, trouble := runMutant(rand.New(rand.NewPCG(1, 1)), &seedModel{}, data)
				if trouble != "" {
					t.Error(trouble)
				}
				most = allocated() - before
				t.Log(end)
			})
			if most > mutantAlloc {
				t.Errorf("allocated %d MB", most>>20)
			}
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

// TestLongAndWideGraphs: a graph of any length, and a node of any number of inputs,
// compiles, and what is read far from where it is made is right.
func TestLongAndWideGraphs(t *testing.T) {
	const n = 10_000
	g := message(nil).with(11, valueInfo("v0", onnx.Float, []int{2})).with(5, tensorProto("one", made(onnx.Float, []int{1}, func([]int) float64 { return 1 }))).
		with(5, tensorProto("axis", &array{onnx.Int64, []int{1}, []float64{0}}))
	names := make([]string, n+1)
	for i := range names {
		names[i] = fmt.Sprint("v", i)
	}
	for i := range n {
		g = g.with(1, nodeProto("Add", []string{names[i], "one"}, names[i+1:i+2], nil))
	}
	g = g.with(1, nodeProto("Sub", []string{names[n], names[3]}, []string{"far"}, nil))
	g = g.with(1, nodeProto("Max", names, []string{"wide"}, nil))
	g = g.with(1, nodeProto("Split", []string{names[7]}, []string{"first", "second"}, map[string]any{"axis": 0, "num_outputs": 2}))
	const views = 30_000 // which look like the end of an attention
	last := "v0"
	for i := range views {
		next := fmt.Sprint("view", i)
		g = g.with(1, nodeProto([]string{"Unsqueeze", "Squeeze"}[i%2], []string{last, "axis"}, []string{next}, nil))
		last = next
	}
	for _, out := range []string{"far", "wide", "first", "second", last} {
		g = g.with(12, valueInfo(out, onnx.Float, nil))
	}
	m, err := onnxrun.Parse(modelProto(18, g))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	out, err := m.Run(t.Context(), onnxrun.Tensor{Shape: []int{2}, Data: []float32{5, -5}})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]float32{{n - 3, n - 3}, {n + 5, n - 5}, {12}, {2}, {5, -5}} {
		if got := out[i].Data.([]float32); !slices.Equal(got, want) {
			t.Errorf("output %d is %v, want %v", i, got, want)
		}
	}
}

// TestLoopBodyWithManyConstants: a round of a loop takes no time for what is in its body
// and is not computed.
func TestLoopBodyWithManyConstants(t *testing.T) {
	const constants, rounds = 100_000, 2_000
	body := message(nil).with(11, valueInfo("i", onnx.Int64, []int{})).with(11, valueInfo("c", onnx.Bool, []int{})).with(11, valueInfo("a", onnx.Float, []int{1})).
		with(1, nodeProto("Identity", []string{"c"}, []string{"c1"}, nil)).with(1, nodeProto("Add", []string{"a", "w7"}, []string{"a1"}, nil)).
		with(12, valueInfo("c1", onnx.Bool, []int{})).with(12, valueInfo("a1", onnx.Float, []int{1}))
	w := newArray(onnx.Float, 1)
	w.data[0] = 1
	for i := range constants {
		body = body.with(5, tensorProto(fmt.Sprint("w", i), w))
	}
	g := message(nil).with(11, valueInfo("x", onnx.Float, []int{1})).with(5, tensorProto("n", &array{onnx.Int64, []int{}, []float64{rounds}})).
		with(1, withGraph(nodeProto("Loop", []string{"n", "", "x"}, []string{"y"}, nil), "body", body)).with(12, valueInfo("y", onnx.Float, nil))
	var m *onnxrun.Model
	var err error
	data := modelProto(17, g)
	before := allocated()
	if m, err = onnxrun.Parse(data); err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if took := allocated() - before; took > 500<<20 { // 2,000 lists of 100,000 pointers are 1.6 GB
		t.Errorf("%d MB allocated", took>>20)
	}
	out, err := m.Run(t.Context(), onnxrun.Tensor{Shape: []int{1}, Data: []float32{3}})
	if err != nil || out[0].Data.([]float32)[0] != rounds+3 {
		t.Errorf("got %v, %v", out, err)
	}
}

// TestPlanTakesNoMemory: what a run will take is told without taking it.
func TestPlanTakesNoMemory(t *testing.T) {
	g := message(nil).with(11, valueInfo("x", onnx.Float, []int{1})).with(5, tensorProto("s", int64s(200_000_000))).
		with(1, nodeProto("Expand", []string{"x", "s"}, []string{"e"}, nil)).with(1, nodeProto("Sin", []string{"e"}, []string{"f"}, nil)).
		with(1, nodeProto("Add", []string{"e", "f"}, []string{"g"}, nil)).with(1, nodeProto("ReduceSum", []string{"g"}, []string{"y"}, nil)).with(12, valueInfo("y", onnx.Float, nil))
	before := allocated()
	m, err := onnxrun.Config{Limits: onnxrun.Limits{Memory: 4 << 30}}.Parse(t.Context(), modelProto(17, g))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	x := onnxrun.Tensor{Shape: []int{1}, Data: []float32{1}}
	stats, err := m.Plan(t.Context(), x)
	if err != nil || stats.Memory < 800_000_000 || stats.FLOPs < 200_000_000 {
		t.Fatalf("got %+v, %v", stats, err)
	}
	shapes, err := m.Shapes(t.Context(), x)
	if err != nil || !slices.Equal(shapes["f"], []int{200_000_000}) {
		t.Errorf("got %v, %v", shapes, err)
	}
	if took := allocated() - before; took > 4<<20 {
		t.Errorf("%d bytes allocated", took)
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
