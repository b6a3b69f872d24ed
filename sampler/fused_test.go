package sampler

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// A sample has the same bits on every machine only if no product is added
// before it is rounded, which Go allows compilers to do, on arm64 and others,
// wherever no conversion forbids it. What the compiler makes of these packages for arm64 has
// no such instruction, and they ask nothing of package math whose bits depend on the machine.
func TestNothingIsFused(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles for arm64, which takes seconds: not with -short")
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go command to compile with")
	}
	compile := exec.Command(goTool, "build", "-gcflags=-S", ".", "./internal/philox", "../schedules")
	compile.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0", "GOFLAGS=")
	listing, err := compile.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, listing[max(0, len(listing)-2000):])
	}
	if n := len(regexp.MustCompile(`\tFMULD\t`).FindAll(listing, -1)); n < 500 {
		t.Fatalf("the listing has %d products: it is not that of these packages", n)
	}
	// Of math's functions only those that IEEE 754 defines to the bit, or that round nothing.
	exact := map[string]bool{"ldexp": true, "frexp": true, "Nextafter": true}
	seen := map[string]bool{}
	for _, m := range regexp.MustCompile(`\(([^()\n]*\.go:\d+)\)\t(?:(FN?M(?:ADD|SUB)[DS])\t|CALL\tmath\.(\w+))`).FindAllSubmatch(listing, -1) {
		at, fused, called := string(m[1]), string(m[2]), string(m[3])
		// Sincos falls back on that of math for angles that no sampler has.
		if seen[at] || exact[called] || called == "Sincos" && strings.Contains(at, "/schedules/trig.go:") {
			continue
		}
		seen[at] = true
		t.Errorf("%s: %s%s depends on the machine", at, fused, called)
	}
}
