package ops

import (
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
)

// lowerMatMul is numpy's matmul: batches of matrices broadcast against each
// other; an operand of one axis is a row on the left, a column on the right.
// Integers of 32 and 64 bits came with opset 9.
func lowerMatMul(c *Call) (*Kernel, error) {
	a, b := c.In[0].Type, c.In[1].Type
	if a.DType != b.DType {
		return nil, c.Invalid("the operands are %v and %v, want one type", a.DType, b.DType)
	}
	switch a.DType {
	case onnx.Float, onnx.Float16, onnx.BFloat16, onnx.Double, onnx.Int32, onnx.Int64, onnx.Uint32, onnx.Uint64:
	default:
		return nil, c.Invalid("the operands are %v", a.DType)
	}
	if len(a.Shape) == 0 || len(b.Shape) == 0 {
		return nil, c.Invalid("an operand is a scalar, want vectors or matrices")
	}
	as, bs := a.Shape, b.Shape
	if len(as) == 1 {
		as = []int{1, as[0]}
	}
	if len(bs) == 1 {
		bs = []int{bs[0], 1}
	}
	ra, rb := len(as)-2, len(bs)-2
	p := &product{m: as[ra], k: as[ra+1], n: bs[rb+1]}
	if bs[rb] != p.k {
		return nil, c.Invalid("shapes %v and %v do not multiply", a.Shape, b.Shape)
	}
	rank := max(ra, rb)
	batch := make([]int, rank)
	aStep, bStep := make([]int, rank), make([]int, rank) // 0 where broadcast
	na, nb := 1, 1
	for i := rank - 1; i >= 0; i-- {
		da, db := 1, 1
		if j := i - (rank - ra); j >= 0 {
			da = as[j]
		}
		if j := i - (rank - rb); j >= 0 {
			db = bs[j]
		}
		switch {
		case da == db:
			batch[i] = da
		case da == 1:
			batch[i] = db
		case db == 1:
			batch[i] = da
		default:
			return nil, c.Invalid("shapes %v and %v do not broadcast", a.Shape, b.Shape)
		}
		if da != 1 {
			aStep[i] = na
		}
		if db != 1 {
			bStep[i] = nb
		}
		na *= da
		nb *= db
	}
	shape := slices.Clone(batch)
	if len(a.Shape) > 1 {
		shape = append(shape, as[ra])
	}
	if len(b.Shape) > 1 {
		shape = append(shape, p.n)
	}
	out := Type{DType: a.DType, Shape: shape}
	if err := c.checkSize(out); err != nil {
		return nil, err
	}
	p.lda, p.ldb, p.ldc = p.k, p.n, p.n
	if nb == 1 && elems(batch) == na {
		// One B for all: the batches of A are more rows.
		p.m *= na
		p.single()
	} else {
		p.a, p.b, p.c = evenly(na, p.m*p.k), evenly(nb, p.k*p.n), evenly(elems(batch), p.m*p.n)
		p.aOf, p.bOf = newSpread(batch, aStep), newSpread(batch, bStep)
	}
	if p.n == 1 {
		p.bT, p.ldb = true, p.k // a column is a row when packed from the other side
	}

	k := &Kernel{
		Out:   []Type{out},
		FLOPs: p.flops(),
		Algo:  "gemm",
	}
	constant := c.In[1].Const
	p.constB = constant != nil
	if !IsFloat32(a.DType) {
		k.Algo = "loops"
	} else {
		k.Scratch = p.scratch(constant != nil)
	}
	packs := c.Packs
	k.Bind = func(m Memory) []Task {
		var packed []float32
		if constant != nil && IsFloat32(a.DType) {
			packed = p.packAll(packs, constant)
		}
		return p.bind(m.Out[0], m.In[0], m.In[1], packed, &m)
	}
	return k, nil
}

