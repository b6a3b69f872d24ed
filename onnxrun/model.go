package onnxrun

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"runtime"
	"slices"
	"sync"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
	"sampleonnx/onnxrun/internal/plan"
)

// Config is how a model is opened. The zero value is right for most programs.
type Config struct {
	// Threads is the number of threads a run uses; 0 means GOMAXPROCS. The
	// result does not depend on it, bit for bit.
	Threads int
	// Exact forbids the algorithms that give up exactness for speed: Winograd's
	// convolutions, whose rounding errors are a few times those of a plain sum.
	Exact bool
	// Limits bound what a file may ask for.
	Limits Limits
}

// Model is a network ready to run. It is safe for concurrent use: runs at the
// same time share the weights and the worker threads, each in memory of its own.
type Model struct {
	file    *onnx.Model
	program *plan.Program

	life   sync.RWMutex // held for reading by whoever uses the file or the threads
	closed bool

	mu    sync.Mutex
	plans map[string]*entry
}

// entry is a plan in the making, or made.
type entry struct {
	ready chan struct{} // closed when plan and err are there
	plan  *plan.Plan
	err   error
}

// Open reads the model at path and checks every node. Errors are a
// *FormatError, an *UnsupportedError, a *LimitError or one of package os.
// Weights stay in the mapped file, which should not change before Close: results
// would then be wrong, or the error of the run that finds its end gone.
//
// Open reads with the zero Config and cannot be cancelled; see [Config.Open].
func Open(path string) (*Model, error) { return Config{}.Open(context.Background(), path) }

// Load is Open for a file of fsys; external data are read beside it.
func Load(fsys fs.FS, name string) (*Model, error) {
	return Config{}.Load(context.Background(), fsys, name)
}

// Parse is Open for the bytes of a model without external data.
func Parse(data []byte) (*Model, error) { return Config{}.Parse(context.Background(), data) }

// Open is the function Open with this configuration. It stops when ctx is done,
// with an error that wraps ctx's; the model does not keep ctx.
func (c Config) Open(ctx context.Context, path string) (*Model, error) {
	m, err := onnx.Open(ctx, path, onnx.Limits(c.Limits))
	return c.build(ctx, path, m, err)
}

// Load is the function Load with this configuration, and ctx as in Config.Open.
func (c Config) Load(ctx context.Context, fsys fs.FS, name string) (*Model, error) {
	m, err := onnx.Load(ctx, fsys, name, onnx.Limits(c.Limits))
	return c.build(ctx, name, m, err)
}

// Parse is the function Parse with this configuration, and ctx as in Config.Open.
func (c Config) Parse(ctx context.Context, data []byte) (*Model, error) {
	m, err := onnx.Parse(ctx, data, onnx.Limits(c.Limits))
	return c.build(ctx, "", m, err)
}

func (c Config) build(ctx context.Context, name string, file *onnx.Model, err error) (*Model, error) {
	if err != nil {
		return nil, err
	}
	threads := c.Threads
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	limits := onnx.Limits(c.Limits).WithDefaults()
	program, err := plan.New(ctx, file, plan.Options{Threads: threads, Memory: limits.Memory, Elems: limits.TensorElems, Exact: c.Exact})
	if err != nil {
		file.Close()
		return nil, inFile(err, name)
	}
	m := &Model{file: file, program: program, plans: map[string]*entry{}}
	if err := m.tryBatchOne(ctx); err != nil {
		m.Close()
		return nil, inFile(err, name)
	}
	return m, nil
}

// tryBatchOne compiles the model for one sample when only its batch size is
// open, so that what it cannot run is refused now and not at the first run.
func (m *Model) tryBatchOne(ctx context.Context) error {
	types := make([]ops.Type, len(m.program.Inputs))
	for i, in := range m.program.Inputs {
		if in.Dims == nil || in.DType == 0 {
			return nil
		}
		types[i] = ops.Type{DType: in.DType, Shape: make([]int, len(in.Dims))}
		for j, d := range in.Dims {
			switch {
			case d.Size >= 0:
				types[i].Shape[j] = d.Size
			case j == 0:
				types[i].Shape[j] = 1
			default:
				return nil
			}
		}
		if m.program.KeepValue(i, types[i]) {
			return nil
		}
	}
	_, err := m.planFor(ctx, types, nil)
	return err
}

