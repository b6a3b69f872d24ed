package plan

import (
	"math"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// A large batch in tiles gives the bytes of the whole batch at once, the last
// tile's odd rows as well.
func TestTilesKeepTheBytes(t *testing.T) {
	for _, name := range []string{"gaussian4.onnx", "mixture2.onnx", "swissroll.onnx"} {
		for _, threads := range []int{1, 2} {
			p := open(t, name, threads)
			types, data := inputs(p, 1003)
			pl, err := p.Compile(t.Context(), types, nil)
			if err != nil {
				t.Fatal(err)
			}
			if pl.tile == nil {
				t.Fatalf("%s is not tiled", name)
			}
			g, err := p.joined(t.Context(), types, nil)
			if err != nil {
				t.Fatal(err)
			}
			whole, err := p.finish(g, types)
			if err != nil {
				t.Fatal(err)
			}
			want := run(t, whole, data)
			m, err := pl.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				got := run(t, pl, data)
				for i := range want {
					if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
						t.Fatalf("%s, %d threads: element %d in tiles %v, at once %v", name, threads, i, got[i], want[i])
					}
				}
			}
			if n := testing.AllocsPerRun(3, func() { m.RunAll() }); n != 0 && !raceEnabled {
				t.Errorf("%s: %v allocations a run", name, n)
			}
			pl.Release(m)
		}
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
	for _, n := range g.nodes {
		if n.src.Op == "Sub" && len(n.in[0].Shape) == 2 && n.in[0].Shape[1] == 2 {
			n.in[1] = &value{Type: rows.Type, konst: rows}
		}
	}
	if _, ok := g.rowwise(); ok {
		t.Error("a constant with a row for each sample passes for shared")
	}
}
