package ops

import (
	"math"

	"sampleonnx/onnxrun/internal/kernel"
	"sampleonnx/onnxrun/internal/onnx"
)

// The binary operators on float32. A scalar form is left out where it would not
// give the very bits of the vector form: the maximum of +0 and -0 depends on
// their order.
var float32Binaries = map[string]zipper[float32, float32]{
	"Add": {kernel.Add, kernel.AddScalar, flipped(kernel.AddScalar)},
	"Sub": {kernel.Sub, kernel.SubScalar, flipped(kernel.RsubScalar)},
	"Mul": {kernel.Mul, kernel.MulScalar, flipped(kernel.MulScalar)},
	"Div": {kernel.Div, kernel.DivScalar, flipped(kernel.RdivScalar)},
	"Max": {kernel.Max, kernel.MaxScalar, nil},
	"Min": {kernel.Min, kernel.MinScalar, nil},
	"Pow": {
		vv: func(dst, a, b []float32) {
			for i, x := range a[:len(dst)] {
				dst[i] = pow32(x, b[i])
			}
		},
		vs: pow32s,
	},
	"PRelu": zipEach(func(x, slope float32) float32 {
		if x < 0 {
			x *= slope
		}
		return x
	}),
	"Mod": zipEach(func(a, b float32) float32 { return float32(math.Mod(float64(a), float64(b))) }),
}

func flipped(f func(dst, a []float32, s float32)) func([]float32, float32, []float32) {
	return func(dst []float32, s float32, b []float32) { f(dst, b, s) }
}

// zipEach makes the vector form of a function of two numbers.
func zipEach[T, D Elem](f func(a, b T) D) zipper[T, D] {
	return zipper[T, D]{vv: func(dst []D, a, b []T) {
		b = b[:len(dst)]
		for i, x := range a[:len(dst)] {
			dst[i] = f(x, b[i])
		}
	}}
}

// pow32 is x^e, with the exponents that networks use done by multiplying.
func pow32(x, e float32) float32 {
	switch e {
	case 1:
		return x
	case 2:
		return x * x
	case 3:
		return float32(x*x) * x
	case 0.5:
		return sqrtPow(x)
	}
	return float32(math.Pow(float64(x), float64(e)))
}

// sqrtPow is x^½, which differs from √x at -0 and -∞.
func sqrtPow(x float32) float32 {
	if x == float32(math.Inf(-1)) {
		x = -x
	}
	return float32(math.Sqrt(float64(x))) + 0
}

// pow32s is pow32 for one exponent.
func pow32s(dst, a []float32, e float32) {
	a = a[:len(dst)]
	switch e {
	case 1:
		copy(dst, a)
	case 2:
		kernel.Mul(dst, a, a)
	case 3:
		for i, x := range a {
			dst[i] = float32(x*x) * x
		}
	case 0.5:
		for i, x := range a {
			dst[i] = sqrtPow(x)
		}
	default:
		for i, x := range a {
			dst[i] = float32(math.Pow(float64(x), float64(e)))
		}
	}
}

var float64Binaries = map[string]zipper[float64, float64]{
	"Add": zipEach(func(a, b float64) float64 { return a + b }),
	"Sub": zipEach(func(a, b float64) float64 { return a - b }),
	"Mul": zipEach(func(a, b float64) float64 { return a * b }),
	"Div": zipEach(func(a, b float64) float64 { return a / b }),
	"Max": zipEach(func(a, b float64) float64 { return max(a, b) }),
	"Min": zipEach(func(a, b float64) float64 { return min(a, b) }),
	"Pow": zipEach(math.Pow),
	"Mod": zipEach(math.Mod),
	"PRelu": zipEach(func(x, slope float64) float64 {
		if x < 0 {
			x *= slope
		}
		return x
	}),
}

