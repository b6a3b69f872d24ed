package plan

import (
	"strings"
	"testing"
)

// Each pattern, as the exporters write it, becomes the operators in its list and
// keeps its value: to the bit where a Gemm brings its bias already, as what follows
// is the same arithmetic; a bias added to a MatMul begins the sum instead of ending it.
func TestLayersAreJoined(t *testing.T) {
	for _, c := range []struct {
		written
		want  string
		exact bool
	}{
		{written{"bias", []int{3, 5, 24}, nil, `
m = MatMul(x ~24,40)
y = Add(m ~40)`}, "Linear", false},
		{written{"bias first, one axis more", []int{3, 5, 24}, nil, `
m = MatMul(x ~24,40)
y = Add(~1,1,40 m)`}, "Linear", false},
		{written{"Gemm and SiLU", []int{70, 24}, nil, `
g = Gemm(x ~40,24 ~40) transB=1
s = Sigmoid(g)
y = Mul(g s)`}, "Linear", true},
		{written{"Gemm without bias, two activations", []int{70, 24}, nil, `
g = Gemm(x ~24,40)
t = Tanh(g)
y = Relu(t)`}, "Linear", true},
		{written{"Gemm, ELU", []int{70, 24}, nil, `
g = Gemm(x ~24,40 ~1,40)
y = Elu(g) alpha=1.0`}, "Linear", true},
		{written{"two layers that meet, SiLU", []int{70, 24}, map[string][]int{"t": {70, 8}}, `
g = Gemm(x ~24,40 ~40)
h = Gemm(t ~8,40 ~40)
a = Add(g h)
s = Sigmoid(a)
y = Mul(s a)`}, "Gemm Linear", true},
		{written{"gate and residual", []int{3, 50, 24}, map[string][]int{"gate": {3, 1, 24}}, `
m = MatMul(x ~24,24)
b = Add(m ~24)
g = Mul(gate b)
y = Add(x g)`}, "Linear", false},
		{written{"position", []int{3, 50, 24}, nil, `
m = MatMul(x ~24,32)
y = Add(m ~1,50,32)`}, "Linear", true},
		{written{"GELU by erf, legacy exporter", []int{3, 50, 24}, nil, `
m = MatMul(x ~24,96)
b = Add(~96 m)
d = Div(b #1.4142135)
e = Erf(d)
a = Add(e #1)
p = Mul(b a)
y = Mul(p #0.5)`}, "Linear", false},
		{written{"GELU by erf, half first", []int{3, 50, 24}, nil, `
h = Mul(x #0.5)
d = Mul(x #0.70710677)
e = Erf(d)
a = Add(e #1)
g = Mul(h a)
y = MatMul(g ~24,96)`}, "Gelu MatMul", false},
		{written{"GELU by tanh", []int{3, 50, 24}, nil, `
b = Gemm(x2 ~24,96)
c = Pow(b #3)
k = Mul(#0.044715 c)
i = Add(b k)
u = Mul(#0.7978846 i)
t = Tanh(u)
a = Add(t #1)
p = Mul(b a)
y = Mul(#0.5 p)`}, "Linear", false},
		{written{"GELU by tanh, products", []int{3, 50, 24}, nil, `
q = Mul(x x)
c = Mul(q x)
k = Mul(c #0.044715)
i = Add(x k)
u = Mul(i #0.7978846)
t = Tanh(u)
a = Add(#1 t)
h = Mul(#0.5 x)
g = Mul(h a)
y = Neg(g)`}, "Gelu Neg", false},
	} {
		c.lines = strings.ReplaceAll(c.lines, "b = Gemm(x2 ", "x2 = Reshape(x @150,24)\nb = Gemm(x2 ")
		plain, joined, operators := c.both(t)
		if got := strings.Join(operators, " "); got != c.want {
			t.Errorf("%s runs as %s, want %s", c.name, got, c.want)
		}
		if d := distance(joined, plain); !(d <= 2e-6) || c.exact && d != 0 {
			t.Errorf("%s: joining changes the output by %.2g of its maximum", c.name, d)
		}
	}
}

// What only looks like a layer keeps its operators, and its value.
func TestLookalikesOfLayersAreLeft(t *testing.T) {
	for _, c := range []struct {
		written
		want string
	}{
		{written{"a product read twice", []int{6, 24}, nil, `
m = MatMul(x ~24,40)
r = Relu(m)
y = Add(m r)`}, "MatMul Relu Add"},
		{written{"no weights", []int{6, 24}, map[string][]int{"w": {24, 40}}, `
m = MatMul(x w)
y = Relu(m)`}, "MatMul Relu"},
		{written{"a column", []int{6, 24}, nil, `
m = MatMul(x ~24,40)
y = Add(m ~6,1)`}, "MatMul Add"},
		{written{"an operand that is larger", []int{1, 24}, nil, `
m = MatMul(x ~24,40)
y = Add(m ~6,40)`}, "MatMul Add"},
		{written{"another slope", []int{6, 24}, nil, `
m = Gemm(x ~24,40 ~40)
y = Elu(m) alpha=0.5`}, "Gemm Elu"},
		{written{"a scaled product", []int{6, 24}, nil, `
m = Gemm(x ~24,40 ~40) alpha=0.5
y = Relu(m)`}, "Gemm Relu"},
		{written{"a transposed input", []int{24, 6}, nil, `
m = Gemm(x ~24,40 ~40) transA=1
y = Relu(m)`}, "Gemm Relu"},
		{written{"erf of something else", []int{6, 24}, nil, `
d = Div(x #1.5)
e = Erf(d)
a = Add(e #1)
p = Mul(x a)
y = Mul(p #0.5)`}, "Div Erf Add Mul Mul"},
		{written{"not half", []int{6, 24}, nil, `
d = Div(x #1.4142135)
e = Erf(d)
a = Add(e #1)
p = Mul(x a)
y = Mul(p #0.25)`}, "Div Erf Add Mul Mul"},
	} {
		plain, joined, operators := c.both(t)
		if got := strings.Join(operators, " "); got != c.want {
			t.Errorf("%s runs as %s, want %s", c.name, got, c.want)
		}
		if d := distance(joined, plain); d != 0 {
			t.Errorf("%s: the output changes by %.2g of its maximum", c.name, d)
		}
	}
}
