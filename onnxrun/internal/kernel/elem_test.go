package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// elemKernel is an element-wise kernel and its truth in float64.
type elemKernel struct {
	name  string
	run   func(dst, a, b []float32) // b nil unless two
	truth func(a, b float64) float64
	two   bool
	ulp   float64 // largest error allowed, in units of the last place of the truth
	far   float64 // and beyond ±20, if not the same
	abs   float64 // or less than this in absolute terms
	lo    float64 // range in which the error is measured
	hi    float64
}

func unary(f func(dst, a []float32)) func(dst, a, b []float32) {
	return func(dst, a, b []float32) { f(dst, a) }
}

func scalar(f func(dst, a []float32, s float32), s float32) func(dst, a, b []float32) {
	return func(dst, a, b []float32) { f(dst, a, s) }
}

var elemKernels = []elemKernel{
	{name: "Add", run: Add, two: true, ulp: .5, truth: func(a, b float64) float64 { return a + b }},
	{name: "Sub", run: Sub, two: true, ulp: .5, truth: func(a, b float64) float64 { return a - b }},
	{name: "Mul", run: Mul, two: true, ulp: .5, truth: func(a, b float64) float64 { return a * b }},
	{name: "Div", run: Div, two: true, ulp: .5, truth: func(a, b float64) float64 { return a / b }},
	{name: "Max", run: Max, two: true, truth: math.Max},
	{name: "Min", run: Min, two: true, truth: math.Min},
	{name: "AddScalar", run: scalar(AddScalar, 1.7), ulp: .5, truth: func(a, b float64) float64 { return a + float64(float32(1.7)) }},
	{name: "SubScalar", run: scalar(SubScalar, 1.7), ulp: .5, truth: func(a, b float64) float64 { return a - float64(float32(1.7)) }},
	{name: "RsubScalar", run: scalar(RsubScalar, 1.7), ulp: .5, truth: func(a, b float64) float64 { return float64(float32(1.7)) - a }},
	{name: "MulScalar", run: scalar(MulScalar, 1.7), ulp: .5, truth: func(a, b float64) float64 { return a * float64(float32(1.7)) }},
	{name: "DivScalar", run: scalar(DivScalar, 1.7), ulp: .5, truth: func(a, b float64) float64 { return a / float64(float32(1.7)) }},
	{name: "RdivScalar", run: scalar(RdivScalar, 1.7), ulp: .5, truth: func(a, b float64) float64 { return float64(float32(1.7)) / a }},
	{name: "MaxScalar", run: scalar(MaxScalar, 1.5), truth: func(a, b float64) float64 { return math.Max(a, 1.5) }},
	{name: "MinScalar", run: scalar(MinScalar, 1.5), truth: func(a, b float64) float64 { return math.Min(a, 1.5) }},
	{name: "ScaleShift", run: func(dst, a, b []float32) { ScaleShift(dst, a, 1.5, -0.25) }, ulp: 1, abs: 1e-6, truth: func(a, b float64) float64 { return a*1.5 - 0.25 }},
	{name: "Neg", run: unary(Neg), truth: func(a, b float64) float64 { return -a }},
	{name: "Abs", run: unary(Abs), truth: func(a, b float64) float64 { return math.Abs(a) }},
	{name: "Floor", run: unary(Floor), truth: func(a, b float64) float64 { return math.Floor(a) }},
	{name: "Ceil", run: unary(Ceil), truth: func(a, b float64) float64 { return math.Ceil(a) }},
	{name: "Round", run: unary(Round), truth: func(a, b float64) float64 { return math.RoundToEven(a) }},
	{name: "Sqrt", run: unary(Sqrt), ulp: .5, truth: func(a, b float64) float64 { return math.Sqrt(a) }},
	{name: "Reciprocal", run: unary(Reciprocal), ulp: .5, truth: func(a, b float64) float64 { return 1 / a }},
	{name: "Relu", run: unary(Relu), truth: func(a, b float64) float64 { return math.Max(a, 0) }},
	{name: "LeakyRelu", run: scalar(LeakyRelu, 0.25), ulp: .5, truth: func(a, b float64) float64 {
		if a < 0 {
			return a * 0.25
		}
		return a
	}},
	{name: "Clip", run: func(dst, a, b []float32) { Clip(dst, a, -1, 2) }, truth: func(a, b float64) float64 { return math.Min(math.Max(a, -1), 2) }},
	{name: "Exp", run: unary(Exp), ulp: 1, lo: -104, hi: 89, truth: func(a, b float64) float64 { return math.Exp(a) }},
	{name: "Log", run: unary(Log), ulp: 1, lo: 1e-6, hi: 4, truth: func(a, b float64) float64 { return math.Log(a) }},
	{name: "Sigmoid", run: unary(Sigmoid), ulp: 3, far: 5, lo: -87, hi: 30, truth: func(a, b float64) float64 { return 1 / (1 + math.Exp(-a)) }},
	{name: "SiLU", run: unary(SiLU), ulp: 4.4, far: 6, abs: 1e-38, lo: -87, hi: 30, truth: func(a, b float64) float64 {
		if math.IsInf(a, -1) {
			return math.NaN() // as Sigmoid and Mul in turn
		}
		return a / (1 + math.Exp(-a))
	}},
	{name: "Tanh", run: unary(Tanh), ulp: 2, lo: -12, hi: 12, truth: func(a, b float64) float64 { return math.Tanh(a) }},
	{name: "Elu", run: scalar(Elu, 1), ulp: 2, lo: -20, hi: 5, truth: func(a, b float64) float64 {
		if a > 0 {
			return a
		}
		return math.Expm1(a)
	}},
	{name: "Softplus", run: unary(Softplus), ulp: 2, abs: 1e-38, lo: -87, hi: 40, truth: func(a, b float64) float64 {
		return math.Max(a, 0) + math.Log1p(math.Exp(-math.Abs(a)))
	}},
	{name: "Erf", run: unary(Erf), ulp: 2, lo: -5, hi: 5, truth: func(a, b float64) float64 { return math.Erf(a) }},
	{name: "Gelu", run: unary(Gelu), ulp: 1.5, abs: 6.5e-8, lo: -8, hi: 8, truth: func(a, b float64) float64 {
		return limit(a, a*0.5*math.Erfc(-a*math.Sqrt2/2))
	}},
	{name: "GeluTanh", run: unary(GeluTanh), ulp: 1.5, abs: 6.5e-8, lo: -8, hi: 8, truth: func(a, b float64) float64 {
		return limit(a, a/(1+math.Exp(-2*math.Sqrt(2/math.Pi)*(a+0.044715*a*a*a))))
	}},
	{name: "Sin", run: unary(Sin), ulp: 2, abs: 1e-10, lo: -9e3, hi: 9e3, truth: func(a, b float64) float64 { return math.Sin(a) }},
	{name: "Cos", run: unary(Cos), ulp: 2, abs: 1e-10, lo: -9e3, hi: 9e3, truth: func(a, b float64) float64 { return math.Cos(a) }},
}

