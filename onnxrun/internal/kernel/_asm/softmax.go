package main

import (
	"math"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func softmax(c *build.Context) {
	t := &table{c: c, used: map[uint32]bool{}}
	for _, avx512 := range []bool{true, false} {
		e := &em{Context: c, avx512: avx512, table: t}
		e.expRows()
	}
	t.flush()
	t.tails()
}

// expRows writes, for each of rows ≥ 1 rows of n ≥ 1 elements,
//
//	top = max(top, scale·max(x)); x = exp(scale·x - top); sum = Σ x
//
// Both instruction sets work on 16 lanes at a time, AVX2 by two vectors, and
// reduce them in the same order.
func (e *em) expRows() {
	name := "expRows" + e.suffix()
	function(e.Context, name, "func(dst, src, top, sum *float32, rows, n, ldd, lds int, scale float32)",
		name+" works on rows ≥ 1 rows of n ≥ 1 elements, ldd and lds elements apart.")
	dst := e.Load(e.Param("dst"), e.GP64())
	src := e.Load(e.Param("src"), e.GP64())
	top := e.Load(e.Param("top"), e.GP64())
	sum := e.Load(e.Param("sum"), e.GP64())
	rows := e.Load(e.Param("rows"), e.GP64())
	n := e.Load(e.Param("n"), e.GP64()).(reg.GPVirtual)
	ldd := e.Load(e.Param("ldd"), e.GP64())
	lds := e.Load(e.Param("lds"), e.GP64())
	e.SHLQ(operand.U8(2), ldd)
	e.SHLQ(operand.U8(2), lds)
	scale := e.v()
	addr, err := e.Param("scale").Resolve()
	if err != nil {
		panic(err)
	}
	e.VBROADCASTSS(addr.Addr, scale)

	parts, width := 2, 32
	if e.avx512 {
		parts, width = 1, 64
	}
	// The last n%16 elements, under masks.
	last := e.GP64()
	e.MOVQ(n, last)
	e.ANDQ(operand.U8(15), last)
	full := e.GP64()
	e.MOVQ(n, full)
	e.SUBQ(last, full)
	e.SHLQ(operand.U8(2), full) // bytes of whole steps
	var k reg.OpmaskVirtual
	mask := make([]vec, parts)
	if e.avx512 {
		k = e.K()
		m := e.GP64()
		e.MOVQ(operand.U32(1), m)
		e.SHLXQ(last, m, m)
		e.DECQ(m)
		e.KMOVW(m.As32(), k)
	} else {
		for i := range mask {
			// min(max(last-8i, 0), 8) lanes of part i.
			lanes, bound := e.GP64(), e.GP64()
			e.MOVQ(last, lanes)
			if i > 0 {
				e.SUBQ(operand.U8(8), lanes)
			}
			e.XORQ(bound, bound)
			e.CMPQ(lanes, operand.U8(0))
			e.CMOVQLT(bound, lanes)
			e.MOVQ(operand.U32(8), bound)
			e.CMPQ(lanes, operand.U8(8))
			e.CMOVQGT(bound, lanes)
			at := e.GP64()
			e.LEAQ(static("tail", 32), at)
			e.SHLQ(operand.U8(2), lanes)
			e.SUBQ(lanes, at)
			mask[i] = e.YMM()
			e.VMOVUPS(operand.Mem{Base: at}, mask[i])
		}
	}
	at := func(base, i reg.Register, p int) operand.Mem {
		return operand.Mem{Base: base, Index: i, Scale: 1, Disp: p * width}
	}
	i := e.GP64()

	e.Label("row")
	most := make([]vec, parts)
	for p := range most {
		most[p] = e.k(math.Inf(-1))
	}
	e.XORQ(i, i)
	e.CMPQ(i, full)
	e.JEQ(operand.LabelRef("maxtail"))
	e.Label("max")
	for p := range most {
		// A NaN may get lost here: it comes back with the exponentials.
		e.VMAXPS(at(src, i, p), most[p], most[p])
	}
	e.ADDQ(operand.U8(64), i)
	e.CMPQ(i, full)
	e.JLT(operand.LabelRef("max"))
	e.Label("maxtail")
	e.TESTQ(last, last)
	e.JEQ(operand.LabelRef("maxdone"))
	for p := range most {
		if e.avx512 {
			e.VMAXPS(at(src, i, p), most[p], k, most[p])
		} else {
			x := e.v()
			e.VMASKMOVPS(at(src, i, p), mask[p], x)
			e.VBLENDVPS(mask[p], x, most[p], x)
			e.VMAXPS(x, most[p], most[p])
		}
	}
	e.Label("maxdone")
	m := e.fold(most, e.VMAXPS)
	e.VMULSS(scale.AsX(), m, m)
	e.VMAXSS(operand.Mem{Base: top}, m, m)
	e.VMOVSS(m, operand.Mem{Base: top})
	shift := e.v()
	e.VBROADCASTSS(m, shift)

	total := make([]vec, parts)
	for p := range total {
		total[p] = e.zero()
	}
	// exp of what is never above 0, but for rounding: no clamp on that side.
	exp := func(x vec) vec {
		e.VFMSUB213PS(shift, scale, x)
		x = e.max(e.k(-105), x)
		n, m := e.expParts(x)
		return e.scale(e.add(m, e.c(1)), n)
	}
	e.XORQ(i, i)
	e.CMPQ(i, full)
	e.JEQ(operand.LabelRef("exptail"))
	e.Label("exp")
	for p := range total {
		x := exp(e.load(at(src, i, p)))
		e.VMOVUPS(x, at(dst, i, p))
		e.VADDPS(x, total[p], total[p])
	}
	e.ADDQ(operand.U8(64), i)
	e.CMPQ(i, full)
	e.JLT(operand.LabelRef("exp"))
	e.Label("exptail")
	e.TESTQ(last, last)
	e.JEQ(operand.LabelRef("expdone"))
	for p := range total {
		x := e.v()
		if e.avx512 {
			e.VMOVUPS_Z(at(src, i, p), k, x)
			x = exp(x)
			e.VMOVUPS(x, k, at(dst, i, p))
			e.VADDPS(x, total[p], k, total[p])
		} else {
			e.VMASKMOVPS(at(src, i, p), mask[p], x)
			x = exp(x)
			e.VMASKMOVPS(x, mask[p], at(dst, i, p))
			e.VADDPS(e.and(x, mask[p]), total[p], total[p])
		}
	}
	e.Label("expdone")
	e.VMOVSS(e.fold(total, e.VADDPS), operand.Mem{Base: sum})

	e.ADDQ(ldd, dst)
	e.ADDQ(lds, src)
	e.ADDQ(operand.U8(4), top)
	e.ADDQ(operand.U8(4), sum)
	e.DECQ(rows)
	e.JNE(operand.LabelRef("row"))
	e.VZEROUPPER()
	e.RET()
}

func (e *em) zero() vec {
	d := e.v()
	e.clear(d)
	return d
}

func (e *em) clear(d vec) {
	if e.avx512 {
		e.VPXORD(d, d, d)
	} else {
		e.VXORPS(d, d, d)
	}
}

// fold reduces 16 lanes to one: lane l with lane l+8, then +4, +2, +1.
func (e *em) fold(v []vec, with func(...operand.Op)) reg.VecVirtual {
	var y reg.VecVirtual
	if e.avx512 {
		y = e.YMM()
		e.VEXTRACTF64X4(operand.U8(1), v[0], y)
		with(v[0].AsY(), y, y)
	} else {
		y = e.YMM()
		with(v[0], v[1], y)
	}
	x := e.XMM()
	if e.avx512 {
		e.VEXTRACTF32X4(operand.U8(1), y, x)
	} else {
		e.VEXTRACTF128(operand.U8(1), y, x)
	}
	with(y.AsX(), x, x)
	z := e.XMM()
	e.VPERMILPS(operand.U8(0x0e), x, z)
	with(z, x, x)
	z = e.XMM()
	e.VPERMILPS(operand.U8(0x01), x, z)
	with(z, x, x)
	return x
}
