package ops

func lowerTranspose(c *Call) (*Kernel, error) {
	t := c.In[0].Type
	if err := c.want(0, isStored, "a numeric type or bool"); err != nil {
		return nil, err
	}
	rank := len(t.Shape)
	perm := c.Ints("perm")
	if perm == nil {
		for i := range rank {
			perm = append(perm, rank-1-i)
		}
	}
	if len(perm) != rank {
		return nil, c.Invalid("perm has %d elements, want %d", len(perm), rank)
	}
	out := Type{DType: t.DType, Shape: make([]int, rank)}
	src, seen := make([]int, rank), make([]bool, rank)
	from := strides(t.Shape)
	for i, p := range perm {
		if p < 0 || p >= rank || seen[p] {
			return nil, c.Invalid("perm is %v, want each of 0 to %d once", perm, rank-1)
		}
		seen[p] = true
		out.Shape[i], src[i] = t.Shape[p], from[p]
	}
	return moveKernel(t, out, newMove(out.Shape, strides(out.Shape), src, 0, 0)), nil
}
