package ops

import (
	"math"
	"slices"
	"strings"

	"sampleonnx/onnxrun/internal/onnx"
)

// Quantised tensors: a number is (q - zero point) · scale with integer q. The
// operators here are plain loops.

func isQuantized(d onnx.DType) bool {
	return d == onnx.Int8 || d == onnx.Uint8 || d == onnx.Int16 || d == onnx.Uint16
}

func isByte(d onnx.DType) bool { return d == onnx.Int8 || d == onnx.Uint8 }

// isWide: the type is accumulated in 32 bits already.
func isQuantizedOrInt32(d onnx.DType) bool { return isQuantized(d) || d == onnx.Int32 }

// scales says which scale and zero point belong to an element: the only one, one
// for each position on an axis, or one for each block of positions.
type scales struct {
	n, inner      int // the axis
	block, blocks int // of the axis; blocks is 0 when there is one scale along it for all the rest
}

func (s *scales) of(i int) int {
	switch {
	case s.n == 0:
		return 0
	case s.blocks == 0:
		return i / s.inner % s.n
	}
	return (i/(s.inner*s.n)*s.blocks+i/s.inner%s.n/s.block)*s.inner + i%s.inner
}

// scales reads the geometry from inputs 0 and 1 and the attributes axis and
// block_size.
func (c *Call) scales() (*scales, error) {
	x, sc := c.In[0].Type, c.In[1].Type
	if c.Has(2) && !slices.Equal(c.In[2].Shape, sc.Shape) && c.In[2].Elems() != sc.Elems() {
		return nil, c.Invalid("the zero points are %v, want the shape of the scales, %v", c.In[2].Type, sc.Shape)
	}
	if sc.Elems() == 1 && len(sc.Shape) <= 1 {
		return &scales{}, nil
	}
	axis, err := c.Axis(c.Int("axis", 1), len(x.Shape))
	if err != nil {
		return nil, err
	}
	s := &scales{n: x.Shape[axis], inner: elems(x.Shape[axis+1:]), block: c.Int("block_size", 0)}
	if s.block == 0 {
		if len(sc.Shape) != 1 || sc.Shape[0] != s.n {
			return nil, c.Invalid("the scales are %v, want %d", sc, s.n)
		}
		return s, nil
	}
	want := slices.Clone(x.Shape)
	if s.block < 0 {
		return nil, c.Invalid("block_size is %d, want 0 or more", s.block)
	}
	s.blocks = (s.n + s.block - 1) / s.block
	want[axis] = s.blocks
	if !slices.Equal(sc.Shape, want) {
		return nil, c.Invalid("the scales have shape %v, want %v", sc.Shape, want)
	}
	return s, nil
}

// lowerQuantizeLinear: q = round(x / scale) + zero point, into the range of its
// type.
func lowerQuantizeLinear(c *Call) (*Kernel, error) {
	x := c.In[0].Type
	ok := func(d onnx.DType) bool { return IsFloat32(d) || d == onnx.Int32 }
	if err := c.want(0, ok, "a float type or int32"); err != nil {
		return nil, err
	}
	if err := c.want(1, ok, "a float type or int32"); err != nil {
		return nil, err
	}
	to, err := c.DType("output_dtype", 0)
	if err != nil {
		return nil, err
	}
	if c.Has(2) {
		to = c.In[2].DType
	} else if to == 0 {
		to = onnx.Uint8
	}
	if !isQuantized(to) {
		return nil, c.Unsupported("quantises to %v", to)
	}
	if p, err := c.DType("precision", 0); err != nil {
		return nil, err
	} else if p != 0 && p != onnx.Float {
		return nil, c.Unsupported("divides in %v", p)
	}
	s, err := c.scales()
	if err != nil {
		return nil, err
	}
	k := &Kernel{Out: []Type{{DType: to, Shape: x.Shape}}, FLOPs: 2 * float64(x.Elems())}
	wide := []Type{{DType: onnx.Float, Shape: x.Shape}, {DType: onnx.Float, Shape: c.In[1].Shape}}
	if c.Has(2) {
		wide = append(wide, Type{DType: onnx.Int32, Shape: c.In[2].Shape})
	}
	k.Scratch, k.Tables = sizeOf(wide), room(4, c.In[1].Elems())
	k.Bind = func(m Memory) []Task {
		t, tasks := casts(&m, wide)
		in, by := Data[float32](t[0]), Data[float32](t[1])
		zero := make([]int32, len(by))
		if len(t) > 2 {
			zero = Data[int32](t[2])
		}
		f := func(i int) float64 {
			j := s.of(i)
			return math.RoundToEven(float64(in[i]/by[j])) + float64(zero[j])
		}
		return append(tasks, rounded(m.Out[0], f)...)
	}
	return k, nil
}

