package onnx

import (
	"cmp"
	"fmt"
	"math"
)

// The proto types hold what the protobuf messages of onnx.proto say, before
// names are resolved and functions inlined. Numbers in the decoders below are
// the field numbers of onnx.proto.

type protoModel struct {
	irVersion                 int64
	producer, producerVersion string
	opset                     map[string]int64
	metadata                  map[string]string
	graph                     *protoGraph
	functions                 map[functionKey]*protoFunction
}

type protoGraph struct {
	name            string
	nodes           []protoNode
	initializers    []protoInitializer
	inputs, outputs []protoValue
	info            []protoValue
}

type protoInitializer struct {
	name   string
	tensor *Tensor
}

type protoValue struct {
	name  string
	dtype DType
	dims  []Dim
	other string // "sequence", … when the type is not a tensor's
}

type protoNode struct {
	name, op, domain, overload string
	in, out                    []string
	attrs                      []protoAttr
}

// protoAttr is an attribute whose value may still be missing: ref names an
// attribute of the enclosing function's call, graph is a body to be built.
type protoAttr struct {
	name, ref string
	val       Attr
	graph     *protoGraph
}

type functionKey struct{ domain, name, overload string }

type protoFunction struct {
	functionKey
	in, out  []string
	defaults []protoAttr
	nodes    []protoNode
	opset    map[string]int64
}

// domainName makes the two spellings of the standard domain one.
func domainName(s string) string {
	if s == "ai.onnx" {
		return ""
	}
	return s
}

func (p *parser) model(msg []byte) *protoModel {
	m := &protoModel{
		opset:     map[string]int64{},
		metadata:  map[string]string{},
		functions: map[functionKey]*protoFunction{},
	}
	var graph *field // last, so that where it is damaged the rest is known
	for f := range p.fields(msg) {
		switch f.num {
		case 1:
			m.irVersion = p.int(f)
		case 2:
			m.producer = p.name(f)
		case 3:
			m.producerVersion = p.name(f)
		case 7:
			if graph != nil {
				p.fail("the model has two graphs, want one")
			}
			graph = &f
		case 8:
			p.opsetImport(p.bytes(f), m.opset)
		case 14:
			k, v := p.entry(p.bytes(f))
			m.metadata[k] = v
		case 25:
			fn := p.function(p.bytes(f))
			if p.err == nil && m.functions[fn.functionKey] != nil {
				p.fail("function %s is defined twice", fn)
			}
			m.functions[fn.functionKey] = fn
		}
	}
	if graph != nil && p.err == nil {
		m.graph = p.graph(p.bytes(*graph))
	}
	switch {
	case p.err != nil:
	case graph == nil:
		p.fail("no graph in %d bytes: not an ONNX model", len(msg))
	case m.irVersion < 1:
		p.fail("ir_version is %d, want at least 1: not an ONNX model", m.irVersion)
	case len(m.opset) == 0 && m.irVersion < 3:
		m.opset[""] = 1 // what models said before opset imports existed
	case len(m.opset) == 0:
		p.fail("the model imports no operator set")
	}
	return m
}

func (p *parser) opsetImport(msg []byte, opset map[string]int64) {
	var domain string
	var version int64
	for f := range p.fields(msg) {
		switch f.num {
		case 1:
			domain = domainName(p.name(f))
		case 2:
			version = p.int(f)
		}
	}
	if old, ok := opset[domain]; ok && old != version {
		p.fail("operator set %q is imported as version %d and as version %d", domain, old, version)
	}
	if version < 1 {
		p.fail("operator set %q is imported as version %d, want at least 1", domain, version)
	}
	opset[domain] = version
}

// entry reads a StringStringEntryProto; metadata values may be any bytes.
func (p *parser) entry(msg []byte) (key, value string) {
	for f := range p.fields(msg) {
		switch f.num {
		case 1:
			key = p.name(f)
		case 2:
			value = p.text(f)
		}
	}
	return key, value
}

// deeper enters a message that may contain itself; it reports whether the
// depth is within the limit. Every call is paired with p.depth--.
func (p *parser) deeper() bool {
	if p.depth++; p.depth > p.lim.Depth {
		p.over("Depth", "depth of subgraphs", int64(p.depth), int64(p.lim.Depth))
	}
	return p.err == nil
}

