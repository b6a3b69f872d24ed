package ops

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

// inBlocks checks a call on a plain and a blocked image and, where the other inputs
// are for all images, in a batch.
func inBlocks(t *testing.T, tc testCall, want reference, tol float64) {
	t.Helper()
	agree(t, tc, tc.mustRun(t)[0], want, tol)
	bc := tc
	bc.in = slices.Clone(tc.in)
	bc.in[0] = blocked(tc.in[0])
	out := bc.mustRun(t)[0]
	if out.Layout != Blocked {
		t.Fatalf("%v: gives %v", bc, out.Type)
	}
	agree(t, fmt.Sprint("blocked ", tc), out, want, tol)
	if len(tc.in[3].Shape) == 1 || tc.in[3].Shape[0] == 1 {
		batchInvariant(t, tc)
	}
}

// InstanceNorm++ against its definition in float64.
func TestInstanceNormPlus(t *testing.T) {
	r := rand.New(rand.NewPCG(61, 1))
	for range 100 {
		ch := 2 + r.IntN(40)
		shape := append([]int{1 + r.IntN(3), ch}, randShape(r, 1+r.IntN(3), 1, 6)...)
		x := randn(r, shape...)
		for i := range Data[float32](x) {
			Data[float32](x)[i] += float32(i / 30 % 7)
		}
		gamma, beta, alpha := randn(r, ch), randn(r, ch), randn(r, ch)
		attrs := map[string]onnx.Attr{"epsilon": attrFloat(1e-3), "epsilon_means": attrFloat(1e-2), "correction": attrFloat(1.25)}
		elu := r.IntN(2) == 0
		if elu {
			attrs["act"] = attrStr("elu")
		}

		want, in := zeros(shape...), refOf(x).data
		space := elems(shape[2:])
		for n := range shape[0] {
			mu, sigma2 := make([]float64, ch), make([]float64, ch)
			for c := range ch {
				mu[c], sigma2[c] = moments(in[(n*ch+c)*space:][:space])
			}
			m, v := moments(mu)
			for c := range ch {
				for i := range space {
					at := (n*ch+c)*space + i
					z := vector(gamma)(c)*(in[at]-mu[c])/math.Sqrt(sigma2[c]+float64(float32(1e-3))) + vector(beta)(c) +
						vector(alpha)(c)*(mu[c]-m)/math.Sqrt(1.25*v+float64(float32(1e-2)))
					if elu && z < 0 {
						z = math.Expm1(z)
					}
					want.data[at] = z
				}
			}
		}
		inBlocks(t, testCall{op: "InstanceNormPlus", domain: Fused, attrs: attrs, in: []*Tensor{x, gamma, beta, alpha}}, want, 1e-4)
	}
}

// A group normalisation of x + e is that of the sum, written out.
func TestAddGroupNorm(t *testing.T) {
	r := rand.New(rand.NewPCG(62, 1))
	for range 100 {
		groups := 1 + r.IntN(6)
		ch := groups * (1 + r.IntN(24))
		shape := append([]int{1 + r.IntN(3), ch}, randShape(r, 1+r.IntN(3), 1, 5)...)
		one := slices.Repeat([]int{1}, len(shape))
		one[1] = ch
		if r.IntN(2) == 0 {
			one[0] = shape[0]
		}
		x, e, gamma, beta := randn(r, shape...), randn(r, one...), randn(r, ch), randn(r, ch)
		sum := refOf(x)
		space := elems(shape[2:])
		for i := range sum.data {
			sum.data[i] += refOf(e).data[i/space%len(refOf(e).data)]
		}
		silu := r.IntN(2)
		attrs := map[string]onnx.Attr{"epsilon": attrFloat(1e-3), "groups": attrInt(groups), "silu": attrInt(silu)}
		want := normRef(sum, groups, float64(float32(1e-3)), vector(gamma), vector(beta), silu == 1)
		inBlocks(t, testCall{op: "AddGroupNorm", domain: Fused, attrs: attrs, in: []*Tensor{x, gamma, beta, e}}, want, 1e-4)
	}
}
