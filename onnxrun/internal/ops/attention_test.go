package ops

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

func TestAttention(t *testing.T) {
	r := rand.New(rand.NewPCG(91, 1))
	for range 400 {
		b, hk, s, l, d, dv := r.IntN(4), 1+r.IntN(3), 1+r.IntN(9), 1+r.IntN(9), 1+r.IntN(9), 1+r.IntN(40)
		if r.IntN(10) == 0 {
			s, l = 70, 90
		}
		group, past := 1+r.IntN(3), 0
		h := hk * group
		version := []int64{23, 24, 25}[r.IntN(3)]
		q4, k4, v4 := randn(r, b, h, s, d), randn(r, b, hk, l, d), randn(r, b, hk, l, dv)
		in := []*Tensor{q4, k4, v4, nil, nil, nil, nil}
		attrs := map[string]onnx.Attr{}
		scale := 1 / math.Sqrt(float64(d))
		if r.IntN(2) == 0 {
			scale = 0.375
			attrs["scale"] = attrFloat(0.375)
		}
		softcap := 0.0
		if r.IntN(3) == 0 {
			softcap = 1.5
			attrs["softcap"] = attrFloat(1.5)
		}
		nonpad := []int64(nil)
		switch r.IntN(3) {
		case 0:
			past = r.IntN(5)
			in[4], in[5] = randn(r, b, hk, past, d), randn(r, b, hk, past, dv)
		case 1:
			if version >= 24 {
				nonpad = make([]int64, b)
				for i := range nonpad {
					nonpad[i] = int64(r.IntN(l + 1))
				}
				in[6] = Of([]int{b}, nonpad)
			}
		}
		total := past + l
		causal, left, right := r.IntN(2) == 0, -1, -1
		if causal {
			attrs["is_causal"] = attrInt(1)
		}
		if version == 25 && r.IntN(2) == 0 {
			left, right = r.IntN(4)-1, r.IntN(4)-1
			attrs["left_window_size"], attrs["right_window_size"] = attrInt(left), attrInt(right)
		}
		mode := r.IntN(4)
		attrs["qk_matmul_output_mode"] = attrInt(mode)
		if r.IntN(4) == 0 {
			attrs["softmax_precision"] = attrInt(int(onnx.Double))
		}
		bias := func(b, h, i, j int) float64 { return 0 }
		if maskKind := r.IntN(3); maskKind > 0 {
			shape := []int{b, h, s, total}
			for i := range 2 {
				if r.IntN(2) == 0 {
					shape[i] = 1
				}
			}
			if version >= 24 && r.IntN(3) == 0 && nonpad == nil && total > 1 {
				shape[3] = total - 1
			}
			for len(shape) > 2 && shape[0] == 1 && r.IntN(2) == 0 {
				shape = shape[1:]
			}
			m := randn(r, shape...)
			ref := refOf(m)
			at := func(b, h, i, j int) []int {
				idx := []int{b, h, i, j}[4-len(shape):]
				for d := range idx {
					if shape[d] == 1 && (d < len(shape)-1 || total == 1) {
						idx[d] = 0
					}
				}
				return idx
			}
			if maskKind == 1 {
				bools := New(Type{DType: onnx.Bool, Shape: shape})
				for i, v := range ref.data {
					Data[bool](bools)[i] = v > 0.3
				}
				in[3] = bools
				bias = func(b, h, i, j int) float64 {
					idx := at(b, h, i, j)
					if j < shape[len(shape)-1] && ref.at(idx...) > 0.3 {
						return 0
					}
					return math.Inf(-1)
				}
			} else {
				for i := range ref.data {
					if r.IntN(5) == 0 {
						ref.data[i], Data[float32](m)[i] = math.Inf(-1), float32(math.Inf(-1))
					}
				}
				in[3] = m
				bias = func(b, h, i, j int) float64 {
					if j >= shape[len(shape)-1] {
						return math.Inf(-1)
					}
					return ref.at(at(b, h, i, j)...)
				}
			}
		}

		// By definition.
		q, k, v := refOf(q4), refOf(k4), refOf(v4)
		join := func(past *Tensor, now reference, n int) reference {
			y := zeros(b, hk, total, n)
			i := 0
			everywhere(y.shape, func(at []int) {
				if at[2] < len(y.data) && past != nil && at[2] < past.Shape[2] {
					y.data[i] = refOf(past).at(at...)
				} else {
					y.data[i] = now.at(at[0], at[1], at[2]-(total-l), at[3])
				}
				i++
			})
			return y
		}
		k, v = join(in[4], k, d), join(in[5], v, dv)
		y, shown := zeros(b, h, s, dv), zeros(b, h, s, total)
		everywhere([]int{b, h, s}, func(at []int) {
			bb, hh, i := at[0], at[1], at[2]
			row, empty := make([]float64, total), true
			show := func(m int) {
				if m == mode {
					copy(shown.data[((bb*h+hh)*s+i)*total:], row)
				}
			}
			for j := range row {
				for c := range d {
					row[j] += scale * q.at(bb, hh, i, c) * k.at(bb, hh/group, j, c)
				}
			}
			capped := func() {
				for j := range row {
					if softcap > 0 && !math.IsInf(row[j], -1) {
						row[j] = math.Tanh(row[j]/softcap) * softcap
					}
				}
			}
			show(0)
			if version >= 24 {
				capped()
				show(1)
			}
			for j := range row {
				w := bias(bb, hh, i, j)
				place := i + past
				if nonpad != nil {
					place = i + int(nonpad[bb]) - s
					if int64(j) >= nonpad[bb] {
						w = math.Inf(-1)
					}
				}
				if causal && j > place || left >= 0 && j < place-left || right >= 0 && j > place+right {
					w = math.Inf(-1)
				}
				row[j] += w
				empty = empty && math.IsInf(w, -1)
			}
			if version < 24 { // the mask comes before the cap
				show(1)
				capped()
			}
			show(2)
			top, sum := slices.Max(row), 0.0
			for j := range row {
				row[j] = math.Exp(row[j] - top)
				sum += row[j]
			}
			for j := range row {
				row[j] /= sum
				if empty {
					row[j] = 0
				}
			}
			show(3)
			for c := range dv {
				for j, p := range row {
					y.data[((bb*h+hh)*s+i)*dv+c] += p * v.at(bb, hh/group, j, c)
				}
			}
		})

		last := 7
		for last > 3 && in[last-1] == nil {
			last--
		}
		tc := testCall{op: "Attention", version: version, attrs: attrs, in: in[:last], outs: 4, runtime: []bool{true}}
		if nonpad != nil {
			tc.outs = 4
		}
		check := func(what any, got []*Tensor) {
			t.Helper()
			agree(t, what, got[0], y, 2e-5)
			if len(got) == 1 {
				return
			}
			agree(t, what, got[1], k, 0)
			agree(t, what, got[2], v, 0)
			agree(t, what, got[3], shown, 2e-5)
		}
		check(tc, tc.mustRun(t))
		one := tc
		one.outs = 1
		check(one, one.mustRun(t))

		// In three axes.
		flat := func(x *Tensor) *Tensor {
			s := x.Shape
			y := New(Type{DType: x.DType, Shape: []int{s[0], s[2], s[1] * s[3]}})
			ref, i := refOf(x), 0
			everywhere([]int{s[0], s[2], s[1], s[3]}, func(at []int) {
				Data[float32](y)[i] = float32(ref.at(at[0], at[2], at[1], at[3]))
				i++
			})
			return y
		}
		three := tc
		three.in = slices.Clone(tc.in)
		three.in[0], three.in[1], three.in[2] = flat(q4), flat(k4), flat(v4)
		three.attrs = map[string]onnx.Attr{"q_num_heads": attrInt(h), "kv_num_heads": attrInt(hk)}
		for n, a := range attrs {
			three.attrs[n] = a
		}
		got := three.mustRun(t)
		if want := []int{b, s, h * dv}; !slices.Equal(got[0].Shape, want) {
			t.Fatalf("%v: %v, want %v", three, got[0].Shape, want)
		}
		y4 := New(Type{DType: onnx.Float, Shape: y.shape})
		for i, v := range y.data {
			Data[float32](y4)[i] = float32(v)
		}
		agree(t, three, got[0], refOf(flat(y4)), 3e-5)

		for i, x := range tc.in {
			if x != nil && x.DType == onnx.Float {
				tc.in[i] = double(x)
			}
		}
		// scale is a float32.
		if _, ok := attrs["scale"]; ok {
			check(fmt.Sprint("double ", tc), tc.mustRun(t))
		}
	}
}

