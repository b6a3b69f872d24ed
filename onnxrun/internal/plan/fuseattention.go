package plan

import (
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// fuseAttention finds softmax(scale·Q·Kᵀ + mask)·V in every form that exporters
// give it:
//
//	MatMul or Einsum → ·scale, scale on Q or K or both → + mask → Softmax
//	→ MatMul or Einsum
//
// with reshapes anywhere. What Q, K, V and the mask are slices, transposes and
// regroupings of is read as it lies, and so is the result written to where
// transposes and reshapes after it would bring it.
func fuseAttention(m *matcher, n *node) *node {
	if _, moved := backMoves[n.src.Op]; !moved && n.src.Op != "MatMul" && n.src.Op != "Einsum" {
		return nil
	}
	// A node that moves the result on is the better end of the pattern.
	if next := m.next(n); next != nil && m.attention(next) != nil {
		return nil
	}
	return m.attention(n)
}

// backMoves are the operators that may follow an attention: given a view of
// their output, the view of their input.
var backMoves = map[string]func(w view, n *node) (view, bool){
	"Transpose": func(w view, n *node) (view, bool) { return w.back(perm(n)), true },
	"Reshape":   backReshape,
	"Flatten":   backReshape,
	"Squeeze":   backReshape,
	"Unsqueeze": backReshape,
}

func backReshape(w view, n *node) (view, bool) { return w.reshape(n.in[0].Shape) }

// next is the node that moves the output of n, when that is its only reader.
func (m *matcher) next(n *node) *node {
	if n.src.Domain != "" || m.readers[n.out[0]] != 1 {
		return nil
	}
	next := m.reader[n.out[0]]
	if next == nil || next.src.Domain != "" || backMoves[next.src.Op] == nil || next.in[0] != n.out[0] {
		return nil
	}
	return next
}

// attention is the fused node for the attention that ends with n.
func (m *matcher) attention(last *node) *node {
	y, end := m.backTo(last)
	pv := productOf(end)
	if pv == nil || !ops.IsFloat32(end.out[0].DType) || last.out[0].Elems() == 0 {
		return nil
	}
	for i := range 2 {
		if fused := m.attentionOf(last, end, pv, y, i); fused != nil {
			return fused
		}
	}
	return nil
}

// backTo goes up from a node, past those that only move what one before them
// makes, to that one; y is its output as it lies in the first node's. end is nil
// when others read it on the way.
func (m *matcher) backTo(last *node) (y view, end *node) {
	y, end = whole(last.out[0]), last
	for end.src.Domain == "" && backMoves[end.src.Op] != nil {
		var ok bool
		if y, ok = backMoves[end.src.Op](y, end); !ok {
			return y, nil
		}
		v := end.in[0]
		if end = m.made(v); end == nil || m.readers[v] != 1 || end.out[0] != v {
			return y, nil
		}
	}
	return y, end
}

// chain lists the nodes that backTo passes.
func (m *matcher) chain(last, end *node) []*node {
	var list []*node
	for n := last; n != end; n = m.maker[n.in[0]] {
		list = append(list, n)
	}
	return list
}

// attentionOf is attention when operand i of the last product is the softmax.
func (m *matcher) attentionOf(last, end *node, pv *product, y view, i int) *node {
	s := m.softmaxed(end.in[i])
	if s.qk == nil {
		return nil
	}
	qk := productOf(s.qk)
	if qk == nil || len(qk.out) == 0 || s.scale <= 0 {
		return nil
	}
	// The keys are the axes that end the scores; which operand has them?
	a, b := 0, 1
	if slices.Contains(qk.in[0], qk.out[len(qk.out)-1]) {
		a, b = 1, 0
	}
	ql, kl := qk.in[a], qk.in[b]
	batch, queries, keys := only(qk.out, [][]int{ql, kl}), only(qk.out, [][]int{ql}, kl), only(qk.out, [][]int{kl}, ql)
	depth := only(ql, [][]int{kl}, qk.out)
	if !slices.Equal(slices.Concat(batch, queries, keys), qk.out) || len(batch)+len(queries)+len(depth) != len(ql) || len(batch)+len(keys)+len(depth) != len(kl) {
		return nil // among others, batches that only one operand has
	}
	vl, pl := pv.in[1-i], pv.in[i]
	batch2, queries2 := only(pl, [][]int{vl, pv.out}), only(pl, [][]int{pv.out}, vl)
	keys2, width := only(pl, [][]int{vl}, pv.out), only(vl, [][]int{pv.out}, pl)
	if !slices.Equal(slices.Concat(batch2, queries2, keys2), pl) || len(batch2)+len(keys2)+len(width) != len(vl) {
		return nil
	}
	items, tq, tk, d := qk.size(batch), qk.size(queries), qk.size(keys), qk.size(depth)
	items2, tq2, tk2, dv := pv.size(batch2), pv.size(queries2), pv.size(keys2), pv.size(width)
	if end.in[i].Elems() != items*tq*tk || items != items2 || tq != tq2 || tk != tk2 || tk != s.row || d == 0 {
		return nil
	}

	scale := s.scale
	operand := func(v *value, p *product, labels, batch, rows, cols []int, scale *float64) (*value, []int) {
		by := 1.0
		through := &by
		if scale == nil {
			through = nil
		}
		w := m.look(v, through)
		at := p.matrices(w, labels, batch, rows, cols)
		if at == nil {
			w, by = whole(v), 1
			at = p.matrices(w, labels, batch, rows, cols)
		}
		if scale != nil {
			*scale *= by
		}
		if at == nil || v.konst != nil || !ops.IsFloat32(w.src.DType) {
			return nil, nil
		}
		return w.src, at
	}
	q, qAt := operand(s.qk.in[a], qk, ql, batch, queries, depth, &scale)
	k, kAt := operand(s.qk.in[b], qk, kl, batch, keys, depth, &scale)
	v, vAt := operand(end.in[1-i], pv, vl, batch2, keys2, width, nil)
	yAt := pv.matrices(y, pv.out, batch2, queries2, width)
	if q == nil || k == nil || v == nil || yAt == nil || !(scale > 0) {
		return nil
	}
	in := []*value{q, k, v}
	attrs := map[string]onnx.Attr{
		"sizes": listAttr([]int{items, tq, tk, d, dv}), "scale": floatAttr(float32(scale)), "blind": intAttr(s.blind),
		"q": listAttr(qAt), "k": listAttr(kAt), "v": listAttr(vAt), "y": listAttr(yAt), "shape": listAttr(last.out[0].Shape),
	}
	if s.mask != nil {
		mask, at := m.maskOf(&s, tq, tk)
		if at == nil {
			return nil
		}
		in, attrs["mask"] = append(in, mask), listAttr(at)
	}
	return fusedNode(last, "Attention", attrs, in...)
}

func listAttr(list []int) onnx.Attr {
	a := onnx.Attr{Kind: onnx.AttrInts}
	for _, v := range list {
		a.Ints = append(a.Ints, int64(v))
	}
	return a
}

// softmaxed is what a softmax's result was computed of.
type softmaxed struct {
	qk    *node   // makes the scores
	scale float64 // that they are multiplied by
	mask  *value  // that is added then, broadcast to shape; nil: none
	shape []int
	row   int // scores of a softmax
	blind int // see lowerTiledAttention
}

// softmaxed walks up from a value to the node that makes the scores of a softmax
// along the last axis; qk is nil when there is none.
func (m *matcher) softmaxed(v *value) softmaxed {
	s := softmaxed{scale: 1}
	v = m.past(v, "Reshape")
	// A query that sees nothing has 0/0: exporters may put 0 in its place.
	if n := m.from(v, "", "Where", 1); n != nil && all(n.in[1], 0) && n.in[1].Elems() == 1 {
		test := m.from(n.in[0], "", "IsNaN", 1)
		if test == nil || test.in[0] != n.in[2] || m.readers[n.in[2]] != 2 {
			return s
		}
		s.blind = 2
		v = n.in[2]
	}
	readers := 1
	if s.blind != 0 {
		readers = 2
	}
	n := m.from(v, "", "Softmax", readers)
	if n == nil {
		return s
	}
	shape := n.out[0].Shape
	axis := -1
	if n.src.Version < 13 {
		axis = 1
	}
	if a, ok := n.src.Attrs["axis"]; ok {
		axis = ops.ClampInt(a.Int)
	}
	if axis < 0 {
		axis += len(shape)
	}
	if len(shape) == 0 || axis != len(shape)-1 {
		return s
	}
	s.row = shape[axis]
	for v = n.in[0]; m.readers[v] == 1; {
		n := m.made(v)
		if n == nil || n.src.Domain != "" || n.out[0] != v {
			return s
		}
		switch n.src.Op {
		case "Reshape":
			v = n.in[0]
		case "Mul", "Div":
			x, by := m.scaled(n)
			if x == nil {
				return s
			}
			s.scale *= by
			v = x
		case "Add":
			// Scaling first, the mask next: as one scale and one mask are all
			// there is, nothing may be scaled after the mask.
			i := m.scores(n)
			if i < 0 || s.mask != nil || s.scale != 1 {
				return s
			}
			s.mask, s.shape = n.in[1-i], n.out[0].Shape
			v = n.in[i]
		case "MatMul", "Einsum":
			s.qk = n
			return s
		default:
			return s
		}
	}
	return s
}

// scores is which operand of an Add leads to a product, as large as the sum; −1
// for neither or both.
func (m *matcher) scores(add *node) int {
	found := -1
	for i, v := range add.in {
		if !slices.Equal(v.Shape, add.out[0].Shape) {
			continue
		}
		for n := m.made(v); n != nil && n.src.Domain == "" && m.readers[v] == 1; n = m.made(v) {
			if n.src.Op == "MatMul" || n.src.Op == "Einsum" {
				if found >= 0 {
					return -1
				}
				found = i
				break
			}
			if x, _ := m.scaled(n); x != nil {
				v = x
			} else if n.src.Op == "Reshape" {
				v = n.in[0]
			} else {
				break
			}
		}
	}
	return found
}

// maskOf is where the masks lie of scores that end in tq×tk matrices.
func (m *matcher) maskOf(s *softmaxed, tq, tk int) (*value, []int) {
	if !ops.IsFloat32(s.mask.DType) {
		return nil, nil
	}
	w := m.look(s.mask, nil)
	lead := len(s.shape) - len(w.axes)
	// The axes of keys, then those of queries, then the rest.
	end := len(s.shape)
	joined := func(n int) (all axis) {
		for have := 1; end > 0 && have < n; have *= s.shape[end] {
			end--
			switch i := end - lead; {
			case i >= 0 && len(w.axes[i]) > 0:
				all = slices.Concat(w.axes[i], all)
			case s.shape[end] != 1:
				all = slices.Concat(axis{{s.shape[end], 0}}, all)
			}
		}
		return all
	}
	size := func(a axis) int {
		n := 1
		for _, s := range a {
			n *= s.n
		}
		return n
	}
	items := ops.Type{Shape: s.shape}.Elems() / (tq * tk)
	keys, queries, batch := joined(tk), joined(tq), joined(items)
	if size(keys) != tk || size(queries) != tq || size(batch) != items {
		return nil, nil
	}
	return w.src, w.matrices(batch, queries, keys)
}
