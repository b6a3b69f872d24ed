package main

import (
	"bytes"
	"errors"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"sampleonnx/cmd/sampleonnx/internal/npy"
)

func TestWriteWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "x.txt")
	write := func(text string, err error) error {
		return writeWhole(name, nil, func(w io.Writer) error {
			io.WriteString(w, text)
			return err
		})
	}
	if err := write("old", nil); err != nil {
		t.Fatal(err)
	}
	full := errors.New("disk full")
	if err := write("new", full); !errors.Is(err, full) || !strings.Contains(err.Error(), "x.txt") {
		t.Errorf("%v", err)
	}
	if b, _ := os.ReadFile(name); string(b) != "old" {
		t.Errorf("the old file is now %q", b)
	}
	if got := files(t, dir); len(got) != 1 {
		t.Errorf("left behind: %v", got)
	}
	if err := write("new", nil); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(name); string(b) != "new" {
		t.Errorf("%q", b)
	}
}

func TestWriteThroughALink(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links need a privilege there")
	}
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := os.WriteFile(target, []byte("old"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if err := writeWhole(link, nil, func(w io.Writer) error { _, err := io.WriteString(w, "new"); return err }); err != nil {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(target)
	st, err := os.Lstat(link)
	if string(b) != "new" || err != nil || st.Mode()&os.ModeSymlink == 0 {
		t.Errorf("%q %v %v", b, st.Mode(), err)
	}
	if st, _ := os.Stat(target); st.Mode().Perm() != 0o640 {
		t.Errorf("permissions became %v", st.Mode())
	}
	if err := writeWhole(os.DevNull, nil, func(w io.Writer) error { _, err := io.WriteString(w, "gone"); return err }); err != nil {
		t.Error(err)
	}
	if st, err := os.Stat(os.DevNull); err != nil || st.Mode().IsRegular() {
		t.Error("the null device was replaced")
	}
}

func TestFormats(t *testing.T) {
	d := drawn{x: []float32{0.5, -1, 2, 3.25}, n: 2, shape: []int{2}, meta: `{"seed":1}`}
	var b bytes.Buffer
	if err := encode(&b, ".csv", d); err != nil || b.String() != "x0,x1\n0.5,-1\n2,3.25\n" {
		t.Errorf("csv: %q %v", b.String(), err)
	}
	b.Reset()
	if err := encode(&b, ".npz", d); err != nil {
		t.Fatal(err)
	}
	file, err := npy.ReadZip(t.Context(), "x", bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	if meta, err := file["meta"].Text(); err != nil || meta != d.meta || file["x"].Shape[0] != 2 {
		t.Errorf("npz: %v %v", file, err)
	}
	for _, d := range []drawn{d, {x: make([]float32, 3*4*4), n: 3, shape: []int{1, 4, 4}}, {x: []float32{1, 2, 3}, n: 1, shape: []int{3, 1, 1}, view: display{alpha: 0.1}}} {
		b.Reset()
		if err := encode(&b, ".png", d); err != nil {
			t.Fatal(err)
		}
		if _, err := png.Decode(&b); err != nil {
			t.Error(err)
		}
	}
	if _, err := outputFormat("X.PNG", []int{3, 8, 8}, nil); err != nil {
		t.Error(err)
	}
}