// lowerGemm is Y = alpha·A·B + beta·C with A and B transposed on demand. C is
// optional since opset 11.
func lowerGemm(c *Call) (*Kernel, error) {
	a, b := c.In[0].Type, c.In[1].Type
	if a.DType != b.DType || c.Has(2) && c.In[2].DType != a.DType {
		return nil, c.Invalid("the operands differ in type")
	}
	switch a.DType {
	case onnx.Float, onnx.Float16, onnx.BFloat16, onnx.Double, onnx.Int32, onnx.Int64, onnx.Uint32, onnx.Uint64:
	default:
		return nil, c.Invalid("the operands are %v", a.DType)
	}
	if len(a.Shape) != 2 || len(b.Shape) != 2 {
		return nil, c.Invalid("shapes %v and %v, want two matrices", a.Shape, b.Shape)
	}
	if c.Version() < 11 && !c.Has(2) {
		return nil, c.Invalid("input 2 is left out, but is required before opset 11")
	}
	p := &product{
		m: a.Shape[0], k: a.Shape[1], n: b.Shape[1],
		lda: a.Shape[1], ldb: b.Shape[1],
		aT: c.Int("transA", 0) != 0, bT: c.Int("transB", 0) != 0,
	}
	p.single()
	bk := b.Shape[0]
	if p.aT {
		p.m, p.k = p.k, p.m
	}
	if p.bT {
		p.n, bk = bk, p.n
	}
	p.ldc = p.n
	if bk != p.k {
		return nil, c.Invalid("shapes %v and %v do not multiply", a.Shape, b.Shape)
	}
	e := gemmEnd{n: p.n, alpha: c.Float("alpha", 1), beta: c.Float("beta", 1)}
	if c.Has(2) && e.beta != 0 {
		s := c.In[2].Shape
		rows, cols := 1, 1
		if len(s) > 0 {
			cols = s[len(s)-1]
		}
		if len(s) > 1 {
			rows = s[len(s)-2]
		}
		if len(s) > 2 || rows != 1 && rows != p.m || cols != 1 && cols != p.n {
			return nil, c.Invalid("C has shape %v, which does not broadcast to %v", s, []int{p.m, p.n})
		}
		e.given = true
		if rows != 1 {
			e.rowStep = cols
		}
		if cols == p.n {
			e.colStep = 1
		}
	}
	float := IsFloat32(a.DType)
	k := &Kernel{
		Out:   []Type{{DType: a.DType, Shape: []int{p.m, p.n}}},
		FLOPs: p.flops(),
		Algo:  "gemm",
	}
	if !float && a.DType != onnx.Double && (e.alpha != 1 || e.given && e.beta != 1) {
		return nil, c.Unsupported("alpha and beta other than 1 with %v", a.DType)
	}
	constant := c.In[1].Const
	p.constB = constant != nil
	if float {
		k.Scratch = p.scratch(constant != nil)
	} else {
		k.Algo = "loops"
	}
	packs := c.Packs
	k.Bind = func(m Memory) []Task {
		var extra *Tensor
		if e.given {
			extra = m.In[2]
		}
		switch a.DType {
		case onnx.Double:
			return gemmLoops[float64](p, &e, m, extra)
		case onnx.Int32:
			return gemmLoops[int32](p, &e, m, extra)
		case onnx.Int64:
			return gemmLoops[int64](p, &e, m, extra)
		case onnx.Uint32:
			return gemmLoops[uint32](p, &e, m, extra)
		case onnx.Uint64:
			return gemmLoops[uint64](p, &e, m, extra)
		}
		var packed, bias []float32
		if constant != nil {
			packed = p.packAll(packs, constant)
		}
		var after func(batch, i0, i1, j0, j1 int)
		y := Data[float32](m.Out[0])
		switch {
		case e.alpha == 1 && e.given && e.beta == 1 && e.rowStep == 0 && e.colStep == 1:
			bias = Data[float32](extra)
		case e.alpha != 1 || e.given:
			after = gemmAfter(&e, y, extra)
		}
		return p.tasks(y, Data[float32](m.In[0]), Data[float32](m.In[1]), packed, bias, m.Shared(), after)
	}
	return k, nil
}

// gemmEnd is what Gemm does to the product: times alpha, plus beta times a C
// whose elements are rowStep and colStep apart, 0 where it is broadcast.
type gemmEnd struct {
	n                int
	alpha, beta      float32
	given            bool
	rowStep, colStep int
}

func gemmAfter[T number](e *gemmEnd, y []T, extra *Tensor) func(batch, i0, i1, j0, j1 int) {
	var add []T
	if e.given {
		add = Data[T](extra)
	}
	alpha, beta := T(e.alpha), T(e.beta)
	return func(_, i0, i1, j0, j1 int) {
		for i := i0; i < i1; i++ {
			row := y[i*e.n:][j0:j1]
			if alpha != 1 {
				for j := range row {
					row[j] *= alpha
				}
			}
			if add != nil {
				at := i*e.rowStep + j0*e.colStep
				for j := range row {
					row[j] += T(beta * add[at+j*e.colStep])
				}
			}
		}
	}
}

func gemmLoops[T number](p *product, e *gemmEnd, m Memory, extra *Tensor) []Task {
	y := Data[T](m.Out[0])
	return productTasks(p, y, Data[T](m.In[0]), Data[T](m.In[1]), gemmAfter(e, y, extra), m.Stopped)
}
