package main

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sampleonnx/sampler"
	"sampleonnx/sampler/stats"
	"sampleonnx/schedules"
)

// The data of these tests: N(mu, sd² I) in the plane.
const sd = 0.35

var center = []float64{0.7, -0.2}

// convention is one way of being a network of these data.
type convention struct {
	name   string
	time   []int // shape of the time input, nil for none; -1 is the batch
	int64  bool
	rank4  bool
	noise  func(g *graph, t string) (alpha, sigma string) // what the network makes of its time
	output string
	sign   float64 // of the output; 0 is 1
	data   float64 // σ_data of the output's convention
	cIn    string
	mean   bool // the network's data lack their mean
	card   []string
	sigmas []float64 // in VE coordinates, of the run below
	prior  float64
}

// network writes the exact network: everything follows from D = E[x_0|x_t].
func (c convention) network(t *testing.T) string {
	t.Helper()
	g := new(graph)
	xShape, rank := []int{-1, 2}, 2
	if c.rank4 {
		xShape, rank = []int{-1, 1, 1, 2}, 4
	}
	x := g.input("x", isFloat, xShape...)
	alpha, sigma := g.c(1), g.c(1)
	if c.time != nil {
		dtype := uint64(isFloat)
		if c.int64 {
			dtype = isInt64
		}
		time := g.column(g.input("t", dtype, c.time...), rank)
		alpha, sigma = c.noise(g, time)
	}
	mul, add, sub, div := bind(g, "Mul"), bind(g, "Add"), bind(g, "Sub"), bind(g, "Div")
	state, data := x, g.c(c.data*c.data)
	ve := func(v string) string { return g.op("Sqrt", add(mul(sigma, sigma), v)) }
	switch c.cIn { // the network sees c_in·x_σ
	case "vp":
		state = mul(x, ve(g.c(1)))
	case "edm":
		state = mul(x, ve(data))
	}
	mu := g.c(center...)
	if c.mean {
		mu = g.c(0, 0)
	}
	w := add(mul(mul(alpha, alpha), g.c(sd*sd)), mul(sigma, sigma))
	off := sub(state, mul(alpha, mu))
	x0 := add(mu, div(mul(mul(alpha, g.c(sd*sd)), off), w))
	z := div(sub(state, mul(alpha, x0)), sigma)
	root := ve(data)
	skipped := sub(x0, mul(state, div(data, mul(root, root))))
	f := div(skipped, div(mul(sigma, g.c(c.data)), root))
	out := map[string]func() string{
		"score": func() string { return div(g.op("Neg", off), w) }, "score_sigma": func() string { return g.op("Neg", z) }, "eps": func() string { return z },
		"x0": func() string { return x0 }, "D": func() string { return x0 }, "flow": func() string { return sub(z, x0) },
		"edm_F": func() string { return f },
		"v": func() string {
			if c.cIn != "" {
				return g.op("Neg", f)
			}
			return sub(mul(alpha, z), mul(sigma, x0))
		},
	}[c.output]()
	if c.time == nil { // σ·score of the level that x seems to have is what such a network can know; here that of the level 1
		out = div(g.op("Neg", off), w)
	}
	if c.sign != 0 {
		out = mul(out, g.c(c.sign))
	}
	return g.write(t, out, xShape...)
}

func bind(g *graph, op string) func(a, b string) string {
	return func(a, b string) string { return g.op(op, a, b) }
}

// added is noise on VE data: σ from what the network is told.
func added(sigma func(g *graph, t string) string) func(g *graph, t string) (string, string) {
	return func(g *graph, t string) (string, string) { return g.c(1), sigma(g, t) }
}

// told looks levels up by an index.
func told(levels ...[]float64) func(g *graph, t string) (string, string) {
	return func(g *graph, t string) (string, string) {
		if len(levels) == 1 {
			return g.c(1), g.op("Gather", g.c(levels[0]...), t)
		}
		return g.op("Gather", g.c(levels[0]...), t), g.op("Gather", g.c(levels[1]...), t)
	}
}

// vp is the continuous process in its own time, which is that part of what the network is told.
func vpNoise(scale float64) func(g *graph, t string) (string, string) {
	return func(g *graph, t string) (string, string) {
		u := g.op("Div", t, g.c(scale))
		log := g.op("Neg", g.op("Add", g.op("Mul", g.op("Mul", u, u), g.c(19.9/4)), g.op("Mul", u, g.c(0.05))))
		alpha := g.op("Exp", log)
		return alpha, g.op("Sqrt", g.op("Sub", g.c(1), g.op("Mul", alpha, alpha)))
	}
}

