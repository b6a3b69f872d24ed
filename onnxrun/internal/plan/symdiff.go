package plan

import (
	"context"
	"fmt"

	G "gorgonia.org/gorgonia"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// DiffWRT reports which children an op has a derivative by: floats that are no
// constants, of operators with a derivative rule. A node with several outputs has none in gorgonia's
// form, where each output is a node and would have to differentiate alone.
func (o *op) DiffWRT(inputs int) []bool {
	by := make([]bool, inputs)
	for i := range by {
		a := o.args[o.slots[i]]
		by[i] = o.output == 0 && !o.many && ops.Differentiable(o.src) && a.Const == nil && isFloat(a.DType)
	}
	return by
}

func isFloat(d onnx.DType) bool { return ops.IsFloat32(d) || d == onnx.Double }

// SymDiff adds the nodes that compute an op's gradient to the expression graph,
// by the same rules as [Program.Pullback], which differentiates before layouts
// are chosen and is what runs. Here they have been: gradients are Plain, and
// what is not is reordered for them. A gradient that is zero, or one that
// DiffWRT denies, is nil.
func (o *op) SymDiff(inputs G.Nodes, output, grad *G.Node) (G.Nodes, error) {
	w := &symWriter{graph: output.Graph()}
	d := &ops.Grad{Node: o.src, Packs: o.packs, Emit: w.emit}
	d.In = make([]*ops.Ref, len(o.args))
	for i, child := range inputs {
		r, err := w.plain(o.args[o.slots[i]], child)
		if err != nil {
			return nil, err
		}
		d.In[o.slots[i]] = r
	}
	y, err := w.plain(ops.Arg{Type: o.kernel.Out[0]}, output)
	if err != nil {
		return nil, err
	}
	d.Out = []*ops.Ref{y}
	d.DOut = []*ops.Ref{{Arg: ops.Arg{Type: y.Type}, Key: grad}}
	grads := make(G.Nodes, len(inputs))
	for i, yes := range o.DiffWRT(len(inputs)) {
		if !yes {
			continue
		}
		r, err := d.Wrt(o.slots[i])
		if err == nil && r != nil {
			r, err = d.Spread(r, d.In[o.slots[i]].Shape)
		}
		if err != nil {
			return nil, err
		}
		if r != nil {
			grads[i] = w.node(r)
		}
	}
	return grads, nil
}

// symWriter adds the nodes of derivative rules to an expression graph.
type symWriter struct{ graph *G.ExprGraph }

func (w *symWriter) node(r *ops.Ref) *G.Node {
	if r.Key == nil {
		r.Key = w.add(r.Type, G.WithValue(&cell{Tensor: r.Const}))
	}
	return r.Key.(*G.Node)
}

func (w *symWriter) add(t ops.Type, opts ...G.NodeConsOpt) *G.Node {
	return G.NewUniqueNode(append([]G.NodeConsOpt{G.In(w.graph), G.WithType(typeOf(t)), G.WithShape(t.Shape...),
		G.WithName(fmt.Sprintf("gradient %d", w.graph.Nodes().Len()))}, opts...)...)
}

// plain is a node as a ref of the Plain layout.
func (w *symWriter) plain(a ops.Arg, n *G.Node) (*ops.Ref, error) {
	r := &ops.Ref{Arg: a, Key: n}
	if a.Layout == ops.Plain {
		return r, nil
	}
	src := &onnx.Node{Name: "gradient", Op: "Reorder", Domain: ops.Fused, Version: 1, Inputs: []int{0}, Outputs: []int{0},
		Attrs: map[string]onnx.Attr{"layout": intAttr(int(ops.Plain))}}
	r.Const = nil
	out, err := w.emit(src, []*ops.Ref{r})
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

func (w *symWriter) emit(src *onnx.Node, in []*ops.Ref) ([]*ops.Ref, error) {
	o := &op{serial: w.graph.Nodes().Len(), src: src}
	var children G.Nodes
	known := true
	for i, r := range in {
		if r == nil {
			o.args = append(o.args, ops.Arg{Absent: true})
			continue
		}
		o.args = append(o.args, r.Arg)
		o.slots = append(o.slots, i)
		known = known && r.Const != nil
	}
	k, err := ops.Lower(&ops.Call{Node: src, In: o.args, Packs: o.packs})
	if err != nil {
		return nil, err
	}
	o.kernel = k
	out := make([]*ops.Ref, len(src.Outputs))
	if (known || k.Const != nil) && plain(k) { // shapes, and what is made of weights
		consts, err := fold(context.Background(), k, o.args, func(_, _ int64) error { return nil })
		if err != nil {
			return nil, err
		}
		for j, t := range consts {
			out[j] = &ops.Ref{Arg: ops.Arg{Type: t.Type, Const: t}}
		}
		if consts != nil {
			return out, nil
		}
	}
	for _, i := range o.slots {
		children = append(children, w.node(in[i]))
	}
	first := w.add(k.Out[0], G.WithOp(o), G.WithChildren(children))
	for j := range src.Outputs {
		n := first
		if j > 0 {
			o.many = true
			n = w.add(k.Out[j], G.WithOp(&op{serial: o.serial, src: src, kernel: k, output: j, slots: []int{0}, args: o.args[:1]}), G.WithChildren(G.Nodes{first}))
		}
		if out[j], err = w.plain(ops.Arg{Type: k.Out[j]}, n); err != nil {
			return nil, err
		}
	}
	return out, nil
}
