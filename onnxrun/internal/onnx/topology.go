package onnx

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	onnxgo "github.com/owulveryck/onnx-go"
	"gonum.org/v1/gonum/graph"
	"google.golang.org/protobuf/encoding/protowire"
)

// throughOnnxGo has onnx-go decode the topology of g. onnx-go sees neither the
// file nor its names: only a small model, written here from what has been
// checked, in which a value's name is its index and a node's single attribute
// is its place in g.Nodes. What onnx-go delivers is joined with the rest of
// g.Nodes, and any disagreement is an error.
//
// onnx-go cannot be stopped before it gives the first node, so the caller does not
// wait for it once ctx is done: it goes on by itself, on bytes of its own, and then ends.
func throughOnnxGo(ctx context.Context, g *Graph) error {
	if len(g.Nodes) == 0 {
		return nil // onnx-go refuses a graph without nodes
	}
	type decoded struct {
		nodes []Node
		err   error
	}
	done := make(chan decoded, 1)
	model := topologyBytes(g)
	go func() {
		nodes, err := decodeTopology(ctx, g, model)
		done <- decoded{nodes, err}
	}()
	select {
	case d := <-done:
		if d.err == nil {
			g.Nodes = d.nodes
		}
		return d.err
	case <-ctx.Done():
		return fmt.Errorf("reading the model: %w", ctx.Err())
	}
}

// decodeTopology is the nodes of g as onnx-go reads them from model.
func decodeTopology(ctx context.Context, g *Graph, model []byte) (nodes []Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			if stopped := ctx.Err(); stopped != nil {
				err = fmt.Errorf("reading the model: %w", stopped)
			} else {
				err = formatError("", "decoding the topology: %v", r)
			}
		}
	}()
	t := &topology{vertices: make([]vertex, 0, len(g.Values)+len(g.Outputs)+len(g.Nodes)+1), g: g, ctx: ctx}
	m := onnxgo.NewModel(t)
	if err := m.UnmarshalBinary(model); err != nil {
		if stopped := ctx.Err(); stopped != nil {
			return nil, fmt.Errorf("reading the model: %w", stopped)
		}
		return nil, formatError("", "decoding the topology: %v", err)
	}
	if len(t.nodes) != len(g.Nodes) {
		return nil, formatError("", "decoding the topology: %d nodes of %d", len(t.nodes), len(g.Nodes))
	}
	if !t.same(m.Input, g.Inputs) || !t.same(m.Output, g.Outputs) {
		return nil, formatError("", "decoding the topology: the graph's inputs or outputs differ")
	}
	return t.nodes, nil
}

// handle is the attribute that carries a node's place in Graph.Nodes.
const handle = "node"

// topologyBytes writes a ModelProto with no more than onnx-go needs.
func topologyBytes(g *Graph) []byte {
	const (
		modelIRVersion, modelGraph                     = 1, 7
		graphNode, graphInitializer, graphIn, graphOut = 1, 5, 11, 12
		nodeIn, nodeOut, nodeOp, nodeAttr              = 1, 2, 4, 5
		attrName, attrInt, attrKind                    = 1, 3, 20
		tensorName, valueName                          = 8, 1
	)
	text := func(b []byte, num protowire.Number, s string) []byte {
		return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
	}
	message := func(b []byte, num protowire.Number, msg []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), msg)
	}
	number := func(b []byte, num protowire.Number, v int) []byte {
		return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), uint64(v))
	}
	body := make([]byte, 0, 64*len(g.Nodes)+16*len(g.Weights))
	var msg, attr []byte
	for i := range g.Nodes {
		n := &g.Nodes[i]
		msg = msg[:0]
		for _, v := range n.Inputs {
			msg = text(msg, nodeIn, valueLabel(v))
		}
		for _, v := range n.Outputs {
			msg = text(msg, nodeOut, valueLabel(v))
		}
		msg = text(msg, nodeOp, opLabel(n))
		attr = text(attr[:0], attrName, handle)
		attr = number(attr, attrInt, i)
		attr = number(attr, attrKind, int(AttrInt))
		msg = message(msg, nodeAttr, attr)
		body = message(body, graphNode, msg)
	}
	for v := range g.Weights {
		body = message(body, graphInitializer, text(msg[:0], tensorName, valueLabel(v)))
	}
	for _, v := range g.Inputs {
		body = message(body, graphIn, text(msg[:0], valueName, valueLabel(v)))
	}
	for _, v := range g.Outputs {
		body = message(body, graphOut, text(msg[:0], valueName, valueLabel(v)))
	}
	return message(number(nil, modelIRVersion, 3), modelGraph, body)
}

