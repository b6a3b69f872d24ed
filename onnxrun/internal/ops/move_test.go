package ops

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

// The movers look at the size of an element alone: one type of each.
var moveTypes = []onnx.DType{onnx.Float, onnx.Bool, onnx.Int16, onnx.Int64}

// numbered is a tensor whose elements all differ, as far as they can.
func numbered(d onnx.DType, shape ...int) *Tensor {
	t := New(Type{DType: d, Shape: shape})
	size := storageSize(d)
	for i := range t.Elems() {
		for b := range size {
			t.mem[i*size+b] = byte((i + 1) >> (8 * b))
		}
		if d == onnx.Bool {
			t.mem[i] = byte(i * i / 3 % 2)
		}
	}
	return t
}

// checkMoved compares got with the elements of src that from names.
func checkMoved(t *testing.T, tc testCall, got *Tensor, shape []int, from func(pos []int) (src *Tensor, at int)) {
	t.Helper()
	if !slices.Equal(got.Shape, shape) {
		t.Fatalf("%s: shape %v, want %v", tc, got.Shape, shape)
	}
	size := storageSize(got.DType)
	positions(shape, func(i int, pos []int) {
		src, j := from(pos)
		if !slices.Equal(got.mem[i*size:(i+1)*size], src.mem[j*size:(j+1)*size]) {
			t.Fatalf("%s: wrong at %v", tc, pos)
		}
	})
}

func index(shape, pos []int) int {
	i := 0
	for d := range shape {
		i = i*shape[d] + pos[d]
	}
	return i
}

func movableShape(r *rand.Rand) []int {
	rank, most := r.IntN(6), []int{2, 6, 45}[r.IntN(3)]
	if r.IntN(20) == 0 {
		rank, most = 8, 4
	}
	s := randShape(r, rank, 1, most)
	for elems(s) > 100_000 {
		s[r.IntN(rank)] = 1 + r.IntN(2)
	}
	if rank > 0 && r.IntN(15) == 0 {
		s[r.IntN(rank)] = 0
	}
	return s
}

func TestTranspose(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for n := range 400 {
		shape := movableShape(r)
		perm := r.Perm(len(shape))
		tc := testCall{op: "Transpose", attrs: map[string]onnx.Attr{"perm": ints(perm...)}}
		if n%10 == 0 {
			tc.attrs = nil
			for i := range perm {
				perm[i] = len(perm) - 1 - i
			}
		}
		want := make([]int, len(shape))
		for i, p := range perm {
			want[i] = shape[p]
		}
		for _, d := range moveTypes {
			x := numbered(d, shape...)
			tc.in = []*Tensor{x}
			checkMoved(t, tc, tc.mustRun(t)[0], want, func(pos []int) (*Tensor, int) {
				from := make([]int, len(pos))
				for i, p := range perm {
					from[p] = pos[i]
				}
				return x, index(shape, from)
			})
		}
	}
	x := numbered(onnx.Float, 2, 3, 4)
	for _, perm := range [][]int{{0, 1}, {0, 1, 1}, {0, 1, 3}, {0, 1, -1}} {
		testCall{op: "Transpose", in: []*Tensor{x}, attrs: map[string]onnx.Attr{"perm": ints(perm...)}}.mustFail(t, true)
	}
	// 300×400 has several parts of whole tiles.
	x = numbered(onnx.Float, 2, 300, 401)
	tc := testCall{op: "Transpose", in: []*Tensor{x}, attrs: map[string]onnx.Attr{"perm": ints(0, 2, 1)}}
	checkMoved(t, tc, tc.mustRun(t)[0], []int{2, 401, 300}, func(p []int) (*Tensor, int) { return x, (p[0]*300+p[2])*401 + p[1] })
}

