package sampler

import (
	"fmt"

	"sampleonnx/sampler/internal/philox"
)

// Philox is the counter-based generator Philox4x32-10 (Salmon et al. 2011,
// "Parallel Random Numbers: As Easy as 1, 2, 3") with the given seed as its
// key. Each value is a function of (seed, sample, purpose, draw, element)
// alone, so sample i is the same in any batch, on any machine, and can be
// drawn again without drawing the others.
//
// The counter's words are element/4, the low half of the draw index, the low
// half of the sample index, and purpose + 2⁸ × the high part of the sample
// index: there are 2⁵⁶ samples a seed. Where a draw index has a high half, which
// those of a path's nodes have, the key is a block made of it with the seed.
type Philox uint64

// Normal draws by Box–Muller, in float64, with one rounding to float32.
func (p Philox) Normal(dst []float32, at Draw) error {
	if err := counted(dst, at); err != nil {
		return err
	}
	rows := philox.Normals{Keys: p.keys(at)}
	for sample := at.First; len(dst) > 0; sample++ {
		rows.Row(dst[:at.Dim], counter(at, sample))
		dst = dst[at.Dim:]
	}
	rows.Flush()
	return nil
}

// Uniform draws multiples of 2⁻²⁴, each exactly a float32.
func (p Philox) Uniform(dst []float32, at Draw) error {
	if err := counted(dst, at); err != nil {
		return err
	}
	keys := p.keys(at)
	var w [64]uint32
	for sample := at.First; len(dst) > 0; sample++ {
		row, c := dst[:at.Dim], counter(at, sample)
		dst = dst[at.Dim:]
		for len(row) > 0 {
			part := row[:min(len(row), len(w))]
			keys.Words(w[:(len(part)+7)/8*8], c)
			for i := range part {
				part[i] = float32(w[i]>>8) * 0x1p-24
			}
			row = row[len(part):]
			c[0] += uint32(len(w) / 4)
		}
	}
	return nil
}

func (p Philox) keys(at Draw) philox.Keys {
	keys := philox.NewKeys(uint64(p))
	if high := at.Index >> 32; high != 0 {
		const last = 1<<32 - 1 // which no other draw comes to
		var w [8]uint32
		keys.Words(w[:], [4]uint32{uint32(high), last, last, last})
		keys = philox.NewKeys(uint64(w[0]) | uint64(w[1])<<32)
	}
	return keys
}

// counter is the first of a sample's row.
func counter(at Draw, sample uint64) [4]uint32 {
	return [4]uint32{0, uint32(at.Index), uint32(sample), uint32(at.Purpose) | uint32(sample>>32)<<8}
}

// counted refuses what has no counters.
func counted(dst []float32, at Draw) error {
	if at.Dim <= 0 || len(dst)%at.Dim != 0 {
		return fmt.Errorf("sampler: %d values are no samples of %d", len(dst), at.Dim)
	}
	n := uint64(len(dst) / at.Dim)
	const samples = 1 << 56
	if at.First >= samples || n > samples-at.First || uint64(at.Dim)/4 > 1<<32-1 {
		return fmt.Errorf("sampler: sample %d of %d values is beyond the generator's counter", at.First, at.Dim)
	}
	return nil
}
