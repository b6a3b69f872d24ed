package plan

import (
	"context"
	"errors"
	"slices"
	"time"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// A score network makes an embedding of the time, and of that a number for each
// channel of most of its layers. A sampler asks for all samples at one time, over
// and over again: what depends on the time alone need not be computed for each of
// them, nor in each step, nor for each batch.

// ahead is a plan in two: head makes of the early inputs (the time, and a condition
// where there is one) what body reads of them beside the other inputs. What head
// made is kept for the times to come.
type ahead struct {
	head, body *Plan
	early      []int // positions of the early inputs among the model's
	late       []int // of the others
	table      *table
}

// CompileAhead is Compile for batches whose samples share the early inputs, the
// positions of which are given. Where these have one row for each sample, one row
// is all that the plan takes. The outputs have the bytes that they have for as many
// equal rows. It is nil when nothing that takes time depends on them alone, and when
// there is no room for it beside the limit on memory.
func (p *Program) CompileAhead(ctx context.Context, inputs []ops.Type, early []int) (*Plan, error) {
	pl, err := p.compileAhead(ctx, inputs, early)
	var limit *onnx.LimitError
	if errors.As(err, &limit) {
		return nil, nil
	}
	return pl, err
}

func (p *Program) compileAhead(ctx context.Context, inputs []ops.Type, early []int) (_ *Plan, err error) {
	defer p.guard(nil, &err)()
	head, body, err := p.split(ctx, inputs, early)
	if head == nil || err != nil {
		return nil, err
	}
	a := &ahead{early: early}
	types := slices.Clone(inputs)
	for i := range inputs {
		if at := slices.Index(early, i); at >= 0 {
			types[i] = head.in[at].Type
		} else {
			a.late = append(a.late, i)
		}
	}
	if err := head.fuse(); err != nil {
		return nil, err
	}
	if a.head, err = p.finish(head, typesOf(head.in)); err != nil {
		return nil, err
	}
	build := func(rows int) (*graph, error) {
		few := slices.Clone(inputs)
		for i := range few {
			if s := slices.Clone(few[i].Shape); len(s) > 0 && s[0] == inputs[a.late[0]].Shape[0] {
				s[0] = rows
				few[i].Shape = s
			}
		}
		_, body, err := p.split(ctx, few, early)
		if err == nil && body == nil {
			err = errors.New("nothing depends on the early inputs alone")
		}
		if err != nil {
			return nil, err
		}
		return body, nil
	}
	if a.body, err = p.tiled(tiling{body, build, (*graph).fuse, typesOf(body.in), typesOf(body.out)}); err == nil && a.body == nil {
		if err = body.fuse(); err == nil {
			a.body, err = p.finish(body, typesOf(body.in))
		}
	}
	if err != nil {
		return nil, err
	}
	if !slices.EqualFunc(a.head.Outputs, a.body.Inputs[len(a.late):], sameType) {
		return nil, nil
	}
	a.table = newTable(a.head)
	pl := &Plan{Inputs: types, Outputs: a.body.Outputs, Graphs: a.body.Graphs, program: p, ahead: a,
		steps: slices.Concat(a.head.steps, a.body.steps), Arena: sum(a.head.Arena, a.body.Arena), Tables: sum(a.head.Tables, a.body.Tables)}
	return pl, p.account(pl, int64(len(a.table.mem)))
}

func sameType(a, b ops.Type) bool {
	return a.DType == b.DType && a.Layout == b.Layout && slices.Equal(a.Shape, b.Shape)
}

func typesOf(list []*value) []ops.Type {
	var types []ops.Type
	for _, v := range list {
		types = append(types, v.Type)
	}
	return types
}

// newAhead is a machine of a machine for each half.
func (pl *Plan) newAhead(ctx context.Context) (*Machine, error) {
	a := pl.ahead
	head, err := a.head.fresh(ctx)
	if err != nil {
		return nil, err
	}
	body, err := a.body.fresh(ctx)
	if err != nil {
		return nil, err
	}
	m := &Machine{pool: pl.program.pool, plan: pl, head: head, body: body, In: make([]*ops.Tensor, len(pl.Inputs)), Out: body.Out, key: make([]byte, a.table.key)}
	for k, i := range a.early {
		m.In[i] = head.In[k]
	}
	for k, i := range a.late {
		m.In[i] = body.In[k]
	}
	return m, nil
}

// early gives the body what depends on the early inputs: from the table, or by a run
// of the head.
func (m *Machine) early(ctx context.Context) error {
	a := m.plan.ahead
	key, shared := m.key[:0], m.body.In[len(a.late):]
	for _, t := range m.head.In { // which a run may overwrite
		key = append(key, t.Mem()...)
	}
	if a.table.read(key, shared) {
		return nil
	}
	if err := m.head.Run(ctx); err != nil {
		return err
	}
	for i, t := range m.head.Out {
		copy(shared[i].Mem(), t.Mem())
	}
	a.table.write(key, shared)
	return nil
}

// runAhead is Run for a machine in two.
func (m *Machine) runAhead(ctx context.Context) error {
	err := m.early(ctx)
	if err == nil {
		err = m.body.Run(ctx)
	}
	m.broken = m.head.broken || m.body.broken
	return err
}

// profileAhead is Profile for it. The head runs always.
func (m *Machine) profileAhead(ctx context.Context, times []time.Duration) error {
	steps := len(m.plan.ahead.head.steps)
	if err := m.head.Profile(ctx, times[:steps]); err != nil {
		return err
	}
	for i, t := range m.head.Out {
		copy(m.body.In[len(m.plan.ahead.late)+i].Mem(), t.Mem())
	}
	return m.body.Profile(ctx, times[steps:])
}
