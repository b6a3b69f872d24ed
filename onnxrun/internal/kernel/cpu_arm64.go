//go:build !purego

package kernel

// reachable lists the levels of this machine, the best last. Every arm64 has
// NEON.
func reachable() []level { return []level{generic, neon} }
