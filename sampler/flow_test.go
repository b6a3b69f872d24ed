package sampler

import (
	"context"
	"errors"
	"math"
	"testing"

	"sampleonnx/schedules"
)

// A mixture of Gaussians with equal spread, the eight modes of unequal weight
// on a ring that several tests share.
type mixture struct {
	dim     int
	means   []float64 // one after another
	weights []float64
	tau     float64
}

func ring() mixture {
	m := mixture{dim: 2, tau: 0.2}
	for i, w := range [8]float64{1, 2, 1, 3, 1, 2, 1, 1} {
		sin, cos := math.Sincos(2 * math.Pi * float64(i) / 8)
		m.means = append(m.means, 4*cos, 4*sin)
		m.weights = append(m.weights, w/12)
	}
	return m
}

// score is the exact score of the mixture along a path.
func (m mixture) score(path schedules.Path) Field {
	logs := make([]float64, len(m.weights))
	sum := make([]float64, m.dim)
	return func(dst, x []float32, t []float64) error {
		for i, t := range t {
			alpha, sigma := path.Marginal(t)
			v := alpha*alpha*m.tau*m.tau + sigma*sigma
			x, dst := x[i*m.dim:(i+1)*m.dim], dst[i*m.dim:(i+1)*m.dim]
			top := math.Inf(-1)
			for k, w := range m.weights {
				d2 := 0.0
				for j, mean := range m.means[k*m.dim : (k+1)*m.dim] {
					d := float64(x[j]) - alpha*mean
					d2 += d * d
				}
				logs[k] = math.Log(w) - d2/(2*v)
				top = max(top, logs[k])
			}
			total := 0.0
			clear(sum)
			for k, l := range logs {
				if l < top-40 {
					continue
				}
				p := math.Exp(l - top)
				total += p
				for j, mean := range m.means[k*m.dim : (k+1)*m.dim] {
					sum[j] += p * (alpha*mean - float64(x[j]))
				}
			}
			for j, s := range sum {
				dst[j] = float32(s / total / v)
			}
		}
		return nil
	}
}

// velocity is E[z − x_0 | x] on flow matching's path, from t = 1 on.
func (m mixture) velocity() Field {
	return func(dst, x []float32, ts []float64) error {
		for i, t := range ts {
			v := (1-t)*(1-t)*m.tau*m.tau + t*t
			x, u := x[i*m.dim:(i+1)*m.dim], make([]float64, m.dim)
			total := 0.0
			for k, w := range m.weights {
				mean := m.means[k*m.dim : (k+1)*m.dim]
				d2 := 0.0
				for j, mean := range mean {
					d2 += (float64(x[j]) - (1-t)*mean) * (float64(x[j]) - (1-t)*mean)
				}
				p := w * math.Exp(-d2/(2*v))
				total += p
				for j, mean := range mean {
					u[j] += p * ((t-(1-t)*m.tau*m.tau)/v*(float64(x[j])-(1-t)*mean) - mean)
				}
			}
			for j, u := range u {
				dst[i*m.dim+j] = float32(u / total)
			}
		}
		return nil
	}
}

// The published sampler (scipy's RK45 on the whole batch, rtol = atol = 1e-5)
// needs 116 evaluations from these states, and ends there. The same number
// means the same steps.
func TestCoupledFlowIsThePublishedSampler(t *testing.T) {
	ve := schedules.VE{SigmaMin: 0.01, SigmaMax: 10}
	b := &Batch{X: append([]float32(nil), ringStart[:]...), Dim: 2}
	if err := (Flow{SDE: ve, Coupled: true}).Sample(context.Background(), b, ring().score(ve)); err != nil {
		t.Fatal(err)
	}
	if b.Calls != 116 || b.Evals != 116*16 {
		t.Errorf("%d evaluations of %d samples, want 116 of 1856", b.Calls, b.Evals)
	}
	worst := 0.0
	for i, want := range ringEnd {
		worst = max(worst, math.Abs(float64(b.X[i]-want)))
	}
	if worst > 2e-5 {
		t.Errorf("the end is off by %g", worst)
	}
	t.Logf("largest difference from the published sampler's end: %.2g", worst)
}

var ringStart = [32]float32{
	-10.4619141, 12.305212, 18.6621227, -3.43533301,
	0.675485373, 4.48133945, -5.98589897, 2.5146296,
	2.11325669, 1.33133769, 2.5223496, 3.82690215,
	2.344275, 11.8046989, 7.78340387, 12.3175764,
	0.049451571, 1.17292428, -11.5966396, 6.12393093,
	3.51848936, 1.86283684, 9.5667944, 0.895440876,
	0.136760339, -5.37775612, -6.99412584, 11.3726234,
	2.74974489, -4.11410713, 1.15771925, -2.1541481,
}

