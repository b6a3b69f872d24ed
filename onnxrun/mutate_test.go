package onnxrun_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// A protoTree is a protobuf message as a tree, so that a mutation deep inside
// leaves every length around it right.
type protoTree struct {
	kind   string // of onnx.proto, a key of schema
	fields []fieldOf
}

type fieldOf struct {
	num protowire.Number
	typ protowire.Type
	v   uint64
	b   []byte
	msg *protoTree // in place of b, where schema knows the field as a message
}

// schema names the fields of onnx.proto that are messages.
var schema = map[string]map[protowire.Number]string{
	"Model":      {7: "Graph", 8: "Opset", 14: "Entry", 25: "Function"},
	"Graph":      {1: "Node", 5: "Tensor", 11: "Value", 12: "Value", 13: "Value"},
	"Node":       {5: "Attr"},
	"Attr":       {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph"},
	"Tensor":     {13: "Entry"},
	"Value":      {2: "Type"},
	"Type":       {1: "TensorType"},
	"TensorType": {2: "Shape"},
	"Shape":      {1: "Dim"},
	"Dim":        {},
	"Opset":      {},
	"Entry":      {},
	"Function":   {7: "Node", 9: "Opset", 11: "Attr"},
}

// readMessage is nil when b is no such message.
func readMessage(kind string, b []byte) *protoTree {
	m := &protoTree{kind: kind}
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil
		}
		b = b[n:]
		f := fieldOf{num: num, typ: typ}
		switch typ {
		case protowire.VarintType:
			f.v, n = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(b)
			f.v = uint64(v)
		case protowire.Fixed64Type:
			f.v, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			f.b, n = protowire.ConsumeBytes(b)
		default:
			return nil
		}
		if n < 0 {
			return nil
		}
		b = b[n:]
		if inner := schema[kind][num]; inner != "" && typ == protowire.BytesType {
			if f.msg = readMessage(inner, f.b); f.msg != nil {
				f.b = nil
			}
		}
		m.fields = append(m.fields, f)
	}
	return m
}

func (m *protoTree) append(b []byte) []byte {
	for i := range m.fields {
		f := &m.fields[i]
		b = protowire.AppendTag(b, f.num, f.typ)
		switch {
		case f.msg != nil:
			b = protowire.AppendBytes(b, f.msg.append(nil))
		case f.typ == protowire.VarintType:
			b = protowire.AppendVarint(b, f.v)
		case f.typ == protowire.Fixed32Type:
			b = protowire.AppendFixed32(b, uint32(f.v))
		case f.typ == protowire.Fixed64Type:
			b = protowire.AppendFixed64(b, f.v)
		default:
			b = protowire.AppendBytes(b, f.b)
		}
	}
	return b
}

// clone copies the tree; the bytes of fields are shared and never written.
func (m *protoTree) clone() *protoTree {
	c := &protoTree{m.kind, slices.Clone(m.fields)}
	for i := range c.fields {
		if c.fields[i].msg != nil {
			c.fields[i].msg = c.fields[i].msg.clone()
		}
	}
	return c
}

// walk calls f for the message and every one inside it.
func (m *protoTree) walk(f func(*protoTree)) {
	f(m)
	for i := range m.fields {
		if m.fields[i].msg != nil {
			m.fields[i].msg.walk(f)
		}
	}
}

// all are the messages of some kinds.
func (m *protoTree) all(kinds ...string) (list []*protoTree) {
	m.walk(func(x *protoTree) {
		if slices.Contains(kinds, x.kind) {
			list = append(list, x)
		}
	})
	return list
}

// at are the places of the fields with one of these numbers.
func (m *protoTree) at(nums ...protowire.Number) (list []int) {
	for i := range m.fields {
		if slices.Contains(nums, m.fields[i].num) {
			list = append(list, i)
		}
	}
	return list
}

func (m *protoTree) text(num protowire.Number) string {
	for i := range m.fields {
		if m.fields[i].num == num {
			return string(m.fields[i].b)
		}
	}
	return ""
}

func (m *protoTree) number(num protowire.Number) uint64 {
	for i := range m.fields {
		if m.fields[i].num == num {
			return m.fields[i].v
		}
	}
	return 0
}

