package plan

import (
	"encoding/binary"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// Whole networks with the algorithms that a plan chooses, Winograd's among them, stay
// within 1e-5 of their largest output of what the same graph gives in float64, whose
// operators are plain loops.
func TestModelsAgreeWithFloat64(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("slow")
	}
	files, err := filepath.Glob(filepath.Join(models, "*.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	if shared := os.Getenv("SAMPLEONNX_SHARED"); shared != "" {
		for _, dir := range []string{"models", "perf"} {
			more, err := filepath.Glob(filepath.Join(shared, dir, "*.onnx"))
			if err != nil || len(more) == 0 {
				t.Fatal("no models in ", shared, err)
			}
			files = append(files, more...)
		}
	} else {
		t.Log("SAMPLEONNX_SHARED is not set: only the models in testdata are checked")
	}
	seen := map[string]bool{}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".onnx")
		if strings.HasPrefix(name, "anysize") || name == "classes3" || name == "classes3_widths" {
			continue // of open image sizes, and told a class that the random inputs here may not be
		}
		if seen[name] {
			continue
		}
		seen[name] = true
		t.Run(name, func(t *testing.T) {
			m, err := onnx.Open(t.Context(), file, onnx.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			of := func(m *onnx.Model) *Program {
				p, err := New(t.Context(), m, Options{Threads: 2})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(p.Close)
				return p
			}
			p := of(m)
			types, data := inputs(p, 1)
			pl, err := p.Compile(t.Context(), types, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := run(t, pl, data)

			p = of(&onnx.Model{Graph: widened(t, m.Graph)})
			for i, x := range data {
				if ops.IsFloat32(x.DType) {
					types[i].DType = onnx.Double
					data[i] = ops.New(types[i])
					for j, v := range ops.Data[float32](x) {
						ops.Data[float64](data[i])[j] = float64(v)
					}
				}
			}
			if pl, err = p.Compile(t.Context(), types, nil); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			mc, err := pl.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer pl.Release(mc)
			for i, x := range data {
				copy(mc.In[i].Mem(), x.Mem())
			}
			if err := mc.RunAll(); err != nil {
				t.Fatal(err)
			}
			worst, most := 0., 0.
			for i, want := range ops.Data[float64](mc.Out[0]) {
				worst, most = max(worst, math.Abs(float64(got[i])-want)), max(most, math.Abs(want))
			}
			t.Logf("error %.2g of the largest output (float64 took %v)", worst/most, time.Since(start).Round(time.Millisecond))
			if !(worst <= 1e-5*most) {
				t.Errorf("error %.3g, the largest output is %.3g", worst, most)
			}
		})
	}
}

// widened is a graph of float32 as one of float64.
func widened(t *testing.T, g *onnx.Graph) *onnx.Graph {
	wide := func(x *onnx.Tensor) *onnx.Tensor {
		if x.DType != onnx.Float {
			return x
		}
		y := &onnx.Tensor{DType: onnx.Double, Shape: x.Shape}
		for i := 0; i < len(x.Raw); i += 4 {
			v := float64(math.Float32frombits(binary.LittleEndian.Uint32(x.Raw[i:])))
			y.Raw = binary.LittleEndian.AppendUint64(y.Raw, math.Float64bits(v))
		}
		return y
	}
	w := *g
	w.Values, w.Nodes, w.Weights = slices.Clone(g.Values), slices.Clone(g.Nodes), maps.Clone(g.Weights)
	for i := range w.Values {
		if w.Values[i].DType == onnx.Float {
			w.Values[i].DType = onnx.Double
		}
	}
	scales := map[int]bool{} // of a Resize: always float32
	for i := range w.Nodes {
		n := &w.Nodes[i]
		if n.Op == "Resize" {
			for _, in := range n.Inputs[1:] {
				scales[in] = true
			}
		}
		n.Attrs = maps.Clone(n.Attrs)
		for name, a := range n.Attrs {
			switch {
			case a.Graph != nil:
				t.Fatalf("%s has a body", n.Op)
			case a.Tensor != nil:
				a.Tensor = wide(a.Tensor)
			case n.Op == "Cast" && name == "to" && a.Int == int64(onnx.Float):
				a.Int = int64(onnx.Double)
			}
			n.Attrs[name] = a
		}
	}
	for i, x := range w.Weights {
		if !scales[i] {
			w.Weights[i] = wide(x)
		}
	}
	return &w
}
