package ops

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

// at reads the element of a broadcast operand at a position of the output.
func at(t *Tensor, pos []int) int {
	off := 0
	for i, d := range t.Shape {
		p := pos[len(pos)-len(t.Shape)+i]
		if d == 1 {
			p = 0
		}
		off = off*d + p
	}
	return off
}

// positions calls f for every position of a shape in row-major order.
func positions(shape []int, f func(i int, pos []int)) {
	for i := range elems(shape) {
		pos, rest := make([]int, len(shape)), i
		for d := len(shape) - 1; d >= 0; d-- {
			pos[d] = rest % shape[d]
			rest /= shape[d]
		}
		f(i, pos)
	}
}

// randOperands are shapes that broadcast to one another, and their union.
func randOperands(r *rand.Rand, n int) (shapes [][]int, out []int) {
	rank, most := r.IntN(6), []int{2, 5, 40}[r.IntN(3)]
	if r.IntN(20) == 0 {
		rank, most = 8, 4
	}
	out = randShape(r, rank, 1, most)
	for elems(out) > 100_000 {
		out[r.IntN(rank)] = 1
	}
	if rank > 0 && r.IntN(20) == 0 {
		out[r.IntN(rank)] = 0
	}
	used := make([]bool, rank)
	for range n {
		s := slices.Clone(out[r.IntN(rank+1)*r.IntN(2):])
		for d := range s {
			if r.IntN(3) == 0 {
				s[d] = 1
			} else {
				used[rank-len(s)+d] = true
			}
		}
		shapes = append(shapes, s)
	}
	full := 0
	for _, s := range shapes {
		full = max(full, len(s))
	}
	for d := range out {
		if !used[d] {
			out[d] = 1
		}
	}
	return shapes, out[rank-full:]
}

var float32Want = map[string]func(a, b float64) float64{
	"Add": func(a, b float64) float64 { return a + b },
	"Sub": func(a, b float64) float64 { return a - b },
	"Mul": func(a, b float64) float64 { return a * b },
	"Div": func(a, b float64) float64 { return a / b },
	"Max": math.Max, "Min": math.Min, "Pow": math.Pow, "Mod": math.Mod,
	"PRelu": func(a, b float64) float64 { return math.Max(a, 0) + b*math.Min(a, 0) },
}

func TestBinary(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for n := range 600 {
		shapes, out := randOperands(r, 2)
		for op, f := range float32Want {
			if op == "PRelu" && elems(shapes[0]) != elems(out) || n%4 != 0 && op != "Sub" {
				continue
			}
			a, b := randn(r, shapes[0]...), randn(r, shapes[1]...)
			tc := testCall{op: op, in: []*Tensor{a, b}}
			if op == "Mod" {
				tc.attrs = map[string]onnx.Attr{"fmod": attrInt(1)}
			}
			var want []float64
			positions(out, func(_ int, pos []int) {
				want = append(want, f(float64(Data[float32](a)[at(a, pos)]), float64(Data[float32](b)[at(b, pos)])))
			})
			got := tc.mustRun(t)[0]
			if !slices.Equal(got.Shape, out) {
				t.Fatalf("%s: shape %v, want %v", tc, got.Shape, out)
			}
			near(t, tc, Data[float32](got), want, 1e-5)
			a64, b64 := New(a.Type), New(b.Type)
			a64.DType, b64.DType = onnx.Double, onnx.Double
			a64, b64 = New(a64.Type), New(b64.Type)
			caster(a64, a)(0, a.Elems())
			caster(b64, b)(0, b.Elems())
			tc.in = []*Tensor{a64, b64}
			near64(t, tc, Data[float64](tc.mustRun(t)[0]), want, 1e-12)
		}
	}
}

