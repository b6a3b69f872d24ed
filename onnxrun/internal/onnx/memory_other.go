//go:build !linux

package onnx

func machineMemory() int64 { return 0 }
