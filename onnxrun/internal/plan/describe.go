package plan

import (
	"context"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// Unsupported lists the nodes of a model that cannot run, with the reasons that
// can be known without the inputs' shapes. A node that breaks the standard is an
// error beside the list.
func Unsupported(m *onnx.Model) ([]onnx.Unsupported, error) {
	u, invalid := check(m.Graph)
	if u == nil {
		return m.Unsupported, invalid
	}
	list := append(m.Unsupported, u.Nodes...)
	if u.Msg != "" {
		list = append(list, onnx.Unsupported{Reason: u.Msg})
	}
	return list, invalid
}

// Shapes follows the inputs' shapes through the model, and gives the type of every
// value of the main graph, by its place in Graph.Values. Values that nothing makes
// have none.
func (p *Program) Shapes(ctx context.Context, inputs []ops.Type, known []*ops.Tensor) (_ map[int]ops.Type, err error) {
	defer p.guard(nil, &err)()
	_, values, err := p.followed(ctx, inputs, known)
	if err != nil {
		return nil, err
	}
	types := map[int]ops.Type{}
	for i, v := range values {
		if v != nil {
			types[i] = v.Type.Plain()
		}
	}
	return types, nil
}

// Wiring says what the operators of Plan.Nodes read.
type Wiring struct {
	// From lists, for each operator, where its inputs come from: an operator's
	// position, or −1−k for input k of the model. Constants are left out.
	From [][]int
	Out  []int // where each output of the model comes from
}

// Wiring is the graph of the operators that Nodes lists.
func (pl *Plan) Wiring() Wiring {
	from, to := pl.in, pl.out
	if pl.tile != nil {
		from, to = pl.tile.in, pl.tile.out
	}
	made := map[*slot]int{}
	for k, s := range from {
		made[s] = -1 - k
	}
	w := Wiring{From: make([][]int, len(pl.steps))}
	for i, s := range pl.steps {
		for _, in := range s.in {
			if at, ok := made[in]; ok && in != nil {
				w.From[i] = append(w.From[i], at)
			}
		}
		for _, out := range s.out {
			if out != nil {
				made[out] = i
			}
		}
	}
	for _, s := range to {
		if at, ok := made[s]; ok {
			w.Out = append(w.Out, at)
		}
	}
	return w
}