func TestConcat(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 200 {
		shape := movableShape(r)
		if len(shape) == 0 {
			continue
		}
		axis := r.IntN(len(shape))
		for _, d := range moveTypes {
			tc := testCall{op: "Concat", attrs: map[string]onnx.Attr{"axis": attrInt(axis - len(shape)*r.IntN(2))}}
			want := slices.Clone(shape)
			want[axis] = 0
			for range 1 + r.IntN(4) {
				s := slices.Clone(shape)
				s[axis] = r.IntN(5)
				want[axis] += s[axis]
				tc.in = append(tc.in, numbered(d, s...))
			}
			checkMoved(t, tc, tc.mustRun(t)[0], want, func(pos []int) (*Tensor, int) {
				pos = slices.Clone(pos)
				for _, x := range tc.in {
					if pos[axis] < x.Shape[axis] {
						return x, index(x.Shape, pos)
					}
					pos[axis] -= x.Shape[axis]
				}
				panic("beyond")
			})
		}
	}
	x := numbered(onnx.Float, 2, 3)
	axis := map[string]onnx.Attr{"axis": attrInt(0)}
	testCall{op: "Concat", in: []*Tensor{x, x}}.mustFail(t, true)
	testCall{op: "Concat", attrs: axis, in: []*Tensor{x, numbered(onnx.Float, 2, 4)}}.mustFail(t, true)
	testCall{op: "Concat", attrs: axis, in: []*Tensor{x, numbered(onnx.Float, 3)}}.mustFail(t, true)
	testCall{op: "Concat", attrs: axis, in: []*Tensor{x, numbered(onnx.Int64, 2, 3)}}.mustFail(t, true)
	testCall{op: "Concat", attrs: axis, in: []*Tensor{numbered(onnx.Float)}}.mustFail(t, true)
	testCall{op: "Concat", attrs: map[string]onnx.Attr{"axis": attrInt(2)}, in: []*Tensor{x, x}}.mustFail(t, true)
}

func TestConcatBlocked(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for _, cs := range [][]int{{16, 16}, {32, 16, 5}, {16, 3}, {5, 16}, {3}, {16, 0, 16}} {
		for _, axis := range []int{1, -3, 0, 2} {
			tc := testCall{op: "Concat", attrs: map[string]onnx.Attr{"axis": attrInt(axis)}}
			for _, c := range cs {
				if axis == 0 || axis == 2 {
					c = 16
				}
				tc.in = append(tc.in, randn(r, 2, c, 3, 5))
			}
			want := tc.mustRun(t)[0]
			for i := range tc.in {
				tc.in[i] = blocked(tc.in[i])
			}
			can := (axis == 1 || axis == -3) && cs[0] != 5
			if l := Layouts(tc.call()); (l[0] == Blocked) != can {
				t.Errorf("%s: layouts %v", tc, l)
			}
			if !can {
				tc.mustFail(t, false)
				continue
			}
			if got := tc.mustRun(t)[0]; got.Layout != Blocked || !slices.Equal(plain(got).mem, want.mem) {
				t.Errorf("%s: differs from plain", tc)
			}
		}
	}
}

