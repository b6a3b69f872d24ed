package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func TestDepthwise(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for round := 0; round < rounds(80); round++ {
			v := randomConv(r)
			v.Init()
			c := Depthwise{C: v.OC, KH: v.KH, KW: v.KW, StrideH: v.StrideH, StrideW: v.StrideW, DilH: v.DilH, DilW: v.DilW,
				OH: v.OH, OW: v.OW, PH: v.PH, PW: v.PW, DstCol: v.DstCol, DstRow: v.DstRow, DstPlane: v.DstPlane, Scale: []float32{0, 1, 0.7}[r.IntN(3)]}
			c.Init()
			name := fmt.Sprintf("%+v", c)
			w, bias, plain := random(r, c.C*c.KH*c.KW), random(r, c.C), random(r, c.C*c.PH*c.PW)
			packed, src := make([]float32, c.PackedLen()), make([]float32, c.SrcLen())
			c.Pack(packed, w)
			ToBlocked(src, plain, c.C, c.PH*c.PW, 0, Blocks(c.C))
			act := Act(r.IntN(6))
			whole, dst := guarded(c.DstLen())
			var add, addend []float32
			switch r.IntN(3) {
			case 0:
				add = random(r, c.DstLen())
				addend = add
			case 1:
				add = random(r, c.DstLen())
				copy(dst, add)
				addend = dst
			}
			c.Run(dst, src, packed, bias, addend, 0, Blocks(c.C), 0, c.OH, act)
			checkGuard(t, whole)
			for ch := 0; ch < c.C; ch++ {
				for y := 0; y < c.OH; y++ {
					for x := 0; x < c.OW; x++ {
						want := float64(bias[ch])
						bound := math.Abs(want)
						for h := 0; h < c.KH; h++ {
							for k := 0; k < c.KW; k++ {
								p := float64(w[(ch*c.KH+h)*c.KW+k]) * float64(plain[(ch*c.PH+y*c.StrideH+h*c.DilH)*c.PW+x*c.StrideW+k*c.DilW])
								want += p
								bound += math.Abs(p)
							}
						}
						at := (ch/Block*c.DstPlane+y*c.DstRow+x*c.DstCol)*Block + ch%Block
						if add != nil {
							want += float64(add[at])
							bound += math.Abs(float64(add[at]))
						}
						want *= float64(c.Scale)
						bound *= math.Abs(float64(c.Scale))
						got := dst[at]
						if e := math.Abs(float64(got) - actTruth(act, want)); !(e <= bound*20*0x1p-24+1e-6) {
							t.Fatalf("%s: [%d][%d][%d] is %v, want %v", name, ch, y, x, got, actTruth(act, want))
						}
					}
				}
			}
			_, got := guarded(c.DstLen())
			copy(got, dst) // what lies between the outputs
			for b := Blocks(c.C) - 1; b >= 0; b-- {
				for y := 0; y < c.OH; y++ {
					c.Run(got, src, packed, bias, add, b, b+1, y, y+1, act)
				}
			}
			sameBits(t, name, got, dst)
		}
	})
}

func BenchmarkDepthwise(b *testing.B) {
	eachISABench(b, func(b *testing.B) {
		c := Depthwise{C: 64, KH: 4, KW: 4, OH: 32, OW: 32, PH: 35, PW: 35}
		c.Init()
		r := rand.New(rand.NewPCG(1, 1))
		packed, src, dst := random(r, c.PackedLen()), random(r, c.SrcLen()), make([]float32, c.DstLen())
		for b.Loop() {
			c.Run(dst, src, packed, nil, nil, 0, 4, 0, 32, ActNone)
		}
		gflops(b, 2*64*16*32*32)
	})
}
