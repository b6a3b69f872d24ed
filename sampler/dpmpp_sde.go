package sampler

import (
	"context"
	"fmt"
	"math"

	"sampleonnx/schedules"
)

// The samplers of the diffusion SDE from k-diffusion, after Lu et al. 2022
// ("DPM-Solver++", section 5): exponential integrators of
//
//	dx = −(1+η)(x−D) dλ + √(2η) σ dw,  λ = −ln σ
//
// (with η² in place of η where the noise is ancestral). By default the noise is
// that of one Brownian path in ln σ: runs on other ladders, or with twice the
// steps, follow the same path and tend to the same samples. Independent draws
// fresh noise at every step instead, which costs less; but for DPMppSDE the
// law is the same.

// DPMppSDE is the single-step sampler (k-diffusion's dpmpp_sde with r = ½; its
// algorithm is DPM-Solver++(2S) with ancestral noise at both stages). With m
// the middle of s and t in ln σ and down, up the ancestral split:
//
//	u = (down/s) x + (1−down/s) D(x, s) + up z      from s to m
//	x ← (down/s) x + (1−down/s) D(u, m) + up z'     from s to t
//
// z and z' are of intervals that overlap: on the Brownian path they are
// correlated by √½, as they should be of short steps, and the law converges with
// order 2; with Independent they are not, and the order is 1. (k-diffusion's and
// diffusers' paths are in σ, where the correlation is 1/√(1+m/s).) Two
// evaluations a step but for one at the step to 0.
type DPMppSDE struct {
	Sigmas      []float64
	Eta         float64 // 0 means 1
	SNoise      float64 // factor of the noise; 0 means 1
	Independent bool
}

func (p DPMppSDE) Sample(ctx context.Context, b *Batch, score Field) error {
	eta, sNoise, err := sdeSettings(p.Eta, p.SNoise)
	if err != nil {
		return err
	}
	b.keep(2)
	const d, u = atPast, atPast + 1
	return b.descend(ctx, score, p.Sigmas, func(i int) error {
		s, t := p.Sigmas[i], p.Sigmas[i+1]
		if i == 0 && !p.Independent {
			if err := b.embark(p.Sigmas, 2); err != nil {
				return err
			}
		}
		if err := b.denoise(score, atX, s, d); err != nil {
			return err
		}
		if t == 0 {
			b.arrive(0, term{1, d})
			return nil
		}
		m := between(s, t, 0.5)
		root, err := b.stochastic(m, p.Independent)
		if err != nil {
			return err
		}
		down, up := ancestral(s, m, eta)
		b.set(u, term{down / s, atX}, term{1 - down/s, d}, term{sNoise * up, atNoise})
		if !p.Independent {
			// The first half of the step's noise.
			b.set(atMean, term{root, atNoise})
		}
		if err := b.denoise(score, u, m, d); err != nil {
			return err
		}
		rest, err := b.stochastic(t, p.Independent)
		if err != nil {
			return err
		}
		down, up = ancestral(s, t, eta)
		if !p.Independent {
			all := math.Sqrt(float64(root*root) + float64(rest*rest))
			b.set(atNoise, term{1 / all, atMean}, term{rest / all, atNoise})
		}
		b.arrive(sNoise*up, term{down / s, atX}, term{1 - down/s, d})
		return nil
	})
}

// stochastic is z for a step to σ, on the path or fresh.
func (b *Batch) stochastic(sigma float64, independent bool) (root float64, err error) {
	if independent {
		return 1, b.draw(PurposePredictor)
	}
	return b.travel(sigma)
}

func sdeSettings(eta, sNoise float64) (float64, float64, error) {
	if eta < 0 || sNoise < 0 {
		return 0, 0, fmt.Errorf("sampler: Eta and SNoise are at least 0, not %g and %g", eta, sNoise)
	}
	return or(eta, 1), or(sNoise, 1), nil
}

