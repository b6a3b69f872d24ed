package ops

import (
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
)

// lowerPad fills with an attribute before opset 11, with an input since.
func lowerPad(c *Call) (*Kernel, error) {
	m, err := padMap(c)
	if err != nil {
		return nil, err
	}
	x := c.In[0].Type
	value := New(Type{DType: x.DType}) // zero
	switch {
	case c.Version() < 11:
		v := c.Float("value", 0)
		switch {
		case IsFloat32(x.DType):
			Data[float32](value)[0] = v
		case x.DType == onnx.Double:
			Data[float64](value)[0] = float64(v)
		case v != 0:
			return nil, c.Unsupported("padding %v with %v", x.DType, v)
		}
	case c.Has(2):
		if c.In[2].DType != x.DType || c.In[2].Elems() != 1 {
			return nil, c.Invalid("the fill value is %v, want one %v", c.In[2].Type, x.DType)
		}
		value = nil // known when bound
	}
	return &Kernel{
		Out:    []Type{{DType: x.DType, Shape: m.out}},
		Tables: m.tables(),
		Bind: func(mem Memory) []Task {
			fill := value
			if fill == nil {
				fill = mem.In[2]
			}
			return m.tasks(x.DType, &mem, fill)
		},
	}, nil
}

// padMap is where the elements of a padded tensor come from. The amounts are an
// attribute before opset 11, an input since; the axes they belong to can be
// named since 18; mode wrap exists since 19, but PyTorch writes it for 18 as well.
func padMap(c *Call) (*axisMap, error) {
	x := c.In[0].Type
	rank := len(x.Shape)

	pads := c.Ints("pads")
	if c.Version() >= 11 {
		if !c.Has(1) {
			return nil, c.Invalid("input 1 (pads) is missing")
		}
		var err error
		if pads, err = c.ConstInts(1); err != nil {
			return nil, err
		}
	}
	axes := make([]int, rank)
	for i := range axes {
		axes[i] = i
	}
	if c.Has(3) {
		named, err := c.ConstInts(3)
		if err != nil {
			return nil, err
		}
		axes = axes[:0]
		for _, v := range named {
			a, err := c.Axis(v, rank)
			if err != nil {
				return nil, err
			}
			if slices.Contains(axes, a) {
				return nil, c.Invalid("axes is %v, which names one axis twice", named)
			}
			axes = append(axes, a)
		}
	}
	if len(pads) != 2*len(axes) {
		return nil, c.Invalid("pads has %d elements, want %d", len(pads), 2*len(axes))
	}

	mode := c.Str("mode", "constant")
	out := Type{DType: x.DType, Shape: append([]int(nil), x.Shape...)}
	for i, a := range axes {
		for _, p := range []int{pads[i], pads[len(axes)+i]} {
			if p < -maxElems || p > maxElems {
				return nil, c.Invalid("pads is %v, want numbers from -%d to %d", pads, maxElems, maxElems)
			}
		}
		out.Shape[a] += pads[i] + pads[len(axes)+i]
	}
	if err := c.checkSize(out); err != nil {
		return nil, err
	}
	m := &axisMap{in: x.Shape, out: out.Shape, from: make([]func(int) int, rank)}
	for i, a := range axes {
		begin, end := pads[i], pads[len(axes)+i]
		if begin == 0 && end == 0 {
			continue
		}
		from, err := padAxis(c, mode, x.Shape[a], begin, end)
		if err != nil {
			return nil, err
		}
		m.from[a] = from
	}
	return m, nil
}

// padAxis is where each coordinate of a padded axis comes from, −1 for the fill
// value. A negative amount cuts elements off; what is reflected or repeated is
// what remains.
func padAxis(c *Call, mode string, n, begin, end int) (func(out int) int, error) {
	first, last := max(0, -begin), n-max(0, -end)
	kept, before := last-first, max(0, begin)
	size := n + begin + end
	if kept < 0 || size < 0 {
		return nil, c.Invalid("pads %d and %d leave nothing of an axis of %d", begin, end, n)
	}
	if kept == 0 && size > 0 && mode != "constant" {
		return nil, c.Invalid("mode %s needs elements to repeat, the axis has none", mode)
	}
	inside := func(i int) (j int, ok bool) {
		j = i - before
		return j, j >= 0 && j < kept
	}
	switch mode {
	case "constant":
		return func(i int) int {
			if j, ok := inside(i); ok {
				return first + j
			}
			return -1
		}, nil
	case "edge":
		return func(i int) int { return first + min(max(i-before, 0), kept-1) }, nil
	case "reflect":
		if kept == 1 {
			return func(int) int { return first }, nil
		}
		period := 2 * (kept - 1)
		return func(i int) int {
			j, ok := inside(i)
			if !ok {
				if j = ((j % period) + period) % period; j >= kept {
					j = period - j
				}
			}
			return first + j
		}, nil
	case "wrap":
		if c.Version() < 18 {
			return nil, c.Invalid("mode wrap exists from opset 19")
		}
		return func(i int) int {
			j, ok := inside(i)
			if !ok {
				j = ((j % kept) + kept) % kept
			}
			return first + j
		}, nil
	}
	return nil, c.Invalid("mode %q is not known", mode)
}