// An operand with one element is a scalar in a batch of one and a column in a
// batch of two: the bits must not tell.
func TestBinaryBatch(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 1))
	for _, inner := range [][]int{{5}, {3, 40}, {17, 2, 2}, {1}} {
		for op := range float32Want {
			a := randn(r, append([]int{3}, inner...)...)
			ones := []int{3}
			for range inner {
				ones = append(ones, 1)
			}
			b := Of(ones, []float32{2, 3, 0.5})
			tc := testCall{op: op, in: []*Tensor{a, b}, attrs: map[string]onnx.Attr{}}
			if op == "Mod" {
				tc.attrs["fmod"] = attrInt(1)
			}
			for range 2 {
				if op == "PRelu" && tc.in[0] == b {
					continue
				}
				all := tc.mustRun(t)[0]
				for i := range 3 {
					one := testCall{op: op, attrs: tc.attrs}
					for _, x := range tc.in {
						n := x.Elems() / 3
						one.in = append(one.in, Of(append([]int{1}, x.Shape[1:]...), Data[float32](x)[i*n:(i+1)*n]))
					}
					got := one.mustRun(t)[0]
					if n := len(got.mem); !slices.Equal(got.mem, all.mem[i*n:(i+1)*n]) {
						t.Errorf("%s: item %d alone differs", tc, i)
					}
				}
				tc.in = []*Tensor{b, a}
			}
		}
	}
}

func TestBinaryBlocked(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 150 {
		n, c := 1+r.IntN(3), []int{1, 2, 3, 16, 17, 32, 48, 50}[r.IntN(8)]
		x := []int{n, c}
		for range 1 + r.IntN(3) {
			x = append(x, 1+r.IntN(9))
		}
		if r.IntN(4) == 0 {
			x[2] = 70
		}
		ones := make([]int, len(x)-2)
		for i := range ones {
			ones[i] = 1
		}
		others := [][]int{x, {}, {1}, append([]int{n, c}, ones...), append([]int{1, c}, ones...), append([]int{c}, ones...),
			append([]int{n, 1}, x[2:]...), append([]int{1, 1}, x[2:]...), x[2:], x[len(x)-1:], append([]int{1}, x[1:]...)}
		a, b := randn(r, x...), randn(r, others[r.IntN(len(others))]...)
		for _, op := range []string{"Add", "Sub", "Mul", "Div", "Max", "Pow"} {
			for _, swap := range []bool{false, true} {
				tc := testCall{op: op, in: []*Tensor{a, b}}
				if swap {
					tc.in = []*Tensor{b, a}
				}
				want := tc.mustRun(t)[0]
				for i, x := range tc.in {
					if x == a {
						tc.in[i] = blocked(a)
					}
				}
				layouts := Layouts(tc.call())
				keeps := false
				for i, l := range layouts {
					if l == Blocked && tc.in[i].Layout == Plain {
						tc.in[i] = blocked(tc.in[i])
					}
					if l == Plain {
						tc.in[i] = plain(tc.in[i])
					}
					keeps = keeps || l == Blocked
				}
				perChannel := len(b.Shape) == len(x)-1 && b.Elems() == c && c%Block != 0 && c > 1
				if rank := len(b.Shape); !keeps && c > 1 && !perChannel && !(rank == len(x)-1 && b.Shape[0] > 1 && rank > 1 && c%Block != 0) {
					t.Errorf("%s: not blocked", tc)
				}
				got := tc.mustRun(t)[0]
				if (got.Layout == Blocked) != keeps || !slices.Equal(plain(got).mem, want.mem) {
					t.Fatalf("%s: differs from plain", tc)
				}
			}
		}
	}
}

