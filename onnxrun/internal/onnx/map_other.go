//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package onnx

import (
	"io"
	"os"
)

// openFlags open a file that is to be read.
const openFlags = os.O_RDONLY

// mapFile reads size bytes of a regular file where there is no mapping that
// every supported Go version offers.
func mapFile(f *os.File, size int) (data []byte, unmap func() error, err error) {
	data = make([]byte, size)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, nil, &os.PathError{Op: "read", Path: f.Name(), Err: err}
	}
	return data, func() error { return nil }, nil
}
