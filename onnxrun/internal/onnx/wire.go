package onnx

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// parser reads protobuf bytes. Its error sticks: after the first one every
// method returns zero values and every loop over fields ends, so that the
// decoders need not check after each field.
type parser struct {
	ctx context.Context // of the call that parses
	lim Limits
	ext *externalFiles
	err error

	fieldsRead int
	steps      int
	depth      int
	constants  int64 // bytes of them
	nameBytes  int64
	names      map[string]string
}

// field is one field of a message: v for the numeric wire types, b for bytes.
type field struct {
	num protowire.Number
	typ protowire.Type
	v   uint64
	b   []byte
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = &FormatError{Msg: fmt.Sprintf(format, args...)}
	}
}

func (p *parser) over(limit, what string, got, most int64) {
	if p.err == nil {
		p.err = Over(what, limit, got, most)
	}
}

// stopped reports whether parsing is over, because of an error or because ctx is
// done. It is asked before every piece of work that takes a millisecond or so.
func (p *parser) stopped() bool {
	if err := p.ctx.Err(); err != nil && p.err == nil {
		p.err = fmt.Errorf("reading the model: %w", err)
	}
	return p.err != nil
}

// piece is how many bytes are worked on before stopped is asked again.
const piece = 1 << 20

// at says where the error happened, if there is one and no inner decoder
// already did.
func (p *parser) at(format string, args ...any) {
	if p.err == nil {
		return
	}
	if fe, ok := errors.AsType[*FormatError](p.err); ok && fe.Node == "" {
		fe.Node = fmt.Sprintf(format, args...)
	}
}

// fields loops over the fields of a message, in file order.
func (p *parser) fields(msg []byte) iter.Seq[field] {
	return func(yield func(field) bool) {
		for len(msg) > 0 && p.err == nil {
			num, typ, n := protowire.ConsumeTag(msg)
			if n < 0 {
				p.malformed(n)
				return
			}
			msg = msg[n:]
			f := field{num: num, typ: typ}
			switch typ {
			case protowire.VarintType:
				f.v, n = protowire.ConsumeVarint(msg)
			case protowire.Fixed32Type:
				var v uint32
				v, n = protowire.ConsumeFixed32(msg)
				f.v = uint64(v)
			case protowire.Fixed64Type:
				f.v, n = protowire.ConsumeFixed64(msg)
			case protowire.BytesType:
				f.b, n = protowire.ConsumeBytes(msg)
			default:
				p.fail("malformed protobuf: field %d has wire type %d, which ONNX does not use", num, typ)
				return
			}
			if n < 0 {
				p.malformed(n)
				return
			}
			msg = msg[n:]
			if !p.charge(1) {
				return
			}
			// Unpacked elements of tensors are not counted as fields, but each comes by here.
			if p.steps++; p.steps%1024 == 0 && p.stopped() {
				return
			}
			if !yield(f) {
				return
			}
		}
	}
}

func (p *parser) malformed(n int) {
	if protowire.ParseError(n) == io.ErrUnexpectedEOF {
		p.fail("the bytes end in the middle of a field: the file is truncated or not an ONNX model")
		return
	}
	p.fail("malformed protobuf: the file is damaged or not an ONNX model")
}

// is checks the wire type of a field whose number is known.
func (p *parser) is(f field, typ protowire.Type) bool {
	if f.typ == typ {
		return p.err == nil
	}
	p.fail("malformed protobuf: field %d has wire type %d, want %d", f.num, f.typ, typ)
	return false
}

func (p *parser) bytes(f field) []byte {
	if !p.is(f, protowire.BytesType) {
		return nil
	}
	return f.b
}

// name reads a string that names something. Equal names share their bytes:
// a value's name comes once where it is made and again at every use.
func (p *parser) name(f field) string {
	b := p.bytes(f)
	if s, ok := p.names[string(b)]; ok || len(b) == 0 {
		return s
	}
	if len(b) > maxName {
		p.over("", "bytes of a name", int64(len(b)), maxName)
		return ""
	}
	if !utf8.Valid(b) {
		p.fail("name %.40q is not valid UTF-8", b)
		return ""
	}
	if !p.chargeName(len(b)) {
		return ""
	}
	s := string(b)
	p.names[s] = s
	return s
}

