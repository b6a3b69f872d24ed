package main

import (
	"math"

	"neon"
)

// normalsNEON is em.normals for NEON: four blocks at a time. A register holds a
// word of each; the transformation takes two lanes of 64 bits.
func normalsNEON(dir string) {
	f := neon.NewFile("philox", "normals")
	const name = "normalsNEON"
	f.Function(name, "func(dst *float32, n int, ctr *[4][8]uint64, keys *[10][2]uint32)",
		name+" makes n times 8 blocks, 32 normals, with the counters of ctr, whose\n// first word grows by 8 each time: Keys.normals in vectors.", func(f *neon.Func) {
			e := &nem{f}
			// The counters of blocks 0 to 3, then those of 4 to 7: R12 is at either.
			const half = 64
			e.Frame = 2 * half
			e.Args("dst", "n", "ctr", "keys")
			e.ins("MOVD $buf-128(SP), R12")
			for h := range 2 {
				for j := range 4 {
					w := e.Op("UZP1.4S", e.Load("R2", 64*j+32*h), e.Load("R2", 64*j+32*h+16))
					e.Store(w, "R12", half*h+16*j)
				}
			}
			e.ins("MOVD R12, R4") // R4 + R12 - R5 is the other half
			e.ins("ADD $64, R12, R5")
			e.ins("ADD R4, R5, R5")
			e.ins("LSL $1, R1, R1")
			e.Keep(func(dry *neon.Func) { (&nem{dry}).four() })
			e.Label("four")
			for _, z := range e.four() {
				e.ins("FMOVQ.P F%d, 16(R0)", z)
			}
			e.ins("SUB R12, R5, R12")
			e.ins("SUBS $1, R1, R1")
			e.Branch("BNE", "four")
			e.ins("RET")
		})
	f.Write(dir)
}

type vr = neon.Reg

// nem emits the function.
type nem struct{ *neon.Func }

func (e *nem) ins(format string, args ...any) { e.Ins(format, args...) }

// f is a float64 constant in a register to read, i an integer of 64 bits, w one
// of 32.
func (e *nem) f(x float64) vr { return e.Read(neon.Long(math.Float64bits(x))) }
func (e *nem) i(x uint64) vr  { return e.Read(neon.Long(x)) }
func (e *nem) w(x uint32) vr  { return e.Read(neon.Words(x)) }

func (e *nem) add(a, b vr) vr { return e.Op("FADD.2D", a, b) }
func (e *nem) sub(a, b vr) vr { return e.Op("FSUB.2D", a, b) }
func (e *nem) mul(a, b vr) vr { return e.Op("FMUL.2D", a, b) }
func (e *nem) and(a, b vr) vr { return e.Op("AND.16B", a, b) }
func (e *nem) xor(a, b vr) vr { return e.Op("EOR.16B", a, b) }

// horner is the polynomial in z with the coefficients from the highest power
// down, in unfused steps.
func (e *nem) horner(z vr, cs ...float64) vr {
	p := e.mul(z, e.f(cs[0]))
	for k, c := range cs[1:] {
		p = e.add(p, e.f(c))
		if k < len(cs)-2 {
			p = e.mul(p, z)
		}
	}
	return p
}

// four returns the normals of the four blocks whose counters are at R12, block
// after block, and moves the counters on.
func (e *nem) four() [4]vr {
	x := e.words()
	var z [4]vr
	for j := 0; j < 4; j += 2 {
		even, odd := e.V(), e.V()
		t := e.Op("ADD.4S", x[j+1], e.w(1<<29))
		for _, narrow := range []string{"FCVTN.2S", "FCVTN2.4S"} {
			upper := narrow == "FCVTN2.4S"
			r := e.Op("FSQRT.2D", e.mul(e.logUnit(e.half("UXTL", x[j], upper)), e.f(-2)))
			sin, cos := e.sincosTurn(t, upper)
			e.Into(narrow, even, e.mul(r, cos))
			e.Into(narrow, odd, e.mul(r, sin))
		}
		z[j], z[j+1] = even, odd
	}
	a, b := e.Op("TRN1.4S", z[0], z[1]), e.Op("TRN2.4S", z[0], z[1])
	c, d := e.Op("TRN1.4S", z[2], z[3]), e.Op("TRN2.4S", z[2], z[3])
	return [4]vr{e.Op("TRN1.2D", a, c), e.Op("TRN1.2D", b, d), e.Op("TRN2.2D", a, c), e.Op("TRN2.2D", b, d)}
}

// half widens the lower two lanes, or the upper.
func (e *nem) half(how string, a vr, upper bool) vr {
	if upper {
		how += "2"
	}
	return e.Op(how+".2D", a)
}

