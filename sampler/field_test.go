package sampler

import (
	"errors"
	"math"
	"sync"
	"testing"

	"sampleonnx/schedules"
)

// For Gaussian data every output a network may have is known exactly, from
// its definition as a conditional expectation; all must give the same score.
func TestEveryOutputGivesTheScore(t *testing.T) {
	for name, path := range map[string]schedules.Path{
		"vp": schedules.VP{}, "sub-vp": schedules.SubVP{}, "ve": schedules.VE{SigmaMin: 0.01, SigmaMax: 5}, "sigma": schedules.Sigma{},
	} {
		const dim = 2
		x := []float32{0.3, -1.2, 2.5, 0.01, -0.4, 1}
		times := []float64{0.9, 0.3, 0.3}
		// E[x_0|x] and E[z|x].
		expect := func(x, t float64) (x0, z float64) {
			a, sigma := path.Marginal(t)
			x0 = mu0 + a*s0*s0*(x-a*mu0)/(a*a*s0*s0+sigma*sigma)
			return x0, (x - a*x0) / sigma
		}
		net := func(of func(x0, z, a, sigma float64) float64) Field {
			return func(dst, x []float32, t []float64) error {
				for i := range x {
					x0, z := expect(float64(x[i]), t[i/dim])
					a, sigma := path.Marginal(t[i/dim])
					dst[i] = float32(of(x0, z, a, sigma))
				}
				return nil
			}
		}
		fields := map[string]Field{
			"noise":      FromNoise(net(func(x0, z, a, sigma float64) float64 { return z }), path),
			"normalised": FromNormalised(net(func(x0, z, a, sigma float64) float64 { return -z }), path),
			"denoiser":   FromDenoiser(net(func(x0, z, a, sigma float64) float64 { return x0 }), path),
		}
		if name == "vp" {
			fields["velocity"] = FromVelocity(net(func(x0, z, a, sigma float64) float64 { return a*z - sigma*x0 }), path)
		}
		for output, f := range fields {
			dst := make([]float32, len(x))
			if err := f(dst, x, times); err != nil {
				t.Fatal(err)
			}
			for i, got := range dst {
				a, sigma := path.Marginal(times[i/dim])
				want := -(float64(x[i]) - a*mu0) / (a*a*s0*s0 + sigma*sigma)
				// The network's own rounding, through (a·x̂_0−x)/σ².
				if math.Abs(float64(got)-want) > 1e-5*max(1, math.Abs(want)) {
					t.Errorf("%s %s: score %v, want %v", name, output, got, want)
				}
			}
		}
	}
}

func TestRelabel(t *testing.T) {
	var mu sync.Mutex
	seen := map[float64]int{}
	f := Relabel(func(dst, x []float32, t []float64) error {
		mu.Lock()
		defer mu.Unlock()
		for _, v := range t {
			seen[v]++
		}
		return nil
	}, func(t float64) float64 { return 999 * t })
	times := []float64{1, 0.5, 0.5, 0.25}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if err := f(nil, nil, times); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if len(seen) != 3 || seen[999] != 800 || seen[499.5] != 1600 || seen[249.75] != 800 {
		t.Errorf("the network saw %v", seen)
	}
	if times[0] != 1 || times[3] != 0.25 {
		t.Errorf("the caller's times became %v", times)
	}
	failed := errors.New("no")
	bad := Relabel(func(dst, x []float32, t []float64) error { return failed }, func(t float64) float64 { return t })
	if err := bad(nil, nil, times); err != failed {
		t.Errorf("error is %v", err)
	}
}
