package plan

import (
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// fuseProduct lets a product of two computed tensors read them as they lie in
// what they are transposes and slices of, and write its result to where a
// transpose after it would bring it, as far as rows stay in one piece.
func fuseProduct(m *matcher, n *node) *node {
	if backMoves[n.src.Op] == nil && n.src.Op != "MatMul" && n.src.Op != "Einsum" {
		return nil
	}
	if next := m.next(n); next != nil && m.productOfViews(next) != nil {
		return nil
	}
	return m.productOfViews(n)
}

func (m *matcher) productOfViews(last *node) *node {
	y, end := m.backTo(last)
	p := productOf(end)
	if p == nil || !ops.IsFloat32(end.out[0].DType) || last.out[0].Elems() == 0 {
		return nil
	}
	for i := range 2 {
		if fused := m.productWith(last, end, p, y, i); fused != nil {
			return fused
		}
	}
	return nil
}

// productWith is the fused node when operand i of the product is the left one.
func (m *matcher) productWith(last, end *node, p *product, y view, i int) *node {
	al, bl := p.in[i], p.in[1-i]
	batch, rows, cols := only(p.out, [][]int{al, bl}), only(p.out, [][]int{al}, bl), only(p.out, [][]int{bl}, al)
	depth := only(al, [][]int{bl}, p.out)
	if len(batch)+len(rows)+len(depth) != len(al) || len(batch)+len(cols)+len(depth) != len(bl) {
		return nil
	}
	items, rn, cn, dn := p.size(batch), p.size(rows), p.size(cols), p.size(depth)
	if dn == 0 || end.in[i].Elems() == 0 || end.in[1-i].Elems() == 0 {
		return nil
	}
	saved := last != end && slices.ContainsFunc(m.chain(last, end), func(n *node) bool { return n.src.Op == "Transpose" })
	in, at := []*value{}, [][]int{}
	for k, side := range [][]int{al, bl} {
		v := end.in[i]
		r, c := rows, depth
		nr, nc := rn, dn
		if k == 1 {
			v, r, c, nr, nc = end.in[1-i], depth, cols, dn, cn
		}
		if v.konst != nil || !ops.IsFloat32(v.DType) {
			return nil
		}
		w := m.look(v, nil)
		list := p.matrices(w, side, batch, r, c)
		if !straight(list, nr, nc, k == 1) {
			w = whole(v)
			list = p.matrices(w, side, batch, r, c)
		}
		if !straight(list, nr, nc, k == 1) {
			return nil
		}
		saved = saved || w.src != v
		in, at = append(in, w.src), append(at, list)
	}
	out := p.matrices(y, p.out, batch, rows, cols)
	if !saved || !straight(out, rn, cn, false) {
		return nil
	}
	return fusedNode(last, "Product", map[string]onnx.Attr{
		"sizes": listAttr([]int{items, rn, cn, dn}), "a": listAttr(at[0]), "b": listAttr(at[1]), "c": listAttr(out),
		"shape": listAttr(last.out[0].Shape)}, in...)
}

// straight reports whether rows of such a matrix are in one piece, or if turned
// is allowed its columns.
func straight(at []int, rows, cols int, turned bool) bool {
	if at == nil {
		return false
	}
	major := func(row, col, rows, cols int) bool { return (col == 1 || cols == 1) && (row >= cols || rows == 1) }
	return major(at[1], at[2], rows, cols) || turned && major(at[2], at[1], cols, rows)
}
