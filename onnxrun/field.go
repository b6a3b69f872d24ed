package onnxrun

import (
	"context"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"sync"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
	"sampleonnx/onnxrun/internal/plan"
)

// FieldSpec says which of a model's inputs and outputs make a field. The zero
// value of a name means: the only one that fits.
type FieldSpec struct {
	X     string // the input that takes the samples
	Time  string // the input that takes the time, or whatever stands for it
	Out   string // the output
	Shape []int  // of one sample
	// OutShape is the shape of one sample's output; nil: that of the sample. A
	// classifier of ten classes has []int{10}.
	OutShape []int
}

// Field is a network as a function of samples and times: x and dst hold len(t)
// samples of the given shape side by side, each at its own time. What a network
// calls time (σ, 999·t, a level's index) is the caller's business: it is passed
// on as it is, rounded when the input is an integer.
//
// The function may be called from many goroutines. After the first call with a
// batch size it allocates nothing.
func (m *Model) Field(shape ...int) (func(dst, x []float32, t []float64) error, error) {
	return m.FieldOf(FieldSpec{Shape: shape})
}

// FieldOf is Field with the inputs named.
func (m *Model) FieldOf(spec FieldSpec) (func(dst, x []float32, t []float64) error, error) {
	f, err := m.field(spec)
	if err != nil {
		return nil, err
	}
	f.compile, f.result = m.plan, f.out
	if err := f.tryOne(); err != nil {
		return nil, err
	}
	return f.eval, nil
}

// field finds the inputs and the output that a spec names.
func (m *Model) field(spec FieldSpec) (*field, error) {
	f := &field{plans: map[int]*plan.Plan{}, m: m, shape: slices.Clone(spec.Shape), outShape: slices.Clone(spec.OutShape), time: -1}
	if spec.OutShape == nil {
		f.outShape = f.shape
	}
	f.dim, f.outDim = ops.Type{Shape: f.shape}.Elems(), ops.Type{Shape: f.outShape}.Elems()
	in, out := m.Inputs(), m.Outputs()
	batched := append([]int{1}, f.shape...)

	f.x = slices.IndexFunc(in, func(i Info) bool {
		if spec.X != "" {
			return i.Name == spec.X
		}
		return len(i.Dims) == len(batched) && ops.IsFloat32(i.DType) && i.Name != spec.Time
	})
	if f.x < 0 {
		return nil, fieldError("no float input %q for samples of shape %v; the model has %s", spec.X, f.shape, names(in))
	}
	if d := in[f.x].Dims; len(d) > 0 && d[0].Size >= 0 {
		batched[0] = d[0].Size // a model exported for one batch size
		f.fixed = d[0].Size
	}
	if msg := in[f.x].accepts(batched); msg != "" || !ops.IsFloat32(in[f.x].DType) {
		return nil, fieldError("input %q is %v%s: it does not take samples of shape %v", in[f.x].Name, in[f.x].DType, FormatDims(in[f.x].Dims), f.shape)
	}
	for i := range in {
		switch {
		case i == f.x:
		case f.time < 0 && (spec.Time == "" || in[i].Name == spec.Time):
			f.time = i
		default:
			return nil, fieldError("input %q is neither the samples nor the time", in[i].Name)
		}
	}
	if spec.Time != "" && f.time < 0 {
		return nil, fieldError("no input %q for the time; the model has %s", spec.Time, names(in))
	}
	if f.time >= 0 {
		switch d := in[f.time].DType; {
		case ops.IsFloat32(d), d == onnx.Double, d == onnx.Int64, d == onnx.Int32:
		default:
			return nil, fieldError("input %q is %v, which cannot take a time", in[f.time].Name, d)
		}
	}
	f.out = slices.IndexFunc(out, func(o Info) bool { return spec.Out == "" || o.Name == spec.Out })
	if f.out < 0 {
		return nil, fieldError("no output %q; the model has %s", spec.Out, names(out))
	}
	return f, nil
}

// tryOne compiles the plan for one sample, so that what cannot run is refused now.
func (f *field) tryOne() error {
	_, err := f.plan(1)
	return err
}

func fieldError(format string, args ...any) error {
	return &FormatError{Msg: fmt.Sprintf(format, args...)}
}

type field struct {
	m            *Model
	shape        []int
	outShape     []int
	dim, outDim  int
	x, time, out int // positions; time is -1 when the network takes none
	fixed        int // the only batch size of the model; 0: any

	compile func(inputs []ops.Type) (*plan.Plan, error)
	result  int // which output of the compiled plan is out; the gradient is the next

	mu    sync.RWMutex
	plans map[int]*plan.Plan // by batch size
}

// oddSizes is how many batch sizes that are no power of two get a plan.
const oddSizes = 4

