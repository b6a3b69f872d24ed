package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func TestLanes(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for i := range 42 {
			n := i
			if i >= 40 { // an activation goes through these in pieces
				n = 300 * (i - 38)
			}
			x := random(r, n*Block)
			for i := range x {
				x[i] += float32(i % Block * 10)
			}
			var s, q, mean, wantS, wantQ [Block]float64
			for i, v := range x {
				wantS[i%Block] += float64(v)
			}
			for l := range mean {
				mean[l] = wantS[l] / float64(max(n, 1))
			}
			for i, v := range x {
				d := float64(v) - mean[i%Block]
				wantQ[i%Block] += d * d
			}
			SumLanes(&s, x)
			SumSquaresLanes(&q, x, &mean)
			for l := range s {
				if math.Abs(s[l]-wantS[l]) > 1e-13*(1+math.Abs(wantS[l])) || math.Abs(q[l]-wantQ[l]) > 1e-13*wantQ[l] {
					t.Fatalf("n %d lane %d: %v %v, want %v %v", n, l, s[l], q[l], wantS[l], wantQ[l])
				}
			}
			scale, shift := [Block]float32(random(r, Block)), [Block]float32(random(r, Block))
			want := make([]float32, len(x))
			for l := 0; l < Block; l++ { // every lane as ScaleShift makes it
				lane, out := make([]float32, n), make([]float32, n)
				for i := range lane {
					lane[i] = x[i*Block+l]
				}
				ScaleShift(out, lane, scale[l], shift[l])
				for i, v := range out {
					want[i*Block+l] = v
				}
			}
			for a := ActNone; a <= ActGelu; a++ {
				w := append([]float32(nil), want...)
				a.Apply(w)
				whole, dst := guarded(len(x))
				ScaleShiftLanes(dst, x, &scale, &shift, a)
				checkGuard(t, whole)
				sameBits(t, fmt.Sprint(n, a), dst, w)
				copy(dst, x)
				ScaleShiftLanes(dst, dst, &scale, &shift, a)
				sameBits(t, fmt.Sprint(n, a, " in place"), dst, w)
			}
		}
	})
	mustPanic(t, "length", func() { SumLanes(new([Block]float64), make([]float32, 17)) })
}

func TestLanesAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	eachISA(t, func(t *testing.T) {
		x := make([]float32, 160)
		if n := testing.AllocsPerRun(10, func() {
			var s, q [Block]float64
			var a, b [Block]float32
			SumLanes(&s, x)
			SumSquaresLanes(&q, x, &s)
			ScaleShiftLanes(x, x, &a, &b, ActSiLU)
		}); n != 0 {
			t.Fatalf("%v allocations", n)
		}
	})
}

func BenchmarkLanes(b *testing.B) {
	const n = 4096
	r := rand.New(rand.NewPCG(1, 2))
	x, dst := random(r, n), make([]float32, n)
	var s, m [Block]float64
	var p, q [Block]float32
	bench := func(name string, f func()) {
		b.Run(name, func(b *testing.B) {
			eachISABench(b, func(b *testing.B) {
				for b.Loop() {
					f()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/element")
			})
		})
	}
	bench("SumLanes", func() { SumLanes(&s, x) })
	bench("SumSquaresLanes", func() { SumSquaresLanes(&s, x, &m) })
	bench("ScaleShiftLanes", func() { ScaleShiftLanes(dst, x, &p, &q, ActNone) })
	bench("ScaleShiftLanesSiLU", func() { ScaleShiftLanes(dst, x, &p, &q, ActSiLU) })
}
