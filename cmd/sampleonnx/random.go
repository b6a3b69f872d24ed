package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"sampleonnx/cmd/sampleonnx/internal/bounded"
	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/cmd/sampleonnx/internal/npy"
	"sampleonnx/onnxrun"
)

// randomInputs are inputs for a batch of samples, and their shapes; the card's shape fills in what the model leaves open. Where only shapes matter,
// and the few values that decide shapes, large inputs are zeros whose memory is never touched.
func randomInputs(ctx context.Context, m *onnxrun.Model, c *card.Card, batch int, shapes []string, filled bool) ([]onnxrun.Tensor, map[string][]int, error) {
	asked, err := parseShapes(shapes)
	if err != nil {
		return nil, nil, err
	}
	shapeOf := make(map[string][]int)
	r := rand.New(rand.NewPCG(1, 2))
	var inputs []onnxrun.Tensor
	for _, in := range m.Inputs() {
		shape, ok := asked[in.Name]
		delete(asked, in.Name)
		if !ok && in.Name == c.X && c.Has("shape") {
			shape, ok = append([]int{batch}, c.Shape...), true
		}
		if !ok {
			shape = []int{}
			for _, d := range in.Dims {
				if d.Size < 0 {
					d.Size = batch
				}
				shape = append(shape, d.Size)
			}
		}
		if err := bounded.Take(ctx, fmt.Sprintf("input %q of shape %v", in.Name, shape), append([]int{12}, shape...)...); err != nil { // as made, and as the model wants it
			return nil, nil, err
		}
		t, err := tensor(in, randomArray(r, in.DType.String(), shape, filled))
		if err != nil {
			return nil, nil, err
		}
		inputs, shapeOf[in.Name] = append(inputs, t), shape
	}
	for _, name := range slices.Sorted(maps.Keys(asked)) {
		return nil, nil, usagef("--shape %s: the model has no such input", name)
	}
	return inputs, shapeOf, nil
}

// randomArray is a plausible input of the given type and shape: floats of rank 1 are taken for times.
func randomArray(r *rand.Rand, dtype string, shape []int, filled bool) npy.Array {
	a := npy.Array{Shape: shape}
	n := elements(shape)
	filled = filled || n <= 1<<16
	switch {
	case dtype == "bool":
		v := make([]bool, n)
		for i := 0; filled && i < n; i++ {
			v[i] = r.IntN(2) == 1
		}
		a.Data = v
	case strings.HasPrefix(dtype, "int"), strings.HasPrefix(dtype, "uint"):
		v := make([]int64, n)
		for i := 0; filled && i < n; i++ {
			v[i] = r.Int64N(10)
		}
		a.Data = v
	default:
		v := make([]float32, n)
		for i := 0; filled && i < n; i++ {
			if len(shape) == 1 {
				v[i] = float32(0.05 + 0.9*r.Float64())
			} else {
				v[i] = float32(r.NormFloat64())
			}
		}
		a.Data = v
	}
	return a
}

// parseShapes reads NAME=1,3,32,32 arguments.
func parseShapes(args []string) (map[string][]int, error) {
	out := make(map[string][]int)
	for _, arg := range args {
		name, text, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, usagef("--shape %s: want NAME=1,3,32,32", arg)
		}
		shape := []int{}
		for s := range strings.SplitSeq(text, ",") {
			d, err := strconv.Atoi(strings.TrimSpace(s))
			if err != nil || d < 0 || d > 1<<30 {
				return nil, usagef("--shape %s: %q is not a dimension", arg, s)
			}
			shape = append(shape, d)
		}
		out[name] = shape
	}
	return out, nil
}