// take is how many of n samples the next call of the network gets. Adaptive
// solvers ask for ever smaller batches as samples finish, and a plan for every
// size would hold memory for every size: after the first few, only powers of two
// get one. The result does not depend on it.
func (f *field) take(n int) int {
	power := 1 << (bits.Len(uint(n)) - 1)
	if f.fixed > 0 || n == power {
		return n
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	odd := 0
	for size := range f.plans {
		if size == n {
			return n
		}
		if size&(size-1) != 0 {
			odd++
		}
	}
	if odd < oddSizes {
		return n
	}
	return power
}

func (f *field) eval(dst, x []float32, t []float64) error {
	if n := len(t); len(x) != n*f.dim || len(dst) != n*f.outDim {
		return fieldError("field of shape %v: %d times, but %d elements in and %d out", f.shape, n, len(x), len(dst))
	}
	return f.calls(t, func(i, j int) error {
		return f.call(dst[i*f.outDim:j*f.outDim], nil, nil, x[i*f.dim:j*f.dim], t[i:j])
	})
}

// calls splits samples into runs that one call of the network can take: [i, j).
func (f *field) calls(t []float64, call func(i, j int) error) error {
	one := f.oneTime()
	for i := 0; i < len(t); {
		j := len(t)
		if one {
			for j = i + 1; j < len(t) && t[j] == t[i]; j++ {
			}
		}
		if f.fixed > 0 {
			j = min(j, i+f.fixed)
		}
		j = i + f.take(j-i)
		if err := call(i, j); err != nil {
			return err
		}
		i = j
	}
	return nil
}

// oneTime reports whether the network takes a single time for all samples.
func (f *field) oneTime() bool {
	if f.time < 0 {
		return false
	}
	d := f.m.program.Inputs[f.time].Dims
	return d != nil && (len(d) == 0 || d[0].Size == 1 && f.fixed != 1)
}

// call evaluates the network: out is its output and, when v is given, grad the
// gradient of v·out. Either may be nil.
func (f *field) call(out, grad, v, x []float32, t []float64) error {
	pl, err := f.plan(len(t))
	if err != nil {
		return err
	}
	mc, err := pl.Acquire()
	if err != nil {
		return err
	}
	defer pl.Release(mc)
	set(mc.In[f.x], x)
	if f.time >= 0 {
		setTimes(mc.In[f.time], t)
	}
	if v != nil {
		set(mc.In[len(mc.In)-1], v)
	}
	if err := mc.Run(context.Background()); err != nil {
		return err
	}
	copy(out, ops.Data[float32](mc.Out[f.result]))
	if v != nil {
		copy(grad, ops.Data[float32](mc.Out[f.result+1]))
	}
	return nil
}

// set writes samples to an input, zeros where it takes more.
func set(in *ops.Tensor, x []float32) {
	to := ops.Data[float32](in)
	clear(to[copy(to, x):])
}

// setTimes writes a time for each element of the input, the last one again
// where there are more elements than times.
func setTimes(in *ops.Tensor, t []float64) {
	for i := range in.Elems() {
		v := t[min(i, len(t)-1)]
		switch in.DType {
		case onnx.Double:
			ops.Data[float64](in)[i] = v
		case onnx.Int64:
			ops.Data[int64](in)[i] = int64(math.Round(v))
		case onnx.Int32:
			ops.Data[int32](in)[i] = int32(math.Round(v))
		default:
			ops.Data[float32](in)[i] = float32(v)
		}
	}
}

func (f *field) plan(n int) (*plan.Plan, error) {
	if f.fixed > 0 {
		n = f.fixed
	}
	f.mu.RLock()
	known := f.plans[n]
	f.mu.RUnlock()
	if known != nil {
		return known, nil
	}
	types := make([]ops.Type, len(f.m.program.Inputs))
	for i, in := range f.m.program.Inputs {
		types[i] = ops.Type{DType: in.DType, Shape: []int{n}}
		switch {
		case i == f.x:
			types[i].Shape = append([]int{n}, f.shape...)
		case in.Dims != nil:
			types[i].Shape = make([]int, len(in.Dims))
			for j, d := range in.Dims {
				types[i].Shape[j] = d.Size
				if d.Size < 0 {
					types[i].Shape[j] = 1
					if j == 0 {
						types[i].Shape[j] = n
					}
				}
			}
		}
	}
	pl, err := f.compile(types)
	if err != nil {
		return nil, err
	}
	want, got := append([]int{n}, f.outShape...), pl.Outputs[f.result]
	if !slices.Equal(got.Shape, want) || !ops.IsFloat32(got.DType) {
		return nil, fieldError("output %q is %v, want float32%v", f.m.program.Outputs[f.out].Name, got, want)
	}
	f.mu.Lock()
	f.plans[n] = pl
	f.mu.Unlock()
	return pl, nil
}
