//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package onnx

import (
	"os"
	"syscall"
)

// openFlags open a file that is to be read without waiting for the writer of a pipe:
// what it is, is asked then.
const openFlags = os.O_RDONLY | syscall.O_NONBLOCK

// mapFile maps size bytes of a regular file, size > 0. The mapping outlives f.
func mapFile(f *os.File, size int) (data []byte, unmap func() error, err error) {
	data, err = syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ, syscall.MAP_PRIVATE)
	if err != nil {
		return nil, nil, &os.PathError{Op: "mmap", Path: f.Name(), Err: err}
	}
	return data, func() error { return syscall.Munmap(data) }, nil
}
