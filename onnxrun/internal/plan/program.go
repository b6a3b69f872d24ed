package plan

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"

	"sampleonnx/onnxrun/internal/kernel"
	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// Program is a model ready to be compiled for input shapes: every node checked,
// what depends on weights alone computed. Its plans share the weights, packed
// once, and the workers. It is safe for concurrent use.
type Program struct {
	Inputs  []onnx.Value
	Outputs []onnx.Value
	ByValue []bool // the inputs that decide shapes; see KeepValue

	graph   *onnx.Graph
	nodes   []*onnx.Node
	weights map[int]*ops.Tensor
	bodies  map[*onnx.Graph]map[int]*ops.Tensor // the constants of each body
	packs   ops.Packs
	pool    *kernel.Pool
	alone   *kernel.Pool // of one thread
	options Options
	memory  memory
	turns   chan struct{}            // one for each machine in use
	changed func(recovered any) bool // of the model's files
}

// Options are how a program runs.
type Options struct {
	Threads int
	Memory  int64 // bound on the bytes of the constants, their packed forms and one machine; 0 is no bound
	Elems   int64 // bound on the elements of one value; 0 is no bound
	Exact   bool  // forbid algorithms that give up exactness for speed
}

// New checks every node of a model against the operator table and folds what
// depends on weights alone. The error lists all unsupported nodes. The workers
// are stopped by Close. New stops within one node when ctx is done.
func New(ctx context.Context, m *onnx.Model, options Options) (_ *Program, err error) {
	g := m.Graph
	p := &Program{graph: g, weights: make(map[int]*ops.Tensor, len(g.Weights)), bodies: map[*onnx.Graph]map[int]*ops.Tensor{}, options: options,
		changed: m.Changed}
	p.memory.most = options.Memory
	// More runs at a time than processors would gain nothing, and each takes memory:
	// the others wait, in the order they came.
	p.turns = make(chan struct{}, max(4, 2*runtime.GOMAXPROCS(0)))
	p.packs.Forget = m.Forget
	p.packs.Reserve = p.memory.keep
	defer p.guard(nil, &err)()
	for _, i := range g.Inputs {
		p.Inputs = append(p.Inputs, g.Values[i])
	}
	for _, i := range g.Outputs {
		p.Outputs = append(p.Outputs, g.Values[i])
	}
	switch unsupported, invalid := check(g); {
	case invalid != nil:
		return nil, invalid
	case unsupported != nil:
		return nil, unsupported
	}
	if err := p.constants(ctx, g, p.weights); err != nil {
		return nil, err
	}
	later := &later{}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		if folded, err := p.foldWeights(ctx, n, later); err != nil {
			return nil, err
		} else if !folded {
			p.nodes = append(p.nodes, n)
		}
	}
	if err := later.fillAll(); err != nil {
		return nil, err
	}
	p.ByValue = p.byValue()
	p.pool, p.alone = kernel.NewPool(options.Threads), kernel.NewPool(1)
	return p, nil
}

// constants notes the constants of a graph, and those of the bodies in it.
func (p *Program) constants(ctx context.Context, g *onnx.Graph, weights map[int]*ops.Tensor) error {
	for i, w := range g.Weights {
		if w.DType.Size() == 0 {
			continue
		}
		if err := stopped(ctx); err != nil {
			return err
		}
		size := len(w.Raw)
		if ops.IsFloat32(w.DType) {
			size = 4 * w.Elems() // 16-bit floats are converted
		}
		if err := p.memory.take(int64(size), 0); err != nil {
			return err
		}
		weights[i] = ops.Constant(w)
	}
	for i := range g.Nodes {
		for _, a := range g.Nodes[i].Attrs {
			if a.Graph != nil {
				p.bodies[a.Graph] = map[int]*ops.Tensor{}
				if err := p.constants(ctx, a.Graph, p.bodies[a.Graph]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Close stops the workers.
func (p *Program) Close() { p.pool.Close() }

// Threads is the number of threads a run uses.
func (p *Program) Threads() int { return p.pool.Threads() }

// check gathers the unsupported nodes of a graph and its bodies into one error; nil
// when there are none. invalid is the first node that breaks the standard.
func check(g *onnx.Graph) (unsupported *onnx.UnsupportedError, invalid error) {
	var all onnx.UnsupportedError
	invalid = checkNodes(g, &all)
	if len(all.Nodes) > 0 {
		return &all, invalid
	}
	for _, v := range g.Outputs {
		if w := g.Weights[v]; w != nil && w.DType.Size() == 0 {
			return &onnx.UnsupportedError{Msg: fmt.Sprintf("output %q is a constant of %v", g.Values[v].Name, w.DType)}, invalid
		}
	}
	return nil, invalid
}

func checkNodes(g *onnx.Graph, all *onnx.UnsupportedError) (invalid error) {
	for i := range g.Nodes {
		n := &g.Nodes[i]
		err := ops.Check(n)
		for j, v := range n.Inputs {
			if w := g.Weights[v]; err == nil && w != nil && w.DType.Size() == 0 {
				err = &onnx.UnsupportedError{Nodes: []onnx.Unsupported{{Node: n.Name, Op: n.Op, Domain: n.Domain,
					Version: n.Version, Reason: fmt.Sprintf("input %d is a constant of %v", j, w.DType)}}}
			}
		}
		var u *onnx.UnsupportedError
		switch {
		case errors.As(err, &u):
			all.Nodes = append(all.Nodes, u.Nodes...)
		case invalid == nil:
			invalid = err
		}
		for _, name := range slices.Sorted(maps.Keys(n.Attrs)) {
			if body := n.Attrs[name].Graph; body != nil {
				if err := checkNodes(body, all); invalid == nil {
					invalid = err
				}
			}
		}
	}
	return invalid
}

// foldWeights computes a node once and for all when its inputs are weights.
func (p *Program) foldWeights(ctx context.Context, n *onnx.Node, later *later) (_ bool, err error) {
	if ops.Controls(n) {
		return false, nil
	}
	args := make([]ops.Arg, len(n.Inputs))
	for j, v := range n.Inputs {
		if v < 0 {
			args[j].Absent = true
			continue
		}
		w := p.weights[v]
		if w == nil {
			return false, nil
		}
		if err := later.fill(w); err != nil {
			return false, err
		}
		args[j] = ops.Arg{Type: w.Type, Const: w}
	}
	defer p.guard(n, &err)()
	if err := stopped(ctx); err != nil {
		return false, err
	}
	k, err := ops.Lower(&ops.Call{Node: n, In: args, Packs: &p.packs, Exact: p.options.Exact})
	if err != nil || !plain(k) {
		return false, err
	}
	out, fill, err := folded(ctx, k, args, p.memory.take)
	if err != nil || out == nil {
		return false, err
	}
	if fill != nil {
		guarded := func() (err error) {
			defer p.guard(n, &err)()
			return fill()
		}
		if err := later.add(out, guarded); err != nil {
			return false, err
		}
	}
	for j, v := range n.Outputs {
		if v >= 0 {
			p.weights[v] = out[j]
		}
	}
	return true, nil
}
