package philox

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Known answers of Random123, the authors' implementation.
func TestPhiloxKnownAnswers(t *testing.T) {
	for _, c := range []struct {
		ctr  [4]uint32
		key  uint64
		want [4]uint32
	}{
		{[4]uint32{}, 0, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{1<<32 - 1, 1<<32 - 1, 1<<32 - 1, 1<<32 - 1}, 1<<64 - 1,
			[4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0a4093822,
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		var w, v [8]uint32
		keys := NewKeys(c.key)
		keys.Words(w[:], c.ctr)
		if got := [4]uint32(w[:]); got != c.want {
			t.Errorf("philox(%x, %x) = %x, want %x", c.ctr, c.key, got, c.want)
		}
		// The second block is the next counter's.
		next := c.ctr
		next[0]++
		keys.Words(v[:], next)
		if [4]uint32(v[:]) != [4]uint32(w[4:]) {
			t.Errorf("two blocks at once are not two blocks")
		}
	}
}

func TestLogAndSinCosAgainstMath(t *testing.T) {
	ulps := func(got, want float64) float64 {
		return math.Abs(got-want) / (math.Nextafter(math.Abs(want), math.Inf(1)) - math.Abs(want))
	}
	var worstLog, worstTrig float64
	try := func(w uint32) {
		u := (float64(w) + 0.5) * 0x1p-32
		worstLog = max(worstLog, ulps(logUnit(w), math.Log(u)))
		sin, cos := sincosTurn(w)
		// math.Sincos loses digits where 2πu is near a multiple of π/2, since
		// 2πu is rounded; an absolute error is what the normals feel.
		wantSin, wantCos := math.Sincos(2 * math.Pi * u)
		worstTrig = max(worstTrig, math.Abs(sin-wantSin), math.Abs(cos-wantCos))
		if math.Abs(sin*sin+cos*cos-1) > 4e-16 {
			t.Fatalf("sin²+cos² of turn %#x is off by %g", w, sin*sin+cos*cos-1)
		}
	}
	for i := range uint32(1 << 18) {
		try(i * 16381)
		try(1<<32 - 1 - i)
		try(i)
		try(i%8<<29 + i>>3 - 1<<14) // around every eighth of a turn
	}
	if worstLog > 2 {
		t.Errorf("log is off by %.2f ulp", worstLog)
	}
	if worstTrig > 2e-15 {
		t.Errorf("sine or cosine is off by %g", worstTrig)
	}
	t.Logf("log within %.2f ulp of math.Log, sin and cos within %.2g of math.Sincos", worstLog, worstTrig)
}

// levels are the instruction sets of this machine.
func levels(t testing.TB) (list []int) {
	before := vectors
	t.Cleanup(func() { vectors = before })
	for _, v := range slices.Sorted(maps.Values(named)) {
		if v > 0 && v <= detect() {
			list = append(list, v)
		}
	}
	if list == nil {
		t.Skip("no assembly for this machine or build")
	}
	return list
}

// The assembly makes the bits of the generic code: rows of every short length
// and of long ones, alone and side by side, from counters whose words carry or
// use all their bits.
func TestVectorsAreTheGenericCode(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	levels := levels(t)
	for range 300 {
		seed, rows := r.Uint64(), 1+r.IntN(20)
		dim := 1 + r.IntN(70)
		switch r.IntN(10) {
		case 0:
			dim = 1 + r.IntN(5000)
		case 1, 2, 3: // half a block or less, and more, side by side
			dim = 1 + r.IntN(4)
		}
		short := r.IntN(3) == 0 // every other row by a value
		ctr := [4]uint32{r.Uint32(), r.Uint32(), r.Uint32(), r.Uint32()}
		if r.IntN(4) == 0 {
			ctr[0] = -uint32(r.IntN(20)) // the first word passes its end
		}
		draw := func(level int) []float32 {
			vectors = level
			n, dst := Normals{Keys: NewKeys(seed)}, make([]float32, rows*dim)
			for i := range rows {
				c := ctr
				c[2] += uint32(i)
				row := dst[i*dim : (i+1)*dim]
				if short && i%2 == 1 {
					row = row[1:]
				}
				n.Row(row, c)
			}
			n.Flush()
			return dst
		}
		want := draw(0)
		for _, level := range levels {
			if got := draw(level); !slices.EqualFunc(got, want, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
				t.Fatalf("%d bits, %d rows of %d, counter %x: other normals", level, rows, dim, ctr)
			}
		}
	}
}

// The extreme words have their normals, too: the largest |z|, √(66 ln 2) = 6.76,
// and the ends of a turn and its quarters.
func TestLargestNormal(t *testing.T) {
	w := [chunk]uint32{0, 1<<29 - 1, 0, 1 << 30, 1<<32 - 1, 0, 1<<32 - 1, 1<<32 - 1}
	var z [8]float32
	boxMuller(z[:], &w)
	for i, v := range z {
		if v != v || math.Abs(float64(v)) > 6.77 {
			t.Errorf("normal %d is %v", i, v)
		}
	}
	if m := math.Hypot(float64(z[0]), float64(z[1])); math.Abs(m-math.Sqrt(2*33*math.Ln2)) > 1e-6 {
		t.Errorf("the largest radius is %v, want √(66 ln 2)", m)
	}
}

func TestPick(t *testing.T) {
	best := detect()
	for want, bits := range map[string]int{"": best, "nonsense": best, "generic": 0, "avx2": min(256, best), "avx512": best, "neon": best} {
		if got := pick(want); got != bits {
			t.Errorf("pick(%q) is %d, want %d", want, got, bits)
		}
	}
}

func TestNormalsDoNotAllocate(t *testing.T) {
	dst := make([]float32, 100)
	if n := testing.AllocsPerRun(10, func() {
		n := Normals{Keys: NewKeys(1)}
		n.Row(dst, [4]uint32{})
		n.Flush()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A row of an image's size and many rows of a plane's, each beside the generic
// code: the ratio is taken within one process, best of many.
func BenchmarkNormals(b *testing.B) {
	for _, shape := range [][2]int{{1, 3072}, {1536, 2}} {
		best := map[int]float64{}
		dst := make([]float32, shape[0]*shape[1])
		draw := func(level int) float64 {
			vectors = level
			n := Normals{Keys: NewKeys(1)}
			began := time.Now()
			for i := range shape[0] {
				n.Row(dst[i*shape[1]:(i+1)*shape[1]], [4]uint32{0, 0, uint32(i), 0})
			}
			n.Flush()
			return float64(time.Since(began).Nanoseconds()) / float64(len(dst))
		}
		all := append([]int{0}, levels(b)...)
		b.Run(fmt.Sprintf("%dx%d", shape[0], shape[1]), func(b *testing.B) {
			for range b.N {
				for _, level := range all {
					ns := draw(level)
					if old, ok := best[level]; !ok || ns < old {
						best[level] = ns
					}
				}
			}
			b.ReportMetric(best[0], "generic-ns/value")
			for _, level := range all[1:] {
				b.ReportMetric(best[level], fmt.Sprintf("%dbit-ns/value", level))
				b.ReportMetric(best[0]/best[level], fmt.Sprintf("%dbit-ratio", level))
			}
		})
	}
}
