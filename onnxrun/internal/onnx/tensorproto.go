package onnx

import (
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// typedFields says which dtypes each typed field of TensorProto may hold.
var typedFields = map[protowire.Number]struct {
	name   string
	dtypes []DType
}{
	4:  {"float_data", []DType{Float}},
	5:  {"int32_data", []DType{Int32, Int16, Int8, Uint16, Uint8, Bool, Float16, BFloat16}},
	7:  {"int64_data", []DType{Int64}},
	10: {"double_data", []DType{Double}},
	11: {"uint64_data", []DType{Uint64, Uint32}},
}

// tensor reads a TensorProto. raw_data and packed floats become views of msg;
// the other typed fields, whose encoding is not the elements' own, are
// converted. A tensor of strings, or of an element type that this project does
// not read, keeps its type and shape but no Raw: whoever uses it refuses it.
func (p *parser) tensor(msg []byte) (name string, _ *Tensor) {
	t := &Tensor{}
	var (
		dims     []int64
		raw      []byte
		hasRaw   bool
		typed    protowire.Number // which typed field is there
		count    int              // and its elements
		external bool
		ref      externalRef
	)
	for f := range p.fields(msg) {
		switch f.num {
		case 1:
			if n := len(dims) + p.count(f); n > p.lim.Rank {
				p.over("Rank", "dimensions of a tensor", int64(n), int64(p.lim.Rank))
				break
			}
			dims = p.ints(f, dims)
		case 2:
			t.DType = p.dtype(f)
		case 3:
			p.fail("the tensor is split into segments, which ONNX does not use")
		case 4, 5, 7, 10, 11:
			if typed != 0 && typed != f.num {
				p.fail("both %s and %s are given, want one", typedFields[typed].name, typedFields[f.num].name)
			}
			typed = f.num
			count += p.count(f)
			p.fieldsRead-- // unpacked elements are bounded as elements
		case 8:
			name = p.name(f)
		case 9:
			raw, hasRaw = p.bytes(f), true
		case 13:
			ref.set(p.entry(p.bytes(f)))
		case 14:
			external = p.int(f) == 1
		}
	}
	if p.err != nil {
		return name, t
	}
	n := p.shape(t, dims)
	size := t.DType.Size()
	switch {
	case p.err != nil:
	case t.DType == 0:
		p.fail("the element type is undefined")
	case size == 0:
	case external:
		t.Raw = p.ext.view(p, ref, n*int64(size))
		p.reserve(int64(len(t.Raw)))
	case hasRaw && count > 0:
		p.fail("both raw_data and %s are given, want one", typedFields[typed].name)
	case count > 0:
		t.Raw = p.typedData(msg, typed, t.DType, count, n)
	case int64(len(raw)) != n*int64(size):
		p.fail("raw_data has %d bytes, want %d for %v %s", len(raw), n*int64(size), t.Shape, t.DType)
	default:
		t.Raw = raw[:len(raw):len(raw)]
		p.reserve(int64(len(t.Raw)))
	}
	return name, t
}

// dtype reads an element type.
func (p *parser) dtype(f field) DType {
	d, ok := DTypeOf(p.int(f))
	if !ok {
		p.fail("element type %d is not one that ONNX defines", p.int(f))
	}
	return d
}

// shape sets t.Shape and returns the number of elements.
func (p *parser) shape(t *Tensor, dims []int64) int64 {
	for _, d := range dims {
		if d < 0 {
			p.fail("a dimension of %v is negative", dims)
			return 0
		}
	}
	n, got, ok := elements(dims, p.lim.TensorElems)
	if !ok {
		p.over("TensorElems", "elements of a tensor", got, p.lim.TensorElems)
		return 0
	}
	t.Shape = make([]int, len(dims))
	for i, d := range dims {
		t.Shape[i] = int(d)
	}
	return n
}

// count is the number of elements in one occurrence of a repeated field of TensorProto.
func (p *parser) count(f field) int {
	if f.typ != protowire.BytesType {
		return 1
	}
	switch f.num {
	case 4:
		return len(f.b) / 4
	case 10:
		return len(f.b) / 8
	}
	return p.countVarints(f.b)
}

// typedData converts a typed field to little-endian elements. The count is
// checked first: it bounds what is allocated.
func (p *parser) typedData(msg []byte, num protowire.Number, dtype DType, count int, want int64) []byte {
	field := typedFields[num]
	fits := false
	for _, d := range field.dtypes {
		fits = fits || d == dtype
	}
	if !fits {
		p.fail("%s data is in %s, where it does not belong", dtype, field.name)
		return nil
	}
	if int64(count) != want {
		p.fail("%s has %d elements, want %d", field.name, count, want)
		return nil
	}
	size := dtype.Size()
	if !p.reserve(want * int64(size)) {
		return nil
	}
	fixed := map[protowire.Number]protowire.Type{4: protowire.Fixed32Type, 10: protowire.Fixed64Type}[num]
	var out []byte
	for f := range p.fields(msg) {
		if f.num != num {
			continue
		}
		p.fieldsRead--
		isFixed := num == 4 || num == 10
		if isFixed && f.typ == protowire.BytesType && len(f.b) == count*size {
			return f.b[:len(f.b):len(f.b)] // the usual case, one packed field
		}
		if out == nil {
			out = make([]byte, 0, count*size+8)
		}
		switch {
		case !isFixed:
			out = p.appendInts(out, f, dtype, field.name)
		case f.typ == fixed:
			out = binary.LittleEndian.AppendUint64(out, f.v)[:len(out)+size]
		default:
			out = append(out, p.bytes(f)...)
		}
	}
	if p.err == nil && len(out) != count*size {
		p.fail("malformed protobuf: %s is damaged", field.name)
	}
	return out
}

// appendInts stores each integer in the dtype's width; int32_data also holds
// the bits of 16-bit floats.
func (p *parser) appendInts(out []byte, f field, dtype DType, name string) []byte {
	lo, hi := int64(math.MinInt64), int64(math.MaxInt64)
	switch dtype {
	case Bool:
		lo, hi = 0, 1
	case Uint8:
		lo, hi = 0, math.MaxUint8
	case Int8:
		lo, hi = math.MinInt8, math.MaxInt8
	case Uint16, Float16, BFloat16:
		lo, hi = 0, math.MaxUint16
	case Int16:
		lo, hi = math.MinInt16, math.MaxInt16
	case Int32:
		lo, hi = math.MinInt32, math.MaxInt32
	case Uint32:
		lo, hi = 0, math.MaxUint32
	}
	size := dtype.Size()
	vals := p.varints(f.b)
	if f.typ == protowire.VarintType {
		vals = func(yield func(int64) bool) { yield(int64(f.v)) }
	} else if !p.is(f, protowire.BytesType) {
		return nil
	}
	for v := range vals {
		if v < lo || v > hi {
			p.fail("%s holds %d, which is not a %s", name, v, dtype)
			return nil
		}
		out = binary.LittleEndian.AppendUint64(out, uint64(v))[:len(out)+size]
	}
	return out
}
