package ops

import (
	"math"
	"math/bits"

	"sampleonnx/onnxrun/internal/onnx"
)

const (
	// maxRank is the number of dimensions that a tensor may have.
	maxRank = onnx.MaxRank
	// maxElems is the number of elements that a tensor may have; the bytes of
	// one then fit an int on every machine.
	maxElems = min(math.MaxInt32, math.MaxInt/32)
	// maxScores is the number of elements of a tensor of which only the shape is
	// made, as there will be no such tensor; see Call.Scores. Its bytes fit an int.
	maxScores = maxElems << (9 * (bits.UintSize / 64))
)

// scoring are the operators of the ways in which exporters write an attention: its
// scores, a number for each pair of positions, are larger by far than what fusing it
// leaves. Their kernels list nothing that grows with the elements.
var scoring = map[string]bool{
	"MatMul": true, "Einsum": true, "Mul": true, "Div": true, "Add": true, "Softmax": true, "Reshape": true,
	"IsNaN": true, "Where": true,
}

// Scoring reports whether a node may compute scores of attention.
func Scoring(n *onnx.Node) bool { return n.Domain == "" && scoring[n.Op] }

// most is the number of elements that an input or output of the node may have.
func (c *Call) most() int {
	if c.Scores && Scoring(c.Node) {
		return maxScores
	}
	return maxElems
}

// Placeable reports whether a tensor of this type may be made.
func (t Type) Placeable() bool { return t.Elems() <= maxElems }

// checkSize refuses an output beyond the limits. The product of the extents
// other than 0 stays within them too, so that no stride overflows.
func (c *Call) checkSize(t Type) error {
	if len(t.Shape) > maxRank {
		return c.Unsupported("has an output of rank %d, want at most %d", len(t.Shape), maxRank)
	}
	n, most := 1, c.most()
	for _, d := range t.Shape {
		if d < 0 {
			return c.Invalid("has an output of shape %v, want dimensions from 0", t.Shape)
		}
		if d > 0 && n > most/d {
			return c.tooLarge(int64(room(n, d)))
		}
		n *= max(d, 1)
	}
	return nil
}

// tooLarge: n elements are more than a tensor may have.
func (c *Call) tooLarge(n int64) error {
	return &onnx.LimitError{Node: c.Node.Where(), What: "elements of a tensor", Got: n, Max: maxElems}
}

// unbounded is a size in bytes that no operator may ask for. It is a multiple of a
// cache line, and there is room for three of its kind in an int.
const unbounded = math.MaxInt / 4 &^ 63

// room is the product of sizes, none of them negative: of bytes, elements, whatever a
// file says there are; unbounded where it would be more.
func room(sizes ...int) int {
	n := 1
	for _, s := range sizes {
		if s > 0 && n > unbounded/s {
			n = unbounded
		} else {
			n *= s
		}
	}
	return n
}

// maxTaps bounds the elements of one window. A pool's are in no tensor: they
// cost nothing but time, and one window is the least that a run does at once.
const maxTaps = 1 << 24

func (c *Call) checkTaps(kernel []int) error {
	n := 1
	for _, k := range kernel {
		if k > maxTaps/n {
			return &onnx.LimitError{Node: c.Node.Where(), What: "elements of a window", Got: int64(room(n, k)), Max: maxTaps}
		}
		n *= k
	}
	return nil
}
