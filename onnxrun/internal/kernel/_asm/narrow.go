package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// narrow writes groups·rows rows of a product with cols columns: see
// kernel.GemmNarrow. The sixteen partial sums of a dot product are a register of
// AVX-512 or two of AVX2.
func (e *em) narrow(rows, cols int) {
	name := fmt.Sprintf("narrow%dx%d%s", rows, cols, e.suffix())
	function(e.Context, name, "func(c *float32, ldc int, a *float32, lda int, b *float32, k int, bias *float32, groups int)",
		fmt.Sprintf("%s computes groups ≥ 1 times %d rows of %d columns; see GemmNarrow.", name, rows, cols))
	c := e.Load(e.Param("c"), e.GP64())
	ldc := e.Load(e.Param("ldc"), e.GP64())
	k := e.Load(e.Param("k"), e.GP64()).(reg.GPVirtual)
	bias := e.Load(e.Param("bias"), e.GP64())
	groups := e.Load(e.Param("groups"), e.GP64())
	e.SHLQ(operand.U8(2), ldc)
	lda := func() operand.Mem {
		m, err := e.Param("lda").Resolve()
		if err != nil {
			panic(err)
		}
		return m.Addr
	}()
	// Where each row of a and each column of b begins.
	as, bs := make([]reg.Register, rows), make([]reg.Register, cols)
	step := e.GP64()
	e.MOVQ(lda, step)
	e.SHLQ(operand.U8(2), step)
	as[0] = e.Load(e.Param("a"), e.GP64())
	for r := 1; r < rows; r++ {
		as[r] = e.GP64()
		e.LEAQ(operand.Mem{Base: as[r-1], Index: step, Scale: 1}, as[r])
	}
	bs[0] = e.Load(e.Param("b"), e.GP64())
	for j := 1; j < cols; j++ {
		bs[j] = e.GP64()
		e.LEAQ(operand.Mem{Base: bs[j-1], Index: k, Scale: 4}, bs[j])
	}

	// The last k%16 are read under a mask, half by half with AVX2.
	parts := 2
	var mask [2]reg.VecVirtual
	var kmask reg.OpmaskVirtual
	rest := e.GP64()
	e.MOVQ(k, rest)
	e.ANDQ(operand.U8(15), rest)
	if e.avx512 {
		parts = 1
		kmask = e.K()
		m := e.GP64()
		e.MOVQ(operand.U32(1), m)
		e.SHLXQ(rest, m, m)
		e.DECQ(m)
		e.KMOVW(m.As32(), kmask)
	} else {
		eight, n, at := e.GP64(), e.GP64(), e.GP64()
		e.MOVQ(operand.U32(8), eight)
		for i := range mask {
			mask[i] = e.YMM()
			e.MOVQ(rest, n)
			if i == 1 {
				e.SUBQ(operand.U8(8), n)
				zero := e.GP64()
				e.XORQ(zero, zero)
				e.CMPQ(n, operand.U8(0))
				e.CMOVQLT(zero, n)
			}
			e.CMPQ(n, operand.U8(8))
			e.CMOVQGT(eight, n)
			e.SHLQ(operand.U8(2), n)
			e.LEAQ(static("tail", 32), at)
			e.SUBQ(n, at)
			e.VMOVUPS(operand.Mem{Base: at}, mask[i])
		}
	}
	e.ANDQ(operand.I8(-16), k) // from here on the bytes of the whole sixteens
	e.SHLQ(operand.U8(2), k)

	sums := make([]vec, rows*cols*parts)
	for i := range sums {
		sums[i] = e.v()
	}
	at := e.GP64()
	load := func(base reg.Register, part int, masked bool) vec {
		m := operand.Mem{Base: base, Index: at, Scale: 1, Disp: 32 * part}
		d := e.v()
		switch {
		case !masked:
			e.VMOVUPS(m, d)
		case e.avx512:
			e.VMOVUPS_Z(m, kmask, d)
		default:
			e.VMASKMOVPS(m, mask[part], d)
		}
		return d
	}
	sixteen := func(masked bool) {
		for part := range parts {
			var y [4]vec
			if rows > 1 {
				for j := range bs {
					y[j] = load(bs[j], part, masked)
				}
			}
			for r := range as {
				x := load(as[r], part, masked)
				for j := range bs {
					if rows == 1 {
						y[j] = load(bs[j], part, masked)
					}
					e.VFMADD231PS(x, y[j], sums[(r*cols+j)*parts+part])
				}
			}
		}
	}
	e.Label("rows")
	for _, s := range sums {
		e.clear(s)
	}
	e.XORQ(at, at)
	e.CMPQ(at, k)
	e.JEQ(operand.LabelRef("rest"))
	e.Label("sixteen")
	sixteen(false)
	e.ADDQ(operand.U8(64), at)
	e.CMPQ(at, k)
	e.JNE(operand.LabelRef("sixteen"))
	e.Label("rest")
	e.TESTQ(rest, rest)
	e.JEQ(operand.LabelRef("sum"))
	sixteen(true)
	e.Label("sum")
	for r := range rows {
		for j := range cols {
			s := sums[(r*cols+j)*parts:][:parts]
			var y vec
			if e.avx512 {
				hi := e.YMM()
				e.VEXTRACTF64X4(operand.U8(1), s[0], hi)
				y = e.YMM()
				e.VADDPS(hi, s[0].AsY(), y)
			} else {
				y = e.YMM()
				e.VADDPS(s[1], s[0], y)
			}
			four, other := e.XMM(), e.XMM()
			if e.avx512 {
				e.VEXTRACTF32X4(operand.U8(1), y, four)
			} else {
				e.VEXTRACTF128(operand.U8(1), y, four)
			}
			e.VADDPS(four, y.AsX(), four)
			e.VPERMILPS(operand.U8(0b1110), four, other)
			e.VADDPS(other, four, four)
			e.VPERMILPS(operand.U8(1), four, other)
			e.VADDSS(other, four, four)
			e.VADDSS(operand.Mem{Base: bias, Disp: 4 * j}, four, four)
			e.VMOVSS(four, operand.Mem{Base: c, Disp: 4 * j})
		}
		e.ADDQ(ldc, c)
	}
	e.MOVQ(lda, step)
	e.SHLQ(operand.U8(2), step)
	e.IMUL3Q(operand.U8(uint8(rows)), step, step)
	for _, a := range as {
		e.ADDQ(step, a)
	}
	e.DECQ(groups)
	e.JNE(operand.LabelRef("rows"))
	e.VZEROUPPER()
	e.RET()
}