func straightNoise(scale float64) func(g *graph, t string) (string, string) {
	return func(g *graph, t string) (string, string) {
		u := g.op("Div", t, g.c(scale))
		return g.op("Sub", g.c(1), u), u
	}
}

// conventions is the table of all of them.
func conventions() []convention {
	const lo, hi, n = 0.05, 8.0, 12
	ve := append(schedules.Karras(hi, lo, 7, n), 0)
	veCard := []string{"--sde", "ve", "--sigma-min", "0.05", "--sigma-max", "8", "--schedule", "karras"}
	edmCard := []string{"--sde", "edm", "--sigma-min", "0.05", "--sigma-max", "8", "--schedule", "karras"}
	vp := schedules.VP{}
	vpEnds := schedules.Ladder(vp, []float64{1, 1e-3})
	vpLadder := append(schedules.Karras(vpEnds[0], vpEnds[1], 7, n), 0)
	vpAlpha, _ := vp.Marginal(1)
	vpCard := []string{"--sde", "vp", "--set", "beta_min=0.1", "--set", "beta_max=20", "--schedule", "karras"}
	sub := schedules.SubVP{}
	subEnds := schedules.Ladder(sub, []float64{1, 1e-3})
	subAlpha, _ := sub.Marginal(1)
	subCard := []string{"--sde", "subvp", "--set", "beta_min=0.1", "--set", "beta_max=20", "--schedule", "karras"}
	flowLadder := append(schedules.Ladder(schedules.Rectified{}, schedules.Linear(0.999, 0.001, n)), 0)
	flowCard := []string{"--sde", "flow"}

	exp := func(k float64) func(g *graph, t string) string {
		return func(g *graph, t string) string { return g.op("Exp", g.op("Mul", t, g.c(k))) }
	}
	same := func(g *graph, t string) string { return t }
	veTime := func(scale float64) func(g *graph, t string) string {
		return func(g *graph, t string) string {
			return g.op("Mul", g.c(lo), g.op("Exp", g.op("Mul", t, g.c(math.Log(hi/lo)/scale))))
		}
	}
	tan := func(g *graph, t string) string { return g.op("Tan", g.op("Mul", t, g.c(math.Pi/2))) }

	geometric := schedules.Geometric(hi, lo, n)
	rising := slices.Clone(geometric)
	slices.Reverse(rising)
	b := []int{-1}
	with := func(card []string, more ...string) []string { return append(slices.Clone(card), more...) }
	list := []convention{
		{name: "VE score, sigma", time: b, noise: added(same), output: "score", card: with(veCard, "time_kind=sigma"), sigmas: ve, prior: hi},
		{name: "VE score_sigma, log_sigma", time: b, noise: added(exp(1)), output: "score_sigma", card: with(veCard, "time_kind=log_sigma"), sigmas: ve, prior: hi},
		{name: "VE eps, log_sigma_4", time: b, noise: added(exp(4)), output: "eps", card: with(veCard, "time_kind=log_sigma_4"), sigmas: ve, prior: hi},
		{name: "VE x0, t", time: b, noise: added(veTime(1)), output: "x0", card: with(veCard, "time_kind=t"), sigmas: ve, prior: hi},
		{name: "VE D, t_scaled", time: b, noise: added(veTime(500)), output: "D", card: with(veCard, "time_kind=t_scaled", "time_scale=500"), sigmas: ve, prior: hi},
		{name: "VE score, atan", time: b, noise: added(tan), output: "score", card: with(veCard, "time_kind=atan"), sigmas: ve, prior: hi},
		{name: "one time for all", time: []int{1}, noise: added(same), output: "score", card: with(veCard, "time_kind=sigma", "time_shape=1"), sigmas: ve, prior: hi},
		{name: "a scalar time", time: []int{}, noise: added(same), output: "score", card: with(veCard, "time_kind=sigma", "time_shape=scalar"), sigmas: ve, prior: hi},
		{name: "a column of times", time: []int{-1, 1}, noise: added(same), output: "score", card: with(veCard, "time_kind=sigma", "time_shape=B1"), sigmas: ve, prior: hi},
		{name: "times of images", time: []int{-1, 1, 1, 1}, rank4: true, noise: added(same), output: "score", card: with(veCard, "time_kind=sigma", "time_shape=B111"), sigmas: ve, prior: hi},
		{name: "index", time: b, int64: true, noise: told(geometric), output: "score",
			card: []string{"--sde", "ve", "--sigma-min", "0.05", "--sigma-max", "8", "--schedule", "index", "time_kind=index", "levels=12"}, sigmas: append(slices.Clone(geometric), 0), prior: hi},
		{name: "index_desc", time: b, int64: true, noise: told(rising), output: "score_sigma",
			card: []string{"--sde", "ve", "sigmas=" + join(geometric), "--schedule", "index", "time_kind=index_desc"}, sigmas: append(slices.Clone(geometric), 0), prior: hi},
		{name: "EDM F", time: b, noise: added(exp(4)), output: "edm_F", data: 0.5, cIn: "edm", card: with(edmCard, "time_kind=log_sigma_4", "sigma_data=0.5"), sigmas: ve, prior: hi},
		{name: "EDM F that scales inside", time: b, noise: added(same), output: "edm_F", data: 0.5, card: with(edmCard, "time_kind=sigma", "sigma_data=0.5", "c_in=none"), sigmas: ve, prior: hi},
		{name: "EDM's VE", time: b, noise: added(func(g *graph, t string) string { return g.op("Mul", exp(1)(g, t), g.c(2)) }), output: "score_sigma",
			card: with(edmCard, "time_kind=log_half_sigma"), sigmas: ve, prior: hi},
		iDDPM(50, n),
		{name: "EDM D", time: b, noise: added(same), output: "D", card: with(edmCard, "time_kind=sigma"), sigmas: ve, prior: hi},
		{name: "k-diffusion's V", time: b, noise: added(tan), output: "v", data: 1, cIn: "edm", card: with(veCard, "time_kind=atan", "sigma_data=1", "c_in=edm"), sigmas: ve, prior: hi},
		{name: "V with c_in vp", time: b, noise: added(same), output: "v", data: 1, cIn: "vp", card: with(veCard, "time_kind=sigma", "c_in=vp"), sigmas: ve, prior: hi},
		{name: "eps with c_in vp", time: b, noise: added(same), output: "eps", data: 1, cIn: "vp", card: with(veCard, "time_kind=sigma", "c_in=vp"), sigmas: ve, prior: hi},
		{name: "score with c_in edm", time: b, noise: added(same), output: "score", data: 0.5, cIn: "edm", card: with(veCard, "time_kind=sigma", "c_in=edm", "sigma_data=0.5"), sigmas: ve, prior: hi},
		{name: "without its mean", time: b, noise: added(same), output: "eps", mean: true, card: with(veCard, "time_kind=sigma", "mean=0.7,-0.2"), sigmas: ve, prior: hi},
		{name: "VP eps, t_scaled", time: b, noise: vpNoise(999), output: "eps", card: with(vpCard, "time_kind=t_scaled", "time_scale=999"), sigmas: vpLadder, prior: 1 / vpAlpha},
		{name: "VP v, t", time: b, noise: vpNoise(1), output: "v", card: with(vpCard, "time_kind=t", "c_in=vp"), sigmas: vpLadder, prior: 1 / vpAlpha},
		{name: "VP x0, atan", time: b, noise: func(g *graph, t string) (string, string) {
			phi := g.op("Mul", t, g.c(math.Pi/2))
			return g.op("Cos", phi), g.op("Sin", phi)
		}, output: "x0", card: with(vpCard, "time_kind=atan"), sigmas: vpLadder, prior: 1 / vpAlpha},
		{name: "sub-VP score_sigma, t", time: b, noise: func(g *graph, t string) (string, string) {
			alpha, _ := vpNoise(1)(g, t)
			return alpha, g.op("Sub", g.c(1), g.op("Mul", alpha, alpha))
		}, output: "score_sigma", card: with(subCard, "time_kind=t"), sigmas: append(schedules.Karras(subEnds[0], subEnds[1], 7, n), 0), prior: 1 / subAlpha},
		{name: "flow, t", time: b, noise: straightNoise(1), output: "flow", card: with(flowCard, "time_kind=t"), sigmas: flowLadder, prior: 999},
		{name: "flow, 1000 t", time: b, noise: straightNoise(1000), output: "flow", card: with(flowCard, "time_kind=t_scaled", "time_scale=1000"), sigmas: flowLadder, prior: 999},
		{name: "eps on the rectified path", time: b, noise: straightNoise(1), output: "eps", card: with(flowCard, "time_kind=t"), sigmas: flowLadder, prior: 999},
	}
	for name, betas := range map[string][]float64{
		"linear":            schedules.Linear(1e-3, 0.2, 50),
		"scaled_linear":     schedules.ScaledLinear(1e-3, 0.2, 50),
		"squaredcos_cap_v2": schedules.Cosine(50),
		"trained":           schedules.Linear(2e-3, 0.3, 50),
		"zero_snr":          schedules.ZeroTerminalSNR(schedules.Linear(1e-3, 0.2, 50)),
	} {
		var alphas, sigmas []float64
		bar := 1.0
		for _, beta := range betas {
			bar *= 1 - beta
			alphas, sigmas = append(alphas, math.Sqrt(bar)), append(sigmas, math.Sqrt(1-bar))
		}
		if alphas[49] == 0 { // what stands for no signal at all
			alphas[49] = math.Exp2(-12)
			sigmas[49] = math.Sqrt(1 - math.Exp2(-24))
		}
		var ladder []float64
		for _, i := range schedules.Linspace.DDIM(50, n, 0) {
			ladder = append(ladder, sigmas[i]/alphas[i])
		}
		card := []string{"--sde", "ddpm", "time_kind=index_desc", "levels=50", "beta_schedule=" + name, "beta_min=0.001", "beta_max=0.2"}
		switch name {
		case "squaredcos_cap_v2":
			card = card[:len(card)-2]
		case "trained":
			card = []string{"--sde", "ddpm", "time_kind=index_desc", "betas=" + join(betas)}
		case "zero_snr":
			card = []string{"--sde", "ddpm", "time_kind=index_desc", "levels=50", "beta_min=0.001", "beta_max=0.2", "zero_snr=true"}
		}
		for output, int64 := range map[string]bool{"eps": true, "v": false} {
			noise := told(alphas, sigmas)
			if !int64 {
				noise = func(g *graph, t string) (string, string) { return told(alphas, sigmas)(g, g.cast(t, isInt64)) }
			}
			list = append(list, convention{name: "DDPM " + name + ", " + output, time: b, int64: int64, noise: noise, output: output, card: card,
				sigmas: append(slices.Clone(ladder), 0), prior: 1 / alphas[49]})
		}
	}
	return list
}

