package ops

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

// einsumRef adds up products by definition: every combination of subscripts.
func einsumRef(terms []string, out string, in ...reference) reference {
	dim := map[byte]int{}
	var all []byte
	for i, term := range terms {
		for j := range term {
			if _, ok := dim[term[j]]; !ok {
				all = append(all, term[j])
			}
			dim[term[j]] = max(dim[term[j]], in[i].shape[j])
			if in[i].shape[j] == 0 {
				dim[term[j]] = 0
			}
		}
	}
	shape := make([]int, len(out))
	for i := range out {
		shape[i] = dim[out[i]]
	}
	y := zeros(shape...)
	dims := make([]int, len(all))
	for i, s := range all {
		dims[i] = dim[s]
	}
	step := strides(shape)
	everywhere(dims, func(idx []int) {
		p := 1.0
		for i, term := range terms {
			at := make([]int, len(term))
			for j := range term {
				at[j] = idx[slices.Index(all, term[j])]
				if in[i].shape[j] == 1 {
					at[j] = 0
				}
			}
			p *= in[i].at(at...)
		}
		off := 0
		for i := range out {
			off += idx[slices.Index(all, out[i])] * step[i]
		}
		y.data[off] += p
	})
	return y
}

func TestMatMul(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 1))
	for range 300 {
		m, k, n := r.IntN(40), r.IntN(40), r.IntN(70)
		if r.IntN(8) > 0 {
			m, k, n = m+1, k+1, n+1
		}
		a, b := []int{m, k}, []int{k, n}
		la, lb, lo := "mk", "kn", "mn"
		for d := range r.IntN(3) {
			letter := string(rune('a' + d))
			size := 1 + r.IntN(3)
			da, db := size, size
			switch r.IntN(4) {
			case 0:
				da = 1
			case 1:
				db = 1
			}
			a, la, lo = append([]int{da}, a...), letter+la, letter+lo
			if len(b) == len(a)-1 && r.IntN(3) > 0 {
				b, lb = append([]int{db}, b...), letter+lb
			}
		}
		switch r.IntN(8) {
		case 0:
			a, la, lo = a[len(a)-1:], "k", lo[:len(lo)-2]+"n"
			lo = lb[:len(lb)-2] + "n"
		case 1:
			b, lb, lo = []int{k}, "k", la[:len(la)-1]
		}
		x, y := randn(r, a...), randn(r, b...)
		want := einsumRef([]string{la, lb}, lo, refOf(x), refOf(y))
		tc := testCall{op: "MatMul", in: []*Tensor{x, y}, runtime: []bool{true}}
		agree(t, tc, tc.mustRun(t)[0], want, 2e-5)
		tc.allVar = true
		agree(t, fmt.Sprint("variable ", tc), tc.mustRun(t)[0], want, 2e-5)
		if len(a) > 1 && a[0] > 0 && len(a) >= len(b) && (len(a) > len(b) || len(b) == 2 || b[0] == 1) && !(len(a) == 2 && len(b) == 2 && m == 0) {
			batchInvariant(t, tc)
		}
		tc.in = []*Tensor{double(x), double(y)}
		agree(t, tc, tc.mustRun(t)[0], want, 1e-9)
	}
}

func TestMatMulIntegers(t *testing.T) {
	a, b := Of([]int{2, 2}, []int32{1, -2, 3, 1 << 30}), Of([]int{2, 1}, []int32{5, 4})
	got := Data[int32](testCall{op: "MatMul", in: []*Tensor{a, b}}.mustRun(t)[0])
	if !slices.Equal(got, []int32{-3, 15}) {
		t.Error(got)
	}
	bad := func(a, b *Tensor) {
		t.Helper()
		testCall{op: "MatMul", in: []*Tensor{a, b}}.mustFail(t, true)
	}
	bad(a, a.As(Type{DType: onnx.Int32, Shape: []int{4}}))
	bad(a, New(Type{DType: onnx.Int32, Shape: []int{}}))
	bad(a, New(Type{DType: onnx.Int64, Shape: []int{2, 2}}))
	bad(New(Type{DType: onnx.Bool, Shape: []int{2, 2}}), New(Type{DType: onnx.Bool, Shape: []int{2, 2}}))
	bad(New(Type{DType: onnx.Float, Shape: []int{2, 2, 2}}), New(Type{DType: onnx.Float, Shape: []int{3, 2, 2}}))
}

func TestGemm(t *testing.T) {
	r := rand.New(rand.NewPCG(42, 1))
	for range 300 {
		m, k, n := r.IntN(300), 1+r.IntN(50), 1+r.IntN(70)
		transA, transB := r.IntN(2), r.IntN(2)
		alpha, beta := []float32{1, 1, 0.5}[r.IntN(3)], []float32{1, 1, -2, 0}[r.IntN(4)]
		a, b := randn(r, m, k), randn(r, k, n)
		la, lb := "mk", "kn"
		if transA == 1 {
			a, la = randn(r, k, m), "km"
		}
		if transB == 1 {
			b, lb = randn(r, n, k), "nk"
		}
		want := einsumRef([]string{la, lb}, "mn", refOf(a), refOf(b))
		in := []*Tensor{a, b}
		shape := [][]int{nil, {}, {n}, {1, n}, {m, 1}, {m, n}, {1, 1}}[r.IntN(7)]
		var c *Tensor
		if shape != nil {
			c = randn(r, shape...)
			in = append(in, c)
		}
		for i := range want.data {
			want.data[i] *= float64(alpha)
			if c == nil {
				continue
			}
			row, col := i/n, i%n
			at := 0
			if s := len(shape); s > 0 && shape[s-1] != 1 {
				at = col
			}
			if len(shape) == 2 && shape[0] != 1 {
				at += row * shape[1]
			}
			want.data[i] += float64(beta) * float64(Data[float32](c)[at])
		}
		tc := testCall{op: "Gemm", in: in, runtime: []bool{true}, attrs: map[string]onnx.Attr{
			"alpha": attrFloat(alpha), "beta": attrFloat(beta), "transA": attrInt(transA), "transB": attrInt(transB)}}
		agree(t, tc, tc.mustRun(t)[0], want, 2e-5)
		tc.allVar = true
		agree(t, tc, tc.mustRun(t)[0], want, 2e-5)
		if transA == 0 && m > 0 && (c == nil || len(shape) < 2 || shape[0] == 1) {
			batchInvariant(t, tc)
		}
		tc.in = nil
		for _, x := range in {
			tc.in = append(tc.in, double(x))
		}
		agree(t, tc, tc.mustRun(t)[0], want, 1e-9)
	}
	f := func(shape ...int) *Tensor { return New(Type{DType: onnx.Float, Shape: shape}) }
	for _, in := range [][]*Tensor{{f(2, 3), f(4, 5)}, {f(2, 3), f(3)}, {f(2, 3), f(3, 5), f(4)}, {f(2, 3), f(3, 5), f(1, 2, 5)}} {
		testCall{op: "Gemm", in: in}.mustFail(t, true)
	}
	testCall{op: "Gemm", version: 9, in: []*Tensor{f(2, 3), f(3, 4)}}.mustFail(t, true)
}
