package sampler

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func built(t testing.TB) func(Operator, error) Operator {
	return func(a Operator, err error) Operator {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
}

func normals(r *rand.Rand, n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = r.NormFloat64()
	}
	return v
}

// operators is one of every kind, with the size of what A A⁺ A may miss of A.
func operators(t testing.TB) map[string]struct {
	a    Operator
	miss float64
} {
	ok, r := built(t), rand.New(rand.NewPCG(1, 2))
	known := make([]bool, 3*8*6)
	for i := range known {
		known[i] = r.IntN(3) == 0
	}
	low := make([]float64, 20*30) // of rank 7
	for range 7 {
		u, v := normals(r, 20), normals(r, 30)
		for i := range low {
			low[i] += u[i/30] * v[i%30]
		}
	}
	return map[string]struct {
		a    Operator
		miss float64
	}{
		"mask":          {ok(Mask(known)), 1e-13},
		"average":       {ok(Average(3, 8, 6, 2)), 1e-13},
		"average of 1":  {ok(Average(1, 5, 3, 1)), 1e-13},
		"gray":          {ok(Gray(3, 48)), 1e-13},
		"sharp blur":    {ok(Blur(2, 9, 7, 0.5, 0)), 1e-12},
		"blur":          {ok(Blur(1, 16, 12, 1.5, 0)), 0.01},
		"wide blur":     {ok(Blur(1, 6, 5, 4, 0.1)), 0.1},
		"broad matrix":  {ok(Matrix(normals(r, 7*40), 40)), 1e-12},
		"tall matrix":   {ok(Matrix(normals(r, 40*7), 7)), 1e-12},
		"square matrix": {ok(Matrix(normals(r, 12*12), 12)), 1e-11},
		"low rank":      {ok(Matrix(low, 30)), 1e-11},
		"one row":       {ok(Matrix([]float64{3, 0, -4}, 3)), 1e-13},
	}
}

func apply(a Operator, x []float64) []float64 {
	rows, _ := a.Size()
	y := normals(rand.New(rand.NewPCG(9, 9)), rows) // what was there is overwritten
	a.Apply(y, x)
	return y
}

func back(f func(x, y []float64), a Operator, y []float64) []float64 {
	_, cols := a.Size()
	x := normals(rand.New(rand.NewPCG(9, 9)), cols)
	f(x, y)
	return x
}

func distance(a, b []float64) float64 {
	sum := 0.0
	for i, v := range a {
		sum += (v - b[i]) * (v - b[i])
	}
	return math.Sqrt(sum)
}

func TestOperators(t *testing.T) {
	for name, c := range operators(t) {
		t.Run(name, func(t *testing.T) {
			rows, cols := c.a.Size()
			r := rand.New(rand.NewPCG(3, 4))
			for range 5 {
				x, x2, y, y2 := normals(r, cols), normals(r, cols), normals(r, rows), normals(r, rows)
				ax := apply(c.a, x)
				closeTo(t, "⟨Ax, y⟩", dot(ax, y), dot(x, back(c.a.Adjoint, c.a, y)), 1e-12)

				// Linear, all three.
				mix := make([]float64, cols)
				for i := range mix {
					mix[i] = 2*x[i] - 3*x2[i]
				}
				want, ax2 := make([]float64, rows), apply(c.a, x2)
				for i := range want {
					want[i] = 2*ax[i] - 3*ax2[i]
				}
				closeTo(t, "A(2x−3x')", distance(apply(c.a, mix), want), 0, 1e-12)

				// The Moore–Penrose conditions.
				plus := func(y []float64) []float64 { return back(c.a.Inverse, c.a, y) }
				closeTo(t, "A A⁺ A x", distance(apply(c.a, plus(ax)), ax), 0, c.miss*math.Sqrt(dot(x, x)))
				py := plus(y)
				closeTo(t, "A⁺ A A⁺ y", distance(plus(apply(c.a, py)), py), 0, 1e-10)
				closeTo(t, "A A⁺ is symmetric", dot(apply(c.a, py), y2), dot(y, apply(c.a, plus(y2))), 1e-10)
				closeTo(t, "A⁺ A is symmetric", dot(plus(ax), x2), dot(x, plus(ax2)), 1e-10)
			}
		})
	}
}