func testIntegerBinary[T integer](t *testing.T, r *rand.Rand, least T) {
	vals := []T{0, 1, 2, 3, 7, 100, least, least + 1, ^T(0), ^least}
	rnd := func(shape []int) *Tensor {
		d := make([]T, elems(shape))
		for i := range d {
			d[i] = vals[r.IntN(len(vals))]
		}
		return Of(shape, d)
	}
	for _, op := range []string{"Add", "Sub", "Mul", "Div", "Max", "Min", "Mod", "FMod", "Pow"} {
		for range 20 {
			shapes, out := randOperands(r, 2)
			a, b := rnd(shapes[0]), rnd(shapes[1])
			tc := testCall{op: op, in: []*Tensor{a, b}}
			if op == "FMod" {
				tc.op, tc.attrs = "Mod", map[string]onnx.Attr{"fmod": attrInt(1)}
			}
			got := Data[T](tc.mustRun(t)[0])
			positions(out, func(i int, pos []int) {
				x, y := Data[T](a)[at(a, pos)], Data[T](b)[at(b, pos)]
				var want T
				switch op {
				case "Add":
					want = x + y
				case "Sub":
					want = x - y
				case "Mul":
					want = x * y
				case "Max":
					want = max(x, y)
				case "Min":
					want = min(x, y)
				case "Pow":
					if y < 0 || y > 100 {
						return
					}
					want = 1
					for range int(y) {
						want *= x
					}
				default:
					if y == 0 {
						break
					}
					q := x / y
					want = q
					if op != "Div" {
						want = x - q*y
					}
					if op == "Mod" && want != 0 && (want < 0) != (y < 0) {
						want += y
					}
				}
				if got[i] != want {
					t.Fatalf("%s of %T: %v, %v gives %v, want %v", op, x, x, y, got[i], want)
				}
			})
		}
	}
	for _, op := range []string{"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"} {
		shapes, out := randOperands(r, 2)
		a, b := rnd(shapes[0]), rnd(shapes[1])
		got := Data[bool](testCall{op: op, in: []*Tensor{a, b}}.mustRun(t)[0])
		positions(out, func(i int, pos []int) {
			x, y := Data[T](a)[at(a, pos)], Data[T](b)[at(b, pos)]
			if want := op == "Equal" && x == y || op[0] == 'L' && x < y || op[0] == 'G' && x > y || len(op) > 10 && x == y; got[i] != want {
				t.Fatalf("%s of %T: %v, %v gives %v", op, x, x, y, got[i])
			}
		})
	}
}

func TestIntegerBinary(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	testIntegerBinary[int8](t, r, math.MinInt8)
	testIntegerBinary[int16](t, r, math.MinInt16)
	testIntegerBinary[int32](t, r, math.MinInt32)
	testIntegerBinary[int64](t, r, math.MinInt64)
	testIntegerBinary[uint8](t, r, 0)
	testIntegerBinary[uint16](t, r, 0)
	testIntegerBinary[uint32](t, r, 0)
	testIntegerBinary[uint64](t, r, 0)
}

func TestCompare(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	nan := float32(math.NaN())
	for _, op := range []string{"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"} {
		for range 60 {
			shapes, out := randOperands(r, 2)
			a, b := randn(r, shapes[0]...), randn(r, shapes[1]...)
			for _, x := range [][]float32{Data[float32](a), Data[float32](b)} {
				for i := range x {
					x[i] = []float32{0, 1, 2, nan, float32(math.Inf(1))}[r.IntN(5)]
				}
			}
			got := Data[bool](testCall{op: op, in: []*Tensor{a, b}}.mustRun(t)[0])
			positions(out, func(i int, pos []int) {
				x, y := Data[float32](a)[at(a, pos)], Data[float32](b)[at(b, pos)]
				if want := op == "Equal" && x == y || op[0] == 'L' && x < y || op[0] == 'G' && x > y || len(op) > 10 && x == y; got[i] != want {
					t.Fatalf("%s: %v, %v gives %v", op, x, y, got[i])
				}
			})
		}
	}
	a, b := Of([]int{2, 1}, []bool{false, true}), Of([]int{2}, []bool{false, true})
	for op, want := range map[string]string{"And": "[false false false true]", "Or": "[false true true true]", "Xor": "[false true true false]", "Equal": "[true false false true]"} {
		if got := fmt.Sprint(Data[bool](testCall{op: op, in: []*Tensor{a, b}}.mustRun(t)[0])); got != want {
			t.Errorf("%s: %s, want %s", op, got, want)
		}
	}
}

