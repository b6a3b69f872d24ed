package ops

import (
	"fmt"
	"slices"
	"strings"

	"sampleonnx/onnxrun/internal/onnx"
)

// Ref is a value of the graph in which a derivative is written down. Key is for
// whoever keeps that graph; a Ref without one is a constant.
type Ref struct {
	Arg
	Key any
}

// Grad writes down how the gradient of a node's inputs follows from that of its
// outputs, as more nodes: of the standard's operators where they are enough, of
// the Fused domain where not. It is asked for one input after the other.
//
// A gradient has the type of its value, or is the same along some axes and has
// the extent 1 there: what a mean passes on is only spread where it must be.
type Grad struct {
	Node    *onnx.Node
	In, Out []*Ref // nil: left out
	DOut    []*Ref // the gradient of each output; nil: zero
	Packs   *Packs
	// Reserve, if set, is told the bytes that a rule is about to take for constants; it
	// panics with a *onnx.LimitError when they are too many.
	Reserve func(bytes int)
	// Emit adds a node to the graph and gives its outputs, nil where the node
	// leaves one out.
	Emit func(n *onnx.Node, in []*Ref) ([]*Ref, error)

	memo map[string][]*Ref
}

// A rule is the derivative of an operator: the gradient of input i, nil when it
// is zero. What it cannot do it refuses.
type rule func(g *Grad, i int) *Ref

// Differentiable reports whether a node has a derivative rule.
func Differentiable(n *onnx.Node) bool { return ruleOf(n) != nil }

func ruleOf(n *onnx.Node) rule {
	switch n.Domain {
	case "", "ai.onnx":
		return rules[n.Op]
	case Fused:
		return fusedRules[n.Op]
	}
	return nil
}

// Wrt is the gradient of input i; nil when it is zero. The error is a
// *onnx.UnsupportedError when there is no rule.
func (g *Grad) Wrt(i int) (d *Ref, err error) {
	if !Differentiable(g.Node) {
		return nil, unsupported(g.Node, "no derivative rule")
	}
	defer func() {
		switch r := recover().(type) {
		case nil:
		case refusal:
			d, err = nil, r.error
		default:
			panic(r)
		}
	}()
	n := g.modern()
	if d = ruleOf(n.Node)(n, i); d != nil && n != g { // the gradient of an operand seen with other axes
		d = g.reshape(n.spread(d, n.In[i].Shape), g.In[i].Shape)
	}
	if d != nil && (!spreads(d.Shape, g.In[i].Shape) || d.DType != g.In[i].DType) {
		panic(fmt.Sprintf("ops: gradient %v of %s input %d, %v", d.Type, g.Node.Op, i, g.In[i].Type))
	}
	return d, nil
}

// Spread is d with the whole shape of its value.
func (g *Grad) Spread(d *Ref, shape []int) (r *Ref, err error) {
	defer func() {
		if r, ok := recover().(refusal); ok {
			err = r.error
		}
	}()
	return g.spread(d, shape), nil
}

// spreads: the shapes have one rank, and extents that differ are 1 in the first.
func spreads(d, shape []int) bool {
	if len(d) != len(shape) {
		return false
	}
	for i := range d {
		if d[i] != shape[i] && d[i] != 1 {
			return false
		}
	}
	return true
}

// refusal is the panic by which a rule gives up, so that rules read as formulas.
type refusal struct{ error }

func (g *Grad) refuse(format string, args ...any) {
	panic(refusal{unsupported(g.Node, "no derivative: "+format, args...)})
}

// must gives up on an error of the forward node, which has been checked: on a
// limit that only its derivative exceeds.
func must[T any](v T, err error) T {
	if err != nil {
		panic(refusal{err})
	}
	return v
}

// modern is g, or the same for the newer node that an old one means.
func (g *Grad) modern() *Grad {
	c := g.call()
	m := must(c.modern())
	if m == c {
		return g
	}
	h := *g
	h.Node, h.In = m.Node, make([]*Ref, len(m.In))
	for i, a := range m.In {
		switch {
		case i >= len(g.In):
			h.In[i] = &Ref{Arg: a}
		case g.In[i] != nil:
			h.In[i] = h.reshape(g.In[i], a.Shape)
		}
	}
	return &h
}

// call is the forward node as Lower saw it.
func (g *Grad) call() *Call {
	c := &Call{Node: g.Node, In: make([]Arg, len(g.In)), Packs: g.Packs}
	for i, r := range g.In {
		if r == nil {
			c.In[i].Absent = true
		} else {
			c.In[i] = r.Arg
		}
	}
	return c
}