// The blur is the convolution it says it is, with the image reflected.
func TestBlurIsAConvolution(t *testing.T) {
	const h, w, sigma = 7, 10, 1.3
	a := built(t)(Blur(2, h, w, sigma, 0))
	x := normals(rand.New(rand.NewPCG(5, 6)), 2*h*w)
	got := apply(a, x)
	radius := int(math.Ceil(4 * sigma))
	mirror := func(i, n int) int {
		for i < 0 || i >= n {
			if i < 0 {
				i = -1 - i
			} else {
				i = 2*n - 1 - i
			}
		}
		return i
	}
	total := 0.0
	for r := -radius; r <= radius; r++ {
		total += math.Exp(-float64(r*r) / (2 * sigma * sigma))
	}
	for c := range 2 {
		for i := range h {
			for j := range w {
				want := 0.0
				for p := -radius; p <= radius; p++ {
					for q := -radius; q <= radius; q++ {
						g := math.Exp(-float64(p*p+q*q)/(2*sigma*sigma)) / total / total
						want += g * x[(c*h+mirror(i+p, h))*w+mirror(j+q, w)]
					}
				}
				closeTo(t, fmt.Sprint("pixel ", c, i, j), got[(c*h+i)*w+j], want, 1e-12)
			}
		}
	}
}

func TestOperatorsByHand(t *testing.T) {
	ok := built(t)
	for _, c := range []struct {
		name string
		a    Operator
		x, y []float64
	}{
		{"mask", ok(Mask([]bool{false, true, true, false})), []float64{1, 2, 3, 4}, []float64{2, 3}},
		{"average", ok(Average(2, 2, 4, 2)), []float64{1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 4, 0, 0, 4, 0, 0}, []float64{3.5, 5.5, 1, 1}},
		{"gray", ok(Gray(3, 2)), []float64{1, 2, 3, 4, 5, 6}, []float64{9 / math.Sqrt(3), 12 / math.Sqrt(3)}},
		{"matrix", ok(Matrix([]float64{1, 2, 3, 4, 5, 6}, 3)), []float64{1, 0, -1}, []float64{-2, -2}},
	} {
		closeTo(t, c.name, distance(apply(c.a, c.x), c.y), 0, 1e-15)
	}
}

func TestOperatorsRefuse(t *testing.T) {
	for name, f := range map[string]func() (Operator, error){
		"nothing known":   func() (Operator, error) { return Mask(make([]bool, 5)) },
		"ragged blocks":   func() (Operator, error) { return Average(1, 8, 6, 4) },
		"no blocks":       func() (Operator, error) { return Average(1, 8, 6, 0) },
		"no channels":     func() (Operator, error) { return Gray(0, 6) },
		"no width":        func() (Operator, error) { return Blur(1, 8, 8, 0, 0) },
		"NaN width":       func() (Operator, error) { return Blur(1, 8, 8, math.NaN(), 0) },
		"cut at 1":        func() (Operator, error) { return Blur(1, 8, 8, 1, 1) },
		"wider than wide": func() (Operator, error) { return Blur(1, 8, 8, 1e6, 0) },
		"too high":        func() (Operator, error) { return Blur(1, 1<<20, 8, 1, 0) },
		"ragged matrix":   func() (Operator, error) { return Matrix(make([]float64, 5), 2) },
		"zero matrix":     func() (Operator, error) { return Matrix(make([]float64, 6), 2) },
		"NaN in a matrix": func() (Operator, error) { return Matrix([]float64{1, math.NaN()}, 2) },
		"large matrix":    func() (Operator, error) { return Matrix(make([]float64, 1025*1025), 1025) },
	} {
		if a, err := f(); err == nil {
			t.Errorf("%s: %v, no error", name, a)
		}
	}
}

// Imposing a grey image is the published colorization: the colours in an orthonormal basis, of which the
// first coordinate is replaced by the grey's.
func TestGrayIsThePublishedColorization(t *testing.T) {
	basis := [3][3]float64{
		{1 / math.Sqrt(3), -math.Sqrt(2. / 3), 0},
		{1 / math.Sqrt(3), 1 / math.Sqrt(6), 1 / math.Sqrt(2)},
		{1 / math.Sqrt(3), 1 / math.Sqrt(6), -1 / math.Sqrt(2)},
	}
	published := [3][3]float64{{.57735014, -.81649649, 4.7008697e-8}, {.57735026, .40824834, .70710671}, {.57735026, .40824822, -.70710683}}
	const pixels = 5
	r := rand.New(rand.NewPCG(8, 8))
	x, grey := normals(r, 3*pixels), normals(r, pixels)
	m := Measurement{A: built(t)(Gray(3, pixels))}
	for _, g := range grey { // the same in three channels, seen in the basis
		m.Y = append(m.Y, g*(basis[0][0]+basis[1][0]+basis[2][0]))
	}
	want := make([]float64, 3*pixels)
	for p := range pixels {
		var u [3]float64
		for k := range 3 {
			for c := range 3 {
				u[k] += x[c*pixels+p] * basis[c][k]
				closeTo(t, "basis", basis[c][k], published[c][k], 3e-7)
			}
		}
		u[0] = m.Y[p]
		for c := range 3 {
			for k := range 3 {
				want[c*pixels+p] += u[k] * basis[c][k]
			}
		}
	}
	toward(m, new(bench).fit(m.A), 0, x, nil, 1, 0, 1)
	closeTo(t, "colours", distance(x, want), 0, 1e-12)
}
