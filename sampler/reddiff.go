package sampler

import (
	"context"
	"fmt"
	"math"
)

// REDdiff is RED-diff (Mardani et al. 2023, algorithm 1): a variational
// approximation of the posterior by one point μ, found by Adam with one
// step a level. With ε(x, s) = −s·score it follows
//
//	x = μ + σ₀ ξ + s z,  g = w s (ε(x, s) − z)/d + v Aᵀ(A μ − y)/m
//
// d and m being the values of a sample and of a measurement: the first term pulls
// μ to where the data are, weighed as in the paper by s, the second to the
// measurement. It needs no derivative of the score. It is no sampler: samples of one
// measurement differ only as the noise and the start lead them to different
// places. The batch's X is μ; start it with A⁺y, which Impose(b, 1, 0, 1) makes
// of an X of zeros.
type REDdiff struct {
	Measurement
	Sigmas []float64 // one step each, in this order; the paper's fall
	Rate   float64   // Adam's, of which β = (.9, .99); 0 means .1

	Weight   float64 // w; 0 means .25
	Fidelity float64 // v; 0 means 1
	Spread   float64 // σ₀ ≥ 0
}

func (r REDdiff) Sample(ctx context.Context, b *Batch, score Field) error {
	rate, weight, fidelity := or(r.Rate, 0.1), or(r.Weight, 0.25), or(r.Fidelity, 1)
	if !(rate > 0 && weight > 0 && fidelity > 0 && r.Spread >= 0) || len(r.Sigmas) == 0 {
		return fmt.Errorf("sampler: REDdiff needs Sigmas, and Rate, Weight, Fidelity and Spread of at least 0, has %d, %g, %g, %g and %g",
			len(r.Sigmas), rate, weight, fidelity, r.Spread)
	}
	for i, s := range r.Sigmas {
		if !(s > 0) || math.IsInf(s, 1) {
			return fmt.Errorf("sampler: REDdiff's level %d is %g, not above 0", i, s)
		}
	}
	if err := r.check(b.Dim); err != nil {
		return err
	}
	if err := b.ready(score); err != nil {
		return err
	}
	b.keep(4)
	const x, grad, first, second = atPast, atPast + 1, atPast + 2, atPast + 3
	b.set(first, term{0, atX})
	b.set(second, term{0, atX})
	rows, cols := r.A.Size()
	step := adam{rate: rate}
	for i, s := range r.Sigmas {
		if err := ctx.Err(); err != nil {
			return err
		}
		b.set(x, term{1, atX})
		if r.Spread > 0 {
			if err := b.draw(PurposeChurn); err != nil {
				return err
			}
			b.set(x, term{1, x}, term{r.Spread, atNoise})
		}
		if err := b.draw(PurposePredictor); err != nil {
			return err
		}
		b.set(x, term{1, x}, term{s, atNoise})
		if err := b.evalAt(score, x, s); err != nil {
			return err
		}
		c := weight * s / float64(cols)
		b.set(grad, term{-c * s, atScore}, term{-c, atNoise})
		w := b.bench.fit(r.A)
		step.next()
		for k := range b.t {
			from, to, sample := k*b.Dim, (k+1)*b.Dim, b.First+uint64(k)
			if wide := b.wide; wide != nil {
				residual(r.Measurement, w, sample, wide.x[from:to])
			} else {
				residual(r.Measurement, w, sample, b.X[from:to])
			}
			r.A.Adjoint(w.u, w.y)
			for j := range w.u {
				w.u[j] *= -fidelity / float64(rows)
			}
			if wide := b.wide; wide != nil {
				move(step, wide.x[from:to], wide.array(grad)[from:to], w.u, wide.array(first)[from:to], wide.array(second)[from:to])
			} else {
				move(step, b.X[from:to], b.array(grad)[from:to], w.u, b.array(first)[from:to], b.array(second)[from:to])
			}
		}
		if err := b.done(Progress{Step: i + 1, Steps: len(r.Sigmas), Level: i, T: s, Sigma: s}); err != nil {
			return err
		}
	}
	b.set(atMean, term{1, atX})
	return nil
}

// adam is Adam (Kingma & Ba 2015, algorithm 1) without its moments.
type adam struct {
	rate         float64
	part1, part2 float64 // 1−β_1^t and 1−β_2^t, of which t is the step
}

const beta1, beta2 = 0.9, 0.99

// next begins another step: β^t is multiplied up, which package math's power
// does in other ways on other machines.
func (a *adam) next() {
	a.part1 += float64((1 - a.part1) * (1 - beta1))
	a.part2 += float64((1 - a.part2) * (1 - beta2))
}

// move is the step along the gradient g+h, with first and second its moments.
func move[F float](a adam, x, g []F, h []float64, first, second []F) {
	const eps = 1e-8
	rate, root := a.rate/a.part1, 1/a.part2
	for j, v := range g {
		d := float64(v) + h[j]
		m := float64(beta1*float64(first[j])) + float64((1-beta1)*d)
		u := float64(beta2*float64(second[j])) + float64((1-beta2)*float64(d*d))
		first[j], second[j] = F(m), F(u)
		x[j] = F(float64(x[j]) - float64(rate*m)/(math.Sqrt(float64(u*root))+eps))
	}
}
