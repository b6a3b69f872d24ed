package ops

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

func TestEinsum(t *testing.T) {
	r := rand.New(rand.NewPCG(61, 1))
	fixed := []string{
		"bchw,bcij->bhwij", "bhwij,bcij->bchw", "abcd,df->abcf", "bhid,bhjd->bhij", "bhij,bhjd->bhid",
		"ij,jk", "ij->ji", "ii->i", "ii", "ij->", "i,j->ij", "bij,bjk->bik", "iij,jk->ki", "ijk,jil->kl",
		"a,ab,abc->abc", "ij,jk,kl->il", "ij,ij->", "bij,bij->b", "i->i", "abc,cb->a", "ab,bc,cd,de->ae", "ba,b->a", "ij,k->i",
		"B,Ba->aB", "nc,nc->nc", "bn,anm,bm->ba",
	}
	for i := range 300 {
		var terms []string
		var out string
		equation := fixed[i%len(fixed)]
		if i < 2*len(fixed) {
			left, right, explicit := strings.Cut(equation, "->")
			terms, out = strings.Split(left, ","), right
			if !explicit {
				var once []rune
				for _, c := range strings.ReplaceAll(left, ",", "") {
					if strings.Count(left, string(c)) == 1 {
						once = append(once, c)
					}
				}
				slices.Sort(once)
				out = string(once)
			}
		} else {
			var used []byte
			for range 1 + r.IntN(3) {
				var term []byte
				for range r.IntN(5) {
					term = append(term, "abcdef"[r.IntN(6)])
				}
				terms, used = append(terms, string(term)), append(used, term...)
			}
			slices.Sort(used)
			used = slices.Compact(used)
			r.Shuffle(len(used), func(i, j int) { used[i], used[j] = used[j], used[i] })
			out = string(used[:r.IntN(len(used)+1)])
			equation = strings.Join(terms, ",") + "->" + out
		}
		dim := map[rune]int{}
		for _, c := range "abcdefhijklmnwB" {
			dim[c] = 1 + r.IntN(5)
		}
		in := make([]*Tensor, len(terms))
		refs := make([]reference, len(terms))
		for i, term := range terms {
			var shape []int
			for _, c := range term {
				shape = append(shape, dim[c])
			}
			in[i] = randn(r, shape...)
			refs[i] = refOf(in[i])
		}
		want := einsumRef(terms, out, refs...)
		tc := testCall{op: "Einsum", in: in, attrs: map[string]onnx.Attr{"equation": attrStr(equation)}, runtime: []bool{true}}
		if len(want.shape) == 0 {
			want.shape = nil
		}
		got := tc.mustRun(t)[0]
		agree(t, tc, got, want, 1e-4)
		tc.allVar = true
		agree(t, tc, tc.mustRun(t)[0], want, 1e-4)
		if len(out) > 0 && terms[0] != "" && out[0] == terms[0][0] && strings.Count(equation, out[:1]) == 2 {
			batchInvariant(t, tc)
		}
		for i := range in {
			tc.in[i] = double(in[i])
		}
		agree(t, tc, tc.mustRun(t)[0], want, 0)
	}
}

// What an ellipsis stands for, broadcasting, and integers.
func TestEinsumForms(t *testing.T) {
	r := rand.New(rand.NewPCG(62, 1))
	a, b := randn(r, 2, 3, 4, 5), randn(r, 3, 5, 6)
	want := einsumRef([]string{"uvij", "vjk"}, "uvik", refOf(a), refOf(b))
	for _, equation := range []string{"...ij,...jk->...ik", " ... i j , ...jk", "aBij,Bjk->aBik"} {
		tc := testCall{op: "Einsum", in: []*Tensor{a, b}, attrs: map[string]onnx.Attr{"equation": attrStr(equation)}}
		agree(t, tc, tc.mustRun(t)[0], want, 1e-5)
	}
	c := randn(r, 2, 1, 4, 5)
	want = einsumRef([]string{"uvij", "vjk"}, "kuvi", refOf(c), refOf(b))
	tc := testCall{op: "Einsum", in: []*Tensor{c, b}, attrs: map[string]onnx.Attr{"equation": attrStr("...ij,...jk->k...i")}}
	agree(t, tc, tc.mustRun(t)[0], want, 1e-5)

	empty := testCall{op: "Einsum", in: []*Tensor{randn(r, 3, 0), randn(r, 0, 4)}, attrs: map[string]onnx.Attr{"equation": attrStr("ij,jk->ik")}}
	agree(t, empty, empty.mustRun(t)[0], zeros(3, 4), 0)
	empty.in = []*Tensor{randn(r, 0, 3), randn(r, 3, 4)}
	agree(t, empty, empty.mustRun(t)[0], zeros(0, 4), 0)

	whole := testCall{op: "Einsum", in: []*Tensor{int64s(1, 2, 3), int64s(4, 5, 6)}, attrs: map[string]onnx.Attr{"equation": attrStr("i,i->")}}
	if got := Data[int64](whole.mustRun(t)[0]); got[0] != 32 {
		t.Error(got)
	}
	small := testCall{op: "Einsum", in: []*Tensor{Of([]int{2}, []int8{-3, 4}), Of([]int{2}, []int8{5, 6})}, attrs: map[string]onnx.Attr{"equation": attrStr("i,i->i")}}
	if got := Data[int8](small.mustRun(t)[0]); !slices.Equal(got, []int8{-15, 24}) {
		t.Error(got)
	}
	var many []*Tensor
	for range 10 {
		many = append(many, double(randn(r, 2)))
	}
	tc = testCall{op: "Einsum", in: many, attrs: map[string]onnx.Attr{"equation": attrStr("a,a,a,a,a,a,a,a,a,a->a")}}
	if _, err := tc.run(); err != nil {
		t.Error(err)
	}
}

func TestEinsumErrors(t *testing.T) {
	f := func(shape ...int) *Tensor { return New(Type{DType: onnx.Float, Shape: shape}) }
	for _, c := range []struct {
		equation string
		in       []*Tensor
	}{
		{"ij,jk->ik", []*Tensor{f(2, 3)}},
		{"ij->ij", []*Tensor{f(2, 3, 4)}},
		{"ij,jk->ik", []*Tensor{f(2, 3), f(4, 5)}},
		{"ij->ik", []*Tensor{f(2, 3)}},
		{"ij->ii", []*Tensor{f(2, 3)}},
		{"i1->i", []*Tensor{f(2, 3)}},
		{"...i->i", []*Tensor{f(2, 3)}},
		{"i......->i...", []*Tensor{f(2, 3)}},
		{"i.->i", []*Tensor{f(2, 3)}},
		{"ij->...ij", []*Tensor{f(2, 3)}},
		{"ij,j", []*Tensor{f(2, 3), New(Type{DType: onnx.Double, Shape: []int{3}})}},
	} {
		tc := testCall{op: "Einsum", in: c.in, attrs: map[string]onnx.Attr{"equation": attrStr(c.equation)}}
		if c.equation == "ij->...ij" { // an ellipsis may stand for nothing
			tc.mustRun(t)
			continue
		}
		tc.mustFail(t, true)
	}
	testCall{op: "Einsum", in: []*Tensor{f(2)}}.mustFail(t, true)
}
