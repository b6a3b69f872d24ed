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
		if c.TimeKind != "t" && c.TimeKind != "t_scaled" {
			break
		}
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
	case "log_half_sigma":
		r.label = func(t float64) float64 { return math.Log(r.sigma(t) / 2) }
	case "atan":
		r.label = func(t float64) float64 { // of the noise beside the datum
			a, s := r.path.Marginal(t)
			return 2 / math.Pi * math.Atan2(s, a)
		}
	case "t":
		r.label = sdeTime
	case "t_scaled":
		scale := c.TimeScale
		r.label = func(t float64) float64 { return scale * sdeTime(t) }
	case "index", "index_desc":
		r.index(c)
	}
}

// index labels by level: the nearest one of a VE ladder, or DDPM's fractional position (N−1)t of a VP chain.
func (r *recipe) index(c *card.Card) {
	var n float64
	var up func(t float64) float64 // counts from the lowest noise
	switch {
	case isVE(c):
		ladder := ladderOf(c)
		n = float64(len(ladder) - 1)
		up = func(t float64) float64 { return n - math.Round(schedules.Index(ladder, r.sigma(t))) }
	case c.SDE == "ddpm": // whose time is the index
		n = float64(card.Use(c, &c.Levels) - 1)
		up = func(i float64) float64 { return i }
	default:
		n = float64(card.Use(c, &c.Levels) - 1)
		up = func(t float64) float64 { return n * t }
	}
	if r.label = up; c.TimeKind == "index" {
		r.label = func(t float64) float64 { return n - up(t) }
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
