package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/sampler"
	"sampleonnx/schedules"
)

// descent is a sampler on a ladder of noise levels.
type descent struct {
	name  string
	about string
	steps int     // how many, where nobody says
	eta   float64 // ancestral noise, where nobody says
	build func(sigmas []float64, c *card.Card, of ground) sampler.Sampler
}

// ground is what a sampler on a ladder may have to know beyond its levels.
type ground struct {
	path  schedules.Timed
	whole bool // the network knows whole times only
}

// noiseKind is true for noise that is a sequence and not a function of the draw: there is no Brownian path in it.
type noiseKind bool

// descents is the table of the samplers on a ladder.
func descents() []descent {
	eta := func(c *card.Card) float64 { return card.Use(c, &c.Sampler.Eta) }
	order := func(c *card.Card) int { return card.Use(c, &c.Sampler.Order) }
	solver := func(c *card.Card) string { return card.Use(c, &c.Sampler.Solver) }
	lower := func(c *card.Card) int { return card.Use(c, &c.Sampler.Lower) }
	last := func(c *card.Card) bool { return card.Use(c, &c.Sampler.EulerLast) }
	clip := func(c *card.Card) float64 { return card.Use(c, &c.Sampler.Clip) }
	apart := func(c *card.Card) bool { return card.Use(c, &c.Sampler.Independent) }
	churn := func(c *card.Card) (churn sampler.Churn, noise float64) {
		if churn.S = card.Use(c, &c.Sampler.SChurn); churn.S > 0 {
			churn.Min, churn.Max, noise = card.Use(c, &c.Sampler.SMin), card.Use(c, &c.Sampler.SMax), card.Use(c, &c.Sampler.SNoise)
		}
		return churn, noise
	}
	noise := func(c *card.Card) float64 {
		if eta(c) == 0 {
			return 0
		}
		return card.Use(c, &c.Sampler.SNoise)
	}
	return []descent{
		{"euler", "Euler", 100, 0, func(l []float64, c *card.Card, _ ground) sampler.Sampler {
			churn, noise := churn(c)
			return sampler.Euler{Sigmas: l, Churn: churn, SNoise: noise}
		}},
		{"euler_a", "Euler, ancestral", 200, 1, func(l []float64, c *card.Card, _ ground) sampler.Sampler {
			return sampler.Euler{Sigmas: l, Eta: eta(c), SNoise: noise(c)}
		}},
		{"heun", "Heun (EDM)", 30, 0, func(l []float64, c *card.Card, _ ground) sampler.Sampler {
			churn, noise := churn(c)
			return sampler.Heun{Sigmas: l, Churn: churn, SNoise: noise}
		}},
		{"dpm2", "DPM-Solver-2", 30, 0, func(l []float64, c *card.Card, _ ground) sampler.Sampler {
			churn, noise := churn(c)
			return sampler.DPMSolver{Sigmas: l, Order: 2, Churn: churn, SNoise: noise}
		}},
		{"dpm2_a", "DPM-Solver-2, ancestral", 100, 1, func(l []float64, c *card.Card, _ ground) sampler.Sampler {
			return sampler.DPMSolver{Sigmas: l, Order: 2, Eta: eta(c), SNoise: noise(c)}
		}},
		{"dpm3", "DPM-Solver-3", 20, 0, func(l []float64, c *card.Card, _ ground) sampler.Sampler {
			churn, noise := churn(c)
			return sampler.DPMSolver{Sigmas: l, Order: 3, Churn: churn, SNoise: noise}
		}},
		{"dpm_fast", "DPM-Solver-fast", 20, 0, func(l []float64, _ *card.Card, _ ground) sampler.Sampler {
			return sampler.DPMSolver{Sigmas: l, Orders: sampler.FastOrders(3*len(l) - 4)} // the most that so many steps can spend
		}},
		{"lms", "linear multistep", 50, 0, func(l []float64, c *card.Card, _ ground) sampler.Sampler {
			return sampler.LMS{Sigmas: l, Order: order(c)}
		}},
		{"dpmpp_2s_a", "DPM-Solver++(2S), ancestral", 100, 1, func(l []float64, c *card.Card, _ ground) sampler.Sampler {
			return sampler.DPMpp2S{Sigmas: l, Eta: eta(c), SNoise: noise(c)}
		}},
		{"dpmpp_2m", "DPM-Solver++(2M)", 30, 0, func(l []float64, c *card.Card, _ ground) sampler.Sampler {
			return sampler.DPMpp{Sigmas: l, Order: 2, Heun: solver(c) == "heun", Lower: lower(c), EulerLast: last(c)}
		}},
		{"dpmpp_3m", "DPM-Solver++(3M)", 30, 0, func(l []float64, c *card.Card, _ ground) sampler.Sampler {
			return sampler.DPMpp{Sigmas: l, Order: 3, Lower: lower(c), EulerLast: last(c)}
		}},
		{"dpmpp_sde", "DPM-Solver++ SDE", 60, 1, func(l []float64, c *card.Card, _ ground) sampler.Sampler {
			return sampler.DPMppSDE{Sigmas: l, Eta: eta(c), SNoise: noise(c), Independent: apart(c)}
		}},
		{"dpmpp_2m_sde", "DPM-Solver++(2M) SDE", 100, 1, func(l []float64, c *card.Card, _ ground) sampler.Sampler {
			return sampler.DPMpp2MSDE{Sigmas: l, Eta: eta(c), SNoise: noise(c), Heun: solver(c) == "heun", Independent: apart(c)}
		}},
		{"dpmpp_3m_sde", "DPM-Solver++(3M) SDE", 100, 1, func(l []float64, c *card.Card, _ ground) sampler.Sampler {
			return sampler.DPMpp3MSDE{Sigmas: l, Eta: eta(c), SNoise: noise(c), Independent: apart(c)}
		}},
		{"unipc", "UniPC", 20, 0, func(l []float64, c *card.Card, _ ground) sampler.Sampler {
			return sampler.UniPC{Sigmas: l, Order: order(c), BH1: solver(c) == "bh1"}
		}},
		{"deis", "DEIS", 30, 0, func(l []float64, c *card.Card, _ ground) sampler.Sampler {
			return sampler.DEIS{Sigmas: l, Order: order(c), Lower: lower(c)}
		}},
		{"plms", "PNDM, begun as PLMS", 50, 0, func(l []float64, _ *card.Card, _ ground) sampler.Sampler {
			return sampler.PNDM{Sigmas: l}
		}},
		{"pndm", "PNDM, begun by Runge–Kutta", 50, 0, func(l []float64, _ *card.Card, of ground) sampler.Sampler {
			return sampler.PNDM{Sigmas: l, Middles: of.middles(l)}
		}},
		{"ipndm", "PNDM, begun in lower orders", 50, 0, func(l []float64, _ *card.Card, _ ground) sampler.Sampler {
			return sampler.PNDM{Sigmas: l, LowerOrders: true}
		}},
		{"ddim", "DDIM", 100, 0, func(l []float64, c *card.Card, _ ground) sampler.Sampler {
			return sampler.DDIM{Sigmas: l, Eta: eta(c), Clip: clip(c), Threshold: thresholdOf(c)}
		}},
		{"ddpm", "DDPM", 200, 0, func(l []float64, c *card.Card, _ ground) sampler.Sampler {
			return sampler.DDPM{Sigmas: l, Clip: clip(c), Large: card.Use(c, &c.Sampler.Variance) == "fixed_large"}
		}},
		{"cas", "consistent annealed sampling", 200, 0, func(l []float64, c *card.Card, _ ground) sampler.Sampler {
			return sampler.Consistent{Sigmas: l, Eps: cmp.Or(card.Use(c, &c.Sampler.Eps), consistentEps(l)), Denoise: card.Use(c, &c.Sampler.Denoise)}
		}},
	}
}