// inFile adds the file's name to an error of this package that has none.
func inFile(err error, name string) error {
	var f *FormatError
	var u *UnsupportedError
	var l *LimitError
	var i *InternalError
	switch {
	case errors.As(err, &f) && f.File == "":
		f.File = name
	case errors.As(err, &u) && u.File == "":
		u.File = name
	case errors.As(err, &l) && l.File == "":
		l.File = name
	case errors.As(err, &i) && i.File == "":
		i.File = name
	}
	return err
}

// Close releases the file and the threads. It waits for what is under way, which
// their contexts can cut short. Runs that follow, of fields too, fail with an error
// that wraps [fs.ErrClosed]; another Close does nothing. What the model is described
// by, its Inputs, Outputs and Metadata, stays.
func (m *Model) Close() error {
	m.life.Lock()
	defer m.life.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	m.program.Close()
	return m.file.Close()
}

// enter keeps the model open until leave. Whoever has entered does not enter again:
// between the two there may be a Close, which waits for the first.
func (m *Model) enter() error {
	m.life.RLock()
	if m.closed {
		m.life.RUnlock()
		return fmt.Errorf("onnxrun: the model: %w", fs.ErrClosed)
	}
	return nil
}

func (m *Model) leave() { m.life.RUnlock() }

// Inputs describes the inputs that a run needs, in the model's order.
func (m *Model) Inputs() []Info { return infos(m.program.Inputs) }

// Outputs describes the outputs, in the model's order.
func (m *Model) Outputs() []Info { return infos(m.program.Outputs) }

// Metadata is the model's metadata_props.
func (m *Model) Metadata() map[string]string { return maps.Clone(m.file.Metadata) }

// Threads is the number of threads a run uses.
func (m *Model) Threads() int { return m.program.Threads() }

// Run evaluates the network once. Inputs are found by name, or by position
// when they have none. The outputs come in the model's order.
//
// When ctx is done, Run stops within a part of an operator and its error wraps
// ctx's. That is no harm to the model: the next Run starts afresh.
func (m *Model) Run(ctx context.Context, inputs ...Tensor) ([]Tensor, error) {
	var out []Tensor
	err := m.on(ctx, inputs, func(mc *plan.Machine) error {
		if err := mc.Run(ctx); err != nil {
			return err
		}
		out = make([]Tensor, len(mc.Out))
		for i, t := range mc.Out {
			out[i] = copyOut(m.program.Outputs[i].Name, t)
		}
		return nil
	})
	return out, err
}

// on calls do with a machine that has the inputs.
func (m *Model) on(ctx context.Context, inputs []Tensor, do func(*plan.Machine) error) error {
	bound, types, err := m.bind(inputs)
	if err != nil {
		return err
	}
	pl, err := m.planFor(ctx, types, bound)
	if err != nil {
		return err
	}
	if err := m.enter(); err != nil {
		return err
	}
	defer m.leave()
	mc, err := pl.Acquire(ctx)
	if err != nil {
		return err
	}
	defer pl.Release(mc)
	for i, t := range bound {
		fill(mc.In[i], t.Data)
	}
	return do(mc)
}

// bind puts inputs in the model's order and checks them.
func (m *Model) bind(inputs []Tensor) ([]Tensor, []ops.Type, error) {
	want := m.Inputs()
	bound := make([]Tensor, len(want))
	given := make([]bool, len(want))
	for k, t := range inputs {
		i := k
		if t.Name != "" {
			i = slices.IndexFunc(want, func(in Info) bool { return in.Name == t.Name })
		}
		switch {
		case i < 0:
			return nil, nil, inputError(t.Name, "the model has no such input; it has %s", names(want))
		case i >= len(want):
			return nil, nil, inputError("", "%d inputs given, the model has %s", len(inputs), names(want))
		case given[i]:
			return nil, nil, inputError(want[i].Name, "given twice")
		}
		bound[i], given[i] = t, true
	}
	types := make([]ops.Type, len(want))
	for i, in := range want {
		if !given[i] {
			return nil, nil, inputError(in.Name, "missing; the model has %s", names(want))
		}
		dtype, n, ok := dtypeOf(bound[i].Data)
		if !ok {
			return nil, nil, inputError(in.Name, "data is a %T, want a slice of numbers", bound[i].Data)
		}
		if ops.IsFloat32(in.DType) && dtype == onnx.Float {
			dtype = in.DType
		}
		if in.DType != 0 && dtype != in.DType {
			return nil, nil, inputError(in.Name, "is %v, want %v", dtype, in.DType)
		}
		if msg := in.accepts(bound[i].Shape); msg != "" {
			return nil, nil, inputError(in.Name, "%s", msg)
		}
		types[i] = ops.Type{DType: dtype, Shape: slices.Clone(bound[i].Shape)}
		if types[i].Elems() != n {
			return nil, nil, inputError(in.Name, "has %d elements, shape %v wants %d", n, bound[i].Shape, types[i].Elems())
		}
	}
	return bound, types, nil
}

