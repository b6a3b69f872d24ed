package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// winoCase is a Winograd convolution with everything around it.
type winoCase struct {
	Winograd
	w, plain, src, packed, bias, add, v, u, m []float32 // plain: [IC][H][W]
}

func newWinoCase(r *rand.Rand, c Winograd) *winoCase {
	k := &winoCase{Winograd: c}
	k.Init()
	if k.Room == 0 {
		k.Room = k.Tiles()
		k.Init()
	}
	k.w = random(r, c.OC*c.IC*9)
	k.plain = random(r, c.IC*c.H*c.W)
	k.src = make([]float32, Blocks(c.IC)*c.H*c.W*Block)
	ToBlocked(k.src, k.plain, c.IC, c.H*c.W, 0, Blocks(c.IC))
	k.packed = aligned(k.PackedLen())
	k.Pack(k.packed, k.w)
	k.bias = random(r, c.OC)
	k.add = random(r, k.dstLen())
	k.v, k.u, k.m = aligned(k.InputLen()), aligned(k.WeightLen()), aligned(k.ProductLen())
	return k
}

func (k *winoCase) dstLen() int { return Blocks(k.OC) * k.OH * k.OW * Block }

// at returns output (o, y, x) before bias, and the sum of the magnitudes.
func (k *winoCase) at(o, y, x int) (s, bound float64) {
	for i := 0; i < k.IC; i++ {
		for h := 0; h < 3; h++ {
			for w := 0; w < 3; w++ {
				py, px := y-k.Top+h*k.DilH, x-k.Left+w*k.DilW
				if py < 0 || py >= k.H || px < 0 || px >= k.W {
					continue
				}
				p := float64(k.w[((o*k.IC+i)*3+h)*3+w]) * float64(k.plain[(i*k.H+py)*k.W+px])
				s += p
				bound += math.Abs(p)
			}
		}
	}
	return
}

// run does all of an image, Room tiles at a time.
func (k *winoCase) run(dst, bias, add []float32, scale float32, act Act) {
	for t := 0; t < k.Tiles(); t += k.Room {
		t1 := min(k.Tiles(), t+k.Room)
		k.Input(k.v, k.src, 0, t, t1, 0, Blocks(k.IC))
		for g := range k.Groups() {
			k.Multiply(k.m, k.u, k.v, k.packed, 0, t1-t, g)
			k.Output(dst, k.m, bias, add, scale, 0, t, t1, g, act)
		}
	}
}

func randomWino(r *rand.Rand) Winograd {
	c := Winograd{M: 2 + 2*r.IntN(2), IC: 1 + r.IntN(50), OC: 1 + r.IntN(70), H: 1 + r.IntN(11), W: 1 + r.IntN(20),
		Top: r.IntN(3), Left: r.IntN(3), DilH: 1 + r.IntN(2), DilW: 1 + r.IntN(4)}
	c.OH = max(1, c.H+c.Top+r.IntN(3)-2*c.DilH)
	c.OW = max(1, c.W+c.Left+r.IntN(3)-2*c.DilW)
	return c
}

// The bound on the error: the products of a tile are sums of ic numbers each of
// which the transforms have made larger by a constant, and may cancel.
func winoTolerance(m, ic int, bound float64) float64 {
	return map[int]float64{2: 8, 4: 40}[m] * math.Sqrt(float64(ic*9)) * 0x1p-24 * (bound/math.Sqrt(float64(ic*9)) + 1) * 4
}

