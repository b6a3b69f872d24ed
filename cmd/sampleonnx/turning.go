package main

import (
	"math"

	"sampleonnx/sampler"
)

// turning is noise for rows of samples, each between two: along a row it turns from one draw to another, cos θ z + sin θ z' with θ from 0 to π/2, and
// stays normal on the way (Song & Ermon 2020, NCSNv2's interpolation). Whatever the sampler, what it makes of a row goes from one sample to another.
type turning struct {
	noise sampler.Noise
	row   uint64 // samples in a row, 2 or more
}

// Normal fills dst: sample k of row r is between the samples 2r and 2r+1 of the noise itself.
func (t turning) Normal(dst []float32, at sampler.Draw) error {
	other := make([]float32, at.Dim)
	for sample := at.First; len(dst) > 0; sample++ {
		row := dst[:at.Dim]
		dst = dst[at.Dim:]
		at.First = 2 * (sample / t.row)
		if err := t.noise.Normal(row, at); err != nil {
			return err
		}
		at.First++
		if err := t.noise.Normal(other, at); err != nil {
			return err
		}
		sin, cos := math.Sincos(math.Pi / 2 * float64(sample%t.row) / float64(t.row-1))
		for i, z := range row {
			row[i] = float32(float64(cos*float64(z)) + float64(sin*float64(other[i])))
		}
	}
	return nil
}

// Uniform is the same along a row, as a start is in NCSNv2's code: between two uniform numbers there is none.
func (t turning) Uniform(dst []float32, at sampler.Draw) error {
	for sample := at.First; len(dst) > 0; sample++ {
		at.First = sample / t.row
		if err := t.noise.Uniform(dst[:at.Dim], at); err != nil {
			return err
		}
		dst = dst[at.Dim:]
	}
	return nil
}
