package ops

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
	if out.Elems() != batch*p.m*p.n {
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
	p.aAt, p.aOf = a.distinct(batch)
	p.bAt, p.bOf = b.distinct(batch)
	for i := range batch {
		p.cAt = append(p.cAt, y.of(i))
	}
	k := &Kernel{Out: []Type{out}, FLOPs: p.flops(), Algo: "gemm", Scratch: p.scratch(false)}
	k.Bind = func(m Memory) []Task {
		return p.tasks(Data[float32](m.Out[0]), Data[float32](m.In[0]), Data[float32](m.In[1]), nil, nil, m.Shared(), nil)
	}
	return k, nil
}

// distinct lists where the matrices of n items begin, each place once, and which
// of them each item's is.
func (x *matrices) distinct(n int) (at, of []int) {
	seen := map[int]int{}
	for i := range n {
		begin := x.of(i)
		if _, ok := seen[begin]; !ok {
			seen[begin] = len(at)
			at = append(at, begin)
		}
		of = append(of, seen[begin])
	}
	return at, of
}
