package main

import (
	"context"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/onnxrun"
	"sampleonnx/sampler"
)

const maxClasses = 1 << 16 // in a list: it is about samples that take turns, not about all of them

// parseClasses reads 3, 0,1,2 and 0-9.
func parseClasses(text string) ([]int, error) {
	var list []int
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.ParseUint(first, 10, 31)
		to, err2 := strconv.ParseUint(last, 10, 31)
		if err1 != nil || err2 != nil || from > to {
			return nil, usagef("--class %q: want a class K, a list K1,K2,... or a range K1-K2", text)
		}
		if to-from >= uint64(maxClasses-len(list)) {
			return nil, usagef("--class %q: want at most %d classes", text, maxClasses)
		}
		for k := from; k <= to; k++ {
			list = append(list, int(k))
		}
	}
	return list, nil
}

// inRange refuses classes that are not among n.
func inRange(classes []int, n int, whose string) error {
	for _, k := range classes {
		if k >= n {
			return usagef("--class %d: %s knows %d, 0 to %d", k, whose, n, n-1)
		}
	}
	return nil
}

// conditional is a network as a function of the class too, of which one without an input for it is told nothing.
type conditional struct {
	raw     func(dst, x []float32, cond, t []float64) error
	pull    func(dst, v, x []float32, cond, t []float64) error // its derivative; nil if not asked for
	kind    string                                             // int: the class's index; float: a unit vector, of zeros for none; "": nothing
	n       int                                                // classes
	none    int                                                // the index that means none
	hasNull bool
}

func newConditional(ctx context.Context, m *onnxrun.Model, c *card.Card) (conditional, error) {
	if c.Cond.Name == "" {
		raw, err := m.FieldOf(ctx, specOf(c))
		if err != nil {
			return conditional{}, modelError{err}
		}
		return conditional{raw: func(dst, x []float32, _, t []float64) error { return raw(dst, x, t) }, hasNull: true}, nil
	}
	raw, err := m.ConditionalOf(ctx, specOf(c))
	if err != nil {
		return conditional{}, modelError{err}
	}
	n := conditional{raw: raw, kind: c.Cond.Kind, n: c.Cond.N, hasNull: c.Cond.Kind == "float"}
	if c.Has("cond.null") {
		n.none, n.hasNull = c.Cond.Null, true
	}
	return n, nil
}

// differentiable is newConditional with the derivative.
func differentiable(ctx context.Context, m *onnxrun.Model, c *card.Card) (conditional, error) {
	n, err := newConditional(ctx, m, c)
	if err != nil {
		return n, err
	}
	if c.Cond.Name == "" {
		pull, err := m.PullbackOf(ctx, specOf(c))
		if err != nil {
			return n, modelError{err}
		}
		n.pull = func(dst, v, x []float32, _, t []float64) error { return pull(nil, dst, v, x, t) }
		return n, nil
	}
	pull, err := m.ConditionalPullbackOf(ctx, specOf(c))
	if err != nil {
		return n, modelError{err}
	}
	n.pull = func(dst, v, x []float32, cond, t []float64) error { return pull(nil, dst, v, x, cond, t) }
	return n, nil
}

// specOf is what the card says of the network's inputs and output.
func specOf(c *card.Card) onnxrun.FieldSpec {
	return onnxrun.FieldSpec{X: c.X, Time: c.Time, Cond: c.Cond.Name, Out: c.Out, Shape: c.Shape}
}

// check compares the classes that are asked for, and the weight of guidance by them, with those that there are.
func (n conditional) check(classes []int, weight float64) error {
	switch {
	case len(classes) > 0 && n.kind == "":
		return usagef("--class: the network is told no class (its card has no cond)")
	case len(classes) == 0 && !n.hasNull:
		return usagef("--class is missing: the network is told one of %d classes; or say which index means none with --set cond.null=K", n.n)
	case weight != 1 && !n.hasNull:
		return usagef("--guidance %v: without a classifier it needs the class that means none to the network: --null-class", weight)
	}
	return inRange(classes, n.n, "the network")
}

