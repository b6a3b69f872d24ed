package ops

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

// normRef normalises images [n, c, space…] in groups of channels.
func normRef(x reference, groups int, eps float64, gamma, beta func(ch int) float64, silu bool) reference {
	y := zeros(x.shape...)
	size := len(x.data) / max(1, x.shape[0]*groups)
	space := elems(x.shape[2:])
	for at := 0; at < len(x.data); at += size {
		mean, variance := 0.0, 0.0
		for _, v := range x.data[at:][:size] {
			mean += v / float64(size)
		}
		for _, v := range x.data[at:][:size] {
			variance += (v - mean) * (v - mean) / float64(size)
		}
		for i, v := range x.data[at:][:size] {
			ch := (at + i) / space % x.shape[1]
			z := (v-mean)/math.Sqrt(variance+eps)*gamma(ch) + beta(ch)
			if silu {
				z /= 1 + math.Exp(-z)
			}
			y.data[at+i] = z
		}
	}
	return y
}

func vector(t *Tensor) func(i int) float64 {
	d := Data[float32](t)
	return func(i int) float64 { return float64(d[i]) }
}

// everyWay checks a call on a plain and a blocked image, in float64, and in a batch.
func everyWay(t *testing.T, tc testCall, want reference, tol float64) {
	t.Helper()
	agree(t, tc, tc.mustRun(t)[0], want, tol)
	x := tc.in[0]
	if len(x.Shape) >= 3 {
		bc := tc
		bc.in = slices.Clone(tc.in)
		bc.in[0] = blocked(x)
		if l := Layouts(bc.call()); l[0] != Blocked || slices.Max(l[1:]) != Plain {
			t.Fatalf("%v: wants %v", bc, l)
		}
		out := bc.mustRun(t)[0]
		if out.Layout != Blocked {
			t.Fatalf("%v: gives %v", bc, out.Type)
		}
		agree(t, fmt.Sprint("blocked ", tc), out, want, tol)
		if x.Shape[0] > 0 {
			bc.in[0] = x
			batchInvariant(t, bc)
		}
	}
	dc := tc
	dc.in = nil
	for _, x := range tc.in {
		dc.in = append(dc.in, double(x))
	}
	agree(t, fmt.Sprint("double ", tc), dc.mustRun(t)[0], want, 1e-9)
}

func TestGroupNorms(t *testing.T) {
	r := rand.New(rand.NewPCG(51, 1))
	for range 200 {
		groups := 1 + r.IntN(6)
		ch := groups * (1 + r.IntN(24))
		if r.IntN(3) == 0 {
			groups = ch
		}
		shape := append([]int{r.IntN(4), ch}, randShape(r, 1+r.IntN(3), 1, 5)...)
		if r.IntN(5) == 0 {
			shape = []int{1, ch, 13, 11}
		}
		x, eps := randn(r, shape...), float32(1e-3)
		for i := range Data[float32](x) {
			Data[float32](x)[i] += 3
		}
		gamma, beta := randn(r, ch), randn(r, ch)
		gs, bs := randn(r, groups), randn(r, groups)
		per := func(v *Tensor) func(int) float64 {
			f := vector(v)
			return func(c int) float64 { return f(c / (ch / groups)) }
		}
		attrs := map[string]onnx.Attr{"epsilon": attrFloat(eps), "num_groups": attrInt(groups)}
		everyWay(t, testCall{op: "GroupNormalization", version: 18, attrs: attrs, in: []*Tensor{x, gs, bs}},
			normRef(refOf(x), groups, float64(eps), per(gs), per(bs), false), 1e-4)
		want := normRef(refOf(x), groups, float64(eps), vector(gamma), vector(beta), false)
		everyWay(t, testCall{op: "GroupNormalization", version: 21, attrs: attrs, in: []*Tensor{x, gamma, beta}}, want, 1e-4)
		attrs = map[string]onnx.Attr{"epsilon": attrFloat(eps), "groups": attrInt(groups)}
		everyWay(t, testCall{op: "GroupNorm", domain: Fused, attrs: attrs, in: []*Tensor{x, gamma, beta}}, want, 1e-4)
		attrs["silu"] = attrInt(1)
		want = normRef(refOf(x), groups, float64(eps), vector(gamma), vector(beta), true)
		everyWay(t, testCall{op: "GroupNorm", domain: Fused, attrs: attrs, in: []*Tensor{x, gamma, beta}}, want, 1e-4)

		want = normRef(refOf(x), ch, float64(eps), vector(gamma), vector(beta), false)
		everyWay(t, testCall{op: "InstanceNormalization", attrs: map[string]onnx.Attr{"epsilon": attrFloat(eps)}, in: []*Tensor{x, gamma, beta}}, want, 1e-4)
	}
}

