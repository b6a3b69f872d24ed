package ops

import (
	"fmt"
	"math"
	"unsafe"

	"sampleonnx/onnxrun/internal/onnx"
)

// Layout says how the elements of a tensor lie in memory.
type Layout uint8

const (
	// Plain is row-major in the order of the shape, as ONNX defines it.
	Plain Layout = iota
	// Blocked is for float32 tensors [N, C, spatial...]: memory order
	// [N, ceil(C/16), spatial..., 16]. When C is not a multiple of 16 the spare
	// lanes of the last block hold zeros, always: every kernel that writes a
	// blocked tensor keeps that promise and every kernel that reads one may use it.
	Blocked
)

// Block is the number of channels in a block of the Blocked layout.
const Block = 16

// Type is what is known of a value before it is computed: its element type,
// its full shape and its memory layout. A scalar has an empty shape.
type Type struct {
	DType  onnx.DType
	Shape  []int
	Layout Layout
}

// Elems is the number of elements, without any padding.
func (t Type) Elems() int { return elems(t.Shape) }

// Len is the number of elements in memory, the padding of Blocked included.
func (t Type) Len() int {
	if t.Layout == Blocked {
		return elems(t.Physical())
	}
	return elems(t.Shape)
}

// Bytes is the memory the value takes.
func (t Type) Bytes() int { return t.Len() * storageSize(t.DType) }

// Physical is the shape of the memory: the shape itself, or for Blocked
// [N, ceil(C/16), spatial..., 16].
func (t Type) Physical() []int {
	if t.Layout != Blocked {
		return t.Shape
	}
	p := make([]int, 0, len(t.Shape)+1)
	p = append(p, t.Shape[0], (t.Shape[1]+Block-1)/Block)
	p = append(p, t.Shape[2:]...)
	return append(p, Block)
}

// Plain is t in the Plain layout.
func (t Type) Plain() Type { t.Layout = Plain; return t }

func (t Type) String() string {
	s := fmt.Sprintf("%v%v", t.DType, t.Shape)
	if t.Layout == Blocked {
		s += " blocked"
	}
	return s
}

// storageSize is the size of an element in memory: the 16-bit floats are held
// and computed as float32.
func storageSize(d onnx.DType) int {
	if d == onnx.Float16 || d == onnx.BFloat16 {
		return 4
	}
	return d.Size()
}

// IsFloat32 reports whether elements of d are float32 in memory.
func IsFloat32(d onnx.DType) bool {
	return d == onnx.Float || d == onnx.Float16 || d == onnx.BFloat16
}

func elems(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// Elem is the Go type of an element in memory.
type Elem interface {
	~float32 | ~float64 | ~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~bool
}

// Tensor is a value in memory.
type Tensor struct {
	Type
	mem []byte
}

// New allocates a zeroed tensor, aligned to 64 bytes.
func New(t Type) *Tensor { return &Tensor{t, AlignedBytes(t.Bytes())} }

// View is a tensor over memory that the caller holds; mem has t.Bytes() bytes.
func View(t Type, mem []byte) *Tensor {
	if len(mem) < t.Bytes() {
		panic(fmt.Sprintf("ops: %v needs %d bytes, has %d", t, t.Bytes(), len(mem)))
	}
	return &Tensor{t, mem[:t.Bytes():t.Bytes()]}
}

// Of copies data into a new plain tensor.
func Of[T Elem](shape []int, data []T) *Tensor {
	t := New(Type{DType: dtypeOf[T](), Shape: shape})
	copy(Data[T](t), data)
	return t
}

// Data is the tensor's memory as elements. T must be the storage type of the
// tensor's DType.
func Data[T Elem](t *Tensor) []T {
	var z T
	size := int(unsafe.Sizeof(z))
	if size != storageSize(t.DType) {
		panic(fmt.Sprintf("ops: %v read as %T", t.Type, z))
	}
	if len(t.mem) == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(t.mem))), len(t.mem)/size)
}

// Mem is the tensor's memory.
func (t *Tensor) Mem() []byte { return t.mem }

