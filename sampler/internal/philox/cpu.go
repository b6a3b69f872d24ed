package philox

import "os"

// vectors is the assembly in use: 512, 256, 128 or 0 for the generic code. It is
// written only at start and by tests.
var vectors = pick(os.Getenv("SAMPLEONNX_ISA"))

// pick is the width that the environment variable asks for, or the machine's
// best where it asks for nothing or for more than there is.
func pick(want string) int {
	best := detect()
	if bits, ok := named[want]; ok && bits <= best {
		return bits
	}
	return best
}
