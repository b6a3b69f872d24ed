package plan

import (
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// continuous are operators that a rounding error at the input does not throw far:
// what is made of them can be compared.
var continuous = strings.Fields(`Abs Add AveragePool Clip Concat Constant Conv Cos Elu Erf Expand Flatten Gelu Gemm GlobalAveragePool
	GroupNormalization Identity InstanceNormalization LayerNormalization LeakyRelu MatMul Max Mean Min Mul Neg Pad ReduceMean ReduceSum Relu Reshape
	Resize Shape Sigmoid Sin Slice Softmax Softplus Split Squeeze Sub Sum Tanh Transpose Unsqueeze Upsample`)

// FuzzCompiled compares, for any bytes that are a model, the compiled plan with
// the plainest one there is: the file's nodes one by one, nothing joined, every
// value in the Plain layout.
func FuzzCompiled(f *testing.F) {
	files, _ := filepath.Glob("../../../testdata/*/*.onnx")
	for _, file := range files {
		if data, err := os.ReadFile(file); err == nil && len(data) < 8<<10 {
			f.Add(data)
		}
	}
	for _, data := range fusable() {
		m, err := onnx.Parse(f.Context(), data, onnx.Limits{})
		if err != nil {
			f.Fatal(err)
		}
		p, err := New(f.Context(), m, Options{Threads: 1})
		if err != nil {
			f.Fatal(err)
		}
		p.Close()
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		limits := onnx.Limits{Memory: 16 << 20}
		m, err := onnx.Parse(ctx, data, limits)
		if err != nil {
			return
		}
		defer m.Close()
		for i := range m.Graph.Nodes {
			if !slices.Contains(continuous, m.Graph.Nodes[i].Op) {
				return
			}
		}
		p, err := New(ctx, m, Options{Threads: 2, Memory: limits.Memory})
		if err != nil {
			return
		}
		defer p.Close()
		for _, in := range p.Inputs {
			if !ops.IsFloat32(in.DType) {
				return
			}
		}
		types, values := inputs(p, 2)
		pl, err := p.Compile(ctx, types, nil)
		if err != nil {
			return
		}
		g, err := p.specialise(ctx, types, nil)
		if err != nil {
			t.Fatal("compiled, but not specialised: ", err)
		}
		plain, err := p.place(g, types)
		if err != nil {
			return // larger, as nothing is joined
		}
		got, err := runOn(ctx, pl, values)
		if err != nil {
			return
		}
		want, err := runOn(ctx, plain, values)
		if err != nil {
			return
		}
		// How far a change of the last bits carries is what the error may be.
		for _, v := range values {
			for i := range ops.Data[float32](v) {
				ops.Data[float32](v)[i] *= 1 + 4e-7
			}
		}
		near, err := runOn(ctx, plain, values)
		if err != nil {
			return
		}
		for i := range want {
			largest, carried := 1.0, 0.0
			for j := range want[i] {
				w, n := float64(want[i][j]), float64(near[i][j])
				if !(math.Abs(w) < 1e6) || !(math.Abs(n) < 1e6) { // overflow: where, depends on the order of sums
					return
				}
				largest, carried = max(largest, math.Abs(w)), max(carried, math.Abs(w-n))
			}
			for j := range want[i] {
				if d := math.Abs(float64(got[i][j]) - float64(want[i][j])); !(d <= 1e-3*largest+1000*carried) {
					t.Fatalf("output %d, element %d: %v as compiled, %v node by node", i, j, got[i][j], want[i][j])
				}
			}
		}
	})
}

// runOn is the float32 outputs of a plan.
func runOn(ctx context.Context, pl *Plan, values []*ops.Tensor) ([][]float32, error) {
	m, err := pl.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer pl.Release(m)
	for i, v := range values {
		copy(m.In[i].Mem(), v.Mem())
	}
	if err := m.Run(ctx); err != nil {
		return nil, err
	}
	var out [][]float32
	for _, t := range m.Out {
		if ops.IsFloat32(t.DType) {
			out = append(out, slices.Clone(ops.Data[float32](t)))
		}
	}
	return out, nil
}

// fusable are small models of what the fusions look for.
func fusable() [][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	var list [][]byte
	for _, body := range [][]string{
		{"Conv x w b y"}, {"Conv x w b c", "Relu c y"}, {"Conv x w b c", "Sigmoid c s", "Mul c s y"},
		{"Conv x w b c", "Add c x y"}, {"Conv x w b c", "Add c x d", "Tanh d y"}, {"Conv x w b c", "Conv c w b y"},
		{"GlobalAveragePool x a", "Sub x a c", "Mul c c d", "GlobalAveragePool d v", "Mul v c y"},
		{"Sigmoid x s", "Mul x s c", "Conv c w b y"}, {"Softmax x y"}, {"AveragePool x y"},
		{"InstanceNormalization x b b n", "Sigmoid n s", "Mul n s y"},
	} {
		list = append(list, imageModel(r, body))
	}
	return list
}

// imageModel is a model of nodes "Op inputs… output" on images x, with 1×1 filters
// w and a bias b; y is its output.
func imageModel(r *rand.Rand, nodes []string) []byte {
	text := func(b []byte, num protowire.Number, s string) []byte {
		return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
	}
	number := func(b []byte, num protowire.Number, v int) []byte {
		return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), uint64(v))
	}
	value := func(name string, dims ...int) []byte {
		var shape []byte
		for _, d := range dims {
			shape = text(shape, 1, string(number(nil, 1, d)))
		}
		return text(text(nil, 1, name), 2, string(text(nil, 1, string(text(number(nil, 1, 1), 2, string(shape))))))
	}
	weight := func(name string, dims ...int) []byte {
		t, n := text(number(nil, 2, 1), 8, name), 1
		for _, d := range dims {
			t = number(t, 1, d)
			n *= d
		}
		var raw []byte
		for range n {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(float32(r.NormFloat64()/4)))
		}
		return text(t, 9, string(raw))
	}
	var g []byte
	for _, line := range nodes {
		words := strings.Fields(line)
		var n []byte
		for _, in := range words[1 : len(words)-1] {
			n = text(n, 1, in)
		}
		n = text(text(n, 2, words[len(words)-1]), 4, words[0])
		if words[0] == "AveragePool" {
			n = text(n, 5, string(number(number(number(text(nil, 1, "kernel_shape"), 8, 2), 8, 2), 20, 7)))
		}
		g = text(g, 1, string(n))
	}
	g = text(text(g, 5, string(weight("w", 8, 8, 1, 1))), 5, string(weight("b", 8)))
	g = text(text(g, 11, string(value("x", 2, 8, 5, 5))), 12, string(value("y")))
	return text(text(number(nil, 1, 8), 7, string(g)), 8, string(number(nil, 2, 17)))
}
