//go:build amd64 || arm64 || 386 || ppc64le || wasm

package ops

// unalignedOK: the machine loads from any address, so weights can be read where
// they lie in the file.
const unalignedOK = true
