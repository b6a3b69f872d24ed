package plan

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// A large batch in tiles gives the bytes of the whole batch at once, the last
// tile's odd rows as well.
func TestTilesKeepTheBytes(t *testing.T) {
	for _, c := range []struct {
		name  string
		batch int
	}{
		{"gaussian4.onnx", 1003}, {"mixture2.onnx", 1003}, {"swissroll.onnx", 1003},
		{"digits_ncsnv2.onnx", 16}, {"digits_ncsnv2.onnx", 23}, {"digits_ncsnpp_ve.onnx", 9}, {"digits_classifier.onnx", 12},
	} {
		for _, threads := range []int{1, 2} {
			if threads == 2 && c.batch == 9 {
				continue // two threads do nine rows together
			}
			p := open(t, c.name, threads)
			types, data := inputs(p, c.batch)
			pl, err := p.Compile(t.Context(), types, nil)
			if err != nil {
				t.Fatal(err)
			}
			if pl.tile == nil {
				t.Fatalf("%s is not tiled", c.name)
			}
			want := run(t, p.whole(t, types), data)
			m, err := pl.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				got := run(t, pl, data)
				for i := range want {
					if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
						t.Fatalf("%s, %d threads: element %d in tiles %v, at once %v", c.name, threads, i, got[i], want[i])
					}
				}
			}
			if n := testing.AllocsPerRun(3, func() { m.RunAll() }); n != 0 && !raceEnabled {
				t.Errorf("%s: %v allocations a run", c.name, n)
			}
			pl.Release(m)
		}
	}
}