func TestAttentionErrors(t *testing.T) {
	f := func(shape ...int) *Tensor { return New(Type{DType: onnx.Float, Shape: shape}) }
	bad := func(attrs map[string]onnx.Attr, in ...*Tensor) {
		t.Helper()
		testCall{op: "Attention", version: 24, attrs: attrs, in: in}.mustFail(t, true)
	}
	q, k, v := f(2, 6, 4, 8), f(2, 3, 5, 8), f(2, 3, 5, 7)
	bad(nil, f(2, 4, 48), f(2, 5, 24), f(2, 5, 21))
	bad(nil, q, f(2, 4, 5, 8), f(2, 4, 5, 7))
	bad(nil, q, f(2, 3, 5, 9), v)
	bad(nil, q, k, f(2, 3, 6, 7))
	bad(nil, q, k, f(2, 5, 21))
	bad(nil, q, k, v, f(3, 5))
	bad(nil, q, k, v, f(2, 2, 2, 4, 5))
	bad(nil, q, k, v, nil, f(2, 3, 2, 8))
	bad(nil, q, k, v, nil, f(2, 3, 2, 8), f(2, 3, 3, 7))
	bad(nil, q, k, v, nil, nil, nil, int64s(1, 2, 3))
	bad(map[string]onnx.Attr{"qk_matmul_output_mode": attrInt(4)}, q, k, v)
	bad(map[string]onnx.Attr{"left_window_size": attrInt(-2)}, q, k, v)
}

