package plan

import (
	"slices"

	"sampleonnx/onnxrun/internal/ops"
)

// A view is a value as a tensor that another one contains: its elements lie in
// the memory of src from at on. Transposing, slicing and most reshaping of
// tensors are changes of view.
type view struct {
	src  *value
	at   int
	axes []axis
}

// An axis of a view may run through memory in several strides, the last of them
// fastest: as many as axes were joined that do not lie evenly. One of extent 1
// has none.
type axis []stride

type stride struct{ n, step int }

// whole is a value as it lies.
func whole(v *value) view {
	w := view{src: v, axes: make([]axis, len(v.Shape))}
	step := 1
	for i := len(v.Shape) - 1; i >= 0; i-- {
		if n := v.Shape[i]; n != 1 {
			w.axes[i] = axis{{n, step}}
			step *= n
		}
	}
	return w
}

// look is v as a view of the farthest value that it is only a view of. When
// scale is not nil, multiplications by constants are passed as well and gathered
// in it.
func (m *matcher) look(v *value, scale *float64) view {
	n := m.made(v)
	if n == nil || n.src.Domain != "" || v.konst != nil || v.Elems() == 0 {
		return whole(v)
	}
	if x, by := m.scaled(n); x != nil && scale != nil {
		*scale *= by
		return m.look(x, scale)
	}
	if n.in[0] == nil || n.in[0].konst != nil || n.in[0].DType != v.DType {
		return whole(v)
	}
	move := moves[n.src.Op]
	if move == nil {
		return whole(v)
	}
	var inner *float64
	if scale != nil {
		inner = new(float64)
		*inner = *scale
	}
	w, ok := move(m.look(n.in[0], inner), n, v)
	if !ok {
		return whole(v)
	}
	if scale != nil {
		*scale = *inner
	}
	return w
}

// moves are the operators that only change the view: of what the first input of
// node n is a view of, to its output v.
var moves = map[string]func(w view, n *node, v *value) (view, bool){
	"Identity":  func(w view, n *node, v *value) (view, bool) { return w, true },
	"Transpose": func(w view, n *node, v *value) (view, bool) { return w.permute(perm(n)), true },
	"Reshape":   func(w view, n *node, v *value) (view, bool) { return w.reshape(v.Shape) },
	"Flatten":   func(w view, n *node, v *value) (view, bool) { return w.reshape(v.Shape) },
	"Squeeze":   func(w view, n *node, v *value) (view, bool) { return w.reshape(v.Shape) },
	"Unsqueeze": func(w view, n *node, v *value) (view, bool) { return w.reshape(v.Shape) },
	"Slice":     view.slice,
	"Split":     view.split,
	"Gather":    view.pick,
}

// scaled is what a node multiplies by a constant number or divides by one.
func (m *matcher) scaled(n *node) (x *value, by float64) {
	if n.src.Domain != "" || n.src.Op != "Mul" && n.src.Op != "Div" || !ops.IsFloat32(n.out[0].DType) {
		return nil, 0
	}
	for i := range 2 {
		x, c := n.in[i], n.in[1-i]
		if c.konst == nil || x.konst != nil || c.Elems() != 1 || len(c.Shape) > len(x.Shape) {
			continue
		}
		s := float64(ops.Data[float32](c.konst)[0])
		switch {
		case n.src.Op == "Mul":
			return x, s
		case i == 0:
			return x, 1 / s
		}
	}
	return nil, 0
}

// perm is the permutation of a Transpose.
func perm(n *node) []int {
	p := intsAttr(n, "perm")
	if p == nil {
		for i := len(n.in[0].Shape) - 1; i >= 0; i-- {
			p = append(p, i)
		}
	}
	return p
}

func (w view) permute(perm []int) view {
	axes := make([]axis, len(perm))
	for i, j := range perm {
		axes[i] = w.axes[j]
	}
	return view{w.src, w.at, axes}
}

