//go:build (amd64 || arm64) && !purego

package kernel

import (
	"testing"
	"unsafe"
)

// The assembly knows the fields of tile by these numbers (_asm/tile.go).
func TestTileLayout(t *testing.T) {
	var x tile
	for name, at := range map[string][2]uintptr{
		"a": {unsafe.Offsetof(x.a), 0}, "off": {unsafe.Offsetof(x.off), 24}, "b": {unsafe.Offsetof(x.b), 48},
		"c": {unsafe.Offsetof(x.c), 72}, "bias": {unsafe.Offsetof(x.bias), 96}, "add": {unsafe.Offsetof(x.add), 120},
		"kseg": {unsafe.Offsetof(x.kseg), 144}, "astep": {unsafe.Offsetof(x.astep), 152}, "crow": {unsafe.Offsetof(x.crow), 160},
		"cvec": {unsafe.Offsetof(x.cvec), 168}, "addrow": {unsafe.Offsetof(x.addrow), 176}, "addvec": {unsafe.Offsetof(x.addvec), 184},
		"acc": {unsafe.Offsetof(x.acc), 192}, "relu": {unsafe.Offsetof(x.relu), 200},
		"bpanel": {unsafe.Offsetof(x.bpanel), 208},
	} {
		if at[0] != at[1] {
			t.Errorf("%s is at %d, the assembly reads it at %d", name, at[0], at[1])
		}
	}
}
