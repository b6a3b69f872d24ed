package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestBlocked(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for round := 0; round < rounds(300); round++ {
			c, h, w := 1+r.IntN(50), 1+r.IntN(4), 1+r.IntN(40)
			top, left := r.IntN(3), r.IntN(3)
			ph, pw := h+top+r.IntN(3), w+left+r.IntN(3)
			name := fmt.Sprint(c, h, w, top, left, ph, pw)
			src := random(r, c*h*w)
			want := make([]float32, Blocks(c)*ph*pw*Block)
			for ch := 0; ch < c; ch++ {
				for y := 0; y < h; y++ {
					for x := 0; x < w; x++ {
						want[((ch/Block*ph+top+y)*pw+left+x)*Block+ch%Block] = src[(ch*h+y)*w+x]
					}
				}
			}
			whole, got := guarded(len(want))
			for b := 0; b < Blocks(c); b++ {
				ToBlockedPadded(got, src, c, h, w, top, left, ph, pw, b, b+1)
			}
			checkGuard(t, whole)
			sameBits(t, name, got, want)

			whole, flat := guarded(Blocks(c) * h * w * Block)
			ToBlocked(flat, src, c, h*w, 0, Blocks(c))
			checkGuard(t, whole)
			whole, got = guarded(len(want))
			PadBlocked(got, flat, h, w, top, left, ph, pw, 0, Blocks(c))
			checkGuard(t, whole)
			sameBits(t, name, got, want)
			whole, back := guarded(len(src))
			for b := 0; b < Blocks(c); b++ {
				FromBlocked(back, flat, c, h*w, b, b+1)
			}
			checkGuard(t, whole)
			sameBits(t, name, back, src)

			whole, got = guarded(c * ph * pw)
			PadPlanes(got, src, h, w, top, left, ph, pw, 0, c)
			checkGuard(t, whole)
			for ch := 0; ch < c; ch++ {
				for y := 0; y < ph; y++ {
					for x := 0; x < pw; x++ {
						var v float32
						if y >= top && y < top+h && x >= left && x < left+w {
							v = src[(ch*h+y-top)*w+x-left]
						}
						if got[(ch*ph+y)*pw+x] != v {
							t.Fatalf("%s: PadPlanes: plane %d, %d %d", name, ch, y, x)
						}
					}
				}
			}
		}
	})
}

func TestTranspose(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for round := 0; round < rounds(300); round++ {
			m, n := r.IntN(80), r.IntN(80)
			if round%10 == 0 {
				n += 64
			}
			ldd, lds := m+r.IntN(3), n+r.IntN(3)
			src := random(r, m*lds)
			whole, dst := guarded(n * ldd)
			Transpose(dst, src, m, n, ldd, lds)
			checkGuard(t, whole)
			for j := 0; j < n; j++ {
				for i := 0; i < ldd; i++ {
					if want := guardValue; i < m && dst[j*ldd+i] != src[i*lds+j] || i >= m && dst[j*ldd+i] == want {
						t.Fatalf("%d×%d: [%d][%d] is %v", m, n, j, i, dst[j*ldd+i])
					}
				}
			}
		}
	})
}

func TestCopyRuns(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(37, 38))
		for run := 1; run <= ShortRun; run++ {
			for _, runs := range []int{0, 1, 2, 5} {
				sd, ss := run+r.IntN(3), r.IntN(40)
				src := random(r, max(0, (runs-1)*ss+run))
				whole, got := guarded(max(0, (runs-1)*sd+run))
				want := random(r, len(got))
				copy(got, want)
				CopyRuns(got, src, runs, run, sd, ss)
				checkGuard(t, whole)
				for i := range runs {
					copy(want[i*sd:][:run], src[i*ss:][:run])
				}
				sameBits(t, fmt.Sprint("CopyRuns ", runs, run, sd, ss), got, want)
			}
		}
	})
	x := make([]float32, 100)
	mustPanic(t, "run", func() { CopyRuns(x, x, 1, ShortRun+1, 40, 40) })
	mustPanic(t, "dst", func() { CopyRuns(x[:9], x, 2, 5, 5, 5) })
	mustPanic(t, "src", func() { CopyRuns(x, x[:9], 2, 5, 5, 5) })
}