// integerBinary is a binary operator on integers. They wrap; division truncates
// toward zero; dividing by zero gives 0, where the standard says nothing.
func integerBinary[T integer](op string) zipper[T, T] {
	return zipEach(map[string]func(a, b T) T{
		"Add": func(a, b T) T { return a + b },
		"Sub": func(a, b T) T { return a - b },
		"Mul": func(a, b T) T { return a * b },
		"Div": func(a, b T) T {
			if b == 0 {
				return 0
			}
			return a / b
		},
		"Max": func(a, b T) T { return max(a, b) },
		"Min": func(a, b T) T { return min(a, b) },
		"Pow": powInt[T],
		"Mod": func(a, b T) T { // the sign of the divisor
			if b == 0 {
				return 0
			}
			r := a % b
			if r != 0 && (r < 0) != (b < 0) {
				r += b
			}
			return r
		},
		"FMod": func(a, b T) T { // the sign of the dividend
			if b == 0 {
				return 0
			}
			return a % b
		},
		"PRelu": func(x, slope T) T {
			if x < 0 {
				x *= slope
			}
			return x
		},
	}[op])
}

// powInt is a^e. For a negative exponent it is 1/a^|e| truncated; 0 to one is 0.
func powInt[T integer](a, e T) T {
	if e < 0 {
		switch {
		case a == 1:
			return 1
		case a+1 == 0 && a < 0: // -1
			if e%2 == 0 {
				return 1
			}
			return a
		}
		return 0
	}
	r := T(1)
	for ; e > 0; e /= 2 {
		if e%2 != 0 {
			r *= a
		}
		a *= a
	}
	return r
}

// lowerBinary is every operator of two operands of one type and an output of
// the same.
func lowerBinary(c *Call) (*Kernel, error) {
	op := c.Node.Op
	if err := c.want(0, isNumber, "a numeric type"); err != nil {
		return nil, err
	}
	switch d := c.In[0].DType; op {
	case "Pow":
		if err := c.want(1, isNumber, "a numeric type"); err != nil {
			return nil, err
		}
		if c.In[1].DType != d && !(IsFloat32(d) && IsFloat32(c.In[1].DType)) {
			return lowerMixedPow(c)
		}
	case "Mod":
		if isFloat(d) && c.Int("fmod", 0) == 0 {
			return nil, c.Invalid("input 0 has elements of %v, want fmod=1 with that", d)
		}
		if c.Int("fmod", 0) != 0 && !isFloat(d) {
			op = "FMod"
		}
	}
	if op != "Pow" {
		if err := c.wantSame(0); err != nil {
			return nil, err
		}
	}
	out, phys, err := c.broadcastType(c.In[0].DType, 0, 1)
	if err != nil {
		return nil, err
	}
	if op == "PRelu" && elems(out.Shape) != c.In[0].Elems() {
		return nil, c.Invalid("slope has shape %v, want one that broadcasts to %v", c.In[1].Shape, c.In[0].Shape)
	}
	switch out.DType {
	case onnx.Double:
		return zipKernel(c, out, phys, float64Binaries[op]), nil
	case onnx.Int8:
		return zipKernel(c, out, phys, integerBinary[int8](op)), nil
	case onnx.Int16:
		return zipKernel(c, out, phys, integerBinary[int16](op)), nil
	case onnx.Int32:
		return zipKernel(c, out, phys, integerBinary[int32](op)), nil
	case onnx.Int64:
		return zipKernel(c, out, phys, integerBinary[int64](op)), nil
	case onnx.Uint8:
		return zipKernel(c, out, phys, integerBinary[uint8](op)), nil
	case onnx.Uint16:
		return zipKernel(c, out, phys, integerBinary[uint16](op)), nil
	case onnx.Uint32:
		return zipKernel(c, out, phys, integerBinary[uint32](op)), nil
	case onnx.Uint64:
		return zipKernel(c, out, phys, integerBinary[uint64](op)), nil
	}
	return zipKernel(c, out, phys, float32Binaries[op]), nil
}