func (g *Grad) x() *Ref { return g.In[0] }
func (g *Grad) y() *Ref { return g.Out[0] }

// dy is the gradient of the only output that may have one, perhaps not spread.
func (g *Grad) dy() *Ref {
	for j, d := range g.DOut {
		if j > 0 && d != nil {
			g.refuse("of output %d", j)
		}
	}
	return g.DOut[0]
}

// whole is dy with the shape of the output.
func (g *Grad) whole() *Ref { return g.spread(g.dy(), g.y().Shape) }

// spread repeats d along the axes where it has the extent 1 and shape has more.
func (g *Grad) spread(d *Ref, shape []int) *Ref {
	if slices.Equal(d.Shape, shape) {
		return d
	}
	return g.op("Expand", d, g.ints(shape...))
}

// collect sums d, a gradient of shape over, along the axes in which a value of
// the given shape was broadcast to it.
func (g *Grad) collect(d *Ref, over, shape []int) *Ref {
	lead := len(over) - len(shape)
	var axes []int
	for i, n := range over {
		if n != 1 && (i < lead || shape[i-lead] != n) {
			axes = append(axes, i)
			if d.Shape[i] != n {
				d = g.spread(d, over)
			}
		}
	}
	if len(axes) > 0 {
		d = g.sum(d, axes)
	}
	if lead > 0 {
		d = g.reshape(d, d.Shape[lead:])
	}
	return d
}

// The operators that rules are written with. emit gives all outputs of a node of
// any kind; asked for the same again, it gives the same.
func (g *Grad) emit(n *onnx.Node, in ...*Ref) []*Ref {
	key := fmt.Sprint(n.Domain, n.Op, n.Attrs, n.Outputs)
	id := map[*Ref]int{}
	for i, r := range in {
		key += fmt.Sprintf(" %p", r)
		switch _, seen := id[r]; {
		case r == nil:
			n.Inputs = append(n.Inputs, -1)
			continue
		case !seen:
			id[r] = i
		}
		n.Inputs = append(n.Inputs, id[r])
	}
	if out := g.memo[key]; out != nil {
		return out
	}
	n.Name = "gradient of " + g.Node.Name
	out := must(g.Emit(n, in))
	if g.memo == nil {
		g.memo = map[string][]*Ref{}
	}
	g.memo[key] = out
	return out
}

// ruleOpset is the opset of the standard's operators in rules.
const ruleOpset = 23

type attrs = map[string]onnx.Attr

func (g *Grad) with(a attrs, op string, in ...*Ref) *Ref {
	return g.emit(&onnx.Node{Op: op, Version: ruleOpset, Attrs: a, Outputs: []int{0}}, in...)[0]
}

func (g *Grad) op(op string, in ...*Ref) *Ref { return g.with(nil, op, in...) }

// fused is an operator of the Fused domain.
func (g *Grad) fused(a attrs, op string, in ...*Ref) *Ref {
	return g.emit(&onnx.Node{Op: op, Domain: Fused, Version: 1, Attrs: a, Outputs: []int{0}}, in...)[0]
}

// again is the forward node with other inputs.
func (g *Grad) again(in ...*Ref) *Ref {
	n := *g.Node
	n.Inputs, n.Outputs = nil, []int{0}
	return g.emit(&n, in...)[0]
}

func (g *Grad) add(a, b *Ref) *Ref { return g.op("Add", a, b) }
func (g *Grad) sub(a, b *Ref) *Ref { return g.op("Sub", a, b) }
func (g *Grad) mul(a, b *Ref) *Ref { return g.op("Mul", a, b) }
func (g *Grad) div(a, b *Ref) *Ref { return g.op("Div", a, b) }
func (g *Grad) neg(a *Ref) *Ref    { return g.op("Neg", a) }

// times is a multiplied by a number.
func (g *Grad) times(a *Ref, v float64) *Ref {
	if v == 1 {
		return a
	}
	return g.mul(a, g.number(v, a))
}

// where is a where cond holds, else 0.
func (g *Grad) where(cond, a *Ref) *Ref { return g.op("Where", cond, a, g.number(0, a)) }

func (g *Grad) cast(a *Ref, to onnx.DType) *Ref {
	if a.DType == to {
		return a
	}
	return g.with(attrs{"to": intAttr(int(to))}, "Cast", a)
}

// sum adds up along axes, which stay with the extent 1.
func (g *Grad) sum(a *Ref, axes []int) *Ref { return g.op("ReduceSum", a, g.ints(axes...)) }

func (g *Grad) reshape(a *Ref, shape []int) *Ref {
	if slices.Equal(a.Shape, shape) {
		return a
	}
	return g.with(attrs{"allowzero": intAttr(1)}, "Reshape", a, g.ints(shape...))
}