// iDDPM is a network of Nichol & Dhariwal's as EDM's code sees it: D = x − σ F(x/√(1+σ²), M−1−j) at the levels u_j, which its recursion makes of
// ᾱ_j = sin²(πj/2M·1.008), the highest first (Karras et al. 2022, table 1 and appendix C.3.4).
func iDDPM(levels, n int) convention {
	bar := func(j int) float64 {
		s := math.Sin(math.Pi / 2 * float64(j) / float64(levels) / 1.008)
		return s * s
	}
	u := make([]float64, levels+1)
	for j := levels; j > 0; j-- {
		u[j-1] = math.Sqrt((u[j]*u[j]+1)/max(bar(j-1)/bar(j), 1e-3) - 1)
	}
	var alphas, sigmas, ladder []float64
	for i := range levels { // the network's index is M−1−j
		s := u[levels-1-i]
		alphas, sigmas = append(alphas, 1/math.Hypot(1, s)), append(sigmas, s/math.Hypot(1, s))
	}
	for _, i := range schedules.Linspace.DDIM(levels, n, 0) {
		ladder = append(ladder, u[levels-1-i])
	}
	return convention{name: "EDM's iDDPM", time: []int{-1}, output: "eps", sigmas: append(ladder, 0), prior: math.Hypot(1, u[0]),
		noise: func(g *graph, t string) (string, string) { return told(alphas, sigmas)(g, g.cast(t, isInt64)) },
		card:  []string{"--sde", "ddpm", "time_kind=index_desc", "beta_schedule=squaredcos_cap_v2", fmt.Sprintf("levels=%d", levels)}}
}

