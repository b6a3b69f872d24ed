package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func layernorm(c *build.Context) {
	t := &table{c: c, used: map[uint32]bool{}}
	for _, avx512 := range []bool{true, false} {
		e := &em{Context: c, avx512: avx512, table: t}
		e.normRows()
	}
	t.flush()
	t.tails()
}

// normRows writes, for each of rows ≥ 1 rows of n ≥ 1 elements,
//
//	z = (x - mean)/√(variance + ε)·scale + bias
//
// The sums of d = x - x[0] and of d² are kept in 16 lanes of float64, AVX-512 with
// two vectors for each and AVX2 with four, and reduced in the same order.
func (e *em) normRows() {
	name := "normRows" + e.suffix()
	function(e.Context, name, "func(dst, src, scale, bias, mean, inverse *float32, rows, n int, over, eps float64, centred int)",
		name+" works on rows ≥ 1 rows of n ≥ 1 elements; bias, mean and inverse may be nil.")
	gp := parameters(e.Context)
	dst, src, scale, bias := gp("dst"), gp("src"), gp("scale"), gp("bias")
	mean, inverse, rows, n := gp("mean"), gp("inverse"), gp("rows"), gp("n")
	argument := func(name string) operand.Mem {
		addr, err := e.Param(name).Resolve()
		if err != nil {
			panic(err)
		}
		return addr.Addr
	}

	wide, per := 4, 4 // vectors of float64 for 16 lanes, and what each holds
	parts, width := 2, 32
	if e.avx512 {
		wide, per = 2, 8
		parts, width = 1, 64
	}
	last := e.GP64()
	e.MOVQ(n, last)
	e.ANDQ(operand.U8(15), last)
	e.SUBQ(last, n)
	e.SHLQ(operand.U8(2), n) // bytes of whole steps
	// The last n%16 elements, under masks: k, and its upper half for the second vector of float64.
	var k, upper reg.OpmaskVirtual
	mask := make([]vec, parts)
	if e.avx512 {
		k, upper = e.K(), e.K()
		m := e.GP64()
		e.MOVQ(operand.U32(1), m)
		e.SHLXQ(last, m, m)
		e.DECQ(m)
		e.KMOVW(m.As32(), k)
		e.KSHIFTRW(operand.U8(8), k, upper)
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
	at := func(base reg.Register, i reg.Register, disp int) operand.Mem {
		return operand.Mem{Base: base, Index: i, Scale: 1, Disp: disp}
	}
	i := e.GP64()
	flag := e.GP64()

	e.Label("row")
	first := e.v() // x[0] in all lanes; 0 if there is no mean to take away
	e.VXORPS(first.AsX(), first.AsX(), first.AsX())
	e.MOVQ(argument("centred"), flag)
	e.TESTQ(flag, flag)
	e.JEQ(operand.LabelRef("sums"))
	e.VCVTSS2SD(operand.Mem{Base: src}, first.AsX(), first.AsX())
	e.VBROADCASTSD(first.AsX(), first)
	e.Label("sums")
	sum, squares := make([]vec, wide), make([]vec, wide)
	for p := range sum {
		sum[p], squares[p] = e.zero(), e.zero()
	}
	e.XORQ(i, i)
	e.CMPQ(i, n)
	e.JEQ(operand.LabelRef("sumtail"))
	e.Label("sum")
	for p := range sum {
		d := e.v()
		e.VCVTPS2PD(at(src, i, 4*per*p), d)
		e.VSUBPD(first, d, d)
		e.VADDPD(d, sum[p], sum[p])
		e.VFMADD231PD(d, d, squares[p])
	}
	e.ADDQ(operand.U8(64), i)
	e.CMPQ(i, n)
	e.JLT(operand.LabelRef("sum"))
	e.Label("sumtail")
	e.TESTQ(last, last)
	e.JEQ(operand.LabelRef("sumdone"))
	for p := range sum {
		d := e.v()
		if e.avx512 {
			half := []reg.OpmaskVirtual{k, upper}[p]
			e.VCVTPS2PD_Z(at(src, i, 4*per*p), half, d)
			e.VSUBPD(first, d, d)
			e.VADDPD(d, sum[p], half, sum[p])
			e.VFMADD231PD(d, d, half, squares[p])
		} else {
			on, x := e.XMM(), e.XMM()
			if p%2 == 0 {
				e.VMOVAPS(mask[p/2].AsX(), on)
			} else {
				e.VEXTRACTF128(operand.U8(1), mask[p/2], on)
			}
			e.VMASKMOVPS(at(src, i, 4*per*p), on, x)
			e.VCVTPS2PD(x, d)
			e.VSUBPD(first, d, d)
			m := e.YMM()
			e.VPMOVSXDQ(on, m)
			e.VANDPD(m, d, d)
			e.VADDPD(d, sum[p], sum[p])
			e.VFMADD231PD(d, d, squares[p])
		}
	}
	e.Label("sumdone")
	s, q := e.fold64(sum), e.fold64(squares)
	// mean = x[0] + Σd/n; variance = Σd²/n - (Σd/n)². x[0] lies within √n standard
	// deviations of the mean: little is lost.
	over := e.XMM()
	e.VMOVSD(argument("over"), over)
	e.VMULSD(over, s, s)
	e.VMULSD(over, q, q)
	e.TESTQ(flag, flag)
	e.JNE(operand.LabelRef("centred"))
	e.VXORPS(s, s, s)
	e.Label("centred")
	middle := e.XMM()
	e.VADDSD(s, first.AsX(), middle)
	e.VFNMADD231SD(s, s, q)
	none := e.XMM()
	e.VXORPS(none, none, none)
	e.VMAXSD(q, none, q) // NaN stays
	e.VADDSD(argument("eps"), q, q)
	e.VSQRTSD(q, q, q)
	one := e.XMM()
	e.MOVQ(operand.U64(0x3ff0000000000000), flag)
	e.VMOVQ(flag, one)
	e.VDIVSD(q, one, q)
	// z = (x - m)·inverse + rest, m the mean in float32 and rest what that
	// rounding has to make good.
	near, rest := e.XMM(), e.XMM()
	e.VCVTSD2SS(middle, middle, near)
	e.VCVTSS2SD(near, near, rest)
	e.VSUBSD(middle, rest, rest)
	e.VMULSD(q, rest, rest)
	e.VCVTSD2SS(rest, rest, rest)
	e.VCVTSD2SS(q, q, q)
	for _, out := range []struct {
		to reg.GPVirtual
		v  reg.VecVirtual
	}{{mean, near}, {inverse, q}} {
		label := map[bool]string{true: "nomean", false: "noinverse"}[out.to == mean]
		e.TESTQ(out.to, out.to)
		e.JEQ(operand.LabelRef(label))
		e.VMOVSS(out.v, operand.Mem{Base: out.to})
		e.ADDQ(operand.U8(4), out.to)
		e.Label(label)
	}
	away, times, plus := e.v(), e.v(), e.v()
	e.VBROADCASTSS(near, away)
	e.VBROADCASTSS(q, times)
	e.VBROADCASTSS(rest, plus)

	e.XORQ(i, i)
	e.TESTQ(bias, bias)
	e.JEQ(operand.LabelRef("plain"))
	for _, shifted := range []bool{true, false} {
		label := "shifted"
		if !shifted {
			label = "plain"
			e.Label("plain")
		}
		e.CMPQ(i, n)
		e.JEQ(operand.LabelRef(label + "tail"))
		e.Label(label + "loop")
		for p := range parts {
			z := e.load(at(src, i, p*width))
			e.VSUBPS(away, z, z)
			e.VFMADD213PS(plus, times, z)
			if shifted {
				w := e.load(at(scale, i, p*width))
				e.VFMADD213PS(at(bias, i, p*width), w, z)
			} else {
				e.VMULPS(at(scale, i, p*width), z, z)
			}
			e.VMOVUPS(z, at(dst, i, p*width))
		}
		e.ADDQ(operand.U8(64), i)
		e.CMPQ(i, n)
		e.JLT(operand.LabelRef(label + "loop"))
		e.Label(label + "tail")
		e.TESTQ(last, last)
		e.JEQ(operand.LabelRef("next"))
		for p := range parts {
			part := func(base reg.Register) vec {
				d := e.v()
				if e.avx512 {
					e.VMOVUPS_Z(at(base, i, p*width), k, d)
				} else {
					e.VMASKMOVPS(at(base, i, p*width), mask[p], d)
				}
				return d
			}
			z := part(src)
			e.VSUBPS(away, z, z)
			e.VFMADD213PS(plus, times, z)
			if w := part(scale); shifted {
				e.VFMADD213PS(part(bias), w, z)
			} else {
				e.VMULPS(w, z, z)
			}
			if e.avx512 {
				e.VMOVUPS(z, k, at(dst, i, p*width))
			} else {
				e.VMASKMOVPS(z, mask[p], at(dst, i, p*width))
			}
		}
		if shifted {
			e.JMP(operand.LabelRef("next"))
		}
	}
	e.Label("next")
	for _, base := range []reg.GPVirtual{dst, src} {
		e.ADDQ(n, base)
		e.LEAQ(operand.Mem{Base: base, Index: last, Scale: 4}, base)
	}
	e.DECQ(rows)
	e.JNE(operand.LabelRef("row"))
	e.VZEROUPPER()
	e.RET()
}

// fold64 adds up 16 lanes of float64: lane l and lane l+8, then +4, +2, +1.
func (e *em) fold64(v []vec) reg.VecVirtual {
	y := e.YMM()
	if e.avx512 {
		z := e.ZMM()
		e.VADDPD(v[1], v[0], z)
		e.VEXTRACTF64X4(operand.U8(1), z, y)
		e.VADDPD(z.AsY(), y, y)
	} else {
		w := e.YMM()
		e.VADDPD(v[2], v[0], y)
		e.VADDPD(v[3], v[1], w)
		e.VADDPD(y, w, y)
	}
	x := e.XMM()
	e.VEXTRACTF128(operand.U8(1), y, x)
	e.VADDPD(y.AsX(), x, x)
	z := e.XMM()
	e.VPERMILPD(operand.U8(1), x, z)
	e.VADDSD(z, x, x)
	return x
}
