package main

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sampleonnx/cmd/sampleonnx/internal/npy"
	"sampleonnx/onnxrun"
)

// gradients are the recordings with a derivative of their network, from
// PyTorch's autograd.
func gradients(t *testing.T, has string, check func(t *testing.T, m *onnxrun.Model, file map[string]npy.Array, spec onnxrun.FieldSpec, x []float32, times []float64)) {
	for _, dir := range places(t) {
		for _, path := range glob(t, filepath.Join(dir, "models", "*.onnx")) {
			pairs := strings.TrimSuffix(path, ".onnx") + ".npz"
			if _, err := os.Stat(pairs); err != nil {
				continue
			}
			file, err := npy.ReadZipFile(t.Context(), pairs)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := file[has]; !ok {
				continue
			}
			t.Run(filepath.Base(path), func(t *testing.T) {
				m, err := onnxrun.Open(path)
				if err != nil {
					t.Fatal(err)
				}
				defer m.Close()
				in, out := m.Inputs(), m.Outputs()
				spec := onnxrun.FieldSpec{X: in[0].Name, Time: in[1].Name, Out: out[0].Name}
				x := file["in_"+spec.X]
				spec.Shape = x.Shape[1:]
				spec.OutShape = file["out_"+spec.Out].Shape[1:]
				times, err := file["in_"+spec.Time].Float64s()
				if err != nil {
					t.Fatal(err)
				}
				check(t, m, file, spec, floats(t, x), times)
			})
		}
	}
}

func floats(t *testing.T, a npy.Array) []float32 {
	t.Helper()
	v, err := a.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// closeTo compares with a reference: the largest difference, as a part of the
// reference's largest element.
func closeTo(t *testing.T, what string, got, want []float32, tol float64) {
	t.Helper()
	var d, most float64
	for i, w := range want {
		most = max(most, math.Abs(float64(w)))
		if e := math.Abs(float64(got[i]) - float64(w)); !(e <= d) {
			d = e
		}
	}
	t.Logf("%s: largest difference %.2g of the maximum", what, d/most)
	if !(d <= tol*most) {
		t.Errorf("%s differs by %.2g of its maximum, want at most %.0g", what, d/most, tol)
	}
}

// Vector–Jacobian products of whole networks.
func TestPullback(t *testing.T) {
	gradients(t, "vjp_x", func(t *testing.T, m *onnxrun.Model, file map[string]npy.Array, spec onnxrun.FieldSpec, x []float32, times []float64) {
		f, err := m.PullbackOf(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		v := floats(t, file["vjp_v"])
		out, dst := make([]float32, len(v)), make([]float32, len(x))
		if err := f(out, dst, v, x, times); err != nil {
			t.Fatal(err)
		}
		closeTo(t, "output", out, floats(t, file["out_"+spec.Out]), 1e-5)
		closeTo(t, "gradient", dst, floats(t, file["vjp_x"]), 1e-4)
	})
}

// The gradient of ln p(class | x, t): v is that of log softmax by the logits.
func TestClassifierGradient(t *testing.T) {
	gradients(t, "grad_class", func(t *testing.T, m *onnxrun.Model, file map[string]npy.Array, spec onnxrun.FieldSpec, x []float32, times []float64) {
		logits, err := m.FieldOf(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		f, err := m.PullbackOf(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		classes, err := file["grad_class"].Int64s()
		if err != nil {
			t.Fatal(err)
		}
		n := spec.OutShape[0]
		v, dst := make([]float32, n*len(times)), make([]float32, len(x))
		if err := logits(v, x, times); err != nil {
			t.Fatal(err)
		}
		for i, class := range classes {
			row := v[i*n:][:n]
			var sum float64
			for _, l := range row {
				sum += math.Exp(float64(l))
			}
			for k, l := range row {
				row[k] = float32(-math.Exp(float64(l)) / sum)
			}
			row[class]++
		}
		if err := f(nil, dst, v, x, times); err != nil {
			t.Fatal(err)
		}
		closeTo(t, "gradient", dst, floats(t, file["grad_x"]), 1e-4)
	})
}