func TestWinograd(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(7, 8))
		for round := 0; round < rounds(150); round++ {
			k := newWinoCase(r, randomWino(r))
			name := fmt.Sprintf("%+v", k.Winograd)
			bias, add, scale := k.bias, k.add, float32(1)
			if r.IntN(3) == 0 {
				bias = nil
			}
			if r.IntN(2) == 0 {
				add = nil
			}
			if r.IntN(2) == 0 {
				scale = math.Sqrt2 / 2
			}
			act := Act(r.IntN(6))
			whole, dst := guarded(k.dstLen())
			k.run(dst, bias, add, scale, act)
			checkGuard(t, whole)
			for o := 0; o < k.OC; o++ {
				for y := 0; y < k.OH; y++ {
					for x := 0; x < k.OW; x++ {
						i := ((o/Block*k.OH+y)*k.OW+x)*Block + o%Block
						want, bound := k.at(o, y, x)
						if bias != nil {
							want += float64(bias[o])
						}
						if add != nil {
							want += float64(add[i])
						}
						want = actTruth(act, want*float64(scale))
						tol := winoTolerance(k.M, k.IC, bound)
						if e := math.Abs(float64(dst[i]) - want); !(e <= tol) {
							t.Fatalf("%s: dst[%d][%d][%d] is %v, want %v within %g", name, o, y, x, dst[i], want, tol)
						}
					}
				}
			}
			// The same with other room, in other pieces, in place.
			p := *k
			p.Room = 1 + r.IntN(k.Tiles())
			p.Init()
			p.v, p.u, p.m = random(r, p.InputLen()), random(r, p.WeightLen()), random(r, p.ProductLen())
			_, got := guarded(k.dstLen())
			if add != nil {
				copy(got, add)
				add = got
			}
			for t0 := 0; t0 < p.Tiles(); {
				t1 := min(p.Tiles(), t0+1+r.IntN(p.Room))
				at := r.IntN(p.Room - (t1 - t0) + 1)
				for b := range Blocks(p.IC) {
					p.Input(p.v, p.src, at, t0, t1, b, b+1)
				}
				for g := range p.Groups() {
					p.Multiply(p.m, p.u, p.v, p.packed, at, at+t1-t0, g)
					p.Output(got, p.m, bias, add, scale, at, t0, t1, g, act)
				}
				t0 = t1
			}
			sameBits(t, name, got, dst)
		}
	})
}

// AVX2 and AVX-512 agree to the bit, the generic twin up to rounding.
func TestWinogradTwins(t *testing.T) {
	best := isa
	defer func() { isa = best }()
	r := rand.New(rand.NewPCG(3, 4))
	for _, m := range []int{2, 4} {
		k := newWinoCase(r, Winograd{M: m, IC: 40, OC: 40, H: 9, W: 10, OH: 9, OW: 10, Top: 1, Left: 1})
		var first []float32
		for _, isa = range slices.Backward(reachable()) {
			dst := make([]float32, k.dstLen())
			k.run(dst, k.bias, k.add, 1, ActRelu)
			switch {
			case first == nil:
				first = dst
			case isa != generic:
				sameBits(t, fmt.Sprint(m, ISA()), dst, first)
			default:
				for i := range dst {
					if math.Abs(float64(dst[i]-first[i])) > 3e-4 {
						t.Fatalf("F(%d): generic %v, assembly %v", m, dst[i], first[i])
					}
				}
			}
		}
	}
}

