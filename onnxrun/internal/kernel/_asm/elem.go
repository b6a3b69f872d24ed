package main

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// An elemOp is an element-wise kernel: what it does to one vector.
type elemOp struct {
	name string // in Go: op + name
	two  bool   // has a second source
	acc  bool   // adds x·y to dst; no body
	p, q bool   // has scalars
	left bool   // reports arguments out of range
	body func(e *em, x, y, p, q vec) vec
	then func(e *em, x, y vec) vec // what follows body and takes its result, y, where one chain would be too long
}

// value is body and what follows.
func (o *elemOp) value(e *em, x, y, p, q vec) vec {
	if o.then != nil {
		return o.then(e, x, o.body(e, x, y, p, q))
	}
	return o.body(e, x, y, p, q)
}

type vec = reg.VecVirtual

// em emits one function for one instruction set.
type em struct {
	*build.Context
	avx512 bool
	left   vec               // AVX2: lanes out of range so far
	leftK  reg.OpmaskVirtual // AVX-512: the same
	table  *table
	kept   map[string]vec // constants in registers
	asked  *[]operand.Mem // while keep listens: the constants in use
}

// table holds the constants of all functions, each replicated to a vector's
// width so that it can be an operand from memory.
type table struct {
	c    *build.Context
	used map[uint32]bool
	rows map[string]bool
}

func (t *table) at(bits uint32) operand.Mem {
	t.used[bits] = true
	return static(fmt.Sprintf("c%08x", bits), 0)
}

// flush writes the data of the constants.
func (t *table) flush() {
	var all []uint32
	for b := range t.used {
		all = append(all, b)
	}
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	for _, b := range all {
		t.c.StaticGlobal(fmt.Sprintf("c%08x", b))
		t.c.DataAttributes(attr.RODATA | attr.NOPTR)
		for i := 0; i < 8; i++ {
			t.c.AppendDatum(operand.U64(uint64(b)<<32 | uint64(b)))
		}
	}
}

// row is a constant of eight numbers, twice: what look reads.
func (t *table) row(name string, v [8]float32) operand.Mem {
	if !t.rows[name] {
		t.rows[name] = true
		t.c.StaticGlobal(name)
		t.c.DataAttributes(attr.RODATA | attr.NOPTR)
		for i := 0; i < 16; i++ {
			t.c.AppendDatum(operand.F32(v[i%8]))
		}
	}
	return static(name, 0)
}

// tails writes a mask: loaded from element 8-n on, its first n elements are on.
func (t *table) tails() {
	t.c.StaticGlobal("tail")
	t.c.DataAttributes(attr.RODATA | attr.NOPTR)
	for i := 0; i < 8; i++ {
		v := ^uint64(0)
		if i >= 4 {
			v = 0
		}
		t.c.AppendDatum(operand.U64(v))
	}
}

func (e *em) v() vec {
	if e.avx512 {
		return e.ZMM()
	}
	return e.YMM()
}

func bits(f float64) uint32 { return math.Float32bits(float32(f)) }

// c is a float constant as an operand to read, i an integer one.
func (e *em) c(f float64) operand.Op { return e.constant(e.table.at(bits(f))) }
func (e *em) i(u uint32) operand.Op  { return e.constant(e.table.at(u)) }

func (e *em) constant(m operand.Mem) operand.Op {
	if e.asked != nil {
		*e.asked = append(*e.asked, m)
	}
	if r, ok := e.kept[m.Symbol.Name]; ok {
		return r
	}
	return m
}

// k is a constant in a register to be overwritten, r in one to read.
func (e *em) k(f float64) vec {
	if v, ok := e.c(f).(vec); ok {
		return e.copy(v)
	}
	return e.load(e.table.at(bits(f)))
}

func (e *em) r(f float64) vec {
	if v, ok := e.c(f).(vec); ok {
		return v
	}
	return e.load(e.table.at(bits(f)))
}

// keep loads the constants of the code that body emits, as many as there are
// registers to spare, before the loop that body is for. A machine loads one
// vector of AVX-512 a cycle: read from memory each time, the constants would
// take longer than the arithmetic. AVX2 has half the registers and loads twice as many.
func (e *em) keep(body func(e *em)) {
	const most = 16
	e.kept = map[string]vec{}
	if !e.avx512 {
		return
	}
	var asked []operand.Mem
	dry := &em{Context: build.NewContext(), avx512: true, table: e.table, asked: &asked}
	dry.Function("dry")
	dry.leftK = dry.K()
	body(dry)
	for _, m := range asked {
		if _, ok := e.kept[m.Symbol.Name]; !ok && len(e.kept) < most {
			e.kept[m.Symbol.Name] = e.load(m)
		}
	}
}

func (e *em) load(m operand.Mem) vec {
	d := e.v()
	e.VMOVUPS(m, d)
	return d
}

