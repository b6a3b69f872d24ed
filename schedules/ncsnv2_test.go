package schedules

import (
	"math"
	"testing"
)

func TestMaxDistance(t *testing.T) {
	data := []float32{0, 0, 0, 1, 2, 2, -1, -2, -2, 0.5, 0, 0}
	if got := MaxDistance(data, 3); got != 6 {
		t.Errorf("largest distance %v, want 6", got)
	}
	if got := MaxDistance(data[:3], 3); got != 0 {
		t.Errorf("largest distance of one point %v, want 0", got)
	}
}

func TestGamma(t *testing.T) {
	for _, c := range []struct {
		dim            int
		sigma1, sigmaL float64
		gamma          float64
		levels         int
	}{
		{3072, 50, 0.01, 1.03980, 220},
		{12288, 90, 0.01, 1.01951, 473},
	} {
		gamma := Gamma(c.dim)
		if math.Abs(gamma-c.gamma) > 5e-6 {
			t.Errorf("γ in %d dimensions is %.6f, want %.5f", c.dim, gamma, c.gamma)
		}
		if n := Levels(c.sigma1, c.sigmaL, gamma); n != c.levels {
			t.Errorf("%d levels in %d dimensions, want %d", n, c.dim, c.levels)
		}
	}
	if g := Gamma(5); !(g > 2 && g < 1000) {
		t.Errorf("γ in 5 dimensions is %g", g)
	}
	for dim := 1; dim < 5; dim++ {
		if g := Gamma(dim); !math.IsInf(g, 1) {
			t.Errorf("γ in %d dimensions is %g, want +Inf", dim, g)
		}
	}
	if n := Levels(50, 0.01, Gamma(2)); n != 1 {
		t.Errorf("%d levels with no ratio, want 1", n)
	}
}

// Proposition 3 at the published settings.
func TestVarianceRatioOfThePublishedSettings(t *testing.T) {
	for _, c := range []struct {
		name        string
		sigma1, eps float64
		levels, t   int
		want        float64
	}{
		{"CIFAR-10", 50, 6.2e-6, 232, 5, 1.0555},
		{"CelebA", 90, 3.3e-6, 500, 5, 1.0314},
		{"church", 140, 4.9e-6, 788, 4, 1.0247},
		{"bedroom", 190, 1.8e-6, 1086, 3, 1.0174},
		{"FFHQ", 348, 9e-7, 2311, 3, 1.0089},
		{"NCSN", 1, 2e-5, 10, 100, 1.1111},
	} {
		gamma := math.Pow(c.sigma1/0.01, 1/float64(c.levels-1))
		got := VarianceRatio(c.eps, 0.01, gamma, c.t)
		if math.Abs(got-c.want) > 6e-5 {
			t.Errorf("%s: ratio %.5f, want %.4f", c.name, got, c.want)
		}
		// Proposition 3 as t steps, one after another, at σ=1.
		u, v := c.eps/1e-4, gamma*gamma
		for range c.t {
			v = (1-u)*(1-u)*v + 2*u
		}
		closeTo(t, c.name, got, v, 1e-13)

		eps := Eps(0.01, gamma, c.t)
		best := VarianceRatio(eps, 0.01, gamma, c.t)
		if best > got+1e-12 || !(best > 1) {
			t.Errorf("%s: technique 4 gives ε=%.3g and ratio %.5f, the published ε %.5f", c.name, eps, best, got)
		}
		for _, near := range []float64{0.99, 1.01} {
			if VarianceRatio(eps*near, 0.01, gamma, c.t) < best {
				t.Errorf("%s: ε=%g is better than technique 4's %g", c.name, eps*near, eps)
			}
		}
		t.Logf("%s: published ε %.2g, ratio %.4f; technique 4: ε %.2g, ratio %.4f", c.name, c.eps, got, eps, best)
	}
}
