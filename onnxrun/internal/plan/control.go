package plan

import (
	"fmt"
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// If, Loop and Scan are gone from a specialised graph: the nodes of the branch
// that is taken, or of every round of a loop, stand in their place. That needs
// the condition and the number of rounds when the graph is made. For a condition
// that is computed in the run both branches are, and their results are picked
// from.

const (
	// maxUnrolled bounds the nodes of bodies, with the values that they read and make and
	// those that go in and out, each time that a body is gone through.
	maxUnrolled = 1 << 18
	maxRounds   = 1 << 13 // nodes left in a graph that has loops
)

// A room is the values of a body. Every round goes through the same: a node's outputs
// are made anew before they are read, and constants stay.
type room struct {
	nodes  []*onnx.Node
	values []*value
	cost   int // as maxUnrolled counts
}

func (p *Program) room(b *onnx.Graph) *room {
	r := &room{nodes: nodesOf(b), values: p.values(b), cost: 1 + len(b.Captures) + len(b.Inputs) + len(b.Outputs)}
	for _, n := range r.nodes {
		r.cost += 1 + len(n.Inputs) + len(n.Outputs)
	}
	return r
}

// control puts the bodies of a node in its place and gives its outputs; outer
// are the values of the graph around it.
func (p *Program) control(g *graph, src *onnx.Node, in, outer []*value) ([]*value, error) {
	u := &unroll{p, g, src, outer}
	var out []*value
	var err error
	switch {
	case src.Op == "If":
		out, err = u.branch(in)
	case src.Op == "Loop":
		out, err = u.loop(in)
	case src.Version < 9:
		out, err = u.scanBatch(in)
	default:
		out, err = u.scan(in, ints(src, "scan_input_directions"))
	}
	if err == nil && len(out) != len(src.Outputs) {
		err = u.invalid("its body gives %d outputs, want %d", len(out), len(src.Outputs))
	}
	return out, err
}

// unroll is the work on one node with bodies.
type unroll struct {
	p     *Program
	g     *graph
	src   *onnx.Node
	outer []*value
}

func (u *unroll) invalid(format string, args ...any) error {
	return &onnx.FormatError{Node: u.src.Where(), Msg: fmt.Sprintf(format, args...)}
}

func (u *unroll) unsupported(format string, args ...any) error {
	return &onnx.UnsupportedError{Nodes: []onnx.Unsupported{{Node: u.src.Name, Op: u.src.Op, Domain: u.src.Domain,
		Version: u.src.Version, Reason: fmt.Sprintf(format, args...)}}}
}

// body runs through the body that an attribute holds, for the given inputs.
func (u *unroll) body(attr string, in []*value) ([]*value, error) {
	b := u.src.Attrs[attr].Graph
	if b == nil {
		return nil, u.invalid("attribute %q is missing", attr)
	}
	if len(b.Inputs) != len(in) {
		return nil, u.invalid("attribute %q takes %d inputs, want %d", attr, len(b.Inputs), len(in))
	}
	r := u.g.rooms[b]
	if r == nil {
		r = u.p.room(b)
		u.g.rooms[b] = r
	}
	u.g.unrolled += r.cost
	switch {
	case u.g.unrolled > maxUnrolled:
		return nil, &onnx.LimitError{Node: u.src.Where(), What: "nodes and values of unrolled loops", Got: int64(u.g.unrolled), Max: maxUnrolled}
	case len(u.g.nodes) > maxRounds:
		return nil, &onnx.LimitError{Node: u.src.Where(), What: "nodes of a graph with loops", Got: int64(len(u.g.nodes)), Max: maxRounds}
	}
	if err := stopped(u.g.ctx); err != nil { // of a body without nodes nobody else asks
		return nil, err
	}
	values := r.values
	for _, c := range b.Captures {
		values[c.Value] = u.outer[c.Outer]
		if values[c.Value] == nil {
			return nil, u.unsupported("value %q, of a type that is not read here, is used inside", b.Values[c.Value].Name)
		}
	}
	for k, v := range b.Inputs {
		values[v] = in[k]
	}
	if err := u.p.follow(u.g, b, r.nodes, values); err != nil {
		return nil, err
	}
	out := make([]*value, len(b.Outputs))
	for k, v := range b.Outputs {
		out[k] = values[v]
		if out[k] == nil {
			return nil, u.unsupported("gives %q, which is of a type that is not read here", b.Values[v].Name)
		}
	}
	return out, nil
}

// apply adds a node of the standard's, as of opset 11, with one output.
func (u *unroll) apply(op string, attrs map[string]onnx.Attr, in ...*value) (*value, error) {
	src := &onnx.Node{Name: u.src.Name, Op: op, Version: 11, Attrs: attrs, Inputs: make([]int, len(in)), Outputs: []int{0}}
	out, err := u.g.apply(src, in)
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

func constant(t *ops.Tensor) *value { return &value{Type: t.Type, konst: t} }

// truth is the value of a condition, if it is known.
func truth(v *value) (is, known bool) {
	if v.konst == nil || v.DType != onnx.Bool || v.Elems() != 1 {
		return false, false
	}
	return ops.Data[bool](v.konst)[0], true
}

func (u *unroll) branch(in []*value) ([]*value, error) {
	cond := in[0]
	if cond == nil {
		return nil, u.invalid("the condition is left out")
	}
	if cond.DType != onnx.Bool || cond.Elems() != 1 {
		return nil, u.invalid("the condition is %v, want one bool", cond.Type)
	}
	is, known := truth(cond)
	switch {
	case known && is:
		return u.body("then_branch", nil)
	case known:
		return u.body("else_branch", nil)
	}
	then, err := u.body("then_branch", nil)
	if err != nil {
		return nil, err
	}
	other, err := u.body("else_branch", nil)
	if err != nil {
		return nil, err
	}
	if len(cond.Shape) > 0 {
		if cond, err = u.apply("Squeeze", nil, cond); err != nil {
			return nil, err
		}
	}
	out := make([]*value, min(len(then), len(other)))
	for i := range out {
		if then[i].DType != other[i].DType || !slices.Equal(then[i].Shape, other[i].Shape) {
			return nil, u.unsupported("gives %v or %v, depending on the data of this run", then[i].Type, other[i].Type)
		}
		if out[i], err = u.apply("Where", nil, cond, then[i], other[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (u *unroll) loop(in []*value) ([]*value, error) {
	rounds := -1 // until the condition says so
	if m := in[0]; m != nil {
		if m.konst == nil {
			return nil, u.unsupported("its trip count depends on the data of this run")
		}
		if m.Elems() != 1 || m.DType != onnx.Int64 {
			return nil, u.invalid("its trip count is %v, want one int64", m.Type)
		}
		rounds = max(m.konst.Clamped()[0], 0)
	}
	goOn := true
	if len(in) > 1 && in[1] != nil {
		var known bool
		if goOn, known = truth(in[1]); !known {
			return nil, u.unsupported("whether it runs depends on the data of this run")
		}
	}
	b := u.src.Attrs["body"].Graph
	carried := slices.Clone(in[min(2, len(in)):])
	if b == nil || len(b.Inputs) != 2+len(carried) || len(b.Outputs) < 1+len(carried) {
		return nil, u.invalid("its body does not take the %d values that it hands on, or does not give them", len(carried))
	}
	for _, v := range carried {
		if v == nil {
			return nil, u.unsupported("hands on a value left out")
		}
	}
	scans := make([][]*value, len(b.Outputs)-1-len(carried))
	for i := 0; goOn && (rounds < 0 || i < rounds); i++ {
		out, err := u.body("body", append([]*value{
			u.scalarFor(b, 0, ops.Of([]int{}, []int64{int64(i)})),
			u.scalarFor(b, 1, ops.Of([]int{}, []bool{true})),
		}, carried...))
		if err != nil {
			return nil, err
		}
		var known bool
		if goOn, known = truth(out[0]); !known {
			return nil, u.unsupported("whether it goes on depends on the data of this run")
		}
		carried = out[1 : 1+len(carried)]
		for k := range scans {
			scans[k] = append(scans[k], out[1+len(carried)+k])
		}
	}
	for k, list := range scans {
		v, err := u.stack(list, 0, b.Values[b.Outputs[1+len(carried)+k]])
		if err != nil {
			return nil, err
		}
		carried = append(carried[:len(carried):len(carried)], v)
	}
	return carried, nil
}

// scalarFor is a constant for input i of a body, with one axis if it is declared
// so.
func (u *unroll) scalarFor(b *onnx.Graph, i int, t *ops.Tensor) *value {
	if len(b.Values[b.Inputs[i]].Dims) == 1 {
		t = t.As(ops.Type{DType: t.DType, Shape: []int{1}})
	}
	return constant(t)
}

// stack joins values along a new axis. Of none at all it is empty, and only what
// the file declares says of which shape.
func (u *unroll) stack(list []*value, axis int, declared onnx.Value) (*value, error) {
	if len(list) == 0 {
		t := ops.Type{DType: declared.DType, Shape: make([]int, len(declared.Dims))}
		for i, d := range declared.Dims {
			t.Shape[i] = d.Size
		}
		if t.DType == 0 || declared.Dims == nil || slices.Contains(t.Shape, -1) || axis != 0 {
			return nil, u.unsupported("runs no round, and the shape of output %q is not declared", declared.Name)
		}
		t.Shape = append([]int{0}, t.Shape...)
		return constant(ops.New(t)), nil
	}
	rows := make([]*value, len(list))
	for i, v := range list {
		if axis < 0 {
			axis += len(v.Shape) + 1
		}
		row, err := u.apply("Unsqueeze", map[string]onnx.Attr{"axes": {Kind: onnx.AttrInts, Ints: []int64{int64(axis)}}}, v)
		if err != nil {
			return nil, err
		}
		rows[i] = row
	}
	return u.apply("Concat", map[string]onnx.Attr{"axis": intAttr(axis)}, rows...)
}

// pick is position i of a value along an axis.
func (u *unroll) pick(v *value, axis, i int) (*value, error) {
	return u.apply("Gather", map[string]onnx.Attr{"axis": intAttr(axis)}, v, constant(ops.Of([]int{}, []int64{int64(i)})))
}

func ints(n *onnx.Node, attr string) []int64 { return n.Attrs[attr].Ints }

// nth is element i of an attribute's list, 0 when it is not given.
func nth(list []int64, i int) int {
	if i < len(list) {
		return ops.ClampInt(list[i])
	}
	return 0
}

// scan hands states from one position of the scanned inputs to the next.
func (u *unroll) scan(in []*value, directions []int64) ([]*value, error) {
	if slices.Contains(in, nil) {
		return nil, u.invalid("an input is left out")
	}
	b := u.src.Attrs["body"].Graph
	n := ops.ClampInt(u.src.Attrs["num_scan_inputs"].Int)
	if b == nil || n < 1 || n > len(in) || len(b.Outputs) < len(in)-n {
		return nil, u.invalid("scans %d of %d inputs", n, len(in))
	}
	states, scanned := slices.Clone(in[:len(in)-n]), in[len(in)-n:]
	axes := make([]int, n)
	rounds := -1
	for k, v := range scanned {
		axes[k] = nth(ints(u.src, "scan_input_axes"), k)
		if axes[k] < 0 {
			axes[k] += len(v.Shape)
		}
		if axes[k] < 0 || axes[k] >= len(v.Shape) {
			return nil, u.invalid("scans %v along axis %d", v.Type, axes[k])
		}
		if length := v.Shape[axes[k]]; rounds >= 0 && length != rounds {
			return nil, u.invalid("scans inputs of length %d and %d", rounds, length)
		} else {
			rounds = length
		}
	}
	scans := make([][]*value, len(b.Outputs)-len(states))
	for i := range rounds {
		args := slices.Clone(states)
		for k, v := range scanned {
			at := i
			if nth(directions, k) != 0 {
				at = rounds - 1 - i
			}
			row, err := u.pick(v, axes[k], at)
			if err != nil {
				return nil, err
			}
			args = append(args, row)
		}
		out, err := u.body("body", args)
		if err != nil {
			return nil, err
		}
		states = out[:len(states)]
		for k := range scans {
			scans[k] = append(scans[k], out[len(states)+k])
		}
	}
	out := slices.Clone(states)
	for k, list := range scans {
		if nth(ints(u.src, "scan_output_directions"), k) != 0 {
			slices.Reverse(list)
		}
		v, err := u.stack(list, nth(ints(u.src, "scan_output_axes"), k), b.Values[b.Outputs[len(states)+k]])
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// scanBatch is Scan-8: every value has a batch axis in front, and each image of
// the batch is scanned on its own.
func (u *unroll) scanBatch(in []*value) ([]*value, error) {
	if len(in) < 2 || in[0] != nil {
		return nil, u.unsupported("the lengths of the sequences are given")
	}
	in = in[1:]
	if slices.Contains(in, nil) || len(in[0].Shape) == 0 {
		return nil, u.invalid("input 1 has no batch axis")
	}
	batch := in[0].Shape[0]
	var all [][]*value
	for i := range batch {
		args := make([]*value, len(in))
		for k, v := range in {
			if len(v.Shape) == 0 || v.Shape[0] != batch {
				return nil, u.invalid("input %d is %v, want a batch of %d", k+1, v.Type, batch)
			}
			var err error
			if args[k], err = u.pick(v, 0, i); err != nil {
				return nil, err
			}
		}
		out, err := u.scan(args, ints(u.src, "directions"))
		if err != nil {
			return nil, err
		}
		if all == nil {
			all = make([][]*value, len(out))
		}
		for k, v := range out {
			all[k] = append(all[k], v)
		}
	}
	if all == nil {
		return nil, u.unsupported("the batch is empty")
	}
	out := make([]*value, len(all))
	for k, list := range all {
		var err error
		if out[k], err = u.stack(list, 0, onnx.Value{}); err != nil {
			return nil, err
		}
	}
	return out, nil
}
