package sampler

import (
	"maps"
	"math"
	"reflect"
	"slices"
	"testing"

	"sampleonnx/schedules"
)

// The samplers on a ladder, written a second time: in the coordinates, and with
// the exponentials of λ = ln(α/σ), of their papers (Lu et al., Zhao et al.,
// Song et al.; Karras et al. and k-diffusion are in VE coordinates), as a
// recursion of the state's coefficients in 1, x_T and the draws. Nothing here
// uses package schedules or the samplers' code.

// lin is an affine function of the start and the draws.
type lin []float64

func sum(parts ...any) lin {
	out := make(lin, 64)
	for i := 0; i < len(parts); i += 2 {
		var c float64
		switch v := parts[i].(type) {
		case float64:
			c = v
		case int:
			c = float64(v)
		}
		for j, v := range parts[i+1].(lin) {
			out[j] += c * v
		}
	}
	return out
}

func unit(k int) lin {
	u := make(lin, 64)
	u[k] = 1
	return u
}

// A point of a path.
type point struct{ a, sigma float64 }

func (p point) lambda() float64 { return math.Log(p.a / p.sigma) }
func (p point) rho() float64    { return p.sigma / p.a }

// x0 is E[x_0 | x] for the Gaussian, and eps the noise that goes with it.
func (p point) x0(x lin) lin {
	k := p.a * s0 * s0 / (p.a*p.a*s0*s0 + p.sigma*p.sigma)
	return sum(k, x, mu0-k*p.a*mu0, unit(0))
}

func (p point) eps(x lin) lin { return sum(1/p.sigma, x, -p.a/p.sigma, p.x0(x)) }

// ref is a run of a reference recursion.
type ref struct {
	at    func(lambda float64) point // of the path
	p     []point
	draws int
}

func (r *ref) z() lin { r.draws++; return unit(1 + r.draws) }

// middle is the point the part c of the way in λ.
func (r *ref) middle(s, t point, c float64) point {
	return r.at(s.lambda() + c*(t.lambda()-s.lambda()))
}

// run does one step after another, from x = x_T of the path's own scale.
func (r *ref) run(step func(i int, s, t point, x lin) lin) lin {
	x := unit(1)
	for i := range len(r.p) - 1 {
		x = step(i, r.p[i], r.p[i+1], x)
	}
	return x
}

// dpmSolver is Lu et al. 2022, with ε; order is one for all steps or one a step.
func (r *ref) dpmSolver(orders ...int) lin {
	return r.run(func(i int, s, t point, x lin) lin {
		order := orders[i%len(orders)]
		e := s.eps(x)
		if t.sigma == 0 {
			return s.x0(x)
		}
		h := t.lambda() - s.lambda()
		switch order {
		case 1:
			return sum(t.a/s.a, x, -t.sigma*math.Expm1(h), e)
		case 2:
			m := r.middle(s, t, 0.5)
			u := sum(m.a/s.a, x, -m.sigma*math.Expm1(h/2), e)
			return sum(t.a/s.a, x, -t.sigma*math.Expm1(h), e, -t.sigma*math.Expm1(h), m.eps(u), t.sigma*math.Expm1(h), e)
		}
		const r1, r2 = 1. / 3, 2. / 3
		p1, p2 := r.middle(s, t, r1), r.middle(s, t, r2)
		u1 := sum(p1.a/s.a, x, -p1.sigma*math.Expm1(r1*h), e)
		d1 := sum(1, p1.eps(u1), -1, e)
		u2 := sum(p2.a/s.a, x, -p2.sigma*math.Expm1(r2*h), e, -p2.sigma*r2/r1*(math.Expm1(r2*h)/(r2*h)-1), d1)
		d2 := sum(1, p2.eps(u2), -1, e)
		return sum(t.a/s.a, x, -t.sigma*math.Expm1(h), e, -t.sigma/r2*(math.Expm1(h)/h-1), d2)
	})
}

