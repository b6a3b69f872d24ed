package neon

import (
	"fmt"
	"math"
)

// Const is a constant as it fills a register.
type Const [4]uint32

// Words is a constant of 32 bits in all lanes, Long one of 64.
func Words(u uint32) Const { return Const{u, u, u, u} }
func Long(u uint64) Const  { return Const{uint32(u), uint32(u >> 32), uint32(u), uint32(u >> 32)} }

// Read returns a constant in a register that must stay as it is, Fresh in one to
// overwrite. Both need R19, which Keep or Constants sets.
func (e *Func) Read(c Const) Reg {
	if e.asked != nil {
		*e.asked = append(*e.asked, c)
	}
	if r, ok := e.kept[c]; ok {
		return r
	}
	return e.Fresh(c)
}

func (e *Func) Fresh(c Const) Reg {
	return e.Load("R19", e.file.constant(fmt.Sprintf("%08x", c), c[:]...))
}

// Constants points R19 to them.
func (e *Func) Constants() { e.Ins("MOVD $%s(SB), R19", e.file.table()) }

// Keep loads the constants of the code that body emits before the loop that it
// is for: the rows, and as many of those that are read as there is room for.
func (e *Func) Keep(body func(dry *Func)) {
	e.Constants()
	var asked []Const
	dry := &Func{file: e.file, asked: &asked, rows: e.rows, pins: e.pins}
	body(dry)
	for ; e.pins < dry.pins; e.pins++ {
		pair := e.pin(e.pins)
		for name, r := range e.rows {
			if r == pair {
				e.Ins("FMOVQ %d(R19), F%d", e.file.data[name], pair)
				e.Ins("FMOVQ %d(R19), F%d", e.file.data[name]+16, pair+1)
			}
		}
	}
	for _, c := range asked {
		if _, ok := e.kept[c]; !ok && len(e.kept) < e.keeps {
			e.kept[c] = e.Fresh(c)
		}
	}
}

// Row returns the first of two registers that hold eight numbers. Keep must have
// seen it.
func (e *Func) Row(name string, row [8]float32) Reg {
	r, ok := e.rows[name]
	if !ok {
		var w [8]uint32
		for i, x := range row {
			w[i] = math.Float32bits(x)
		}
		e.file.constant(name, w[:]...)
		r = e.pin(e.pins)
		e.pins++
		e.rows[name] = r
	}
	return r
}

// pin is the first register of the i'th pair from V31 down.
func (e *Func) pin(i int) Reg { return pinned + Reg(30-2*i) }
