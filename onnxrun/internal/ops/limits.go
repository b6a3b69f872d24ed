package ops

import (
	"math"

	"sampleonnx/onnxrun/internal/onnx"
)

const (
	// maxRank is the number of dimensions that a tensor may have.
	maxRank = 8
	// maxElems is the number of elements that a tensor may have; the bytes of
	// one then fit an int on every machine.
	maxElems = min(math.MaxInt32, math.MaxInt/32)
)

// checkSize refuses an output beyond the limits. The product of the extents
// other than 0 stays within them too, so that no stride overflows.
func (c *Call) checkSize(t Type) error {
	if len(t.Shape) > maxRank {
		return c.Unsupported("has an output of rank %d, want at most %d", len(t.Shape), maxRank)
	}
	n := 1
	for _, d := range t.Shape {
		if d < 0 {
			return c.Invalid("has an output of shape %v", t.Shape)
		}
		if d > 0 && n > maxElems/d {
			return tooLarge(int64(min(n, math.MaxInt32)) * int64(min(d, math.MaxInt32)))
		}
		n *= max(d, 1)
	}
	return nil
}

func tooLarge(n int64) error {
	return &onnx.LimitError{What: "tensor elements", Got: n, Max: maxElems}
}
