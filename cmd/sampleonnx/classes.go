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

// conditional is a network with an input for the class.
type conditional struct {
	raw     func(dst, x []float32, cond, t []float64) error
	kind    string // int: the class's index; float: a unit vector, of zeros for none
	n       int    // classes
	none    int    // the index that means none
	hasNull bool
}

func newConditional(ctx context.Context, m *onnxrun.Model, c *card.Card) (conditional, error) {
	raw, err := m.ConditionalOf(ctx, onnxrun.FieldSpec{X: c.X, Time: c.Time, Cond: c.Cond.Name, Out: c.Out, Shape: c.Shape})
	if err != nil {
		return conditional{}, modelError{err}
	}
	n := conditional{raw: raw, kind: c.Cond.Kind, n: c.Cond.N, hasNull: c.Cond.Kind == "float"}
	if c.Has("cond.null") {
		n.none, n.hasNull = c.Cond.Null, true
	}
	return n, nil
}

// check compares the classes that are asked for with those that there are.
func (n conditional) check(classes []int, s *conditionFlags) error {
	switch {
	case len(classes) == 0 && !n.hasNull:
		return usagef("--class is missing: the network is told one of %d classes; or give the one that means none with --null-class", n.n)
	case s.classifier == "" && s.guidance != 1 && !n.hasNull:
		return usagef("--guidance %v: without a classifier it needs the class that means none to the network: --null-class", s.guidance)
	}
	return inRange(classes, n.n, "the network")
}

// field is the network at the samples' classes, with guidance without a classifier where the weight is not 1. Without classes it is
// told that there is none.
func (n conditional) field(b *sampler.Batch, classes []int, weight float64) sampler.Field {
	at := func(class func(sample uint64) int) sampler.Field {
		width := 1
		if n.kind == "float" {
			width = n.n
		}
		var pool sync.Pool
		return func(dst, x []float32, t []float64) error {
			room, _ := pool.Get().(*[]float64)
			if room == nil {
				room = new([]float64)
			}
			defer pool.Put(room)
			*room = slices.Grow((*room)[:0], len(t)*width)[:len(t)*width]
			cond := *room
			clear(cond)
			for i := range t {
				k := class(b.Sample(i))
				switch {
				case n.kind != "float":
					cond[i] = float64(k)
				case k >= 0:
					cond[i*width+k] = 1
				}
			}
			return n.raw(dst, x, cond, t)
		}
	}
	none := n.none
	if n.kind == "float" {
		none = -1
	}
	without := at(func(uint64) int { return none })
	if len(classes) == 0 {
		return without
	}
	with := at(func(sample uint64) int { return classes[sample%uint64(len(classes))] })
	return sampler.ClassifierFree(without, with, weight)
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
