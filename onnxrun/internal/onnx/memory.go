package onnx

import (
	"math"
	"runtime/debug"
)

// DefaultMemory is the memory that a model may take when its reader does not
// say: half of what this process may have, by the machine, by the control group
// that a container puts it in, and by GOMEMLIMIT. Where nothing tells the size of
// the machine it is taken to be 8 GiB. A limit that did not know the machine
// would be of no use on a smaller one: there the system ends the process first.
func DefaultMemory() int64 {
	have := machineMemory()
	if have <= 0 {
		have = 8 << 30
	}
	if limit := debug.SetMemoryLimit(-1); limit > 0 && limit < math.MaxInt64 {
		have = min(have, limit)
	}
	return have / 2
}
