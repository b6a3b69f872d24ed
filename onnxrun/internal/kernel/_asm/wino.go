package main

import (
	"fmt"
	"math"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// wino emits the transforms of Winograd's convolution for one tile of Block
// channels. Both passes of a transform are the one-dimensional transform: the
// first one down the columns, a group of its results at a time, and, as they
// stand in registers, the second one along the rows of that group. A group
// reads its columns anew, which costs less than writing results out and reading
// them back; nothing but source and result is in memory.
func wino(c *build.Context) {
	t := &table{c: c, used: map[uint32]bool{}}
	for _, avx512 := range []bool{true, false} {
		e := &em{Context: c, avx512: avx512, table: t}
		for _, size := range []int{2, 4} {
			e.winoIn(size, false)
			if avx512 {
				e.winoIn(size, true)
			}
			e.winoOut(size)
			e.winoWeights(size)
		}
	}
	t.flush()
}

// fmaTo returns c + x·k, x in memory or a register.
func (e *em) fmaTo(c operand.Op, x operand.Op, k vec) vec {
	d := e.load2(c)
	e.VFMADD231PS(x, k, d)
	return d
}

// load2 returns a copy of a register or of memory.
func (e *em) load2(x operand.Op) vec {
	d := e.v()
	if m, ok := x.(operand.Mem); ok {
		e.VMOVUPS(m, d)
	} else {
		e.VMOVAPS(x, d)
	}
	return d
}

// reg returns x in a register.
func (e *em) reg(x operand.Op) vec {
	if m, ok := x.(operand.Mem); ok {
		return e.load(m)
	}
	return x.(vec)
}

// The points: 0, ±a, ±2a, ∞ with a² = 1/2, or 0, ±1, ∞; p and q are what the rows
// of G for ±a and ±2a have in common, and stand in Aᵀ.
const (
	winoA, winoB = 1 / math.Sqrt2, math.Sqrt2
	winoP, winoQ = -2. / 3, 1. / 6
)

// winoInGroups are the rows of Bᵀ.
func winoInGroups(size int) [][]int {
	if size == 2 {
		return [][]int{{0}, {1, 2}, {3}}
	}
	return [][]int{{0}, {1, 2}, {3, 4}, {5}}
}

// inRows computes the given rows of Bᵀd.
func (e *em) inRows(size int, rows []int, d func(i int) operand.Op) []vec {
	if size == 2 {
		switch rows[0] {
		case 0:
			return []vec{e.sub(e.reg(d(0)), d(2))}
		case 1:
			x := e.reg(d(2))
			return []vec{e.add(x, d(1)), e.sub(x, d(1))}
		}
		return []vec{e.sub(e.reg(d(1)), d(3))}
	}
	end := func(i int) []vec {
		s := e.add(e.reg(d(i)), d(i+4))
		e.VFMADD231PS(d(i+2), e.k(-2.5), s)
		return []vec{s}
	}
	pair := func(k, p float64) []vec {
		c := e.k(k)
		even, odd := e.fmaTo(d(4), d(2), c), e.fmaTo(d(3), d(1), c)
		plus := e.copy(even)
		e.VFMADD231PS(e.c(p), odd, plus)
		e.VFNMADD231PS(e.c(p), odd, even)
		return []vec{plus, even}
	}
	switch rows[0] {
	case 0:
		return end(0)
	case 1:
		return pair(-2, winoA)
	case 3:
		return pair(-.5, winoB)
	}
	return end(1)
}

func winoOutGroups(size int) [][]int {
	if size == 2 {
		return [][]int{{0}, {1}}
	}
	return [][]int{{0, 2}, {1, 3}}
}

// outRows computes the given rows of Aᵀm.
func (e *em) outRows(size int, rows []int, m func(i int) operand.Op) []vec {
	if size == 2 {
		if rows[0] == 0 {
			return []vec{e.fmaTo(m(0), e.add(e.reg(m(1)), m(2)), e.r(.5))}
		}
		y := e.sub(e.reg(m(1)), m(2))
		return []vec{e.sub(e.mul(y, e.c(.5)), m(3))}
	}
	if rows[0] == 0 {
		s1, s2 := e.add(e.reg(m(1)), m(2)), e.add(e.reg(m(3)), m(4))
		y0, y2 := e.load2(m(0)), e.mul(s1, e.c(.5*winoP))
		e.VFMADD231PS(e.c(winoP), s1, y0)
		e.VFMADD231PS(e.c(winoQ), s2, y0)
		e.VFMADD231PS(e.c(2*winoQ), s2, y2)
		return []vec{y0, y2}
	}
	d1, d2 := e.sub(e.reg(m(1)), m(2)), e.sub(e.reg(m(3)), m(4))
	y1, y3 := e.mul(d1, e.c(winoP*winoA)), e.load2(m(5))
	e.VFMADD231PS(e.c(winoQ*winoB), d2, y1)
	e.VFMADD231PS(e.c(.5*winoP*winoA), d1, y3)
	e.VFMADD231PS(e.c(2*winoQ*winoB), d2, y3)
	return []vec{y1, y3}
}

// weightRows computes the given rows of Gg, but for what winoP and winoQ are for.
func (e *em) weightRows(size int, rows []int, g func(i int) operand.Op) []vec {
	if size == 2 {
		switch rows[0] {
		case 0:
			return []vec{e.reg(g(0))}
		case 1:
			s := e.add(e.reg(g(0)), g(2))
			return []vec{e.add(s, g(1)), e.sub(s, g(1))}
		}
		return []vec{e.reg(g(2))}
	}
	pair := func(k, p float64) []vec {
		plus := e.fmaTo(g(0), g(2), e.r(k))
		minus, odd := e.copy(plus), e.reg(g(1))
		e.VFMADD231PS(e.c(p), odd, plus)
		e.VFNMADD231PS(e.c(p), odd, minus)
		return []vec{plus, minus}
	}
	switch rows[0] {
	case 0:
		return []vec{e.reg(g(0))}
	case 1:
		return pair(.5, winoA)
	case 3:
		return pair(2, winoB)
	}
	return []vec{e.reg(g(2))}
}

// lines addresses up to six lines, step bytes apart, from a base.
type lines struct{ step, three, five reg.Register }

func (e *em) lines(step reg.Register, n int) lines {
	l := lines{step: step}
	if n > 3 {
		three := e.GP64()
		e.LEAQ(operand.Mem{Base: step, Index: step, Scale: 2}, three)
		l.three = three
	}
	if n > 5 {
		five := e.GP64()
		e.LEAQ(operand.Mem{Base: step, Index: step, Scale: 4}, five)
		l.five = five
	}
	return l
}

func (l lines) at(base reg.Register, i, disp int) operand.Mem {
	m := operand.Mem{Base: base, Disp: disp}
	switch i {
	case 1, 2, 4:
		m.Index, m.Scale = l.step, uint8(i)
	case 3:
		m.Index, m.Scale = l.three, 1
	case 5:
		m.Index, m.Scale = l.five, 1
	}
	return m
}

// halves runs body for each vector of a pixel.
func (e *em) halves(body func(disp int)) {
	body(0)
	if !e.avx512 {
		body(32)
	}
}

// winoIn: at the edge of the image some rows and columns of the tile do not
// exist and count as zeros. Bits of rows and cols say which do, and the tile
// starts from elements after src, perhaps before it.
func (e *em) winoIn(size int, edge bool) {
	n := size + 2
	name := fmt.Sprintf("winoIn%d%s", size, e.suffix())
	if edge {
		name = fmt.Sprintf("winoEdge%d%s", size, e.suffix())
		function(e.Context, name, "func(dst, src *float32, dxi, col, row, from, rows, cols int)",
			name+" transforms a tile at the edge of the source; strides are in elements, rows and cols masks of those that exist.")
	} else {
		function(e.Context, name, "func(dst, src *float32, dxi, col, row int)",
			name+" transforms a tile of the source; strides are in elements.")
	}
	load := parameters(e.Context)
	dst0, src0, dxi, col, row := load("dst"), load("src"), load("dxi"), load("col"), load("row")
	exists := make([]reg.OpmaskVirtual, n)
	var cols reg.GPVirtual
	var zero vec
	if edge {
		from, rows := load("from"), load("rows")
		cols = load("cols")
		e.LEAQ(operand.Mem{Base: src0, Index: from, Scale: 4}, src0)
		zero = e.zero()
		mask := e.GP64()
		for i := range exists {
			exists[i] = e.K()
			e.BTQ(operand.U8(uint8(i)), rows)
			e.SBBQ(mask, mask)
			e.KMOVW(mask.As32(), exists[i])
		}
	}
	for _, r := range []reg.Register{dxi, col, row} {
		e.SHLQ(operand.U8(2), r)
	}
	l := e.lines(row, n)
	dst, src := e.GP64(), e.GP64()
	e.halves(func(disp int) {
		e.MOVQ(dst0, dst)
		for g, rows := range winoInGroups(size) {
			t := make([][]vec, len(rows))
			for i := range t {
				t[i] = make([]vec, n)
			}
			e.MOVQ(src0, src)
			for c := 0; c < n; c++ {
				pixel := func(i int) operand.Op { return l.at(src, i, disp) }
				if edge {
					pixel = func(i int) operand.Op {
						d := e.v()
						e.VMOVUPS_Z(l.at(src, i, disp), exists[i], d)
						return d
					}
					e.BTQ(operand.U8(uint8(c)), cols)
					e.JCC(operand.LabelRef(fmt.Sprintf("empty%d_%d", g, c)))
				}
				for i, v := range e.inRows(size, rows, pixel) {
					t[i][c] = v
				}
				if edge {
					e.JMP(operand.LabelRef(fmt.Sprintf("next%d_%d", g, c)))
					e.Label(fmt.Sprintf("empty%d_%d", g, c))
					for i := range t {
						e.VMOVAPS(zero, t[i][c])
					}
					e.Label(fmt.Sprintf("next%d_%d", g, c))
				}
				if c+1 < n {
					e.ADDQ(col, src)
				}
			}
			for _, line := range t {
				for _, rows := range winoInGroups(size) {
					for _, v := range e.inRows(size, rows, func(i int) operand.Op { return line[i] }) {
						e.VMOVUPS(v, operand.Mem{Base: dst, Disp: disp})
						e.ADDQ(dxi, dst)
					}
				}
			}
		}
	})
	e.VZEROUPPER()
	e.RET()
}

func (e *em) winoOut(size int) {
	n := size + 2
	name := fmt.Sprintf("winoOut%d%s", size, e.suffix())
	function(e.Context, name, "func(dst, m *float32, mxi, col, row int, bias, add *float32, scale, floor float32)",
		name+" transforms a tile of products and stores max(floor, (y + bias + add)·scale); strides are in elements.")
	load := parameters(e.Context)
	dst0, m0, mxi, col, row := load("dst"), load("m"), load("mxi"), load("col"), load("row")
	bias, add0 := load("bias"), load("add")
	for _, r := range []reg.Register{mxi, col, row} {
		e.SHLQ(operand.U8(2), r)
	}
	down := e.GP64()
	e.IMUL3Q(operand.U8(uint8(n)), mxi, down)
	l := e.lines(down, n)
	m, at := e.GP64(), e.GP64()
	e.halves(func(disp int) {
		for g, rows := range winoOutGroups(size) {
			t := make([][]vec, len(rows))
			e.MOVQ(m0, m)
			for c := 0; c < n; c++ {
				for i, v := range e.outRows(size, rows, func(i int) operand.Op { return l.at(m, i, disp) }) {
					t[i] = append(t[i], v)
				}
				if c+1 < n {
					e.ADDQ(mxi, m)
				}
			}
			for r, line := range t {
				label := fmt.Sprintf("plain%d_%d_%d", disp, g, r)
				// The bias joins each result, the addend where there is one.
				y := make([]vec, size)
				for _, cols := range winoOutGroups(size) {
					for i, v := range e.outRows(size, cols, func(i int) operand.Op { return line[i] }) {
						e.VADDPS(operand.Mem{Base: bias, Disp: disp}, v, v)
						y[cols[i]] = v
					}
				}
				walk := func(base reg.Register, f func(i int, m operand.Mem)) {
					e.MOVQ(base, at)
					for i := 0; i < rows[r]; i++ {
						e.ADDQ(row, at)
					}
					for i := range y {
						f(i, operand.Mem{Base: at, Disp: disp})
						if i+1 < len(y) {
							e.ADDQ(col, at)
						}
					}
				}
				e.TESTQ(add0, add0)
				e.JEQ(operand.LabelRef(label))
				walk(add0, func(i int, m operand.Mem) { e.VADDPS(m, y[i], y[i]) })
				e.Label(label)
				scale, floor := e.v(), e.v()
				e.VBROADCASTSS(e.paramMem("scale"), scale)
				e.VBROADCASTSS(e.paramMem("floor"), floor)
				walk(dst0, func(i int, m operand.Mem) {
					e.VMULPS(scale, y[i], y[i])
					// The result comes last: the maximum of NaN and x is x.
					e.VMAXPS(y[i], floor, y[i])
					e.VMOVUPS(y[i], m)
				})
			}
		}
	})
	e.VZEROUPPER()
	e.RET()
}

// paramMem is a parameter as an operand.
func (e *em) paramMem(name string) operand.Mem {
	b, err := e.Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return b.Addr
}

// winoWeights transforms the filters of a panel of outputs, channel by channel.
func (e *em) winoWeights(size int) {
	name := fmt.Sprintf("winoWeights%d%s", size, e.suffix())
	function(e.Context, name, "func(dst, src *float32, dxi, n int)", name+" transforms the filters of n ≥ 1 channels; the stride is in elements.")
	load := parameters(e.Context)
	dst, src, dxi, n := load("dst"), load("src"), load("dxi"), load("n")
	e.SHLQ(operand.U8(2), dxi)
	width := 32
	if e.avx512 {
		width = 64
	}
	at := e.GP64()
	e.keep(func(e *em) {
		for _, rows := range winoInGroups(size) {
			e.weightRows(size, rows, func(i int) operand.Op { return e.v() })
		}
	})
	e.Label("channel")
	for disp := 0; disp < panelBytes; disp += width {
		e.MOVQ(dst, at)
		for _, rows := range winoInGroups(size) {
			t := make([][]vec, len(rows))
			for c := range 3 {
				tap := func(i int) operand.Op { return operand.Mem{Base: src, Disp: (3*i+c)*panelBytes + disp} }
				for i, v := range e.weightRows(size, rows, tap) {
					t[i] = append(t[i], v)
				}
			}
			for _, line := range t {
				for _, across := range winoInGroups(size) {
					for _, v := range e.weightRows(size, across, func(i int) operand.Op { return line[i] }) {
						e.VMOVUPS(v, operand.Mem{Base: at, Disp: disp})
						e.ADDQ(dxi, at)
					}
				}
			}
		}
	}
	e.ADDQ(operand.U32(9*panelBytes), src)
	e.SUBQ(operand.I8(-panelBytes), dst)
	e.DECQ(n)
	e.JNE(operand.LabelRef("channel"))
	e.VZEROUPPER()
	e.RET()
}
