package main

import (
	"fmt"
	"strings"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A wide tile is a few rows by several panels at once: with one row, a panel
// has too few sums to hide the latency of an addition.
type wide struct {
	avx512       bool
	rows, panels int
}

var wides = []wide{{true, 1, 4}, {true, 2, 4}, {true, 3, 4}, {false, 1, 2}}

func (w wide) name() string {
	return fmt.Sprintf("wide%dx%d%s", w.rows, 32*w.panels, suffix(w.avx512))
}

func (w wide) emit(c *build.Context) {
	width := 32
	if w.avx512 {
		width = 64
	}
	per := 128 / width // vectors in a panel
	vecs := per * w.panels
	function(c, w.name(), "", fmt.Sprintf("%s computes %d rows of %d panels; see tile.wide.", w.name(), w.rows, w.panels))
	c.Signature(tileSignature(false))
	c.Load(c.Param("t"), reg.R14)
	field := func(disp int) operand.Mem { return operand.Mem{Base: reg.R14, Disp: disp} }
	sums := make([]reg.VecVirtual, w.rows*vecs)
	var spread [3]reg.VecVirtual
	for i := range sums {
		if w.avx512 {
			sums[i] = c.ZMM()
		} else {
			sums[i] = c.YMM()
		}
	}
	for i := range spread[:w.rows] {
		if w.avx512 {
			spread[i] = c.ZMM()
		} else {
			spread[i] = c.YMM()
		}
	}
	// walk visits all sums beside their elements of c, or of what is added.
	walk := func(base, row int, f func(m operand.Mem, r reg.Register)) {
		c.MOVQ(field(base), reg.R8)
		c.MOVQ(field(row), reg.R10)
		c.SHLQ(operand.U8(2), reg.R10)
		for r := 0; r < w.rows; r++ {
			for v := 0; v < vecs; v++ {
				f(operand.Mem{Base: reg.R8, Disp: v * width}, sums[r*vecs+v])
			}
			if r+1 < w.rows {
				c.ADDQ(reg.R10, reg.R8)
			}
		}
	}
	c.CMPQ(field(tAcc), operand.U8(0))
	c.JEQ(operand.LabelRef("zero"))
	walk(tC, tCrow, func(m operand.Mem, r reg.Register) { c.VMOVUPS(m, r) })
	c.JMP(operand.LabelRef("bias"))
	c.Label("zero")
	for _, s := range sums {
		if w.avx512 {
			c.VPXORD(s, s, s)
		} else {
			c.VXORPS(s, s, s)
		}
	}
	c.Label("bias")
	c.MOVQ(field(tBias), reg.R8)
	c.TESTQ(reg.R8, reg.R8)
	c.JEQ(operand.LabelRef("begin"))
	for i, s := range sums {
		c.VADDPS(operand.Mem{Base: reg.R8, Disp: i % vecs * width}, s, s)
	}
	c.Label("begin")
	c.MOVQ(field(tA), reg.RAX)
	c.MOVQ(field(tAstep), reg.RSI)
	c.SHLQ(operand.U8(2), reg.RSI)
	c.MOVQ(field(tB), reg.RDX)
	c.MOVQ(field(tBpanel), reg.RBX)
	c.SHLQ(operand.U8(2), reg.RBX)
	c.LEAQ(operand.Mem{Base: reg.RBX, Index: reg.RBX, Scale: 2}, reg.RDI)
	c.MOVQ(field(tKseg), reg.RCX)
	step := func(u int) {
		for r := 0; r < w.rows; r++ {
			m := operand.Mem{Base: reg.RAX, Disp: 4 * u}
			if r > 0 {
				m.Index, m.Scale = reg.RSI, uint8(r)
			}
			c.VBROADCASTSS(m, spread[r])
		}
		for v := 0; v < vecs; v++ {
			m := operand.Mem{Base: reg.RDX, Disp: u*panelBytes + v%per*width}
			switch v / per {
			case 1, 2:
				m.Index, m.Scale = reg.RBX, uint8(v/per)
			case 3:
				m.Index, m.Scale = reg.RDI, 1
			}
			if w.rows == 1 {
				c.VFMADD231PS(m, spread[0], sums[v])
				continue
			}
			b := c.ZMM()
			c.VMOVUPS(m, b)
			for r := 0; r < w.rows; r++ {
				c.VFMADD231PS(b, spread[r], sums[r*vecs+v])
			}
		}
	}
	c.SUBQ(operand.U8(4), reg.RCX)
	c.JLT(operand.LabelRef("rest"))
	c.Label("four")
	for u := 0; u < 4; u++ {
		step(u)
	}
	c.ADDQ(operand.U32(4*panelBytes), reg.RDX)
	c.ADDQ(operand.U8(16), reg.RAX)
	c.SUBQ(operand.U8(4), reg.RCX)
	c.JGE(operand.LabelRef("four"))
	c.Label("rest")
	c.ADDQ(operand.U8(4), reg.RCX)
	c.JEQ(operand.LabelRef("store"))
	c.Label("one")
	step(0)
	c.ADDQ(operand.U32(panelBytes), reg.RDX)
	c.ADDQ(operand.U8(4), reg.RAX)
	c.DECQ(reg.RCX)
	c.JNE(operand.LabelRef("one"))
	c.Label("store")
	c.CMPQ(field(tAdd), operand.U8(0))
	c.JEQ(operand.LabelRef("write"))
	walk(tAdd, tAddrow, func(m operand.Mem, r reg.Register) { c.VADDPS(m, r, r) })
	c.Label("write")
	walk(tC, tCrow, func(m operand.Mem, r reg.Register) { c.VMOVUPS(r, m) })
	c.VZEROUPPER()
	c.RET()
}

func wideDispatch() string {
	var b strings.Builder
	b.WriteString("\n// widePanels returns the panels a wide tile of that many rows computes at\n// once, 0 if there is none.\nfunc widePanels(rows int) int {\nswitch {\n")
	for _, w := range wides {
		fmt.Fprintf(&b, "case isa == %s && rows == %d:\nreturn %d\n", map[bool]string{false: "avx2", true: "avx512"}[w.avx512], w.rows, w.panels)
	}
	b.WriteString("}\nreturn 0\n}\n\n// wide runs a wide tile, of a height that widePanels knows.\nfunc (t *tile) wide(rows int) {\nswitch {\n")
	for _, w := range wides {
		fmt.Fprintf(&b, "case isa == %s && rows == %d:\n%s(t)\n", map[bool]string{false: "avx2", true: "avx512"}[w.avx512], w.rows, w.name())
	}
	b.WriteString("}\n}\n")
	return b.String()
}
