package ops

import (
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
)

// The rules of operators that move or mix elements along axes. What they have
// in common is a linear map along one axis after the other, and its transpose.

// A taps is a linear map along an axis: output o is the sum of weight times
// input at, over the list of o.
type taps [][]tap

type tap struct {
	at     int
	weight float64
}

// maxMap bounds the elements and taps of a map that a rule makes: it is made at one go.
const maxMap = 1 << 22

// newTaps is a map from an axis of so many elements to one of n, to hold count taps in
// all.
func (g *Grad) newTaps(n, count, from int) taps {
	size := min(n+from+count, unbounded)
	if size > maxMap {
		panic(refusal{&onnx.LimitError{Node: g.Node.Where(), What: "elements of a derivative along an axis", Got: int64(size), Max: maxMap}})
	}
	if g.Reserve != nil {
		g.Reserve(150 * size) // with the transpose, and the node that is made of it
	}
	return make(taps, n)
}

// transposed is the map the other way, to an axis of n elements.
func (t taps) transposed(n int) taps {
	out := make(taps, n)
	for o, list := range t {
		for _, p := range list {
			if p.weight != 0 {
				out[p.at] = append(out[p.at], tap{o, p.weight})
			}
		}
	}
	return out
}

// picks is the map that takes n elements from the places that at says, of from there
// are, nothing where that is negative.
func (g *Grad) picks(n, from int, at func(o int) int) taps {
	t := g.newTaps(n, n, from)
	for o := range t {
		if i := at(o); i >= 0 {
			t[o] = []tap{{i, 1}}
		}
	}
	return t
}

// filter applies a map along an axis of a, as a node of operator Filter.
func (g *Grad) filter(a *Ref, axis int, t taps) *Ref {
	most := 1
	for _, list := range t {
		most = max(most, len(list))
	}
	at := onnx.Attr{Kind: onnx.AttrInts, Ints: make([]int64, len(t)*most)}
	weight := onnx.Attr{Kind: onnx.AttrFloats, Floats: make([]float32, len(t)*most)}
	for o, list := range t {
		for k, p := range list {
			at.Ints[o*most+k], weight.Floats[o*most+k] = int64(p.at), float32(p.weight)
		}
		for k := len(list); k < most && len(list) > 0; k++ { // weight 0: read what is read anyway
			at.Ints[o*most+k] = int64(list[0].at)
		}
	}
	return g.fused(attrs{"axis": intAttr(axis), "size": intAttr(len(t)), "at": at, "weight": weight}, "Filter", a)
}

// lowerFilter is a linear map along one axis: each output element is the sum of
// as many weighted input elements as there are weights for it.
func lowerFilter(c *Call) (*Kernel, error) {
	x := c.In[0].Type
	axis, err := c.Axis(c.Int("axis", 0), len(x.Shape))
	if err != nil {
		return nil, err
	}
	n := c.Int("size", 0)
	places, weights := c.Node.Attrs["at"].Ints, c.Node.Attrs["weight"].Floats
	taps := 0
	if n > 0 {
		taps = len(places) / n
	}
	if taps*n != len(places) || len(weights) != len(places) || n > 0 && taps == 0 {
		return nil, c.Invalid("%d places and %d weights for %d elements", len(places), len(weights), n)
	}
	for _, i := range places {
		if i < 0 || i >= int64(x.Shape[axis]) {
			return nil, c.Invalid("place %d is outside axis %d of %v", i, axis, x.Shape)
		}
	}
	if x.Layout == Blocked && axis < 2 {
		return nil, c.Unsupported("a blocked input to a map of images or channels")
	}
	out := x
	out.Shape = slices.Clone(x.Shape)
	out.Shape[axis] = n
	outer, inner := elems(out.Physical()[:axis]), elems(out.Physical()[axis+1:])
	k := &Kernel{Out: []Type{out}, FLOPs: 2 * float64(out.Elems()) * float64(taps), Tables: filterBytes(n, taps)}
	k.Bind = func(m Memory) []Task {
		if m.Out[0].Elems() == 0 {
			return nil
		}
		f := &filter{taps: taps, at: make([]int32, len(places)), weight: make([]float64, len(weights))}
		for i, at := range places {
			f.at[i], f.weight[i] = int32(at), float64(weights[i])
		}
		if x.DType == onnx.Double {
			return []Task{filterTask(f, Data[float64](m.Out[0]), Data[float64](m.In[0]), outer, x.Shape[axis], n, inner, m.Stopped)}
		}
		tasks := []Task{filterTask(f, Data[float32](m.Out[0]), Data[float32](m.In[0]), outer, x.Shape[axis], n, inner, m.Stopped)}
		if pad := spareOf(m.Out[0]); pad.used > 0 { // a negative weight made -0 of 0
			tasks = append(tasks, eachPart(out.Len(), pad.zero)...)
		}
		return tasks
	}
	return k, c.want(0, isFloat, "a float type")
}

