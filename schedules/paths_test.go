package schedules

import (
	"math"
	"slices"
	"testing"
)

func TestTimeInvertsTheLevel(t *testing.T) {
	ddpm := FromBetas(Linear(1e-4, 0.02, 1000))
	for name, c := range map[string]struct {
		path  Timed
		times []float64
	}{
		"sigma":     {Sigma{}, []float64{0.01, 1, 50}},
		"ve":        {VE{SigmaMin: 0.01, SigmaMax: 50}, Linear(0.001, 1, 50)},
		"vp":        {VP{}, Linear(1e-4, 1, 50)},
		"vp, even":  {VP{BetaMin: 2, BetaMax: 2}, Linear(1e-4, 1, 50)},
		"sub-vp":    {SubVP{}, Linear(1e-4, 1, 50)},
		"rectified": {Rectified{}, Linear(1e-4, 0.999, 50)},
		"discrete":  {ddpm, []float64{0, 0.25, 17, 500.5, 999}},
	} {
		for i, rho := range Ladder(c.path, c.times) {
			closeTo(t, name+": time", c.path.Time(rho), c.times[i], 1e-10)
		}
	}
	if got := (VP{}).Time(1e-9); math.Abs(got/1e-17-1) > 1e-6 {
		t.Errorf("time of ρ=1e-9 is %g", got)
	}
	if (Rectified{}).Time(math.Inf(1)) != 1 || ddpm.Time(1e9) != 999 || ddpm.Time(1e-9) != 0 {
		t.Error("times beyond the ends")
	}
	if a, s := (Discrete{1, math.Inf(1)}).Marginal(1); a != 0 || s != 1 {
		t.Errorf("no signal at all is %v, %v", a, s)
	}
	for _, u := range []float64{1e-18, 1e-9, 0.1, 3, 1e20} {
		closeTo(t, "log1p", log1p(u), math.Log1p(u), 1e-15)
	}
	if !math.IsNaN(Level(nil, 0)) || Level([]float64{4, 1}, 0.5) != 2 || Level([]float64{4, 1}, 7) != 1 {
		t.Error("levels")
	}
}

// The published programs' values, in float32.
func TestLaddersOfKDiffusion(t *testing.T) {
	for name, c := range map[string]struct{ got, want []float64 }{
		"polyexponential": {PolyExponential(8, 0.05, 1.7, 7), []float64{8.0, 2.0685272216796875, 0.6386870741844177,
			0.2384336292743683, 0.10951646417379379, 0.06364643573760986, 0.04999999701976776}},
		"exponential": {Geometric(8, 0.05, 5), []float64{8, 2.2493653297424316, 0.6324555277824402, 0.17782793939113617, 0.04999999701976776}},
		"vp": {Ladder(VP{}, Linear(1, 1e-3, 5)), []float64{152.16697692871094, 17.04911994934082, 3.4222450256347656,
			0.9575265049934387, 0.01048384327441454}},
	} {
		for i, want := range c.want {
			limit := 2e-6
			if name == "vp" && i == 4 {
				limit = 3e-4 // theirs is √(e^u−1) in float32
			}
			closeTo(t, name, c.got[i], want, limit)
		}
	}
}

// diffusers' values.
func TestBetasOfDiffusers(t *testing.T) {
	scaled := ScaledLinear(0.00085, 0.012, 1000)
	zero := ZeroTerminalSNR(scaled)
	cosine := Cosine(1000)
	for i, at := range []int{0, 1, 500, 998, 999} {
		closeTo(t, "zero terminal SNR", zero[at],
			[]float64{0.0008500000000000174, 0.0009173335933720939, 0.005530567784482576, 0.751137004176492, 1}[i], 1e-12)
		closeTo(t, "cosine", cosine[at],
			[]float64{4.128422369831242e-05, 4.614175122696906e-05, 0.003155691549181938, 0.7499994039535522, 0.9990000128746033}[i], 1e-6)
	}
	if d := FromBetas(zero); !math.IsInf(d[999], 1) {
		t.Errorf("the last level is %g, want no signal", d[999])
	}
	// The plain product, where it does not cancel.
	bar := 1.0
	d := FromBetas(scaled)
	for i, beta := range scaled {
		bar *= 1 - beta
		if i > 300 {
			closeTo(t, "ρ", d[i], math.Sqrt((1-bar)/bar), 1e-12)
		}
	}
	closeTo(t, "ρ_0", d[0], math.Sqrt(0.00085/(1-0.00085)), 1e-14)
}

func TestSpacingsOfDiffusers(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want []int
	}{
		{"linspace", Linspace.DDIM(1000, 7, 1), []int{999, 832, 666, 500, 333, 166, 0}},
		{"linspace", Linspace.DPMSolver(1000, 7, 1), []int{999, 856, 714, 571, 428, 285, 143}},
		{"linspace", Linspace.DPMSolver(1000, 10, 1), []int{999, 899, 799, 699, 599, 500, 400, 300, 200, 100}},
		{"leading", Leading.DDIM(1000, 7, 1), []int{853, 711, 569, 427, 285, 143, 1}},
		{"leading", Leading.DPMSolver(1000, 7, 1), []int{876, 751, 626, 501, 376, 251, 126}},
		{"leading", Leading.DPMSolver(1000, 10, 1), []int{901, 811, 721, 631, 541, 451, 361, 271, 181, 91}},
		{"trailing", Trailing.DDIM(1000, 7, 1), []int{999, 856, 713, 570, 428, 285, 142}},
		{"trailing", Trailing.DPMSolver(1000, 10, 1), []int{999, 899, 799, 699, 599, 499, 399, 299, 199, 99}},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, c.got, c.want)
		}
	}
}

// Karras et al.'s factors keep F's input and target at unit variance.
func TestPreconditioningHasUnitVariance(t *testing.T) {
	const data = 0.5
	for _, sigma := range []float64{0.002, 0.3, 1, 80} {
		skip, out, in, noise := EDM(data)(sigma)
		closeTo(t, "input", in*in*(data*data+sigma*sigma), 1, 1e-14)
		target := ((1-skip)*(1-skip)*data*data + skip*skip*sigma*sigma) / (out * out)
		closeTo(t, "target", target, 1, 1e-12)
		closeTo(t, "label", noise, math.Log(sigma)/4, 1e-15)
		_, minus, _, label := KDiffusionV(data)(sigma)
		closeTo(t, "v", minus, -out, 0)
		closeTo(t, "v's label", label, math.Atan(sigma)*2/math.Pi, 1e-15)
		skip, out, in, label = EpsPrecond(VP{}, func(t float64) float64 { return 999 * t })(sigma)
		if skip != 1 || out != -sigma {
			t.Errorf("factors of ε are %g and %g", skip, out)
		}
		closeTo(t, "VP input", in, 1/math.Sqrt(1+sigma*sigma), 1e-12)
		// Table 1's t(σ).
		closeTo(t, "VP label", label, 999*(math.Sqrt(0.01+2*19.9*math.Log1p(sigma*sigma))-0.1)/19.9, 1e-9)
	}
}
