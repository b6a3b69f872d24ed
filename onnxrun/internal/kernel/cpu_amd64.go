//go:build !purego

package kernel

import "golang.org/x/sys/cpu"

// detect asks for what the assembly uses: F for the arithmetic, DQ, BW and VL
// for the masks and the narrow forms.
func detect() level {
	x := &cpu.X86
	switch {
	case x.HasAVX512F && x.HasAVX512DQ && x.HasAVX512BW && x.HasAVX512VL && x.HasAVX2 && x.HasFMA:
		return avx512
	case x.HasAVX2 && x.HasFMA:
		return avx2
	}
	return generic
}
