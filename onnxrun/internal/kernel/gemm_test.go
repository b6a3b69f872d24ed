package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestPack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	eachISA(t, func(t *testing.T) {
		for _, k := range []int{0, 1, 2, 7, 8, 15, 16, 17, 33, 64} {
			for _, n := range []int{0, 1, 3, 15, 16, 17, 31, 32, 33, 48, 70} {
				ldb := n + 3
				b := random(r, k*ldb)
				whole, got := guarded(PackedLen(k, n))
				PackB(got, b, k, n, ldb)
				checkGuard(t, whole)
				want := make([]float32, PackedLen(k, n))
				for i := 0; i < k; i++ {
					for j := 0; j < n; j++ {
						want[(j/PanelCols*k+i)*PanelCols+j%PanelCols] = b[i*ldb+j]
					}
				}
				sameBits(t, fmt.Sprint("PackB ", k, n), got, want)
				ldt := k + 2
				bt := make([]float32, n*ldt)
				for i := 0; i < k; i++ {
					for j := 0; j < n; j++ {
						bt[j*ldt+i] = b[i*ldb+j]
					}
				}
				whole, got = guarded(PackedLen(k, n))
				PackBT(got, bt[:max(0, (n-1)*ldt+k)], k, n, ldt)
				checkGuard(t, whole)
				sameBits(t, fmt.Sprint("PackBT ", k, n), got, want)
			}
		}
	})
}

// dot returns Σ a·b and Σ |a·b| in float64; the latter bounds what rounding can
// do: each of k steps errs by at most half an ulp of a partial sum.
func dot(a, b []float32, stride int) (s, bound float64) {
	for i, x := range a {
		p := float64(x) * float64(b[i*stride])
		s += p
		bound += math.Abs(p)
	}
	return
}

func TestGemm(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 4))
		for round := 0; round < rounds(300); round++ {
			m, n, k := r.IntN(40), r.IntN(100), r.IntN(80)
			if round%10 == 0 {
				k = 200 + r.IntN(400)
			}
			if round%10 == 1 {
				k = 1 + r.IntN(shallowSteps+1)
			}
			lda, ldc := k+r.IntN(5), n+r.IntN(5)
			a, b := random(r, max(0, (m-1)*lda+k)), random(r, k*n)
			if m == 0 {
				a = nil
			}
			packed := make([]float32, PackedLen(k, n))
			PackB(packed, b, k, n, n)
			bias, acc := random(r, n), r.IntN(2) == 0
			if r.IntN(2) == 0 {
				bias = nil
			}
			size := 0
			if m > 0 {
				size = (m-1)*ldc + n
			}
			whole, c := guarded(size)
			copy(c, random(r, size))
			before := append([]float32(nil), c...)
			Gemm(c, ldc, a, lda, packed, m, n, k, bias, acc)
			checkGuard(t, whole)
			seen := make([]bool, size)
			for i := 0; i < m; i++ {
				for j := 0; j < n; j++ {
					var want, bound float64
					if k > 0 {
						want, bound = dot(a[i*lda:i*lda+k], b[j:], n)
					}
					if bias != nil {
						want += float64(bias[j])
						bound += math.Abs(float64(bias[j]))
					}
					if acc {
						want += float64(before[i*ldc+j])
						bound += math.Abs(float64(before[i*ldc+j]))
					}
					if e := math.Abs(float64(c[i*ldc+j]) - want); !(e <= bound*float64(k+2)*0x1p-24) {
						t.Fatalf("m %d n %d k %d: c[%d][%d] is %v, want %v", m, n, k, i, j, c[i*ldc+j], want)
					}
					seen[i*ldc+j] = true
				}
			}
			for i, s := range seen {
				if !s && c[i] != before[i] {
					t.Fatalf("m %d n %d ldc %d: wrote between rows", m, n, ldc)
				}
			}
		}
	})
}

