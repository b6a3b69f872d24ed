//go:build !purego

package kernel

// transpose8 writes dst[j*ldd+i] = src[i*lds+j] for i < 8 and the j it returns
// the number of.
func transpose8(dst, src []float32, n, ldd, lds int) int {
	n &^= 3
	if isa == generic || n == 0 {
		return 0
	}
	need("transpose8 src", len(src), 7*lds+n)
	need("transpose8 dst", len(dst), (n-1)*ldd+8)
	transpose8NEON(&dst[0], &src[0], n, ldd, lds)
	return n
}

func copyRuns(dst, src []float32, runs, run, sd, ss int) bool { return false }
