package sampler

import (
	"math"

	"sampleonnx/schedules"
)

// Torch is PyTorch's noise on a CPU: after torch.manual_seed(Seed), every draw
// is torch.randn, or torch.rand, of one contiguous float32 tensor that holds
// the whole batch, bit for bit. (On x86 with AVX2 or AVX-512; other
// processors' kernels may differ in a last bit.) With it a run of a PyTorch
// program can be repeated from its seed.
//
// It is a sequence, not a function of the sample: a sample depends on its
// place and on the size of its batch, and even the first samples of two
// batches differ where one of them does not hold a multiple of 16 values. For
// noise that belongs to the sample use [Philox]. The first draw of a run
// seeds, so that Prior and Uniform rewind; the high half of Seed is ignored, as
// PyTorch does. A Torch serves one batch at a time.
type Torch struct {
	Seed uint64

	mt     [624]uint32
	used   int
	seeded bool
	spare  float64 // the second of a pair that a small tensor left over
	have   bool
}

// Normal is torch.randn. PyTorch (aten/src/ATen/native/cpu/DistributionTemplates.h)
// has two ways: from 16 values on, blocks of 16 uniforms are turned into normals
// in place, 8 pairs at once, in float32; below, pairs in float64.
func (t *Torch) Normal(dst []float32, at Draw) error {
	t.begin(at)
	n := len(dst)
	if n < 16 {
		for i := range dst {
			dst[i] = float32(t.normal())
		}
		return nil
	}
	t.uniforms(dst)
	for i := 0; i+16 <= n; i += 16 {
		torchBlock((*[16]float32)(dst[i:]))
	}
	if n%16 != 0 {
		// The last 16 anew: some of them have been transformed already.
		last := dst[n-16:]
		t.uniforms(last)
		torchBlock((*[16]float32)(last))
	}
	return nil
}

// Uniform is torch.rand.
func (t *Torch) Uniform(dst []float32, at Draw) error {
	t.begin(at)
	t.uniforms(dst)
	return nil
}

func (t *Torch) begin(at Draw) {
	if t.seeded && at.Seq != 0 {
		return
	}
	// Matsumoto & Nishimura 1998, init_genrand.
	t.mt[0] = uint32(t.Seed)
	for i := uint32(1); i < 624; i++ {
		v := t.mt[i-1]
		t.mt[i] = 1812433253*(v^v>>30) + i
	}
	t.used, t.seeded, t.have = 624, true, false
}

// next is MT19937's next word.
func (t *Torch) next() uint32 {
	if t.used == 624 {
		for i := range t.mt {
			v := t.mt[i]&0x80000000 | t.mt[(i+1)%624]&0x7fffffff
			t.mt[i] = t.mt[(i+397)%624] ^ v>>1 ^ -(v&1)&0x9908b0df
		}
		t.used = 0
	}
	v := t.mt[t.used]
	t.used++
	v ^= v >> 11
	v ^= v << 7 & 0x9d2c5680
	v ^= v << 15 & 0xefc60000
	return v ^ v>>18
}

func (t *Torch) uniforms(dst []float32) {
	for i := range dst {
		dst[i] = float32(t.next()&0xffffff) * 0x1p-24
	}
}

// uniform64 has 53 bits of two words.
func (t *Torch) uniform64() float64 {
	hi := uint64(t.next())
	return float64((hi<<32|uint64(t.next()))&(1<<53-1)) * 0x1p-53
}

// normal is at::normal_distribution<double>, which keeps every second value.
func (t *Torch) normal() float64 {
	if t.have {
		t.have = false
		return t.spare
	}
	u1, u2 := t.uniform64(), t.uniform64()
	r := math.Sqrt(-2 * schedules.Log1p(-u2))
	sin, cos := schedules.Sincos(2 * math.Pi * u1)
	t.spare, t.have = r*sin, true
	return r * cos
}

// torchBlock is normal_fill_16_VECTORIZED: Box–Muller with Cephes' polynomials
// in float32 (avx_mathfun), where the compiler has fused multiplications with
// additions. Every float32 product is rounded by itself here; where theirs are
// fused, fma32 is.
func torchBlock(d *[16]float32) {
	for j := range 8 {
		r := float32(math.Sqrt(float64(-2 * torchLog(1-d[j]))))
		sin, cos := torchSincos(float32(2*math.Pi) * d[j+8])
		// The mean 0 is added, which turns −0 into 0.
		d[j] = float32(r*cos) + 0
		d[j+8] = float32(r*sin) + 0
	}
}

// fma32 is a·b+c with one rounding to float32. The product is exact in float64;
// of the sum's two roundings the first can only harm where it hits the middle
// of two float32, and there the error of the first decides.
func fma32(a, b, c float32) float32 {
	p, q := float64(float64(a)*float64(b)), float64(c)
	s := p + q
	bits := math.Float64bits(s)
	if bits&(1<<29-1) == 1<<28 {
		// s + rest is the sum exactly (Knuth's TwoSum).
		back := s - p
		if rest := (p - (s - back)) + (q - back); rest != 0 {
			if (rest > 0) == (s > 0) {
				bits++
			} else {
				bits--
			}
			s = math.Float64frombits(bits)
		}
	}
	return float32(s)
}

func torchLog(x float32) float32 {
	x = max(x, 0x1p-126)
	bits := math.Float32bits(x)
	e := float32(int32(bits>>23) - 126)
	x = math.Float32frombits(bits&0x807fffff | 0x3f000000)
	if x < 0.707106781186547524 {
		e--
		x = (x - 1) + x
	} else {
		x--
	}
	z := float32(x * x)
	y := float32(7.0376836292e-2)
	for _, p := range [...]float32{-1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
		-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1} {
		y = fma32(y, x, p)
	}
	y = float32(y * x)
	y = fma32(y, z, float32(e*-2.12194440e-4))
	y = fma32(-z, 0.5, y)
	x += y
	return fma32(e, 0.693359375, x)
}

func torchSincos(x float32) (sin, cos float32) {
	j := (int32(float32(x*1.27323954473516)) + 1) &^ 1
	y := float32(j)
	x = fma32(y, -0.78515625, x)
	x = fma32(y, -2.4187564849853515625e-4, x)
	x = fma32(y, -3.77489497744594108e-8, x)
	z := float32(x * x)
	c := fma32(fma32(2.443315711809948e-5, z, -1.388731625493765e-3), z, 4.166664568298827e-2)
	c = float32(c * z)
	c = fma32(c, z, -float32(z*0.5))
	c++
	s := fma32(fma32(-1.9515295891e-4, z, 8.3321608736e-3), z, -1.6666654611e-1)
	s = float32(s * z)
	s = fma32(s, x, x)
	if j&2 != 0 {
		s, c = c, s
	}
	if j&4 != 0 {
		s = -s
	}
	if ^(j-2)&4 != 0 {
		c = -c
	}
	return s, c
}