// descentOf finds a sampler in the table.
func descentOf(name string) (descent, bool) {
	all := descents()
	i := slices.IndexFunc(all, func(d descent) bool { return d.name == name })
	if i < 0 {
		return descent{}, false
	}
	return all[i], true
}

// uses reports whether a key of the card means something to the sampler, whatever the others are.
func (d descent) uses(key string) bool {
	c := new(card.Card)
	d.build([]float64{4, 2, 1, 0}, c, ground{path: schedules.Sigma{}})
	return c.Used(key)
}

// descentsWith lists the samplers on a ladder that a key means something to.
func descentsWith(key string) []string {
	var names []string
	for _, d := range descents() {
		if d.uses(key) {
			names = append(names, d.name)
		}
	}
	return names
}

// defaults completes the settings. sequence is what gives noise in which there is no Brownian path, or "".
func (d descent) defaults(c *card.Card, sequence string, set func(key string, value any, why string)) {
	if d.uses("sampler.eta") {
		set("sampler.eta", d.eta, "")
	}
	if sequence != "" && d.uses("sampler.independent") {
		set("sampler.independent", true, " ("+sequence+" has no Brownian path)")
	}
	if c.Has("sampler.sigmas") {
		return
	}
	schedule := "karras"
	switch {
	case d.name == "cas":
		schedule = "geometric"
	case d.name == "dpm_fast":
		schedule = "exponential"
	case c.SDE == "ddpm":
		schedule = "index"
	case c.SDE == "flow":
		schedule = "time"
	}
	set("sampler.schedule", schedule, "")
	if c.Sampler.Schedule == "index" {
		if known := trained(c); known != nil {
			set("sampler.spacing", "linspace", "")
			set("sampler.n", min(d.steps, len(known)), "")
		}
	}
	set("sampler.n", d.steps, "")
	switch c.Sampler.Schedule {
	case "karras":
		set("sampler.rho", 7, "")
	case "polyexponential":
		set("sampler.rho", 1, "")
	}
}

