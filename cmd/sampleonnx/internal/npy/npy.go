package npy

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"sampleonnx/cmd/sampleonnx/internal/bounded"
)

const (
	magic     = "\x93NUMPY"
	maxHeader = 1 << 20
	maxString = 1 << 24 // characters of one string element
)

// FormatError says that a file is not what its name promises.
type FormatError = bounded.FormatError

// LimitError says that a file holds more than may be held; see bounded.Take.
type LimitError = bounded.LimitError

// ReadFile reads one .npy file.
func ReadFile(ctx context.Context, name string) (Array, error) {
	f, err := bounded.Open(ctx, name)
	if err != nil {
		return Array{}, err
	}
	defer f.Close()
	return Read(ctx, name, f, f.Size)
}

// Read reads one array, all of the size bytes that r has; name is what errors call it.
func Read(ctx context.Context, name string, r io.Reader, size int64) (Array, error) {
	br := bufio.NewReaderSize(r, 1<<16)
	a, err := read(ctx, name, br, size)
	if err == nil { // the reader of an archive checks a member's sum at its end
		if _, err = br.ReadByte(); err == nil {
			err = errors.New("bytes follow the array")
		} else if err == io.EOF {
			err = nil
		}
	}
	switch {
	case err == nil:
		return a, nil
	case ctx.Err() != nil:
		return Array{}, fmt.Errorf("%s: %w", name, ctx.Err())
	}
	if limit, ok := errors.AsType[*LimitError](err); ok {
		return Array{}, limit
	}
	return Array{}, &FormatError{File: name, Reason: strings.TrimPrefix(err.Error(), "zip: ")}
}

func read(ctx context.Context, name string, r io.Reader, size int64) (Array, error) {
	text, err := readHeader(r)
	if err != nil {
		return Array{}, err
	}
	h, err := parseHeader(text[headerStart(text):])
	if err != nil {
		return Array{}, err
	}
	n, ok := elements(h.shape)
	if !ok || h.size > 0 && n > math.MaxInt/h.size {
		return Array{}, fmt.Errorf("shape %v is too large", h.shape)
	}
	switch have, want := size-int64(len(text)), int64(n*h.size); {
	case have < want:
		return Array{}, fmt.Errorf("truncated: %d of %d data bytes", have, want)
	case have > want:
		return Array{}, errors.New("bytes follow the array")
	}
	// Numbers may be wanted as float64; a string costs its header even when it holds no bytes.
	each := 8
	if h.kind == 'U' || h.kind == 'S' {
		each = 16 + 2*h.size
	}
	if err := bounded.Take(ctx, name, each, n); err != nil {
		return Array{}, err
	}
	data, err := decode(h, n, r)
	return Array{Shape: h.shape, Data: data}, err
}

// readHeader reads all that comes before the data.
func readHeader(r io.Reader) (string, error) {
	pre := make([]byte, 12)
	if err := readFull(r, pre[:8], "not an .npy file: too short"); err != nil {
		return "", err
	}
	if string(pre[:6]) != magic {
		return "", errors.New("not an .npy file: wrong magic")
	}
	if major := pre[6]; major < 1 || major > 3 {
		return "", fmt.Errorf("format version %d.%d is not known", major, pre[7])
	}
	pre = pre[:headerStart(string(pre))]
	if err := readFull(r, pre[8:], "truncated header"); err != nil {
		return "", err
	}
	size := int64(binary.LittleEndian.Uint16(pre[8:]))
	if len(pre) == 12 {
		size = int64(binary.LittleEndian.Uint32(pre[8:]))
	}
	if size > maxHeader {
		return "", fmt.Errorf("header of %d bytes is too long", size)
	}
	text := append(pre, make([]byte, size)...)
	if err := readFull(r, text[len(pre):], "truncated header"); err != nil {
		return "", err
	}
	return string(text), nil
}

// readFull fills p; an end that comes before is called short.
func readFull(r io.Reader, p []byte, short string) error {
	_, err := io.ReadFull(r, p)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errors.New(short)
	}
	return err
}