func (p *parser) graph(msg []byte) *protoGraph {
	g := &protoGraph{}
	defer func() { p.depth-- }()
	if !p.deeper() {
		return g
	}
	for f := range p.fields(msg) {
		switch f.num {
		case 1:
			g.nodes = append(g.nodes, p.node(p.bytes(f), len(g.nodes)))
		case 2:
			g.name = p.name(f)
		case 5:
			name, t := p.tensor(p.bytes(f))
			if p.err == nil && name == "" {
				p.fail("initializer %d has no name", len(g.initializers))
			}
			p.at("initializer %q", name)
			g.initializers = append(g.initializers, protoInitializer{name, t})
		case 11:
			g.inputs = append(g.inputs, p.value(p.bytes(f)))
		case 12:
			g.outputs = append(g.outputs, p.value(p.bytes(f)))
		case 13:
			g.info = append(g.info, p.value(p.bytes(f)))
		case 15:
			if p.err == nil {
				p.err = &UnsupportedError{Msg: "sparse initializers"}
			}
		}
	}
	return g
}

func (p *parser) node(msg []byte, index int) protoNode {
	var n protoNode
	for f := range p.fields(msg) {
		switch f.num {
		case 1:
			n.in = append(n.in, p.name(f))
		case 2:
			n.out = append(n.out, p.name(f))
		case 3:
			n.name = p.name(f)
		case 4:
			n.op = p.ident(f)
		case 5:
			a := p.attr(p.bytes(f))
			for i := range n.attrs {
				if n.attrs[i].name == a.name {
					p.fail("attribute %q is given twice", a.name)
				}
			}
			if n.attrs = append(n.attrs, a); len(n.attrs) > p.lim.NodeAttrs {
				p.over("NodeAttrs", "attributes of a node", int64(len(n.attrs)), int64(p.lim.NodeAttrs))
			}
		case 7:
			n.domain = domainName(p.ident(f))
		case 8:
			n.overload = p.name(f)
		}
	}
	n.name = cmp.Or(n.name, cmp.Or(n.out...))
	if n.op == "" {
		p.fail("the node has no operator type")
	}
	if len(n.out) == 0 {
		p.fail("the node has no outputs")
	}
	if p.err != nil {
		p.at("%s", n.where(index))
	}
	return n
}

func (n *protoNode) where(index int) string {
	if n.name == "" && n.op == "" {
		return fmt.Sprintf("node %d", index)
	}
	return (&Node{Name: n.name, Op: n.op}).Where()
}

// attrFields maps the fields that hold attribute values to the kind they imply.
// Files from before AttributeProto.type existed rely on it.
var attrFields = map[int32]AttrKind{
	2: AttrFloat, 3: AttrInt, 4: AttrString, 5: AttrTensor, 6: AttrGraph,
	7: AttrFloats, 8: AttrInts, 9: AttrStrings,
	10: attrTensors, 11: attrGraphs, 14: attrType, 15: attrTypes, 22: attrSparse, 23: attrSparses,
}

// Kinds that no operator this runtime knows takes: the kind is kept, for the
// operator's table to refuse, the value is not.
const (
	attrTensors AttrKind = 9
	attrGraphs  AttrKind = 10
	attrSparse  AttrKind = 11
	attrSparses AttrKind = 12
	attrType    AttrKind = 13
	attrTypes   AttrKind = 14
)