// dpmpp is Lu et al. 2022b's multistep, dpmpp2s its single step.
func (r *ref) dpmpp(most int, second float64) lin { return r.dpmppEnds(most, second, 10, false, false) }

func (r *ref) dpmppEnds(most int, second float64, few int, heun, eulerLast bool) lin {
	var m []lin
	n := len(r.p) - 1
	return r.run(func(i int, s, t point, x lin) lin {
		m = append(m, s.x0(x))
		if t.sigma == 0 {
			return m[i]
		}
		order := min(most, i+1)
		if n < few {
			order = min(order, n-i)
		}
		if eulerLast && i == n-1 {
			order = 1
		}
		h := t.lambda() - s.lambda()
		phi := math.Expm1(-h)
		out := sum(t.sigma/s.sigma, x, -t.a*phi, m[i])
		if order == 1 {
			return out
		}
		r0 := (s.lambda() - r.p[i-1].lambda()) / h
		a := sum(1/r0, m[i], -1/r0, m[i-1])
		if order == 2 && heun {
			return sum(1, out, t.a*(phi/h+1), a)
		}
		if order == 2 {
			return sum(1, out, -t.a*phi/2, a)
		}
		r1 := (r.p[i-1].lambda() - r.p[i-2].lambda()) / h
		b := sum(1/r1, m[i-1], -1/r1, m[i-2])
		d1 := sum(1, a, r0/(r0+r1), a, -r0/(r0+r1), b)
		d2 := sum(second/(r0+r1), a, -second/(r0+r1), b)
		return sum(1, out, t.a*(phi/h+1), d1, -t.a*((phi/h+1)/h-0.5), d2)
	})
}

// pndm is Liu et al. 2022, by equation 9's transfer.
func (r *ref) pndm(begin string) lin {
	transfer := func(x, e lin, s, t point) lin {
		return sum(t.a/s.a, x, t.sigma-t.a*s.sigma/s.a, e)
	}
	var es []lin
	return r.run(func(i int, s, t point, x lin) lin {
		e := s.eps(x)
		es = append(es, e)
		switch {
		case begin == "runge" && i < 3 && t.sigma > 0:
			m := r.middle(s, t, 0.5)
			e2 := m.eps(transfer(x, e, s, m))
			e3 := m.eps(transfer(x, e2, s, m))
			e4 := t.eps(transfer(x, e3, s, t))
			e = sum(1./6, e, 1./3, e2, 1./3, e3, 1./6, e4)
		case begin == "twice" && i == 0:
			e = sum(0.5, e, 0.5, t.eps(transfer(x, e, s, t)))
		case i == 0:
		case i == 1:
			e = sum(1.5, e, -0.5, es[0])
		case i == 2:
			e = sum(23./12, e, -16./12, es[1], 5./12, es[0])
		default:
			e = sum(55./24, e, -59./24, es[i-1], 37./24, es[i-2], -9./24, es[i-3])
		}
		return transfer(x, e, s, t)
	})
}

// deis is Zhang & Chen 2022, its integrals by Gauss's rule on many intervals.
func (r *ref) deis(most, few int) lin {
	var es []lin
	n := len(r.p) - 1
	return r.run(func(i int, s, t point, x lin) lin {
		es = append(es, s.eps(x))
		if t.sigma == 0 {
			return s.x0(x)
		}
		order := min(most, i+1)
		if n < few {
			order = min(order, n-i)
		}
		out := sum(t.a/s.a, x)
		for j := range order {
			integral, pieces := 0.0, 400
			width := (t.rho() - s.rho()) / float64(pieces)
			for k := range pieces {
				mid := s.rho() + (float64(k)+0.5)*width
				for g, weight := range map[float64]float64{0: 8. / 9, -math.Sqrt(0.6): 5. / 9, math.Sqrt(0.6): 5. / 9} {
					tau, p := mid+g*width/2, 1.0
					for l := range order {
						if l != j {
							p *= (-math.Log(tau) - r.p[i-l].lambda()) / (r.p[i-j].lambda() - r.p[i-l].lambda())
						}
					}
					integral += weight * width / 2 * p
				}
			}
			out = sum(1, out, t.a*integral, es[i-j])
		}
		return out
	})
}

