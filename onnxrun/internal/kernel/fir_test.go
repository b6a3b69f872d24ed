package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// firAt is the definition.
func firAt(c *FIR, w, src []float32, y, x, l int) (s, bound float64) {
	for h := 0; h < c.KH; h++ {
		for k := 0; k < c.KW; k++ {
			i, j := y*c.Down+h-c.Top, x*c.Down+k-c.Left
			if i < 0 || j < 0 || i%c.Up != 0 || j%c.Up != 0 || i/c.Up >= c.H || j/c.Up >= c.W {
				continue
			}
			p := float64(w[h*c.KW+k]) * float64(src[((i/c.Up)*c.W+j/c.Up)*Block+l])
			s += p
			bound += math.Abs(p)
		}
	}
	return
}

func TestFIR(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(5, 6))
		for round := 0; round < rounds(400); round++ {
			c := FIR{KH: 1 + r.IntN(5), KW: 1 + r.IntN(5), Up: 1 + r.IntN(3), Down: 1 + r.IntN(3), H: 1 + r.IntN(9), W: 1 + r.IntN(20),
				Top: r.IntN(7) - 3, Left: r.IntN(7) - 3}
			c.OH = (c.H*c.Up+c.Top+r.IntN(7)-3-c.KH)/c.Down + 1
			c.OW = (c.W*c.Up+c.Left+r.IntN(7)-3-c.KW)/c.Down + 1
			if c.OH < 1 || c.OW < 1 {
				continue
			}
			c.Init()
			name := fmt.Sprintf("%+v", c)
			w, src := random(r, c.KH*c.KW), random(r, c.H*c.W*Block)
			packed := make([]float32, c.PackedLen())
			c.Pack(packed, w)
			frame := random(r, c.FrameLen())
			whole, dst := guarded(c.OH * c.OW * Block)
			c.Run(dst, src, packed, frame)
			checkGuard(t, whole)
			for i, got := range dst {
				want, bound := firAt(&c, w, src, i/Block/c.OW, i/Block%c.OW, i%Block)
				if e := math.Abs(float64(got) - want); !(e <= bound*26*0x1p-24) {
					t.Fatalf("%s: element %d is %v, want %v", name, i, got, want)
				}
			}
		}
	})
	c := FIR{KH: 2, KW: 2, H: 3, W: 3, OH: 2, OW: 2}
	mustPanic(t, "no Init", func() { c.Run(nil, nil, nil, nil) })
	c.Init()
	mustPanic(t, "src", func() { c.Run(make([]float32, 4*Block), nil, make([]float32, c.PackedLen()), nil) })
	mustPanic(t, "sizes", func() { new(FIR).Init() })
}

func BenchmarkFIR(b *testing.B) {
	for _, c := range []FIR{
		{KH: 4, KW: 4, Down: 2, H: 32, W: 32, Top: 1, Left: 1, OH: 16, OW: 16},
		{KH: 4, KW: 4, Up: 2, H: 16, W: 16, Top: 2, Left: 2, OH: 32, OW: 32},
		{KH: 4, KW: 4, H: 32, W: 32, Top: 2, Left: 2, OH: 33, OW: 33},
	} {
		b.Run(fmt.Sprintf("up%d,down%d", c.Up, c.Down), func(b *testing.B) {
			eachISABench(b, func(b *testing.B) {
				c := c
				c.Init()
				packed, src, dst, frame := aligned(c.PackedLen()), aligned(c.H*c.W*Block), aligned(c.OH*c.OW*Block), aligned(c.FrameLen())
				for b.Loop() {
					c.Run(dst, src, packed, frame)
				}
				gflops(b, 2*16*Block*float64(c.OH*c.OW/c.Up/c.Up))
			})
		})
	}
}
