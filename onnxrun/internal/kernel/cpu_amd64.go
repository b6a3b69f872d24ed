//go:build !purego

package kernel

import "golang.org/x/sys/cpu"

// reachable lists the levels of this machine, the best last. It asks for what
// the assembly uses: of AVX-512 F for the arithmetic, DQ, BW and VL for the
// masks and the narrow forms.
func reachable() []level {
	x := &cpu.X86
	switch {
	case x.HasAVX512F && x.HasAVX512DQ && x.HasAVX512BW && x.HasAVX512VL && x.HasAVX2 && x.HasFMA:
		return []level{generic, avx2, avx512}
	case x.HasAVX2 && x.HasFMA:
		return []level{generic, avx2}
	}
	return []level{generic}
}
