package main

import (
	"math/rand/v2"
	"strconv"
	"strings"

	"sampleonnx/cmd/sampleonnx/internal/npy"
)

// randomArray is a plausible input of the given type and shape: floats of rank 1 are taken for times.
func randomArray(r *rand.Rand, dtype string, shape []int) npy.Array {
	a := npy.Array{Shape: shape}
	n := elements(shape)
	switch {
	case dtype == "bool":
		v := make([]bool, n)
		for i := range v {
			v[i] = r.IntN(2) == 1
		}
		a.Data = v
	case strings.HasPrefix(dtype, "int"), strings.HasPrefix(dtype, "uint"):
		v := make([]int64, n)
		for i := range v {
			v[i] = r.Int64N(10)
		}
		a.Data = v
	default:
		v := make([]float32, n)
		for i := range v {
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
