package plan

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	G "gorgonia.org/gorgonia"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// The derivative of whole networks along a direction is what central
// differences say, with and without fusion.
func TestPullbackIsTheDerivative(t *testing.T) {
	for _, name := range testModels {
		p := open(t, name, 2)
		types, data := inputs(p, 2)
		variants := map[string]func() (*Plan, error){
			"as compiled": func() (*Plan, error) { return p.Pullback(t.Context(), types, nil, 0, 0) },
			"laid out": func() (*Plan, error) {
				g, err := p.specialise(t.Context(), types, nil)
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
		forward, err := p.Compile(t.Context(), types, nil)
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
			m, err := pl.Acquire(t.Context())
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
			if !(math.Abs(got-want) <= 2e-3*math.Sqrt(size)) {
				t.Errorf("%s, %s: derivative %v along a direction, by differences %v, gradient of length %v", name, what, got, want, math.Sqrt(size))
			}
		}
	}
}

// The ops of the expression graph differentiate by gorgonia's contract: a reverse
// pass over it, DiffWRT and SymDiff, gives what Pullback computes.
func TestSymDiffAgreesWithPullback(t *testing.T) {
	for _, name := range testModels {
		p := open(t, name, 2)
		types, data := inputs(p, 2)
		// Through the operators as they are: fused ones may have no derivative.
		g, err := p.specialise(t.Context(), types, nil)
		if err == nil {
			err = g.layOut()
		}
		if err != nil {
			t.Fatal(err)
		}
		x, err := g.express()
		if err != nil {
			t.Fatal(err)
		}
		e, slots, in, out := x.graphs[0], x.slots, x.in, x.out
		nodes := e.AllNodes()
		w := &symWriter{e}
		v := ops.New(out[0].Op().(*op).kernel.Out[0].Plain())
		for i := range ops.Data[float32](v) {
			ops.Data[float32](v)[i] = float32(math.Sin(float64(7*i + 1)))
		}
		seed := &ops.Ref{Arg: ops.Arg{Type: v.Type, Const: v}}
		grads := map[*G.Node]*G.Node{out[0]: w.node(seed)}
		for _, n := range slices.Backward(nodes) {
			o, ok := n.Op().(*op)
			if !ok || grads[n] == nil {
				continue
			}
			var children G.Nodes
			for it := e.From(n.ID()); it.Next(); {
				children = append(children, it.Node().(*G.Node))
			}
			list, err := o.SymDiff(children, n, grads[n])
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for i, c := range children {
				switch d := list[i]; {
				case d == nil:
				case grads[c] == nil:
					grads[c] = d
				default:
					typ := slots[c].Type.Plain()
					sum, err := w.emit(&onnx.Node{Op: "Add", Version: 14, Inputs: []int{0, 1}, Outputs: []int{0}},
						[]*ops.Ref{{Arg: ops.Arg{Type: typ}, Key: grads[c]}, {Arg: ops.Arg{Type: typ}, Key: d}})
					if err != nil {
						t.Fatal(err)
					}
					grads[c] = w.node(sum[0])
				}
			}
		}

		values := map[*G.Node]G.Value{}
		for i, n := range in {
			values[n] = &cell{Tensor: data[i]}
		}
		var eval func(n *G.Node) G.Value
		eval = func(n *G.Node) G.Value {
			if values[n] != nil {
				return values[n]
			}
			o, ok := n.Op().(*op)
			switch {
			case !ok && n.Value() != nil:
				return n.Value()
			case !ok:
				return &cell{Tensor: slots[n].konst}
			}
			var args []G.Value
			for it := e.From(n.ID()); it.Next(); {
				args = append(args, eval(it.Node().(*G.Node)))
			}
			v, err := o.Do(args...)
			if err != nil {
				t.Fatal(err)
			}
			values[n] = v
			return v
		}
		got := ops.Data[float32](eval(grads[in[0]]).(*cell).Tensor)

		pl, err := p.Pullback(t.Context(), types, nil, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		m, err := pl.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i, x := range append(data[:len(data):len(data)], v) {
			copy(m.In[i].Mem(), x.Mem())
		}
		if err := m.RunAll(); err != nil {
			t.Fatal(err)
		}
		if d := distance(got, ops.Data[float32](m.Out[1])); !(d <= 5e-6) {
			t.Errorf("%s: SymDiff differs from Pullback by %.2g of its maximum", name, d)
		}
	}
}
