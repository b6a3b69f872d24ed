package plan

import (
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// Score networks scale images down and up without filters by splitting each spatial
// axis in two, blocks and pixels of a block: the mean over the pixels scales down,
// repeating them scales up. As AveragePool and Resize they are quicker, and images stay
// in the Blocked layout.

// blocks is the height and width of the blocks that v, of shape
// [N, C, H/height, height, W/width, width] or with extents of 1 in their place, is made of.
func blocks(image, v []int) (height, width int, ok bool) {
	if len(image) != 4 || len(v) != 6 || !slices.Equal(image[:2], v[:2]) || v[2]*v[3] != image[2] || v[4]*v[5] != image[3] {
		return 0, 0, false
	}
	return v[3], v[5], true
}

// reshaped is what v is a view of, in another shape.
func (m *matcher) reshaped(v *value) *value {
	for n := m.made(v); n != nil && n.kernel.View; n = m.made(v) {
		v = n.in[0]
	}
	return v
}

// fuseBlockMean: Reshape x to [N, C, H/h, h, W/w, w] → ReduceMean over h and w.
func fuseBlockMean(m *matcher, n *node) *node {
	if n.src.Domain != "" || n.src.Op != "ReduceMean" || len(n.out[0].Shape) != 4 || !ops.IsFloat32(n.in[0].DType) {
		return nil
	}
	split := n.in[0]
	axes := intsAttr(n, "axes")
	if len(n.in) > 1 && n.in[1] != nil && n.in[1].konst != nil {
		axes = n.in[1].konst.Clamped()
	}
	for i, a := range axes {
		if a < 0 {
			axes[i] = a + len(split.Shape)
		}
	}
	x := m.reshaped(split)
	height, width, ok := blocks(x.Shape, split.Shape)
	if !ok || len(axes) != 2 || min(axes[0], axes[1]) != 3 || max(axes[0], axes[1]) != 5 {
		return nil
	}
	size := listAttr([]int{height, width})
	return standardNode(n, "AveragePool", 11, map[string]onnx.Attr{"kernel_shape": size, "strides": size}, x)
}

// fuseRepeat: Reshape x to [N, C, H, 1, W, 1] → Tile or Expand → Reshape to [N, C, H·h, W·w].
func fuseRepeat(m *matcher, n *node) *node {
	if n.src.Domain != "" || n.src.Op != "Reshape" || len(n.out[0].Shape) != 4 || !ops.IsFloat32(n.in[0].DType) {
		return nil
	}
	repeat := m.from(n.in[0], "", "Tile", 1)
	if repeat == nil {
		repeat = m.from(n.in[0], "", "Expand", 1)
	}
	if repeat == nil {
		return nil
	}
	out, from := n.out[0].Shape, repeat.in[0]
	x := m.reshaped(from)
	height, width, ok := blocks(out, n.in[0].Shape)
	one, two, same := blocks(x.Shape, from.Shape)
	if !ok || !same || one != 1 || two != 1 || out[2] != x.Shape[2]*height || out[3] != x.Shape[3]*width || out[0] != x.Shape[0] || out[1] != x.Shape[1] {
		return nil
	}
	attrs := map[string]onnx.Attr{"mode": strAttr("nearest"), "coordinate_transformation_mode": strAttr("asymmetric"), "nearest_mode": strAttr("floor")}
	return standardNode(n, "Resize", 13, attrs, x, nil, nil, indices(out...))
}
