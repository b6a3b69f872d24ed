package onnx

import (
	"math"
	"testing"
)

// TestFloat16 goes through every binary16 number, and through every boundary
// between two neighbours: the midpoint, and the float32 on each side of it.
func TestFloat16(t *testing.T) {
	for h := range 1 << 16 {
		f := Float16ToFloat32(uint16(h))
		if got, want := float64(f), float16Value(uint16(h)); got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Fatalf("%04x is %v, want %v", h, got, want)
		}
		back := Float32ToFloat16(f)
		if math.IsNaN(float64(f)) {
			if back&0x7fff <= 0x7c00 || back&0x8000 != uint16(h)&0x8000 {
				t.Fatalf("NaN %04x comes back as %04x", h, back)
			}
			continue
		}
		if back != uint16(h) {
			t.Fatalf("%04x comes back as %04x", h, back)
		}
	}
	boundaries(t, 0x7c00, 0x8000, float16Value, Float32ToFloat16)
}

func TestBFloat16(t *testing.T) {
	val := func(h uint16) float64 { return float64(math.Float32frombits(uint32(h) << 16)) }
	for h := range 1 << 16 {
		f := BFloat16ToFloat32(uint16(h))
		back := Float32ToBFloat16(f)
		if math.IsNaN(val(uint16(h))) {
			if !math.IsNaN(float64(f)) || !math.IsNaN(val(back)) {
				t.Fatalf("NaN %04x comes back as %04x", h, back)
			}
			continue
		}
		if float64(f) != val(uint16(h)) || back != uint16(h) {
			t.Fatalf("%04x is %v and comes back as %04x", h, f, back)
		}
	}
	if got := Float32ToBFloat16(math.Float32frombits(0x7f800001)); !math.IsNaN(val(got)) {
		t.Errorf("the smallest NaN becomes %04x", got)
	}
	boundaries(t, 0x7f80, 0x8000, val, Float32ToBFloat16)
}

// boundaries checks round-to-nearest-even between all neighbours below inf.
// The midpoint below infinity counts as if one more number followed.
func boundaries(t *testing.T, inf, sign uint16, val func(uint16) float64, round func(float32) uint16) {
	t.Helper()
	for h := range inf {
		lo, hi := val(h), val(h+1)
		if h+1 == inf {
			hi = lo + (lo - val(h-1))
		}
		mid := float32((lo + hi) / 2)
		even := h + h&1
		for _, c := range []struct {
			f    float32
			want uint16
		}{
			{math.Nextafter32(mid, 0), h},
			{mid, even},
			{math.Nextafter32(mid, float32(math.Inf(1))), h + 1},
		} {
			if float64(c.f) < lo || float64(c.f) > hi || float64(mid) != (lo+hi)/2 {
				continue // float32 has no number in between (subnormal bfloat16)
			}
			if got := round(c.f); got != c.want {
				t.Fatalf("%v rounds to %04x, want %04x", c.f, got, c.want)
			}
			if got := round(-c.f); got != c.want|sign {
				t.Fatalf("%v rounds to %04x, want %04x", -c.f, got, c.want|sign)
			}
		}
	}
	for _, f := range []float32{math.MaxFloat32, float32(math.Inf(1))} {
		if got := round(f); got != inf {
			t.Errorf("%v rounds to %04x, want %04x", f, got, inf)
		}
	}
}

// float16Value is IEEE 754's definition of binary16.
func float16Value(h uint16) float64 {
	sign := 1.0
	if h&0x8000 != 0 {
		sign = -1
	}
	exp, man := int(h>>10&31), float64(h&1023)
	switch exp {
	case 0:
		return sign * math.Ldexp(man, -24)
	case 31:
		if man != 0 {
			return math.NaN()
		}
		return sign * math.Inf(1)
	}
	return sign * math.Ldexp(1024+man, exp-25)
}