func join(v []float64) string { return strings.Trim(strings.ReplaceAll(fmt.Sprint(v), " ", ","), "[]") }

// flags are the card as flags, without those of a sampler.
func (c convention) flags() []string {
	shape := "shape=2"
	if c.rank4 {
		shape = "shape=1,1,2"
	}
	args := []string{"--set", shape, "--set", "output=" + c.output}
	for i := 0; i < len(c.card); i++ {
		if strings.HasPrefix(c.card[i], "--") {
			args = append(args, c.card[i], c.card[i+1])
			i++
		} else {
			args = append(args, "--set", c.card[i])
		}
	}
	return args
}

// With every convention Euler's method is the affine recursion x ← (t/s)x + (1−t/s)D(x, s) of the exact score, from the start that the seed gives.
func TestConventions(t *testing.T) {
	for _, c := range conventions() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const n = 40
			out := filepath.Join(t.TempDir(), "x.npy")
			args := append([]string{c.network(t), "-q", "-s", "3", "-n", fmt.Sprint(n), "--sampler", "euler", "--steps", "12", "-o", out}, c.flags()...)
			must(t, args...)
			got := floats(t, readNPY(t, out))
			z := make([]float32, 2*n)
			if err := sampler.Philox(3).Normal(z, sampler.Draw{Purpose: sampler.PurposeInit, Dim: 2}); err != nil {
				t.Fatal(err)
			}
			worst := 0.0
			for i := range got {
				mu := center[i%2]
				x := c.prior * float64(z[i])
				if c.mean {
					x += mu // the run's state lacks the mean
				}
				for k, s := range c.sigmas[:len(c.sigmas)-1] {
					d := mu + sd*sd/(sd*sd+s*s)*(x-mu)
					r := c.sigmas[k+1] / s
					x = r*x + (1-r)*d
				}
				worst = max(worst, math.Abs(float64(got[i])-x))
			}
			t.Logf("largest difference %.2g", worst)
			if !(worst <= 2e-4) {
				t.Errorf("samples are off by %.2g", worst)
			}
		})
	}
}