func (e *em) copy(x vec) vec {
	d := e.v()
	e.VMOVAPS(x, d)
	return d
}

// Arithmetic: the first operand is a register, the second may be memory.
func (e *em) add(a vec, b operand.Op) vec { d := e.v(); e.VADDPS(b, a, d); return d }
func (e *em) sub(a vec, b operand.Op) vec { d := e.v(); e.VSUBPS(b, a, d); return d }
func (e *em) mul(a vec, b operand.Op) vec { d := e.v(); e.VMULPS(b, a, d); return d }
func (e *em) div(a vec, b operand.Op) vec { d := e.v(); e.VDIVPS(b, a, d); return d }

// max and min return b where either is NaN, and where they are equal.
func (e *em) max(a vec, b operand.Op) vec { d := e.v(); e.VMAXPS(b, a, d); return d }
func (e *em) min(a vec, b operand.Op) vec { d := e.v(); e.VMINPS(b, a, d); return d }

// horner returns the polynomial in x with the coefficients from the highest
// power down.
func (e *em) horner(x vec, cs ...float64) vec {
	p := e.k(cs[0])
	for _, c := range cs[1:] {
		e.VFMADD213PS(e.c(c), x, p)
	}
	return p
}

// fma returns a·b + c; it overwrites a.
func (e *em) fma(a, b vec, c operand.Op) vec { e.VFMADD213PS(c, b, a); return a }

func (e *em) and(a vec, m operand.Op) vec {
	d := e.v()
	e.VANDPS(m, a, d)
	return d
}
func (e *em) or(a vec, m operand.Op) vec {
	d := e.v()
	e.VORPS(m, a, d)
	return d
}
func (e *em) xor(a vec, m operand.Op) vec {
	d := e.v()
	e.VXORPS(m, a, d)
	return d
}

const sign = 1 << 31

func (e *em) abs(x vec) vec { return e.and(x, e.i(sign-1)) }
func (e *em) neg(x vec) vec { return e.xor(x, e.i(sign)) }

// Integer arithmetic on lanes.
func (e *em) addi(a vec, b operand.Op) vec { d := e.v(); e.VPADDD(b, a, d); return d }
func (e *em) subi(a vec, b operand.Op) vec { d := e.v(); e.VPSUBD(b, a, d); return d }
func (e *em) shl(a vec, n uint8) vec       { d := e.v(); e.VPSLLD(operand.U8(n), a, d); return d }
func (e *em) sar(a vec, n uint8) vec       { d := e.v(); e.VPSRAD(operand.U8(n), a, d); return d }
func (e *em) toInt(a vec) vec              { d := e.v(); e.VCVTPS2DQ(a, d); return d }
func (e *em) toFloat(a vec) vec            { d := e.v(); e.VCVTDQ2PS(a, d); return d }

// How to round: to the nearest, ties to even; down; up.
const nearestEven, down, up = 8, 9, 10

func (e *em) round(a vec) vec { return e.toward(nearestEven, a) }

func (e *em) toward(how uint8, a vec) vec {
	d := e.v()
	if e.avx512 {
		e.VRNDSCALEPS(operand.U8(how), a, d)
	} else {
		e.VROUNDPS(operand.U8(how), a, d)
	}
	return d
}

// Predicates of comparisons.
const (
	lt    = 0x11 // ordered, quiet
	gt    = 0x1e
	eq    = 0x00
	unord = 0x03
)

// pick returns yes where a OP b, else no.
func (e *em) pick(pred uint8, a vec, b operand.Op, yes operand.Op, no vec) vec {
	if e.avx512 {
		k := e.K()
		e.VCMPPS(operand.U8(pred), b, a, k)
		d := e.v()
		e.VBLENDMPS(yes, no, k, d)
		return d
	}
	m := e.v()
	e.VCMPPS(operand.U8(pred), b, a, m)
	d := e.v()
	e.VBLENDVPS(m, yes, no, d)
	return d
}

// bySign returns yes where the sign bit of m is set, else no.
func (e *em) bySign(m vec, yes operand.Op, no vec) vec {
	d := e.v()
	if e.avx512 {
		k := e.K()
		e.VPMOVD2M(m, k)
		e.VBLENDMPS(yes, no, k, d)
	} else {
		e.VBLENDVPS(m, yes, no, d)
	}
	return d
}

// scale returns x·2ⁿ for integral n in [-152,130], rounded once.
func (e *em) scale(x, n vec) vec {
	if e.avx512 {
		d := e.v()
		e.VSCALEFPS(n, x, d)
		return d
	}
	return e.scaleInt(x, e.toInt(n))
}

// scaleInt is scale for an integer i, on AVX2. Two factors: one cannot hold the
// exponents of denormal results.
func (e *em) scaleInt(x, i vec) vec {
	h := e.sar(i, 1)
	r := e.subi(i, h)
	x = e.mul(x, e.shl(e.addi(h, e.i(127)), 23))
	return e.mul(x, e.shl(e.addi(r, e.i(127)), 23))
}

