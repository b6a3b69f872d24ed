package sampler

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// PyTorch 2.15 on a CPU with AVX-512: after manual_seed, randn(n) and rand(n)
// in turn for these n, as the SHA-256 of all bytes.
func TestTorchIsBitExact(t *testing.T) {
	for seed, want := range map[uint64]string{
		0:         "feb157ce02b4961ad5b11f785d12405d8b2aa652b8c2840d15727545f53efc03",
		42:        "ea4f308ab85402a00db98dbf0b9c3c5869c10cacbbbaab4c67d3ddb1ac1280ec",
		1<<40 + 7: "b059fb750441b9143166e1f1cfc48c5e2962f6156e13844842b622c087678743",
	} {
		noise := &Torch{Seed: seed}
		h := sha256.New()
		seq := 0
		for _, n := range []int{5, 1000003, 3, 20, 64, 7, 50, 4096, 15, 16, 17} {
			x := make([]float32, n)
			for _, draw := range []func([]float32, Draw) error{noise.Normal, noise.Uniform} {
				if err := draw(x, Draw{Seq: seq, Dim: n}); err != nil {
					t.Fatal(err)
				}
				seq++
				buf := make([]byte, 4*n)
				for i, v := range x {
					binary.LittleEndian.PutUint32(buf[4*i:], math.Float32bits(v))
				}
				h.Write(buf)
			}
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != want {
			t.Errorf("seed %d: %s, want %s", seed, got, want)
		}
	}
}

func TestTorchKnownAnswers(t *testing.T) {
	draw := func(seed uint64, n int) []float32 {
		x := make([]float32, n)
		if err := (&Torch{Seed: seed}).Normal(x, Draw{Dim: n}); err != nil {
			t.Fatal(err)
		}
		return x
	}
	for _, c := range []struct {
		seed uint64
		n    int
		at   int
		want uint32
	}{
		{0, 32, 0, 0xbf901b85}, {0, 32, 1, 0xbf93808a}, {0, 32, 2, 0xbe804bd6}, {0, 32, 3, 0xbede255d}, {0, 32, 8, 0x3ea50138},
		{0, 5, 0, 0x3fc53f5c}, {0, 5, 1, 0xbe963c50}, {0, 5, 2, 0xc00b7149}, {0, 5, 3, 0x3f1184b6}, {0, 5, 4, 0xbf8ad1a1},
		{0, 20, 0, 0xbf901b85}, {0, 20, 4, 0x3f194d8b}, {0, 20, 19, 0x3d5c1b3a},
		{42, 32, 0, 0x3ff6a529}, {42, 32, 1, 0x3fbe5f53}, {42, 32, 2, 0x3f669567}, {42, 32, 3, 0xc006c0db},
	} {
		if got := math.Float32bits(draw(c.seed, c.n)[c.at]); got != c.want {
			t.Errorf("seed %d, randn(%d)[%d] is %08x, want %08x", c.seed, c.n, c.at, got, c.want)
		}
	}
	mt := &Torch{Seed: 5489}
	mt.begin(Draw{})
	var word uint32
	for range 10000 {
		word = mt.next()
	}
	if word != 4123659995 {
		t.Errorf("the 10,000th word of MT19937 is %d", word)
	}
}

// A prefix of a tensor is another tensor where it does not hold a multiple of
// 16 values, and a start rewinds.
func TestTorchIsASequence(t *testing.T) {
	b := &Batch{X: make([]float32, 100), Dim: 50, Noise: &Torch{Seed: 3}}
	start := func() []float32 {
		if err := b.Prior(1); err != nil {
			t.Fatal(err)
		}
		return append([]float32(nil), b.X...)
	}
	both := start()
	if !same(both, start()) {
		t.Error("Prior did not rewind")
	}
	b.X = b.X[:50]
	if one := start(); same(one, both[:50]) || !same(one[:32], both[:32]) {
		t.Error("a tensor of 50 values is not as PyTorch's")
	}
}

// fma32 against exact arithmetic, where the sum is near the middle of two
// float32 too.
func TestFusedMultiplyAdd(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	value := func() float32 {
		return math.Float32frombits(r.Uint32()&0x807fffff | (100+r.Uint32N(54))<<23)
	}
	for i := range 200000 {
		a, b, c := value(), value(), value()
		if i%2 == 0 {
			// a·b of few bits and c far above it or below: middles abound.
			a, b = float32(r.IntN(1<<12)), float32(r.IntN(1<<13)+1)
			c = float32(math.Ldexp(float64(r.IntN(1<<24)), r.IntN(80)-40))
			if i%4 == 0 {
				c = -c
			}
		}
		exact := new(big.Float).SetPrec(400).Mul(big.NewFloat(float64(a)), big.NewFloat(float64(b)))
		exact.SetPrec(400).Add(exact, big.NewFloat(float64(c)))
		want, _ := exact.Float32()
		if got := fma32(a, b, c); got != want && !(got == 0 && want == 0) {
			t.Fatalf("fma(%v, %v, %v) is %v, want %v", a, b, c, got, want)
		}
	}
}

func BenchmarkTorch(b *testing.B) {
	z := make([]float32, 3072)
	noise := &Torch{}
	for i := range b.N {
		noise.Normal(z, Draw{Seq: i, Dim: len(z)})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(z)), "ns/value")
}
