//go:build !amd64 || purego

package kernel

// pause would tell the processor that this is a spin loop.
func pause() {}
