package onnxrun

import (
	"context"
	"fmt"

	"sampleonnx/onnxrun/internal/ops"
	"sampleonnx/onnxrun/internal/plan"
)

// Pullback is a network's derivative as a function: dst = vᵀ ∂out/∂x, for each
// sample the gradient by x of the product of v and the network's output. In all
// else it is like Field.
func (m *Model) Pullback(shape ...int) (func(dst, v, x []float32, t []float64) error, error) {
	f, err := m.PullbackOf(context.Background(), FieldSpec{Shape: shape})
	if err != nil {
		return nil, err
	}
	return func(dst, v, x []float32, t []float64) error { return f(nil, dst, v, x, t) }, nil
}

// PullbackOf is Pullback with the inputs named, for outputs of any shape, which v
// then has. It gives the output as well, which it computes on the way; out may be
// nil.
func (m *Model) PullbackOf(ctx context.Context, spec FieldSpec) (func(out, dst, v, x []float32, t []float64) error, error) {
	if spec.Cond != "" {
		return nil, fieldError("input %q takes a condition, and Field and Pullback give none: ConditionalOf does", spec.Cond)
	}
	f, err := m.field(ctx, spec)
	if err != nil {
		return nil, err
	}
	f.compile = func(ctx context.Context, types []ops.Type) (*plan.Plan, error) {
		return m.pullback(ctx, types, f.x, f.out)
	}
	if err := f.tryOne(); err != nil {
		return nil, err
	}
	return f.pullback, nil
}

func (f *field) pullback(out, dst, v, x []float32, t []float64) error {
	n := len(t)
	if len(x) != n*f.dim || len(dst) != n*f.dim || len(v) != n*f.outDim || out != nil && len(out) != n*f.outDim {
		return fieldError("pullback of shape %v to %v: %d times, but %d elements in, %d out, v has %d and the gradient %d",
			f.outShape, f.shape, n, len(x), len(out), len(v), len(dst))
	}
	return f.calls(t, nil, func(i, j int) error {
		var o []float32
		if out != nil {
			o = out[i*f.outDim : j*f.outDim]
		}
		return f.call(o, dst[i*f.dim:j*f.dim], v[i*f.outDim:j*f.outDim], x[i*f.dim:j*f.dim], nil, t[i:j])
	})
}

// pullback is the plan of an output and its derivative by an input, compiled at
// most once.
func (m *Model) pullback(ctx context.Context, types []ops.Type, x, out int) (*plan.Plan, error) {
	key := fmt.Sprint("pullback ", x, out, types)
	return m.cached(ctx, key, func() (*plan.Plan, error) { return m.program.Pullback(ctx, types, nil, x, out) })
}
