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
	mustPanic(t, "length", func() { MomentsLanes(new([Block]float64), new([Block]float64), make([]float32, 17)) })
}

// The moments of numbers near 0 and far from it, of constants, of numbers of which the one
// taken for the mean is an outlier, too small or too large to be squared in float32, and
// of what is not finite, each in a lane.
func TestMomentsLanes(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 3))
		for n := range 140 {
			x := random(r, n*Block)
			for i := range x {
				pixel := i / Block
				switch l := i % Block; l {
				case 0, 1, 2:
					x[i] += float32(l * 1000)
				case 3:
					x[i] = 0.1
				case 4:
					x[i] = 0
				case 5:
					x[i] *= 1e-25
				case 6:
					x[i] *= 1e25
				case 7, 8, 9:
					if pixel == n*33/64 {
						x[i] = float32(100 * l * l * l)
					}
				case 10:
					x[i] = float32(pixel % 2)
				case 11:
					if pixel == n-1 {
						x[i] = float32(math.Inf(1))
					}
				case 12:
					if pixel == n/2 {
						x[i] = float32(math.NaN())
					}
				}
			}
			var mean, squares [Block]float64
			MomentsLanes(&mean, &squares, x)
			for l := range mean {
				var m, q float64
				for i := l; i < len(x); i += Block {
					m += (float64(x[i]) - float64(x[l])) / float64(n)
				}
				for i := l; i < len(x); i += Block {
					d := float64(x[i]) - float64(x[l]) - m
					q += d * d
				}
				if n > 0 {
					m += float64(x[l])
				}
				const most = 4e-6
				deviation := math.Sqrt(q / float64(max(n, 1)))
				if math.IsNaN(q) && math.IsNaN(squares[l]) {
					continue
				}
				if !(math.Abs(mean[l]-m) <= most*deviation+1e-15*math.Abs(m)) || !(math.Abs(squares[l]-q) <= most*q) {
					t.Fatalf("n %d lane %d: %v %v, want %v %v", n, l, mean[l], squares[l], m, q)
				}
			}
		}
	})
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
			MomentsLanes(&s, &q, x)
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
	bench("MomentsLanes", func() { MomentsLanes(&s, &m, x) })
	bench("ScaleShiftLanes", func() { ScaleShiftLanes(dst, x, &p, &q, ActNone) })
	bench("ScaleShiftLanesSiLU", func() { ScaleShiftLanes(dst, x, &p, &q, ActSiLU) })
}