// words makes the ten rounds of Philox4x32.
func (e *nem) words() [4]vr {
	var x [4]vr
	for j := range x {
		x[j] = e.Load("R12", 16*j)
	}
	e.Store(e.Op("ADD.4S", x[0], e.w(8)), "R12", 0)
	e.ins("MOVD R3, R6")
	for range 10 {
		k0, k1 := e.V(), e.V()
		e.ins("VLD1R.P 4(R6), [V%d.S4]", k0)
		e.ins("VLD1R.P 4(R6), [V%d.S4]", k1)
		product := func(a, m vr) (high, low vr) {
			l, u := e.Op("UMULL.2D", a, m), e.Op("UMULL2.2D", a, m)
			return e.Op("UZP2.4S", l, u), e.Op("UZP1.4S", l, u)
		}
		hiP, p := product(x[0], e.w(0xD2511F53))
		hiQ, q := product(x[2], e.w(0xCD9E8D57))
		x = [4]vr{e.xor(e.xor(hiQ, x[1]), k0), q, e.xor(e.xor(hiP, x[3]), k1), p}
	}
	return x
}

// logUnit: see em.logUnit; w is a word in 64 bits.
func (e *nem) logUnit(w vr) vr {
	const (
		ln2Hi = 6.93147180369123816490e-01
		ln2Lo = 1.90821492927058770002e-10
		l1    = 6.666666666666735130e-01
		l2    = 3.999999999940941908e-01
		l3    = 2.857142874366239149e-01
		l4    = 2.222219843214978396e-01
		l5    = 1.818357216161805012e-01
		l6    = 1.531383769920937332e-01
		l7    = 1.479819860511658591e-01
	)
	u := e.add(e.Op("UCVTF.2D", w), e.f(0.5))
	exponent := e.V()
	e.Word("USHR.2D", (128-52)<<16, exponent, u)
	kf := e.sub(e.Op("UCVTF.2D", exponent), e.f(1054))
	m := e.Op("ORR.16B", e.and(u, e.i(two52-1)), e.i(1022<<52))
	less := e.Op("FCMGT.2D", e.i(0x3FE6A09E667F3BCD), m) // √½, rounded up
	m, kf = e.add(m, e.and(less, m)), e.sub(kf, e.and(less, e.f(1)))
	f := e.sub(m, e.f(1))
	s := e.Op("FDIV.2D", f, e.add(f, e.f(2)))
	s2 := e.mul(s, s)
	s4 := e.mul(s2, s2)
	a := e.horner(s4, l7, l5, l3, l1)
	b := e.horner(s4, l6, l4, l2)
	r := e.add(e.mul(s2, a), e.mul(s4, b))
	half := e.mul(e.mul(f, e.f(0.5)), f)
	t := e.add(e.mul(s, e.add(half, r)), e.mul(kf, e.f(ln2Lo)))
	return e.sub(e.mul(kf, e.f(ln2Hi)), e.sub(e.sub(half, t), f))
}

// sincosTurn: see em.sincosTurn. t is its t in 32 bits, of which it takes the
// upper two lanes or the lower.
func (e *nem) sincosTurn(t vr, upper bool) (sin, cos vr) {
	const (
		s1 = -1.66666666666666324348e-01
		s2 = 8.33333333332248946124e-03
		s3 = -1.98412698298579493134e-04
		s4 = 2.75573137070700676789e-06
		s5 = -2.50507602534068634195e-08
		s6 = 1.58969099521155010221e-10
		c1 = 4.16666666666666019037e-02
		c2 = -1.38888888888741095749e-03
		c3 = 2.48015872894767294178e-05
		c4 = -2.75573143513906633035e-07
		c5 = 2.08757232129817482790e-09
		c6 = -1.13596475577881948265e-11
	)
	rest := e.Op("SUB.4S", e.and(t, e.w(1<<30-1)), e.w(1<<29))
	x := e.add(e.Op("SCVTF.2D", e.half("SXTL", rest, upper)), e.f(0.5))
	x = e.mul(x, e.f(math.Pi/(1<<31)))
	z := e.mul(x, x)
	s := e.add(e.mul(e.mul(z, x), e.horner(z, s6, s5, s4, s3, s2, s1)), x)
	p := e.horner(z, c6, c5, c4, c3, c2, c1)
	half := e.mul(z, e.f(0.5))
	one := e.sub(e.f(1), half)
	c := e.add(e.add(e.sub(e.sub(e.f(1), one), half), e.mul(z, e.mul(z, p))), one)

	// Bit 30 swaps them, bit 31 of t or of t + 2³⁰ is the sign.
	swap := e.V()
	e.Word("SHL.4S", (32+1)<<16, swap, t)
	e.Word("SSHR.4S", (64-31)<<16, swap, swap)
	swap = e.half("SXTL", swap, upper)
	sin, cos = e.Copy(swap), swap
	e.Into("BSL.16B", sin, c, s)
	e.Into("BSL.16B", cos, s, c)
	sign := func(t vr) vr { return e.half("SHLL", e.and(t, e.w(1<<31)), upper) }
	return e.xor(sin, sign(t)), e.xor(cos, sign(e.Op("ADD.4S", t, e.w(1<<30))))
}
