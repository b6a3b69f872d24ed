package plan

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	G "gorgonia.org/gorgonia"

	"sampleonnx/onnxrun/internal/kernel"
	"sampleonnx/onnxrun/internal/ops"
)

// Plan is a model compiled for one set of input shapes: gorgonia expression
// graphs of the operators left to run, and the place in memory of every value.
// It is immutable; any number of machines can run it.
type Plan struct {
	Inputs  []ops.Type
	Outputs []ops.Type

	Graphs []*G.ExprGraph // one, of a model of ordinary size
	Arena  int64          // bytes of a machine's memory for values and scratch
	Tables int64          // and of what its operators list when they are bound to it

	program *Program
	steps   []*step
	in, out []*slot
	tile    *Plan        // runs over the rows, piece by piece; nil: the plan itself runs
	shared  []bool       // by input of a plan in tiles: all rows have it in common
	ahead   *ahead       // runs in two halves; nil: the plan itself runs
	pool    *kernel.Pool // whose threads run it

	mu   sync.Mutex
	idle []*Machine
	kept *atomic.Int64 // bytes of the plan's constants and idle machines, which memory.plans counts
}

// Compile makes the plan for inputs of these types, in the order of
// p.Inputs: specialise, fuse, lay out, express, place in memory.
//
// values holds, by input, those that are known and stay the same in every run of
// the plan; nil: none. Compile stops within one node when ctx is done.
func (p *Program) Compile(ctx context.Context, inputs []ops.Type, values []*ops.Tensor) (_ *Plan, err error) {
	defer p.guard(nil, &err)()
	g, err := p.specialise(ctx, inputs, values)
	if err != nil {
		return nil, err
	}
	build := func(rows int) (*graph, error) { return p.specialise(ctx, g.rowsOf(inputs, rows), values) }
	if pl, err := p.tiled(tiling{g, build, (*graph).fuse, inputs, typesOf(g.out)}); pl != nil || err != nil {
		return pl, err
	}
	if err := g.fuse(); err != nil {
		return nil, err
	}
	return p.finish(g, inputs)
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
	if err := g.placeable(); err != nil {
		return nil, err
	}
	x, err := g.express()
	if err != nil {
		return nil, err
	}
	pl := &Plan{Inputs: inputs, Graphs: x.graphs, program: p, steps: x.steps(), pool: p.pool}
	if g.alone {
		pl.pool = p.alone
	}
	for _, n := range x.in {
		pl.in = append(pl.in, x.slots[n])
	}
	for _, n := range x.out {
		pl.out = append(pl.out, x.slots[n])
		pl.Outputs = append(pl.Outputs, x.slots[n].Type)
	}
	if pl.Arena, err = arena(g.ctx, pl.steps, pl.in, pl.out, pl.pool.Threads()); err != nil {
		return nil, err
	}
	for _, s := range pl.steps {
		pl.Tables = sum(pl.Tables, int64(s.op.kernel.Tables))
	}
	return pl, p.account(pl, g.folded)
}

// account checks that there is memory for a plan and for what a run of it gives,
// of which a file can list one value many times, and counts what it keeps.
func (p *Program) account(pl *Plan, constants int64) error {
	machine := sum(constants, sum(pl.Arena, pl.Tables))
	for i, t := range pl.Outputs {
		machine = sum(machine, int64(t.Bytes()))
		if i < len(pl.out) && pl.out[i].konst != nil {
			machine = sum(machine, int64(t.Bytes())) // copied for the machine
		}
	}
	if err := p.memory.fits(machine); err != nil {
		return err
	}
	pl.kept = &atomic.Int64{}
	p.keep(pl, constants)
	runtime.AddCleanup(pl, func(kept *atomic.Int64) { p.memory.plans.Add(-kept.Load()) }, pl.kept)
	return nil
}

func (p *Program) keep(pl *Plan, bytes int64) {
	pl.kept.Add(bytes)
	p.memory.plans.Add(bytes)
}

// Crowded reports whether the plans made so far, run or not, hold as much memory
// as the limit allows for one run: then it is time to let go of them.
func (p *Program) Crowded() bool { return p.memory.most > 0 && p.memory.plans.Load() > p.memory.most }

// Acquire is a machine nobody else uses: an idle one, or a new one, once it is the
// caller's turn. Release gives it back. Waiting ends when ctx is done, and making
// one within a node of that.
func (pl *Plan) Acquire(ctx context.Context) (*Machine, error) {
	select {
	case pl.program.turns <- struct{}{}:
	case <-ctx.Done():
		return nil, stopped(ctx)
	}
	m, err := pl.take(ctx)
	if err != nil {
		<-pl.program.turns
	}
	return m, err
}

func (pl *Plan) take(ctx context.Context) (*Machine, error) {
	pl.mu.Lock()
	if n := len(pl.idle); n > 0 {
		m := pl.idle[n-1]
		pl.idle = pl.idle[:n-1]
		pl.mu.Unlock()
		pl.program.keep(pl, -pl.Arena-pl.Tables)
		return m, nil
	}
	pl.mu.Unlock()
	return pl.fresh(ctx)
}

// fresh is a new machine. It is apart from take, which allocates nothing.
func (pl *Plan) fresh(ctx context.Context) (_ *Machine, err error) {
	defer pl.program.guard(nil, &err)()
	switch {
	case pl.ahead != nil:
		return pl.newAhead(ctx)
	case pl.tile != nil:
		return pl.newTiled(ctx)
	}
	return pl.newMachine(ctx)
}

// Release keeps a machine for the next Acquire, unless it panicked in a run: what
// its memory and its kernels' state are then, nobody knows.
func (pl *Plan) Release(m *Machine) {
	defer func() { <-pl.program.turns }()
	if m.broken || pl.program.Crowded() {
		return
	}
	pl.program.keep(pl, pl.Arena+pl.Tables)
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
	if pl.ahead != nil {
		return slices.Concat(pl.ahead.head.Nodes(), pl.ahead.body.Nodes())
	}
	list := make([]NodeInfo, len(pl.steps))
	times := 1.0
	if pl.tile != nil {
		times = float64(pl.Outputs[0].Shape[0]) / float64(pl.tile.Outputs[0].Shape[0])
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