func (m *protoTree) set(f fieldOf) {
	for i := range m.fields {
		if m.fields[i].num == f.num {
			m.fields[i] = f
			return
		}
	}
	m.fields = append(m.fields, f)
}

func (m *protoTree) drop(i int) { m.fields = slices.Delete(m.fields, i, i+1) }

func textField(num protowire.Number, s string) fieldOf {
	return fieldOf{num: num, typ: protowire.BytesType, b: []byte(s)}
}

func intField(num protowire.Number, v int64) fieldOf {
	return fieldOf{num: num, typ: protowire.VarintType, v: uint64(v)}
}

func messageField(num protowire.Number, m *protoTree) fieldOf {
	return fieldOf{num: num, typ: protowire.BytesType, msg: m}
}

// extremes are where sizes, axes, kinds and versions break.
var extremes = []int64{0, 1, -1, 2, 3, -2, 7, 8, 9, 16, 17, 31, 32, 64, 127, 128, 255, 1000, 4097, 65536, 1 << 20, 1 << 24, 1<<31 - 1, 1 << 31,
	-1 << 31, 1<<32 - 1, 1 << 32, 1<<32 + 1, 1 << 40, 1 << 61, 1 << 62, math.MaxInt64, math.MaxInt64 - 1, math.MinInt64, math.MinInt64 + 1}

var extremeFloats = []float64{0, math.Copysign(0, -1), 1, -1, 0.5, 2, 1e-30, 1e30, -1e30, 3e9, 1e19, math.MaxFloat32, math.Inf(1), math.Inf(-1), math.NaN(),
	math.SmallestNonzeroFloat32}

