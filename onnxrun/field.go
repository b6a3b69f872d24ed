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
	Cond  string // the input that takes a condition of each sample, its class say; "": none does
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
	return m.FieldOf(context.Background(), FieldSpec{Shape: shape})
}

// FieldOf is Field with the inputs named. The function lives as long as ctx: when
// ctx is done a call stops within a node, also in the compilation of a plan, and
// gives the error of ctx.
func (m *Model) FieldOf(ctx context.Context, spec FieldSpec) (func(dst, x []float32, t []float64) error, error) {
	f, err := m.forward(ctx, spec, false)
	if err != nil {
		return nil, err
	}
	return f.eval, nil
}

// ConditionalOf is FieldOf with one more input, spec.Cond: cond holds the
// conditions of len(t) samples side by side, as many values each as the input has
// for one sample. A class's index is one value, rounded when the input is an
// integer; a class as a unit vector, or an embedding, is several.
func (m *Model) ConditionalOf(ctx context.Context, spec FieldSpec) (func(dst, x []float32, cond, t []float64) error, error) {
	f, err := m.forward(ctx, spec, true)
	if err != nil {
		return nil, err
	}
	return f.evaluate, nil
}

// forward is a field with its plan for one sample.
func (m *Model) forward(ctx context.Context, spec FieldSpec, conditional bool) (*field, error) {
	f, err := m.field(ctx, spec, conditional)
	if err != nil {
		return nil, err
	}
	f.compile, f.ahead, f.result = m.plan, m.ahead, f.out
	return f, f.tryOne()
}

