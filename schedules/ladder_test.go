package schedules

import (
	"fmt"
	"math"
	"testing"
)

// The float32 ladder of a published run (8 → .05, 20 levels), as recorded.
func TestGeometricIsThePublishedLadder(t *testing.T) {
	got := Round32(Geometric(8, 0.05, 20))
	for i, want := range []float64{
		8.0, 6.124683856964111, 4.688969135284424, 3.58980655670166, 2.7483036518096924,
		2.1040613651275635, 1.6108388900756836, 1.2332348823547363, 0.9441466927528381,
		0.7228249907493591, 0.5533843040466309, 0.4236629903316498, 0.3243502378463745,
		0.24831782281398773, 0.190108522772789, 0.14554432034492493, 0.11142662167549133,
		0.08530659973621368, 0.06530949473381042, 0.05000000074505806,
	} {
		if got[i] != want {
			t.Errorf("level %d is %.17g, want %.17g", i, got[i], want)
		}
	}
}

func TestLaddersAreExactAtTheirEnds(t *testing.T) {
	for name, v := range map[string][]float64{
		"linear":    Linear(1, 1e-5, 1000),
		"geometric": Geometric(50, 0.01, 232),
		"karras":    Karras(80, 0.002, 7, 18),
		"beta":      Beta(157.4, 0.03, 0.6, 20),
	} {
		first, last := map[string]float64{"linear": 1, "geometric": 50, "karras": 80, "beta": 157.4}[name],
			map[string]float64{"linear": 1e-5, "geometric": 0.01, "karras": 0.002, "beta": 0.03}[name]
		if v[0] != first || v[len(v)-1] != last {
			t.Errorf("%s runs from %v to %v, want %v to %v", name, v[0], v[len(v)-1], first, last)
		}
		for i := 1; i < len(v); i++ {
			if v[i] >= v[i-1] {
				t.Errorf("%s does not fall at %d", name, i)
			}
		}
	}
	for n := range 3 {
		if len(Linear(2, 1, n)) != n || len(Geometric(2, 1, n)) != n || len(Karras(2, 1, 7, n)) != n || len(Beta(2, 1, 0.6, n)) != n {
			t.Errorf("ladders of %d levels have another length", n)
		}
	}
	if Geometric(2, 1, 1)[0] != 2 {
		t.Error("one level is not the first")
	}
}

func TestKarrasIsEvenInItsRoot(t *testing.T) {
	v := Karras(80, 0.002, 7, 18)
	for i, sigma := range v {
		a, b := math.Pow(80, 1./7), math.Pow(0.002, 1./7)
		closeTo(t, "level", sigma, math.Pow(a+float64(i)/17*(b-a), 7), 1e-13)
	}
}

// Quantiles of scipy.stats.beta(a, a).
func TestBetaQuantiles(t *testing.T) {
	p := []float64{1e-6, 0.01, 1. / 19, 0.1, 0.3, 0.49, 0.7, 0.99}
	for a, want := range map[float64][]float64{
		0.6: {1.8558824624053043e-10, 0.0008612388215429059, 0.013671081564469266, 0.03958440558878085, 0.23401700387523572, 0.4861289142781599, 0.7659829961247643, 0.9991387611784571},
		1:   p,
		2.5: {0.002024778830905956, 0.08356298774533535, 0.16901090087925452, 0.22456860241035653, 0.3786479422654176, 0.4941091049237534, 0.6213520577345824, 0.9164370122546646},
	} {
		for i, p := range p {
			closeTo(t, fmt.Sprintf("quantile %g of Beta(%g, %g)", p, a, a), betaQuantile(p, a), want[i], 1e-12)
		}
	}
}

func TestIndex(t *testing.T) {
	down := []float64{8, 4, 2, 1}
	up := []float64{1, 2, 4, 8}
	for _, c := range []struct{ sigma, down, up float64 }{
		{100, 0, 3}, {8, 0, 3}, {4, 1, 2}, {math.Sqrt(8), 1.5, 1.5}, {1, 3, 0}, {0.1, 3, 0}, {math.Pow(2, 2.25), 0.75, 2.25},
	} {
		if got := Index(down, c.sigma); math.Abs(got-c.down) > 1e-15 {
			t.Errorf("σ=%g stands at %v in %v, want %v", c.sigma, got, down, c.down)
		}
		if got := Index(up, c.sigma); math.Abs(got-c.up) > 1e-15 {
			t.Errorf("σ=%g stands at %v in %v, want %v", c.sigma, got, up, c.up)
		}
	}
	ladder := Geometric(50, 0.01, 232)
	for i, sigma := range ladder {
		if got := Index(ladder, sigma); got != float64(i) {
			t.Errorf("level %d stands at %v", i, got)
		}
		// Rounding to float32 does not change the nearest level.
		if got := math.Round(Index(ladder, float64(float32(sigma)))); got != float64(i) {
			t.Errorf("level %d, rounded, stands at %v", i, got)
		}
	}
	if Index(nil, 1) != 0 || Index([]float64{3}, 1) != 0 {
		t.Error("ladders of no and one level")
	}
}

// Techniques 1, 2 and 4 of NCSNv2: from the data to a sampler's settings.
func Example() {
	data := []float32{0, 0, 3, 4, 1, 1} // three points in the plane
	sigma1, sigmaL := MaxDistance(data, 2), 0.01
	gamma := Gamma(3072) // as for 32×32×3 images
	levels := Levels(sigma1, sigmaL, gamma)
	fmt.Printf("sigma_1 %g, gamma %.5f, %d levels, eps %.1e\n", sigma1, gamma, levels, Eps(sigmaL, gamma, 5))
	// Output:
	// sigma_1 5, gamma 1.03980, 161 levels, eps 6.5e-06
}
