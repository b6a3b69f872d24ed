package plan

import (
	"context"
	"fmt"
	"math"
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

	alone    bool            // one thread runs it, which is one of many that do so
	scores   bool            // what a fusion may yet take the place of may be larger than a tensor may be
	ctx      context.Context // of the call that compiles: every pass asks it before every node
	program  *Program
	unrolled int                   // as maxUnrolled counts
	rooms    map[*onnx.Graph]*room // of the bodies met so far
	folded   int64                 // bytes of constants computed so far
}

type value struct {
	ops.Type
	name  string
	konst *ops.Tensor // the value, when it does not depend on the inputs' data

	shared bool // an input that all rows have in common
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
func (p *Program) specialise(ctx context.Context, inputs []ops.Type, known []*ops.Tensor) (*graph, error) {
	g, _, err := p.followed(ctx, inputs, known)
	if err != nil {
		return nil, err
	}
	g.sweep()
	return g, nil
}

// followed is specialise before what nobody needs is dropped, and the values by
// their places in the model.
func (p *Program) followed(ctx context.Context, inputs []ops.Type, known []*ops.Tensor) (*graph, []*value, error) {
	g := &graph{packs: &p.packs, exact: p.options.Exact, scores: true, ctx: ctx, program: p, rooms: map[*onnx.Graph]*room{}}
	values := p.values(p.graph)
	for k, i := range p.graph.Inputs {
		if err := p.checkInput(p.graph.Values[i].Name, inputs[k]); err != nil {
			return nil, nil, err
		}
		values[i] = &value{Type: inputs[k], name: p.graph.Values[i].Name}
		g.in = append(g.in, values[i])
		if known != nil && known[k] != nil { // nothing reads the input itself
			values[i] = &value{Type: inputs[k], name: p.graph.Values[i].Name, konst: known[k]}
		}
	}
	if err := p.follow(g, p.graph, p.nodes, values); err != nil {
		return nil, nil, err
	}
	for _, i := range p.graph.Outputs {
		g.out = append(g.out, values[i])
	}
	return g, values, nil
}

// values is room for the values of a model's graph, or of a body, with its
// constants in place.
func (p *Program) values(m *onnx.Graph) []*value {
	values := make([]*value, len(m.Values))
	weights := p.weights
	if m != p.graph {
		weights = p.bodies[m]
	}
	for i, t := range weights {
		values[i] = &value{Type: t.Type, name: m.Values[i].Name, konst: t}
	}
	return values
}

// follow adds nodes of a model's graph, or of a body, to g, and what they make to
// its values.
func (p *Program) follow(g *graph, m *onnx.Graph, nodes []*onnx.Node, values []*value) error {
	for _, src := range nodes {
		in := make([]*value, len(src.Inputs))
		for j, v := range src.Inputs {
			if v >= 0 {
				in[j] = values[v]
			}
		}
		var out []*value
		var err error
		if ops.Controls(src) {
			out, err = p.control(g, src, in, values)
		} else {
			out, err = g.apply(src, in)
		}
		if err != nil {
			return err
		}
		for j, v := range src.Outputs {
			if v < 0 {
				continue
			}
			values[v] = out[j]
			if out[j].name == "" {
				out[j].name = m.Values[v].Name
			}
		}
	}
	return nil
}

// apply adds a node, unless its outputs can be computed now, and gives them.
func (g *graph) apply(src *onnx.Node, in []*value) ([]*value, error) {
	n := &node{src: src, in: in, out: make([]*value, len(src.Outputs))}
	if err := g.lower(n); err != nil {
		return nil, err
	}
	known := true
	for _, v := range in {
		known = known && (v == nil || v.konst != nil)
	}
	var consts []*ops.Tensor
	if (known || n.kernel.Const != nil) && plain(n.kernel) {
		var err error
		if consts, err = g.fold(n); err != nil {
			return nil, err
		}
	}
	for j, v := range src.Outputs {
		if v < 0 {
			continue
		}
		n.out[j] = &value{Type: n.kernel.Out[j].Plain()}
		if consts != nil {
			n.out[j].konst = consts[j]
		}
	}
	if consts == nil {
		g.nodes = append(g.nodes, n)
	}
	return n.out, nil
}

// plain reports whether a kernel gives its outputs in the Plain layout, the
// only one in which values are folded.
func plain(k *ops.Kernel) bool {
	return !slices.ContainsFunc(k.Out, func(t ops.Type) bool { return t.Layout != ops.Plain })
}

// lower finds the kernel of a node for its inputs as they are now. All passes
// come by here, which is where they stop when the context is done.
func (g *graph) lower(n *node) (err error) {
	defer g.program.guard(n.src, &err)()
	if err := stopped(g.ctx); err != nil {
		return err
	}
	k, err := ops.Lower(g.call(n))
	if err == nil && !(g.scores && ops.Scoring(n.src)) {
		err = g.program.checkElems(n.src, k)
	}
	n.kernel = k
	return err
}

// placeable refuses values larger than a tensor may be, and ends the time when they
// were let pass: who else is to take the place of their nodes has had its turn.
func (g *graph) placeable() error {
	g.scores = false
	for _, n := range g.nodes {
		if err := g.program.checkElems(n.src, n.kernel); err != nil {
			return err
		}
		large := func(v *value) bool { return v != nil && !v.Placeable() }
		if slices.ContainsFunc(n.in, large) || slices.ContainsFunc(n.out, large) {
			if err := g.lower(n); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkInput refuses an input larger than any value may be. Nothing else has
// looked at the product of its extents, which need not fit an int.
func (p *Program) checkInput(name string, t ops.Type) error {
	most := p.options.Elems
	if most <= 0 {
		most = min(math.MaxInt32, math.MaxInt/32)
	}
	n := int64(1)
	for _, d := range t.Shape {
		switch {
		case d < 0:
			return &onnx.FormatError{Msg: fmt.Sprintf("input %q has shape %v", name, t.Shape)}
		case d > 0 && n > math.MaxInt64/int64(d):
			n = math.MaxInt64
		default:
			n *= int64(max(d, 1))
		}
	}
	if n > most {
		return onnx.Over(fmt.Sprintf("elements of input %q, of shape %v", name, t.Shape), "TensorElems", n, most)
	}
	return nil
}

// checkElems refuses values larger than the options allow.
func (p *Program) checkElems(n *onnx.Node, k *ops.Kernel) error {
	for _, t := range k.Out {
		if e := int64(t.Elems()); p.options.Elems > 0 && e > p.options.Elems {
			err := onnx.Over("elements of a tensor", "TensorElems", e, p.options.Elems)
			err.Node = n.Where()
			return err
		}
	}
	return nil
}

// fold is the outputs of a node whose inputs are known.
func (g *graph) fold(n *node) (_ []*ops.Tensor, err error) {
	defer g.program.guard(n.src, &err)()
	if err := g.program.checkElems(n.src, n.kernel); err != nil {
		return nil, err
	}
	return fold(g.ctx, n.kernel, g.args(n), g.reserve)
}

// reserve is asked before memory is taken for what the plan will hold, and some to work
// in for a while.
func (g *graph) reserve(kept, working int64) error {
	g.folded += kept
	return g.program.memory.check(g.program.memory.taken.Load() + g.folded + working)
}

// call is the question to package ops about a node.
func (g *graph) call(n *node) *ops.Call {
	return &ops.Call{Node: n.src, In: g.args(n), Packs: g.packs, Exact: g.exact, Scores: g.scores}
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
	for _, n := range g.nodes {
		g.dropUnread(n, needed)
	}
}

// dropUnread leaves out the further outputs of a node that nobody reads, and
// finds the kernel that need not make them.
func (g *graph) dropUnread(n *node, needed map[*value]bool) {
	less := *n
	for j, v := range n.out {
		if j == 0 || v == nil || needed[v] {
			continue
		}
		if less.src == n.src {
			src := *n.src
			src.Outputs = slices.Clone(src.Outputs)
			less.src, less.out = &src, slices.Clone(n.out)
		}
		less.src.Outputs[j], less.out[j] = -1, nil
	}
	if less.src != n.src && g.lower(&less) == nil {
		*n = less
	}
}