func TestMixedPow(t *testing.T) {
	f := Of([]int{3}, []float32{2, -3, 0.5})
	if got := Data[float32](testCall{op: "Pow", in: []*Tensor{f, int64s(3)}}.mustRun(t)[0]); !slices.Equal(got, []float32{8, -27, 0.125}) {
		t.Error(got)
	}
	if got := Data[int64](testCall{op: "Pow", in: []*Tensor{Of([]int{3}, []int64{3, -2, 1 << 31}), Of([]int{}, []int32{2})}}.mustRun(t)[0]); !slices.Equal(got, []int64{9, 4, 1 << 62}) {
		t.Error(got)
	}
	if got := Data[int32](testCall{op: "Pow", in: []*Tensor{Of([]int{2}, []int32{4, 9}), Of([]int{}, []float32{0.5})}}.mustRun(t)[0]); !slices.Equal(got, []int32{2, 3}) {
		t.Error(got)
	}
	inf, neg0 := float32(math.Inf(1)), float32(math.Copysign(0, -1))
	got := Data[float32](testCall{op: "Pow", in: []*Tensor{Of([]int{4}, []float32{-inf, neg0, 4, -1}), Of([]int{}, []float32{0.5})}}.mustRun(t)[0])
	if got[0] != inf || math.Signbit(float64(got[1])) || got[2] != 2 || got[3] == got[3] {
		t.Error(got)
	}
}

func TestVariadic(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 200 {
		n := 1 + r.IntN(4)
		shapes, out := randOperands(r, n)
		tc := testCall{}
		for _, s := range shapes {
			tc.in = append(tc.in, randn(r, s...))
		}
		if n > 2 && r.IntN(3) == 0 {
			tc.in[2] = tc.in[0] // x + y + x, which must not be computed in place of x
			out, _ = tc.call().broadcastShape(tc.call().allInputs()...)
		}
		for _, op := range []string{"Sum", "Mean", "Max", "Min"} {
			tc.op = op
			var want []float64
			positions(out, func(_ int, pos []int) {
				acc := float64(Data[float32](tc.in[0])[at(tc.in[0], pos)])
				for _, x := range tc.in[1:] {
					v := float64(Data[float32](x)[at(x, pos)])
					switch op {
					case "Max":
						acc = math.Max(acc, v)
					case "Min":
						acc = math.Min(acc, v)
					default:
						acc += v
					}
				}
				if op == "Mean" {
					acc /= float64(n)
				}
				want = append(want, acc)
			})
			near(t, tc, Data[float32](tc.mustRun(t)[0]), want, 1e-5)
		}
	}
	x := randn(r, 2, 19, 4, 5)
	y := randn(r, 2, 1, 4, 5)
	tc := testCall{op: "Mean", in: []*Tensor{x, y, x}}
	want := tc.mustRun(t)[0]
	tc.in = []*Tensor{blocked(x), y, blocked(x)}
	if got := tc.mustRun(t)[0]; got.Layout != Blocked || !slices.Equal(plain(got).mem, want.mem) {
		t.Error("blocked differs from plain")
	}
	// The same value twice: neither may be overwritten while the other is read.
	c := testCall{op: "Sum", in: []*Tensor{x, x, x}}.call()
	c.Node.Inputs = []int{4, 5, 4}
	if k, err := Lower(c); err != nil || !slices.Equal(k.InPlace, []int{1}) {
		t.Errorf("in place %v, %v", k.InPlace, err)
	}
	if got := Data[int64](testCall{op: "Max", in: []*Tensor{int64s(1, 5), int64s(3)}}.mustRun(t)[0]); !slices.Equal(got, []int64{3, 5}) {
		t.Error(got)
	}
}

func TestWhere(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	for range 300 {
		shapes, out := randOperands(r, 3)
		c := New(Type{DType: onnx.Bool, Shape: shapes[0]})
		for i := range Data[bool](c) {
			Data[bool](c)[i] = r.IntN(2) == 0
		}
		for _, d := range []onnx.DType{onnx.Float, onnx.Int64, onnx.Bool, onnx.Int16} {
			x, y := New(Type{DType: d, Shape: shapes[1]}), New(Type{DType: d, Shape: shapes[2]})
			for _, v := range []*Tensor{x, y} {
				for i := range v.mem {
					v.mem[i] = byte(r.IntN(2))
				}
			}
			tc := testCall{op: "Where", in: []*Tensor{c, x, y}}
			got := tc.mustRun(t)[0]
			if !slices.Equal(got.Shape, out) {
				t.Fatalf("%s: shape %v, want %v", tc, got.Shape, out)
			}
			size := storageSize(d)
			positions(out, func(i int, pos []int) {
				from := y
				if Data[bool](c)[at(c, pos)] {
					from = x
				}
				if o := at(from, pos); !slices.Equal(got.mem[i*size:(i+1)*size], from.mem[o*size:(o+1)*size]) {
					t.Fatalf("%s: differs at %v", tc, pos)
				}
			})
		}
	}
}

