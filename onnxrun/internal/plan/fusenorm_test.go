package plan

import (
	"encoding/binary"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// floats is a float32 weight of a sketch.
func (s *sketch) floats(name string, shape []int, v ...float32) {
	t := &onnx.Tensor{DType: onnx.Float, Shape: shape}
	for _, x := range v {
		t.Raw = binary.LittleEndian.AppendUint32(t.Raw, math.Float32bits(x))
	}
	s.Weights[s.value(name)] = t
}

// A written is a network as lines of "out, … = Op(in, …) attr=value …". Its inputs
// are x, of the given shape, and whatever else is named in others; its output is y.
// A name like ~3,1,1 is a random weight of that shape, #1e-5 the number, @2,3 a list
// of integers.
type written struct {
	name   string
	shape  []int
	others map[string][]int
	lines  string
}

// build makes the program of a network.
func (w written) build(t *testing.T) (*Program, []*ops.Tensor) {
	t.Helper()
	s, rng := newSketch(), rand.New(rand.NewPCG(5, 6))
	random := func(shape []int) []float32 {
		v := make([]float32, ops.Type{Shape: shape}.Elems())
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
		return v
	}
	numbers := func(list string) (v []int64) {
		for f := range strings.SplitSeq(list, ",") {
			n, err := strconv.ParseInt(f, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			v = append(v, n)
		}
		return v
	}
	sizes := func(list string) (v []int) {
		for _, n := range numbers(list) {
			v = append(v, int(n))
		}
		return v
	}
	s.in(onnx.Float, "x")
	data := []*ops.Tensor{ops.New(ops.Type{DType: onnx.Float, Shape: w.shape})}
	copy(ops.Data[float32](data[0]), random(w.shape))
	for _, name := range slices.Sorted(maps.Keys(w.others)) {
		s.in(onnx.Float, name)
		x := ops.New(ops.Type{DType: onnx.Float, Shape: w.others[name]})
		copy(ops.Data[float32](x), random(w.others[name]))
		data = append(data, x)
	}
	for line := range strings.SplitSeq(strings.TrimSpace(w.lines), "\n") {
		left, right, ok := strings.Cut(strings.TrimSpace(line), " = ")
		if !ok {
			continue
		}
		call, rest, _ := strings.Cut(right, ")")
		op, ins, _ := strings.Cut(call, "(")
		var names []string
		for _, in := range strings.Fields(ins) {
			if s.names[in] == 0 && in != "x" {
				switch in[0] {
				case '~':
					s.floats(in, sizes(in[1:]), random(sizes(in[1:]))...)
				case '#':
					v, err := strconv.ParseFloat(in[1:], 32)
					if err != nil {
						t.Fatal(err)
					}
					s.floats(in, nil, float32(v))
				case '@':
					v := numbers(in[1:])
					s.ints(in, []int{len(v)}, v...)
				case '1': // 1:32 is 32 ones, 0:32 zeros
					s.floats(in, sizes(in[2:]), slices.Repeat([]float32{1}, sizes(in[2:])[0])...)
				case '0':
					s.floats(in, sizes(in[2:]), make([]float32, sizes(in[2:])[0])...)
				}
			}
			names = append(names, in)
		}
		attrs := map[string]onnx.Attr{}
		for _, a := range strings.Fields(rest) {
			k, v, _ := strings.Cut(a, "=")
			switch {
			case strings.HasPrefix(v, "@"):
				attrs[k] = onnx.Attr{Kind: onnx.AttrInts, Ints: numbers(v[1:])}
			case strings.Contains(v, ">"): // an equation
				attrs[k] = strAttr(v)
			case strings.ContainsAny(v, "."):
				f, err := strconv.ParseFloat(v, 32)
				if err != nil {
					t.Fatal(err)
				}
				attrs[k] = floatAttr(float32(f))
			default:
				attrs[k] = intAttr(int(numbers(v)[0]))
			}
		}
		s.node(op, strings.Join(names, " "), left, attrs)
		s.Nodes[len(s.Nodes)-1].Version = 17
	}
	s.Outputs = s.list("y")
	p, err := New(t.Context(), &onnx.Model{Graph: s.Graph}, Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p, data
}

// both computes a network as it is written and with its patterns joined, and lists
// the operators of the latter.
func (w written) both(t *testing.T) (plain, joined []float32, operators []string) {
	t.Helper()
	p, data := w.build(t)
	var types []ops.Type
	for _, x := range data {
		types = append(types, x.Type)
	}
	g, err := p.specialise(t.Context(), types, nil)
	if err != nil {
		t.Fatal(err)
	}
	pl, err := p.finish(g, types)
	if err != nil {
		t.Fatal(err)
	}
	plain = run(t, pl, data)
	if pl, err = p.Compile(t.Context(), types, nil); err != nil {
		t.Fatal(err)
	}
	return plain, run(t, pl, data), pl.operators()
}

// meansOf are the normalised means of InstanceNorm++, as the exporter writes them.
const meansOf = `
mu = ReduceMean(x) axes=@2,3 keepdims=0
m = ReduceMean(mu) axes=@-1 keepdims=1
m2 = ReduceMean(mu) axes=@1 keepdims=1
d = Sub(mu m2)
q = Mul(d d)
v = ReduceMean(q) axes=@1 keepdims=0
v1 = Mul(v #20)
v2 = Div(v1 #19)
v3 = Reshape(v2 @3,1)
v4 = Expand(v3 @3,1)
e = Sub(mu m)
ve = Add(v4 #1e-5)
r = Sqrt(ve)
z = Div(e r)
zz = Unsqueeze(z @2,3)
`

const plus = meansOf + `
h = InstanceNormalization(x 1:20 0:20) epsilon=0.00001
za = Mul(zz ~20,1,1)
s = Add(h za)
`

const pooled = `
a = Slice(x @0 @9223372036854775807 @2 @2)
aa = Slice(a @0 @9223372036854775807 @3 @2)
b = Slice(x @1 @9223372036854775807 @2 @2)
ba = Slice(b @0 @9223372036854775807 @3 @2)
ab = Slice(a @1 @9223372036854775807 @3 @2)
bb = Slice(b @1 @9223372036854775807 @3 @2)
`

// Each pattern, as the exporters write it, becomes the operators in its list and
// keeps its value.
func TestNormsAreJoined(t *testing.T) {
	conv := "c = Conv(x ~20,20,3,3 ~20) pads=@1,1,1,1\n"
	group := `
r = Reshape(a @0,5,-1)
i = InstanceNormalization(r 1:5 0:5) epsilon=0.001
b = Reshape(i @3,20,6,5)
g = Mul(b ~20,1,1)
o = Add(g ~20,1,1)
s = Sigmoid(o)
z = Mul(o s)
y = Neg(z)`
	for _, c := range []struct {
		written
		want string
	}{
		{written{"layer norm, legacy", []int{3, 5, 24}, nil, `
m = ReduceMean(x) axes=@-1 keepdims=1
d = Sub(x m)
q = Pow(d #2)
v = ReduceMean(q) axes=@-1 keepdims=1
e = Add(v #1e-6)
s = Sqrt(e)
n = Div(d s)
g = Mul(n ~24)
y = Add(g ~24)`}, "LayerNormalization"},
		{written{"layer norm, two axes, means anew, reciprocal", []int{3, 5, 24}, nil, `
m = ReduceMean(x) axes=@1,2 keepdims=1
d = Sub(x m)
m2 = ReduceMean(x) axes=@2,-2 keepdims=1
d2 = Sub(x m2)
q = Mul(d2 d2)
v = ReduceMean(q) axes=@1,2 keepdims=1
e = Add(#1e-3 v)
s = Sqrt(e)
r = Reciprocal(s)
y = Mul(r d)`}, "LayerNormalization"},
		{written{"RMS norm", []int{3, 5, 24}, nil, `
q = Pow(x #2)
v = ReduceMean(q) axes=@-1 keepdims=1
e = Add(v #1e-6)
s = Sqrt(e)
r = Reciprocal(s)
n = Mul(x r)
y = Mul(~24 n)`}, "RMSNormalization"},
		{written{"RMS norm, one over the root", []int{3, 5, 24}, nil, `
q = Mul(x x)
v = ReduceMean(q) axes=@-1 keepdims=1
e = Add(v #1e-6)
s = Sqrt(e)
r = Div(#1 s)
y = Mul(x r)`}, "RMSNormalization"},
		{written{"adaptive layer norm", []int{3, 5, 24}, map[string][]int{"scale": {3, 1, 24}, "shift": {3, 1, 24}}, `
n = LayerNormalization(x 1:24) axis=-1 epsilon=0.001
s = Add(scale #1)
p = Mul(n s)
y = Add(shift p)`}, "Add LayerNormalization"},
		{written{"instance norm++", []int{3, 20, 6, 5}, nil, plus + `
g = Mul(~1,20,1,1 s)
b = Add(g ~1,20,1,1)
y = Elu(b) alpha=1.0`}, "InstanceNormPlus"},
		{written{"instance norm++, in blocks", []int{3, 20, 6, 5}, nil, conv + strings.ReplaceAll(plus, "(x", "(c") + `
g = Mul(~1,20,1,1 s)
b = Add(g ~1,20,1,1)
y = Elu(b) alpha=1.0`}, "Conv InstanceNormPlus"},
		{written{"instance norm++ alone", []int{3, 20, 6, 5}, nil, plus + `y = Neg(s)`}, "InstanceNormPlus Neg"},
		{written{"group norm of a sum", []int{3, 20, 6, 5}, map[string][]int{"e": {3, 20, 1, 1}}, `a = Add(x e)` + group}, "AddGroupNorm Neg"},
		{written{"group norm of a sum, in blocks, for all", []int{3, 20, 6, 5}, map[string][]int{"e": {1, 20, 1, 1}},
			conv + `a = Add(e c)` + group}, "Conv AddGroupNorm Neg"},
		{written{"a sum with zeros", []int{3, 20}, nil, "z = Add(0:20 x)\ny = Neg(z)"}, "Neg"},
		{written{"mean pooling", []int{3, 20, 6, 4}, nil, pooled + `
s = Add(aa ba)
s2 = Add(s ab)
s3 = Add(s2 bb)
y = Div(s3 #4)`}, "AveragePool"},
		{written{"mean pooling, another order", []int{3, 20, 6, 4}, nil, pooled + `
s = Add(bb ba)
s2 = Add(aa ab)
s3 = Add(s2 s)
y = Mul(#0.25 s3)`}, "AveragePool"},
	} {
		plain, joined, operators := c.both(t)
		if got := strings.Join(operators, " "); got != c.want {
			t.Errorf("%s runs as %s, want %s", c.name, got, c.want)
		}
		if d := distance(joined, plain); !(d <= 3e-6) {
			t.Errorf("%s: joining changes the output by %.2g of its maximum", c.name, d)
		}
	}
}

// What only looks like a pattern keeps its operators, and its value.
func TestLookalikesOfNormsAreLeft(t *testing.T) {
	layer := `
m = ReduceMean(x) axes=@-1 keepdims=1
d = Sub(x m)
q = Mul(d d)
v = ReduceMean(q) axes=@-1 keepdims=1
e = Add(v #1e-3)
s = Sqrt(e)
y = Div(d s)`
	group := `
r = Reshape(a @0,5,-1)
i = InstanceNormalization(r 1:5 0:5) epsilon=0.001
b = Reshape(i @3,20,6,5)
g = Mul(b ~20,1,1)
y = Add(g ~20,1,1)`
	whole := plus + "y = Neg(s)"
	mean := pooled + `
s = Add(aa ba)
s2 = Add(s ab)
s3 = Add(s2 bb)
y = Div(s3 #4)`
	rows, image := []int{3, 5, 24}, []int{3, 20, 6, 5}
	with := strings.NewReplacer
	for _, c := range []struct {
		written
		not string
	}{
		{written{"axis in the middle", rows, nil, with("@-1", "@1").Replace(layer)}, "LayerNormalization"},
		{written{"variance over another axis", rows, nil, with("(q) axes=@-1", "(q) axes=@1").Replace(layer)}, "LayerNormalization"},
		{written{"mean over another axis", rows, nil, with("(x) axes=@-1", "(x) axes=@1").Replace(layer)}, "LayerNormalization"},
		{written{"epsilon computed", rows, map[string][]int{"eps": {1}}, with("(v #1e-3)", "(v w)").Replace("w = Mul(eps eps)\n" + layer)}, "LayerNormalization"},
		{written{"epsilon for each element", rows, nil, with("(v #1e-3)", "(v w)", "m = ", "w = Abs(~5,1)\nm = ").Replace(layer)}, "LayerNormalization"},
		{written{"no square", rows, nil, with("Mul(d d)", "Mul(d x)").Replace(layer)}, "LayerNormalization"},
		{written{"cube", rows, nil, with("Mul(d d)", "Pow(d #4)").Replace(layer)}, "LayerNormalization"},
		{written{"mean of something else", rows, nil, with("(x) axes", "(n) axes", "m = ", "n = Exp(x)\nm = ").Replace(layer)}, "LayerNormalization"},
		{written{"RMS of something else", rows, nil, "n = Exp(x)\n" + with("Div(d s)", "Div(n s)").Replace(layer)}, "RMSNormalization"},
		{written{"mean twice subtracted", rows, nil, with("Div(d s)", "Div(x s)").Replace(layer)}, "LayerNormalization"},
		{written{"turned round", rows, nil, with("Div(d s)", "Div(s d)").Replace(layer)}, "LayerNormalization"},
		{written{"over the sum of squares of many rows", []int{5, 5}, nil, with("(q) axes=@-1 keepdims=1", "(q) axes=@-1 keepdims=0").Replace(layer)}, "LayerNormalization"},

		{written{"means along another axis", image, nil, with("m = ReduceMean(mu) axes=@-1", "m = ReduceMean(mu) axes=@0").Replace(whole)}, "InstanceNormPlus"},
		{written{"variance along another axis", []int{20, 20, 6, 5}, nil,
			with("(q) axes=@1", "(q) axes=@0", "@3,1", "@20,1").Replace(whole)}, "InstanceNormPlus"},
		{written{"variance turned to channels", []int{20, 20, 6, 5}, nil, with("@3,1", "@1,20").Replace(whole)}, "InstanceNormPlus"},
		{written{"means of rows only", image, nil, with("axes=@2,3 keepdims=0", "axes=@2 keepdims=0", "mu = ", "mw = ", "m = ", "mu = ReduceMean(mw) axes=@2 keepdims=0\nm = ").Replace(whole)}, "InstanceNormPlus"},
		{written{"means of something else", image, nil, with("mu = ReduceMean(x)", "w = Exp(x)\nmu = ReduceMean(w)").Replace(whole)}, "InstanceNormPlus"},
		{written{"alpha computed", image, map[string][]int{"al": {20, 1, 1}}, with("~20,1,1", "al").Replace(whole)}, "InstanceNormPlus"},
		{written{"alpha along a row", image, nil, with("~20,1,1", "~1,1,5").Replace(whole)}, "InstanceNormPlus"},
		{written{"epsilon negative", image, nil, with("(v4 #1e-5)", "(v4 #-1e-5)").Replace(whole)}, "InstanceNormPlus"},

		{written{"sum with an image", image, map[string][]int{"e": {3, 20, 6, 5}}, "a = Add(x e)" + group}, "AddGroupNorm"},
		{written{"sum with rows", image, map[string][]int{"e": {3, 20, 6, 1}}, "a = Add(x e)" + group}, "AddGroupNorm"},
		{written{"sum with a number for each image", image, map[string][]int{"e": {3, 1, 1, 1}}, "a = Add(x e)" + group}, "AddGroupNorm"},
		{written{"sum read twice", image, map[string][]int{"e": {3, 20, 1, 1}}, "a = Add(x e)" + with("y = ", "o = ").Replace(group) + "\ny = Mul(o a)"}, "AddGroupNorm"},

		{written{"a phase twice", []int{3, 20, 6, 4}, nil, with("(s2 bb)", "(s2 aa)").Replace(mean)}, "AveragePool"},
		{written{"a phase from elsewhere", []int{3, 20, 6, 4}, nil, "w = Exp(x)\n" + with("b = Slice(x", "b = Slice(w").Replace(mean)}, "AveragePool"},
		{written{"a third", []int{3, 20, 6, 4}, nil, with("#4", "#3").Replace(mean)}, "AveragePool"},
		{written{"four over it", []int{3, 20, 6, 4}, nil, with("(s3 #4)", "(#4 s3)").Replace(mean)}, "AveragePool"},
		{written{"every third row", []int{3, 20, 6, 6}, nil, with("@2 @2)", "@2 @3)").Replace(mean)}, "AveragePool"},
		{written{"not the whole image", []int{3, 20, 8, 6}, nil, with("@9223372036854775807 @2", "@4 @2").Replace(mean)}, "AveragePool"},
	} {
		plain, joined, operators := c.both(t)
		if slices.Contains(operators, c.not) {
			t.Errorf("%s runs as %s", c.name, operators)
		}
		if d := distance(joined, plain); !(d <= 3e-6) {
			t.Errorf("%s: joining changes the output by %.2g of its maximum", c.name, d)
		}
	}

	// A product or a sum that is larger than the rows, or whose rows others read.
	for _, c := range []written{
		{"larger", []int{1, 5, 24}, map[string][]int{"s": {3, 5, 24}}, "n = LayerNormalization(x 1:24) axis=-1\ny = Mul(n s)"},
		{"read twice", []int{3, 5, 24}, map[string][]int{"s": {3, 5, 24}}, "n = LayerNormalization(x 1:24) axis=-1\np = Mul(n s)\ny = Add(p n)"},
		{"scaled before", []int{3, 5, 24}, map[string][]int{"s": {3, 1, 24}}, "n = LayerNormalization(x ~24) axis=-1\ny = Mul(n s)"},
		{"shifted before", []int{3, 5, 24}, map[string][]int{"s": {3, 1, 24}}, "n = LayerNormalization(x 1:24 ~24) axis=-1\ny = Mul(n s)"},
	} {
		plain, joined, operators := c.both(t)
		if !slices.Contains(operators, "Mul") {
			t.Errorf("%s: the product is joined", c.name)
		}
		if d := distance(joined, plain); !(d <= 3e-6) {
			t.Errorf("%s: joining changes the output by %.2g of its maximum", c.name, d)
		}
	}
}
