//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package onnx

import (
	"path/filepath"
	"syscall"
	"testing"
)

// TestNamedPipe: opening one would wait for a writer that never comes.
func TestNamedPipe(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"pipe.onnx", "w.bin"} {
		if err := syscall.Mkfifo(filepath.Join(dir, name), 0o666); err != nil {
			t.Skip(err)
		}
	}
	_, err := Open(t.Context(), filepath.Join(dir, "pipe.onnx"), Limits{})
	wantErr[*FormatError](t, err, "pipe.onnx", "not a regular file")
	write(t, filepath.Join(dir, "model.onnx"), externalModel("location", "w.bin"))
	_, err = Open(t.Context(), filepath.Join(dir, "model.onnx"), Limits{})
	wantErr[*FormatError](t, err, "w.bin", "not a regular file")
}
