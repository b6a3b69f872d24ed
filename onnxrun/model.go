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
	"strings"
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

// Limits bound what a model file may ask for; a zero field has a generous
// default. What exceeds one is refused with a *LimitError.
type Limits struct {
	File   onnx.Limits // what the file may hold
	Memory int64       // bytes that a run of the network may take; default 64 GiB
}

// Model is a network ready to run. It is safe for concurrent use: runs at the
// same time share the weights and the worker threads, each in memory of its own.
type Model struct {
	file    *onnx.Model
	program *plan.Program

	mu    sync.Mutex
	plans map[string]*entry
}

type entry struct {
	once sync.Once
	plan *plan.Plan
	err  error
}

// Open reads the model at path and checks every node. Errors are a
// *FormatError, an *UnsupportedError, a *LimitError or one of package os.
// Weights stay in the mapped file: it must not change before Close.
func Open(path string) (*Model, error) { return Config{}.Open(path) }

// Load is Open for a file of fsys; external data are read beside it.
func Load(fsys fs.FS, name string) (*Model, error) { return Config{}.Load(fsys, name) }

// Parse is Open for the bytes of a model without external data.
func Parse(data []byte) (*Model, error) { return Config{}.Parse(data) }

// Open is the function Open with this configuration.
func (c Config) Open(path string) (*Model, error) {
	m, err := onnx.Open(path, c.Limits.File)
	return c.build(path, m, err)
}

// Load is the function Load with this configuration.
func (c Config) Load(fsys fs.FS, name string) (*Model, error) {
	m, err := onnx.Load(fsys, name, c.Limits.File)
	return c.build(name, m, err)
}

// Parse is the function Parse with this configuration.
func (c Config) Parse(data []byte) (*Model, error) {
	m, err := onnx.Parse(data, c.Limits.File)
	return c.build("", m, err)
}

func (c Config) build(name string, file *onnx.Model, err error) (*Model, error) {
	if err != nil {
		return nil, err
	}
	threads := c.Threads
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	memory := c.Limits.Memory
	if memory == 0 {
		memory = 64 << 30
	}
	program, err := plan.New(file, plan.Options{Threads: threads, Memory: memory, Exact: c.Exact})
	if err != nil {
		file.Close()
		return nil, inFile(err, name)
	}
	m := &Model{file: file, program: program, plans: map[string]*entry{}}
	if err := m.tryBatchOne(); err != nil {
		m.Close()
		return nil, inFile(err, name)
	}
	return m, nil
}

// tryBatchOne compiles the model for one sample when only its batch size is
// open, so that what it cannot run is refused now and not at the first run.
func (m *Model) tryBatchOne() error {
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
	_, err := m.plan(types)
	return err
}

// inFile adds the file's name to an error of this package that has none.
func inFile(err error, name string) error {
	var f *FormatError
	var u *UnsupportedError
	var l *LimitError
	switch {
	case errors.As(err, &f) && f.File == "":
		f.File = name
	case errors.As(err, &u) && u.File == "":
		u.File = name
	case errors.As(err, &l) && l.File == "":
		l.File = name
	}
	return err
}

// Close releases the file and the threads. No run may be under way or follow.
func (m *Model) Close() error {
	m.program.Close()
	return m.file.Close()
}

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
func (m *Model) Run(ctx context.Context, inputs ...Tensor) ([]Tensor, error) {
	bound, types, err := m.bind(inputs)
	if err != nil {
		return nil, err
	}
	pl, err := m.planFor(types, bound)
	if err != nil {
		return nil, err
	}
	mc, err := pl.Acquire()
	if err != nil {
		return nil, err
	}
	defer pl.Release(mc)
	for i, t := range bound {
		fill(mc.In[i], t.Data)
	}
	if err := mc.Run(ctx); err != nil {
		return nil, err
	}
	out := make([]Tensor, len(mc.Out))
	for i, t := range mc.Out {
		out[i] = copyOut(m.program.Outputs[i].Name, t)
	}
	return out, nil
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
func (m *Model) plan(types []ops.Type) (*plan.Plan, error) { return m.planFor(types, nil) }

// maxPlans bounds the plans kept of a model: there can be one for every shape
// and, where shapes are decided by values, for every value.
const maxPlans = 64

// planFor is plan for given inputs: the values of those that decide shapes count
// as constants, and other values make another plan.
func (m *Model) planFor(types []ops.Type, bound []Tensor) (*plan.Plan, error) {
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
	e := m.entry(string(key))
	e.once.Do(func() { e.plan, e.err = m.program.Compile(types, values) })
	return e.plan, e.err
}

// entry is the place of a plan in the cache, which forgets all it has when it
// would grow past maxPlans.
func (m *Model) entry(key string) *entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.plans[key]
	if e == nil {
		if len(m.plans) >= maxPlans {
			clear(m.plans)
		}
		e = &entry{}
		m.plans[key] = e
	}
	return e
}

// FileInfo is what a model's file says of itself.
type FileInfo struct {
	IRVersion  int64
	Producer   string           // name and version of what wrote the file
	Graph      string           // name of the graph
	Opset      map[string]int64 // domain → version; "" is ai.onnx
	Operators  map[string]int   // how often each occurs, constants left out
	Parameters int64            // elements of the floating-point weights
}

// File says what the model's file says of itself, before anything was folded
// or joined.
func (m *Model) File() FileInfo {
	f := FileInfo{
		IRVersion: m.file.IRVersion,
		Producer:  strings.TrimSpace(m.file.Producer + " " + m.file.ProducerVersion),
		Graph:     m.file.Name,
		Opset:     maps.Clone(m.file.Opset),
		Operators: map[string]int{},
	}
	for i := range m.file.Graph.Nodes {
		f.Operators[m.file.Graph.Nodes[i].Op]++
	}
	for _, w := range m.file.Graph.Weights {
		if ops.IsFloat32(w.DType) || w.DType == onnx.Double {
			f.Parameters += int64(w.Elems())
		}
	}
	return f
}
