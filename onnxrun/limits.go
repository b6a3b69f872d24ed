package onnxrun

import "sampleonnx/onnxrun/internal/onnx"

// Limits bound what a model file may ask for; a field left 0 has the default that
// is given here. What exceeds one is refused with a *LimitError, which names the
// field, before memory is taken for it.
//
// Some bounds are fixed, and what exceeds them names none of the fields: 16 KiB for one
// name; 8 dimensions for a tensor that an operator takes; 2²⁴ elements for the window of
// a convolution or pool, and for what Range lists; for loops, whose rounds are written
// out, 2¹⁸ nodes and values gone through, and 2¹³ nodes left; 2²² elements and weights
// along one axis for the derivative of an operator that moves or blends; 256 MiB for the
// outputs and the work of one node that shapes depend on.
type Limits struct {
	// FileBytes bounds the model file, and each file of external data. Default:
	// 16 GiB. Files that are read and not mapped (Load) count as Memory too.
	FileBytes int64
	// Memory bounds, together, the constants, what is packed and computed of them
	// ahead of time, what operators list, and what one run works in; runs at the same time each work in
	// memory of their own. Default: [DefaultMemory].
	Memory int64
	// TensorElems bounds the elements of one tensor, and any one dimension.
	// Default, and the most there can be: 2³¹-1 (2²⁶ where an int has 32 bits).
	TensorElems int64
	Rank        int   // dimensions that the file may give a tensor; default 32, of which operators take 8
	Nodes       int   // nodes, with subgraphs and inlined functions counted out; default 100,000
	Depth       int   // subgraphs in subgraphs, and calls of functions in calls; default 32
	NodeAttrs   int   // attributes of one node; default 256
	Fields      int   // protobuf fields and elements of attributes' lists, which bound every list of the file; default 2,000,000
	NameBytes   int64 // bytes of all names and other text (metadata, attributes' strings) together; default 64 MiB
	Files       int   // files of external data; default 4,096
}

// DefaultMemory is the default of [Limits].Memory, in bytes: half of what this
// process may have, by the machine, by the control group that a container puts it
// in, and by GOMEMLIMIT.
func DefaultMemory() int64 { return onnx.DefaultMemory() }
