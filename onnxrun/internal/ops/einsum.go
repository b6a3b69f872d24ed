package ops

import (
	"slices"
	"strings"

	"sampleonnx/onnxrun/internal/onnx"
)

// A subscript is one index of an equation: a letter, or one of the axes an
// ellipsis stands for (0, 1, …, the last axis having the highest number).
type subscript int

// equation is an Einsum equation matched against shapes.
type equation struct {
	in  []operand
	out []subscript
	dim map[subscript]int
}

// operand is a tensor as an equation sees it: for each subscript, how far apart
// its elements are. A repeated subscript is a diagonal, whose elements lie the
// sum of the strides apart; an axis of 1 that is broadcast has stride 0.
type operand struct {
	subs   []subscript
	stride map[subscript]int
}

func (o operand) has(s subscript) bool { _, ok := o.stride[s]; return ok }

// contiguous is a row-major tensor with the given subscripts.
func (e *equation) contiguous(subs []subscript) operand {
	o := operand{subs: subs, stride: map[subscript]int{}}
	n := 1
	for i := len(subs) - 1; i >= 0; i-- {
		o.stride[subs[i]] = n
		n = room(n, e.dim[subs[i]])
	}
	return o
}

func (e *equation) size(subs []subscript) int {
	n := 1
	for _, s := range subs {
		n = room(n, e.dim[s])
	}
	return n
}

// spread is where an operand's elements lie for each combination of the subscripts.
func (e *equation) spread(subs []subscript, o operand) spread {
	var dims, steps []int
	for _, s := range subs {
		dims, steps = append(dims, e.dim[s]), append(steps, o.stride[s])
	}
	return newSpread(dims, steps)
}

// parseEquation reads "ij,jk->ik": letters, "..." for the axes that are
// broadcast, and without an arrow the subscripts that occur once, in
// alphabetical order, after the ellipsis.
func parseEquation(c *Call, text string) (*equation, error) {
	e := &equation{dim: map[subscript]int{}}
	left, right, explicit := strings.Cut(strings.ReplaceAll(text, " ", ""), "->")
	terms := strings.Split(left, ",")
	if len(terms) != len(c.In) {
		return nil, c.Invalid("equation %q has %d operands, the node %d", text, len(terms), len(c.In))
	}
	ellipsis := 0 // the most axes that one stands for
	for i, term := range terms {
		if letters, _, ok := cutEllipsis(term); ok {
			ellipsis = max(ellipsis, len(c.In[i].Shape)-letters)
		}
	}
	uses := map[subscript]int{}
	for i, term := range terms {
		shape := c.In[i].Shape
		letters, dots, _ := cutEllipsis(term)
		o := operand{stride: map[subscript]int{}}
		if dots == 0 && letters != len(shape) || letters > len(shape) || dots > 1 {
			return nil, c.Invalid("term %q of equation %q does not fit an input of shape %v", term, text, shape)
		}
		step := strides(shape)
		axis := 0
		add := func(s subscript) error {
			d := shape[axis]
			if old, ok := e.dim[s]; !ok || old == 1 {
				e.dim[s] = d
			} else if d != old && d != 1 {
				return c.Invalid("equation %q: subscript %s is %d and %d", text, s, old, d)
			}
			if _, ok := o.stride[s]; !ok {
				o.subs = append(o.subs, s)
				o.stride[s] = 0
			}
			if d != 1 {
				o.stride[s] += step[axis]
			}
			axis++
			return nil
		}
		for j := 0; j < len(term); j++ {
			if strings.HasPrefix(term[j:], "...") {
				n := len(shape) - letters
				for d := range n {
					if err := add(subscript(ellipsis - n + d)); err != nil {
						return nil, err
					}
				}
				j += 2
				continue
			}
			if !letter(term[j]) {
				return nil, c.Invalid("equation %q: %q is not a letter", text, term[j])
			}
			if err := add(subscript(term[j])); err != nil {
				return nil, err
			}
			uses[subscript(term[j])]++
		}
		e.in = append(e.in, o)
	}
	if !explicit {
		for d := range ellipsis {
			e.out = append(e.out, subscript(d))
		}
		var once []subscript
		for s, n := range uses {
			if n == 1 {
				once = append(once, s)
			}
		}
		slices.Sort(once)
		e.out = append(e.out, once...)
		return e, nil
	}
	seen := 0
	for j := 0; j < len(right); j++ {
		s := subscript(right[j])
		switch {
		case strings.HasPrefix(right[j:], "..."):
			for d := range ellipsis {
				e.out = append(e.out, subscript(d))
			}
			j += 2
			seen++
			continue
		case !letter(right[j]) || uses[s] == 0:
			return nil, c.Invalid("equation %q: %q in the result is in no operand", text, right[j])
		case slices.Contains(e.out, s):
			return nil, c.Invalid("equation %q: %s is in the result twice", text, s)
		}
		e.out = append(e.out, s)
	}
	if seen > 1 || seen == 0 && ellipsis > 0 {
		return nil, c.Invalid("equation %q: the result needs one ellipsis", text)
	}
	return e, nil
}

func (s subscript) String() string {
	if s < 'A' {
		return "..."
	}
	return string(rune(s))
}

