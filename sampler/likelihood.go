package sampler

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"sampleonnx/schedules"
)

// A Pullback is the derivative of a [Field]: dst = vᵀ ∂field/∂x, sample by
// sample.
type Pullback func(dst, v, x []float32, t []float64) error

// Likelihood computes log p_ε(x) of data by the change of variables along the
// probability-flow ODE from ε to T (Song et al. 2021, equation 39):
//
//	dx/dt = F(x, t) = f(t)x − ½ g(t)² s(x, t),  dℓ/dt = tr ∂F/∂x
//	log p(x) = log N(x_T; 0, Prior²) + ℓ
//
// The trace is Hutchinson and Skilling's estimate εᵀ(∂F/∂x)ε with one probe a
// sample, which stays the same along the path, or exact. The solver is [Flow]'s
// by Dormand and Prince, with ℓ one more value of a system.
type Likelihood struct {
	SDE        schedules.SDE
	Eps        float64 // the first time; 0 means SDE.Eps()
	RTol, ATol float64 // tolerances; 0 means 1e-5
	Coupled    bool    // the batch is one system, as published
	Exact      bool    // the trace by unit vectors, Dim derivatives an evaluation
	Gaussian   bool    // probes are normal in place of ±1

	// Probe is used for the trace in place of random signs, if set.
	Probe []float32
}

// LogP returns log p of every sample in b.X, in nats, and leaves in X where
// they came to at T. score is the score, pull its derivative.
func (l Likelihood) LogP(ctx context.Context, b *Batch, score Field, pull Pullback) ([]float64, error) {
	if l.SDE == nil || pull == nil {
		return nil, errors.New("sampler: Likelihood needs an SDE and a Pullback")
	}
	eps, t1 := or(l.Eps, l.SDE.Eps()), l.SDE.T()
	if l.RTol < 0 || l.ATol < 0 || !(eps > 0 && eps < t1) {
		return nil, fmt.Errorf("sampler: Likelihood needs tolerances above 0 and Eps in (0, %g), has %g, %g and %g", t1, l.RTol, l.ATol, eps)
	}
	if err := b.ready(score); err != nil {
		return nil, err
	}
	if err := b.start(); err != nil {
		return nil, err
	}
	n, dim := len(b.X)/b.Dim, b.Dim
	b.keep(3)
	probe, err := l.probe(b, b.past[2])
	if err != nil {
		return nil, err
	}
	// A system is a sample and its ℓ; coupled, all samples and then all ℓ,
	// as published.
	size, systems := dim+1, n
	if l.Coupled {
		size, systems = n*(dim+1), 1
	}
	each := n / systems
	b.state = grow(b.state, n*(dim+1))
	y := b.state
	for i := range n {
		copyWide(y[i/each*size+i%each*dim:], b.X[i*dim:(i+1)*dim])
	}
	// The samplers' scratch holds the network's side.
	x, s, v, jv, ts, trace := b.z, b.score, b.past[0], b.past[1], b.t, b.step
	d := &b.ode
	d.rtol, d.atol, d.heun = tolerance(l.RTol), tolerance(l.ATol), false
	attempts := 0
	broken := func(id []int, i int, t float64) error {
		_, sigma := l.SDE.Marginal(t)
		return &NonFiniteError{Sample: b.First + uint64(id[i/each]*each+i%each), Step: attempts + 1, Sigma: sigma}
	}
	// leave puts where the samples are into X.
	leave := func() {
		for i := range n {
			from := i/each*size + i%each*dim
			scale(b.X[i*dim:(i+1)*dim], y[from:from+dim], 1)
		}
	}
	err = d.solve(func(dst, y, t []float64, id []int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		k := len(t) * each
		for i := range k {
			from := i/each*size + i%each*dim
			scale(x[i*dim:(i+1)*dim], y[from:from+dim], 1)
			ts[i], trace[i] = t[i/each], 0
		}
		x, s, ts := x[:k*dim], s[:k*dim], ts[:k]
		b.Calls++
		b.Evals += k
		if !l.Coupled {
			b.asked = id
		}
		defer func() { b.asked = nil }()
		if err := score(s, x, ts); err != nil {
			return fmt.Errorf("sampler: score at t=%.6g: %w", ts[0], err)
		}
		if bad := nonFinite(s); bad >= 0 {
			return broken(id, bad/dim, ts[bad/dim])
		}
		for round := range l.rounds(dim) {
			v := v[:k*dim]
			clear(v)
			for i := range k {
				if l.Exact {
					v[i*dim+round] = 1
				} else {
					first := (id[i/each]*each + i%each) * dim
					copy(v[i*dim:(i+1)*dim], probe[first:first+dim])
				}
			}
			if err := pull(jv[:k*dim], v, x, ts); err != nil {
				return fmt.Errorf("sampler: derivative at t=%.6g: %w", ts[0], err)
			}
			for i := range k {
				for j := i * dim; j < (i+1)*dim; j++ {
					trace[i] += float64(float64(jv[j]) * float64(v[j]))
				}
			}
		}
		for i := range k {
			cx, cs := flowCoeffs(l.SDE, ts[i])
			base, within := i/each*size, i%each
			from := base + within*dim
			for j := range dim {
				dst[from+j] = float64(cx*y[from+j]) + float64(cs*float64(s[i*dim+j]))
			}
			vv := float64(dim)
			if !l.Exact {
				first := (id[i/each]*each + within) * dim
				vv = 0
				for _, p := range probe[first : first+dim] {
					vv += float64(float64(p) * float64(p))
				}
			}
			dl := float64(cx*vv) + float64(cs*trace[i])
			if dl-dl != 0 {
				return broken(id, i, ts[i])
			}
			dst[base+each*dim+within] = dl
		}
		return nil
	}, y, size, eps, t1, func(tried int) error {
		attempts = tried
		if b.Trace == nil {
			return nil
		}
		behind, at := 0.0, t1
		for i := range d.active {
			at = min(at, d.t[i])
			behind += (t1 - d.t[i]) / (t1 - eps)
			copy(y[d.id[i]*size:], d.row(d.y, i))
		}
		leave()
		_, sigma := l.SDE.Marginal(at)
		return b.Trace(Progress{Step: tried, Done: 1 - behind/float64(systems), T: at, Sigma: sigma})
	})
	if stuck, ok := errors.AsType[*stuckError](err); ok {
		return nil, fmt.Errorf("sampler: sample %d: the ODE solver's step became too small at t=%.6g", b.First+uint64(stuck.id), stuck.t)
	}
	if err != nil {
		return nil, err
	}
	out, prior := make([]float64, n), l.SDE.Prior()
	for i := range n {
		from := i/each*size + i%each*dim
		sum := 0.0
		for _, z := range y[from : from+dim] {
			sum += float64(z / prior * z / prior)
		}
		out[i] = y[i/each*size+each*dim+i%each] - float64(sum/2) - float64(float64(dim)*schedules.Log(prior*math.Sqrt(2*math.Pi)))
	}
	leave()
	return out, nil
}