// limit is y, but 0 at -Inf.
func limit(x, y float64) float64 {
	if math.IsInf(x, -1) {
		return 0
	}
	return y
}

// ulpOf is the distance of float32s around x.
func ulpOf(x float64) float64 {
	_, e := math.Frexp(x)
	return math.Ldexp(1, max(e-24, -149))
}

// elemError returns the error of got in ulp of want; 0 if it is right.
func elemError(got float32, want float64) float64 {
	g := float64(got)
	switch {
	case math.IsNaN(want) || math.IsNaN(g):
		if math.IsNaN(want) && math.IsNaN(g) {
			return 0
		}
		return math.Inf(1)
	case float64(float32(want)) == g:
		return 0
	case math.IsInf(float64(float32(want)), 0) || math.IsInf(g, 0):
		return math.Inf(1)
	}
	return math.Abs(g-want) / ulpOf(want)
}

var specials = []float32{0, float32(math.Copysign(0, -1)), 1, -1, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()),
	1e-45, -1e-45, 1e-39, -1e-39, 1.17549435e-38, math.MaxFloat32, -math.MaxFloat32, 100, -100, 200, -200, 88.72, -87.4, -103.9, -105, 1e-20, -1e-20, 0.625, 9999, 10001, -3e5, 1e30, 0.5, -0.5}