func letter(b byte) bool { return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' }

// cutEllipsis counts a term's letters and its ellipses.
func cutEllipsis(term string) (letters, dots int, ok bool) {
	dots = strings.Count(term, "...")
	return len(term) - 3*dots, dots, dots > 0
}

// lowerEinsum turns an equation of float32 operands into matrix products, two
// operands at a time from the left; those of other types are added up as they
// stand.
func lowerEinsum(c *Call) (*Kernel, error) {
	dtype := c.In[0].DType
	for i := range c.In {
		if c.In[i].Absent || c.In[i].DType != dtype {
			return nil, c.Invalid("input %d is %v, want %v as the first", i, c.In[i].Type, dtype)
		}
	}
	if !multiplies(dtype) {
		return nil, c.Invalid("the operands are %v", dtype)
	}
	e, err := parseEquation(c, c.Str("equation", ""))
	if err != nil {
		return nil, err
	}
	out := Type{DType: dtype}
	for _, s := range e.out {
		out.Shape = append(out.Shape, e.dim[s])
	}
	if err := c.checkSize(out); err != nil {
		return nil, err
	}
	k := &Kernel{Out: []Type{out}}
	flops := float64(len(e.in))
	for _, d := range e.dim {
		flops *= float64(d)
	}
	k.FLOPs = flops
	if !IsFloat32(dtype) || len(e.in) > 1 && flops == 0 {
		summed := Type{}
		for _, s := range e.summed() {
			summed.Shape = append(summed.Shape, e.dim[s])
		}
		if err := c.checkSize(summed); err != nil {
			return nil, err
		}
		k.Algo = "loops"
		k.Tables = room(len(e.in), e.listBytes(e.summed()))
		k.Bind = func(m Memory) []Task { return e.anyLoops(dtype, m) }
		return k, nil
	}
	return k, e.bindProducts(k, c)
}

func (e *equation) anyLoops(d onnx.DType, m Memory) []Task {
	switch d {
	case onnx.Double:
		return einsumLoops[float64](e, m)
	case onnx.Int8, onnx.Uint8:
		return einsumLoops[uint8](e, m) // two's complement: the same bits
	case onnx.Int16, onnx.Uint16:
		return einsumLoops[uint16](e, m)
	case onnx.Int32, onnx.Uint32:
		return einsumLoops[uint32](e, m)
	case onnx.Int64, onnx.Uint64:
		return einsumLoops[uint64](e, m)
	}
	return einsumLoops[float32](e, m)
}

// summed lists the subscripts that are not in the result.
func (e *equation) summed() []subscript {
	var out []subscript
	for _, o := range e.in {
		for _, s := range o.subs {
			if !slices.Contains(e.out, s) && !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	slices.Sort(out)
	return out
}

// einsumLoops adds up products element by element.
func einsumLoops[T number](e *equation, m Memory) []Task {
	dst := Data[T](m.Out[0])
	if len(dst) == 0 {
		return nil
	}
	summed := e.summed()
	srcs := make([][]T, len(e.in))
	sums := make([][]int, len(e.in)) // for each operand, the offset of each term of the sum
	outs := make([][]int, len(e.in)) // for each operand, the stride of each output axis
	for i, o := range e.in {
		srcs[i] = Data[T](m.In[i])
		sums[i] = e.offsets(summed, o, &m)
		for _, s := range e.out {
			outs[i] = append(outs[i], o.stride[s])
		}
	}
	terms := e.size(summed)
	dims := m.Out[0].Shape
	// Where each operand's elements begin for an output: on the stack when
	// there are few operands, which is always.
	const few = 8
	if len(srcs) > few {
		at := make([]int, len(srcs))
		return Serial(func() { einsumRange(dst, srcs, sums, outs, dims, terms, 0, len(dst), at, m.Stopped) })
	}
	parts, step := divide(len(dst), 5*float64(len(srcs)*(terms+len(dims))))
	return []Task{{parts, func(part, _ int) {
		var at [few]int
		lo, hi := bounds(part, step, len(dst))
		einsumRange(dst, srcs, sums, outs, dims, terms, lo, hi, at[:len(srcs)], m.Stopped)
	}}}
}

func einsumRange[T number](dst []T, srcs [][]T, sums, outs [][]int, dims []int, terms, lo, hi int, at []int, stopped func() bool) {
	pace := pace{stopped, paceWork}
	for o := lo; o < hi; o++ {
		if pace.over(len(at) * (len(dims) + min(terms, paceBlock))) {
			return
		}
		clear(at)
		rest := o
		for d := len(dims) - 1; d >= 0; d-- {
			x := rest % dims[d]
			rest /= dims[d]
			for i := range at {
				at[i] += x * outs[i][d]
			}
		}
		var sum T
		for t := range terms {
			if t%paceBlock == paceBlock-1 && pace.over(paceBlock*(2+2*len(at))) {
				return
			}
			p := srcs[0][at[0]+sums[0][t]]
			for i := 1; i < len(at); i++ {
				p = T(p * srcs[i][at[i]+sums[i][t]])
			}
			sum += p
		}
		dst[o] = sum
	}
}

// offsets lists where an operand's elements lie for each combination of the
// subscripts, the last one counting fastest. It takes memory of listBytes.
func (e *equation) offsets(subs []subscript, o operand, m *Memory) []int {
	at, pace := e.spread(subs, o), m.pace()
	off := make([]int, e.size(subs))
	for i := range off {
		if pace.over(8) {
			break
		}
		off[i] = at.at(i)
	}
	return off
}

func (e *equation) listBytes(subs []subscript) int { return room(8, e.size(subs)) }
