package plan

import (
	"errors"
	"math/bits"
	"slices"
	"strings"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// What exporters write around the attention of networks.
const (
	// scaled_dot_product_attention of four axes, the scale's root on each side.
	sdpa = `
kt = Transpose(k) perm=@0,1,3,2
qs = Mul(q #0.6)
ks = Mul(kt #0.6)
s = MatMul(qs ks)
p = Softmax(s) axis=-1
o = MatMul(p v)
`
	// A transformer's block: packed projections in, heads joined again.
	packed = `
r = Reshape(x @2,7,3,4,8)
t = Transpose(r) perm=@2,0,3,1,4
qa = Slice(t @0 @1 @0)
q = Squeeze(qa @0)
ka = Slice(t @1 @2 @0)
k = Squeeze(ka @0)
va = Slice(t @2 @3 @0)
v = Squeeze(va @0)
`
	joinHeads = `
ot = Transpose(o) perm=@0,2,1,3
y = Reshape(ot @2,7,32)
`
	// A U-Net's: 1×1 convolutions of an image in and out.
	imageIn = `
qc = Conv(x ~24,24,1,1 ~24)
kc = Conv(x ~24,24,1,1 ~24)
vc = Conv(x ~24,24,1,1 ~24)
`
	ddpm = `
qr = Reshape(qc @2,24,30)
qt = Transpose(qr) perm=@0,2,1
kr = Reshape(kc @2,24,30)
vr = Reshape(vc @2,24,30)
vt = Transpose(vr) perm=@0,2,1
m = MatMul(qt kr)
s = Mul(m #0.2)
p = Softmax(s) axis=2
o = MatMul(p vt)
ot = Transpose(o) perm=@0,2,1
a = Reshape(ot @2,24,6,5)
`
	nins = `
last = Transpose(x) perm=@0,2,3,1
qe = Einsum(last ~24,24) equation=abcd,df->abcf
qb = Add(qe ~24)
qc = Transpose(qb) perm=@0,3,1,2
ke = Einsum(last ~24,24) equation=abcd,df->abcf
kb = Add(ke ~24)
kc = Transpose(kb) perm=@0,3,1,2
ve = Einsum(last ~24,24) equation=abcd,df->abcf
vb = Add(ve ~24)
vc = Transpose(vb) perm=@0,3,1,2
`
	scoreSDE = `
m = Einsum(qc kc) equation=bchw,bcij->bhwij
n = Mul(m #0.2)
s = Reshape(n @2,6,5,30)
p = Softmax(s) axis=-1
r = Reshape(p @2,6,5,6,5)
a = Einsum(r vc) equation=bhwij,bcij->bchw
`
	imageOut = `y = Conv(a ~24,24,1,1 ~24)`
)

var (
	four  = map[string][]int{"k": {2, 3, 9, 8}, "v": {2, 3, 9, 5}}
	image = []int{2, 24, 6, 5}
)

// Each form of attention becomes the operators in its list and keeps its value.
func TestAttentionIsJoined(t *testing.T) {
	with := strings.NewReplacer
	q := "q = Identity(x)\n"
	for _, c := range []struct {
		written
		want string
	}{
		{written{"four axes", []int{2, 3, 7, 8}, four, q + sdpa + "y = Neg(o)"}, "Attention Neg"},
		{written{"scaled after", []int{2, 3, 7, 8}, four, with("Mul(kt #0.6)", "Identity(kt)", "Mul(q #0.6)", "Identity(q)", "s = MatMul(qs ks)", "n = MatMul(qs ks)\ns = Div(n #2.5)").Replace(q+sdpa) + "y = Neg(o)"}, "Attention Neg"},
		{written{"not scaled", []int{2, 3, 7, 8}, four, with("Mul(kt #0.6)", "Identity(kt)", "Mul(q #0.6)", "Identity(q)").Replace(q+sdpa) + "y = Neg(o)"}, "Attention Neg"},
		{written{"masked for all", []int{2, 3, 7, 8}, four, with("Softmax(s)", "Softmax(m)", "p =", "m = Add(s ~7,9)\np =").Replace(q+sdpa) + "y = Neg(o)"}, "Attention Neg"},
		{written{"keys masked", []int{2, 3, 7, 8}, map[string][]int{"k": {2, 3, 9, 8}, "v": {2, 3, 9, 5}, "away": {2, 1, 1, 9}},
			with("Softmax(s)", "Softmax(m)", "p =", "w = Mul(away #3)\nm = Add(w s)\np =").Replace(q+sdpa) + "y = Neg(o)"}, "Mul Attention Neg"},
		{written{"one head of keys", []int{2, 3, 7, 8}, map[string][]int{"k": {2, 1, 9, 8}, "v": {2, 1, 9, 5}}, q + sdpa + "y = Neg(o)"}, "Attention Neg"},
		{written{"one sequence of keys", []int{2, 3, 7, 8}, map[string][]int{"k": {1, 1, 9, 8}, "v": {2, 3, 9, 5}}, q + sdpa + "y = Neg(o)"}, "Attention Neg"},
		{written{"nothing to be seen is 0", []int{2, 3, 7, 8}, four, with("o = MatMul(p v)", "f = IsNaN(p)\nz = Where(f #0 p)\no = MatMul(z v)").Replace(q+sdpa) + "y = Neg(o)"}, "Attention Neg"},
		{written{"packed projections", []int{2, 7, 96}, nil, packed + sdpa + joinHeads}, "Attention"},
		{written{"packed, keys turned in three axes", []int{2, 7, 96}, nil,
			packed + with("kt = Transpose(k) perm=@0,1,3,2", "k3 = Reshape(k @-1,7,8)\nk4 = Transpose(k3) perm=@0,2,1\nkt = Reshape(k4 @2,4,8,7)").Replace(sdpa) + joinHeads}, "Attention"},
		{written{"projections split", []int{2, 7, 96}, nil, `
qa ka va = Split(x @32,32,32) axis=2
qb = Reshape(qa @2,7,4,8)
q = Transpose(qb) perm=@0,2,1,3
kb = Reshape(ka @2,7,4,8)
k = Transpose(kb) perm=@0,2,1,3
vb = Reshape(va @2,7,4,8)
v = Transpose(vb) perm=@0,2,1,3` + sdpa + joinHeads}, "Attention"},
		{written{"batches and heads as one", []int{2, 7, 96}, nil, packed + `
q3 = Reshape(q @8,7,8)
k3 = Reshape(k @8,7,8)
v3 = Reshape(v @8,7,8)
kt = Transpose(k3) perm=@0,2,1
n = MatMul(q3 kt)
s = Mul(n #0.35)
p = Softmax(s) axis=-1
o3 = MatMul(p v3)
o = Reshape(o3 @2,4,7,8)` + joinHeads}, "Attention"},
		{written{"DDPM", image, nil, imageIn + ddpm + imageOut}, "Conv Conv Conv Attention Conv"},
		{written{"score_sde", image, nil, nins + scoreSDE + imageOut}, "Conv Conv Conv Attention Conv"},
		{written{"score_sde's, of convolutions", image, nil, imageIn + scoreSDE + imageOut}, "Conv Conv Conv Attention Conv"},
		{written{"channels as heads of an image", []int{2, 96, 6, 5}, nil, `
c = Conv(x ~192,96,1,1 ~192)
qa ka va = Split(c @64,64,64) axis=1
qr = Reshape(qa @2,4,16,30)
q = Transpose(qr) perm=@0,1,3,2
k = Reshape(ka @2,4,16,30)
vr = Reshape(va @2,4,16,30)
v = Transpose(vr) perm=@0,1,3,2
m = MatMul(q k)
s = Mul(m #0.2)
p = Softmax(s) axis=-1
o = MatMul(p v)
ot = Transpose(o) perm=@0,1,3,2
a = Reshape(ot @2,64,6,5)
y = Conv(a ~24,64,1,1 ~24)`}, "Conv Attention Conv"},
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

// What only looks like attention, or has more readers, is left as it is.
func TestLookalikesOfAttentionAreLeft(t *testing.T) {
	with := strings.NewReplacer
	net := "q = Identity(x)\n" + sdpa + "y = Neg(o)"
	square := map[string][]int{"k": {2, 3, 7, 8}, "v": {2, 3, 7, 5}}
	for _, c := range []struct {
		written
		not string
	}{
		{written{"softmax over the queries", []int{2, 3, 7, 8}, square, with("axis=-1", "axis=2").Replace(net)}, "Attention"},
		{written{"the scale is negative", []int{2, 3, 7, 8}, four, with("Mul(q #0.6)", "Mul(q #-0.6)").Replace(net)}, "Attention"},
		{written{"scaled after the mask", []int{2, 3, 7, 8}, four, with("Softmax(s)", "Softmax(n)", "p =", "m = Add(s ~7,9)\nn = Mul(m #0.5)\np =").Replace(net)}, "Attention"},
		{written{"the probabilities are read", []int{2, 3, 7, 8}, four, with("y = Neg(o)", "w = ReduceMax(p) axes=@-1 keepdims=1\ny = Mul(o w)").Replace(net)}, "Attention"},
		{written{"the scores are read", []int{2, 3, 7, 8}, four, with("y = Neg(o)", "w = ReduceMax(s) axes=@-1 keepdims=1\ny = Mul(o w)").Replace(net)}, "Attention"},
		{written{"values are weights", []int{2, 3, 7, 8}, four, with("MatMul(p v)", "MatMul(p ~9,5)").Replace(net)}, "Attention"},
		{written{"probabilities turned", []int{2, 3, 7, 8}, square, with("o = MatMul(p v)", "pt = Transpose(p) perm=@0,1,3,2\no = MatMul(pt v)").Replace(net)}, "Attention"},
		{written{"not a mean of values", image, nil, imageIn + with("bhwij,bcij->bchw", "bhwij,bchw->bcij").Replace(scoreSDE) + imageOut}, "Attention"},
		{written{"a map of rows, not of channels", []int{2, 6, 5, 24}, nil, `
l = Transpose(x) perm=@0,3,1,2
e = MatMul(l ~5,5)
y = Transpose(e) perm=@0,2,3,1`}, "Conv"},
		{written{"channels first go elsewhere", image, nil, `
l = Transpose(x) perm=@0,2,3,1
e = MatMul(l ~24,24)
y = Transpose(e) perm=@0,3,2,1`}, "Conv"},
	} {
		plain, joined, operators := c.both(t)
		if slices.Contains(operators, c.not) {
			t.Errorf("%s runs as %s", c.name, operators)
		}
		if d := distance(joined, plain); !(d <= 3e-6) {
			t.Errorf("%s: joining changes the output by %.2g of its maximum", c.name, d)
		}
	}
}

// Rotary position embedding, halves or pairs, becomes one operator that reads
// its operand as it lies, and what only looks like it does not.
func TestRotaryIsJoined(t *testing.T) {
	halves := `
l = Slice(q @0 @4 @3)
h = Slice(q @4 @9223372036854775807 @3)
n = Neg(h)
r = Concat(n l) axis=-1
a = Mul(q ~7,8)
b = Mul(r sin)
y = Add(a b)`
	pairs := `
l = Slice(q @0 @9223372036854775807 @3 @2)
h = Slice(q @1 @9223372036854775807 @3 @2)
n = Neg(h)
n1 = Unsqueeze(n @4)
l1 = Unsqueeze(l @4)
c = Concat(n1 l1) axis=-1
r = Reshape(c @2,4,7,8)
a = Mul(~1,1,7,8 q)
b = Mul(sin r)
y = Add(b a)`
	with := strings.NewReplacer
	sin := map[string][]int{"sin": {2, 1, 7, 8}}
	for _, c := range []struct {
		written
		want string
	}{
		{written{"halves", []int{2, 7, 96}, sin, packed + halves}, "Rotary"},
		{written{"halves, split", []int{2, 7, 96}, sin, packed + with("l = Slice(q @0 @4 @3)", "l h = Split(q @4,4) axis=-1", "h = Slice(q @4 @9223372036854775807 @3)", "").Replace(halves)}, "Rotary"},
		{written{"pairs", []int{2, 7, 96}, sin, packed + pairs}, "Rotary"},
		{written{"of the queries", []int{2, 7, 96}, sin, packed + with("y = ", "qr = ").Replace(halves) + with("Mul(q ", "Mul(qr ").Replace(sdpa) + joinHeads}, "Rotary Attention"},
		{written{"halves the wrong way round", []int{2, 7, 96}, sin, packed + with("Concat(n l)", "Concat(l n)").Replace(halves)}, ""},
		{written{"the other half is negative", []int{2, 7, 96}, sin, packed + with("Neg(h)", "Neg(l)", "Concat(n l)", "Concat(n h)").Replace(halves)}, ""},
		{written{"pairs not in halves", []int{2, 7, 96}, sin, packed + with("c = Concat(n1 l1) axis=-1", "c = Concat(n1 l1) axis=3").Replace(pairs)}, ""},
	} {
		plain, joined, operators := c.both(t)
		if got := strings.Join(operators, " "); c.want != "" && got != c.want || c.want == "" && slices.Contains(operators, "Rotary") {
			t.Errorf("%s runs as %s, want %s", c.name, got, c.want)
		}
		if d := distance(joined, plain); !(d <= 3e-6) {
			t.Errorf("%s: joining changes the output by %.2g of its maximum", c.name, d)
		}
	}
}

// Products read transposed and sliced operands where they lie, unless that would
// take their rows apart.
func TestProductsOfViewsAreJoined(t *testing.T) {
	linear := `
k1 = Softmax(k) axis=2
kt = Transpose(k1) perm=@0,1,3,2
c = MatMul(kt v)
o = MatMul(q c)`
	for _, c := range []struct {
		written
		want string
	}{
		{written{"linear attention", []int{2, 7, 96}, nil, packed + linear + joinHeads}, "Transpose Slice Softmax Transpose Product Product"},
		{written{"keys turned", []int{2, 3, 7, 8}, four, `
kt = Transpose(k) perm=@0,1,3,2
y = MatMul(x kt)`}, "Product"},
		{written{"an einsum of transposes", []int{2, 7, 3, 8}, map[string][]int{"k": {2, 3, 9, 8}}, `
q = Transpose(x) perm=@0,2,1,3
y = Einsum(q k) equation=bhid,bhjd->bhij`}, "Product"},
		{written{"rows taken apart", []int{2, 3, 8, 7}, four, `
q = Transpose(x) perm=@0,1,3,2
kt = Transpose(k) perm=@0,1,3,2
y = MatMul(q kt)`}, "Transpose Product"},
		{written{"nothing to move", []int{2, 3, 7, 9}, four, "y = MatMul(x v)"}, "MatMul"},
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

// Scores that nothing takes the place of are refused, as any tensor of their size.
func TestScoresTooLargeToBeMade(t *testing.T) {
	const length = 1 << 16
	for name, lines := range map[string]string{
		"an output":          "q = Identity(x)\nkt = Transpose(k) perm=@0,1,3,2\ny = MatMul(q kt)",
		"read twice":         "q = Identity(x)\n" + sdpa + "two = ReduceSum(s @3)\ny = Add(o two)",
		"not of attention":   "kt = Transpose(k) perm=@0,1,3,2\ns = MatMul(x kt)\ne = Exp(s)\ny = MatMul(e v)",
		"multiplied further": "kt = Transpose(k) perm=@0,1,3,2\ns = MatMul(x kt)\nss = Mul(s s)\ny = MatMul(ss v)",
		"reduced":            "kt = Transpose(k) perm=@0,1,3,2\ns = MatMul(x kt)\nr = ReduceMax(s) axes=@3 keepdims=1\ny = Add(r v)",
	} {
		p, _ := written{name, []int{1, 2, 4, 16}, map[string][]int{"k": {1, 2, 4, 16}, "v": {1, 2, 4, 16}}, lines}.build(t)
		x := ops.Type{DType: p.Inputs[0].DType, Shape: []int{1, 2, length, 16}}
		types := make([]ops.Type, len(p.Inputs))
		for i := range types {
			types[i] = x
		}
		_, err := p.Compile(t.Context(), types, nil)
		if _, ok := errors.AsType[*onnx.LimitError](err); !ok {
			t.Errorf("%s: got %v, want a limit", name, err)
		}
		if len(types) == 3 {
			_, err = p.Pullback(t.Context(), types, nil, 0, 0)
			if _, ok := errors.AsType[*onnx.LimitError](err); !ok {
				t.Errorf("%s, derivative: got %v, want a limit", name, err)
			}
		}
	}
}

// The memory of a long sequence's attention grows with its length alone, and a
// run allocates nothing.
func TestAttentionOfALongSequence(t *testing.T) {
	arena := func(length int) int {
		p, _ := written{"long", []int{1, 2, 4, 16}, map[string][]int{"k": {1, 2, 4, 16}, "v": {1, 2, 4, 16}}, "q = Identity(x)\n" + sdpa + "y = Neg(o)"}.build(t)
		x := ops.Type{DType: p.Inputs[0].DType, Shape: []int{1, 2, length, 16}}
		pl, err := p.Compile(t.Context(), []ops.Type{x, x, x}, nil)
		if err != nil {
			t.Fatal(err)
		}
		m, err := pl.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if length < 2000 {
			if n := testing.AllocsPerRun(3, func() { m.RunAll() }); n != 0 && !raceEnabled {
				t.Errorf("%d positions: %v allocations a run", length, n)
			}
		}
		return int(pl.Arena)
	}
	arena(1000)
	long := 4096
	if bits.UintSize == 64 {
		long = 1 << 16 // of 2³³ scores, more than a tensor may have
	}
	small, large := arena(2048), arena(long)
	if large > long/2048*small {
		t.Errorf("%d bytes for 2048 positions, %d for %d", small, large, long)
	}
	if values := 4 * 2 * 16 * long; large > 8*values {
		t.Errorf("%d bytes for %d positions, of which each of the operands has %d", large, long, values)
	}
}
