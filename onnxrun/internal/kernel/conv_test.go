package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// convCase is a convolution with everything around it that its test needs.
type convCase struct {
	Conv
	w, plain, src, packed, bias, add []float32 // plain: [IC][PH][PW]
}

func newConvCase(r *rand.Rand, c Conv) *convCase {
	k := &convCase{Conv: c}
	k.Init()
	k.w = random(r, c.OC*c.IC/k.Group*k.Taps())
	k.plain = random(r, c.IC*k.plane())
	k.src = k.plain
	if !c.Plain {
		k.src = make([]float32, k.SrcLen())
		ToBlocked(k.src, k.plain, c.IC, k.plane(), 0, Blocks(c.IC))
	}
	k.packed = make([]float32, k.PackedLen())
	k.Pack(k.packed, k.w)
	k.bias = random(r, c.OC)
	k.add = random(r, k.Add.extent(&k.Window, k.OC))
	return k
}

// at returns output (o, row, x) before bias, and the sum of the magnitudes.
func (k *convCase) at(o, row, x int) (s, bound float64) {
	icg, z, y := k.IC/k.Group, row/k.OH, row%k.OH
	for i := range icg {
		in := k.plain[(o/(k.OC/k.Group)*icg+i)*k.plane():]
		for d := range k.KD {
			for h := range k.KH {
				for w := range k.KW {
					p := float64(k.w[(((o*icg+i)*k.KD+d)*k.KH+h)*k.KW+w]) *
						float64(in[((z*k.StrideD+d*k.DilD)*k.PH+y*k.StrideH+h*k.DilH)*k.PW+x*k.StrideW+w*k.DilW])
					s += p
					bound += math.Abs(p)
				}
			}
		}
	}
	return
}

func randomConv(r *rand.Rand) Conv {
	c := Conv{IC: 1 + r.IntN(50), OC: 1 + r.IntN(70), Plain: r.IntN(3) == 0, Window: Window{
		KH: 1 + r.IntN(3), KW: 1 + r.IntN(4),
		StrideH: 1 + r.IntN(2), StrideW: 1 + r.IntN(3), DilH: 1 + r.IntN(2), DilW: 1 + r.IntN(3),
		OH: 1 + r.IntN(5), OW: 1 + r.IntN(34),
	}}
	switch r.IntN(6) {
	case 0:
		c.IC += 100
	case 1, 2:
		c.Group = 2 + r.IntN(7)
		c.IC, c.OC = c.Group*(1+r.IntN(24)), c.Group*(1+r.IntN(24))
	}
	if r.IntN(4) == 0 {
		c.KD, c.StrideD, c.DilD, c.OD = 1+r.IntN(3), 1+r.IntN(2), 1+r.IntN(2), 1+r.IntN(3)
		c.PD = (c.OD-1)*c.StrideD + (c.KD-1)*c.DilD + 1 + r.IntN(2)
		c.OW = min(c.OW, 17)
	}
	c.PH = (c.OH-1)*c.StrideH + (c.KH-1)*c.DilH + 1 + r.IntN(2)
	c.PW = (c.OW-1)*c.StrideW + (c.KW-1)*c.DilW + 1 + r.IntN(2)
	if r.IntN(2) == 0 {
		for _, s := range []*Strides{&c.Dst, &c.Add} {
			s.Col = 1 + r.IntN(2)
			s.Row = c.OW*s.Col + r.IntN(3)
			s.Slice = s.Row*c.OH + r.IntN(3)
			s.Plane = s.Slice*max(1, c.OD) + r.IntN(3)
		}
	}
	return c
}

