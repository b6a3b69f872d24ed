package main

import (
	"fmt"
	"math"
)

// The kernels of softmax.go and layernorm.go for NEON: sixteen lanes at a time,
// reduced in the same order. The last n%16 elements of a row come from the
// frame, behind them what changes neither a maximum nor a sum.

func softmaxNEON(dir string) {
	f := newNeonFile("softmax")
	f.expRows()
	f.Write(dir)
}

func layernormNEON(dir string) {
	f := newNeonFile("layernorm")
	f.normRows()
	f.Write(dir)
}

// some moves n < 16 elements; it uses R10 and R11 and moves the pointers on.
func (e *nem) some(label, n, from, to string) {
	for _, bit := range []int{3, 2} {
		e.Branch(fmt.Sprintf("TBZ $%d, %s", bit, n), fmt.Sprint(label, bit))
		for range bit - 1 {
			e.Ins("LDP.P 16(%s), (R10, R11)", from)
			e.Ins("STP.P (R10, R11), 16(%s)", to)
		}
		e.Label(fmt.Sprint(label, bit))
	}
	e.few(label, n, from, to)
}

// steps runs body for each sixteen elements, R9 of them, and on the frame at R12
// if R8 are left over.
func (e *nem) steps(label string, body func(), tail func()) {
	e.Ins("MOVD R9, R14")
	e.Branch("CBZ R14", label+"tail")
	e.Label(label)
	body()
	e.Ins("SUBS $1, R14, R14")
	e.Branch("BNE", label)
	e.Label(label + "tail")
	e.Branch("CBZ R8", label+"done")
	tail()
	e.Label(label + "done")
}

// fold reduces four registers: lane l with lane l+8, then +4, +2, +1.
func (e *nem) fold(name string, v [4]vr) vr {
	x := e.Op(name, e.Op(name, v[0], v[2]), e.Op(name, v[1], v[3]))
	x = e.Op(name, x, e.upper(x))
	return e.Op(name, x, e.Op("TRN2.4S", x, x))
}

// upper exchanges the halves of a register.
func (e *nem) upper(x vr) vr {
	return e.Op("EXT8.16B", x, x)
}

// expRows: see em.expRows.
func (f *neonFile) expRows() {
	const name = "expRowsNEON"
	f.function(name, "func(dst, src, top, sum *float32, rows, n, ldd, lds int, scale float32)", name+" works on rows ≥ 1 rows of n ≥ 1 elements, ldd and lds elements apart.", func(e *nem) {
		e.Frame = 64
		e.Args("dst", "src", "top", "sum", "rows", "n", "ldd", "lds")
		scale := e.Broadcast("scale")
		e.Ins("LSL $2, R6, R6")
		e.Ins("LSL $2, R7, R7")
		e.Ins("AND $15, R5, R8")
		e.Ins("LSR $4, R5, R9")
		e.Ins("MOVD $buf-64(SP), R12")
		var shift vr
		exp := func(e *nem, x vr) vr { // of what is never above 0, but for rounding
			x = e.max(e.mla(e.Copy(shift), x, scale), e.c(-105))
			n, m := e.expParts(x)
			return e.scale(e.add(m, e.c(1)), e.toInt(n))
		}
		e.keep(func(e *nem) { exp(e, e.V()) })
		lowest := e.k(math.Inf(-1))
		e.Label("row")
		var most, total [4]vr
		for p := range most {
			most[p] = e.Copy(lowest)
		}
		maxima := func(base string) {
			for p := range most { // a NaN comes back with the exponentials
				e.Into("FMAXNM.4S", most[p], most[p], e.Load(base, 16*p))
			}
		}
		e.Ins("MOVD R1, R13")
		e.steps("max", func() {
			maxima("R13")
			e.Ins("ADD $64, R13, R13")
		}, func() {
			for p := range most {
				e.Store(lowest, "R12", 16*p)
			}
			e.Ins("MOVD R12, R15")
			e.some("in", "R8", "R13", "R15")
			maxima("R12")
		})
		m := e.mul(e.fold("FMAXNM.4S", most), scale)
		old := e.V()
		e.Ins("FMOVS (R2), F%d", old)
		m = e.Op("FMAXNM.4S", m, old)
		e.Ins("FMOVS.P F%d, 4(R2)", m)
		shift = e.neg(e.Op("DUP.4S", m))

		for p := range total {
			total[p] = e.Zero()
		}
		exponentials := func(from, to string) {
			for p := range total {
				x := exp(e, e.Load(from, 16*p))
				e.Store(x, to, 16*p)
				e.Into("FADD.4S", total[p], total[p], x)
			}
		}
		e.Ins("MOVD R1, R13")
		e.Ins("MOVD R0, R15")
		e.steps("exp", func() {
			exponentials("R13", "R15")
			e.Ins("ADD $64, R13, R13")
			e.Ins("ADD $64, R15, R15")
		}, func() {
			exponentials("R12", "R12") // of -Inf it is 0
			e.Ins("MOVD R12, R13")
			e.some("out", "R8", "R13", "R15")
		})
		e.Ins("FMOVS.P F%d, 4(R3)", e.fold("FADD.4S", total))
		e.Ins("ADD R6, R0, R0")
		e.Ins("ADD R7, R1, R1")
		e.Ins("SUBS $1, R4, R4")
		e.Branch("BNE", "row")
		e.Ins("RET")
	})
}