// A row of the product does not depend on the rows beside it, nor on how the
// columns and rows are split among calls.
func TestGemmBits(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(5, 6))
		for _, s := range [][3]int{{37, 100, 70}, {64, 33, 600}, {15, 16, 300}, {500, 40, 20}, {3, 300, 70}, {2, 256, 261}, {37, 100, 1}, {9, 130, 2}, {30, 70, 3}, {11, 200, 4}} {
			m, n, k := s[0], s[1], s[2]
			a, b, bias := random(r, m*k), random(r, k*n), random(r, n)
			clear(a[:k]) // sums of zeros, whose sign depends on how they begin
			bias[0] = float32(math.Copysign(0, -1))
			bias[n/2] = bias[0]
			packed := make([]float32, PackedLen(k, n))
			PackB(packed, b, k, n, n)
			want := make([]float32, m*n)
			Gemm(want, n, a, k, packed, m, n, k, bias, false)
			got := make([]float32, m*n)
			for i := 0; i < m; i++ {
				Gemm(got[i*n:], n, a[i*k:], k, packed, 1, n, k, bias, false)
			}
			sameBits(t, "row by row", got, want)
			clear(got)
			for i := 0; i < m; {
				h := min(m-i, 1+r.IntN(20))
				for p := Panels(n) - 1; p >= 0; p-- {
					GemmPanels(got[i*n:], n, a[i*k:], k, packed, h, n, k, p, p+1, bias, false)
				}
				i += h
			}
			sameBits(t, "pieces", got, want)
			// A matrix of fewer columns, in other places of their panels.
			for off := 0; off < n; off += 7 {
				w := min(n-off, 1+r.IntN(20))
				sub := make([]float32, PackedLen(k, w))
				PackB(sub, b[off:], k, w, n)
				out := make([]float32, m*w)
				Gemm(out, w, a, k, sub, m, w, k, bias[off:off+w], false)
				for i := 0; i < m; i++ {
					sameBits(t, "columns", out[i*w:(i+1)*w], want[i*n+off:i*n+off+w])
				}
			}
		}
	})
}

func TestGemmMisuse(t *testing.T) {
	x := make([]float32, 1024)
	mustPanic(t, "a", func() { Gemm(x, 8, x[:63], 8, x, 8, 8, 8, nil, false) })
	mustPanic(t, "c", func() { Gemm(x[:63], 8, x, 8, x, 8, 8, 8, nil, false) })
	mustPanic(t, "packed", func() { Gemm(x, 8, x, 8, x[:255], 8, 8, 8, nil, false) })
	mustPanic(t, "bias", func() { Gemm(x, 8, x, 8, x, 8, 8, 8, x[:7], false) })
	mustPanic(t, "ldc", func() { Gemm(x, 7, x, 8, x, 8, 8, 8, nil, false) })
	mustPanic(t, "lda", func() { Gemm(x, 8, x, 7, x, 8, 8, 8, nil, false) })
	mustPanic(t, "panels", func() { GemmPanels(x, 8, x, 8, x, 8, 8, 8, 0, 2, nil, false) })
}

func TestGemmAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	eachISA(t, func(t *testing.T) {
		a, c := make([]float32, 20*20), make([]float32, 20*20)
		packed := make([]float32, PackedLen(20, 20))
		if n := testing.AllocsPerRun(100, func() { Gemm(c, 20, a, 20, packed, 20, 20, 20, a, false) }); n != 0 {
			t.Fatalf("%v allocations", n)
		}
	})
}

func BenchmarkGemm(b *testing.B) {
	for _, s := range [][3]int{{256, 256, 256}, {1024, 128, 128}, {256, 512, 256}, {1024, 512, 512}, {1024, 1024, 1024}, {1, 512, 512}, {64, 512, 512}, {100, 2, 128}, {256, 48, 64}, {16, 256, 16}} {
		m, k, n := s[0], s[1], s[2]
		b.Run(fmt.Sprintf("%dx%dx%d", m, k, n), func(b *testing.B) {
			eachISABench(b, func(b *testing.B) {
				r := rand.New(rand.NewPCG(1, 1))
				x, w := random(r, m*k), random(r, k*n)
				packed, c := make([]float32, PackedLen(k, n)), make([]float32, m*n)
				PackB(packed, w, k, n, n)
				for b.Loop() {
					Gemm(c, n, x, k, packed, m, n, k, nil, false)
				}
				gflops(b, 2*float64(m)*float64(n)*float64(k))
			})
		})
	}
}

