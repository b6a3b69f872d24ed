package onnxrun_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"sampleonnx/onnxrun"
)

// reshapeModel is y = Reshape(x, shape) with both as inputs.
func reshapeModel() []byte {
	text := func(b []byte, num protowire.Number, s string) []byte {
		return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
	}
	number := func(b []byte, num protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
	}
	message := func(b []byte, num protowire.Number, m []byte) []byte { return text(b, num, string(m)) }
	value := func(name string, dtype uint64) []byte {
		return message(text(nil, 1, name), 2, message(nil, 1, number(nil, 1, dtype)))
	}
	node := text(text(text(text(nil, 1, "x"), 1, "shape"), 2, "y"), 4, "Reshape")
	graph := message(nil, 1, node)
	graph = message(message(graph, 11, value("x", 1)), 11, value("shape", 7))
	graph = message(graph, 12, value("y", 1))
	model := message(number(nil, 1, 8), 7, graph)
	return message(model, 8, number(nil, 2, 17))
}

// TestShapesByValue: an input that decides a shape may differ from run to run,
// also between runs at the same time, and more often than plans are kept.
func TestShapesByValue(t *testing.T) {
	m, err := onnxrun.Parse(reshapeModel())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	x := make([]float32, 240)
	for i := range x {
		x[i] = float32(i)
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 200 {
				want := []int{1 + (i+g)%3, 1, 1}
				want[1] = []int{1, 2, 4, 5, 8, 10, 20}[i%7]
				want[2] = 240 / want[0] / want[1]
				shape := []int64{int64(want[0]), int64(want[1]), -1, 1}
				if i%5 == 0 {
					shape, want = shape[:2], []int{want[0], want[1]}
				}
				data := x[:want[0]*want[1]]
				if len(want) == 3 {
					data, want = x[:want[0]*want[1]*want[2]], append(want, 1)
				}
				out, err := m.Run(context.Background(), onnxrun.Tensor{Name: "x", Shape: []int{len(data)}, Data: data},
					onnxrun.Tensor{Name: "shape", Shape: []int{len(shape)}, Data: shape})
				if err != nil {
					t.Error(err)
					return
				}
				if !slices.Equal(out[0].Shape, want) || !slices.Equal(out[0].Data.([]float32), data) {
					t.Errorf("%v gives %v, want %v", shape, out[0].Shape, want)
					return
				}
			}
		})
	}
	wg.Wait()
	for i := range 300 {
		out, err := m.Run(context.Background(), onnxrun.Tensor{Name: "x", Shape: []int{i + 1}, Data: make([]float32, i+1)},
			onnxrun.Tensor{Name: "shape", Shape: []int{2}, Data: []int64{1, int64(i + 1)}})
		if err != nil || fmt.Sprint(out[0].Shape) != fmt.Sprintf("[1 %d]", i+1) {
			t.Fatal(err, out)
		}
	}
	// A plan for the types alone cannot be: what it needs is said.
	if _, err := m.Run(context.Background(), onnxrun.Tensor{Name: "x", Shape: []int{1}, Data: []float32{1}},
		onnxrun.Tensor{Name: "shape", Shape: []int{1, 1}, Data: []int64{1}}); err == nil {
		t.Error("a shape of two axes is accepted")
	}
}
