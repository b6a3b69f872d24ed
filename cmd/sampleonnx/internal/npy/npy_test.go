package npy

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"sampleonnx/cmd/sampleonnx/internal/bounded"
)

// The files in testdata were written by numpy: arange(24).reshape(2,3,4) in every element type, byte order and memory order.
func TestReadWhatNumpyWrote(t *testing.T) {
	want := make([]float64, 24)
	for i := range want {
		want[i] = float64(i)
	}
	for _, file := range []string{"stored.npz", "deflated.npz"} {
		members, err := ReadZipFile(t.Context(), filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		if len(members) != 47 {
			t.Errorf("%s: %d members, want 47", file, len(members))
		}
		for name, a := range members {
			switch name {
			case "bool", "scalar", "empty", "text", "words", "words_be", "bytes":
				continue
			}
			got, err := a.Float64s()
			if err != nil || !reflect.DeepEqual(got, want) || !reflect.DeepEqual(a.Shape, []int{2, 3, 4}) {
				t.Errorf("%s: %s: %v %v %v", file, name, a.Shape, got, err)
			}
		}
		if b, ok := members["bool"].Data.([]bool); !ok || b[0] || !b[1] || len(b) != 24 {
			t.Errorf("bool: %v", members["bool"])
		}
		if s := members["scalar"]; len(s.Shape) != 0 || !reflect.DeepEqual(s.Data, []float64{2.5}) {
			t.Errorf("scalar: %v", s)
		}
		if e := members["empty"]; !reflect.DeepEqual(e.Shape, []int{0, 3}) || e.Len() != 0 {
			t.Errorf("empty: %v", e)
		}
		if s, err := members["text"].Text(); err != nil || s != `{"σ": 1, "名": "x"}` {
			t.Errorf("text: %q %v", s, err)
		}
		for _, name := range []string{"words", "words_be"} {
			if w := members[name].Data; !reflect.DeepEqual(w, []string{"a", "βγδ", ""}) {
				t.Errorf("%s: %q", name, w)
			}
		}
		if w := members["bytes"].Data; !reflect.DeepEqual(w, []string{"ab", "c"}) {
			t.Errorf("bytes: %q", w)
		}
	}
	for _, file := range []string{"v1.npy", "v2.npy", "v3.npy"} {
		a, err := ReadFile(t.Context(), filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := a.Float64s(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v", file, got)
		}
	}
}

func TestRefusals(t *testing.T) {
	good, err := os.ReadFile("testdata/v1.npy")
	if err != nil {
		t.Fatal(err)
	}
	with := func(head string) []byte {
		b := append([]byte(magic), 1, 0)
		b = binary.LittleEndian.AppendUint16(b, uint16(len(head)))
		return append(b, head...)
	}
	cases := []struct {
		name, want string
		data       []byte
	}{
		{"empty", "too short", nil},
		{"magic", "wrong magic", []byte("PK\x03\x04 not an array")},
		{"version", "version 9", append([]byte(magic), 9, 0, 0, 0)},
		{"cut header", "truncated header", good[:40]},
		{"cut data", "truncated: 92 of 96", good[:len(good)-4]},
		{"huge header", "too long", append([]byte(magic), 2, 0, 255, 255, 255, 255)},
		{"petabyte", "file.npy: ", with("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 250000000), }")},
		{"overflow", "too large", with("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }")},
		{"claims", "truncated: 0 of", with("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 500), }")},
		{"scalar", "truncated: 0 of 4", with("{'descr': '<f4', 'fortran_order': True, 'shape': (), }")},
		{"bytes after", "bytes follow", append(bytes.Clone(good), 0)},
		{"string of many", "truncated: 0 of", with("{'descr': '<U16777216', 'fortran_order': False, 'shape': (30,), }")},
		{"string too long", "element type", with("{'descr': '|S9223372036854775807', 'fortran_order': False, 'shape': (1,), }")},
		{"negative", "dimension", with("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }")},
		{"key", "unknown header key", with("{'evil': '<f4'}")},
		{"missing", `no "shape"`, with("{'descr': '<f4', 'fortran_order': False}")},
		{"object", "unknown element type", with("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}")},
		{"rank", "more than 32", with("{'descr': '<f4', 'fortran_order': False, 'shape': (" + strings.Repeat("1,", 40) + ")}")},
		{"rune", "not a character", append(with("{'descr': '<U1', 'fortran_order': False, 'shape': ()}"), 255, 255, 255, 255)},
	}
	for _, c := range cases {
		_, err := Read(t.Context(), "file.npy", bytes.NewReader(c.data), int64(len(c.data)))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "file.npy: ") {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		var format *FormatError
		var limit *LimitError
		if !errors.As(err, &format) && !errors.As(err, &limit) {
			t.Errorf("%s: untyped error %T", c.name, err)
		}
	}
	for file, want := range map[string]string{"struct.npy": "structured", "complex.npy": "not supported", "none.npy": "no such file"} {
		if _, err := ReadFile(t.Context(), filepath.Join("testdata", file)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", file, err)
		}
	}
	if _, err := ReadZipFile(t.Context(), "testdata/v1.npy"); err == nil || !strings.Contains(err.Error(), "not an .npz file") {
		t.Errorf("npy as npz: %v", err)
	}
}

func TestZipDamage(t *testing.T) {
	whole, err := os.ReadFile("testdata/deflated.npz")
	if err != nil {
		t.Fatal(err)
	}
	for i := 30; i < len(whole); i += 97 { // flip bytes all over: an error or the very same arrays, never a panic
		b := bytes.Clone(whole)
		b[i] ^= 0x55
		ReadZip(t.Context(), "damaged.npz", bytes.NewReader(b), int64(len(b)))
	}
	var buf bytes.Buffer
	if err := WriteZip(&buf, []Named{{"x", Array{[]int{2}, []float32{1, 2}}}}); err != nil {
		t.Fatal(err)
	}
	b := buf.Bytes()
	b[bytes.Index(b, []byte{0, 0, 0x80, 0x3f})] ^= 1 // a bit of the stored data
	if _, err := ReadZip(t.Context(), "sum.npz", bytes.NewReader(b), int64(len(b))); err == nil || !strings.Contains(err.Error(), "sum.npz:x") {
		t.Errorf("damaged data: %v", err)
	}
}

// A compressed archive of a megabyte can hold a gigabyte: what is not wanted in memory is refused before there is memory for it, and what is
// wanted is in memory once.
func TestHeld(t *testing.T) {
	member := func(shape []int) Named { return Named{"x", Array{shape, make([]float32, 1<<20)}} }
	var stored, deflated bytes.Buffer
	if err := WriteZip(&stored, []Named{member([]int{1 << 20})}); err != nil {
		t.Fatal(err)
	}
	deflate(t, &deflated, stored.Bytes(), func(*zip.FileHeader) {})
	read := func(ctx context.Context, b []byte) error {
		_, err := ReadZip(ctx, "bomb.npz", bytes.NewReader(b), int64(len(b)))
		return err
	}
	for _, b := range [][]byte{stored.Bytes(), deflated.Bytes()} {
		if err := read(bounded.With(t.Context(), 8<<20), b); err != nil {
			t.Error(err)
		}
		ctx := bounded.With(t.Context(), 8<<20-1)
		limit, ok := errors.AsType[*LimitError](read(ctx, b))
		if !ok || limit.What != "bomb.npz:x" || limit.Got != 8<<20 || limit.Max != 8<<20-1 {
			t.Errorf("%+v", limit)
		}
		// The members of one archive, and the files of one run, are counted together.
		two := bounded.With(t.Context(), 12<<20)
		if err := errors.Join(read(two, b), read(t.Context(), b)); err != nil {
			t.Error(err)
		}
		if err := read(two, b); err == nil {
			t.Error("a second file of 8 MiB within 12 MiB")
		}
	}
	var m0, m1 runtime.MemStats
	runtime.ReadMemStats(&m0)
	if err := read(t.Context(), deflated.Bytes()); err != nil {
		t.Fatal(err)
	}
	if runtime.ReadMemStats(&m1); m1.TotalAlloc-m0.TotalAlloc > 5<<20 {
		t.Errorf("%d bytes allocated for an array of %d", m1.TotalAlloc-m0.TotalAlloc, 4<<20)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	file := filepath.Join(t.TempDir(), "x.npz")
	if err := os.WriteFile(file, stored.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadZipFile(ctx, file); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// deflate writes an archive again, its members compressed and with what lie says of them in the directory.
func deflate(t *testing.T, to *bytes.Buffer, stored []byte, lie func(*zip.FileHeader)) {
	t.Helper()
	from, err := zip.NewReader(bytes.NewReader(stored), int64(len(stored)))
	if err != nil {
		t.Fatal(err)
	}
	w := zip.NewWriter(to)
	for _, f := range from.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		var body bytes.Buffer
		c, err := flate.NewWriter(&body, flate.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		c.Write(data)
		c.Close()
		h := &zip.FileHeader{Name: f.Name, Method: zip.Deflate, CRC32: f.CRC32, CompressedSize64: uint64(body.Len()), UncompressedSize64: uint64(len(data))}
		lie(h)
		out, err := w.CreateRaw(h)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(body.Bytes())
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// What a directory says of its members is not believed.
func TestLyingZip(t *testing.T) {
	var stored bytes.Buffer
	if err := WriteZip(&stored, []Named{{"x", Array{[]int{1000}, make([]float32, 1000)}}}); err != nil {
		t.Fatal(err)
	}
	for want, lie := range map[string]func(*zip.FileHeader){
		"not a valid zip file":     func(h *zip.FileHeader) { h.UncompressedSize64-- },
		"too short":                func(h *zip.FileHeader) { h.UncompressedSize64++ },
		"cannot be":                func(h *zip.FileHeader) { h.UncompressedSize64 = 1 << 40 },
		"checksum error":           func(h *zip.FileHeader) { h.CRC32++ },
		"truncated header":         func(h *zip.FileHeader) { h.CompressedSize64 = 10 },
		"unsupported compression":  func(h *zip.FileHeader) { h.Method = 99 },
		"is not an .npy file":      func(h *zip.FileHeader) { h.Name = "../../etc/passwd" },
		"bytes cannot be 1 compre": func(h *zip.FileHeader) { h.UncompressedSize64, h.CompressedSize64 = math.MaxUint64, 1 },
	} {
		var b bytes.Buffer
		deflate(t, &b, stored.Bytes(), lie)
		_, err := ReadZip(t.Context(), "f.npz", bytes.NewReader(b.Bytes()), int64(b.Len()))
		if _, ok := errors.AsType[*FormatError](err); !ok || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	// A list of very many members is as large in memory as the archive, many times over.
	var many bytes.Buffer
	w := zip.NewWriter(&many)
	for i := range 10_000 {
		if _, err := w.Create(fmt.Sprintf("%0500d.npy", i)); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	if _, err := ReadZip(t.Context(), "many.npz", bytes.NewReader(many.Bytes()), int64(many.Len())); err == nil || !strings.Contains(err.Error(), "its directory has more than") {
		t.Error(err)
	}
}

func TestRoundTrip(t *testing.T) {
	inf := float32(math.Inf(1))
	arrays := []Named{
		{"f4", Array{[]int{2, 2}, []float32{0, -1.5, inf, 3e-39}}},
		{"f8", Array{[]int{3}, []float64{1e300, -0.0, 5e-324}}},
		{"f2", Array{[]int{2}, []Float16{0x3c00, 0x7bff}}},
		{"i1", Array{[]int{1}, []int8{-128}}},
		{"i2", Array{[]int{1}, []int16{-32768}}},
		{"i4", Array{[]int{1}, []int32{math.MinInt32}}},
		{"i8", Array{[]int{}, []int64{math.MinInt64}}},
		{"u1", Array{[]int{1}, []uint8{255}}},
		{"u2", Array{[]int{1}, []uint16{65535}}},
		{"u4", Array{[]int{1}, []uint32{math.MaxUint32}}},
		{"u8", Array{[]int{1, 1}, []uint64{math.MaxUint64}}},
		{"b", Array{[]int{2}, []bool{true, false}}},
		{"s", Array{[]int{}, []string{"σ and 𝄞"}}},
		{"none", Array{[]int{0, 4}, []float32{}}},
	}
	var buf bytes.Buffer
	if err := WriteZip(&buf, arrays); err != nil {
		t.Fatal(err)
	}
	back, err := ReadZip(t.Context(), "x.npz", bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range arrays {
		if !reflect.DeepEqual(back[a.Name], a.Array) {
			t.Errorf("%s: %v, want %v", a.Name, back[a.Name], a.Array)
		}
	}
	if err := Write(&buf, Array{[]int{3}, []float32{1}}); err == nil {
		t.Error("short data accepted")
	}
	if err := Write(&buf, Array{[]int{1}, []complex64{1}}); err == nil {
		t.Error("complex accepted")
	}
	if err := WriteZip(&buf, []Named{arrays[0], arrays[0]}); err == nil {
		t.Error("same name twice accepted")
	}
}

func TestHalf(t *testing.T) {
	for i := range 1 << 16 {
		h := Float16(i)
		f := h.Float32()
		if f != f {
			if b := ToFloat16(f); b&0x7c00 != 0x7c00 || b&0x3ff == 0 {
				t.Fatalf("%#x: NaN became %#x", i, b)
			}
			continue
		}
		if b := ToFloat16(f); b != h {
			t.Fatalf("%#x: %g became %#x", i, f, b)
		}
	}
	for f, want := range map[float32]Float16{65519: 0x7bff, 65520: 0x7c00, 1 + 1.0/2048: 0x3c00, 1 + 3.0/2048: 0x3c02, 1e-9: 0, -65536: 0xfc00, 1.0 / (1 << 25): 0, 1.5 / (1 << 25): 1} {
		if got := ToFloat16(f); got != want {
			t.Errorf("%g: %#x, want %#x", f, got, want)
		}
	}
}

func TestConversions(t *testing.T) {
	if _, err := (Array{[]int{1}, []float32{1}}).Int64s(); err == nil {
		t.Error("floats as integers")
	}
	if _, err := (Array{[]int{1}, []uint64{math.MaxUint64}}).Int64s(); err == nil {
		t.Error("overflow accepted")
	}
	if _, err := (Array{[]int{1}, []string{"1"}}).Float64s(); err == nil {
		t.Error("text as numbers")
	}
	if v, err := (Array{[]int{1}, []uint8{7}}).Int64s(); err != nil || v[0] != 7 {
		t.Error(v, err)
	}
}

func FuzzRead(f *testing.F) {
	for _, name := range []string{"v1.npy", "v2.npy", "v3.npy", "struct.npy"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	var buf bytes.Buffer
	WriteZip(&buf, []Named{{"x", Array{[]int{2}, []float32{1, 2}}}, {"meta", Array{[]int{}, []string{"{}"}}}})
	f.Add(buf.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := Read(t.Context(), "fuzz", bytes.NewReader(b), int64(len(b))); err == nil {
			if n, ok := elements(a.Shape); !ok || n != a.Len() {
				t.Fatalf("%v has %d elements", a.Shape, a.Len())
			}
			if err := Write(new(bytes.Buffer), a); err != nil {
				t.Fatal(err)
			}
		}
		ReadZip(t.Context(), "fuzz", bytes.NewReader(b), int64(len(b)))
	})
}
