package onnx

import (
	"os"
	"syscall"
)

// forget gives back the whole pages of bytes [from, to) of a private read-only
// mapping; they come back from the file if they are read again.
func forget(file []byte, from, to int) {
	page := os.Getpagesize()
	from, to = (from+page-1)/page*page, to/page*page
	if from < to {
		// Only advice: a failure costs memory and nothing else.
		_ = syscall.Madvise(file[from:to], syscall.MADV_DONTNEED)
	}
}
