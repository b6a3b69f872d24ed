//go:build !purego

package philox

import "golang.org/x/sys/cpu"

// named are the widths that the environment variable may ask for.
var named = map[string]int{"generic": 0, "avx2": 256, "avx512": 512}

func detect() int {
	x := &cpu.X86
	switch {
	case x.HasAVX512F && x.HasAVX512DQ && x.HasAVX512VL && x.HasAVX2:
		return 512
	case x.HasAVX2:
		return 256
	}
	return 0
}

// normalsSIMD fills dst, a multiple of 32 values, from blocks whose counters
// begin with those of ctr: Keys.normals in assembly. It reports whether there is
// any here.
func normalsSIMD(dst []float32, ctr *lanes, keys *Keys) bool {
	n := len(dst) / group
	switch {
	case vectors == 0:
		return false
	case n == 0:
	case vectors == 512:
		normalsAVX512(&dst[0], n, (*[4][8]uint64)(ctr), (*[10][2]uint32)(keys))
	default:
		normalsAVX2(&dst[0], n, (*[4][8]uint64)(ctr), (*[10][2]uint32)(keys))
	}
	return true
}

// pairsSIMD makes the first two normals of eight blocks. It reports whether
// there is assembly for it here.
func pairsSIMD(dst *[group / 2]float32, ctr *lanes, keys *Keys) bool {
	switch vectors {
	case 512:
		pairsAVX512(&dst[0], 1, (*[4][8]uint64)(ctr), (*[10][2]uint32)(keys))
	case 256:
		pairsAVX2(&dst[0], 1, (*[4][8]uint64)(ctr), (*[10][2]uint32)(keys))
	default:
		return false
	}
	return true
}
