package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// graph writes a small network as an ONNX file: operators in their order, constants where they are used.
type graph struct {
	nodes, constants, inputs []byte
	n                        int
}

const (
	isFloat = 1
	isInt64 = 7
)

// input declares an input; a dimension of -1 is open.
func (g *graph) input(name string, dtype uint64, dims ...int) string {
	g.inputs = append(g.inputs, new(message).bytes(11, port(name, dtype, dims)).b...)
	return name
}

func port(name string, dtype uint64, dims []int) []byte {
	shape := new(message)
	for _, d := range dims {
		if d < 0 {
			shape.bytes(1, new(message).text(2, "B").b)
		} else {
			shape.bytes(1, new(message).number(1, uint64(d)).b)
		}
	}
	tensor := new(message).number(1, dtype).bytes(2, shape.b)
	return new(message).text(1, name).bytes(2, new(message).bytes(1, tensor.b).b).b
}

// c is a constant: a number, or a vector.
func (g *graph) c(v ...float64) string {
	raw := make([]byte, 0, 4*len(v))
	for _, u := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(float32(u)))
	}
	return g.constant(isFloat, len(v), raw)
}

// ints is a vector of integers.
func (g *graph) ints(v ...int64) string {
	var raw []byte
	for _, u := range v {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(u))
	}
	return g.constant(isInt64, len(v), raw)
}

func (g *graph) constant(dtype uint64, n int, raw []byte) string {
	g.n++
	name := fmt.Sprintf("c%d", g.n)
	g.constants = append(g.constants, new(message).bytes(5, new(message).number(1, uint64(n)).number(2, dtype).text(8, name).bytes(9, raw).b).b...)
	return name
}

// op adds an operator and names its output.
func (g *graph) op(op string, inputs ...string) string {
	g.n++
	return g.named(fmt.Sprintf("v%d", g.n), op, nil, inputs...)
}

func (g *graph) named(out, op string, attributes []byte, inputs ...string) string {
	node := new(message)
	for _, in := range inputs {
		node.text(1, in)
	}
	node.text(2, out).text(4, op)
	node.b = append(node.b, attributes...)
	g.nodes = append(g.nodes, new(message).bytes(1, node.b).b...)
	return out
}

// cast converts to a type.
func (g *graph) cast(x string, to uint64) string {
	g.n++
	attribute := new(message).text(1, "to").number(3, to).number(20, 2)
	return g.named(fmt.Sprintf("v%d", g.n), "Cast", new(message).bytes(5, attribute.b).b, x)
}

// column makes a time of any shape a column, or what broadcasts as one.
func (g *graph) column(t string, rank int) string {
	shape := []int64{-1, 1, 1, 1}[:rank]
	return g.op("Reshape", t, g.ints(shape...))
}

// write ends the network with the output y = out, in a new file.
func (g *graph) write(t *testing.T, out string, dims ...int) string {
	t.Helper()
	g.named("y", "Identity", nil, out)
	whole := new(message).bytes(7, g.model(dims)).number(1, 8).bytes(8, new(message).number(2, 17).b)
	path := filepath.Join(t.TempDir(), "net.onnx")
	if err := os.WriteFile(path, whole.b, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func (g *graph) model(dims []int) []byte {
	b := append([]byte(nil), g.nodes...)
	b = append(b, new(message).text(2, "g").b...)
	b = append(b, g.constants...)
	b = append(b, g.inputs...)
	return append(b, new(message).bytes(12, port("y", isFloat, dims)).b...)
}
