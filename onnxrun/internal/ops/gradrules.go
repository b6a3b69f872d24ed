package ops

import (
	"math"
	"slices"
	"strings"

	"sampleonnx/onnxrun/internal/onnx"
)

// The derivative rules, by operator. In the formulas dy is the gradient of the
// output y, f′ the derivative of f, and an equation like "dx = dy·y" gives the
// gradient of the input x.
var rules = map[string]rule{
	// y = f(x): dx = dy·f′(x).
	"Abs":             unaryRule(func(g *Grad, dy *Ref) *Ref { return g.mul(dy, g.op("Sign", g.x())) }),
	"Ceil":            flat,
	"Celu":            slopeRule,
	"Cos":             unaryRule(func(g *Grad, dy *Ref) *Ref { return g.neg(g.mul(dy, g.op("Sin", g.x()))) }),
	"Elu":             slopeRule,
	"Erf":             unaryRule(func(g *Grad, dy *Ref) *Ref { return g.mul(dy, g.times(g.gaussian(g.x()), 2/math.Sqrt(math.Pi))) }),
	"Exp":             unaryRule(func(g *Grad, dy *Ref) *Ref { return g.mul(dy, g.y()) }),
	"Floor":           flat,
	"Gelu":            slopeRule,
	"HardSigmoid":     slopeRule,
	"HardSwish":       slopeRule,
	"LeakyRelu":       slopeRule,
	"Log":             unaryRule(func(g *Grad, dy *Ref) *Ref { return g.div(dy, g.x()) }),
	"Mish":            slopeRule,
	"Neg":             unaryRule(func(g *Grad, dy *Ref) *Ref { return g.neg(dy) }),
	"Reciprocal":      unaryRule(func(g *Grad, dy *Ref) *Ref { return g.neg(g.mul(dy, g.square(g.y()))) }),
	"Relu":            slopeRule,
	"Round":           flat,
	"Selu":            slopeRule,
	"Sigmoid":         unaryRule(func(g *Grad, dy *Ref) *Ref { return g.mul(dy, g.mul(g.y(), g.oneMinus(g.y()))) }),
	"Sign":            flat,
	"Sin":             unaryRule(func(g *Grad, dy *Ref) *Ref { return g.mul(dy, g.op("Cos", g.x())) }),
	"Softplus":        unaryRule(func(g *Grad, dy *Ref) *Ref { return g.mul(dy, g.op("Sigmoid", g.x())) }),
	"Softsign":        slopeRule,
	"Sqrt":            unaryRule(func(g *Grad, dy *Ref) *Ref { return g.div(dy, g.times(g.y(), 2)) }),
	"Swish":           slopeRule,
	"Tanh":            unaryRule(func(g *Grad, dy *Ref) *Ref { return g.mul(dy, g.oneMinus(g.square(g.y()))) }),
	"Acos":            unaryRule(func(g *Grad, dy *Ref) *Ref { return g.neg(g.div(dy, g.op("Sqrt", g.oneMinus(g.square(g.x()))))) }),
	"Acosh":           unaryRule(func(g *Grad, dy *Ref) *Ref { return g.div(dy, g.op("Sqrt", g.neg(g.oneMinus(g.square(g.x()))))) }),
	"Asin":            unaryRule(func(g *Grad, dy *Ref) *Ref { return g.div(dy, g.op("Sqrt", g.oneMinus(g.square(g.x())))) }),
	"Asinh":           unaryRule(func(g *Grad, dy *Ref) *Ref { return g.div(dy, g.op("Sqrt", g.onePlus(g.square(g.x())))) }),
	"Atan":            unaryRule(func(g *Grad, dy *Ref) *Ref { return g.div(dy, g.onePlus(g.square(g.x()))) }),
	"Atanh":           unaryRule(func(g *Grad, dy *Ref) *Ref { return g.div(dy, g.oneMinus(g.square(g.x()))) }),
	"Cosh":            unaryRule(func(g *Grad, dy *Ref) *Ref { return g.mul(dy, g.op("Sinh", g.x())) }),
	"Sinh":            unaryRule(func(g *Grad, dy *Ref) *Ref { return g.mul(dy, g.op("Cosh", g.x())) }),
	"Tan":             unaryRule(func(g *Grad, dy *Ref) *Ref { return g.mul(dy, g.onePlus(g.square(g.y()))) }),
	"Shrink":          slopeRule,
	"ThresholdedRelu": slopeRule,

	"Clip":     clipRule,
	"Cast":     castRule,
	"CastLike": castRule,

	// y = f(a, b), broadcast: each operand gets its share, summed where it was
	// repeated.
	"Add":   shared(func(g *Grad, dy *Ref, _ int) *Ref { return dy }),
	"Sum":   shared(func(g *Grad, dy *Ref, _ int) *Ref { return dy }),
	"Mean":  shared(func(g *Grad, dy *Ref, _ int) *Ref { return g.times(dy, 1/float64(len(g.In))) }),
	"Mul":   shared(func(g *Grad, dy *Ref, i int) *Ref { return g.mul(dy, g.In[1-i]) }),
	"Sub":   shared(subRule),
	"Div":   shared(divRule),
	"Pow":   shared(powRule),
	"Mod":   shared(modRule),
	"PRelu": shared(preluRule),
	"Min":   shared(extremeRule),
	"Max":   shared(extremeRule),
	"Where": shared(whereRule),

	"ReduceMax":       reduceRule(extremesRule),
	"ReduceMin":       reduceRule(extremesRule),
	"ReduceMean":      reduceRule(func(g *Grad, dy, _ *Ref, _ []int, n int) *Ref { return g.times(dy, 1/float64(n)) }),
	"ReduceSum":       reduceRule(func(_ *Grad, dy, _ *Ref, _ []int, _ int) *Ref { return dy }),
	"ReduceProd":      reduceRule(prodRule),
	"ReduceL1":        reduceRule(func(g *Grad, dy, _ *Ref, _ []int, _ int) *Ref { return g.mul(dy, g.op("Sign", g.x())) }),
	"ReduceL2":        reduceRule(normRule),
	"ReduceSumSquare": reduceRule(func(g *Grad, dy, _ *Ref, _ []int, _ int) *Ref { return g.mul(dy, g.times(g.x(), 2)) }),
	"ReduceLogSum":    reduceRule(func(g *Grad, dy, y *Ref, _ []int, _ int) *Ref { return g.div(dy, g.op("Exp", y)) }),
	"ReduceLogSumExp": reduceRule(func(g *Grad, dy, y *Ref, _ []int, _ int) *Ref { return g.mul(dy, g.op("Exp", g.sub(g.x(), y))) }),
	"Softmax":         softmaxRule,
	"LogSoftmax":      softmaxRule,

	"MatMul":          matmulRule,
	"Gemm":            gemmRule,
	"Einsum":          einsumRule,
	"Attention":       attentionRule,
	"RotaryEmbedding": rotaryRule,

	"Conv":              convRule,
	"ConvTranspose":     convTransposeRule,
	"AveragePool":       averagePoolRule,
	"MaxPool":           maxPoolRule,
	"GlobalAveragePool": globalAverageRule,
	"GlobalMaxPool":     maxPoolRule,
	"Resize":            resizeRule,
	"Upsample":          resizeRule,
	"Pad":               padRule,

	"BatchNormalization":    batchNormRule,
	"InstanceNormalization": channelNormRule,
	"LayerNormalization":    rowNormRule,
	"GroupNormalization":    channelNormRule,
	"RMSNormalization":      rowNormRule,

	"Concat":         concatRule,
	"Split":          splitRule,
	"Slice":          sliceRule,
	"Gather":         gatherRule,
	"GatherND":       gatherRule,
	"GatherElements": gatherRule,
	"Transpose":      transposeRule,
	"Reshape":        viewRule,
	"Flatten":        viewRule,
	"Squeeze":        viewRule,
	"Unsqueeze":      viewRule,
	"Identity":       unaryRule(func(_ *Grad, dy *Ref) *Ref { return dy }),
	"Dropout":        unaryRule(func(_ *Grad, dy *Ref) *Ref { return dy }),
	"Expand":         shared(func(_ *Grad, dy *Ref, _ int) *Ref { return dy }),
	"Tile":           tileRule,
	"DepthToSpace":   placesRule,
	"SpaceToDepth":   placesRule,
	"Trilu":          triluRule,
	"CumSum":         cumSumRule,
}

