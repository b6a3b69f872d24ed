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
	steps int      // how many, where nobody says
	eta   float64  // ancestral noise, where nobody says
	keys  []string // of the card, besides those that every descent has
	build func(sigmas []float64, s card.Sampler, of ground) sampler.Sampler
}

// ground is what a sampler on a ladder may have to know beyond its levels.
type ground struct {
	path  schedules.Timed
	whole bool // the network knows whole times only
	noise noiseKind
}

// noiseKind is true for noise that is a sequence and not a function of the draw: there is no Brownian path in it.
type noiseKind bool

// descents is the table of the samplers on a ladder.
func descents() []descent {
	const eta, noise, order, clip = "sampler.eta", "sampler.s_noise", "sampler.order", "sampler.clip"
	const solver, lower, last = "sampler.solver", "sampler.lower", "sampler.euler_last"
	churned := []string{"sampler.s_churn", "sampler.s_min", "sampler.s_max", noise}
	churn := func(s card.Sampler) sampler.Churn { return sampler.Churn{S: s.SChurn, Min: s.SMin, Max: s.SMax} }
	return []descent{
		{"euler", "Euler", 100, 0, churned, func(l []float64, s card.Sampler, _ ground) sampler.Sampler {
			return sampler.Euler{Sigmas: l, Churn: churn(s), SNoise: s.SNoise}
		}},
		{"euler_a", "Euler, ancestral", 200, 1, []string{eta, noise}, func(l []float64, s card.Sampler, _ ground) sampler.Sampler {
			return sampler.Euler{Sigmas: l, Eta: s.Eta, SNoise: s.SNoise}
		}},
		{"heun", "Heun (EDM)", 30, 0, churned, func(l []float64, s card.Sampler, _ ground) sampler.Sampler {
			return sampler.Heun{Sigmas: l, Churn: churn(s), SNoise: s.SNoise}
		}},
		{"dpm2", "DPM-Solver-2", 30, 0, churned, func(l []float64, s card.Sampler, _ ground) sampler.Sampler {
			return sampler.DPMSolver{Sigmas: l, Order: 2, Churn: churn(s), SNoise: s.SNoise}
		}},
		{"dpm2_a", "DPM-Solver-2, ancestral", 100, 1, []string{eta, noise}, func(l []float64, s card.Sampler, _ ground) sampler.Sampler {
			return sampler.DPMSolver{Sigmas: l, Order: 2, Eta: s.Eta, SNoise: s.SNoise}
		}},
		{"dpm3", "DPM-Solver-3", 20, 0, churned, func(l []float64, s card.Sampler, _ ground) sampler.Sampler {
			return sampler.DPMSolver{Sigmas: l, Order: 3, Churn: churn(s), SNoise: s.SNoise}
		}},
		{"dpm_fast", "DPM-Solver-fast", 20, 0, nil, func(l []float64, s card.Sampler, _ ground) sampler.Sampler {
			return sampler.DPMSolver{Sigmas: l, Orders: sampler.FastOrders(3*len(l) - 4)} // the most that so many steps can spend
		}},
		{"lms", "linear multistep", 50, 0, []string{order}, func(l []float64, s card.Sampler, _ ground) sampler.Sampler {
			return sampler.LMS{Sigmas: l, Order: s.Order}
		}},
		{"dpmpp_2s_a", "DPM-Solver++(2S), ancestral", 100, 1, []string{eta, noise}, func(l []float64, s card.Sampler, _ ground) sampler.Sampler {
			return sampler.DPMpp2S{Sigmas: l, Eta: s.Eta, SNoise: s.SNoise}
		}},
		{"dpmpp_2m", "DPM-Solver++(2M)", 30, 0, []string{solver, lower, last}, func(l []float64, s card.Sampler, _ ground) sampler.Sampler {
			return sampler.DPMpp{Sigmas: l, Order: 2, Heun: s.Solver == "heun", Lower: s.Lower, EulerLast: s.EulerLast}
		}},
		{"dpmpp_3m", "DPM-Solver++(3M)", 30, 0, []string{lower, last}, func(l []float64, s card.Sampler, _ ground) sampler.Sampler {
			return sampler.DPMpp{Sigmas: l, Order: 3, Lower: s.Lower, EulerLast: s.EulerLast}
		}},
		{"dpmpp_sde", "DPM-Solver++ SDE", 60, 1, []string{eta, noise}, func(l []float64, s card.Sampler, of ground) sampler.Sampler {
			return sampler.DPMppSDE{Sigmas: l, Eta: s.Eta, SNoise: s.SNoise, Independent: bool(of.noise)}
		}},
		{"dpmpp_2m_sde", "DPM-Solver++(2M) SDE", 100, 1, []string{eta, noise, solver}, func(l []float64, s card.Sampler, of ground) sampler.Sampler {
			return sampler.DPMpp2MSDE{Sigmas: l, Eta: s.Eta, SNoise: s.SNoise, Heun: s.Solver == "heun", Independent: bool(of.noise)}
		}},
		{"dpmpp_3m_sde", "DPM-Solver++(3M) SDE", 100, 1, []string{eta, noise}, func(l []float64, s card.Sampler, of ground) sampler.Sampler {
			return sampler.DPMpp3MSDE{Sigmas: l, Eta: s.Eta, SNoise: s.SNoise, Independent: bool(of.noise)}
		}},
		{"unipc", "UniPC", 20, 0, []string{order, solver}, func(l []float64, s card.Sampler, _ ground) sampler.Sampler {
			return sampler.UniPC{Sigmas: l, Order: s.Order, BH1: s.Solver == "bh1"}
		}},
		{"deis", "DEIS", 30, 0, []string{order, lower}, func(l []float64, s card.Sampler, _ ground) sampler.Sampler {
			return sampler.DEIS{Sigmas: l, Order: s.Order, Lower: s.Lower}
		}},
		{"plms", "PNDM, begun as PLMS", 50, 0, nil, func(l []float64, _ card.Sampler, _ ground) sampler.Sampler {
			return sampler.PNDM{Sigmas: l}
		}},
		{"pndm", "PNDM, begun by Runge–Kutta", 50, 0, nil, func(l []float64, _ card.Sampler, of ground) sampler.Sampler {
			return sampler.PNDM{Sigmas: l, Middles: of.middles(l)}
		}},
		{"ipndm", "PNDM, begun in lower orders", 50, 0, nil, func(l []float64, _ card.Sampler, _ ground) sampler.Sampler {
			return sampler.PNDM{Sigmas: l, LowerOrders: true}
		}},
		{"ddim", "DDIM", 100, 0, []string{eta, clip}, func(l []float64, s card.Sampler, _ ground) sampler.Sampler {
			return sampler.DDIM{Sigmas: l, Eta: s.Eta, Clip: s.Clip, Threshold: thresholdOf(s)}
		}},
		{"ddpm", "DDPM", 200, 0, []string{clip, "sampler.variance"}, func(l []float64, s card.Sampler, _ ground) sampler.Sampler {
			return sampler.DDPM{Sigmas: l, Clip: s.Clip, Large: s.Variance == "fixed_large"}
		}},
		{"cas", "consistent annealed sampling", 200, 0, []string{"sampler.eps"}, func(l []float64, s card.Sampler, _ ground) sampler.Sampler {
			return sampler.Consistent{Sigmas: l, Eps: s.Eps, Denoise: s.Denoise}
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

// descentsWith lists the samplers on a ladder that a key means something to.
func descentsWith(key string) []string {
	var names []string
	for _, d := range descents() {
		if slices.Contains(d.keys, key) {
			names = append(names, d.name)
		}
	}
	return names
}

// defaults completes the settings.
func (d descent) defaults(c *card.Card, set func(key string, value any, why string)) {
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
	if known := trained(c); c.Sampler.Schedule == "index" && known != nil {
		set("sampler.spacing", "linspace", "")
		set("sampler.n", min(d.steps, len(known)), "")
	}
	set("sampler.n", d.steps, "")
	switch c.Sampler.Schedule {
	case "karras":
		set("sampler.rho", 7, "")
	case "polyexponential":
		set("sampler.rho", 1, "")
	}
	if slices.Contains(d.keys, "sampler.eta") {
		set("sampler.eta", d.eta, "")
	}
}

// check refuses settings that the sampler would take for others.
func (d descent) check(c *card.Card) error {
	most := map[string]int{"lms": 4, "unipc": 3, "deis": 3}[d.name]
	kinds := []string{"midpoint", "heun"}
	if d.name == "unipc" {
		kinds = []string{"bh1", "bh2"}
	}
	switch {
	case c.Sampler.Solver != "" && slices.Contains(d.keys, "sampler.solver") && !slices.Contains(kinds, c.Sampler.Solver):
		return usagef("--set sampler.solver=%s: --sampler %s has %s", c.Sampler.Solver, d.name, strings.Join(kinds, " and "))
	case c.Sampler.ThresholdMax != 0 && c.Sampler.Threshold == 0:
		return usagef("--set sampler.threshold_max is of no use without --set sampler.threshold=…")
	case most > 0 && c.Sampler.Order > most:
		return usagef("--set sampler.order=%d: --sampler %s has orders 1 to %d", c.Sampler.Order, d.name, most)
	case c.Sampler.Eta == 0 && c.Has("sampler.eta") && d.eta == 1 && strings.HasSuffix(d.name, "_sde"):
		return usagef("--eta 0: --sampler %s is for noise above 0; without, it is dpmpp_2m or dpmpp_3m", d.name)
	case d.name == "cas" && c.Sampler.N < 2:
		return usagef("--steps %d: --sampler cas needs 2 levels or more", c.Sampler.N)
	}
	return nil
}

// dpmAdaptive builds the sampler that chooses its levels, in VE coordinates as those on a ladder.
func (r *recipe) dpmAdaptive(c *card.Card) {
	hi, lo, prior := ends(c)
	r.path = pathOf(c)
	if !isVE(c) {
		r.outer = pathOf(c)
	}
	s := c.Sampler
	r.sampler = sampler.DPMAdaptive{SigmaMax: hi, SigmaMin: lo, Order: s.Order, RTol: s.RTol, ATol: s.ATol, Coupled: s.Coupled, Denoise: s.Denoise}
	r.coupled = s.Coupled
	r.top, r.most = hi, prior
	r.start = func(b *sampler.Batch) error { return b.Prior(prior) }
	r.about = fmt.Sprintf("DPM-Solver of order %d with adaptive steps (%s), %.4g to %.4g, rtol %.4g, atol %.4g", cmp.Or(s.Order, 3), c.SDE, hi, lo, s.RTol, s.ATol)
}

// descend builds a sampler on a ladder. It works in VE coordinates, x_t/α at the level σ/α, in which the equations of every process are the same.
func (r *recipe) descend(d descent, c *card.Card, in noiseKind) error {
	if err := d.check(c); err != nil {
		return err
	}
	path := pathOf(c)
	hi, lo, prior := ends(c)
	r.path = path
	if !isVE(c) {
		r.outer = path
	}
	n := c.Sampler.N
	if c.SDE == "ddpm" && c.Sampler.Schedule != "index" && c.Has("sampler.spacing") && slices.Contains(card.SpacedLadders(), d.name) {
		// The ladder runs between the first and the last of the spaced steps.
		known, err := stepsOf(c, d, min(n, len(trained(c))))
		if err != nil {
			return err
		}
		hi = known[0]
		if lo = known[len(known)-1]; len(known) > n {
			lo = known[n-1]
		}
		alpha, _ := path.Marginal(path.Time(hi))
		prior = 1 / alpha
	}
	if d.name != "cas" && !c.Sampler.Denoise {
		n++ // n steps end at the lowest level
	}
	sigmas := snapped(c, spaced(c, path, hi, lo, n))
	if c.Sampler.Schedule == "index" {
		var err error
		if sigmas, err = stepsOf(c, d, c.Sampler.N); err != nil {
			return err
		}
		hi = sigmas[0]
		if !isVE(c) {
			alpha, _ := path.Marginal(path.Time(hi))
			prior = 1 / alpha
		}
	}
	settings := c.Sampler
	if d.name == "cas" && settings.Eps == 0 {
		settings.Eps = consistentEps(sigmas)
	}
	if d.name != "cas" && c.Sampler.Denoise {
		sigmas = append(sigmas, 0)
	}
	r.sampler = d.build(sigmas, settings, ground{path, c.SDE == "ddpm" && strings.HasPrefix(c.TimeDType, "int"), in})
	if d.name != "ddim" { // which has its own
		r.sampler = thresholdOf(settings).Of(r.sampler)
	}
	r.top, r.most = hi, prior
	r.start = func(b *sampler.Batch) error { return b.Prior(prior) }
	r.about = fmt.Sprintf("%s (%s), %d levels %.4g to %.4g, %s", d.about, c.SDE, len(sigmas), sigmas[0], sigmas[len(sigmas)-1], c.Sampler.Schedule)
	return nil
}

// spaced is a ladder of n levels from hi to lo.
func spaced(c *card.Card, path schedules.Timed, hi, lo float64, n int) []float64 {
	if n == 1 {
		return []float64{hi}
	}
	switch c.Sampler.Schedule {
	case "linear":
		return schedules.Linear(hi, lo, n)
	case "beta":
		return schedules.Beta(hi, lo, 0.6, n)
	case "geometric", "exponential":
		return schedules.Geometric(hi, lo, n)
	case "polyexponential":
		return schedules.PolyExponential(hi, lo, c.Sampler.Rho, n)
	case "vp":
		if _, ok := path.(schedules.Sigma); ok || c.SDE == "ve" { // the times of Song et al.'s VP process at these levels
			path = schedules.VP{}
		}
		return schedules.Ladder(path, schedules.Linear(path.Time(hi), path.Time(lo), n))
	case "time":
		if isVE(c) { // whose σ is geometric in its time
			return schedules.Geometric(hi, lo, n)
		}
		times := schedules.Linear(path.Time(hi), path.Time(lo), n)
		if c.SDE == "flow" && c.Shift > 0 {
			sampler.ShiftTimes(times, c.Shift)
		}
		return schedules.Ladder(path, times)
	}
	return schedules.Karras(hi, lo, c.Sampler.Rho, n)
}

// snapped moves a ladder to the levels of a VE network that is told a level's index: between them it knows nothing.
func snapped(c *card.Card, sigmas []float64) []float64 {
	counts := c.TimeKind == "index" || c.TimeKind == "index_desc"
	if !(isVE(c) && counts) && !(c.SDE == "ddpm" && strings.HasPrefix(c.TimeDType, "int")) {
		return sigmas
	}
	known := trained(c)
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
func thresholdOf(s card.Sampler) sampler.Threshold {
	return sampler.Threshold{Ratio: s.Threshold, Most: s.ThresholdMax}
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
// sampler. γ is the ladder's largest drop.
func consistentEps(sigmas []float64) float64 {
	gamma := 1.0
	for i, s := range sigmas[1:] {
		gamma = min(gamma, s/sigmas[i])
	}
	last := sigmas[len(sigmas)-1]
	return (1 - gamma*gamma) * last * last
}
