package sampler

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"sampleonnx/schedules"
)

// Data N(mu0, s0²) of which y = x_0 + N(0, τ²) is observed: the gradient of
// ln p(y | x_t) is that of N(y; E[x_0|x_t], τ² + Var[x_0|x_t]), and the guided
// score must be the score of the posterior, so that every sampler is the affine
// map it is for that Gaussian.
func TestGuidedIsTheScoreOfThePosterior(t *testing.T) {
	const y, tau = -0.4, 0.25
	precision := 1/(s0*s0) + 1/(tau*tau)
	mean, variance := (mu0/(s0*s0)+y/(tau*tau))/precision, 1/precision
	ladder := append(schedules.Karras(10, 0.02, 7, 12), 0)
	ve, vp := schedules.VE{SigmaMin: 0.01, SigmaMax: 5}, schedules.VP{}
	for name, c := range map[string]setup{
		"pc ve":  {PC{SDE: ve, N: 30, Predictor: ReverseDiffusion, Corrector: AnnealedCorrector{}.Step, Denoise: true}, ve, 0},
		"pc vp":  {PC{SDE: vp, N: 30, Predictor: EulerMaruyama}, vp, 0},
		"ald":    {Annealed{Sigmas: schedules.Geometric(5, 0.01, 9), Steps: 3, Eps: 2e-5}, schedules.Sigma{}, 0},
		"heun":   {Heun{Sigmas: ladder}, schedules.Sigma{}, 0},
		"2m":     {DPMpp{Sigmas: ladder}, schedules.Sigma{}, 0},
		"2m sde": {DPMpp2MSDE{Sigmas: ladder, Eta: 1, Independent: true}, schedules.Sigma{}, 0},
		"unipc":  {UniPC{Sigmas: ladder}, schedules.Sigma{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			gradient := func(dst, x, t []float64) error {
				for i := range x {
					a, sigma := c.path.Marginal(t[i])
					w := a*a*s0*s0 + sigma*sigma
					k := a * s0 * s0 / w
					dst[i] = k * (y - mu0 - k*(x[i]-a*mu0)) / (tau*tau + s0*s0*sigma*sigma/w)
				}
				return nil
			}
			posterior := func(dst, x, t []float64) error {
				for i := range x {
					a, sigma := c.path.Marginal(t[i])
					dst[i] = -(x[i] - a*mean) / (a*a*variance + sigma*sigma)
				}
				return nil
			}
			compare(t, measureField(t, c.sampler, blend(gaussianScore(c.path), gradient, 1, 1)), measureField(t, c.sampler, posterior))
		})
	}
}

// curvedClass is what the mixture of [curved] makes of a class: its component's
// score, the logits of the classes, and their derivative.
func curvedClass(path schedules.Path, class func(i int) int) (component, logits Field, pull Pullback) {
	each := func(x []float32, t []float64, do func(i, m int, alpha, w float64, x []float32)) {
		for i, t := range t {
			alpha, sigma := path.Marginal(t)
			for m := range modes {
				do(i, m, alpha, alpha*alpha*0.04+sigma*sigma, x[i*testDim:(i+1)*testDim])
			}
		}
	}
	component = func(dst, x []float32, t []float64) error {
		each(x, t, func(i, m int, alpha, w float64, x []float32) {
			if m == class(i) {
				for j, v := range x {
					dst[i*testDim+j] = float32((alpha*modes[m][j] - float64(v)) / w)
				}
			}
		})
		return nil
	}
	logits = func(dst, x []float32, t []float64) error {
		each(x, t, func(i, m int, alpha, w float64, x []float32) {
			l := 0.0
			for j, v := range x { // without the terms that the classes share
				l += alpha * modes[m][j] * (float64(v) - alpha*modes[m][j]/2) / w
			}
			dst[2*i+m] = float32(l)
		})
		return nil
	}
	pull = func(dst, v, x []float32, t []float64) error {
		clear(dst)
		each(x, t, func(i, m int, alpha, w float64, x []float32) {
			for j := range x {
				dst[i*testDim+j] += float32(float64(v[2*i+m]) * alpha * modes[m][j] / w)
			}
		})
		return nil
	}
	return component, logits, pull
}

// A mixture's score and its exact classifier's gradient are together the score
// of the class; and weighed, what guidance without a classifier gives.
func TestClassifierMakesTheScoreOfAClass(t *testing.T) {
	path := schedules.VP{}
	b := &Batch{First: 5}
	class := []int{0, 1, 1}
	component, logits, pull := curvedClass(path, func(i int) int { return class[(i+5)%3] })
	gradient, err := Classifier{Logits: logits, Pull: pull, Classes: 2, Class: class}.Gradient(b)
	if err != nil {
		t.Fatal(err)
	}
	times := []float64{1e-3, 0.05, 0.2, 0.4, 0.7, 1}
	x := make([]float32, len(times)*testDim)
	if err := Philox(3).Normal(x, Draw{Dim: testDim}); err != nil {
		t.Fatal(err)
	}
	eval := func(f Field) []float32 {
		dst := make([]float32, len(x))
		if err := f(dst, x, times); err != nil {
			t.Fatal(err)
		}
		return dst
	}
	for i, v := range eval(Guided(curved(path), gradient, 1)) {
		// Where the mixture's score is large the sum of the two cancels.
		closeTo(t, fmt.Sprint("value ", i), float64(v), float64(eval(component)[i]), 2e-5)
	}
	for _, w := range []float64{0, 0.5, 1, 3} {
		free, guided := eval(ClassifierFree(curved(path), component, w)), eval(Guided(curved(path), gradient, w))
		for i, v := range guided {
			closeTo(t, fmt.Sprint("weight ", w, " value ", i), float64(v), float64(free[i]), 1e-4)
		}
	}
}

// A sure class leaves no gradient, a lost one all of it, without overflow.
func TestLogSoftmaxGradient(t *testing.T) {
	for _, c := range []struct {
		logits, want []float32
		k            int
	}{
		{[]float32{1000, 0}, []float32{0, 0}, 0},
		{[]float32{1000, 0}, []float32{-1, 1}, 1},
		{[]float32{-3e38, 3e38}, []float32{1, -1}, 0},
		{[]float32{0, 0, 0, 0}, []float32{-0.25, 0.75, -0.25, -0.25}, 1},
	} {
		got := slices.Clone(c.logits)
		logSoftmaxGradient(got, c.k)
		for i, v := range got {
			closeTo(t, fmt.Sprint(c.logits, c.k), float64(v), float64(c.want[i]), 1e-7)
		}
	}
	small := []float32{20, 0}
	logSoftmaxGradient(small, 0)
	if want := 1 / (1 + math.Exp(20)); math.Abs(float64(small[0])/want-1) > 1e-6 {
		t.Errorf("the gradient of a class of probability 1−%.3g is %g", want, small[0])
	}
}

func TestGuidanceRefuses(t *testing.T) {
	_, logits, pull := curvedClass(schedules.VP{}, func(int) int { return 0 })
	for name, c := range map[string]Classifier{
		"zero":       {},
		"no class":   {Logits: logits, Pull: pull, Classes: 2},
		"class 2":    {Logits: logits, Pull: pull, Classes: 2, Class: []int{0, 2}},
		"class -1":   {Logits: logits, Pull: pull, Classes: 2, Class: []int{-1}},
		"no network": {Pull: pull, Classes: 2, Class: []int{0}},
	} {
		if _, err := c.Gradient(nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