func TestConv(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(7, 8))
		for round := 0; round < rounds(120); round++ {
			k := newConvCase(r, randomConv(r))
			name := fmt.Sprintf("%+v", k.Conv)
			bias, add := k.bias, k.add
			if r.IntN(3) == 0 {
				bias = nil
			}
			if r.IntN(2) == 0 {
				add = nil
			}
			act := Act(r.IntN(6))
			whole, dst := guarded(k.DstLen())
			k.Run(dst, k.src, k.packed, bias, add, 0, k.Groups(), 0, k.Rows(), act)
			checkGuard(t, whole)
			seen := make([]bool, len(dst))
			for b := 0; b < Blocks(k.OC); b++ {
				for y := 0; y < k.Rows(); y++ {
					for x := 0; x < k.OW; x++ {
						for l := 0; l < Block; l++ {
							i := (k.Dst.row(&k.Window, b, y)+x*k.Dst.Col)*Block + l
							seen[i] = true
							o := b*Block + l
							var want, bound float64
							if o < k.OC {
								want, bound = k.at(o, y, x)
								if bias != nil {
									want += float64(bias[o])
									bound += math.Abs(float64(bias[o]))
								}
							}
							if add != nil {
								v := float64(add[(k.Add.row(&k.Window, b, y)+x*k.Add.Col)*Block+l])
								want += v
								bound += math.Abs(v)
							}
							tol := bound*float64(k.IC*k.Taps()+3)*0x1p-24 + 1e-6
							want = actTruth(act, want)
							if e := math.Abs(float64(dst[i]) - want); !(e <= tol*1.2) {
								t.Fatalf("%s: dst[%d][%d][%d] is %v, want %v", name, o, y, x, dst[i], want)
							}
						}
					}
				}
			}
			for i, s := range seen {
				if !s && math.Float32bits(dst[i]) != math.Float32bits(guardValue) {
					t.Fatalf("%s: wrote between rows", name)
				}
			}
			// The same in pieces.
			_, got := guarded(k.DstLen())
			for g := k.Groups() - 1; g >= 0; g-- {
				for y := 0; y < k.Rows(); {
					y1 := min(k.Rows(), y+1+r.IntN(3))
					k.Run(got, k.src, k.packed, bias, add, g, g+1, y, y1, act)
					y = y1
				}
			}
			sameBits(t, name, got, dst)
			// In place of the addend.
			if add != nil && k.Add == k.Dst {
				got = append([]float32(nil), add...)
				k.Run(got, k.src, k.packed, bias, got, 0, k.Groups(), 0, k.Rows(), act)
				for i, s := range seen {
					if s && math.Float32bits(got[i]) != math.Float32bits(dst[i]) {
						t.Fatalf("%s: in place: %v, want %v", name, got[i], dst[i])
					}
				}
			}
		}
	})
}

func actTruth(a Act, x float64) float64 {
	switch a {
	case ActRelu:
		return max(x, 0)
	case ActSiLU:
		return x / (1 + math.Exp(-x))
	case ActTanh:
		return math.Tanh(x)
	case ActElu:
		if x < 0 {
			return math.Expm1(x)
		}
	case ActGelu:
		return x / 2 * math.Erfc(-x/math.Sqrt2)
	}
	return x
}

// An output depends on its receptive field alone: cutting a window out of the
// image, or moving it, changes no bit.
func TestConvBits(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(9, 9))
		for _, plain := range []bool{false, true} {
			const ic, oc, w = 40, 24, 31
			k := newConvCase(r, Conv{IC: ic, OC: oc, Plain: plain, Window: Window{KH: 3, KW: 3, OH: 6, OW: w, PH: 8, PW: w + 2}})
			want := make([]float32, k.DstLen())
			k.Run(want, k.src, k.packed, k.bias, nil, 0, k.Groups(), 0, 6, ActSiLU)
			for x0 := 0; x0 < w; x0++ {
				n := 1 + r.IntN(w-x0)
				s := newConvCase(r, Conv{IC: ic, OC: oc, Plain: plain, Window: Window{KH: 3, KW: 3, OH: 6, OW: n, PH: 8, PW: n + 2}})
				lanes, planes := Block, Blocks(ic)
				if plain {
					lanes, planes = 1, ic
				}
				for row := 0; row < planes*8; row++ {
					copy(s.src[row*(n+2)*lanes:(row+1)*(n+2)*lanes], k.src[(row*(w+2)+x0)*lanes:])
				}
				got := make([]float32, s.DstLen())
				s.Run(got, s.src, k.packed, k.bias, nil, 0, s.Groups(), 0, 6, ActSiLU)
				for row := 0; row < Blocks(oc)*6; row++ {
					sameBits(t, fmt.Sprint(plain, x0, n), got[row*n*Block:(row+1)*n*Block], want[(row*w+x0)*Block:(row*w+x0+n)*Block])
				}
			}
		}
	})
}