// look returns row[i] for each lane, i the lowest three bits of at's lane.
func (e *em) look(name string, row [8]float32, at vec) vec {
	d := e.v()
	e.VPERMPS(e.constant(e.table.row(name, row)), at, d)
	return d
}

// nearest returns t and x·c rounded to a multiple of unit, a power of two; t's
// lowest bits count it in units.
func (e *em) nearest(x vec, c, unit float64) (t, n vec) {
	magic := 0x1.8p23 * unit
	t = e.fma(e.copy(x), e.r(c), e.c(magic))
	return t, e.sub(t, e.c(magic))
}

// expParts returns n and exp(r)-1 with x = n·ln 2 + r, |r| ≤ ln(2)/2. The
// polynomial is that of the Cephes library's expf.
func (e *em) expParts(x vec) (n, em1 vec) {
	n = e.round(e.mul(x, e.c(math.Log2E)))
	r := e.copy(x)
	e.VFNMADD231PS(e.c(0.693359375), n, r)
	e.VFNMADD231PS(e.c(-2.12194440e-4), n, r)
	p := e.horner(r, 1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
	return n, e.fma(p, e.mul(r, r), r)
}

// The powers 2^(i/8), and what rounding took from them.
var powers, powersRest = func() (p, rest [8]float32) {
	for i := range p {
		x := math.Exp2(float64(i) / 8)
		p[i] = float32(x)
		rest[i] = float32(x - float64(p[i]))
	}
	return
}()

// exp: with n = ⌊n⌋ + i/8 the multiple of 1/8 nearest to x/ln 2 and r the rest,
// exp(x) = 2^⌊n⌋·2^(i/8)·exp(r): the eight powers, in a register, leave so little
// of r that a quartic will do. Beyond the clamps the result is 0 or +Inf by the
// scaling alone. The clamped value comes second, so NaN stays.
func (e *em) exp(x vec) vec {
	x, t, n := e.eighths(x, 89)
	e.VFNMADD231PS(e.c(0.693359375), n, x)
	e.VFNMADD231PS(e.c(-2.12194440e-4), n, x)
	p := e.look("powers", powers, t)
	q := e.horner(x, 1./24, 1./6, 0.5, 1)
	y := e.fma(x, p, e.look("powersRest", powersRest, t))
	return e.scaleEighths(e.fma(y, q, p), t, n)
}

// eighths clamps x and gives it anew, with what nearest does for 1/8.
func (e *em) eighths(x vec, most float64) (clamped, t, n vec) {
	x = e.min(e.r(most), x)
	x = e.max(e.r(-105), x)
	t, n = e.nearest(x, math.Log2E, 1./8)
	return x, t, n
}

// scaleEighths returns y·2^⌊n⌋.
func (e *em) scaleEighths(y, t, n vec) vec {
	if e.avx512 {
		d := e.v()
		e.VSCALEFPS(n, y, d)
		return d
	}
	return e.scaleInt(y, e.sar(e.subi(t, e.i(bits(0x1.8p20))), 3))
}

// The polynomial q = 1 + Q2·r + Q3·r² for which 1 + r·q is off by 2.6e-8 of exp(r) at most.
const sigmoidQ3, sigmoidQ2 = 0.1666685875001279, 0.5000645976568516

// sigmoid(x) = y/(1+y), y = exp(x): sigmoidExp, and sigmoidOf that. This exp is as short
// as makes the division what takes the time: one step gives r, off by 2.8e-9 of x, as
// ln 2 is in float32, and the powers' rests are left out.
func (e *em) sigmoidExp(x vec) vec {
	x, t, n := e.eighths(x, 88)
	e.VFNMADD231PS(e.c(math.Ln2), n, x)
	p := e.look("powers", powers, t)
	q := e.horner(x, sigmoidQ3, sigmoidQ2, 1)
	return e.scaleEighths(e.fma(e.mul(x, p), q, p), t, n)
}

func (e *em) sigmoidOf(y vec) vec { return e.div(y, e.add(y, e.c(1))) }

// inFours is a loop, on AVX-512, over four vectors of 64 bytes at a time while there
// are as many: dst = then(x, first(x)) with x = load(i) the i'th from src on. n counts
// vectors in units. The first step of the next four goes between the second steps of
// these: emitted one after the other, a vector's whole chain would wait in the
// machine's queue, which then holds too few vectors to keep its ports busy.
func (e *em) inFours(dst, src, n reg.Register, unit uint8, load func(i int) vec, first func(x vec) vec, then func(x, y vec) vec) {
	const count = 4
	four := operand.U32(count * int(unit))
	advance := func(r reg.Register) { e.ADDQ(operand.U32(64*count), r) }
	at := func(i int) operand.Mem { return operand.Mem{Base: dst, Disp: 64 * i} }
	e.SUBQ(four, n)
	e.JLT(operand.LabelRef("few"))
	var xs, ys [count]vec
	for i := range xs {
		xs[i] = load(i)
		ys[i] = first(xs[i])
	}
	advance(src)
	e.SUBQ(four, n)
	e.JLT(operand.LabelRef("last"))
	e.Label("fours")
	for i := range xs {
		x := load(i)
		y := first(x)
		e.VMOVUPS(then(xs[i], ys[i]), at(i))
		e.VMOVAPS(x, xs[i])
		e.VMOVAPS(y, ys[i])
	}
	advance(src)
	advance(dst)
	e.SUBQ(four, n)
	e.JGE(operand.LabelRef("fours"))
	e.Label("last")
	for i := range xs {
		e.VMOVUPS(then(xs[i], ys[i]), at(i))
	}
	advance(dst)
	e.Label("few")
	e.ADDQ(four, n)
}

// gelu(x) = max(x, 0) - |x|·Φ(-|x|), Φ by eight polynomials in the distance to
// 0, w, 2w … 7w, where it ends: the last is 0 at 7w. The difference from the
// function is below 6e-8 everywhere, and relative to it near 0.
func (e *em) gelu(x vec, name string, rows *[7][8]float32) vec {
	a := e.min(e.r(7*geluStep), e.abs(x))
	t, n := e.nearest(a, 1/geluStep, 1)
	h := e.copy(a)
	e.VFNMADD231PS(e.c(geluStep), n, h)
	p := e.look(name+"6", rows[6], t)
	for i := 5; i >= 0; i-- {
		p = e.fma(p, h, e.look(fmt.Sprint(name, i), rows[i], t))
	}
	y := e.max(e.xor(x, x), x)
	e.VFNMADD231PS(a, p, y)
	return y
}

// tanh by the Cephes library's tanhf polynomial below 0.625, else by exp.
func (e *em) tanh(x vec) vec {
	z := e.mul(x, x)
	p := e.horner(z, -5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1)
	small := e.fma(e.mul(p, z), x, x)
	a := e.abs(x)
	t := e.exp(e.add(a, a))
	big := e.sub(e.r(1), e.div(e.r(2), e.add(t, e.c(1))))
	big = e.or(big, e.and(x, e.i(sign)))
	return e.pick(lt, a, e.c(0.625), small, big)
}

// expm1 for x ≤ 0: 2ⁿ(exp(r)-1) + (2ⁿ-1) loses nothing near 0.
func (e *em) expm1(x vec) vec {
	x = e.min(e.r(0), x)
	x = e.max(e.r(-30), x)
	n, m := e.expParts(x)
	s := e.shl(e.addi(e.toInt(n), e.i(127)), 23)
	return e.fma(m, s, e.sub(s, e.c(1)))
}

// log1pf is log(1+f)-f... the polynomial part of log for 1+f in [2/3,4/3), plus
// i·ln 2.
func (e *em) logParts(x vec) (i, f vec) {
	b := e.subi(x, e.i(bits(2./3)))
	i = e.sar(b, 23)
	m := e.subi(x, e.shl(i, 23))
	return e.toFloat(i), e.sub(m, e.c(1))
}

func (e *em) logPoly(i, f vec) vec {
	s := e.mul(f, f)
	r := e.fma(e.k(-0.130187988), f, e.c(0.140889585))
	t := e.fma(e.k(-0.121489584), f, e.c(0.139809534))
	r = e.fma(r, s, t)
	for _, c := range []float64{-0.166845024, 0.200121149, -0.249996364, 0.333331943, -0.5} {
		r = e.fma(r, f, e.c(c))
	}
	r = e.fma(r, s, f)
	e.VFMADD231PS(e.c(math.Ln2), i, r)
	return r
}

func (e *em) log(x vec) vec {
	// Denormals are scaled into the normal range.
	tiny := e.mul(x, e.c(0x1p23))
	y := e.pick(lt, x, e.c(0x1p-126), tiny, x)
	shift := e.pick(lt, x, e.c(0x1p-126), e.c(-23), e.xor(x, x))
	i, f := e.logParts(y)
	r := e.logPoly(e.add(i, shift), f)
	r = e.pick(lt, x, e.c(math.Inf(1)), r, x) // +Inf and NaN
	r = e.pick(lt, x, e.c(0), e.c(math.NaN()), r)
	return e.pick(eq, x, e.c(0), e.c(math.Inf(-1)), r)
}

// softplus(x) = max(x,0) + log(1+t), t = exp(-|x|); what rounding 1+t loses is
// put back to first order.
func (e *em) softplus(x vec) vec {
	t := e.exp(e.or(x, e.i(sign)))
	u := e.add(t, e.c(1))
	lost := e.div(e.sub(t, e.sub(u, e.c(1))), u)
	i, f := e.logParts(u)
	l := e.add(e.logPoly(i, f), lost)
	return e.add(e.max(e.xor(x, x), x), l)
}

// erf after N. Juffa: an odd polynomial near 0, 1 - exp(polynomial) beyond.
func (e *em) erf(x vec) vec {
	t := e.min(e.r(4), e.abs(x))
	s := e.mul(x, x)
	small := e.horner(s, -5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1)
	small = e.fma(small, x, x)
	r := e.fma(e.k(-1.72853470e-5), t, e.c(3.83197126e-4))
	u := e.fma(e.k(-3.88396438e-3), t, e.c(2.42546219e-2))
	r = e.fma(r, e.mul(t, t), u)
	for _, c := range []float64{-1.06777877e-1, -6.34846687e-1, -1.28717512e-1} {
		r = e.fma(r, t, e.c(c))
	}
	r = e.fma(r, t, e.neg(t))
	n, m := e.expParts(r)
	// t ≤ 4 keeps exp(r) above 2⁻²⁵, 1 - exp(r) = 1 - 2ⁿ(m+1).
	sc := e.shl(e.addi(e.toInt(n), e.i(127)), 23)
	big := e.sub(e.r(1), e.fma(m, sc, sc))
	big = e.or(big, e.and(x, e.i(sign)))
	return e.pick(lt, t, e.c(0.927734375), small, big)
}

// sincos: x = q·π/2 + r by three steps, then the polynomial that the quadrant
// asks for.
func (e *em) sincos(x vec, cosine bool) vec {
	n := e.round(e.mul(x, e.c(2/math.Pi)))
	r := e.copy(x)
	for _, c := range []float64{1.57079637, -4.37113883e-08, -1.71512451e-15} {
		e.VFNMADD231PS(e.c(c), n, r)
	}
	s := e.mul(r, r)
	sp := e.horner(s, 2.86567956e-6, -1.98559923e-4, 8.33338592e-3, -1.66666672e-1)
	sp = e.fma(sp, e.mul(s, r), r)
	cp := e.horner(s, 2.44677067e-5, -1.38877297e-3, 4.16666567e-2, -0.5, 1)
	q := e.toInt(n)
	if cosine {
		q = e.addi(q, e.i(1))
	}
	v := e.bySign(e.shl(q, 31), cp, sp)
	v = e.xor(v, e.and(e.shl(q, 30), e.i(sign)))
	// Too large for the reduction: passed through, and reported.
	a := e.abs(x)
	if e.avx512 {
		k := e.K()
		e.VCMPPS(operand.U8(gt), e.c(1e4), a, k)
		e.KORW(k, e.leftK, e.leftK)
		d := e.v()
		e.VBLENDMPS(x, v, k, d)
		return d
	}
	m, d := e.v(), e.v()
	e.VCMPPS(operand.U8(gt), e.c(1e4), a, m)
	e.VORPS(m, e.left, e.left)
	e.VBLENDVPS(m, x, v, d)
	return d
}

var elemOps = []elemOp{
	{name: "Add", two: true, body: func(e *em, x, y, p, q vec) vec { return e.add(x, y) }},
	{name: "Sub", two: true, body: func(e *em, x, y, p, q vec) vec { return e.sub(x, y) }},
	{name: "Mul", two: true, body: func(e *em, x, y, p, q vec) vec { return e.mul(x, y) }},
	{name: "Div", two: true, body: func(e *em, x, y, p, q vec) vec { return e.div(x, y) }},
	{name: "Max", two: true, body: func(e *em, x, y, p, q vec) vec { return e.pick(unord, x, x, x, e.max(x, y)) }},
	{name: "Min", two: true, body: func(e *em, x, y, p, q vec) vec { return e.pick(unord, x, x, x, e.min(x, y)) }},
	{name: "MulAdd", two: true, acc: true},
	{name: "Axpy", two: true, p: true, body: func(e *em, x, y, p, q vec) vec { return e.fma(x, p, y) }},
	{name: "AddScalar", p: true, body: func(e *em, x, y, p, q vec) vec { return e.add(x, p) }},
	{name: "RsubScalar", p: true, body: func(e *em, x, y, p, q vec) vec { return e.sub(p, x) }},
	{name: "MulScalar", p: true, body: func(e *em, x, y, p, q vec) vec { return e.mul(x, p) }},
	{name: "DivScalar", p: true, body: func(e *em, x, y, p, q vec) vec { return e.div(x, p) }},
	{name: "RdivScalar", p: true, body: func(e *em, x, y, p, q vec) vec { return e.div(p, x) }},
	{name: "MaxScalar", p: true, body: func(e *em, x, y, p, q vec) vec { return e.pick(unord, x, x, x, e.max(x, p)) }},
	{name: "MinScalar", p: true, body: func(e *em, x, y, p, q vec) vec { return e.pick(unord, x, x, x, e.min(x, p)) }},
	{name: "ScaleShift", p: true, q: true, body: func(e *em, x, y, p, q vec) vec { return e.fma(x, p, q) }},
	{name: "Neg", body: func(e *em, x, y, p, q vec) vec { return e.neg(x) }},
	{name: "Abs", body: func(e *em, x, y, p, q vec) vec { return e.abs(x) }},
	{name: "Sqrt", body: func(e *em, x, y, p, q vec) vec { d := e.v(); e.VSQRTPS(x, d); return d }},
	{name: "Floor", body: func(e *em, x, y, p, q vec) vec { return e.toward(down, x) }},
	{name: "Ceil", body: func(e *em, x, y, p, q vec) vec { return e.toward(up, x) }},
	{name: "Round", body: func(e *em, x, y, p, q vec) vec { return e.round(x) }},
	{name: "Relu", body: func(e *em, x, y, p, q vec) vec { return e.max(e.xor(x, x), x) }},
	{name: "LeakyRelu", p: true, body: func(e *em, x, y, p, q vec) vec { return e.pick(lt, x, e.c(0), e.mul(x, p), x) }},
	{name: "Clip", p: true, q: true, body: func(e *em, x, y, p, q vec) vec { return e.min(q, e.max(p, x)) }},
	{name: "Exp", body: func(e *em, x, y, p, q vec) vec { return e.exp(x) }},
	{name: "ExpSub", p: true, body: func(e *em, x, y, p, q vec) vec { return e.exp(e.sub(x, p)) }},
	{name: "Log", body: func(e *em, x, y, p, q vec) vec { return e.log(x) }},
	{name: "Sigmoid", body: func(e *em, x, y, p, q vec) vec { return e.sigmoidExp(x) },
		then: func(e *em, x, y vec) vec { return e.sigmoidOf(y) }},
	{name: "SiLU", body: func(e *em, x, y, p, q vec) vec { return e.sigmoidExp(x) },
		then: func(e *em, x, y vec) vec { return e.mul(x, e.sigmoidOf(y)) }},
	{name: "Tanh", body: func(e *em, x, y, p, q vec) vec { return e.tanh(x) }},
	{name: "Elu", p: true, body: func(e *em, x, y, p, q vec) vec { return e.pick(gt, x, e.c(0), x, e.mul(e.expm1(x), p)) }},
	{name: "Softplus", body: func(e *em, x, y, p, q vec) vec { return e.softplus(x) }},
	{name: "Erf", body: func(e *em, x, y, p, q vec) vec { return e.erf(x) }},
	{name: "Gelu", body: func(e *em, x, y, p, q vec) vec { return e.gelu(x, "gelu", &geluRows) }},
	{name: "GeluTanh", body: func(e *em, x, y, p, q vec) vec { return e.gelu(x, "geluTanh", &geluTanhRows) }},
	{name: "Sin", left: true, body: func(e *em, x, y, p, q vec) vec { return e.sincos(x, false) }},
	{name: "Cos", left: true, body: func(e *em, x, y, p, q vec) vec { return e.sincos(x, true) }},
}

func elemOpNamed(name string) *elemOp {
	return &elemOps[slices.IndexFunc(elemOps, func(o elemOp) bool { return o.name == name })]
}

func (o *elemOp) fname(avx512 bool) string {
	return strings.ToLower(o.name[:1]) + o.name[1:] + suffix(avx512)
}

func elem(c *build.Context) {
	t := &table{c: c, used: map[uint32]bool{}, rows: map[string]bool{}}
	for i := range elemOps {
		for _, avx512 := range []bool{true, false} {
			e := &em{Context: c, avx512: avx512, table: t}
			e.function(&elemOps[i])
		}
	}
	for _, avx512 := range []bool{true, false} {
		e := &em{Context: c, avx512: avx512, table: t}
		e.reduceSum(false)
		e.reduceSum(true)
		e.reduceMax()
		e.scaleShiftLanes("scaleShiftLanes", nil)
		e.scaleShiftLanes("scaleShiftSiLULanes", elemOpNamed("SiLU"))
		e.momentSums()
	}
	narrows(func(avx512 bool, rows, cols int) {
		e := &em{Context: c, avx512: avx512, table: t}
		e.narrow(rows, cols)
	})
	for _, s := range shallows() {
		e := &em{Context: c, avx512: s.avx512, table: t}
		e.shallow(s)
	}
	t.flush()
	t.tails()
}

// function writes dst[i] = body(a[i], b[i]) over n ≥ 1 elements. The last
// vector runs the same code under a mask.
func (e *em) function(o *elemOp) {
	sig := "func(dst, a *float32, n int"
	if o.two {
		sig = "func(dst, a, b *float32, n int"
	}
	if o.p {
		sig += ", p float32"
	}
	if o.q {
		sig += ", q float32"
	}
	sig += ")"
	if o.left {
		sig += " (left int)"
	}
	name := o.fname(e.avx512)
	function(e.Context, name, sig, fmt.Sprintf("%s is op%s over n ≥ 1 elements.", name, o.name))
	dst := e.Load(e.Param("dst"), e.GP64())
	a := e.Load(e.Param("a"), e.GP64())
	var b reg.Register
	if o.two {
		b = e.Load(e.Param("b"), e.GP64())
	}
	n := e.Load(e.Param("n"), e.GP64()).(reg.GPVirtual)
	scalar := func(name string) vec {
		d := e.v()
		addr, err := e.Param(name).Resolve()
		if err != nil {
			panic(err)
		}
		e.VBROADCASTSS(addr.Addr, d)
		return d
	}
	var p, q vec
	if o.p {
		p = scalar("p")
	}
	if o.q {
		q = scalar("q")
	}
	if o.left {
		if e.avx512 {
			e.leftK = e.K()
			e.KXORW(e.leftK, e.leftK, e.leftK)
		} else {
			e.left = e.v()
			e.VXORPS(e.left, e.left, e.left)
		}
	}
	width := 8
	if e.avx512 {
		width = 16
	}
	body := func(load func(base reg.Register) vec) vec {
		x := load(a)
		var y vec
		if o.two {
			y = load(b)
		}
		if o.acc {
			z := load(dst)
			e.VFMADD231PS(x, y, z)
			return z
		}
		return o.value(e, x, y, p, q)
	}
	if !o.acc {
		e.keep(func(e *em) { o.value(e, e.v(), e.v(), e.v(), e.v()) })
	}
	if o.then != nil && e.avx512 {
		e.inFours(dst, a, n, 16, func(i int) vec { return e.load(operand.Mem{Base: a, Disp: 64 * i}) },
			func(x vec) vec { return o.body(e, x, nil, p, q) }, func(x, y vec) vec { return o.then(e, x, y) })
	}
	e.SUBQ(operand.U8(width), n)
	e.JLT(operand.LabelRef("tail"))
	e.Label("loop")
	r := body(func(base reg.Register) vec { return e.load(operand.Mem{Base: base}) })
	e.VMOVUPS(r, operand.Mem{Base: dst})
	e.ADDQ(operand.U8(4*width), dst)
	e.ADDQ(operand.U8(4*width), a)
	if o.two {
		e.ADDQ(operand.U8(4*width), b)
	}
	e.SUBQ(operand.U8(width), n)
	e.JGE(operand.LabelRef("loop"))
	e.Label("tail")
	e.ADDQ(operand.U8(width), n)
	e.JEQ(operand.LabelRef("end"))
	if e.avx512 {
		k := e.K()
		m := e.GP64()
		e.MOVQ(operand.U32(1), m)
		e.SHLXQ(n, m, m)
		e.DECQ(m)
		e.KMOVW(m.As32(), k)
		r = body(func(base reg.Register) vec {
			d := e.v()
			e.VMOVUPS_Z(operand.Mem{Base: base}, k, d)
			return d
		})
		e.VMOVUPS(r, k, operand.Mem{Base: dst})
	} else {
		at := e.GP64()
		e.LEAQ(static("tail", 32), at)
		e.SHLQ(operand.U8(2), n)
		e.SUBQ(n, at)
		k := e.YMM()
		e.VMOVUPS(operand.Mem{Base: at}, k)
		r = body(func(base reg.Register) vec {
			d := e.v()
			e.VMASKMOVPS(operand.Mem{Base: base}, k, d)
			return d
		})
		e.VMASKMOVPS(r, k, operand.Mem{Base: dst})
	}
	e.Label("end")
	if o.left {
		left := e.GP64()
		if e.avx512 {
			e.KMOVW(e.leftK, left.As32())
		} else {
			e.VMOVMSKPS(e.left, left.As32())
		}
		e.VZEROUPPER()
		e.Store(left, e.ReturnIndex(0))
	} else {
		e.VZEROUPPER()
	}
	e.RET()
}

func static(name string, disp int) operand.Mem {
	return operand.NewDataAddr(operand.NewStaticSymbol(name), disp)
}

// reduceSum adds n (a multiple of 32) elements, or their squared distances from
// mean, into out, eight partial sums: element i goes to partial sum i%8 by way
// of i%32.
func (e *em) reduceSum(squares bool) {
	name, sig := "sum", "func(out *float64, x *float32, n int)"
	if squares {
		name, sig = "sumSquares", "func(out *float64, x *float32, n int, mean float64)"
	}
	suffix, width := e.suffix(), 4
	if e.avx512 {
		width = 8
	}
	function(e.Context, name+suffix, sig, fmt.Sprintf("%s writes eight partial sums over n elements, a multiple of 32.", name+suffix))
	out := e.Load(e.Param("out"), e.GP64())
	x := e.Load(e.Param("x"), e.GP64())
	n := e.Load(e.Param("n"), e.GP64())
	var mean vec
	if squares {
		mean = e.v()
		addr, err := e.Param("mean").Resolve()
		if err != nil {
			panic(err)
		}
		e.VBROADCASTSD(addr.Addr, mean)
	}
	acc := make([]vec, 32/width)
	for i := range acc {
		acc[i] = e.zero()
	}
	e.Label("loop")
	for i := range acc {
		d := e.v()
		e.VCVTPS2PD(operand.Mem{Base: x, Disp: 4 * width * i}, d)
		if squares {
			e.VSUBPD(mean, d, d)
			e.VFMADD231PD(d, d, acc[i])
		} else {
			e.VADDPD(d, acc[i], acc[i])
		}
	}
	e.ADDQ(operand.U32(128), x)
	e.SUBQ(operand.U8(32), n)
	e.JNE(operand.LabelRef("loop"))
	per := 8 / width // registers for eight lanes
	add := func(i, j int) {
		for l := 0; l < per; l++ {
			e.VADDPD(acc[j*per+l], acc[i*per+l], acc[i*per+l])
		}
	}
	add(0, 1)
	add(2, 3)
	add(0, 2)
	for l := 0; l < per; l++ {
		e.VMOVUPD(acc[l], operand.Mem{Base: out, Disp: 8 * width * l})
	}
	e.VZEROUPPER()
	e.RET()
}

// reduceMax writes eight or sixteen partial maxima of n elements, a multiple of
// 32; a lane that met NaN is NaN.
func (e *em) reduceMax() {
	suffix, width := e.suffix(), 8
	if e.avx512 {
		width = 16
	}
	function(e.Context, "maxOf"+suffix, "func(out *float32, x *float32, n int)", "maxOf"+suffix+" writes 16 partial maxima of n elements, a multiple of 32.")
	out := e.Load(e.Param("out"), e.GP64())
	x := e.Load(e.Param("x"), e.GP64())
	n := e.Load(e.Param("n"), e.GP64())
	acc := make([]vec, 32/width)
	nan := make([]vec, 32/width) // holds NaN once one was met
	for i := range acc {
		acc[i] = e.k(math.Inf(-1))
		nan[i] = e.k(math.Inf(-1))
	}
	e.Label("loop")
	for i := range acc {
		v := e.load(operand.Mem{Base: x, Disp: 4 * width * i})
		// The maximum of x and NaN is x, in this order of operands: a NaN
		// is kept apart.
		if e.avx512 {
			k := e.K()
			e.VCMPPS(operand.U8(unord), v, v, k)
			e.VMOVAPS(v, k, nan[i])
		} else {
			m := e.v()
			e.VCMPPS(operand.U8(unord), v, v, m)
			e.VBLENDVPS(m, v, nan[i], nan[i])
		}
		e.VMAXPS(acc[i], v, acc[i])
	}
	e.ADDQ(operand.U32(128), x)
	e.SUBQ(operand.U8(32), n)
	e.JNE(operand.LabelRef("loop"))
	merge := func(i, j int) {
		acc[i] = e.max(acc[i], acc[j])
		nan[i] = e.pick(unord, nan[j], nan[j], nan[j], nan[i])
	}
	per := 16 / width
	for i := per; i < len(acc); i++ {
		merge(i%per, i)
	}
	for l := 0; l < per; l++ {
		r := e.pick(unord, nan[l], nan[l], nan[l], acc[l])
		e.VMOVUPS(r, operand.Mem{Base: out, Disp: 4 * width * l})
	}
	e.VZEROUPPER()
	e.RET()
}

func dispatch() string {
	var b strings.Builder
	b.WriteString(header)
	b.WriteString("// simdOnce runs an element-wise kernel in one call of assembly, if there is any\n// for this machine. All slices are as long as dst; those an op does not have\n// are ignored.\nfunc simdOnce(o op, dst, a, b []float32, p, q float32) outcome {\nn := len(dst)\nif isa == generic {\nreturn none\n}\nif n == 0 {\nreturn done\n}\n")
	b.WriteString("if isa == avx512 {\nswitch o {\n")
	emit := func(avx512 bool) {
		for i := range elemOps {
			o := &elemOps[i]
			args := "&dst[0], &a[0]"
			if o.two {
				args += ", &b[0]"
			}
			args += ", n"
			if o.p {
				args += ", p"
			}
			if o.q {
				args += ", q"
			}
			call := fmt.Sprintf("%s(%s)", o.fname(avx512), args)
			if o.left {
				fmt.Fprintf(&b, "case op%s:\nif %s != 0 {\nreturn leftovers\n}\n", o.name, call)
			} else {
				fmt.Fprintf(&b, "case op%s:\n%s\n", o.name, call)
			}
		}
	}
	emit(true)
	b.WriteString("default:\nreturn none\n}\nreturn done\n}\nswitch o {\n")
	emit(false)
	b.WriteString("default:\nreturn none\n}\nreturn done\n}\n")
	return b.String()
}