// fusedRules are the rules of the Fused domain. What has none is made of nodes
// only after their derivative is written down.
var fusedRules = map[string]rule{
	"SiLU":      slopeRule,
	"GroupNorm": channelNormRule,
	"FIR":       firRule,
	"Filter":    filterRule,
	"Reorder":   unaryRule(func(_ *Grad, dy *Ref) *Ref { return dy }), // gradients are all Plain
}

// flat is the rule of functions that are constant between jumps.
func flat(*Grad, int) *Ref { return nil }

// unaryRule is for functions of one input, element by element.
func unaryRule(f func(g *Grad, dy *Ref) *Ref) rule {
	return func(g *Grad, _ int) *Ref { return f(g, g.dy()) }
}

// slopeRule leaves dy·f′(x) to a kernel.
func slopeRule(g *Grad, _ int) *Ref {
	a := attrs{"of": strAttr(g.Node.Op)}
	for name, v := range g.Node.Attrs {
		a[name] = v
	}
	return g.fused(a, "Slope", g.whole(), g.x())
}

func (g *Grad) square(x *Ref) *Ref   { return g.mul(x, x) }
func (g *Grad) onePlus(x *Ref) *Ref  { return g.add(x, g.number(1, x)) }
func (g *Grad) oneMinus(x *Ref) *Ref { return g.sub(g.number(1, x), x) }