var ringEnd = [32]float32{
	-2.92337251, 2.97859955, 4.18100214, -0.0755115375,
	-0.251254022, 3.72181678, -2.83251309, 2.66689801,
	0.296785474, 3.56343055, 0.295827061, 3.68859434,
	0.0767931044, 4.00615025, 2.76591468, 3.00248027,
	-2.54316568, 2.6573503, -2.9759872, 2.78879523,
	2.59744763, 2.6862359, 2.98520565, 2.39956331,
	-2.47483134, -2.77686667, -2.82055593, 2.96595907,
	0.295388281, -3.58705187, -2.45778322, -2.47008729,
}

// solveFlow runs the solver alone on the probability-flow ODE, in float64.
func solveFlow(t *testing.T, sde schedules.SDE, score func(dst, x, t []float64) error, y []float64, size int, tol float64) (d *dopri, calls int) {
	t.Helper()
	d = &dopri{rtol: tol, atol: tol}
	err := d.solve(func(dst, y, ts []float64, id []int) error {
		calls++
		each := make([]float64, len(y))
		for i := range each {
			each[i] = ts[i/size]
		}
		if err := score(dst, y, each); err != nil {
			return err
		}
		for i := range dst {
			cx, cs := flowCoeffs(sde, each[i])
			dst[i] = cx*y[i] + cs*dst[i]
		}
		return nil
	}, y, size, sde.T(), sde.Eps(), func(int) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	return d, calls
}

// On a Gaussian the flow is x_t = α_t μ0 + √(w_t/w_T)(x_T − α_T μ0).
func TestFlowIsTheExactODE(t *testing.T) {
	for _, p := range papers {
		cT, wT, _ := p.place(1)
		c0, w0, _ := p.place(p.eps)
		for _, c := range []struct{ tol, limit float64 }{{1e-5, 1e-4}, {1e-9, 1e-8}, {1e-12, 1e-11}} {
			y := []float64{-2, 0.3, 1, 4}
			want := make([]float64, len(y))
			for i, x := range y {
				want[i] = c0 + math.Sqrt(w0/wT)*(x-cT)
			}
			_, calls := solveFlow(t, p.sde, gaussianScore(p.sde), y, 1, c.tol)
			worst := 0.0
			for i := range y {
				worst = max(worst, math.Abs(y[i]-want[i]))
			}
			if worst > c.limit {
				t.Errorf("%s at tolerance %g: off by %g", p.name, c.tol, worst)
			}
			t.Logf("%s at tolerance %g: off by %.2g after %d evaluations", p.name, c.tol, worst, calls)
		}
	}
}

// In one dimension the flow keeps the distribution function of every
// trajectory: F_ε(x_ε) = F_T(x_T), exact however the law looks.
func TestFlowKeepsTheDistributionFunction(t *testing.T) {
	weights, means, stds := [3]float64{0.3, 0.5, 0.2}, [3]float64{-1, 0.2, 1.5}, [3]float64{0.1, 0.3, 0.05}
	for _, p := range papers {
		cdf := func(x, t float64) (f float64) {
			alpha, sigma := p.sde.Marginal(t)
			for k, w := range weights {
				v := alpha*alpha*stds[k]*stds[k] + sigma*sigma
				f += w * math.Erfc((alpha*means[k]-x)/math.Sqrt(2*v)) / 2
			}
			return f
		}
		score := func(dst, x, t []float64) error {
			for i := range x {
				alpha, sigma := p.sde.Marginal(t[i])
				var slope, density float64
				for k, w := range weights {
					v := alpha*alpha*stds[k]*stds[k] + sigma*sigma
					d := x[i] - alpha*means[k]
					e := w / math.Sqrt(v) * math.Exp(-d*d/(2*v))
					density += e
					slope -= e * d / v
				}
				dst[i] = slope / density
			}
			return nil
		}
		_, scale := p.sde.Marginal(1)
		start := make([]float64, 41)
		for i := range start {
			start[i] = (float64(i) - 20) / 8 * scale
		}
		worstOf := func(y []float64) float64 {
			worst := 0.0
			for i := range y {
				worst = max(worst, math.Abs(cdf(y[i], p.sde.Eps())-cdf(start[i], 1)))
			}
			return worst
		}
		for _, c := range []struct {
			size       int
			tol, limit float64
		}{
			{len(start), 1e-5, 5e-4}, // one system, as published
			{len(start), 1e-9, 1e-8},
			// The error estimate of a single number is zero now and then, and a
			// long step passes.
			{1, 1e-5, 3e-3},
			{1, 1e-9, 1e-8},
		} {
			y := append([]float64(nil), start...)
			solveFlow(t, p.sde, score, y, c.size, c.tol)
			if worst := worstOf(y); worst > c.limit {
				t.Errorf("%s, %d at once, tolerance %g: F changed by %g", p.name, c.size, c.tol, worst)
			} else {
				t.Logf("%s, %d at once, tolerance %g: F changed by %.2g", p.name, c.size, c.tol, worst)
			}
		}

		// The public sampler, with a float32 field.
		b := &Batch{Dim: 1}
		for _, x := range start {
			b.X = append(b.X, float32(x))
		}
		x64, s64 := make([]float64, len(start)), make([]float64, len(start))
		err := Flow{SDE: p.sde}.Sample(context.Background(), b, func(dst, x []float32, t []float64) error {
			scaleTo(x64[:len(x)], x)
			err := score(s64[:len(x)], x64[:len(x)], t)
			for i := range dst {
				dst[i] = float32(s64[i])
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		y := make([]float64, len(start))
		scaleTo(y, b.X)
		if worst := worstOf(y); worst > 3e-3 {
			t.Errorf("%s in float32: F changed by %g", p.name, worst)
		}
		if b.Evals >= b.Calls*len(start) {
			t.Errorf("%s: %d samples evaluated in %d calls: none dropped out early", p.name, b.Evals, b.Calls)
		}
	}
}

func scaleTo(dst []float64, src []float32) { scale(dst, src, 1) }

// Dormand–Prince is of order 5: on one step of size h the error falls by 2⁶.
// With tolerances out of the way, halving h is halving the interval.
func TestSolverOrder(t *testing.T) {
	step := func(h float64) float64 {
		d := &dopri{size: 1, active: 1, rtol: 1e9, atol: 1e9}
		d.id, d.rejected, d.t, d.h = []int{0}, []bool{false}, []float64{0}, []float64{h}
		d.step, d.ts, d.y, d.next = make([]float64, 1), make([]float64, 1), []float64{1}, make([]float64, 1)
		f := func(dst, y, t []float64, id []int) error {
			dst[0] = y[0] * math.Cos(t[0])
			return nil
		}
		for j := range d.k {
			d.k[j] = make([]float64, 1)
		}
		if err := f(d.k[0], d.y, d.t, d.id); err != nil {
			t.Fatal(err)
		}
		if err := d.attempt(f, h); err != nil {
			t.Fatal(err)
		}
		return math.Abs(d.next[0] - math.Exp(math.Sin(h)))
	}
	slope := math.Log2(step(0.2) / step(0.1))
	if math.Abs(slope-6) > 0.35 {
		t.Errorf("one step's error falls by 2^%.2f, want 2^6", slope)
	}
}

func TestSolverGivesUpOnASingularity(t *testing.T) {
	// System 0 is a straight line. System 1 is y = √t, which ends at t = 0.
	d := &dopri{rtol: 1e-6, atol: 1e-6}
	y := []float64{1, 1}
	err := d.solve(func(dst, y, t []float64, id []int) error {
		for i := range y {
			dst[i] = -1
			if id[i] == 1 {
				dst[i] = 1 / (2 * y[i])
			}
			if y[i] < 0 {
				dst[i] = 1e30
			}
		}
		return nil
	}, y, 1, 1, -1, func(attempts int) error {
		if attempts > 100000 {
			return errors.New("no end")
		}
		return nil
	})
	var stuck *stuckError
	if !errors.As(err, &stuck) || stuck.id != 1 {
		t.Errorf("error is %v, want system 1 stuck", err)
	}
}

func TestFifthRoot(t *testing.T) {
	for _, x := range []float64{1e-300, 1e-17, 0.03125, 0.2, 1, 2, 31.9, 32, 1e5, 1e300} {
		r := fifthRoot(x)
		if back := r * r * r * r * r; math.Abs(back-x) > 2e-15*x {
			t.Errorf("fifth root of %g is %.17g, whose fifth power is %.17g", x, r, back)
		}
	}
	if fifthRoot(0) != 0 || !math.IsInf(fifthRoot(math.Inf(1)), 1) || !math.IsNaN(fifthRoot(math.NaN())) {
		t.Error("fifth roots of 0, infinity or NaN")
	}
}
