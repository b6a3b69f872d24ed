package main

import (
	"fmt"
	"strings"

	"neon"
)

// rowsNEON rows of 16 sums, a vector of each row and a row of weights fill the
// thirty-two registers.
const rowsNEON = 5

const (
	weightNEON = 4 * rowsNEON   // V20 to V23
	spreadNEON = weightNEON + 4 // V24 to V28
)

func fourNEON(v int) string {
	return fmt.Sprintf("[V%d.S4, V%d.S4, V%d.S4, V%d.S4]", v, v+1, v+2, v+3)
}

// nameNEON is the name of a member of the family. group 0 is tile, 1 tile.lanes,
// more its groups.
func nameNEON(rows, group int) string {
	switch group {
	case 0:
		return fmt.Sprintf("tile%dx16NEON", rows)
	case 1:
		return fmt.Sprintf("lanes%dx16NEON", rows)
	}
	return fmt.Sprintf("lanes%dx16by%dNEON", rows, group)
}

// tileNEON writes the microkernel.
func tileNEON(dir string) {
	f := newNeonFile("tile")
	for _, group := range append([]int{0, 1}, groups...) {
		for rows := 1; rows <= rowsNEON; rows++ {
			f.tile(rows, group)
		}
	}
	f.Write(dir)
	write(dir, "tile_dispatch_arm64.go", gofmt(tileDispatchNEON()))
}

// tile writes one member of the family. R0 is the tile, R1 which vector of its
// outputs, R2 a, R3 and R4 the segments left, R5 b, R6 the step from row to row
// of a, R7 kseg, R8 to R12 the rows.
func (f *neonFile) tile(rows, group int) {
	name, sig, lanes := nameNEON(rows, group), "func(t *tile, half int)", group > 0
	doc := fmt.Sprintf("%s computes %d rows of 16 outputs; see tile.", name, rows)
	if lanes {
		sig = "func(t *tile)"
		doc = fmt.Sprintf("%s computes %d pixels of 16 lanes; see tile.lanes.", name, rows)
	}
	f.function(name, sig, doc, func(e *nem) {
		fixed := neon.Fixed
		if lanes {
			e.Args("t")
			e.Ins("MOVD $0, R1")
		} else {
			e.Args("t", "half")
		}
		// walk visits the sums of each row beside their elements of a matrix laid
		// out by the strides in the fields row and vec.
		walk := func(base, row, vec int, f func(r int)) {
			e.Ins("MOVD %d(R0), R14", base)
			e.Ins("MOVD %d(R0), R15", row)
			e.Ins("LSL $2, R15, R15")
			e.Ins("MOVD %d(R0), R16", vec)
			e.Ins("MUL R1, R16, R16")
			e.Ins("ADD R16<<2, R14, R14")
			for r := range rows {
				f(r)
				if r+1 < rows {
					e.Ins("ADD R15, R14, R14")
				}
			}
		}
		e.Ins("MOVD %d(R0), R14", tAcc)
		e.Branch("CBZ R14", "zero")
		walk(tC, tCrow, tCvec, func(r int) { e.Ins("VLD1 (R14), %s", fourNEON(4*r)) })
		e.Branch("B", "bias")
		e.Label("zero")
		for v := range 4 * rows {
			e.Ins("VEOR V%[1]d.B16, V%[1]d.B16, V%[1]d.B16", v)
		}
		e.Label("bias")
		e.Ins("MOVD %d(R0), R14", tBias)
		e.Branch("CBZ R14", "begin")
		e.Ins("ADD R1<<6, R14, R14")
		e.Ins("VLD1 (R14), %s", fourNEON(weightNEON))
		for v := range 4 * rows {
			e.Into("FADD.4S", fixed(v), fixed(v), fixed(weightNEON+v%4))
		}
		e.Label("begin")
		e.Ins("MOVD %d(R0), R2", tA)
		e.Ins("MOVD %d(R0), R3", tOff)
		e.Ins("MOVD %d(R0), R4", tNoff)
		e.Ins("MOVD %d(R0), R5", tB)
		e.Ins("ADD R1<<6, R5, R5")
		e.Ins("MOVD %d(R0), R6", tAstep)
		e.Ins("LSL $2, R6, R6")
		e.Ins("MOVD %d(R0), R7", tKseg)
		e.Label("segment")
		e.Ins("MOVW.P 4(R3), R14")
		e.Ins("ADD R14<<2, R2, R8")
		for r := 1; r < rows; r++ {
			e.Ins("ADD R6, R%d, R%d", 7+r, 8+r)
		}
		if lanes {
			for j := range group {
				e.Ins("VLD1.P 64(R5), %s", fourNEON(weightNEON))
				for r := range rows {
					e.Ins("VLD1 (R%d), %s", 8+r, fourNEON(spreadNEON))
					for v := range 4 {
						e.seen(group, j, fixed(4*r+v), fixed(weightNEON+v), fixed(spreadNEON+v))
					}
				}
			}
		} else {
			step := func(k int) {
				e.Ins("VLD1 (R5), %s", fourNEON(weightNEON))
				e.Ins("ADD $%d, R5, R5", panelBytes)
				for r := range rows {
					for v := range 4 {
						e.byElement(k, fixed(4*r+v), fixed(weightNEON+v), fixed(spreadNEON+r))
					}
				}
			}
			e.Ins("LSR $2, R7, R13")
			e.Branch("CBZ R13", "rest")
			e.Label("four")
			for r := range rows {
				e.Ins("VLD1.P 16(R%d), [V%d.S4]", 8+r, spreadNEON+r)
			}
			for k := range 4 {
				step(k)
			}
			e.Ins("SUBS $1, R13, R13")
			e.Branch("BNE", "four")
			e.Label("rest")
			e.Ins("ANDS $3, R7, R13")
			e.Branch("BEQ", "next")
			e.Label("one")
			for r := range rows {
				e.Ins("FMOVS.P 4(R%d), F%d", 8+r, spreadNEON+r)
			}
			step(0)
			e.Ins("SUBS $1, R13, R13")
			e.Branch("BNE", "one")
			e.Label("next")
		}
		e.Ins("SUBS $1, R4, R4")
		e.Branch("BNE", "segment")
		e.Ins("MOVD %d(R0), R14", tAdd)
		e.Branch("CBZ R14", "relu")
		walk(tAdd, tAddrow, tAddvec, func(r int) {
			e.Ins("VLD1 (R14), %s", fourNEON(weightNEON))
			for v := range 4 {
				e.Into("FADD.4S", fixed(4*r+v), fixed(4*r+v), fixed(weightNEON+v))
			}
		})
		e.Label("relu")
		e.Ins("MOVD %d(R0), R14", tRelu)
		e.Branch("CBZ R14", "store")
		e.Ins("VEOR V%[1]d.B16, V%[1]d.B16, V%[1]d.B16", weightNEON)
		for v := range 4 * rows {
			e.Into("FMAX.4S", fixed(v), fixed(v), fixed(weightNEON))
		}
		e.Label("store")
		walk(tC, tCrow, tCvec, func(r int) { e.Ins("VST1 %s, (R14)", fourNEON(4*r)) })
		e.Ins("RET")
	})
}

