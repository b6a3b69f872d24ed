package ops

import (
	"fmt"

	"sampleonnx/onnxrun/internal/kernel"
	"sampleonnx/onnxrun/internal/onnx"
)

// product is a batch of matrix products C = A·B: what MatMul, Gemm and Einsum
// come down to. A batch's matrices lie anywhere in their tensors, so that
// broadcasting and most transposes cost nothing.
type product struct {
	m, n, k int

	a, b, c  spread // where the matrices of A, B and C begin
	aOf, bOf spread // for each batch, which of A's and B's; C's is its own

	// Distance between rows; between columns it is 1. aT and bT say that the
	// matrix is stored transposed, [k, m] and [n, k].
	lda, ldb, ldc int
	aT, bT        bool

	constB bool // B is known at compile time
}

func (p *product) batch() int { return p.c.len() }

// single makes p one product of matrices that begin where their tensors do.
func (p *product) single() {
	p.a, p.b, p.c, p.aOf, p.bOf = evenly(1, 0), evenly(1, 0), evenly(1, 0), evenly(1, 0), evenly(1, 0)
}

func (p *product) flops() float64 {
	return 2 * float64(p.batch()) * float64(p.m) * float64(p.n) * float64(p.k)
}

// how names the packed form of B, for Packs.
func (p *product) how() string {
	return fmt.Sprintf("product %d×%d, rows %d apart, transposed %t, at %v", p.k, p.n, p.ldb, p.bT, p.b)
}

// narrow reports whether kernel.GemmNarrow does better than the microkernel,
// which has the columns of B in its lanes. A B that is not constant may have the
// samples of a batch for columns: their number must not decide.
func (p *product) narrow() bool { return p.constB && p.n <= kernel.NarrowCols }

// matrixLen is the number of floats of one of B's matrices once packed.
func (p *product) matrixLen() int {
	if p.narrow() {
		return room(p.k, p.n)
	}
	return packedLen(p.k, p.n)
}

// packedLen is kernel.PackedLen for any sizes.
func packedLen(k, n int) int { return room(k, kernel.Panels(n), kernel.PanelCols) }

// packedLen is the number of floats of all of B's matrices once packed.
func (p *product) packedLen() int { return room(p.b.len(), p.matrixLen()) }

// pack packs panels [panel0, panel1) of one of B's matrices, or all of it column
// by column when it is narrow.
func (p *product) pack(packed, b []float32, matrix, panel0, panel1 int) {
	size := p.matrixLen()
	dst, src := packed[matrix*size:][:size], b[p.b.at(matrix):]
	if p.narrow() {
		column, row := 1, p.ldb // distances in B
		if p.bT {
			column, row = p.ldb, 1
		}
		for i := range dst {
			dst[i] = src[i/p.k*column+i%p.k*row]
		}
	} else if p.bT {
		kernel.PackBTPanels(dst, src, p.k, p.n, p.ldb, panel0, panel1)
	} else {
		kernel.PackBPanels(dst, src, p.k, p.n, p.ldb, panel0, panel1)
	}
}

// packAll packs a constant B through packs, once for the model.
func (p *product) packAll(packs *Packs, t *Tensor) []float32 {
	return packs.Get(t, p.how(), p.packedLen(), func(dst []float32) {
		if p.k == 0 || p.n == 0 {
			return
		}
		for i := range p.b.len() {
			p.pack(dst, Data[float32](t), i, 0, kernel.Panels(p.n))
		}
	})
}

// scratch is the memory tasks needs: room to pack a B that is not constant and
// to turn round a transposed A.
func (p *product) scratch(constant bool) int {
	n := 0
	if !constant {
		n += align64(room(4, p.packedLen()))
	}
	if p.aT {
		n += room(4, p.a.len(), p.m, p.k)
	}
	return n
}