func (r *ref) dpmpp2s() lin {
	return r.run(func(i int, s, t point, x lin) lin {
		if t.sigma == 0 {
			return s.x0(x)
		}
		m, h := r.middle(s, t, 0.5), t.lambda()-s.lambda()
		u := sum(m.sigma/s.sigma, x, -m.a*math.Expm1(-h/2), s.x0(x))
		return sum(t.sigma/s.sigma, x, -t.a*math.Expm1(-h), m.x0(u))
	})
}

// unipc is Zhao et al. 2023; its systems are solved by Cramer's rule.
func (r *ref) unipc(most int, bh1 bool) lin {
	var m []lin
	n := len(r.p) - 1
	return r.run(func(i int, s, t point, x lin) lin {
		if i == 0 {
			m = append(m, s.x0(x))
		}
		if t.sigma == 0 {
			return m[i]
		}
		p := min(most, i+1, n-i)
		h := t.lambda() - s.lambda()
		phi := math.Expm1(-h)
		B := phi
		if bh1 {
			B = -h
		}
		// b_k = k! φ_{k+1}(−h) (−h)/B… by the functions' power series.
		var rk, b [3]float64
		for k := range p {
			rk[k] = 1
			if k < p-1 {
				rk[k] = (r.p[i-1-k].lambda() - s.lambda()) / h
			}
			// h φ_{k+2}(−h) (k+1)! with φ_j(z) = Σ_l z^l/(l+j)!
			series, factorial := 0.0, math.Gamma(float64(k+3))
			for l := range 40 {
				series += math.Pow(-h, float64(l)) / factorial
				factorial *= float64(l + k + 3)
			}
			b[k] = -h * series * math.Gamma(float64(k+2)) / B
		}
		diff := func(k int) lin { return sum(1/rk[k], m[i-1-k], -1/rk[k], m[i]) }
		base := sum(t.sigma/s.sigma, x, -t.a*phi, m[i])
		var rho [3]float64
		if p == 2 {
			rho[0] = 0.5
		} else if p == 3 {
			det := rk[1] - rk[0]
			rho[0], rho[1] = (b[0]*rk[1]-b[1])/det, (b[1]-b[0]*rk[0])/det
		}
		predicted := base
		for k := range p - 1 {
			predicted = sum(1, predicted, -t.a*B*rho[k], diff(k))
		}
		if i == n-1 {
			return predicted
		}
		m = append(m, t.x0(predicted))
		det3 := func(c [3][3]float64) float64 {
			return c[0][0]*(c[1][1]*c[2][2]-c[1][2]*c[2][1]) - c[0][1]*(c[1][0]*c[2][2]-c[1][2]*c[2][0]) +
				c[0][2]*(c[1][0]*c[2][1]-c[1][1]*c[2][0])
		}
		switch p {
		case 1:
			rho[0] = 0.5
		case 2:
			det := rk[1] - rk[0]
			rho[0], rho[1] = (b[0]*rk[1]-b[1])/det, (b[1]-b[0]*rk[0])/det
		case 3:
			c := [3][3]float64{{1, 1, 1}, {rk[0], rk[1], rk[2]}, {rk[0] * rk[0], rk[1] * rk[1], rk[2] * rk[2]}}
			for k := range 3 {
				with := c
				for j := range 3 {
					with[j][k] = b[j]
				}
				rho[k] = det3(with) / det3(c)
			}
		}
		out := sum(1, base, -t.a*B*rho[p-1], m[i+1], t.a*B*rho[p-1], m[i])
		for k := range p - 1 {
			out = sum(1, out, -t.a*B*rho[k], diff(k))
		}
		return out
	})
}