// A mean a thousand times the deviation must not drown the variance.
func TestNormOfLargeMean(t *testing.T) {
	r := rand.New(rand.NewPCG(52, 1))
	x := randn(r, 1, 6, 40, 41)
	for i := range Data[float32](x) {
		Data[float32](x)[i] += 1000
	}
	gamma, beta := randn(r, 6), randn(r, 6)
	want := normRef(refOf(x), 2, 1e-5, vector(gamma), vector(beta), false)
	tc := testCall{op: "GroupNorm", domain: Fused, attrs: map[string]onnx.Attr{"epsilon": attrFloat(1e-5), "groups": attrInt(2)}, in: []*Tensor{x, gamma, beta}}
	agree(t, tc, tc.mustRun(t)[0], want, 3e-4)
	tc.in[0] = blocked(x)
	agree(t, tc, tc.mustRun(t)[0], want, 3e-4)
}

func TestBatchNorm(t *testing.T) {
	r := rand.New(rand.NewPCG(53, 1))
	for range 100 {
		shape := append([]int{r.IntN(4), 1 + r.IntN(40)}, randShape(r, r.IntN(4), 1, 6)...)
		x := randn(r, shape...)
		p := make([]*Tensor, 4)
		stats := []int{shape[1]}
		spatial := r.IntN(4) > 0
		if !spatial {
			stats = shape[1:]
		}
		for i := range p {
			p[i] = randn(r, stats...)
		}
		for i, v := range Data[float32](p[3]) {
			Data[float32](p[3])[i] = v*v + 0.1
		}
		want := refOf(x)
		space := elems(shape[2:])
		for i := range want.data {
			j := i / space % shape[1]
			if !spatial {
				j = i % elems(stats)
			}
			want.data[i] = (want.data[i]-vector(p[2])(j))/math.Sqrt(vector(p[3])(j)+1e-5)*vector(p[0])(j) + vector(p[1])(j)
		}
		tc := testCall{op: "BatchNormalization", in: slices.Concat([]*Tensor{x}, p)}
		if !spatial {
			tc.version, tc.attrs = 8, map[string]onnx.Attr{"spatial": attrInt(0)}
			agree(t, tc, tc.mustRun(t)[0], want, 1e-4)
			continue
		}
		everyWay(t, tc, want, 1e-4)
	}
}

func TestRowNorms(t *testing.T) {
	r := rand.New(rand.NewPCG(54, 1))
	for range 200 {
		rank := 1 + r.IntN(4)
		shape := randShape(r, rank, 1, 9)
		axis := r.IntN(rank)
		x := randn(r, shape...)
		param := func() *Tensor {
			s := slices.Clone(shape[axis:])
			switch r.IntN(4) {
			case 0:
				s = slices.Clone(shape[rank-1:])
			case 1:
				s = slices.Clone(shape)
			}
			for i := range s {
				if r.IntN(4) == 0 {
					s[i] = 1
				}
			}
			return randn(r, s...)
		}
		gamma, beta := param(), param()
		get := func(p *Tensor, idx []int) float64 {
			at := slices.Clone(idx[rank-len(p.Shape):])
			for i := range at {
				if p.Shape[i] == 1 {
					at[i] = 0
				}
			}
			return refOf(p).at(at...)
		}
		size := elems(shape[axis:])
		ref := refOf(x)
		for _, op := range []string{"LayerNormalization", "RMSNormalization"} {
			want := zeros(shape...)
			stat := slices.Clone(shape)
			for i := axis; i < rank; i++ {
				stat[i] = 1
			}
			means, inverses := zeros(stat...), zeros(stat...)
			k := 0
			everywhere(shape, func(idx []int) {
				row := ref.data[k/size*size:][:size]
				mean, variance := 0.0, 0.0
				if op == "LayerNormalization" {
					for _, v := range row {
						mean += v / float64(size)
					}
				}
				for _, v := range row {
					variance += (v - mean) * (v - mean) / float64(size)
				}
				means.data[k/size], inverses.data[k/size] = mean, 1/math.Sqrt(variance+float64(float32(1e-3)))
				want.data[k] = (ref.data[k] - mean) * inverses.data[k/size] * get(gamma, idx)
				if op == "LayerNormalization" {
					want.data[k] += get(beta, idx)
				}
				k++
			})
			tc := testCall{op: op, attrs: map[string]onnx.Attr{"axis": attrInt(axis - rank*r.IntN(2)), "epsilon": attrFloat(1e-3)}, in: []*Tensor{x, gamma}}
			if op == "LayerNormalization" {
				tc.in, tc.outs = append(tc.in, beta), 3
			}
			got := tc.mustRun(t)
			agree(t, tc, got[0], want, 1e-4)
			if tc.outs == 3 {
				agree(t, tc, got[1], means, 1e-5)
				agree(t, tc, got[2], inverses, 1e-4)
			}
			for i := range tc.in {
				tc.in[i] = double(tc.in[i])
			}
			// epsilon is a float32.
			agree(t, tc, tc.mustRun(t)[0], want, 0)
		}
	}
}

