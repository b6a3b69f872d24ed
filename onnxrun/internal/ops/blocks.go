package ops

import (
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
)

// The operators of this file move elements around and compute nothing.

// lowerDepthToSpace lays the channels out as blocks of pixels; SpaceToDepth is
// the way back.
func lowerDepthToSpace(c *Call) (*Kernel, error) {
	if err := c.want(0, isStored, "a numeric type or bool"); err != nil {
		return nil, err
	}
	t, b := c.In[0].Type, c.Int("blocksize", 0)
	if len(t.Shape) != 4 {
		return nil, c.Invalid("the input has shape %v, want 4 axes", t.Shape)
	}
	if b < 1 || b > 1<<15 {
		return nil, c.Invalid("blocksize is %d, want a number from 1 to %d", b, 1<<15)
	}
	n, ch, h, w := t.Shape[0], t.Shape[1], t.Shape[2], t.Shape[3]
	if c.Node.Op == "SpaceToDepth" {
		if h%b != 0 || w%b != 0 {
			return nil, c.Invalid("blocksize %d does not divide %v", b, t.Shape)
		}
		return permuted(t, []int{n, ch, h / b, b, w / b, b}, []int{0, 3, 5, 1, 2, 4}, []int{n, ch * b * b, h / b, w / b}), nil
	}
	if ch%(b*b) != 0 {
		return nil, c.Invalid("the square of blocksize %d does not divide the channels of %v", b, t.Shape)
	}
	out := []int{n, ch / (b * b), h * b, w * b}
	switch mode := c.Str("mode", "DCR"); mode {
	case "DCR":
		return permuted(t, []int{n, b, b, ch / (b * b), h, w}, []int{0, 3, 4, 1, 5, 2}, out), nil
	case "CRD":
		return permuted(t, []int{n, ch / (b * b), b, b, h, w}, []int{0, 1, 4, 2, 5, 3}, out), nil
	default:
		return nil, c.Invalid("mode is %q, want DCR or CRD", mode)
	}
}

// permuted is the input, seen under a shape, with its axes in another order, seen
// as the shape out.
func permuted(t Type, seen, perm, out []int) *Kernel {
	from := strides(seen)
	dims, src := make([]int, len(perm)), make([]int, len(perm))
	for i, p := range perm {
		dims[i], src[i] = seen[p], from[p]
	}
	return moveKernel(t, Type{DType: t.DType, Shape: out}, newMove(dims, strides(dims), src, 0, 0))
}

// lowerReverseSequence reverses the first so many elements of each sequence of a
// batch; how many is an input.
func lowerReverseSequence(c *Call) (*Kernel, error) {
	if err := c.want(0, isStored, "a numeric type or bool"); err != nil {
		return nil, err
	}
	if c.In[1].DType != onnx.Int64 {
		return nil, c.Invalid("lengths are %v, want int64", c.In[1].Type)
	}
	t := c.In[0].Type
	batch, time := c.Int("batch_axis", 1), c.Int("time_axis", 0)
	if len(t.Shape) < 2 || batch+time != 1 || batch*time != 0 {
		return nil, c.Invalid("batch_axis is %d and time_axis %d in %v, want 0 and 1 in some order", batch, time, t.Shape)
	}
	if !slices.Equal(c.In[1].Shape, t.Shape[batch:batch+1]) {
		return nil, c.Invalid("lengths are %v, want %d", c.In[1].Type, t.Shape[batch])
	}
	inner := elems(t.Shape[2:])
	where := c.Node.Where()
	return gatherKernel(t, inner, func(m Memory) func(row int) int {
		lengths := Data[int64](m.In[1])
		return func(row int) int {
			at := [2]int{row / t.Shape[1], row % t.Shape[1]}
			n := lengths[at[batch]]
			if n < 0 || n > int64(t.Shape[time]) {
				panic(&IndexError{where, n, t.Shape[time]})
			}
			if at[time] < int(n) {
				at[time] = int(n) - 1 - at[time]
			}
			return (at[0]*t.Shape[1] + at[1]) * inner
		}
	}), nil
}

// lowerCenterCropPad cuts or pads with zeros on both sides, to a shape.
func lowerCenterCropPad(c *Call) (*Kernel, error) {
	if err := c.want(0, isStored, "a numeric type or bool"); err != nil {
		return nil, err
	}
	t := c.In[0].Type
	want, err := c.ConstInts(1)
	if err != nil {
		return nil, err
	}
	axes := c.Ints("axes")
	if axes == nil {
		for i := range t.Shape {
			axes = append(axes, i)
		}
	}
	if len(axes) != len(want) {
		return nil, c.Invalid("the shape has %d elements, want %d", len(want), len(axes))
	}
	out := Type{DType: t.DType, Shape: slices.Clone(t.Shape)}
	for i, a := range axes {
		if axes[i], err = c.Axis(a, len(t.Shape)); err != nil {
			return nil, err
		}
		if slices.Contains(axes[:i], axes[i]) {
			return nil, c.Invalid("axes is %v, want each once", axes)
		}
		out.Shape[axes[i]] = want[i]
	}
	if err := c.checkSize(out); err != nil {
		return nil, err
	}
	m := &axisMap{in: t.Shape, out: out.Shape, from: make([]func(int) int, len(t.Shape))}
	for i, axis := range axes {
		have := t.Shape[axis]
		// The difference is split in two, the smaller part before.
		shift := (have - want[i]) / 2
		if want[i] > have {
			shift = -((want[i] - have) / 2)
		}
		m.from[axis] = func(j int) int {
			if k := j + shift; k >= 0 && k < have {
				return k
			}
			return -1
		}
	}
	return &Kernel{Out: []Type{out}, Tables: m.tables(), Bind: func(mem Memory) []Task {
		return m.tasks(t.DType, &mem, nil)
	}}, nil
}
