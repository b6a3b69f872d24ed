//go:build unix

package bounded

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Nobody writes to the pipe: to open it is to wait for ever.
func TestPipe(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o666); err != nil {
		t.Skip(err)
	}
	for _, open := range []func() (*File, error){
		func() (*File, error) { return Open(t.Context(), name) },
		func() (*File, error) { return OpenBeside(t.Context(), name) },
	} {
		if _, err := open(); err == nil || !strings.Contains(err.Error(), "want a regular file") {
			t.Error(err)
		}
	}
}
