package ops

import (
	"math"

	"sampleonnx/onnxrun/internal/onnx"
)

func lowerSlice(c *Call) (*Kernel, error) {
	if err := c.want(0, isStored, "a numeric type or bool"); err != nil {
		return nil, err
	}
	in := c.In[0].Type
	starts, ends, axes, steps, err := sliceBounds(c)
	if err != nil {
		return nil, err
	}
	if axes == nil {
		for i := range starts {
			axes = append(axes, i)
		}
	}
	if len(ends) != len(starts) || len(axes) != len(starts) || steps != nil && len(steps) != len(starts) {
		return nil, c.Invalid("starts, ends, axes and steps have %d, %d, %d and %d elements, want as many of each",
			len(starts), len(ends), len(axes), len(steps))
	}
	if len(starts) > len(in.Shape) {
		return nil, c.Invalid("starts has %d elements, want at most the %d axes of the input", len(starts), len(in.Shape))
	}
	out := Type{DType: in.DType, Shape: make([]int, len(in.Shape))}
	copy(out.Shape, in.Shape)
	from, offset := strides(in.Shape), 0
	seen := make([]bool, len(in.Shape))
	for i := range starts {
		axis, err := c.Axis(axes[i], len(in.Shape))
		if err != nil {
			return nil, err
		}
		if seen[axis] {
			return nil, c.Invalid("axes is %v, want each once", axes)
		}
		seen[axis] = true
		step := 1
		if steps != nil {
			step = steps[i]
		}
		if step == 0 {
			return nil, c.Invalid("steps is %v, want none 0", steps)
		}
		first, n := cut(starts[i], ends[i], step, in.Shape[axis])
		out.Shape[axis] = n
		if n > 0 {
			offset += first * from[axis]
			if n > 1 {
				from[axis] *= step
			}
		}
	}
	return moveKernel(in, out, newMove(out.Shape, strides(out.Shape), from, 0, offset)), nil
}

// cut is the first index and the number of those that start:end:step takes from
// a dimension of the given extent, by ONNX's rule: negative bounds count from
// the end, then both are clamped.
func cut(start, end, step, extent int) (first, n int) {
	if start < 0 {
		start += extent
	}
	if end < 0 {
		end += extent
	}
	if step > 0 {
		start, end = min(max(start, 0), extent), min(max(end, 0), extent)
		if start >= end {
			return 0, 0
		}
		return start, (end-start-1)/step + 1
	}
	start, end = min(max(start, 0), extent-1), min(max(end, -1), extent-1)
	if start <= end {
		return 0, 0
	}
	if step == math.MinInt {
		return start, 1
	}
	return start, (start-end-1)/-step + 1
}

// sliceBounds reads the attributes that Slice had before opset 10, or the inputs
// that took their place.
func sliceBounds(c *Call) (starts, ends, axes, steps []int, err error) {
	if c.Version() < 10 {
		return c.Ints("starts"), c.Ints("ends"), c.Ints("axes"), nil, nil
	}
	if !c.Has(1) || !c.Has(2) {
		return nil, nil, nil, nil, c.Invalid("starts or ends is left out, but is required")
	}
	var lists [4][]int
	for i := range lists {
		if lists[i], err = sliceInput(c, i+1); err != nil {
			return nil, nil, nil, nil, err
		}
	}
	return lists[0], lists[1], lists[2], lists[3], nil
}

// sliceInput is ConstInts for numbers like 2⁶³-1, "to the end", that need not
// fit an int.
func sliceInput(c *Call, i int) ([]int, error) {
	if c.Has(i) && c.In[i].Const != nil && c.In[i].DType == onnx.Int64 {
		return c.In[i].Const.Clamped(), nil
	}
	return c.ConstInts(i)
}
