package main

import "fmt"

// The transforms of wino.go for NEON, in the same groups: a vector is a quarter
// of a pixel, and a loop of four makes a whole one.

func winoNEON(dir string) {
	f := newNeonFile("wino")
	for _, size := range []int{2, 4} {
		f.winoIn(size)
		f.winoOut(size)
		f.winoWeights(size)
	}
	f.Write(dir)
}

// inRows computes the given rows of Bᵀd.
func (e *nem) inRows(size int, rows []int, d func(i int) vr) []vr {
	if size == 2 {
		switch rows[0] {
		case 0:
			return []vr{e.sub(d(0), d(2))}
		case 1:
			return []vr{e.add(d(2), d(1)), e.sub(d(2), d(1))}
		}
		return []vr{e.sub(d(1), d(3))}
	}
	end := func(i int) []vr {
		return []vr{e.mla(e.add(d(i), d(i+4)), d(i+2), e.c(-2.5))}
	}
	pair := func(k, p float64) []vr {
		even, odd := e.mla(e.Copy(d(4)), d(2), e.c(k)), e.mla(e.Copy(d(3)), d(1), e.c(k))
		plus := e.mla(e.Copy(even), odd, e.c(p))
		return []vr{plus, e.mls(even, odd, e.c(p))}
	}
	switch rows[0] {
	case 0:
		return end(0)
	case 1:
		return pair(-2, winoA)
	case 3:
		return pair(-.5, winoB)
	}
	return end(1)
}

// outRows computes the given rows of Aᵀm.
func (e *nem) outRows(size int, rows []int, m func(i int) vr) []vr {
	if size == 2 {
		if rows[0] == 0 {
			return []vr{e.mla(e.Copy(m(0)), e.add(m(1), m(2)), e.c(.5))}
		}
		return []vr{e.sub(e.mul(e.sub(m(1), m(2)), e.c(.5)), m(3))}
	}
	if rows[0] == 0 {
		s1, s2 := e.add(m(1), m(2)), e.add(m(3), m(4))
		y0 := e.mla(e.mla(e.Copy(m(0)), s1, e.c(winoP)), s2, e.c(winoQ))
		return []vr{y0, e.mla(e.mul(s1, e.c(.5*winoP)), s2, e.c(2*winoQ))}
	}
	d1, d2 := e.sub(m(1), m(2)), e.sub(m(3), m(4))
	y1 := e.mla(e.mul(d1, e.c(winoP*winoA)), d2, e.c(winoQ*winoB))
	return []vr{y1, e.mla(e.mla(e.Copy(m(5)), d1, e.c(.5*winoP*winoA)), d2, e.c(2*winoQ*winoB))}
}

// weightRows computes the given rows of Gg, but for what winoP and winoQ are for.
func (e *nem) weightRows(size int, rows []int, g func(i int) vr) []vr {
	if len(rows) == 1 {
		return []vr{g(min(rows[0], 2))}
	}
	if size == 2 {
		s := e.add(g(0), g(2))
		return []vr{e.add(s, g(1)), e.sub(s, g(1))}
	}
	k, p := .5, winoA
	if rows[0] == 3 {
		k, p = 2, winoB
	}
	plus := e.mla(e.Copy(g(0)), g(2), e.c(k))
	minus := e.Copy(plus)
	return []vr{e.mla(plus, g(1), e.c(p)), e.mls(minus, g(1), e.c(p))}
}

// columns computes the given rows of n columns: column by column from n lines,
// step apart from R1 on, each column next further than the one before. R8 and
// what follows walk along the lines.
func (e *nem) columns(n int, step, next string, rows func(d func(i int) vr) []vr) [][]vr {
	var t [][]vr
	e.Ins("MOVD R1, R8")
	for i := 1; i < n; i++ {
		e.Ins("ADD %s, R%d, R%d", step, 7+i, 8+i)
	}
	for range n {
		pixels := map[int]vr{}
		t = append(t, rows(func(i int) vr {
			if _, ok := pixels[i]; !ok {
				d := e.V()
				e.Ins("VLD1.P (R%d)(%s), [V%d.B16]", 8+i, next, d)
				pixels[i] = d
			}
			return pixels[i]
		}))
	}
	return t
}

// line is row i of what columns returns.
func line(t [][]vr, i int) func(c int) vr { return func(c int) vr { return t[c][i] } }

func (f *neonFile) winoIn(size int) {
	n := size + 2
	name := fmt.Sprintf("winoIn%dNEON", size)
	f.function(name, "func(dst, src *float32, dxi, col, row int)", name+" transforms a tile of the source; strides are in elements.", func(e *nem) {
		e.Args("dst", "src", "dxi", "col", "row")
		for _, r := range []int{2, 3, 4} {
			e.Ins("LSL $2, R%[1]d, R%[1]d", r)
		}
		e.keep(func(e *nem) {
			for _, rows := range winoInGroups(size) {
				e.inRows(size, rows, func(i int) vr { return e.V() })
			}
		})
		e.Ins("MOVD $4, R14")
		e.Label("quarter")
		e.Ins("MOVD R0, R15")
		for _, rows := range winoInGroups(size) {
			t := e.columns(n, "R4", "R3", func(d func(i int) vr) []vr { return e.inRows(size, rows, d) })
			for i := range rows {
				for _, across := range winoInGroups(size) {
					for _, v := range e.inRows(size, across, line(t, i)) {
						e.Ins("VST1.P [V%d.B16], (R15)(R2)", v)
					}
				}
			}
		}
		e.Ins("ADD $16, R0, R0")
		e.Ins("ADD $16, R1, R1")
		e.Ins("SUBS $1, R14, R14")
		e.Branch("BNE", "quarter")
		e.Ins("RET")
	})
}

