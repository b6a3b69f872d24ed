package kernel

import "os"

// level orders the instruction sets a kernel may be written for.
type level int

const (
	generic level = iota
	avx2
	avx512
	neon
)

var levelNames = [...]string{"generic", "avx2", "avx512", "neon"}

// isa is the level in use. It is written only at start and by tests.
var isa = pick(os.Getenv("SAMPLEONNX_ISA"))

// pick returns the level named by want, or the machine's best when want is
// empty, unknown, or more than the machine can do.
func pick(want string) level {
	all := reachable()
	for _, l := range all {
		if levelNames[l] == want {
			return l
		}
	}
	return all[len(all)-1]
}

// ISA names the instruction set in use: "avx512", "avx2", "neon" or "generic". The
// environment variable SAMPLEONNX_ISA, read once at start, asks for a lower one
// than the machine's best. Results may differ in the last bits between
// instruction sets, never within one.
func ISA() string { return levelNames[isa] }