// DPMpp2MSDE is the multistep sampler of order 2 (k-diffusion's dpmpp_2m_sde;
// with Eta = 1 diffusers' sde-dpmsolver++). With h = ln(s/t), H = (1+η)h, r the
// last h by this one and φ = 1−e^{−H}:
//
//	x ← (t/s)e^{−ηh} x + φ D_0 + c (D_0−D_1)/r + t√(1−e^{−2ηh}) z
//
// where c is φ/2, the midpoint method, or with Heun 1−φ/H. One evaluation a
// step. It starts with order 1.
type DPMpp2MSDE struct {
	Sigmas      []float64
	Eta         float64 // 0 means 1
	SNoise      float64 // factor of the noise; 0 means 1
	Heun        bool
	Independent bool
}

func (p DPMpp2MSDE) Sample(ctx context.Context, b *Batch, score Field) error {
	return multistepSDE{p.Sigmas, p.Eta, p.SNoise, 2, p.Heun, p.Independent}.sample(ctx, b, score)
}

// DPMpp3MSDE is the multistep sampler of order 3 (k-diffusion's dpmpp_3m_sde).
// With h, H, r_0, r_1 and φ as before, φ_2 = 1−φ/H, φ_3 = φ_2/H−½ and the
// differences Δ_1, Δ_2 of [DPMpp]:
//
//	x ← (t/s)e^{−ηh} x + φ D_0 + φ_2 Δ_1 − φ_3 Δ_2 + t√(1−e^{−2ηh}) z
//
// One evaluation a step. It starts with orders 1 and 2.
type DPMpp3MSDE struct {
	Sigmas      []float64
	Eta         float64 // 0 means 1
	SNoise      float64 // factor of the noise; 0 means 1
	Independent bool
}

func (p DPMpp3MSDE) Sample(ctx context.Context, b *Batch, score Field) error {
	return multistepSDE{p.Sigmas, p.Eta, p.SNoise, 3, true, p.Independent}.sample(ctx, b, score)
}

type multistepSDE struct {
	sigmas            []float64
	eta, sNoise       float64
	order             int
	heun, independent bool
}

func (p multistepSDE) sample(ctx context.Context, b *Batch, score Field) error {
	eta, sNoise, err := sdeSettings(p.eta, p.sNoise)
	if err != nil {
		return err
	}
	b.keep(p.order)
	const d0, d1, d2 = atPast, atPast + 1, atPast + 2
	return b.descend(ctx, score, p.sigmas, func(i int) error {
		s, t := p.sigmas[i], p.sigmas[i+1]
		if i == 0 && !p.independent {
			if err := b.embark(p.sigmas, 1); err != nil {
				return err
			}
		}
		b.age(p.order)
		if err := b.denoise(score, atX, s, d0); err != nil {
			return err
		}
		if t == 0 {
			b.arrive(0, term{1, d0})
			return nil
		}
		if _, err := b.stochastic(t, p.independent); err != nil {
			return err
		}
		h := schedules.Log(s / t)
		H := h + float64(eta*h)
		phi := -schedules.Expm1(-H)
		up := sNoise * t * math.Sqrt(-schedules.Expm1(-2*eta*h))
		phi2 := 1 - phi/H
		if i == 0 {
			b.arrive(up, term{1 - phi, atX}, term{phi, d0})
			return nil
		}
		r0 := schedules.Log(p.sigmas[i-1]/s) / h
		if i == 1 || p.order == 2 {
			c := phi2 / r0
			if !p.heun {
				c = phi / (2 * r0)
			}
			b.arrive(up, term{1 - phi, atX}, term{phi + c, d0}, term{-c, d1})
			return nil
		}
		r1 := schedules.Log(p.sigmas[i-2]/p.sigmas[i-1]) / h
		ca, cb := slopes(r0, r1, phi2, -(phi2/H - 0.5))
		b.arrive(up, term{1 - phi, atX}, term{phi + ca, d0}, term{cb - ca, d1}, term{-cb, d2})
		return nil
	})
}