// tasks computes the products in float32. packed is B as packAll gives it, nil
// when B is not constant. bias, of length n, is added to each row; it may be
// nil. after, which may be nil, is called for each finished piece of C: rows
// [i0, i1), columns [j0, j1) of a batch.
//
// A value of C is the sum of chains of multiply-adds that k alone divides (see
// kernel.Gemm and GemmNarrow), whatever the other shapes are and however the work
// is cut.
func (p *product) tasks(c, a, b, packed, bias []float32, scratch []byte, after func(batch, i0, i1, j0, j1 int)) []Task {
	if p.batch()*p.m*p.n == 0 {
		return nil
	}
	var tasks []Task
	panels, matrices := kernel.Panels(p.n), p.b.len()
	if packed == nil {
		size := p.packedLen()
		packed = Floats(scratch, size)
		scratch = scratch[align64(4*size):]
		if size > 0 {
			parts, step := divide(matrices*panels, 0.3*float64(p.k*kernel.PanelCols))
			tasks = append(tasks, Task{parts, func(part, _ int) {
				lo, hi := bounds(part, step, matrices*panels)
				for i := lo; i < hi; {
					matrix, panel := i/panels, i%panels
					n := min(hi-i, panels-panel)
					p.pack(packed, b, matrix, panel, panel+n)
					i += n
				}
			}})
		}
	}
	aAt, lda := p.a, p.lda
	if p.aT && p.m*p.k > 0 {
		count := p.a.len()
		turned := Floats(scratch, count*p.m*p.k)
		rows := ceilDiv(p.m, 16)
		parts, step := divide(count*rows, 16*float64(p.k))
		src := a
		tasks = append(tasks, Task{parts, func(part, _ int) {
			lo, hi := bounds(part, step, count*rows)
			for i := lo; i < hi; i++ {
				matrix, i0 := i/rows, i%rows*16
				p.turn(turned[matrix*p.m*p.k:], src[p.a.at(matrix):], i0, min(p.m, i0+16))
			}
		}})
		a, lda, aAt = turned, p.k, evenly(count, p.m*p.k)
	}

	// A piece is some rows of some panels of one batch: rows until a sweep over
	// them pays for reading the panel, panels until it is work worth a part.
	const rowsAtMost = 224
	rowStep := min(p.m, rowsAtMost)
	whole := after != nil && p.m >= wholeRows && p.k*p.n <= wholeFloats
	if whole {
		// What follows takes whole rows, in memory without a gap.
		rowStep = p.rowsOfEight()
	}
	rowPieces := ceilDiv(p.m, rowStep)
	panelNanos := p.panelNanos(rowStep)
	panelStep := panels
	if !whole {
		panelStep = p.panelStep(panels, panelNanos)
	}
	panelPieces := ceilDiv(panels, panelStep)
	pieces := p.batch() * rowPieces * panelPieces
	parts, step := divide(pieces, 100+float64(panelStep)*panelNanos)
	size := p.matrixLen()
	return append(tasks, Task{parts, func(part, _ int) {
		lo, hi := bounds(part, step, pieces)
		for i := lo; i < hi; i++ {
			batch, rest := i/(rowPieces*panelPieces), i%(rowPieces*panelPieces)
			// Row pieces outermost: they share the panels' neighbours in A.
			i0, p0 := rest/panelPieces*rowStep, rest%panelPieces*panelStep
			i1, p1 := min(p.m, i0+rowStep), min(panels, p0+panelStep)
			y, x, w := c[p.c.at(batch)+i0*p.ldc:], a[aAt.at(p.aOf.at(batch))+i0*lda:], packed[p.bOf.at(batch)*size:][:size]
			if p.narrow() {
				kernel.GemmNarrow(y, p.ldc, x, lda, w, i1-i0, p.n, p.k, bias)
			} else {
				kernel.GemmPanels(y, p.ldc, x, lda, w, i1-i0, p.n, p.k, p0, p1, bias, false)
			}
			if after != nil {
				after(batch, i0, i1, p0*kernel.PanelCols, min(p.n, p1*kernel.PanelCols))
			}
		}
	}})
}

// panelNanos estimates the time for so many rows of a panel, in ns: that of the
// arithmetic or, when rows are few, of reading the panel from memory.
func (p *product) panelNanos(rows int) float64 {
	const flops, stream = 60, 14 // a ns; bytes a ns
	return max(2*float64(rows)/flops, 4./stream) * float64(p.k) * kernel.PanelCols
}

// panelStep is the number of panels in a piece, about a part's work.
func (p *product) panelStep(panels int, nanos float64) int {
	step := panels
	if float64(panels)*nanos > partNanos {
		step = max(1, int(partNanos/nanos))
	}
	step = ceilDiv(panels, ceilDiv(panels, step))
	if p.m < 4 {
		step = ceilDiv(step, 4) * 4 // the microkernel takes four at a time then
	}
	return step
}