// rounded fills a quantised tensor with what f gives, saturated.
func rounded(out *Tensor, f func(i int) float64) []Task {
	switch out.DType {
	case onnx.Int8:
		return saturated(Data[int8](out), f)
	case onnx.Int16:
		return saturated(Data[int16](out), f)
	case onnx.Uint16:
		return saturated(Data[uint16](out), f)
	}
	return saturated(Data[uint8](out), f)
}

func saturated[T integer](dst []T, f func(i int) float64) []Task {
	return eachPart(len(dst), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			dst[i] = floatTo[T](f(i))
		}
	})
}

// sizeOf is the scratch memory that casts needs.
func sizeOf(types []Type) (n int) {
	for _, t := range types {
		n = min(n+align64(t.Bytes()), unbounded)
	}
	return n
}

// casts converts the inputs, from the first on, to the given types in scratch
// memory. Inputs of which the type has no element type, or that are left out,
// give nil.
func casts(m *Memory, types []Type) (list []*Tensor, tasks []Task) {
	mem := m.Shared()
	for i, t := range types {
		if t.DType == 0 || i >= len(m.In) || m.In[i] == nil {
			list = append(list, nil)
			continue
		}
		v := View(t, mem)
		mem = mem[align64(t.Bytes()):]
		list = append(list, v)
		tasks = append(tasks, eachPart(t.Elems(), caster(v, m.In[i]))...)
	}
	return list, tasks
}

// lowerDequantizeLinear: x = (q - zero point) · scale.
func lowerDequantizeLinear(c *Call) (*Kernel, error) {
	q := c.In[0].Type
	if err := c.want(0, isQuantizedOrInt32, "a quantised type or int32"); err != nil {
		return nil, err
	}
	if err := c.want(1, IsFloat32, "a float type"); err != nil {
		return nil, err
	}
	if c.Has(2) && c.In[2].DType != q.DType {
		return nil, c.Invalid("the zero points are %v, want %v", c.In[2].Type, q.DType)
	}
	s, err := c.scales()
	if err != nil {
		return nil, err
	}
	to, err := c.DType("output_dtype", 0)
	if err != nil {
		return nil, err
	}
	if to == 0 {
		to = c.In[1].DType
	}
	if !IsFloat32(to) {
		return nil, c.Unsupported("gives %v", to)
	}
	wide := []Type{{DType: onnx.Int32, Shape: q.Shape}, {DType: onnx.Float, Shape: c.In[1].Shape}}
	if c.Has(2) {
		wide = append(wide, Type{DType: onnx.Int32, Shape: c.In[2].Shape})
	}
	k := &Kernel{Out: []Type{{DType: to, Shape: q.Shape}}, Scratch: sizeOf(wide), Tables: room(4, c.In[1].Elems()), FLOPs: 2 * float64(q.Elems())}
	k.Bind = func(m Memory) []Task {
		t, tasks := casts(&m, wide)
		in, by, dst := Data[int32](t[0]), Data[float32](t[1]), Data[float32](m.Out[0])
		zero := make([]int32, len(by))
		if len(t) > 2 {
			zero = Data[int32](t[2])
		}
		return append(tasks, eachPart(len(dst), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				j := s.of(i)
				dst[i] = float32(in[i]-zero[j]) * by[j]
			}
		})...)
	}
	return k, nil
}