// rounds is how many derivatives a trace takes.
func (l Likelihood) rounds(dim int) int {
	if l.Exact {
		return dim
	}
	return 1
}

// probe draws the probes into p, signs of normals or the normals, if they are
// not given.
func (l Likelihood) probe(b *Batch, p []float32) ([]float32, error) {
	if l.Exact {
		return nil, nil
	}
	if l.Probe != nil {
		if len(l.Probe) != len(b.X) {
			return nil, fmt.Errorf("sampler: a probe of %d values for samples of %d", len(l.Probe), len(b.X))
		}
		return l.Probe, nil
	}
	if err := b.Normal(p, PurposeHutchinson); err != nil || l.Gaussian {
		return p, err
	}
	for i, v := range p {
		p[i] = 1
		if math.Signbit(float64(v)) {
			p[i] = -1
		}
	}
	return p, nil
}

func copyWide(dst []float64, src []float32) {
	for i, v := range src {
		dst[i] = float64(v)
	}
}

// CentralDifference is the symmetric part of a field's derivative along v
// without a Pullback: (F(x+hv)−F(x−hv))/2h with h = rel·σ(t). Its product with
// v is that of the pullback, and scores' derivatives are symmetric.
func CentralDifference(score Field, path schedules.Path, rel float64) Pullback {
	type scratch struct {
		at, low []float32
		h       []float64
	}
	var pool sync.Pool
	return func(dst, v, x []float32, t []float64) error {
		s, _ := pool.Get().(*scratch)
		if s == nil {
			s = new(scratch)
		}
		defer pool.Put(s)
		s.at, s.low, s.h = grow(s.at, len(x)), grow(s.low, len(x)), grow(s.h, len(t))
		dim := len(x) / max(len(t), 1)
		for i, time := range t {
			_, sigma := path.Marginal(time)
			s.h[i] = rel * sigma
		}
		for _, side := range [...]struct {
			of  []float32
			way float64
		}{{s.low, -1}, {dst, 1}} {
			for j, u := range v {
				s.at[j] = float32(float64(x[j]) + float64(side.way*s.h[j/dim]*float64(u)))
			}
			if err := score(side.of, s.at, t); err != nil {
				return err
			}
		}
		for j := range dst {
			dst[j] = float32((float64(dst[j]) - float64(s.low[j])) / (2 * s.h[j/dim]))
		}
		return nil
	}
}

// PullNoise is the derivative of [FromNoise] of a network with derivative net;
// PullNormalised, PullDenoiser and PullVelocity are those of the other From
// functions. dst must not be x or v.
func PullNoise(net Pullback, path schedules.Path) Pullback {
	return pulled(net, path, func(_, sigma float64) (cx, cn float64) { return 0, -1 / sigma })
}

func PullNormalised(net Pullback, path schedules.Path) Pullback {
	return pulled(net, path, func(_, sigma float64) (cx, cn float64) { return 0, 1 / sigma })
}

func PullDenoiser(net Pullback, path schedules.Path) Pullback {
	return pulled(net, path, func(alpha, sigma float64) (cx, cn float64) { return -1 / sigma / sigma, alpha / sigma / sigma })
}

func PullVelocity(net Pullback, path schedules.Path) Pullback {
	return pulled(net, path, func(alpha, sigma float64) (cx, cn float64) { return -1, -alpha / sigma })
}

// pulled is vᵀ∂(cx·x + cn·net)/∂x.
func pulled(net Pullback, path schedules.Path, coeffs func(alpha, sigma float64) (cx, cn float64)) Pullback {
	return func(dst, v, x []float32, t []float64) error {
		if err := net(dst, v, x, t); err != nil {
			return err
		}
		onPath(dst, v, t, path, coeffs)
		return nil
	}
}
