//go:build (!amd64 && !arm64) || purego

package kernel

func reachable() []level { return []level{generic} }