func TestElemAccuracy(t *testing.T) {
	n := rounds(200000)
	eachISA(t, func(t *testing.T) {
		for _, k := range elemKernels {
			r := rand.New(rand.NewPCG(1, 2))
			lo, hi := k.lo, k.hi
			if lo == hi {
				lo, hi = -10, 10
			}
			a, b, dst := make([]float32, n), make([]float32, n), make([]float32, n)
			for i := range a {
				a[i] = float32(lo + (hi-lo)*r.Float64())
				if i%4 == 0 { // close to 0, over many magnitudes
					a[i] = float32(math.Copysign(math.Exp(-30*r.Float64()), float64(a[i])))
				}
				b[i] = float32(r.NormFloat64())
			}
			copy(a, specials)
			k.run(dst, a, b)
			type miss struct {
				ulp   float64
				where int
			}
			var near, far miss
			for i, v := range dst {
				want := k.truth(float64(a[i]), float64(b[i]))
				worst := &near
				if k.far > 0 && math.Abs(float64(a[i])) > 20 {
					worst = &far
				}
				// In a denormal truth the hardware rounds right, and so must we
				// in the operations it has; elsewhere the absolute error counts.
				if e := elemError(v, want); e > worst.ulp && !(math.Abs(float64(v)-want) <= k.abs) {
					*worst = miss{e, i}
				}
			}
			check := func(e miss, most float64) {
				if at := e.where; e.ulp > most+1e-6 {
					t.Errorf("%s(%v, %v) is %v, want %v: %.2f ulp", k.name, a[at], b[at], dst[at], k.truth(float64(a[at]), float64(b[at])), e.ulp)
				} else if testing.Verbose() && most > .5 {
					t.Logf("%s: %.2f ulp", k.name, e.ulp)
				}
			}
			check(near, k.ulp)
			check(far, k.far)
		}
	})
}

// Every length, offset, and place gives an element the same bits, and writes
// nothing else.
func TestElemBits(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 4))
		const most = 68
		for _, k := range elemKernels {
			a, b := random(r, most), random(r, most)
			for i := range a {
				if i%5 == 0 {
					a[i] = specials[r.IntN(len(specials))]
				}
				if k.lo == 1e-6 {
					a[i] = float32(math.Abs(float64(a[i])))
				}
			}
			want := make([]float32, most)
			for i := range want {
				k.run(want[i:i+1], a[i:i+1], b[i:i+1])
			}
			for n := 0; n < most; n++ {
				off := r.IntN(most - n)
				what := fmt.Sprint(k.name, n, off)
				whole, dst := guarded(n)
				k.run(dst, a[off:], b[off:])
				checkGuard(t, whole)
				sameBits(t, what, dst, want[off:off+n])
				whole, dst = guarded(n)
				copy(dst, a[off:])
				k.run(dst, dst, b[off:])
				checkGuard(t, whole)
				sameBits(t, what+" in place", dst, want[off:off+n])
				if k.two {
					copy(dst, b[off:])
					k.run(dst, a[off:], dst)
					sameBits(t, what+" in place of the second", dst, want[off:off+n])
				}
			}
		}
	})
}

