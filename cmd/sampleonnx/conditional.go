package main

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/onnxrun"
	"sampleonnx/sampler"
)

// network is what the file computes, of no class where it is told one.
func network(ctx context.Context, m *onnxrun.Model, c *card.Card) (sampler.Field, error) {
	net, err := newConditional(ctx, m, c)
	if err != nil {
		return nil, err
	}
	if !net.hasNull {
		return nil, usagef("--set cond.null=K is missing: the network is told one of %d classes; which index means none?", c.Cond.N)
	}
	return net.field(nil, nil, 1), nil
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
	if n.none > n.n {
		return n, &card.Error{Source: c.From["cond.null"], Reason: fmt.Sprintf("the network knows %d classes, 0 to %d: what means none is one of them or %d, not %d", n.n, n.n-1, n.n, n.none)}
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

// check compares the classes that are asked for, and the weight of guidance by the network itself, with those that there are.
func (n conditional) check(classes []int, weight float64) error {
	switch {
	case n.kind == "":
		return nil
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
