package onnx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// builder turns what the parser read into a Graph: names become indices,
// functions are inlined, Constant nodes become weights.
type builder struct {
	p           *parser
	model       *protoModel
	nodes       int // so far, over all graphs
	depth       int
	lifted      map[listData]*Tensor
	unsupported []Unsupported
}

// scope resolves the names of one graph, or of one function call inside a
// graph: a call has names of its own and sees no others.
type scope struct {
	b     *builder
	g     *Graph
	names map[string]int // value index; -1 for a function input left out
	outer *scope         // the scope around a body; nil for a main graph or a call
	call  *call          // the function call this scope is inside of, if any

	// results are the caller's values for a function's outputs that no node
	// has produced yet.
	results map[string]int
}

func formatError(where, format string, args ...any) error {
	return &FormatError{Node: where, Msg: fmt.Sprintf(format, args...)}
}

// graph builds a main graph (outer is nil) or a body.
func (b *builder) graph(pg *protoGraph, outer *scope) (*Graph, error) {
	leave, err := b.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	g := &Graph{Weights: map[int]*Tensor{}}
	s := &scope{b: b, g: g, names: map[string]int{}, outer: outer}
	if outer != nil {
		s.call = outer.call
	}
	for _, init := range pg.initializers {
		v, err := s.define(init.name)
		if err != nil {
			return nil, err
		}
		s.weight(v, init.tensor)
	}
	inputs := map[string]bool{}
	for _, in := range pg.inputs {
		switch {
		case in.name == "":
			return nil, formatError("", "graph input %d has no name", len(inputs))
		case inputs[in.name]:
			return nil, formatError("", "graph input %q is listed twice", in.name)
		}
		inputs[in.name] = true
		// Before IR version 4 every initializer had to be listed as an input
		// too; it is a weight all the same.
		if v, ok := s.names[in.name]; ok && g.Weights[v] != nil {
			continue
		}
		if in.other != "" {
			b.unsupported = append(b.unsupported, Unsupported{Reason: fmt.Sprintf("graph input %q is of type %s, want a tensor", in.name, in.other)})
		}
		v, err := s.define(in.name)
		if err != nil {
			return nil, err
		}
		g.Inputs = append(g.Inputs, v)
		s.declare(in)
	}
	if err := s.nodes(pg.nodes); err != nil {
		return nil, err
	}
	for _, out := range pg.outputs {
		v, err := s.lookup(out.name)
		switch {
		case err != nil:
			return nil, err
		case v < 0:
			return nil, formatError("", "graph output %q is a function input left out", out.name)
		}
		if out.other != "" {
			b.unsupported = append(b.unsupported, Unsupported{Reason: fmt.Sprintf("graph output %q is of type %s, want a tensor", out.name, out.other)})
		}
		g.Outputs = append(g.Outputs, v)
		s.declare(out)
	}
	if len(g.Outputs) == 0 {
		return nil, formatError("", "the graph has no outputs")
	}
	for _, info := range pg.info {
		s.declare(info)
	}
	if err := order(g); err != nil {
		return nil, err
	}
	return g, throughOnnxGo(b.p.ctx, g)
}

// listed is a graph as far as it was read, and as it stands in the file: a value for
// each name, whoever makes it.
func (pg *protoGraph) listed(opset map[string]int64) *Graph {
	g := &Graph{Weights: map[int]*Tensor{}}
	values := map[string]int{"": -1}
	value := func(name string) int {
		v, ok := values[name]
		if !ok {
			v = len(g.Values)
			values[name] = v
			g.Values = append(g.Values, Value{Name: name})
		}
		return v
	}
	all := func(names []string) []int {
		list := make([]int, len(names))
		for i, name := range names {
			list[i] = value(name)
		}
		return list
	}
	declared := func(list []protoValue) (of []int) {
		for _, pv := range list {
			if v := value(pv.name); v >= 0 {
				g.Values[v].DType, g.Values[v].Dims = pv.dtype, pv.dims
				of = append(of, v)
			}
		}
		return of
	}
	for _, init := range pg.initializers {
		if v := value(init.name); v >= 0 {
			g.Weights[v] = &Tensor{DType: init.tensor.DType, Shape: init.tensor.Shape}
		}
	}
	declared(pg.info)
	for _, v := range declared(pg.inputs) {
		if g.Weights[v] == nil {
			g.Inputs = append(g.Inputs, v)
		}
	}
	g.Outputs = declared(pg.outputs)
	for _, pn := range pg.nodes {
		if pn.op == "" {
			continue // where reading stopped
		}
		n := Node{Name: pn.name, Op: pn.op, Domain: pn.domain, Version: opset[pn.domain], Inputs: all(pn.in), Outputs: all(pn.out), Attrs: map[string]Attr{}}
		for _, a := range pn.attrs {
			val := Attr{Kind: a.val.Kind}
			if a.graph != nil {
				val.Graph = a.graph.listed(opset)
			}
			n.Attrs[a.name] = val
		}
		g.Nodes = append(g.Nodes, n)
	}
	return g
}