// The error of each algorithm relative to the mean square of the output.
func TestWinogradError(t *testing.T) {
	if raceEnabled {
		t.Skip("slow")
	}
	r := rand.New(rand.NewPCG(3, 4))
	for _, m := range []int{0, 2, 4} {
		limit := map[int]float64{0: 1.5e-6, 2: 1.2e-6, 4: 3e-6}[m]
		k := newWinoCase(r, Winograd{M: max(m, 2), IC: 256, OC: 32, H: 8, W: 8, OH: 8, OW: 8, Top: 1, Left: 1})
		dst := make([]float32, k.dstLen())
		if m > 0 {
			k.run(dst, nil, nil, 1, ActNone)
		} else {
			c := Conv{IC: k.IC, OC: k.OC, Window: Window{KH: 3, KW: 3, OH: 8, OW: 8, PH: 10, PW: 10}}
			c.Init()
			packed, src := make([]float32, c.PackedLen()), make([]float32, c.SrcLen())
			c.Pack(packed, k.w)
			ToBlockedPadded(src, k.plain, k.IC, 8, 8, 1, 1, 10, 10, 0, Blocks(k.IC))
			c.Run(dst, src, packed, nil, nil, 0, 1, 0, 8, ActNone)
		}
		var e2, y2, worst float64
		for o := 0; o < k.OC; o++ {
			for p := 0; p < 64; p++ {
				want, _ := k.at(o, p/8, p%8)
				e := float64(dst[(o/Block*64+p)*Block+o%Block]) - want
				e2 += e * e
				y2 += want * want
				worst = max(worst, math.Abs(e))
			}
		}
		n := float64(k.OC * 64)
		rel := math.Sqrt(e2 / y2)
		t.Logf("F(%d): relative error %.2g in the mean, %.2g at most", m, rel, worst/math.Sqrt(y2/n))
		if !(rel < limit) {
			t.Errorf("F(%d): relative error %.2g, want at most %.2g", m, rel, limit)
		}
	}
}

func TestWinogradMisuse(t *testing.T) {
	mustPanic(t, "zero", func() { new(Winograd).Init() })
	mustPanic(t, "no Init", func() { new(Winograd).Input(nil, nil, 0, 0, 0, 0, 0) })
	k := newWinoCase(rand.New(rand.NewPCG(1, 1)), Winograd{M: 4, IC: 16, OC: 40, H: 5, W: 5, OH: 5, OW: 5, Top: 1, Left: 1})
	dst := make([]float32, k.dstLen())
	mustPanic(t, "v", func() { k.Input(k.v[1:], k.src, 0, 0, 4, 0, 1) })
	mustPanic(t, "src", func() { k.Input(k.v, k.src[1:], 0, 0, 4, 0, 1) })
	mustPanic(t, "tiles", func() { k.Input(k.v, k.src, 1, 0, 4, 0, 1) })
	mustPanic(t, "packed", func() { k.Multiply(k.m, k.u, k.v, k.packed[1:], 0, 4, 0) })
	mustPanic(t, "u", func() { k.Multiply(k.m, k.u[1:], k.v, k.packed, 0, 4, 0) })
	mustPanic(t, "group", func() { k.Multiply(k.m, k.u, k.v, k.packed, 0, 4, 2) })
	mustPanic(t, "places", func() { k.Multiply(k.m, k.u, k.v, k.packed, 0, 5, 0) })
	mustPanic(t, "dst", func() { k.Output(dst[1:], k.m, nil, nil, 1, 0, 0, 4, 0, 0) })
	mustPanic(t, "bias", func() { k.Output(dst, k.m, k.bias[1:], nil, 1, 0, 0, 4, 0, 0) })
	mustPanic(t, "add", func() { k.Output(dst, k.m, nil, k.add[1:], 1, 0, 0, 4, 0, 0) })
}

func TestWinogradAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	eachISA(t, func(t *testing.T) {
		k := newWinoCase(rand.New(rand.NewPCG(1, 1)), Winograd{M: 4, IC: 16, OC: 40, H: 5, W: 5, OH: 5, OW: 5, Top: 1, Left: 1})
		dst := make([]float32, k.dstLen())
		if n := testing.AllocsPerRun(100, func() { k.run(dst, k.bias, k.add, 1, ActSiLU) }); n != 0 {
			t.Fatalf("%v allocations", n)
		}
	})
}

