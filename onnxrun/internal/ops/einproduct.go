package ops

import "slices"

// An Einsum of two operands is a batch of matrix products. Its subscripts are
// of five kinds: in both operands and the result (batch), in one operand and
// the result (rows, columns), in both operands and summed (depth), in one
// operand and summed (added up beforehand).

// einStep is one product, or for a single operand one copy.
type einStep struct {
	a, b, c   einValue
	copyA     *einCopy // nil: the operand is a matrix as it lies
	copyB     *einCopy
	copyC     *einCopy // from the product to the result
	p         *product // nil: only copyA, straight to c
	loops     *equation
	scratch   int // where the product's scratch memory begins
	constantB int // the input that B is, if it is a constant as it lies; else −1
}

// einValue is a tensor of the computation: an input (≥ 0), the output, or
// memory at an offset of the scratch.
type einValue struct {
	kind  int // inValue, outValue, tempValue
	index int // input number, or the offset of the memory
	size  int
}

const (
	inValue = iota
	outValue
	tempValue
)

// einCopy gathers strided elements into contiguous memory, adding up those that
// only differ in summed subscripts.
type einCopy struct {
	to            einValue
	dims, strides []int
	of            operand
	summed        []subscript // what is added up
}

func (e *equation) newCopy(o operand, subs []subscript, to einValue) *einCopy {
	c := &einCopy{to: to}
	for _, s := range subs {
		c.dims = append(c.dims, e.dim[s])
		c.strides = append(c.strides, o.stride[s])
	}
	c.of, c.summed = o, without(o.subs, subs)
	return c
}

// without lists the subscripts of a that are not in b.
func without(a, b []subscript) []subscript {
	var list []subscript
	for _, s := range a {
		if !slices.Contains(b, s) {
			list = append(list, s)
		}
	}
	return list
}

// bindProducts plans the steps; the plan is made from shapes alone.
func (e *equation) bindProducts(k *Kernel, c *Call) error {
	k.Algo = "gemm"
	scratch := 0
	temp := func(n int) einValue {
		v := einValue{tempValue, scratch, n}
		scratch = min(scratch+align64(room(4, n)), unbounded)
		return v
	}
	output := einValue{outValue, 0, e.size(e.out)}
	type value struct {
		operand
		einValue
	}
	var rest []value
	for i, o := range e.in {
		rest = append(rest, value{o, einValue{inValue, i, c.In[i].Elems()}})
	}
	var steps []*einStep
	if len(rest) == 1 {
		k.Algo = "copy"
		steps = append(steps, &einStep{a: rest[0].einValue, c: output, copyA: e.newCopy(rest[0].operand, e.out, output), constantB: -1})
	}
	for len(rest) > 1 {
		a, b := rest[0], rest[1]
		rest = rest[2:]
		// What the result of this step must still have.
		var keep []subscript
		to := output
		if len(rest) == 0 {
			keep = e.out
		} else {
			for _, s := range append(slices.Clone(a.subs), b.subs...) {
				needed := slices.Contains(e.out, s)
				for _, r := range rest {
					needed = needed || r.has(s)
				}
				if needed && !slices.Contains(keep, s) {
					keep = append(keep, s)
				}
			}
			between := Type{}
			for _, s := range keep {
				between.Shape = append(between.Shape, e.dim[s])
			}
			if err := c.checkSize(between); err != nil {
				return err
			}
			to = temp(e.size(keep))
		}
		s := e.step(a.operand, a.einValue, b.operand, b.einValue, keep, to, temp, c)
		steps = append(steps, s)
		if s.p != nil {
			s.scratch = scratch
			scratch = min(scratch+align64(s.p.scratch(s.constantB >= 0)), unbounded)
		}
		rest = append([]value{{e.contiguous(keep), to}}, rest...)
	}
	k.Scratch = scratch
	for _, s := range steps {
		if s.loops != nil {
			k.Tables = min(k.Tables+e.listBytes(without(s.loops.in[0].subs, s.loops.out))+e.listBytes(without(s.loops.in[1].subs, s.loops.out)), unbounded)
			continue
		}
		for _, copied := range []*einCopy{s.copyA, s.copyB, s.copyC} {
			if copied != nil {
				k.Tables = min(k.Tables+e.listBytes(copied.summed), unbounded)
			}
		}
	}
	packs := c.Packs
	inputs := c.In
	k.Bind = func(m Memory) []Task {
		memory := func(v einValue) []float32 {
			switch v.kind {
			case inValue:
				return Data[float32](m.In[v.index])
			case outValue:
				return Data[float32](m.Out[0])
			}
			return Floats(m.Shared()[v.index:], v.size)
		}
		var tasks []Task
		for _, s := range steps {
			if s.loops != nil {
				tasks = append(tasks, s.loops.pairTask(memory(s.c), memory(s.a), memory(s.b), &m))
				continue
			}
			a := memory(s.a)
			if s.copyA != nil {
				tasks = append(tasks, e.copyTask(s.copyA, memory(s.copyA.to), a, &m))
				a = memory(s.copyA.to)
			}
			if s.p == nil {
				continue
			}
			b := memory(s.b)
			var packed []float32
			if s.copyB != nil {
				tasks = append(tasks, e.copyTask(s.copyB, memory(s.copyB.to), b, &m))
				b = memory(s.copyB.to)
			} else if s.constantB >= 0 {
				packed = s.p.packAll(packs, inputs[s.constantB].Const)
			}
			to := memory(s.c)
			tasks = append(tasks, s.p.tasks(to, a, b, packed, nil, m.Shared()[s.scratch:], nil)...)
			if s.copyC != nil {
				tasks = append(tasks, e.copyTask(s.copyC, memory(s.copyC.to), to, &m))
			}
		}
		return tasks
	}
	return nil
}

