package plan

import (
	"math/rand/v2"
	"slices"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// elements lists the places of a view's elements in row-major order.
func (w view) elements() []int {
	list := []int{w.at}
	for _, s := range slices.Concat(w.axes...) {
		var next []int
		for _, at := range list {
			for i := range s.n {
				next = append(next, at+i*s.step)
			}
		}
		list = next
	}
	return list
}

func (w view) shape() []int {
	shape := []int{}
	for _, a := range w.axes {
		n := 1
		for _, s := range a {
			n *= s.n
		}
		shape = append(shape, n)
	}
	return shape
}

// A view through random chains of nodes names the elements that the nodes would
// have moved.
func TestLookSeesWhatNodesMove(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	through := map[string]int{}
	p := open(t, "mixture2.onnx", 1)
	for range 3000 {
		shape := []int{1 + r.IntN(4), 1 + r.IntN(6), 1 + r.IntN(4), 2 * (1 + r.IntN(3))}
		src := &value{Type: ops.Type{DType: onnx.Float, Shape: shape}}
		g := &graph{packs: &ops.Packs{}, in: []*value{src}, ctx: t.Context(), program: p}
		data := ops.New(src.Type)
		for i := range ops.Data[float32](data) {
			ops.Data[float32](data)[i] = float32(i)
		}
		tensors := map[*value]*ops.Tensor{src: data}
		list := func(v ...int) *value {
			x := make([]int64, len(v))
			for i := range v {
				x[i] = int64(v[i])
			}
			c := ops.Of([]int{len(v)}, x)
			return &value{Type: c.Type, konst: c}
		}
		v := src
		for range 1 + r.IntN(4) {
			s := v.Shape
			n := &onnx.Node{Version: 17, Attrs: map[string]onnx.Attr{}, Inputs: []int{0}, Outputs: []int{1}}
			in := []*value{v}
			which := 0
			switch r.IntN(6) {
			case 0:
				n.Op = "Transpose"
				n.Attrs["perm"] = onnx.Attr{Kind: onnx.AttrInts}
				perm := n.Attrs["perm"]
				for _, i := range r.Perm(len(s)) {
					perm.Ints = append(perm.Ints, int64(i))
				}
				n.Attrs["perm"] = perm
			case 1:
				n.Op = "Reshape"
				to := slices.Clone(s)
				if i := r.IntN(len(to)); to[i]%2 == 0 {
					to = slices.Insert(to, i+1, 2)
					to[i] /= 2
				} else if i+1 < len(to) {
					to[i+1] *= to[i]
					to = slices.Delete(to, i, i+1)
				}
				in = append(in, list(to...))
			case 2:
				n.Op = "Slice"
				axis := r.IntN(len(s))
				from := r.IntN(s[axis])
				in = append(in, list(from-s[axis]*r.IntN(2)), list(s[axis]), list(axis), list(1+r.IntN(2)))
			case 3:
				axis := r.IntN(len(s))
				if s[axis] < 2 {
					continue
				}
				n.Op = "Split"
				n.Attrs["axis"] = intAttr(axis)
				in = append(in, list(1, s[axis]-1))
				n.Outputs = []int{1, 2}
				which = r.IntN(2)
			case 4:
				axis := r.IntN(len(s))
				if len(s) < 3 {
					continue
				}
				n.Op = "Gather"
				n.Attrs["axis"] = intAttr(axis)
				c := ops.Of([]int{}, []int64{int64(r.IntN(s[axis]))})
				in = append(in, &value{Type: c.Type, konst: c})
			case 5:
				n.Op = "Unsqueeze"
				in = append(in, list(r.IntN(len(s)+1)))
			}
			n.Inputs = make([]int, len(in))
			out, err := g.apply(n, in)
			if err != nil {
				t.Fatal(n.Op, err)
			}
			args := make([]ops.Arg, len(in))
			for i, x := range in {
				args[i] = ops.Arg{Type: x.Type, Const: x.konst}
				if x.konst == nil {
					args[i].Const = tensors[x]
				}
			}
			moved, err := fold(t.Context(), g.nodes[len(g.nodes)-1].kernel, args, func(_, _ int64) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			for i := range out {
				tensors[out[i]] = moved[i]
			}
			if v = out[which]; len(v.Shape) > 6 {
				break
			}
		}
		g.out = []*value{v}
		w := newMatcher(g).look(v, nil)
		if w.src == src && v != src {
			for _, n := range g.nodes {
				through[n.src.Op]++
			}
		}
		if !slices.Equal(w.shape(), v.Shape) {
			t.Fatalf("a view of shape %v for a value of %v", w.shape(), v.Shape)
		}
		at := ops.Data[float32](tensors[w.src])
		for i, e := range w.elements() {
			if at[e] != ops.Data[float32](tensors[v])[i] {
				t.Fatalf("element %d of %v is seen at %d", i, v.Shape, e)
			}
		}
	}
	for _, op := range []string{"Transpose", "Reshape", "Slice", "Split", "Gather", "Unsqueeze"} {
		if through[op] < 100 {
			t.Errorf("%d views through %s", through[op], op)
		}
	}
}