func TestConvMisuse(t *testing.T) {
	mustPanic(t, "field", func() { (&Conv{IC: 1, OC: 1, Window: Window{KH: 3, KW: 3, OH: 3, OW: 3, PH: 5, PW: 4}}).Init() })
	mustPanic(t, "zero", func() { new(Conv).Init() })
	mustPanic(t, "no Init", func() { new(Conv).Run(nil, nil, nil, nil, nil, 0, 0, 0, 0, 0) })
	k := newConvCase(rand.New(rand.NewPCG(1, 1)), Conv{IC: 16, OC: 40, Window: Window{KH: 3, KW: 3, OH: 3, OW: 3, PH: 5, PW: 5}})
	dst := make([]float32, k.DstLen())
	mustPanic(t, "dst", func() { k.Run(dst[1:], k.src, k.packed, nil, nil, 0, 2, 0, 3, 0) })
	mustPanic(t, "src", func() { k.Run(dst, k.src[1:], k.packed, nil, nil, 0, 2, 0, 3, 0) })
	mustPanic(t, "packed", func() { k.Run(dst, k.src, k.packed[1:], nil, nil, 0, 2, 0, 3, 0) })
	mustPanic(t, "bias", func() { k.Run(dst, k.src, k.packed, k.bias[1:], nil, 0, 2, 0, 3, 0) })
	mustPanic(t, "add", func() { k.Run(dst, k.src, k.packed, nil, k.add[1:], 0, 2, 0, 3, 0) })
	mustPanic(t, "groups", func() { k.Run(dst, k.src, k.packed, nil, nil, 0, 3, 0, 3, 0) })
	mustPanic(t, "rows", func() { k.Run(dst, k.src, k.packed, nil, nil, 0, 2, 0, 4, 0) })
}

func TestConvAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	eachISA(t, func(t *testing.T) {
		for _, group := range []int{1, 5} {
			k := newConvCase(rand.New(rand.NewPCG(1, 1)), Conv{IC: 15, OC: 40, Group: group, Window: Window{KH: 3, KW: 3, OH: 3, OW: 3, PH: 5, PW: 5}})
			dst := make([]float32, k.DstLen())
			if n := testing.AllocsPerRun(100, func() { k.Run(dst, k.src, k.packed, k.bias, nil, 0, 2, 0, 3, ActSiLU) }); n != 0 {
				t.Fatalf("%d groups: %v allocations", group, n)
			}
		}
	})
}

func BenchmarkConv(b *testing.B) {
	for _, s := range []struct {
		ic, oc, w, k, stride, dil int
		plain                     bool
	}{
		{128, 128, 32, 3, 1, 1, false},
		{256, 256, 16, 3, 1, 1, false},
		{256, 256, 8, 3, 1, 1, false},
		{512, 256, 16, 3, 1, 1, false},
		{256, 256, 4, 3, 1, 1, false},
		{128, 128, 64, 3, 1, 1, false},
		{32, 32, 28, 3, 1, 1, false},
		{128, 128, 16, 3, 2, 1, false},
		{256, 256, 8, 3, 1, 2, false},
		{128, 256, 16, 1, 1, 1, false},
		{512, 256, 16, 1, 1, 1, false},
		{256, 256, 4, 1, 1, 1, false},
		{3, 128, 32, 3, 1, 1, true},
		{128, 3, 32, 3, 1, 1, false},
	} {
		b.Run(fmt.Sprintf("%d-%d@%dk%ds%dd%d", s.ic, s.oc, s.w, s.k, s.stride, s.dil), func(b *testing.B) {
			eachISABench(b, func(b *testing.B) {
				p := (s.w-1)*s.stride + (s.k-1)*s.dil + 1
				k := newConvCase(rand.New(rand.NewPCG(1, 1)), Conv{IC: s.ic, OC: s.oc, Plain: s.plain, Window: Window{KH: s.k, KW: s.k, StrideH: s.stride, StrideW: s.stride, DilH: s.dil, DilW: s.dil, OH: s.w, OW: s.w, PH: p, PW: p}})
				dst := make([]float32, k.DstLen())
				for b.Loop() {
					k.Run(dst, k.src, k.packed, k.bias, nil, 0, k.Groups(), 0, k.OH, ActNone)
				}
				gflops(b, 2*float64(s.ic*s.oc)*float64(s.k*s.k*s.w*s.w))
			})
		})
	}
}

