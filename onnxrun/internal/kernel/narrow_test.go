package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestGemmNarrow(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(61, 1))
		for range rounds(400) {
			m, n, k := r.IntN(23), 1+r.IntN(NarrowCols), r.IntN(70)
			lda, ldc := k+r.IntN(4), n+r.IntN(3)
			size := max(0, (m-1)*lda+k)
			a, b, bias := random(r, size), random(r, n*k), random(r, n)
			if r.IntN(2) == 0 {
				bias = nil
			}
			if m == 0 {
				a = nil
			}
			whole, c := guarded(max(0, (m-1)*ldc+n))
			copy(c, random(r, len(c)))
			before := slices.Clone(c)
			GemmNarrow(c, ldc, a, lda, b, m, n, k, bias)
			checkGuard(t, whole)
			for i := range m {
				for j := range ldc {
					at := i*ldc + j
					if j >= n {
						if at < len(c) && c[at] != before[at] {
							t.Fatalf("m %d n %d ldc %d: wrote between rows", m, n, ldc)
						}
						continue
					}
					want, bound := dot(a[i*lda:][:k], b[j*k:], 1)
					if bias != nil {
						want += float64(bias[j])
						bound += math.Abs(float64(bias[j]))
					}
					if e := math.Abs(float64(c[at]) - want); !(e <= bound*float64(k/16+6)*0x1p-24) {
						t.Fatalf("m %d n %d k %d: c[%d][%d] is %v, want %v", m, n, k, i, j, c[at], want)
					}
				}
			}
		}
	})
}

// A value depends on its row and its column alone, and the two vector instruction
// sets agree to the bit. What follows a row, NaN as well, is not touched.
func TestGemmNarrowBits(t *testing.T) {
	best := isa
	defer func() { isa = best }()
	r := rand.New(rand.NewPCG(61, 2))
	nan := float32(math.NaN())
	for k := range 70 {
		const m, n = 11, NarrowCols
		lda := k + 1
		a, b, bias := random(r, m*lda), random(r, n*k), random(r, n)
		for i := range m {
			a[i*lda+k] = nan
		}
		var first []float32
		for _, l := range reachable() {
			if l == generic {
				continue
			}
			isa = l
			all := make([]float32, m*n)
			GemmNarrow(all, n, a, lda, b, m, n, k, bias)
			if first == nil {
				first = all
			}
			sameBits(t, fmt.Sprint("k ", k, " isa ", l), all, first)
			for i := range m {
				for j := range n {
					var one [1]float32
					GemmNarrow(one[:], 1, a[i*lda:][:k], k, b[j*k:][:k], 1, 1, k, bias[j:j+1])
					sameBits(t, fmt.Sprint("alone ", k, i, j), one[:], all[i*n+j:][:1])
				}
			}
		}
	}
}

func BenchmarkGemmNarrow(b *testing.B) {
	for _, s := range [][3]int{{1000, 128, 2}, {1000, 128, 1}, {1000, 512, 4}} {
		m, k, n := s[0], s[1], s[2]
		b.Run(fmt.Sprintf("%dx%dx%d", m, k, n), func(b *testing.B) {
			eachISABench(b, func(b *testing.B) {
				r := rand.New(rand.NewPCG(1, 1))
				x, w, c := random(r, m*k), random(r, k*n), make([]float32, m*n)
				for b.Loop() {
					GemmNarrow(c, n, x, k, w, m, n, k, nil)
				}
				gflops(b, 2*float64(m)*float64(n)*float64(k))
			})
		})
	}
}
