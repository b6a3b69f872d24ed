package sampler

import "fmt"

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

// chunk is how many blocks of four words are made, an even number, before they
// are transformed.
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
	keys := p.keys()
	var w words
	for i := range n {
		row := dst[int(i)*at.Dim : (int(i)+1)*at.Dim]
		sample := at.First + i
		ctr := [4]uint32{0, at.Index, uint32(sample), uint32(at.Purpose) | uint32(sample>>32)<<8}
		for len(row) > 0 {
			part := row[:min(len(row), len(w))]
			w.fill((len(part)+3)/4, ctr, &keys)
			ctr[0] += chunk
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

// keys are the round keys, of the seed alone.
func (p Philox) keys() (keys [10][2]uint32) {
	k0, k1 := uint32(p), uint32(p>>32)
	for i := range keys {
		keys[i] = [2]uint32{k0, k1}
		k0 += 0x9E3779B9
		k1 += 0xBB67AE85
	}
	return keys
}

// fill makes n blocks, of the counters from c on: two side by side, in
// registers, so that the multiplications of one hide the other's wait.
func (w *words) fill(n int, c [4]uint32, keys *[10][2]uint32) {
	for b := 0; b < n; b += 2 {
		x0, x1, x2, x3 := c[0]+uint32(b), c[1], c[2], c[3]
		y0, y1, y2, y3 := x0+1, x1, x2, x3
		for _, k := range keys {
			p, q := uint64(x0)*0xD2511F53, uint64(x2)*0xCD9E8D57
			x0, x1, x2, x3 = uint32(q>>32)^x1^k[0], uint32(q), uint32(p>>32)^x3^k[1], uint32(p)
			p, q = uint64(y0)*0xD2511F53, uint64(y2)*0xCD9E8D57
			y0, y1, y2, y3 = uint32(q>>32)^y1^k[0], uint32(q), uint32(p>>32)^y3^k[1], uint32(p)
		}
		out := (*[8]uint32)(w[4*b:])
		out[0], out[1], out[2], out[3] = x0, x1, x2, x3
		out[4], out[5], out[6], out[7] = y0, y1, y2, y3
	}
}
