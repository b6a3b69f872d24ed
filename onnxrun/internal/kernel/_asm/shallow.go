package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A shallow function multiplies rows of k numbers by k rows of some vectors, which stay
// in registers: see kernel.shallow.
type shallow struct {
	avx512  bool
	k, vecs int
}

// shallows are the members of the family: one panel or two with AVX-512, half of one
// with AVX2.
func shallows() (all []shallow) {
	for k := 1; k <= 4; k++ {
		all = append(all, shallow{true, k, 4}, shallow{true, k, 2}, shallow{false, k, 2})
	}
	return all
}

func (s shallow) name() string {
	return fmt.Sprintf("shallow%dx%d%s", s.k, s.vecs, suffix(s.avx512))
}

func (e *em) shallow(s shallow) {
	function(e.Context, s.name(), "func(c *float32, ldc int, a *float32, lda int, b *float32, bpanel int, bias *float32, rows int)",
		fmt.Sprintf("%s computes rows ≥ 1 of %d vectors; see shallow.", s.name(), s.vecs))
	load := parameters(e.Context)
	c, ldc, a, lda, b, bpanel, bias, rows := load("c"), load("ldc"), load("a"), load("lda"), load("b"), load("bpanel"), load("bias"), load("rows")
	for _, r := range []reg.Register{ldc, lda, bpanel} {
		e.SHLQ(operand.U8(2), r)
	}
	width := 32
	if e.avx512 {
		width = 64
	}
	zero := e.zero()
	// The sums begin with 0 + bias, which is not bias when that is -0.
	first, weights := make([]vec, s.vecs), make([][]vec, s.vecs)
	for v := range s.vecs {
		first[v] = e.add(zero, operand.Mem{Base: bias, Disp: v * width})
		for l := range s.k {
			m := operand.Mem{Base: b, Disp: l*panelBytes + v*width%panelBytes}
			if v*width >= panelBytes {
				m.Index, m.Scale = bpanel, 1
			}
			weights[v] = append(weights[v], e.load(m))
		}
	}
	e.Label("row")
	sums := make([]vec, s.vecs)
	for l := range s.k {
		x := e.v()
		e.VBROADCASTSS(operand.Mem{Base: a, Disp: 4 * l}, x)
		for v := range sums {
			if l == 0 {
				sums[v] = e.copy(first[v])
			}
			e.VFMADD231PS(weights[v][l], x, sums[v])
		}
	}
	for v := range sums {
		e.VMOVUPS(sums[v], operand.Mem{Base: c, Disp: v * width})
	}
	e.ADDQ(lda, a)
	e.ADDQ(ldc, c)
	e.DECQ(rows)
	e.JNE(operand.LabelRef("row"))
	e.VZEROUPPER()
	e.RET()
}

func shallowDispatch() string {
	out := header + `// shallowSIMD computes some whole panels, one or two, of a shallow product in assembly;
// it returns how many of the panels it took, 0 if there is no assembly for this machine.
func shallowSIMD(c []float32, ldc int, a []float32, lda int, b []float32, bpanel int, bias *[2*PanelCols]float32, rows, panels, k int) int {
	switch isa {
	case avx512:
		if panels > 1 {
			switch k {
`
	call := func(s shallow, c, b, bias string) {
		out += fmt.Sprintf("%s(&c[%s], ldc, &a[0], lda, &b[%s], bpanel, &bias[%s], rows)\n", s.name(), c, b, bias)
	}
	cases := func(avx512 bool, vecs int) {
		for _, s := range shallows() {
			if s.avx512 != avx512 || s.vecs != vecs {
				continue
			}
			out += fmt.Sprintf("case %d:\n", s.k)
			call(s, "0", "0", "0")
			if !avx512 {
				call(s, "Block", "Block", "Block")
			}
		}
	}
	cases(true, 4)
	out += "}\nreturn 2\n}\nswitch k {\n"
	cases(true, 2)
	out += "}\nreturn 1\ncase avx2:\nswitch k {\n"
	cases(false, 2)
	return out + "}\nreturn 1\n}\nreturn 0\n}\n"
}
