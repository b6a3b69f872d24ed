package sampler

import (
	"fmt"
	"math"
	"sync"

	"sampleonnx/schedules"
)

// Blur is the convolution of an image of shape [channels, height, width] with
// a Gaussian of standard deviation sigma pixels, cut off at 4σ and normalised,
// the image reflected at its edges (half-sample, as scipy's "reflect"). With
// that edge the discrete cosines diagonalise it:
//
//	A = (C_v ⊗ C_h)ᵀ diag(λ_i μ_j) (C_v ⊗ C_h),  λ_k = Σ_r g_r cos(πkr/n)
//
// so that A is its own adjoint. A Gaussian leaves hardly anything of high
// frequencies: Inverse has 1/(λ_i μ_j) where that product is at least cut in
// size and 0 elsewhere, which is the pseudo-inverse up to cut; to divide by less
// would only amplify the rounding of y. cut 0 means 0.01, that of images of 8 bits.
func Blur(channels, height, width int, sigma, cut float64) (Operator, error) {
	if channels < 1 || height < 1 || width < 1 || !(sigma > 0) || math.IsInf(sigma, 1) || !(cut >= 0 && cut < 1) {
		return nil, fmt.Errorf("sampler: no blur of %g pixels, cut off at %g, of an image of shape [%d %d %d]", sigma, cut, channels, height, width)
	}
	if max(height, width) > maxBlur || sigma > maxBlur {
		return nil, fmt.Errorf("sampler: a blur of %g pixels of an image of %d×%d: the most is %d", sigma, height, width, maxBlur)
	}
	kernel := gaussianKernel(sigma)
	b := &blur{channels: channels, cut: or(cut, 0.01)}
	b.v = cosinesOf(height, kernel)
	b.h = cosinesOf(width, kernel)
	return b, nil
}

const maxBlur = 4096 // pixels on a side: the cosines are a table of its square

// gaussianKernel is g_0 … g_r of a symmetric kernel of sum 1.
func gaussianKernel(sigma float64) []float64 {
	g := make([]float64, 1+int(math.Ceil(4*sigma)))
	sum := 0.0
	for r := range g {
		g[r] = schedules.Exp(-float64(r*r) / (2 * sigma * sigma))
		if sum += g[r]; r > 0 {
			sum += g[r]
		}
	}
	for r := range g {
		g[r] /= sum
	}
	return g
}

// cosines is the orthonormal DCT-II of n values, and a kernel's eigenvalues.
type cosines struct {
	n     int
	c     []float64 // c[k·n+j] = √(2/n) cos(πk(j+½)/n), k = 0 by 1/√2
	value []float64
}

func cosinesOf(n int, kernel []float64) cosines {
	t := cosines{n, make([]float64, n*n), make([]float64, n)}
	// cos(πi/2n) for all i, of which every entry is one: exactly symmetric.
	cos := make([]float64, 4*n)
	for i := range cos {
		_, cos[i] = schedules.Sincos(math.Pi * float64(i) / float64(2*n))
	}
	for k := range n {
		scale := math.Sqrt(2 / float64(n))
		if k == 0 {
			scale = math.Sqrt(1 / float64(n))
		}
		for j := range n {
			t.c[k*n+j] = scale * cos[k*(2*j+1)%(4*n)]
		}
		t.value[k] = kernel[0]
		for r, g := range kernel[1:] {
			t.value[k] += float64(2 * g * cos[2*k*(r+1)%(4*n)])
		}
	}
	return t
}

type blur struct {
	channels int
	cut      float64
	v, h     cosines // down and across
	pool     sync.Pool
}

func (b *blur) Size() (rows, cols int) {
	n := b.channels * b.v.n * b.h.n
	return n, n
}

func (b *blur) Apply(y, x []float64) {
	b.filter(y, x, func(l float64) float64 { return l })
}

func (b *blur) Adjoint(x, y []float64) { b.Apply(x, y) }

func (b *blur) Inverse(x, y []float64) {
	b.filter(x, y, func(l float64) float64 {
		if math.Abs(l) < b.cut {
			return 0
		}
		return 1 / l
	})
}

// filter multiplies every coefficient by a function of its eigenvalue.
func (b *blur) filter(dst, src []float64, by func(l float64) float64) {
	work, _ := b.pool.Get().(*[]float64)
	if work == nil {
		work = new([]float64)
	}
	defer b.pool.Put(work)
	h, w := b.v.n, b.h.n
	*work = grow(*work, h*w)
	tmp := *work
	for c := range b.channels {
		in, out := src[c*h*w:(c+1)*h*w], dst[c*h*w:(c+1)*h*w]
		for i := range h { // across: tmp = X C_hᵀ
			for k := range w {
				sum := 0.0
				for j, v := range in[i*w : (i+1)*w] {
					sum += float64(v * b.h.c[k*w+j])
				}
				tmp[i*w+k] = sum
			}
		}
		clear(out) // down: out = C_v tmp, and the filter
		for k := range h {
			row := out[k*w : (k+1)*w]
			for i := range h {
				c := b.v.c[k*h+i]
				for j, v := range tmp[i*w : (i+1)*w] {
					row[j] += float64(c * v)
				}
			}
			for j := range row {
				row[j] *= by(b.v.value[k] * b.h.value[j])
			}
		}
		clear(tmp) // up again: tmp = C_vᵀ out
		for k := range h {
			row := out[k*w : (k+1)*w]
			for i := range h {
				c := b.v.c[k*h+i]
				to := tmp[i*w : (i+1)*w]
				for j, v := range row {
					to[j] += float64(c * v)
				}
			}
		}
		clear(out) // and back across: out = tmp C_h
		for i := range h {
			to := out[i*w : (i+1)*w]
			for k, v := range tmp[i*w : (i+1)*w] {
				for j, c := range b.h.c[k*w : (k+1)*w] {
					to[j] += float64(v * c)
				}
			}
		}
	}
}
