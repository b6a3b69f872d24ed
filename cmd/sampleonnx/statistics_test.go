package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sampleonnx/cmd/sampleonnx/internal/npy"
	"sampleonnx/cmd/sampleonnx/internal/stats"
)

// chance is the probability with which each of the tests below fails although all is right. Seeds are fixed, so it was spent once.
const chance = 1e-6

func drawWith(t *testing.T, name string, args ...string) []float32 {
	t.Helper()
	out := filepath.Join(t.TempDir(), "x.npy")
	must(t, append([]string{model(name), "-q", "-s", "2026", "-o", out}, args...)...)
	x, err := readNPY(t, out).Float32s()
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func law(t *testing.T, name, key string) []float64 {
	t.Helper()
	file, err := npy.ReadZipFile(t.Context(), filepath.Join(models, name+".law.npz"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := file[key].Float64s()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// With data N(μ, Σ) each Langevin step x + α s(x, σ) + √(2α) z, s = −(Σ+σ²I)⁻¹(x−μ), maps a normal law to a normal law, so that the law of the
// samples is known exactly, discretisation and all.
func TestGaussianExactly(t *testing.T) {
	const n, d, levels, steps, eps = 20000, 4, 20, 20, 2e-4
	mu, sigma := law(t, "gaussian4", "mu"), law(t, "gaussian4", "cov")
	mean, cov := make([]float64, d), scaled(64) // N(0, 8²)
	for i := range levels {
		level := 8 * math.Pow(0.05/8, float64(i)/(levels-1))
		alpha := eps * level * level / (0.05 * 0.05)
		a := pull(sigma, level, alpha)
		for range steps {
			mean = add(mu, apply(a, sub(mean, mu)), 1)
			cov = add(product(product(a, cov), a), scaled(1), 2*alpha) // a is symmetric
		}
	}
	a := pull(sigma, 0.05, 0.05*0.05) // the last step, without noise
	mean, cov = add(mu, apply(a, sub(mean, mu)), 1), product(product(a, cov), a)

	x := drawWith(t, "gaussian4", "-n", "20000")
	var tests []float64
	got := stats.MomentsOf(float64s(x), d)
	for i := range d {
		tests = append(tests, (got.Mean[i]-mean[i])/math.Sqrt(cov[i*d+i]/n))
		for j := range i + 1 {
			c := 0.0
			for k := range n {
				c += (float64(x[k*d+i]) - mean[i]) * (float64(x[k*d+j]) - mean[j]) / n
			}
			// The variance of an empirical covariance, of normals (Isserlis).
			tests = append(tests, (c-cov[i*d+j])/math.Sqrt((cov[i*d+i]*cov[j*d+j]+cov[i*d+j]*cov[i*d+j])/n))
		}
	}
	limit := stats.TwoSided(chance / float64(len(tests)))
	for i, z := range tests {
		if math.Abs(z) > limit {
			t.Errorf("moment %d: z = %.2f", i, z)
		}
	}
}

// pull is I − α(Σ+σ²I)⁻¹.
func pull(sigma []float64, level, alpha float64) []float64 {
	return add(scaled(1), inverse(add(sigma, scaled(1), level*level)), -alpha)
}

func scaled(v float64) []float64 {
	m := make([]float64, 16)
	for i := range 4 {
		m[5*i] = v
	}
	return m
}

func add(a, b []float64, f float64) []float64 {
	out := slices.Clone(a)
	for i := range out {
		out[i] += f * b[i]
	}
	return out
}

func sub(a, b []float64) []float64 { return add(a, b, -1) }

func apply(m, v []float64) []float64 {
	out := make([]float64, 4)
	for i := range 16 {
		out[i/4] += m[i] * v[i%4]
	}
	return out
}

func product(a, b []float64) []float64 {
	out := make([]float64, 16)
	for i := range 4 {
		for j := range 4 {
			for k := range 4 {
				out[4*i+j] += a[4*i+k] * b[4*k+j]
			}
		}
	}
	return out
}

// inverse of a positive definite matrix, by Gauss–Jordan elimination.
func inverse(m []float64) []float64 {
	a, out := slices.Clone(m), scaled(1)
	for c := range 4 {
		p := a[5*c]
		for j := range 4 {
			a[4*c+j] /= p
			out[4*c+j] /= p
		}
		for r := range 4 {
			if f := a[4*r+c]; r != c {
				for j := range 4 {
					a[4*r+j] -= f * a[4*c+j]
					out[4*r+j] -= f * out[4*c+j]
				}
			}
		}
	}
	return out
}

// modes counts which of the mixture's modes each point is nearest to.
func modes(x []float32, means []float64) []int {
	counts := make([]int, len(means)/2)
	for i := 0; i < len(x); i += 2 {
		best, at := math.Inf(1), 0
		for k := range counts {
			if d := math.Hypot(float64(x[i])-means[2*k], float64(x[i+1])-means[2*k+1]); d < best {
				best, at = d, k
			}
		}
		counts[at]++
	}
	return counts
}

func weightsTail(counts []int, weights []float64) float64 {
	n, x := 0, 0.0
	for _, c := range counts {
		n += c
	}
	for k, c := range counts {
		want := weights[k] * float64(n)
		x += (float64(c) - want) * (float64(c) - want) / want
	}
	return stats.ChiSquareTail(x, len(counts)-1)
}

// Annealed Langevin dynamics finds the weights of a mixture's modes; plain Langevin dynamics, started from a unit normal at the smallest noise,
// does not.
func TestMixtureWeights(t *testing.T) {
	means, weights := law(t, "mixture2", "means"), law(t, "mixture2", "weights")
	for _, args := range [][]string{{}, {"--sampler", "pc", "--steps", "100", "--corrector", "none"}, {"--sampler", "ode"}} {
		counts := modes(drawWith(t, "mixture2", append(args, "-n", "5000")...), means)
		if p := weightsTail(counts, weights); p < chance {
			t.Errorf("%v: counts %v, tail probability %.2g", args, counts, p)
		}
	}
	plain := modes(drawWith(t, "mixture2", "--sampler", "langevin", "-n", "2000"), means)
	if p := weightsTail(plain, weights); p > chance {
		t.Errorf("plain Langevin dynamics: counts %v, tail probability %.2g: it should get the weights wrong", plain, p)
	}
}

// The samples of the trained network are distributed as those that the reference drew with its own random numbers: two-sample
// Kolmogorov–Smirnov tests of projections.
func TestSwissRollAsReference(t *testing.T) {
	for recording, args := range map[string][]string{
		"swissroll_ald":   {},
		"swissroll_pc_ve": {"--sampler", "pc", "--predictor", "ancestral_sampling", "--corrector", "ald", "--snr", "0.16", "--steps", "200"},
	} {
		a := readNPY(t, filepath.Join(golden, recording+"_samples.npy"))
		want, err := a.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		n := len(want) / 2
		got := drawWith(t, "swissroll", append(args, "-n", "5000")...)
		projections := []func(x, y float64) float64{
			func(x, y float64) float64 { return x }, func(x, y float64) float64 { return y },
			func(x, y float64) float64 { return x + y }, func(x, y float64) float64 { return x - y },
			math.Hypot, math.Atan2,
		}
		for k, p := range projections {
			// P(D > d) ≤ 2 exp(−2 d² nm/(n+m)).
			limit := math.Sqrt(-math.Log(chance/float64(2*len(projections))) / 2 * 2 / float64(n))
			if d := distance(project(got, p), project(want, p)); d > limit {
				t.Errorf("%s: projection %d: D = %.4f, above %.4f", recording, k, d, limit)
			}
		}
	}
}

func project(x []float32, p func(x, y float64) float64) []float64 {
	var out []float64
	for i := 0; i < len(x); i += 2 {
		out = append(out, p(float64(x[i]), float64(x[i+1])))
	}
	slices.Sort(out)
	return out
}

// distance is the largest between two empirical distribution functions.
func distance(a, b []float64) float64 {
	var i, j int
	most := 0.0
	for i < len(a) && j < len(b) {
		if a[i] <= b[j] {
			i++
		} else {
			j++
		}
		most = max(most, math.Abs(float64(i)/float64(len(a))-float64(j)/float64(len(b))))
	}
	return most
}

// The empirical law's score leads every sample onto one of 100 digits, each as often as any other (χ²).
func TestDigitsUniformly(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	t.Log(must(t, "verify", model("digits_empirical"), filepath.Join(golden, "digits_empirical_ald_stats.json"), "-n", "1000", "--alpha", "1e-6", "--progress", "none"))
}

// Every recorded statistic of the trained networks of images: features of our own draws against those of the reference's.
func TestImagesAsReference(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	for _, dir := range places(t) {
		for _, path := range glob(t, filepath.Join(dir, "golden", "*_stats.json")) {
			if strings.HasPrefix(filepath.Base(path), "digits_empirical") {
				continue // below
			}
			t.Run(filepath.Base(path), func(t *testing.T) {
				var s goldenStats
				text, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal(text, &s); err != nil {
					t.Fatal(err)
				}
				net := modelOf(dir, s.Meta.Model)
				if net == "" {
					t.Skipf("%s is not here", s.Meta.Model)
				}
				args := []string{"verify", net, path, "--alpha", "1e-6", "--progress", "none"}
				if dir == filepath.Dir(models) { // fewer, to be quick
					args = append(args, "-n", "12")
				}
				t.Log(must(t, args...))
			})
		}
	}
}

// Moments of our own draws against those of the reference's larger runs.
func TestMomentsAsReference(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	for _, name := range []string{"gaussian4", "mixture2", "swissroll"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Log(must(t, "verify", model(name), filepath.Join(golden, "stats.json"), "-n", "5000", "--alpha", "1e-6", "--progress", "none"))
		})
	}
}

func TestTailProbabilities(t *testing.T) {
	for _, c := range []struct {
		x    float64
		k    int
		want float64
	}{{3.841458820694124, 1, 0.05}, {124.34211340400407, 100, 0.05}, {0.3, 2, math.Exp(-0.15)}, {80, 2, math.Exp(-40)}, {0, 5, 1}} {
		if got := stats.ChiSquareTail(c.x, c.k); math.Abs(got/c.want-1) > 1e-9 {
			t.Errorf("chi-square tail of %v with %d: %v, want %v", c.x, c.k, got, c.want)
		}
	}
	if z := stats.TwoSided(0.05); math.Abs(z-1.959963984540054) > 1e-9 {
		t.Error(z)
	}
	m := stats.MomentsOf([]float64{1, 10, 2, 20, 3, 30, 4, 40}, 2)
	if m.N != 4 || m.Mean[0] != 2.5 || m.Mean[1] != 25 || math.Abs(m.Variance[0]-5./3) > 1e-12 {
		t.Errorf("%+v", m)
	}
	if p := stats.SameTail([]int{50, 50, 0}, []int{500, 500, 0}); p < 0.99 {
		t.Error(p)
	}
	if f := features([]float32{0, 1, 1, 3}, []int{1, 2, 2}); f[0] != 1.25 || math.Abs(f[1]-math.Sqrt(1.1875)) > 1e-12 || f[2] != 2.5 {
		t.Error(f)
	}
}