// The rates are those of a direct convolution that takes as long. Each round
// takes the next of several layers, so that weights come from where they would
// in a network.
func BenchmarkWinograd(b *testing.B) {
	for _, s := range []struct{ n, ic, oc, w, dil, layers int }{
		{1, 64, 64, 32, 1, 1},
		{1, 128, 128, 32, 1, 1},
		{1, 128, 128, 32, 1, 8},
		{1, 128, 128, 16, 1, 8},
		{1, 256, 256, 16, 1, 8},
		{1, 512, 256, 16, 1, 4},
		{1, 128, 128, 8, 1, 32},
		{1, 256, 256, 8, 1, 16},
		{1, 128, 128, 4, 1, 32},
		{1, 128, 128, 16, 2, 8},
		{1, 32, 32, 28, 1, 1},
		{8, 128, 128, 16, 1, 8},
		{8, 256, 256, 8, 1, 8},
	} {
		for _, m := range []int{0, 2, 4} {
			for _, room := range []int{14, 16, 28, 32, 48, 64, 96, 128} {
				k := Winograd{M: max(m, 2), IC: s.ic, OC: s.oc, H: s.w, W: s.w, OH: s.w, OW: s.w, Top: s.dil, Left: s.dil, DilH: s.dil, DilW: s.dil}
				k.Init()
				all := s.n * k.Tiles()
				if room > 14 && (room > all || m == 0) {
					continue
				}
				name := fmt.Sprintf("n%d-%d-%d@%dd%dx%d/F%d/room=%d", s.n, s.ic, s.oc, s.w, s.dil, s.layers, m, room)
				b.Run(name, func(b *testing.B) {
					r := rand.New(rand.NewPCG(1, 1))
					k := newWinoCase(r, Winograd{M: max(m, 2), IC: s.ic, OC: s.oc, H: s.w, W: s.w, OH: s.w, OW: s.w, Top: s.dil, Left: s.dil,
						DilH: s.dil, DilW: s.dil, Room: min(room, all)})
					p := s.w + 2*s.dil
					d := newConvCase(r, Conv{IC: s.ic, OC: s.oc, Window: Window{KH: 3, KW: 3, DilH: s.dil, DilW: s.dil, OH: s.w, OW: s.w, PH: p, PW: p}})
					layers := make([][]float32, s.layers)
					for i := range layers {
						layers[i] = aligned(max(k.PackedLen(), d.PackedLen()))
						copy(layers[i], k.packed)
					}
					dst := aligned(k.dstLen())
					i := 0
					for b.Loop() {
						packed := layers[i%len(layers)]
						i++
						if m == 0 {
							for range s.n {
								d.Run(dst, d.src, packed, k.bias, nil, 0, d.Groups(), 0, d.OH, ActNone)
							}
							continue
						}
						each := func(g0, g1 int, f func(at, t0, t1 int)) {
							for g := g0; g < g1; {
								t0 := g % k.Tiles()
								t1 := min(k.Tiles(), t0+g1-g)
								f(g-g0, t0, t1)
								g += t1 - t0
							}
						}
						for g := 0; g < all; g += k.Room {
							g1 := min(all, g+k.Room)
							each(g, g1, func(at, t0, t1 int) { k.Input(k.v, k.src, at, t0, t1, 0, Blocks(k.IC)) })
							for group := range k.Groups() {
								k.Multiply(k.m, k.u, k.v, packed, 0, g1-g, group)
								each(g, g1, func(at, t0, t1 int) { k.Output(dst, k.m, k.bias, nil, 1, at, t0, t1, group, ActNone) })
							}
						}
					}
					gflops(b, 2*float64(s.n*s.ic*s.oc)*float64(9*s.w*s.w))
				})
			}
		}
	}
}

func BenchmarkWinogradPack(b *testing.B) {
	for _, m := range []int{2, 4} {
		b.Run(fmt.Sprintf("F%d", m), func(b *testing.B) {
			k := newWinoCase(rand.New(rand.NewPCG(1, 1)), Winograd{M: m, IC: 128, OC: 128, H: 4, W: 4, OH: 4, OW: 4, Top: 1, Left: 1})
			for b.Loop() {
				k.Pack(k.packed, k.w)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*128*128), "ns/filter")
		})
	}
}
