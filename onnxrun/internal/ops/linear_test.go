package ops

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

// linearTruths are the steps of Linear in float64; y is the operand.
var linearTruths = map[string]func(x, y float64) float64{
	"add": func(x, y float64) float64 { return x + y }, "mul": func(x, y float64) float64 { return x * y },
	"relu": func(x, _ float64) float64 { return max(x, 0) }, "sigmoid": func(x, _ float64) float64 { return 1 / (1 + math.Exp(-x)) },
	"silu": func(x, _ float64) float64 { return x / (1 + math.Exp(-x)) }, "tanh": func(x, _ float64) float64 { return math.Tanh(x) },
	"gelu": func(x, _ float64) float64 { return x / 2 * math.Erfc(-x/math.Sqrt2) },
	"gelu tanh": func(x, _ float64) float64 {
		return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	},
	"elu": func(x, _ float64) float64 {
		if x > 0 {
			return x
		}
		return math.Expm1(x)
	},
}

// linearOps are the steps of Linear as operators of their own.
var linearOps = map[string]testCall{
	"add": {op: "Add"}, "mul": {op: "Mul"}, "relu": {op: "Relu"}, "sigmoid": {op: "Sigmoid"}, "silu": {op: "SiLU", domain: Fused},
	"tanh": {op: "Tanh"}, "gelu": {op: "Gelu"}, "gelu tanh": {op: "Gelu", attrs: map[string]onnx.Attr{"approximate": attrStr("tanh")}}, "elu": {op: "Elu"},
}

// Linear on random shapes with random steps: the truth in float64, and the bytes
// of the operators in turn.
func TestLinear(t *testing.T) {
	r := rand.New(rand.NewPCG(51, 1))
	names := []string{"add", "add", "mul", "mul", "relu", "sigmoid", "silu", "tanh", "gelu", "gelu tanh", "elu"}
	seen := map[string]int{}
	for round := range 250 {
		lead := randShape(r, 1+r.IntN(3), 1, 6)
		k, n := 1+r.IntN(70), 1+r.IntN(100)
		if round%4 == 0 { // large enough to be cut
			lead, k, n = []int{1 + r.IntN(8), 30 + r.IntN(60)}, 1+r.IntN(300), 1+r.IntN(200)
		}
		a, b, transB := randn(r, append(slices.Clone(lead), k)...), randn(r, k, n), 0
		if r.IntN(2) == 0 {
			b, transB = randn(r, n, k), 1
		}
		shape := append(slices.Clone(lead), n)
		tc := testCall{op: "Linear", domain: Fused, in: []*Tensor{a, b, nil}, runtime: []bool{true, false, false, true, true, true, true}}
		if r.IntN(2) == 0 {
			tc.in[2] = randn(r, n)
		}
		var steps []string
		for range r.IntN(4) {
			step := names[r.IntN(len(names))]
			steps = append(steps, step)
			if linearZips[step] == nil {
				continue
			}
			// Of the whole shape, or repeated along axes on either side.
			s := slices.Clone(shape)
			switch r.IntN(4) {
			case 0:
				for i := 1 + r.IntN(len(s)-1); i < len(s)-1; i++ {
					s[i] = 1
				}
			case 1:
				for i := range r.IntN(len(s)) {
					s[i] = 1
				}
			case 2:
				s = s[1+r.IntN(len(s)-1):]
			}
			tc.in = append(tc.in, randn(r, s...))
		}
		tc.attrs = map[string]onnx.Attr{"transB": attrInt(transB), "then": {Kind: onnx.AttrStrings, Strings: steps}}
		got := tc.mustRun(t)[0]
		what := fmt.Sprint(tc, steps)

		// The truth, and how far float32 may be from it: no step here stretches an
		// error by more than the operand of a product, or 1.2.
		as, bs := Data[float32](a), Data[float32](b)
		want, bound := make([]float64, got.Elems()), make([]float64, got.Elems())
		for i := range want {
			row, col := i/n, i%n
			for l := range k {
				w := float64(bs[(l*n+col)*(1-transB)+(col*k+l)*transB]) * float64(as[row*k+l])
				want[i] += w
				bound[i] += math.Abs(w)
			}
			if tc.in[2] != nil {
				c := float64(Data[float32](tc.in[2])[col])
				want[i] += c
				bound[i] += math.Abs(c)
			}
			bound[i] *= float64(k+2) * 0x1p-24
		}
		chain := testCall{op: "Gemm", in: []*Tensor{a.As(Type{DType: onnx.Float, Shape: []int{elems(lead), k}}), b}, runtime: []bool{true},
			attrs: map[string]onnx.Attr{"transB": attrInt(transB)}}
		if tc.in[2] != nil {
			chain.in = append(chain.in, tc.in[2])
		}
		y := chain.mustRun(t)[0].As(got.Type)
		next := 3
		for _, step := range steps {
			call, operand := linearOps[step], func(int) float64 { return 0 }
			call.in = []*Tensor{y}
			seen[step]++
			if linearZips[step] != nil {
				x := tc.in[next]
				next++
				call.in = append(call.in, x)
				over := broadcastStrides(x.Shape, shape)
				operand = func(i int) float64 {
					at := 0
					for d := len(shape) - 1; d >= 0; d-- {
						at += i % shape[d] * over[d]
						i /= shape[d]
					}
					return float64(Data[float32](x)[at])
				}
			}
			for i := range want {
				c := operand(i)
				switch step {
				case "mul":
					bound[i] *= math.Abs(c)
				case "add":
				default:
					bound[i] *= 1.2
				}
				want[i] = linearTruths[step](want[i], c)
				bound[i] += 4e-7*math.Abs(want[i]) + 1e-7
			}
			call.allVar = true
			y = call.mustRun(t)[0]
		}
		for i, v := range Data[float32](got) {
			if !(math.Abs(float64(v)-want[i]) <= bound[i]) {
				t.Fatalf("%s: element %d is %v, want %v ± %.2g", what, i, v, want[i], bound[i])
			}
			if w := Data[float32](y)[i]; math.Float32bits(v) != math.Float32bits(w) {
				t.Fatalf("%s: element %d is %v, by operators in turn %v", what, i, v, w)
			}
		}
		if next == 3 {
			batchInvariant(t, tc)
		}
	}
	for step := range linearTruths {
		if seen[step] < 10 {
			t.Errorf("step %s only %d times", step, seen[step])
		}
	}
}

