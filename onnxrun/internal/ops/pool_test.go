package ops

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

func TestPool(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 1))
	for i := range 400 {
		n := 1 + r.IntN(3)
		shape := append([]int{r.IntN(3), 1 + r.IntN(20)}, randShape(r, n, 3, []int{20, 9, 6}[n-1])...)
		x := randn(r, shape...)
		kernel, strides, dilations, pads := randShape(r, n, 1, 4), randShape(r, n, 1, 3), randShape(r, n, 1, 2), make([]int, 2*n)
		for d := range n {
			if (kernel[d]-1)*dilations[d]+1 > shape[2+d] {
				kernel[d] = 1
			}
			pads[d], pads[n+d] = r.IntN(kernel[d]), r.IntN(kernel[d])
		}
		ceil, include, column := r.IntN(2), r.IntN(2), r.IntN(2)
		attrs := map[string]onnx.Attr{"kernel_shape": ints(kernel...), "strides": ints(strides...),
			"dilations": ints(dilations...), "pads": ints(pads...), "ceil_mode": attrInt(ceil)}
		auto := []string{"NOTSET", "NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"}[r.IntN(6)]
		if auto != "NOTSET" {
			attrs["auto_pad"] = attrStr(auto)
			delete(attrs, "pads")
		}
		tc := testCall{op: "MaxPool", attrs: attrs, in: []*Tensor{x}}
		if i%2 == 0 {
			tc.op = "AveragePool"
			attrs["count_include_pad"] = attrInt(include)
		} else {
			attrs["storage_order"] = attrInt(column)
			tc.outs = 2
		}
		got := tc.mustRun(t)
		want, index := zeros(got[0].Shape...), make([]int64, got[0].Elems())
		ref := refOf(x)
		for d := range n {
			extent := (kernel[d]-1)*dilations[d] + 1
			total := max(0, (got[0].Shape[2+d]-1)*strides[d]+extent-shape[2+d])
			switch auto {
			case "SAME_UPPER":
				pads[d], pads[n+d] = total/2, total-total/2
			case "SAME_LOWER":
				pads[d], pads[n+d] = total-total/2, total/2
			case "VALID":
				pads[d], pads[n+d] = 0, 0
			}
			if auto == "NOTSET" {
				size := float64(shape[2+d]+pads[d]+pads[n+d]-extent)/float64(strides[d]) + 1
				o := int(math.Floor(size))
				if ceil == 1 {
					if o = int(math.Ceil(size)); (o-1)*strides[d] >= shape[2+d]+pads[d] {
						o--
					}
				}
				if o != got[0].Shape[2+d] {
					t.Fatalf("%v: axis %d has %d outputs, want %d", tc, d, got[0].Shape[2+d], o)
				}
			}
		}
		k := 0
		everywhere(got[0].Shape, func(o []int) {
			sum, count, best, bestAt := 0.0, 0, math.Inf(-1), int64(-1)
			everywhere(kernel, func(tap []int) {
				at := slices.Clone(o)
				inside, counts := true, true
				for d := range n {
					p := o[2+d]*strides[d] - pads[d] + tap[d]*dilations[d]
					at[2+d] = p
					inside = inside && p >= 0 && p < shape[2+d]
					counts = counts && p >= -pads[d] && p < shape[2+d]+pads[n+d]
				}
				if inside || counts && include == 1 {
					count++
				}
				if !inside {
					return
				}
				v := ref.at(at...)
				sum += v
				if v > best {
					best = v
					off, stride := int64(0), int64(1)
					if column == 1 {
						for d := range n {
							off += int64(at[2+d]) * stride
							stride *= int64(shape[2+d])
						}
					} else {
						for d := n - 1; d >= 0; d-- {
							off += int64(at[2+d]) * stride
							stride *= int64(shape[2+d])
						}
					}
					bestAt = int64(o[0]*shape[1]+o[1])*stride + off
				}
			})
			want.data[k], index[k] = sum/float64(max(count, 1)), bestAt
			if tc.op == "MaxPool" {
				want.data[k] = best
			}
			k++
		})
		agree(t, tc, got[0], want, 1e-6)
		if tc.outs == 2 && !slices.Equal(Data[int64](got[1]), index) && len(index) > 0 {
			t.Fatalf("%v: indices %v, want %v", tc, Data[int64](got[1]), index)
		}
		tc.outs = 1
		bc := tc
		bc.in = []*Tensor{blocked(x)}
		if l := Layouts(bc.call()); l[0] != Blocked {
			t.Fatalf("%v: wants %v", bc, l)
		}
		agree(t, fmt.Sprint("blocked ", tc), bc.mustRun(t)[0], want, 1e-6)
		bc.in[0] = double(x)
		agree(t, fmt.Sprint("double ", tc), bc.mustRun(t)[0], want, 1e-9)
		if shape[0] > 0 {
			batchInvariant(t, tc)
		}
	}
}

