package plan

import (
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// fuseMeanPool finds the mean of the four phases of an image, as NCSN's networks
// write their mean pooling:
//
//	(x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4
//
// in any order of the sum. It is an AveragePool, which can stay in the Blocked layout.
func fuseMeanPool(m *matcher, n *node) *node {
	sum, c := m.affine(n, "Div")
	quarter := float32(4)
	if sum == nil {
		sum, c = m.affine(n, "Mul")
		quarter = 0.25
	}
	if sum == nil || n.src.Op == "Div" && n.in[1] != c || c.Elems() != 1 || !all(c, quarter) || len(sum.Shape) != 4 || !slices.Equal(sum.Shape, n.out[0].Shape) {
		return nil
	}
	var x *value
	var seen [4]bool
	leaves := m.summands(sum, nil, 4)
	if len(leaves) != 4 {
		return nil
	}
	for _, leaf := range leaves {
		from, phase, ok := m.phase(leaf)
		if !ok || x != nil && from != x || seen[phase] {
			return nil
		}
		x, seen[phase] = from, true
	}
	half := slices.Clone(x.Shape)
	half[2] /= 2
	half[3] /= 2
	if !ops.IsFloat32(x.DType) || x.Shape[2]%2 != 0 || x.Shape[3]%2 != 0 || !slices.Equal(sum.Shape, half) {
		return nil
	}
	two := onnx.Attr{Kind: onnx.AttrInts, Ints: []int64{2, 2}}
	return standardNode(n, "AveragePool", 11, map[string]onnx.Attr{"kernel_shape": two, "strides": two}, x)
}

// summands appends the terms of a sum, at most most and one more, to list.
func (m *matcher) summands(v *value, list []*value, most int) []*value {
	add := m.from(v, "", "Add", 1)
	if add == nil || len(list) > most {
		return append(list, v)
	}
	return m.summands(add.in[1], m.summands(add.in[0], list, most), most)
}

// phase is the image of which v takes every other row and column, 2·row + column
// being the first ones.
func (m *matcher) phase(v *value) (x *value, phase int, ok bool) {
	var first, step [4]int
	for n := m.from(v, "", "Slice", 0); n != nil; n = m.from(v, "", "Slice", 0) {
		shape := n.in[0].Shape
		if len(shape) != 4 || len(n.in) != 5 {
			return nil, 0, false
		}
		var arg [5][]int
		for i := 1; i < 5; i++ {
			if n.in[i] == nil || n.in[i].konst == nil {
				return nil, 0, false
			}
			arg[i] = n.in[i].konst.Clamped()
		}
		for i, axis := range arg[3] {
			if axis < 0 {
				axis += 4
			}
			start := arg[1][i]
			if axis < 2 || step[axis] != 0 || arg[4][i] != 2 || start < 0 || start > 1 || arg[2][i] < shape[axis] {
				return nil, 0, false
			}
			first[axis], step[axis] = start, 2
		}
		v = n.in[0]
	}
	return v, 2*first[2] + first[3], step[2] == 2 && step[3] == 2
}
