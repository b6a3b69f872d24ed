// Package philox makes random numbers by the block: the counter-based
// generator Philox4x32-10 (Salmon et al. 2011, "Parallel Random Numbers: As
// Easy as 1, 2, 3") and the Box–Muller transformation of its words to normals.
//
// The numbers are the same bits on every machine: the assembly makes eight
// blocks at once with the operations of the generic code, in its order but for
// powers of two, and all of them are exactly rounded. While it transforms the
// words of eight it makes those of the next. The environment variable SAMPLEONNX_ISA
// (avx512, avx2, neon, generic) chooses below the machine's best, the build tag
// purego leaves the assembly out.
package philox

//go:generate go run -C _asm . ..

// Keys are the ten round keys, functions of the seed alone.
type Keys [10][2]uint32

// NewKeys returns the keys of a seed.
func NewKeys(seed uint64) (keys Keys) {
	k0, k1 := uint32(seed), uint32(seed>>32)
	for i := range keys {
		keys[i] = [2]uint32{k0, k1}
		k0 += 0x9E3779B9
		k1 += 0xBB67AE85
	}
	return keys
}

// Words makes blocks of four words, of the counters c, c+1 (in its first word),
// …: as many as w holds, an even number.
func (keys *Keys) Words(w []uint32, c [4]uint32) {
	// Two side by side, in registers, so that the multiplications of one hide
	// the other's wait.
	for ; len(w) >= 8; w = w[8:] {
		x0, x1, x2, x3 := c[0], c[1], c[2], c[3]
		y0, y1, y2, y3 := x0+1, x1, x2, x3
		for _, k := range keys {
			p, q := uint64(x0)*0xD2511F53, uint64(x2)*0xCD9E8D57
			x0, x1, x2, x3 = uint32(q>>32)^x1^k[0], uint32(q), uint32(p>>32)^x3^k[1], uint32(p)
			p, q = uint64(y0)*0xD2511F53, uint64(y2)*0xCD9E8D57
			y0, y1, y2, y3 = uint32(q>>32)^y1^k[0], uint32(q), uint32(p>>32)^y3^k[1], uint32(p)
		}
		out := (*[8]uint32)(w)
		out[0], out[1], out[2], out[3] = x0, x1, x2, x3
		out[4], out[5], out[6], out[7] = y0, y1, y2, y3
		c[0] += 2
	}
}