// ddim is Song et al. 2021 with the noise of a step as Kingma et al. 2021 have
// it for any path, σ_t²(1−(α_s/α_t)² σ_t²/σ_s²).
func (r *ref) ddim(eta float64) lin {
	return r.run(func(i int, s, t point, x lin) lin {
		if t.sigma == 0 {
			return s.x0(x)
		}
		ratio := s.a / t.a * t.sigma / s.sigma
		sig := eta * t.sigma * math.Sqrt(1-ratio*ratio)
		out := sum(t.a, s.x0(x), math.Sqrt(t.sigma*t.sigma-sig*sig), s.eps(x))
		if eta > 0 {
			out = sum(1, out, sig, r.z())
		}
		return out
	})
}

// ddpm is Ho et al. 2020, written for any path in the same way. Their larger
// variance is the noise that VP adds from t to s.
func (r *ref) ddpm(large bool) lin {
	return r.run(func(i int, s, t point, x lin) lin {
		alpha := s.a / t.a
		beta := s.sigma*s.sigma - alpha*alpha*t.sigma*t.sigma
		part := t.sigma * t.sigma / (s.sigma * s.sigma)
		out := sum(t.a*beta/(s.sigma*s.sigma), s.x0(x), alpha*part, x)
		if t.sigma == 0 {
			return out
		}
		v := part * beta
		if large {
			v = beta
		}
		return sum(1, out, math.Sqrt(v), r.z())
	})
}

// onVP is what f says on the VP path with the same levels, whose state is
// another multiple of x_0 + ρz.
func (r *ref) onVP(f func(r *ref) lin) lin {
	v := &ref{draws: r.draws}
	for _, p := range r.p {
		v.p = append(v.p, point{1 / math.Hypot(1, p.rho()), p.rho() / math.Hypot(1, p.rho())})
	}
	x := f(v)
	r.draws = v.draws
	first, last := 0, len(r.p)-1
	x = sum(r.p[last].a/v.p[last].a, x)
	x[1] *= v.p[first].a / r.p[first].a
	return x
}

// straight is Euler's and Heun's method on dx/dt = E[z − x_0 | x], on the path
// whose σ is t.
func (r *ref) straight(heun bool) lin {
	return r.run(func(i int, s, t point, x lin) lin {
		dt := t.sigma - s.sigma
		u := sum(1, s.eps(x), -1, s.x0(x))
		if !heun || t.sigma == 0 {
			return sum(1, x, dt, u)
		}
		there := sum(1, x, dt, u)
		return sum(1, x, dt/2, u, dt/2, t.eps(there), -dt/2, t.x0(there))
	})
}

// levels is Langevin's part: something at every level, in VE coordinates.
func (r *ref) levels(at func(i int, sigma float64, score func(x lin) lin, x lin) lin) lin {
	x := sum(1/r.p[0].a, unit(1))
	for i, p := range r.p {
		w := s0*s0 + p.rho()*p.rho()
		x = at(i, p.rho(), func(x lin) lin { return sum(-1/w, x, mu0/w, unit(0)) }, x)
	}
	return sum(r.p[len(r.p)-1].a, x)
}

// langevin is Song & Ermon 2019 at the last level, annealed is 2020 with
// α = part·σ_i².
func (r *ref) langevin(alpha float64, steps int) lin {
	return r.levels(func(i int, sigma float64, score func(lin) lin, x lin) lin {
		for range steps {
			if i == len(r.p)-1 {
				x = sum(1, x, alpha*sigma*sigma, score(x), math.Sqrt(2*alpha)*sigma, r.z())
			}
		}
		return x
	})
}

func (r *ref) annealed(part float64, steps int, denoise bool) lin {
	return r.levels(func(i int, sigma float64, score func(lin) lin, x lin) lin {
		for range steps {
			x = sum(1, x, part*sigma*sigma, score(x), math.Sqrt(2*part)*sigma, r.z())
		}
		if denoise && i == len(r.p)-1 {
			x = sum(1, x, sigma*sigma, score(x))
		}
		return x
	})
}