func anyOf[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// A mutation changes a model in one way; false when it finds nothing to change.
// ops are the operator names of all seeds.
type mutation struct {
	name   string
	weight int
	do     func(r *rand.Rand, m *protoTree, ops []string) bool
}

// structural are the mutations of a tree.
var structural = []mutation{
	{"field deleted", 4, func(r *rand.Rand, m *protoTree, _ []string) bool {
		return anyField(r, m, func(x *protoTree, i int) { x.drop(i) })
	}},
	{"field duplicated", 3, func(r *rand.Rand, m *protoTree, _ []string) bool {
		return anyField(r, m, func(x *protoTree, i int) {
			f := x.fields[i]
			if f.msg != nil {
				f.msg = f.msg.clone()
			}
			x.fields = slices.Insert(x.fields, i, f)
		})
	}},
	{"fields swapped", 3, func(r *rand.Rand, m *protoTree, _ []string) bool {
		return anyField(r, m, func(x *protoTree, i int) {
			j := r.IntN(len(x.fields))
			x.fields[i], x.fields[j] = x.fields[j], x.fields[i]
		})
	}},
	{"field renumbered", 2, func(r *rand.Rand, m *protoTree, _ []string) bool {
		return anyField(r, m, func(x *protoTree, i int) { x.fields[i].num = protowire.Number(1 + r.IntN(26)) })
	}},
	{"field retyped", 2, func(r *rand.Rand, m *protoTree, _ []string) bool {
		return anyField(r, m, func(x *protoTree, i int) {
			x.fields[i] = fieldOf{num: x.fields[i].num, typ: anyOf(r, []protowire.Type{protowire.VarintType, protowire.Fixed32Type,
				protowire.Fixed64Type, protowire.BytesType}), v: uint64(anyOf(r, extremes)), b: []byte{1, 2}}
		})
	}},
	{"number to an extreme", 6, func(r *rand.Rand, m *protoTree, _ []string) bool {
		return anyField(r, m, func(x *protoTree, i int) {
			if x.fields[i].typ == protowire.VarintType {
				x.fields[i].v = uint64(anyOf(r, extremes))
			}
		})
	}},
	{"dimension to an extreme", 8, mutateDim},
	{"attribute to an extreme", 16, mutateAttr},
	{"attribute to another's value", 4, func(r *rand.Rand, m *protoTree, _ []string) bool {
		list := m.all("Attr")
		if len(list) < 2 {
			return false
		}
		a, b := anyOf(r, list), anyOf(r, list)
		name := a.text(1)
		a.fields = b.clone().fields
		a.set(textField(1, name))
		return true
	}},
	{"attribute dropped", 4, func(r *rand.Rand, m *protoTree, _ []string) bool {
		return pickIn(r, m.all("Node"), 5, func(x *protoTree, i int) { x.drop(i) })
	}},
	{"attribute to another node", 4, func(r *rand.Rand, m *protoTree, _ []string) bool {
		nodes := m.all("Node")
		return pickIn(r, nodes, 5, func(x *protoTree, i int) {
			f := x.fields[i]
			if f.msg != nil { // a copy: a message inside itself would have no end
				f.msg = f.msg.clone()
			}
			y := anyOf(r, nodes)
			y.fields = append(y.fields, f)
		})
	}},
	{"constant's values", 14, mutateConstant},
	{"raw_data truncated or grown", 3, func(r *rand.Rand, m *protoTree, _ []string) bool {
		return pickIn(r, m.all("Tensor"), 9, func(x *protoTree, i int) {
			b := slices.Clone(x.fields[i].b)
			if r.IntN(3) == 0 {
				b = append(b, make([]byte, 1+r.IntN(64))...)
			} else if len(b) > 0 {
				b = b[:r.IntN(len(b))]
			}
			x.fields[i].b = b
		})
	}},
	{"element type", 8, func(r *rand.Rand, m *protoTree, _ []string) bool {
		list := m.all("Tensor", "TensorType")
		if len(list) == 0 {
			return false
		}
		x := anyOf(r, list)
		num := protowire.Number(1)
		if x.kind == "Tensor" {
			num = 2
		}
		x.set(intField(num, int64(r.IntN(30))))
		return true
	}},
	{"edge to another value", 12, func(r *rand.Rand, m *protoTree, _ []string) bool {
		names := valueNames(m)
		return len(names) > 0 && pickIn(r, m.all("Node"), 1, func(x *protoTree, i int) { x.fields[i].b = []byte(anyOf(r, names)) })
	}},
	{"edge from a later node", 4, func(r *rand.Rand, m *protoTree, _ []string) bool {
		nodes := m.all("Node")
		return pickIn(r, nodes, 1, func(x *protoTree, i int) {
			from := slices.Index(nodes, x)
			y := nodes[from+r.IntN(len(nodes)-from)]
			if out := y.at(2); len(out) > 0 {
				x.fields[i].b = y.fields[anyOf(r, out)].b
			}
		})
	}},
	{"name dangling or empty", 4, func(r *rand.Rand, m *protoTree, _ []string) bool {
		return anyField(r, m, func(x *protoTree, i int) {
			if x.fields[i].typ == protowire.BytesType && x.fields[i].msg == nil && len(x.fields[i].b) < 256 {
				x.fields[i].b = []byte(anyOf(r, []string{"", "nothing", "\xff", "\x00", "a\nb"}))
			}
		})
	}},
	{"input or output dropped", 5, func(r *rand.Rand, m *protoTree, _ []string) bool {
		return pickIn(r, m.all("Node"), anyOf(r, []protowire.Number{1, 2}), func(x *protoTree, i int) { x.drop(i) })
	}},
	{"input or output left out", 5, func(r *rand.Rand, m *protoTree, _ []string) bool {
		return pickIn(r, m.all("Node"), anyOf(r, []protowire.Number{1, 2}), func(x *protoTree, i int) { x.fields[i].b = nil })
	}},
	{"operator", 8, func(r *rand.Rand, m *protoTree, ops []string) bool {
		nodes := m.all("Node")
		if len(nodes) == 0 {
			return false
		}
		anyOf(r, nodes).set(textField(4, anyOf(r, ops)))
		return true
	}},
	{"operator set", 5, func(r *rand.Rand, m *protoTree, _ []string) bool {
		list := m.all("Opset")
		if len(list) == 0 {
			return false
		}
		anyOf(r, list).set(intField(2, int64(1+r.IntN(27))))
		return true
	}},
	{"node repeated", 3, func(r *rand.Rand, m *protoTree, _ []string) bool {
		graphs := m.all("Graph")
		return pickIn(r, graphs, 1, func(g *protoTree, i int) {
			// A chain: each copy reads what the one before it made.
			node := g.fields[i].msg
			if node == nil || len(node.at(1)) == 0 || len(node.at(2)) == 0 {
				return
			}
			last := string(node.fields[node.at(2)[0]].b)
			for k := range min(1<<r.IntN(12), treeLimit/len(node.all("Node", "Attr", "Graph"))) {
				c := node.clone()
				c.fields[c.at(1)[0]].b = []byte(last)
				last = fmt.Sprintf("again%d", k)
				for j, o := range c.at(2) {
					c.fields[o].b = fmt.Appendf(nil, "%s.%d", last, j)
				}
				last += ".0"
				g.fields = append(g.fields, messageField(1, c))
			}
		})
	}},
	{"huge count", 2, func(r *rand.Rand, m *protoTree, _ []string) bool {
		return anyField(r, m, func(x *protoTree, i int) {
			f := x.fields[i]
			if f.msg == nil && len(f.b) < 64 {
				x.fields = append(x.fields, slices.Repeat([]fieldOf{f}, 1<<r.IntN(14))...)
			}
		})
	}},
	{"deep nesting", 2, func(r *rand.Rand, m *protoTree, _ []string) bool {
		graphs := m.all("Graph")
		if len(graphs) == 0 {
			return false
		}
		g := anyOf(r, graphs)
		inner := &protoTree{kind: "Graph"}
		for _, f := range g.fields {
			if f.num == 1 || f.num == 12 {
				inner.fields = append(inner.fields, f)
			}
		}
		inner = inner.clone()
		outs := inner.all("Value")
		for range 1 << r.IntN(8) {
			node := &protoTree{kind: "Node"}
			node.set(textField(4, "If"))
			node.set(textField(1, "condition"))
			next := &protoTree{kind: "Graph"}
			for _, o := range outs {
				node.fields = append(node.fields, textField(2, o.text(1)))
				next.fields = append(next.fields, messageField(12, o.clone()))
			}
			for _, branch := range []string{"then_branch", "else_branch"} {
				a := &protoTree{kind: "Attr"}
				a.set(textField(1, branch))
				a.set(intField(20, 5))
				body := inner
				if branch == "else_branch" {
					body = next.clone() // has no nodes: refused, or its outputs are captured
				}
				a.set(messageField(6, body))
				node.fields = append(node.fields, messageField(5, a))
			}
			next.fields = append(next.fields, messageField(1, node))
			inner = next
		}
		for i := range g.fields {
			if g.fields[i].num == 1 {
				g.fields[i].num = 99 // the nodes are inside now
			}
		}
		cond := &protoTree{kind: "Tensor"}
		cond.set(intField(2, 9))
		cond.set(textField(8, "condition"))
		cond.set(textField(9, string(rune(r.IntN(2)))))
		g.fields = append(g.fields, messageField(5, cond))
		for _, f := range inner.fields {
			if f.num == 1 {
				g.fields = append(g.fields, f)
			}
		}
		return true
	}},
	{"external data", 2, func(r *rand.Rand, m *protoTree, _ []string) bool {
		list := m.all("Tensor")
		if len(list) == 0 {
			return false
		}
		x := anyOf(r, list)
		x.fields = slices.DeleteFunc(x.fields, func(f fieldOf) bool { return f.num == 9 })
		x.set(intField(14, 1))
		for _, kv := range [][2]string{
			{"location", anyOf(r, []string{"../secret", "/etc/passwd", "model.onnx", "data.bin", "..", ".", "", "a/../../b", "C:\\x", "\\\\host\\x", "NUL", "data.bin\x00"})},
			{"offset", anyOf(r, []string{"0", "1", "-1", "18446744073709551615", "9223372036854775807", "x", ""})},
			{"length", anyOf(r, []string{"0", "4", "-1", "9223372036854775807", "x", ""})},
		} {
			e := &protoTree{kind: "Entry"}
			e.set(textField(1, kv[0]))
			e.set(textField(2, kv[1]))
			x.fields = append(x.fields, messageField(13, e))
		}
		return true
	}},
}

func anyField(r *rand.Rand, m *protoTree, do func(x *protoTree, i int)) bool {
	var list []*protoTree
	m.walk(func(x *protoTree) {
		if len(x.fields) > 0 {
			list = append(list, x)
		}
	})
	if len(list) == 0 {
		return false
	}
	x := anyOf(r, list)
	do(x, r.IntN(len(x.fields)))
	return true
}

// pickIn does something to one field with that number of one of the messages.
func pickIn(r *rand.Rand, list []*protoTree, num protowire.Number, do func(x *protoTree, i int)) bool {
	list = slices.DeleteFunc(slices.Clone(list), func(x *protoTree) bool { return len(x.at(num)) == 0 })
	if len(list) == 0 {
		return false
	}
	x := anyOf(r, list)
	do(x, anyOf(r, x.at(num)))
	return true
}

func valueNames(m *protoTree) (names []string) {
	m.walk(func(x *protoTree) {
		switch x.kind {
		case "Node":
			for _, i := range x.at(1, 2) {
				names = append(names, string(x.fields[i].b))
			}
		case "Tensor":
			names = append(names, x.text(8))
		}
	})
	return names
}

func mutateDim(r *rand.Rand, m *protoTree, _ []string) bool {
	switch r.IntN(3) {
	case 0:
		list := m.all("Dim")
		if len(list) == 0 {
			return false
		}
		anyOf(r, list).fields = []fieldOf{intField(1, anyOf(r, extremes))}
		return true
	case 1:
		list := m.all("Shape")
		if len(list) == 0 {
			return false
		}
		s := anyOf(r, list)
		d := &protoTree{kind: "Dim"}
		d.set(intField(1, int64(r.IntN(3))))
		s.fields = append(s.fields, slices.Repeat([]fieldOf{messageField(1, d)}, 1+r.IntN(9))...)
		return true
	}
	return pickIn(r, m.all("Tensor"), 1, func(x *protoTree, i int) {
		f := &x.fields[i]
		v := anyOf(r, extremes)
		if f.typ == protowire.VarintType {
			f.v = uint64(v)
			return
		}
		var dims []uint64
		for b := f.b; len(b) > 0; {
			d, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return
			}
			dims, b = append(dims, d), b[n:]
		}
		switch {
		case len(dims) == 0 || r.IntN(4) == 0:
			dims = append(dims, uint64(v))
		case r.IntN(3) == 0: // another shape of as many elements
			j, k := r.IntN(len(dims)), r.IntN(len(dims))
			dims[j], dims[k] = dims[k], dims[j]
		case r.IntN(3) == 0:
			dims = append(dims, 1)
		default:
			dims[r.IntN(len(dims))] = uint64(v)
		}
		f.b = nil
		for _, d := range dims {
			f.b = protowire.AppendVarint(f.b, d)
		}
	})
}

