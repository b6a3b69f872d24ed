package onnx

import "unsafe"

// A mapped file that loses its end while it is in use takes the pages past the
// new end with it, and touching one of them is a memory fault that ends a Go
// process. Reading the file into memory instead of mapping it would be the other
// way out, at the price of a copy of all weights beside their packed form. So
// every goroutine that may touch a mapping asks for a panic in place of the end
// (debug.SetPanicOnFault holds for one goroutine): the one that calls Open, runs
// or compiles, and the workers of the pool. Whoever recovers the panic asks
// [Model.Changed] what it was.

// Changed reports whether a recovered panic is a fault in one of the model's
// mapped files.
func (m *Model) Changed(recovered any) bool { return changed(m.mapped, recovered) }

func changed(mapped [][]byte, recovered any) bool {
	fault, ok := recovered.(interface {
		error
		Addr() uintptr
	})
	if !ok {
		return false
	}
	at := fault.Addr()
	for _, file := range mapped {
		base := uintptr(unsafe.Pointer(unsafe.SliceData(file)))
		if at >= base && at-base < uintptr(len(file)) {
			return true
		}
	}
	return false
}

// ChangedError is what such a fault at a node is reported as; "" is no node.
func ChangedError(node string) error {
	return formatError(node, "the file, or one beside it, was truncated or became unreadable while it was in use")
}
