package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// layout emits the transposition of eight rows, of which every change of layout
// is made. It moves data at the speed of the cache, so there is no wider form.
func layout(c *build.Context) {
	copyRuns(c)
	const name = "transpose8AVX2"
	function(c, name, "func(dst, src *float32, n, ldd, lds int)",
		name+" writes dst[j*ldd+i] = src[i*lds+j] for i < 8 and j < n, n a positive multiple of 8.")
	dst := c.Load(c.Param("dst"), c.GP64())
	src := c.Load(c.Param("src"), c.GP64())
	n := c.Load(c.Param("n"), c.GP64())
	ldd := c.Load(c.Param("ldd"), c.GP64())
	lds := c.Load(c.Param("lds"), c.GP64())
	// rows addresses eight rows from a base: rows 4 to 7 from a second one.
	rows := func(base, ld reg.Register) (second, three reg.GPVirtual, at func(i int) operand.Mem) {
		c.SHLQ(operand.U8(2), ld)
		three, second = c.GP64(), c.GP64()
		c.LEAQ(operand.Mem{Base: ld, Index: ld, Scale: 2}, three)
		c.LEAQ(operand.Mem{Base: base, Index: ld, Scale: 4}, second)
		return second, three, func(i int) operand.Mem {
			m := operand.Mem{Base: base}
			if i >= 4 {
				m.Base = second
			}
			switch i % 4 {
			case 1, 2:
				m.Index, m.Scale = ld, uint8(i%4)
			case 3:
				m.Index, m.Scale = three, 1
			}
			return m
		}
	}
	src2, _, in := rows(src, lds)
	dst2, _, out := rows(dst, ldd)
	step := c.GP64()
	c.MOVQ(ldd, step)
	c.SHLQ(operand.U8(3), step)

	c.Label("loop")
	var r, t [8]reg.VecVirtual
	// Halves of rows i and i+4 side by side: what is left is a transposition
	// of 4×4 in each half of the register.
	for i := 0; i < 4; i++ {
		for h := 0; h < 2; h++ {
			v := c.YMM()
			lo, hi := in(i), in(i+4)
			lo.Disp, hi.Disp = 16*h, 16*h
			c.VMOVUPS(lo, v.AsX())
			c.VINSERTF128(operand.U8(1), hi, v, v)
			r[h*4+i] = v
		}
	}
	for i := range t {
		t[i] = c.YMM()
	}
	for h := 0; h < 8; h += 4 {
		c.VUNPCKLPS(r[h+1], r[h], t[h])
		c.VUNPCKHPS(r[h+1], r[h], t[h+1])
		c.VUNPCKLPS(r[h+3], r[h+2], t[h+2])
		c.VUNPCKHPS(r[h+3], r[h+2], t[h+3])
		c.VUNPCKLPD(t[h+2], t[h], r[h])
		c.VUNPCKHPD(t[h+2], t[h], r[h+1])
		c.VUNPCKLPD(t[h+3], t[h+1], r[h+2])
		c.VUNPCKHPD(t[h+3], t[h+1], r[h+3])
	}
	for i := 0; i < 8; i++ {
		c.VMOVUPS(r[i], out(i))
	}
	c.ADDQ(operand.U8(32), src)
	c.ADDQ(operand.U8(32), src2)
	c.ADDQ(step, dst)
	c.ADDQ(step, dst2)
	c.SUBQ(operand.U8(8), n)
	c.JNE(operand.LabelRef("loop"))
	c.VZEROUPPER()
	c.RET()
}

// copyRuns copies runs of up to 32 numbers: one vector or two, the last of them under a
// mask.
func copyRuns(c *build.Context) {
	const name = "copyRunsAVX512"
	function(c, name, "func(dst, src *float32, runs, run, sd, ss int)", name+" copies runs ≥ 1 runs of 1 to 32 elements, sd and ss elements apart.")
	load := parameters(c)
	dst, src, runs, run, sd, ss := load("dst"), load("src"), load("runs"), load("run"), load("sd"), load("ss")
	c.SHLQ(operand.U8(2), sd)
	c.SHLQ(operand.U8(2), ss)
	m, k := c.GP64(), c.K()
	each := func(label string, vectors int) {
		c.MOVQ(operand.U32(1), m)
		c.SHLXQ(run, m, m)
		c.DECQ(m)
		c.KMOVW(m.As32(), k)
		c.Label(label)
		v := []reg.VecVirtual{c.ZMM(), c.ZMM()}[:vectors]
		for i := range v {
			if at := (operand.Mem{Base: src, Disp: 64 * i}); i < vectors-1 {
				c.VMOVUPS(at, v[i])
			} else {
				c.VMOVUPS_Z(at, k, v[i])
			}
		}
		for i := range v {
			if at := (operand.Mem{Base: dst, Disp: 64 * i}); i < vectors-1 {
				c.VMOVUPS(v[i], at)
			} else {
				c.VMOVUPS(v[i], k, at)
			}
		}
		c.ADDQ(ss, src)
		c.ADDQ(sd, dst)
		c.DECQ(runs)
		c.JNE(operand.LabelRef(label))
		c.VZEROUPPER()
		c.RET()
	}
	c.SUBQ(operand.U8(16), run)
	c.JG(operand.LabelRef("two"))
	c.ADDQ(operand.U8(16), run)
	each("short", 1)
	c.Label("two")
	each("long", 2)
}