func TestSplit(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for n := range 200 {
		shape := movableShape(r)
		if len(shape) == 0 {
			continue
		}
		axis, outs := r.IntN(len(shape)), 1+r.IntN(4)
		sizes := make([]int, outs)
		rest := shape[axis]
		for i := range sizes {
			sizes[i] = r.IntN(rest + 1)
			rest -= sizes[i]
		}
		sizes[outs-1] += rest
		version := []int64{11, 13, 18}[r.IntN(3)]
		for _, d := range moveTypes {
			x := numbered(d, shape...)
			tc := testCall{op: "Split", version: version, outs: outs, in: []*Tensor{x}, attrs: map[string]onnx.Attr{"axis": attrInt(axis - len(shape)*r.IntN(2))}}
			switch {
			case version == 18 && n%2 == 0: // equal, but for the last
				each := (shape[axis] + outs - 1) / outs
				for i := range sizes {
					sizes[i] = max(0, min(each, shape[axis]-i*each))
				}
				tc.attrs["num_outputs"] = attrInt(outs)
			case version < 13:
				tc.attrs["split"] = ints(sizes...)
			default:
				tc.in = append(tc.in, int64s(sizes...))
			}
			at := 0
			for i, out := range tc.mustRun(t) {
				want := slices.Clone(shape)
				want[axis] = sizes[i]
				checkMoved(t, tc, out, want, func(pos []int) (*Tensor, int) {
					pos = slices.Clone(pos)
					pos[axis] += at
					return x, index(shape, pos)
				})
				at += sizes[i]
			}
		}
	}
	x := numbered(onnx.Float, 7, 2)
	split := func(version int64, outs int, attrs map[string]onnx.Attr, in ...*Tensor) testCall {
		return testCall{op: "Split", version: version, outs: outs, attrs: attrs, in: append([]*Tensor{x}, in...)}
	}
	split(11, 2, nil).mustFail(t, true) // 7 does not halve
	split(13, 2, nil).mustFail(t, true)
	if out := split(18, 2, map[string]onnx.Attr{"num_outputs": attrInt(2)}).mustRun(t); out[0].Shape[0] != 4 || out[1].Shape[0] != 3 {
		t.Error(out)
	}
	split(18, 3, map[string]onnx.Attr{"num_outputs": attrInt(2)}).mustFail(t, true)
	split(18, 2, map[string]onnx.Attr{"num_outputs": attrInt(2)}, int64s(3, 4)).mustFail(t, true)
	split(13, 2, nil, int64s(3, 3)).mustFail(t, true)
	split(13, 2, nil, int64s(8, -1)).mustFail(t, true)
	split(13, 3, nil, int64s(3, 4)).mustFail(t, true)
	split(13, 2, map[string]onnx.Attr{"split": ints(3, 4)}).mustFail(t, true)
	split(11, 2, nil, int64s(3, 4)).mustFail(t, true)
	split(13, 2, map[string]onnx.Attr{"axis": attrInt(2)}, int64s(3, 4)).mustFail(t, true)
	dynamic := split(13, 2, nil, int64s(3, 4))
	dynamic.allVar = true
	dynamic.mustFail(t, false)

	// An output left out is not computed.
	c := split(13, 2, nil, int64s(3, 4)).call()
	c.Node.Outputs[0] = -1
	k, err := Lower(c)
	if err != nil {
		t.Fatal(err)
	}
	out := []*Tensor{nil, New(k.Out[1])}
	runInto(k, []*Tensor{x, nil}, out, 1, nil)
	if !slices.Equal(out[1].mem, x.mem[3*2*4:]) {
		t.Error("wrong second output")
	}

	b := randn(r, 2, 40, 3, 2)
	tc := testCall{op: "Split", outs: 3, attrs: map[string]onnx.Attr{"axis": attrInt(1)}, in: []*Tensor{b, int64s(16, 16, 8)}}
	want := tc.mustRun(t)
	tc.in[0] = blocked(b)
	if Layouts(tc.call())[0] != Blocked {
		t.Error("a split into blocks is not blocked")
	}
	for i, got := range tc.mustRun(t) {
		if got.Layout != Blocked || !slices.Equal(plain(got).mem, want[i].mem) {
			t.Errorf("blocked output %d differs", i)
		}
	}
	tc.in[1] = int64s(8, 16, 16)
	if Layouts(tc.call())[0] != Plain {
		t.Error("a split within blocks is blocked")
	}
	tc.mustFail(t, false)
}

// sliceWant are the indices that Python's start:end:step takes, with ONNX's
// clamping, found by walking.
func sliceWant(start, end, step, extent int) (list []int) {
	if extent == 0 {
		return nil
	}
	clamp := func(v, lo, hi int) int {
		if v < 0 {
			v += extent
		}
		return max(lo, min(hi, v))
	}
	if step > 0 {
		for i := clamp(start, 0, extent); i < clamp(end, 0, extent); i += step {
			list = append(list, i)
		}
		return list
	}
	for i := clamp(start, 0, extent-1); i > clamp(end, -1, extent-1); i += step {
		list = append(list, i)
	}
	return list
}

