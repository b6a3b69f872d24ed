package ops

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

func TestSoftmax(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		shape := movableShape(r)
		rank := len(shape)
		version := []int64{7, 11, 13}[r.IntN(3)]
		tc := testCall{op: "Softmax", version: version}
		axis := rank - 1
		if version < 13 {
			axis = 1
		}
		if rank > 0 && (r.IntN(3) > 0 || axis > rank) {
			axis = r.IntN(rank)
			tc.attrs = map[string]onnx.Attr{"axis": attrInt(axis - rank*r.IntN(2))}
		}
		if rank == 0 {
			axis = 0
		}
		// gone are the dimensions that make up a row.
		gone := make([]bool, rank)
		for d := range gone {
			gone[d] = d == axis || version < 13 && d > axis
		}
		x := randn(r, shape...)
		for _, v := range []int{0, 1} {
			if n := x.Elems(); n > 0 {
				Data[float32](x)[r.IntN(n)] = []float32{100, -3000}[v]
			}
		}
		row := func(pos []int) (o int) {
			for d := range shape {
				if !gone[d] {
					o = o*shape[d] + pos[d]
				}
			}
			return o
		}
		most, sum := map[int]float64{}, map[int]float64{}
		positions(shape, func(i int, pos []int) {
			v, o := float64(Data[float32](x)[i]), row(pos)
			if m, ok := most[o]; !ok || v > m {
				most[o] = v
			}
		})
		positions(shape, func(i int, pos []int) {
			sum[row(pos)] += math.Exp(float64(Data[float32](x)[i]) - most[row(pos)])
		})
		wide := New(Type{DType: onnx.Double, Shape: shape})
		caster(wide, x)(0, x.Elems())
		for _, op := range []string{"Softmax", "LogSoftmax"} {
			var want []float64
			positions(shape, func(i int, pos []int) {
				v := float64(Data[float32](x)[i]) - most[row(pos)] - math.Log(sum[row(pos)])
				if op == "Softmax" {
					v = math.Exp(v)
				}
				want = append(want, v)
			})
			tc.op, tc.in = op, []*Tensor{x}
			near(t, tc, Data[float32](tc.mustRun(t)[0]), want, 2e-6)
			tc.in = []*Tensor{wide}
			near64(t, tc, Data[float64](tc.mustRun(t)[0]), want, 1e-12)
		}
	}
	axis := func(a int) map[string]onnx.Attr { return map[string]onnx.Attr{"axis": attrInt(a)} }
	x := randn(r, 2, 3)
	testCall{op: "Softmax", in: []*Tensor{x}, attrs: axis(2)}.mustFail(t, true)
	testCall{op: "Softmax", in: []*Tensor{x}, attrs: axis(-3)}.mustFail(t, true)
	testCall{op: "Softmax", in: []*Tensor{int64s(1)}}.mustFail(t, true)
}

// Rows across memory, in more than one piece, are those that lie along it.
func TestSoftmaxAcross(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	x := randn(r, 2, 32, 1501)
	turned := testCall{op: "Transpose", in: []*Tensor{x}, attrs: attrs{"perm": ints(0, 2, 1)}}.mustRun(t)[0]
	along := testCall{op: "Softmax", in: []*Tensor{turned}}.mustRun(t)[0]
	want := testCall{op: "Transpose", in: []*Tensor{along}, attrs: attrs{"perm": ints(0, 2, 1)}}.mustRun(t)[0]
	tc := testCall{op: "Softmax", in: []*Tensor{x}, attrs: attrs{"axis": attrInt(1)}, runtime: []bool{true}}
	if got := tc.mustRun(t)[0]; !slices.Equal(Data[float32](got), Data[float32](want)) {
		t.Error("the values differ")
	}
}
