package sampler

import (
	"fmt"
	"math"
	"sync"

	"sampleonnx/schedules"
)

// Guidance is Field → Field: what it returns is a score as good as any other,
// so it goes with every sampler.

// Guided returns the score s + w·g, g = ∇ₓ ln p(y | x, t) the gradient of what
// draws the samples to a condition y (Song et al. 2021, equation 14; with w ≠ 1
// Dhariwal & Nichol 2021, section 4). [Classifier] makes such a g. Of a score
// and a gradient on one path; [InVE] of both is the same.
func Guided(score, gradient Field, w float64) Field { return blend(score, gradient, 1, w) }

// ClassifierFree returns s_u + w(s_c − s_u), the score without the condition
// and with it (Ho & Salimans 2022, who write 1+w). It is linear, so that the
// fields may as well be networks of any one output. w = 1 is the conditional
// score alone and w = 0 the other, of which one call is made; else two.
func ClassifierFree(unconditional, conditional Field, w float64) Field {
	switch w {
	case 0:
		return unconditional
	case 1:
		return conditional
	}
	return blend(unconditional, conditional, 1-w, w)
}

// blend is cf·f + cg·g.
func blend[F float](f, g func(dst, x []F, t []float64) error, cf, cg float64) func(dst, x []F, t []float64) error {
	var pool sync.Pool
	return func(dst, x []F, t []float64) error {
		if err := f(dst, x, t); err != nil {
			return err
		}
		second, _ := pool.Get().(*[]F)
		if second == nil {
			second = new([]F)
		}
		defer pool.Put(second)
		*second = grow(*second, len(x))
		if err := g(*second, x, t); err != nil {
			return err
		}
		combine(dst, nil, []row[F]{{cf, dst}, {cg, *second}})
		return nil
	}
}

// Classifier is a network that tells the class of a noisy datum, for
// [Guided].
type Classifier struct {
	// Logits writes Classes values a sample, the logarithms of p(k | x, t) up
	// to a constant; Pull is its derivative, v of as many values.
	Logits  Field
	Pull    Pullback
	Classes int

	// Class is wanted: sample i of the run is to be of class
	// Class[i mod len(Class)], counted from 0.
	Class []int
}

// Gradient returns ∇ₓ ln p(class | x, t), p the softmax of the logits. Which
// sample is asked for the batch tells; it may be nil with one class for all.
// dst must not be x.
func (c Classifier) Gradient(b *Batch) (Field, error) {
	if c.Logits == nil || c.Pull == nil || c.Classes < 1 || len(c.Class) == 0 {
		return nil, fmt.Errorf("sampler: Classifier needs Logits, Pull, Classes and Class, has %d classes and %d wanted", c.Classes, len(c.Class))
	}
	for _, k := range c.Class {
		if k < 0 || k >= c.Classes {
			return nil, fmt.Errorf("sampler: class %d is not one of %d", k, c.Classes)
		}
	}
	var pool sync.Pool
	return func(dst, x []float32, t []float64) error {
		v, _ := pool.Get().(*[]float32)
		if v == nil {
			v = new([]float32)
		}
		defer pool.Put(v)
		*v = grow(*v, len(t)*c.Classes)
		if err := c.Logits(*v, x, t); err != nil {
			return err
		}
		for i := range t {
			logSoftmaxGradient((*v)[i*c.Classes:(i+1)*c.Classes], c.Class[b.Sample(i)%uint64(len(c.Class))])
		}
		return c.Pull(dst, *v, x, t)
	}, nil
}

// logSoftmaxGradient replaces logits l by ∂ ln softmax(l)_k / ∂l = e_k − softmax(l).
func logSoftmaxGradient(l []float32, k int) {
	top, sum := math.Inf(-1), 0.0
	for _, v := range l {
		top = max(top, float64(v))
	}
	for _, v := range l {
		sum += schedules.Exp(float64(v) - top)
	}
	for j, v := range l {
		l[j] = float32(-schedules.Exp(float64(v)-top) / sum)
	}
	// 1−p as the sum of the others: what is left of a sure class is not
	// rounded away.
	rest := 0.0
	for j, v := range l {
		if j != k {
			rest -= float64(v)
		}
	}
	l[k] = float32(rest)
}
