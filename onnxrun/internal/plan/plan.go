package plan

import (
	"sync"

	G "gorgonia.org/gorgonia"

	"sampleonnx/onnxrun/internal/kernel"
	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// Plan is a model compiled for one set of input shapes: a gorgonia expression
// graph of the operators left to run, and the place in memory of every value.
// It is immutable; any number of machines can run it.
type Plan struct {
	Inputs  []ops.Type
	Outputs []ops.Type

	Graph *G.ExprGraph
	Arena int // bytes of a machine's memory

	program *Program
	steps   []*step
	in, out []*slot
	tile    *Plan // runs over the rows, piece by piece; nil: the plan itself runs

	mu   sync.Mutex
	idle []*Machine
}

// Compile makes the plan for inputs of these types, in the order of
// p.Inputs: specialise, fuse, lay out, express, place in memory.
//
// values holds, by input, those that are known and stay the same in every run of
// the plan; nil: none.
func (p *Program) Compile(inputs []ops.Type, values []*ops.Tensor) (*Plan, error) {
	g, err := p.joined(inputs, values)
	if err != nil {
		return nil, err
	}
	if pl := p.tiled(g, inputs, values); pl != nil {
		return pl, nil
	}
	return p.finish(g, inputs)
}

// joined is the model at fixed input shapes, patterns of nodes joined.
func (p *Program) joined(inputs []ops.Type, values []*ops.Tensor) (*graph, error) {
	g, err := p.specialise(inputs, values)
	if err != nil {
		return nil, err
	}
	return g, g.fuse()
}

// finish lays out and places a graph.
func (p *Program) finish(g *graph, inputs []ops.Type) (*Plan, error) {
	if err := g.layOut(); err != nil {
		return nil, err
	}
	return p.place(g, inputs)
}

// place expresses a graph and gives every value its place in memory.
func (p *Program) place(g *graph, inputs []ops.Type) (*Plan, error) {
	e, slots, in, out := g.express()
	pl := &Plan{Inputs: inputs, Graph: e, program: p, steps: steps(e, slots)}
	for _, n := range in {
		pl.in = append(pl.in, slots[n])
	}
	for _, n := range out {
		pl.out = append(pl.out, slots[n])
		pl.Outputs = append(pl.Outputs, slots[n].Type)
	}
	pl.Arena = arena(pl.steps, pl.in, pl.out, p.Threads())
	if p.options.Memory > 0 && int64(pl.Arena) > p.options.Memory {
		return nil, &onnx.LimitError{What: "bytes of memory for one run", Got: int64(pl.Arena), Max: p.options.Memory}
	}
	return pl, nil
}

// Acquire is a machine nobody else uses: an idle one, or a new one. Release
// gives it back.
func (pl *Plan) Acquire() (*Machine, error) {
	pl.mu.Lock()
	if n := len(pl.idle); n > 0 {
		m := pl.idle[n-1]
		pl.idle = pl.idle[:n-1]
		pl.mu.Unlock()
		return m, nil
	}
	pl.mu.Unlock()
	if pl.tile != nil {
		return pl.newTiled()
	}
	return pl.newMachine()
}

// Release keeps a machine for the next Acquire.
func (pl *Plan) Release(m *Machine) {
	pl.mu.Lock()
	pl.idle = append(pl.idle, m)
	pl.mu.Unlock()
}

// NodeInfo describes one operator that a plan runs.
type NodeInfo struct {
	Name, Op string
	Algo     string // the algorithm chosen; may be ""
	Out      ops.Type
	FLOPs    float64
	View     bool // nothing runs
}

// Nodes lists the operators of a plan in running order.
func (pl *Plan) Nodes() []NodeInfo {
	list := make([]NodeInfo, len(pl.steps))
	times := 1.0
	if pl.tile != nil {
		times = float64(pl.Inputs[0].Shape[0]) / float64(pl.tile.Inputs[0].Shape[0])
	}
	for i, s := range pl.steps {
		k := s.op.kernel
		list[i] = NodeInfo{s.op.src.Name, s.op.src.Op, k.Algo, k.Out[0], times * k.FLOPs, k.View}
	}
	return list
}

// Peak is the rate of one thread's arithmetic, as kernel.Peak measures it.
func Peak() float64 { return kernel.Peak() }

// ISA names the instruction set that the kernels use.
func ISA() string { return kernel.ISA() }