// check refuses settings that the sampler would take for others.
func (d descent) check(c *card.Card, in noiseKind) error {
	most := map[string]int{"lms": 4, "unipc": 3, "deis": 3}[d.name]
	kinds := []string{"midpoint", "heun"}
	if d.name == "unipc" {
		kinds = []string{"bh1", "bh2"}
	}
	switch {
	case c.Sampler.Solver != "" && d.uses("sampler.solver") && !slices.Contains(kinds, c.Sampler.Solver):
		return usagef("--set sampler.solver=%s: --sampler %s has %s", c.Sampler.Solver, d.name, strings.Join(kinds, " and "))
	case c.Sampler.ThresholdMax != 0 && c.Sampler.Threshold == 0:
		return usagef("--set sampler.threshold_max is of no use without --set sampler.threshold=…")
	case most > 0 && c.Sampler.Order > most:
		return usagef("--set sampler.order=%d: --sampler %s has orders 1 to %d", c.Sampler.Order, d.name, most)
	case c.Sampler.Eta > 1 && d.uses("sampler.eta") && d.name != "dpmpp_2m_sde" && d.name != "dpmpp_3m_sde":
		return usagef("--eta %v: of --sampler %s it is from 0 to 1, where all of a step's noise is new", c.Sampler.Eta, d.name)
	case c.Sampler.Eta == 0 && c.Has("sampler.eta") && d.eta == 1 && strings.HasSuffix(d.name, "_sde"):
		return usagef("--eta 0: --sampler %s is for noise above 0; without, it is dpmpp_2m or dpmpp_3m", d.name)
	case d.name == "cas" && cmp.Or(len(c.Sampler.Sigmas), c.Sampler.N) < 2:
		return usagef("--sampler cas needs 2 levels or more")
	case bool(in) && d.uses("sampler.independent") && !c.Sampler.Independent:
		return usagef("--set sampler.independent=false: there is a Brownian path with --rng philox alone")
	}
	return nil
}

// dpmAdaptive builds the sampler that chooses its levels, in VE coordinates as those on a ladder.
func (r *recipe) dpmAdaptive(c *card.Card) {
	hi, lo := ends(c)
	s := &c.Sampler
	a := sampler.DPMAdaptive{SigmaMax: hi, SigmaMin: lo, Order: card.Use(c, &s.Order), RTol: r.rtol(c), ATol: card.Use(c, &s.ATol),
		Coupled: card.Use(c, &s.Coupled), Denoise: card.Use(c, &s.Denoise)}
	r.warnBetween(c)
	r.sampler, r.coupled = a, a.Coupled
	r.inVE(c, hi)
	r.about = fmt.Sprintf("DPM-Solver of order %d with adaptive steps (%s), %.4g to %.4g, rtol %.4g, atol %.4g", cmp.Or(a.Order, 3), c.SDE, hi, lo, a.RTol, a.ATol)
}