// gaussian is exp(−x²).
func (g *Grad) gaussian(x *Ref) *Ref { return g.op("Exp", g.neg(g.square(x))) }

// castRule: dx = dy, in x's type. Integers have no gradient.
func castRule(g *Grad, i int) *Ref {
	if i > 0 || !isFloat(g.x().DType) || !isFloat(g.y().DType) {
		return nil
	}
	return g.cast(g.dy(), g.x().DType)
}

// clipRule: dx = dy where min ≤ x ≤ max. A bound has the gradient of what it
// replaces.
func clipRule(g *Grad, i int) *Ref {
	x, dy := g.x(), g.whole()
	bound := [3]*Ref{}
	for j, name := range []string{1: "min", 2: "max"} {
		if j < len(g.In) && j > 0 {
			bound[j] = g.In[j]
		}
		if a, ok := g.Node.Attrs[name]; ok && j > 0 {
			bound[j] = g.number(float64(a.Float), x)
		}
		if bound[j] != nil {
			bound[j] = g.reshape(bound[j], []int{})
		}
	}
	if i > 0 {
		outside := g.op([]string{1: "Less", 2: "Greater"}[i], x, bound[i])
		return g.collect(g.where(outside, dy), x.Shape, g.In[i].Shape)
	}
	if bound[1] != nil {
		dy = g.where(g.op("GreaterOrEqual", x, bound[1]), dy)
	}
	if bound[2] != nil {
		dy = g.where(g.op("LessOrEqual", x, bound[2]), dy)
	}
	return dy
}

// shared is for operands that are broadcast to the output.
func shared(f func(g *Grad, dy *Ref, i int) *Ref) rule {
	return func(g *Grad, i int) *Ref {
		d := f(g, g.dy(), i)
		if d == nil {
			return nil
		}
		return g.collect(d, g.y().Shape, g.In[i].Shape)
	}
}

// subRule: y = a − b: da = dy, db = −dy.
func subRule(g *Grad, dy *Ref, i int) *Ref {
	if i == 0 {
		return dy
	}
	return g.neg(dy)
}

