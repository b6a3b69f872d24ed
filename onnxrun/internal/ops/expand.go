package ops

// lowerExpand repeats the input where it has extent 1 and the wanted shape has
// more. The shape may be smaller or shorter: the two broadcast to each other.
func lowerExpand(c *Call) (*Kernel, error) {
	if err := c.want(0, isStored, "a numeric type or bool"); err != nil {
		return nil, err
	}
	want, err := c.ConstInts(1)
	if err != nil {
		return nil, err
	}
	t := c.In[0].Type
	rank := max(len(want), len(t.Shape))
	out := Type{DType: t.DType, Shape: make([]int, rank)}
	for i := range out.Shape {
		a, b := 1, 1
		if j := i - (rank - len(t.Shape)); j >= 0 {
			a = t.Shape[j]
		}
		if j := i - (rank - len(want)); j >= 0 {
			b = want[j]
		}
		switch {
		case b < 0:
			return nil, c.Invalid("shape %v has a negative extent", want)
		case a == b || b == 1:
			out.Shape[i] = a
		case a == 1:
			out.Shape[i] = b
		default:
			return nil, c.Invalid("%v does not expand to %v", t.Shape, want)
		}
	}
	return moveKernel(t, out, newMove(out.Shape, strides(out.Shape), broadcastStrides(t.Shape, out.Shape), 0, 0)), nil
}

func lowerTile(c *Call) (*Kernel, error) {
	if err := c.want(0, isStored, "a numeric type or bool"); err != nil {
		return nil, err
	}
	reps, err := c.ConstInts(1)
	if err != nil {
		return nil, err
	}
	t := c.In[0].Type
	if len(reps) != len(t.Shape) {
		return nil, c.Invalid("repeats has %d elements, want %d", len(reps), len(t.Shape))
	}
	out := Type{DType: t.DType}
	for i, r := range reps {
		if r < 0 {
			return nil, c.Invalid("repeats is %v, want none negative", reps)
		}
		if t.Shape[i] > 0 && r > maxElems/t.Shape[i] {
			return nil, c.tooLarge(int64(room(r, t.Shape[i])))
		}
		out.Shape = append(out.Shape, r*t.Shape[i])
	}
	// Each dimension is two: which copy, and where in it.
	var dims, dst, src []int
	from, to := strides(t.Shape), strides(out.Shape)
	for i, r := range reps {
		dims = append(dims, r, t.Shape[i])
		dst = append(dst, t.Shape[i]*to[i], to[i])
		src = append(src, 0, from[i])
	}
	return moveKernel(t, out, newMove(dims, dst, src, 0, 0)), nil
}
