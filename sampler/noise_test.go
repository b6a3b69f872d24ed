package sampler

import (
	"context"
	"math"
	"strings"
	"testing"
)

// The random stream is part of what a seed means, so its bits are frozen. The
// values were computed apart, with 200-bit arithmetic, from the definition.
func TestNoiseIsFrozen(t *testing.T) {
	got := make([]float32, 12)
	at := Draw{Purpose: PurposePredictor, Index: 3, First: 1<<33 + 5, Dim: 6}
	if err := Philox(1).Normal(got, at); err != nil {
		t.Fatal(err)
	}
	for i, want := range [12]uint32{
		0xbf31fe33, 0x3e7eb997, 0x3fc3a218, 0x3ea06ad9, 0xbed5bed7, 0x3e06c748,
		0xbed6da03, 0x3e5d9159, 0x3f9af4fe, 0x3f829f87, 0xbe5f91ae, 0x3ea9df5c,
	} {
		if bits := math.Float32bits(got[i]); bits != want {
			t.Errorf("normal %d is %08x, want %08x", i, bits, want)
		}
	}
	u := make([]float32, 6)
	if err := Philox(1).Uniform(u, Draw{First: 7, Dim: 6}); err != nil {
		t.Fatal(err)
	}
	for i, want := range [6]float64{
		0.034741878509521484, 0.3158210515975952, 0.8826253414154053,
		0.08922350406646729, 0.5070289969444275, 0.6512540578842163,
	} {
		if float64(u[i]) != want {
			t.Errorf("uniform %d is %v, want %v", i, u[i], want)
		}
	}

	// One long draw, by its hash: every machine must have these bits.
	long := make([]float32, 1<<16)
	if err := Philox(42).Normal(long, Draw{Dim: 1 << 12}); err != nil {
		t.Fatal(err)
	}
	if got, want := hashOf(long), uint64(0xeb4a634e17ebb1db); got != want {
		t.Errorf("65536 normals hash to %#x, want %#x", got, want)
	}
	if err := Philox(42).Normal(long[:100], Draw{Index: 3<<32 + 5, Dim: 100}); err != nil {
		t.Fatal(err)
	}
	if got, want := hashOf(long[:100]), uint64(0xeff976b63acc0517); got != want {
		t.Errorf("100 normals of a draw beyond 2^32 hash to %#x, want %#x", got, want)
	}
}

// A row is the same in whatever company it is drawn, at any length.
func TestPhiloxRowsStandAlone(t *testing.T) {
	const n, dim = 5, 131 // more than one chunk, and not a multiple of 4
	all := make([]float32, n*dim)
	at := Draw{Purpose: PurposeCorrector, Index: 9, First: 1<<32 - 2, Dim: dim}
	if err := Philox(7).Normal(all, at); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		one := at
		one.First += uint64(i)
		row := make([]float32, dim)
		if err := Philox(7).Normal(row, one); err != nil {
			t.Fatal(err)
		}
		for j, v := range row {
			if v != all[i*dim+j] {
				t.Fatalf("sample %d, value %d: alone %v, in the batch %v", i, j, v, all[i*dim+j])
			}
		}
		short := make([]float32, 10)
		one.Dim = 10
		if err := Philox(7).Normal(short, one); err != nil {
			t.Fatal(err)
		}
		for j, v := range short {
			if v != row[j] {
				t.Fatalf("sample %d: value %d depends on how many there are", i, j)
			}
		}
	}
	if err := Philox(7).Normal(all, Draw{First: 1<<56 - 4, Dim: dim}); err == nil {
		t.Error("samples beyond the counter were drawn")
	}
}

// Each figure is N(0,1) if the normals are what they should be, so a limit of
// 4.9 has a false alarm once in 10⁶; with the 87 figures here, once in 11000
// choices of the seed. A mistake in the keys (a word used twice, a counter
// that does not move) shows as figures of hundreds.
func TestNormalsAreNormalAndIndependent(t *testing.T) {
	const limit = 4.9
	const samples, draws, dim = 64, 32, 128
	rows := make(map[[2]int][]float32)
	z := make([]float32, samples*dim)
	for d := range draws {
		for p := range 2 {
			at := Draw{Purpose: Purpose(p), Index: uint64(d), Dim: dim}
			if err := Philox(20).Normal(z, at); err != nil {
				t.Fatal(err)
			}
			rows[[2]int{p, d}] = append([]float32(nil), z...)
		}
	}
	at := func(p, d, s, e int) float64 { return float64(rows[[2]int{p, d}][s*dim+e]) }

	n := 0.0
	var sum [5]float64
	for _, r := range rows {
		for _, v := range r {
			x := float64(v)
			n++
			for k, y := 1, x; k < 5; k, y = k+1, y*x {
				sum[k] += y
			}
		}
	}
	check := func(what string, figure float64) {
		if math.Abs(figure) > limit {
			t.Errorf("%s: %.2f standard errors", what, figure)
		}
	}
	check("mean", sum[1]/math.Sqrt(n))
	check("variance", (sum[2]-n)/math.Sqrt(2*n))
	check("third moment", sum[3]/math.Sqrt(15*n))
	check("fourth moment", (sum[4]-3*n)/math.Sqrt(96*n))

	// Products of neighbours: along samples, draws, elements, purposes, and
	// the same for their squares, which sees what has no correlation.
	for _, lag := range [][4]int{
		{0, 0, 0, 1}, {0, 0, 0, 2}, {0, 0, 0, 3}, {0, 0, 0, 4}, {0, 0, 0, 8}, {0, 0, 0, 64},
		{0, 0, 1, 0}, {0, 0, 2, 0}, {0, 0, 4, 0}, {0, 0, 32, 0},
		{0, 1, 0, 0}, {0, 2, 0, 0}, {0, 4, 0, 0}, {0, 16, 0, 0},
		{1, 0, 0, 0}, {1, 1, 0, 0}, {1, 0, 1, 0}, {1, 0, 0, 1},
		{0, 1, 1, 0}, {0, 1, 0, 1}, {0, 0, 1, 1}, {0, 1, 1, 1}, {1, 1, 1, 1}, {0, 1, 0, 4}, {0, 0, 1, 4},
	} {
		var n, xy, x2y2 float64
		for p := range 2 - lag[0] {
			for d := range draws - lag[1] {
				for s := range samples - lag[2] {
					for e := range dim - lag[3] {
						x, y := at(p, d, s, e), at(p+lag[0], d+lag[1], s+lag[2], e+lag[3])
						n++
						xy += x * y
						x2y2 += (x*x - 1) * (y*y - 1)
					}
				}
			}
		}
		check("product at lag "+lagName(lag), xy/math.Sqrt(n))
		check("squares at lag "+lagName(lag), x2y2/math.Sqrt(4*n))
	}

	// Neighbouring seeds, and draws whose indices differ in their high halves.
	other := make([]float32, samples*dim)
	for what, of := range map[string]struct {
		seed Philox
		high uint64
	}{"seeds": {21, 0}, "halves": {20, 1}, "halves by two": {20, 2}} {
		for d := range 11 {
			if err := of.seed.Normal(other, Draw{Index: of.high<<32 + uint64(d), Dim: dim}); err != nil {
				t.Fatal(err)
			}
			xy := 0.0
			for i, v := range rows[[2]int{0, d}] {
				xy += float64(v) * float64(other[i])
			}
			check("product of neighbouring "+what, xy/math.Sqrt(samples*dim))
		}
	}
}

