package ops

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

// convReference is the convolution of x and w in float64, and the sums of the
// magnitudes.
func convReference(x, w, bias *Tensor, begin, stride, dilation, out [2]int) (y, bound []float64) {
	n, ic, h, wd := x.Shape[0], x.Shape[1], x.Shape[2], x.Shape[3]
	oc, kh, kw := w.Shape[0], w.Shape[2], w.Shape[3]
	xs, ws := Data[float32](x), Data[float32](w)
	for b := range n {
		for o := range oc {
			for r := range out[0] {
				for c := range out[1] {
					s, m := 0.0, 0.0
					if bias != nil {
						s = float64(Data[float32](bias)[o])
					}
					for i := range ic {
						for p := range kh {
							for q := range kw {
								yy, xx := r*stride[0]-begin[0]+p*dilation[0], c*stride[1]-begin[1]+q*dilation[1]
								if yy < 0 || yy >= h || xx < 0 || xx >= wd {
									continue
								}
								v := float64(ws[((o*ic+i)*kh+p)*kw+q]) * float64(xs[((b*ic+i)*h+yy)*wd+xx])
								s += v
								m += math.Abs(v)
							}
						}
					}
					y, bound = append(y, s), append(bound, m)
				}
			}
		}
	}
	return
}

// The fused convolution by every algorithm, from either layout, with and
// without what is fused.
func TestFusedConv(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 4))
	seen := map[string]int{}
	acts := []string{"none", "relu", "silu", "elu", "tanh", "gelu"}
	for round := range 120 {
		n, ic, oc := 1+r.IntN(3), 1+r.IntN(40), 1+r.IntN(40)
		h, w := 1+r.IntN(20), 1+r.IntN(20)
		k, stride, dil, groups := []int{1, 3, 3, 3}[r.IntN(4)], 1, 1+r.IntN(2), 1
		if r.IntN(6) == 0 {
			stride = 2
		}
		if r.IntN(10) == 0 {
			oc = ic
			groups = ic
		}
		pad := dil * (k / 2)
		if round%3 == 0 && h > 2*dil && w > 2*dil {
			pad = 0
		}
		out := [2]int{(h+2*pad-(k-1)*dil-1)/stride + 1, (w+2*pad-(k-1)*dil-1)/stride + 1}
		x, f, bias := randn(r, n, ic, h, w), randn(r, oc, ic/groups, k, k), randn(r, oc)
		full := f
		if groups > 1 { // the same as one group, mostly zeros
			full = New(Type{DType: onnx.Float, Shape: []int{oc, ic, k, k}})
			for o := range oc {
				copy(Data[float32](full)[(o*ic+o)*k*k:], Data[float32](f)[o*k*k:][:k*k])
			}
		}
		add, act, scale := randn(r, n, oc, out[0], out[1]), acts[r.IntN(len(acts))], float32(1)
		if r.IntN(2) == 0 {
			scale = math.Sqrt2 / 2
		}
		in := []*Tensor{x, f, bias, add}
		if r.IntN(3) == 0 {
			in[2], bias = nil, nil
		}
		hasAdd := r.IntN(3) > 0
		if !hasAdd {
			in = in[:3]
		}
		want, bound := convReference(x, full, bias, [2]int{pad, pad}, [2]int{stride, stride}, [2]int{dil, dil}, out)
		for i := range want {
			if hasAdd {
				want[i] += float64(Data[float32](add)[i])
			}
			want[i] *= float64(scale)
			switch v := want[i]; act {
			case "relu":
				want[i] = max(v, 0)
			case "silu":
				want[i] = v / (1 + math.Exp(-v))
			case "elu":
				if v < 0 {
					want[i] = math.Expm1(v)
				}
			case "tanh":
				want[i] = math.Tanh(v)
			case "gelu":
				want[i] = v / 2 * math.Erfc(-v/math.Sqrt2)
			}
		}
		for _, exact := range []bool{false, true} {
			tc := testCall{op: "Conv", domain: Fused, in: in, runtime: []bool{true, false, false, true}, attrs: map[string]onnx.Attr{
				"act": attrStr(act), "out_scale": attrFloat(scale), "group": attrInt(groups), "pads": ints(pad, pad, pad, pad),
				"strides": ints(stride, stride), "dilations": ints(dil, dil)}}
			for i, l := range Layouts(tc.call()) {
				if l == Blocked {
					tc.in = append([]*Tensor(nil), tc.in...)
					tc.in[i] = blocked(tc.in[i])
				}
			}
			c := tc.call()
			c.Exact = exact
			kern, err := Lower(c)
			if err != nil {
				t.Fatal(tc, err)
			}
			seen[kern.Algo]++
			var got *Tensor
			if exact {
				got = runKernel(kern, tc.in, 1, nil)[0]
			} else {
				got = tc.mustRun(t)[0]
			}
			y := Data[float32](plain(got))
			for i := range want {
				tol := (bound[i]+1)*4e-6 + 4e-6*math.Sqrt(float64(9*ic))
				if e := math.Abs(float64(y[i]) - want[i]); !(e <= tol) {
					t.Fatalf("%s by %s: element %d is %v, want %v within %g", tc, kern.Algo, i, y[i], want[i], tol)
				}
			}
			if !exact && n > 1 { // a sample does not depend on how many there are
				one := tc
				one.in = append([]*Tensor(nil), tc.in...)
				for _, i := range []int{0, 3} {
					if i < len(one.in) {
						typ := one.in[i].Type
						typ.Shape = append([]int{1}, typ.Shape[1:]...)
						one.in[i] = View(typ, one.in[i].mem[:typ.Bytes()])
					}
				}
				first := one.mustRun(t)[0]
				for i, v := range Data[float32](first) {
					if math.Float32bits(v) != math.Float32bits(Data[float32](got)[i]) {
						t.Fatalf("%s by %s: a batch of one gives %v, of %d %v", tc, kern.Algo, v, n, Data[float32](got)[i])
					}
				}
			}
		}
	}
	for _, algo := range []string{"direct", "winograd 2×2", "winograd 4×4", "direct, few outputs", "depthwise", "lanewise"} {
		if seen[algo] == 0 {
			t.Errorf("never by %q: %v", algo, seen)
		}
	}
}

