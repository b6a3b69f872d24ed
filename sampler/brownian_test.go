package sampler

import (
	"context"
	"math"
	"testing"

	"sampleonnx/schedules"
)

// Levels of a walk are exactly independent and of variance 1, whatever the
// ladder: their coefficients in the path's nodes are orthonormal.
func TestBrownianIncrementsAreOrthonormal(t *testing.T) {
	for _, sigmas := range [][]float64{
		schedules.Karras(80, 0.002, 7, 18), schedules.Geometric(1000, 0.001, 100), {math.Exp(16), 1, math.Exp(-16)},
		schedules.PolyExponential(10, 0.01, 2, 25), schedules.Geometric(3.00003, 3, 40),
	} {
		const nodes = 4000
		// A value for every node that is met: its impulse.
		var met []uint64
		var incs [][]float64
		b := &Batch{X: make([]float32, nodes), Dim: nodes}
		if err := b.embark(sigmas, 1); err != nil {
			t.Fatal(err)
		}
		p := &b.path
		for _, sigma := range sigmas[1:] {
			n, err := p.place(sigma)
			if err != nil {
				t.Fatal(err)
			}
			root := math.Sqrt(math.Abs(float64(p.at) - float64(n)))
			err = p.moveTo(n, func(dst []float32, id uint64) error {
				clear(dst)
				k := 0
				for k < len(met) && met[k] != id {
					k++
				}
				if k == len(met) {
					met = append(met, id)
				}
				dst[k] = 1
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			inc := make([]float64, nodes)
			for i, v := range p.sum {
				inc[i] = v / root
			}
			incs = append(incs, inc)
		}
		for i, a := range incs {
			for j, b := range incs[:i+1] {
				dot, want := 0.0, 0.0
				for k := range a {
					dot += a[k] * b[k]
				}
				if i == j {
					want = 1
				}
				closeTo(t, "product of increments", dot, want, 1e-12)
			}
		}
		t.Logf("%d steps met %d nodes", len(incs), len(met))
	}
}

// The path is the same on every ladder: as steps are halved, samples of a run
// stay where they are, and with independent noise they do not. And it is not
// the same for two samples, seeds, or runs on one batch.
func TestBrownianPathDoesNotDependOnTheLadder(t *testing.T) {
	run := func(s Sampler, seed Philox) []float32 {
		b := &Batch{X: make([]float32, 64*testDim), Dim: testDim, Noise: seed}
		if err := b.Prior(10); err != nil {
			t.Fatal(err)
		}
		if err := s.Sample(context.Background(), b, curved(schedules.Sigma{})); err != nil {
			t.Fatal(err)
		}
		return b.X
	}
	for name, of := range map[string]func(n int, independent bool) Sampler{
		"sde": func(n int, ind bool) Sampler {
			return DPMppSDE{Sigmas: schedules.Geometric(10, 0.05, n), Independent: ind}
		},
		"2m": func(n int, ind bool) Sampler {
			return DPMpp2MSDE{Sigmas: schedules.Karras(10, 0.05, 7, n), Independent: ind}
		},
		"3m": func(n int, ind bool) Sampler {
			return DPMpp3MSDE{Sigmas: schedules.Geometric(10, 0.05, n), Independent: ind}
		},
	} {
		coarse, mid, fine := run(of(51, false), 1), run(of(101, false), 1), run(of(401, false), 1)
		a, b := relativeRMS(coarse, fine), relativeRMS(mid, fine)
		apart := relativeRMS(run(of(101, true), 1), run(of(401, true), 1))
		t.Logf("%s: 50 and 400 steps differ by %.3f, 100 and 400 by %.3f, with independent noise by %.3f", name, a, b, apart)
		if !(b < a) || b > apart/4 {
			t.Errorf("%s: the path depends on the ladder", name)
		}
		if relativeRMS(run(of(101, false), 2), mid) < apart/2 {
			t.Errorf("%s: two seeds have one path", name)
		}
	}

	s := DPMpp2MSDE{Sigmas: schedules.Geometric(1, 0.1, 5)}
	b := &Batch{X: make([]float32, testDim), Dim: testDim}
	var ends [2][]float32
	for i := range ends {
		clear(b.X)
		if err := s.Sample(context.Background(), b, curved(schedules.Sigma{})); err != nil {
			t.Fatal(err)
		}
		ends[i] = append(ends[i], b.X...)
	}
	if same(ends[0], ends[1]) {
		t.Error("two runs on one batch had the same path")
	}
	for name, sigmas := range map[string][]float64{
		"beyond the path": {1e9, 1}, "too close": {1 + 1e-12, 1},
	} {
		if err := (DPMpp2MSDE{Sigmas: sigmas}).Sample(context.Background(), b, curved(schedules.Sigma{})); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Levels may be as close as they like: the path is looked at more closely, and
// is still the same.
func TestBrownianPathOfFineLadders(t *testing.T) {
	run := func(s Sampler) []float32 {
		b := &Batch{X: make([]float32, 4*testDim), Dim: testDim, Noise: Philox(1)}
		if err := b.Prior(10); err != nil {
			t.Fatal(err)
		}
		if err := s.Sample(context.Background(), b, curved(schedules.Sigma{})); err != nil {
			t.Fatal(err)
		}
		return b.X
	}
	for name, of := range map[string]func(s []float64) Sampler{
		"sde": func(s []float64) Sampler { return DPMppSDE{Sigmas: s} },
		"2m":  func(s []float64) Sampler { return DPMpp2MSDE{Sigmas: s} },
		"3m":  func(s []float64) Sampler { return DPMpp3MSDE{Sigmas: s} },
	} {
		usual := run(of(schedules.Geometric(10, 0.05, 2001)))
		for ladder, sigmas := range map[string][]float64{
			"40,000 steps": schedules.Karras(10, 0.05, 7, 40001), "beta": schedules.Beta(10, 0.05, 0.6, 8001),
		} {
			off := relativeRMS(run(of(sigmas)), usual)
			t.Logf("%s, %s: other by %.4f than with 2000 even steps", name, ladder, off)
			if off > 0.02 {
				t.Errorf("%s, %s: other by %g than with 2000 even steps", name, ladder, off)
			}
		}
	}
}