// field is the network at the samples' classes, with guidance without a classifier where the weight is not 1. Without classes it is
// told that there is none.
func (n conditional) field(b *sampler.Batch, classes []int, weight float64) sampler.Field {
	at := func(classes []int) sampler.Field {
		tell := n.teller(b, classes)
		return func(dst, x []float32, t []float64) error {
			return tell(len(t), func(cond []float64) error { return n.raw(dst, x, cond, t) })
		}
	}
	if len(classes) == 0 {
		return at(nil)
	}
	return sampler.ClassifierFree(at(nil), at(classes), weight)
}

// pullback is the derivative of field: guidance is linear in the two.
func (n conditional) pullback(b *sampler.Batch, classes []int, weight float64) sampler.Pullback {
	at := func(classes []int) sampler.Pullback {
		tell := n.teller(b, classes)
		return func(dst, v, x []float32, t []float64) error {
			return tell(len(t), func(cond []float64) error { return n.pull(dst, v, x, cond, t) })
		}
	}
	without, with := at(nil), at(classes)
	if len(classes) == 0 {
		return without
	}
	return func(dst, v, x []float32, t []float64) error {
		along := func(pull sampler.Pullback) sampler.Field {
			return func(dst, x []float32, t []float64) error { return pull(dst, v, x, t) }
		}
		return sampler.ClassifierFree(along(without), along(with), weight)(dst, x, t)
	}
}

// teller returns what calls the network with the conditions of as many rows: the samples' classes, which they take in turn, or none.
func (n conditional) teller(b *sampler.Batch, classes []int) func(rows int, call func(cond []float64) error) error {
	width, none := 1, n.none
	switch n.kind {
	case "":
		return func(_ int, call func(cond []float64) error) error { return call(nil) }
	case "float":
		width, none = n.n, -1
	}
	var pool sync.Pool
	return func(rows int, call func(cond []float64) error) error {
		room, _ := pool.Get().(*[]float64)
		if room == nil {
			room = new([]float64)
		}
		defer pool.Put(room)
		*room = slices.Grow((*room)[:0], rows*width)[:rows*width]
		cond := *room
		clear(cond)
		for i := range rows {
			k := none
			if len(classes) > 0 {
				k = classes[b.Sample(i)%uint64(len(classes))]
			}
			switch {
			case n.kind != "float":
				cond[i] = float64(k)
			case k >= 0:
				cond[i*width+k] = 1
			}
		}
		return call(cond)
	}
}

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
func (j *job) newClassifier(ctx context.Context, classes []int) (*classifier, error) {
	s := &j.flags.condition
	m, err := openModel(ctx, s.classifier, j.flags.config)
	if err != nil {
		return nil, err
	}
	c, err := j.fitClassifier(ctx, m, classes)
	if err != nil {
		m.Close()
		return nil, err
	}
	return c, nil
}

func (j *job) fitClassifier(ctx context.Context, m *onnxrun.Model, classes []int) (*classifier, error) {
	s := &j.flags.condition
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
	if k.Has("shape") && !slices.Equal(k.Shape, j.card.Shape) {
		return nil, usagef("--classifier %s: it takes samples of shape %v, those of the model have %v", name, k.Shape, j.card.Shape)
	}
	if k.TimeKind == "" {
		if !slices.Contains([]string{"t", "sigma", "log_sigma"}, k.Time) {
			return nil, usagef("--classifier %s: what does its input %q want? Give --classifier-time %s", name, k.Time, strings.Join(card.TimeKinds(), "|"))
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
	spec := onnxrun.FieldSpec{X: k.X, Time: k.Time, Out: k.Out, Shape: j.card.Shape, OutShape: []int{c.n}}
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
		r, told := *j.recipe, *j.card
		told.TimeKind, told.TimeScale = k.TimeKind, k.TimeScale
		if k.TimeKind == "t_scaled" && !k.Has("time_scale") {
			told.TimeScale = j.card.TimeScale
		}
		r.relabel(&told)
		c.logits, c.pull = sampler.Relabel(c.logits, r.label), relabelled(c.pull, r.label)
	}
	return c, nil
}