func TestBinaryErrors(t *testing.T) {
	f := func(shape ...int) *Tensor { return New(Type{DType: onnx.Float, Shape: shape}) }
	half := &Tensor{Type: Type{DType: onnx.Float16, Shape: []int{2}}, mem: f(2).mem}
	b := Of([]int{2}, []bool{true, false})
	str := &Tensor{Type: Type{DType: onnx.String, Shape: []int{2}}}
	for _, bad := range []struct {
		op      string
		in      []*Tensor
		invalid bool
	}{
		{"Add", []*Tensor{f(2), f(3)}, true},
		{"Add", []*Tensor{f(2), int64s(1, 2)}, true},
		{"Add", []*Tensor{f(2), half}, true},
		{"Add", []*Tensor{b, b}, true},
		{"Add", []*Tensor{str, str}, false},
		{"Mod", []*Tensor{f(2), f(2)}, true},
		{"PRelu", []*Tensor{f(2), f(3, 2)}, true},
		{"Sum", []*Tensor{int64s(1), int64s(1)}, true},
		{"Sum", []*Tensor{f(2), nil}, true},
		{"Max", []*Tensor{f(2), f(2), f(3)}, true},
		{"And", []*Tensor{f(2), f(2)}, true},
		{"Less", []*Tensor{b, b}, true},
		{"Where", []*Tensor{f(2), f(2), f(2)}, true},
		{"Where", []*Tensor{b, f(2), int64s(1)}, true},
		{"Where", []*Tensor{b, f(3), f(3)}, true},
		{"Pow", []*Tensor{f(2), b}, true},
	} {
		testCall{op: bad.op, in: bad.in}.mustFail(t, bad.invalid)
	}
	// Two vectors of 2¹⁷ elements make a square of 2³⁴.
	big := func(shape ...int) Arg { return Arg{Type: Type{DType: onnx.Float, Shape: shape}} }
	c := testCall{op: "Add", in: []*Tensor{f(1), f(1)}}.call()
	c.In = []Arg{big(1<<17, 1), big(1 << 17)}
	if _, err := Lower(c); err == nil {
		t.Error("no error for 2³⁴ elements")
	}
}

func BenchmarkBroadcast(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, bench := range []struct {
		name   string
		x, y   []int
		layout Layout
	}{
		{"same", []int{1, 64, 64, 64}, []int{1, 64, 64, 64}, Plain},
		{"scalar", []int{1, 64, 64, 64}, []int{}, Plain},
		{"channel plain", []int{1, 64, 64, 64}, []int{1, 64, 1, 1}, Plain},
		{"channel blocked", []int{1, 64, 64, 64}, []int{1, 64, 1, 1}, Blocked},
		{"pixel blocked", []int{1, 64, 64, 64}, []int{1, 1, 64, 64}, Blocked},
		{"channel plain 4x4", []int{1, 4096, 4, 4}, []int{1, 4096, 1, 1}, Plain},
		{"channel blocked 4x4", []int{1, 4096, 4, 4}, []int{1, 4096, 1, 1}, Blocked},
		{"last 8", []int{32768, 8}, []int{8}, Plain},
		{"rows of 3", []int{1000, 7, 11, 3}, []int{7, 1, 3}, Plain},
	} {
		x, y := randn(r, bench.x...), randn(r, bench.y...)
		if bench.layout == Blocked {
			x = blocked(x)
		}
		k, err := Lower(testCall{op: "Add", in: []*Tensor{x, y}}.call())
		if err != nil {
			b.Fatal(err)
		}
		tasks := k.Bind(NewMemory(k, []*Tensor{x, y}, []*Tensor{New(k.Out[0])}, AlignedBytes(ScratchBytes(k, 1)), 1))
		b.Run(bench.name, func(b *testing.B) {
			b.SetBytes(int64(k.Out[0].Bytes()))
			for b.Loop() {
				for _, task := range tasks {
					for p := range task.Parts {
						task.Run(p, 0)
					}
				}
			}
		})
	}
}
