package ops

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

// A home is a tensor with a batch of matrices in it, and the attribute that says
// where.
type home struct {
	t    *Tensor
	attr []int
}

// at is element (i, j) of the matrix of head h of sample b.
func (x home) at(data []float64, b, h, i, j int) float64 { return data[x.offset(b, h, i, j)] }

func (x home) offset(b, h, i, j int) int {
	return x.attr[0] + i*x.attr[1] + j*x.attr[2] + b*x.attr[4] + h*x.attr[6]
}

// homes are the forms in which networks hold the rows×cols matrices of b samples
// of n heads.
var homes = map[string]func(r *rand.Rand, b, n, rows, cols int) home{
	"[B,H,T,D]": func(r *rand.Rand, b, n, rows, cols int) home {
		return home{randn(r, b, n, rows, cols), []int{0, cols, 1, b, n * rows * cols, n, rows * cols}}
	},
	"[B,T,H·D]": func(r *rand.Rand, b, n, rows, cols int) home {
		return home{randn(r, b, rows, n*cols), []int{0, n * cols, 1, b, n * rows * cols, n, cols}}
	},
	"[B,T,3,H,D]": func(r *rand.Rand, b, n, rows, cols int) home {
		return home{randn(r, b, rows, 3, n, cols), []int{2 * n * cols, 3 * n * cols, 1, b, 3 * n * rows * cols, n, cols}}
	},
	"[B,H·D,T]": func(r *rand.Rand, b, n, rows, cols int) home {
		return home{randn(r, b, n*cols, rows), []int{0, 1, rows, b, n * rows * cols, n, rows * cols}}
	},
	"[B,T,D,H]": func(r *rand.Rand, b, n, rows, cols int) home {
		return home{randn(r, b, rows, cols, n), []int{0, n * cols, n, b, n * rows * cols, n, 1}}
	},
	"[B,H·D,T,1]": func(r *rand.Rand, b, n, rows, cols int) home {
		return home{randn(r, b, n*cols, rows, 1), []int{0, 1, rows, b, n * rows * cols, n, rows * cols}}
	},
	"[B,3·H·D,1,T]": func(r *rand.Rand, b, n, rows, cols int) home {
		return home{randn(r, b, 3*n*cols, 1, rows), []int{n * rows * cols, 1, rows, b, 3 * n * rows * cols, n, rows * cols}}
	},
	"[1,1,T,D]": func(r *rand.Rand, b, n, rows, cols int) home {
		return home{randn(r, 1, 1, rows, cols), []int{0, cols, 1, b, 0, n, 0}}
	},
}