// consistent is Jolicoeur-Martineau et al. 2021 with γ = σ_{i+1}/σ_i.
func (r *ref) consistent(eta float64, denoise bool) lin {
	return r.levels(func(i int, sigma float64, score func(lin) lin, x lin) lin {
		before, s := x, score(x)
		x = sum(1, x, eta*sigma*sigma, s)
		if i < len(r.p)-1 {
			next := r.p[i+1].rho()
			gamma := next / sigma
			return sum(1, x, next*math.Sqrt(1-math.Pow((1-eta)/gamma, 2)), r.z())
		}
		if denoise {
			return sum(1, before, sigma*sigma, s)
		}
		return x
	})
}

// inVE runs a sampler that is written in VE coordinates: x/α, σ/α.
func (r *ref) inVE(step func(i int, s, t float64, d func(x lin, sigma float64) lin, x lin) lin) lin {
	first, last := r.p[0], r.p[len(r.p)-1]
	x := sum(1/first.a, unit(1))
	d := func(x lin, sigma float64) lin {
		q := s0 * s0 / (s0*s0 + sigma*sigma)
		return sum(q, x, mu0*(1-q), unit(0))
	}
	for i := range len(r.p) - 1 {
		x = step(i, r.p[i].rho(), r.p[i+1].rho(), d, x)
	}
	return sum(last.a, x)
}

// split is k-diffusion's get_ancestral_step.
func split(s, t, eta float64) (down, up float64) {
	up = min(t, eta*math.Sqrt(t*t*(s*s-t*t)/(s*s)))
	return math.Sqrt(t*t - up*up), up
}

// kdiff is one of k-diffusion's single-step samplers with churn and ancestral noise.
func (r *ref) kdiff(method string, churn Churn, eta, sNoise float64) lin {
	return r.inVE(func(i int, s, t float64, d func(lin, float64) lin, x lin) lin {
		if churn.S > 0 {
			z := r.z()
			if s >= churn.Min && (churn.Max == 0 || s <= churn.Max) {
				hat := s * (1 + min(churn.S/float64(len(r.p)-1), math.Sqrt2-1))
				x = sum(1, x, math.Sqrt(hat*hat-s*s)*sNoise, z)
				s = hat
			}
		}
		down, up := t, 0.0
		if eta > 0 {
			down, up = split(s, t, eta)
		}
		slope := sum(1/s, x, -1/s, d(x, s))
		switch {
		case method == "euler" || down == 0:
			x = sum(1, x, down-s, slope)
		case method == "heun":
			x2 := sum(1, x, down-s, slope)
			x = sum(1, x, (down-s)/2, slope, (down-s)/2/down, x2, -(down-s)/2/down, d(x2, down))
		case method == "dpm_2":
			m := math.Exp((math.Log(s) + math.Log(down)) / 2)
			x2 := sum(1, x, m-s, slope)
			x = sum(1, x, (down-s)/m, x2, -(down-s)/m, d(x2, m))
		case method == "2s":
			m := math.Exp((math.Log(s) + math.Log(down)) / 2)
			x2 := sum(m/s, x, -math.Expm1(math.Log(m/s)), d(x, s))
			x = sum(down/s, x, -math.Expm1(math.Log(down/s)), d(x2, m))
		}
		if up > 0 {
			x = sum(1, x, up*sNoise, r.z())
		}
		return x
	})
}

