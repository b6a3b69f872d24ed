package plan

import (
	"context"
	"fmt"
	"hash"
	"hash/fnv"
	"unsafe"

	"github.com/chewxy/hm"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// op carries a kernel of package ops into a gorgonia graph. A node with several
// outputs is one op for the first of them and a further one (output > 0) for
// each other, whose only child is the first.
type op struct {
	serial int // gorgonia merges ops with equal hashes; two kernels never are
	src    *onnx.Node
	kernel *ops.Kernel
	output int
	// which input of the kernel each child is; absent inputs have no child
	slots []int

	args  []ops.Arg // what the kernel was lowered for
	packs *ops.Packs
	many  bool    // later outputs are read as well, or gorgonia does not know all children
	far   []*slot // the children of a node that has too many for gorgonia
}

var _ G.SDOp = (*op)(nil)

func (o *op) Arity() int { return len(o.slots) - len(o.far) }

// Type is the op's type with the shapes and element types it was lowered for.
func (o *op) Type() hm.Type {
	return typeOf(o.kernel.Out[o.output])
}

func (o *op) InferShape(...G.DimSizer) (tensor.Shape, error) {
	return tensor.Shape(o.kernel.Out[o.output].Shape), nil
}

func (o *op) ReturnsPtr() bool     { return true }
func (o *op) CallsExtern() bool    { return false }
func (o *op) OverwritesInput() int { return -1 }

func (o *op) WriteHash(h hash.Hash) { fmt.Fprintf(h, "%d:%s", o.serial, o) }

func (o *op) Hashcode() uint32 {
	h := fnv.New32a()
	o.WriteHash(h)
	return h.Sum32()
}

func (o *op) String() string {
	s := o.src.Op
	if o.output > 0 {
		s = fmt.Sprintf("%s#%d", s, o.output)
	}
	return s
}

// Do computes the op in fresh memory. The machine does not come this way; it is
// for whoever evaluates the graph by other means.
func (o *op) Do(children ...G.Value) (_ G.Value, err error) {
	defer (&Program{}).guard(o.src, &err)()
	if o.output > 0 {
		main, ok := children[0].(*cell)
		if !ok || o.output >= len(main.all) {
			return nil, fmt.Errorf("onnxrun: %s: child is not the node's first output", o.src.Where())
		}
		return &cell{main.all[o.output], main.all}, nil
	}
	args := make([]ops.Arg, len(o.src.Inputs))
	for i := range args {
		args[i].Absent = true
	}
	for i, c := range children {
		v, ok := c.(*cell)
		if !ok {
			return nil, fmt.Errorf("onnxrun: %s: input %d is a %T, want a value of this package", o.src.Where(), i, c)
		}
		args[o.slots[i]] = ops.Arg{Type: v.Tensor.Type, Const: v.Tensor}
	}
	out, err := fold(context.Background(), o.kernel, args, func(_, _ int64) error { return nil })
	if err != nil {
		return nil, err
	}
	if out == nil {
		return nil, &onnx.LimitError{What: "bytes of one node", Got: int64(o.kernel.Out[0].Bytes()), Max: foldLimit}
	}
	return &cell{out[0], out}, nil
}

// cell is a tensor as a gorgonia value; all holds every output of its node.
type cell struct {
	*ops.Tensor
	all []*ops.Tensor
}

func (c *cell) Type() hm.Type       { return typeOf(c.Tensor.Type) }
func (c *cell) Shape() tensor.Shape { return tensor.Shape(c.Tensor.Shape) }
func (c *cell) Size() int           { return c.Elems() }
func (c *cell) Data() any           { return c.Mem() }
func (c *cell) Dtype() tensor.Dtype { return dtypes[c.Tensor.DType] }
func (c *cell) MemSize() uintptr    { return uintptr(len(c.Mem())) }
func (c *cell) Uintptr() uintptr    { return uintptr(unsafe.Pointer(unsafe.SliceData(c.Mem()))) }

func (c *cell) Format(s fmt.State, _ rune) { fmt.Fprint(s, c.Tensor.Type) }

var dtypes = map[onnx.DType]tensor.Dtype{
	onnx.Float: tensor.Float32, onnx.Float16: tensor.Float32, onnx.BFloat16: tensor.Float32,
	onnx.Double: tensor.Float64, onnx.Bool: tensor.Bool,
	onnx.Int8: tensor.Int8, onnx.Int16: tensor.Int16, onnx.Int32: tensor.Int32, onnx.Int64: tensor.Int64,
	onnx.Uint8: tensor.Uint8, onnx.Uint16: tensor.Uint16, onnx.Uint32: tensor.Uint32, onnx.Uint64: tensor.Uint64,
}

func typeOf(t ops.Type) hm.Type {
	if len(t.Shape) == 0 {
		return dtypes[t.DType]
	}
	return G.TensorType{Dims: len(t.Shape), Of: dtypes[t.DType]}
}

// expression is a graph as gorgonia expression graphs.
type expression struct {
	graphs  []*G.ExprGraph
	slots   map[*G.Node]*slot // what the machine needs to know of a node
	in, out []*G.Node
}

// expressed is how many nodes go into one expression graph, and how many children a node
// of one has: gorgonia takes time for them that grows with their square.
const expressed = 1 << 12

// express writes a graph as gorgonia expression graphs, each taking up where the one
// before ends. Nodes are created in the order they run; leaves are the inputs, the
// constants, and what the graphs before compute.
func (g *graph) express() (*expression, error) {
	x := &expression{slots: map[*G.Node]*slot{}}
	slots := map[*value]*slot{}
	var e *G.ExprGraph
	var nodes map[*value]*G.Node // of e
	begin := func() {
		e, nodes = G.NewGraph(), map[*value]*G.Node{}
		x.graphs = append(x.graphs, e)
	}
	begin()
	add := func(v *value, opts ...G.NodeConsOpt) *G.Node {
		opts = append([]G.NodeConsOpt{G.In(e), G.WithType(typeOf(v.Type)), G.WithShape(v.Shape...),
			G.WithName(fmt.Sprintf("%d:%s", len(x.slots), v.name))}, opts...)
		n := G.NewUniqueNode(opts...)
		if slots[v] == nil {
			slots[v] = &slot{Type: v.Type, konst: v.konst}
		}
		x.slots[n], nodes[v] = slots[v], n
		return n
	}
	leaf := func(v *value) *G.Node {
		if n := nodes[v]; n != nil {
			return n
		}
		return add(v)
	}
	for _, v := range g.in {
		x.in = append(x.in, leaf(v))
	}
	for i, n := range g.nodes {
		if err := stopped(g.ctx); err != nil {
			return nil, err
		}
		if i > 0 && i%expressed == 0 {
			begin()
		}
		o := &op{serial: i, src: n.src, kernel: n.kernel, args: g.args(n), packs: g.packs}
		var children G.Nodes
		for j, v := range n.in {
			switch {
			case v == nil:
			case len(n.in) > expressed:
				leaf(v)
				o.many = true
				o.far = append(o.far, slots[v])
				o.slots = append(o.slots, j)
			default:
				children = append(children, leaf(v))
				o.slots = append(o.slots, j)
			}
		}
		if n.out[0] == nil { // only a later output is read: the first still has a node
			n.out[0] = &value{Type: n.kernel.Out[0], name: n.src.Name}
		}
		first := add(n.out[0], G.WithOp(o), G.WithChildren(children))
		for j, v := range n.out {
			if j > 0 && v != nil {
				o.many = true
				p := &op{serial: i, src: n.src, kernel: n.kernel, output: j, slots: []int{0}}
				add(v, G.WithOp(p), G.WithChildren(G.Nodes{first}))
			}
		}
	}
	for _, v := range g.out {
		x.out = append(x.out, leaf(v))
	}
	return x, nil
}