// step plans one product of two operands.
func (e *equation) step(a operand, av einValue, b operand, bv einValue, keep []subscript, to einValue, temp func(int) einValue, c *Call) *einStep {
	// Columns are what the result's last subscript belongs to, so that rows of
	// the result are contiguous.
	if n := len(keep); n > 0 && a.has(keep[n-1]) && !b.has(keep[n-1]) {
		a, av, b, bv = b, bv, a, av
	}
	var batch, rows, cols, depth []subscript
	for _, s := range keep {
		switch {
		case a.has(s) && b.has(s):
			batch = append(batch, s)
		case a.has(s):
			rows = append(rows, s)
		default:
			cols = append(cols, s)
		}
	}
	for _, s := range a.subs {
		if b.has(s) && !slices.Contains(keep, s) {
			depth = append(depth, s)
		}
	}
	s := &einStep{a: av, b: bv, c: to, constantB: -1}
	if len(depth) == 0 {
		// Nothing to sum over both: element by element.
		s.loops = &equation{in: []operand{a, b}, out: keep, dim: e.dim}
		return s
	}
	p := &product{m: e.size(rows), n: e.size(cols), k: e.size(depth)}
	s.p = p

	var ok bool
	if p.lda, p.aT, ok = e.matrix(a, rows, depth); ok && !e.sums(a, keep, depth) {
		p.a = e.spread(batch, a)
	} else {
		order := slices.Concat(batch, rows, depth)
		s.copyA = e.newCopy(a, order, temp(e.size(order)))
		p.lda, p.aT, p.a = p.k, false, evenly(e.size(batch), room(p.m, p.k))
	}
	if p.ldb, p.bT, ok = e.matrix(b, depth, cols); ok && !e.sums(b, keep, depth) {
		p.b = e.spread(batch, b)
		if bv.kind == inValue && c.In[bv.index].Const != nil {
			s.constantB = bv.index
		}
	} else {
		order := slices.Concat(batch, depth, cols)
		s.copyB = e.newCopy(b, order, temp(e.size(order)))
		p.ldb, p.bT, p.b = p.n, false, evenly(e.size(batch), room(p.k, p.n))
	}
	n := e.size(batch)
	p.aOf, p.bOf = evenly(n, 1), evenly(n, 1)

	result := e.contiguous(keep)
	var transposed bool
	if p.ldc, transposed, ok = e.matrix(result, rows, cols); ok && !transposed {
		p.c = e.spread(batch, result)
		return s
	}
	order := slices.Concat(batch, rows, cols)
	s.c = temp(e.size(order))
	s.copyC = e.newCopy(e.contiguous(order), keep, to)
	p.ldc, p.c = p.n, evenly(n, room(p.m, p.n))
	return s
}

// sums reports whether the operand has subscripts that neither the result nor
// the product takes.
func (e *equation) sums(o operand, keep, depth []subscript) bool {
	for _, s := range o.subs {
		if !slices.Contains(keep, s) && !slices.Contains(depth, s) {
			return true
		}
	}
	return false
}

