package sampler

import (
	"context"
	"fmt"
	"math"
	"testing"

	"sampleonnx/schedules"
)

// published is k-diffusion's dpm_adaptive as a second program, for a batch of
// values with the score of N(mu0, s0²): it returns where they come to and the
// levels on the way.
func published(x []float64, from, to float64, order int, rtol, atol, p, i, d float64) (levels []float64) {
	k := float64(order)
	eps := func(x, sigma float64) float64 { return sigma * (x - mu0) / (s0*s0 + sigma*sigma) }
	sigma := func(t float64) float64 { return math.Exp(-t) }
	s, end, h := -math.Log(from), -math.Log(to), 0.05
	prev, errs := append([]float64(nil), x...), []float64(nil)
	levels = []float64{from}
	for s < end-1e-5 {
		t := min(end, s+h)
		step := t - s
		low, high := make([]float64, len(x)), make([]float64, len(x))
		total := 0.0
		for j, x := range x {
			e := eps(x, sigma(s))
			first := func(r float64) float64 { return x - sigma(s+r*step)*math.Expm1(r*step)*e }
			second := func(r float64) float64 {
				return first(1) - sigma(t)/(2*r)*math.Expm1(step)*(eps(first(r), sigma(s+r*step))-e)
			}
			if order == 2 {
				low[j], high[j] = first(1), second(0.5)
			} else {
				const r1, r2 = 1. / 3, 2. / 3
				e1 := eps(first(r1), sigma(s+r1*step))
				u2 := first(r2) - sigma(s+r2*step)*(r2/r1)*(math.Expm1(r2*step)/(r2*step)-1)*(e1-e)
				e2 := eps(u2, sigma(s+r2*step))
				low[j] = second(r1)
				high[j] = first(1) - sigma(t)/r2*(math.Expm1(step)/step-1)*(e2-e)
			}
			total += math.Pow((low[j]-high[j])/max(atol, rtol*max(math.Abs(low[j]), math.Abs(prev[j]))), 2)
		}
		inv := 1 / (math.Sqrt(total/float64(len(x))) + 1e-8)
		if errs == nil {
			errs = []float64{inv, inv, inv}
		}
		errs[0] = inv
		f := 1 + math.Atan(math.Pow(errs[0], (p+i+d)/k)*math.Pow(errs[1], -(p+2*d)/k)*math.Pow(errs[2], d/k)-1)
		if f >= 0.81 {
			errs[2], errs[1] = errs[1], errs[0]
			copy(prev, low)
			copy(x, high)
			s = t
			levels = append(levels, sigma(t))
		}
		h *= f
	}
	return levels
}

// solvePair is DPMAdaptive's solver on the same score, in float64.
func solvePair(t *testing.T, x []float64, size, order int, rtol, atol, p, i, d float64) (levels []float64) {
	t.Helper()
	k := float64(order)
	s := &dpmPair{order: order, size: size, rtol: rtol, atol: atol, safety: 0.81, b: [3]float64{(p + i + d) / k, -(p + 2*d) / k, d / k}}
	err := s.solve(func(dst, x, sigma []float64, id []int) error {
		for j, v := range x {
			sigma := sigma[j/size]
			dst[j] = sigma * (v - mu0) / (s0*s0 + sigma*sigma)
		}
		return nil
	}, x, -math.Log(10), -math.Log(0.02), 0.05, func() error {
		if len(s.id) > 0 {
			levels = append(levels, math.Exp(-s.lambda[0]))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return levels
}

// The solver is the program, start by start and with all starts as one system;
// and with the levels it has chosen it is the affine map of DPM-Solver, which
// has a row in the table.
func TestDPMAdaptiveIsTheProgram(t *testing.T) {
	starts := []float64{-31, -9, -0.4, 0.7, 3, 12, 24}
	for _, c := range []struct {
		order               int
		rtol, atol, p, i, d float64
	}{{3, .05, .0078, 0, 1, 0}, {2, .05, .0078, 0, 1, 0}, {3, 1e-3, 1e-4, .2, .6, .1}, {2, 1e-2, 1e-3, .3, .4, 0}, {3, .1, .02, 0, 1, .2}} {
		for _, size := range []int{1, len(starts)} {
			got, want := append([]float64(nil), starts...), append([]float64(nil), starts...)
			solvePair(t, got, size, c.order, c.rtol, c.atol, c.p, c.i, c.d)
			for from := 0; from < len(want); from += size {
				levels := published(want[from:from+size], 10, 0.02, c.order, c.rtol, c.atol, c.p, c.i, c.d)
				f := measure(t, DPMSolver{Sigmas: levels, Order: c.order}, schedules.Sigma{})
				for j := from; j < from+size; j++ {
					where := fmt.Sprintf("%+v, system of %d, start %g", c, size, starts[j])
					closeTo(t, where, got[j], want[j], 1e-12)
					closeTo(t, where+": the affine map of its steps", f.o+f.a*starts[j], want[j], 1e-12)
				}
			}
		}
	}
}

// The tolerance is about what the end is off by, and it falls with it.
func TestDPMAdaptiveTolerance(t *testing.T) {
	for _, order := range []int{2, 3} {
		var off []float64
		for _, tol := range []float64{1e-2, 1e-4, 1e-6} {
			x := []float64{-31, -9, 3, 12, 24}
			start := append([]float64(nil), x...)
			solvePair(t, x, 1, order, tol, tol, 0, 1, 0)
			worst := 0.0
			for i, v := range x {
				exact := mu0 + math.Sqrt((s0*s0+0.02*0.02)/(s0*s0+100))*(start[i]-mu0)
				worst = max(worst, math.Abs(v-exact))
			}
			t.Logf("order %d, tolerance %g: off by %.2g", order, tol, worst)
			if off = append(off, worst); worst > 10*tol {
				t.Errorf("order %d, tolerance %g: off by %g", order, tol, worst)
			}
		}
		if off[2] > off[0]/500 {
			t.Errorf("order %d: off by %v", order, off)
		}
	}
}

// Denoise ends at x + σ² s, with one evaluation more.
func TestDPMAdaptiveDenoise(t *testing.T) {
	score := func(dst, x []float32, ts []float64) error {
		for i, v := range x {
			dst[i] = float32((mu0 - float64(v)) / (s0*s0 + ts[i]*ts[i]))
		}
		return nil
	}
	var b [2]*Batch
	for k := range b {
		b[k] = &Batch{X: []float32{-7, 3, 12}, Dim: 1}
		if err := (DPMAdaptive{SigmaMax: 10, SigmaMin: 0.1, Denoise: k == 1}).Sample(context.Background(), b[k], score); err != nil {
			t.Fatal(err)
		}
	}
	for i, v := range b[0].X {
		want := float64(v) + 0.01*(mu0-float64(v))/(s0*s0+0.01)
		closeTo(t, "denoised", float64(b[1].X[i]), want, 1e-6)
	}
	if b[1].Calls != b[0].Calls+1 {
		t.Errorf("%d and %d calls", b[0].Calls, b[1].Calls)
	}
}