// lms integrates Lagrange's polynomials by their coefficients.
func (r *ref) lms(most int) lin {
	var ds []lin
	return r.inVE(func(i int, s, t float64, d func(lin, float64) lin, x lin) lin {
		ds = append(ds, sum(1/s, x, -1/s, d(x, s)))
		n := min(i+1, most)
		for j := range n {
			poly := []float64{1} // in τ−s, lowest first
			for l := range n {
				if l == j {
					continue
				}
				at, scale := r.p[i-l].rho()-s, r.p[i-j].rho()-r.p[i-l].rho()
				next := make([]float64, len(poly)+1)
				for k, c := range poly {
					next[k+1] += c / scale
					next[k] -= c * at / scale
				}
				poly = next
			}
			c := 0.0
			for k, p := range poly {
				c += p * math.Pow(t-s, float64(k+1)) / float64(k+1)
			}
			x = sum(1, x, c, ds[i-j])
		}
		return x
	})
}

// gap is how far two levels are apart on the Brownian path.
func gap(s, t float64) float64 {
	return math.Round((math.Log(s)+16)*4096) - math.Round((math.Log(t)+16)*4096)
}

func (r *ref) sde(eta, sNoise float64, brownian bool) lin {
	return r.inVE(func(i int, s, t float64, d func(lin, float64) lin, x lin) lin {
		if t == 0 {
			return d(x, s)
		}
		m := math.Sqrt(s * t)
		down, up := split(s, m, eta)
		z1 := r.z()
		x2 := sum(down/s, x, 1-down/s, d(x, s), up*sNoise, z1)
		z2 := r.z()
		if brownian {
			g1, g2 := gap(s, m), gap(m, t)
			z2 = sum(math.Sqrt(g1/(g1+g2)), z1, math.Sqrt(g2/(g1+g2)), z2)
		}
		down, up = split(s, t, eta)
		return sum(down/s, x, 1-down/s, d(x2, m), up*sNoise, z2)
	})
}

func (r *ref) multistepSDE(order int, heun bool, eta, sNoise float64) lin {
	var m []lin
	var hs []float64
	return r.inVE(func(i int, s, t float64, d func(lin, float64) lin, x lin) lin {
		m = append(m, d(x, s))
		if t == 0 {
			return m[i]
		}
		h := math.Log(s / t)
		hs = append(hs, h)
		H := h * (1 + eta)
		out := sum(math.Exp(-H), x, 1-math.Exp(-H), m[i], t*math.Sqrt(1-math.Exp(-2*eta*h))*sNoise, r.z())
		if i == 0 {
			return out
		}
		phi2 := math.Expm1(-H)/H + 1
		r0 := hs[i-1] / h
		a := sum(1/r0, m[i], -1/r0, m[i-1])
		switch {
		case order == 2 && !heun:
			return sum(1, out, (1-math.Exp(-H))/2, a)
		case order == 2 || i == 1:
			return sum(1, out, phi2, a)
		}
		r1 := hs[i-2] / h
		b := sum(1/r1, m[i-1], -1/r1, m[i-2])
		d1 := sum(1+r0/(r0+r1), a, -r0/(r0+r1), b)
		d2 := sum(1/(r0+r1), a, -1/(r0+r1), b)
		return sum(1, out, phi2, d1, -(phi2/H - 0.5), d2)
	})
}

// Where the other samplers are compared with a second program.
var otherwise = map[string]string{
	"PC":          "TestPCIsTheAffineMapOfThePaper has its own paths",
	"Flow":        "chooses its steps; TestFlowIsTheExactODE, TestHeunFlow",
	"DPMAdaptive": "chooses its steps; TestDPMAdaptiveIsTheProgram",
	"AdaptiveSDE": "chooses its steps; TestAdaptiveSDEHasTheRightLaw",
	"DPS":         "is not linear; TestGuidanceThroughTheDenoiserIsThePapers",
	"PiGDM":       "has a measurement; TestGuidanceThroughTheDenoiserIsThePapers",
	"REDdiff":     "is not linear; TestREDdiffIsThePapers",
	"thresholded": "is not linear; TestRecordedLadders",
}