func TestRotaryEmbedding(t *testing.T) {
	r := rand.New(rand.NewPCG(92, 1))
	for range 200 {
		b, h, s, half := r.IntN(4), 1+r.IntN(3), 1+r.IntN(5), 1+r.IntN(6)
		size := 2 * half
		attrs := map[string]onnx.Attr{}
		if r.IntN(2) == 0 {
			size += r.IntN(5)
			attrs["rotary_embedding_dim"] = attrInt(2 * half)
		}
		interleaved := r.IntN(2) == 0
		if interleaved {
			attrs["interleaved"] = attrInt(1)
		}
		x := randn(r, b, h, s, size)
		in := []*Tensor{x, randn(r, b, s, half), randn(r, b, s, half)}
		row := func(b, i int) int { return b*s + i }
		if r.IntN(2) == 0 || size != 2*half && attrs["rotary_embedding_dim"].Int == 0 {
			ids := make([]int64, b*s)
			for i := range ids {
				ids[i] = int64(r.IntN(7))
			}
			in = []*Tensor{x, randn(r, 7, half), randn(r, 7, half), Of([]int{b, s}, ids)}
			row = func(b, i int) int { return int(ids[b*s+i]) }
		}
		cos, sin := refOf(in[1]).data, refOf(in[2]).data
		want := refOf(x)
		everywhere([]int{b, h, s, half}, func(at []int) {
			i, j := at[3], at[3]+half
			if interleaved {
				i, j = 2*at[3], 2*at[3]+1
			}
			base := ((at[0]*h+at[1])*s + at[2]) * size
			c, n := cos[row(at[0], at[2])*half+at[3]], sin[row(at[0], at[2])*half+at[3]]
			u, v := want.data[base+i], want.data[base+j]
			want.data[base+i], want.data[base+j] = u*c-v*n, u*n+v*c
		})
		tc := testCall{op: "RotaryEmbedding", attrs: attrs, in: in, allVar: true}
		agree(t, tc, tc.mustRun(t)[0], want, 1e-5)
		for i := range 3 {
			tc.in[i] = double(in[i])
		}
		agree(t, tc, tc.mustRun(t)[0], want, 0)
	}
	f := func(shape ...int) *Tensor { return New(Type{DType: onnx.Float, Shape: shape}) }
	for _, in := range [][]*Tensor{
		{f(1, 2, 3, 4), f(1, 3, 3), f(1, 3, 3)},
		{f(1, 2, 3, 5), f(1, 3, 2), f(1, 3, 2)},
		{f(1, 3, 8), f(1, 3, 2), f(1, 3, 2)},
		{f(1, 2, 3, 4), f(7, 2), f(7, 2), int64s(1, 2, 3)},
	} {
		testCall{op: "RotaryEmbedding", in: in}.mustFail(t, true)
	}
	tc := testCall{op: "RotaryEmbedding", in: []*Tensor{f(1, 1, 1, 2), f(3, 1), f(3, 1), Of([]int{1, 1}, []int64{3})}, allVar: true}
	func() {
		defer func() {
			if _, ok := recover().(*IndexError); !ok {
				t.Error("a position outside the caches was accepted")
			}
		}()
		tc.run()
	}()
}
