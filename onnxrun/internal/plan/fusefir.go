package plan

import (
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// fuseFIR finds what exporters make of score_sde's upfirdn2d (Karras et al.
// 2019): each channel of x [N, C, H, W] for itself
//
//	Reshape [NC, H, 1, W, 1, 1] → Pad up-1 zeros after each row and column
//	→ Reshape → Pad or crop the border → Transpose to [NC, 1, H', W']
//	→ Conv with one small filter → Transpose back → Slice every down-th
//	→ Reshape [N, C, H″, W″]
//
// Twelve nodes and six copies of the image become one pass.
func fuseFIR(m *matcher, last *node) *node {
	if last.src.Domain != "" || last.src.Op != "Reshape" || len(last.out[0].Shape) != 4 {
		return nil
	}
	v, down := m.strided(last.in[0])
	back := m.from(v, "", "Transpose", 1)
	if back == nil || !slices.Equal(intsAttr(back, "perm"), []int{0, 2, 3, 1}) {
		return nil
	}
	conv := m.from(m.past(back.in[0], "Reshape"), "", "Conv", 1)
	if conv == nil || !filterOnly(conv) {
		return nil
	}
	forth := m.from(m.past(conv.in[0], "Reshape"), "", "Transpose", 1)
	if forth == nil || !slices.Equal(intsAttr(forth, "perm"), []int{0, 3, 1, 2}) {
		return nil
	}
	border, ok := m.zeroPad(forth.in[0])
	if !ok || len(border) != 8 || border[0]|border[3]|border[4]|border[7] != 0 {
		return nil
	}
	spread := m.past(m.maker[forth.in[0]].in[0], "Reshape")
	between, ok := m.zeroPad(spread)
	up := 1
	if !ok || len(between) != 12 {
		return nil
	}
	for i, p := range between {
		switch {
		case i == 8 && p == between[10] && p >= 0:
			up = 1 + p
		case i != 8 && i != 10 && p != 0:
			return nil
		}
	}
	first := m.maker[m.maker[spread].in[0]]
	if first == nil || first.src.Op != "Reshape" || first.src.Domain != "" {
		return nil
	}
	x, out := first.in[0], last.out[0].Shape
	if len(x.Shape) != 4 || !ops.IsFloat32(x.DType) {
		return nil
	}
	n, c, h, w := x.Shape[0], x.Shape[1], x.Shape[2], x.Shape[3]
	filter := conv.in[1].Shape[2:]
	size := func(in, before, after, k int) int { return (in*up+before+after-k)/down + 1 }
	if !slices.Equal(first.out[0].Shape, []int{n * c, h, 1, w, 1, 1}) ||
		!slices.Equal(out, []int{n, c, size(h, border[1], border[5], filter[0]), size(w, border[2], border[6], filter[1])}) {
		return nil
	}
	t := ops.Type{DType: conv.in[1].DType, Shape: filter}
	return fusedNode(last, "FIR", map[string]onnx.Attr{
		"up": intAttr(up), "down": intAttr(down),
		"pads": {Kind: onnx.AttrInts, Ints: []int64{int64(border[1]), int64(border[2]), int64(border[5]), int64(border[6])}},
	}, x, &value{Type: t, name: conv.in[1].name, konst: conv.in[1].konst.As(t)})
}

// fuseSharedFilter finds the other form of upfirdn2d: a depthwise convolution
// by one filter for all channels, perhaps after a transposed one that puts up-1
// zeros after each row and column.
func fuseSharedFilter(m *matcher, n *node) *node {
	if n.src.Domain != "" || n.src.Op != "Conv" || len(n.in) > 2 && n.in[2] != nil {
		return nil
	}
	x, w := n.in[0], n.in[1]
	channels, down, ok := depthwise(n)
	if !ok || !uniform(w, channels) {
		return nil
	}
	up := 1
	if t := m.from(x, "", "ConvTranspose", 1); t != nil && len(t.in) == 2 {
		_, stride, ok := depthwise(t)
		spread := slices.Equal(t.in[1].Shape, []int{channels, 1, 1, 1}) && all(t.in[1], 1) &&
			slices.Equal(intsAttr(t, "output_padding"), []int{stride - 1, stride - 1}) && t.src.Attrs["output_shape"].Ints == nil
		if ok && spread && !slices.ContainsFunc(intsAttr(t, "pads"), func(p int) bool { return p != 0 }) {
			x, up = t.in[0], stride
		}
	}
	pads := n.src.Attrs["pads"].Ints
	if pads == nil {
		pads = make([]int64, 4)
	}
	t := ops.Type{DType: w.DType, Shape: w.Shape[2:]}
	size := t.Bytes()
	return fusedNode(n, "FIR", map[string]onnx.Attr{
		"up": intAttr(up), "down": intAttr(down), "pads": {Kind: onnx.AttrInts, Ints: pads},
	}, x, &value{Type: t, name: w.name, konst: ops.View(t, w.konst.Mem()[:size:size])})
}

// depthwise is the number of channels and the stride of a convolution, either
// way, of two axes that takes each channel for itself, with constant weights and
// explicit pads.
func depthwise(n *node) (channels, stride int, ok bool) {
	x, w := n.in[0], n.in[1]
	if len(x.Shape) != 4 || !ops.IsFloat32(x.DType) || w.konst == nil {
		return 0, 0, false
	}
	channels, stride = x.Shape[1], 1
	strides := intsAttr(n, "strides")
	if len(strides) == 2 {
		stride = strides[0]
	}
	a, named := n.src.Attrs["auto_pad"]
	return channels, stride, channels > 1 && n.src.Attrs["group"].Int == int64(channels) && w.Shape[0] == channels && w.Shape[1] == 1 &&
		(strides == nil || strides[1] == stride) && (!named || a.String == "NOTSET") &&
		!slices.ContainsFunc(intsAttr(n, "dilations"), func(d int) bool { return d != 1 })
}

// uniform reports whether constant weights are the same for each channel.
func uniform(w *value, channels int) bool {
	data := ops.Data[float32](w.konst)
	size := len(data) / channels
	for i, v := range data {
		if v != data[i%size] {
			return false
		}
	}
	return true
}

// past walks up over nodes of one operator whose output has one reader.
func (m *matcher) past(v *value, op string) *value {
	for n := m.from(v, "", op, 1); n != nil; n = m.from(v, "", op, 1) {
		v = n.in[0]
	}
	return v
}

// strided walks up over slices of [NC, H, W, 1] that take every down-th row
// and column from the first on, the same for both.
func (m *matcher) strided(v *value) (from *value, down int) {
	step := [4]int{1, 1, 1, 1}
	for n := m.from(v, "", "Slice", 1); n != nil; n = m.from(v, "", "Slice", 1) {
		var arg [5][]int
		for i := 1; i < len(n.in); i++ {
			if n.in[i] == nil || n.in[i].konst == nil {
				return v, 1
			}
			arg[i] = n.in[i].konst.Clamped()
		}
		shape := n.in[0].Shape
		if len(shape) != 4 || len(arg[3]) != len(arg[1]) || len(arg[4]) != len(arg[1]) || len(arg[2]) != len(arg[1]) {
			return v, 1
		}
		for i, axis := range arg[3] {
			if axis < 0 || axis > 3 || arg[1][i] != 0 || arg[2][i] < shape[axis] || arg[4][i] < 1 {
				return v, 1
			}
			step[axis] *= arg[4][i]
		}
		v = n.in[0]
	}
	if step[0] != 1 || step[3] != 1 || step[1] != step[2] {
		return nil, 1
	}
	return v, step[1]
}

// zeroPad is the pads of the Pad node that makes v for one reader, when it
// pads with zeros.
func (m *matcher) zeroPad(v *value) ([]int, bool) {
	n := m.from(v, "", "Pad", 1)
	if n == nil || len(n.in) < 2 || n.in[1].konst == nil || len(n.in) > 3 ||
		len(n.in) == 3 && n.in[2] != nil && !all(n.in[2], 0) {
		return nil, false
	}
	if a, ok := n.src.Attrs["mode"]; ok && a.String != "constant" {
		return nil, false
	}
	return n.in[1].konst.Ints()
}

// filterOnly: a convolution of one channel by a constant filter, at every
// place where the filter fits, and nothing else.
func filterOnly(n *node) bool {
	w := n.in[1]
	if w.konst == nil || len(w.Shape) != 4 || w.Shape[0] != 1 || w.Shape[1] != 1 || len(n.in) > 2 && n.in[2] != nil {
		return false
	}
	for name, plain := range map[string]int{"pads": 0, "strides": 1, "dilations": 1} {
		if slices.ContainsFunc(intsAttr(n, name), func(v int) bool { return v != plain }) {
			return false
		}
	}
	a, ok := n.src.Attrs["auto_pad"]
	return !ok || a.String == "NOTSET" || a.String == "VALID"
}

// intsAttr is an attribute of integers, nil when there is none.
func intsAttr(n *node, name string) []int {
	var list []int
	for _, v := range n.src.Attrs[name].Ints {
		list = append(list, ops.ClampInt(v))
	}
	return list
}
