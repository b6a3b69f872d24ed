package kernel

import "testing"

func TestPick(t *testing.T) {
	best := detect()
	for want, l := range map[string]level{"": best, "generic": generic, "nonsense": best, "avx2": min(avx2, best), "avx512": best} {
		if best == generic && want == "avx2" {
			l = generic
		}
		if got := pick(want); got != l {
			t.Errorf("pick(%q) is %v, want %v", want, got, l)
		}
	}
	if ISA() != levelNames[isa] {
		t.Error("ISA does not name the level in use")
	}
}
