package ops

import "slices"

// concatLayouts joins channels in whole blocks when it can.
func concatLayouts(c *Call) []Layout {
	want := make([]Layout, len(c.In))
	for i := range c.In {
		t := c.In[i].Type
		if t.Layout != Blocked || i < len(c.In)-1 && t.Shape[1]%Block != 0 {
			return want
		}
	}
	if axis := c.Int("axis", 1); axis != 1 && axis != 1-len(c.In[0].Shape) {
		return want
	}
	for i := range want {
		want[i] = Blocked
	}
	return want
}

func lowerConcat(c *Call) (*Kernel, error) {
	if err := c.want(0, isStored, "a numeric type or bool"); err != nil {
		return nil, err
	}
	if err := c.wantSame(0); err != nil {
		return nil, err
	}
	first := c.In[0].Type
	axis, err := c.Axis(c.Int("axis", 1), len(first.Shape)) // left out before opset 4
	if err != nil {
		return nil, err
	}
	out := first
	out.Shape = slices.Clone(first.Shape)
	out.Shape[axis] = 0
	for i := range c.In {
		s := c.In[i].Shape
		if c.In[i].Absent || len(s) != len(first.Shape) {
			return nil, c.Invalid("input %d has shape %v, want rank %d", i, s, len(first.Shape))
		}
		for d := range s {
			if d != axis && s[d] != first.Shape[d] {
				return nil, c.Invalid("input %d has shape %v, want that of input 0, %v, except on axis %d", i, s, first.Shape, axis)
			}
		}
		if s[axis] > maxElems-out.Shape[axis] {
			return nil, c.tooLarge(int64(s[axis]) + int64(out.Shape[axis]))
		}
		out.Shape[axis] += s[axis]
		if c.In[i].Layout != first.Layout ||
			first.Layout == Blocked && (axis != 1 || i < len(c.In)-1 && s[1]%Block != 0) {
			return nil, c.Unsupported("joins %v and %v", first, c.In[i].Type)
		}
	}
	if len(c.In) == 1 {
		return &Kernel{Out: []Type{out}, View: true}, nil
	}
	to := strides(out.Physical())
	moves := make([]*move, len(c.In))
	at := 0
	for i := range c.In {
		p := c.In[i].Physical()
		moves[i] = newMove(p, to, strides(p), at*to[axis], 0)
		at += p[axis]
	}
	return &Kernel{Out: []Type{out}, Bind: func(m Memory) []Task {
		dst := slices.Repeat(m.Out[:1], len(m.In))
		return moveTask(moves, dst, m.In)
	}}, nil
}

// splitLayouts cuts channels in whole blocks when it can.
func splitLayouts(c *Call) []Layout {
	want := make([]Layout, len(c.In))
	if c.In[0].Layout != Blocked {
		return want
	}
	axis, sizes, err := splitSizes(c)
	if err == nil && axis == 1 && wholeBlocks(sizes) {
		want[0] = Blocked
	}
	return want
}

// wholeBlocks: all parts but the last end where a block of channels does.
func wholeBlocks(sizes []int) bool {
	for _, n := range sizes[:len(sizes)-1] {
		if n%Block != 0 {
			return false
		}
	}
	return true
}

func lowerSplit(c *Call) (*Kernel, error) {
	if err := c.want(0, isStored, "a numeric type or bool"); err != nil {
		return nil, err
	}
	axis, sizes, err := splitSizes(c)
	if err != nil {
		return nil, err
	}
	in := c.In[0].Type
	if in.Layout == Blocked && (axis != 1 || !wholeBlocks(sizes)) {
		return nil, c.Unsupported("splits %v into %v", in, sizes)
	}
	k := &Kernel{}
	var moves []*move
	var used []int // the outputs that are wanted
	p := in.Physical()
	from, at := strides(p), 0
	for i, n := range sizes {
		out := in
		out.Shape = slices.Clone(in.Shape)
		out.Shape[axis] = n
		k.Out = append(k.Out, out)
		p := out.Physical()
		if c.Node.Outputs[i] >= 0 {
			used = append(used, i)
			moves = append(moves, newMove(p, strides(p), from, 0, at*from[axis]))
		}
		at += p[axis]
	}
	if len(sizes) == 1 {
		k.View = true
		return k, nil
	}
	k.Bind = func(m Memory) []Task {
		var dst []*Tensor
		var read []*move
		for k, i := range used {
			if m.Out[i] != nil { // an output that nobody reads
				dst, read = append(dst, m.Out[i]), append(read, moves[k])
			}
		}
		return moveTask(read, dst, slices.Repeat(m.In[:1], len(dst)))
	}
	return k, nil
}

// splitSizes is the axis and the extent of each output on it: from an attribute
// before opset 13, from an input since, equal parts when neither says. From
// opset 18 on equal parts need not come out even: the last is smaller.
func splitSizes(c *Call) (axis int, sizes []int, err error) {
	shape := c.In[0].Shape
	if axis, err = c.Axis(c.Int("axis", 0), len(shape)); err != nil {
		return 0, nil, err
	}
	outs := len(c.Node.Outputs)
	_, attr := c.Node.Attrs["split"]
	switch {
	case attr:
		sizes = c.Ints("split")
	case c.Has(1):
		if sizes, err = c.ConstInts(1); err != nil {
			return 0, nil, err
		}
		if _, ok := c.Node.Attrs["num_outputs"]; ok {
			return 0, nil, c.Invalid("has both a split input and num_outputs")
		}
	default:
		if n := c.Int("num_outputs", outs); n != outs {
			return 0, nil, c.Invalid("num_outputs is %d, but the node has %d", n, outs)
		}
		each := (shape[axis] + outs - 1) / outs
		if c.Version() < 18 && shape[axis]%outs != 0 {
			return 0, nil, c.Invalid("axis %d has extent %d, which does not divide into %d", axis, shape[axis], outs)
		}
		rest := shape[axis]
		for range outs {
			sizes = append(sizes, min(each, rest))
			rest -= sizes[len(sizes)-1]
		}
		return axis, sizes, nil
	}
	if len(sizes) != outs {
		return 0, nil, c.Invalid("split has %d elements, want %d", len(sizes), outs)
	}
	rest := shape[axis]
	for _, n := range sizes {
		if n < 0 || n > rest {
			return 0, nil, c.Invalid("split is %v, want %d in all", sizes, shape[axis])
		}
		rest -= n
	}
	if rest != 0 {
		return 0, nil, c.Invalid("split is %v, want %d in all", sizes, shape[axis])
	}
	return axis, sizes, nil
}
