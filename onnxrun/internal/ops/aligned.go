//go:build !(amd64 || arm64 || 386 || ppc64le || wasm)

package ops

const unalignedOK = false
