package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// normRow is a row by definition, in float64.
func normRow(x, scale, bias []float32, eps float64, centred bool) (z []float64, mean, inverse float64) {
	if centred {
		for _, v := range x {
			mean += float64(v) / float64(len(x))
		}
	}
	square := 0.0
	for _, v := range x {
		d := float64(v) - mean
		square += d * d / float64(len(x))
	}
	inverse = 1 / math.Sqrt(square+eps)
	for j, v := range x {
		w := (float64(v) - mean) * inverse * float64(scale[j])
		if bias != nil {
			w += float64(bias[j])
		}
		z = append(z, w)
	}
	return z, mean, inverse
}

// Rows of every length, near to 0 and far from it, are the normalisation by
// definition; a row alone is the row among others, and AVX2 and AVX-512 agree to
// the bit.
func TestNormRows(t *testing.T) {
	var first [][]float32
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(24, 25))
		var all [][]float32
		for i := range 300 {
			n, rows := 1+i, 1+r.IntN(5)
			if i > 200 {
				n, rows = 1+r.IntN(1100), 1+r.IntN(40)
			}
			centred := r.IntN(3) > 0
			far := []float64{0, 0, 1, 1000, 1e5}[r.IntN(5)] * r.NormFloat64()
			size := math.Exp(2 * r.NormFloat64())
			x := random(r, rows*n)
			for j := range x {
				x[j] = float32(size * (float64(x[j]) + far))
			}
			if r.IntN(4) == 0 {
				x[r.IntN(rows)*n] *= 1000 // the first of a row is what sums are taken from
			}
			scale, bias := random(r, n), random(r, n)
			if r.IntN(3) == 0 {
				bias = nil
			}
			whole, y := guarded(rows * n)
			wholeMean, mean := guarded(rows)
			wholeInverse, inverse := guarded(rows)
			NormRows(y, x, scale, bias, mean, inverse, rows, n, 1e-5, centred)
			checkGuard(t, whole)
			checkGuard(t, wholeMean)
			checkGuard(t, wholeInverse)
			for k := range rows {
				want, m, inv := normRow(x[k*n:][:n], scale, bias, 1e-5, centred)
				if math.Abs(float64(mean[k])-m) > 1e-7*math.Abs(m)+1e-12*size {
					t.Fatalf("n %d: mean %v, want %v", n, mean[k], m)
				}
				if math.Abs(float64(inverse[k])-inv) > 1e-7*inv {
					t.Fatalf("n %d: inverse %v, want %v", n, inverse[k], inv)
				}
				for j, w := range want {
					// The product of what is normalised with the scale is rounded
					// five times, and the sum with the bias once.
					tol := 6e-8 * math.Abs(w)
					normal := w
					if bias != nil {
						normal -= float64(bias[j])
					}
					tol += 3e-7*math.Abs(normal) + 1e-7*math.Abs(float64(scale[j])) + 1e-37
					if got := float64(y[k*n+j]); math.Abs(got-w) > tol {
						t.Fatalf("n %d, centred %v, row %d, element %d: %v, want %v", n, centred, k, j, got, w)
					}
				}
			}
			z := append([]float32(nil), x...)
			for k := range rows { // alone, in place
				row := z[k*n:][:n]
				NormRows(row, row, scale, bias, nil, nil, 1, n, 1e-5, centred)
			}
			sameBits(t, "alone, in place", z, y)
			all = append(all, y, mean, inverse)
		}
		switch isa {
		case avx2:
			first = all
		case avx512:
			for i := range all {
				sameBits(t, "avx512 and avx2", all[i], first[i])
			}
		}
	})
}

// What is not finite makes its row NaN and no other; rows without deviation are
// the bias.
func TestNormRowsOfTheInfinite(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	eachISA(t, func(t *testing.T) {
		for n := 2; n < 70; n++ {
			scale, bias := make([]float32, n), make([]float32, n)
			for i := range scale {
				scale[i], bias[i] = float32(i)-3, float32(i)+0.5
			}
			for at := range n {
				for _, bad := range []float32{inf, -inf, nan} {
					x := make([]float32, 3*n)
					for i := range x {
						x[i] = 0.1
					}
					x[n+at] = bad
					NormRows(x, x, scale, bias, nil, nil, 3, n, 1e-5, true)
					for i, v := range x {
						if mid := i/n == 1; mid != (v != v) || !mid && v != bias[i%n] {
							t.Fatalf("%v at %d of %d: element %d is %v", bad, at, n, i, v)
						}
					}
				}
			}
		}
	})
	mustPanic(t, "no room", func() {
		NormRows(make([]float32, 7), make([]float32, 8), make([]float32, 4), nil, nil, nil, 2, 4, 1, true)
	})
	mustPanic(t, "short scale", func() {
		NormRows(make([]float32, 8), make([]float32, 8), make([]float32, 3), nil, nil, nil, 2, 4, 1, true)
	})
	mustPanic(t, "sizes", func() { NormRows(nil, nil, nil, nil, nil, nil, -1, 4, 1, true) })
}

func TestNormRowsAllocatesNothing(t *testing.T) {
	x, scale := make([]float32, 4*50), make([]float32, 50)
	if a := testing.AllocsPerRun(10, func() { NormRows(x, x, scale, scale, nil, nil, 4, 50, 1e-5, true) }); a != 0 {
		t.Errorf("%v allocations", a)
	}
}

func BenchmarkNormRows(b *testing.B) {
	for _, n := range []int{128, 192, 384, 1024} {
		r := rand.New(rand.NewPCG(1, 1))
		x, scale, bias := random(r, 64*n), random(r, n), random(r, n)
		y := make([]float32, len(x))
		eachISABench(b, func(b *testing.B) {
			b.Run(fmt.Sprint(n), func(b *testing.B) {
				b.SetBytes(int64(4 * len(x)))
				for b.Loop() {
					NormRows(y, x, scale, bias, nil, nil, 64, n, 1e-5, true)
				}
			})
		})
	}
}