func (f *neonFile) winoOut(size int) {
	n := size + 2
	name := fmt.Sprintf("winoOut%dNEON", size)
	f.function(name, "func(dst, m *float32, mxi, col, row int, bias, add *float32, scale, floor float32)",
		name+" transforms a tile of products and stores max(floor, (y + bias + add)·scale); strides are in elements.", func(e *nem) {
			e.Args("dst", "m", "mxi", "col", "row", "bias", "add")
			for _, r := range []int{2, 3, 4} {
				e.Ins("LSL $2, R%[1]d, R%[1]d", r)
			}
			e.Ins("MOVD $%d, R7", n)
			e.Ins("MUL R2, R7, R7")
			scale, floor := e.Broadcast("scale"), e.Broadcast("floor")
			e.keep(func(e *nem) {
				for _, rows := range winoOutGroups(size) {
					e.outRows(size, rows, func(i int) vr { return e.V() })
				}
			})
			e.Ins("MOVD $4, R14")
			e.Label("quarter")
			for g, rows := range winoOutGroups(size) {
				t := e.columns(n, "R7", "R2", func(m func(i int) vr) []vr { return e.outRows(size, rows, m) })
				for r := range rows {
					// The bias joins each result, the addend where there is one.
					label := fmt.Sprintf("plain%d_%d", g, r)
					y := make([]vr, size)
					bias := e.Load("R5", 0)
					for _, cols := range winoOutGroups(size) {
						for i, v := range e.outRows(size, cols, line(t, r)) {
							e.Into("FADD.4S", v, v, bias)
							y[cols[i]] = v
						}
					}
					walk := func(base string) {
						e.Ins("MOVD %s, R15", base)
						for range rows[r] {
							e.Ins("ADD R4, R15, R15")
						}
					}
					e.Branch("CBZ R6", label)
					walk("R6")
					for _, v := range y {
						x := e.V()
						e.Ins("VLD1.P (R15)(R3), [V%d.B16]", x)
						e.Into("FADD.4S", v, v, x)
					}
					e.Label(label)
					walk("R0")
					for _, v := range y {
						e.Into("FMUL.4S", v, v, scale)
						e.Into("FMAX.4S", v, v, floor) // NaN stays
						e.Ins("VST1.P [V%d.B16], (R15)(R3)", v)
					}
				}
			}
			for _, r := range []int{0, 1, 5} {
				e.Ins("ADD $16, R%[1]d, R%[1]d", r)
			}
			e.Branch("CBZ R6", "next")
			e.Ins("ADD $16, R6, R6")
			e.Label("next")
			e.Ins("SUBS $1, R14, R14")
			e.Branch("BNE", "quarter")
			e.Ins("RET")
		})
}

func (f *neonFile) winoWeights(size int) {
	name := fmt.Sprintf("winoWeights%dNEON", size)
	f.function(name, "func(dst, src *float32, dxi, n int)", name+" transforms the filters of n ≥ 1 channels; the stride is in elements.", func(e *nem) {
		e.Args("dst", "src", "dxi", "n")
		e.Ins("LSL $2, R2, R2")
		e.keep(func(e *nem) {
			for _, rows := range winoInGroups(size) {
				e.weightRows(size, rows, func(i int) vr { return e.V() })
			}
		})
		e.Label("channel")
		e.Ins("MOVD $%d, R14", panelBytes/16)
		e.Label("quarter")
		e.Ins("MOVD R0, R15")
		for _, rows := range winoInGroups(size) {
			var t [][]vr
			for c := range 3 {
				taps := map[int]vr{}
				t = append(t, e.weightRows(size, rows, func(i int) vr {
					if _, ok := taps[i]; !ok {
						taps[i] = e.Load("R1", (3*i+c)*panelBytes)
					}
					return taps[i]
				}))
			}
			for i := range rows {
				for _, across := range winoInGroups(size) {
					for _, v := range e.weightRows(size, across, line(t, i)) {
						e.Ins("VST1.P [V%d.B16], (R15)(R2)", v)
					}
				}
			}
		}
		e.Ins("ADD $16, R0, R0")
		e.Ins("ADD $16, R1, R1")
		e.Ins("SUBS $1, R14, R14")
		e.Branch("BNE", "quarter")
		e.Ins("ADD $%d, R1, R1", 8*panelBytes)
		e.Ins("SUBS $1, R3, R3")
		e.Branch("BNE", "channel")
		e.Ins("RET")
	})
}
