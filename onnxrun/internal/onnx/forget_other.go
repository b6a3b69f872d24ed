//go:build !linux

package onnx

// forget does nothing where the advice to give back pages is not known to keep
// the bytes of a private mapping.
func forget([]byte, int, int) {}
