package sampler

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"sampleonnx/schedules"
)

// The data of these tests are N(mean, cov) in three dimensions, of which all
// that is linear has a closed form. The recursions below are written from the
// papers a second time and run on the same draws, in float64, like the
// samplers: a map that agrees on random inputs is the same affine map.
var (
	gaussMean = []float64{0.7, -0.4, 0.2}
	gaussCov  = [3][3]float64{{0.5, 0.3, -0.1}, {0.3, 0.6, 0.2}, {-0.1, 0.2, 0.4}}
	// The measurement of the tests, x_0+2x_1−x_2; A⁺ = aᵀ/6.
	gaussRow = []float64{1, 2, -1}
	gaussY   = []float64{1.5, -0.25} // of two samples
)

// solve3 is (α²C + vI)⁻¹ b, by elimination.
func solve3(alpha, v float64, b []float64) []float64 {
	var m [3][4]float64
	for i := range 3 {
		for j := range 3 {
			m[i][j] = alpha * alpha * gaussCov[i][j]
		}
		m[i][i] += v
		m[i][3] = b[i]
	}
	for i := range 3 {
		for r := range 3 {
			if r != i {
				f := m[r][i] / m[i][i]
				for j := i; j < 4; j++ {
					m[r][j] -= f * m[i][j]
				}
			}
		}
	}
	return []float64{m[0][3] / m[0][0], m[1][3] / m[1][1], m[2][3] / m[2][2]}
}

// scoreOf is the exact score where x_t = αx_0 + σz.
func scoreOf(x []float64, alpha, sigma float64) []float64 {
	d := make([]float64, 3)
	for i := range d {
		d[i] = alpha*gaussMean[i] - x[i]
	}
	return solve3(alpha, sigma*sigma, d)
}

func gaussField[F float](path schedules.Path) func(dst, x []F, t []float64) error {
	return func(dst, x []F, t []float64) error {
		for i, t := range t {
			alpha, sigma := path.Marginal(t)
			row := make([]float64, 3)
			scale(row, x[3*i:3*i+3], 1)
			scale(dst[3*i:3*i+3], scoreOf(row, alpha, sigma), 1)
		}
		return nil
	}
}

func gaussPull[F float](path schedules.Path) func(dst, v, x []F, t []float64) error {
	return func(dst, v, x []F, t []float64) error {
		for i, t := range t {
			alpha, sigma := path.Marginal(t)
			row := make([]float64, 3)
			scale(row, v[3*i:3*i+3], 1)
			scale(dst[3*i:3*i+3], solve3(alpha, sigma*sigma, row), -1)
		}
		return nil
	}
}

func gaussMeasurement(t testing.TB) Measurement {
	return Measurement{A: built(t)(Matrix(gaussRow, 3)), Y: gaussY}
}

// history is recorded noise and how much of it is spent.
type history struct {
	values []float32
	at     int
}

const recordedDraws = 400

func newHistory() *history {
	h := &history{values: make([]float32, recordedDraws*2*3)}
	r := rand.New(rand.NewPCG(7, 7))
	for i := range h.values {
		h.values[i] = float32(r.NormFloat64())
	}
	return h
}

// next is the next draw of one of the two samples.
func (h *history) next(sample int) []float64 {
	z := make([]float64, 3)
	scale(z, h.values[(h.at*2+sample)*3:][:3], 1)
	h.at++
	return z
}

func starts() []float64 { return []float64{3, -2, 1, -0.5, 0.25, 4} }

// runWide runs a sampler in float64 on two samples.
func runWide(t *testing.T, of func(b *Batch) Sampler, path schedules.Path) []float64 {
	t.Helper()
	b := &Batch{Dim: 3, Noise: Replay{Values: newHistory().values, Samples: 2, Dim: 3}, wide: &wide{
		x: starts(), mean: make([]float64, 6), score: make([]float64, 6), z: make([]float64, 6),
		field: gaussField[float64](path), pull: gaussPull[float64](path),
	}}
	if err := of(b).Sample(context.Background(), b, nil); err != nil {
		t.Fatal(err)
	}
	return b.wide.x
}

func compareRows(t *testing.T, got []float64, want func(sample int, h *history, x []float64, y float64) []float64) {
	t.Helper()
	for i := range 2 {
		x := want(i, newHistory(), starts()[3*i:3*i+3], gaussY[i])
		for j := range x {
			closeTo(t, fmt.Sprintf("sample %d value %d", i, j), got[3*i+j], x[j], 1e-12)
		}
	}
}

