package plan

import (
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// fuseRotary finds rotary position embedding as exporters write it,
//
//	x·cos + Concat(-x[…, d/2:], x[…, :d/2])·sin
//
// the halves by Slice or Split, or neighbours in pairs:
//
//	Reshape(Concat(Unsqueeze(-x[…, 1::2]), Unsqueeze(x[…, ::2])))
//
// x is read as it lies in what it is a slice or a transpose of.
func fuseRotary(m *matcher, n *node) *node {
	if n.src.Domain != "" || n.src.Op != "Add" || !ops.IsFloat32(n.out[0].DType) {
		return nil
	}
	a, b := m.from(n.in[0], "", "Mul", 1), m.from(n.in[1], "", "Mul", 1)
	if a == nil || b == nil {
		return nil
	}
	for _, pair := range [][2]*node{{a, b}, {b, a}} {
		for i := range 4 {
			x, cos := pair[0].in[i%2], pair[0].in[1-i%2]
			turned, sin := pair[1].in[i/2], pair[1].in[1-i/2]
			if fused := m.rotary(n, x, cos, turned, sin); fused != nil {
				return fused
			}
		}
	}
	return nil
}

func (m *matcher) rotary(n *node, x, cos, turned, sin *value) *node {
	shape := x.Shape
	rank := len(shape)
	if x.konst != nil || rank < 2 || shape[rank-1]%2 != 0 || x.Elems() == 0 || !slices.Equal(shape, n.out[0].Shape) || !slices.Equal(shape, turned.Shape) {
		return nil
	}
	half := shape[rank-1] / 2
	interleaved := false
	concat := m.from(turned, "", "Concat", 1)
	if r := m.from(turned, "", "Reshape", 1); r != nil {
		interleaved = true
		concat = m.from(r.in[0], "", "Concat", 1)
	}
	if concat == nil || len(concat.in) != 2 {
		return nil
	}
	axis, last := ops.ClampInt(concat.src.Attrs["axis"].Int), len(concat.out[0].Shape)-1
	if axis != -1 && axis != last || interleaved && !slices.Equal(concat.out[0].Shape, append(slices.Clone(shape[:rank-1]), half, 2)) {
		return nil
	}
	first, second := concat.in[0], concat.in[1]
	if interleaved {
		for _, v := range []**value{&first, &second} {
			u := m.from(*v, "", "Unsqueeze", 1)
			if u == nil {
				return nil
			}
			*v = u.in[0]
		}
	}
	neg := m.from(first, "", "Neg", 1)
	if neg == nil {
		return nil
	}
	at, step := half, 1
	if interleaved {
		at, step = 1, 2
	}
	if !m.halfOf(x, neg.in[0], at, step) || !m.halfOf(x, second, 0, step) {
		return nil
	}

	in := []*value{}
	attrs := map[string]onnx.Attr{"shape": listAttr(shape), "interleaved": intAttr(0),
		"sizes": listAttr([]int{ops.Type{Shape: shape[:rank-2]}.Elems(), shape[rank-2], 2 * half})}
	if interleaved {
		attrs["interleaved"] = intAttr(1)
	}
	for i, v := range []*value{x, cos, sin} {
		lead := rank - len(v.Shape)
		if lead < 0 || len(v.Shape) == 0 || v.Shape[len(v.Shape)-1] != 2*half || !ops.IsFloat32(v.DType) {
			return nil
		}
		list := m.rowsOf(m.look(v, nil), lead, shape)
		w := m.look(v, nil).src
		if list == nil || list[2] != 1 {
			list, w = m.rowsOf(whole(v), lead, shape), v
		}
		if list == nil {
			return nil
		}
		attrs[[]string{"x", "cos", "sin"}[i]] = listAttr(list)
		in = append(in, w)
	}
	return fusedNode(n, "Rotary", attrs, in...)
}

// rowsOf is where the matrices of a view lie that is broadcast to shape, its
// first axis being that one's lead'th.
func (m *matcher) rowsOf(w view, lead int, shape []int) []int {
	joined := func(from, to int) (all axis) {
		for k := from; k < to; k++ {
			if k >= lead && len(w.axes[k-lead]) > 0 {
				all = append(all, w.axes[k-lead]...)
			} else if shape[k] != 1 {
				all = append(all, stride{shape[k], 0})
			}
		}
		return all
	}
	rank := len(shape)
	return w.matrices(joined(0, rank-2), joined(rank-2, rank-1), joined(rank-1, rank))
}

// halfOf reports whether v is every step'th element of x along the last axis,
// half of them, from the at'th on.
func (m *matcher) halfOf(x, v *value, at, step int) bool {
	n := m.made(v)
	if n == nil || n.src.Domain != "" || n.in[0] != x {
		return false
	}
	rank := len(x.Shape)
	want := slices.Clone(x.Shape)
	want[rank-1] /= 2
	var w view
	ok := false
	switch n.src.Op {
	case "Slice":
		w, ok = whole(x).slice(n, v)
	case "Split":
		w, ok = whole(x).split(n, v)
	}
	return ok && slices.Equal(v.Shape, want) && w.at == at && (want[rank-1] == 1 || slices.Equal(w.axes[rank-1], axis{{want[rank-1], step}}))
}