// Attention by definition, over random sizes, homes of its operands, layouts and
// masks.
func TestTiledAttention(t *testing.T) {
	r := rand.New(rand.NewPCG(92, 1))
	var names []string
	for name := range homes {
		names = append(names, name)
	}
	slices.Sort(names)
	stayed := 0
	for round := range 500 {
		b, n, tq, tk, d, dv := 1+r.IntN(3), 1+r.IntN(4), 1+r.IntN(40), 1+r.IntN(40), 1+r.IntN(40), 1+r.IntN(40)
		switch r.IntN(10) {
		case 0:
			tq = 1 + r.IntN(200)
		case 1:
			tk = 1 + r.IntN(2000)
		case 2:
			d, dv = 16, 32
		}
		tc := testCall{op: "Attention", domain: Fused, allVar: true, workers: 2, attrs: map[string]onnx.Attr{
			"sizes": ints(b*n, tq, tk, d, dv)}}
		var x [3]home
		for i, name := range []string{"q", "k", "v"} {
			rows, cols := tk, d
			if i == 0 {
				rows = tq
			}
			if i == 2 {
				cols = dv
			}
			x[i] = homes[names[r.IntN(len(names))]](r, b, n, rows, cols)
			tc.attrs[name] = ints(x[i].attr...)
			tc.in = append(tc.in, x[i].t)
		}
		var y home
		for y.t == nil || y.t.Elems() != b*n*tq*dv || len(y.attr) == 0 || y.attr[4] == 0 && b*n > 1 {
			y = homes[names[r.IntN(len(names))]](r, b, n, tq, dv)
		}
		tc.attrs["shape"], tc.attrs["y"] = ints(y.t.Shape...), ints(y.attr...)
		scale := 1.0
		if r.IntN(2) == 0 {
			scale = float64(float32(0.5 + r.Float64()))
			tc.attrs["scale"] = attrFloat(float32(scale))
		}
		blind := r.IntN(2)
		tc.attrs["blind"] = attrInt(blind)
		mask := func(b, h, i, j int) float64 { return 0 }
		if r.IntN(2) == 0 {
			var m home
			switch r.IntN(4) {
			case 0:
				m = home{randn(r, b, n, tq, tk), []int{0, tk, 1, b, n * tq * tk, n, tq * tk}}
			case 1:
				m = home{randn(r, tq, tk), []int{0, tk, 1, b, 0, n, 0}}
			case 2:
				m = home{randn(r, b, 1, 1, tk), []int{0, 0, 1, b, tk, n, 0}}
			case 3:
				m = home{randn(r, b, n, tq, 1), []int{0, 1, 0, b, n * tq, n, tq}}
			}
			md := Data[float32](m.t)
			for i := range md {
				if r.IntN(3) == 0 {
					md[i] = float32(math.Inf(-1))
				}
			}
			tc.attrs["mask"] = ints(m.attr...)
			tc.in = append(tc.in, m.t)
			ref := refOf(m.t).data
			mask = func(b, h, i, j int) float64 { return m.at(ref, b, h, i, j) }
		}

		want := make([]float64, y.t.Elems())
		var ref [3][]float64
		for i := range x {
			ref[i] = refOf(x[i].t).data
		}
		row := make([]float64, tk)
		for bb := range b {
			for h := range n {
				for i := range tq {
					top, sum := math.Inf(-1), 0.0
					for j := range row {
						row[j] = 0
						for c := range d {
							row[j] += x[0].at(ref[0], bb, h, i, c) * x[1].at(ref[1], bb, h, j, c)
						}
						row[j] = scale*row[j] + mask(bb, h, i, j)
						top = max(top, row[j])
					}
					for j := range row {
						row[j] = math.Exp(row[j] - top)
						sum += row[j]
					}
					for c := range dv {
						s := 0.0
						for j, p := range row {
							s += p / sum * x[2].at(ref[2], bb, h, j, c)
						}
						if math.IsInf(top, -1) && blind == blindZero {
							s = 0
						}
						want[y.offset(bb, h, i, c)] = s
					}
				}
			}
		}

		// Images stay in the blocked layout where they may.
		wants := func() []Layout {
			c := tc.call()
			for i := range 3 {
				if len(tc.in[i].Shape) == 4 {
					c.In[i].Layout = Blocked
				}
			}
			return Layouts(c)
		}()
		for i, l := range wants {
			if l == Blocked {
				tc.in[i] = blocked(tc.in[i])
				stayed++
			}
		}
		if round < 60 {
			out := tc.mustRun(t)[0]
			near(t, tc, Data[float32](plain(out)), want, 1e-5)
			continue
		}
		out, err := tc.run()
		if err != nil {
			t.Fatal(err)
		}
		near(t, tc, Data[float32](plain(out[0])), want, 1e-5)
	}
	if stayed < 50 {
		t.Errorf("%d blocked inputs were tried", stayed)
	}
}

// The memory of a long sequence grows with its length, not with its square.
func TestTiledAttentionMemory(t *testing.T) {
	bytes := func(n int) int {
		x := Type{DType: onnx.Float, Shape: []int{1, 1, n, 64}}
		attr := ints(0, 64, 1)
		c := &Call{Node: &onnx.Node{Name: "n", Op: "Attention", Domain: Fused, Version: 1, Inputs: []int{0, 1, 2}, Outputs: []int{3},
			Attrs: map[string]onnx.Attr{"sizes": ints(1, n, n, 64, 64), "q": attr, "k": attr, "v": attr, "y": attr, "shape": ints(x.Shape...)}},
			In: []Arg{{Type: x}, {Type: x}, {Type: x}}}
		k, err := Lower(c)
		if err != nil {
			t.Fatal(err)
		}
		return ScratchBytes(k, 4)
	}
	small, large := bytes(4096), bytes(65536)
	if large > 16*small {
		t.Errorf("%d bytes for 4096 queries and keys, %d for 65536", small, large)
	}
	if packed := 2 * 4 * 64 * 65536; large > packed+4<<20 {
		t.Errorf("%d bytes for 65536 queries and keys, %d of them keys and values", large, packed)
	}
}

// What is not attention is refused.
func TestTiledAttentionErrors(t *testing.T) {
	r := rand.New(rand.NewPCG(92, 2))
	good := func() testCall {
		x := ints(0, 8, 1, 6, 40)
		return testCall{op: "Attention", domain: Fused, in: []*Tensor{randn(r, 6, 5, 8), randn(r, 6, 5, 8), randn(r, 6, 5, 8)},
			attrs: map[string]onnx.Attr{"sizes": ints(6, 5, 5, 8, 8), "q": x, "k": x, "v": x, "y": x, "shape": ints(6, 5, 8)}}
	}
	if _, err := good().run(); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []map[string]onnx.Attr{
		{"sizes": ints(6, 5, 5, 8)},
		{"sizes": ints(6, 5, 0, 8, 8)},
		{"sizes": ints(6, 5, 6, 8, 8)},
		{"q": ints(0, 8, 1, 7, 40)},
		{"q": ints(1, 8, 1, 6, 40)},
		{"k": ints(0, 8, -1, 6, 40)},
		{"v": ints(0, 8)},
		{"v": ints(0, 8, 1, 6)},
		{"shape": ints(6, 5, 9)},
		{"shape": ints(1, -1)},
		{"scale": attrFloat(0)},
		{"scale": attrFloat(float32(math.NaN()))},
	} {
		tc := good()
		for name, a := range bad {
			tc.attrs[name] = a
		}
		tc.mustFail(t, true)
	}
}

