package plan

import (
	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// layOut chooses the memory layout of every value in one pass from the inputs
// to the outputs: each operator says which layout it wants of its inputs, given
// the ones they have, and a value in another layout is reordered, once for all
// its readers. The model's outputs are Plain.
func (g *graph) layOut() error {
	type wish struct {
		v *value
		l ops.Layout
	}
	reordered := map[wish]*value{}
	var done []*node

	as := func(v *value, l ops.Layout) (*value, error) {
		if v.Layout == l {
			return v, nil
		}
		if r := reordered[wish{v, l}]; r != nil {
			return r, nil
		}
		to := v.Type
		to.Layout = l
		r := &value{Type: to, name: v.name}
		n := &node{
			src: &onnx.Node{Name: v.name, Op: "Reorder", Domain: ops.Fused, Version: 1, Inputs: []int{0}, Outputs: []int{0},
				Attrs: map[string]onnx.Attr{"layout": intAttr(int(l))}},
			in: []*value{v}, out: []*value{r},
		}
		if err := g.lower(n); err != nil {
			return nil, err
		}
		if v.konst != nil {
			out, err := g.fold(n)
			if err != nil {
				return nil, err
			}
			if out != nil {
				r.konst = out[0]
			}
		}
		if r.konst == nil {
			done = append(done, n)
			reordered[wish{r, v.Layout}] = v
		}
		reordered[wish{v, l}] = r
		return r, nil
	}

	for _, n := range g.nodes {
		if err := stopped(g.ctx); err != nil {
			return err
		}
		g.padRank(n)
		wants := ops.Layouts(g.call(n))
		changed := false
		for i, v := range n.in {
			if v == nil {
				continue
			}
			w, err := as(v, wants[i])
			if err != nil {
				return err
			}
			changed = changed || w.Layout != ops.Plain
			n.in[i] = w
		}
		if changed || needsLayout(n) {
			if err := g.lower(n); err != nil {
				return err
			}
			for j, v := range n.out {
				if v != nil {
					v.Type = n.kernel.Out[j]
				}
			}
		}
		done = append(done, n)
	}
	for i, v := range g.out {
		w, err := as(v, ops.Plain)
		if err != nil {
			return err
		}
		g.out[i] = w
	}
	g.nodes = done
	return nil
}

// needsLayout: an operator may give a Blocked output from Plain inputs; it has
// said so when it was lowered first.
func needsLayout(n *node) bool {
	for j, v := range n.out {
		if v != nil && v.Layout != n.kernel.Out[j].Layout {
			return true
		}
	}
	return false
}

// padRank gives a constant operand of an element-wise node the rank of the
// other one, so that its channel axis can be seen: [C,1,1] becomes [1,C,1,1].
func (g *graph) padRank(n *node) {
	if len(n.in) != 2 || n.in[0] == nil || n.in[1] == nil || len(n.out) != 1 {
		return
	}
	switch n.src.Op {
	case "Add", "Sub", "Mul", "Div", "Pow":
	default:
		return
	}
	if n.src.Domain == "" && n.src.Version < 7 {
		return // operands were aligned by an attribute
	}
	for i := range 2 {
		v, rank := n.in[i], len(n.in[1-i].Shape)
		if v.konst == nil || len(v.Shape) >= rank {
			continue
		}
		shape := make([]int, rank)
		for j := range shape {
			shape[j] = 1
		}
		copy(shape[rank-len(v.Shape):], v.Shape)
		t := ops.Type{DType: v.DType, Shape: shape}
		n.in[i] = &value{Type: t, name: v.name, konst: v.konst.As(t)}
	}
}