func mutateAttr(r *rand.Rand, m *protoTree, _ []string) bool {
	list := m.all("Attr")
	if len(list) == 0 {
		return false
	}
	a := anyOf(r, list)
	switch kind := a.number(20); kind {
	case 1:
		a.set(fieldOf{num: 2, typ: protowire.Fixed32Type, v: uint64(math.Float32bits(float32(anyOf(r, extremeFloats))))})
	case 2:
		a.set(intField(3, anyOf(r, extremes)))
	case 3:
		words := []string{"", "VALID", "SAME_UPPER", "SAME_LOWER", "NOTSET", "reflect", "edge", "wrap", "constant", "linear", "cubic", "nearest", "DCR", "CRD",
			"asymmetric", "half_pixel", "align_corners", "tf_crop_and_resize", "floor", "ceil", "round_prefer_ceil", "none", "mul", "add", "max", "min",
			"bidirectional", "reverse", "ij,jk->ik", "...i->...", "ii->i", "->", "LEFT", "tanh", "border", "bilinear", "bicubic"}
		a.set(textField(4, anyOf(r, words)))
	case 6, 7:
		num := protowire.Number(kind + 1)
		at := a.at(num)
		switch {
		case len(at) == 0 || r.IntN(5) == 0:
			if kind == 7 {
				a.fields = append(a.fields, intField(num, anyOf(r, extremes)))
			}
		case r.IntN(5) == 0:
			a.drop(anyOf(r, at))
		case a.fields[at[0]].typ == protowire.BytesType && kind == 7:
			a.fields[at[0]] = fieldOf{num: num, typ: protowire.BytesType, b: replaceVarint(r, a.fields[at[0]].b)}
		case kind == 7:
			a.fields[anyOf(r, at)].v = uint64(anyOf(r, extremes))
		default:
			a.fields[anyOf(r, at)] = fieldOf{num: num, typ: protowire.Fixed32Type, v: uint64(math.Float32bits(float32(anyOf(r, extremeFloats))))}
		}
	default:
		a.set(intField(20, int64(r.IntN(15))))
	}
	return true
}

