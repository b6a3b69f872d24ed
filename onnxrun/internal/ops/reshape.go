package ops

import (
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
)

// The operators of this file leave every element where it is.

// view is input 0 under another shape.
func (c *Call) view(shape []int) (*Kernel, error) {
	t := c.In[0].Type
	if err := c.want(0, isStored, "a numeric type or bool"); err != nil {
		return nil, err
	}
	if t.Layout == Blocked {
		return nil, c.Unsupported("gives %v another shape", t)
	}
	return &Kernel{Out: []Type{{DType: t.DType, Shape: shape}}, View: true}, nil
}

// lowerReshape: an extent of 0 means that of the input, unless allowzero is
// set; one extent may be -1, what is left over.
func lowerReshape(c *Call) (*Kernel, error) {
	want, err := c.ConstInts(1)
	if err != nil {
		return nil, err
	}
	if len(c.In[1].Shape) != 1 {
		return nil, c.Invalid("the new shape is %v, want one dimension", c.In[1].Type)
	}
	in := c.In[0].Shape
	shape := slices.Clone(want)
	allowZero := c.Int("allowzero", 0) != 0
	free, n := -1, 1
	for i, d := range want {
		switch {
		case d == -1 && free >= 0:
			return nil, c.Invalid("the new shape %v has more than one -1", want)
		case d == -1:
			free = i
			continue
		case d < 0:
			return nil, c.Invalid("the new shape %v has a negative extent", want)
		case d == 0 && !allowZero:
			if i >= len(in) {
				return nil, c.Invalid("the new shape %v copies extent %d of %v", want, i, in)
			}
			shape[i] = in[i]
		}
		if d := shape[i]; d > 0 && n > c.most()/d {
			return nil, c.Invalid("%v does not reshape to %v", in, want)
		}
		n *= shape[i]
	}
	total := elems(in)
	if free >= 0 {
		switch {
		case n == 0 && allowZero:
			return nil, c.Invalid("the new shape %v has both 0 and -1", want)
		case n == 0 && total == 0: // anything would do
			shape[free] = 0
		case n == 0 || total%n != 0:
			return nil, c.Invalid("%v does not reshape to %v", in, want)
		default:
			shape[free] = total / n
			n = total
		}
	}
	if n != total {
		return nil, c.Invalid("%v does not reshape to %v", in, want)
	}
	return c.view(shape)
}

func lowerFlatten(c *Call) (*Kernel, error) {
	in := c.In[0].Shape
	axis := c.Int("axis", 1)
	if axis < -len(in) || axis > len(in) || axis < 0 && c.Version() < 11 {
		return nil, c.Invalid("axis %d is outside [%d, %d]", axis, -len(in), len(in))
	}
	if axis < 0 {
		axis += len(in)
	}
	return c.view([]int{elems(in[:axis]), elems(in[axis:])})
}

// axes reads the list of axes that was an attribute once and is input 1 since; nil
// when there is none. Each is within rank, once.
func (c *Call) axes(rank int) ([]int, error) {
	list := c.Ints("axes")
	if _, attr := c.Node.Attrs["axes"]; !attr {
		var err error
		if list, err = c.ConstInts(1); err != nil {
			return nil, err
		}
	}
	seen := make([]bool, rank)
	for k, a := range list {
		axis, err := c.Axis(a, rank)
		if err != nil {
			return nil, err
		}
		if seen[axis] {
			return nil, c.Invalid("axes is %v, want each once", list)
		}
		seen[axis] = true
		list[k] = axis
	}
	return list, nil
}

func lowerSqueeze(c *Call) (*Kernel, error) {
	in := c.In[0].Shape
	axes, err := c.axes(len(in))
	if err != nil {
		return nil, err
	}
	given := c.Has(1) || c.Node.Attrs["axes"].Kind != 0
	shape := []int{}
	for i, d := range in {
		gone := d == 1
		if given {
			gone = slices.Contains(axes, i)
		}
		if gone && d != 1 {
			return nil, c.Invalid("axis %d of %v has extent %d, want 1", i, in, d)
		}
		if !gone {
			shape = append(shape, d)
		}
	}
	return c.view(shape)
}

func lowerUnsqueeze(c *Call) (*Kernel, error) {
	in := c.In[0].Shape
	var count int // of axes, which decides the rank that they refer to
	if c.Version() < 13 {
		count = len(c.Node.Attrs["axes"].Ints)
	} else {
		list, err := c.ConstInts(1)
		if err != nil {
			return nil, err
		}
		count = len(list)
	}
	axes, err := c.axes(len(in) + count)
	if err != nil {
		return nil, err
	}
	if !c.Has(1) && c.Node.Attrs["axes"].Kind == 0 {
		return nil, c.Invalid("has neither an input nor an attribute axes, want one")
	}
	shape := make([]int, len(in)+count)
	for i := range shape {
		if slices.Contains(axes, i) {
			shape[i] = 1
		} else {
			shape[i], in = in[0], in[1:]
		}
	}
	return c.view(shape)
}

func lowerIdentity(c *Call) (*Kernel, error) {
	if err := c.want(0, isStored, "a numeric type or bool"); err != nil {
		return nil, err
	}
	return &Kernel{Out: []Type{c.In[0].Type}, View: true}, nil
}

// lowerDropout is the identity: nothing is trained here. The mask is all true.
func lowerDropout(c *Call) (*Kernel, error) {
	if err := c.want(0, isFloat, "a float type"); err != nil {
		return nil, err
	}
	t := c.In[0].Type
	if c.Has(2) {
		mode := c.In[2]
		switch {
		case mode.DType != onnx.Bool || mode.Elems() != 1:
			return nil, c.Invalid("training_mode is %v, want one bool", mode.Type)
		case mode.Const == nil:
			return nil, c.Unsupported("training_mode depends on the data of this run")
		case Data[bool](mode.Const)[0]:
			return nil, c.Unsupported("training_mode is on")
		}
	}
	if len(c.Node.Outputs) == 1 {
		return &Kernel{Out: []Type{t}, View: true}, nil
	}
	mask := Type{DType: onnx.Bool, Shape: t.Shape}
	if c.Version() < 10 {
		mask.DType = t.DType
	}
	return &Kernel{
		Out:     []Type{t, mask},
		InPlace: []int{0},
		Bind: func(m Memory) []Task {
			var tasks []Task
			if m.Out[0] != nil {
				dst, src := m.Out[0].mem, m.In[0].mem
				tasks = append(tasks, eachPart(len(dst), func(lo, hi int) { copy(dst[lo:hi], src[lo:hi]) })...)
			}
			switch {
			case m.Out[1] == nil:
			case mask.DType == onnx.Bool:
				b := Data[bool](m.Out[1])
				tasks = append(tasks, eachPart(len(b), func(lo, hi int) { fill(b[lo:hi], true) })...)
			case mask.DType == onnx.Double:
				f := Data[float64](m.Out[1])
				tasks = append(tasks, eachPart(len(f), func(lo, hi int) { fill(f[lo:hi], 1) })...)
			default:
				f := Data[float32](m.Out[1])
				tasks = append(tasks, eachPart(len(f), func(lo, hi int) { fill(f[lo:hi], 1) })...)
			}
			return tasks
		},
	}, nil
}
