package plan

import (
	"maps"
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// fuseInstanceNormPlus finds the sum of an instance normalisation and α times the
// normalised means of the channels, InstanceNorm++ of NCSNv2 (Song & Ermon 2020).
func fuseInstanceNormPlus(m *matcher, n *node) *node {
	if n.src.Domain != "" || n.src.Op != "Add" {
		return nil
	}
	for i := range 2 {
		norm := m.from(n.in[i], "", "InstanceNormalization", 1)
		if norm == nil || !ops.IsFloat32(n.in[i].DType) || norm.in[1].konst == nil || norm.in[2].konst == nil {
			continue
		}
		x := norm.in[0]
		each := slices.Repeat([]int{1}, len(x.Shape))
		copy(each, x.Shape[:2])
		product, alpha := m.affine(m.from(n.in[1-i], "", "Mul", 1), "Mul")
		if product == nil || !slices.Equal(n.in[1-i].Shape, each) {
			continue
		}
		alpha = perChannel(alpha, x.Shape)
		eps, correction, ok := m.normalisedMeans(product, x)
		if alpha == nil || !ok {
			continue
		}
		own := float32(1e-5)
		if a, ok := norm.src.Attrs["epsilon"]; ok {
			own = a.Float
		}
		return fusedNode(n, "InstanceNormPlus", map[string]onnx.Attr{"epsilon": floatAttr(own), "epsilon_means": floatAttr(eps),
			"correction": floatAttr(correction), "act": strAttr("none")}, x, norm.in[1], norm.in[2], alpha)
	}
	return nil
}

// normalisedMeans reports whether z is (μ − m)/√(r·v + ε), where μ are the means of
// the channels of x, m and v their mean and variance for each image.
func (m *matcher) normalisedMeans(z, x *value) (eps, r float32, ok bool) {
	num, variance, eps, ok := m.overRoot(m.maker[m.thin(z)])
	if !ok {
		return 0, 0, false
	}
	// The variance is one number for each image: [n, 1, …].
	n, channels := x.Shape[0], x.Shape[1]
	if len(variance.Shape) < 2 || variance.Elems() != n || variance.Shape[0] != n || len(variance.Shape) != len(num.Shape) || num.Elems() != n*channels {
		return 0, 0, false
	}
	factor := 1.0
	variance = m.thin(variance)
	for {
		v, c := m.affine(m.made(variance), "Mul")
		if v == nil {
			if v, c = m.affine(m.maker[variance], "Div"); v == nil || m.maker[variance].in[0] != v {
				break
			}
		}
		if c.Elems() != 1 || !ops.IsFloat32(c.DType) || v.Elems() != n {
			return 0, 0, false
		}
		if s := float64(ops.Data[float32](c.konst)[0]); m.maker[variance].src.Op == "Mul" {
			factor *= s
		} else {
			factor /= s
		}
		variance = m.thin(v)
	}
	of, axes := m.mean(variance)
	d := m.squared(of)
	if d == nil || !slices.Equal(axes, []int{1}) {
		return 0, 0, false
	}
	mu := m.centred(num, []int{1})
	if mu == nil || mu != m.centred(d, []int{1}) || mu.Shape[0] != n || mu.Shape[1] != channels {
		return 0, 0, false
	}
	image, space := m.mean(m.thin(mu))
	if image != x || len(space) != len(x.Shape)-2 || space[0] != 2 || !trailing(space, len(x.Shape)) {
		return 0, 0, false
	}
	return eps, float32(factor), true
}

// fuseInstanceNormPlusAffine: NCSNv2 multiplies by γ and adds β afterwards.
func fuseInstanceNormPlusAffine(m *matcher, n *node) *node {
	for _, op := range []string{"Mul", "Add"} {
		v, c := m.affine(n, op)
		if v == nil {
			continue
		}
		norm := m.from(v, ops.Fused, "InstanceNormPlus", 1)
		if norm == nil || hasAct(norm) || !slices.Equal(n.out[0].Shape, v.Shape) {
			continue
		}
		if c = perChannel(c, v.Shape); c == nil || !ops.IsFloat32(c.DType) {
			continue
		}
		in := slices.Clone(norm.in)
		for i := 1; i < 4; i++ {
			switch {
			case op == "Mul":
				in[i] = joined(in[i], c, func(a, b float32) float32 { return a * b })
			case i == 2:
				in[i] = joined(in[i], c, func(a, b float32) float32 { return a + b })
			}
		}
		return fusedNode(n, "InstanceNormPlus", norm.src.Attrs, in...)
	}
	return nil
}

func fuseInstanceNormPlusAct(m *matcher, n *node) *node {
	act := convActs[n.src.Op]
	if act == "" || n.src.Domain != "" && n.src.Domain != ops.Fused {
		return nil
	}
	if a, ok := n.src.Attrs["alpha"]; ok && a.Float != 1 {
		return nil
	}
	norm := m.from(n.in[0], ops.Fused, "InstanceNormPlus", 1)
	if norm == nil || hasAct(norm) {
		return nil
	}
	attrs := maps.Clone(norm.src.Attrs)
	attrs["act"] = strAttr(act)
	return fusedNode(n, "InstanceNormPlus", attrs, norm.in...)
}

func hasAct(n *node) bool { return n.src.Attrs["act"].String != "none" }

// joined is f of two float32 constants of one shape, element by element.
func joined(a, b *value, f func(a, b float32) float32) *value {
	v := filled(a.name, a.Shape, 0)
	x, y, z := ops.Data[float32](a.konst), ops.Data[float32](b.konst), ops.Data[float32](v.konst)
	for i := range z {
		z[i] = f(x[i], y[i])
	}
	return v
}
