package neon

import (
	"fmt"
	"slices"
	"strings"
)

// assemble gives the virtual registers their numbers, by a scan of the times
// between their first and last mention. A register that lives when a loop
// begins, and is mentioned in it, lives to its end.
func (e *Func) assemble() (string, bool) {
	first, last := make([]int, e.regs), make([]int, e.regs)
	for i := range first {
		first[i] = -1
	}
	labels := map[string]int{}
	type span struct{ from, to int }
	var loops []span
	for i, l := range e.lines {
		if l.label != "" {
			labels[l.label] = i
		}
		if at, ok := labels[l.to]; ok && l.to != "" {
			loops = append(loops, span{at, i})
		}
		for _, a := range l.args {
			if r, ok := a.(Reg); ok && r < pinned {
				if first[r] < 0 {
					first[r] = i
				}
				last[r] = i
			}
		}
	}
	for changed := true; changed; {
		changed = false
		for _, s := range loops {
			for r := range first {
				if first[r] < s.from && last[r] >= s.from && last[r] < s.to {
					last[r], changed = s.to, true
				}
			}
		}
	}
	order := make([]int, 0, e.regs)
	for r := range first {
		if first[r] >= 0 {
			order = append(order, r)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return first[a] - first[b] })
	number, until := make([]int, e.regs), make([]int, 32-2*e.pins)
	for _, r := range order {
		// A result may take the place of a source that is not needed again.
		at := slices.IndexFunc(until, func(u int) bool { return u <= first[r] })
		if at < 0 {
			return "", false
		}
		number[r], until[at] = at, last[r]
	}
	physical := func(r Reg) uint32 {
		if r >= pinned {
			return uint32(r - pinned)
		}
		return uint32(number[r])
	}
	var b strings.Builder
	for _, l := range e.lines {
		switch {
		case l.label != "":
			b.WriteString(l.label + ":\n")
		case l.format == "":
			w := l.args[0].(word)
			bits, text := w.bits, ""
			for i, a := range l.args[1:] {
				n := physical(a.(Reg))
				bits |= n << []int{0, 5, 16}[i]
				text += fmt.Sprintf(" V%d", n)
			}
			fmt.Fprintf(&b, "\tWORD $0x%08X // %s%s\n", bits, w.name, text)
		default:
			args := slices.Clone(l.args)
			for i, a := range args {
				if r, ok := a.(Reg); ok {
					args[i] = physical(r)
				}
			}
			fmt.Fprintf(&b, l.format+"\n", args...)
		}
	}
	return b.String(), true
}
