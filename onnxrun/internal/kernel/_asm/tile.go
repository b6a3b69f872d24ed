package main

import (
	"fmt"
	"go/types"
	"strings"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/gotypes"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of kernel.tile.
const (
	tA, tOff, tNoff, tB, tC, tBias, tAdd = 0, 24, 32, 48, 72, 96, 120
	tKseg, tAstep, tCrow, tCvec          = 144, 152, 160, 168
	tAddrow, tAddvec, tAcc, tRelu        = 176, 184, 192, 200
	tBpanel, tAhead, tPace               = 208, 216, 224
)

const panelBytes = 128 // a row of a packed panel

// shape is one member of the microkernel family.
type shape struct {
	avx512     bool
	rows, vecs int  // vecs of this instruction set's width
	lanes      bool // lane by lane, not broadcast: a depthwise convolution
	group      int  // of lanes that see each other, 2 or 4: a grouped convolution
}

func (s shape) name() string {
	if s.group > 0 {
		return fmt.Sprintf("lanes%dx16by%d%s", s.rows, s.group, suffix(s.avx512))
	}
	if s.lanes {
		return fmt.Sprintf("lanes%dx16%s", s.rows, suffix(s.avx512))
	}
	width := 8
	if s.avx512 {
		width = 16
	}
	return fmt.Sprintf("tile%dx%d%s", s.rows, width*s.vecs, suffix(s.avx512))
}

// The rows an instruction set's registers allow: all sums, a row of weights and
// two broadcasts at once.
const rows512, rows2 = 14, 6

// Groups of lanes that a permutation within 16 bytes spreads.
var groups = []int{2, 4}

func shapes() (all []shape) {
	for r := 1; r <= rows512; r++ {
		all = append(all, shape{avx512: true, rows: r, vecs: 2}, shape{avx512: true, rows: r, vecs: 1}, shape{avx512: true, rows: r, vecs: 1, lanes: true})
	}
	for r := 1; r <= rows2; r++ {
		all = append(all, shape{rows: r, vecs: 2}, shape{rows: r, vecs: 2, lanes: true})
	}
	for _, g := range groups {
		for r := 1; r <= rows512; r++ {
			all = append(all, shape{avx512: true, rows: r, vecs: 1, lanes: true, group: g})
		}
		for r := 1; r <= rows2; r++ {
			all = append(all, shape{rows: r, vecs: 2, lanes: true, group: g})
		}
	}
	return
}

func tile(c *build.Context) {
	for _, s := range shapes() {
		s.emit(c)
	}
	for _, w := range wides {
		w.emit(c)
	}
}

// tileSignature is func(t *tile) or func(t *tile, half int), of a type avo does
// not know.
func tileSignature(half bool) *gotypes.Signature {
	name := types.NewTypeName(0, nil, "tile", nil)
	t := types.NewNamed(name, types.NewStruct(nil, nil), nil)
	params := []*types.Var{types.NewVar(0, nil, "t", types.NewPointer(t))}
	if half {
		params = append(params, types.NewVar(0, nil, "half", types.Typ[types.Int]))
	}
	return gotypes.NewSignature(nil, types.NewSignatureType(nil, nil, nil, types.NewTuple(params...), nil, false))
}

func (s shape) emit(c *build.Context) {
	// Physical registers throughout: the sums fill the file.
	width := 32
	vreg := func(i int) reg.Register {
		return []reg.Register{reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7, reg.Y8, reg.Y9, reg.Y10, reg.Y11, reg.Y12, reg.Y13, reg.Y14, reg.Y15}[i]
	}
	zero := func(r reg.Register) { c.VXORPS(r, r, r) }
	sums := 12
	if s.avx512 {
		width = 64
		vreg = func(i int) reg.Register {
			return []reg.Register{reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7, reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
				reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23, reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31}[i]
		}
		zero = func(r reg.Register) { c.VPXORD(r, r, r) }
		sums = 28
	}
	sum := func(r, v int) reg.Register { return vreg(r*s.vecs + v) }
	weight := func(v int) reg.Register { return vreg(sums + v) }
	spread := func(r int) reg.Register { return vreg(sums + 2 + r&1) }
	at := func(base reg.Register, disp int) operand.Mem { return operand.Mem{Base: base, Disp: disp} }
	field := func(disp int) operand.Mem { return at(reg.R14, disp) }

	half := !s.avx512 && !s.lanes
	if s.group > 0 {
		function(c, s.name(), "", fmt.Sprintf("%s computes %d pixels of 16 lanes in groups of %d; see tile.lanes.", s.name(), s.rows, s.group))
	} else if s.lanes {
		function(c, s.name(), "", fmt.Sprintf("%s computes %d pixels of 16 lanes; see tile.lanes.", s.name(), s.rows))
	} else if s.avx512 {
		function(c, s.name(), "", fmt.Sprintf("%s computes %d rows of %d vectors of 16 outputs; see tile.", s.name(), s.rows, s.vecs))
	} else {
		function(c, s.name(), "", fmt.Sprintf("%s computes %d rows of the vector of 16 outputs named by half; see tile.", s.name(), s.rows))
	}
	c.Signature(tileSignature(half))
	c.Load(c.Param("t"), reg.R14)
	if half {
		c.Load(c.Param("half"), reg.R15)
	}

	// walk visits every sum beside its element of a matrix laid out by the
	// strides in the fields row and vec.
	walk := func(base, row, vec int, f func(m operand.Mem, r reg.Register)) {
		c.MOVQ(field(base), reg.R8)
		c.MOVQ(field(row), reg.R10)
		c.SHLQ(operand.U8(2), reg.R10)
		c.MOVQ(field(vec), reg.R9)
		if s.avx512 {
			if s.vecs == 2 {
				c.LEAQ(operand.Mem{Base: reg.R8, Index: reg.R9, Scale: 4}, reg.R9)
			}
		} else if half {
			c.IMULQ(reg.R15, reg.R9)
			c.LEAQ(operand.Mem{Base: reg.R8, Index: reg.R9, Scale: 4}, reg.R8)
		}
		for r := 0; r < s.rows; r++ {
			f(at(reg.R8, 0), sum(r, 0))
			if s.vecs == 2 {
				if s.avx512 {
					f(at(reg.R9, 0), sum(r, 1))
				} else {
					f(at(reg.R8, width), sum(r, 1))
				}
			}
			if r+1 < s.rows {
				c.ADDQ(reg.R10, reg.R8)
				if s.avx512 && s.vecs == 2 {
					c.ADDQ(reg.R10, reg.R9)
				}
			}
		}
	}

	c.Comment("Start from c or from zero.")
	c.CMPQ(field(tAcc), operand.U8(0))
	c.JEQ(operand.LabelRef("zero"))
	walk(tC, tCrow, tCvec, func(m operand.Mem, r reg.Register) { c.VMOVUPS(m, r) })
	c.JMP(operand.LabelRef("bias"))
	c.Label("zero")
	for r := 0; r < s.rows; r++ {
		for v := 0; v < s.vecs; v++ {
			zero(sum(r, v))
		}
	}
	c.Label("bias")
	c.MOVQ(field(tBias), reg.R8)
	c.TESTQ(reg.R8, reg.R8)
	c.JEQ(operand.LabelRef("begin"))
	if half {
		c.MOVQ(reg.R15, reg.R9)
		c.SHLQ(operand.U8(6), reg.R9)
		c.ADDQ(reg.R9, reg.R8)
	}
	for v := 0; v < s.vecs; v++ {
		c.VMOVUPS(at(reg.R8, v*width), weight(v))
		for r := 0; r < s.rows; r++ {
			c.VADDPS(weight(v), sum(r, v), sum(r, v))
		}
	}

	c.Label("begin")
	c.MOVQ(field(tA), reg.RAX)
	c.MOVQ(field(tOff), reg.RBX)
	c.MOVQ(field(tNoff), reg.RCX)
	c.MOVQ(field(tB), reg.RDX)
	if half {
		c.MOVQ(reg.R15, reg.R9)
		c.SHLQ(operand.U8(6), reg.R9)
		c.ADDQ(reg.R9, reg.RDX)
	}
	c.MOVQ(field(tAstep), reg.RSI)
	c.SHLQ(operand.U8(2), reg.RSI)
	c.LEAQ(operand.Mem{Base: reg.RSI, Index: reg.RSI, Scale: 2}, reg.RDI)
	// Rows 3i, 3i+1, 3i+2 are read at pointer i plus 0, 1, 2 steps.
	ptr := []reg.Register{reg.R8, reg.R9, reg.R10, reg.R11, reg.R12}[:(s.rows+2)/3]
	row := func(r, disp int) operand.Mem {
		m := at(ptr[r/3], disp)
		if r%3 > 0 {
			m.Index, m.Scale = reg.RSI, uint8(r%3)
		}
		return m
	}
	step := func(u int) {
		for v := 0; v < s.vecs; v++ {
			c.VMOVUPS(at(reg.RDX, u*panelBytes+v*width), weight(v))
		}
		for r := 0; r < s.rows; r++ {
			c.VBROADCASTSS(row(r, 4*u), spread(r))
			for v := 0; v < s.vecs; v++ {
				c.VFMADD231PS(weight(v), spread(r), sum(r, v))
			}
		}
	}
	if !s.lanes {
		c.Comment("With nothing to fetch ahead, what is there.")
		c.MOVQ(field(tAhead), s.ahead())
		c.TESTQ(s.ahead(), s.ahead())
		c.CMOVQEQ(reg.RDX, s.ahead())
		if !s.avx512 { // which reads from memory as often as it can
			c.MOVQ(field(tPace), reg.R12)
		}
	}
	c.Label("segment")
	c.MOVLQSX(at(reg.RBX, 0), reg.R8)
	c.LEAQ(operand.Mem{Base: reg.RAX, Index: reg.R8, Scale: 4}, reg.R8)
	for i := 1; i < len(ptr); i++ {
		c.LEAQ(operand.Mem{Base: ptr[i-1], Index: reg.RDI, Scale: 1}, ptr[i])
	}
	switch {
	case s.group > 0:
		s.grouped(c, vreg, sum, width, row)
	case s.lanes:
		for v := 0; v < s.vecs; v++ {
			c.VMOVUPS(at(reg.RDX, v*width), weight(v))
			for r := 0; r < s.rows; r++ {
				c.VFMADD231PS(row(r, v*width), weight(v), sum(r, v))
			}
		}
		c.ADDQ(operand.U8(64), reg.RDX)
	default:
		s.steps(c, ptr, step, field)
	}
	c.ADDQ(operand.U8(4), reg.RBX)
	c.DECQ(reg.RCX)
	c.JNE(operand.LabelRef("segment"))
	if !s.lanes {
		c.MOVQ(s.ahead(), field(tAhead))
	}

	c.CMPQ(field(tAdd), operand.U8(0))
	c.JEQ(operand.LabelRef("relu"))
	walk(tAdd, tAddrow, tAddvec, func(m operand.Mem, r reg.Register) { c.VADDPS(m, r, r) })
	c.Label("relu")
	c.CMPQ(field(tRelu), operand.U8(0))
	c.JEQ(operand.LabelRef("store"))
	zero(weight(0))
	for r := 0; r < s.rows; r++ {
		for v := 0; v < s.vecs; v++ {
			// The sum comes last: the maximum of NaN and x is x.
			c.VMAXPS(sum(r, v), weight(0), sum(r, v))
		}
	}
	c.Label("store")
	walk(tC, tCrow, tCvec, func(m operand.Mem, r reg.Register) { c.VMOVUPS(r, m) })
	c.VZEROUPPER()
	c.RET()
}

// grouped emits a segment of a grouped convolution: the j'th lane of every group,
// spread over its group, times the j'th weights.
func (s shape) grouped(c *build.Context, vreg func(int) reg.Register, sum func(r, v int) reg.Register, width int, row func(r, disp int) operand.Mem) {
	first := s.rows * s.vecs // free registers
	spread := func(j int) operand.U8 {
		if s.group == 4 {
			return operand.U8(j * 0b01_01_01_01)
		}
		return operand.U8(j*0b01_01_01_01 + 0b10_10_00_00)
	}
	turn := 0
	for v := 0; v < s.vecs; v++ {
		weight := func(j int) operand.Op { return operand.Mem{Base: reg.RDX, Disp: 64*j + v*width} }
		temps, at := 4, first
		if s.avx512 { // with registers enough for the weights
			for j := 0; j < s.group; j++ {
				c.VMOVUPS(weight(j), vreg(first+j))
			}
			weight = func(j int) operand.Op { return vreg(first + j) }
			at += s.group
		}
		for r := 0; r < s.rows; r++ {
			for j := 0; j < s.group; j++ {
				t := vreg(at + turn%temps)
				turn++
				c.VPERMILPS(spread(j), row(r, v*width), t)
				c.VFMADD231PS(weight(j), t, sum(r, v))
			}
		}
	}
	c.ADDQ(operand.U32(64*s.group), reg.RDX)
}

// steps emits the loop over the k of a segment.
func (s shape) steps(c *build.Context, ptr []reg.Register, step func(u int), field func(int) operand.Mem) {
	c.MOVQ(field(tKseg), reg.R13)
	c.SHRQ(operand.U8(2), reg.R13)
	c.JEQ(operand.LabelRef("rest"))
	c.Label("four")
	for u := 0; u < 4; u++ {
		step(u)
		s.fetch(c, u, field)
	}
	c.ADDQ(operand.U32(4*panelBytes), reg.RDX)
	for _, p := range ptr {
		c.ADDQ(operand.U8(16), p)
	}
	c.DECQ(reg.R13)
	c.JNE(operand.LabelRef("four"))
	c.Label("rest")
	c.MOVQ(field(tKseg), reg.R13)
	c.ANDQ(operand.U8(3), reg.R13)
	c.JEQ(operand.LabelRef("next"))
	c.Label("one")
	step(0)
	c.ADDQ(operand.U32(panelBytes), reg.RDX)
	for _, p := range ptr {
		c.ADDQ(operand.U8(4), p)
	}
	c.DECQ(reg.R13)
	c.JNE(operand.LabelRef("one"))
	c.Label("next")
}

// ahead is the register with the address to fetch from.
func (s shape) ahead() reg.Register {
	if s.avx512 {
		return reg.R15
	}
	return reg.R11
}

// fetch emits what the u'th step fetches ahead: a line; with halves of a panel, which
// come one after the other, one every other step.
func (s shape) fetch(c *build.Context, u int, field func(int) operand.Mem) {
	if !s.avx512 && u%2 == 0 {
		return
	}
	c.PREFETCHT1(operand.Mem{Base: s.ahead()})
	if s.avx512 {
		c.ADDQ(field(tPace), s.ahead())
	} else {
		c.ADDQ(reg.R12, s.ahead())
	}
}

func tileDispatch() string {
	var b strings.Builder
	b.WriteString(header)
	b.WriteString("// tileSIMD runs t in assembly, if there is any for this machine.\nfunc tileSIMD(t *tile, rows, cols int) bool {\nswitch isa {\ncase avx512:\nif cols == Block {\nswitch rows {\n")
	for r := 1; r <= rows512; r++ {
		fmt.Fprintf(&b, "case %d: %s(t)\n", r, shape{avx512: true, rows: r, vecs: 1}.name())
	}
	b.WriteString("}\nreturn true\n}\nswitch rows {\n")
	for r := 1; r <= rows512; r++ {
		fmt.Fprintf(&b, "case %d: %s(t)\n", r, shape{avx512: true, rows: r, vecs: 2}.name())
	}
	b.WriteString("}\nreturn true\ncase avx2:\nfor half := 0; half*Block < cols; half++ {\nswitch rows {\n")
	for r := 1; r <= rows2; r++ {
		fmt.Fprintf(&b, "case %d: %s(t, half)\n", r, shape{rows: r, vecs: 2}.name())
	}
	b.WriteString("}\n}\nreturn true\n}\nreturn false\n}\n\n")
	b.WriteString("// lanesSIMD is tileSIMD for tile.lanes.\nfunc lanesSIMD(t *tile, rows int) bool {\n")
	lanesDispatch(&b, 0)
	b.WriteString("return false\n}\n\n")
	b.WriteString("// groupsSIMD is lanesSIMD for groups of lanes.\nfunc groupsSIMD(t *tile, rows, group int) bool {\nswitch group {\n")
	for _, g := range groups {
		fmt.Fprintf(&b, "case %d:\n", g)
		lanesDispatch(&b, g)
	}
	b.WriteString("}\nreturn false\n}\n\n")
	b.WriteString(wideDispatch())
	return b.String()
}

// lanesDispatch writes the choice among the functions of a group.
func lanesDispatch(b *strings.Builder, group int) {
	b.WriteString("switch isa {\n")
	for _, avx512 := range []bool{true, false} {
		most := map[bool]int{true: rows512, false: rows2}[avx512]
		fmt.Fprintf(b, "case %s:\nswitch rows {\n", map[bool]string{true: "avx512", false: "avx2"}[avx512])
		for r := 1; r <= most; r++ {
			fmt.Fprintf(b, "case %d: %s(t)\n", r, shape{avx512: avx512, rows: r, lanes: true, group: group}.name())
		}
		b.WriteString("}\nreturn true\n")
	}
	b.WriteString("}\n")
}