// lowerDynamicQuantizeLinear finds scale and zero point for uint8 from the least
// and the greatest number.
func lowerDynamicQuantizeLinear(c *Call) (*Kernel, error) {
	if err := c.want(0, func(d onnx.DType) bool { return d == onnx.Float }, "float32"); err != nil {
		return nil, err
	}
	x := c.In[0].Type
	k := &Kernel{FLOPs: 4 * float64(x.Elems()), Scratch: 8}
	k.Out = []Type{{DType: onnx.Uint8, Shape: x.Shape}, {DType: onnx.Float, Shape: []int{}}, {DType: onnx.Uint8, Shape: []int{}}}
	k.Bind = func(m Memory) []Task {
		src := Data[float32](m.In[0])
		found := scratchOf[float32](m.Shared(), 2) // scale, zero point
		tasks := Serial(func() {
			lo, hi := float32(0), float32(0)
			p := m.pace()
			for i, v := range src {
				if i%paceBlock == 0 && p.over(2*paceBlock) {
					return
				}
				lo, hi = min(lo, v), max(hi, v)
			}
			scale := (hi - lo) / 255
			if hi == lo {
				scale = 1. / 255
			}
			zero := float32(math.RoundToEven(float64(max(0, min(255, -lo/scale)))))
			found[0], found[1] = scale, zero
			if len(m.Out) > 1 && m.Out[1] != nil {
				Data[float32](m.Out[1])[0] = scale
			}
			if len(m.Out) > 2 && m.Out[2] != nil {
				Data[uint8](m.Out[2])[0] = uint8(zero)
			}
		})
		if m.Out[0] == nil {
			return tasks
		}
		return append(tasks, rounded(m.Out[0], func(i int) float64 {
			return math.RoundToEven(float64(src[i]/found[0])) + float64(found[1])
		})...)
	}
	return k, nil
}

// integerProduct is what MatMulInteger and ConvInteger (A, B, zero points) have in
// common with QLinearMatMul and QLinearConv (A, scale, zero point, B, scale, zero
// point, scale and zero point of the result): where the inputs stand, and their types
// once widened.
type integerProduct struct {
	linear             bool // the sums are scaled and rounded
	a, b, zeroA, zeroB int  // positions of inputs
	scaleA, scaleB     int
	scaleOut, zeroOut  int
	wide               []Type // of the inputs: int32 and float32
	out                onnx.DType
}

func (c *Call) integerProduct() (*integerProduct, error) {
	p := &integerProduct{a: 0, b: 1, zeroA: 2, zeroB: 3, out: onnx.Int32}
	if strings.HasPrefix(c.Node.Op, "QLinear") {
		p = &integerProduct{linear: true, a: 0, scaleA: 1, zeroA: 2, b: 3, scaleB: 4, zeroB: 5, scaleOut: 6, zeroOut: 7}
		if p.out = c.In[p.zeroOut].DType; !isByte(p.out) {
			return nil, c.Invalid("the zero point of the result is %v, want an 8-bit integer type", c.In[p.zeroOut].Type)
		}
	}
	for _, i := range []int{p.a, p.b} {
		if err := c.want(i, isByte, "an 8-bit integer type"); err != nil {
			return nil, err
		}
	}
	for i := range c.In {
		t := c.In[i].Type
		switch {
		case c.In[i].Absent:
			t = Type{}
		case isInteger(t.DType):
			t.DType = onnx.Int32
		default:
			t.DType = onnx.Float
		}
		p.wide = append(p.wide, t)
	}
	return p, nil
}

// zeros is an input of zero points, or of a bias: 0 when it is left out.
func (p *integerProduct) zeros(t []*Tensor, i int) []int32 {
	if i < len(t) && t[i] != nil {
		return Data[int32](t[i])
	}
	return []int32{0}
}

// store is how the sum for element i of the result gets there. Its scales are those of
// a row of A and a column of B; rows and cols are the steps through them, 0 where
// there is one for all.
func (p *integerProduct) store(dst *Tensor, t []*Tensor, rows, cols int) func(i, row, col int, sum int32) {
	if !p.linear {
		out := Data[int32](dst)
		return func(i, _, _ int, sum int32) { out[i] = sum }
	}
	a, b, scale, zero := Data[float32](t[p.scaleA]), Data[float32](t[p.scaleB]), Data[float32](t[p.scaleOut]), Data[int32](t[p.zeroOut])
	value := func(row, col int, sum int32) float64 {
		by := float64(a[row*rows]) * float64(b[col*cols]) / float64(scale[0])
		return math.RoundToEven(float64(sum)*by + float64(zero[0]))
	}
	if p.out == onnx.Int8 {
		out := Data[int8](dst)
		return func(i, row, col int, sum int32) { out[i] = floatTo[int8](value(row, col, sum)) }
	}
	out := Data[uint8](dst)
	return func(i, row, col int, sum int32) { out[i] = floatTo[uint8](value(row, col, sum)) }
}

