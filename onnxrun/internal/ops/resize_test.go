package ops

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

// resizeRef resizes one axis at a time, each output by the definition of the
// standard: find the coordinate, weigh the neighbours.
func resizeRef(x reference, axis, out int, scale float64, a resizeAttrs) reference {
	shape := slices.Clone(x.shape)
	shape[axis] = out
	y := zeros(shape...)
	in := x.shape[axis]
	k := 0
	everywhere(shape, func(idx []int) {
		o := float64(idx[axis])
		var at float64
		switch a.coord {
		case "half_pixel":
			at = (o+0.5)/scale - 0.5
		case "half_pixel_symmetric":
			adjust := float64(out) / (scale * float64(in))
			at = float64(in)/2*(1-adjust) + (o+0.5)/scale - 0.5
		case "pytorch_half_pixel":
			if out > 1 {
				at = (o+0.5)/scale - 0.5
			}
		case "align_corners":
			length := scale * float64(in) // not cut to a whole number
			if math.Abs(length-float64(out)) < 1e-9 {
				length = float64(out)
			}
			if out > 1 {
				at = o * float64(in-1) / (length - 1)
			}
		case "asymmetric":
			at = o / scale
		case "tf_half_pixel_for_nn":
			at = (o + 0.5) / scale
		}
		get := func(i int) float64 {
			p := slices.Clone(idx)
			p[axis] = min(max(i, 0), in-1)
			return x.at(p...)
		}
		floor := int(math.Floor(at))
		switch a.mode {
		case "nearest":
			frac := at - math.Floor(at)
			i := floor
			switch {
			case a.nearest == "ceil" && frac > 0, a.nearest == "round_prefer_floor" && frac > 0.5, a.nearest == "round_prefer_ceil" && frac >= 0.5:
				i++
			}
			y.data[k] = get(i)
		default:
			widen, reach := 1.0, 2.0
			if a.antialias && scale < 1 {
				widen = scale
			}
			if a.mode == "linear" {
				reach = 1
			}
			sum, total := 0.0, 0.0
			for i := floor - 200; i <= floor+200; i++ {
				d := math.Abs(float64(i)-at) * widen
				if d >= reach || a.exclude && (i < 0 || i >= in) {
					continue
				}
				w := 1 - d
				if a.mode == "cubic" {
					if d <= 1 {
						w = (a.cubic+2)*d*d*d - (a.cubic+3)*d*d + 1
					} else {
						w = a.cubic*d*d*d - 5*a.cubic*d*d + 8*a.cubic*d - 4*a.cubic
					}
				}
				sum += w * get(i)
				total += w
			}
			y.data[k] = sum / total
		}
		k++
	})
	return y
}

type resizeAttrs struct {
	coord, mode, nearest string
	antialias, exclude   bool
	cubic                float64
}

