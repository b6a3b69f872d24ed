package plan

import (
	"context"
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// Pullback makes the plan of a model and its derivative: for inputs of these
// types and one more, v, of the type of output out, its outputs are output out
// and vᵀ ∂out/∂x, x being input x.
//
// values is as for Compile.
func (p *Program) Pullback(ctx context.Context, inputs []ops.Type, values []*ops.Tensor, x, out int) (_ *Plan, err error) {
	defer p.guard(nil, &err)()
	g, err := p.specialise(ctx, inputs, values)
	if err != nil {
		return nil, err
	}
	derive := func(g *graph) error { return g.derive(x, out) }
	build := func(rows int) (*graph, error) { return p.specialise(ctx, g.rowsOf(inputs, rows), values) }
	y, in := g.out[out].Type, append(slices.Clone(inputs), g.out[out].Type)
	if pl, err := p.tiled(tiling{g, build, derive, in, []ops.Type{y, g.in[x].Type}}); pl != nil || err != nil {
		return pl, err
	}
	if err := derive(g); err != nil {
		return nil, err
	}
	return p.finish(g, in)
}

// derive makes the graph that of the model and its derivative.
func (g *graph) derive(x, out int) error {
	if err := g.planes(); err != nil {
		return err
	}
	if err := g.join(func(n *node) bool { return ops.Differentiable(n.src) }); err != nil {
		return err
	}
	if err := g.placeable(); err != nil {
		return err
	}
	if err := g.pullback(x, out); err != nil {
		return err
	}
	return g.fuse()
}

// pullback makes the graph one of (inputs, v) ↦ (out, vᵀ ∂out/∂x), by
// reverse-mode differentiation: through the nodes between x and out, the last
// first, each by its operator's rule.
//
// It works on this form of the graph, before layouts are chosen and before it is
// expressed for gorgonia: so the backward half is folded, joined, laid out and
// placed with the forward half, a value that is needed on the way back simply
// lives longer, and operators with several outputs have one rule and not one for
// each. The same rules stand behind DiffWRT and SymDiff of the ops of the
// expression graph.
func (g *graph) pullback(x, out int) error {
	w := &writer{graph: g, refs: map[*value]*ops.Ref{}}
	from, y := g.in[x], g.out[out]
	v := &value{Type: y.Type, name: "v"}
	nodes := slices.Clone(g.nodes)
	active := g.between(from)
	grads := map[*value]*ops.Ref{y: w.ref(v)}
	for _, n := range slices.Backward(nodes) {
		d := w.grad(n.src)
		d.In, d.Out = w.all(n.in), w.all(n.out)
		some := false
		for _, v := range n.out {
			d.DOut = append(d.DOut, grads[v])
			some = some || grads[v] != nil
		}
		if !some {
			continue
		}
		for j, v := range n.in {
			if !active[v] {
				continue
			}
			r, err := d.Wrt(j)
			if err == nil && r != nil && grads[v] != nil {
				r, err = w.sum(n.src, grads[v], r)
			}
			if err != nil {
				return err
			}
			if r != nil {
				grads[v] = r
			}
		}
	}
	dx := &value{Type: from.Type, name: "gradient", konst: ops.New(from.Type)} // when out does not depend on x
	if r := grads[from]; r != nil {
		r, err := w.grad(&onnx.Node{Name: from.name}).Spread(r, from.Shape)
		if err != nil {
			return err
		}
		dx = w.value(r)
	}
	g.in, g.out = append(g.in, v), []*value{y, dx}
	g.sweep()
	return nil
}

// between marks the float values that depend on x; nothing else has a gradient.
func (g *graph) between(x *value) map[*value]bool {
	active := map[*value]bool{x: true}
	for _, n := range g.nodes {
		if !slices.ContainsFunc(n.in, func(v *value) bool { return active[v] }) {
			continue
		}
		for _, v := range n.out {
			if v != nil && isFloat(v.DType) {
				active[v] = true
			}
		}
	}
	return active
}

// writer adds the nodes of derivative rules to a graph, whose values they know
// as refs.
type writer struct {
	*graph
	refs map[*value]*ops.Ref
}

func (w *writer) grad(n *onnx.Node) *ops.Grad {
	return &ops.Grad{Node: n, Packs: w.packs, Emit: w.emit, Reserve: func(bytes int) {
		if err := w.reserve(int64(bytes), 0); err != nil {
			panic(err)
		}
	}}
}

func (w *writer) ref(v *value) *ops.Ref {
	if v != nil && w.refs[v] == nil {
		w.refs[v] = &ops.Ref{Arg: ops.Arg{Type: v.Type, Const: v.konst}, Key: v}
	}
	return w.refs[v]
}

func (w *writer) all(list []*value) []*ops.Ref {
	out := make([]*ops.Ref, len(list))
	for i, v := range list {
		out[i] = w.ref(v)
	}
	return out
}

func (w *writer) value(r *ops.Ref) *value {
	switch {
	case r == nil:
		return nil
	case r.Key == nil: // a constant of a rule's own
		r.Key = &value{Type: r.Type, name: "constant", konst: r.Const}
	}
	return r.Key.(*value)
}

// sum is the gradient of a value that several nodes read.
func (w *writer) sum(of *onnx.Node, a, b *ops.Ref) (*ops.Ref, error) {
	out, err := w.emit(&onnx.Node{Name: "gradient of " + of.Name, Op: "Add", Version: 14, Inputs: []int{0, 1}, Outputs: []int{0}}, []*ops.Ref{a, b})
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// emit adds a node to the graph, or its outputs where they are known.
func (w *writer) emit(src *onnx.Node, in []*ops.Ref) ([]*ops.Ref, error) {
	n := &node{src: src, out: make([]*value, len(src.Outputs))}
	known := true
	for _, r := range in {
		v := w.value(r)
		n.in = append(n.in, v)
		known = known && (v == nil || v.konst != nil)
	}
	if err := w.lower(n); err != nil {
		return nil, err
	}
	var consts []*ops.Tensor
	if (known || n.kernel.Const != nil) && plain(n.kernel) {
		var err error
		if consts, err = w.fold(n); err != nil {
			return nil, err
		}
	}
	for j, o := range src.Outputs {
		if o < 0 {
			continue
		}
		n.out[j] = &value{Type: n.kernel.Out[j].Plain(), name: src.Name}
		if consts != nil {
			n.out[j].konst = consts[j]
		}
	}
	if consts == nil {
		w.nodes = append(w.nodes, n)
	}
	return w.all(n.out), nil
}