// divRule: y = a/b: da = dy/b, db = −dy·y/b.
func divRule(g *Grad, dy *Ref, i int) *Ref {
	d := g.div(dy, g.In[1])
	if i == 0 {
		return d
	}
	return g.neg(g.mul(d, g.y()))
}

// powRule: y = xᵉ: dx = dy·e·xᵉ⁻¹, 0 where e is 0; de = dy·y·ln x, 0 where x is 0.
func powRule(g *Grad, dy *Ref, i int) *Ref {
	x, e := g.x(), g.cast(g.In[1], g.x().DType)
	if i == 1 {
		if !isFloat(g.In[1].DType) {
			return nil
		}
		log := g.op("Where", g.op("Equal", x, g.number(0, x)), x, g.op("Log", x))
		return g.cast(g.mul(g.mul(dy, g.y()), log), g.In[1].DType)
	}
	less := g.where(g.op("Not", g.op("Equal", e, g.number(0, e))), g.sub(e, g.number(1, e)))
	return g.mul(dy, g.mul(e, g.op("Pow", x, less)))
}

// modRule: y = a − b·trunc(a/b): da = dy, db = −dy·trunc(a/b).
func modRule(g *Grad, dy *Ref, i int) *Ref {
	if i == 0 {
		return dy
	}
	q := g.div(g.In[0], g.In[1])
	return g.neg(g.mul(dy, g.mul(g.op("Sign", q), g.op("Floor", g.op("Abs", q)))))
}

// preluRule: y = x, or slope·x where x < 0.
func preluRule(g *Grad, dy *Ref, i int) *Ref {
	x, slope := g.x(), g.In[1]
	below := g.op("Less", x, g.number(0, x))
	if i == 1 {
		return g.where(below, g.mul(dy, x))
	}
	return g.op("Where", below, g.mul(dy, slope), dy)
}

// extremeRule: the operands that are the extreme one share dy evenly.
func extremeRule(g *Grad, dy *Ref, i int) *Ref {
	var winners []*Ref
	for _, x := range g.In {
		winners = append(winners, g.cast(g.op("Equal", x, g.y()), x.DType))
	}
	return g.where(g.op("Equal", g.In[i], g.y()), g.div(dy, g.op("Sum", winners...)))
}

// whereRule: y = a where cond holds, else b.
func whereRule(g *Grad, dy *Ref, i int) *Ref {
	switch i {
	case 1:
		return g.where(g.In[0], dy)
	case 2:
		return g.where(g.op("Not", g.In[0]), dy)
	}
	return nil
}

// reduceRule is for reductions. The rule is given dy and y with the reduced
// axes at the extent 1, these axes, and how many numbers make one.
func reduceRule(f func(g *Grad, dy, y *Ref, axes []int, n int) *Ref) rule {
	return func(g *Grad, i int) *Ref {
		if i > 0 {
			return nil
		}
		reduced := must(reduceAxes(g.call()))
		shape, n := slices.Clone(g.x().Shape), 1
		var axes []int
		for a := range shape {
			if reduced[a] {
				axes = append(axes, a)
				n *= shape[a]
				shape[a] = 1
			}
		}
		return f(g, g.reshape(g.whole(), shape), g.reshape(g.y(), shape), axes, n)
	}
}

// extremesRule: the numbers that are the extreme one share dy evenly.
func extremesRule(g *Grad, dy, y *Ref, axes []int, _ int) *Ref {
	is := g.op("Equal", g.x(), y)
	if len(axes) == 0 {
		return dy
	}
	return g.where(is, g.div(dy, g.sum(g.cast(is, y.DType), axes)))
}

// normRule: y = √Σx²: dx = dy·x/y, 0 where y is 0.
func normRule(g *Grad, dy, y *Ref, _ []int, _ int) *Ref {
	none := g.op("Equal", y, g.number(0, y))
	return g.mul(g.op("Where", none, y, g.div(dy, y)), g.x())
}

