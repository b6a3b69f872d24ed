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

// The forward processes of a card. Song et al.'s three are SDEs and sampled as such. EDM's is VE by another name. DDPM's chain and flow matching's
// path have no SDE here: their samplers work in VE coordinates, where every path is the same, between the path's own ends.

// isVE reports a process whose noise is simply added.
func isVE(c *card.Card) bool { return c.SDE == "ve" || c.SDE == "edm" }

// pathOf is the path that the network of a card was trained on; of VE its time is σ.
func pathOf(c *card.Card) schedules.Timed {
	switch c.SDE {
	case "vp":
		return schedules.VP{BetaMin: card.Use(c, &c.BetaMin), BetaMax: card.Use(c, &c.BetaMax)}
	case "subvp":
		return schedules.SubVP{BetaMin: card.Use(c, &c.BetaMin), BetaMax: card.Use(c, &c.BetaMax)}
	case "ddpm":
		return chain(c)
	case "flow":
		return schedules.Rectified{}
	}
	return schedules.Sigma{}
}

// coordinates is the path whose network must be brought into VE coordinates for the samplers of SDEs; nil for those that are SDEs themselves.
func coordinates(c *card.Card) schedules.Timed {
	if c.SDE == "ddpm" || c.SDE == "flow" {
		return pathOf(c)
	}
	return nil
}

// chain is the path of DDPM's betas.
func chain(c *card.Card) schedules.Discrete {
	levels := card.Use(c, &c.Levels)
	var betas []float64
	if len(c.Betas) > 0 && c.Rank("beta_schedule") <= c.Rank("betas") {
		betas = card.Use(c, &c.Betas)
	} else if name := card.Use(c, &c.BetaSchedule); name == "squaredcos_cap_v2" {
		betas = schedules.Cosine(levels)
	} else {
		between := schedules.Linear
		if name == "scaled_linear" {
			between = schedules.ScaledLinear
		}
		betas = between(card.Use(c, &c.BetaMin), card.Use(c, &c.BetaMax), levels)
	}
	if card.Use(c, &c.ZeroSNR) {
		betas = schedules.ZeroTerminalSNR(betas)
	}
	path := schedules.FromBetas(betas)
	for i, rho := range path {
		// Without any signal there is no level in VE coordinates: diffusers puts ᾱ = 2⁻²⁴.
		path[i] = min(rho, math.Sqrt(1<<24-1))
	}
	return path
}

// ends are the levels ρ = σ/α between which a card's process is sampled.
func ends(c *card.Card) (hi, lo float64) {
	switch c.SDE {
	case "ddpm":
		path := chain(c)
		hi, lo = path[len(path)-1], path[0]
		if c.Has("sigma_max") {
			hi = min(hi, card.Use(c, &c.SigmaMax))
		}
		if c.Has("sigma_min") {
			lo = max(lo, card.Use(c, &c.SigmaMin))
		}
		return hi, lo
	case "flow":
		// At t = 1 the level is infinite; the last part of t has hardly any data in it.
		levels := schedules.Ladder(schedules.Rectified{}, []float64{1 - 1e-3, card.Use(c, &c.TEps)})
		return levels[0], levels[1]
	case "vp", "subvp":
		path, sde := pathOf(c), process(c)
		levels := schedules.Ladder(path, []float64{sde.T(), card.Use(c, &c.TEps)})
		return levels[0], levels[1]
	}
	lo, hi = sigmaRange(c)
	return hi, lo
}

// priorAt is how large x/α is at a level where it starts: the noise alone, or as large as with data of variance 1, which VP's prior stands for.
func priorAt(c *card.Card, level float64) float64 {
	if isVE(c) || c.SDE == "flow" {
		return level
	}
	return math.Sqrt(1 + level*level)
}

// process is the card's SDE; that of a path without one is VE between the path's ends.
func process(c *card.Card) schedules.SDE {
	if sde, ok := pathOf(c).(schedules.SDE); ok {
		return sde
	}
	hi, lo := ends(c)
	return schedules.VE{SigmaMin: lo, SigmaMax: hi}
}

// sigmaRange is the smallest and the largest noise of a VE card. What a flag says about an end beats an explicit ladder from elsewhere.
func sigmaRange(c *card.Card) (lo, hi float64) {
	end := func(key string, alone *float64, k int) float64 {
		if len(c.Sigmas) > 0 && c.Rank("sigmas") >= c.Rank(key) {
			return card.Use(c, &c.Sigmas)[k]
		}
		return card.Use(c, alone)
	}
	return end("sigma_min", &c.SigmaMin, len(c.Sigmas)-1), end("sigma_max", &c.SigmaMax, 0)
}