// field finds the inputs and the output that a spec names, for a function with an
// argument for the condition or without.
func (m *Model) field(ctx context.Context, spec FieldSpec, conditional bool) (*field, error) {
	switch {
	case conditional && spec.Cond == "":
		return nil, fieldError("no input is named for the condition; the model has %s", names(m.Inputs()))
	case !conditional && spec.Cond != "":
		return nil, fieldError("input %q takes a condition, and Field and Pullback give none: ConditionalOf and ConditionalPullbackOf do", spec.Cond)
	}
	f := &field{ctx: ctx, plans: map[variant]*plan.Plan{}, m: m, shape: slices.Clone(spec.Shape), outShape: slices.Clone(spec.OutShape), time: -1, cond: -1}
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
		case in[i].Name == spec.Cond:
			f.cond, f.condDim = i, 1
			for _, d := range in[i].Dims[min(1, len(in[i].Dims)):] {
				if d.Size < 1 {
					return nil, fieldError("input %q is %s: how many values a condition has is not known", in[i].Name, FormatDims(in[i].Dims))
				}
				f.condDim *= d.Size
			}
		case f.time < 0 && (spec.Time == "" || in[i].Name == spec.Time):
			f.time = i
		default:
			return nil, fieldError("input %q is neither the samples nor the time", in[i].Name)
		}
	}
	if spec.Time != "" && f.time < 0 {
		return nil, fieldError("no input %q for the time; the model has %s", spec.Time, names(in))
	}
	if spec.Cond != "" && f.cond < 0 {
		return nil, fieldError("no input %q for the condition; the model has %s", spec.Cond, names(in))
	}
	for what, i := range map[string]int{"time": f.time, "condition": f.cond} {
		if i < 0 {
			continue
		}
		switch d := in[i].DType; {
		case ops.IsFloat32(d), d == onnx.Double, d == onnx.Int64, d == onnx.Int32:
		default:
			return nil, fieldError("input %q is %v, which cannot take a %s", in[i].Name, d, what)
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
	_, err := f.plan(variant{1, f.ahead != nil && f.time >= 0, f.ahead != nil && f.cond >= 0})
	return err
}

func fieldError(format string, args ...any) error {
	return &FormatError{Msg: fmt.Sprintf(format, args...)}
}

type field struct {
	ctx          context.Context // of every call: a sampler's field has nowhere else to take one from
	m            *Model
	shape        []int
	outShape     []int
	dim, outDim  int
	x, time, out int // positions; time is -1 when the network takes none
	fixed        int // the only batch size of the model; 0: any
	cond         int // the position of the condition, -1 for none
	condDim      int // its values a sample

	compile func(ctx context.Context, inputs []ops.Type) (*plan.Plan, error)
	ahead   func(ctx context.Context, inputs []ops.Type, early []int) (*plan.Plan, error) // for samples that share inputs; nil: as compile
	result  int                                                                           // which output of the compiled plan is out; the gradient is the next

	mu    sync.RWMutex
	plans map[variant]*plan.Plan
	odd   []int // the batch sizes among them that are no power of two
}

// variant is what decides the plan for a call of the network: the batch size, and
// whether the samples share their time and their condition.
type variant struct {
	n                int
	oneTime, oneCond bool
}

// alike is the variant for samples at these times and under these conditions.
func (f *field) alike(t, cond []float64) variant {
	c := variant{n: len(t)}
	if f.ahead == nil {
		return c
	}
	same := func(v []float64, size int) bool {
		for i := size; i < len(v); i++ {
			if math.Float64bits(v[i]) != math.Float64bits(v[i-size]) {
				return false
			}
		}
		return true
	}
	c.oneTime = f.time >= 0 && same(t, 1)
	c.oneCond = f.cond >= 0 && same(cond, f.condDim)
	return c
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
	if len(f.odd) < oddSizes || slices.Contains(f.odd, n) {
		return n
	}
	return power
}

func (f *field) eval(dst, x []float32, t []float64) error { return f.evaluate(dst, x, nil, t) }

func (f *field) evaluate(dst, x []float32, cond, t []float64) error {
	if n := len(t); len(x) != n*f.dim || len(dst) != n*f.outDim || len(cond) != n*f.condDim {
		return fieldError("field of shape %v: %d times, but %d elements in, %d in conditions of %d and %d out", f.shape, n, len(x), len(cond), f.condDim, len(dst))
	}
	return f.calls(t, cond, func(i, j int) error {
		return f.call(dst[i*f.outDim:j*f.outDim], nil, nil, x[i*f.dim:j*f.dim], cond[i*f.condDim:j*f.condDim], t[i:j])
	})
}

// calls splits samples into runs that one call of the network can take: [i, j).
func (f *field) calls(t, cond []float64, call func(i, j int) error) error {
	oneTime, oneCond := f.one(f.time), f.one(f.cond)
	condOf := func(i int) []float64 { return cond[i*f.condDim : (i+1)*f.condDim] }
	for i := 0; i < len(t); {
		j := len(t)
		if oneTime || oneCond {
			for j = i + 1; j < len(t) && (!oneTime || t[j] == t[i]) && (!oneCond || slices.Equal(condOf(j), condOf(i))); j++ {
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

// one reports whether the network takes a single value of an input for all samples.
func (f *field) one(input int) bool {
	if input < 0 {
		return false
	}
	d := f.m.program.Inputs[input].Dims
	return d != nil && (len(d) == 0 || d[0].Size == 1 && f.fixed != 1)
}

// call evaluates the network: out is its output and, when v is given, grad the
// gradient of v·out. Either may be nil.
func (f *field) call(out, grad, v, x []float32, cond, t []float64) error {
	pl, err := f.plan(f.alike(t, cond))
	if err != nil {
		return err
	}
	if err := f.m.enter(); err != nil {
		return err
	}
	defer f.m.leave()
	mc, err := pl.Acquire(f.ctx)
	if err != nil {
		return err
	}
	defer pl.Release(mc)
	set(mc.In[f.x], x)
	if f.time >= 0 {
		setTimes(mc.In[f.time], t)
	}
	if f.cond >= 0 {
		setTimes(mc.In[f.cond], cond)
	}
	if v != nil {
		set(mc.In[len(mc.In)-1], v)
	}
	if err := mc.Run(f.ctx); err != nil {
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

// setTimes writes times, or conditions, to the elements of the input, the last one
// again where there are more elements than times.
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

func (f *field) plan(c variant) (*plan.Plan, error) {
	if f.fixed > 0 {
		c.n = f.fixed
	}
	f.mu.RLock()
	known := f.plans[c]
	f.mu.RUnlock()
	if known != nil {
		return known, nil
	}
	types := make([]ops.Type, len(f.m.program.Inputs))
	for i, in := range f.m.program.Inputs {
		types[i] = ops.Type{DType: in.DType, Shape: []int{c.n}}
		switch {
		case i == f.x:
			types[i].Shape = append([]int{c.n}, f.shape...)
		case in.Dims != nil:
			types[i].Shape = make([]int, len(in.Dims))
			for j, d := range in.Dims {
				types[i].Shape[j] = d.Size
				if d.Size < 0 {
					types[i].Shape[j] = 1
					if j == 0 {
						types[i].Shape[j] = c.n
					}
				}
			}
		}
	}
	pl, err := f.shared(c, types)
	if err == nil && pl == nil {
		pl, err = f.compile(f.ctx, types)
	}
	if err != nil {
		return nil, err
	}
	want, got := append([]int{c.n}, f.outShape...), pl.Outputs[f.result]
	if !slices.Equal(got.Shape, want) || !ops.IsFloat32(got.DType) {
		return nil, fieldError("output %q is %v, want float32%v", f.m.program.Outputs[f.out].Name, got, want)
	}
	f.mu.Lock()
	f.plans[c] = pl
	if n := c.n; n&(n-1) != 0 && !slices.Contains(f.odd, n) {
		f.odd = append(f.odd, n)
	}
	f.mu.Unlock()
	return pl, nil
}

// shared is the plan for samples that share inputs; nil when they share none, or
// when nothing is to be gained.
func (f *field) shared(c variant, types []ops.Type) (*plan.Plan, error) {
	var early []int
	if c.oneTime {
		early = append(early, f.time)
	}
	if c.oneCond {
		early = append(early, f.cond)
	}
	if early == nil {
		return nil, nil
	}
	return f.ahead(f.ctx, types, early)
}
