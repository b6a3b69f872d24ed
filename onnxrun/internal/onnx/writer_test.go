package onnx

import (
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// msg is a protobuf message being written. The constructors below write the
// messages of onnx.proto for the tests.
type msg []byte

func (m msg) text(num protowire.Number, s string) msg {
	return protowire.AppendString(protowire.AppendTag(m, num, protowire.BytesType), s)
}

func (m msg) bytes(num protowire.Number, b []byte) msg {
	return protowire.AppendBytes(protowire.AppendTag(m, num, protowire.BytesType), b)
}

func (m msg) int(num protowire.Number, v int64) msg {
	return protowire.AppendVarint(protowire.AppendTag(m, num, protowire.VarintType), uint64(v))
}

func (m msg) float(num protowire.Number, v float32) msg {
	return protowire.AppendFixed32(protowire.AppendTag(m, num, protowire.Fixed32Type), math.Float32bits(v))
}

func (m msg) double(num protowire.Number, v float64) msg {
	return protowire.AppendFixed64(protowire.AppendTag(m, num, protowire.Fixed64Type), math.Float64bits(v))
}

func (m msg) packed(num protowire.Number, vals ...int64) msg {
	var b []byte
	for _, v := range vals {
		b = protowire.AppendVarint(b, uint64(v))
	}
	return m.bytes(num, b)
}

func opset(domain string, version int64) msg {
	return msg(nil).text(1, domain).int(2, version)
}

// model is a ModelProto of IR version 8 and opset 17 around a graph; more
// holds further encoded fields.
func model(graph msg, more ...msg) []byte {
	m := msg(nil).int(1, 8).text(2, "test").text(3, "1.0").bytes(7, graph).bytes(8, opset("", 17))
	for _, f := range more {
		m = append(m, f...)
	}
	return m
}

// graphOf joins encoded fields of a GraphProto.
func graphOf(fields ...msg) msg {
	m := msg(nil).text(2, "g")
	for _, f := range fields {
		m = append(m, f...)
	}
	return m
}

func input(name string, dims ...any) msg  { return msg(nil).bytes(11, value(name, dims...)) }
func output(name string, dims ...any) msg { return msg(nil).bytes(12, value(name, dims...)) }
func info(name string, dims ...any) msg   { return msg(nil).bytes(13, value(name, dims...)) }

// value is a ValueInfoProto of type float32; without dims it has no type.
func value(name string, dims ...any) msg {
	v := msg(nil).text(1, name)
	if len(dims) == 0 {
		return v
	}
	var shape msg
	for _, d := range dims {
		switch d := d.(type) {
		case int:
			shape = shape.bytes(1, msg(nil).int(1, int64(d)))
		case int64:
			shape = shape.bytes(1, msg(nil).int(1, d))
		case string:
			shape = shape.bytes(1, msg(nil).text(2, d))
		case nil:
			shape = shape.bytes(1, nil)
		}
	}
	return v.bytes(2, msg(nil).bytes(1, msg(nil).int(1, int64(Float)).bytes(2, shape)))
}

// node is a node field of a graph; ins and outs are separated by spaces, and
// "_" is one left out.
func node(op, ins, outs string, fields ...msg) msg {
	return msg(nil).bytes(1, nodeMsg(op, ins, outs, fields...))
}

func nodeMsg(op, ins, outs string, fields ...msg) msg {
	var m msg
	for _, s := range split(ins) {
		m = m.text(1, s)
	}
	for _, s := range split(outs) {
		m = m.text(2, s)
	}
	m = m.text(3, "n_"+outs).text(4, op)
	for _, f := range fields {
		m = append(m, f...)
	}
	return m
}

func split(s string) []string {
	var list []string
	for s != "" {
		word, rest := s, ""
		for i := range s {
			if s[i] == ' ' {
				word, rest = s[:i], s[i+1:]
				break
			}
		}
		if word == "_" {
			word = ""
		}
		list, s = append(list, word), rest
	}
	return list
}

func domain(s string) msg { return msg(nil).text(7, s) }

// attr is an attribute field of a node.
func attr(name string, v any) msg { return msg(nil).bytes(5, attrMsg(name, v)) }

type ref struct {
	name string
	kind AttrKind
}

func attrMsg(name string, v any) msg {
	m := msg(nil).text(1, name)
	switch v := v.(type) {
	case float32:
		return m.float(2, v).int(20, int64(AttrFloat))
	case int:
		return m.int(3, int64(v)).int(20, int64(AttrInt))
	case string:
		return m.text(4, v).int(20, int64(AttrString))
	case tensorMsg:
		return m.bytes(5, v).int(20, int64(AttrTensor))
	case msg:
		return m.bytes(6, v).int(20, int64(AttrGraph))
	case []float32:
		return m.bytes(7, floatBytes(v...)).int(20, int64(AttrFloats))
	case []int64:
		return m.packed(8, v...).int(20, int64(AttrInts))
	case []string:
		for _, s := range v {
			m = m.text(9, s)
		}
		return m.int(20, int64(AttrStrings))
	case ref:
		return m.text(21, v.name).int(20, int64(v.kind))
	}
	panic("unknown attribute")
}

func floatBytes(vals ...float32) []byte {
	var b []byte
	for _, v := range vals {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

type tensorMsg msg

// tensor is a TensorProto without data; fields adds some.
func tensor(name string, dtype DType, dims []int64, fields ...msg) tensorMsg {
	m := msg(nil).packed(1, dims...).int(2, int64(dtype)).text(8, name)
	for _, f := range fields {
		m = append(m, f...)
	}
	return tensorMsg(m)
}

func floats(name string, vals ...float32) tensorMsg {
	return tensor(name, Float, []int64{int64(len(vals))}, msg(nil).bytes(9, floatBytes(vals...)))
}

func initializer(t tensorMsg) msg { return msg(nil).bytes(5, t) }

// external says where a tensor's data lies: pairs of key and value.
func external(kv ...string) msg {
	m := msg(nil).int(14, 1)
	for i := 0; i < len(kv); i += 2 {
		m = m.bytes(13, msg(nil).text(1, kv[i]).text(2, kv[i+1]))
	}
	return m
}

// function is a functions field of a model, in domain "local".
func function(name, ins, outs string, fields ...msg) msg {
	m := msg(nil).text(1, name).text(10, "local").bytes(9, opset("", 18))
	for _, s := range split(ins) {
		m = m.text(4, s)
	}
	for _, s := range split(outs) {
		m = m.text(5, s)
	}
	for _, f := range fields {
		m = append(m, f...)
	}
	return msg(nil).bytes(25, m)
}

// body is a node field of a function.
func body(op, ins, outs string, fields ...msg) msg {
	return msg(nil).bytes(7, nodeMsg(op, ins, outs, fields...))
}