// headerStart is where the dictionary begins, behind its length: of two bytes in version 1, of four in later ones.
func headerStart(text string) int {
	if text[6] == 1 {
		return 10
	}
	return 12
}

func decode(h header, n int, r io.Reader) (any, error) {
	var order binary.ByteOrder = binary.LittleEndian
	if h.order == '>' {
		order = binary.BigEndian
	}
	switch string(h.kind) + strconv.Itoa(h.size) {
	case "f2":
		bits := make([]uint16, partBytes/2)
		return fill(h, n, r, func(dst []Float16, src []byte) error {
			err := numbersOf(order, bits[:len(dst)], src)
			for i := range dst {
				dst[i] = Float16(bits[i])
			}
			return err
		})
	case "f4":
		return fill(h, n, r, func(dst []float32, src []byte) error { return numbersOf(order, dst, src) })
	case "f8":
		return fill(h, n, r, func(dst []float64, src []byte) error { return numbersOf(order, dst, src) })
	case "i1":
		return fill(h, n, r, func(dst []int8, src []byte) error { return numbersOf(order, dst, src) })
	case "i2":
		return fill(h, n, r, func(dst []int16, src []byte) error { return numbersOf(order, dst, src) })
	case "i4":
		return fill(h, n, r, func(dst []int32, src []byte) error { return numbersOf(order, dst, src) })
	case "i8":
		return fill(h, n, r, func(dst []int64, src []byte) error { return numbersOf(order, dst, src) })
	case "u1":
		return fill(h, n, r, func(dst []uint8, src []byte) error { return numbersOf(order, dst, src) })
	case "u2":
		return fill(h, n, r, func(dst []uint16, src []byte) error { return numbersOf(order, dst, src) })
	case "u4":
		return fill(h, n, r, func(dst []uint32, src []byte) error { return numbersOf(order, dst, src) })
	case "u8":
		return fill(h, n, r, func(dst []uint64, src []byte) error { return numbersOf(order, dst, src) })
	case "b1":
		return fill(h, n, r, func(dst []bool, src []byte) error { return numbersOf(order, dst, src) })
	}
	return fill(h, n, r, func(dst []string, src []byte) (err error) {
		for i := range dst {
			if dst[i], err = text(h.kind, src[i*h.size:(i+1)*h.size], order); err != nil {
				return err
			}
		}
		return nil
	})
}

func numbersOf[T any](order binary.ByteOrder, dst []T, src []byte) error {
	_, err := binary.Decode(src, order, dst)
	return err
}

// partBytes is how many bytes of the data are read at a time, of elements that are no longer.
const partBytes = 1 << 16

// fill reads n elements, a part at a time, to where they belong in C order.
func fill[T any](h header, n int, r io.Reader, decode func(dst []T, src []byte) error) ([]T, error) {
	out := make([]T, n)
	most := max(1, partBytes/max(h.size, 1))
	part, next := make([]byte, min(n, most)*h.size), outOfOrder(h)
	var moved []T
	if next != nil {
		moved = make([]T, min(n, most))
	}
	for done := 0; done < n; {
		k := min(most, n-done)
		src := part[:k*h.size]
		if err := readFull(r, src, "truncated: the data end too early"); err != nil {
			return nil, err
		}
		dst := out[done : done+k]
		if next != nil {
			dst = moved[:k]
		}
		if err := decode(dst, src); err != nil {
			return nil, err
		}
		if next != nil {
			for _, v := range dst {
				out[next()] = v
			}
		}
		done += k
	}
	return out, nil
}

// outOfOrder counts the places in C order of elements in Fortran's, where the first index runs fastest; it is nil where the two are the same.
func outOfOrder(h header) func() int {
	if !h.fortran || len(h.shape) < 2 {
		return nil
	}
	stride, index := make([]int, len(h.shape)), make([]int, len(h.shape))
	for k, step := len(stride)-1, 1; k >= 0; k-- {
		stride[k] = step
		step *= h.shape[k]
	}
	at := 0
	return func() int {
		here := at
		for k := range index {
			index[k]++
			if at += stride[k]; index[k] < h.shape[k] {
				break
			}
			at -= index[k] * stride[k]
			index[k] = 0
		}
		return here
	}
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