// Every process draws from the data with its default sampler, and with the others that have no ladder.
func TestEveryProcess(t *testing.T) {
	const n = 3000
	picked := map[string][]string{
		"EDM F": {"", "pc", "ode", "ald", "flow_heun"}, "flow, t": {"", "flow_heun", "pc", "ode", "ode_heun", "adaptive", "dpmpp_2m"},
		"DDPM linear, eps": {"", "ddpm", "pc", "ode", "unipc", "flow_euler", "plms", "pndm", "deis"}, "VP v, t": {"", "flow_heun", "ipndm"}, "sub-VP score_sigma, t": {"", "flow_euler"},
		"eps on the rectified path": {"", "heun"}, "DDPM zero_snr, v": {"", "dpmpp_2m"}, "VE x0, t": {"flow_euler"},
	}
	seen := 0
	for _, c := range conventions() {
		samplers, ok := picked[c.name]
		if !ok {
			continue
		}
		seen++
		for _, name := range samplers {
			t.Run(c.name+" "+name, func(t *testing.T) {
				t.Parallel()
				out := filepath.Join(t.TempDir(), "x.npy")
				args := []string{c.network(t), "-q", "-s", "5", "-n", fmt.Sprint(n), "-o", out}
				flags := c.flags()
				if i := slices.Index(flags, "--schedule"); i >= 0 {
					flags = slices.Delete(flags, i, i+2)
				}
				if name != "" {
					args = append(args, "--sampler", name)
				}
				if name == "ald" { // in the plane technique 2 finds two levels enough
					args = append(args, "--set", "levels=20", "--steps-per-level", "20", "--eps", "2e-4")
				}
				must(t, append(args, flags...)...)
				m := stats.MomentsOf(float64s(floats(t, readNPY(t, out))), 2)
				limit := stats.TwoSided(chance / 100)
				for k := range 2 {
					// Discretisation may be 2 % of the deviation and, of the variance, 8 %.
					dm := math.Abs(m.Mean[k]-center[k])/sd - 0.02
					dv := math.Abs(m.Variance[k]/(sd*sd)-1) - 0.08
					if dm*math.Sqrt(n) > limit || dv*math.Sqrt(n/2.) > limit {
						t.Errorf("mean %.4f, want %.1f; variance %.4f, want %.4f", m.Mean[k], center[k], m.Variance[k], sd*sd)
					}
				}
			})
		}
	}
	if seen != len(picked) {
		t.Errorf("%d of %d conventions are there", seen, len(picked))
	}
}
