package onnxrun_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"sampleonnx/onnxrun"
	"sampleonnx/onnxrun/internal/onnx"
)

// An array is a tensor of the random tests: whatever its type, its elements are
// numbers that float64 holds exactly.
type array struct {
	dtype onnx.DType
	shape []int
	data  []float64
}

func newArray(dtype onnx.DType, shape ...int) *array {
	return &array{dtype, shape, make([]float64, elements(shape))}
}

func elements(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// offset is where the element at idx lies in row-major order.
func offset(shape, idx []int) int {
	off := 0
	for d, i := range idx {
		off = off*shape[d] + i
	}
	return off
}

func (a *array) at(idx []int) float64 { return a.data[offset(a.shape, idx)] }

// broadcast is the element at idx of a shape that a is broadcast to.
func (a *array) broadcast(idx []int) float64 {
	off := 0
	skip := len(idx) - len(a.shape)
	for d, n := range a.shape {
		i := idx[skip+d]
		if n == 1 {
			i = 0
		}
		off = off*n + i
	}
	return a.data[off]
}

// together is the shape that shapes are broadcast to.
func together(shapes ...[]int) []int {
	var shape []int
	for _, s := range shapes {
		for len(shape) < len(s) {
			shape = append([]int{1}, shape...)
		}
		for d, n := range s {
			if n != 1 {
				shape[len(shape)-len(s)+d] = n
			}
		}
	}
	return shape
}

// inside reports whether idx is a place of the shape.
func inside(shape, idx []int) bool {
	for d, i := range idx {
		if i < 0 || i >= shape[d] {
			return false
		}
	}
	return true
}

// each calls f for every place of a shape, in memory order.
func each(shape []int, f func(idx []int)) {
	if elements(shape) == 0 {
		return
	}
	idx := make([]int, len(shape))
	for {
		f(idx)
		d := len(shape) - 1
		for ; d >= 0; d-- {
			if idx[d]++; idx[d] < shape[d] {
				break
			}
			idx[d] = 0
		}
		if d < 0 {
			return
		}
	}
}

// made is the array whose element at idx is f(idx).
func made(dtype onnx.DType, shape []int, f func(idx []int) float64) *array {
	a := &array{dtype, slices.Clone(shape), make([]float64, 0, elements(shape))}
	each(shape, func(idx []int) { a.data = append(a.data, f(idx)) })
	return a
}

// normals are normal draws, rounded to what dtype holds; whole numbers for an
// integer type.
func normals(r *rand.Rand, dtype onnx.DType, shape ...int) *array {
	a := newArray(dtype, shape...)
	for i := range a.data {
		x := r.NormFloat64()
		switch dtype {
		case onnx.Float:
			x = float64(float32(x))
		case onnx.Float16:
			x = math.Round(x*256) / 256
		case onnx.Double:
		case onnx.Uint8:
			x = float64(r.IntN(40))
		default:
			x = float64(r.IntN(41) - 20)
		}
		a.data[i] = x
	}
	return a
}

func int64s(v ...int) *array {
	a := newArray(onnx.Int64, len(v))
	for i, x := range v {
		a.data[i] = float64(x)
	}
	return a
}

// extents is a shape of n extents in [lo, hi].
func extents(r *rand.Rand, n, lo, hi int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = lo + r.IntN(hi-lo+1)
	}
	return s
}

// pick is one of a list.
func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

// one is true once in n times.
func one(r *rand.Rand, n int) bool { return r.IntN(n) == 0 }

// tensor is a for a run.
func (a *array) tensor() onnxrun.Tensor {
	t := onnxrun.Tensor{Shape: a.shape}
	switch a.dtype {
	case onnx.Float, onnx.Float16:
		t.Data = converted[float32](a)
	case onnx.Double:
		t.Data = slices.Clone(a.data)
	case onnx.Int32:
		t.Data = converted[int32](a)
	case onnx.Int64:
		t.Data = converted[int64](a)
	case onnx.Int8:
		t.Data = converted[int8](a)
	case onnx.Uint8:
		t.Data = converted[uint8](a)
	case onnx.Bool:
		d := make([]bool, len(a.data))
		for i, x := range a.data {
			d[i] = x != 0
		}
		t.Data = d
	default:
		panic(fmt.Sprintf("no tensors of %v here", a.dtype))
	}
	return t
}

func converted[T onnx.Number](a *array) []T {
	d := make([]T, len(a.data))
	for i, x := range a.data {
		d[i] = T(x)
	}
	return d
}

// A randomNode is one operator with everything that a run of it needs, and what the
// standard makes of it.
type randomNode struct {
	op    string
	opset int
	attrs map[string]any // int, []int, float32 or string
	in    []*array       // nil: left out
	fixed []bool         // inputs that are constants of the model; nil: those after the first that are 64-bit integers
	outs  int            // 0 means 1
	tol   float64        // allowed error, of the larger of 1 and the largest |want|; 0: 2e-5 for float32
	noPre bool           // the first input must be as it is: nothing may be computed before

	// want computes the outputs by the text of the standard; a nil one is not looked at.
	want func(in []*array) []*array
}

