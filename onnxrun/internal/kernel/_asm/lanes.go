package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func (e *em) suffix() string {
	if e.avx512 {
		return "AVX512"
	}
	return "AVX2"
}

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

// sumLanes adds up n ≥ 1 pixels of 16 lanes, or the squares of their distances
// from a mean for each lane. Even and odd pixels have a sum each.
func (e *em) sumLanes(squares bool) {
	name, sig := "sumLanes", "func(out *float64, x *float32, n int)"
	if squares {
		name, sig = "sumSquaresLanes", "func(out *float64, x *float32, n int, mean *float64)"
	}
	name += e.suffix()
	function(e.Context, name, sig, name+" writes the sums of 16 lanes over n ≥ 1 pixels.")
	out := e.Load(e.Param("out"), e.GP64())
	x := e.Load(e.Param("x"), e.GP64())
	n := e.Load(e.Param("n"), e.GP64())
	var mean reg.Register
	if squares {
		mean = e.Load(e.Param("mean"), e.GP64())
	}
	parts := 4
	if e.avx512 {
		parts = 2
	}
	per := 16 / parts
	acc := make([]vec, 2*parts)
	for i := range acc {
		acc[i] = e.v()
		if e.avx512 {
			e.VPXORD(acc[i], acc[i], acc[i])
		} else {
			e.VXORPS(acc[i], acc[i], acc[i])
		}
	}
	pixel := func(odd int) {
		for i := 0; i < parts; i++ {
			d := e.v()
			a := acc[odd*parts+i]
			e.VCVTPS2PD(operand.Mem{Base: x, Disp: odd*64 + i*per*4}, d)
			if squares {
				e.VSUBPD(operand.Mem{Base: mean, Disp: i * per * 8}, d, d)
				e.VFMADD231PD(d, d, a)
			} else {
				e.VADDPD(d, a, a)
			}
		}
	}
	e.SUBQ(operand.U8(2), n)
	e.JLT(operand.LabelRef("last"))
	e.Label("loop")
	pixel(0)
	pixel(1)
	e.ADDQ(operand.U32(128), x)
	e.SUBQ(operand.U8(2), n)
	e.JGE(operand.LabelRef("loop"))
	e.Label("last")
	e.ADDQ(operand.U8(2), n)
	e.JEQ(operand.LabelRef("end"))
	pixel(0)
	e.Label("end")
	for i := 0; i < parts; i++ {
		e.VADDPD(acc[parts+i], acc[i], acc[i])
		e.VMOVUPD(acc[i], operand.Mem{Base: out, Disp: i * per * 8})
	}
	e.VZEROUPPER()
	e.RET()
}
