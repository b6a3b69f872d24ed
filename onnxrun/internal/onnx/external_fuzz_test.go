package onnx

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// recording is a file system that notes the names that are asked for.
type recording struct {
	fs.FS
	names *[]string
}

func (r recording) Open(name string) (fs.File, error) {
	*r.names = append(*r.names, name)
	return r.FS.Open(name)
}

// FuzzExternal points a tensor anywhere: what is read lies in the model's folder,
// and is the bytes at that offset or an error.
func FuzzExternal(f *testing.F) {
	for _, c := range [][4]string{
		{"w.bin", "4", "8", ""}, {"w.bin", "", "", "00"}, {"sub/../w.bin", "0", "8", ""}, {"../secret.bin", "0", "8", ""},
		{"/etc/passwd", "0", "8", ""}, {"out", "0", "8", ""}, {"sub/out/secret.bin", "0", "8", ""}, {"loop", "0", "8", ""},
		{"w.bin", "18446744073709551615", "8", ""}, {"w.bin", "9223372036854775807", "9223372036854775807", ""},
		{"w.bin\x00", "-1", "x", ""}, {"", "", "", ""}, {".", "", "", ""}, {`..\secret.bin`, "", "", ""}, {"m.onnx", "1", "8", ""},
	} {
		f.Add(c[0], c[1], c[2], c[3])
	}
	outside := f.TempDir()
	dir := filepath.Join(outside, "model")
	secret := floatBytes(666, 666, 666, 666, 666, 666)
	for name, content := range map[string][]byte{"w.bin": stored, "sub/v.bin": floatBytes(7, 8), "../secret.bin": secret} {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			f.Fatal(err)
		}
		if err := os.WriteFile(file, content, 0o666); err != nil {
			f.Fatal(err)
		}
	}
	// Where there are no symbolic links there is nothing to follow.
	_ = os.Symlink(filepath.Join(outside, "secret.bin"), filepath.Join(dir, "out"))
	_ = os.Symlink("../..", filepath.Join(dir, "sub", "out"))
	_ = os.Symlink("loop", filepath.Join(dir, "loop"))

	f.Fuzz(func(t *testing.T, location, offset, length, checksum string) {
		data := externalModel("location", location, "offset", offset, "length", length, "checksum", checksum)
		file := filepath.Join(dir, "m.onnx")
		if err := os.WriteFile(file, data, 0o666); err != nil {
			t.Fatal(err)
		}
		m, err := Open(t.Context(), file, Limits{})
		var asked []string
		loaded, loadErr := Load(t.Context(), recording{os.DirFS(dir), &asked}, "m.onnx", Limits{})
		for _, name := range asked {
			if !fs.ValidPath(name) {
				t.Errorf("asked for %q", name)
			}
		}
		for _, r := range []struct {
			m   *Model
			err error
		}{{m, err}, {loaded, loadErr}} {
			if r.err != nil {
				_, isFormat := errors.AsType[*FormatError](r.err)
				_, isLimit := errors.AsType[*LimitError](r.err)
				if !isFormat && !isLimit {
					t.Errorf("error %T: %v", r.err, r.err)
				}
				continue
			}
			got := make([]float32, 2)
			if err := weightOf(t, r.m.Graph, "w").Float32s(got); err != nil {
				t.Error(err)
			}
			// os.DirFS follows links by design: there the folder is not the bound.
			if r.m == m && slices.Contains(got, 666) {
				t.Errorf("read what lies outside the folder: %q", location)
			}
			if err := r.m.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}