func TestResize(t *testing.T) {
	r := rand.New(rand.NewPCG(81, 1))
	for range 500 {
		n := 1 + r.IntN(3)
		shape := append([]int{1 + r.IntN(2), 1 + r.IntN(20)}, randShape(r, n, 1, []int{14, 9, 4}[n-1])...)
		x := randn(r, shape...)
		a := resizeAttrs{
			coord:   []string{"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_half_pixel_for_nn"}[r.IntN(6)],
			mode:    []string{"nearest", "linear", "cubic"}[r.IntN(3)],
			nearest: []string{"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"}[r.IntN(4)],
			cubic:   float64(float32([]float32{-0.75, -0.5}[r.IntN(2)])),
		}
		a.antialias = a.mode != "nearest" && r.IntN(3) == 0
		a.exclude = a.mode != "nearest" && r.IntN(3) == 0
		scales := make([]float32, 2+n)
		sizes := make([]int, 2+n)
		want := refOf(x)
		bySize := r.IntN(2) == 0
		for d := range scales {
			scales[d], sizes[d] = 1, shape[d]
			if d < 2 {
				continue
			}
			s := []float32{2, 0.5, 1.5, 3, 1, 0.7}[r.IntN(6)]
			sizes[d] = int(float32(shape[d]) * s)
			if sizes[d] < 1 {
				s, sizes[d] = 2, 2*shape[d]
			}
			scales[d] = s
			scale := float64(s)
			if bySize {
				scale = float64(sizes[d]) / float64(shape[d])
			}
			if sizes[d] != shape[d] || scale != 1 {
				want = resizeRef(want, d, sizes[d], scale, a)
			}
		}
		attrs := map[string]onnx.Attr{"coordinate_transformation_mode": attrStr(a.coord), "mode": attrStr(a.mode),
			"nearest_mode": attrStr(a.nearest), "cubic_coeff_a": attrFloat(float32(a.cubic))}
		if a.antialias {
			attrs["antialias"] = attrInt(1)
		}
		if a.exclude {
			attrs["exclude_outside"] = attrInt(1)
		}
		tc := testCall{op: "Resize", attrs: attrs, in: []*Tensor{x, nil, Of([]int{2 + n}, scales)}, runtime: []bool{true}}
		if bySize {
			tc.in = []*Tensor{x, nil, nil, int64s(sizes...)}
		}
		agree(t, fmt.Sprint(tc, a), tc.mustRun(t)[0], want, 1e-4)
		if !bySize {
			batchInvariant(t, tc)
		}
		bc := tc
		bc.in = slices.Clone(tc.in)
		bc.in[0] = blocked(x)
		if l := Layouts(bc.call()); l[0] != Blocked {
			t.Fatalf("%v: wants %v", bc, l)
		}
		agree(t, fmt.Sprint("blocked ", tc, a), bc.mustRun(t)[0], want, 1e-4)
		bc.in[0] = double(x)
		agree(t, fmt.Sprint("double ", tc, a), bc.mustRun(t)[0], want, 1e-9)

		// The same, naming the axes.
		axes, s, z := []int{}, []float32{}, []int{}
		for d := n + 1; d >= 2; d-- {
			axes, s, z = append(axes, d), append(s, scales[d]), append(z, sizes[d])
		}
		attrs["axes"] = ints(axes...)
		tc.in = []*Tensor{x, nil, Of([]int{n}, s)}
		if bySize {
			tc.in = []*Tensor{x, nil, nil, int64s(z...)}
		}
		agree(t, tc, tc.mustRun(t)[0], want, 1e-4)
	}
}

