package onnxrun_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"sampleonnx/onnxrun"
)

// cotangents are v for samples: numbers that have nothing to do with them.
func cotangents(x []float32) []float32 {
	v := make([]float32, len(x))
	for i := range v {
		v[i] = float32(math.Sin(float64(7*i + 1)))
	}
	return v
}

func size(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// A sample's gradient is the same bytes in any batch, with any number of
// threads, and from many goroutines.
func TestGradientsDoNotDependOnBatchOrThreads(t *testing.T) {
	for _, net := range nets {
		dim, n := size(net.shape), 16
		if testing.Short() {
			n = 5
		}
		x, times := samples(n, dim, net.level)
		v := cotangents(x)
		var want []float32
		same := func(what string, got []float32, from int) {
			for i := range got {
				if math.Float32bits(got[i]) != math.Float32bits(want[from+i]) {
					t.Fatalf("%s: %s: element %d of sample %d is %v, alone on one thread %v",
						net.name, what, i%dim, (from+i)/dim, got[i], want[from+i])
				}
			}
		}
		for _, threads := range []int{1, 2} {
			pullback, err := open(t, net.name, threads).Pullback(net.shape...)
			if err != nil {
				t.Fatal(err)
			}
			for _, batch := range []int{1, 3, n} {
				got := make([]float32, len(x))
				for i := 0; i < n; i += batch {
					j := min(i+batch, n)
					if err := pullback(got[i*dim:j*dim], v[i*dim:j*dim], x[i*dim:j*dim], times[i:j]); err != nil {
						t.Fatal(err)
					}
				}
				if want == nil {
					want = got
				}
				same(fmt.Sprintf("batch %d, %d threads", batch, threads), got, 0)
			}
			var wg sync.WaitGroup
			got := make([]float32, 4*dim)
			for g := range 4 {
				wg.Go(func() {
					if err := pullback(got[g*dim:(g+1)*dim], v[g*dim:(g+1)*dim], x[g*dim:(g+1)*dim], times[g:g+1]); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			same("concurrently", got, 0)
		}
	}
}

// The output that comes with a gradient is the field's, and after the first call
// nothing is allocated.
func TestPullbackGivesTheFieldAndAllocatesNothing(t *testing.T) {
	for _, net := range nets {
		m := open(t, net.name, 2)
		field, err := m.Field(net.shape...)
		if err != nil {
			t.Fatal(err)
		}
		pullback, err := m.PullbackOf(t.Context(), onnxrun.FieldSpec{Shape: net.shape})
		if err != nil {
			t.Fatal(err)
		}
		x, times := samples(2, size(net.shape), net.level)
		want, out, dst, v := make([]float32, len(x)), make([]float32, len(x)), make([]float32, len(x)), cotangents(x)
		if err := field(want, x, times); err != nil {
			t.Fatal(err)
		}
		if err := pullback(out, dst, v, x, times); err != nil {
			t.Fatal(err)
		}
		var d, most float64
		for i := range want {
			d, most = max(d, math.Abs(float64(out[i]-want[i]))), max(most, math.Abs(float64(want[i])))
		}
		if !(d <= 3e-6*most) {
			t.Errorf("%s: the output differs from the field's by %.2g of its maximum", net.name, d/most)
		}
		if n := testing.AllocsPerRun(3, func() { pullback(out, dst, v, x, times) }); n != 0 && !raceEnabled {
			t.Errorf("%s: %v allocations a call", net.name, n)
		}
	}
}

func TestPullbackErrors(t *testing.T) {
	m := open(t, "mixture2.onnx", 1)
	if _, err := m.Pullback(3); err == nil {
		t.Error("a pullback of shape [3] from a network of points in the plane")
	}
	if _, err := m.PullbackOf(t.Context(), onnxrun.FieldSpec{Shape: []int{2}, OutShape: []int{10}}); err == nil {
		t.Error("a pullback of an output of shape [10] from one of points in the plane")
	}
	f, err := m.PullbackOf(t.Context(), onnxrun.FieldSpec{Shape: []int{2}})
	if err != nil {
		t.Fatal(err)
	}
	two, four := make([]float32, 2), make([]float32, 4)
	var bad *onnxrun.FormatError
	for _, err := range []error{
		f(four, two, two, two, []float64{1}), f(nil, four, two, two, []float64{1}), f(nil, two, four, two, []float64{1}), f(nil, two, two, four, []float64{1}),
	} {
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), "pullback of shape [2] to [2]: 1 times") {
			t.Errorf("error %v", err)
		}
	}
}

// corners are the means of the three normals of classes3, round their variances, and
// oval those of classes3_widths along each axis.
var (
	corners = [3][2]float64{{0, 2}, {-1.75, -1}, {1.75, -1}}
	round   = [3][2]float64{{0.04, 0.04}, {0.04, 0.04}, {0.04, 0.04}}
	oval    = [3][2]float64{{0.04, 0.09}, {0.25, 0.04}, {0.01, 0.36}}
)

// curvature is vᵀ ∂s/∂x of the score s of the normals of these variances and weights,
// noised by sigma: with p_k their probabilities at x, w_k = variance + sigma² along each
// axis and a_k = (mean_k − x)/w_k, s = Σ p_k a_k and it is
// Σ p_k ⟨v,a_k⟩ a_k − ⟨v,s⟩ s − v Σ p_k/w_k.
func curvature(v, x [2]float64, sigma float64, variances [3][2]float64, weights [3]float64) [2]float64 {
	var p, va [3]float64
	var a, w [3][2]float64
	var sum, vs float64
	var s, out [2]float64
	for k, m := range corners {
		p[k] = weights[k]
		for j := range 2 {
			w[k][j] = variances[k][j] + sigma*sigma
			a[k][j] = (m[j] - x[j]) / w[k][j]
			va[k] += v[j] * a[k][j]
			p[k] *= math.Exp(-a[k][j]*a[k][j]*w[k][j]/2) / math.Sqrt(w[k][j])
		}
		sum += p[k]
	}
	for k := range corners {
		p[k] /= sum
		vs += p[k] * va[k]
		for j := range 2 {
			s[j] += p[k] * a[k][j]
			out[j] += p[k] * (va[k]*a[k][j] - v[j]/w[k][j])
		}
	}
	return [2]float64{out[0] - vs*s[0], out[1] - vs*s[1]}
}

// The derivative of a score that is told the class is that of the class's score,
// each sample's own, in any batch; and the output beside it is the field.
func TestConditionalPullback(t *testing.T) {
	all := [3]float64{1, 1, 1}
	for _, c := range []struct {
		name      string
		variances [3][2]float64
		conds     [][]float64  // sample i is told conds[i mod 5 mod 4] …
		weights   [][3]float64 // … which are the normals of these weights
	}{
		{"classes3_widths.onnx", oval, [][]float64{{3}, {0}, {1}, {2}}, [][3]float64{all, {1, 0, 0}, {0, 1, 0}, {0, 0, 1}}},
		{"classes3.onnx", round, [][]float64{{3}, {0}, {1}, {2}}, [][3]float64{all, {1, 0, 0}, {0, 1, 0}, {0, 0, 1}}},
		// A vector c weighs class k by exp(10⁹ c_k).
		{"classes3_onehot.onnx", round, [][]float64{{0, 0, 0}, {2e-9, 1e-9, 0}, {0, 1, 0}, {0, 0, 3e-9}}, [][3]float64{all, {math.E * math.E, math.E, 1}, {0, 1, 0}, {1, 1, math.Exp(3)}}},
	} {
		m := open(t, c.name, 1)
		spec := onnxrun.FieldSpec{X: "x", Time: "sigma", Cond: "class", Out: "score", Shape: []int{2}}
		field, err := m.ConditionalOf(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		pullback, err := m.ConditionalPullbackOf(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		const n = 12
		width := len(c.conds[0])
		x, times := samples(n, 2, false)
		v := cotangents(x)
		var cond []float64
		for i := range n {
			times[i] = 0.6 + 0.2*float64(i%5)
			cond = append(cond, c.conds[i%5%4]...)
		}
		out, dst, want := make([]float32, 2*n), make([]float32, 2*n), make([]float32, 2*n)
		if err := pullback(out, dst, v, x, cond, times); err != nil {
			t.Fatal(err)
		}
		if err := field(want, x, cond, times); err != nil {
			t.Fatal(err)
		}
		for _, k := range []int{3, 5, 6, 7, 9, 11} { // more sizes than get a plan of their own: the later ones go in parts
			some := make([]float32, 2*k)
			if err := pullback(nil, some, v[:2*k], x[:2*k], cond[:k*width], times[:k]); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(some, dst[:2*k]) {
				t.Errorf("%s: other gradients among %d than among %d", c.name, k, n)
			}
		}
		for i := range n {
			exact := curvature([2]float64{float64(v[2*i]), float64(v[2*i+1])}, [2]float64{float64(x[2*i]), float64(x[2*i+1])}, times[i], c.variances, c.weights[i%5%4])
			for j := range 2 {
				if got := float64(dst[2*i+j]); !(math.Abs(got-exact[j]) <= 2e-5*(1+math.Abs(exact[j]))) {
					t.Errorf("%s: condition %v, value %d of sample %d: gradient %v, want %v", c.name, c.conds[i%5%4], j, i, got, exact[j])
				}
				if d := math.Abs(float64(out[2*i+j] - want[2*i+j])); !(d <= 1e-5) {
					t.Errorf("%s: value %d of sample %d: the output differs from the field's by %.2g", c.name, j, i, d)
				}
			}
			alone := make([]float32, 2)
			if err := pullback(nil, alone, v[2*i:2*i+2], x[2*i:2*i+2], cond[i*width:(i+1)*width], times[i:i+1]); err != nil {
				t.Fatal(err)
			}
			if alone[0] != dst[2*i] || alone[1] != dst[2*i+1] {
				t.Errorf("%s: sample %d: gradient %v alone, %v among %d", c.name, i, alone, dst[2*i:2*i+2], n)
			}
		}
	}
}

func TestConditionalPullbackErrors(t *testing.T) {
	m := open(t, "classes3.onnx", 1)
	spec := onnxrun.FieldSpec{X: "x", Time: "sigma", Out: "score", Shape: []int{2}}
	told := spec
	told.Cond = "class"
	var bad *onnxrun.FormatError
	if _, err := m.ConditionalPullbackOf(t.Context(), spec); !errors.As(err, &bad) || !strings.Contains(err.Error(), "no input is named for the condition") {
		t.Errorf("without a name: %v", err)
	}
	if _, err := m.PullbackOf(t.Context(), told); !errors.As(err, &bad) || !strings.Contains(err.Error(), "ConditionalPullbackOf do") {
		t.Errorf("PullbackOf with a class: %v", err)
	}
	told.Cond = "classes"
	if _, err := m.ConditionalPullbackOf(t.Context(), told); !errors.As(err, &bad) {
		t.Errorf("an input that is not there: %v", err)
	}
	told.Cond = "class"
	f, err := m.ConditionalPullbackOf(t.Context(), told)
	if err != nil {
		t.Fatal(err)
	}
	two := make([]float32, 2)
	if err := f(nil, two, two, two, []float64{1, 1}, []float64{1}); !errors.As(err, &bad) || !strings.Contains(err.Error(), "2 in conditions of 1") {
		t.Errorf("two classes for one sample: %v", err)
	}
}

func BenchmarkPullback(b *testing.B) {
	for _, net := range nets {
		m := open(b, net.name, 1)
		x, times := samples(8, size(net.shape), net.level)
		dst, v := make([]float32, len(x)), cotangents(x)
		field, err := m.Field(net.shape...)
		if err != nil {
			b.Fatal(err)
		}
		pullback, err := m.Pullback(net.shape...)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(net.name+"/field", func(b *testing.B) {
			for b.Loop() {
				field(dst, x, times)
			}
		})
		b.Run(net.name+"/pullback", func(b *testing.B) {
			for b.Loop() {
				pullback(dst, v, x, times)
			}
		})
	}
}
