package main

import (
	"context"
	"path/filepath"
	"slices"

	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/onnxrun"
	"sampleonnx/sampler"
)

// classifier is a network that tells the class of a noisy sample.
type classifier struct {
	model  *onnxrun.Model
	logits sampler.Field
	pull   sampler.Pullback
	n      int
}

// gradient is that of ln p(class | x, t), for a batch.
func (c *classifier) gradient(b *sampler.Batch, classes []int) (sampler.Field, error) {
	return sampler.Classifier{Logits: c.logits, Pull: c.pull, Classes: c.n, Class: classes}.Gradient(b)
}

// newClassifier opens the classifier and finds out what it is told: the samples as the network gets them, and the time as its card, the flag or the
// name of its input says.
func (s *classFlags) newClassifier(ctx context.Context, r *recipe, net *card.Card, classes []int, config runConfig) (*classifier, error) {
	m, err := openModel(ctx, s.classifier, config)
	if err != nil {
		return nil, ofFlag("classifier", err)
	}
	c, err := s.fitClassifier(ctx, m, r, net, classes)
	if err != nil {
		m.Close()
		return nil, err
	}
	return c, nil
}

func (s *classFlags) fitClassifier(ctx context.Context, m *onnxrun.Model, r *recipe, net *card.Card, classes []int) (*classifier, error) {
	name := filepath.Base(s.classifier)
	k := new(card.Card)
	if err := k.SetMetadata(m.Metadata()); err != nil {
		return nil, err
	}
	if err := k.ReadSidecar(card.File(s.classifier)); err != nil {
		return nil, err
	}
	if s.classifierTime != "" {
		if err := k.SetText("time_kind", s.classifierTime, card.Source{Rank: card.Flag, Name: "--classifier-time"}); err != nil {
			return nil, err
		}
	}
	if err := k.Infer(cardPorts(m.Inputs()), cardPorts(m.Outputs())); err != nil {
		return nil, usagef("--classifier %s: %v", name, err)
	}
	if k.Has("shape") && !slices.Equal(k.Shape, net.Shape) {
		return nil, usagef("--classifier %s: it takes samples of shape %v, those of the model have %v", name, k.Shape, net.Shape)
	}
	if k.TimeKind == "" {
		if !slices.Contains([]string{"t", "sigma", "log_sigma"}, k.Time) {
			return nil, usagef("--classifier %s: what does its input %q want? Give --classifier-time %s", name, k.Time, card.TimesOfInput())
		}
		k.TimeKind = k.Time
	}
	out := m.Outputs()[slices.IndexFunc(m.Outputs(), func(o onnxrun.Info) bool { return o.Name == k.Out })]
	if len(out.Dims) != 2 || out.Dims[1].Size < 1 {
		return nil, usagef("--classifier %s: its output %q is %s, want the logits of a known number of classes, [batch,classes]", name, k.Out, onnxrun.FormatDims(out.Dims))
	}
	c := &classifier{model: m, n: out.Dims[1].Size}
	if err := inRange(classes, c.n, "the classifier"); err != nil {
		return nil, err
	}
	spec := onnxrun.FieldSpec{X: k.X, Time: k.Time, Out: k.Out, Shape: net.Shape, OutShape: []int{c.n}}
	logits, err := m.FieldOf(ctx, spec)
	if err != nil {
		return nil, usagef("--classifier %s: %v", name, err)
	}
	pull, err := m.PullbackOf(ctx, spec)
	if err != nil {
		return nil, usagef("--classifier %s: %v", name, err)
	}
	c.logits = logits
	c.pull = func(dst, v, x []float32, t []float64) error { return pull(nil, dst, v, x, t) }
	if k.TimeKind != "none" {
		at, told := *r, *net
		told.TimeKind, told.TimeScale = k.TimeKind, k.TimeScale
		if k.TimeKind == "t_scaled" && !k.Has("time_scale") {
			told.TimeScale = net.TimeScale
		}
		at.relabel(&told)
		c.logits, c.pull = sampler.Relabel(c.logits, at.label), relabelled(c.pull, at.label)
	}
	return c, nil
}