// lowerIntegerMatMul is MatMulInteger and QLinearMatMul. Zero points and scales are
// one for all, one for each row of A or one for each column of B.
func lowerIntegerMatMul(c *Call) (*Kernel, error) {
	p, err := c.integerProduct()
	if err != nil {
		return nil, err
	}
	a, b := c.In[p.a].Shape, c.In[p.b].Shape
	if len(a) == 0 || len(b) == 0 {
		return nil, c.Invalid("multiplies %v and %v, want no scalars", a, b)
	}
	am, bm := slices.Clone(a), slices.Clone(b)
	if len(a) == 1 {
		am = []int{1, a[0]}
	}
	if len(b) == 1 {
		bm = []int{b[0], 1}
	}
	rows, depth, cols := am[len(am)-2], am[len(am)-1], bm[len(bm)-1]
	if bm[len(bm)-2] != depth {
		return nil, c.Invalid("multiplies %v and %v", a, b)
	}
	batchOf := &Call{Node: c.Node, In: []Arg{{Type: Type{Shape: am[:len(am)-2]}}, {Type: Type{Shape: bm[:len(bm)-2]}}}}
	batch, err := batchOf.broadcastShape(0, 1)
	if err != nil {
		return nil, err
	}
	shape := slices.Clone(batch)
	if len(a) > 1 {
		shape = append(shape, rows)
	}
	if len(b) > 1 {
		shape = append(shape, cols)
	}
	// step checks an input and tells how to go through it along the rows of A or the
	// columns of B.
	step := func(i, n int, matrix []int) (int, error) {
		if !c.Has(i) || c.In[i].Elems() == 1 {
			return 0, nil
		}
		if c.In[i].Elems() != n || len(matrix) > 2 && len(c.In[i].Shape) > 1 {
			return 0, c.Unsupported("input %d is %v beside a matrix %v", i, c.In[i].Type, matrix)
		}
		return 1, nil
	}
	var steps [4]int // of the zero points of A and B, of the scales of A and B
	for j, i := range []int{p.zeroA, p.zeroB, p.scaleA, p.scaleB} {
		if j >= 2 && !p.linear {
			break
		}
		n, matrix := rows, am
		if j%2 == 1 {
			n, matrix = cols, bm
		}
		if steps[j], err = step(i, n, matrix); err != nil {
			return nil, err
		}
	}
	for _, i := range []int{p.scaleOut, p.zeroOut} {
		if p.linear && c.In[i].Elems() != 1 {
			return nil, c.Unsupported("input %d is %v, want one number", i, c.In[i].Type)
		}
	}
	l := newLattice(batch, broadcastStrides(am[:len(am)-2], batch), broadcastStrides(bm[:len(bm)-2], batch))
	k := &Kernel{Out: []Type{{DType: p.out, Shape: shape}}, Scratch: sizeOf(p.wide), WorkerScratch: room(4, cols),
		FLOPs: 2 * float64(elems(batch)*rows*cols) * float64(depth)}
	if p.bindConstant(c, k, elems(batch)*rows, rows, depth, cols, steps[0], steps[1]) {
		return k, nil
	}
	k.Bind = func(m Memory) []Task {
		t, tasks := casts(&m, p.wide)
		x, y := Data[int32](t[p.a]), Data[int32](t[p.b])
		zx, zy := p.zeros(t, p.zeroA), p.zeros(t, p.zeroB)
		store := p.store(m.Out[0], t, steps[2], steps[3])
		return append(tasks, eachRow(elems(batch)*rows, depth*cols, func(r, worker int) {
			sums := scratchOf[int32](m.Worker(worker), cols)
			clear(sums)
			w := l.walkTo(len(l.dims), r/rows)
			row := r % rows
			xs := x[(w.off[0]*rows+row)*depth:][:depth]
			ys := y[w.off[1]*depth*cols:]
			z := zx[row*steps[0]]
			for d, v := range xs {
				for j, u := range ys[d*cols:][:cols] {
					sums[j] += (v - z) * (u - zy[j*steps[1]])
				}
			}
			for j, v := range sums {
				store(r*cols+j, row, j, v)
			}
		})...)
	}
	return k, nil
}