// matrix reports whether an operand is a matrix as it lies, rows and columns
// being lists of subscripts: the distance between its rows, or if it is stored
// transposed between its columns.
func (e *equation) matrix(o operand, rows, cols []subscript) (ld int, transposed, ok bool) {
	nr, nc := e.size(rows), e.size(cols)
	sr, okr := e.merged(o, rows)
	sc, okc := e.merged(o, cols)
	if !okr || !okc {
		return 0, false, false
	}
	if nr == 1 {
		sr = nc
	}
	if nc == 1 {
		sc = 1
	}
	switch {
	case sc == 1 && sr >= nc:
		return sr, false, true
	case nc == 1:
		sc = nr
	}
	if (sr == 1 || nr == 1) && sc >= nr {
		return sc, true, true
	}
	return 0, false, false
}

// merged is the distance between neighbours when the subscripts are counted as
// one, the last fastest; false when they do not lie evenly.
func (e *equation) merged(o operand, subs []subscript) (stride int, ok bool) {
	n := 1
	for i := len(subs) - 1; i >= 0; i-- {
		d := e.dim[subs[i]]
		if d == 1 {
			continue
		}
		st := o.stride[subs[i]]
		if n == 1 {
			stride = st
		} else if st != stride*n {
			return 0, false
		}
		n *= d
	}
	return stride, true
}

// copyTask copies.
func (e *equation) copyTask(c *einCopy, dst, src []float32, m *Memory) Task {
	row, step := 1, 0
	outer := c.dims
	if n := len(c.dims); n > 0 {
		row, step, outer = c.dims[n-1], c.strides[n-1], c.dims[:n-1]
	}
	rows := elems(outer)
	if rows*row == 0 {
		return Task{}
	}
	sums := e.offsets(c.summed, c.of, m)
	parts, size := divide(rows, 10+float64(row*len(sums)))
	return Task{parts, func(part, _ int) {
		pace := m.pace()
		lo, hi := bounds(part, size, rows)
		for r := lo; r < hi; r++ {
			off, rest := 0, r
			for d := len(outer) - 1; d >= 0; d-- {
				off += rest % outer[d] * c.strides[d]
				rest /= outer[d]
			}
			y := dst[r*row:][:row]
			if len(sums) == 1 {
				for j := range y {
					y[j] = src[off+sums[0]+j*step]
				}
				continue
			}
			for j := range y {
				sum, more := total(src, off+j*step, sums, &pace)
				if !more {
					return
				}
				y[j] = float32(sum)
			}
		}
	}}
}

// pairTask multiplies two operands element by element, adding up what only one
// of them has.
func (e *equation) pairTask(dst, a, b []float32, m *Memory) Task {
	if len(dst) == 0 {
		return Task{}
	}
	offA, offB := e.offsets(without(e.in[0].subs, e.out), e.in[0], m), e.offsets(without(e.in[1].subs, e.out), e.in[1], m)
	dims, stepA, stepB := make([]int, len(e.out)), make([]int, len(e.out)), make([]int, len(e.out))
	for i, s := range e.out {
		dims[i], stepA[i], stepB[i] = e.dim[s], e.in[0].stride[s], e.in[1].stride[s]
	}
	parts, size := divide(len(dst), float64(8+2*len(dims)+len(offA)+len(offB)))
	return Task{parts, func(part, _ int) {
		lo, hi := bounds(part, size, len(dst))
		pace := m.pace()
		for o := lo; o < hi; o++ {
			ia, ib, rest := 0, 0, o
			for d := len(dims) - 1; d >= 0; d-- {
				x := rest % dims[d]
				rest /= dims[d]
				ia += x * stepA[d]
				ib += x * stepB[d]
			}
			// Σᵢ aᵢ · Σⱼ bⱼ: neither sum depends on the other's subscripts.
			sumA, _ := total(a, ia, offA, &pace)
			sumB, more := total(b, ib, offB, &pace)
			if !more {
				return
			}
			dst[o] = float32(sumA * sumB)
		}
	}}
}

// total adds up what lies at offsets from a place; false when p was over before.
func total(x []float32, at int, offsets []int, p *pace) (sum float64, more bool) {
	for len(offsets) > 0 {
		n := min(len(offsets), paceBlock)
		if p.over(n) {
			return 0, false
		}
		for _, o := range offsets[:n] {
			sum += float64(x[at+o])
		}
		offsets = offsets[n:]
	}
	return sum, true
}
