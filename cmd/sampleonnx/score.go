package main

import (
	"context"
	"slices"

	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/onnxrun"
	"sampleonnx/sampler"
	"sampleonnx/schedules"
)

// From what a network returns to the score, and from its derivative to the score's, in four steps: the time that it is told, what its output is,
// guidance, and the coordinates of the sampler.

// score is the network, of no class where it is told one, as the score that samplers want.
func (r *recipe) score(ctx context.Context, m *onnxrun.Model, c *card.Card) (sampler.Field, error) {
	net, err := network(ctx, m, c)
	if err != nil {
		return nil, err
	}
	return r.convert(net, c), nil
}

// outputs are the kinds of output, other than the score itself, as scores of a path, and their derivatives as the score's.
var outputs = map[string]struct {
	field func(net sampler.Field, path schedules.Path) sampler.Field
	pull  func(net sampler.Pullback, path schedules.Path) sampler.Pullback
}{
	"score_sigma": {sampler.FromNormalised, sampler.PullNormalised},
	"eps":         {sampler.FromNoise, sampler.PullNoise},
	"x0":          {sampler.FromDenoiser, sampler.PullDenoiser},
	"D":           {sampler.FromDenoiser, sampler.PullDenoiser},
	"v":           {sampler.FromVelocity, sampler.PullVelocity},
	"flow": { // whose path is the rectified one
		func(net sampler.Field, _ schedules.Path) sampler.Field { return sampler.FromFlow(net) },
		func(net sampler.Pullback, _ schedules.Path) sampler.Pullback { return sampler.PullFlow(net) },
	},
}

// convert turns what a network returns into what the sampler wants.
func (r *recipe) convert(net sampler.Field, c *card.Card) sampler.Field {
	if p, ok := precond(c, r.labelAt); ok {
		net = sampler.FromPrecond(net, p)
		if _, byLevel := r.path.(schedules.Sigma); !byLevel {
			net = sampler.Relabel(net, r.sigma)
		}
		return r.placed(net, c)
	}
	if r.label != nil {
		net = sampler.Relabel(net, r.label)
	}
	if r.velocity && c.Output == "flow" {
		return net
	}
	if out, ok := outputs[c.Output]; ok {
		net = out.field(net, r.path)
	}
	return r.placed(net, c)
}

// placed brings a score from the network's path to the sampler's coordinates.
func (r *recipe) placed(score sampler.Field, c *card.Card) sampler.Field {
	if r.guide != nil {
		score = r.guide(score)
	}
	if r.velocity {
		return r.rectified(score, c)
	}
	if r.outer != nil {
		score = sampler.InVE(score, r.outer)
	}
	if r.inner != nil {
		score = sampler.Relabel(score, r.level)
	}
	return score
}

// pullback turns a network's derivative into that of what convert makes of the network without guidance.
func (r *recipe) pullback(net sampler.Pullback, c *card.Card) sampler.Pullback {
	if p, ok := precond(c, r.labelAt); ok {
		net = sampler.PullPrecond(net, p)
		if _, byLevel := r.path.(schedules.Sigma); !byLevel {
			net = relabelled(net, r.sigma)
		}
		return net
	}
	if r.label != nil {
		net = relabelled(net, r.label)
	}
	if out, ok := outputs[c.Output]; ok {
		net = out.pull(net, r.path)
	}
	if r.outer != nil {
		net = sampler.PullVE(net, r.outer)
	}
	if r.inner != nil {
		net = relabelled(net, r.level)
	}
	return net
}

// relabelled is Relabel of a derivative.
func relabelled(pull sampler.Pullback, label func(t float64) float64) sampler.Pullback {
	return func(dst, v, x []float32, t []float64) error {
		field := sampler.Field(func(dst, x []float32, t []float64) error { return pull(dst, v, x, t) })
		return sampler.Relabel(field, label)(dst, x, t)
	}
}

// level is the noise of the sampler's process, in VE coordinates, at its time.
func (r *recipe) level(t float64) float64 {
	_, sigma := r.inner.Marginal(t)
	return sigma
}

// probe feeds the network pure noise σu at the top of the noise. There the data hardly matter, so the score must be close to −u/σ, and what it
// returns, −σ⟨score,u⟩/‖u‖², close to 1. A wrong kind of output, scale or sign of the card shows here.
func (r *recipe) probe(score sampler.Field, dim int) (float64, error) {
	n := min(8, max(1, 1<<16/dim))
	u, x, s := make([]float32, n*dim), make([]float32, n*dim), make([]float32, n*dim)
	if err := sampler.Philox(0).Normal(u, sampler.Draw{Purpose: sampler.PurposeInit, Dim: dim}); err != nil {
		return 0, err
	}
	for i, v := range u {
		x[i] = float32(r.most * float64(v))
	}
	if err := score(s, x, slices.Repeat([]float64{r.top}, n)); err != nil {
		return 0, err
	}
	var su, uu float64
	for i, v := range u {
		su += float64(s[i]) * float64(v)
		uu += float64(v) * float64(v)
	}
	if v := su / uu; r.velocity && r.top == 1 { // close to u itself
		return v, nil
	} else if r.velocity { // it holds x̂_0 too, which need not be small; the noise that it knows is x + (1−t)v
		return r.top + (1-r.top)*v, nil
	}
	return -r.most * su / uu, nil
}
