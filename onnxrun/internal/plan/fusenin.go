package plan

import (
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// fuseNIN finds a linear map of the channels of an image, written on channels
// last (the "network in network" layers of Ho et al. 2020):
//
//	Transpose to [N, H, W, C] → MatMul or Einsum with a constant matrix
//	→ + bias → Transpose back
//
// It is a convolution with 1×1 filters, and needs no transpose.
func fuseNIN(m *matcher, last *node) *node {
	rank := len(last.out[0].Shape)
	if last.src.Domain != "" || last.src.Op != "Transpose" || rank < 4 || !ops.IsFloat32(last.out[0].DType) {
		return nil
	}
	toLast := []int{0}
	for i := 2; i < rank; i++ {
		toLast = append(toLast, i)
	}
	toLast = append(toLast, 1)
	back := []int{0, rank - 1}
	for i := 1; i < rank-1; i++ {
		back = append(back, i)
	}
	if !slices.Equal(perm(last), back) {
		return nil
	}
	v := last.in[0]
	var bias *value
	if add := m.from(v, "", "Add", 0); add != nil {
		x, c := m.affine(add, "Add")
		if x == nil || !slices.Equal(c.Shape, []int{v.Shape[rank-1]}) {
			return nil
		}
		v, bias = x, c
	}
	n := m.made(v)
	p := productOf(n)
	if p == nil || n.in[0].konst != nil || n.in[1].konst == nil || len(n.in[1].Shape) != 2 {
		return nil
	}
	// All axes but the last are rows of the image, the last is summed over.
	depth, width := p.in[0][len(p.in[0])-1], p.out[len(p.out)-1]
	if !slices.Equal(p.in[0][:len(p.in[0])-1], p.out[:len(p.out)-1]) || slices.Contains(p.out, depth) ||
		!slices.Equal(p.in[1], []int{depth, width}) {
		return nil
	}
	t := m.from(n.in[0], "", "Transpose", 0)
	if t == nil || !slices.Equal(perm(t), toLast) {
		return nil
	}
	w := n.in[1]
	shape := []int{w.Shape[1], w.Shape[0]}
	for range rank - 2 {
		shape = append(shape, 1)
	}
	turned := m.packs.Turned(w.konst, shape)
	in := []*value{t.in[0], {Type: turned.Type, name: w.name, konst: turned}}
	if bias != nil {
		in = append(in, bias)
	}
	return fusedNode(last, "Conv", map[string]onnx.Attr{}, in...)
}
