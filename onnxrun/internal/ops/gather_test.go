package ops

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

// randIndices is a tensor of indices below extent, some counted from the end.
func randIndices(r *rand.Rand, shape []int, extents ...int) *Tensor {
	if r.IntN(2) == 0 {
		d := make([]int32, elems(shape))
		for i := range d {
			e := extents[i%len(extents)]
			d[i] = int32(r.IntN(2*e) - e)
		}
		return Of(shape, d)
	}
	d := make([]int64, elems(shape))
	for i := range d {
		e := extents[i%len(extents)]
		d[i] = int64(r.IntN(2*e) - e)
	}
	return Of(shape, d)
}

func wrap(t *Tensor, i, extent int) int {
	v := int(indexAt(t)(i))
	if v < 0 {
		v += extent
	}
	return v
}

func TestGather(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		shape := movableShape(r)
		if len(shape) == 0 || len(shape) > 6 {
			continue
		}
		axis := r.IntN(len(shape))
		shape[axis] = max(shape[axis], 1)
		ishape := randShape(r, r.IntN(3), 0, 5)
		idx := randIndices(r, ishape, shape[axis])
		want := slices.Concat(shape[:axis], ishape, shape[axis+1:])
		for _, d := range moveTypes {
			x := numbered(d, shape...)
			tc := testCall{op: "Gather", in: []*Tensor{x, idx}, allVar: r.IntN(2) == 0,
				attrs: map[string]onnx.Attr{"axis": attrInt(axis - len(shape)*r.IntN(2))}}
			checkMoved(t, tc, tc.mustRun(t)[0], want, func(pos []int) (*Tensor, int) {
				n := len(ishape)
				i := wrap(idx, index(ishape, pos[axis:axis+n]), shape[axis])
				return x, index(shape, slices.Concat(pos[:axis], []int{i}, pos[axis+n:]))
			})
		}
	}
}

func TestGatherND(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 300 {
		shape := randShape(r, 1+r.IntN(5), 1, 5)
		b := r.IntN(len(shape))
		m := 1 + r.IntN(len(shape)-b)
		ishape := slices.Concat(shape[:b], randShape(r, r.IntN(3), 0, 4), []int{m})
		idx := randIndices(r, ishape, shape[b:b+m]...)
		q := len(ishape)
		want := slices.Concat(ishape[:q-1], shape[b+m:])
		for _, d := range moveTypes {
			x := numbered(d, shape...)
			tc := testCall{op: "GatherND", in: []*Tensor{x, idx}, attrs: map[string]onnx.Attr{"batch_dims": attrInt(b)}}
			checkMoved(t, tc, tc.mustRun(t)[0], want, func(pos []int) (*Tensor, int) {
				from := slices.Clone(pos[:b])
				for j := range m {
					from = append(from, wrap(idx, index(ishape, append(slices.Clone(pos[:q-1]), j)), shape[b+j]))
				}
				return x, index(shape, append(from, pos[q-1:]...))
			})
		}
	}
}

func TestGatherElements(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for range 300 {
		shape := randShape(r, 1+r.IntN(4), 1, 7)
		axis := r.IntN(len(shape))
		ishape := make([]int, len(shape))
		for i, d := range shape {
			ishape[i] = 1 + r.IntN(d)
		}
		ishape[axis] = r.IntN(10)
		idx := randIndices(r, ishape, shape[axis])
		for _, d := range moveTypes {
			x := numbered(d, shape...)
			tc := testCall{op: "GatherElements", in: []*Tensor{x, idx}, attrs: map[string]onnx.Attr{"axis": attrInt(axis - len(shape)*r.IntN(2))}}
			checkMoved(t, tc, tc.mustRun(t)[0], ishape, func(pos []int) (*Tensor, int) {
				from := slices.Clone(pos)
				from[axis] = wrap(idx, index(ishape, pos), shape[axis])
				return x, index(shape, from)
			})
		}
	}
}

func TestGatherErrors(t *testing.T) {
	x := numbered(onnx.Float, 3, 4)
	axis := map[string]onnx.Attr{"axis": attrInt(1)}
	for _, tc := range []testCall{
		{op: "Gather", in: []*Tensor{x, int64s(3)}},
		{op: "Gather", in: []*Tensor{x, int64s(0, -4)}},
		{op: "Gather", in: []*Tensor{x, int64s(0)}, attrs: map[string]onnx.Attr{"axis": attrInt(2)}},
		{op: "Gather", in: []*Tensor{x, x}},
		{op: "Gather", in: []*Tensor{numbered(onnx.Float, 0, 2), int64s(0)}},
		{op: "GatherND", in: []*Tensor{x, int64s(0, 4)}},
		{op: "GatherND", in: []*Tensor{x, int64s(0, 1, 2)}},
		{op: "GatherND", in: []*Tensor{x, int64s(0)}, attrs: map[string]onnx.Attr{"batch_dims": attrInt(1)}},
		{op: "GatherND", in: []*Tensor{x, Of([]int{2, 1}, []int64{0, 0})}, attrs: map[string]onnx.Attr{"batch_dims": attrInt(1)}},
		{op: "GatherElements", in: []*Tensor{x, int64s(0)}},
		{op: "GatherElements", in: []*Tensor{x, Of([]int{4, 1}, []int64{0, 0, 0, 0})}, attrs: axis},
		{op: "GatherElements", in: []*Tensor{x, Of([]int{1, 1}, []int64{4})}, attrs: axis},
	} {
		tc.mustFail(t, true)
	}
	// The same index, not known before the model runs.
	for _, tc := range []testCall{
		{op: "Gather", in: []*Tensor{x, int64s(0, 3)}, allVar: true},
		{op: "GatherND", in: []*Tensor{x, int64s(0, -5)}, allVar: true},
		{op: "GatherElements", in: []*Tensor{x, Of([]int{1, 2}, []int64{0, 1 << 62})}, attrs: axis, allVar: true},
	} {
		func() {
			defer func() {
				err, _ := recover().(error)
				var index *IndexError
				if !errors.As(err, &index) {
					t.Errorf("%s: recovered %v, want an IndexError", tc, err)
				}
			}()
			tc.run()
		}()
	}
}