// inVE starts a sampler in VE coordinates, x_t/α at the level σ/α, in which the equations of every process are the same: at the level hi.
func (r *recipe) inVE(c *card.Card, hi float64) {
	path := pathOf(c)
	if r.path = path; !isVE(c) {
		r.outer = path
	}
	prior := priorAt(c, hi)
	r.top, r.most = hi, prior
	r.start = func(b *sampler.Batch) error { return b.Prior(prior) }
}

// descend builds a sampler on a ladder.
func (r *recipe) descend(d descent, c *card.Card, in noiseKind) error {
	if err := d.check(c, in); err != nil {
		return err
	}
	sigmas, how, err := r.levels(d, c)
	if err != nil {
		return err
	}
	if d.name == "cas" && c.Has("sampler.eps") {
		gamma, last := largestDrop(sigmas), sigmas[len(sigmas)-1]
		if least, most := (1-gamma)*last*last, (1+gamma)*last*last; !(c.Sampler.Eps > least && c.Sampler.Eps < most) {
			return usagef("--eps %v: --sampler cas wants it between %.3g and %.3g on this ladder", c.Sampler.Eps, least, most)
		}
	}
	r.inVE(c, sigmas[0])
	if d.name != "cas" && card.Use(c, &c.Sampler.Denoise) {
		sigmas = append(sigmas, 0)
	}
	r.sampler = d.build(sigmas, c, ground{pathOf(c), c.SDE == "ddpm" && strings.HasPrefix(c.TimeDType, "int")})
	if d.name != "ddim" { // which has its own
		r.sampler = thresholdOf(c).Of(r.sampler)
	}
	r.about = fmt.Sprintf("%s (%s), %d levels %.4g to %.4g, %s", d.about, c.SDE, len(sigmas), sigmas[0], sigmas[len(sigmas)-1], how)
	if c.Sampler.Independent && c.Used("sampler.independent") {
		r.about += ", every step's noise its own"
	}
	return nil
}

// levels are those that a sampler goes down, without the 0 that may follow, and how they were chosen.
func (r *recipe) levels(d descent, c *card.Card) (sigmas []float64, how string, err error) {
	if len(c.Sampler.Sigmas) > 0 {
		return r.given(c), "as given", nil
	}
	s := &c.Sampler
	how, n := card.Use(c, &s.Schedule), card.Use(c, &s.N)
	if how == "index" {
		sigmas, err = stepsOf(c, d, n)
		return sigmas, how, err
	}
	hi, lo := ends(c)
	if c.SDE == "ddpm" && c.Has("sampler.spacing") && slices.Contains(card.SpacedLadders(), d.name) {
		// The ladder runs between the first and the last of the spaced steps.
		known, err := stepsOf(c, d, min(n, len(trained(c))))
		if err != nil {
			return nil, "", err
		}
		hi = known[0]
		if lo = known[len(known)-1]; len(known) > n {
			lo = known[n-1]
		}
	}
	if d.name != "cas" && !card.Use(c, &s.Denoise) {
		n++ // n steps end at the lowest level
	}
	sigmas = snapped(c, spaced(c, hi, lo, n))
	if len(sigmas) < n && c.Rank("sampler.n") > card.Default {
		r.warn("%d steps are %d: between the %d levels that it was trained at the network knows nothing", s.N, len(sigmas)-n+s.N, len(trained(c)))
	}
	return sigmas, how, nil
}

// given is the ladder that was asked for, at the levels that the network knows.
func (r *recipe) given(c *card.Card) []float64 {
	asked := card.Use(c, &c.Sampler.Sigmas)
	sigmas := snapped(c, asked)
	if !slices.Equal(sigmas, asked) {
		r.warn("of the %d levels that the network knows, the nearest to those asked for are %.4g", len(trained(c)), sigmas)
	}
	return slices.Clone(sigmas)
}