func inputError(name, format string, args ...any) error {
	msg := fmt.Sprintf(format, args...)
	if name != "" {
		msg = fmt.Sprintf("input %q: %s", name, msg)
	}
	return &FormatError{Msg: msg}
}

func names(list []Info) string {
	s := ""
	for i, in := range list {
		if i > 0 {
			s += ", "
		}
		s += fmt.Sprintf("%q %v%s", in.Name, in.DType, FormatDims(in.Dims))
	}
	return s
}

// plan is the plan for inputs of these types, compiled at most once.
func (m *Model) plan(ctx context.Context, types []ops.Type) (*plan.Plan, error) {
	return m.planFor(ctx, types, nil)
}

// ahead is the plan for samples that share inputs; see plan.CompileAhead.
func (m *Model) ahead(ctx context.Context, types []ops.Type, early []int) (*plan.Plan, error) {
	return m.cached(ctx, fmt.Sprint("ahead ", early, types), func() (*plan.Plan, error) {
		return m.program.CompileAhead(ctx, types, early)
	})
}

// maxPlans bounds the plans kept of a model: there can be one for every shape
// and, where shapes are decided by values, for every value.
const maxPlans = 64

// planFor is plan for given inputs: the values of those that decide shapes count
// as constants, and other values make another plan.
func (m *Model) planFor(ctx context.Context, types []ops.Type, bound []Tensor) (*plan.Plan, error) {
	var key []byte
	for _, t := range types {
		key = append(key, byte(t.DType), byte(len(t.Shape)))
		for _, d := range t.Shape {
			key = binary.AppendUvarint(key, uint64(d))
		}
	}
	var values []*ops.Tensor
	for i := range bound {
		if !m.program.KeepValue(i, types[i]) {
			continue
		}
		if values == nil {
			values = make([]*ops.Tensor, len(bound))
		}
		values[i] = ops.New(types[i])
		fill(values[i], bound[i].Data)
		key = append(binary.AppendUvarint(key, uint64(i)), values[i].Mem()...)
	}
	return m.cached(ctx, string(key), func() (*plan.Plan, error) { return m.program.Compile(ctx, types, values) })
}

// cached is the plan that key stands for: from the cache, or made by one caller
// while others wait. Failures are not kept: a caller whose context was done fails
// alone, and those who waited try again.
func (m *Model) cached(ctx context.Context, key string, compile func() (*plan.Plan, error)) (*plan.Plan, error) {
	for {
		e, mine := m.entry(key)
		if !mine {
			select {
			case <-e.ready:
			case <-ctx.Done():
				return nil, fmt.Errorf("onnxrun: stopped: %w", ctx.Err())
			}
			if e.err != nil && (errors.Is(e.err, context.Canceled) || errors.Is(e.err, context.DeadlineExceeded)) {
				continue
			}
			return e.plan, e.err
		}
		if e.err = m.enter(); e.err == nil {
			e.plan, e.err = compile()
			m.leave()
		}
		if e.err != nil {
			m.mu.Lock()
			if m.plans[key] == e {
				delete(m.plans, key)
			}
			m.mu.Unlock()
		}
		close(e.ready)
		return e.plan, e.err
	}
}

// entry is the place of a plan in the cache, and whether the caller is to make
// it. The cache forgets all it has when it would grow past maxPlans, or when its
// plans hold much memory.
func (m *Model) entry(key string) (e *entry, mine bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.plans[key]; e != nil {
		return e, false
	}
	if len(m.plans) >= maxPlans || m.program.Crowded() {
		clear(m.plans)
	}
	e = &entry{ready: make(chan struct{})}
	m.plans[key] = e
	return e, true
}
