package sampler

import (
	"fmt"
	"math"
)

// Jax is JAX's noise on a CPU, of the loop
//
//	rng = jax.random.PRNGKey(seed)
//	rng, key = jax.random.split(rng); z = jax.random.normal(key, (n, …))
//
// whose second line is repeated for every draw: Threefry2x32-20 (Salmon et al.
// 2011) with JAX's partitionable counters, its default, in which a value
// depends on its place alone and not on n. Words and uniforms are JAX's bits on
// every machine; normals, by Giles' polynomials for erf⁻¹ ("Approximating the
// erfinv function", 2012), are those of jaxlib 0.10 on x86 with fused
// multiplication and addition, which fuses as it is done here.
//
// Draws are told apart by their order, as in [Torch] and [Replay]. The cost of
// one grows with the number of those before it. Seeds have 64 bits, where JAX
// by default takes 32.
type Jax uint64

// Normal is jax.random.normal.
func (s Jax) Normal(dst []float32, at Draw) error {
	// The smallest uniform is the float32 above −1.
	const least = -0x1.fffffep-1
	return s.fill(dst, at, func(u float32) float32 {
		return jaxNormal(max(least, float32(2*u)+least))
	})
}

// Uniform is jax.random.uniform.
func (s Jax) Uniform(dst []float32, at Draw) error {
	return s.fill(dst, at, func(u float32) float32 { return u })
}

func (s Jax) fill(dst []float32, at Draw, of func(uniform float32) float32) error {
	if at.Dim <= 0 || len(dst)%at.Dim != 0 {
		return fmt.Errorf("sampler: %d values are no samples of %d", len(dst), at.Dim)
	}
	if at.First > (math.MaxInt64-uint64(len(dst)))/uint64(at.Dim) {
		return fmt.Errorf("sampler: sample %d of %d values is beyond the generator's counter", at.First, at.Dim)
	}
	rng := [2]uint32{uint32(s >> 32), uint32(s)}
	for range at.Seq {
		rng = threefry(rng, 0)
	}
	key, first := threefry(rng, 1), at.First*uint64(at.Dim)
	for i := range dst {
		y := threefry(key, first+uint64(i))
		dst[i] = of(math.Float32frombits((y[0]^y[1])>>9|0x3f800000) - 1)
	}
	return nil
}

// threefry is Threefry2x32-20 of a counter.
func threefry(key [2]uint32, counter uint64) [2]uint32 {
	ks := [3]uint32{key[0], key[1], key[0] ^ key[1] ^ 0x1BD11BDA}
	x0, x1 := uint32(counter>>32)+ks[0], uint32(counter)+ks[1]
	for i := range uint32(5) {
		turns := [4]uint32{13, 15, 26, 6}
		if i%2 == 1 {
			turns = [4]uint32{17, 29, 16, 24}
		}
		for _, r := range turns {
			x0 += x1
			x1 = (x1<<r | x1>>(32-r)) ^ x0
		}
		x0 += ks[(i+1)%3]
		x1 += ks[(i+2)%3] + i + 1
	}
	return [2]uint32{x0, x1}
}

// jaxNormal is √2 erf⁻¹(u).
func jaxNormal(u float32) float32 {
	p := [9]float32{2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
		-0.00125372503, -0.00417768164, 0.246640727, 1.50140941}
	l := jaxLog1p(-float32(u * u))
	w := -2.5 - l
	if !(l > -5) {
		p = [9]float32{-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
			-0.0076224613, 0.00943887047, 1.00167406, 2.83297682}
		w = float32(math.Sqrt(float64(-l))) - 3
	}
	return float32(float32(u*fused(w, p[:]...)) * math.Sqrt2)
}

// jaxLog1p is XLA's log1p in float32, for −1 < x ≤ 0.
func jaxLog1p(x float32) float32 {
	if -x < 0x1.a8279ap-2 { // √2 − 1: Cephes' rational function
		den := fused(x, 1, 15.0629091, 83.0475660, 221.762398, 309.098724, 216.427887, 60.1186600)
		num := fused(x, 4.527e-05, 0.498541027, 6.57873249, 29.9119186, 60.9496689, 57.1129646, 20.0395535)
		z := float32(x * x)
		r := float32(float32(z*x) * (num / den))
		return x + fma32(-0.5, z, r)
	}
	// Cephes' logf.
	bits := math.Float32bits(1 + x)
	e := float32(int32(bits>>23) - 126)
	m := math.Float32frombits(bits&0x807fffff | 0x3f000000)
	s := m - 1
	if m < 0x1.6a09e6p-1 {
		e--
		s += m
	}
	z := float32(s * s)
	cube := float32(z * s)
	a := fused(s, 0.0703768358, -0.115146101, 0.116769984)
	b := fused(s, -0.124201410, 0.142493233, -0.166680574)
	c := fused(s, 0.200007141, -0.249999940, 0.333333313)
	b = fma32(cube, fma32(cube, a, b), c)
	d := fma32(cube, b, float32(e*-0.000212194442))
	return fma32(e, 0.693359375, fma32(-0.5, z, s)+d)
}

// fused is the polynomial with the coefficients from the highest power down.
func fused(x float32, coefficients ...float32) float32 {
	p := coefficients[0]
	for _, c := range coefficients[1:] {
		p = fma32(p, x, c)
	}
	return p
}