func TestLinearMisuse(t *testing.T) {
	r := rand.New(rand.NewPCG(51, 2))
	a, b := randn(r, 2, 3, 8), randn(r, 8, 5)
	refuse := func(steps []string, in ...*Tensor) {
		t.Helper()
		testCall{op: "Linear", domain: Fused, in: in, runtime: []bool{true, false, true, true},
			attrs: map[string]onnx.Attr{"then": {Kind: onnx.AttrStrings, Strings: steps}}}.mustFail(t, true)
	}
	refuse(nil, a, randn(r, 7, 5))
	refuse(nil, a, b, randn(r, 4))
	refuse(nil, randn(r, 8), b)
	refuse(nil, a, b, nil, randn(r, 5))
	refuse([]string{"cube"}, a, b)
	refuse([]string{"add"}, a, b)
	refuse([]string{"add"}, a, b, nil, randn(r, 3, 1))
	refuse([]string{"mul"}, a, b, nil, randn(r, 2, 5))
	testCall{op: "Linear", domain: Fused, in: []*Tensor{a, b}, allVar: true}.mustFail(t, true)
}

// RowsOf agrees with broadcasting by strides.
func TestRowsOf(t *testing.T) {
	r := rand.New(rand.NewPCG(51, 3))
	yes := 0
	for range 2000 {
		out := randShape(r, 1+r.IntN(5), 1, 4)
		s := slices.Clone(out)[r.IntN(len(out)):]
		for i := range s {
			if r.IntN(3) == 0 && i < len(s)-1 {
				s[i] = 1
			}
		}
		n := out[len(out)-1]
		typ := func(s []int) Type { return Type{DType: onnx.Float, Shape: s} }
		div, mod, ok := RowsOf(typ(s), typ(out))
		if !ok {
			continue
		}
		yes++
		over := broadcastStrides(s, out)
		for row := range elems(out) / n {
			at, rest := 0, row
			for d := len(out) - 2; d >= 0; d-- {
				at += rest % out[d] * over[d]
				rest /= out[d]
			}
			if want := row / div % mod * n; at != want {
				t.Fatalf("%v over %v: row %d reads %d, want %d", s, out, row, want, at)
			}
		}
	}
	if yes < 1500 {
		t.Errorf("only %d of 2000 broadcasts repeat rows", yes)
	}
}

// BenchmarkLinear is a layer of a transformer, bare and with what follows it.
func BenchmarkLinear(b *testing.B) {
	r := rand.New(rand.NewPCG(51, 4))
	for _, s := range []struct {
		k, n  int
		steps []string
	}{{192, 768, nil}, {192, 768, []string{"gelu"}}, {768, 192, []string{"mul", "add"}}, {128, 128, []string{"silu"}}, {128, 2, nil}} {
		in := []*Tensor{randn(r, 8, 64, s.k), randn(r, s.k, s.n), randn(r, s.n)}
		if len(s.steps) == 2 {
			in = append(in, randn(r, 8, 1, s.n), randn(r, 8, 64, s.n))
		}
		b.Run(fmt.Sprint(s.k, "x", s.n, s.steps), func(b *testing.B) {
			k, err := Lower(testCall{op: "Linear", domain: Fused, in: in, runtime: []bool{true, false, false, true, true},
				attrs: map[string]onnx.Attr{"then": {Kind: onnx.AttrStrings, Strings: s.steps}}}.call())
			if err != nil {
				b.Fatal(err)
			}
			tasks := k.Bind(NewMemory(k, in, []*Tensor{New(k.Out[0])}, nil, 1))
			for b.Loop() {
				for _, t := range tasks {
					for part := range t.Parts {
						t.Run(part, 0)
					}
				}
			}
			b.ReportMetric(k.FLOPs*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}
