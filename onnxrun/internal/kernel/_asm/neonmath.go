package main

import (
	"fmt"
	"math"

	"neon"
)

// The functions of elem.go for NEON, step by step the same.

type vr = neon.Reg

// neonFile is a file of assembly, nem a function of it.
type neonFile struct{ *neon.File }

type nem struct {
	*neon.Func
	left vr // lanes out of range so far
}

func newNeonFile(name string) *neonFile { return &neonFile{neon.NewFile("kernel", name)} }

func (f *neonFile) function(name, sig, doc string, emit func(e *nem)) {
	f.Function(name, sig, doc, func(e *neon.Func) { emit(&nem{Func: e}) })
}

func (e *nem) keep(body func(e *nem)) {
	e.Keep(func(dry *neon.Func) { body(&nem{Func: dry}) })
}

// c is a float constant in a register to read, i an integer one; k and ki are
// the same in one to overwrite.
func (e *nem) c(f float64) vr { return e.i(bits(f)) }
func (e *nem) k(f float64) vr { return e.ki(bits(f)) }
func (e *nem) i(u uint32) vr  { return e.Read(neon.Words(u)) }
func (e *nem) ki(u uint32) vr { return e.Fresh(neon.Words(u)) }

func (e *nem) add(a, b vr) vr { return e.Op("FADD.4S", a, b) }
func (e *nem) sub(a, b vr) vr { return e.Op("FSUB.4S", a, b) }
func (e *nem) mul(a, b vr) vr { return e.Op("FMUL.4S", a, b) }
func (e *nem) div(a, b vr) vr { return e.Op("FDIV.4S", a, b) }

// max and min are NaN where either is.
func (e *nem) max(a, b vr) vr { return e.Op("FMAX.4S", a, b) }
func (e *nem) min(a, b vr) vr { return e.Op("FMIN.4S", a, b) }

// mla adds a·b to d, mls takes it away; they overwrite and return d.
func (e *nem) mla(d, a, b vr) vr { e.Into("FMLA.4S", d, a, b); return d }
func (e *nem) mls(d, a, b vr) vr { e.Into("FMLS.4S", d, a, b); return d }

// horner returns the polynomial in x with the coefficients from the highest
// power down.
func (e *nem) horner(x vr, cs ...float64) vr {
	p := e.k(cs[0])
	for _, c := range cs[1:] {
		p = e.mla(e.k(c), p, x)
	}
	return p
}

func (e *nem) and(a, b vr) vr  { return e.Op("AND.16B", a, b) }
func (e *nem) or(a, b vr) vr   { return e.Op("ORR.16B", a, b) }
func (e *nem) xor(a, b vr) vr  { return e.Op("EOR.16B", a, b) }
func (e *nem) addi(a, b vr) vr { return e.Op("ADD.4S", a, b) }
func (e *nem) subi(a, b vr) vr { return e.Op("SUB.4S", a, b) }
func (e *nem) abs(a vr) vr     { return e.Op("FABS.4S", a) }
func (e *nem) neg(a vr) vr     { return e.Op("FNEG.4S", a) }

func (e *nem) shl(a vr, n uint32) vr {
	d := e.V()
	e.Word("SHL.4S", (32+n)<<16, d, a)
	return d
}

func (e *nem) sar(a vr, n uint32) vr {
	d := e.V()
	e.Word("SSHR.4S", (64-n)<<16, d, a)
	return d
}

func (e *nem) toInt(a vr) vr   { return e.Op("FCVTNS.4S", a) }
func (e *nem) toFloat(a vr) vr { return e.Op("SCVTF.4S", a) }
func (e *nem) round(a vr) vr   { return e.Op("FRINTN.4S", a) }

// where returns yes where the mask is on, else no; it overwrites the mask.
func (e *nem) where(mask, yes, no vr) vr { e.Into("BSL.16B", mask, yes, no); return mask }

// less returns yes where a < b, else no.
func (e *nem) less(a, b, yes, no vr) vr { return e.where(e.Op("FCMGT.4S", b, a), yes, no) }

