package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// eachISA runs f at every instruction set this machine can reach.
func eachISA(t *testing.T, f func(t *testing.T)) {
	best := isa
	defer func() { isa = best }()
	for _, l := range reachable() {
		isa = l
		t.Run(ISA(), f)
	}
}

func eachISABench(b *testing.B, f func(b *testing.B)) {
	best := isa
	defer func() { isa = best }()
	for _, l := range slices.Backward(reachable()) {
		isa = l
		b.Run(ISA(), f)
	}
}

func random(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

// rounds is n, or few enough for the race detector.
func rounds(n int) int {
	if raceEnabled {
		return n/20 + 1
	}
	return n
}

const guardLen = 40

var guardValue = math.Float32frombits(0x7fc12345) // a NaN nobody computes

// guarded returns n elements between regions that checkGuard finds changed if
// anything wrote to them.
func guarded(n int) (whole, mid []float32) {
	whole = make([]float32, n+2*guardLen)
	for i := range whole {
		whole[i] = guardValue
	}
	return whole, whole[guardLen : guardLen+n : guardLen+n]
}

func checkGuard(t *testing.T, whole []float32) {
	t.Helper()
	n := len(whole)
	for i := 0; i < guardLen; i++ {
		if math.Float32bits(whole[i]) != math.Float32bits(guardValue) {
			t.Fatalf("wrote %d before the start", guardLen-i)
		}
		if math.Float32bits(whole[n-1-i]) != math.Float32bits(guardValue) {
			t.Fatalf("wrote %d after the end", guardLen-i-1)
		}
	}
}

func sameBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: element %d is %v, want %v", what, i, got[i], want[i])
		}
	}
}

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if v := recover(); v == nil {
			t.Errorf("%s: no panic", what)
		} else if s := fmt.Sprint(v); len(s) < 8 || s[:7] != "kernel:" {
			t.Errorf("%s: unclear panic: %v", what, v)
		}
	}()
	f()
}

// aligned is n zeros that start on a 64-byte boundary, as whole vectors like it. No
// kernel requires it.
func aligned(n int) []float32 {
	x := make([]float32, n+vector/4-1)
	return x[misaligned(x):][:n:n]
}
