package sampler

import (
	"context"
	"math"
	"testing"

	"sampleonnx/schedules"
)

// exactOn is the score of N(mu0, s0²) on a path, in float32.
func exactOn(path schedules.Path) Field {
	return func(dst, x []float32, t []float64) error {
		dim := len(x) / len(t)
		for i, v := range x {
			a, sigma := path.Marginal(t[i/dim])
			dst[i] = float32(-(float64(v) - a*mu0) / (a*a*s0*s0 + sigma*sigma))
		}
		return nil
	}
}

// To VE coordinates and back, and from a score to the velocity and back.
func TestCoordinatesAndBack(t *testing.T) {
	x := []float32{0.3, -1.2, 2.5, 0.01, -0.4, 1}
	times := []float64{0.9, 0.3, 0.3}
	for name, c := range map[string]struct {
		path schedules.Path
		f    Field
	}{
		"vp":     {schedules.VP{}, FromVE(InVE(exactOn(schedules.VP{}), schedules.VP{}), schedules.VP{})},
		"from":   {schedules.SubVP{}, FromVE(exactOn(schedules.Sigma{}), schedules.SubVP{})},
		"flow":   {schedules.Rectified{}, FromFlow(Velocity(exactOn(schedules.Rectified{})))},
		"twice":  {schedules.Rectified{}, FromVE(exactOn(schedules.Sigma{}), schedules.Rectified{})},
		"direct": {schedules.Rectified{}, exactOn(schedules.Rectified{})},
	} {
		got, want := make([]float32, len(x)), make([]float32, len(x))
		if err := c.f(got, x, times); err != nil {
			t.Fatal(err)
		}
		if err := exactOn(c.path)(want, x, times); err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if math.Abs(float64(got[i]-want[i])) > 3e-6*(1+math.Abs(float64(want[i]))) {
				t.Errorf("%s: score %v, want %v", name, got[i], want[i])
			}
		}
	}
}

// The derivatives of the adapters are those of what they adapt: vᵀ∂s/∂x of a linear score is −v/w.
func TestPullbacksOfAdapters(t *testing.T) {
	x, v := []float32{0.3, -1.2, 2.5, 0.01, -0.4, 1}, []float32{1, -2, 0.5, 3, -1, 0.1}
	times := []float64{0.9, 0.3, 0.3}
	vp, edm := schedules.VP{}, schedules.EDM(0.5)
	// pulled is the derivative of a network that is c(label)·x.
	linear := func(c func(t float64) float64) Pullback {
		return func(dst, v, x []float32, t []float64) error {
			dim := len(x) / len(t)
			for i := range dst {
				dst[i] = float32(c(t[i/dim]) * float64(v[i]))
			}
			return nil
		}
	}
	variance := func(p schedules.Path, t float64) float64 {
		a, sigma := p.Marginal(t)
		return a*a*s0*s0 + sigma*sigma
	}
	for name, c := range map[string]struct {
		pull Pullback
		want func(t float64) float64
	}{
		"VE": {PullVE(linear(func(t float64) float64 { return -1 / variance(vp, t) }), vp),
			func(rho float64) float64 { return -1 / (s0*s0 + rho*rho) }},
		// u = z − x_0 has the slope (t − (1−t)s0²)/w.
		"flow": {PullFlow(linear(func(t float64) float64 { return (t - (1-t)*s0*s0) / variance(schedules.Rectified{}, t) })),
			func(t float64) float64 { return -1 / variance(schedules.Rectified{}, t) }},
		// D = c_skip x + c_out F(c_in x) has the slope s0²/(s0²+σ²).
		"EDM": {PullPrecond(linear(func(label float64) float64 {
			sigma := math.Exp(4 * label)
			skip, out, in, _ := edm(sigma)
			return (s0*s0/(s0*s0+sigma*sigma) - skip) / out / in
		}), edm), func(sigma float64) float64 { return -1 / (s0*s0 + sigma*sigma) }},
	} {
		dst := make([]float32, len(x))
		if err := c.pull(dst, v, x, times); err != nil {
			t.Fatal(err)
		}
		for i, got := range dst {
			if want := c.want(times[i/2]) * float64(v[i]); math.Abs(float64(got)-want) > 1e-5*math.Abs(want) {
				t.Errorf("%s: %v, want %v", name, got, want)
			}
		}
	}
}