func replaceVarint(r *rand.Rand, b []byte) []byte {
	var list []uint64
	for len(b) > 0 {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return b
		}
		list, b = append(list, v), b[n:]
	}
	if len(list) == 0 {
		list = []uint64{0}
	}
	list[r.IntN(len(list))] = uint64(anyOf(r, extremes))
	var out []byte
	for _, v := range list {
		out = protowire.AppendVarint(out, v)
	}
	return out
}

// mutateConstant changes one element of a small tensor: shapes, axes, pads and
// indices are stored so.
func mutateConstant(r *rand.Rand, m *protoTree, _ []string) bool {
	list := slices.DeleteFunc(m.all("Tensor"), func(t *protoTree) bool {
		raw := t.at(9)
		return len(t.at(5, 7)) == 0 && (len(raw) == 0 || len(t.fields[raw[0]].b) > 512 || len(t.fields[raw[0]].b) == 0)
	})
	if len(list) == 0 {
		return false
	}
	t := anyOf(r, list)
	if at := t.at(5, 7); len(at) > 0 {
		f := &t.fields[at[0]]
		if f.typ == protowire.BytesType {
			f.b = replaceVarint(r, f.b)
		} else {
			f.v = uint64(anyOf(r, extremes))
		}
		return true
	}
	f := &t.fields[t.at(9)[0]]
	b := slices.Clone(f.b)
	switch dtype := t.number(2); {
	case dtype == 7 && len(b) >= 8:
		binary.LittleEndian.PutUint64(b[8*r.IntN(len(b)/8):], uint64(anyOf(r, extremes)))
	case dtype == 6 && len(b) >= 4:
		binary.LittleEndian.PutUint32(b[4*r.IntN(len(b)/4):], uint32(anyOf(r, extremes)))
	case dtype == 1 && len(b) >= 4:
		binary.LittleEndian.PutUint32(b[4*r.IntN(len(b)/4):], math.Float32bits(float32(anyOf(r, extremeFloats))))
	default:
		b[r.IntN(len(b))] = byte(r.Uint32())
	}
	f.b = b
	return true
}