// prodRule: dx is dy times the product of all the others. The reduced axes are
// brought to the end and merged for it.
func prodRule(g *Grad, dy, _ *Ref, axes []int, n int) *Ref {
	shape := g.x().Shape
	var perm []int
	for a := range shape {
		if !slices.Contains(axes, a) {
			perm = append(perm, a)
		}
	}
	perm = append(perm, axes...)
	back, moved := make([]int, len(perm)), make([]int, len(perm))
	for i, p := range perm {
		back[p], moved[i] = i, shape[p]
	}
	if n == 0 {
		return g.spread(dy, shape)
	}
	rows := elems(shape) / n
	x := g.reshape(g.transpose(g.x(), perm), []int{rows, n})
	d := g.fused(nil, "ProductGrad", g.reshape(dy, []int{rows, 1}), x)
	return g.transpose(g.reshape(d, moved), back)
}

func (g *Grad) transpose(a *Ref, perm []int) *Ref {
	if slices.IsSorted(perm) {
		return a
	}
	return g.with(attrs{"perm": intsAttr(perm)}, "Transpose", a)
}

// softmaxRule: y = softmax(x): dx = y·(dy − Σ dy·y). y = log softmax(x):
// dx = dy − exp(y)·Σ dy.
func softmaxRule(g *Grad, _ int) *Ref {
	y, dy, rank := g.y(), g.whole(), len(g.y().Shape)
	var axes []int
	switch c := g.call(); {
	case c.Version() < 13: // the axis parts the dimensions in two
		axis := c.Int("axis", 1)
		if axis < 0 {
			axis += rank
		}
		for a := axis; a < rank; a++ {
			axes = append(axes, a)
		}
	case rank > 0:
		axes = []int{must(c.Axis(c.Int("axis", -1), rank))}
	}
	sum := func(a *Ref) *Ref {
		if axes == nil {
			return a
		}
		return g.sum(a, axes)
	}
	if g.Node.Op == "LogSoftmax" {
		return g.sub(dy, g.mul(g.op("Exp", y), sum(dy)))
	}
	return g.mul(y, g.sub(dy, sum(g.mul(dy, y))))
}

// matmulRule: y = a·b: da = dy·bᵀ, db = aᵀ·dy.
func matmulRule(g *Grad, i int) *Ref {
	// The letters of the batch, the last axes first, then m, k and n.
	batch := func(r *Ref) string { return batchLetters(len(r.Shape) - 2) }
	subs := []string{batch(g.In[0]) + "mk", batch(g.In[1]) + "kn"}
	out := batchLetters(max(len(g.In[0].Shape), len(g.In[1].Shape)) - 2)
	if len(g.In[0].Shape) == 1 {
		subs[0] = "k"
	} else {
		out += "m"
	}
	if len(g.In[1].Shape) == 1 {
		subs[1] = "k"
	} else {
		out += "n"
	}
	return g.contraction(i, subs, out)
}

// batchLetters are n letters, of which the last is always the same.
func batchLetters(n int) string {
	const letters = "abcdefgh"
	return letters[len(letters)-max(n, 0):]
}

// gemmRule: y = α·a·b + β·c: as a product, and dc = β·dy.
func gemmRule(g *Grad, i int) *Ref {
	c := g.call()
	if i == 2 {
		d := g.times(g.dy(), float64(c.Float("beta", 1)))
		return g.collect(d, g.y().Shape, g.In[2].Shape)
	}
	subs := []string{"mk", "kn"}
	if c.Int("transA", 0) != 0 {
		subs[0] = "km"
	}
	if c.Int("transB", 0) != 0 {
		subs[1] = "nk"
	}
	return g.times(g.contraction(i, subs, "mn"), float64(c.Float("alpha", 1)))
}

// einsumRule: each operand's gradient is the product of the others and dy.
func einsumRule(g *Grad, i int) *Ref {
	subs, out := einsumLetters(g.call())
	return g.contraction(i, subs, out)
}

