package npy

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	magic     = "\x93NUMPY"
	maxHeader = 1 << 20
	maxString = 1 << 24 // characters of one string element

	// MaxBytes bounds what one file may hold, after decompression.
	MaxBytes = 4 << 30
)

// FormatError says that a file is not what its name promises.
type FormatError struct {
	File   string // path, and the member's name for an archive
	Reason string
}

func (e *FormatError) Error() string { return e.File + ": " + e.Reason }

// LimitError says that a file is larger than this package reads.
type LimitError struct {
	File  string
	Limit int64
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("%s: larger than the limit of %d bytes", e.File, e.Limit)
}

// ReadFile reads one .npy file.
func ReadFile(name string) (Array, error) {
	f, _, err := open(name)
	if err != nil {
		return Array{}, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<16)
	a, err := read(name, r, MaxBytes)
	if err != nil {
		return Array{}, err
	}
	if _, err := r.ReadByte(); err != io.EOF {
		return Array{}, &FormatError{name, "bytes follow the array"}
	}
	return a, nil
}

// open opens anything but a directory.
func open(name string) (*os.File, fs.FileInfo, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	st, err := f.Stat()
	if err == nil && st.IsDir() {
		err = &FormatError{name, "a directory, want a file"}
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, st, nil
}

// Read reads one array; name is what errors call it.
func Read(name string, r io.Reader) (Array, error) { return read(name, r, MaxBytes) }

func read(name string, r io.Reader, limit int64) (Array, error) {
	bad := func(format string, args ...any) (Array, error) {
		return Array{}, &FormatError{name, fmt.Sprintf(format, args...)}
	}
	text, err := readHeader(r)
	if err != nil {
		return bad("%v", err)
	}
	h, err := parseHeader(text)
	if err != nil {
		return bad("%v", err)
	}
	n, ok := elements(h.shape)
	if !ok || h.size > 0 && n > math.MaxInt/h.size {
		return bad("shape %v is too large", h.shape)
	}
	// A string costs its header in memory even when it holds no bytes.
	if int64(n)*int64(max(h.size, 1)) > limit || (h.kind == 'U' || h.kind == 'S') && n > maxString {
		return Array{}, &LimitError{name, limit}
	}
	raw, err := readBytes(r, n*h.size)
	if err != nil {
		return bad("%v", err)
	}
	data, err := decode(h, n, raw)
	if err != nil {
		return bad("%v", err)
	}
	return Array{Shape: h.shape, Data: data}, nil
}

func readHeader(r io.Reader) (string, error) {
	var pre [12]byte
	if _, err := io.ReadFull(r, pre[:8]); err != nil {
		return "", errors.New("not an .npy file: too short")
	}
	if string(pre[:6]) != magic {
		return "", errors.New("not an .npy file: wrong magic")
	}
	var size int
	switch major := pre[6]; major {
	case 1:
		if _, err := io.ReadFull(r, pre[8:10]); err != nil {
			return "", errors.New("truncated header")
		}
		size = int(binary.LittleEndian.Uint16(pre[8:]))
	case 2, 3:
		if _, err := io.ReadFull(r, pre[8:12]); err != nil {
			return "", errors.New("truncated header")
		}
		n := binary.LittleEndian.Uint32(pre[8:])
		if n > maxHeader {
			return "", fmt.Errorf("header of %d bytes is too long", n)
		}
		size = int(n)
	default:
		return "", fmt.Errorf("format version %d.%d is not known", major, pre[7])
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(r, text); err != nil {
		return "", errors.New("truncated header")
	}
	return string(text), nil
}

// readBytes reads exactly n bytes, allocating no more than twice what arrives.
func readBytes(r io.Reader, n int) ([]byte, error) {
	buf := make([]byte, 0, min(n, 1<<20))
	for len(buf) < n {
		if len(buf) == cap(buf) {
			grown := make([]byte, len(buf), min(n, 2*cap(buf)))
			copy(grown, buf)
			buf = grown
		}
		k, err := io.ReadFull(r, buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+k]
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil, fmt.Errorf("truncated: %d of %d data bytes", len(buf), n)
		}
		if err != nil {
			return nil, err
		}
	}
	return buf, nil
}

func decode(h header, n int, raw []byte) (any, error) {
	var order binary.ByteOrder = binary.LittleEndian
	if h.order == '>' {
		order = binary.BigEndian
	}
	at := func(i int) []byte { return raw[i*h.size : (i+1)*h.size] }
	switch h.kind {
	case 'U', 'S':
		out := make([]string, n)
		for i := range out {
			s, err := text(h.kind, at(i), order)
			if err != nil {
				return nil, err
			}
			out[i] = s
		}
		return cOrder(h, out), nil
	case 'b':
		return fill(h, n, func(i int) bool { return raw[i] != 0 }), nil
	}
	switch string(h.kind) + strconv.Itoa(h.size) {
	case "f2":
		return fill(h, n, func(i int) Float16 { return Float16(order.Uint16(raw[2*i:])) }), nil
	case "f4":
		return fill(h, n, func(i int) float32 { return math.Float32frombits(order.Uint32(raw[4*i:])) }), nil
	case "f8":
		return fill(h, n, func(i int) float64 { return math.Float64frombits(order.Uint64(raw[8*i:])) }), nil
	case "i1":
		return fill(h, n, func(i int) int8 { return int8(raw[i]) }), nil
	case "i2":
		return fill(h, n, func(i int) int16 { return int16(order.Uint16(raw[2*i:])) }), nil
	case "i4":
		return fill(h, n, func(i int) int32 { return int32(order.Uint32(raw[4*i:])) }), nil
	case "i8":
		return fill(h, n, func(i int) int64 { return int64(order.Uint64(raw[8*i:])) }), nil
	case "u1":
		return fill(h, n, func(i int) uint8 { return raw[i] }), nil
	case "u2":
		return fill(h, n, func(i int) uint16 { return order.Uint16(raw[2*i:]) }), nil
	case "u4":
		return fill(h, n, func(i int) uint32 { return order.Uint32(raw[4*i:]) }), nil
	}
	return fill(h, n, func(i int) uint64 { return order.Uint64(raw[8*i:]) }), nil
}

func fill[T any](h header, n int, at func(int) T) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = at(i)
	}
	return cOrder(h, out)
}

