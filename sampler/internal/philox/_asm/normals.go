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
// transformation.
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
	// The words of all four indices, and the counters' first words.
	scratch := e.AllocLocal(5 * 64)
	first := scratch.Offset(4 * 64)
	for h := 0; h < halves; h++ {
		e.VMOVUPD(e.load(operand.Mem{Base: ctr, Disp: h * width}), first.Offset(h*width))
	}
	e.Label("group")
	e.words(pairs, halves, width, ctr, keys, scratch, first)
	// All radii first: their long chains of divisions and roots then overlap.
	var r, even, odd [4]vec
	at := func(j, h int) operand.Mem { return scratch.Offset(j*64 + h*width) }
	each := func(f func(k, j, h int)) {
		for k := 0; k < pairs*halves; k++ {
			f(k, k/halves*2, k%halves)
		}
	}
	each(func(k, j, h int) { r[k] = e.sqrt(e.mul(e.logUnit(e.load(at(j, h))), e.f(-2))) })
	each(func(k, j, h int) {
		sin, cos := e.sincosTurn(e.load(at(j+1, h)))
		even[k], odd[k] = e.round32(e.mul(r[k], cos)), e.round32(e.mul(r[k], sin))
	})
	var z []vec
	for j := 0; j < pairs; j++ {
		if halves == 2 {
			z = append(z, e.both128(even[2*j:]), e.both128(odd[2*j:]))
		} else {
			z = append(z, even[j], odd[j])
		}
	}
	if pairs == 1 {
		l, h := e.unpack(z[0], z[1])
		e.inOrder(l, h, dst, 0, 32)
		e.ADDQ(operand.U8(64), dst)
	} else {
		e.transpose([4]vec(z), dst)
		e.ADDQ(operand.U8(128), dst)
	}
	e.DECQ(n)
	e.JNE(operand.LabelRef("group"))
	e.VZEROUPPER()
	e.RET()
}

// words makes the ten rounds of Philox4x32, keeps the words of so many pairs,
// and moves the counters on.
func (e *em) words(pairs, halves, width int, ctr, keys reg.Register, scratch, first operand.Mem) {
	var x [2][4]vec
	for h := 0; h < halves; h++ {
		x[h][0] = e.load(first.Offset(h * width))
		e.VMOVUPD(e.addd(x[h][0], e.i(8)), first.Offset(h*width))
		for j := 1; j < 4; j++ {
			x[h][j] = e.load(operand.Mem{Base: ctr, Disp: j*64 + h*width})
		}
	}
	for round := 0; round < 10; round++ {
		k0, k1 := e.v(), e.v()
		e.VPBROADCASTD(operand.Mem{Base: keys, Disp: 8 * round}, k0)
		e.VPBROADCASTD(operand.Mem{Base: keys, Disp: 8*round + 4}, k1)
		for h := 0; h < halves; h++ {
			v := &x[h]
			p, q := e.v(), e.v()
			e.VPMULUDQ(e.i(0xD2511F53), v[0], p)
			e.VPMULUDQ(e.i(0xCD9E8D57), v[2], q)
			hiP, hiQ := e.shr(p, 32), e.shr(q, 32)
			e.xor3(hiQ, v[1], k0)
			e.xor3(hiP, v[3], k1)
			*v = [4]vec{hiQ, q, hiP, p}
		}
	}
	for h := 0; h < halves; h++ {
		for j := 0; j < 2*pairs; j++ {
			e.VMOVUPD(x[h][j], scratch.Offset(j*64+h*width))
		}
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

// exactly is the low word of each lane, converted.
func (e *em) exactly(w vec) vec { return e.low32(w, 0x43300000) } // + 2⁵²

func (e *em) logUnit(w vec) vec {
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
	u := e.add(e.sub(e.exactly(w), e.f(two52)), e.f(0.5))
	kf := e.sub(e.or(e.shr(u, 52), e.f(two52)), e.f(two52+1054))
	m := e.or(e.and(u, e.i(two52-1)), e.i(1022<<52))
	root := e.i(0x3FE6A09E667F3BCD) // √½, rounded up
	if e.avx512 {
		less := e.K()
		e.VCMPPD(operand.U8(1), root, m, less)
		e.VADDPD(m, m, less, m)
		e.VSUBPD(e.f(1), kf, less, kf)
	} else {
		less := e.v()
		e.VCMPPD(operand.U8(1), root, m, less)
		m, kf = e.add(m, e.and(less, m)), e.sub(kf, e.and(less, e.f(1)))
	}
	f := e.sub(m, e.f(1))
	s := e.div(f, e.add(f, e.f(2)))
	s2 := e.mul(s, s)
	s4 := e.mul(s2, s2)
	a := e.horner(s4, l7, l5, l3, l1)
	b := e.horner(s4, l6, l4, l2)
	r := e.add(e.mul(s2, a), e.mul(s4, b))
	half := e.mul(e.mul(f, e.f(0.5)), f)
	t := e.add(e.mul(s, e.add(half, r)), e.mul(kf, e.f(ln2Lo)))
	return e.sub(e.mul(kf, e.f(ln2Hi)), e.sub(e.sub(half, t), f))
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
	rest := e.sub(e.exactly(e.and(t, e.i(1<<30-1))), e.f(two52+1<<29))
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

// both128 puts two halves together.
func (e *em) both128(h []vec) vec {
	d := e.YMM()
	e.VINSERTF128(operand.U8(1), h[1], h[0].AsY(), d)
	return d
}

// transpose writes the normals of 8 blocks, z_j of all of them in z[j], block
// after block.
func (e *em) transpose(z [4]vec, dst reg.Register) {
	join := func(a, b vec) (l, h vec) {
		l, h = e.YMM(), e.YMM()
		e.VUNPCKLPD(b, a, l)
		e.VUNPCKHPD(b, a, h)
		return l, h
	}
	a, b := e.unpack(z[0], z[1])
	c, d := e.unpack(z[2], z[3])
	b04, b15 := join(a, c)
	b26, b37 := join(b, d)
	e.inOrder(b04, b15, dst, 0, 64)
	e.inOrder(b26, b37, dst, 32, 64)
}

// unpack puts the values of a and b alternately, those of either half's lower
// pairs in l.
func (e *em) unpack(a, b vec) (l, h vec) {
	l, h = e.YMM(), e.YMM()
	e.VUNPCKLPS(b, a, l)
	e.VUNPCKHPS(b, a, h)
	return l, h
}

// inOrder writes the lower halves of a and b at a place, and the upper ones
// behind it by a gap.
func (e *em) inOrder(a, b vec, dst reg.Register, at, gap int) {
	l, h := e.YMM(), e.YMM()
	e.VPERM2F128(operand.U8(0x20), b, a, l)
	e.VPERM2F128(operand.U8(0x31), b, a, h)
	e.VMOVUPS(l, operand.Mem{Base: dst, Disp: at})
	e.VMOVUPS(h, operand.Mem{Base: dst, Disp: at + gap})
}
