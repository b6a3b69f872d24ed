package onnx

import (
	"crypto/sha1"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// stored is the content of an external file: 4 bytes of something else, then
// the elements 1 to 4.
var stored = append([]byte("----"), floatBytes(1, 2, 3, 4)...)

// externalModel is a model whose only weight, [2]float32, lies elsewhere.
func externalModel(kv ...string) []byte {
	return model(graphOf(initializer(tensor("w", Float, []int64{2}, external(kv...))), output("w")))
}

func TestExternalData(t *testing.T) {
	sum := sha1.Sum(stored)
	for _, c := range []struct {
		name string
		kv   []string
		want []float32 // nil: an error
		part string
	}{
		{"all keys", []string{"location", "w.bin", "offset", "8", "length", "8", "checksum", strings.ToUpper(hex.EncodeToString(sum[:]))}, []float32{2, 3}, ""},
		{"no length", []string{"location", "w.bin", "offset", "4"}, []float32{1, 2}, ""},
		{"to the end", []string{"location", "./sub/../w.bin", "offset", "12", "length", "8"}, []float32{3, 4}, ""},
		{"unknown key", []string{"location", "sub/v.bin", "basepath", "/etc"}, []float32{7, 8}, ""},
		{"past the end", []string{"location", "w.bin", "offset", "16"}, nil, "20 bytes, want 8 at offset 16"},
		{"offset past the end", []string{"location", "w.bin", "offset", "21"}, nil, "at offset 21"},
		{"wrap-around", []string{"location", "w.bin", "offset", "9223372036854775807", "length", "8"}, nil, "at offset 9223372036854775807"},
		{"offset over 64 bits", []string{"location", "w.bin", "offset", "18446744073709551616"}, nil, "offset"},
		{"negative offset", []string{"location", "w.bin", "offset", "-4"}, nil, "offset"},
		{"length of another tensor", []string{"location", "w.bin", "length", "4"}, nil, "4 bytes, want 8"},
		{"signed offset", []string{"location", "w.bin", "offset", "+4"}, nil, "offset"},
		{"a file as a folder", []string{"location", "w.bin/"}, nil, "relative path"},
		{"length not a number", []string{"location", "w.bin", "length", "many"}, nil, "length"},
		{"wrong checksum", []string{"location", "w.bin", "checksum", "00"}, nil, "SHA-1"},
		{"missing", []string{"location", "absent.bin"}, nil, `"absent.bin" is missing`},
		{"no location", nil, nil, "relative path"},
		{"absolute", []string{"location", "/etc/hostname"}, nil, "relative path"},
		{"up", []string{"location", "../w.bin"}, nil, "relative path"},
		{"up through a folder", []string{"location", "sub/../../w.bin"}, nil, "relative path"},
		{"folder", []string{"location", "sub"}, nil, "directory"},
		{"the model's own folder", []string{"location", "."}, nil, "directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := externalModel(c.kv...)
			files := map[string][]byte{"m/model.onnx": data, "m/w.bin": stored, "m/sub/v.bin": floatBytes(7, 8), "w.bin": stored}
			dir := t.TempDir()
			mapFS := fstest.MapFS{}
			for name, content := range files {
				mapFS[name] = &fstest.MapFile{Data: content}
				write(t, filepath.Join(dir, filepath.FromSlash(name)), content)
			}
			opened, err := Open(t.Context(), filepath.Join(dir, "m", "model.onnx"), Limits{})
			loaded, loadErr := Load(t.Context(), mapFS, "m/model.onnx", Limits{})
			if c.want == nil {
				wantErr[*FormatError](t, err, c.part, "model.onnx", `initializer "w"`)
				wantErr[*FormatError](t, loadErr, c.part, "m/model.onnx", `initializer "w"`)
				return
			}
			if err != nil || loadErr != nil {
				t.Fatal(err, loadErr)
			}
			defer opened.Close()
			for _, m := range []*Model{opened, loaded} {
				got := make([]float32, 2)
				if err := weightOf(t, m.Graph, "w").Float32s(got); err != nil || !slices.Equal(got, c.want) {
					t.Errorf("got %v, %v, want %v", got, err, c.want)
				}
			}
		})
	}
	t.Run("without a place", func(t *testing.T) {
		parseErr[*FormatError](t, externalModel("location", "w.bin"), "w.bin", "no folder")
	})
	t.Run("limits", func(t *testing.T) {
		files := fstest.MapFS{
			"a.onnx": {Data: model(graphOf(
				initializer(tensor("w", Float, []int64{2}, external("location", "w.bin"))),
				initializer(tensor("v", Float, []int64{2}, external("location", "v.bin"))), output("w")))},
			"w.bin": {Data: make([]byte, 1000)},
			"v.bin": {Data: make([]byte, 1000)},
		}
		_, err := Load(t.Context(), files, "a.onnx", Limits{Files: 1})
		wantErr[*LimitError](t, err, "external data files", "a.onnx")
		_, err = Load(t.Context(), files, "a.onnx", Limits{FileBytes: 500})
		wantErr[*LimitError](t, err, "w.bin", "Limits.FileBytes")
		_, err = Load(t.Context(), files, "a.onnx", Limits{Memory: 1500}) // both files are held in memory
		wantErr[*LimitError](t, err, "v.bin", "Limits.Memory")
	})
}

func write(t *testing.T, file string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, content, 0o666); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, target, file string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, file); err != nil {
		if runtime.GOOS == "windows" {
			t.Skip("no symbolic links: ", err)
		}
		t.Fatal(err)
	}
}