func TestPoolBytes(t *testing.T) {
	attrs := map[string]onnx.Attr{"kernel_shape": ints(2), "strides": ints(2)}
	got := testCall{op: "MaxPool", attrs: attrs, in: []*Tensor{Of([]int{1, 1, 4}, []int8{-5, -7, 3, 100})}}.mustRun(t)[0]
	if !slices.Equal(Data[int8](got), []int8{-5, 100}) {
		t.Error(Data[int8](got))
	}
	got = testCall{op: "MaxPool", attrs: attrs, in: []*Tensor{Of([]int{1, 1, 4}, []uint8{5, 7, 255, 100})}}.mustRun(t)[0]
	if !slices.Equal(Data[uint8](got), []uint8{7, 255}) {
		t.Error(Data[uint8](got))
	}
	testCall{op: "MaxPool", attrs: attrs, in: []*Tensor{int64s(1, 2).As(Type{DType: onnx.Int64, Shape: []int{1, 1, 2}})}}.mustFail(t, true)
	testCall{op: "MaxPool", attrs: map[string]onnx.Attr{"kernel_shape": ints(5)}, in: []*Tensor{New(Type{DType: onnx.Float, Shape: []int{1, 1, 4}})}}.mustFail(t, true)
	testCall{op: "AveragePool", in: []*Tensor{New(Type{DType: onnx.Float, Shape: []int{1, 1, 4}})}}.mustFail(t, true)
	testCall{op: "AveragePool", attrs: attrs, in: []*Tensor{New(Type{DType: onnx.Float, Shape: []int{1, 4}})}}.mustFail(t, true)
}

// A NaN is the maximum of every window it is in.
func TestMaxPoolNaN(t *testing.T) {
	nan := float32(math.NaN())
	x := Of([]int{1, 1, 5}, []float32{1, nan, 3, 4, 5})
	got := Data[float32](testCall{op: "MaxPool", attrs: map[string]onnx.Attr{"kernel_shape": ints(2)}, in: []*Tensor{x}}.mustRun(t)[0])
	if got[0] == got[0] || got[1] == got[1] || got[2] != 4 || got[3] != 5 {
		t.Error(got)
	}
}

func TestGlobalPool(t *testing.T) {
	r := rand.New(rand.NewPCG(22, 1))
	for _, shape := range [][]int{{2, 3, 5}, {0, 3, 4}, {1, 17, 4, 3}, {3, 2, 2, 2, 2}} {
		x := randn(r, shape...)
		for _, op := range []string{"GlobalAveragePool", "GlobalMaxPool"} {
			out := append([]int(nil), shape...)
			for i := range out[2:] {
				out[2+i] = 1
			}
			want := zeros(out...)
			space := elems(shape[2:])
			for i := range want.data {
				v := Data[float32](x)[i*space:][:space]
				if op == "GlobalMaxPool" {
					want.data[i] = float64(slices.Max(v))
					continue
				}
				for _, y := range v {
					want.data[i] += float64(y) / float64(space)
				}
			}
			tc := testCall{op: op, in: []*Tensor{x}}
			agree(t, tc, tc.mustRun(t)[0], want, 1e-6)
			tc.in[0] = double(x)
			agree(t, tc, tc.mustRun(t)[0], want, 1e-9)
		}
	}
}
