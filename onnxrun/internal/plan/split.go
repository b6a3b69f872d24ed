package plan

import (
	"context"
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// split is the model in two graphs. The first takes the early inputs, one row of
// them if they have a row for each sample, and gives what nodes of the second read of
// that; these are further inputs of the second, shared by its rows. Both are nil when
// the first would have nothing to compute.
//
// The nodes of the first are those whose row i depends on row i of the early inputs
// alone, and constants. Those of the second that work element by element take the
// one row as it is; for others it is repeated first.
func (p *Program) split(ctx context.Context, inputs []ops.Type, early []int) (head, body *graph, err error) {
	g, err := p.specialise(ctx, inputs, nil)
	if err != nil {
		return nil, nil, err
	}
	s := &splitter{graph: g, rows: 1, one: map[*value]*value{}, shared: map[*value]*value{}, repeated: map[*value]*value{}}
	body = &graph{packs: g.packs, exact: g.exact, scores: g.scores, ctx: g.ctx, program: g.program, folded: g.folded}
	head = &graph{packs: g.packs, exact: g.exact, scores: g.scores, ctx: g.ctx, program: g.program}
	for i, v := range g.in {
		if !slices.Contains(early, i) {
			if len(body.in) == 0 && len(v.Shape) > 0 {
				s.rows = v.Shape[0]
			}
			body.in = append(body.in, v)
		}
	}
	carries := map[*value]bool{}
	for _, i := range early {
		v := g.in[i]
		if len(v.Shape) == 0 || v.Shape[0] != s.rows {
			if v.Elems() > 1 && v.Shape[0] != 1 || len(early) > 1 {
				return nil, nil, nil
			}
			s.rows = 1 // one time for all samples as it is
		}
	}
	for _, i := range early {
		w := s.row(g.in[i])
		s.one[g.in[i]], carries[g.in[i]] = w, true
		head.in = append(head.in, w)
	}
	s.head, s.body = head, body
	work := false
	for _, n := range g.nodes {
		if one := s.narrow(n, carries); one != nil {
			head.nodes = append(head.nodes, one)
			work = work || !one.kernel.View
			for j, v := range n.out {
				if v != nil {
					s.one[v], carries[v] = one.out[j], true
				}
			}
			continue
		}
		if err := s.late(n); err != nil {
			return nil, nil, err
		}
	}
	for _, v := range g.out {
		if s.one[v] != nil {
			if v, err = s.repeat(v); err != nil {
				return nil, nil, err
			}
		}
		body.out = append(body.out, v)
	}
	if !work || len(head.out) == 0 || len(body.in) == len(head.out) {
		return nil, nil, nil
	}
	head.sweep()
	return head, body, nil
}

// splitter holds the state of split.
type splitter struct {
	graph      *graph
	head, body *graph
	rows       int               // of the early values; 1 where they have none
	one        map[*value]*value // what stands in head for a value of the model
	shared     map[*value]*value // and what in body, as an input of it
	repeated   map[*value]*value // and with all its rows
}

// row is a value of head for one of the model's, with one row.
func (s *splitter) row(v *value) *value {
	t := v.Type
	if s.rows > 1 {
		t.Shape = slices.Clone(t.Shape)
		t.Shape[0] = 1
	}
	return &value{Type: t, name: v.name}
}

// narrow is the node of head that computes one row of what n does; nil when n is no
// node for head.
func (s *splitter) narrow(n *node, carries map[*value]bool) *node {
	some := false
	for _, v := range n.in {
		if v != nil && v.konst == nil {
			if !carries[v] {
				return nil
			}
			some = true
		}
	}
	if !some {
		return nil
	}
	if s.rows > 1 {
		for _, v := range n.out {
			if v != nil && (len(v.Shape) == 0 || v.Shape[0] != s.rows) {
				return nil
			}
		}
		if n.out[0] == nil || !n.byRow(carries) {
			return nil
		}
	}
	one := &node{src: n.src, in: slices.Clone(n.in), out: make([]*value, len(n.out))}
	for i, v := range n.in {
		if w := s.one[v]; w != nil {
			one.in[i] = w
		}
	}
	for j, v := range n.out {
		if v != nil {
			one.out[j] = s.row(v)
		}
	}
	if s.rows > 1 && (n.src.Op == "Reshape" || n.src.Op == "Expand") {
		if len(one.in) < 2 {
			return nil
		}
		one.in[1] = listed(one.out[0].Shape)
	}
	if s.graph.lower(one) != nil {
		return nil
	}
	for j, v := range one.out {
		if v != nil && !slices.Equal(v.Shape, one.kernel.Out[j].Shape) {
			return nil
		}
	}
	return one
}

// late adds a node of the model to body.
func (s *splitter) late(n *node) error {
	next := &node{src: n.src, in: slices.Clone(n.in), out: n.out, kernel: n.kernel}
	if s.rows > 1 && !s.elementwise(n) {
		for i, v := range n.in {
			if s.one[v] == nil {
				continue
			}
			w, err := s.repeat(v)
			if err != nil {
				return err
			}
			next.in[i] = w
		}
		s.body.nodes = append(s.body.nodes, next)
		return nil
	}
	changed := false
	for i, v := range n.in {
		if s.one[v] != nil {
			next.in[i], changed = s.share(v), true
		}
	}
	if changed {
		if err := s.graph.lower(next); err != nil {
			return err
		}
	}
	s.body.nodes = append(s.body.nodes, next)
	return nil
}

// elementwise reports whether a node gives the same for one row of its early inputs
// as for all of them: an operation element by element, whose other operands have the
// rows.
func (s *splitter) elementwise(n *node) bool {
	switch {
	case n.src.Domain != "" || n.src.Version < 7 || len(n.out) != 1:
		return false
	case !slices.Contains([]string{"Add", "Sub", "Mul", "Div", "Pow", "Min", "Max"}, n.src.Op):
		return false
	}
	rank := len(n.out[0].Shape)
	some := false
	for _, v := range n.in {
		if s.one[v] != nil && len(v.Shape) != rank {
			return false // its rows lie along another axis of the output
		}
		some = some || s.one[v] == nil && len(v.Shape) == rank && v.Shape[0] == s.rows
	}
	return some
}

// share is the input of body for an early value.
func (s *splitter) share(v *value) *value {
	w := s.shared[v]
	if w == nil {
		w = s.row(v)
		w.shared = true
		s.shared[v] = w
		s.body.in = append(s.body.in, w)
		s.head.out = append(s.head.out, s.one[v])
	}
	return w
}

// repeat is an early value in body with all its rows.
func (s *splitter) repeat(v *value) (*value, error) {
	if s.rows == 1 {
		return s.share(v), nil
	}
	if w := s.repeated[v]; w != nil {
		return w, nil
	}
	n := &node{
		src: &onnx.Node{Name: v.name, Op: "Expand", Version: 13, Inputs: make([]int, 2), Outputs: make([]int, 1)},
		in:  []*value{s.share(v), listed(v.Shape)},
		out: []*value{{Type: v.Type, name: v.name}},
	}
	if err := s.graph.lower(n); err != nil {
		return nil, err
	}
	s.body.nodes = append(s.body.nodes, n)
	s.repeated[v] = n.out[0]
	return n.out[0], nil
}

// listed is a constant list of integers.
func listed(v []int) *value {
	t := ops.New(ops.Type{DType: onnx.Int64, Shape: []int{len(v)}})
	for i, n := range v {
		ops.Data[int64](t)[i] = int64(n)
	}
	return &value{Type: t.Type, konst: t}
}
