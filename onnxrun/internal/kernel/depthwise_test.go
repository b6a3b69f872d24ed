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
			c := Depthwise{C: v.OC, Width: []int{1, 2, 4}[r.IntN(3)], Window: v.Window, Dst: v.Dst, Scale: []float32{0, 1, 0.7}[r.IntN(3)]}
			c.C = ceil(c.C, c.Width) * c.Width
			c.Init()
			name := fmt.Sprintf("%+v", c)
			w, bias, plain := random(r, c.C*c.Width*c.Taps()), random(r, c.C), random(r, c.C*c.plane())
			packed, src := make([]float32, c.PackedLen()), make([]float32, c.SrcLen())
			c.Pack(packed, w)
			ToBlocked(src, plain, c.C, c.plane(), 0, Blocks(c.C))
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
			c.Run(dst, src, packed, bias, addend, 0, Blocks(c.C), 0, c.Rows(), act)
			checkGuard(t, whole)
			for ch := 0; ch < c.C; ch++ {
				for y := 0; y < c.Rows(); y++ {
					for x := 0; x < c.OW; x++ {
						want := float64(bias[ch])
						bound := math.Abs(want)
						for tap := range c.Taps() {
							d, h, k := tap/(c.KH*c.KW), tap/c.KW%c.KH, tap%c.KW
							for j := range c.Width {
								in := plain[(ch/c.Width*c.Width+j)*c.plane()+((y/c.OH*c.StrideD+d*c.DilD)*c.PH+y%c.OH*c.StrideH+h*c.DilH)*c.PW:]
								p := float64(w[(ch*c.Width+j)*c.Taps()+tap]) * float64(in[x*c.StrideW+k*c.DilW])
								want += p
								bound += math.Abs(p)
							}
						}
						at := (c.Dst.row(&c.Window, ch/Block, y)+x*c.Dst.Col)*Block + ch%Block
						if add != nil {
							want += float64(add[at])
							bound += math.Abs(float64(add[at]))
						}
						want *= float64(c.Scale)
						bound *= math.Abs(float64(c.Scale))
						got := dst[at]
						if e := math.Abs(float64(got) - actTruth(act, want)); !(e <= bound*float64(20+c.Taps()*c.Width)*0x1p-24+1e-6) {
							t.Fatalf("%s: [%d][%d][%d] is %v, want %v", name, ch, y, x, got, actTruth(act, want))
						}
					}
				}
			}
			_, got := guarded(c.DstLen())
			copy(got, dst) // what lies between the outputs
			for b := Blocks(c.C) - 1; b >= 0; b-- {
				for y := 0; y < c.Rows(); y++ {
					c.Run(got, src, packed, bias, add, b, b+1, y, y+1, act)
				}
			}
			sameBits(t, name, got, dst)
		}
	})
}

func BenchmarkDepthwise(b *testing.B) {
	eachISABench(b, func(b *testing.B) {
		c := Depthwise{C: 64, Window: Window{KH: 4, KW: 4, OH: 32, OW: 32, PH: 35, PW: 35}}
		c.Init()
		r := rand.New(rand.NewPCG(1, 1))
		packed, src, dst := random(r, c.PackedLen()), random(r, c.SrcLen()), make([]float32, c.DstLen())
		for b.Loop() {
			c.Run(dst, src, packed, nil, nil, 0, 4, 0, 32, ActNone)
		}
		gflops(b, 2*64*16*32*32)
	})
}