// maxName bounds one name, so that errors that quote names stay readable.
const maxName = 16 << 10

// ident reads an operator's type or domain, which errors print as they are.
func (p *parser) ident(f field) string {
	s := p.name(f)
	if strings.ContainsFunc(s, unicode.IsControl) {
		p.fail("operator type or domain %.40q has control characters", s)
		return ""
	}
	return s
}

// text reads a string that is none of the model's names, and may be any bytes.
func (p *parser) text(f field) string {
	b := p.bytes(f)
	if !p.chargeName(len(b)) {
		return ""
	}
	return string(b)
}

func (p *parser) chargeName(n int) bool {
	if p.nameBytes += int64(n); p.nameBytes > p.lim.NameBytes {
		p.over("NameBytes", "bytes of names and other text", p.nameBytes, p.lim.NameBytes)
		return false
	}
	return p.err == nil
}

// charge counts fields, elements of packed lists, and what building adds to them:
// inlining and captured values repeat fields.
func (p *parser) charge(n int) bool {
	if p.fieldsRead += n; p.fieldsRead > p.lim.Fields {
		p.over("Fields", "protobuf fields", int64(p.fieldsRead), int64(p.lim.Fields))
	}
	return p.err == nil
}

// reserve counts bytes of constants, before memory is taken for those that are no
// views of the file.
func (p *parser) reserve(n int64) bool {
	if p.constants += n; p.constants > p.lim.Memory {
		p.over("Memory", "bytes of constants", p.constants, p.lim.Memory)
	}
	return p.err == nil
}

func (p *parser) int(f field) int64 {
	if !p.is(f, protowire.VarintType) {
		return 0
	}
	return int64(f.v)
}

func (p *parser) float(f field) float32 {
	if !p.is(f, protowire.Fixed32Type) {
		return 0
	}
	return math.Float32frombits(uint32(f.v))
}

// ints appends the integers of a repeated field, packed or not.
func (p *parser) ints(f field, dst []int64) []int64 {
	if f.typ == protowire.VarintType {
		return append(dst, int64(f.v))
	}
	b := p.bytes(f)
	n := p.countVarints(b)
	if !p.charge(n) {
		return nil
	}
	dst = slices.Grow(dst, n)
	for v := range p.varints(b) {
		dst = append(dst, v)
	}
	return dst
}

// varints loops over packed integers.
func (p *parser) varints(b []byte) iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for i := 0; len(b) > 0; i++ {
			if i%piece == piece-1 && p.stopped() {
				return
			}
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				p.malformed(n)
				return
			}
			if b = b[n:]; !yield(int64(v)) {
				return
			}
		}
	}
}

// floats appends the floats of a repeated field, packed or not.
func (p *parser) floats(f field, dst []float32) []float32 {
	if f.typ == protowire.Fixed32Type {
		return append(dst, math.Float32frombits(uint32(f.v)))
	}
	b := p.bytes(f)
	if len(b)%4 != 0 {
		p.fail("malformed protobuf: %d bytes of packed floats, want a multiple of 4", len(b))
		return nil
	}
	if !p.charge(len(b) / 4) {
		return nil
	}
	dst = slices.Grow(dst, len(b)/4)
	for ; len(b) > 0; b = b[4:] {
		dst = append(dst, math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}
	return dst
}

// countVarints is the number of varints that b holds: each ends in a byte
// without the high bit.
func (p *parser) countVarints(b []byte) int {
	n := 0
	for len(b) > 0 && !p.stopped() {
		part := b[:min(len(b), piece)]
		for _, c := range part {
			if c < 0x80 {
				n++
			}
		}
		b = b[len(part):]
	}
	return n
}
