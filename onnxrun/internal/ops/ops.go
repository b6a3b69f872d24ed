package ops

import (
	"fmt"
	"math"
	"sync"

	"sampleonnx/onnxrun/internal/onnx"
)

// Arg is one input of a node, as Lower sees it.
type Arg struct {
	Type
	Const  *Tensor // the value, when it is known at compile time; always Plain unless Type says otherwise
	Absent bool    // an optional input left out
}

// Call is one node with its inputs' shapes known: the question that Lower
// answers.
type Call struct {
	Node  *onnx.Node
	In    []Arg
	Packs *Packs
	Exact bool // no algorithm that gives up exactness for speed
	// Scores: what attention computes on its way may be larger than a tensor may be.
	// The kernel is for its shapes alone then; it cannot be bound to memory.
	Scores bool
}

// Kernel is the answer: the outputs' types and how to compute them. Making one
// is cheap; weights are packed and closures made when it is bound to memory.
type Kernel struct {
	Out []Type // one for each output of the node, left-out ones included

	// Const, when not nil, holds the values of the outputs: known now, nothing runs.
	Const []*Tensor
	// View: output 0 is the memory of input 0 under another shape; nothing runs.
	View bool
	// InPlace lists inputs whose memory output 0 may take, when nobody needs
	// them afterwards: same length in memory, and each element is read before
	// the output element at the same place is written.
	InPlace []int

	Scratch       int     // bytes of memory shared by all workers while the node runs
	WorkerScratch int     // bytes for each worker
	Tables        int     // bytes that Bind may allocate beside packed weights: lists of offsets and the like
	FLOPs         float64 // multiplications and additions of one run
	Algo          string  // the algorithm chosen, for people: "direct", "gemm"; may be ""

	// Bind makes the tasks that compute the outputs in the given memory, run in
	// order. It may allocate, Tables at most and what does not grow with the shapes;
	// the tasks may not. When Memory.Stopped says so it gives up, and the tasks are
	// of no use.
	Bind func(m Memory) []Task
}

// Memory is where a kernel's inputs, outputs and scratch lie. Absent inputs
// and outputs are nil.
type Memory struct {
	In, Out []*Tensor
	Scratch []byte // Kernel.Scratch bytes, then Kernel.WorkerScratch for each worker; 64-byte aligned
	Workers int

	// Stopped, if set, reports that nobody waits for the results any more. Parts
	// that take long, and Bind, ask it and return, with the outputs in any state.
	Stopped func() bool

	shared int
	worker int
}

// NewMemory describes the memory of one bound kernel; scratch must have
// ScratchBytes(k, workers) bytes.
func NewMemory(k *Kernel, in, out []*Tensor, scratch []byte, workers int) Memory {
	return Memory{In: in, Out: out, Scratch: scratch, Workers: workers, shared: align64(k.Scratch), worker: align64(k.WorkerScratch)}
}

// ScratchBytes is the scratch memory k needs with that many workers.
func ScratchBytes(k *Kernel, workers int) int {
	shared, worker := align64(k.Scratch), align64(k.WorkerScratch)
	if worker > 0 && workers > (math.MaxInt-shared)/worker {
		return math.MaxInt &^ 63
	}
	return shared + workers*worker
}

// Shared is the scratch memory shared by all workers.
func (m *Memory) Shared() []byte { return m.Scratch[:m.shared] }

// Worker is the scratch memory of one worker.
func (m *Memory) Worker(w int) []byte {
	return m.Scratch[m.shared+w*m.worker:][:m.worker]
}

func align64(n int) int { return (n + 63) &^ 63 }

// Task is work in parts that do not depend on each other. Run is called once
// for each part in [0, Parts), perhaps at the same time; worker, in
// [0, Memory.Workers), differs between calls that overlap. What a part computes
// must not depend on the worker, nor on how many there are.
type Task struct {
	Parts int
	Run   func(part, worker int)
}