// zipKernel computes out = f(input 0, input 1).
func zipKernel[T, D Elem](c *Call, out Type, phys [][]int, f zipper[T, D]) *Kernel {
	return &Kernel{
		Out:           []Type{out},
		InPlace:       c.inPlace(out, 0, 1),
		WorkerScratch: zipScratch[T](),
		FLOPs:         float64(out.Elems()),
		Bind: func(m Memory) []Task {
			return []Task{zip(f, &m, out.Physical(), phys[0], phys[1], m.Out[0], m.In[0], m.In[1])}
		},
	}
}

// inPlace lists those of the inputs that lie in memory as the output does.
func (c *Call) inPlace(out Type, inputs ...int) (list []int) {
	for _, i := range inputs {
		t := c.In[i].Type
		if t.Layout == out.Layout && storageSize(t.DType) == storageSize(out.DType) && t.Elems() == out.Elems() {
			list = append(list, i)
		}
	}
	return list
}

// lowerMixedPow is Pow with an exponent of another type: both become int64, if
// they are integers, or else float64.
func lowerMixedPow(c *Call) (*Kernel, error) {
	out, phys, err := c.broadcastType(c.In[0].DType, 0, 1)
	if err != nil {
		return nil, err
	}
	if out.Layout == Blocked {
		return nil, c.Unsupported("powers of blocked %v to %v", c.In[0].Type, c.In[1].Type)
	}
	if isInteger(c.In[0].DType) && isInteger(c.In[1].DType) {
		return mixedKernel(c, out, onnx.Int64, phys, integerBinary[int64]("Pow")), nil
	}
	return mixedKernel(c, out, onnx.Double, phys, float64Binaries["Pow"]), nil
}

// mixedKernel computes out = f(input 0, input 1), all converted to the type work.
func mixedKernel[T Elem](c *Call, out Type, work onnx.DType, phys [][]int, f zipper[T, T]) *Kernel {
	wide := [3]Type{c.In[0].Type, c.In[1].Type, out}
	size := 0
	for i := range wide {
		wide[i].DType = work
		size += align64(wide[i].Bytes())
	}
	return &Kernel{
		Out:           []Type{out},
		Scratch:       size,
		WorkerScratch: zipScratch[T](),
		FLOPs:         float64(out.Elems()),
		Bind: func(m Memory) []Task {
			var t [3]*Tensor
			mem := m.Shared()
			for i, w := range wide {
				t[i] = View(w, mem)
				mem = mem[align64(w.Bytes()):]
			}
			tasks := eachPart(wide[0].Len(), caster(t[0], m.In[0]))
			tasks = append(tasks, eachPart(wide[1].Len(), caster(t[1], m.In[1]))...)
			tasks = append(tasks, zip(f, &m, out.Shape, phys[0], phys[1], t[2], t[0], t[1]))
			return append(tasks, eachPart(out.Len(), caster(m.Out[0], t[2]))...)
		},
	}
}

// lowerVariadic folds any number of inputs from the left.
func lowerVariadic(c *Call) (*Kernel, error) {
	for i := range c.In {
		if c.In[i].Absent {
			return nil, c.Invalid("input %d is left out, but is required", i)
		}
	}
	isMean := c.Node.Op == "Mean"
	ok, what := isNumber, "a numeric type"
	if c.Node.Op == "Sum" || isMean {
		ok, what = isFloat, "a float type"
	}
	if err := c.want(0, ok, what); err != nil {
		return nil, err
	}
	if err := c.wantSame(0); err != nil {
		return nil, err
	}
	out, phys, err := c.broadcastType(c.In[0].DType, c.allInputs()...)
	if err != nil {
		return nil, err
	}
	if len(c.In) == 1 {
		return &Kernel{Out: []Type{out}, View: true}, nil
	}
	op := c.Node.Op
	if isMean || op == "Sum" {
		op = "Add"
	}
	switch out.DType {
	case onnx.Double:
		n := float64(len(c.In))
		k := foldKernel(c, out, phys, float64Binaries[op])
		if isMean {
			k.then(func(m Memory) []Task {
				return scaled(m.Out[0], func(dst []float64) { each(func(x float64) float64 { return x / n })(dst, dst) })
			})
		}
		return k, nil
	case onnx.Int8:
		return foldKernel(c, out, phys, integerBinary[int8](op)), nil
	case onnx.Int16:
		return foldKernel(c, out, phys, integerBinary[int16](op)), nil
	case onnx.Int32:
		return foldKernel(c, out, phys, integerBinary[int32](op)), nil
	case onnx.Int64:
		return foldKernel(c, out, phys, integerBinary[int64](op)), nil
	case onnx.Uint8:
		return foldKernel(c, out, phys, integerBinary[uint8](op)), nil
	case onnx.Uint16:
		return foldKernel(c, out, phys, integerBinary[uint16](op)), nil
	case onnx.Uint32:
		return foldKernel(c, out, phys, integerBinary[uint32](op)), nil
	case onnx.Uint64:
		return foldKernel(c, out, phys, integerBinary[uint64](op)), nil
	}
	k := foldKernel(c, out, phys, float32Binaries[op])
	if isMean {
		n := float32(len(c.In))
		k.then(func(m Memory) []Task { return scaled(m.Out[0], func(dst []float32) { kernel.DivScalar(dst, dst, n) }) })
	}
	return k, nil
}