// spaced is a ladder of n levels from hi to lo.
func spaced(c *card.Card, hi, lo float64, n int) []float64 {
	if n == 1 {
		return []float64{hi}
	}
	path := pathOf(c)
	switch c.Sampler.Schedule {
	case "linear":
		return schedules.Linear(hi, lo, n)
	case "beta":
		return schedules.Beta(hi, lo, 0.6, n)
	case "geometric", "exponential":
		return schedules.Geometric(hi, lo, n)
	case "polyexponential":
		return schedules.PolyExponential(hi, lo, card.Use(c, &c.Sampler.Rho), n)
	case "vp":
		if isVE(c) { // the times of Song et al.'s VP process at these levels
			path = schedules.VP{}
		}
		return schedules.Ladder(path, schedules.Linear(path.Time(hi), path.Time(lo), n))
	case "time":
		if isVE(c) { // whose σ is geometric in its time
			return schedules.Geometric(hi, lo, n)
		}
		times := schedules.Linear(path.Time(hi), path.Time(lo), n)
		if c.SDE == "flow" && card.Use(c, &c.Shift) > 0 {
			sampler.ShiftTimes(times, c.Shift)
		}
		return schedules.Ladder(path, times)
	}
	return schedules.Karras(hi, lo, card.Use(c, &c.Sampler.Rho), n)
}

// onlyLevels are the levels that a network can be told, the lowest first, where they are few because it counts them; nil where it can be told any.
func onlyLevels(c *card.Card) []float64 {
	counts := c.TimeKind == "index" || c.TimeKind == "index_desc"
	if isVE(c) && counts || c.SDE == "ddpm" && strings.HasPrefix(c.TimeDType, "int") {
		return trained(c)
	}
	return nil
}

// warnBetween warns of a sampler that asks a network of levels for what is between them.
func (r *recipe) warnBetween(c *card.Card) {
	if n := len(onlyLevels(c)); n > 0 {
		r.warn("the network knows %d levels and no others: --sampler %s asks between them, and gets the nearest one's score. The samplers on a ladder keep to them", n, c.Sampler.Name)
	}
}

// snapped moves a ladder to the levels of a network that is told a level's index: between them it knows nothing.
func snapped(c *card.Card, sigmas []float64) []float64 {
	known := onlyLevels(c)
	if known == nil {
		return sigmas
	}
	out := make([]float64, len(sigmas))
	for i, s := range sigmas {
		out[i] = known[min(max(int(math.Round(schedules.Index(known, s))), 0), len(known)-1)]
	}
	return slices.Compact(out)
}

// thresholdOf is dynamic thresholding as a card asks for it.
func thresholdOf(c *card.Card) sampler.Threshold {
	t := sampler.Threshold{Ratio: card.Use(c, &c.Sampler.Threshold)}
	if t.Ratio > 0 {
		t.Most = card.Use(c, &c.Sampler.ThresholdMax)
	}
	return t
}

// middles are the levels in the middle of the first three steps: in the time of the process, to a whole step of a network that knows no others; where time is the
// level itself, in ln σ.
func (g ground) middles(sigmas []float64) []float64 {
	var m []float64
	for i := range min(3, len(sigmas)-1) {
		s, t := sigmas[i], sigmas[i+1]
		mid := s / 2 // of a step to 0 it is not used
		if _, ok := g.path.(schedules.Sigma); ok && t > 0 {
			mid = math.Sqrt(s * t)
		} else if t > 0 {
			time := (g.path.Time(s) + g.path.Time(t)) / 2
			if whole := math.Round(time); g.whole && whole != g.path.Time(s) && whole != g.path.Time(t) {
				time = whole
			}
			alpha, sigma := g.path.Marginal(time)
			mid = sigma / alpha
		}
		m = append(m, mid)
	}
	return m
}

// consistentEps is the step size with which consistent annealed sampling adds the noise of the reverse SDE: η = 1−γ², where it is the ancestral
// sampler.
func consistentEps(sigmas []float64) float64 {
	gamma, last := largestDrop(sigmas), sigmas[len(sigmas)-1]
	return (1 - gamma*gamma) * last * last
}

// largestDrop is the least γ = σ_{i+1}/σ_i of a ladder.
func largestDrop(sigmas []float64) float64 {
	gamma := 1.0
	for i, s := range sigmas[1:] {
		gamma = min(gamma, s/sigmas[i])
	}
	return gamma
}
