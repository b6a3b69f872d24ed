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
	f, err := m.backward(ctx, spec, false)
	if err != nil {
		return nil, err
	}
	return func(out, dst, v, x []float32, t []float64) error { return f.pullback(out, dst, v, x, nil, t) }, nil
}

// ConditionalPullbackOf is PullbackOf with one more input, spec.Cond, whose values
// cond holds as for the function of ConditionalOf. The derivative is by x alone, at
// these conditions.
func (m *Model) ConditionalPullbackOf(ctx context.Context, spec FieldSpec) (func(out, dst, v, x []float32, cond, t []float64) error, error) {
	f, err := m.backward(ctx, spec, true)
	if err != nil {
		return nil, err
	}
	return f.pullback, nil
}

// backward is a field whose plans are of the derivative, with that for one sample.
func (m *Model) backward(ctx context.Context, spec FieldSpec, conditional bool) (*field, error) {
	f, err := m.field(ctx, spec, conditional)
	if err != nil {
		return nil, err
	}
	f.compile = func(ctx context.Context, types []ops.Type) (*plan.Plan, error) {
		return m.pullback(ctx, types, f.x, f.out)
	}
	return f, f.tryOne()
}

func (f *field) pullback(out, dst, v, x []float32, cond, t []float64) error {
	n := len(t)
	if len(x) != n*f.dim || len(dst) != n*f.dim || len(v) != n*f.outDim || out != nil && len(out) != n*f.outDim || len(cond) != n*f.condDim {
		return fieldError("pullback of shape %v to %v: %d times, but %d elements in, %d in conditions of %d, %d out, v has %d and the gradient %d",
			f.outShape, f.shape, n, len(x), len(cond), f.condDim, len(out), len(v), len(dst))
	}
	return f.calls(t, cond, func(i, j int) error {
		var o []float32
		if out != nil {
			o = out[i*f.outDim : j*f.outDim]
		}
		return f.call(o, dst[i*f.dim:j*f.dim], v[i*f.outDim:j*f.outDim], x[i*f.dim:j*f.dim], cond[i*f.condDim:j*f.condDim], t[i:j])
	})
}

// pullback is the plan of an output and its derivative by an input, compiled at
// most once.
func (m *Model) pullback(ctx context.Context, types []ops.Type, x, out int) (*plan.Plan, error) {
	key := fmt.Sprint("pullback ", x, out, types)
	return m.cached(ctx, key, func() (*plan.Plan, error) { return m.program.Pullback(ctx, types, nil, x, out) })
}
