package plan

import (
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// graph is a model at fixed input shapes: the form that the passes of this
// package rewrite, one after the other.
type graph struct {
	nodes   []*node // every value is made before it is used
	in, out []*value
	packs   *ops.Packs
	exact   bool
}

type value struct {
	ops.Type
	name  string
	konst *ops.Tensor // the value, when it does not depend on the inputs' data
}

type node struct {
	src     *onnx.Node
	in, out []*value // nil: left out
	kernel  *ops.Kernel
}

// specialise follows the shapes from the inputs through the model: every
// operator finds its kernel, and what depends on shapes and weights alone is
// computed. Layouts come later: until layOut every value counts as Plain.
//
// known holds the inputs whose values are known as well; nil: none.
func (p *Program) specialise(inputs []ops.Type, known []*ops.Tensor) (*graph, error) {
	g := &graph{packs: &p.packs, exact: p.options.Exact}
	values := make([]*value, len(p.graph.Values))
	for i, t := range p.weights {
		values[i] = &value{Type: t.Type, name: p.graph.Values[i].Name, konst: t}
	}
	for k, i := range p.graph.Inputs {
		values[i] = &value{Type: inputs[k], name: p.graph.Values[i].Name}
		g.in = append(g.in, values[i])
		if known != nil && known[k] != nil { // nothing reads the input itself
			values[i] = &value{Type: inputs[k], name: p.graph.Values[i].Name, konst: known[k]}
		}
	}
	for _, src := range p.nodes {
		n := &node{src: src, in: make([]*value, len(src.Inputs)), out: make([]*value, len(src.Outputs))}
		known := true
		for j, v := range src.Inputs {
			if v >= 0 {
				n.in[j] = values[v]
				known = known && values[v].konst != nil
			}
		}
		if err := g.lower(n); err != nil {
			return nil, err
		}
		var consts []*ops.Tensor
		if (known || n.kernel.Const != nil) && plain(n.kernel) {
			var err error
			if consts, err = fold(src, n.kernel, g.args(n)); err != nil {
				return nil, err
			}
		}
		for j, v := range src.Outputs {
			if v < 0 {
				continue
			}
			values[v] = &value{Type: n.kernel.Out[j].Plain(), name: p.graph.Values[v].Name}
			if consts != nil {
				values[v].konst = consts[j]
			}
			n.out[j] = values[v]
		}
		if consts == nil {
			g.nodes = append(g.nodes, n)
		}
	}
	for _, i := range p.graph.Outputs {
		g.out = append(g.out, values[i])
	}
	g.sweep()
	return g, nil
}

// plain reports whether a kernel gives its outputs in the Plain layout, the
// only one in which values are folded.
func plain(k *ops.Kernel) bool {
	return !slices.ContainsFunc(k.Out, func(t ops.Type) bool { return t.Layout != ops.Plain })
}

// lower finds the kernel of a node for its inputs as they are now.
func (g *graph) lower(n *node) error {
	k, err := ops.Lower(g.call(n))
	n.kernel = k
	return err
}

// call is the question to package ops about a node.
func (g *graph) call(n *node) *ops.Call {
	return &ops.Call{Node: n.src, In: g.args(n), Packs: g.packs, Exact: g.exact}
}

func (g *graph) args(n *node) []ops.Arg {
	args := make([]ops.Arg, len(n.in))
	for i, v := range n.in {
		if v == nil {
			args[i].Absent = true
		} else {
			args[i] = ops.Arg{Type: v.Type, Const: v.konst}
		}
	}
	return args
}

// sweep drops the nodes whose outputs nobody needs.
func (g *graph) sweep() {
	needed := map[*value]bool{}
	for _, v := range g.out {
		needed[v] = true
	}
	kept := len(g.nodes)
	for i := len(g.nodes) - 1; i >= 0; i-- {
		n := g.nodes[i]
		live := false
		for _, v := range n.out {
			live = live || needed[v]
		}
		if !live {
			continue
		}
		for _, v := range n.in {
			needed[v] = true
		}
		kept--
		g.nodes[kept] = n
	}
	g.nodes = g.nodes[kept:]
	// A kernel may skip an output that has no reader.
	for _, n := range g.nodes {
		for j, v := range n.out {
			if j > 0 && v != nil && !needed[v] {
				n.out[j] = nil
			}
		}
	}
}
