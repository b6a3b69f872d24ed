package onnx

import (
	"math"
	"runtime/debug"
	"testing"
)

func TestDefaultMemory(t *testing.T) {
	whole := DefaultMemory()
	if whole < 64<<20 || whole > 1<<50 {
		t.Errorf("%d bytes by default", whole)
	}
	if l := (Limits{}).WithDefaults(); l.Memory != min(whole, math.MaxInt) {
		t.Errorf("Limits.Memory is %d by default, want %d", l.Memory, whole)
	}
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(1 << 25)) // GOMEMLIMIT
	if got := DefaultMemory(); got != 1<<24 {
		t.Errorf("%d bytes by default where the process may have %d", got, 1<<25)
	}
}
