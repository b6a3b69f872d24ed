package sampler

import (
	"fmt"
	"math/bits"
)

// Philox is the counter-based generator Philox4x32-10 (Salmon et al. 2011,
// "Parallel Random Numbers: As Easy as 1, 2, 3") with the given seed as its
// key. Each value is a function of (seed, sample, purpose, draw, element)
// alone, so sample i is the same in any batch, on any machine, and can be
// drawn again without drawing the others.
//
// The counter's words are element/4, draw index, the low half of the sample
// index, and purpose + 2⁸ × the high part of the sample index: there are 2⁵⁶
// samples a seed.
type Philox uint64

// chunk is how many blocks of four words are made before they are transformed:
// two simple loops, each fit for vector instructions.
const chunk = 16

type words [4 * chunk]uint32

// Normal draws by Box–Muller, in float64, with one rounding to float32.
func (p Philox) Normal(dst []float32, at Draw) error { return p.fill(dst, at, true) }

// Uniform draws multiples of 2⁻²⁴, each exactly a float32.
func (p Philox) Uniform(dst []float32, at Draw) error { return p.fill(dst, at, false) }

func uniform(dst []float32, w *words) {
	for i := range dst {
		dst[i] = float32(w[i]>>8) * 0x1p-24
	}
}

func (p Philox) fill(dst []float32, at Draw, normal bool) error {
	if at.Dim <= 0 || len(dst)%at.Dim != 0 {
		return fmt.Errorf("sampler: %d values are no samples of %d", len(dst), at.Dim)
	}
	n := uint64(len(dst) / at.Dim)
	const samples = 1 << 56
	if at.First >= samples || n > samples-at.First || uint64(at.Dim)/4 > 1<<32-1 {
		return fmt.Errorf("sampler: sample %d of %d values is beyond the generator's counter", at.First, at.Dim)
	}
	var w words
	for i := range n {
		row := dst[int(i)*at.Dim : (int(i)+1)*at.Dim]
		sample := at.First + i
		ctr := [4]uint32{0, at.Index, uint32(sample), uint32(at.Purpose) | uint32(sample>>32)<<8}
		for len(row) > 0 {
			part := row[:min(len(row), len(w))]
			for b := 0; b < len(part); b += 4 {
				out := philox(ctr, uint64(p))
				w[b], w[b+1], w[b+2], w[b+3] = out[0], out[1], out[2], out[3]
				ctr[0]++
			}
			if normal {
				boxMuller(part, &w)
			} else {
				uniform(part, &w)
			}
			row = row[len(part):]
		}
	}
	return nil
}

// philox is the bijection of counters under one key.
func philox(c [4]uint32, key uint64) [4]uint32 {
	k0, k1 := uint32(key), uint32(key>>32)
	for range 10 {
		h0, l0 := bits.Mul32(0xD2511F53, c[0])
		h1, l1 := bits.Mul32(0xCD9E8D57, c[2])
		c = [4]uint32{h1 ^ c[1] ^ k0, l1, h0 ^ c[3] ^ k1, l0}
		k0 += 0x9E3779B9
		k1 += 0xBB67AE85
	}
	return c
}
