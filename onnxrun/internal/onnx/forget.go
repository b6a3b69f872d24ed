package onnx

import "unsafe"

// Forget tells the system that the bytes of a weight will not be read again
// soon, now that a packed copy is in use: it may take back the memory of the
// file's pages. Bytes that do not lie in a mapped file are left alone.
func (m *Model) Forget(raw []byte) {
	at := uintptr(unsafe.Pointer(unsafe.SliceData(raw)))
	for _, file := range m.mapped {
		base := uintptr(unsafe.Pointer(unsafe.SliceData(file)))
		if at >= base && at+uintptr(len(raw)) <= base+uintptr(len(file)) {
			off := int(at - base)
			forget(file, off, off+len(raw))
		}
	}
}