func lagName(lag [4]int) string {
	var parts []string
	for i, what := range []string{"purpose", "draw", "sample", "element"} {
		if lag[i] != 0 {
			parts = append(parts, what)
		}
	}
	return strings.Join(parts, "+")
}

func TestReplay(t *testing.T) {
	const draws, samples, dim = 3, 4, 2
	r := Replay{Values: make([]float32, draws*samples*dim), Samples: samples, Dim: dim}
	for i := range r.Values {
		r.Values[i] = float32(i)
	}
	dst := make([]float32, 2*dim)
	if err := r.Normal(dst, Draw{Seq: 2, First: 1, Dim: dim, Index: 77, Purpose: PurposeCorrector}); err != nil {
		t.Fatal(err)
	}
	for i, v := range dst {
		if want := float32(2*samples*dim + dim + i); v != want {
			t.Errorf("value %d is %v, want %v", i, v, want)
		}
	}
	for _, bad := range []struct {
		why string
		r   Replay
		at  Draw
	}{
		{"exhausted", r, Draw{Seq: 3, Dim: dim}},
		{"is for samples of 2 values, not 4", r, Draw{Dim: 4}},
		{"sample 4 is not among them", r, Draw{First: 3, Dim: dim}},
		{"no draws of 5 samples of 2", Replay{Values: r.Values, Samples: 5, Dim: 2}, Draw{Dim: 2}},
		{"no draws of 0 samples", Replay{}, Draw{Dim: 2}},
	} {
		err := bad.r.Uniform(dst, bad.at)
		if err == nil || !strings.Contains(err.Error(), bad.why) {
			t.Errorf("error is %v, want one that says %q", err, bad.why)
		}
	}
}

// Recording Philox and replaying the record gives the same samples, whole or
// in parts: draws are taken in the same order for every sample.
func TestReplayOfARecordedRun(t *testing.T) {
	for name, s := range usual() {
		if _, ok := s.sampler.(AdaptiveSDE); ok {
			// Its draws are of one sample each, in no common order.
			b := &Batch{X: make([]float32, testDim), Dim: testDim, Noise: Replay{}}
			if err := s.sampler.Sample(context.Background(), b, s.field()); err == nil {
				t.Errorf("%s: replayed", name)
			}
			continue
		}
		rec := &recorder{noise: Philox(3)}
		want := runSampler(t, s, rec, 0, 5)
		replay := Replay{Values: rec.values, Samples: 5, Dim: testDim}
		if got := runSampler(t, s, replay, 0, 5); !same(got, want) {
			t.Errorf("%s: the replay differs", name)
		}
		if got := runSampler(t, s, replay, 2, 2); !same(got, want[2*testDim:4*testDim]) {
			t.Errorf("%s: a replay of samples 2 and 3 differs", name)
		}
	}
}

type recorder struct {
	noise  Noise
	values []float32
}

func (r *recorder) Normal(dst []float32, at Draw) error {
	err := r.noise.Normal(dst, at)
	r.values = append(r.values, dst...)
	return err
}

func (r *recorder) Uniform(dst []float32, at Draw) error {
	err := r.noise.Uniform(dst, at)
	r.values = append(r.values, dst...)
	return err
}

func BenchmarkNormal(b *testing.B) {
	z := make([]float32, 3072)
	for i := range b.N {
		Philox(1).Normal(z, Draw{Index: uint64(i), Dim: len(z)})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(z)), "ns/value")
}

func BenchmarkUniform(b *testing.B) {
	z := make([]float32, 3072)
	for i := range b.N {
		Philox(1).Uniform(z, Draw{Index: uint64(i), Dim: len(z)})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(z)), "ns/value")
}
