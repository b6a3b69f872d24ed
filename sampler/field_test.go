package sampler

import (
	"context"
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

// Every form of network, made by hand from the exact score of a Gaussian on
// its path, gives back that score in VE coordinates.
func TestScoresInVECoordinates(t *testing.T) {
	const dim = 2
	net := func(path schedules.Path, of func(x, alpha, sigma, score float64) float64) Field {
		return func(dst, x []float32, t []float64) error {
			for i, v := range x {
				a, sigma := path.Marginal(t[i/dim])
				s := -(float64(v) - a*mu0) / (a*a*s0*s0 + sigma*sigma)
				dst[i] = float32(of(float64(v), a, sigma, s))
			}
			return nil
		}
	}
	noise := func(x, a, sigma, s float64) float64 { return -sigma * s }
	vp, sub, flow := schedules.VP{}, schedules.SubVP{}, schedules.Rectified{}
	ddpm := schedules.FromBetas(schedules.Linear(1e-4, 0.02, 1000))
	// F of EDM's factors, from the denoised datum of the VE path.
	raw := func(p schedules.Precond, back func(noise float64) float64) Field {
		return func(dst, x []float32, t []float64) error {
			for i, v := range x {
				sigma := back(t[i/dim])
				skip, out, in, _ := p(sigma)
				y := float64(v) / in
				d := y - sigma*sigma*(y-mu0)/(s0*s0+sigma*sigma)
				dst[i] = float32((d - skip*y) / out)
			}
			return nil
		}
	}
	edm, kd, kv := schedules.EDM(0.5), schedules.KDiffusion(1), schedules.KDiffusionV(1)
	for name, f := range map[string]Field{
		"score":     InVE(net(vp, func(x, a, sigma, s float64) float64 { return s }), vp),
		"noise":     InVE(FromNoise(net(vp, noise), vp), vp),
		"sub-VP":    InVE(FromNoise(net(sub, noise), sub), sub),
		"v":         InVE(FromVelocity(net(vp, func(x, a, sigma, s float64) float64 { return -a*sigma*s - sigma*(x+sigma*sigma*s)/a }), vp), vp),
		"x0":        InVE(FromDenoiser(net(vp, func(x, a, sigma, s float64) float64 { return (x + sigma*sigma*s) / a }), vp), vp),
		"flow":      InVE(FromFlow(net(flow, func(x, a, sigma, s float64) float64 { return -sigma*s - (x+sigma*sigma*s)/a })), flow),
		"index":     InVE(FromNoise(net(ddpm, noise), ddpm), ddpm),
		"VE":        FromNormalised(net(schedules.Sigma{}, func(x, a, sigma, s float64) float64 { return sigma * s }), schedules.Sigma{}),
		"round":     FromDenoiser(Denoiser(net(schedules.Sigma{}, func(x, a, sigma, s float64) float64 { return s }), schedules.Sigma{}), schedules.Sigma{}),
		"EDM":       FromPrecond(raw(edm, func(c float64) float64 { return math.Exp(4 * c) }), edm),
		"k":         FromPrecond(raw(kd, func(c float64) float64 { return c }), kd),
		"k, v":      FromPrecond(raw(kv, func(c float64) float64 { return math.Tan(c * math.Pi / 2) }), kv),
		"VE raw":    FromPrecond(raw(schedules.VEPrecond, func(c float64) float64 { return 2 * math.Exp(c) }), schedules.VEPrecond),
		"noise raw": FromPrecond(Relabel(net(vp, noise), func(t float64) float64 { return t / 999 }), schedules.EpsPrecond(vp, func(t float64) float64 { return 999 * t })),
	} {
		sigmas := []float64{0.05, 0.05, 0.7, 5, 20}
		x := []float32{0.3, -1, 2, 0.7, -0.4, 0.1, 5, -3, 30, -17}
		got := make([]float32, len(x))
		for range 2 {
			if err := f(got, x, sigmas); err != nil {
				t.Fatal(err)
			}
		}
		for i, v := range x {
			sigma := sigmas[i/dim]
			want := -(float64(v) - mu0) / (s0*s0 + sigma*sigma)
			// A float32 datum's rounding, seen through /σ².
			limit := 1e-6 * (math.Abs(want) + (math.Abs(float64(v))+1)/(sigma*sigma))
			if math.Abs(float64(got[i])-want) > limit {
				t.Errorf("%s: score of %v at %v is %v, want %v", name, v, sigma, got[i], want)
			}
		}
	}
	failed := errors.New("no")
	bad := func(dst, x []float32, t []float64) error { return failed }
	if err := InVE(bad, vp)(make([]float32, 1), make([]float32, 1), []float64{1}); err != failed {
		t.Errorf("error is %v", err)
	}
}

// A VP network in a VE sampler: Euler on the ladder of the VP path is DDIM.
func TestVPNetworkInAVESampler(t *testing.T) {
	vp := schedules.VP{}
	score := InVE(FromNoise(func(dst, x []float32, t []float64) error {
		for i, v := range x {
			a, sigma := vp.Marginal(t[i])
			dst[i] = float32(sigma * (float64(v) - a*mu0) / (a*a*s0*s0 + sigma*sigma))
		}
		return nil
	}, vp), vp)
	sigmas := append(schedules.Ladder(vp, schedules.Linear(1, 1e-3, 20)), 0)
	b := &Batch{X: []float32{-1, 0.5, 2}, Dim: 1}
	want := measure(t, Euler{Sigmas: sigmas}, schedules.Sigma{})
	scale(b.X, b.X, sigmas[0])
	start := append([]float32(nil), b.X...)
	if err := (Euler{Sigmas: sigmas}).Sample(context.Background(), b, score); err != nil {
		t.Fatal(err)
	}
	for i, x := range start {
		closeTo(t, "sample", float64(b.X[i]), want.o+want.a*float64(x), 1e-6)
	}
}