// filterLayouts: to a spatial axis the channels of a block are just more of what
// lies beyond it.
func filterLayouts(c *Call) []Layout {
	l := make([]Layout, 1)
	if axis := c.Int("axis", 0); axis >= 2 {
		l[0] = c.In[0].Layout
	}
	return l
}

// filterRule: the transposed map.
func filterRule(g *Grad, _ int) *Ref {
	c := g.call()
	axis, n := c.Int("axis", 0), c.Int("size", 0)
	at, weight := c.Ints("at"), g.Node.Attrs["weight"].Floats
	t := g.newTaps(n, len(at), g.x().Shape[axis])
	for k := range at {
		o := k / (len(at) / n)
		t[o] = append(t[o], tap{at[k], float64(weight[k])})
	}
	return g.filter(g.whole(), axis, t.transposed(g.x().Shape[axis]))
}

// resizeRule: nearest neighbours are picked, other modes are a filter; both
// axis by axis.
func resizeRule(g *Grad, i int) *Ref {
	if i > 0 {
		return nil
	}
	r, d := must(newResize(g.call())), g.whole()
	for a := range r.in {
		if r.fixed[a] {
			continue
		}
		var t taps
		if r.mode == "nearest" {
			t = g.picks(r.out[a], r.in[a], func(o int) int { return r.nearestTo(a, o) })
		} else {
			t = g.newTaps(r.out[a], room(r.out[a], r.taps(a)), r.in[a])
			f := r.filter(a, &pace{})
			for o := range t {
				for k := range f.taps {
					if f.outside == nil || !f.outside[o] {
						t[o] = append(t[o], tap{int(f.at[o*f.taps+k]), f.weight[o*f.taps+k]})
					}
				}
			}
		}
		d = g.filter(d, a, t.transposed(r.in[a]))
	}
	return d
}

// padRule: what was padded is cut off, or added to what it repeats. The fill
// value has the gradient of all its copies.
func padRule(g *Grad, i int) *Ref {
	m := must(padMap(g.call()))
	back := func(d *Ref) *Ref {
		for a, from := range m.from {
			if from != nil {
				d = g.filter(d, a, g.picks(m.out[a], m.in[a], from).transposed(m.in[a]))
			}
		}
		return d
	}
	switch i {
	case 0:
		return back(g.whole())
	case 2:
		all := make([]int, len(m.in))
		for a := range all {
			all[a] = a
		}
		d := g.whole()
		if len(all) > 0 {
			d = g.sub(g.sum(d, all), g.sum(back(d), all))
		}
		return g.reshape(d, g.In[2].Shape)
	}
	return nil
}

// sliceRule: zeros around what was cut out, and between with a step.
func sliceRule(g *Grad, i int) *Ref {
	if i > 0 {
		return nil
	}
	c, d := g.call(), g.whole()
	starts, ends, axes, steps, err := sliceBounds(c)
	must(0, err)
	for k := range starts {
		axis, step := k, 1
		if axes != nil {
			axis = must(c.Axis(axes[k], len(g.x().Shape)))
		}
		if steps != nil {
			step = steps[k]
		}
		extent := g.x().Shape[axis]
		first, n := cut(starts[k], ends[k], step, extent)
		if n == extent && step == 1 {
			continue
		}
		if n == 0 {
			return nil
		}
		d = g.filter(d, axis, g.picks(n, extent, func(o int) int { return first + o*step }).transposed(extent))
	}
	return d
}

// tileRule: the copies are added up.
func tileRule(g *Grad, i int) *Ref {
	if i > 0 {
		return nil
	}
	d := g.whole()
	for a, n := range g.x().Shape {
		if out := g.y().Shape[a]; out != n {
			d = g.filter(d, a, g.picks(out, n, func(o int) int { return o % n }).transposed(n))
		}
	}
	return d
}