// then adds tasks to a kernel.
func (k *Kernel) then(more func(m Memory) []Task) {
	first := k.Bind
	k.Bind = func(m Memory) []Task { return append(first(m), more(m)...) }
}

// scaled changes t in place, piece by piece; f keeps zeros.
func scaled[T Elem](t *Tensor, f func(dst []T)) []Task {
	data := Data[T](t)
	return eachPart(len(data), func(lo, hi int) { f(data[lo:hi]) })
}

// foldKernel computes out = f(f(input 0, input 1), input 2)…
func foldKernel[T Elem](c *Call, out Type, phys [][]int, f zipper[T, T]) *Kernel {
	k := zipKernel(c, out, phys, f)
	k.FLOPs = float64(out.Elems() * (len(c.In) - 1))
	if len(c.In) > 2 {
		// The output holds partial results while later inputs are read.
		k.InPlace = nil
		for _, i := range c.inPlace(out, 0, 1) {
			if !usedFrom(c.Node.Inputs[2:], c.Node.Inputs[i]) {
				k.InPlace = append(k.InPlace, i)
			}
		}
	}
	k.then(func(m Memory) (tasks []Task) {
		shape := out.Physical()
		for i := 2; i < len(m.In); i++ {
			tasks = append(tasks, zip(f, &m, shape, shape, phys[i], m.Out[0], m.Out[0], m.In[i]))
		}
		return tasks
	})
	return k
}

func usedFrom(inputs []int, value int) bool {
	for _, v := range inputs {
		if v == value {
			return true
		}
	}
	return false
}

// lowerCompare is every operator of two operands of one type that answers yes
// or no.
func lowerCompare(c *Call) (*Kernel, error) {
	op := c.Node.Op
	ok, what := isNumber, "a numeric type"
	switch op {
	case "And", "Or", "Xor":
		ok, what = isBool, "bool"
	case "Equal":
		ok, what = isStored, "a numeric type or bool"
	}
	if err := c.want(0, ok, what); err != nil {
		return nil, err
	}
	if err := c.wantSame(0); err != nil {
		return nil, err
	}
	out, phys, err := c.broadcastType(onnx.Bool, 0, 1)
	if err != nil {
		return nil, err
	}
	if out.Layout == Blocked {
		return nil, c.Unsupported("compares blocked %v", c.In[0].Type)
	}
	switch c.In[0].DType {
	case onnx.Bool:
		return zipKernel(c, out, phys, zipEach(map[string]func(a, b bool) bool{
			"And":   func(a, b bool) bool { return a && b },
			"Or":    func(a, b bool) bool { return a || b },
			"Xor":   func(a, b bool) bool { return a != b },
			"Equal": func(a, b bool) bool { return a == b },
		}[op])), nil
	case onnx.Double:
		return zipKernel(c, out, phys, comparison[float64](op)), nil
	case onnx.Int8:
		return zipKernel(c, out, phys, comparison[int8](op)), nil
	case onnx.Int16:
		return zipKernel(c, out, phys, comparison[int16](op)), nil
	case onnx.Int32:
		return zipKernel(c, out, phys, comparison[int32](op)), nil
	case onnx.Int64:
		return zipKernel(c, out, phys, comparison[int64](op)), nil
	case onnx.Uint8:
		return zipKernel(c, out, phys, comparison[uint8](op)), nil
	case onnx.Uint16:
		return zipKernel(c, out, phys, comparison[uint16](op)), nil
	case onnx.Uint32:
		return zipKernel(c, out, phys, comparison[uint32](op)), nil
	case onnx.Uint64:
		return zipKernel(c, out, phys, comparison[uint64](op)), nil
	}
	return zipKernel(c, out, phys, comparison[float32](op)), nil
}