// add is x + c·v.
func add(x []float64, c float64, v []float64) []float64 {
	out := make([]float64, len(x))
	for i := range x {
		out[i] = x[i] + c*v[i]
	}
	return out
}

// imposed is x + λ A⁺(αy + σAz − Ax) of the row above.
func imposed(x []float64, y, alpha, sigma, lambda float64, z []float64) []float64 {
	r := alpha*y - dot(gaussRow, x)
	if sigma != 0 {
		r += sigma * dot(gaussRow, z)
	}
	return add(x, lambda*r/6, gaussRow)
}

func TestImposedPCIsTheRecursionOfThePapers(t *testing.T) {
	const n, snr = 23, 0.2
	m := gaussMeasurement(t)
	for _, p := range papers {
		for name, step := range predictors {
			for _, lambda := range []float64{-1, 0.4, 1} { // −1: After
				for _, correct := range []bool{false, true} {
					_, _, _, ok := p.predictor(name, false, 0.5, 1, n)
					if !ok && name != "none" || name == "none" && !correct {
						continue
					}
					wrap := func(s Step) Step { return m.Before(s, lambda) }
					if lambda < 0 {
						wrap = m.After
					}
					pc := PC{SDE: p.sde, N: n, Denoise: true}
					if name != "none" {
						pc.Predictor = wrap(step)
					}
					if correct {
						pc.Corrector = wrap(AnnealedCorrector{SNR: snr, Steps: 2}.Step)
					}
					t.Run(fmt.Sprintf("%s/%s/lambda=%v/correct=%v", p.name, name, lambda, correct), func(t *testing.T) {
						got := runWide(t, func(*Batch) Sampler { return pc }, p.sde)
						compareRows(t, got, func(sample int, h *history, x []float64, y float64) []float64 {
							for i := range n {
								k := n - 1 - i
								time := 1 + float64(i)/float64(n-1)*(p.eps-1)
								c, _, sigma := p.place(time)
								alpha := c / mu0
								known := func() {
									l := math.Abs(lambda)
									x = imposed(x, y, alpha, sigma, l, h.next(sample))
								}
								if correct {
									if lambda > 0 {
										known()
									}
									size := 2 * snr * snr * sigma * sigma
									if p.name != "ve" {
										size *= 1 - p.betaK(k, n)
									}
									for range 2 {
										x = add(add(x, size, scoreOf(x, alpha, sigma)), math.Sqrt(2*size), h.next(sample))
									}
									if lambda < 0 {
										known()
									}
								}
								if name == "none" {
									continue
								}
								if lambda > 0 {
									known()
								}
								a, b, q, _ := p.predictor(name, false, time, k, n)
								s := scoreOf(x, alpha, sigma)
								for j := range x {
									x[j] *= a
								}
								mean := add(x, b, s)
								x = add(mean, math.Sqrt(q), h.next(sample))
								if lambda < 0 {
									known()
									mean = imposed(mean, y, alpha, 0, 1, nil)
								}
								if i == n-1 {
									x = mean
								}
							}
							return x
						})
					})
				}
			}
		}
	}
}

// NCSNv2's inpainting, and NCSN's, which puts the level's one corrupted image back after every update, but for the level's last: what takes its
// place is then the next level's.
func TestImposedAnnealedIsTheRecursion(t *testing.T) {
	const eps = 2e-5
	ladder := schedules.Geometric(5, 0.01, 9)
	for _, hold := range []bool{false, true} {
		m := gaussMeasurement(t)
		m.Held = hold
		got := runWide(t, func(*Batch) Sampler {
			return Annealed{Sigmas: ladder, Steps: 3, Eps: eps, Denoise: true, Before: func(b *Batch, sigma float64) error { return m.Impose(b, 1, sigma, 1) }}
		}, schedules.Sigma{})
		compareRows(t, got, func(sample int, h *history, x []float64, y float64) []float64 {
			for i := range 9 {
				sigma := 5 * math.Pow(0.01/5, float64(i)/8)
				alpha := eps * math.Pow(sigma/0.01, 2)
				var corrupted []float64 // the noise of what is known
				for step := range 3 {
					if step == 0 || !hold {
						corrupted = h.next(sample)
					}
					x = imposed(x, y, 1, sigma, 1, corrupted)
					x = add(add(x, alpha, scoreOf(x, 1, sigma)), math.Sqrt(2*alpha), h.next(sample))
				}
			}
			return add(x, 1e-4, scoreOf(x, 1, 0.01))
		})
	}
}

