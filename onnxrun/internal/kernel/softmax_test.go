package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Rows in one piece or in several, of every length and distance, are the softmax
// by definition, and AVX2 and AVX-512 agree to the bit.
func TestExpRows(t *testing.T) {
	type run struct{ y, top, sum []float32 }
	var first []run
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(20, 21))
		var runs []run
		for n := 1; n < 140; n++ {
			rows, lds, ldd := 1+r.IntN(5), n+r.IntN(20), n+r.IntN(20)
			scale := float32(math.Exp(r.NormFloat64()))
			x := random(r, rows*lds)
			for i := range x {
				if x[i] = x[i]*20 + 100; r.IntN(9) == 0 {
					x[i] = negInf
				}
			}
			whole, y := guarded(rows * ldd)
			before := append([]float32(nil), y...)
			_, top := guarded(rows)
			_, sum := guarded(rows)
			for i := range top {
				if top[i] = LeastFloat; r.IntN(2) == 0 {
					top[i] = float32(100 * r.NormFloat64())
				}
			}
			old := append([]float32(nil), top...)
			ExpRows(y, ldd, x, lds, rows, n, scale, top, sum)
			checkGuard(t, whole)
			for i := range rows {
				m := float64(old[i])
				for _, v := range x[i*lds:][:n] {
					m = max(m, float64(v*scale))
				}
				if float64(top[i]) != m {
					t.Fatalf("n %d: top %v, want %v", n, top[i], m)
				}
				total := 0.0
				for j, v := range x[i*lds:][:n] {
					want := math.Exp(float64(v)*float64(scale) - m)
					total += want
					// Rounding scale·x - m, where x is about as large as m.
					if tol := (2e-7 + 1.3e-7*math.Abs(m)) * want; math.Abs(float64(y[i*ldd+j])-want) > tol+1e-37 {
						t.Fatalf("n %d: %v, want %v", n, y[i*ldd+j], want)
					}
				}
				if math.Abs(float64(sum[i])-total) > (5e-7+1.3e-7*math.Abs(m))*total+1e-36 {
					t.Fatalf("n %d: sum %v, want %v", n, sum[i], total)
				}
				for j := n; j < ldd; j++ {
					if math.Float32bits(y[i*ldd+j]) != math.Float32bits(before[i*ldd+j]) {
						t.Fatalf("n %d: wrote after the row", n)
					}
				}
			}
			if n > 100 { // in place
				z := append([]float32(nil), x...)
				again := append([]float32(nil), old...)
				ExpRows(z, lds, z, lds, rows, n, scale, again, make([]float32, rows))
				for i := range rows {
					sameBits(t, "in place", z[i*lds:][:n], y[i*ldd:][:n])
				}
			}
			runs = append(runs, run{y, top, sum})
		}
		switch {
		case isa == avx2:
			first = runs
		case isa == avx512:
			for i, r := range runs {
				sameBits(t, "avx512 and avx2", r.y, first[i].y)
				sameBits(t, "avx512 and avx2", r.top, first[i].top)
				sameBits(t, "avx512 and avx2", r.sum, first[i].sum)
			}
		}
	})
}

// What is not finite comes out as the mathematics says.
func TestExpRowsOfTheInfinite(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	eachISA(t, func(t *testing.T) {
		for n := 1; n < 70; n++ {
			for at := range n {
				for _, bad := range []float32{inf, nan} {
					x := make([]float32, n)
					x[at] = bad
					top, sum := []float32{LeastFloat}, []float32{0}
					ExpRows(x, n, x, n, 1, n, 2, top, sum)
					if sum[0] == sum[0] {
						t.Fatalf("%v at %d of %d: sum %v, want NaN", bad, at, n, sum[0])
					}
				}
			}
			x := make([]float32, n)
			for i := range x {
				x[i] = negInf
			}
			top, sum := []float32{LeastFloat}, []float32{1}
			ExpRows(x, n, x, n, 1, n, 1, top, sum)
			if sum[0] != 0 || top[0] != LeastFloat {
				t.Fatalf("nothing to be seen of %d: sum %v, top %v", n, sum[0], top[0])
			}
		}
	})
}

func TestSoftmaxRows(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(22, 23))
		for _, n := range []int{1, 3, 16, 31, 64, 100, 784, MaxSoftmaxRow} {
			rows := 1 + r.IntN(150)
			x := random(r, rows*n)
			whole, y := guarded(rows * n)
			SoftmaxRows(y, x, rows, n)
			checkGuard(t, whole)
			for i := range rows {
				m, s := float64(MaxOf(x[i*n:][:n])), 0.0
				for _, v := range x[i*n:][:n] {
					s += math.Exp(float64(v) - m)
				}
				for j, v := range x[i*n:][:n] {
					want := math.Exp(float64(v)-m) / s
					if math.Abs(float64(y[i*n+j])-want) > 1e-6*want {
						t.Fatalf("n %d: %v, want %v", n, y[i*n+j], want)
					}
				}
			}
		}
	})
	mustPanic(t, "rows too long", func() { SoftmaxRows(nil, nil, 0, MaxSoftmaxRow+1) })
	mustPanic(t, "overlapping rows", func() { ExpRows(make([]float32, 9), 1, make([]float32, 9), 4, 2, 4, 1, nil, nil) })
	mustPanic(t, "no room", func() {
		ExpRows(make([]float32, 7), 4, make([]float32, 8), 4, 2, 4, 1, make([]float32, 2), make([]float32, 2))
	})
}

func BenchmarkSoftmaxRows(b *testing.B) {
	for _, n := range []int{64, 256, 1024} {
		x := random(rand.New(rand.NewPCG(1, 1)), 64*n)
		y := make([]float32, len(x))
		eachISABench(b, func(b *testing.B) {
			b.SetBytes(int64(4 * len(x)))
			for b.Loop() {
				SoftmaxRows(y, x, 64, n)
			}
		})
		b.Run("row by row", func(b *testing.B) {
			b.SetBytes(int64(4 * len(x)))
			for b.Loop() {
				for i := range 64 {
					SoftmaxRow(y[i*n:][:n], x[i*n:][:n])
				}
			}
		})
	}
}
