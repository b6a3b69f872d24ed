package plan

import (
	"context"
	"runtime/debug"
	"sync/atomic"
	"time"

	G "gorgonia.org/gorgonia"

	"sampleonnx/onnxrun/internal/kernel"
	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// Machine runs a plan: one arena, and the tasks of every operator bound to
// their places in it. It implements gorgonia.VM. A run allocates nothing. One
// goroutine may use a machine at a time.
type Machine struct {
	In, Out []*ops.Tensor // written before and read after a run; Out may alias In

	pool  *kernel.Pool
	tasks []task
	plan  *Plan
	tiles []*Machine // one for each worker, when the plan is tiled

	head, body *Machine // when the plan is one of two halves
	key        []byte   // room for the early inputs

	stuck  atomic.Pointer[onnx.Node] // in which a tile came to no end
	done   <-chan struct{}           // of the context of the run under way, or of making the machine
	broken bool                      // a run panicked
}

type task struct {
	parts int
	run   func(part, worker int)
	step  int
}

var _ G.VM = (*Machine)(nil)

func (pl *Plan) newMachine(ctx context.Context) (*Machine, error) {
	m := &Machine{pool: pl.pool, plan: pl}
	mem := ops.AlignedBytes(int(pl.Arena))
	at := func(s *slot) *ops.Tensor {
		switch {
		case s == nil:
			return nil
		case s.konst != nil:
			return s.konst
		}
		return ops.View(s.Type, mem[s.region.offset:])
	}
	tensors := func(list []*slot) []*ops.Tensor {
		t := make([]*ops.Tensor, len(list))
		for i, s := range list {
			t[i] = at(s)
		}
		return t
	}
	m.In, m.Out = tensors(pl.in), tensors(pl.out)
	for i, s := range pl.out {
		if s.konst != nil { // who reads the outputs has no guard against a mapped file that changes
			m.Out[i] = ops.New(s.konst.Type)
			copy(m.Out[i].Mem(), s.konst.Mem())
		}
	}

	// Binding a kernel packs its weights the first time: all threads help. It stops
	// as a run does.
	m.done = ctx.Done()
	bound := make([][]ops.Task, len(pl.steps))
	errs := make([]error, len(pl.steps))
	pl.program.pool.Run(len(pl.steps), func(i, _ int) {
		s := pl.steps[i]
		defer pl.program.guard(s.op.src, &errs[i])()
		if errs[i] = stopped(ctx); errs[i] != nil {
			return
		}
		k := s.op.kernel
		if k.View {
			return
		}
		var scratch []byte
		if s.scratch != nil {
			scratch = mem[s.scratch.offset:][:s.scratch.size]
		}
		room := ops.NewMemory(k, tensors(s.in), tensors(s.out), scratch, m.pool.Threads())
		room.Stopped = m.stopped
		bound[i] = k.Bind(room)
	})
	m.done = nil
	if err := stopped(ctx); err != nil {
		return nil, err
	}
	for i, tasks := range bound {
		if errs[i] != nil {
			return nil, errs[i]
		}
		for _, t := range tasks {
			if t.Parts > 0 {
				m.tasks = append(m.tasks, m.untilDone(t, i))
			}
		}
	}
	return m, nil
}

// mostParts is how many parts the threads share out: there are up to 2³¹, and to leave
// out each by itself would take longer than a cancelled run may.
const mostParts = 1 << 16

// untilDone is a task of a step that leaves out the parts not begun when the context of
// the run is done.
func (m *Machine) untilDone(t ops.Task, step int) task {
	each := (t.Parts-1)/mostParts + 1
	return task{(t.Parts-1)/each + 1, func(part, worker int) {
		first := part * each
		for p := range min(each, t.Parts-first) {
			if m.stopped() {
				return
			}
			t.Run(first+p, worker)
		}
	}, step}
}

// stopped reports whether the context of the run is done.
func (m *Machine) stopped() bool {
	if m.done != nil {
		select {
		case <-m.done:
			return true
		default:
		}
	}
	return false
}

// RunAll computes Out from In.
func (m *Machine) RunAll() error { return m.Run(context.Background()) }

// Reset does nothing: a run leaves nothing behind that the next one reads.
func (m *Machine) Reset() {}

// Close does nothing: a machine holds only memory.
func (m *Machine) Close() error { return nil }

// Run computes Out from In and stops between operators, and between the parts of
// one, when ctx is done. After a panic, which comes back as an error, the machine
// is not to be used again.
func (m *Machine) Run(ctx context.Context) (err error) {
	if m.body != nil {
		return m.runAhead(ctx)
	}
	i := 0
	old := debug.SetPanicOnFault(true)
	m.done = ctx.Done()
	defer func() {
		debug.SetPanicOnFault(old)
		m.done = nil
		if r := recover(); r != nil {
			m.broken = true
			node := m.src(i)
			if stuck := m.stuck.Load(); stuck != nil {
				node = stuck
			}
			err = m.plan.program.panicked(node, r)
		}
	}()
	for i = range m.tasks {
		if m.done != nil {
			if err := stopped(ctx); err != nil {
				return err
			}
		}
		t := &m.tasks[i]
		if t.parts == 1 {
			t.run(0, 0)
		} else {
			m.pool.Run(t.parts, t.run)
		}
	}
	if m.done != nil { // parts of the last operator may have been left out
		return stopped(ctx)
	}
	return nil
}

// Profile is Run with the time each operator of the plan took added to times,
// which has one element for each of Plan.Nodes.
func (m *Machine) Profile(ctx context.Context, times []time.Duration) (err error) {
	if m.body != nil {
		return m.profileAhead(ctx, times)
	}
	if m.tiles != nil {
		return m.profileTiles(ctx, times)
	}
	all := m.tasks
	defer func() { m.tasks = all }()
	for i := range all {
		m.tasks = all[i : i+1]
		start := time.Now()
		if err := m.Run(ctx); err != nil {
			return err
		}
		times[all[i].step] += time.Since(start)
	}
	return nil
}

func (m *Machine) src(task int) *onnx.Node { return m.plan.steps[m.tasks[task].step].op.src }