// Attention of the standard in tiles, when only its result is asked for, is the
// one that shows its scores.
func TestAttentionInTiles(t *testing.T) {
	r := rand.New(rand.NewPCG(92, 3))
	for range 60 {
		b, kv, group, tq, tk, d, dv := 1+r.IntN(3), 1+r.IntN(3), 1+r.IntN(3), 1+r.IntN(90), 1+r.IntN(90), 1+r.IntN(20), 1+r.IntN(20)
		h := kv * group
		tc := testCall{op: "Attention", version: 23 + int64(r.IntN(3)), allVar: true, attrs: map[string]onnx.Attr{}}
		if r.IntN(2) == 0 {
			tc.attrs["q_num_heads"], tc.attrs["kv_num_heads"] = attrInt(h), attrInt(kv)
			tc.in = []*Tensor{randn(r, b, tq, h*d), randn(r, b, tk, kv*d), randn(r, b, tk, kv*dv)}
		} else {
			tc.in = []*Tensor{randn(r, b, h, tq, d), randn(r, b, kv, tk, d), randn(r, b, kv, tk, dv)}
		}
		if r.IntN(2) == 0 {
			shape := []int{b, h, tq, tk}
			for i := range 3 {
				if r.IntN(3) == 0 {
					shape[i] = 1
				}
			}
			m := randn(r, shape...)
			for i := range Data[float32](m) {
				if r.IntN(3) == 0 {
					Data[float32](m)[i] = float32(math.Inf(-1))
				}
			}
			tc.in = append(tc.in, m)
		}
		k, err := Lower(tc.call())
		if err != nil {
			t.Fatal(err)
		}
		if k.Algo != "tiled" {
			t.Fatalf("%s is computed by %s", tc, k.Algo)
		}
		got := tc.mustRun(t)[0]
		tc.outs = 4
		all, err := tc.run()
		if err != nil {
			t.Fatal(err)
		}
		near(t, tc, Data[float32](got), refOf(all[0]).data, 3e-6)
	}
}

// Transformers on patches, U-Nets and a long sequence.
func BenchmarkTiledAttention(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, c := range []struct {
		name               string
		b, h, tq, d        int
		qHome, kHome, yHom string
	}{
		{"dit", 8, 3, 64, 64, "[B,T,3,H,D]", "[B,T,3,H,D]", "[B,T,H·D]"},
		{"ddpm", 8, 1, 256, 128, "[B,H·D,T,1]", "[B,H·D,T,1]", "[B,H·D,T,1]"},
		{"long", 1, 1, 4096, 64, "[B,H,T,D]", "[B,H,T,D]", "[B,H,T,D]"},
	} {
		q, k, v := homes[c.qHome](r, c.b, c.h, c.tq, c.d), homes[c.kHome](r, c.b, c.h, c.tq, c.d), homes[c.kHome](r, c.b, c.h, c.tq, c.d)
		y := homes[c.yHom](r, c.b, c.h, c.tq, c.d)
		tc := testCall{op: "Attention", domain: Fused, allVar: true, in: []*Tensor{q.t, k.t, v.t}, attrs: map[string]onnx.Attr{
			"sizes": ints(c.b*c.h, c.tq, c.tq, c.d, c.d), "q": ints(q.attr...), "k": ints(k.attr...), "v": ints(v.attr...),
			"y": ints(y.attr...), "shape": ints(y.t.Shape...), "scale": attrFloat(0.1)}}
		if c.name == "ddpm" {
			for i := range tc.in {
				tc.in[i] = blocked(tc.in[i])
			}
		}
		kern, err := Lower(tc.call())
		if err != nil {
			b.Fatal(err)
		}
		out := []*Tensor{New(kern.Out[0])}
		tasks := kern.Bind(NewMemory(kern, tc.in, out, AlignedBytes(ScratchBytes(kern, 1)), 1))
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				for _, t := range tasks {
					for p := range t.Parts {
						t.Run(p, 0)
					}
				}
			}
			b.ReportMetric(kern.FLOPs*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}