// rotaryRule: turning back, dx is dy turned by the opposite angle.
func rotaryRule(g *Grad, i int) *Ref {
	if i > 0 {
		g.refuse("by input %d", i)
	}
	in := slices.Clone(g.In)
	in[0], in[2] = g.whole(), g.neg(in[2])
	return g.again(in...)
}

// viewRule: the same memory, in x's shape.
func viewRule(g *Grad, i int) *Ref {
	if i > 0 {
		return nil
	}
	return g.reshape(g.whole(), g.x().Shape)
}

// transposeRule: the axes go back where they came from.
func transposeRule(g *Grad, _ int) *Ref {
	rank := len(g.x().Shape)
	back := make([]int, rank)
	for i := range back {
		back[i] = rank - 1 - i
	}
	for i, p := range g.call().Ints("perm") {
		back[p] = i
	}
	return g.transpose(g.whole(), back)
}

// concatRule: dy is cut up.
func concatRule(g *Grad, i int) *Ref {
	axis := must(g.call().Axis(g.call().Int("axis", 0), len(g.x().Shape)))
	if len(g.In) == 1 {
		return g.dy()
	}
	n := &onnx.Node{Op: "Split", Version: ruleOpset, Attrs: attrs{"axis": intAttr(axis)}}
	var sizes []int
	for j, r := range g.In {
		sizes = append(sizes, r.Shape[axis])
		n.Outputs = append(n.Outputs, j)
	}
	return g.emit(n, g.whole(), g.ints(sizes...))[i]
}

// splitRule: what was cut up is joined.
func splitRule(g *Grad, i int) *Ref {
	if i > 0 {
		return nil
	}
	axis := must(g.call().Axis(g.call().Int("axis", 0), len(g.x().Shape)))
	_, sizes, err := splitSizes(g.call())
	must(0, err)
	parts := make([]*Ref, len(sizes))
	for j, n := range sizes {
		part := g.x().Type
		part.Shape = slices.Clone(part.Shape)
		part.Shape[axis] = n
		if j < len(g.DOut) && g.DOut[j] != nil {
			parts[j] = g.spread(g.DOut[j], part.Shape)
		} else {
			parts[j] = g.zeros(&Ref{Arg: Arg{Type: part}})
		}
	}
	return g.with(attrs{"axis": intAttr(axis)}, "Concat", parts...)
}

// einsumLetters is an equation with a letter for each axis: an ellipsis becomes
// letters that are not used.
func einsumLetters(c *Call) (subs []string, out string) {
	text := strings.ReplaceAll(c.Str("equation", ""), " ", "")
	e := must(parseEquation(c, text))
	left, _, _ := strings.Cut(text, "->")
	terms := strings.Split(left, ",")
	most := 0
	for i, t := range terms {
		if letters, _, ok := cutEllipsis(t); ok {
			most = max(most, len(c.In[i].Shape)-letters)
		}
	}
	fresh := ""
	for range most {
		fresh += string(unusedLetter(text + fresh))
	}
	for i, t := range terms {
		letters, _, _ := cutEllipsis(t)
		subs = append(subs, strings.Replace(t, "...", fresh[most-(len(c.In[i].Shape)-letters):], 1))
	}
	for _, s := range e.out {
		if s < 'A' {
			out += fresh[s : s+1]
		} else {
			out += string(rune(s))
		}
	}
	return subs, out
}

// triluRule: what was not kept has no gradient.
func triluRule(g *Grad, i int) *Ref {
	if i > 0 {
		return nil
	}
	in := slices.Clone(g.In)
	in[0] = g.whole()
	return g.again(in...)
}

// cumSumRule: the sum from the other end.
func cumSumRule(g *Grad, i int) *Ref {
	if i > 0 {
		return nil
	}
	a := attrs{"exclusive": intAttr(g.call().Int("exclusive", 0)), "reverse": intAttr(1 - g.call().Int("reverse", 0))}
	return g.with(a, "CumSum", g.whole(), g.In[1])
}
