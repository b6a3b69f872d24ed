package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// Samples of one law with other seeds are not told apart; those of another law are, by an exit code of 1.
func TestCompare(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, args ...string) string {
		out := filepath.Join(dir, name+".npy")
		must(t, append([]string{"-q", "-o", out, "-n", "2000"}, args...)...)
		return out
	}
	a := file("a", model("gaussian4"), "--sampler", "heun", "-s", "1")
	b := file("b", model("gaussian4"), "--sampler", "heun", "-s", "2")
	noisy := file("c", model("gaussian4"), "--sampler", "heun", "-s", "3", "--sigma-max", "2")
	code, out, stderr := command(t, "compare", a, b, "--json")
	var r comparedSamples
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != exitDone || !r.OK || len(r.Tests) != 15 {
		t.Errorf("%v, exit %d: %s%s", err, code, out, stderr)
	}
	code, out, stderr = command(t, "compare", a, noisy)
	if code != exitFailed || !strings.Contains(out, "DIFFERS") || !strings.Contains(stderr, "not samples of one law") {
		t.Errorf("exit %d: %s%s", code, out, stderr)
	}
	if code, _, stderr = command(t, "compare", a, filepath.Join(golden, "mixture2_ald_samples.npy")); code != exitUsage {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if code, _, stderr = command(t, "compare", a, b, "--alpha", "0"); code != exitUsage {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if out := must(t, "compare", "--help"); !strings.Contains(out, "--directions") {
		t.Error(out)
	}
}
