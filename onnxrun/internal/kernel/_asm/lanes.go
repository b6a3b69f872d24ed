package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
)

func (e *em) suffix() string { return suffix(e.avx512) }

// scaleShiftLanes writes src·scale + shift, n ≥ 1 pixels of 16 lanes, each lane with
// its own scale and shift; or the function act of that.
func (e *em) scaleShiftLanes(name string, act *elemOp) {
	name += e.suffix()
	function(e.Context, name, "func(dst, src, scale, shift *float32, n int)", name+" works on n ≥ 1 pixels of 16 lanes.")
	dst := e.Load(e.Param("dst"), e.GP64())
	src := e.Load(e.Param("src"), e.GP64())
	scale := e.Load(e.Param("scale"), e.GP64())
	shift := e.Load(e.Param("shift"), e.GP64())
	n := e.Load(e.Param("n"), e.GP64())
	width, parts := 32, 2
	if e.avx512 {
		width, parts = 64, 1
	}
	var p, q [2]vec
	for i := 0; i < parts; i++ {
		p[i] = e.load(operand.Mem{Base: scale, Disp: i * width})
		q[i] = e.load(operand.Mem{Base: shift, Disp: i * width})
	}
	// load is the i'th vector, scaled and shifted.
	load := func(i int) vec {
		return e.fma(e.load(operand.Mem{Base: src, Disp: i * width}), p[i%parts], q[i%parts])
	}
	value := func(e *em, x vec) vec { return x }
	if act != nil {
		value = func(e *em, x vec) vec { return act.value(e, x, nil, nil, nil) }
		e.keep(func(e *em) { value(e, e.v()) })
	}
	if act != nil && e.avx512 {
		e.inFours(dst, src, n, 1, load, func(x vec) vec { return act.body(e, x, nil, nil, nil) }, func(x, y vec) vec { return act.then(e, x, y) })
		e.JEQ(operand.LabelRef("end"))
	}
	e.Label("loop")
	for i := 0; i < parts; i++ {
		e.VMOVUPS(value(e, load(i)), operand.Mem{Base: dst, Disp: i * width})
	}
	e.ADDQ(operand.U8(64), src)
	e.ADDQ(operand.U8(64), dst)
	e.DECQ(n)
	e.JNE(operand.LabelRef("loop"))
	e.Label("end")
	e.VZEROUPPER()
	e.RET()
}

// A lane's moments are summed up in float32 over momentsChunk pixels, by four chains, and
// beyond in float64.
const momentsChunk, momentsChains = 32, 4

// momentSums adds up, over n ≥ 1 pixels of 16 lanes, what each lane differs by from its
// shift, and the squares of that: see kernel.MomentsLanes. AVX2 takes one half of the
// lanes after the other.
func (e *em) momentSums() {
	name := "momentSums" + e.suffix()
	function(e.Context, name, "func(out *float64, x *float32, n int, shift *float32)", name+" writes the sums of 16 lanes over n ≥ 1 pixels, and then those of the squares.")
	load := parameters(e.Context)
	out, x0, n0, shifts := load("out"), load("x"), load("n"), load("shift")
	width := 32
	if e.avx512 {
		width = 64
	}
	// wide is the low or the high half of v in float64.
	wide := func(v vec, high bool) vec {
		d := e.v()
		switch {
		case e.avx512 && high:
			h := e.YMM()
			e.VEXTRACTF64X4(operand.U8(1), v, h)
			e.VCVTPS2PD(h, d)
		case e.avx512:
			e.VCVTPS2PD(v.AsY(), d)
		case high:
			h := e.XMM()
			e.VEXTRACTF128(operand.U8(1), v, h)
			e.VCVTPS2PD(h, d)
		default:
			e.VCVTPS2PD(v.AsX(), d)
		}
		return d
	}
	for at := 0; at < 64; at += width {
		label := func(s string) string { return fmt.Sprint(s, at) }
		x, n, left := e.GP64(), e.GP64(), e.GP64()
		e.MOVQ(x0, x)
		e.MOVQ(n0, n)
		var shift operand.Op = operand.Mem{Base: shifts, Disp: at}
		if e.avx512 { // which has a register to spare for it
			shift = e.load(shift.(operand.Mem))
		}
		var all [2][2]vec // sums and squares, low and high half
		var part [2][momentsChains]vec
		for k := range all {
			all[k] = [2]vec{e.zero(), e.zero()}
			for c := range part[k] {
				part[k][c] = e.v()
			}
		}
		pixel := func(c int) {
			d := e.v()
			e.VMOVUPS(operand.Mem{Base: x, Disp: 64*c + at}, d)
			e.VSUBPS(shift, d, d)
			e.VADDPS(d, part[0][c], part[0][c])
			e.VFMADD231PS(d, d, part[1][c])
		}
		e.Label(label("chunk"))
		for k := range part {
			for c := range part[k] {
				e.clear(part[k][c])
			}
		}
		e.MOVQ(operand.U32(momentsChunk/momentsChains), left)
		e.Label(label("four"))
		e.SUBQ(operand.U8(momentsChains), n)
		e.JLT(operand.LabelRef(label("some")))
		for c := range momentsChains {
			pixel(c)
		}
		e.ADDQ(operand.U32(64*momentsChains), x)
		e.DECQ(left)
		e.JNE(operand.LabelRef(label("four")))
		e.JMP(operand.LabelRef(label("fold")))
		e.Label(label("some"))
		e.ADDQ(operand.U8(momentsChains), n)
		for c := range momentsChains - 1 {
			e.JEQ(operand.LabelRef(label("fold")))
			pixel(c)
			e.DECQ(n)
		}
		e.Label(label("fold"))
		for k, v := range part {
			e.VADDPS(v[1], v[0], v[0])
			e.VADDPS(v[3], v[2], v[2])
			e.VADDPS(v[2], v[0], v[0])
			for h, to := range all[k] {
				e.VADDPD(wide(v[0], h == 1), to, to)
			}
		}
		e.TESTQ(n, n)
		e.JNE(operand.LabelRef(label("chunk")))
		for k := range all {
			for h, v := range all[k] {
				e.VMOVUPD(v, operand.Mem{Base: out, Disp: 128*k + 2*at + h*width})
			}
		}
	}
	e.VZEROUPPER()
	e.RET()
}