// BenchmarkGemmCold is a layer of a network too large for a core's own caches: every
// product finds its weights in the machine's, or in memory.
func BenchmarkGemmCold(b *testing.B) {
	const all = 48 << 20 / 4
	for _, s := range [][3]int{{8, 192, 1152}, {64, 192, 768}, {512, 192, 768}, {512, 768, 192}} {
		m, k, n := s[0], s[1], s[2]
		b.Run(fmt.Sprintf("%dx%dx%d", m, k, n), func(b *testing.B) {
			eachISABench(b, func(b *testing.B) {
				r := rand.New(rand.NewPCG(1, 1))
				size := PackedLen(k, n)
				x, c, packed := random(r, m*k), make([]float32, m*n), random(r, all/size*size)
				at := 0
				for b.Loop() {
					const rows = 64 // as layers with something to do for finished rows take
					for i := 0; i < m; i += rows {
						Gemm(c[i*n:], n, x[i*k:], k, packed[at:at+size], min(rows, m-i), n, k, nil, false)
					}
					if at += size; at == len(packed) {
						at = 0
					}
				}
				gflops(b, 2*float64(m)*float64(n)*float64(k))
			})
		})
	}
}

func gflops(b *testing.B, perOp float64) {
	b.ReportMetric(perOp*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}

// BenchmarkPeak is the rate of the microkernel on operands that never leave the
// first-level cache: a practical ceiling.
func BenchmarkPeak(b *testing.B) {
	eachISABench(b, func(b *testing.B) {
		rows := tileRows()
		r := rand.New(rand.NewPCG(1, 1))
		const k = 128
		t := tile{a: random(r, rows*k), off: zeroOff, b: random(r, k*PanelCols), c: random(r, rows*PanelCols), kseg: k, astep: k, crow: PanelCols, cvec: Block}
		for b.Loop() {
			t.run(rows, PanelCols)
		}
		gflops(b, 2*float64(rows)*PanelCols*k)
	})
}

// The two vector instruction sets agree to the bit: they make the same chains.
func TestTileTwins(t *testing.T) {
	if !slices.Contains(reachable(), avx512) {
		t.Skip("one vector instruction set only")
	}
	best := isa
	defer func() { isa = best }()
	r := rand.New(rand.NewPCG(21, 22))
	for round := 0; round < rounds(50); round++ {
		m, n, k := 1+r.IntN(40), 1+r.IntN(70), 1+r.IntN(400)
		a, b := random(r, m*k), random(r, k*n)
		packed := make([]float32, PackedLen(k, n))
		PackB(packed, b, k, n, n)
		x, y := make([]float32, m*n), make([]float32, m*n)
		isa = avx512
		Gemm(x, n, a, k, packed, m, n, k, nil, false)
		isa = avx2
		Gemm(y, n, a, k, packed, m, n, k, nil, false)
		sameBits(t, fmt.Sprint(m, n, k), x, y)
	}
}

// Long rows a whole number of pages apart are copied first; that changes no bit.
func TestGemmCopiedRows(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(23, 24))
		const m, n, k = 150, 100, 600
		a, b := random(r, m*gemmStride), random(r, k*n)
		packed := make([]float32, PackedLen(k, n))
		PackB(packed, b, k, n, n)
		close := make([]float32, m*k)
		for i := 0; i < m; i++ {
			copy(close[i*k:(i+1)*k], a[i*gemmStride:])
		}
		x, y := make([]float32, m*n), make([]float32, m*n)
		Gemm(x, n, a, gemmStride, packed, m, n, k, nil, false)
		Gemm(y, n, close, k, packed, m, n, k, nil, false)
		sameBits(t, "copied", x, y)
	})
}
