package plan

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	G "gorgonia.org/gorgonia"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

const models = "../../../testdata/models"

// open makes the program of a shipped model.
func open(t testing.TB, name string, threads int) *Program {
	t.Helper()
	return openFile(t, filepath.Join(models, name), threads)
}

func openFile(t testing.TB, file string, threads int) *Program {
	t.Helper()
	m, err := onnx.Open(t.Context(), file, onnx.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	p, err := New(t.Context(), m, Options{Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// inputs are the types of a program's inputs for a batch, and data for them.
func inputs(p *Program, batch int) ([]ops.Type, []*ops.Tensor) {
	rng := rand.New(rand.NewPCG(3, uint64(batch)))
	var types []ops.Type
	var data []*ops.Tensor
	for _, in := range p.Inputs {
		typ := ops.Type{DType: in.DType, Shape: make([]int, len(in.Dims))}
		for j, d := range in.Dims {
			typ.Shape[j] = d.Size
			if d.Size < 0 {
				typ.Shape[j] = batch
			}
		}
		x := ops.New(typ)
		switch {
		case in.DType == onnx.Int64:
			for i := range ops.Data[int64](x) {
				ops.Data[int64](x)[i] = rng.Int64N(10)
			}
		case len(typ.Shape) == 1:
			for i := range ops.Data[float32](x) {
				ops.Data[float32](x)[i] = 0.05 + 0.9*rng.Float32()
			}
		default:
			for i := range ops.Data[float32](x) {
				ops.Data[float32](x)[i] = float32(rng.NormFloat64())
			}
		}
		types, data = append(types, typ), append(data, x)
	}
	return types, data
}

// run evaluates a plan on data.
func run(t testing.TB, pl *Plan, data []*ops.Tensor) []float32 {
	t.Helper()
	m, err := pl.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer pl.Release(m)
	for i, x := range data {
		copy(m.In[i].Mem(), x.Mem())
	}
	if err := m.RunAll(); err != nil {
		t.Fatal(err)
	}
	return append([]float32(nil), ops.Data[float32](m.Out[0])...)
}

var testModels = []string{"gaussian4.onnx", "mixture2.onnx", "swissroll.onnx", "digits_ncsnv2.onnx", "digits_ncsnpp_ve.onnx"}

// Fusion changes how a network is computed, not what it computes: with all of them,
// with each one alone, and with all but one.
func TestFusionKeepsTheValue(t *testing.T) {
	all := fusions
	defer func() { fusions = all }()
	files := make([]string, len(testModels))
	for i, name := range testModels {
		files[i] = filepath.Join(models, name)
	}
	if shared := os.Getenv("SAMPLEONNX_SHARED"); shared != "" && !testing.Short() && !raceEnabled {
		more, err := filepath.Glob(filepath.Join(shared, "perf", "*.onnx"))
		if err != nil || len(more) == 0 {
			t.Fatal("no models in ", shared, err)
		}
		files = append(files, more...)
	}
	seen := map[string]bool{}
	for i, file := range files {
		p := openFile(t, file, 2)
		most := 3e-6
		if i >= len(testModels) {
			most = 1e-5 // as far as float64 is from either: they are deeper
		}
		types, data := inputs(p, 2)
		// compile runs the model with some of the fusions and returns those that had an effect.
		compile := func(use func(name string) bool) (out []float32, had map[string]bool) {
			had = map[string]bool{}
			fusions = nil
			for _, f := range all {
				try := f.try
				f.try = func(m *matcher, n *node) *node {
					fused := try(m, n)
					if fused != nil {
						had[f.name], seen[f.name] = true, true
					}
					return fused
				}
				if use(f.name) {
					fusions = append(fusions, f)
				}
			}
			g, err := p.specialise(t.Context(), types, nil)
			for _, pass := range []func(*graph) error{(*graph).fuse, (*graph).layOut} {
				if err == nil {
					err = pass(g)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			pl, err := p.place(g, types)
			if err != nil {
				t.Fatal(err)
			}
			return run(t, pl, data), had
		}
		want, _ := compile(func(string) bool { return false })
		check := func(what string, use func(name string) bool) map[string]bool {
			got, had := compile(use)
			if d := distance(got, want); !(d <= most) {
				t.Errorf("%s: %s changes the output by %.2g of its maximum", filepath.Base(file), what, d)
			}
			return had
		}
		for name := range check("fusion", func(string) bool { return true }) {
			check(name+" alone", func(n string) bool { return n == name })
			check("all but "+name, func(n string) bool { return n != name })
		}
	}
	for _, f := range all {
		if !seen[f.name] {
			t.Logf("none of the models has the pattern of %q", f.name)
		}
	}
	if len(seen) < len(all)/3 {
		t.Errorf("the models have %d of the %d patterns: want a third", len(seen), len(all))
	}
}

func distance(got, want []float32) float64 {
	var d, m float64
	for i := range want {
		m = max(m, math.Abs(float64(want[i])))
		if e := math.Abs(float64(got[i]) - float64(want[i])); !(e <= d) {
			d = e
		}
	}
	return d / m
}

// The expression graph is the plan: evaluated op by op through gorgonia's own
// interfaces, in memory of its own for every value, it gives the machine's bytes.
func TestGraphGivesTheMachinesBytes(t *testing.T) {
	for _, name := range testModels {
		p := open(t, name, 2)
		types, data := inputs(p, 2)
		pl, err := p.Compile(t.Context(), types, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := run(t, pl, data)

		values := map[*slot]G.Value{}
		for i, s := range pl.in {
			values[s] = &cell{Tensor: data[i]}
		}
		for _, s := range pl.steps {
			var children []G.Value
			for _, j := range s.op.slots {
				in := s.in[j]
				if values[in] == nil {
					values[in] = &cell{Tensor: in.konst}
				}
				children = append(children, values[in])
			}
			v, err := s.op.Do(children...)
			if err != nil {
				t.Fatal(err)
			}
			for j, out := range s.out {
				if out != nil {
					values[out] = &cell{Tensor: v.(*cell).all[j]}
				}
			}
		}
		got := ops.Data[float32](values[pl.out[0]].(*cell).Tensor)
		for i := range want {
			if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
				t.Fatalf("%s: element %d: op by op %v, machine %v", name, i, got[i], want[i])
			}
		}
	}
}

// A run allocates nothing.
func TestRunAllocatesNothing(t *testing.T) {
	for _, threads := range []int{1, 2} {
		p := open(t, "digits_ncsnv2.onnx", threads)
		types, _ := inputs(p, 2)
		pl, err := p.Compile(t.Context(), types, nil)
		if err != nil {
			t.Fatal(err)
		}
		m, err := pl.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(3, func() { m.RunAll() }); n != 0 && !raceEnabled {
			t.Errorf("%d threads: %v allocations a run", threads, n)
		}
	}
}
