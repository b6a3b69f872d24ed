package main

import (
	"context"
	"math"

	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/sampler"
	"sampleonnx/schedules"
)

// measurement is how well a network knows the score of data, noise level by noise level. Sample i has the same noise z, and the same probe, at
// every level and for every network, so that differences between them are not noise.
type measurement struct {
	score sampler.Field    // at the path's time
	exact sampler.Field    // the true score, or nil
	pull  sampler.Pullback // the score's derivative, or nil
	path  schedules.Path
	rows  *sampler.Batch // that score and pull are of: its First is the first datum's; nil if they are the same for all

	data         []float32 // x_0
	dim          int
	draws, batch int // z for each datum; samples at once
	seed         uint64
}

// measured are the terms of one level: an element for each pair of a datum and a draw, data first.
type measured struct {
	loss   []float64 // ‖σs+z‖²/d
	fisher []float64 // ‖∇log p − s‖²
	sliced []float64 // vᵀ(∂s/∂x)v + ½‖s‖²
	gain   []float64 // (‖σs+z‖²−‖z‖²)/d, negative where s is better than nothing
}

// estimate is a mean with its standard error.
type estimate struct {
	Value float64 `json:"value"`
	Error float64 `json:"error"`
}

// estimateOf averages over draws and data. Draws of one datum are not independent of each other, so data are what is counted, if there is more
// than one.
func estimateOf(terms []float64, data int) estimate {
	groups := terms
	if data > 1 {
		groups = make([]float64, data)
		for i, v := range terms {
			groups[i%data] += v / float64(len(terms)/data)
		}
	}
	n := float64(len(groups))
	var e estimate
	for _, v := range groups {
		e.Value += v / n
	}
	if len(groups) < 2 {
		return e
	}
	for _, v := range groups {
		e.Error += (v - e.Value) * (v - e.Value) / (n - 1)
	}
	e.Error = math.Sqrt(e.Error / n)
	return e
}

// at measures the level of one time.
func (m *measurement) at(ctx context.Context, t float64) (*measured, error) {
	n := len(m.data) / m.dim
	all := n * m.draws
	out := &measured{loss: make([]float64, all), gain: make([]float64, all)}
	if m.exact != nil {
		out.fisher = make([]float64, all)
	}
	if m.pull != nil {
		out.sliced = make([]float64, all)
	}
	alpha, sigma := m.path.Marginal(t)
	size := min(m.batch, n) * m.dim
	z, x, s, other := make([]float32, size), make([]float32, size), make([]float32, size), make([]float32, size)
	times := make([]float64, min(m.batch, n))
	for i := range times {
		times[i] = t
	}
	noise := sampler.Philox(m.seed)
	for draw := range m.draws {
		for first := 0; first < n; first += m.batch {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			k := min(m.batch, n-first)
			if m.rows != nil {
				m.rows.First = uint64(first)
			}
			z, x, s, other, times := z[:k*m.dim], x[:k*m.dim], s[:k*m.dim], other[:k*m.dim], times[:k]
			named := sampler.Draw{Purpose: purposeNoising, Index: uint64(draw), First: uint64(first), Dim: m.dim}
			if err := noise.Normal(z, named); err != nil {
				return nil, err
			}
			for i, v := range m.data[first*m.dim : (first+k)*m.dim] {
				x[i] = float32(alpha*float64(v) + sigma*float64(z[i]))
			}
			if err := m.score(s, x, times); err != nil {
				return nil, err
			}
			at := draw*n + first
			d := float64(m.dim)
			each(out.loss[at:at+k], m.dim, func(i int) float64 {
				r := sigma*float64(s[i]) + float64(z[i])
				return r * r / d
			})
			each(out.gain[at:at+k], m.dim, func(i int) float64 {
				r := sigma * float64(s[i])
				return r * (r + 2*float64(z[i])) / d
			})
			if m.exact != nil {
				if err := m.exact(other, x, times); err != nil {
					return nil, err
				}
				each(out.fisher[at:at+k], m.dim, func(i int) float64 {
					r := float64(other[i]) - float64(s[i])
					return r * r
				})
			}
			if m.pull != nil {
				named.Purpose = purposeProbe
				if err := noise.Normal(z, named); err != nil {
					return nil, err
				}
				for i, v := range z { // Rademacher's signs have the least variance
					z[i] = 1
					if math.Signbit(float64(v)) {
						z[i] = -1
					}
				}
				if err := m.pull(other, z, x, times); err != nil {
					return nil, err
				}
				each(out.sliced[at:at+k], m.dim, func(i int) float64 {
					return float64(other[i])*float64(z[i]) + float64(s[i])*float64(s[i])/2
				})
			}
		}
	}
	return out, nil
}

// each sums a term over the elements of every sample, in their order.
func each(sums []float64, dim int, term func(i int) float64) {
	for k := range sums {
		sum := 0.0
		for i := k * dim; i < (k+1)*dim; i++ {
			sum += term(i)
		}
		sums[k] = sum
	}
}

// native is what makes a network's score on the path that it was trained on, in that path's time.
func native(c *card.Card) (*recipe, error) {
	if err := supported(c); err != nil {
		return nil, err
	}
	r := &recipe{path: pathOf(c)}
	r.relabel(c)
	return r, nil
}

// levelsToMeasure are times of the network's path, the highest noise first: n of them, even in ln σ; or those that the network was trained at, if
// they are at most 100; or 20.
func levelsToMeasure(c *card.Card, n int) []float64 {
	const few, usual = 100, 20
	hi, lo, _ := ends(c)
	path, known := pathOf(c), trained(c)
	var rhos []float64
	switch {
	case n == 1:
		rhos = []float64{math.Sqrt(hi) * math.Sqrt(lo)}
	case n == 0 && known != nil && len(known) <= few:
		for i := range known {
			rhos = append(rhos, known[len(known)-1-i])
		}
	case n == 0:
		rhos = schedules.Geometric(hi, lo, usual)
	default:
		rhos = schedules.Geometric(hi, lo, n)
	}
	rhos = snapped(c, rhos)
	times := make([]float64, len(rhos))
	for i, rho := range rhos {
		times[i] = path.Time(rho)
	}
	return times
}