func TestRepeat(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(35, 36))
		for n := range 40 {
			for _, times := range []int{0, 1, 2, 7, 8, 16, 24, 33} {
				src := random(r, n)
				whole, got := guarded(n * times)
				Repeat(got, src, times)
				checkGuard(t, whole)
				want := make([]float32, n*times)
				for i := range want {
					want[i] = src[i/times]
				}
				sameBits(t, fmt.Sprint("Repeat ", n, times), got, want)
			}
		}
	})
}

func TestGatherPanels(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for round := 0; round < rounds(200); round++ {
		channels, taps, p, stride := 1+r.IntN(5), 1+r.IntN(10), 1+r.IntN(100), 50
		src := random(r, channels*stride)
		tab := make([]int32, taps*p)
		for i := range tab {
			tab[i] = int32(r.IntN(stride+10) - 10)
			if i > 0 && round%2 == 0 && r.IntN(8) > 0 { // mostly runs
				if tab[i] = tab[i-1] + 1; tab[i-1] < 0 || int(tab[i]) == stride {
					tab[i] = -1
				}
			}
		}
		k := channels * taps
		b := make([]float32, k*p)
		for c := 0; c < channels; c++ {
			for i := 0; i < taps*p; i++ {
				if tab[i] >= 0 {
					b[c*taps*p+i] = src[c*stride+int(tab[i])]
				}
			}
		}
		want := make([]float32, PackedLen(k, p))
		PackB(want, b, k, p, p)
		whole, got := guarded(len(want))
		for q := 0; q < Panels(p); q++ {
			GatherPanels(got, src, tab, channels, stride, taps, q*PanelCols, min(p, (q+1)*PanelCols))
		}
		checkGuard(t, whole)
		sameBits(t, fmt.Sprint(channels, taps, p), got, want)
	}
	mustPanic(t, "p0", func() { GatherPanels(make([]float32, 64), make([]float32, 9), make([]int32, 64), 1, 9, 1, 8, 64) })
}

func BenchmarkLayout(b *testing.B) {
	const c, w = 128, 32
	r := rand.New(rand.NewPCG(1, 2))
	plain, blocked, padded := random(r, c*w*w), make([]float32, c*w*w), make([]float32, c*(w+2)*(w+2))
	tab := make([]int32, 0, 9*w*w) // 3×3, padded
	for t := 0; t < 9; t++ {
		for p := 0; p < w*w; p++ {
			y, x := p/w+t/3-1, p%w+t%3-1
			if y < 0 || y >= w || x < 0 || x >= w {
				tab = append(tab, -1)
			} else {
				tab = append(tab, int32(y*w+x))
			}
		}
	}
	packed := make([]float32, PackedLen(16*9, w*w))
	bench := func(name string, n int, f func()) {
		b.Run(name, func(b *testing.B) {
			eachISABench(b, func(b *testing.B) {
				for b.Loop() {
					f()
				}
				b.ReportMetric(4*float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GB/s") // written
			})
		})
	}
	bench("ToBlocked", len(blocked), func() { ToBlocked(blocked, plain, c, w*w, 0, c/Block) })
	bench("FromBlocked", len(blocked), func() { FromBlocked(plain, blocked, c, w*w, 0, c/Block) })
	bench("ToBlockedPadded", len(padded), func() { ToBlockedPadded(padded, plain, c, w, w, 1, 1, w+2, w+2, 0, c/Block) })
	bench("PadBlocked", len(padded), func() { PadBlocked(padded, blocked, w, w, 1, 1, w+2, w+2, 0, c/Block) })
	bench("Transpose", len(plain), func() { Transpose(blocked, plain, 256, 512, 256, 512) })
	bench("PackBT", len(plain), func() { PackBT(blocked, plain, 512, 256, 512) })
	bench("GatherPanels", len(packed), func() { GatherPanels(packed, plain, tab, 16, w*w, 9, 0, w*w) })
	bench("copy", len(plain), func() { copy(blocked, plain) })
}