// As is the same memory under another type of the same size.
func (t *Tensor) As(typ Type) *Tensor { return View(typ, t.mem) }

func dtypeOf[T Elem]() onnx.DType {
	var z T
	switch any(z).(type) {
	case float32:
		return onnx.Float
	case float64:
		return onnx.Double
	case int8:
		return onnx.Int8
	case int16:
		return onnx.Int16
	case int32:
		return onnx.Int32
	case int64:
		return onnx.Int64
	case uint8:
		return onnx.Uint8
	case uint16:
		return onnx.Uint16
	case uint32:
		return onnx.Uint32
	case uint64:
		return onnx.Uint64
	case bool:
		return onnx.Bool
	}
	panic("ops: no dtype")
}

// AlignedBytes allocates n zeroed bytes that begin at a multiple of 64, the
// width of a vector register and of a cache line.
func AlignedBytes(n int) []byte {
	if n == 0 {
		return nil
	}
	b := make([]byte, n+63)
	off := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & 63)
	return b[off : off+n : off+n]
}

// Floats is n float32 over mem, which must have room.
func Floats(mem []byte, n int) []float32 {
	if n == 0 {
		return nil
	}
	_ = mem[4*n-1]
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(mem))), n)
}

// Constant is a tensor of the file as a value: a view of the file's bytes where
// they are already in memory form, a converted copy where they are not (16-bit
// floats, or a machine that needs alignment).
func Constant(w *onnx.Tensor) *Tensor {
	t := Type{DType: w.DType, Shape: w.Shape}
	n := t.Elems()
	switch {
	case w.DType == onnx.Float16 || w.DType == onnx.BFloat16:
		c := New(t)
		w.Float32s(Data[float32](c))
		return c
	case n == 0:
		return &Tensor{Type: t}
	case w.DType == onnx.Bool: // a file may hold any byte, a Go bool must be 0 or 1
		c := New(t)
		for i, b := range w.Raw[:n] {
			if b != 0 {
				c.mem[i] = 1
			}
		}
		return c
	case nativeLittleEndian && (unalignedOK || uintptr(unsafe.Pointer(unsafe.SliceData(w.Raw)))%8 == 0):
		return View(t, w.Raw)
	}
	c := New(t)
	size := storageSize(w.DType)
	copy(c.mem, w.Raw[:n*size])
	if !nativeLittleEndian {
		for i := 0; i < len(c.mem); i += size {
			for a, b := i, i+size-1; a < b; a, b = a+1, b-1 {
				c.mem[a], c.mem[b] = c.mem[b], c.mem[a]
			}
		}
	}
	return c
}

var nativeLittleEndian = func() bool {
	x := uint16(1)
	return *(*byte)(unsafe.Pointer(&x)) == 1
}()

// Ints reads an integer tensor of any width as []int; false when an element
// does not fit or the type is not an integer.
func (t *Tensor) Ints() ([]int, bool) {
	out := make([]int, t.Elems())
	switch t.DType {
	case onnx.Int64:
		for i, v := range Data[int64](t) {
			if v < math.MinInt || v > math.MaxInt {
				return nil, false
			}
			out[i] = int(v)
		}
	case onnx.Int32:
		for i, v := range Data[int32](t) {
			out[i] = int(v)
		}
	default:
		return nil, false
	}
	return out, true
}

// Clamped is Ints for bounds, where only which way a number points matters that is
// beyond every extent: one that does not fit an int of 32 bits counts as the
// nearest that does. It is nil when the type is not an integer.
func (t *Tensor) Clamped() []int {
	if t.DType == onnx.Int64 {
		return clampInts(Data[int64](t))
	}
	list, _ := t.Ints()
	return list
}

// ClampInt is v, or the int nearest to it where an int has 32 bits: a number that
// wrapped around would be a valid one.
func ClampInt(v int64) int { return int(min(max(v, math.MinInt), math.MaxInt)) }

func clampInts(list []int64) []int {
	out := make([]int, len(list))
	for i, v := range list {
		out[i] = ClampInt(v)
	}
	return out
}