// With the measurement in the score, what is measured is exactly y + (t/s) of the
// noise it began with, and the rest follows its recursion.
func TestAgreeingScoreOnALadder(t *testing.T) {
	m := gaussMeasurement(t)
	ladder := append(schedules.Karras(10, 0.02, 7, 12), 0)
	for _, lambda := range []float64{0.3, 1} {
		for name, vp := range map[string]bool{"ve": false, "vp": true} {
			t.Run(fmt.Sprint(name, " ", lambda), func(t *testing.T) {
				got := runWide(t, func(b *Batch) Sampler {
					field := b.wide.field
					if vp { // from the score of the VP path
						path := schedules.VP{}
						inner := agreeing(m, b, gaussField[float64](path), path, lambda)
						field = func(dst, x, t []float64) error {
							at, y := make([]float64, len(t)), make([]float64, len(x))
							for i, rho := range t {
								at[i] = path.Time(rho)
								alpha, _ := path.Marginal(at[i])
								scale(y[3*i:3*i+3], x[3*i:3*i+3], alpha)
							}
							if err := inner(dst, y, at); err != nil {
								return err
							}
							for i, at := range at {
								alpha, _ := path.Marginal(at)
								scale(dst[3*i:3*i+3], dst[3*i:3*i+3], alpha)
							}
							return nil
						}
					} else {
						field = agreeing(m, b, field, schedules.Sigma{}, lambda)
					}
					b.wide.field = field
					return Euler{Sigmas: ladder}
				}, schedules.Sigma{})
				compareRows(t, got, func(sample int, h *history, x []float64, y float64) []float64 {
					for i, s := range ladder[:len(ladder)-1] {
						d := add(x, s*s, scoreOf(x, 1, s))
						d = imposed(d, y, 1, 0, lambda, nil)
						for j := range x {
							x[j] = d[j] + ladder[i+1]/s*(x[j]-d[j])
						}
					}
					if lambda == 1 {
						closeTo(t, "A x", dot(gaussRow, x), y, 1e-12)
					}
					return x
				})
			})
		}
	}
}

// jacobian is vᵀ ∂D/∂x of the denoiser, C(C+s²)⁻¹ v.
func jacobian(v []float64, s float64) []float64 {
	u := solve3(1, s*s, v)
	out := make([]float64, 3)
	for i := range out {
		for j := range u {
			out[i] += gaussCov[i][j] * u[j]
		}
	}
	return out
}

func TestGuidanceThroughTheDenoiserIsThePapers(t *testing.T) {
	m := gaussMeasurement(t)
	for _, eta := range []float64{0, 0.6, 1} {
		for _, end := range []bool{false, true} {
			ladder := schedules.Karras(10, 0.02, 7, 12)
			if end {
				ladder = append(ladder, 0)
			}
			for _, method := range []string{"dps", "pigdm"} {
				t.Run(fmt.Sprint(method, " ", eta, " ", end), func(t *testing.T) {
					got := runWide(t, func(b *Batch) Sampler {
						if method == "dps" {
							return DPS{Measurement: m, Sigmas: ladder, Eta: eta, Zeta: 0.4}
						}
						return PiGDM{Measurement: m, Sigmas: ladder, Eta: eta, Weight: 0.8}
					}, schedules.Sigma{})
					// In the coordinates of the papers, x√ᾱ with ᾱ = 1/(1+σ²).
					compareRows(t, got, func(sample int, h *history, x []float64, y float64) []float64 {
						for i, s := range ladder[:len(ladder)-1] {
							next := ladder[i+1]
							bar, barNext := 1/(1+s*s), 1/(1+next*next)
							alpha, sigma := math.Sqrt(bar), math.Sqrt(1-bar)
							var state []float64
							for _, v := range x {
								state = append(state, v*alpha)
							}
							eps := make([]float64, 3)
							for j, v := range scoreOf(state, alpha, sigma) {
								eps[j] = -sigma * v
							}
							x0 := make([]float64, 3)
							for j := range x0 {
								x0[j] = (state[j] - sigma*eps[j]) / alpha
							}
							noise := 0.0
							if next > 0 {
								noise = eta * math.Sqrt((1-barNext)/(1-bar)) * math.Sqrt(1-bar/barNext)
							}
							left := math.Sqrt(max(0, 1-barNext-noise*noise))
							to := make([]float64, 3)
							for j := range to {
								to[j] = math.Sqrt(barNext)*x0[j] + left*eps[j]
							}
							if noise > 0 {
								to = add(to, noise, h.next(sample))
							}
							// ∂x̂_0/∂(VP state) = √(1/ᾱ) ∂D/∂(VE state).
							r := y - dot(gaussRow, x0)
							var g []float64
							if method == "dps" {
								unit := r / math.Abs(r)
								g = jacobian([]float64{unit, 2 * unit, -unit}, s)
								to = add(to, 0.4/alpha, g)
							} else {
								g = jacobian([]float64{r / 6, 2 * r / 6, -r / 6}, s)
								to = add(to, 0.8*math.Sqrt(bar*barNext)/alpha, g)
							}
							for j := range x {
								x[j] = to[j] / math.Sqrt(barNext)
							}
						}
						return x
					})
				})
			}
		}
	}
}

