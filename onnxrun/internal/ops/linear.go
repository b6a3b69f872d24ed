package ops

import (
	"slices"

	"sampleonnx/onnxrun/internal/kernel"
)

// A linearStep is what happens to a piece of A·B + bias while it is in the
// cache: a function of every element, or a product or sum with an operand.
type linearStep struct {
	each func(dst, src []float32)
	zip  func(dst, a, b []float32)

	// The operand of zip: input in, of whose rows row (r/div)%mod goes with row r.
	in, div, mod int
}

// linearActs are the functions among the steps of Linear, and linearZips those
// that take an operand.
var linearActs = map[string]func(dst, src []float32){
	"relu": kernel.Relu, "silu": kernel.SiLU, "sigmoid": kernel.Sigmoid, "tanh": kernel.Tanh,
	"elu": func(dst, src []float32) { kernel.Elu(dst, src, 1) }, "gelu": kernel.Gelu, "gelu tanh": kernel.GeluTanh,
}

var linearZips = map[string]func(dst, a, b []float32){"add": kernel.Add, "mul": kernel.Mul}

// lowerLinear is a layer of a network: A·B + bias, then the steps in "then" in
// turn, each on the result of the one before. A is [..., k]; B, known at compile
// time, [k, n], or [n, k] with transB; bias [n]. "add" and "mul" take the inputs
// from 3 on, in order: each of the output's shape but for axes of length 1 or
// missing in front, which repeat; its last axis is n.
//
// Each step computes what the operator of that name does, to the bit.
func lowerLinear(c *Call) (*Kernel, error) {
	a, b := c.In[0].Type, c.In[1]
	if !IsFloat32(a.DType) || b.DType != a.DType || b.Const == nil {
		return nil, c.Invalid("A is %v and B %v, want float32 and B known at compile time", a, b.Type)
	}
	if len(a.Shape) < 2 || len(b.Shape) != 2 {
		return nil, c.Invalid("shapes %v and %v, want rows and a matrix", a.Shape, b.Shape)
	}
	rank := len(a.Shape)
	p := &product{
		m: elems(a.Shape[:rank-1]), k: a.Shape[rank-1], n: b.Shape[1], ldb: b.Shape[1], bT: c.Int("transB", 0) != 0, constB: true,
	}
	p.single()
	bk := b.Shape[0]
	if p.bT {
		p.n, bk = bk, p.n
	}
	p.lda, p.ldc = p.k, p.n
	if bk != p.k {
		return nil, c.Invalid("shapes %v and %v do not multiply", a.Shape, b.Shape)
	}
	if p.n == 1 && !p.bT {
		p.bT, p.ldb = true, p.k // a column is a row when packed from the other side
	}
	if c.Has(2) && (!slices.Equal(c.In[2].Shape, []int{p.n}) || !IsFloat32(c.In[2].DType)) {
		return nil, c.Invalid("the bias is %v, want %d numbers", c.In[2].Type, p.n)
	}
	out := Type{DType: a.DType, Shape: append(slices.Clone(a.Shape[:rank-1]), p.n)}
	var steps []linearStep
	next := 3
	for _, name := range c.Node.Attrs["then"].Strings {
		s := linearStep{each: linearActs[name], zip: linearZips[name]}
		switch {
		case s.zip != nil:
			if !c.Has(next) {
				return nil, c.Invalid("step %q has no input %d", name, next)
			}
			var ok bool
			if s.div, s.mod, ok = RowsOf(c.In[next].Type, out); !ok {
				return nil, c.Invalid("input %d is %v, the output %v", next, c.In[next].Type, out)
			}
			s.in = next
			next++
		case s.each == nil:
			return nil, c.Invalid("step %q is not known", name)
		}
		steps = append(steps, s)
	}
	if next < len(c.In) {
		return nil, c.Invalid("no step takes input %d", next)
	}
	packs, weight := c.Packs, b.Const
	return &Kernel{
		Out:   []Type{out},
		FLOPs: p.flops() + float64(len(steps)*out.Elems()),
		Algo:  "gemm",
		Bind: func(m Memory) []Task {
			y := Data[float32](m.Out[0])
			var bias []float32
			if len(m.In) > 2 && m.In[2] != nil {
				bias = Data[float32](m.In[2])
			}
			return p.tasks(y, Data[float32](m.In[0]), nil, p.packAll(packs, weight), bias, nil, linearAfter(steps, y, p.n, m))
		},
	}, nil
}

// RowsOf says how the rows of t, along its last axis, repeat in those of out:
// row r of out goes with row (r/div)%mod. It is false when they do not.
func RowsOf(t, out Type) (div, mod int, ok bool) {
	lead := len(out.Shape) - len(t.Shape)
	if lead < 0 || len(t.Shape) == 0 || !IsFloat32(t.DType) || t.Shape[len(t.Shape)-1] != out.Shape[len(out.Shape)-1] {
		return 0, 0, false
	}
	// Before the last axis, from the inside: some that repeat, some that do not,
	// and some that repeat. Axes of length 1 are either.
	const inner, middle, outer = 0, 1, 2
	div, mod = 1, 1
	at := inner
	for i := len(out.Shape) - 2; i >= 0; i-- {
		d, repeats := out.Shape[i], i < lead || t.Shape[i-lead] == 1
		switch {
		case d == 1 && repeats:
			continue
		case !repeats && (t.Shape[i-lead] != d || at == outer):
			return 0, 0, false
		case !repeats:
			at = middle
			mod *= d
		case at == inner:
			div *= d
		default:
			at = outer
		}
	}
	return max(div, 1), max(mod, 1), true
}

// linearAfter applies the steps to a finished piece of y, some rows at a time
// so that each step finds them in the first-level cache.
func linearAfter(steps []linearStep, y []float32, n int, m Memory) func(batch, i0, i1, j0, j1 int) {
	if len(steps) == 0 {
		return nil
	}
	operands := make([][]float32, len(steps))
	for i, s := range steps {
		if s.zip != nil {
			operands[i] = Data[float32](m.In[s.in])
		}
	}
	const floats = 4096
	return func(_, i0, i1, j0, j1 int) {
		whole := j1-j0 == n
		for height := max(1, floats/(j1-j0)); i0 < i1; i0 += height {
			end := min(i1, i0+height)
			for i := range steps {
				s, x := &steps[i], operands[i]
				switch {
				case whole && s.each != nil:
					piece := y[i0*n : end*n]
					s.each(piece, piece)
				case whole && s.div == 1 && s.mod*n == len(y):
					piece := y[i0*n : end*n]
					s.zip(piece, piece, x[i0*n:])
				default:
					for r := i0; r < end; r++ {
						row := y[r*n+j0 : r*n+j1]
						if s.each != nil {
							s.each(row, row)
						} else {
							s.zip(row, row, x[r/s.div%s.mod*n+j0:])
						}
					}
				}
			}
		}
	}
}
