package onnxrun

import (
	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// FormatError reports bytes that are not a valid ONNX model, or inputs that do
// not fit it.
type FormatError = onnx.FormatError

// UnsupportedError reports a valid model that cannot run here, with every
// unsupported node.
type UnsupportedError = onnx.UnsupportedError

// Unsupported is one node of an UnsupportedError.
type Unsupported = onnx.Unsupported

// LimitError reports a limit that a model or a run would exceed.
type LimitError = onnx.LimitError

// IndexError reports an index among a run's data that points outside a tensor.
type IndexError = ops.IndexError

// InternalError reports a mistake in this package that was caught while it worked
// on a model: a panic, in whichever goroutine. The model stays usable.
type InternalError = onnx.InternalError