func TestConvOut(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(11, 12))
		for round := 0; round < rounds(80); round++ {
			rc := randomConv(r)
			rc.Plain = false
			rc.OC = 1 + r.IntN(5)
			rc.Dst, rc.Add, rc.Group = Strides{}, Strides{}, 0
			rc.KD, rc.OD, rc.PD = 0, 0, 0
			k := newConvCase(r, rc)
			c := ConvOut{IC: k.IC, OC: k.OC, Window: k.Window}
			c.Init()
			name := fmt.Sprintf("%+v", c)
			packed := make([]float32, c.PackedLen())
			c.Pack(packed, k.w)
			whole, dst := guarded(c.OC * c.OH * c.OW)
			act := Act(r.IntN(6))
			c.Run(dst, k.src, packed, k.bias, random(r, c.WorkLen()), 0, c.OH, act)
			checkGuard(t, whole)
			for o := 0; o < c.OC; o++ {
				for y := 0; y < c.OH; y++ {
					for x := 0; x < c.OW; x++ {
						want, bound := k.at(o, y, x)
						want += float64(k.bias[o])
						tol := (bound+1)*float64(k.IC*k.KH*k.KW+3)*0x1p-24 + 1e-6
						if got := dst[(o*c.OH+y)*c.OW+x]; !(math.Abs(float64(got)-actTruth(act, want)) <= tol*1.2) {
							t.Fatalf("%s: [%d][%d][%d] is %v, want %v", name, o, y, x, got, actTruth(act, want))
						}
					}
				}
			}
			got, work := make([]float32, len(dst)), random(r, c.WorkLen())
			for y := 0; y < c.OH; {
				y1 := min(c.OH, y+1+r.IntN(3))
				c.Run(got, k.src, packed, k.bias, work, y, y1, act)
				y = y1
			}
			sameBits(t, name, got, dst)
		}
	})
}

func BenchmarkConvOut(b *testing.B) {
	eachISABench(b, func(b *testing.B) {
		c := ConvOut{IC: 128, OC: 3, Window: Window{KH: 3, KW: 3, OH: 32, OW: 32, PH: 34, PW: 34}}
		c.Init()
		r := rand.New(rand.NewPCG(1, 1))
		packed, src, dst := random(r, c.PackedLen()), random(r, c.SrcLen()), make([]float32, 3*32*32)
		work := aligned(c.WorkLen())
		for b.Loop() {
			c.Run(dst, src, packed, nil, work, 0, 32, ActNone)
		}
		gflops(b, 2*128*3*9*32*32)
	})
}

// BenchmarkConvPool splits a convolution by groups among two threads; its rate
// against BenchmarkConv's is the speed-up.
func BenchmarkConvPool(b *testing.B) {
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprint("threads=", threads), func(b *testing.B) {
			p := NewPool(threads)
			defer p.Close()
			k := newConvCase(rand.New(rand.NewPCG(1, 1)), Conv{IC: 128, OC: 128, Window: Window{KH: 3, KW: 3, OH: 32, OW: 32, PH: 34, PW: 34}})
			dst := make([]float32, k.DstLen())
			part := func(part, worker int) {
				k.Run(dst, k.src, k.packed, k.bias, nil, part/2, part/2+1, part%2*16, part%2*16+16, ActNone)
			}
			for b.Loop() {
				p.Run(2*k.Groups(), part)
			}
			gflops(b, 2*128*128*9*32*32)
		})
	}
}