// Serial is a task of one part.
func Serial(f func()) []Task { return []Task{{1, func(int, int) { f() }}} }

// Lower checks a call against the operator table and finds its kernel, in time
// that does not depend on the extents of shapes. The error is a *onnx.FormatError
// (the node breaks the standard) or an *onnx.UnsupportedError (it does not, but we
// cannot run it) or a *onnx.LimitError.
func Lower(c *Call) (*Kernel, error) {
	op, err := find(c.Node)
	if err != nil {
		return nil, err
	}
	for i := range c.In {
		if c.In[i].Absent && i < op.required {
			return nil, c.Invalid("input %d is left out, but is required", i)
		}
		if n := len(c.In[i].Shape); n > maxRank {
			return nil, c.Unsupported("input %d has rank %d, want at most %d", i, n, maxRank)
		}
		if n := c.In[i].Elems(); n > c.most() {
			return nil, c.tooLarge(int64(n))
		}
	}
	if c, err = c.modern(); err != nil {
		return nil, err
	}
	k, err := op.lower(c)
	if err != nil {
		return nil, err
	}
	for i := range k.Out {
		if err := c.checkSize(k.Out[i]); err != nil {
			return nil, err
		}
	}
	if max(k.Scratch, k.WorkerScratch, k.Tables) >= unbounded {
		return nil, &onnx.LimitError{Node: c.Node.Where(), What: "bytes that an operator works in", Got: unbounded, Max: unbounded - 1}
	}
	return k, nil
}

// Check reports whether a node of a file can be run at all: its operator, opset
// version, arity and attributes. What depends on shapes is left to Lower.
func Check(n *onnx.Node) error {
	if n.Domain == Fused {
		return unsupported(n, "the domain is not for files")
	}
	_, err := find(n)
	return err
}

// Layouts is the layout in which the operator wants each of its inputs, given
// the ones they have now.
func Layouts(c *Call) []Layout {
	if op, err := find(c.Node); err == nil && op.layouts != nil {
		if m, err := c.modern(); err == nil {
			return op.layouts(m)
		}
	}
	return make([]Layout, len(c.In))
}

// Invalid is a *onnx.FormatError about this node.
func (c *Call) Invalid(format string, args ...any) error {
	return invalid(c.Node, format, args...)
}

// Unsupported is an *onnx.UnsupportedError about this node.
func (c *Call) Unsupported(format string, args ...any) error {
	return unsupported(c.Node, format, args...)
}

func invalid(n *onnx.Node, format string, args ...any) error {
	return &onnx.FormatError{Node: n.Where(), Msg: fmt.Sprintf(format, args...)}
}

func unsupported(n *onnx.Node, format string, args ...any) error {
	return &onnx.UnsupportedError{Nodes: []onnx.Unsupported{{
		Node: n.Name, Op: n.Op, Domain: n.Domain, Version: n.Version, Reason: fmt.Sprintf(format, args...)}}}
}

// Version is the opset version that decides what the node means.
func (c *Call) Version() int64 { return c.Node.Version }

// Has reports whether input i is given.
func (c *Call) Has(i int) bool { return i < len(c.In) && !c.In[i].Absent }

// Int is an integer attribute, or def when the node does not have it.
func (c *Call) Int(name string, def int) int {
	if a, ok := c.Node.Attrs[name]; ok {
		return ClampInt(a.Int)
	}
	return def
}

// DType is an attribute that numbers an element type, or def.
func (c *Call) DType(name string, def onnx.DType) (onnx.DType, error) {
	a, ok := c.Node.Attrs[name]
	if !ok {
		return def, nil
	}
	d, ok := onnx.DTypeOf(a.Int)
	if !ok {
		return 0, c.Invalid("%s is %d, want an element type of ONNX", name, a.Int)
	}
	return d, nil
}

// Float is a float attribute, or def.
func (c *Call) Float(name string, def float32) float32 {
	if a, ok := c.Node.Attrs[name]; ok {
		return a.Float
	}
	return def
}

