package sampler

import (
	"fmt"
	"math"
)

// An Operator is a linear measurement y = A x of one sample: [Mask],
// [Average], [Gray], [Blur], [Matrix] or one's own. Its methods write all of
// their first argument, keep neither, and may be called from many goroutines.
type Operator interface {
	Size() (rows, cols int) // values in y and in x
	Apply(y, x []float64)   // y = A x
	Adjoint(x, y []float64) // x = Aᵀ y
	Inverse(x, y []float64) // x = A⁺ y, the pseudo-inverse
}

// Mask measures the known values of a sample, in order: inpainting. It fails
// if none is known.
func Mask(known []bool) (Operator, error) {
	m := mask{cols: len(known)}
	for i, k := range known {
		if k {
			m.at = append(m.at, i)
		}
	}
	if len(m.at) == 0 {
		return nil, fmt.Errorf("sampler: a mask of %d values knows none", len(known))
	}
	return m, nil
}

type mask struct {
	at   []int // of the known values
	cols int
}

func (m mask) Size() (rows, cols int) { return len(m.at), m.cols }

func (m mask) Apply(y, x []float64) {
	for k, i := range m.at {
		y[k] = x[i]
	}
}

func (m mask) Adjoint(x, y []float64) {
	clear(x)
	for k, i := range m.at {
		x[i] = y[k]
	}
}

func (m mask) Inverse(x, y []float64) { m.Adjoint(x, y) }

// Average measures the means of k×k blocks of an image of shape
// [channels, height, width]: super-resolution. k divides height and width.
func Average(channels, height, width, k int) (Operator, error) {
	if channels < 1 || height < 1 || width < 1 || k < 1 || height%k != 0 || width%k != 0 {
		return nil, fmt.Errorf("sampler: an image of shape [%d %d %d] has no blocks of %d×%d", channels, height, width, k, k)
	}
	return average{channels * height / k, width / k, k}, nil
}

// average has rows of blocks, the channels' below each other.
type average struct{ rows, columns, k int }

func (a average) Size() (rows, cols int) {
	n := a.rows * a.columns
	return n, n * a.k * a.k
}

func (a average) Apply(y, x []float64) {
	clear(y)
	a.rowsOf(y, x, func(y, x []float64) {
		for b := range y {
			for _, v := range x[b*a.k : (b+1)*a.k] {
				y[b] += v
			}
		}
	})
	for i := range y {
		y[i] /= float64(a.k * a.k)
	}
}

func (a average) Adjoint(x, y []float64) { a.spread(x, y, 1/float64(a.k*a.k)) }

// Inverse repeats: A Aᵀ = I/k².
func (a average) Inverse(x, y []float64) { a.spread(x, y, 1) }

// spread gives all pixels of a block its value times c.
func (a average) spread(x, y []float64, c float64) {
	a.rowsOf(y, x, func(y, x []float64) {
		for b, v := range y {
			for i := range x[b*a.k : (b+1)*a.k] {
				x[b*a.k+i] = c * v
			}
		}
	})
}

// rowsOf goes through the rows of pixels, each with the row of blocks that it is in.
func (a average) rowsOf(y, x []float64, do func(y, x []float64)) {
	width := a.columns * a.k
	for r := range a.rows * a.k {
		do(y[r/a.k*a.columns:][:a.columns], x[r*width:][:width])
	}
}

// Gray measures Σ_c x_c/√channels at each of the pixels of an image of
// [channels, height, width]: colorization. It is the first of the coordinates
// into which Song et al. 2021, appendix I.3, turn the colours of a pixel by an
// orthonormal matrix with the columns (1, 1, 1)/√3, (−2, 1, 1)/√6 and
// (0, 1, −1)/√2; the others are unknown, so any basis of them will do. A grey
// image g, the same in all channels, measures √channels·g.
func Gray(channels, pixels int) (Operator, error) {
	if channels < 1 || pixels < 1 {
		return nil, fmt.Errorf("sampler: an image of %d channels of %d pixels has no grey", channels, pixels)
	}
	return gray{channels, pixels}, nil
}

type gray struct{ channels, pixels int }

func (g gray) Size() (rows, cols int) { return g.pixels, g.channels * g.pixels }

func (g gray) Apply(y, x []float64) {
	clear(y)
	for i, v := range x {
		y[i%g.pixels] += v
	}
	for i := range y {
		y[i] /= math.Sqrt(float64(g.channels))
	}
}

func (g gray) Adjoint(x, y []float64) {
	for i := range x {
		x[i] = y[i%g.pixels] / math.Sqrt(float64(g.channels))
	}
}

func (g gray) Inverse(x, y []float64) { g.Adjoint(x, y) }
