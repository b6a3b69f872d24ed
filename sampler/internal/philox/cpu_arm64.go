//go:build !purego

package philox

// named are the widths that the environment variable may ask for.
var named = map[string]int{"generic": 0, "neon": 128}

// detect is the best of them: every arm64 has NEON.
func detect() int { return 128 }

// normalsSIMD fills dst, a multiple of 32 values, from blocks whose counters
// begin with those of ctr: Keys.normals in assembly. It reports whether there is
// any here.
func normalsSIMD(dst []float32, ctr *lanes, keys *Keys) bool {
	if vectors == 0 {
		return false
	}
	if n := len(dst) / group; n > 0 {
		normalsNEON(&dst[0], n, (*[4][8]uint64)(ctr), (*[10][2]uint32)(keys))
	}
	return true
}