// valueLabel is the name that a value has for onnx-go: "" when it is left out.
func valueLabel(v int) string {
	if v < 0 {
		return ""
	}
	return strconv.Itoa(v)
}

func opLabel(n *Node) string {
	if n.Domain == "" {
		return n.Op
	}
	return n.Domain + "::" + n.Op
}

// topology is the onnxgo.Backend: it collects what the decoder tells it.
//
// The decoder calls SetWeightedEdge once for each input of a node, then again
// for each further output, and then ApplyOperation. The edges in between, in
// that order, are the node's inputs; a graph that kept them by their two ends
// would lose the second x of x·x.
type topology struct {
	graph.Directed // never called by the decoder
	ctx            context.Context
	g              *Graph
	vertices       []vertex
	edge           edge
	pending        []int // the values that edges since the last operation lead to
	nodes          []Node
}

// vertex is a value of the graph. It does not carry data (onnxgo.DataCarrier),
// so that the decoder leaves tensors alone.
type vertex struct {
	id    int64
	label string
}

func (v *vertex) ID() int64        { return v.id }
func (v *vertex) GetName() string  { return v.label }
func (v *vertex) SetName(s string) { v.label = s }

// noInput is the input that the decoder invents for a node that has none.
const noInput = -2

// value is the index of a vertex in Graph.Values.
func (t *topology) value(n graph.Node) int {
	label := n.(*vertex).label
	switch label {
	case "":
		return -1 // one vertex stands for all that is left out
	case "/input":
		return noInput
	}
	v, err := strconv.Atoi(label)
	if err != nil || v < 0 || v >= len(t.g.Values) {
		panic(fmt.Sprintf("unknown value %q", label))
	}
	return v
}

// edge is the only one there is: the decoder sets each right after making it.
type edge struct{ from, to graph.Node }

func (e *edge) From() graph.Node         { return e.from }
func (e *edge) To() graph.Node           { return e.to }
func (e *edge) ReversedEdge() graph.Edge { return &edge{e.to, e.from} }
func (e *edge) Weight() float64          { return 0 }

// NewNode stops the decoder when the context is done. It cannot return an error;
// decodeTopology expects the panic.
func (t *topology) NewNode() graph.Node {
	if t.ctx.Err() != nil {
		panic("stopped")
	}
	// Vertices that grow keep their old array alive where it is pointed to.
	t.vertices = append(t.vertices, vertex{id: int64(len(t.vertices))})
	return &t.vertices[len(t.vertices)-1]
}

func (t *topology) AddNode(graph.Node) {}

func (t *topology) NewWeightedEdge(from, to graph.Node, _ float64) graph.WeightedEdge {
	t.edge = edge{from, to}
	return &t.edge
}

func (t *topology) SetWeightedEdge(e graph.WeightedEdge) {
	t.pending = append(t.pending, t.value(e.To()))
}

func (t *topology) ApplyOperation(op onnxgo.Operation, outputs ...graph.Node) error {
	if err := t.ctx.Err(); err != nil {
		return err
	}
	i, ok := op.Attributes[handle].(int64)
	if !ok || i != int64(len(t.nodes)) {
		return fmt.Errorf("node %v, want %d", op.Attributes[handle], len(t.nodes))
	}
	want := &t.g.Nodes[i]
	n := *want
	n.Outputs = make([]int, len(outputs))
	for j, o := range outputs {
		n.Outputs[j] = t.value(o)
	}
	if len(outputs) > 0 {
		per := len(t.pending) / len(outputs)
		n.Inputs = slices.Clone(t.pending[:per])
		for j, v := range t.pending {
			if v != n.Inputs[j%per] {
				return fmt.Errorf("the outputs of %s have different inputs", want.Where())
			}
		}
	}
	if len(n.Inputs) == 1 && n.Inputs[0] == noInput {
		n.Inputs = nil
	}
	t.pending = t.pending[:0]
	if op.Name != opLabel(want) || !slices.Equal(n.Inputs, want.Inputs) || !slices.Equal(n.Outputs, want.Outputs) {
		return fmt.Errorf("%s comes back as %s with inputs %v and outputs %v, want %v and %v",
			want.Where(), op.Name, n.Inputs, n.Outputs, want.Inputs, want.Outputs)
	}
	t.nodes = append(t.nodes, n)
	return nil
}

// same reports whether the vertices with these ids are the values want.
func (t *topology) same(ids []int64, want []int) bool {
	if len(ids) != len(want) {
		return false
	}
	for i, id := range ids {
		if id < 0 || id >= int64(len(t.vertices)) || t.vertices[id].label != valueLabel(want[i]) {
			return false
		}
	}
	return true
}