// normRows: see em.normRows.
func (f *neonFile) normRows() {
	const name = "normRowsNEON"
	f.function(name, "func(dst, src, scale, bias, mean, inverse *float32, rows, n int, over, eps float64, centred int)", name+" works on rows ≥ 1 rows of n ≥ 1 elements; bias, mean and inverse may be nil.", func(e *nem) {
		e.Frame = 192 // the ends of a row, of scale and of bias
		e.Args("dst", "src", "scale", "bias", "mean", "inverse", "rows", "n")
		e.Ins("AND $15, R7, R8")
		e.Ins("LSR $4, R7, R9")
		e.Ins("MOVD $buf-192(SP), R12")
		e.Ins("MOVD %s, R20", e.Arg("centred"))
		e.Ins("SUB R8, R7, R14")
		for i, base := range []string{"R2", "R3"} {
			label := fmt.Sprint("end", i)
			e.Branch("CBZ "+base, label)
			e.Ins("ADD R14<<2, %s, R13", base)
			e.Ins("ADD $%d, R12, R15", 64*(i+1))
			e.some(label, "R8", "R13", "R15")
			e.Label(label)
		}
		number := func(name string) vr {
			d := e.V()
			e.Ins("FMOVD %s, F%d", e.Arg(name), d)
			return d
		}
		over, eps := number("over"), number("eps")

		e.Label("row")
		single, first := e.Zero(), e.Zero() // x[0] in all lanes; 0 if there is no mean to take away
		e.Branch("CBZ R20", "sums")
		e.Ins("FMOVS (R1), F%d", single)
		e.Into("DUP.4S", single, single)
		e.Into("FCVTL.2D", first, single)
		e.Label("sums")
		var sum, squares [8]vr
		for p := range sum {
			sum[p], squares[p] = e.Zero(), e.Zero()
		}
		add := func(base string) {
			for i := range 4 {
				for h, d := range e.wide(base, 16*i) {
					e.Into("FSUB.2D", d, d, first)
					e.Into("FADD.2D", sum[2*i+h], sum[2*i+h], d)
					e.Into("FMLA.2D", squares[2*i+h], d, d)
				}
			}
		}
		e.Ins("MOVD R1, R13")
		e.steps("sum", func() {
			add("R13")
			e.Ins("ADD $64, R13, R13")
		}, func() {
			for p := range 4 {
				e.Store(single, "R12", 16*p)
			}
			e.Ins("MOVD R12, R15")
			e.some("in", "R8", "R13", "R15")
			add("R12")
		})
		s, q := e.fold64(sum), e.fold64(squares)
		e.Ins("FMULD F%d, F%d, F%d", over, s, s)
		e.Ins("FMULD F%d, F%d, F%d", over, q, q)
		e.Branch("CBNZ R20", "centred")
		e.Ins("VEOR V%[1]d.B16, V%[1]d.B16, V%[1]d.B16", s)
		e.Label("centred")
		middle, none, one, rest, near, inverse, plus := e.V(), e.Zero(), e.V(), e.V(), e.V(), e.V(), e.V()
		e.Ins("FADDD F%d, F%d, F%d", s, first, middle)
		e.Ins("FMSUBD F%[1]d, F%[2]d, F%[1]d, F%[2]d", s, q) // q - s·s
		e.Ins("FMAXD F%d, F%d, F%d", none, q, q)             // NaN stays
		e.Ins("FADDD F%d, F%d, F%d", eps, q, q)
		e.Ins("FSQRTD F%d, F%d", q, q)
		e.Ins("FMOVD $1.0, F%d", one)
		e.Ins("FDIVD F%d, F%d, F%d", q, one, q)
		e.Ins("FCVTDS F%d, F%d", middle, near)
		e.Ins("FCVTSD F%d, F%d", near, rest)
		e.Ins("FSUBD F%d, F%d, F%d", middle, rest, rest)
		e.Ins("FMULD F%d, F%d, F%d", q, rest, rest)
		e.Ins("FCVTDS F%d, F%d", rest, plus)
		e.Ins("FCVTDS F%d, F%d", q, inverse)
		for base, v := range []vr{near, inverse} {
			label := fmt.Sprint("none", base)
			e.Branch(fmt.Sprint("CBZ R", 4+base), label)
			e.Ins("FMOVS.P F%d, 4(R%d)", v, 4+base)
			e.Label(label)
		}
		for _, v := range []vr{near, inverse, plus} {
			e.Into("DUP.4S", v, v)
		}
		// z = (x - near)·inverse + plus, then by the scale, to the bias.
		apply := func(from, scale, bias, to string, at int) {
			for p := range 4 {
				x := e.sub(e.Load(from, 16*p), near)
				x = e.mla(e.Copy(plus), x, inverse)
				w := e.Load(scale, at+16*p)
				if bias == "" {
					x = e.mul(x, w)
				} else {
					x = e.mla(e.Load(bias, 2*at+16*p), x, w)
				}
				e.Store(x, to, 16*p)
			}
		}
		e.Ins("MOVD R1, R13")
		e.Ins("MOVD R0, R15")
		e.Ins("MOVD R2, R21")
		e.Ins("MOVD R3, R22")
		e.Branch("CBZ R3", "plain")
		for _, way := range []struct{ label, bias, end string }{{"shifted", "R22", "R12"}, {"plain", "", ""}} {
			if way.bias == "" {
				e.Label("plain")
			}
			e.steps(way.label+"loop", func() {
				apply("R13", "R21", way.bias, "R15", 0)
				for _, r := range []int{13, 15, 21, 22} {
					e.Ins("ADD $64, R%[1]d, R%[1]d", r)
				}
			}, func() {
				apply("R12", "R12", way.end, "R12", 64)
				e.Ins("MOVD R12, R13")
				e.some(way.label, "R8", "R13", "R15")
			})
			if way.bias != "" {
				e.Branch("B", "next")
			}
		}
		e.Label("next")
		e.Ins("ADD R7<<2, R0, R0")
		e.Ins("ADD R7<<2, R1, R1")
		e.Ins("SUBS $1, R6, R6")
		e.Branch("BNE", "row")
		e.Ins("RET")
	})
}

// fold64 adds up 16 lanes of float64: lane l and lane l+8, then +4, +2, +1.
func (e *nem) fold64(v [8]vr) vr {
	for n := 4; n > 0; n /= 2 {
		for i := range n {
			v[i] = e.Op("FADD.2D", v[i], v[i+n])
		}
	}
	return e.Op("FADDP.2D", v[0], v[0])
}