func TestSlice(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for range 500 {
		shape := movableShape(r)
		axes := r.Perm(len(shape))[:r.IntN(len(shape)+1)]
		version := []int64{9, 10, 13}[r.IntN(3)]
		picks := make([][]int, len(shape))
		for i, d := range shape {
			picks[i] = sliceWant(0, d, 1, d)
		}
		var starts, ends, steps, names []int
		for _, a := range axes {
			bound := func() int {
				switch r.IntN(8) {
				case 0:
					return 1000
				case 1:
					return -1000
				}
				return r.IntN(2*shape[a]+3) - shape[a] - 1
			}
			s, e, st := bound(), bound(), []int{1, 1, 2, 3, -1, -2, 1000, -1000}[r.IntN(8)]
			if version < 10 {
				st = 1
			}
			starts, ends, steps = append(starts, s), append(ends, e), append(steps, st)
			picks[a] = sliceWant(s, e, st, shape[a])
			if version >= 10 && r.IntN(2) == 0 {
				a -= len(shape)
			}
			names = append(names, a)
		}
		want := make([]int, len(shape))
		for i := range want {
			want[i] = len(picks[i])
		}
		for _, d := range moveTypes {
			x := numbered(d, shape...)
			tc := testCall{op: "Slice", version: version, in: []*Tensor{x}}
			if version < 10 {
				tc.attrs = map[string]onnx.Attr{"starts": ints(starts...), "ends": ints(ends...), "axes": ints(names...)}
			} else {
				tc.in = append(tc.in, int64s(starts...), int64s(ends...), int64s(names...), int64s(steps...))
			}
			checkMoved(t, tc, tc.mustRun(t)[0], want, func(pos []int) (*Tensor, int) {
				from := make([]int, len(pos))
				for i := range pos {
					from[i] = picks[i][pos[i]]
				}
				return x, index(shape, from)
			})
		}
	}
	x := numbered(onnx.Float, 5, 4)
	far := func(v int64) *Tensor { return Of([]int{1}, []int64{v}) }
	for _, c := range []struct {
		start, end, step int64
		want             string
	}{
		{0, math.MaxInt64, 1, "[5 4]"}, {math.MaxInt64, math.MinInt64, -1, "[5 4]"}, {math.MinInt64, math.MaxInt64, math.MaxInt64, "[1 4]"},
		{-1, math.MinInt64, math.MinInt64, "[1 4]"}, {2, 2, 1, "[0 4]"}, {4, 1, 1, "[0 4]"}, {1, 4, -1, "[0 4]"},
	} {
		tc := testCall{op: "Slice", in: []*Tensor{x, far(c.start), far(c.end), nil, far(c.step)}}
		tc.in[3] = int64s(0)
		if got := tc.mustRun(t)[0]; fmt.Sprint(got.Shape) != c.want {
			t.Errorf("%s: shape %v, want %s", tc, got.Shape, c.want)
		}
	}
	if got := (testCall{op: "Slice", in: []*Tensor{x, far(1), far(3)}}).mustRun(t)[0]; fmt.Sprint(got.Shape) != "[2 4]" {
		t.Error(got.Shape)
	}
	if got := (testCall{op: "Slice", in: []*Tensor{x, far(3), far(0), nil, far(-1)}}).mustRun(t)[0]; fmt.Sprint(got.Shape) != "[3 4]" {
		t.Error(got.Shape)
	}
	for _, in := range [][]*Tensor{
		{x, far(0)}, {x, far(0), nil}, {x, far(0), int64s(1, 2)}, {x, far(0), far(1), far(2)}, {x, far(0), far(1), far(0), far(0)},
		{x, int64s(0, 0), int64s(1, 1), int64s(0, -2)}, {x, int64s(0, 0, 0), int64s(1, 1, 1)}, {x, Of([]int{1}, []float32{0}), far(1)},
	} {
		testCall{op: "Slice", in: in}.mustFail(t, true)
	}
	testCall{op: "Slice", version: 9, in: []*Tensor{x}}.mustFail(t, true)
	testCall{op: "Slice", in: []*Tensor{x, far(0), far(1)}, allVar: true}.mustFail(t, false)
}