func TestREDdiffIsThePapers(t *testing.T) {
	m := gaussMeasurement(t)
	ladder := schedules.Geometric(20, 0.05, 40)
	for _, spread := range []float64{0, 0.1} {
		got := runWide(t, func(*Batch) Sampler {
			return REDdiff{Measurement: m, Sigmas: ladder, Rate: 0.05, Weight: 0.5, Fidelity: 2, Spread: spread}
		}, schedules.Sigma{})
		compareRows(t, got, func(sample int, h *history, x []float64, y float64) []float64 {
			m1, m2 := make([]float64, 3), make([]float64, 3)
			for i, s := range ladder {
				at := append([]float64(nil), x...)
				if spread > 0 {
					at = add(at, spread, h.next(sample))
				}
				z := h.next(sample)
				at = add(at, s, z)
				score := scoreOf(at, 1, s)
				r := dot(gaussRow, x) - y
				for j := range x {
					g := 0.5*s*(-s*score[j]-z[j])/3 + 2*gaussRow[j]*r
					m1[j] = 0.9*m1[j] + 0.1*g
					m2[j] = 0.99*m2[j] + 0.01*g*g
					hat1, hat2 := m1[j]/(1-math.Pow(0.9, float64(i+1))), m2[j]/(1-math.Pow(0.99, float64(i+1)))
					x[j] -= 0.05 * hat1 / (math.Sqrt(hat2) + 1e-8)
				}
			}
			return x
		})
	}
}

// still is noise that is none.
type still struct{}

func (still) Normal(dst []float32, at Draw) error  { clear(dst); return nil }
func (still) Uniform(dst []float32, at Draw) error { clear(dst); return nil }

// Where the gradient's mean vanishes, for a Gaussian and one level:
//
//	w s² (C + s²)⁻¹(μ − mean)/d + v Aᵀ(Aμ − y)/m = 0
func TestREDdiffFixedPoint(t *testing.T) {
	m := gaussMeasurement(t)
	const s, weight, fidelity = 2.0, 0.5, 0.1
	levels := make([]float64, 1500)
	for i := range levels {
		levels[i] = s
	}
	b := &Batch{Dim: 3, Noise: still{}, wide: &wide{
		x: starts(), mean: make([]float64, 6), score: make([]float64, 6), z: make([]float64, 6), field: gaussField[float64](schedules.Sigma{}),
	}}
	// Adam ends in a small cycle, of a few hundredths of its rate.
	const last = 1e-7
	for rate := 0.01; rate > last/2; rate /= 10 {
		if err := (REDdiff{Measurement: m, Sigmas: levels, Rate: rate, Weight: weight, Fidelity: fidelity}).Sample(context.Background(), b, nil); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 2 {
		x := b.wide.x[3*i : 3*i+3]
		// By C + s²: μ − mean + k (C+s²) Aᵀ(Aμ − y) = 0, of which Aμ is found first.
		k := fidelity * 3 / (weight * s * s)
		ca := make([]float64, 3)
		for r := range 3 {
			ca[r] = s * s * gaussRow[r]
			for c := range 3 {
				ca[r] += gaussCov[r][c] * gaussRow[c]
			}
		}
		ka := k * dot(gaussRow, ca)
		ay := (dot(gaussRow, gaussMean) + ka*gaussY[i]) / (1 + ka)
		for j := range x {
			closeTo(t, fmt.Sprint("sample ", i, " value ", j), x[j], gaussMean[j]-k*ca[j]*(ay-gaussY[i]), last/10)
		}
	}
}
