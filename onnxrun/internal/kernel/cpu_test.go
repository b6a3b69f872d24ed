package kernel

import "testing"

func TestPick(t *testing.T) {
	all := reachable()
	best := all[len(all)-1]
	want := map[string]level{"": best, "nonsense": best, "generic": generic, "avx2": best, "avx512": best, "neon": best}
	for _, l := range all {
		want[levelNames[l]] = l
	}
	for name, l := range want {
		if got := pick(name); got != l {
			t.Errorf("pick(%q) is %v, want %v", name, got, l)
		}
	}
	if ISA() != levelNames[isa] {
		t.Error("ISA does not name the level in use")
	}
}