// mutateBytes changes bytes without regard to structure.
func mutateBytes(r *rand.Rand, seed []byte) []byte {
	data := slices.Clone(seed)
	for range 1 + r.IntN(4) {
		if len(data) == 0 {
			break
		}
		i := r.IntN(len(data))
		j := i + r.IntN(min(len(data)-i, 64))
		switch r.IntN(6) {
		case 0, 1:
			data[i] ^= 1 << r.IntN(8)
		case 2:
			data[i] = byte(r.Uint32())
		case 3:
			data = slices.Delete(data, i, j)
		case 4:
			data = data[:i]
		case 5:
			data = slices.Insert(data, j, data[i:j]...)
		}
	}
	return data
}

// treeLimit is how many nodes, attributes and graphs a mutant has before it is
// left alone.
const treeLimit = 20_000

// mutate is a mutant of a seed and the names of what was done to it.
func mutate(r *rand.Rand, seed *protoTree, whole []byte, ops []string) (data []byte, how string) {
	if r.IntN(10) == 0 {
		return mutateBytes(r, whole), "bytes"
	}
	total := 0
	for _, m := range structural {
		total += m.weight
	}
	tree := seed.clone()
	for range max(1, r.IntN(4)) {
		// A mutation may multiply what the one before it made.
		for len(tree.all("Node", "Attr", "Graph")) < treeLimit {
			at, i := r.IntN(total), 0
			for ; at >= structural[i].weight; i++ {
				at -= structural[i].weight
			}
			if structural[i].do(r, tree, ops) {
				how += structural[i].name + "; "
				break
			}
		}
	}
	return tree.append(nil), how
}
