package main

import "fmt"

// narrowNEON writes the products of a row by 1 to 4 columns; see em.narrow.
func narrowNEON(dir string) {
	f := newNeonFile("narrow")
	for cols := 1; cols <= 4; cols++ {
		f.narrow(cols)
	}
	f.Write(dir)
}

func (f *neonFile) narrow(cols int) {
	name := fmt.Sprintf("narrow1x%dNEON", cols)
	f.function(name, "func(c *float32, ldc int, a *float32, lda int, b *float32, k int, bias *float32, rows int)",
		fmt.Sprintf("%s computes rows ≥ 1 rows of %d columns; see GemmNarrow.", name, cols), func(e *nem) {
			e.Frame = 64 * (cols + 1) // the ends of a row of a and of each column
			e.Args("c", "ldc", "a", "lda", "b", "k", "bias", "rows")
			e.Ins("LSL $2, R1, R1")
			e.Ins("LSL $2, R3, R3")
			e.Ins("AND $15, R5, R8")
			e.Ins("LSR $4, R5, R9")
			e.Ins("MOVD $buf-%d(SP), R12", e.Frame)
			e.Ins("SUB R8, R5, R20") // the elements of the whole sixteens
			none := e.Zero()
			for i := range 4 * (cols + 1) {
				e.Store(none, "R12", 16*i)
			}
			e.Ins("MOVD R4, R21") // R21 to R24 are the columns
			for j := range cols {
				if j > 0 {
					e.Ins("ADD R5<<2, R%d, R%d", 20+j, 21+j)
				}
				e.Ins("ADD R20<<2, R%d, R13", 21+j)
				e.Ins("ADD $%d, R12, R15", 64*(j+1))
				e.some(fmt.Sprint("end", j), "R8", "R13", "R15")
			}
			e.Label("rows")
			sums := make([][4]vr, cols)
			for j := range sums {
				for p := range 4 {
					sums[j][p] = e.Zero()
				}
			}
			sixteen := func(a string, b func(j int) (string, int)) {
				for p := range 4 {
					x := e.Load(a, 16*p)
					for j := range sums {
						base, at := b(j)
						e.Into("FMLA.4S", sums[j][p], x, e.Load(base, at+16*p))
					}
				}
			}
			e.Ins("MOVD R2, R13")
			e.steps("sixteen", func() {
				sixteen("R13", func(j int) (string, int) { return fmt.Sprint("R", 21+j), 0 })
				e.Ins("ADD $64, R13, R13")
				for j := range cols {
					e.Ins("ADD $64, R%[1]d, R%[1]d", 21+j)
				}
			}, func() {
				e.Ins("MOVD R12, R15")
				e.some("in", "R8", "R13", "R15")
				sixteen("R12", func(j int) (string, int) { return "R12", 64 * (j + 1) })
			})
			for j := range cols {
				e.Ins("SUB R20<<2, R%[1]d, R%[1]d", 21+j)
				s, bias := e.fold("FADD.4S", sums[j]), e.V()
				e.Ins("FMOVS %d(R6), F%d", 4*j, bias)
				e.Ins("FMOVS F%d, %d(R0)", e.add(s, bias), 4*j)
			}
			e.Ins("ADD R1, R0, R0")
			e.Ins("ADD R3, R2, R2")
			e.Ins("SUBS $1, R7, R7")
			e.Branch("BNE", "rows")
			e.Ins("RET")
		})
}
