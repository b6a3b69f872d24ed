package plan

import (
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// The normalisations that exporters write out as means, squares and roots.

// fuseLayerNorm finds, with x̄ the mean of x over its trailing axes,
//
//	(x − x̄)/√(mean((x − x̄)²) + ε)   and   x/√(mean(x²) + ε),
//
// LayerNormalization and RMSNormalization with scale 1. The division may be a
// product with a reciprocal, the square a Mul or a Pow, and each mean may be taken
// anew.
func fuseLayerNorm(m *matcher, n *node) *node {
	num, square, eps, ok := m.overRoot(n)
	if !ok {
		return nil
	}
	of, axes := m.mean(square)
	d := m.squared(of)
	if d == nil || !trailing(axes, len(d.Shape)) || !slices.Equal(square.Shape, meanShape(d.Shape, axes)) || !slices.Equal(n.out[0].Shape, d.Shape) {
		return nil
	}
	op, version, x := "RMSNormalization", int64(23), num
	if c := m.centred(num, axes); c != nil && c == m.centred(d, axes) {
		op, version, x = "LayerNormalization", 17, c
	} else if num != d {
		return nil
	}
	if !ops.IsFloat32(x.DType) {
		return nil
	}
	return standardNode(n, op, version, map[string]onnx.Attr{"axis": intAttr(axes[0]), "epsilon": floatAttr(eps)},
		x, filled(n.src.Name, x.Shape[axes[0]:], 1))
}

// fuseRowScale joins a product with the normalisation of rows before it: γ, or 1 +
// scale of an adaptive normalisation (Peebles & Xie 2023, DiT), one for each sample.
func fuseRowScale(m *matcher, n *node) *node {
	norm, scale := m.afterRowNorm(n, "Mul")
	if norm == nil || !all(norm.in[1], 1) || len(norm.in) > 2 && norm.in[2] != nil {
		return nil
	}
	return standardNode(n, norm.src.Op, norm.src.Version, norm.src.Attrs, norm.in[0], scale)
}

// fuseRowShift joins a sum with it: β, or the shift.
func fuseRowShift(m *matcher, n *node) *node {
	norm, shift := m.afterRowNorm(n, "Add")
	if norm == nil || norm.src.Op != "LayerNormalization" || len(norm.in) > 2 && norm.in[2] != nil {
		return nil
	}
	return standardNode(n, norm.src.Op, norm.src.Version, norm.src.Attrs, norm.in[0], norm.in[1], shift)
}

// afterRowNorm: a binary node of which one operand is a normalisation of rows that
// nobody else reads, and the other varies along no axis that the rows have not.
func (m *matcher) afterRowNorm(n *node, op string) (norm *node, other *value) {
	if n.src.Domain != "" || n.src.Op != op {
		return nil, nil
	}
	for i := range 2 {
		norm := m.maker[n.in[i]]
		if norm == nil || norm.src.Domain != "" || norm.src.Op != "LayerNormalization" && norm.src.Op != "RMSNormalization" ||
			m.from(n.in[i], "", norm.src.Op, 1) == nil || len(norm.out) > 1 && slices.ContainsFunc(norm.out[1:], func(v *value) bool { return v != nil }) {
			continue
		}
		other, x := n.in[1-i], norm.in[0]
		if other != n.in[i] && ops.IsFloat32(other.DType) && ops.IsFloat32(x.DType) && slices.Equal(n.out[0].Shape, x.Shape) && len(other.Shape) <= len(x.Shape) {
			return norm, other
		}
	}
	return nil, nil
}

// fuseAddGroupNorm: the embedding of the time that is added before a group
// normalisation has one number for each channel of an image.
func fuseAddGroupNorm(m *matcher, n *node) *node {
	if n.src.Domain != ops.Fused || n.src.Op != "GroupNorm" {
		return nil
	}
	add := m.from(n.in[0], "", "Add", 1)
	if add == nil {
		return nil
	}
	for i := range 2 {
		x, e := add.in[i], add.in[1-i]
		if !slices.Equal(x.Shape, n.out[0].Shape) || len(e.Shape) != len(x.Shape) || e.Shape[1] != x.Shape[1] || e.Elems() == x.Elems() ||
			e.Shape[0] != 1 && e.Shape[0] != x.Shape[0] || slices.ContainsFunc(e.Shape[2:], func(d int) bool { return d != 1 }) ||
			!ops.IsFloat32(x.DType) || !ops.IsFloat32(e.DType) {
			continue
		}
		return fusedNode(n, "AddGroupNorm", n.src.Attrs, x, n.in[1], n.in[2], e)
	}
	return nil
}

// overRoot splits num/√(under + ε), for a positive ε; the root may be a power, and the
// division a product with a reciprocal.
func (m *matcher) overRoot(n *node) (num, under *value, eps float32, ok bool) {
	if n == nil || n.src.Domain != "" || len(n.in) != 2 || n.in[0] == n.in[1] {
		return nil, nil, 0, false
	}
	switch n.src.Op {
	case "Div":
		num, under = n.in[0], m.root(n.in[1])
	case "Mul":
		for i := range 2 {
			if under == nil {
				num, under = n.in[i], m.inverseRoot(n.in[1-i])
			}
		}
	}
	if under == nil {
		return nil, nil, 0, false
	}
	v, c := m.affine(m.maker[under], "Add")
	if v == nil || c.Elems() != 1 || !ops.IsFloat32(c.DType) || !slices.Equal(v.Shape, under.Shape) {
		return nil, nil, 0, false
	}
	eps = ops.Data[float32](c.konst)[0]
	return num, v, eps, eps > 0
}

// root is what v is the square root of; nil when it is none.
func (m *matcher) root(v *value) *value {
	if n := m.from(v, "", "Sqrt", 0); n != nil {
		return n.in[0]
	}
	return m.power(v, 0.5)
}

// inverseRoot is what v is 1/√ of.
func (m *matcher) inverseRoot(v *value) *value {
	if n := m.from(v, "", "Reciprocal", 0); n != nil {
		return m.root(n.in[0])
	}
	if n := m.from(v, "", "Div", 0); n != nil && n.in[0].Elems() == 1 && len(n.in[0].Shape) <= len(v.Shape) && all(n.in[0], 1) {
		return m.root(n.in[1])
	}
	return m.power(v, -0.5)
}

// squared is what v is the square of.
func (m *matcher) squared(v *value) *value {
	if n := m.from(v, "", "Mul", 0); n != nil && n.in[0] == n.in[1] {
		return n.in[0]
	}
	return m.power(v, 2)
}

// power is what v is a constant power of.
func (m *matcher) power(v *value, p float32) *value {
	n := m.from(v, "", "Pow", 0)
	if n == nil || n.in[1].konst == nil || n.in[1].Elems() != 1 || !slices.Equal(n.in[0].Shape, v.Shape) {
		return nil
	}
	if all(n.in[1], p) {
		return n.in[0]
	}
	if e, ok := n.in[1].konst.Ints(); ok && len(e) == 1 && float32(e[0]) == p {
		return n.in[0]
	}
	return nil
}

// mean is what v is the mean of, and over which axes, in order.
func (m *matcher) mean(v *value) (of *value, axes []int) {
	n := m.from(v, "", "ReduceMean", 0)
	if n == nil {
		return nil, nil
	}
	axes = intsAttr(n, "axes")
	if len(n.in) > 1 && n.in[1] != nil {
		if n.in[1].konst == nil {
			return nil, nil
		}
		axes, _ = n.in[1].konst.Ints()
		axes = slices.Clone(axes)
	}
	for i, a := range axes {
		if a < 0 {
			axes[i] += len(n.in[0].Shape)
		}
	}
	slices.Sort(axes)
	if len(axes) == 0 {
		return nil, nil
	}
	return n.in[0], axes
}

// centred is the x of which v is x − mean(x) over these axes.
func (m *matcher) centred(v *value, axes []int) *value {
	n := m.from(v, "", "Sub", 0)
	if n == nil {
		return nil
	}
	x, mean := n.in[0], n.in[1]
	of, over := m.mean(mean)
	if of != x || !slices.Equal(over, axes) || !slices.Equal(mean.Shape, meanShape(x.Shape, axes)) {
		return nil
	}
	return x
}

// meanShape is a shape with ones in the place of axes.
func meanShape(shape, axes []int) []int {
	s := slices.Clone(shape)
	for _, a := range axes {
		s[a] = 1
	}
	return s
}

// trailing reports whether axes, in order, are the last ones of that rank.
func trailing(axes []int, rank int) bool {
	for i, a := range axes {
		if a != rank-len(axes)+i {
			return false
		}
	}
	return len(axes) > 0
}

// thin walks up over nodes that give the same elements in the same order.
func (m *matcher) thin(v *value) *value {
	for {
		n := m.made(v)
		if n == nil || n.src.Domain != "" {
			return v
		}
		switch n.src.Op {
		case "Reshape", "Unsqueeze", "Squeeze", "Flatten", "Identity", "Expand":
		default:
			return v
		}
		if n.in[0].Elems() != v.Elems() {
			return v
		}
		v = n.in[0]
	}
}

// standardNode is a node of the standard that takes the place of last.
func standardNode(last *node, op string, version int64, attrs map[string]onnx.Attr, in ...*value) *node {
	n := fusedNode(last, op, attrs, in...)
	n.src.Domain, n.src.Version = "", version
	return n
}

// filled is a float32 constant of that shape with all elements x.
func filled(name string, shape []int, x float32) *value {
	t := ops.New(ops.Type{DType: onnx.Float, Shape: slices.Clone(shape)})
	for i := range ops.Data[float32](t) {
		ops.Data[float32](t)[i] = x
	}
	return &value{Type: t.Type, name: name, konst: t}
}