func TestExpand(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	for range 300 {
		shapes, out := randOperands(r, 2)
		for _, d := range moveTypes {
			x := numbered(d, shapes[0]...)
			tc := testCall{op: "Expand", in: []*Tensor{x, int64s(shapes[1]...)}}
			checkMoved(t, tc, tc.mustRun(t)[0], out, func(pos []int) (*Tensor, int) { return x, at(x, pos) })
		}
	}
	x := numbered(onnx.Float, 2, 3)
	testCall{op: "Expand", in: []*Tensor{x, int64s(2, 4)}}.mustFail(t, true)
	testCall{op: "Expand", in: []*Tensor{x, int64s(2, -1)}}.mustFail(t, true)
	testCall{op: "Expand", in: []*Tensor{x, int64s(2, 3)}, allVar: true}.mustFail(t, false)
	if _, err := Lower((testCall{op: "Expand", in: []*Tensor{x, int64s(1<<30, 2, 3)}}).call()); err == nil {
		t.Error("no error for 2³⁰·6 elements")
	}
}

func TestTile(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 300 {
		shape := movableShape(r)
		reps := randShape(r, len(shape), 0, 3)
		want := make([]int, len(shape))
		for i := range reps {
			if elems(shape) > 1000 && reps[i] > 1 {
				reps[i] = 1
			}
			want[i] = shape[i] * reps[i]
		}
		for _, d := range moveTypes {
			x := numbered(d, shape...)
			tc := testCall{op: "Tile", in: []*Tensor{x, int64s(reps...)}}
			checkMoved(t, tc, tc.mustRun(t)[0], want, func(pos []int) (*Tensor, int) {
				from := make([]int, len(pos))
				for i := range pos {
					from[i] = pos[i] % shape[i]
				}
				return x, index(shape, from)
			})
		}
	}
	x := numbered(onnx.Float, 2, 3)
	testCall{op: "Tile", in: []*Tensor{x, int64s(2)}}.mustFail(t, true)
	testCall{op: "Tile", in: []*Tensor{x, int64s(2, -1)}}.mustFail(t, true)
	if _, err := Lower((testCall{op: "Tile", in: []*Tensor{x, int64s(1<<30, 1<<30)}}).call()); err == nil {
		t.Error("no error for 2⁶⁰·6 elements")
	}
}

func BenchmarkTranspose(b *testing.B) {
	for _, bench := range []struct {
		name        string
		shape, perm []int
	}{
		{"64x4096", []int{1, 64, 4096}, []int{0, 2, 1}},
		{"4096x64", []int{1, 4096, 64}, []int{0, 2, 1}},
		{"3x65536", []int{3, 65536}, []int{1, 0}},
		{"65536x3", []int{65536, 3}, []int{1, 0}},
		{"heads", []int{2, 256, 8, 64}, []int{0, 2, 1, 3}},
	} {
		x := New(Type{DType: onnx.Float, Shape: bench.shape})
		k, err := Lower(testCall{op: "Transpose", in: []*Tensor{x}, attrs: map[string]onnx.Attr{"perm": ints(bench.perm...)}}.call())
		if err != nil {
			b.Fatal(err)
		}
		tasks := k.Bind(NewMemory(k, []*Tensor{x}, []*Tensor{New(k.Out[0])}, nil, 1))
		b.Run(bench.name, func(b *testing.B) {
			b.SetBytes(int64(x.Bytes()))
			for b.Loop() {
				for p := range tasks[0].Parts {
					tasks[0].Run(p, 0)
				}
			}
		})
	}
}
