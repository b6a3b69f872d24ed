package schedules

import (
	"math"
	"testing"
)

func TestSincosAtanAndLog1pAgainstMath(t *testing.T) {
	for i := range 400000 {
		x := (float64(i) - 200000) * 1.3e-4
		if i%10 == 0 {
			x *= 1e6 / 26
		}
		sin, cos := Sincos(x)
		// Package math's own reduction is within 1e-16 of the angle and of |x|·2e-17.
		if s, c := math.Sincos(x); math.Abs(sin-s) > 3e-16 || math.Abs(cos-c) > 3e-16 {
			t.Fatalf("Sincos(%g) is %.17g and %.17g, want %.17g and %.17g", x, sin, cos, s, c)
		}
		for _, x := range []float64{x, 1 / x, x / 1e6} {
			if x-x == 0 {
				closeTo(t, "Atan", Atan(x), math.Atan(x), 9e-16)
			}
		}
		for _, x := range []float64{math.Abs(x), -math.Abs(x) / 1e6, 1 / (1 + math.Abs(x)), -1 / (1.001 + math.Abs(x)), x / 1e12} {
			closeTo(t, "Log1p", Log1p(x), math.Log1p(x), 7e-16)
		}
		if t.Failed() {
			t.Fatalf("at x = %g", x)
		}
	}
	// Near the zeros, digits of the small value, not of the angle.
	for k, want := range map[float64]float64{1: 6.123233995736766e-17, 2: 1.2246467991473532e-16} {
		sin, cos := Sincos(k * math.Pi / 2)
		if small := []float64{0, cos, sin}[int(k)]; math.Abs(small-want) > 1e-20 {
			t.Errorf("at %gπ/2 the small one is %g, want %g", k, small, want)
		}
	}
	if s, c := Sincos(0); s != 0 || c != 1 {
		t.Errorf("Sincos(0) is %g and %g", s, c)
	}
	if s, _ := Sincos(math.NaN()); !math.IsNaN(s) {
		t.Errorf("the sine of NaN is %g", s)
	}
	if a := Atan(math.Inf(-1)); a != -math.Pi/2 || Atan(0) != 0 || !math.IsNaN(Atan(math.NaN())) {
		t.Errorf("Atan at the ends: %g, %g, %g", a, Atan(0), Atan(math.NaN()))
	}
	if !math.IsInf(Log1p(-1), -1) || !math.IsNaN(Log1p(-2)) || !math.IsInf(Log1p(math.Inf(1)), 1) || Log1p(1e-300) != 1e-300 {
		t.Error("Log1p at the ends")
	}
}

func TestPhiAgainstMath(t *testing.T) {
	for x := -12.0; x < 12; x += 1e-3 {
		if got, want := phi(x), math.Erfc(-x/math.Sqrt2)/2; math.Abs(got-want) > 3e-15 {
			t.Fatalf("Φ(%g) is %.17g, want %.17g", x, got, want)
		}
	}
}
