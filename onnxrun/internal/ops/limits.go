package ops

import (
	"math"
	"math/bits"

	"sampleonnx/onnxrun/internal/onnx"
)

const (
	// maxRank is the number of dimensions that a tensor may have.
	maxRank = 8
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
			return c.Invalid("has an output of shape %v", t.Shape)
		}
		if d > 0 && n > most/d {
			return tooLarge(int64(min(n, math.MaxInt32)) * int64(min(d, math.MaxInt32)))
		}
		n *= max(d, 1)
	}
	return nil
}

func tooLarge(n int64) error {
	return &onnx.LimitError{What: "elements of a tensor", Got: n, Max: maxElems}
}

const (
	// maxTaps bounds the elements of one window. A pool's are in no tensor: they
	// cost nothing but time, and one window is the least that a run does at once.
	maxTaps = 1 << 24
	// maxTable bounds the offsets that a kernel lists when it is bound to memory.
	maxTable = 1 << 28
)

func (c *Call) checkTaps(kernel []int) error {
	n := 1
	for _, k := range kernel {
		if k > maxTaps/n {
			return &onnx.LimitError{Node: c.Node.Where(), What: "elements of a window", Got: int64(n) * int64(min(k, math.MaxInt32)), Max: maxTaps}
		}
		n *= k
	}
	return nil
}

// checkTable panics, as kernels do, before a table of a·b offsets that is too
// large.
func checkTable(a, b int) {
	if b > 0 && a > maxTable/b {
		panic(&onnx.LimitError{What: "offsets of a kernel", Got: int64(min(float64(a)*float64(b), 1<<62)), Max: maxTable})
	}
}