// lowerIntegerConv is ConvInteger and QLinearConv, whose last input is a bias. Zero
// points and scales of the weights are one for all or one for each output channel.
func lowerIntegerConv(c *Call) (*Kernel, error) {
	const bias = 8
	p, err := c.integerProduct()
	if err != nil {
		return nil, err
	}
	x, w := c.In[p.a].Type, c.In[p.b].Type
	groups := c.Int("group", 1)
	if len(x.Shape) < 3 || len(w.Shape) != len(x.Shape) || groups < 1 || room(w.Shape[1], groups) != x.Shape[1] || w.Shape[0]%groups != 0 {
		return nil, c.Invalid("convolves %v with %v in %d groups, want weights of as many dimensions and groups that divide the channels", x, w, groups)
	}
	if ks := c.Ints("kernel_shape"); ks != nil && !slices.Equal(ks, w.Shape[2:]) {
		return nil, c.Invalid("kernel_shape is %v, the weights are %v", ks, w.Shape)
	}
	win, err := newWindow(c, x.Shape[2:], w.Shape[2:], false)
	if err != nil {
		return nil, err
	}
	if err := win.check(c, x.Shape[0], x.Shape[1], w.Shape[0]); err != nil {
		return nil, err
	}
	outCh := w.Shape[0]
	out := Type{DType: p.out, Shape: slices.Concat([]int{x.Shape[0], outCh}, win.out)}
	if c.Has(bias) && c.In[bias].Elems() != outCh {
		return nil, c.Invalid("the bias is %v, want %d numbers", c.In[bias].Type, outCh)
	}
	for i := range c.In {
		n := 1
		if i == p.a || i == p.b || i == bias || !c.Has(i) {
			continue
		}
		if i == p.zeroB || p.linear && i == p.scaleB {
			n = outCh
		}
		if c.In[i].Elems() != 1 && c.In[i].Elems() != n {
			return nil, c.Invalid("input %d is %v, want %d numbers", i, c.In[i].Type, n)
		}
	}
	taps, depth := win.taps(), w.Shape[1]
	inPlane, outPlane := elems(win.in), elems(win.out)
	st := strides(win.in)
	k := &Kernel{Out: []Type{out}, Scratch: sizeOf(p.wide), FLOPs: 2 * float64(out.Elems()) * float64(taps*depth)}
	k.Bind = func(m Memory) []Task {
		t, tasks := casts(&m, p.wide)
		src, weights := Data[int32](t[p.a]), Data[int32](t[p.b])
		zeroX, zeroW, start := p.zeros(t, p.zeroA), p.zeros(t, p.zeroB), p.zeros(t, bias)
		perChannel := 0
		if p.linear && c.In[p.scaleB].Elems() > 1 {
			perChannel = 1
		}
		store := p.store(m.Out[0], t, 0, perChannel)
		if outPlane == 0 {
			return nil
		}
		return append(tasks, eachRow(out.Elems(), taps*depth*4, func(i, _ int) {
			ch := i / outPlane % outCh
			image := i / outPlane / outCh
			pace := m.pace()
			first := image*x.Shape[1] + ch/(outCh/groups)*depth
			z := zeroW[ch%len(zeroW)]
			sum := start[ch%len(start)]
			for tap := range taps {
				off := win.offset(i%outPlane, tap, st)
				if pace.over(16 + depth) {
					return
				}
				if off < 0 {
					continue
				}
				for d := range depth {
					sum += (src[(first+d)*inPlane+off] - zeroX[0]) * (weights[(ch*depth+d)*taps+tap] - z)
				}
			}
			store(i, 0, ch, sum)
		})...)
	}
	return k, nil
}