// An adapter is called at every evaluation and keeps its room.
func TestAdaptersDoNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector empties pools")
	}
	vp := schedules.VP{}
	net := Field(func(dst, x []float32, t []float64) error { copy(dst, x); return nil })
	pull := Pullback(func(dst, v, x []float32, t []float64) error { copy(dst, v); return nil })
	inside := InVE(FromVelocity(net, vp), vp)
	x, v, dst, times := make([]float32, 12), make([]float32, 12), make([]float32, 12), []float64{0.9, 0.3, 0.3}
	for name, f := range map[string]Pullback{
		"PullNoise": PullNoise(pull, vp), "PullNormalised": PullNormalised(pull, vp), "PullDenoiser": PullDenoiser(pull, vp),
		"PullVelocity": PullVelocity(pull, vp), "PullFlow": PullFlow(pull), "PullVE": PullVE(pull, vp), "PullPrecond": PullPrecond(pull, schedules.EDM(0.5)),
		"CentralDifference":    CentralDifference(net, vp, 0.02),
		"InVE of FromVelocity": func(dst, _, x []float32, t []float64) error { return inside(dst, x, t) },
	} {
		if n := testing.AllocsPerRun(50, func() {
			if err := f(dst, v, x, times); err != nil {
				t.Fatal(err)
			}
		}); n > 0.5 {
			t.Errorf("%s: %v allocations a call", name, n)
		}
	}
}

// gaussianVelocity is E[z − x_0 | x]: with x = (1−t)x_0 + tz the covariances of
// z and x_0 with x are t and (1−t)s0².
func gaussianVelocity(dst, x, t []float64) error {
	for i, t := range t {
		c := 1 - t
		a := (t - c*s0*s0) / (c*c*s0*s0 + t*t)
		dst[i] = a*(x[i]-c*mu0) - mu0
	}
	return nil
}

// From t = 1, where a score would not do: the first step is from noise to its
// mean, less the data's.
func TestStraightBeginsAtNoise(t *testing.T) {
	for _, heun := range []bool{false, true} {
		f := measureField(t, Straight{Times: []float64{1, 0}, Heun: heun}, gaussianVelocity)
		closeTo(t, "offset", f.o, mu0, 1e-15)
		closeTo(t, "factor of the start", f.a, 0, 1e-15)
	}
}

// Halving the steps divides the error by 2 and 4. The exact map is mu0 + s0·x.
func TestStraightOrder(t *testing.T) {
	for order, heun := range map[int]bool{1: false, 2: true} {
		failed := func(n int) float64 {
			return math.Abs(measureField(t, Straight{schedules.Linear(1, 0, n+1), heun}, gaussianVelocity).a - s0)
		}
		if p := math.Log2(failed(256) / failed(512)); math.Abs(p-float64(order)) > 0.1 {
			t.Errorf("order %d is %.2f", order, p)
		}
	}
}

func TestStraightRefuses(t *testing.T) {
	for _, times := range [][]float64{nil, {1}, {0.5, 1}, {1, 1}, {2, 1}, {1, math.NaN()}, {1, -1}} {
		b := &Batch{X: make([]float32, 1), Dim: 1}
		if err := (Straight{Times: times}).Sample(context.Background(), b, exactOn(schedules.Sigma{})); err == nil {
			t.Errorf("times %v accepted", times)
		}
	}
}

// Esser et al.'s shift keeps the ends and multiplies σ/α by s.
func TestShiftTimes(t *testing.T) {
	got := ShiftTimes([]float64{1, 0.5, 0.25, 0}, 3)
	for i, want := range []float64{1, 0.75, 0.5, 0} {
		closeTo(t, "time", got[i], want, 1e-15)
	}
}
