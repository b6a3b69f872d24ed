package plan

import (
	"errors"
	"maps"
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// The fusions, in order. Each looks for its pattern ending at a node and
// returns the node that computes the same, or nil. The pattern's other nodes
// fall to the sweep when nobody else reads them.
var fusions = []struct {
	name string
	try  func(*matcher, *node) *node
}{
	{"sum with zeros", fuseZeros},
	{"FIR", fuseFIR},
	{"FIR, depthwise", fuseSharedFilter},
	{"NIN", fuseNIN},
	{"rotary", fuseRotary},
	{"attention", fuseAttention},
	{"product of views", fuseProduct},
	{"SiLU", fuseSiLU},
	{"GroupNorm", fuseGroupNorm},
	{"GroupNorm+SiLU", fuseGroupNormSiLU},
	{"Conv+Add", fuseConvAdd},
	{"Conv+scale", fuseConvScale},
	{"Conv+activation", fuseConvAct},
	{"Add+GroupNorm", fuseAddGroupNorm},
	{"LayerNorm", fuseLayerNorm},
	{"LayerNorm·scale", fuseRowScale},
	{"LayerNorm+shift", fuseRowShift},
	{"InstanceNorm++", fuseInstanceNormPlus},
	{"InstanceNorm++, affine", fuseInstanceNormPlusAffine},
	{"InstanceNorm++ and activation", fuseInstanceNormPlusAct},
	{"mean pooling", fuseMeanPool},
	{"means of blocks", fuseBlockMean},
	{"repeated pixels", fuseRepeat},
	{"GELU", fuseGelu},
	{"Linear", fuseLinear},
}

// fuse rewrites convolutions over three axes, then patterns of nodes as one node each.
func (g *graph) fuse() error {
	if err := g.planes(); err != nil {
		return err
	}
	if err := g.join(func(*node) bool { return true }); err != nil {
		return err
	}
	return g.placeable()
}

// join is fuse for the patterns that become a node of which want is true. Before
// differentiation these are the nodes that have a derivative: it is then taken of
// one GroupNorm instead of seven nodes, and nothing in between is kept for it.
func (g *graph) join(want func(*node) bool) error {
	m := newMatcher(g)
	for _, f := range fusions {
		for i, n := range g.nodes {
			if n.out[0] == nil { // only later outputs are read: no pattern ends so
				continue
			}
			if err := stopped(g.ctx); err != nil {
				return err
			}
			m.left = reach
			fused := f.try(m, n)
			if fused == nil || !want(fused) {
				continue
			}
			if err := g.lower(fused); err != nil {
				if refused(err) {
					continue // the nodes run as they are
				}
				return err
			}
			g.nodes[i] = fused
			m.maker[fused.out[0]] = fused
		}
		g.sweep()
		m.read(g)
	}
	return nil
}

// refused reports whether an operator does not go together with its shapes.
func refused(err error) bool {
	var u *onnx.UnsupportedError
	var l *onnx.LimitError
	return errors.As(err, &u) || errors.As(err, &l)
}

// matcher answers who makes and who reads a value.
type matcher struct {
	maker   map[*value]*node
	readers map[*value]int // the graph's outputs count as readers
	reader  map[*value]*node
	packs   *ops.Packs
	left    int // how many nodes more are looked at for the pattern that is tried
}

// reach is how many nodes a pattern is looked for among, four times what any takes: a long
// chain of nodes that may belong to one would be walked from each of them.
const reach = 128

// made is the node that makes v, for walks up from a node; nil when they go on too long.
func (m *matcher) made(v *value) *node {
	if m.left--; m.left < 0 {
		return nil
	}
	return m.maker[v]
}

func newMatcher(g *graph) *matcher {
	m := &matcher{map[*value]*node{}, map[*value]int{}, map[*value]*node{}, g.packs, reach}
	m.read(g)
	return m
}

// read makes m answer for g as it is now.
func (m *matcher) read(g *graph) {
	clear(m.maker)
	clear(m.readers)
	clear(m.reader)
	for _, n := range g.nodes {
		for _, v := range n.out {
			if v != nil {
				m.maker[v] = n
			}
		}
		for _, v := range n.in {
			m.readers[v]++
			m.reader[v] = n
		}
	}
	for _, v := range g.out {
		m.readers[v]++
	}
}

// from is the node that makes v, when it is the given operator and v has that
// many readers; 0 allows any number.
func (m *matcher) from(v *value, domain, op string, readers int) *node {
	n := m.made(v)
	if n == nil || n.src.Domain != domain || n.src.Op != op || n.out[0] != v || readers > 0 && m.readers[v] != readers {
		return nil
	}
	return n
}

// fusedNode is a node of the Fused domain that takes the place of last.
func fusedNode(last *node, op string, attrs map[string]onnx.Attr, in ...*value) *node {
	return &node{
		src: &onnx.Node{Name: last.src.Name, Op: op, Domain: ops.Fused, Version: 1, Attrs: attrs,
			Inputs: make([]int, len(in)), Outputs: make([]int, 1)},
		in:  in,
		out: last.out[:1],
	}
}

func intAttr(v int) onnx.Attr       { return onnx.Attr{Kind: onnx.AttrInt, Int: int64(v)} }
func strAttr(v string) onnx.Attr    { return onnx.Attr{Kind: onnx.AttrString, String: v} }
func floatAttr(v float32) onnx.Attr { return onnx.Attr{Kind: onnx.AttrFloat, Float: v} }

// fuseSiLU: x·sigmoid(x), as every exporter writes it.
func fuseSiLU(m *matcher, n *node) *node {
	if n.src.Domain != "" || n.src.Op != "Mul" {
		return nil
	}
	for i := range 2 {
		x, y := n.in[i], n.in[1-i]
		if s := m.from(y, "", "Sigmoid", 1); s != nil && s.in[0] == x && ops.IsFloat32(x.DType) {
			return fusedNode(n, "SiLU", nil, x)
		}
	}
	return nil
}

// fuseZeros: x + 0, as networks write it that sum up in a loop. That −0 + 0 is 0 is
// given up.
func fuseZeros(m *matcher, n *node) *node {
	x, zeros := m.affine(n, "Add")
	if x == nil || !all(zeros, 0) || !slices.Equal(x.Shape, n.out[0].Shape) {
		return nil
	}
	return standardNode(n, "Identity", 13, nil, x)
}

// fuseGroupNorm: both of PyTorch's exporters write GroupNorm(x, γ, β) as
//
//	Reshape x to [N, G, …] → InstanceNormalization(1, 0) → Reshape back → Mul γ → Add β
//
// with γ and β of shape [C, 1, 1].
func fuseGroupNorm(m *matcher, add *node) *node {
	mul, beta := m.affine(add, "Add")
	if mul == nil {
		return nil
	}
	back, gamma := m.affine(m.from(mul, "", "Mul", 1), "Mul")
	if back == nil {
		return nil
	}
	reshape := m.from(back, "", "Reshape", 1)
	if reshape == nil {
		return nil
	}
	norm := m.from(reshape.in[0], "", "InstanceNormalization", 1)
	if norm == nil || !all(norm.in[1], 1) || !all(norm.in[2], 0) {
		return nil
	}
	split := m.from(norm.in[0], "", "Reshape", 0)
	if split == nil {
		return nil
	}
	x, groups := split.in[0], split.out[0].Shape[1]
	if !ops.IsFloat32(x.DType) || len(x.Shape) < 3 || !slices.Equal(x.Shape, reshape.out[0].Shape) ||
		split.out[0].Shape[0] != x.Shape[0] || groups == 0 || x.Shape[1]%groups != 0 {
		return nil
	}
	gamma, beta = perChannel(gamma, x.Shape), perChannel(beta, x.Shape)
	if gamma == nil || beta == nil {
		return nil
	}
	eps := float32(1e-5)
	if a, ok := norm.src.Attrs["epsilon"]; ok {
		eps = a.Float
	}
	return fusedNode(add, "GroupNorm", map[string]onnx.Attr{
		"epsilon": floatAttr(eps), "groups": intAttr(groups), "silu": intAttr(0)}, x, gamma, beta)
}

func fuseGroupNormSiLU(m *matcher, n *node) *node {
	if n.src.Domain != ops.Fused || n.src.Op != "SiLU" {
		return nil
	}
	norm := m.from(n.in[0], ops.Fused, "GroupNorm", 1)
	if norm == nil {
		return nil
	}
	attrs := map[string]onnx.Attr{"silu": intAttr(1), "epsilon": norm.src.Attrs["epsilon"], "groups": norm.src.Attrs["groups"]}
	return fusedNode(n, "GroupNorm", attrs, norm.in...)
}

// conv is the convolution that makes v for one reader alone, joined with
// something already or not, when it is float32.
func (m *matcher) conv(v *value) *node {
	n := m.from(v, "", "Conv", 1)
	if n == nil {
		n = m.from(v, ops.Fused, "Conv", 1)
	}
	if n == nil || !ops.IsFloat32(v.DType) {
		return nil
	}
	return n
}

// withConv is conv ending where last ends, with an input or an attribute more.
func withConv(last, conv *node, add *value, name string, a onnx.Attr) *node {
	attrs := maps.Clone(conv.src.Attrs)
	if attrs == nil {
		attrs = map[string]onnx.Attr{}
	}
	if name != "" {
		attrs[name] = a
	}
	in := slices.Clone(conv.in)
	if add != nil {
		in = append(in, nil)[:3]
		in = append(in, add)
	}
	return fusedNode(last, "Conv", attrs, in...)
}

// fuseConvAdd: a residual added to a convolution is added while its output is
// still in registers.
func fuseConvAdd(m *matcher, n *node) *node {
	if n.src.Domain != "" || n.src.Op != "Add" {
		return nil
	}
	for i := range 2 {
		c, other := m.conv(n.in[1-i]), n.in[i]
		if c != nil && len(c.in) < 4 && other.konst == nil && slices.Equal(other.Shape, n.out[0].Shape) && slices.Equal(n.in[1-i].Shape, other.Shape) {
			return withConv(n, c, other, "", onnx.Attr{})
		}
	}
	return nil
}

// fuseConvScale: score_sde divides by √2 after each residual.
func fuseConvScale(m *matcher, n *node) *node {
	if n.src.Domain != "" || n.src.Op != "Mul" && n.src.Op != "Div" {
		return nil
	}
	for i := range 2 {
		c, scale := m.conv(n.in[i]), n.in[1-i]
		if c == nil || scale.konst == nil || scale.Elems() != 1 || len(scale.Shape) > len(n.in[i].Shape) ||
			n.src.Op == "Div" && i == 1 || hasAttr(c, "act") || hasAttr(c, "out_scale") {
			continue
		}
		s := ops.Data[float32](scale.konst)[0]
		if n.src.Op == "Div" {
			s = float32(1 / float64(s))
		}
		return withConv(n, c, nil, "out_scale", floatAttr(s))
	}
	return nil
}

// convActs are the activations that a convolution can end with.
var convActs = map[string]string{"SiLU": "silu", "Relu": "relu", "Elu": "elu", "Tanh": "tanh"}

func fuseConvAct(m *matcher, n *node) *node {
	act := convActs[n.src.Op]
	if act == "" || n.src.Domain != "" && n.src.Domain != ops.Fused {
		return nil
	}
	if a, ok := n.src.Attrs["alpha"]; ok && a.Float != 1 {
		return nil
	}
	c := m.conv(n.in[0])
	if c == nil || hasAttr(c, "act") {
		return nil
	}
	return withConv(n, c, nil, "act", strAttr(act))
}

func hasAttr(n *node, name string) bool { _, ok := n.src.Attrs[name]; return ok }

// affine splits a binary node into its computed and its constant operand.
func (m *matcher) affine(n *node, op string) (x, c *value) {
	if n == nil || n.src.Domain != "" || n.src.Op != op {
		return nil, nil
	}
	for i := range 2 {
		if n.in[i].konst == nil && n.in[1-i].konst != nil {
			return n.in[i], n.in[1-i]
		}
	}
	return nil, nil
}

// all reports whether v is a float32 constant whose elements all are x.
func all(v *value, x float32) bool {
	if v.konst == nil || !ops.IsFloat32(v.DType) {
		return false
	}
	for _, e := range ops.Data[float32](v.konst) {
		if e != x {
			return false
		}
	}
	return true
}

// perChannel is a constant that broadcasts along the channels of an x of that
// shape, as a vector; nil when it varies along another axis.
func perChannel(v *value, x []int) *value {
	lead := len(x) - len(v.Shape)
	if lead < 0 || lead > 1 {
		return nil
	}
	for i, d := range v.Shape {
		if want := map[bool]int{true: x[1], false: 1}[i+lead == 1]; d != want {
			return nil
		}
	}
	t := ops.Type{DType: v.DType, Shape: []int{x[1]}}
	return &value{Type: t, name: v.name, konst: v.konst.As(t)}
}
