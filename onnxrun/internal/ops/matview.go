package ops

import "slices"

// lowerProductOfViews is the fused operator Product: C = A·B for a batch of
// matrices [m, k] and [k, n] wherever they lie. Its attributes are sizes (batch,
// m, n, k), a, b and c (newMatrices) and the output's shape. Rows of A and C must
// be row-major, B may be either.
func lowerProductOfViews(c *Call) (*Kernel, error) {
	size := c.Ints("sizes")
	if len(size) != 4 {
		return nil, c.Invalid("sizes has %d elements, want 4", len(size))
	}
	for _, n := range size {
		if n < 1 {
			return nil, c.Invalid("sizes are %v, want positive ones", size)
		}
	}
	batch := size[0]
	p := &product{m: size[1], n: size[2], k: size[3]}
	out := Type{DType: c.In[0].DType, Shape: c.Ints("shape")}
	if err := c.checkSize(out); err != nil {
		return nil, err
	}
	if !IsFloat32(c.In[0].DType) || !IsFloat32(c.In[1].DType) {
		return nil, c.Invalid("the operands are %v and %v, want float32", c.In[0].DType, c.In[1].DType)
	}
	if out.Elems() != room(batch, p.m, p.n) {
		return nil, c.Invalid("the output of shape %v is not %d matrices of %d×%d", out.Shape, batch, p.m, p.n)
	}
	a, err := newMatrices(c, "a", batch, p.m, p.k, c.In[0].Elems())
	if err != nil {
		return nil, err
	}
	b, err := newMatrices(c, "b", batch, p.k, p.n, c.In[1].Elems())
	if err != nil {
		return nil, err
	}
	y, err := newMatrices(c, "c", batch, p.m, p.n, out.Elems())
	if err != nil {
		return nil, err
	}
	if !a.rowMajor(p.k) || !y.rowMajor(p.n) || !b.rowMajor(p.n) && !b.colMajor(p.k) {
		return nil, c.Invalid("matrices of %v, %v and %v are not row-major", c.Ints("a"), c.Ints("b"), c.Ints("c"))
	}
	p.lda, p.ldb, p.ldc = a.row, b.row, y.row
	if !b.rowMajor(p.n) {
		p.bT, p.ldb = true, b.col
	}
	p.a, p.aOf = a.distinct()
	p.b, p.bOf = b.distinct()
	p.c = newSpread(y.dims, y.steps)
	k := &Kernel{Out: []Type{out}, FLOPs: p.flops(), Algo: "gemm", Scratch: p.scratch(false)}
	k.Bind = func(m Memory) []Task {
		return p.tasks(Data[float32](m.Out[0])[y.at:], Data[float32](m.In[0])[a.at:], Data[float32](m.In[1])[b.at:], nil, nil, m.Shared(), nil)
	}
	return k, nil
}

// distinct is where the matrices of all items begin, counted from the first one, each
// place once, and which of them each item's is.
func (x *matrices) distinct() (at, of spread) {
	var dims, steps []int // without the axes along which it is one matrix
	number := slices.Clone(x.steps)
	for d := len(x.dims) - 1; d >= 0; d-- {
		if x.steps[d] != 0 {
			number[d] = room(dims...)
			dims, steps = slices.Insert(dims, 0, x.dims[d]), slices.Insert(steps, 0, x.steps[d])
		}
	}
	return newSpread(dims, steps), newSpread(x.dims, number)
}