// ladderOf is the ladder that the network of a VE card was trained at, the largest noise first: the explicit one, unless a stronger source gave its
// ends or its length.
func ladderOf(c *card.Card) []float64 {
	if len(c.Sigmas) > 0 && c.Rank("sigmas") >= max(c.Rank("sigma_min"), c.Rank("sigma_max"), c.Rank("levels")) {
		return card.Use(c, &c.Sigmas)
	}
	lo, hi := sigmaRange(c)
	n := card.Use(c, &c.Levels)
	if n == 0 {
		n = len(c.Sigmas)
	}
	return schedules.Geometric(hi, lo, n)
}

// trained are the levels that a network was trained at, the lowest first; nil where it was trained at all.
func trained(c *card.Card) []float64 {
	switch {
	case c.SDE == "ddpm":
		return chain(c)
	case isVE(c) && (c.Has("levels") || len(c.Sigmas) > 0):
		ladder := slices.Clone(ladderOf(c))
		slices.Reverse(ladder)
		return ladder
	}
	return nil
}

// stepsOf are the levels of the schedule index: n of those that the network was trained at, spaced as diffusers spaces them, from the highest of them up to sigma_max
// to the lowest. The solvers of DPM-Solver's kind have a spacing of their own. The spacing fractions is linspace with steps between those of the training, for networks
// that know such times.
func stepsOf(c *card.Card, d descent, n int) ([]float64, error) {
	known := trained(c)
	if known == nil {
		return nil, usagef("--schedule index: the network was trained at all levels of %s, not at some of them", c.SDE)
	}
	if n > len(known) {
		return nil, usagef("--steps %d: the network was trained at %d levels, and the schedule index has no others", n, len(known))
	}
	name, offset := card.Use(c, &c.Sampler.Spacing), 0
	if name == "leading" {
		offset = card.Use(c, &c.Sampler.Offset)
	}
	spacing := schedules.Spacing(max(0, slices.Index([]string{"linspace", "leading", "trailing"}, name)))
	hi, lo := ends(c)
	total := len(known)
	for total > n+1 && known[total-1] > hi {
		total--
	}
	var at []float64
	switch {
	case slices.Contains([]string{"dpmpp_2m", "dpmpp_3m", "dpmpp_2m_sde", "dpmpp_3m_sde", "unipc", "deis"}, d.name):
		for _, i := range spacing.DPMSolver(total, n, offset) {
			at = append(at, float64(i))
		}
	case name == "fractions" && c.SDE == "ddpm" && !strings.HasPrefix(c.TimeDType, "int") && n > 1:
		at = schedules.Linear(float64(total-1), 0, n)
	default:
		for _, i := range spacing.DDIM(total, n, offset) {
			at = append(at, float64(i))
		}
	}
	var sigmas []float64
	for _, time := range at {
		i := int(time)
		if i < 0 || i >= len(known) {
			return nil, usagef("--set sampler.offset=%d: step %d is beyond the network's %d levels", offset, i, len(known))
		}
		s := known[i]
		if part := time - float64(i); part > 0 {
			s += float64(part * (known[i+1] - s))
		}
		if s >= lo && s <= hi && (len(sigmas) == 0 || s < sigmas[len(sigmas)-1]) {
			sigmas = append(sigmas, s)
		}
	}
	if len(sigmas) == 0 {
		return nil, usagef("--schedule index: no level of the network is between sigma_min %v and sigma_max %v", lo, hi)
	}
	if !card.Use(c, &c.Sampler.Denoise) && lo < sigmas[len(sigmas)-1] {
		sigmas = append(sigmas, lo)
	}
	return sigmas, nil
}

