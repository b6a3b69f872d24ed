package plan

import (
	"maps"
	"math"
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// linearActs are the functions that a layer can end with, as ops names them.
var linearActs = map[string]string{
	"Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Elu": "elu", "SiLU": "silu", "Gelu": "gelu",
}

// linearZips are the operators with an operand beside the layer.
var linearZips = map[string]string{"Add": "add", "Mul": "mul"}

// linearInputs is how many inputs a Linear may have.
const linearInputs = 7

// fuseLinear: a product with a matrix of weights and what follows it element by
// element (a bias, an activation, a gate, a residual) are one layer. Each call
// takes one node more; a Gemm or a MatMul begins.
func fuseLinear(m *matcher, n *node) *node {
	if act := linearActs[n.src.Op]; act != "" {
		alpha, ok := n.src.Attrs["alpha"]
		l := m.linear(n.in[0])
		if l == nil || ok && alpha.Float != 1 || n.src.Domain != "" && n.src.Op != "SiLU" {
			return nil
		}
		if n.src.Attrs["approximate"].String == "tanh" {
			act += " tanh"
		}
		return withStep(n, l, act, nil)
	}
	step := linearZips[n.src.Op]
	if step == "" || n.src.Domain != "" {
		return nil
	}
	for i := range 2 {
		l, other, out := m.linear(n.in[i]), n.in[1-i], n.out[0].Type
		if l == nil || !slices.Equal(n.in[i].Shape, out.Shape) || other.DType != out.DType {
			continue
		}
		if bias := lastAxis(other, out.Shape); bias != nil && step == "add" && len(l.in) == 2 && !hasAttr(l, "then") {
			return fusedNode(n, "Linear", l.src.Attrs, l.in[0], l.in[1], bias)
		}
		if _, _, ok := ops.RowsOf(other.Type, out); ok && len(l.in) < linearInputs {
			return withStep(n, l, step, other)
		}
	}
	return nil
}

// linear is the layer that makes v for one reader alone.
func (m *matcher) linear(v *value) *node {
	n := m.made(v)
	if n == nil || n.out[0] != v || m.readers[v] != 1 || !ops.IsFloat32(v.DType) {
		return nil
	}
	if n.src.Domain == ops.Fused && n.src.Op == "Linear" {
		return n
	}
	if n.src.Domain != "" || n.src.Op != "MatMul" && n.src.Op != "Gemm" ||
		len(n.in[0].Shape) < 2 || n.in[1].konst == nil || len(n.in[1].Shape) != 2 {
		return nil
	}
	in, attrs := slices.Clone(n.in[:2]), map[string]onnx.Attr{}
	if n.src.Op == "Gemm" {
		attr := func(name string, def float32) float32 {
			if a, ok := n.src.Attrs[name]; ok {
				return a.Float
			}
			return def
		}
		if n.src.Attrs["transA"].Int != 0 || attr("alpha", 1) != 1 {
			return nil
		}
		if len(n.in) > 2 && n.in[2] != nil {
			bias := lastAxis(n.in[2], v.Shape)
			if bias == nil || attr("beta", 1) != 1 {
				return nil
			}
			in = append(in, bias)
		}
		attrs["transB"] = intAttr(int(n.src.Attrs["transB"].Int))
	}
	return fusedNode(n, "Linear", attrs, in...)
}

// withStep is a layer with a step more, ending where last ends.
func withStep(last, layer *node, step string, operand *value) *node {
	attrs, in := maps.Clone(layer.src.Attrs), slices.Clone(layer.in)
	attrs["then"] = onnx.Attr{Kind: onnx.AttrStrings, Strings: append(slices.Clone(attrs["then"].Strings), step)}
	if operand != nil {
		if len(in) == 2 {
			in = append(in, nil)
		}
		in = append(in, operand)
	}
	return fusedNode(last, "Linear", attrs, in...)
}

// lastAxis is a value that broadcasts along the last axis of an x of that shape,
// as a vector; nil when it varies along another one, or is not known while its
// shape would have to change.
func lastAxis(v *value, x []int) *value {
	n := x[len(x)-1]
	if len(v.Shape) == 0 || v.Shape[len(v.Shape)-1] != n || v.Elems() != n || len(v.Shape) > len(x) {
		return nil
	}
	if len(v.Shape) == 1 {
		return v
	}
	if v.konst == nil {
		return nil
	}
	t := ops.Type{DType: v.DType, Shape: []int{n}}
	return &value{Type: t, name: v.name, konst: v.konst.As(t)}
}

// fuseGelu: exporters write Gelu(x), before opset 20, as the product of x, ½ and
//
//	1 + erf(x/√2)    or    1 + tanh(√(2/π)·(x + 0.044715·x³))
//
// in some order.
func fuseGelu(m *matcher, n *node) *node {
	if n.src.Domain != "" || n.src.Op != "Mul" || !ops.IsFloat32(n.out[0].DType) {
		return nil
	}
	var bell *node
	var x *value
	scale := 1.0
	for _, f := range m.factors(n) {
		if s, ok := scalar(f); ok {
			scale *= s
		} else if v, one := m.affine(m.from(f, "", "Add", 1), "Add"); v != nil && bell == nil && all(one, 1) && m.bell(v) != nil {
			bell = m.bell(v)
		} else if x == nil {
			x = f
		} else {
			return nil
		}
	}
	if bell == nil || x == nil || scale != 0.5 || !slices.Equal(x.Shape, n.out[0].Shape) {
		return nil
	}
	how := ""
	switch arg := bell.in[0]; bell.src.Op {
	case "Erf":
		if u, s := m.times(arg); u != x || !near(s, math.Sqrt2/2) {
			return nil
		}
		how = "none"
	case "Tanh":
		sum, s := m.times(arg)
		add := m.from(sum, "", "Add", 1)
		if add == nil || !near(s, math.Sqrt(2/math.Pi)) {
			return nil
		}
		for i := range 2 {
			if cube, c := m.times(add.in[1-i]); add.in[i] == x && near(c, 0.044715) && m.cubes(cube, x) {
				how = "tanh"
			}
		}
	}
	if how == "" {
		return nil
	}
	gelu := fusedNode(n, "Gelu", map[string]onnx.Attr{"approximate": strAttr(how)}, x)
	gelu.src.Domain, gelu.src.Version = "", 20
	return gelu
}

// bell is the Erf or Tanh that makes v for one reader alone.
func (m *matcher) bell(v *value) *node {
	if n := m.from(v, "", "Erf", 1); n != nil {
		return n
	}
	return m.from(v, "", "Tanh", 1)
}

// factors are what a tree of products multiplies.
func (m *matcher) factors(n *node) (all []*value) {
	for _, v := range n.in {
		if mul := m.from(v, "", "Mul", 1); mul != nil {
			all = append(all, m.factors(mul)...)
		} else {
			all = append(all, v)
		}
	}
	return
}

// times is what v is a number times, and the number; v itself and 1 when no
// product or quotient makes it.
func (m *matcher) times(v *value) (*value, float64) {
	if x, by := m.affine(m.made(v), "Mul"); x != nil {
		if s, ok := scalar(by); ok {
			return x, s
		}
	}
	if n := m.from(v, "", "Div", 0); n != nil {
		if s, ok := scalar(n.in[1]); ok {
			return n.in[0], 1 / s
		}
	}
	return v, 1
}

// cubes reports whether v is x³, as a power or as products.
func (m *matcher) cubes(v, x *value) bool {
	if pow := m.from(v, "", "Pow", 1); pow != nil {
		s, ok := scalar(pow.in[1])
		return pow.in[0] == x && ok && s == 3
	}
	mul := m.from(v, "", "Mul", 1)
	if mul == nil {
		return false
	}
	all := m.factors(mul)
	return len(all) == 3 && all[0] == x && all[1] == x && all[2] == x
}

// scalar is the value of a float32 constant of one element.
func scalar(v *value) (float64, bool) {
	if v.konst == nil || !ops.IsFloat32(v.DType) || v.Elems() != 1 {
		return 0, false
	}
	return float64(ops.Data[float32](v.konst)[0]), true
}

// near allows a constant to have been rounded on its way.
func near(x, want float64) bool { return math.Abs(x-want) <= 1e-5*want }