// Scale and bias that rows share in runs, which the parts of a task cut anywhere.
func TestRowNormOfManyRows(t *testing.T) {
	r := rand.New(rand.NewPCG(55, 1))
	const n, tokens, size = 7, 331, 24
	for _, s := range [][]int{{size}, {n, 1, size}, {tokens, size}, {n, tokens, size}, {1, 1, size}, {n, 1, 1}, {tokens, 1}, {1}} {
		for _, b := range [][]int{{size}, {n, 1, size}, {tokens, 1}} {
			x, gamma, beta := randn(r, n, tokens, size), randn(r, s...), randn(r, b...)
			ref, want := refOf(x), zeros(n, tokens, size)
			scale, bias := refOf(gamma), refOf(beta)
			get := func(p reference, idx []int) float64 {
				at := slices.Clone(idx[3-len(p.shape):])
				for i := range at {
					at[i] %= p.shape[i]
				}
				return p.at(at...)
			}
			mean, variance, k := 0.0, 0.0, 0
			everywhere(want.shape, func(idx []int) {
				if k%size == 0 {
					mean, variance = 0, 0
					for _, v := range ref.data[k:][:size] {
						mean += v / size
					}
					for _, v := range ref.data[k:][:size] {
						variance += (v - mean) * (v - mean) / size
					}
				}
				want.data[k] = (ref.data[k]-mean)/math.Sqrt(variance+1e-5)*get(scale, idx) + get(bias, idx)
				k++
			})
			tc := testCall{op: "LayerNormalization", in: []*Tensor{x, gamma, beta}}
			agree(t, tc, tc.mustRun(t)[0], want, 1e-5)
		}
	}
}

func TestNormErrors(t *testing.T) {
	f := func(shape ...int) *Tensor { return New(Type{DType: onnx.Float, Shape: shape}) }
	bad := func(op string, attrs map[string]onnx.Attr, in ...*Tensor) {
		t.Helper()
		testCall{op: op, attrs: attrs, in: in}.mustFail(t, true)
	}
	groups := map[string]onnx.Attr{"num_groups": attrInt(2)}
	bad("GroupNormalization", nil, f(1, 4, 2), f(4), f(4))
	bad("GroupNormalization", groups, f(1, 5, 2), f(5), f(5))
	bad("GroupNormalization", groups, f(1, 4, 2), f(2), f(2)) // a pair for each group was opset 18
	bad("InstanceNormalization", nil, f(1, 4), f(4), f(4))
	bad("InstanceNormalization", nil, f(1, 4, 2), f(3), f(4))
	bad("BatchNormalization", nil, f(1, 4, 2), f(4), f(4), f(4), f(3))
	bad("LayerNormalization", map[string]onnx.Attr{"axis": attrInt(2)}, f(3, 4), f(4))
	bad("LayerNormalization", nil, f(3, 4), f(3))
	bad("LayerNormalization", nil, f(3, 4), f(2, 3, 4))
	bad("RMSNormalization", nil, f(3, 4), New(Type{DType: onnx.Int32, Shape: []int{4}}))
	testCall{op: "BatchNormalization", attrs: map[string]onnx.Attr{"training_mode": attrInt(1)}, in: []*Tensor{f(1, 4), f(4), f(4), f(4), f(4)}}.mustFail(t, false)
}
