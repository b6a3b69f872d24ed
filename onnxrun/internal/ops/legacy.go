package ops

import (
	"maps"
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
)

// Before opset 7 a few operators were written in another way. Lower and Layouts
// see such a node as the newer one that means the same; the rest of this package
// knows nothing of them.

// legacyOpset is the first opset without any of this.
const legacyOpset = 7

// castNames are the element types as Cast-1 writes them.
var castNames = map[string]onnx.DType{
	"FLOAT": onnx.Float, "DOUBLE": onnx.Double, "FLOAT16": onnx.Float16, "BOOL": onnx.Bool,
	"INT8": onnx.Int8, "INT16": onnx.Int16, "INT32": onnx.Int32, "INT64": onnx.Int64,
	"UINT8": onnx.Uint8, "UINT16": onnx.Uint16, "UINT32": onnx.Uint32, "UINT64": onnx.Uint64,
}

// modern is c, or the newer call that means the same.
func (c *Call) modern() (*Call, error) {
	n := c.Node
	if n.Version >= legacyOpset || n.Domain != "" && n.Domain != "ai.onnx" {
		return c, nil
	}
	node := *n
	node.Attrs = make(map[string]onnx.Attr, len(n.Attrs)+1)
	maps.Copy(node.Attrs, n.Attrs)
	m := &Call{Node: &node, In: slices.Clone(c.In), Packs: c.Packs, Exact: c.Exact, Scores: c.Scores}
	switch n.Op {
	case "Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Less", "Greater":
		// The second operand, whose axes are some in a row of the first one's.
		a, b := c.In[0].Shape, c.In[1].Shape
		if c.Int("broadcast", 0) == 0 {
			return m, nil // the shapes are equal, or the writer meant what came later
		}
		if _, ok := n.Attrs["axis"]; ok {
			axis := c.Int("axis", 0)
			if axis < 0 {
				axis += len(a)
			}
			if axis < 0 || axis+len(b) > len(a) {
				return nil, c.Invalid("operand %v does not fit into %v from axis %d", b, a, axis)
			}
			m.In[1].Shape = onesAfter(b, len(a)-axis)
		}
		if len(m.In[1].Shape) > len(a) {
			return nil, c.Invalid("operand %v has more axes than %v", b, a)
		}
	case "PRelu": // one slope for each channel
		if x, s := c.In[0].Shape, c.In[1].Shape; len(s) == 1 && len(x) > 2 {
			m.In[1].Shape = onesAfter(s, len(x)-1)
		}
	case "BatchNormalization", "Dropout":
		if c.Int("is_test", 0) == 0 {
			return nil, c.Unsupported("is_test is 0: the node is for training")
		}
	case "Pad":
		if a, ok := n.Attrs["paddings"]; ok {
			node.Attrs["pads"] = a
		}
	case "Reshape":
		if a, ok := n.Attrs["shape"]; ok && len(c.In) == 1 {
			t := Of([]int{len(a.Ints)}, a.Ints)
			m.In = append(m.In, Arg{Type: t.Type, Const: t})
		} else if len(c.In) < 2 {
			return nil, c.Invalid("shape is missing")
		}
	case "Cast":
		if a, ok := n.Attrs["to"]; ok && a.Kind == onnx.AttrString {
			d := castNames[a.String]
			if d == 0 {
				return nil, c.Unsupported("casts to %q", a.String)
			}
			node.Attrs["to"] = onnx.Attr{Kind: onnx.AttrInt, Int: int64(d)}
		}
	case "Upsample":
		if h, ok := n.Attrs["height_scale"]; ok {
			node.Attrs["scales"] = onnx.Attr{Kind: onnx.AttrFloats, Floats: []float32{1, 1, h.Float, n.Attrs["width_scale"].Float}}
		}
	}
	return m, nil
}

// onesAfter is a shape with axes of extent 1 behind it, up to a rank.
func onesAfter(shape []int, rank int) []int {
	s := slices.Clone(shape)
	for len(s) < rank {
		s = append(s, 1)
	}
	return s
}