// Constants; the same one again is the same Ref.
func (g *Grad) constant(key string, make func() *Tensor) *Ref {
	if r := g.memo[key]; r != nil {
		return r[0]
	}
	t := make()
	r := &Ref{Arg: Arg{Type: t.Type, Const: t}}
	if g.memo == nil {
		g.memo = map[string][]*Ref{}
	}
	g.memo[key] = []*Ref{r}
	return r
}

func (g *Grad) ints(v ...int) *Ref {
	return g.constant(fmt.Sprint("ints", v), func() *Tensor {
		t := New(Type{DType: onnx.Int64, Shape: []int{len(v)}})
		for i, x := range v {
			Data[int64](t)[i] = int64(x)
		}
		return t
	})
}

// number is a scalar of the element type of like.
func (g *Grad) number(v float64, like *Ref) *Ref {
	return g.constant(fmt.Sprint("number", v, like.DType), func() *Tensor {
		return g.filled(Type{DType: like.DType, Shape: []int{}}, func(int) float64 { return v })
	})
}

// zeros is the gradient of nothing, where one is needed.
func (g *Grad) zeros(like *Ref) *Ref {
	return g.constant(fmt.Sprint("zeros", like.Type), func() *Tensor { return g.newConstant(like.Type) })
}

func (g *Grad) newConstant(t Type) *Tensor {
	if g.Reserve != nil {
		g.Reserve(t.Bytes())
	}
	return New(t)
}

// filled is a float tensor with the element f(i) at place i.
func (g *Grad) filled(t Type, f func(i int) float64) *Tensor {
	x := g.newConstant(t)
	for i := range t.Elems() {
		if t.DType == onnx.Double {
			Data[float64](x)[i] = f(i)
		} else {
			Data[float32](x)[i] = float32(f(i))
		}
	}
	return x
}

func intAttr(v int) onnx.Attr       { return onnx.Attr{Kind: onnx.AttrInt, Int: int64(v)} }
func floatAttr(v float32) onnx.Attr { return onnx.Attr{Kind: onnx.AttrFloat, Float: v} }
func strAttr(v string) onnx.Attr    { return onnx.Attr{Kind: onnx.AttrString, String: v} }

func intsAttr(v []int) onnx.Attr {
	a := onnx.Attr{Kind: onnx.AttrInts, Ints: make([]int64, len(v))}
	for i, x := range v {
		a.Ints[i] = int64(x)
	}
	return a
}

// contraction is the gradient of operand i of a product of tensors that sums
// over the subscripts not in out: the product of all others and dy. subs and out
// have a letter for each axis.
func (g *Grad) contraction(i int, subs []string, out string) *Ref {
	extent := map[rune]int{} // of the letters that the other factors have
	var terms []string
	var factors []*Ref
	factor := func(r *Ref, letters string) {
		for k, l := range []rune(letters) {
			extent[l] = max(extent[l], r.Shape[k])
		}
		terms, factors = append(terms, letters), append(factors, r)
	}
	factor(g.whole(), out)
	for j, r := range g.In[:len(subs)] {
		if j != i {
			factor(r, subs[j])
		}
	}
	x, letters := g.In[i], []rune(subs[i])
	for k, l := range letters {
		if n := x.Shape[k]; n > 1 && slices.Contains(letters[:k], l) {
			// A diagonal: off it, the gradient is nothing.
			letters[k] = unusedLetter(strings.Join(append(subs, terms...), ""))
			eye := g.constant(fmt.Sprint("eye", n), func() *Tensor {
				t := Type{DType: x.DType, Shape: []int{n, n}}
				must(0, g.call().checkSize(t))
				return g.filled(t, func(i int) float64 {
					if i%(n+1) == 0 {
						return 1
					}
					return 0
				})
			})
			factor(eye, string([]rune{l, letters[k]}))
		}
	}
	keep, shape := "", make([]int, len(x.Shape))
	for k, l := range letters {
		// Where x was broadcast, its gradient is summed; where x alone was
		// summed, its gradient is the same all along.
		shape[k] = 1
		if x.Shape[k] > 1 && extent[l] > 1 {
			keep += string(l)
			shape[k] = extent[l]
		}
	}
	d := g.with(attrs{"equation": strAttr(strings.Join(terms, ",") + "->" + keep)}, "Einsum", factors...)
	return g.reshape(d, shape)
}

func unusedLetter(used string) rune {
	for _, l := range "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" {
		if !strings.ContainsRune(used, l) {
			return l
		}
	}
	return 0
}