func TestResizeOldForms(t *testing.T) {
	x := Of([]int{1, 1, 2, 4}, []float32{1, 2, 3, 4, 5, 6, 7, 8})
	for _, c := range []struct {
		tc   testCall
		want []float32
	}{
		{testCall{op: "Resize", version: 10, in: []*Tensor{x, Of([]int{4}, []float32{1, 1, 0.6, 0.6})}}, []float32{1, 3}},
		{testCall{op: "Resize", version: 10, attrs: map[string]onnx.Attr{"mode": attrStr("linear")}, in: []*Tensor{x, Of([]int{4}, []float32{1, 1, 1, 0.5})}}, []float32{1, 3, 5, 7}},
		{testCall{op: "Upsample", version: 9, in: []*Tensor{x, Of([]int{4}, []float32{1, 1, 1, 2})}}, []float32{1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8}},
		{testCall{op: "Upsample", version: 7, attrs: map[string]onnx.Attr{"mode": attrStr("linear"), "scales": attrFloats(1, 1, 1, 2)}, in: []*Tensor{x}},
			[]float32{1, 1.5, 2, 2.5, 3, 3.5, 4, 4, 5, 5.5, 6, 6.5, 7, 7.5, 8, 8}},
		{testCall{op: "Resize", version: 11, in: []*Tensor{x, Of([]int{0}, []float32{}), Of([]int{0}, []float32{}), int64s(1, 1, 1, 2)},
			attrs: map[string]onnx.Attr{"coordinate_transformation_mode": attrStr("asymmetric"), "nearest_mode": attrStr("floor")}}, []float32{1, 3}},
		{testCall{op: "Resize", version: 18, in: []*Tensor{x, nil, nil, int64s(4, 4)},
			attrs: map[string]onnx.Attr{"axes": ints(2, 3), "keep_aspect_ratio_policy": attrStr("not_larger")}}, []float32{1, 2, 3, 4, 5, 6, 7, 8}},
		{testCall{op: "Resize", version: 18, in: []*Tensor{x, nil, nil, int64s(1, 4)},
			attrs: map[string]onnx.Attr{"axes": ints(2, 3), "keep_aspect_ratio_policy": attrStr("not_larger")}}, []float32{1, 3}},
		{testCall{op: "Resize", version: 18, in: []*Tensor{x, nil, nil, int64s(1, 4)},
			attrs: map[string]onnx.Attr{"axes": ints(2, 3), "keep_aspect_ratio_policy": attrStr("not_smaller")}}, []float32{1, 2, 3, 4, 5, 6, 7, 8}},
		{testCall{op: "Resize", version: 13, in: []*Tensor{x, Of([]int{8}, []float32{0, 0, 0, 0, 1, 1, 1, 2}), nil, int64s(1, 1, 2, 3)},
			attrs: map[string]onnx.Attr{"coordinate_transformation_mode": attrStr("tf_crop_and_resize"), "extrapolation_value": attrFloat(-1), "mode": attrStr("linear")}},
			[]float32{1, 4, -1, 5, 8, -1}},
	} {
		out := c.tc.mustRun(t)[0]
		if !slices.Equal(Data[float32](out), c.want) {
			t.Errorf("%v: %v, want %v", c.tc, Data[float32](out), c.want)
		}
	}
	bytes := testCall{op: "Resize", in: []*Tensor{Of([]int{2}, []uint8{3, 4}), nil, Of([]int{1}, []float32{2})}}
	if got := Data[uint8](bytes.mustRun(t)[0]); !slices.Equal(got, []uint8{3, 3, 4, 4}) {
		t.Error(got)
	}
}

func TestResizeErrors(t *testing.T) {
	x := New(Type{DType: onnx.Float, Shape: []int{1, 1, 2, 4}})
	scales := Of([]int{4}, []float32{1, 1, 2, 2})
	bad := func(version int64, attrs map[string]onnx.Attr, in ...*Tensor) {
		t.Helper()
		testCall{op: "Resize", version: version, attrs: attrs, in: in}.mustFail(t, true)
	}
	bad(13, nil, x)
	bad(13, nil, x, nil, scales, int64s(1, 1, 4, 8))
	bad(13, nil, x, nil, Of([]int{3}, []float32{1, 2, 2}))
	bad(13, nil, x, nil, Of([]int{4}, []float32{1, 1, 0, 2}))
	bad(13, nil, x, nil, nil, int64s(1, 1, -4, 8))
	for name, v := range map[string]onnx.Attr{"mode": attrStr("sinc"), "nearest_mode": attrStr("up"), "axes": ints(2, 2),
		"coordinate_transformation_mode": attrStr("tf_crop_and_resize"), "antialias": attrInt(1)} {
		bad(18, map[string]onnx.Attr{name: v}, x, nil, scales)
	}
	testCall{op: "Upsample", version: 11, in: []*Tensor{x, scales}}.mustFail(t, true)
	testCall{op: "Resize", in: []*Tensor{x, nil, scales}, allVar: true}.mustFail(t, false)
	testCall{op: "Resize", in: []*Tensor{int64s(1, 2), nil, Of([]int{1}, []float32{2})}, attrs: map[string]onnx.Attr{"mode": attrStr("linear")}}.mustFail(t, false)
}
