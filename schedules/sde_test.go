package schedules

import (
	"math"
	"testing"
)

var sdes = map[string]SDE{
	"ve":         VE{SigmaMin: 0.01, SigmaMax: 50},
	"vp":         VP{},
	"vp, other":  VP{BetaMin: 0.5, BetaMax: 4},
	"sub-vp":     SubVP{},
	"sub, other": SubVP{BetaMin: 0.5, BetaMax: 4},
}

func closeTo(t *testing.T, what string, got, want, tol float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tol*math.Abs(want)) {
		t.Errorf("%s is %.17g, want %.17g (relative error %.2g)", what, got, want, math.Abs(got-want)/math.Abs(want))
	}
}

// Marginal must solve the equations of a linear SDE's moments,
// d ln α/dt = f and dσ²/dt = 2fσ² + g², integrated here from Coeffs alone.
func TestMarginalSolvesTheSDE(t *testing.T) {
	for name, sde := range sdes {
		const t0, steps = 0.01, 20000
		alpha, sigma := sde.Marginal(t0)
		y := [2]float64{math.Log(alpha), sigma * sigma}
		slope := func(t float64, y [2]float64) [2]float64 {
			f, g := sde.Coeffs(t)
			return [2]float64{f, 2*f*y[1] + g*g}
		}
		axpy := func(y [2]float64, h float64, k [2]float64) [2]float64 {
			return [2]float64{y[0] + h*k[0], y[1] + h*k[1]}
		}
		h := (sde.T() - t0) / steps
		for i := range steps {
			s := t0 + float64(i)*h
			k1 := slope(s, y)
			k2 := slope(s+h/2, axpy(y, h/2, k1))
			k3 := slope(s+h/2, axpy(y, h/2, k2))
			k4 := slope(s+h, axpy(y, h, k3))
			for j := range y {
				y[j] += h / 6 * (k1[j] + 2*k2[j] + 2*k3[j] + k4[j])
			}
			if (i+1)%(steps/10) != 0 {
				continue
			}
			alpha, sigma := sde.Marginal(s + h)
			closeTo(t, name+": alpha", math.Exp(y[0]), alpha, 1e-11)
			closeTo(t, name+": sigma", math.Sqrt(y[1]), sigma, 1e-11)
		}
	}
}

// What noise there is at T is the prior's, nearly: exactly for VE.
func TestPriorIsTheLastMarginal(t *testing.T) {
	for name, sde := range sdes {
		_, sigma := sde.Marginal(sde.T())
		if name == "vp, other" || name == "sub, other" {
			continue // β this small leaves a tenth of the signal
		}
		closeTo(t, name+": prior", sde.Prior(), sigma, 5e-5)
	}
}

// The chain with many steps is the SDE: f_k → f·dt and g_k² → g²·dt.
func TestDiscretizeTendsToTheSDE(t *testing.T) {
	for name, sde := range sdes {
		const n = 1000000
		for _, k := range []int{n / 10, n / 2, n - 1} {
			s := float64(k) / (n - 1)
			f, g := sde.Coeffs(s)
			fk, gk := sde.Discretize(s, k, n)
			if math.Abs(fk*n-f) > 1e-4*max(1, math.Abs(f)) {
				t.Errorf("%s: f_k·n is %g, want %g", name, fk*n, f)
			}
			closeTo(t, name+": g_k·√n", gk*math.Sqrt(n), g, 1e-4)
		}
	}
}

// The VE chain's variances add up to σ_k², the VP chain's factors to those of
// DDPM's ᾱ.
func TestChainsAddUp(t *testing.T) {
	const n = 50
	ve, vp := VE{SigmaMin: 0.01, SigmaMax: 5}, VP{}
	sum, left := 0.0, 1.0
	for k := range n {
		_, g := ve.Discretize(0, k, n)
		sum += g * g
		closeTo(t, "sum of the gaps", math.Sqrt(sum), 0.01*math.Pow(500, float64(k)/(n-1)), 1e-13)

		beta := (0.1 + 19.9*float64(k)/(n-1)) / n
		f, g := vp.Discretize(0, k, n)
		closeTo(t, "1+f", 1+f, math.Sqrt(1-beta), 1e-15)
		closeTo(t, "beta", g*g, beta, 1e-14)
		closeTo(t, "alpha", vp.StepAlpha(k, n), 1-beta, 1e-15)
		closeTo(t, "alpha of sub-VP", SubVP{}.StepAlpha(k, n), 1-beta, 1e-15)
		// x and z keep unit variance.
		left = left*(1-beta) + beta
	}
	closeTo(t, "the chain's variance", left, 1, 1e-13)
}

// A posterior's noise and mean must compose with one forward step to the
// marginals: for data at one point, p(x_{k−1}) from p(x_k) and back.
func TestVEPosteriorKeepsTheMarginal(t *testing.T) {
	const n = 12
	ve := VE{SigmaMin: 0.1, SigmaMax: 9}
	for k := n - 1; k > 0; k-- {
		sigma := 0.1 * math.Pow(90, float64(k)/(n-1))
		below := 0.1 * math.Pow(90, float64(k-1)/(n-1))
		a, b, q := ve.Posterior(k, n)
		// The score at level k is −x/σ_k².
		rest := a - b/(sigma*sigma)
		closeTo(t, "variance below", rest*rest*sigma*sigma+q, below*below, 1e-12)
	}
	if a, b, q := ve.Posterior(0, n); a != 1 || math.Abs(b-0.01) > 1e-15 || q != 0 {
		t.Errorf("the last step is %g, %g, %g; want 1, σ_min², 0", a, b, q)
	}
}

// Where 1−α² would cancel: σ near t=0 against its series.
func TestSigmaNearZeroKeepsItsDigits(t *testing.T) {
	for _, s := range []float64{1e-5, 1e-9, 1e-14} {
		// 1−α² = b − b²/2 + …, b = ∫β
		b := s*0.1 + s*s*19.9/2
		variance := b * (1 - b/2*(1-b/3))
		_, vp := VP{}.Marginal(s)
		closeTo(t, "VP sigma", vp, math.Sqrt(variance), 1e-15)
		_, sub := SubVP{}.Marginal(s)
		closeTo(t, "sub-VP sigma", sub, variance, 1e-15)
		_, g := SubVP{}.Coeffs(s)
		closeTo(t, "sub-VP g", g, math.Sqrt((0.1+19.9*s)*2*b*(1-b*(1-2*b/3))), 1e-15)
	}
}

func TestExpAndLogAgainstMath(t *testing.T) {
	for i := range 400000 {
		x := -745 + float64(i)*0.00363
		if want := math.Exp(x); want > 1e-307 {
			closeTo(t, "exp", exp(x), want, 4.5e-16)
		}
		u := math.Exp(-40 + float64(i)*2e-4)
		if got, want := log(u), math.Log(u); math.Abs(got-want) > 2.3e-16*max(math.Abs(want), 1e-3) {
			t.Errorf("log(%g) is %.17g, want %.17g", u, got, want)
		}
		for _, x := range []float64{x / 10, x / 1e3, x / 1e6} {
			closeTo(t, "expm1", expm1(x), math.Expm1(x), 1e-15)
		}
		if t.Failed() {
			return
		}
	}
	if exp(-1000) != 0 || !math.IsInf(exp(1000), 1) || !math.IsNaN(exp(math.NaN())) || exp(0) != 1 ||
		!math.IsInf(log(0), -1) || !math.IsNaN(log(-1)) || expm1(0) != 0 {
		t.Error("exp, log or expm1 at the ends")
	}
}