// whole is a plan that does not go in tiles.
func (p *Program) whole(t *testing.T, types []ops.Type) *Plan {
	t.Helper()
	g, err := p.specialise(t.Context(), types, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.fuse(); err != nil {
		t.Fatal(err)
	}
	pl, err := p.finish(g, types)
	if err != nil {
		t.Fatal(err)
	}
	return pl
}

// The derivative of such a network goes its own way for each row too.
func TestDerivativeInTiles(t *testing.T) {
	for name, batch := range map[string]int{"digits_ncsnpp_ve.onnx": 8, "digits_classifier.onnx": 12, "swissroll.onnx": 300} {
		p := open(t, name, 2)
		types, data := inputs(p, batch)
		pl, err := p.Pullback(t.Context(), types, nil, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		if pl.tile == nil {
			t.Errorf("%s: not in tiles", name)
		}
		g, err := p.specialise(t.Context(), types, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.derive(0, 0); err != nil {
			t.Fatal(err)
		}
		whole, err := p.finish(g, pl.Inputs)
		if err != nil {
			t.Fatal(err)
		}
		v := ops.New(pl.Inputs[len(types)])
		for i := range ops.Data[float32](v) {
			ops.Data[float32](v)[i] = float32(i%7) - 3
		}
		var got [2][]float32
		for i, pl := range []*Plan{pl, whole} {
			m, err := pl.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for i, x := range append(slices.Clone(data), v) {
				copy(m.In[i].Mem(), x.Mem())
			}
			if err := m.RunAll(); err != nil {
				t.Fatal(err)
			}
			got[i] = slices.Concat(ops.Data[float32](m.Out[0]), ops.Data[float32](m.Out[1]))
			pl.Release(m)
		}
		for i, w := range got[1] {
			if math.Float32bits(got[0][i]) != math.Float32bits(w) {
				t.Fatalf("%s: element %d in tiles %v, at once %v", name, i, got[0][i], w)
			}
		}
	}
}

func TestTileRows(t *testing.T) {
	for _, c := range []struct{ rows, threads, want int }{
		{2, 1, 0}, {3, 1, 0}, {4, 1, 2}, {8, 1, 4}, {9, 1, 3}, {10, 1, 5}, {11, 1, 4}, {64, 1, 4},
		{4, 2, 2}, {6, 2, 3}, {8, 2, 4}, {9, 2, 0}, {16, 2, 4}, {20, 2, 5}, {64, 2, 4},
		{8, 16, 0}, {16, 16, 0}, {32, 16, 2}, {64, 16, 4}, {1000, 16, 4},
	} {
		if got := tileRows(c.rows, c.threads); got != c.want {
			t.Errorf("%d rows, %d threads: tiles of %d, want %d", c.rows, c.threads, got, c.want)
		}
	}
}

// Networks of which each row goes its own way, operator by operator, and such that
// only look like it.
func TestRowRules(t *testing.T) {
	const n = 8
	image, row := []int{n, 6, 4, 4}, []int{n, 6}
	for _, c := range []struct {
		shape []int
		yes   bool
		lines string
	}{
		{image, true, "y = Conv(x ~5,6,3,3 ~5) pads=@1,1,1,1"},
		{image, true, "y = InstanceNormalization(x ~6 ~6)"},
		{image, true, "h = AveragePool(x) kernel_shape=@2,2\ny = GlobalAveragePool(h)"},
		{image, true, "t = Transpose(x) perm=@0,2,3,1\ny = Reshape(t @0,16,6)"},
		{image, false, "y = Transpose(x) perm=@1,0,2,3"},
		{image, false, "t = Transpose(x)\ny = Transpose(t)"},
		{image, true, "y = ReduceMean(x) axes=@2,-1"},
		{image, false, "y = ReduceMean(x) axes=@0,2"},
		{image, false, "y = ReduceMean(x) axes=@-4"},
		{[]int{n, n, n}, false, "y = ReduceSum(x @0) keepdims=0"},
		{image, false, "s = ReduceMax(x) keepdims=1\ny = Sub(x s)"},
		{image, true, "y = Softmax(x) axis=-1"},
		{image, false, "y = Softmax(x) axis=0"},
		{image, true, "y = Slice(x @0,1 @2,3 @3,1)"},
		{image, false, "s = Slice(x @1 @8 @0)\nq = Slice(x @0 @1 @0)\ny = Concat(s q) axis=0"},
		{image, true, "y = Pad(x @0,1,0,2,0,0,1,0)"},
		{image, false, "p = Pad(x @1,0,0,0,0,0,0,0)\ny = Slice(p @0 @8 @0)"},
		{image, true, "y = Concat(x x) axis=1"},
		{image, false, "y = Concat(x ~B,6,4,4) axis=1"},
		{image, true, "y = Resize(x 0:0 1:4)"},
		{row, true, "y = Gemm(x ~6,5 ~5)"},
		{row, true, "y = Gemm(x ~6,5 ~1,5)"},
		{row, false, "y = Gemm(x ~6,5 ~B,5)"},
		{[]int{n, n}, false, "y = Gemm(x ~8,8) transA=1"},
		{[]int{n, n}, false, "y = Gemm(~8,8 x)"},
		{row, true, "y = MatMul(x ~6,5)"},
		{[]int{n, n}, false, "y = MatMul(~8,8 x)"},
		{[]int{n, n}, false, "y = MatMul(x x)"},
		{[]int{n, 3, 6}, true, "t = Transpose(x) perm=@0,2,1\ny = MatMul(x t)"},
		{[]int{n, 3, 6}, false, "y = MatMul(x ~2,1,6,4)"},
		{[]int{n, 3, 6}, false, "y = MatMul(x ~B,6,4)"},
		{[]int{n, 3, 6}, true, "y = Einsum(x x) equation=bij,bkj->bik"},
		{[]int{n, 3, 6}, false, "y = Einsum(x x) equation=bij,cij->bc"},
		{[]int{n, 3, n}, false, "y = Einsum(x) equation=bij->jib"},
		{row, true, "y = Add(x ~6)"},
		{row, true, "y = Mul(x ~1,6)"},
		{row, false, "y = Add(x ~B,6)"},
		{[]int{n}, false, "u = Unsqueeze(x @1)\ny = Add(x u)"},
		{row, true, "y = LayerNormalization(x ~6) axis=-1"},
		{row, false, "y = LayerNormalization(x ~B,6) axis=0"},
		{row, true, "s r = Split(x @2,4) axis=1\ny = Concat(r s) axis=1"},
		{row, true, "y = Gather(x @2,0,2) axis=1"},
		{row, false, "y = Gather(x @7,6,5,4,3,2,1,0) axis=0"},
		{row, true, "u = Unsqueeze(x @2)\nt = Tile(u @1,1,3)\ny = Reshape(t @0,-1)"},
		{[]int{n, 1}, false, "t = Tile(x @2,1)\ny = Slice(t @0 @8 @0)"},
		{row, false, "y = CumSum(x @0)"},
		{[]int{n, n}, false, "s = Shape(x)\nk = Slice(s @0 @1 @0)\nz = Slice(x @0 k @1)\ny = ReduceSum(z @1)"},
		{row, false, "s = Shape(x)\nk = Slice(s @0 @1 @0)\nm = Mod(k @3)\ng = Gather(x m) axis=1\ny = Exp(g)"},
		{[]int{n, 12}, false, "s = Shape(x)\nk = Slice(s @0 @1 @0)\ne = Add(k @2)\nz = Slice(x k e @1)\ny = Exp(z)"},
		{row, false, "s = Shape(x)\nf = Cast(s) to=1\nk = Slice(f @0 @1 @0)\ny = Div(x k)"}, // of the number of rows
	} {
		lines := strings.ReplaceAll(c.lines, "~B", fmt.Sprint("~", n))
		p, data := written{c.lines, c.shape, nil, lines}.build(t)
		types := []ops.Type{data[0].Type}
		pl := p.inFours(t, types)
		if (pl != nil) != c.yes {
			t.Errorf("%s: in tiles: %v, want %v", c.lines, pl != nil, c.yes)
		}
		if pl == nil {
			continue
		}
		if got, want := run(t, pl, data), run(t, p.whole(t, types), data); !slices.Equal(got, want) {
			t.Errorf("%s: %v in tiles, %v at once", c.lines, got, want)
		}
	}
}

// inFours is a plan in tiles of four rows; nil where rows depend on each other.
func (p *Program) inFours(t *testing.T, types []ops.Type) *Plan {
	t.Helper()
	g, err := p.specialise(t.Context(), types, nil)
	if err != nil {
		t.Fatal(err)
	}
	rows, ok := g.rowwise()
	if !ok {
		return nil
	}
	build := func(rows int) (*graph, error) { return p.specialise(t.Context(), g.rowsOf(types, rows), nil) }
	pl, err := p.inTiles(tiling{g, build, (*graph).fuse, types, typesOf(g.out)}, rows, 4)
	if err != nil {
		t.Fatal(err)
	}
	return pl
}

// A time for all samples, as diffusers' networks take it, is no row.
func TestTilesWithACommonInput(t *testing.T) {
	for _, shape := range [][]int{{1}, {}} {
		p, data := written{"common", []int{8, 6, 4, 4}, map[string][]int{"t": shape},
			"e = Mul(t ~6)\nr = Reshape(e @1,6,1,1)\na = Add(x r)\nz = Expand(r @8,6,1,1)\nc = Concat(a a) axis=1\ny = Conv(c ~4,12,3,3)"}.build(t)
		types := []ops.Type{data[0].Type, data[1].Type}
		pl := p.inFours(t, types)
		if pl == nil {
			t.Fatalf("a time of shape %v: not in tiles", shape)
		}
		if got, want := run(t, pl, data), run(t, p.whole(t, types), data); !slices.Equal(got, want) {
			t.Errorf("a time of shape %v: another result in tiles", shape)
		}
	}
}

// A panic in a tile names the operator, and a tile stops between two.
func TestTilesStopAndPanic(t *testing.T) {
	p := open(t, "digits_ncsnv2.onnx", 2)
	types, data := inputs(p, 16)
	pl, err := p.Compile(t.Context(), types, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := run(t, pl, data)
	m, err := pl.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var after atomic.Int32
	at := len(m.tiles[0].tasks) / 2
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var kept []task
	for _, w := range m.tiles {
		kept = append(kept, w.tasks[at])
		w.tasks[at].run = func(int, int) {
			cancel()
			after.Add(1)
		}
	}
	if err := m.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if node := m.stuck.Load(); node != nil {
		t.Errorf("%s counts as where a panic was", node.Where())
	}
	if n := after.Load(); n > 2*int32(kept[0].parts) {
		t.Errorf("%d parts begun", n)
	}
	for i, w := range m.tiles {
		w.tasks[at] = kept[i]
	}
	pl.Release(m)
	if got := run(t, pl, data); !slices.Equal(got, want) {
		t.Error("another result after a cancelled run")
	}

	if m, err = pl.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, w := range m.tiles {
		w.tasks[at].run = func(int, int) { panic("here") }
	}
	err = m.Run(t.Context())
	internal, ok := errors.AsType[*onnx.InternalError](err)
	if !ok || internal.Node != m.tiles[0].src(at).Where() {
		t.Errorf("got %v", err)
	}
	pl.Release(m)
	if got := run(t, pl, data); !slices.Equal(got, want) {
		t.Error("another result after a panic")
	}
}

// What mixes samples is not tiled.
func TestTilesOnlyByRow(t *testing.T) {
	p := open(t, "mixture2.onnx", 1)
	types, _ := inputs(p, 1000)
	fresh := func() *graph {
		g, err := p.specialise(t.Context(), types, nil)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	if _, ok := fresh().rowwise(); !ok {
		t.Fatal("the mixture's score works row by row")
	}
	g := fresh()
	for _, n := range g.nodes {
		if n.src.Op == "Softmax" {
			src := *n.src
			src.Attrs = map[string]onnx.Attr{"axis": intAttr(0)}
			n.src = &src
		}
	}
	if _, ok := g.rowwise(); ok {
		t.Error("a softmax over the batch passes for row by row")
	}
	g = fresh()
	rows := ops.New(ops.Type{DType: types[0].DType, Shape: []int{1000, 2}})
	ops.Data[float32](rows)[7] = 1
	for _, n := range g.nodes {
		if n.src.Op == "Sub" && len(n.in[0].Shape) == 2 && n.in[0].Shape[1] == 2 {
			n.in[1] = &value{Type: rows.Type, konst: rows}
		}
	}
	if _, ok := g.rowwise(); ok {
		t.Error("a constant with a row for each sample passes for shared")
	}
}