func comparison[T number](op string) zipper[T, bool] {
	return zipEach(map[string]func(a, b T) bool{
		"Equal":          func(a, b T) bool { return a == b },
		"Greater":        func(a, b T) bool { return a > b },
		"GreaterOrEqual": func(a, b T) bool { return a >= b },
		"Less":           func(a, b T) bool { return a < b },
		"LessOrEqual":    func(a, b T) bool { return a <= b },
	}[op])
}

// lowerWhere picks from two tensors; only the size of their elements matters.
func lowerWhere(c *Call) (*Kernel, error) {
	if err := c.want(0, isBool, "bool"); err != nil {
		return nil, err
	}
	if err := c.want(1, isStored, "a numeric type or bool"); err != nil {
		return nil, err
	}
	if err := c.wantSame(1); err != nil {
		return nil, err
	}
	shape, err := c.broadcastShape(0, 1, 2)
	if err != nil {
		return nil, err
	}
	out := Type{DType: c.In[1].DType, Shape: shape}
	for _, a := range c.In {
		if a.Layout == Blocked {
			return nil, c.Unsupported("picks from blocked %v", a.Type)
		}
	}
	k := &Kernel{
		Out:     []Type{out},
		InPlace: c.inPlace(out, 1, 2),
		FLOPs:   float64(out.Elems()),
		Bind: func(m Memory) []Task {
			switch storageSize(out.DType) {
			case 1:
				return where[uint8](m, out.Shape)
			case 2:
				return where[uint16](m, out.Shape)
			case 4:
				return where[uint32](m, out.Shape)
			}
			return where[uint64](m, out.Shape)
		},
	}
	return k, nil
}

func where[T Elem](m Memory, shape []int) []Task {
	l := newLattice(shape, broadcastStrides(m.In[0].Shape, shape), broadcastStrides(m.In[1].Shape, shape), broadcastStrides(m.In[2].Shape, shape))
	s := newSplit(l.rows(), l.run())
	dst, cond, yes, no := Data[T](m.Out[0]), Data[bool](m.In[0]), Data[T](m.In[1]), Data[T](m.In[2])
	return []Task{{s.parts, func(part, _ int) {
		r0, r1, lo, hi := s.of(part)
		k := len(l.dims) - 1
		sc, sy, sn := l.str[0][k], l.str[1][k], l.str[2][k]
		w := l.walkTo(k, r0)
		for r := r0; r < r1; r++ {
			d := dst[r*s.run+lo : r*s.run+hi]
			c, y, n := cond[w.off[0]+sc*lo:], yes[w.off[1]+sy*lo:], no[w.off[2]+sn*lo:]
			switch {
			case sc == 0 && c[0]:
				repeat(d, y, sy)
			case sc == 0:
				repeat(d, n, sn)
			default:
				for i, b := range c[:len(d)] {
					if b {
						d[i] = y[i*sy]
					} else {
						d[i] = n[i*sn]
					}
				}
			}
			w.next()
		}
	}}}
}

// repeat copies src, or its first element when the stride is 0.
func repeat[T Elem](dst, src []T, stride int) {
	if stride == 0 {
		fill(dst, src[0])
	} else {
		copy(dst, src)
	}
}
