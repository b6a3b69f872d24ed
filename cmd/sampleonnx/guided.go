package main

import (
	"context"

	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/onnxrun"
	"sampleonnx/sampler"
)

// guided is the score of a network, each sample's for its own class.
type guided struct {
	recipe     *recipe
	card       *card.Card
	network    conditional
	classes    []int       // that samples take in turn; none: of no class
	weight     float64     // of the guidance by the classifier, or else by the network itself
	classifier *classifier // or nil
}

// open makes the score of a model for the classes that the flags ask for. With derivative there is the score's derivative too, which a classifier
// has not: it would be the second derivative of its logits. The result is to be closed.
func (s *classFlags) open(ctx context.Context, m *onnxrun.Model, c *card.Card, r *recipe, config runConfig, derivative bool) (*guided, error) {
	g := &guided{recipe: r, card: c, weight: s.guidance}
	var err error
	if g.classes, err = s.list(ctx); err != nil {
		return nil, err
	}
	switch {
	case c.Cond.Name == "" && s.null != "":
		return nil, usagef("--null-class: the network is told no class (its card has no cond)")
	case c.Cond.Name == "" && s.class != "" && s.classifier == "":
		return nil, usagef("--class %s: the network is told no class (its card has no cond); with --classifier another network says which it is", s.class)
	case s.classifier != "" && r.velocity:
		return nil, usagef("--classifier: --sampler %s follows a velocity, which has no guidance: try pc or ode", c.Sampler.Name)
	}
	net := newConditional
	if derivative {
		net = differentiable
	}
	if g.network, err = net(ctx, m, c); err != nil {
		return nil, err
	}
	if s.classifier == "" {
		return g, g.network.check(g.classes, g.weight)
	}
	if err := g.network.check(g.classes, 1); err != nil {
		return nil, err
	}
	g.classifier, err = s.newClassifier(ctx, r, c, g.classes, config)
	return g, err
}

func (g *guided) close() {
	if g != nil && g.classifier != nil {
		g.classifier.model.Close()
	}
}

// own is the weight of the class in the network's own guidance.
func (g *guided) own() float64 {
	if g.classifier != nil {
		return 1
	}
	return g.weight
}

// score is that of a batch.
func (g *guided) score(b *sampler.Batch) (sampler.Field, error) {
	r := *g.recipe
	if g.classifier != nil {
		gradient, err := g.classifier.gradient(b, g.classes)
		if err != nil {
			return nil, err
		}
		r.guide = func(score sampler.Field) sampler.Field { return sampler.Guided(score, gradient, g.weight) }
	}
	return r.convert(g.network.field(b, g.classes, g.own()), g.card), nil
}

// pullback is the derivative of score, without a classifier.
func (g *guided) pullback(b *sampler.Batch) sampler.Pullback {
	return g.recipe.pullback(g.network.pullback(b, g.classes, g.own()), g.card)
}

// unguided is the score of the classes as the network is told them, or of none.
func (g *guided) unguided() *guided {
	plain := *g
	plain.classifier, plain.weight = nil, 1
	return &plain
}

// rows is the score of so many rows of k samples, each row of one class.
func (g *guided) rows(rows, k int) *guided {
	each := *g
	each.classes = nil
	for _, class := range g.classes[:min(rows, len(g.classes))] {
		for range k {
			each.classes = append(each.classes, class)
		}
	}
	return &each
}

// count compares the classes of a file with how many data there are, of which `most` were read.
func (g *guided) count(s *classFlags, n, most int) error {
	have := len(g.classes)
	if !s.fromFile() || have == n || n == most && have > n {
		return nil
	}
	return usagef("--class %s holds %d classes, want one for each of %d", s.class, have, n)
}
