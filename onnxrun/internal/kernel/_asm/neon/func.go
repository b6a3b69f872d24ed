package neon

import (
	"fmt"
	"log"
	"strings"
)

// Func is a function to be.
type Func struct {
	Frame  int // bytes of local memory, from buf-Frame(SP) on
	file   *File
	params []param
	size   int // of the parameters
	lines  []line
	regs   int
	pins   int // pairs of registers in use from V31 down
	keeps  int // how many constants may stay in registers
	kept   map[Const]Reg
	rows   map[string]Reg
	asked  *[]Const // while Keep listens: the constants in use
}

// Reg is a virtual vector register; those from pinned on are V0 and what follows.
type Reg int

const pinned = 1 << 20

// Fixed is register Vi itself, for functions that name all of theirs.
func Fixed(i int) Reg { return pinned + Reg(i) }

// line is a line of text. Arguments of type Reg become register numbers.
type line struct {
	format string
	args   []any
	label  string // this line is a label
	to     string // this line goes to a label
}

// param is a parameter of a function, or its result.
type param struct {
	name, kind string
	offset     int
}

// declare lays out the parameters of a signature.
func (e *Func) declare(sig string) {
	at := 0
	place := func(list string) {
		var names []string
		for _, p := range strings.Split(list, ",") {
			f := strings.Fields(p)
			names = append(names, f[0])
			if len(f) == 1 {
				continue
			}
			size := map[bool]int{true: 4, false: 8}[f[1] == "float32"]
			for _, n := range names {
				at = (at + size - 1) / size * size
				e.params = append(e.params, param{n, f[1], at})
				at += size
			}
			names = nil
		}
	}
	in, out, _ := strings.Cut(strings.TrimPrefix(sig, "func("), ")")
	place(in)
	if out = strings.Trim(out, " ()"); out != "" {
		at = (at + 7) &^ 7
		place(out)
	}
	e.size = at
}

// Arg is a parameter as an operand.
func (e *Func) Arg(name string) string {
	for _, p := range e.params {
		if p.name == name {
			return fmt.Sprintf("%s+%d(FP)", p.name, p.offset)
		}
	}
	panic(name)
}

// Args loads parameters into R0, R1 …
func (e *Func) Args(names ...string) {
	for i, n := range names {
		e.Ins("MOVD %s, R%d", e.Arg(n), i)
	}
}

// V is a new register.
func (e *Func) V() Reg { e.regs++; return Reg(e.regs - 1) }

// Ins emits an instruction of Go's assembler.
func (e *Func) Ins(format string, args ...any) {
	e.lines = append(e.lines, line{format: "\t" + format, args: args})
}

// Label marks where branches go.
func (e *Func) Label(name string) { e.lines = append(e.lines, line{label: name}) }

// Branch goes to a label: BNE, CBZ R1 …
func (e *Func) Branch(how, label string) {
	comma := " "
	if strings.Contains(how, " ") {
		comma = ", "
	}
	e.lines = append(e.lines, line{format: "\t" + how + comma + label, to: label})
}

// word is an instruction without its registers.
type word struct {
	name string
	bits uint32
}

// Word emits an instruction of words with bits added, of a shift for example.
func (e *Func) Word(name string, plus uint32, regs ...Reg) {
	bits, ok := words[name]
	if !ok {
		log.Fatal("no instruction ", name)
	}
	args := []any{word{name, bits | plus}}
	for _, r := range regs {
		args = append(args, r)
	}
	e.lines = append(e.lines, line{args: args})
}

// Op returns the result of an instruction in a new register; Into puts it into,
// or adds it to, one there is.
func (e *Func) Op(name string, sources ...Reg) Reg {
	d := e.V()
	e.Into(name, d, sources...)
	return d
}

func (e *Func) Into(name string, d Reg, sources ...Reg) {
	e.Word(name, 0, append([]Reg{d}, sources...)...)
}

// Load reads a vector, at bytes after a register.
func (e *Func) Load(base string, at int) Reg {
	d := e.V()
	e.Ins("FMOVQ %d(%s), F%d", at, base, d)
	return d
}

// Store writes a vector to where Load reads it.
func (e *Func) Store(v Reg, base string, at int) { e.Ins("FMOVQ F%d, %d(%s)", v, at, base) }

// Zero and Copy return a new register, to overwrite.
func (e *Func) Zero() Reg {
	d := e.V()
	e.Ins("VEOR V%[1]d.B16, V%[1]d.B16, V%[1]d.B16", d)
	return d
}

func (e *Func) Copy(a Reg) Reg { return e.Op("ORR.16B", a, a) }

// Broadcast is a parameter of type float32 in all lanes.
func (e *Func) Broadcast(name string) Reg {
	d := e.V()
	e.Ins("FMOVS %s, F%d", e.Arg(name), d)
	e.Into("DUP.4S", d, d)
	return d
}