func TestSymbolicLinks(t *testing.T) {
	data := externalModel("location", "w.bin", "offset", "4")
	open := func(t *testing.T, file string) error {
		m, err := Open(t.Context(), file, Limits{})
		if err != nil {
			return err
		}
		got := make([]float32, 2)
		if err := weightOf(t, m.Graph, "w").Float32s(got); err != nil || !slices.Equal(got, []float32{1, 2}) {
			t.Errorf("got %v, %v", got, err)
		}
		return m.Close()
	}
	t.Run("Hugging Face cache", func(t *testing.T) {
		for _, sub := range []string{"", "onnx"} {
			repo := filepath.Join(t.TempDir(), "models--org--name")
			snapshot := filepath.Join(repo, "snapshots", "0123abc", sub)
			up, err := filepath.Rel(snapshot, filepath.Join(repo, "blobs"))
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(repo, "blobs", "m"), data)
			write(t, filepath.Join(repo, "blobs", "w"), stored)
			link(t, filepath.Join(up, "m"), filepath.Join(snapshot, "model.onnx"))
			link(t, filepath.Join(up, "w"), filepath.Join(snapshot, "w.bin"))
			if err := open(t, filepath.Join(snapshot, "model.onnx")); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("Hugging Face cache, otherwise linked", func(t *testing.T) {
		dir := t.TempDir()
		repo := filepath.Join(dir, "models--org--name")
		snapshot := filepath.Join(repo, "snapshots", "0123abc")
		write(t, filepath.Join(repo, "blobs", "m"), data)
		write(t, filepath.Join(repo, "blobs", "w"), stored)
		link(t, filepath.Join(repo, "blobs", "m"), filepath.Join(snapshot, "model.onnx")) // by absolute paths
		link(t, filepath.Join(repo, "blobs", "w"), filepath.Join(snapshot, "w.bin"))
		link(t, snapshot, filepath.Join(dir, "current")) // and the snapshot from elsewhere
		link(t, repo, filepath.Join(dir, "name"))
		for _, file := range []string{filepath.Join(snapshot, "model.onnx"), filepath.Join(dir, "current", "model.onnx"),
			filepath.Join(dir, "name", "snapshots", "0123abc", "model.onnx")} {
			if err := open(t, file); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("to what is in the cache's repository, but no blob", func(t *testing.T) {
		for _, c := range []struct{ at, target string }{
			{"snapshots/0123abc", "refs/main"},
			{"snapshots/0123abc/onnx/deep", "secret"},
			{"snapshots/0123abc", "snapshots/other/w"},
			{"snapshots/0123abc", "blobs/out"},
		} {
			repo := t.TempDir()
			write(t, filepath.Join(repo, "blobs", "m"), data)
			for _, name := range []string{"refs/main", "secret", "snapshots/other/w"} {
				write(t, filepath.Join(repo, name), stored)
			}
			link(t, filepath.Join("..", "refs", "main"), filepath.Join(repo, "blobs", "out"))
			write(t, filepath.Join(repo, c.at, "model.onnx"), data)
			to, err := filepath.Rel(filepath.Join(repo, c.at), filepath.Join(repo, c.target))
			if err != nil {
				t.Fatal(err)
			}
			link(t, to, filepath.Join(repo, c.at, "w.bin"))
			wantErr[*FormatError](t, open(t, filepath.Join(repo, c.at, "model.onnx")), "w.bin", "escapes")
		}
	})
	t.Run("a folder of blobs that is a link itself", func(t *testing.T) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "secrets", "w"), stored)
		write(t, filepath.Join(dir, "repo", "snapshots", "0123abc", "model.onnx"), data)
		link(t, filepath.Join("..", "secrets"), filepath.Join(dir, "repo", "blobs"))
		link(t, filepath.Join("..", "..", "blobs", "w"), filepath.Join(dir, "repo", "snapshots", "0123abc", "w.bin"))
		wantErr[*FormatError](t, open(t, filepath.Join(dir, "repo", "snapshots", "0123abc", "model.onnx")), "w.bin", "escapes")
	})
	t.Run("inside the folder", func(t *testing.T) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "model.onnx"), data)
		write(t, filepath.Join(dir, "data", "real"), stored)
		link(t, filepath.Join("data", "real"), filepath.Join(dir, "w.bin"))
		if err := open(t, filepath.Join(dir, "model.onnx")); err != nil {
			t.Error(err)
		}
	})
	t.Run("out of the folder", func(t *testing.T) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "secret"), stored)
		write(t, filepath.Join(dir, "m", "model.onnx"), data)
		link(t, filepath.Join("..", "secret"), filepath.Join(dir, "m", "w.bin"))
		wantErr[*FormatError](t, open(t, filepath.Join(dir, "m", "model.onnx")), "w.bin", "escapes")
	})
	t.Run("out of the cache's repository", func(t *testing.T) {
		dir := t.TempDir()
		snapshot := filepath.Join(dir, "repo", "snapshots", "0123abc")
		write(t, filepath.Join(dir, "secret"), stored)
		write(t, filepath.Join(dir, "repo", "blobs", "m"), data)
		write(t, filepath.Join(snapshot, "model.onnx"), data)
		link(t, filepath.Join("..", "..", "..", "secret"), filepath.Join(snapshot, "w.bin"))
		wantErr[*FormatError](t, open(t, filepath.Join(snapshot, "model.onnx")), "w.bin", "escapes")
	})
}