// straight builds the samplers of the rectified path. A network of flow matching is asked for its velocity from t = 1 on; every other one gives a
// score, which is brought onto this path and starts where its process does.
func (r *recipe) straight(c *card.Card) error {
	hi, lo := ends(c)
	path := schedules.Rectified{}
	first, last := path.Time(hi), path.Time(lo)
	if c.SDE == "flow" && c.Output == "flow" {
		first = 1
	}
	n, denoise := card.Use(c, &c.Sampler.N), func() bool { return card.Use(c, &c.Sampler.Denoise) }
	shifted := func(times []float64) []float64 { return sampler.ShiftTimes(times, cmp.Or(card.Use(c, &c.Shift), 1)) }
	var times []float64
	switch {
	case c.SDE != "flow" && denoise():
		times = append(schedules.Linear(first, last, n), 0)
	case c.SDE != "flow":
		times = schedules.Linear(first, last, n+1)
	case c.Has("levels"):
		// diffusers' FlowMatchEuler: from 1 to the lowest of its training steps, shifted twice; then 0.
		last = shifted([]float64{1 / float64(card.Use(c, &c.Levels))})[0]
		times = append(shifted(schedules.Linear(first, last, n)), 0)
	case denoise():
		times = shifted(schedules.Linear(first, 0, n+1))
	default:
		times = shifted(schedules.Linear(first, last, n+1))
	}
	r.warnBetween(c)
	r.path = pathOf(c)
	r.velocity = true
	r.top, r.most = first, first
	std := (1 - first) * priorAt(c, hi)
	if first == 1 {
		std = 1
	}
	r.start = func(b *sampler.Batch) error { return b.Prior(std) }
	r.sampler = sampler.Straight{Times: times, Heun: c.Sampler.Name == "flow_heun"}
	method := "Euler"
	if c.Sampler.Name == "flow_heun" {
		method = "Heun"
	}
	r.about = fmt.Sprintf("rectified path (%s), %s, %d steps from t = %.4g to %.4g", c.SDE, method, len(times)-1, times[0], times[len(times)-1])
	return nil
}

// rectified is the velocity on the rectified path of a network's score on its own path.
func (r *recipe) rectified(score sampler.Field, c *card.Card) sampler.Field {
	if c.SDE != "flow" {
		score = sampler.FromVE(sampler.InVE(score, pathOf(c)), schedules.Rectified{})
	}
	return sampler.Velocity(score)
}

// precond is how a network that stands in VE coordinates, and scales its input or its output itself, makes the denoised datum: D = c_skip x +
// c_out F(c_in x). ok is false for a network that takes x as it is and returns one of the plain outputs.
func precond(c *card.Card, label func(sigma float64) float64) (p schedules.Precond, ok bool) {
	if !isVE(c) || c.Output != "edm_F" && (c.CIn == "" || c.CIn == "none") {
		return nil, false
	}
	data := c.SigmaData
	if c.CIn == "vp" && c.Output != "edm_F" {
		data = 1 // of VP's data in VE coordinates
	}
	return func(sigma float64) (cSkip, cOut, cIn, cNoise float64) {
		v := sigma*sigma + data*data
		root := math.Sqrt(v)
		switch c.CIn {
		case "vp":
			cIn = 1 / math.Sqrt(1+sigma*sigma)
		case "none":
			cIn = 1
		default:
			cIn = 1 / math.Sqrt(sigma*sigma+data*data)
		}
		switch c.Output {
		case "edm_F":
			cSkip, cOut = data*data/v, sigma*data/root
		case "v":
			cSkip, cOut = data*data/v, -sigma*data/root
		case "eps":
			cSkip, cOut = 1, -sigma
		case "score_sigma":
			cSkip, cOut = 1, sigma
		case "score":
			cSkip, cOut = 1, sigma*sigma
		default: // x0, D
			cSkip, cOut = 0, 1
		}
		return cSkip, cOut, cIn, label(sigma)
	}, true
}

// meanOf is the mean that the network's data lack, for each element of a sample; nil for none.
func meanOf(c *card.Card) ([]float32, error) {
	if len(c.Mean) == 0 {
		return nil, nil
	}
	dim := elements(c.Shape)
	each := dim / len(c.Mean)
	perChannel := len(c.Shape) == 3 && len(c.Mean) == c.Shape[0]
	if len(c.Mean) != 1 && len(c.Mean) != dim && !perChannel {
		return nil, &card.Error{Source: c.From["mean"], Reason: fmt.Sprintf("mean has %d numbers: want one, or one for each channel or element of samples of shape %v", len(c.Mean), c.Shape)}
	}
	out := make([]float32, dim)
	for i := range out {
		out[i] = float32(c.Mean[i/each])
	}
	return out, nil
}

// addMean adds f·mean to samples.
func addMean(x, mean []float32, f float32) {
	for i := range x {
		if len(mean) > 0 {
			x[i] += f * mean[i%len(mean)]
		}
	}
}
