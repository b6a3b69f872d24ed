package sampler

import (
	"math"
	"testing"
)

// Random123's known answers, and JAX's splits of the key 42.
func TestThreefryKnownAnswers(t *testing.T) {
	for _, c := range []struct {
		key     [2]uint32
		counter uint64
		want    [2]uint32
	}{
		{[2]uint32{}, 0, [2]uint32{0x6b200159, 0x99ba4efe}},
		{[2]uint32{math.MaxUint32, math.MaxUint32}, math.MaxUint64, [2]uint32{0x1cb996fc, 0xbb002be7}},
		{[2]uint32{0x13198a2e, 0x03707344}, 0x243f6a8885a308d3, [2]uint32{0xc4923a9c, 0x483df7a0}},
		{[2]uint32{0, 42}, 0, [2]uint32{1832780943, 270669613}},
		{[2]uint32{0, 42}, 1, [2]uint32{64467757, 2916123636}},
	} {
		if got := threefry(c.key, c.counter); got != c.want {
			t.Errorf("threefry(%x, %x) is %x, want %x", c.key, c.counter, got, c.want)
		}
	}
}

// What jax 0.10.2 gives on x86: the second draw of three seeds, whole and its
// end alone, and many normals by their hash.
func TestJaxIsBitExact(t *testing.T) {
	for seed, want := range map[Jax][15]uint32{
		0: {0xbfa0f507, 0xbecd9f18, 0xbf8f88ba, 0x3f60dd5d, 0xbf5c9bf9, 0x3eb16a37, 0x3f70c0e1, 0xbdfa8f2e, 0xbf98372b,
			0x3d927925, 0xbfe1221b, 0xbf836fc5, 0x3f83f422, 0xbb4cb769, 0x3c89626d},
		42: {0xbe57f3a4, 0xbfae700f, 0xbd3855f5, 0xbf93aa75, 0x3ff501af, 0xbef43b11, 0x3f25db3e, 0x3f2cbbc4, 0x403cdb19,
			0xbf5fdde0, 0x3fa6ff25, 0xbf069963, 0x3f0104d7, 0x3f850c9f, 0xbe29acf5},
		1<<40 + 7: {0xbf6b1db2, 0x3fef4b66, 0x3eaaa4b4, 0xbe7b1a5f, 0xbd90b625, 0xbeb85425, 0xbea1e0d1, 0x3f4b105a, 0xbf0f0efa,
			0x3f8c7550, 0xbfbc58ce, 0xbf59cbfd, 0x3f4f3df7, 0xbfdf3967, 0xbf2a2921},
	} {
		for first := range 5 {
			z := make([]float32, 15-3*first)
			if err := seed.Normal(z, Draw{Seq: 1, First: uint64(first), Dim: 3}); err != nil {
				t.Fatal(err)
			}
			for i, v := range z {
				if got, want := math.Float32bits(v), want[3*first+i]; got != want {
					t.Errorf("seed %d, from sample %d, value %d: %08x, want %08x", seed, first, i, got, want)
				}
			}
		}
	}
	u := make([]float32, 3)
	if err := Jax(42).Uniform(u, Draw{Seq: 1, Dim: 3}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []uint32{0x3ed53db4, 0x3db11910, 0x3ef6cf88} {
		if got := math.Float32bits(u[i]); got != want {
			t.Errorf("uniform %d: %08x, want %08x", i, got, want)
		}
	}
	long := make([]float32, 1<<16)
	if err := Jax(7).Normal(long, Draw{Dim: 4}); err != nil {
		t.Fatal(err)
	}
	if got, want := hashOf(long), uint64(0xf22d549d2e9e4aef); got != want {
		t.Errorf("65536 normals hash to %#x, want %#x", got, want)
	}
	for _, at := range []Draw{{}, {Dim: 7}, {Dim: 3, First: 1 << 62}} {
		if err := Jax(0).Normal(u, at); err == nil {
			t.Errorf("%+v: no error", at)
		}
	}
}