// enter goes one level down, into a body or a call.
func (b *builder) enter() (leave func(), err error) {
	if b.depth++; b.depth > b.p.lim.Depth {
		return nil, Over("depth of subgraphs and function calls", "Depth", int64(b.depth), int64(b.p.lim.Depth))
	}
	return func() { b.depth-- }, nil
}

// define makes the value that name stands for in s. Every value is made once.
func (s *scope) define(name string) (int, error) {
	if v, ok := s.results[name]; ok {
		delete(s.results, name)
		if _, ok := s.names[name]; !ok {
			s.names[name] = v
			return v, nil
		}
	}
	if _, ok := s.names[name]; ok {
		return 0, formatError("", "value %q is made twice, want once", name)
	}
	full := name
	if s.call != nil && s.outer == nil {
		full = s.call.prefix + name
		if !s.b.p.chargeName(len(full)) {
			return 0, s.b.p.err
		}
	}
	if !s.b.p.charge(1) {
		return 0, s.b.p.err
	}
	v := len(s.g.Values)
	s.g.Values = append(s.g.Values, Value{Name: full})
	s.names[name] = v
	return v, nil
}

// lookup finds the value that name stands for, in the graphs around s too.
func (s *scope) lookup(name string) (int, error) {
	if v, ok := s.names[name]; ok {
		return v, nil
	}
	if s.outer == nil {
		return 0, formatError("", "value %q is computed by no node and is no input", name)
	}
	o, err := s.outer.lookup(name)
	if err != nil || o < 0 {
		return o, err
	}
	if !s.b.p.charge(1) {
		return 0, s.b.p.err
	}
	v := len(s.g.Values)
	s.g.Values = append(s.g.Values, s.outer.g.Values[o])
	s.g.Captures = append(s.g.Captures, Capture{Outer: o, Value: v})
	s.names[name] = v
	return v, nil
}

// weight makes v a constant, whose own type is better than any declared one.
func (s *scope) weight(v int, t *Tensor) {
	s.g.Weights[v] = t
	val := &s.g.Values[v]
	val.DType = t.DType
	val.Dims = make([]Dim, len(t.Shape))
	for i, d := range t.Shape {
		val.Dims[i].Size = d
	}
}

// declare notes what the file says of a value; of values that do not exist,
// exporters leave declarations behind.
func (s *scope) declare(pv protoValue) {
	v, ok := s.names[pv.name]
	if !ok || v < 0 || s.g.Weights[v] != nil {
		return
	}
	val := &s.g.Values[v]
	if val.DType == 0 {
		val.DType = pv.dtype
	}
	if val.Dims == nil {
		val.Dims = pv.dims
	}
}