func TestFusedConvMisuse(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 4))
	x, f := randn(r, 1, 16, 4, 4), randn(r, 16, 16, 3, 3)
	testCall{op: "Conv", domain: Fused, in: []*Tensor{x, f}, attrs: map[string]onnx.Attr{"act": attrStr("softsign")}}.mustFail(t, true)
	testCall{op: "Conv", domain: Fused, in: []*Tensor{x, f, nil, randn(r, 1, 16, 4, 4)}}.mustFail(t, true)
}

// The choice must not depend on the batch, and Exact is heard.
func TestConvAlgorithm(t *testing.T) {
	type size struct{ ic, oc, hw, want int }
	for _, s := range []size{{128, 128, 32, 4}, {128, 128, 16, 4}, {64, 64, 32, 4}, {256, 256, 16, 4}, {128, 128, 8, 4}, {256, 256, 8, 2}} {
		for _, n := range []int{1, 8} {
			shape := []int{n, s.ic, s.hw, s.hw}
			w := New(Type{DType: onnx.Float, Shape: []int{s.oc, s.ic, 3, 3}})
			c := testCall{op: "Conv", attrs: map[string]onnx.Attr{"pads": ints(1, 1, 1, 1)}, in: []*Tensor{New(Type{DType: onnx.Float, Shape: shape, Layout: Blocked}), w},
				runtime: []bool{true}}.call()
			v, err := newConv(c)
			if err != nil {
				t.Fatal(err)
			}
			if m := v.algorithm(false); m != s.want {
				t.Errorf("%+v, batch %d: F(%d), want F(%d)", s, n, m, s.want)
			}
			if m := v.algorithm(true); m != 0 {
				t.Errorf("%+v: exact gives F(%d)", s, m)
			}
		}
	}
}

func TestFIR(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 4))
	for range 60 {
		n, ch, h, w := 1+r.IntN(3), 1+r.IntN(40), 1+r.IntN(9), 1+r.IntN(9)
		up, down, kh, kw := 1+r.IntN(2), 1+r.IntN(2), 1+r.IntN(4), 1+r.IntN(4)
		pads := []int{r.IntN(5) - 1, r.IntN(5) - 1, r.IntN(5) - 1, r.IntN(5) - 1}
		oh, ow := h*up+pads[0]+pads[2]-kh, w*up+pads[1]+pads[3]-kw
		if oh < 0 || ow < 0 {
			continue
		}
		oh, ow = oh/down+1, ow/down+1
		x, f := randn(r, n, ch, h, w), randn(r, kh, kw)
		for _, in := range []*Tensor{x, blocked(x)} {
			got := testCall{op: "FIR", domain: Fused, in: []*Tensor{in, f}, runtime: []bool{true}, attrs: map[string]onnx.Attr{
				"up": attrInt(up), "down": attrInt(down), "pads": ints(pads...)}}.mustRun(t)[0]
			y := Data[float32](plain(got))
			if fmt.Sprint(got.Shape) != fmt.Sprint([]int{n, ch, oh, ow}) || got.Layout != Blocked {
				t.Fatalf("output %v, want %v", got.Type, []int{n, ch, oh, ow})
			}
			i := 0
			for plane := range n * ch {
				for p := range oh {
					for q := range ow {
						want := 0.0
						for a := range kh {
							for b := range kw {
								yy, xx := p*down+a-pads[0], q*down+b-pads[1]
								if yy >= 0 && xx >= 0 && yy%up == 0 && xx%up == 0 && yy/up < h && xx/up < w {
									want += float64(Data[float32](f)[a*kw+b]) * float64(Data[float32](x)[(plane*h+yy/up)*w+xx/up])
								}
							}
						}
						if e := math.Abs(float64(y[i]) - want); !(e <= 1e-5) {
							t.Fatalf("up %d down %d pads %v: element %d is %v, want %v", up, down, pads, i, y[i], want)
						}
						i++
					}
				}
			}
		}
	}
}