func (c *randomNode) isFixed(i int) bool {
	if c.fixed == nil {
		return i > 0 && c.in[i].dtype == onnx.Int64
	}
	return i < len(c.fixed) && c.fixed[i]
}

// String is the whole configuration but for the elements of the large inputs.
func (c *randomNode) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s-%d", c.op, c.opset)
	for _, name := range slices.Sorted(maps.Keys(c.attrs)) {
		fmt.Fprintf(&b, " %s=%v", name, c.attrs[name])
	}
	b.WriteString(" (")
	for i, a := range c.in {
		if i > 0 {
			b.WriteString(", ")
		}
		if a == nil {
			b.WriteString("-")
			continue
		}
		fmt.Fprintf(&b, "%v%v", a.dtype, a.shape)
		if len(a.data) <= 10 && i > 0 && len(a.shape) <= 1 {
			fmt.Fprintf(&b, "=%v", a.data)
		}
		if c.isFixed(i) {
			b.WriteString("!")
		}
	}
	fmt.Fprintf(&b, ") → %d", max(c.outs, 1))
	return b.String()
}

// message is a protobuf message being written.
type message []byte

func (m message) number(num protowire.Number, v int) message {
	return protowire.AppendVarint(protowire.AppendTag(m, num, protowire.VarintType), uint64(v))
}

func (m message) text(num protowire.Number, s string) message {
	return protowire.AppendString(protowire.AppendTag(m, num, protowire.BytesType), s)
}

func (m message) with(num protowire.Number, sub message) message {
	return protowire.AppendBytes(protowire.AppendTag(m, num, protowire.BytesType), sub)
}

// value is a ValueInfoProto; nil extents leave the shape open.
func valueInfo(name string, dtype onnx.DType, shape []int) message {
	t := message(nil).number(1, int(dtype))
	if shape != nil {
		var dims message
		for _, d := range shape {
			dims = dims.with(1, message(nil).number(1, d))
		}
		t = t.with(2, dims)
	}
	return message(nil).text(1, name).with(2, message(nil).with(1, t))
}

// node is a NodeProto.
func nodeProto(op string, in, out []string, attrs map[string]any) message {
	var m message
	for _, s := range in {
		m = m.text(1, s)
	}
	for _, s := range out {
		m = m.text(2, s)
	}
	m = m.text(3, op).text(4, op)
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		a := message(nil).text(1, name)
		switch v := attrs[name].(type) {
		case int:
			a = a.number(3, v).number(20, int(onnx.AttrInt))
		case float32:
			a = protowire.AppendFixed32(protowire.AppendTag(a, 2, protowire.Fixed32Type), math.Float32bits(v))
			a = a.number(20, int(onnx.AttrFloat))
		case string:
			a = a.text(4, v).number(20, int(onnx.AttrString))
		case []int:
			for _, x := range v {
				a = a.number(8, x)
			}
			a = a.number(20, int(onnx.AttrInts))
		case []float32:
			for _, x := range v {
				a = protowire.AppendFixed32(protowire.AppendTag(a, 7, protowire.Fixed32Type), math.Float32bits(x))
			}
			a = a.number(20, int(onnx.AttrFloats))
		default:
			panic(fmt.Sprintf("attribute %s is a %T", name, v))
		}
		m = m.with(5, a)
	}
	return m
}

// tensorProto is a TensorProto.
func tensorProto(name string, a *array) message {
	var m message
	for _, d := range a.shape {
		m = m.number(1, d)
	}
	m = m.number(2, int(a.dtype)).text(8, name)
	var raw []byte
	for _, x := range a.data {
		switch a.dtype {
		case onnx.Float:
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(float32(x)))
		case onnx.Float16:
			raw = binary.LittleEndian.AppendUint16(raw, half(x))
		case onnx.Double:
			raw = binary.LittleEndian.AppendUint64(raw, math.Float64bits(x))
		case onnx.Int64:
			raw = binary.LittleEndian.AppendUint64(raw, uint64(int64(x)))
		case onnx.Int32:
			raw = binary.LittleEndian.AppendUint32(raw, uint32(int32(x)))
		default:
			raw = append(raw, byte(int(x)))
		}
	}
	return m.with(9, raw)
}

// half is the bits of a float16 that holds x exactly; x is a small multiple of
// 1/256.
func half(x float64) uint16 {
	if x == 0 {
		return 0
	}
	frac, exp := math.Frexp(math.Abs(x)) // x = frac · 2^exp, frac in [½, 1)
	bits := uint16(exp+14)<<10 | uint16(frac*2048)&0x3ff
	if x < 0 {
		bits |= 0x8000
	}
	return bits
}

// modelProto is a model around the nodes of a graph.
func modelProto(opset int, graph message) []byte {
	return message(nil).number(1, 8).with(7, graph.text(2, "random")).with(8, message(nil).text(1, "").number(2, opset))
}
