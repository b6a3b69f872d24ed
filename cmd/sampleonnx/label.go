package main

import (
	"math"

	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/schedules"
)

// relabel sets what the network is told at the sampler's time t.
func (r *recipe) relabel(c *card.Card) {
	sdeTime := func(t float64) float64 { return t }
	switch path := r.path.(type) {
	case schedules.Sigma:
		lo, hi := sigmaRange(c)
		sdeTime = func(s float64) float64 { return math.Log(s/lo) / math.Log(hi/lo) }
	case schedules.Discrete:
		sdeTime = func(i float64) float64 { return i / float64(max(len(path)-1, 1)) }
	}
	switch c.TimeKind {
	case "sigma":
		r.label = r.sigma
	case "log_sigma":
		r.label = func(t float64) float64 { return math.Log(r.sigma(t)) }
	case "log_sigma_4":
		r.label = func(t float64) float64 { return math.Log(r.sigma(t)) / 4 }
	case "atan":
		r.label = func(t float64) float64 { // of the noise beside the datum
			a, s := r.path.Marginal(t)
			return 2 / math.Pi * math.Atan2(s, a)
		}
	case "t":
		r.label = sdeTime
	case "t_scaled":
		r.label = func(t float64) float64 { return c.TimeScale * sdeTime(t) }
	case "index", "index_desc":
		r.index(c)
	}
}

// index labels by level: the nearest one of a VE ladder, or DDPM's fractional position (N−1)t of a VP chain.
func (r *recipe) index(c *card.Card) {
	up := c.TimeKind == "index_desc"
	if _, discrete := r.path.(schedules.Discrete); discrete { // whose time is the index
		r.label = func(i float64) float64 {
			if up {
				return i
			}
			return float64(c.Levels-1) - i
		}
		return
	}
	if !isVE(c) {
		n := float64(c.Levels - 1)
		r.label = func(t float64) float64 {
			if up {
				return n * t
			}
			return n * (1 - t)
		}
		return
	}
	ladder := ladderOf(c)
	n := float64(len(ladder) - 1)
	r.label = func(t float64) float64 {
		i := math.Round(schedules.Index(ladder, r.sigma(t)))
		if up {
			return n - i
		}
		return i
	}
}

// sigma is the noise of the network's path at its time.
func (r *recipe) sigma(t float64) float64 {
	_, sigma := r.path.Marginal(t)
	return sigma
}

// labelAt is what a network of the VE path is told at a noise level.
func (r *recipe) labelAt(sigma float64) float64 {
	if r.label == nil {
		return 0
	}
	if path, ok := r.path.(schedules.VE); ok {
		return r.label(path.Time(sigma))
	}
	return r.label(sigma)
}