// scale returns x·2ⁱ, by two factors: one cannot hold the exponents of denormal
// results.
func (e *nem) scale(x, i vr) vr {
	h := e.sar(i, 1)
	r := e.subi(i, h)
	x = e.mul(x, e.shl(e.addi(h, e.i(127)), 23))
	return e.mul(x, e.shl(e.addi(r, e.i(127)), 23))
}

// power returns 2ⁿ for integral n in [-126,127].
func (e *nem) power(n vr) vr { return e.shl(e.addi(e.toInt(n), e.i(127)), 23) }

// index makes of the lowest three bits of each lane what look reads: the numbers
// of the four bytes of an element.
func (e *nem) index(t vr) vr {
	d := e.ki(0x03020100)
	e.Into("MLA.4S", d, e.and(t, e.i(7)), e.i(0x04040404))
	return d
}

// look returns row[i] for each lane of an index.
func (e *nem) look(name string, row [8]float32, index vr) vr {
	return e.Op("TBL2.16B", e.Row(name, row), index)
}

// nearest returns t and x·c rounded to a multiple of unit, a power of two; t's
// lowest bits count it in units.
func (e *nem) nearest(x vr, c, unit float64) (t, n vr) {
	magic := 0x1.8p23 * unit
	t = e.mla(e.k(magic), x, e.c(c))
	return t, e.sub(t, e.c(magic))
}