// averagePoolRule: the mean over a window is a mean along one axis after the
// other.
func averagePoolRule(g *Grad, _ int) *Ref {
	c, shape := g.call(), g.x().Shape
	w := must(newWindow(c, shape[2:], c.Ints("kernel_shape"), c.Int("ceil_mode", 0) != 0))
	d := g.whole()
	for a := range w.in {
		t := g.newTaps(w.out[a], room(w.out[a], w.kernel[a]), w.in[a])
		for o := range t {
			n := float64(w.count(a, o, c.Int("count_include_pad", 0) != 0))
			for k := range w.kernel[a] {
				if p := w.at(a, o, k); p >= 0 && p < w.in[a] {
					t[o] = append(t[o], tap{p, 1 / n})
				}
			}
		}
		d = g.filter(d, a+2, t.transposed(w.in[a]))
	}
	return d
}

// globalAverageRule: every element of an image's channel has the same part.
func globalAverageRule(g *Grad, _ int) *Ref {
	return g.times(g.dy(), 1/float64(elems(g.x().Shape[2:])))
}

// gatherRule: dy is added to where its elements came from.
func gatherRule(g *Grad, i int) *Ref {
	if i > 0 {
		return nil
	}
	chunks := 1
	if g.Node.Op == "Gather" {
		chunks = elems(g.x().Shape[:must(g.call().Axis(g.call().Int("axis", 0), len(g.x().Shape)))])
	}
	return g.scatter(g.whole(), g.again(g.places(), g.In[1]), chunks)
}

// placesRule is for operators that put the elements of each image elsewhere.
func placesRule(g *Grad, i int) *Ref {
	if i > 0 {
		return nil
	}
	return g.scatter(g.whole(), g.again(g.places()), g.x().Shape[0])
}

// places is x with every element its own place in x: what an operator that only
// moves elements makes of it says where they came from.
func (g *Grad) places() *Ref {
	return g.constant("places", func() *Tensor {
		t := g.newConstant(Type{DType: onnx.Int64, Shape: g.x().Shape})
		for i := range Data[int64](t) {
			Data[int64](t)[i] = int64(i)
		}
		return t
	})
}

// scatter adds the elements of d up at places of x. Both are in as many chunks,
// and each chunk of d goes to that of x.
func (g *Grad) scatter(d, places *Ref, chunks int) *Ref {
	return g.fused(attrs{"shape": intsAttr(g.x().Shape), "chunks": intAttr(chunks)}, "ScatterAdd", d, places)
}

// lowerScatterAdd: out[places[i]] += in[i], from zero, in the order of i; a
// place outside its chunk counts for nothing.
func lowerScatterAdd(c *Call) (*Kernel, error) {
	x, chunks := c.In[0].Type, c.Int("chunks", 1)
	out := Type{DType: x.DType, Shape: c.Ints("shape")}
	if err := c.want(0, isFloat, "a float type"); err != nil {
		return nil, err
	}
	if c.In[1].DType != onnx.Int64 || c.In[1].Elems() != x.Elems() {
		return nil, c.Invalid("%v elements go to places %v", x, c.In[1].Type)
	}
	if chunks < 1 || x.Elems()%chunks != 0 || elems(out.Shape)%chunks != 0 {
		chunks = 1
	}
	return &Kernel{Out: []Type{out}, FLOPs: float64(x.Elems()), Bind: func(m Memory) []Task {
		if x.DType == onnx.Double {
			return scatterTasks[float64](m, chunks)
		}
		return scatterTasks[float32](m, chunks)
	}}, nil
}

func scatterTasks[T float](m Memory, chunks int) []Task {
	dst, src, at := Data[T](m.Out[0]), Data[T](m.In[0]), Data[int64](m.In[1])
	if len(dst) == 0 {
		return nil
	}
	to, from := len(dst)/chunks, len(src)/chunks
	parts, step := divide(chunks, float64(to/4+2*from))
	return []Task{{parts, func(part, _ int) {
		lo, hi := bounds(part, step, chunks)
		for c := lo; c < hi; c++ {
			y, places := dst[c*to:][:to], at[c*from:][:from]
			clear(y)
			for i, v := range src[c*from:][:from] {
				if p := places[i] - int64(c*to); uint64(p) < uint64(to) {
					y[p] += v
				}
			}
		}
	}}}
}
