package main

import (
	"math"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// normals emits the whole way from counters to normals: 8 blocks at a time, a
// block a lane, in one vector or two halves. The words live in lanes of 64
// bits, so that one multiplication makes both halves of a product and nothing
// is shuffled; what is above bit 31 of a lane is left over and ignored. Of
// pairs 1 only the first two normals of a block are made, and half of the
// transformation. Beside the transformation the words of the next blocks are
// made; those of the last blocks' next are thrown away.
func (e *em) normals(pairs int) {
	name, isa, halves, width := "normals", "AVX2", 2, 32
	if e.avx512 {
		isa, halves, width = "AVX512", 1, 64
	}
	about := []string{"makes n times 8 blocks, 32 normals, with the counters of ctr, whose",
		"first word grows by 8 each time: Keys.normals in vectors."}
	if pairs == 1 {
		name, about = "pairs", []string{"makes the first two normals of n times 8 blocks, 16 normals, with the",
			"counters of ctr, whose first word grows by 8 each time."}
	}
	name += isa
	e.Function(name)
	e.Attributes(attr.NOSPLIT)
	e.Pragma("noescape")
	e.SignatureExpr("func(dst *float32, n int, ctr *[4][8]uint64, keys *[10][2]uint32)")
	e.Doc(name+" "+about[0], about[1])
	dst, n := e.Load(e.Param("dst"), e.GP64()), e.Load(e.Param("n"), e.GP64())
	ctr, keys := e.Load(e.Param("ctr"), e.GP64()), e.Load(e.Param("keys"), e.GP64())
	// The words of the blocks at hand and of the next, and the counters' first words.
	scratch := e.AllocLocal(9 * 64)
	first := scratch.Offset(8 * 64)
	now, next := e.GP64(), e.GP64()
	e.LEAQ(scratch, now)
	e.LEAQ(scratch.Offset(4*64), next)
	for h := 0; h < halves; h++ {
		e.VMOVUPD(e.load(operand.Mem{Base: ctr, Disp: h * width}), first.Offset(h*width))
	}
	lanes := func(h int) (operand.Mem, operand.Mem) {
		return operand.Mem{Base: ctr, Disp: h * width}, first.Offset(h * width)
	}
	c, f := lanes(0)
	e.words(pairs, c, f, keys, now)
	e.Label("group")
	for h := 0; h < halves; h++ {
		word := func(j int) vec { return e.load(operand.Mem{Base: now, Disp: j * 64}) }
		var r, sin, cos [2]vec
		log := func(j int) { r[j] = e.sqrt(e.minusTwoLog(word(2 * j))) }
		turn := func(j int) { sin[j], cos[j] = e.sincosTurn(word(2*j + 1)) }
		var z []vec
		multiply := func(j int) { z = append(z, e.round32(e.mul(r[j], cos[j])), e.round32(e.mul(r[j], sin[j]))) }
		c, f := lanes((h + 1) % halves)
		streams := []func(){func() { e.words(pairs, c, f, keys, next) }}
		if e.avx512 {
			for j := range pairs {
				streams = append(streams, func() { log(j) })
			}
			streams = append(streams, func() {
				for j := range pairs {
					turn(j)
				}
			})
		} else { // whose registers are enough for no more
			streams = append(streams, func() {
				for j := range pairs {
					log(j)
				}
				for j := range pairs {
					turn(j)
					multiply(j)
				}
			})
		}
		e.beside(streams...)
		for j := len(z) / 2; j < pairs; j++ {
			multiply(j)
		}
		e.write(z, dst)
		now, next = next, now
	}
	if halves == 1 {
		e.XCHGQ(now, next)
	}
	e.DECQ(n)
	e.JNE(operand.LabelRef("group"))
	e.VZEROUPPER()
	e.RET()
}

// words makes the ten rounds of Philox4x32 with the counters of ctr, whose first words
// are moved on, and puts the words of so many pairs to dst.
func (e *em) words(pairs int, ctr, first operand.Mem, keys, dst reg.Register) {
	var v [4]vec
	v[0] = e.load(first)
	e.VMOVUPD(e.addd(v[0], e.i(8)), first)
	for j := 1; j < 4; j++ {
		v[j] = e.load(ctr.Offset(j * 64))
	}
	for round := 0; round < 10; round++ {
		p, q := e.v(), e.v()
		e.VPMULUDQ(e.i(0xD2511F53), v[0], p)
		e.VPMULUDQ(e.i(0xCD9E8D57), v[2], q)
		v = [4]vec{
			e.xor3(e.shr(q, 32), v[1], operand.Mem{Base: keys, Disp: 8 * round}), q,
			e.xor3(e.shr(p, 32), v[3], operand.Mem{Base: keys, Disp: 8*round + 4}), p,
		}
	}
	for j := 0; j < 2*pairs; j++ {
		e.VMOVUPD(v[j], operand.Mem{Base: dst, Disp: j * 64})
	}
}

// round32 rounds to float32.
func (e *em) round32(a vec) vec {
	if e.avx512 {
		d := e.YMM()
		e.VCVTPD2PS(a, d)
		return d
	}
	d := e.XMM()
	e.VCVTPD2PSY(a, d)
	return d
}

const two52 = 1 << 52

// minusTwoLog is −2 ln((w+½)2⁻³²): the generic code's logarithm with all that is added
// doubled, which rounds nothing else, and its sign.
func (e *em) minusTwoLog(w vec) vec {
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
	const root = 0x3FE6A09E667F3BCD // √½, rounded up
	u := e.sub(e.low(w, 1<<32-1, two52), e.f(two52-0.5))
	// From √½ on the sum's exponent is one more: u = m·2^k with m in [√½, √2).
	a := e.addq(u, e.i(1023<<52-root))
	kf := e.sub(e.or(e.shr(a, 52), e.f(two52)), e.f(two52+1055))
	m := e.addq(e.and(a, e.i(1<<52-1)), e.i(root))
	f := e.sub(m, e.f(1))
	s := e.div(f, e.add(f, e.f(2)))
	s2 := e.mul(s, s)
	s4 := e.mul(s2, s2)
	p := e.horner(s4, 2*l7, 2*l5, 2*l3, 2*l1)
	q := e.horner(s4, 2*l6, 2*l4, 2*l2)
	r := e.add(e.mul(s2, p), e.mul(s4, q))
	half := e.mul(f, f)
	t := e.add(e.mul(s, e.add(half, r)), e.mul(kf, e.f(2*ln2Lo)))
	return e.sub(e.sub(e.sub(half, t), e.add(f, f)), e.mul(kf, e.f(2*ln2Hi)))
}

func (e *em) sincosTurn(w vec) (sin, cos vec) {
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
	// Bits 30 and 31 of t are the quarter; below, the rest from −2²⁹.
	t := e.addd(w, e.both(1<<29))
	rest := e.sub(e.low(t, 1<<30-1, two52), e.f(two52+1<<29))
	x := e.mul(e.add(rest, e.f(0.5)), e.f(math.Pi/(1<<31)))
	z := e.mul(x, x)
	s := e.add(e.mul(e.mul(z, x), e.horner(z, s6, s5, s4, s3, s2, s1)), x)
	p := e.horner(z, c6, c5, c4, c3, c2, c1)
	half := e.mul(z, e.f(0.5))
	one := e.rsub(half, e.f(1))
	c := e.add(e.add(e.sub(e.rsub(one, e.f(1)), half), e.mul(z, e.mul(z, p))), one)

	odd := e.shl(t, 33) // bit 30 in the sign
	sin, cos = e.v(), e.v()
	if e.avx512 {
		k := e.K()
		e.VPMOVQ2M(odd, k)
		e.VBLENDMPD(c, s, k, sin)
		e.VBLENDMPD(s, c, k, cos)
	} else {
		e.VBLENDVPD(odd, c, s, sin)
		e.VBLENDVPD(odd, s, c, cos)
	}
	return e.flip(sin, e.shl(t, 32)), e.flip(cos, e.shl(e.addd(t, e.both(1<<30)), 32))
}

// write puts the normals of the blocks, z_j of all of them in z[j], block after
// block, and moves dst on.
func (e *em) write(z []vec, dst reg.Register) {
	v := func() vec { return e.XMM() }
	size := 16
	if e.avx512 {
		v = func() vec { return e.YMM() }
		size = 32
	}
	// In either half of 128 bits.
	pair := func(a, b vec) (l, h vec) {
		l, h = v(), v()
		e.VUNPCKLPS(b, a, l)
		e.VUNPCKHPS(b, a, h)
		return l, h
	}
	l, h := pair(z[0], z[1])
	rows := []vec{l, h}
	if len(z) == 4 {
		l2, h2 := pair(z[2], z[3])
		rows = nil
		for _, p := range [][2]vec{{l, l2}, {h, h2}} {
			a, b := v(), v()
			e.VUNPCKLPD(p[1], p[0], a)
			e.VUNPCKHPD(p[1], p[0], b)
			rows = append(rows, a, b)
		}
	}
	if e.avx512 {
		// The lower halves first.
		var all []vec
		for _, imm := range []uint8{0, 3} {
			for k := 0; k < len(rows); k += 2 {
				d := v()
				e.VSHUFF64X2(operand.U8(imm), rows[k+1], rows[k], d)
				all = append(all, d)
			}
		}
		rows = all
	}
	for k, r := range rows {
		e.VMOVUPS(r, operand.Mem{Base: dst, Disp: k * size})
	}
	e.ADDQ(operand.U32(uint32(len(rows)*size)), dst)
}
