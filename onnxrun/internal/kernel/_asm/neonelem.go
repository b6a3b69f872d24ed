package main

import (
	"fmt"
	"math"
	"strings"
)

func (o *elemOp) neonName() string {
	return strings.ToLower(o.name[:1]) + o.name[1:] + "NEON"
}

// elemNEON writes the element-wise kernels and the reductions.
func elemNEON(dir string) {
	f := newNeonFile("elem")
	for i := range elemOps {
		f.elementwise(&elemOps[i])
	}
	f.reduceSum(false)
	f.reduceSum(true)
	f.reduceMax()
	f.scaleShiftLanes("scaleShiftLanesNEON", func(e *nem, x vr) vr { return x })
	f.scaleShiftLanes("scaleShiftSiLULanesNEON", func(e *nem, x vr) vr { return e.mul(x, e.sigmoid(x)) })
	f.momentSums()
	f.Write(dir)
	write(dir, "elem_dispatch_arm64.go", gofmt(elemDispatchNEON()))
}

// elementwise writes dst[i] = body(a[i], b[i]) over n ≥ 1 elements. The last
// n%4 go through the same loop once more, from and to the frame.
func (f *neonFile) elementwise(o *elemOp) {
	sig, args := "func(dst, a *float32, n int", []string{"dst", "a", "n"}
	if o.two {
		sig, args = "func(dst, a, b *float32, n int", []string{"dst", "a", "n", "b"}
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
	name := o.neonName()
	f.function(name, sig, fmt.Sprintf("%s is op%s over n ≥ 1 elements.", name, o.name), func(e *nem) {
		const dst, a, n, b, rest, home, buf = "R0", "R1", "R2", "R3", "R4", "R5", "R6"
		e.Frame = 48
		e.Args(args...)
		var p, q vr
		if o.p {
			p = e.Broadcast("p")
		}
		if o.q {
			q = e.Broadcast("q")
		}
		if o.left {
			e.left = e.Zero()
		}
		body := neonBodies[o.name]
		if o.acc {
			body = func(e *nem, x, y, p, q vr) vr { return e.mla(e.Load(dst, 0), x, y) }
		}
		e.keep(func(e *nem) { body(e, e.V(), e.V(), e.V(), e.V()) })
		e.Ins("AND $3, %s, %s", n, rest)
		e.Ins("LSR $2, %[1]s, %[1]s", n)
		e.Ins("MOVD ZR, %s", home)
		e.Branch("CBZ "+n, "tail")
		e.Label("loop")
		x := e.V()
		e.Ins("FMOVQ.P 16(%s), F%d", a, x)
		var y vr
		if o.two {
			y = e.V()
			e.Ins("FMOVQ.P 16(%s), F%d", b, y)
		}
		e.Ins("FMOVQ.P F%d, 16(%s)", body(e, x, y, p, q), dst)
		e.Ins("SUBS $1, %[1]s, %[1]s", n)
		e.Branch("BNE", "loop")
		e.Label("tail")
		e.Branch("CBNZ "+home, "back")
		e.Branch("CBZ "+rest, "end")
		e.Ins("MOVD $buf-48(SP), %s", buf)
		for i := range 3 {
			e.Ins("STP (ZR, ZR), %d(%s)", 16*i, buf)
		}
		e.Ins("MOVD %s, %s", dst, home)
		for i, r := range []string{dst, a, b}[:len(args)-1] {
			e.Ins("ADD $%d, %s, R7", 16*i, buf)
			e.few(fmt.Sprint("from", i), rest, r, "R7")
			e.Ins("ADD $%d, %s, %s", 16*i, buf, r)
		}
		e.Ins("MOVD $1, %s", n)
		e.Branch("B", "loop")
		e.Label("back")
		e.few("to", rest, buf, home)
		e.Label("end")
		if o.left {
			e.Ins("VMOV V%d.D[0], R7", e.left)
			e.Ins("VMOV V%d.D[1], R8", e.left)
			e.Ins("ORR R8, R7, R7")
			e.Ins("MOVD R7, %s", e.Arg("left"))
		}
		e.Ins("RET")
	})
}

// few moves n < 4 elements; it uses R10 and moves the pointers on.
func (e *nem) few(label, n, from, to string) {
	e.Branch("TBZ $1, "+n, label+"1")
	e.Ins("MOVD.P 8(%s), R10", from)
	e.Ins("MOVD.P R10, 8(%s)", to)
	e.Label(label + "1")
	e.Branch("TBZ $0, "+n, label+"0")
	e.Ins("MOVWU.P 4(%s), R10", from)
	e.Ins("MOVW.P R10, 4(%s)", to)
	e.Label(label + "0")
}

// wide converts the vector at bytes after base to two vectors of float64.
func (e *nem) wide(base string, at int) [2]vr {
	x := e.Load(base, at)
	return [2]vr{e.Op("FCVTL.2D", x), e.Op("FCVTL2.2D", x)}
}

// reduceSum adds up 32 lanes of float64, or their squared distances from mean;
// see em.reduceSum.
func (f *neonFile) reduceSum(squares bool) {
	name, sig := "sumNEON", "func(out *float64, x *float32, n int)"
	if squares {
		name, sig = "sumSquaresNEON", "func(out *float64, x *float32, n int, mean float64)"
	}
	f.function(name, sig, name+" writes eight partial sums over n elements, a multiple of 32.", func(e *nem) {
		e.Args("out", "x", "n")
		var mean vr
		if squares {
			mean = e.V()
			e.Ins("FMOVD %s, F%d", e.Arg("mean"), mean)
			e.Into("DUP.2D", mean, mean)
		}
		var acc [16]vr
		for i := range acc {
			acc[i] = e.Zero()
		}
		e.Label("loop")
		for i := range 8 {
			for h, d := range e.wide("R1", 16*i) {
				e.accumulate(acc[2*i+h], d, mean, squares)
			}
		}
		e.Ins("ADD $128, R1, R1")
		e.Ins("SUBS $32, R2, R2")
		e.Branch("BNE", "loop")
		for _, pair := range [][2]int{{0, 1}, {2, 3}, {0, 2}} {
			for l := range 4 {
				e.Into("FADD.2D", acc[4*pair[0]+l], acc[4*pair[0]+l], acc[4*pair[1]+l])
			}
		}
		for l := range 4 {
			e.Store(acc[l], "R0", 16*l)
		}
		e.Ins("RET")
	})
}

// accumulate adds d to acc, or the square of its distance from mean.
func (e *nem) accumulate(acc, d, mean vr, squares bool) {
	if squares {
		d = e.Op("FSUB.2D", d, mean)
		e.Into("FMLA.2D", acc, d, d)
	} else {
		e.Into("FADD.2D", acc, acc, d)
	}
}

func (f *neonFile) reduceMax() {
	f.function("maxOfNEON", "func(out *float32, x *float32, n int)", "maxOfNEON writes 16 partial maxima of n elements, a multiple of 32.", func(e *nem) {
		e.Args("out", "x", "n")
		e.Constants()
		var acc [4]vr
		for i := range acc {
			acc[i] = e.k(math.Inf(-1))
		}
		e.Label("loop")
		for i := range 8 {
			e.Into("FMAX.4S", acc[i%4], acc[i%4], e.Load("R1", 16*i))
		}
		e.Ins("ADD $128, R1, R1")
		e.Ins("SUBS $32, R2, R2")
		e.Branch("BNE", "loop")
		for i := range acc {
			e.Store(acc[i], "R0", 16*i)
		}
		e.Ins("RET")
	})
}

// scaleShiftLanes writes body(src·scale + shift); see em.scaleShiftLanes.
func (f *neonFile) scaleShiftLanes(name string, body func(e *nem, x vr) vr) {
	f.function(name, "func(dst, src, scale, shift *float32, n int)", name+" works on n ≥ 1 pixels of 16 lanes.", func(e *nem) {
		e.Args("dst", "src", "scale", "shift", "n")
		var p, q [4]vr
		for i := range p {
			p[i], q[i] = e.Load("R2", 16*i), e.Load("R3", 16*i)
		}
		e.keep(func(e *nem) { body(e, e.V()) })
		e.Label("loop")
		for i := range p {
			x := e.Load("R1", 16*i)
			e.Store(body(e, e.mla(e.Copy(q[i]), x, p[i])), "R0", 16*i)
		}
		e.Ins("ADD $64, R1, R1")
		e.Ins("ADD $64, R0, R0")
		e.Ins("SUBS $1, R4, R4")
		e.Branch("BNE", "loop")
		e.Ins("RET")
	})
}

// momentSums: see em.momentSums. Four lanes at a time.
func (f *neonFile) momentSums() {
	const name = "momentSumsNEON"
	f.function(name, "func(out *float64, x *float32, n int, shift *float32)", name+" writes the sums of 16 lanes over n ≥ 1 pixels, and then those of the squares.", func(e *nem) {
		e.Args("out", "x", "n", "shift")
		for at := 0; at < 64; at += 16 {
			label := func(s string) string { return fmt.Sprint(s, at) }
			e.Ins("ADD $%d, R1, R4", at)
			e.Ins("MOVD R2, R5")
			shift := e.Load("R3", at)
			var all [2][2]vr
			var part [2][momentsChains]vr
			for k := range all {
				all[k] = [2]vr{e.Zero(), e.Zero()}
				for c := range part[k] {
					part[k][c] = e.Zero()
				}
			}
			pixel := func(c int) {
				d := e.sub(e.Load("R4", 64*c), shift)
				e.Into("FADD.4S", part[0][c], part[0][c], d)
				e.mla(part[1][c], d, d)
			}
			e.Label(label("chunk"))
			for k := range part {
				for _, v := range part[k] {
					e.Into("EOR.16B", v, v, v)
				}
			}
			e.Ins("MOVD $%d, R6", momentsChunk/momentsChains)
			e.Label(label("four"))
			e.Ins("SUBS $%d, R5, R5", momentsChains)
			e.Branch("BLT", label("some"))
			for c := range momentsChains {
				pixel(c)
			}
			e.Ins("ADD $%d, R4, R4", 64*momentsChains)
			e.Ins("SUBS $1, R6, R6")
			e.Branch("BNE", label("four"))
			e.Branch("B", label("fold"))
			e.Label(label("some"))
			e.Ins("ADDS $%d, R5, R5", momentsChains)
			for c := range momentsChains - 1 {
				e.Branch("BEQ", label("fold"))
				pixel(c)
				e.Ins("SUBS $1, R5, R5")
			}
			e.Label(label("fold"))
			for k, v := range part {
				x := e.add(e.add(v[0], v[1]), e.add(v[2], v[3]))
				e.Into("FADD.2D", all[k][0], all[k][0], e.Op("FCVTL.2D", x))
				e.Into("FADD.2D", all[k][1], all[k][1], e.Op("FCVTL2.2D", x))
			}
			e.Branch("CBNZ R5", label("chunk"))
			for k := range all {
				for h, v := range all[k] {
					e.Store(v, "R0", 128*k+2*at+16*h)
				}
			}
		}
		e.Ins("RET")
	})
}

func elemDispatchNEON() string {
	var b strings.Builder
	b.WriteString(header)
	b.WriteString("// simdOnce runs an element-wise kernel in one call of assembly, if there is any\n// for this machine. All slices are as long as dst; those an op does not have\n// are ignored.\nfunc simdOnce(o op, dst, a, b []float32, p, q float32) outcome {\nn := len(dst)\nif isa != neon {\nreturn none\n}\nif n == 0 {\nreturn done\n}\nswitch o {\n")
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
		call := fmt.Sprintf("%s(%s)", o.neonName(), args)
		if o.left {
			call = fmt.Sprintf("if %s != 0 {\nreturn leftovers\n}", call)
		}
		fmt.Fprintf(&b, "case op%s:\n%s\n", o.name, call)
	}
	b.WriteString("default:\nreturn none\n}\nreturn done\n}\n")
	return b.String()
}