// Pieces of whole rows read all of B each: it must not be too large for the
// second and third level of the cache. Sixteen rows are enough to hide that.
const wholeRows, wholeFloats = 28, 1 << 20

// rowsOfEight cuts the rows into eight pieces or more, neither so small that
// reading B counts nor so large that a piece of C leaves the cache. When they
// are few their number is even: of three pieces, two threads would do one alone.
func (p *product) rowsOfEight() int {
	pieces := ceilDiv(p.m, min(112, max(16, ceilDiv(p.m, 8))))
	return ceilDiv(p.m, pieces+pieces%2)
}

// turn writes rows [i0, i1) of a transposed A in row-major order.
func (p *product) turn(dst, src []float32, i0, i1 int) {
	for l := range p.k {
		row := src[l*p.lda:]
		for i := i0; i < i1; i++ {
			dst[i*p.k+l] = row[i]
		}
	}
}

// productTasks computes the products by plain loops, for element types that
// networks do not spend their time on. after is as in tasks.
func productTasks[T number](p *product, c, a, b []T, after func(batch, i0, i1, j0, j1 int), stopped func() bool) []Task {
	rows := p.batch() * p.m
	if rows*p.n == 0 {
		return nil
	}
	parts, step := divide(rows, float64(p.n)*float64(p.k))
	return []Task{{parts, func(part, _ int) {
		lo, hi := bounds(part, step, rows)
		pace := pace{stopped, paceWork}
		for r := lo; r < hi; r++ {
			batch, i := r/p.m, r%p.m
			at, ak, bk, bj := p.a.at(p.aOf.at(batch))+i*p.lda, 1, p.ldb, 1
			if p.aT {
				at, ak = p.a.at(p.aOf.at(batch))+i, p.lda
			}
			if p.bT {
				bk, bj = 1, p.ldb
			}
			bm := b[p.b.at(p.bOf.at(batch)):]
			y := c[p.c.at(batch)+i*p.ldc:][:p.n]
			clear(y)
			for l := range p.k {
				if pace.over(4 + p.n) {
					return
				}
				v := a[at+l*ak]
				row := bm[l*bk:]
				for j := range y {
					y[j] += v * row[j*bj]
				}
			}
			if after != nil {
				after(batch, i, i+1, 0, p.n)
			}
		}
	}}}
}

// bind makes the tasks for tensors of any type that has products. packed may
// hold a constant float32 B; nil otherwise.
func (p *product) bind(c, a, b *Tensor, packed []float32, m *Memory) []Task {
	switch a.DType {
	case onnx.Double:
		return productTasks(p, Data[float64](c), Data[float64](a), Data[float64](b), nil, m.Stopped)
	case onnx.Int8:
		return productTasks(p, Data[int8](c), Data[int8](a), Data[int8](b), nil, m.Stopped)
	case onnx.Int16:
		return productTasks(p, Data[int16](c), Data[int16](a), Data[int16](b), nil, m.Stopped)
	case onnx.Int32:
		return productTasks(p, Data[int32](c), Data[int32](a), Data[int32](b), nil, m.Stopped)
	case onnx.Int64:
		return productTasks(p, Data[int64](c), Data[int64](a), Data[int64](b), nil, m.Stopped)
	case onnx.Uint8:
		return productTasks(p, Data[uint8](c), Data[uint8](a), Data[uint8](b), nil, m.Stopped)
	case onnx.Uint16:
		return productTasks(p, Data[uint16](c), Data[uint16](a), Data[uint16](b), nil, m.Stopped)
	case onnx.Uint32:
		return productTasks(p, Data[uint32](c), Data[uint32](a), Data[uint32](b), nil, m.Stopped)
	case onnx.Uint64:
		return productTasks(p, Data[uint64](c), Data[uint64](a), Data[uint64](b), nil, m.Stopped)
	}
	return p.tasks(Data[float32](c), Data[float32](a), Data[float32](b), packed, nil, m.Shared(), nil)
}

// multiplies reports whether products of elements of d exist.
func multiplies(d onnx.DType) bool { return d != onnx.Bool && d != onnx.String }