// nodes adds the nodes of a graph or function body, in any order: all outputs
// are named first, then inputs are resolved.
func (s *scope) nodes(list []protoNode) error {
	p := s.b.p
	if s.b.nodes += len(list); s.b.nodes > p.lim.Nodes {
		return Over("nodes", "Nodes", int64(s.b.nodes), int64(p.lim.Nodes))
	}
	outputs := make([][]int, len(list))
	for i := range list {
		if p.stopped() {
			return p.err
		}
		n := &list[i]
		if !p.charge(len(n.in) + len(n.out) + len(n.attrs)) {
			return p.err
		}
		outputs[i] = make([]int, len(n.out))
		for j, name := range n.out {
			outputs[i][j] = -1
			if name == "" {
				continue
			}
			v, err := s.define(name)
			if err != nil {
				return s.at(err, n, i)
			}
			outputs[i][j] = v
		}
	}
	for i := range list {
		if p.stopped() {
			return p.err
		}
		if err := s.node(&list[i], i, outputs[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *scope) where(n *protoNode, i int) string {
	where := n.where(i)
	if s.call != nil {
		where += " in function " + s.call.fn.String()
	}
	return where
}

// at says which node an error is about, if it does not say so itself.
func (s *scope) at(err error, n *protoNode, i int) error {
	if fe, ok := errors.AsType[*FormatError](err); ok && fe.Node == "" {
		fe.Node = s.where(n, i)
	}
	return err
}

func (s *scope) node(n *protoNode, i int, outputs []int) error {
	inputs := make([]int, len(n.in))
	for j, name := range n.in {
		inputs[j] = -1
		if name == "" {
			continue
		}
		v, err := s.lookup(name)
		if err != nil {
			return s.at(err, n, i)
		}
		inputs[j] = v
	}
	// A function of an operator's name stands in for the operator: onnx.proto leaves
	// it open, and what a file defines itself it means.
	if fn := s.b.model.functions[functionKey{n.domain, n.op, n.overload}]; fn != nil && n.domain != Reserved {
		return s.inline(fn, n, i, inputs, outputs)
	}
	version, err := s.version(n.domain)
	if err != nil {
		return formatError(s.where(n, i), "%v", err)
	}
	attrs, err := s.attrs(n, i)
	if err != nil {
		return err
	}
	if n.op == "Constant" && n.domain == "" {
		return s.constant(n, i, version, attrs, outputs)
	}
	name, err := s.nodeName(n)
	if err != nil {
		return err
	}
	s.g.Nodes = append(s.g.Nodes, Node{
		Name: name, Op: n.op, Domain: n.domain, Version: version,
		Inputs: inputs, Outputs: outputs, Attrs: attrs,
	})
	return nil
}

func (s *scope) nodeName(n *protoNode) (string, error) {
	if s.call == nil {
		return n.name, nil
	}
	name := s.call.prefix + n.name
	if !s.b.p.chargeName(len(name)) {
		return "", s.b.p.err
	}
	return name, nil
}

// version is the operator set version imported for a domain: by the function
// whose body this is, else by the model. Of a domain that is not the standard's, all
// that it is for is to be told: 0 for none.
func (s *scope) version(domain string) (int64, error) {
	if s.call != nil {
		if v, ok := s.call.fn.opset[domain]; ok {
			return v, nil
		}
	}
	v, ok := s.b.model.opset[domain]
	if !ok && domain == "" {
		return 0, errors.New(`the model imports no operator set for domain "ai.onnx"`)
	}
	return v, nil
}

// attrs resolves a node's attributes: references to a function call's
// attributes are replaced, bodies are built.
func (s *scope) attrs(n *protoNode, i int) (map[string]Attr, error) {
	if len(n.attrs) == 0 {
		return nil, nil
	}
	attrs := make(map[string]Attr, len(n.attrs))
	for j := range n.attrs {
		a := &n.attrs[j]
		val := a.val
		switch {
		case a.ref != "":
			if s.call == nil {
				return nil, formatError(s.where(n, i), "attribute %q refers to %q of a function, and this is not one", a.name, a.ref)
			}
			given, ok := s.call.attrs[a.ref]
			if !ok {
				continue // the caller left it out
			}
			if val.Kind != 0 && val.Kind != given.Kind {
				return nil, formatError(s.where(n, i), "attribute %q is of type %v, and its caller gives type %v", a.name, val.Kind, given.Kind)
			}
			val = given
		case a.graph != nil:
			body, err := s.b.graph(a.graph, s)
			if err != nil {
				return nil, s.at(err, n, i)
			}
			val.Graph = body
		}
		attrs[a.name] = val
	}
	return attrs, nil
}

// constant makes the output of a Constant node a weight.
func (s *scope) constant(n *protoNode, i int, version int64, attrs map[string]Attr, outputs []int) error {
	if len(n.in) != 0 || len(outputs) != 1 || outputs[0] < 0 {
		return formatError(s.where(n, i), "%d inputs and %d outputs, want none and one", len(n.in), len(outputs))
	}
	if len(attrs) != 1 {
		return formatError(s.where(n, i), "%d attributes, want the value alone", len(attrs))
	}
	for name, a := range attrs {
		t, known := s.b.constantTensor(name, a)
		switch {
		case t != nil:
			s.weight(outputs[0], t)
		case known:
			s.b.unsupported = append(s.b.unsupported, Unsupported{
				Node: n.name, Op: n.op, Domain: n.domain, Version: version, Reason: "sparse tensors",
			})
		default:
			return formatError(s.where(n, i), "attribute %q of type %v is not a form of constant", name, a.Kind)
		}
	}
	return nil
}

// listData identifies the list that an attribute holds, by its first element:
// a function called often makes one tensor of it, not many.
type listData struct {
	floats *float32
	ints   *int64
}

// constantTensor is the tensor that an attribute of a Constant node stands
// for. It is nil, and known, for the sparse form.
func (b *builder) constantTensor(name string, a Attr) (t *Tensor, known bool) {
	type form struct {
		name string
		kind AttrKind
	}
	switch (form{name, a.Kind}) {
	case form{"value", AttrTensor}:
		return a.Tensor, true
	case form{"value_float", AttrFloat}:
		return b.list(Float, []float32{a.Float}, nil, nil), true
	case form{"value_floats", AttrFloats}:
		return b.list(Float, a.Floats, nil, []int{len(a.Floats)}), true
	case form{"value_int", AttrInt}:
		return b.list(Int64, nil, []int64{a.Int}, nil), true
	case form{"value_ints", AttrInts}:
		return b.list(Int64, nil, a.Ints, []int{len(a.Ints)}), true
	case form{"value_string", AttrString}:
		return &Tensor{DType: String}, true
	case form{"value_strings", AttrStrings}:
		return &Tensor{DType: String, Shape: []int{len(a.Strings)}}, true
	case form{"sparse_value", attrSparse}:
		return nil, true
	}
	return nil, false
}

// list stores floats, or else ints, as a tensor.
func (b *builder) list(dtype DType, floats []float32, ints []int64, shape []int) *Tensor {
	var key listData
	t := &Tensor{DType: dtype, Shape: shape}
	if len(floats) > 0 {
		key.floats = &floats[0]
	}
	if len(ints) > 0 {
		key.ints = &ints[0]
	}
	if old := b.lifted[key]; old != nil {
		return old
	}
	t.Raw = make([]byte, 0, 4*len(floats)+8*len(ints))
	for _, v := range floats {
		t.Raw = binary.LittleEndian.AppendUint32(t.Raw, math.Float32bits(v))
	}
	for _, v := range ints {
		t.Raw = binary.LittleEndian.AppendUint64(t.Raw, uint64(v))
	}
	if len(t.Raw) > 0 && shape != nil {
		b.lifted[key] = t
	}
	return t
}

// order sorts the nodes so that every value is made before it is used, and
// otherwise leaves them as they are in the file.
func order(g *Graph) error {
	producer := make([]int, len(g.Values))
	for i := range producer {
		producer[i] = -1
	}
	for i := range g.Nodes {
		for _, v := range g.Nodes[i].Outputs {
			if v >= 0 {
				producer[v] = i
			}
		}
	}
	deps := make([][]int, len(g.Nodes))
	for i := range g.Nodes {
		n := &g.Nodes[i]
		deps[i] = n.Inputs
		var captured []int
		for _, a := range n.Attrs {
			if a.Graph == nil {
				continue
			}
			for _, c := range a.Graph.Captures {
				captured = append(captured, c.Outer)
			}
		}
		if len(captured) > 0 {
			slices.Sort(captured) // attributes come in any order
			deps[i] = slices.Concat(n.Inputs, slices.Compact(captured))
		}
	}
	// Depth first without recursion: a chain may be as long as the graph.
	const started, done = 1, 2
	state := make([]byte, len(g.Nodes))
	sorted := make([]Node, 0, len(g.Nodes))
	type step struct{ node, next int }
	var stack []step
	for first := range g.Nodes {
		if state[first] == done {
			continue
		}
		stack = append(stack, step{node: first})
		state[first] = started
	visit:
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			for top.next < len(deps[top.node]) {
				v := deps[top.node][top.next]
				top.next++
				if v < 0 || producer[v] < 0 || state[producer[v]] == done {
					continue
				}
				m := producer[v]
				if state[m] == started {
					return formatError(g.Nodes[m].Where(), "its input %q depends on its own output", g.Values[v].Name)
				}
				state[m] = started
				stack = append(stack, step{node: m})
				continue visit
			}
			state[top.node] = done
			sorted = append(sorted, g.Nodes[top.node])
			stack = stack[:len(stack)-1]
		}
	}
	g.Nodes = sorted
	return nil
}
