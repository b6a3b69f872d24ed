package main

// layoutNEON writes the transposition of eight rows, four by four, two blocks
// one below the other.
func layoutNEON(dir string) {
	const name = "transpose8NEON"
	f := newNeonFile("layout")
	f.function(name, "func(dst, src *float32, n, ldd, lds int)", name+" writes dst[j*ldd+i] = src[i*lds+j] for i < 8 and j < n, n a positive multiple of 4.", func(e *nem) {
		e.Args("dst", "src", "n", "ldd", "lds")
		e.Ins("LSL $2, R3, R3")
		e.Ins("LSL $2, R4, R4")
		e.Ins("MOVD R1, R5") // R5 to R12 are the rows of src
		for i := range 7 {
			e.Ins("ADD R4, R%d, R%d", 5+i, 6+i)
		}
		e.Label("loop")
		var half [2][4]vr
		for h := range half {
			var r [4]vr
			for i := range r {
				r[i] = e.V()
				e.Ins("FMOVQ.P 16(R%d), F%d", 5+4*h+i, r[i])
			}
			half[h] = e.transpose4(r)
		}
		for j := range 4 {
			e.Store(half[0][j], "R0", 0)
			e.Store(half[1][j], "R0", 16)
			e.Ins("ADD R3, R0, R0")
		}
		e.Ins("SUBS $4, R2, R2")
		e.Branch("BNE", "loop")
		e.Ins("RET")
	})
	f.Write(dir)
}

func (e *nem) transpose4(r [4]vr) [4]vr {
	a, b := e.Op("TRN1.4S", r[0], r[1]), e.Op("TRN2.4S", r[0], r[1])
	c, d := e.Op("TRN1.4S", r[2], r[3]), e.Op("TRN2.4S", r[2], r[3])
	return [4]vr{e.Op("TRN1.2D", a, c), e.Op("TRN1.2D", b, d), e.Op("TRN2.2D", a, c), e.Op("TRN2.2D", b, d)}
}