// Str is a string attribute, or def.
func (c *Call) Str(name, def string) string {
	if a, ok := c.Node.Attrs[name]; ok {
		return a.String
	}
	return def
}

// Ints is a list-of-integers attribute, or nil.
func (c *Call) Ints(name string) []int {
	a, ok := c.Node.Attrs[name]
	if !ok {
		return nil
	}
	return clampInts(a.Ints)
}

// ConstInts is input i as integers known at compile time. A missing optional
// input gives nil.
func (c *Call) ConstInts(i int) ([]int, error) {
	if !c.Has(i) {
		return nil, nil
	}
	if err := c.wantList(i); err != nil {
		return nil, err
	}
	v, ok := c.In[i].Const.Ints()
	if !ok {
		return nil, c.Invalid("input %d is %v, want an integer tensor", i, c.In[i].Type)
	}
	return v, nil
}

// wantList checks that input i is known, and no longer than any list of numbers for
// each axis, or for each output, is.
func (c *Call) wantList(i int) error {
	if c.In[i].Const == nil {
		return c.Unsupported("input %d decides a shape but depends on the data of this run", i)
	}
	if n, most := c.In[i].Elems(), max(2*maxRank, len(c.Node.Outputs)); n > most {
		return c.Invalid("input %d has %d elements, want at most %d", i, n, most)
	}
	return nil
}

// Axis checks an axis attribute against a rank and makes it non-negative.
func (c *Call) Axis(axis, rank int) (int, error) {
	if axis < -rank || axis >= rank {
		return 0, c.Invalid("axis %d is outside [%d, %d)", axis, -rank, rank)
	}
	if axis < 0 {
		axis += rank
	}
	return axis, nil
}

// Packs holds weights in the order kernels read them, once for a model,
// whatever the number of plans. It is safe for concurrent use.
type Packs struct {
	// Forget, if set, is told the bytes of each weight that has been packed.
	Forget func([]byte)
	// Reserve, if set, is told the bytes that a pack is about to take; it panics
	// with a *onnx.LimitError when they are too many.
	Reserve func(bytes int)

	mu sync.Mutex
	m  map[packKey]*pack
}

type packKey struct {
	t   *Tensor
	how string
}

// pack is made by whoever asks first; should that panic, by the next one.
type pack struct {
	mu     sync.Mutex
	done   bool
	data   []float32
	tensor *Tensor
}

func (e *pack) once(fill func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.done {
		fill()
		e.done = true
	}
}

// Get returns the n floats that fill makes of t; the same t and how give the
// same memory. A nil Packs packs anew.
func (p *Packs) Get(t *Tensor, how string, n int, fill func(dst []float32)) []float32 {
	e := p.entry(t, how)
	e.once(func() {
		p.reserve(room(4, n))
		e.data = Floats(AlignedBytes(4*n), n)
		fill(e.data)
		if p != nil && p.Forget != nil {
			p.Forget(t.mem)
		}
	})
	return e.data
}

// derived is a tensor of a type that fill makes of t: what a derivative needs of a
// weight.
func (p *Packs) derived(t *Tensor, how string, typ Type, fill func(dst *Tensor)) *Tensor {
	e := p.entry(t, how)
	e.once(func() {
		p.reserve(typ.Bytes())
		e.tensor = New(typ)
		fill(e.tensor)
	})
	return e.tensor
}

func (p *Packs) reserve(bytes int) {
	if p != nil && p.Reserve != nil {
		p.Reserve(bytes)
	}
}

func (p *Packs) entry(t *Tensor, how string) *pack {
	if p == nil {
		return &pack{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.m == nil {
		p.m = map[packKey]*pack{}
	}
	e := p.m[packKey{t, how}]
	if e == nil {
		e = &pack{}
		p.m[packKey{t, how}] = e
	}
	return e
}