// narrows lists the members of the family.
func narrows(f func(avx512 bool, rows, cols int)) {
	for cols := 1; cols <= 4; cols++ {
		f(true, 4, cols)
		f(true, 1, cols)
		f(false, 1, cols)
	}
}

func narrowDispatch() string {
	s := header + "// narrowSIMD is GemmNarrow in assembly, if there is any for this machine; rows ≥ 1 and\n// k ≥ 1, and groups of four rows before the others.\nfunc narrowSIMD(c []float32, ldc int, a []float32, lda int, b []float32, rows, cols, k int, bias *[4]float32) bool {\nswitch isa {\n"
	for _, avx512 := range []bool{true, false} {
		s += fmt.Sprintf("case %s:\n", map[bool]string{true: "avx512", false: "avx2"}[avx512])
		if avx512 {
			s += "four := rows/4\n"
		}
		s += "switch cols {\n"
		for cols := 1; cols <= 4; cols++ {
			s += fmt.Sprintf("case %d:\n", cols)
			if avx512 {
				s += fmt.Sprintf("if four > 0 {\nnarrow4x%dAVX512(&c[0], ldc, &a[0], lda, &b[0], k, &bias[0], four)\n}\n", cols)
				s += fmt.Sprintf("if rows%%4 > 0 {\nnarrow1x%dAVX512(&c[4*four*ldc], ldc, &a[4*four*lda], lda, &b[0], k, &bias[0], rows%%4)\n}\n", cols)
			} else {
				s += fmt.Sprintf("narrow1x%dAVX2(&c[0], ldc, &a[0], lda, &b[0], k, &bias[0], rows)\n", cols)
			}
		}
		s += "}\nreturn true\n"
	}
	return s + "}\nreturn false\n}\n"
}