func (e *nem) expParts(x vr) (n, em1 vr) {
	n = e.round(e.mul(x, e.c(math.Log2E)))
	r := e.Copy(x)
	e.mls(r, n, e.c(0.693359375))
	e.mls(r, n, e.c(-2.12194440e-4))
	p := e.horner(r, 1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
	q := e.mul(r, r)
	return n, e.mla(r, p, q)
}

func (e *nem) exp(x vr) vr {
	r, t, n := e.eighths(x, 89)
	e.mls(r, n, e.c(0.693359375))
	e.mls(r, n, e.c(-2.12194440e-4))
	at := e.index(t)
	p := e.look("powers", powers, at)
	y := e.mla(e.look("powersRest", powersRest, at), r, p)
	return e.scaleEighths(e.mla(p, y, e.horner(r, 1./24, 1./6, 0.5, 1)), t)
}

func (e *nem) eighths(x vr, most float64) (clamped, t, n vr) {
	x = e.max(e.min(x, e.c(most)), e.c(-105))
	t, n = e.nearest(x, math.Log2E, 1./8)
	return x, t, n
}

func (e *nem) scaleEighths(y, t vr) vr {
	return e.scale(y, e.sar(e.subi(t, e.i(bits(0x1.8p20))), 3))
}

func (e *nem) sigmoid(x vr) vr {
	r, t, n := e.eighths(x, 88)
	e.mls(r, n, e.c(math.Ln2))
	p := e.look("powers", powers, e.index(t))
	y := e.mul(r, p)
	y = e.scaleEighths(e.mla(p, y, e.horner(r, sigmoidQ3, sigmoidQ2, 1)), t)
	return e.div(y, e.add(y, e.c(1)))
}

func (e *nem) gelu(x vr, name string, rows *[7][8]float32) vr {
	a := e.min(e.abs(x), e.c(7*geluStep))
	t, n := e.nearest(a, 1/geluStep, 1)
	h := e.mls(e.Copy(a), n, e.c(geluStep))
	at := e.index(t)
	p := e.look(name+"6", rows[6], at)
	for i := 5; i >= 0; i-- {
		p = e.mla(e.look(fmt.Sprint(name, i), rows[i], at), p, h)
	}
	return e.mls(e.max(x, e.Zero()), a, p)
}

func (e *nem) tanh(x vr) vr {
	z := e.mul(x, x)
	p := e.horner(z, -5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1)
	small := e.mla(e.Copy(x), e.mul(p, z), x)
	a := e.abs(x)
	t := e.exp(e.add(a, a))
	big := e.sub(e.c(1), e.div(e.c(2), e.add(t, e.c(1))))
	big = e.or(big, e.and(x, e.i(sign)))
	return e.less(a, e.c(0.625), small, big)
}

func (e *nem) expm1(x vr) vr {
	x = e.max(e.min(x, e.Zero()), e.c(-30))
	n, m := e.expParts(x)
	s := e.power(n)
	return e.mla(e.sub(s, e.c(1)), m, s)
}

func (e *nem) logParts(x vr) (i, f vr) {
	i = e.sar(e.subi(x, e.i(bits(2./3))), 23)
	m := e.subi(x, e.shl(i, 23))
	return e.toFloat(i), e.sub(m, e.c(1))
}

func (e *nem) logPoly(i, f vr) vr {
	s := e.mul(f, f)
	r := e.mla(e.k(0.140889585), e.c(-0.130187988), f)
	t := e.mla(e.k(0.139809534), e.c(-0.121489584), f)
	r = e.mla(t, r, s)
	for _, c := range []float64{-0.166845024, 0.200121149, -0.249996364, 0.333331943, -0.5} {
		r = e.mla(e.k(c), r, f)
	}
	r = e.mla(e.Copy(f), r, s)
	return e.mla(r, e.c(math.Ln2), i)
}

func (e *nem) log(x vr) vr {
	// Denormals are scaled into the normal range.
	tiny := e.Op("FCMGT.4S", e.c(0x1p-126), x)
	shift := e.and(tiny, e.c(-23))
	i, f := e.logParts(e.where(tiny, e.mul(x, e.c(0x1p23)), x))
	r := e.logPoly(e.add(i, shift), f)
	r = e.less(x, e.c(math.Inf(1)), r, x) // +Inf and NaN
	r = e.less(x, e.c(0), e.c(math.NaN()), r)
	return e.where(e.Op("FCMEQ.4S", x, e.c(0)), e.c(math.Inf(-1)), r)
}

func (e *nem) softplus(x vr) vr {
	t := e.exp(e.or(x, e.i(sign)))
	u := e.add(t, e.c(1))
	lost := e.div(e.sub(t, e.sub(u, e.c(1))), u)
	i, f := e.logParts(u)
	l := e.add(e.logPoly(i, f), lost)
	return e.add(e.max(x, e.Zero()), l)
}

func (e *nem) erf(x vr) vr {
	t := e.min(e.abs(x), e.c(4))
	s := e.mul(x, x)
	small := e.horner(s, -5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1)
	small = e.mla(e.Copy(x), small, x)
	r := e.mla(e.k(3.83197126e-4), e.c(-1.72853470e-5), t)
	u := e.mla(e.k(2.42546219e-2), e.c(-3.88396438e-3), t)
	r = e.mla(u, r, e.mul(t, t))
	for _, c := range []float64{-1.06777877e-1, -6.34846687e-1, -1.28717512e-1} {
		r = e.mla(e.k(c), r, t)
	}
	n, m := e.expParts(e.mla(e.neg(t), r, t))
	sc := e.power(n)
	big := e.sub(e.c(1), e.mla(e.Copy(sc), m, sc))
	big = e.or(big, e.and(x, e.i(sign)))
	return e.less(t, e.c(0.927734375), small, big)
}

func (e *nem) sincos(x vr, cosine bool) vr {
	n := e.round(e.mul(x, e.c(2/math.Pi)))
	r := e.Copy(x)
	for _, c := range []float64{1.57079637, -4.37113883e-08, -1.71512451e-15} {
		e.mls(r, n, e.c(c))
	}
	s := e.mul(r, r)
	sp := e.horner(s, 2.86567956e-6, -1.98559923e-4, 8.33338592e-3, -1.66666672e-1)
	sp = e.mla(e.Copy(r), sp, e.mul(s, r))
	cp := e.horner(s, 2.44677067e-5, -1.38877297e-3, 4.16666567e-2, -0.5, 1)
	q := e.toInt(n)
	if cosine {
		q = e.addi(q, e.i(1))
	}
	v := e.where(e.sar(e.shl(q, 31), 31), cp, sp)
	v = e.xor(v, e.and(e.shl(q, 30), e.i(sign)))
	// Too large for the reduction: passed through, and reported.
	m := e.Op("FCMGT.4S", e.abs(x), e.c(1e4))
	e.Into("ORR.16B", e.left, e.left, m)
	return e.where(m, x, v)
}

// neonBodies are the bodies of elemOps.
var neonBodies = map[string]func(e *nem, x, y, p, q vr) vr{
	"Add":        func(e *nem, x, y, p, q vr) vr { return e.add(x, y) },
	"Sub":        func(e *nem, x, y, p, q vr) vr { return e.sub(x, y) },
	"Mul":        func(e *nem, x, y, p, q vr) vr { return e.mul(x, y) },
	"Div":        func(e *nem, x, y, p, q vr) vr { return e.div(x, y) },
	"Max":        func(e *nem, x, y, p, q vr) vr { return e.max(x, y) },
	"Min":        func(e *nem, x, y, p, q vr) vr { return e.min(x, y) },
	"Axpy":       func(e *nem, x, y, p, q vr) vr { return e.mla(y, x, p) },
	"AddScalar":  func(e *nem, x, y, p, q vr) vr { return e.add(x, p) },
	"RsubScalar": func(e *nem, x, y, p, q vr) vr { return e.sub(p, x) },
	"MulScalar":  func(e *nem, x, y, p, q vr) vr { return e.mul(x, p) },
	"DivScalar":  func(e *nem, x, y, p, q vr) vr { return e.div(x, p) },
	"RdivScalar": func(e *nem, x, y, p, q vr) vr { return e.div(p, x) },
	"MaxScalar":  func(e *nem, x, y, p, q vr) vr { return e.max(x, p) },
	"MinScalar":  func(e *nem, x, y, p, q vr) vr { return e.min(x, p) },
	"ScaleShift": func(e *nem, x, y, p, q vr) vr { return e.mla(e.Copy(q), x, p) },
	"Neg":        func(e *nem, x, y, p, q vr) vr { return e.neg(x) },
	"Abs":        func(e *nem, x, y, p, q vr) vr { return e.abs(x) },
	"Sqrt":       func(e *nem, x, y, p, q vr) vr { return e.Op("FSQRT.4S", x) },
	"Floor":      func(e *nem, x, y, p, q vr) vr { return e.Op("FRINTM.4S", x) },
	"Ceil":       func(e *nem, x, y, p, q vr) vr { return e.Op("FRINTP.4S", x) },
	"Round":      func(e *nem, x, y, p, q vr) vr { return e.round(x) },
	"Relu":       func(e *nem, x, y, p, q vr) vr { return e.max(x, e.c(0)) },
	"LeakyRelu":  func(e *nem, x, y, p, q vr) vr { return e.less(x, e.c(0), e.mul(x, p), x) },
	"Clip": func(e *nem, x, y, p, q vr) vr {
		x = e.less(x, p, p, x)
		return e.less(q, x, q, x)
	},
	"Exp":      func(e *nem, x, y, p, q vr) vr { return e.exp(x) },
	"ExpSub":   func(e *nem, x, y, p, q vr) vr { return e.exp(e.sub(x, p)) },
	"Log":      func(e *nem, x, y, p, q vr) vr { return e.log(x) },
	"Sigmoid":  func(e *nem, x, y, p, q vr) vr { return e.sigmoid(x) },
	"SiLU":     func(e *nem, x, y, p, q vr) vr { return e.mul(x, e.sigmoid(x)) },
	"Tanh":     func(e *nem, x, y, p, q vr) vr { return e.tanh(x) },
	"Elu":      func(e *nem, x, y, p, q vr) vr { return e.less(e.c(0), x, x, e.mul(e.expm1(x), p)) },
	"Softplus": func(e *nem, x, y, p, q vr) vr { return e.softplus(x) },
	"Erf":      func(e *nem, x, y, p, q vr) vr { return e.erf(x) },
	"Gelu":     func(e *nem, x, y, p, q vr) vr { return e.gelu(x, "gelu", &geluRows) },
	"GeluTanh": func(e *nem, x, y, p, q vr) vr { return e.gelu(x, "geluTanh", &geluTanhRows) },
	"Sin":      func(e *nem, x, y, p, q vr) vr { return e.sincos(x, false) },
	"Cos":      func(e *nem, x, y, p, q vr) vr { return e.sincos(x, true) },
}