func (p *parser) attr(msg []byte) protoAttr {
	var a protoAttr
	var kind, found AttrKind
	for f := range p.fields(msg) {
		if k, ok := attrFields[int32(f.num)]; ok {
			found = k
		}
		switch f.num {
		case 1:
			a.name = p.name(f)
		case 21:
			a.ref = p.name(f)
		case 20:
			// No kind is below 0 or above an int32.
			kind = AttrKind(min(max(p.int(f), -1), math.MaxInt32))
		case 2:
			a.val.Float = p.float(f)
		case 3:
			a.val.Int = p.int(f)
		case 4:
			a.val.String = p.text(f)
		case 5:
			_, a.val.Tensor = p.tensor(p.bytes(f))
		case 6:
			a.graph = p.graph(p.bytes(f))
		case 7:
			a.val.Floats = p.floats(f, a.val.Floats)
		case 8:
			a.val.Ints = p.ints(f, a.val.Ints)
		case 9:
			a.val.Strings = append(a.val.Strings, p.text(f))
		}
	}
	if kind == 0 {
		kind = found
	}
	a.val.Kind = kind
	switch {
	case p.err != nil:
	case a.name == "":
		p.fail("an attribute has no name")
	case a.ref != "":
	case kind == 0:
		p.fail("attribute %q has no value", a.name)
	case kind < 0 || kind > attrTypes:
		p.fail("attribute %q has type %d, which ONNX does not define", a.name, kind)
	case kind == AttrTensor && a.val.Tensor == nil, kind == AttrGraph && a.graph == nil:
		p.fail("attribute %q has no value", a.name)
	case found != 0 && found != kind:
		p.fail("attribute %q is declared as type %d and holds a value of type %d", a.name, kind, found)
	}
	return a
}

func (p *parser) value(msg []byte) protoValue {
	var v protoValue
	for f := range p.fields(msg) {
		switch f.num {
		case 1:
			v.name = p.name(f)
		case 2:
			p.typ(p.bytes(f), &v)
		}
	}
	p.at("value %q", v.name)
	return v
}

// typ reads a TypeProto.
func (p *parser) typ(msg []byte, v *protoValue) {
	for f := range p.fields(msg) {
		switch f.num {
		case 1:
			v.other = ""
			for f := range p.fields(p.bytes(f)) {
				switch f.num {
				case 1:
					v.dtype = p.dtype(f)
				case 2:
					v.dims = p.dims(p.bytes(f))
				}
			}
		case 4:
			v.other = "sequence"
		case 5:
			v.other = "map"
		case 7:
			v.other = "opaque"
		case 8:
			v.other = "sparse tensor"
		case 9:
			v.other = "optional"
		}
	}
}

// dims reads a TensorShapeProto.
func (p *parser) dims(msg []byte) []Dim {
	dims := []Dim{}
	for f := range p.fields(msg) {
		if f.num != 1 {
			continue
		}
		d := Dim{Size: -1}
		for f := range p.fields(p.bytes(f)) {
			switch f.num {
			case 1:
				// Some exporters write -1 for a dimension they do not know.
				d = Dim{Size: -1}
				if n := p.int(f); n > p.lim.TensorElems {
					p.over("TensorElems", "size of a dimension", n, p.lim.TensorElems)
				} else if n >= 0 {
					d.Size = int(n)
				}
			case 2:
				d = Dim{Size: -1, Param: p.name(f)}
			}
		}
		if dims = append(dims, d); len(dims) > p.lim.Rank {
			p.over("Rank", "dimensions of a tensor", int64(len(dims)), int64(p.lim.Rank))
		}
	}
	return dims
}

func (p *parser) function(msg []byte) *protoFunction {
	fn := &protoFunction{opset: map[string]int64{}}
	defer func() { p.depth-- }()
	if !p.deeper() {
		return fn
	}
	for f := range p.fields(msg) {
		switch f.num {
		case 1:
			fn.name = p.ident(f)
		case 4:
			fn.in = append(fn.in, p.name(f))
		case 5:
			fn.out = append(fn.out, p.name(f))
		case 7:
			fn.nodes = append(fn.nodes, p.node(p.bytes(f), len(fn.nodes)))
		case 9:
			p.opsetImport(p.bytes(f), fn.opset)
		case 10:
			fn.domain = domainName(p.ident(f))
		case 11:
			fn.defaults = append(fn.defaults, p.attr(p.bytes(f)))
		case 13:
			fn.overload = p.ident(f)
		}
	}
	if fn.name == "" {
		p.fail("a function has no name")
	}
	return fn
}

func (fn *protoFunction) String() string {
	s := fn.name
	if fn.domain != "" {
		s = fn.domain + "." + s
	}
	if fn.overload != "" {
		s += ":" + fn.overload
	}
	return s
}
