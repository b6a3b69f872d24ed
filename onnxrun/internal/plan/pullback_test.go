package plan

import (
	"math"
	"math/rand/v2"
	"testing"

	"sampleonnx/onnxrun/internal/ops"
)

// The derivative of whole networks along a direction is what central
// differences say, with and without fusion.
func TestPullbackIsTheDerivative(t *testing.T) {
	for _, name := range testModels {
		p := open(t, name, 2)
		types, data := inputs(p, 2)
		variants := map[string]func() (*Plan, error){
			"as compiled": func() (*Plan, error) { return p.Pullback(types, nil, 0, 0) },
			"laid out": func() (*Plan, error) {
				g, err := p.specialise(types, nil)
				if err == nil {
					err = g.pullback(0, 0)
				}
				if err == nil {
					err = g.layOut()
				}
				if err != nil {
					return nil, err
				}
				return p.place(g, append(types[:len(types):len(types)], g.in[len(types)].Type))
			},
		}
		forward, err := p.Compile(types, nil)
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(1, 7))
		v, dir := ops.New(forward.Outputs[0]), ops.New(types[0])
		for i := range ops.Data[float32](v) {
			ops.Data[float32](v)[i] = float32(rng.NormFloat64())
		}
		for i := range ops.Data[float32](dir) {
			ops.Data[float32](dir)[i] = float32(rng.NormFloat64())
		}
		along := func(h float32) float64 {
			x := ops.New(types[0])
			for i, w := range ops.Data[float32](data[0]) {
				ops.Data[float32](x)[i] = w + h*ops.Data[float32](dir)[i]
			}
			moved := append([]*ops.Tensor{x}, data[1:]...)
			sum := 0.0
			for i, y := range run(t, forward, moved) {
				sum += float64(y) * float64(ops.Data[float32](v)[i])
			}
			return sum
		}
		const h = 1.0 / 1024
		want := (along(h) - along(-h)) / (2 * h)
		for what, compile := range variants {
			pl, err := compile()
			if err != nil {
				t.Fatal(err)
			}
			m, err := pl.Acquire()
			if err != nil {
				t.Fatal(err)
			}
			for i, x := range append(data[:len(data):len(data)], v) {
				copy(m.In[i].Mem(), x.Mem())
			}
			if err := m.RunAll(); err != nil {
				t.Fatal(err)
			}
			got, size := 0.0, 0.0
			for i, d := range ops.Data[float32](m.Out[1]) {
				got += float64(d) * float64(ops.Data[float32](dir)[i])
				size += float64(d) * float64(d)
			}
			t.Log(name, what, got, want, math.Sqrt(size))
			if !(math.Abs(got-want) <= 2e-3*math.Sqrt(size)) {
				t.Errorf("%s, %s: derivative %v along a direction, by differences %v, gradient of length %v", name, what, got, want, math.Sqrt(size))
			}
		}
	}
}