// byElement adds to sum the product of b and the k'th element of a.
func (e *nem) byElement(k int, sum, b, a vr) {
	e.Word("FMLA1.4S", uint32(k&1<<21|k>>1<<11), sum, b, a)
}

// seen adds to sum the product of b and the j'th lane of every group in a, which
// it may overwrite.
func (e *nem) seen(group, j int, sum, b, a vr) {
	switch group {
	case 1:
		e.Into("FMLA.4S", sum, a, b)
	case 2:
		e.Into([]string{"TRN1.4S", "TRN2.4S"}[j], a, a, a)
		e.Into("FMLA.4S", sum, a, b)
	case 4:
		e.byElement(j, sum, b, a)
	}
}

// tileDispatchNEON is the text of tile_dispatch_arm64.go.
func tileDispatchNEON() string {
	var b strings.Builder
	b.WriteString(header)
	b.WriteString("// tileSIMD runs t in assembly, if there is any for this machine.\nfunc tileSIMD(t *tile, rows, cols int) bool {\nif isa != neon {\nreturn false\n}\nfor half := 0; half*Block < cols; half++ {\n")
	choice := func(group int, args string) {
		b.WriteString("switch rows {\n")
		for r := 1; r <= rowsNEON; r++ {
			fmt.Fprintf(&b, "case %d: %s(%s)\n", r, nameNEON(r, group), args)
		}
		b.WriteString("}\n")
	}
	choice(0, "t, half")
	b.WriteString("}\nreturn true\n}\n\n// lanesSIMD is tileSIMD for tile.lanes.\nfunc lanesSIMD(t *tile, rows int) bool {\nif isa != neon {\nreturn false\n}\n")
	choice(1, "t")
	b.WriteString("return true\n}\n\n// groupsSIMD is lanesSIMD for groups of lanes.\nfunc groupsSIMD(t *tile, rows, group int) bool {\nif isa != neon {\nreturn false\n}\nswitch group {\n")
	for _, g := range groups {
		fmt.Fprintf(&b, "case %d:\n", g)
		choice(g, "t")
	}
	b.WriteString("default:\nreturn false\n}\nreturn true\n}\n\nfunc widePanels(rows int) int { return 0 }\n\nfunc (t *tile) wide(rows int) {}\n")
	return b.String()
}
