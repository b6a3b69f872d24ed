package plan

import (
	"maps"
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// Convolutions over three axes, as networks for video and for volumes have them,
// become convolutions over two, for which there are direct kernels and Winograd's.
// What it takes is at most a transpose before and one behind.

// planes rewrites the convolutions over three axes with constant weights.
func (g *graph) planes() error {
	nodes := g.nodes
	g.nodes = make([]*node, 0, len(nodes))
	for _, n := range nodes {
		s := solidOf(n)
		var err error
		switch {
		case s == nil:
			g.nodes = append(g.nodes, n)
		case s.transposed && s.slabs():
			err = s.spread(g)
		case s.point(1) && s.point(2):
			err = s.merge(g, 1)
		case s.point(0) && s.point(1):
			err = s.merge(g, 0)
		default:
			err = s.stack(g)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// solid is a convolution, or a transposed one, over three axes.
type solid struct {
	*node
	transposed                           bool
	kernel, stride, dilation, begin, end []int
	extra                                []int // output_padding
}

// solidOf is n as a solid that planes can rewrite; nil otherwise.
func solidOf(n *node) *solid {
	x := n.in[0]
	if n.src.Domain != "" || n.src.Op != "Conv" && n.src.Op != "ConvTranspose" || len(x.Shape) != 5 || !ops.IsFloat32(x.DType) || n.in[1].konst == nil {
		return nil
	}
	if a, ok := n.src.Attrs["auto_pad"]; ok && a.String != "" && a.String != "NOTSET" {
		return nil
	}
	if a, ok := n.src.Attrs["group"]; ok && a.Int != 1 || hasAttr(n, "output_shape") || n.out[0].Elems() == 0 || x.Elems() == 0 {
		return nil
	}
	list := func(name string, n0, def int) []int {
		if l := intsAttr(n, name); len(l) == n0 {
			return l
		}
		return slices.Repeat([]int{def}, n0)
	}
	pads := list("pads", 6, 0)
	s := &solid{node: n, transposed: n.src.Op == "ConvTranspose", kernel: n.in[1].Shape[2:], stride: list("strides", 3, 1),
		dilation: list("dilations", 3, 1), begin: pads[:3], end: pads[3:], extra: list("output_padding", 3, 0)}
	switch {
	case s.point(0) && s.point(1) && s.point(2): // a matrix product as it is
		return nil
	case s.transposed && !s.slabs():
		return nil
	}
	return s
}

// point reports whether each output along axis i reads the input at its place.
func (s *solid) point(i int) bool {
	return s.kernel[i] == 1 && s.stride[i] == 1 && s.begin[i] == 0 && s.end[i] == 0 && s.extra[i] == 0
}

// slabs reports whether each plane of the output of a transposed convolution comes
// of one plane of the input.
func (s *solid) slabs() bool {
	return s.kernel[0] == s.stride[0] && (s.dilation[0] == 1 || s.kernel[0] == 1) && s.begin[0] == 0 && s.end[0] == 0 && s.extra[0] == 0
}

// merge makes axes i and i+1, which both are points, one.
func (s *solid) merge(g *graph, i int) error {
	one := func(l []int) []int { return slices.Delete(slices.Clone(l), i, i+1) }
	shape := func(v *value) []int {
		l := one(v.Shape[2:])
		l[i] = v.Shape[2+i] * v.Shape[3+i]
		return append(slices.Clone(v.Shape[:2]), l...)
	}
	w := slices.Concat(s.in[1].Shape[:2], one(s.kernel))
	return s.rewrite(g, func(r *rewriter) *value {
		x := r.reshape(s.in[0], shape(s.in[0])...)
		y := r.apply(s.src.Op, 1, s.attrs(one), slices.Concat([]*value{x, s.weights(g, []int{0, 1, 2, 3, 4}, w)}, s.in[2:])...)
		return r.reshape(y, s.out[0].Shape...)
	})
}

// stack makes every plane of the output an image of its own, and the planes that it
// is computed of the channels of that image.
func (s *solid) stack(g *graph) error {
	in, w, out := s.in[0].Shape, s.in[1].Shape, s.out[0].Shape
	n, c, taps, depth := in[0], in[1], s.kernel[0], out[2]
	return s.rewrite(g, func(r *rewriter) *value {
		x := r.transpose(s.in[0], 0, 2, 1, 3, 4)
		if s.begin[0] != 0 || s.end[0] != 0 {
			x = r.apply("Pad", 13, nil, x, indices(0, s.begin[0], 0, 0, 0, 0, s.end[0], 0, 0, 0))
		}
		var planes []*value
		for k := range taps {
			from := k * s.dilation[0]
			to := from + (depth-1)*s.stride[0] + 1
			planes = append(planes, r.apply("Slice", 13, nil, x, indices(from), indices(to), indices(1), indices(s.stride[0])))
		}
		if taps > 1 {
			x = r.apply("Concat", 13, map[string]onnx.Attr{"axis": intAttr(2)}, planes...)
		} else if x.Shape[1] != depth {
			x = planes[0]
		}
		x = r.reshape(x, n*depth, taps*c, in[3], in[4])
		f := s.weights(g, []int{0, 2, 1, 3, 4}, []int{w[0], taps * c, w[3], w[4]})
		y := r.apply("Conv", 1, s.attrs(func(l []int) []int { return l[1:] }), slices.Concat([]*value{x, f}, s.in[2:])...)
		return r.transpose(r.reshape(y, n, depth, out[1], out[3], out[4]), 0, 2, 1, 3, 4)
	})
}

// spread is stack for a transposed convolution: the planes that come of a plane are
// further channels of it.
func (s *solid) spread(g *graph) error {
	in, w, out := s.in[0].Shape, s.in[1].Shape, s.out[0].Shape
	n, taps, depth, oc := in[0], s.kernel[0], in[2], out[1]
	rest := slices.Clone(s.in[2:])
	if len(rest) > 0 && rest[0] != nil {
		if rest[0].konst == nil {
			g.nodes = append(g.nodes, s.node)
			return nil
		}
		b := ops.New(ops.Type{DType: rest[0].DType, Shape: []int{taps * oc}})
		for k := range taps {
			copy(ops.Data[float32](b)[k*oc:], ops.Data[float32](rest[0].konst))
		}
		rest[0] = &value{Type: b.Type, name: rest[0].name, konst: b}
	}
	return s.rewrite(g, func(r *rewriter) *value {
		x := r.reshape(r.transpose(s.in[0], 0, 2, 1, 3, 4), n*depth, in[1], in[3], in[4])
		f := s.weights(g, []int{0, 2, 1, 3, 4}, []int{w[0], taps * oc, w[3], w[4]})
		y := r.apply("ConvTranspose", 1, s.attrs(func(l []int) []int { return l[1:] }), slices.Concat([]*value{x, f}, rest)...)
		y = r.transpose(r.reshape(y, n, depth, taps, oc, out[3], out[4]), 0, 3, 1, 2, 4, 5)
		return r.reshape(y, out...)
	})
}

// attrs are the node's attributes for two axes, of each list those that two keeps.
func (s *solid) attrs(two func([]int) []int) map[string]onnx.Attr {
	a := maps.Clone(s.src.Attrs)
	if a == nil {
		a = map[string]onnx.Attr{}
	}
	delete(a, "kernel_shape")
	a["strides"], a["dilations"] = listAttr(two(s.stride)), listAttr(two(s.dilation))
	a["pads"] = listAttr(slices.Concat(two(s.begin), two(s.end)))
	if s.transposed {
		a["output_padding"] = listAttr(two(s.extra))
	}
	return a
}

// weights are the weights with their axes in another order, under another shape.
func (s *solid) weights(g *graph, perm, shape []int) *value {
	w := g.packs.Permuted(s.in[1].konst, perm, shape)
	return &value{Type: w.Type, name: s.in[1].name, konst: w}
}

// rewrite puts the nodes that write adds in the place of the solid's.
func (s *solid) rewrite(g *graph, write func(r *rewriter) *value) error {
	r := &rewriter{graph: g, name: s.src.Name}
	last := write(r)
	if r.err != nil {
		return r.err
	}
	for _, n := range g.nodes {
		if n.out[0] == last {
			n.out[0] = s.out[0]
		}
	}
	return nil
}

// rewriter adds nodes to a graph until one fails.
type rewriter struct {
	*graph
	name string
	err  error
}

func (r *rewriter) apply(op string, version int64, attrs map[string]onnx.Attr, in ...*value) *value {
	if r.err != nil {
		return &value{}
	}
	src := &onnx.Node{Name: r.name, Op: op, Version: version, Attrs: attrs, Inputs: make([]int, len(in)), Outputs: make([]int, 1)}
	out, err := r.graph.apply(src, in)
	if err != nil {
		r.err = err
		return &value{}
	}
	out[0].name = r.name
	return out[0]
}

func (r *rewriter) reshape(v *value, shape ...int) *value {
	return r.apply("Reshape", 14, nil, v, indices(shape...))
}

func (r *rewriter) transpose(v *value, perm ...int) *value {
	return r.apply("Transpose", 13, map[string]onnx.Attr{"perm": listAttr(perm)}, v)
}

// indices is a constant list of integers.
func indices(v ...int) *value {
	t := ops.New(ops.Type{DType: onnx.Int64, Shape: []int{len(v)}})
	for i, x := range v {
		ops.Data[int64](t)[i] = int64(x)
	}
	return &value{Type: t.Type, name: "constant", konst: t}
}