// One row a sampler and path: the ladder is the path's, with and without 0. The
// paths are those of the SDEs, and flow matching's.
func TestLaddersAreTheAffineMapsOfThePapers(t *testing.T) {
	inverse := map[string]func(lambda float64) point{
		"ve": func(l float64) point { return point{1, math.Exp(-l)} },
		"vp": func(l float64) point {
			return point{1 / math.Sqrt(1+math.Exp(-2*l)), 1 / math.Sqrt(1+math.Exp(2*l))}
		},
		"sub-vp": func(l float64) point {
			a := (math.Sqrt(math.Exp(-2*l)+4) - math.Exp(-l)) / 2
			return point{a, a * math.Exp(-l)}
		},
		"flow": func(l float64) point { return point{1 / (1 + math.Exp(-l)), 1 / (1 + math.Exp(l))} },
	}
	compared := map[string]int{}
	for _, p := range append(papers[:len(papers):len(papers)], paper{name: "flow"}) {
		for _, zero := range []bool{false, true} {
			for _, n := range []int{7, 14} {
				r := &ref{at: inverse[p.name]}
				var path schedules.Path = p.sde
				var times []float64
				for i := range n + 1 {
					s := 1 + float64(i)/float64(n)*(0.02-1)
					if p.name == "flow" {
						path, s = schedules.Rectified{}, 0.98*s
					}
					c, _, sigma := p.place(s)
					times, r.p = append(times, s), append(r.p, point{c / mu0, sigma})
				}
				sigmas := schedules.Ladder(path, times)
				if zero {
					times, sigmas, r.p = append(times, 0), append(sigmas, 0), append(r.p, point{1, 0})
				}
				churn := Churn{S: 3, Min: 0.1, Max: 2}
				wants := map[string]func() lin{
					"euler":           func() lin { return r.kdiff("euler", Churn{}, 0, 1) },
					"euler churn":     func() lin { return r.kdiff("euler", churn, 0, 1.1) },
					"euler ancestral": func() lin { return r.kdiff("euler", Churn{}, 1, 1) },
					"euler half":      func() lin { return r.kdiff("euler", Churn{}, 0.5, 0.9) },
					"heun":            func() lin { return r.kdiff("heun", Churn{}, 0, 1) },
					"heun churn":      func() lin { return r.kdiff("heun", Churn{S: 3}, 0, 1.003) },
					"dpm-1":           func() lin { return r.dpmSolver(1) },
					"dpm-2":           func() lin { return r.dpmSolver(2) },
					"dpm-2 churn":     func() lin { return r.kdiff("dpm_2", Churn{S: 3}, 0, 1) },
					"dpm-2 ancestral": func() lin { return r.kdiff("dpm_2", Churn{}, 1, 1) },
					"dpm-3":           func() lin { return r.dpmSolver(3) },
					"dpm fast": func() lin {
						// Of n steps all but the last are of order 3, and the last of order 2.
						return r.dpmSolver(append(slices.Repeat([]int{3}, len(r.p)-2), 2)...)
					},
					"lms":             func() lin { return r.lms(4) },
					"lms-2":           func() lin { return r.lms(2) },
					"dpm++2s":         r.dpmpp2s,
					"dpm++2s a":       func() lin { return r.kdiff("2s", Churn{}, 1, 1) },
					"dpm++1m":         func() lin { return r.dpmpp(1, 0) },
					"dpm++2m":         func() lin { return r.dpmpp(2, 0) },
					"dpm++3m":         func() lin { return r.dpmpp(3, 2) },
					"dpm++3m halved":  func() lin { return r.dpmpp(3, 1) },
					"dpm++2m heun":    func() lin { return r.dpmppEnds(2, 0, 10, true, false) },
					"dpm++3m lower":   func() lin { return r.dpmppEnds(3, 2, 100, false, false) },
					"dpm++3m higher":  func() lin { return r.dpmppEnds(3, 2, 0, false, false) },
					"dpm++2m ends":    func() lin { return r.dpmppEnds(2, 0, 0, false, true) },
					"plms":            func() lin { return r.pndm("twice") },
					"pndm":            func() lin { return r.pndm("runge") },
					"ipndm":           func() lin { return r.pndm("") },
					"deis-1":          func() lin { return r.deis(1, 15) },
					"deis-2":          func() lin { return r.deis(2, 15) },
					"deis-3":          func() lin { return r.deis(3, 0) },
					"deis-3 lower":    func() lin { return r.deis(3, 15) },
					"sde":             func() lin { return r.sde(1, 1, false) },
					"sde brownian":    func() lin { return r.sde(0.8, 1, true) },
					"2m sde":          func() lin { return r.multistepSDE(2, false, 1, 1) },
					"2m sde heun":     func() lin { return r.multistepSDE(2, true, 0.7, 1) },
					"3m sde":          func() lin { return r.multistepSDE(3, true, 1, 1) },
					"3m sde brownian": func() lin { return r.multistepSDE(3, true, 1, 0.9) },
					"unipc-1 bh1":     func() lin { return r.unipc(1, true) },
					"unipc-2 bh1":     func() lin { return r.unipc(2, true) },
					"unipc-3 bh1":     func() lin { return r.unipc(3, true) },
					"unipc-1":         func() lin { return r.unipc(1, false) },
					"unipc-2":         func() lin { return r.unipc(2, false) },
					"unipc-3":         func() lin { return r.unipc(3, false) },
					"ddim":            func() lin { return r.ddim(0) },
					"ddim eta":        func() lin { return r.ddim(0.4) },
					"ddpm":            func() lin { return r.ddpm(false) },
					"ddpm large":      func() lin { return r.onVP(func(r *ref) lin { return r.ddpm(true) }) },

					"langevin":            func() lin { return r.langevin(0.3, len(r.p)-1) },
					"annealed":            func() lin { return r.annealed(0.1, 2, false) },
					"annealed denoised":   func() lin { return r.annealed(0.2, 3, true) },
					"consistent":          func() lin { return r.consistent(1.01, false) },
					"consistent denoised": func() lin { return r.consistent(0.99, true) },
					"straight false":      func() lin { return r.straight(false) },
					"straight true":       func() lin { return r.straight(true) },
				}
				all := ladderSamplers(sigmas)
				if p.name == "flow" {
					maps.Copy(all, straightSamplers(times))
				}
				for name, s := range all {
					want, ok := wants[name]
					if !ok {
						t.Fatalf("no reference for %s", name)
					}
					compared[reflect.TypeOf(s).Name()]++
					r.draws = 0
					w := want()
					// Ours starts from and ends in x/α, but where it is on the path itself.
					first, last := r.p[0].a, r.p[len(r.p)-1].a
					var got affineMap
					if _, ok := s.(Straight); ok {
						first, last = 1, 1
						got = measureField(t, s, gaussianVelocity)
					} else {
						got = measure(t, s, schedules.Sigma{})
					}
					where := p.name + " " + name
					closeTo(t, where+": offset", last*got.o, w[0], 1e-12)
					closeTo(t, where+": factor of the start", last/first*got.a, w[1], 1e-12)
					switch name {
					case "sde brownian", "2m sde heun", "3m sde brownian":
						// A draw is a node of the path there.
						var a, b float64
						for _, c := range got.c {
							a += last * last * c * c
						}
						for _, c := range w[2:] {
							b += c * c
						}
						closeTo(t, where+": variance of the noise", a, b, 1e-12)
						continue
					}
					if len(got.c) != r.draws {
						t.Fatalf("%s: %d draws, want %d", where, len(got.c), r.draws)
					}
					for k, c := range got.c {
						closeTo(t, where+": factor of a draw", last*c, w[2+k], 1e-12)
					}
				}
			}
		}
	}
	t.Logf("maps compared: %v", compared)
	for name, s := range usual() {
		if typ := reflect.TypeOf(s.sampler).Name(); compared[typ] == 0 && otherwise[typ] == "" {
			t.Errorf("%s: %s is compared with nothing", name, typ)
		}
	}
}