// cOrder turns Fortran order, where the first index runs fastest, into C order.
func cOrder[T any](h header, src []T) []T {
	if !h.fortran || len(h.shape) < 2 || len(src) < 2 {
		return src
	}
	stride := make([]int, len(h.shape))
	step := 1
	for k, d := range h.shape {
		stride[k] = step
		step *= d
	}
	out := make([]T, len(src))
	index := make([]int, len(h.shape))
	from := 0
	for i := range out {
		out[i] = src[from]
		for k := len(index) - 1; k >= 0; k-- {
			index[k]++
			from += stride[k]
			if index[k] < h.shape[k] {
				break
			}
			from -= index[k] * stride[k]
			index[k] = 0
		}
	}
	return out
}

// text decodes one string element: code points of four bytes, or bytes; both padded with zeros at the end.
func text(kind byte, raw []byte, order binary.ByteOrder) (string, error) {
	if kind == 'S' {
		return strings.TrimRight(string(raw), "\x00"), nil
	}
	var b strings.Builder
	for i := 0; i < len(raw); i += 4 {
		c := order.Uint32(raw[i:])
		if c > utf8.MaxRune || !utf8.ValidRune(rune(c)) {
			return "", fmt.Errorf("%#x is not a character", c)
		}
		b.WriteRune(rune(c))
	}
	return strings.TrimRight(b.String(), "\x00"), nil
}

// Write writes a as an .npy file, little-endian and in C order.
func Write(w io.Writer, a Array) error {
	n, ok := elements(a.Shape)
	if have := a.Len(); !ok || have != n {
		return fmt.Errorf("npy: %T of %d elements does not fill shape %v", a.Data, have, a.Shape)
	}
	descr, width := describe(a.Data)
	if err := writeHeader(w, descr, a.Shape); err != nil {
		return err
	}
	bw := bufio.NewWriterSize(w, 1<<16)
	if s, ok := a.Data.([]string); ok {
		writeStrings(bw, s, width)
	} else if err := binary.Write(bw, binary.LittleEndian, a.Data); err != nil {
		return err
	}
	return bw.Flush()
}

func describe(data any) (descr string, width int) {
	switch d := data.(type) {
	case []float32:
		return "<f4", 0
	case []float64:
		return "<f8", 0
	case []Float16:
		return "<f2", 0
	case []int8:
		return "|i1", 0
	case []int16:
		return "<i2", 0
	case []int32:
		return "<i4", 0
	case []int64:
		return "<i8", 0
	case []uint8:
		return "|u1", 0
	case []uint16:
		return "<u2", 0
	case []uint32:
		return "<u4", 0
	case []uint64:
		return "<u8", 0
	case []bool:
		return "|b1", 0
	case []string:
		width = 1
		for _, s := range d {
			width = max(width, utf8.RuneCountInString(s))
		}
		return "<U" + strconv.Itoa(width), width
	}
	return "", 0
}

func writeStrings(w *bufio.Writer, s []string, width int) {
	var c [4]byte
	for _, v := range s {
		n := 0
		for _, r := range v {
			binary.LittleEndian.PutUint32(c[:], uint32(r))
			w.Write(c[:]) // a bufio.Writer keeps its error for Flush
			n++
		}
		for ; n < width; n++ {
			w.Write([]byte{0, 0, 0, 0})
		}
	}
}

func writeHeader(w io.Writer, descr string, shape []int) error {
	dims := make([]string, len(shape))
	for i, d := range shape {
		dims[i] = strconv.Itoa(d)
	}
	tuple := strings.Join(dims, ", ")
	if len(shape) == 1 {
		tuple += ","
	}
	text := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, tuple)
	pad := 63 - (10+len(text))%64 // data starts at a multiple of 64, so that it can be mapped
	text += strings.Repeat(" ", pad) + "\n"
	if len(text) > math.MaxUint16 {
		return fmt.Errorf("npy: %d dimensions are too many", len(shape))
	}
	head := append([]byte(magic), 1, 0)
	head = binary.LittleEndian.AppendUint16(head, uint16(len(text)))
	_, err := w.Write(append(head, text...))
	return err
}