func TestAxpyMulAdd(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(5, 6))
		for n := 0; n < 68; n++ {
			x, y, z := random(r, n), random(r, n), random(r, n)
			whole, dst := guarded(n)
			copy(dst, z)
			Axpy(dst, x, 1.5)
			checkGuard(t, whole)
			for i := range dst {
				want := float64(x[i])*1.5 + float64(z[i])
				if e := math.Abs(float64(dst[i]) - want); e > 2e-7*(math.Abs(want)+math.Abs(float64(x[i]))) {
					t.Fatalf("Axpy: %v, want %v", dst[i], want)
				}
			}
			copy(dst, z)
			MulAdd(dst, x, y)
			checkGuard(t, whole)
			for i := range dst {
				want := float64(x[i])*float64(y[i]) + float64(z[i])
				if e := math.Abs(float64(dst[i]) - want); e > 2e-7*(math.Abs(want)+math.Abs(float64(x[i]*y[i]))) {
					t.Fatalf("MulAdd: %v, want %v", dst[i], want)
				}
			}
		}
	})
}

func TestSiLUIsSigmoidMul(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		x := random(rand.New(rand.NewPCG(7, 8)), 1000)
		a, b := make([]float32, len(x)), make([]float32, len(x))
		SiLU(a, x)
		Sigmoid(b, x)
		Mul(b, b, x)
		sameBits(t, "SiLU", a, b)
	})
}

func TestElemMisuse(t *testing.T) {
	x := make([]float32, 8)
	mustPanic(t, "a", func() { Add(x, x[:7], x) })
	mustPanic(t, "b", func() { Add(x, x, x[:7]) })
	mustPanic(t, "src", func() { Exp(x, x[:7]) })
}

func TestReduce(t *testing.T) {
	nan := float32(math.NaN())
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(9, 9))
		for n := 0; n < 300; n++ {
			big := random(r, n+5)
			off := r.IntN(5)
			x := big[off : off+n]
			for i := range x {
				x[i] = x[i]*3 + 1000
			}
			var s, q float64
			m := math.Inf(-1)
			for _, v := range x {
				s += float64(v)
				m = math.Max(m, float64(v))
			}
			mean := s / float64(max(n, 1))
			for _, v := range x {
				q += (float64(v) - mean) * (float64(v) - mean)
			}
			if got := Sum(x); math.Abs(got-s) > 1e-14*math.Abs(s) {
				t.Fatalf("Sum of %d: %v, want %v", n, got, s)
			}
			if got := SumSquares(x, mean); math.Abs(got-q) > 1e-13*q {
				t.Fatalf("SumSquares of %d: %v, want %v", n, got, q)
			}
			if got := MaxOf(x); float64(got) != m {
				t.Fatalf("MaxOf %d: %v, want %v", n, got, m)
			}
			moved := append(make([]float32, 3), x...)[3:]
			if Sum(moved) != Sum(x) || SumSquares(moved, mean) != SumSquares(x, mean) {
				t.Fatal("a sum depends on the place")
			}
			if n > 0 {
				x[r.IntN(n)] = nan
				if got := MaxOf(x); got == got {
					t.Fatalf("MaxOf %d with NaN: %v", n, got)
				}
				if got := Sum(x); got == got {
					t.Fatalf("Sum of %d with NaN: %v", n, got)
				}
			}
		}
		inf := []float32{negInf, negInf}
		if MaxOf(inf) != negInf {
			t.Fatal("MaxOf -Inf")
		}
	})
}

func TestSoftmaxRow(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(10, 11))
		for n := 1; n < 200; n++ {
			x := random(r, n)
			for i := range x {
				x[i] = x[i]*10 + 500
			}
			if n > 2 {
				x[1] = negInf
			}
			m := float64(MaxOf(x))
			var s float64
			for _, v := range x {
				s += math.Exp(float64(v) - m)
			}
			whole, dst := guarded(n)
			SoftmaxRow(dst, x)
			checkGuard(t, whole)
			for i, v := range dst {
				want := math.Exp(float64(x[i])-m) / s
				if math.Abs(float64(v)-want) > 4e-7*want+1e-44 {
					t.Fatalf("n %d: %v, want %v", n, v, want)
				}
			}
			SoftmaxRow(x, x)
			sameBits(t, "in place", x, dst)
		}
	})
}

func TestElemAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	eachISA(t, func(t *testing.T) {
		x := make([]float32, 67)
		for _, k := range elemKernels {
			if n := testing.AllocsPerRun(10, func() { k.run(x, x, x) }); n != 0 {
				t.Errorf("%s: %v allocations", k.name, n)
			}
		}
		if n := testing.AllocsPerRun(10, func() { SoftmaxRow(x, x) }); n != 0 {
			t.Errorf("SoftmaxRow: %v allocations", n)
		}
	})
}

func BenchmarkElem(b *testing.B) {
	const n = 4096 // 16 KiB a slice: in the second-level cache at most
	r := rand.New(rand.NewPCG(1, 2))
	x, y, dst := random(r, n), random(r, n), make([]float32, n)
	Abs(x, x)
	bench := func(name string, f func()) {
		b.Run(name, func(b *testing.B) {
			eachISABench(b, func(b *testing.B) {
				for b.Loop() {
					f()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/element")
				b.ReportMetric(4*n*float64(b.N)/b.Elapsed().Seconds()/1e9, "GB/s") // of dst
			})
		})
	}
	for _, k := range elemKernels {
		bench(k.name, func() { k.run(dst, x, y) })
	}
	bench("Axpy", func() { Axpy(dst, x, 1e-9) })
	bench("Sum", func() { Sum(x) })
	bench("SumSquares", func() { SumSquares(x, 1) })
	bench("MaxOf", func() { MaxOf(x) })
	bench("SoftmaxRow", func() { SoftmaxRow(dst, x) })
}

// The generic twin and the assembly agree to within both their errors; the two
// vector instruction sets agree to the bit, so that what one machine computes
// another repeats.
func TestElemTwins(t *testing.T) {
	best := isa
	defer func() { isa = best }()
	r := rand.New(rand.NewPCG(12, 13))
	for _, k := range elemKernels {
		for n := 0; n < 68; n++ {
			a, b := random(r, n), random(r, n)
			for i := range a {
				a[i] *= 8
				if k.lo == 1e-6 {
					a[i] = float32(math.Abs(float64(a[i])))
				}
				if i%9 == 0 {
					a[i] = specials[r.IntN(len(specials))]
				}
			}
			var got [len(levelNames)][]float32
			for _, l := range reachable() {
				isa = l
				got[l] = make([]float32, n)
				k.run(got[l], a, b)
				for i, v := range got[l] {
					w := float64(got[generic][i])
					if e := elemError(v, w); e > 2*k.ulp+1 && !(math.Abs(float64(v)-w) <= 2*k.abs) {
						t.Fatalf("%s(%v) is %v, generic %v", k.name, a[i], v, w)
					}
				}
			}
			if got[avx512] != nil {
				for i, v := range got[avx512] {
					if w := got[avx2][i]; math.Float32bits(v) != math.Float32bits(w) && (v == v || w == w) {
						t.Fatalf("%s(%v): avx512 %v, avx2 %v", k.name, a[i], v, w)
					}
				}
			}
		}
	}
}

// Slices longer than one call of the assembly takes.
func TestElemLong(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		const n = 40001
		r := rand.New(rand.NewPCG(14, 15))
		a, b := random(r, n), random(r, n)
		a[7] = 3e4 // beyond the range of the vector Sin
		for _, k := range elemKernels {
			want, got := make([]float32, n), make([]float32, n)
			k.run(got, a, b)
			for i := 0; i < n; i += 1000 {
				j := min(n, i+1000)
				k.run(want[i:j], a[i:j], b[i:j])
			}
			for i := range want {
				if math.Float32bits(got[i]) != math.Float32bits(want[i]) && (got[i] == got[i] || want[i] == want[i]) {
					t.Fatalf("%s: element %d is %v, want %v", k.name, i, got[i], want[i])
				}
			}
		}
	})
}