// back undoes permute.
func (w view) back(perm []int) view {
	axes := make([]axis, len(perm))
	for i, j := range perm {
		axes[j] = w.axes[i]
	}
	return view{w.src, w.at, axes}
}

// reshape is the view with its axes cut and joined to another shape; false when
// the cuts of one and the other have no common measure.
func (w view) reshape(shape []int) (view, bool) {
	rest := slices.Concat(w.axes...)
	axes := make([]axis, len(shape))
	for i, n := range shape {
		for n > 1 {
			if len(rest) == 0 {
				return w, false
			}
			switch s := rest[0]; {
			case s.n > 0 && n%s.n == 0:
				axes[i] = append(axes[i], s)
				n /= s.n
				rest = rest[1:]
			case s.n > 0 && s.n%n == 0:
				inner := s.n / n
				axes[i] = append(axes[i], stride{n, s.step * inner})
				rest[0] = stride{inner, s.step}
				n = 1
			default:
				return w, false
			}
		}
	}
	return view{w.src, w.at, axes}, len(rest) == 0
}

// with is the view with another axis in place of axis i, which begins at its
// from'th element and must lie evenly.
func (w view) with(i, n, from, by int) (view, bool) {
	_, step, ok := w.axes[i].even()
	axes := slices.Clone(w.axes)
	axes[i] = nil
	if n > 1 {
		axes[i] = axis{{n, step * by}}
	}
	return view{w.src, w.at + from*step, axes}, ok
}

// slice is the view after a Slice whose bounds are known; steps must go forward.
func (w view) slice(n *node, v *value) (view, bool) {
	var arg [5][]int
	for i := 1; i < len(n.in); i++ {
		if n.in[i] == nil {
			continue
		}
		if n.in[i].konst == nil {
			return w, false
		}
		arg[i] = n.in[i].konst.Clamped()
	}
	starts, axes, by := arg[1], arg[3], arg[4]
	if len(n.in) < 3 { // before opset 10
		starts, axes = intsAttr(n, "starts"), intsAttr(n, "axes")
	}
	ok := true
	for i, start := range starts {
		a, step := i, 1
		if axes != nil {
			a = axes[i]
		}
		if a < 0 {
			a += len(w.axes)
		}
		if by != nil {
			step = by[i]
		}
		size := n.in[0].Shape[a]
		if start < 0 {
			start += size
		}
		if size == v.Shape[a] && step == 1 {
			continue
		}
		if w, ok = w.with(a, v.Shape[a], min(max(start, 0), size), step); !ok || step < 1 {
			return w, false
		}
	}
	return w, true
}

// split is the view of one output of a Split.
func (w view) split(n *node, v *value) (view, bool) {
	a := ops.ClampInt(n.src.Attrs["axis"].Int)
	if a < 0 {
		a += len(w.axes)
	}
	from := 0
	for j, out := range n.out {
		if out == v {
			return w.with(a, v.Shape[a], from, 1)
		}
		from += n.kernel.Out[j].Shape[a]
	}
	return w, false
}

// pick is the view after a Gather of one index.
func (w view) pick(n *node, v *value) (view, bool) {
	at := n.in[1]
	if at.konst == nil || len(at.Shape) != 0 {
		return w, false
	}
	i, ok := at.konst.Ints()
	a := ops.ClampInt(n.src.Attrs["axis"].Int)
	if a < 0 {
		a += len(w.axes)
	}
	size := n.in[0].Shape[a]
	if !ok || i[0] < -size || i[0] >= size {
		return w, false
	}
	if i[0] < 0 {
		i[0] += size
	}
	w, ok = w.with(a, 1, i[0], 1)
	w.axes = slices.Delete(w.axes, a, a+1)
	return w, ok
}

// even is the extent and step of an axis; false when it does not lie evenly.
func (a axis) even() (n, step int, ok bool) {
	n = 1
	for i := len(a) - 1; i >= 0; i-- {
		switch {
		case n == 1:
			step = a[i].step
		case a[i].step != n*step:
			return 0, 0, false
		}
		n *= a[i].n
	}
	return n, step, true
}
