package bounded

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func put(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func link(t *testing.T, to, path string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(to, path); err != nil {
		t.Skip(err)
	}
	return path
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	name := put(t, filepath.Join(dir, "f"), "some text")
	f, err := Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if text, err := f.All(9); err != nil || string(text) != "some text" || f.Size != 9 {
		t.Errorf("%q, %v", text, err)
	}
	if err := f.Rewind(); err != nil {
		t.Error(err)
	}
	if _, err := f.All(8); err == nil || !strings.Contains(err.Error(), "9 bytes, want at most 8") {
		t.Error(err)
	}
	for name, want := range map[string]string{dir: "a directory", filepath.Join(dir, "none"): "no such file", os.DevNull: "want a regular file"} {
		if _, err := Open(t.Context(), name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	g, err := Open(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	cancel()
	if _, err := g.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := g.ReadAt(make([]byte, 1), 0); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// What is looked for beside a model is in its folder, or is one of the cache's blobs.
func TestOpenBeside(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/secret", "secret")
	put(t, dir+"/m/card", "card")
	put(t, dir+"/m/sub/card", "card")
	cache := dir + "/models--a--b"
	put(t, cache+"/blobs/0a1b", "card")
	put(t, cache+"/refs/main", "secret")
	const outside = "leads out of the model's folder"
	for name, want := range map[string]string{
		dir + "/m/card":                                             "",
		link(t, "card", dir+"/m/same"):                              "",
		link(t, "sub/card", dir+"/m/below"):                         "",
		link(t, "sub/../same", dir+"/m/twice"):                      "",
		link(t, "../secret", dir+"/m/up"):                           outside,
		link(t, dir+"/secret", dir+"/m/absolute"):                   outside,
		link(t, "up", dir+"/m/over"):                                outside,
		link(t, "/dev/zero", dir+"/m/zero"):                         outside,
		link(t, "loop", dir+"/m/loop"):                              outside,
		link(t, "none", dir+"/m/dangling"):                          "no such file",
		dir + "/m/sub":                                              "a directory",
		dir + "/none/card":                                          "no such file",
		link(t, "../../blobs/0a1b", cache+"/snapshots/r/c"):         "",
		link(t, "../../../blobs/0a1b", cache+"/snapshots/r/x/c"):    "",
		link(t, "../../blobs/none", cache+"/snapshots/r/dangling"):  "no such file",
		link(t, "../../refs/main", cache+"/snapshots/r/ref"):        outside,
		link(t, "../../../secret", cache+"/snapshots/r/up"):         outside,
		link(t, "../../blobs/../refs/main", cache+"/snapshots/r/z"): outside,
		link(t, "../../../secret", cache+"/blobs/evil"):             outside,
		link(t, "../../blobs/evil", cache+"/snapshots/r/evil"):      outside,
		link(t, cache+"/blobs/0a1b", cache+"/snapshots/r/absolute"): outside,
	} {
		f, err := OpenBeside(t.Context(), name)
		if err != nil {
			if want == "" || !strings.Contains(err.Error(), want) || !strings.HasPrefix(strings.TrimPrefix(err.Error(), "openat "), name) && !strings.HasPrefix(err.Error(), "open") {
				t.Errorf("%v, want %q", err, want)
			}
			continue
		}
		if text, err := io.ReadAll(f); err != nil || string(text) != "card" || want != "" {
			t.Errorf("%s: %q, %v, want %q", name, text, err, want)
		}
		f.Close()
	}
	t.Chdir(dir + "/m")
	if f, err := OpenBeside(t.Context(), "same"); err != nil {
		t.Error(err)
	} else {
		f.Close()
	}
}

func TestTake(t *testing.T) {
	ctx := With(t.Context(), 100)
	for _, c := range []struct {
		sizes []int
		got   int64 // over the limit; 0: not
	}{
		{[]int{5, 10}, 0}, {[]int{51}, 101}, {[]int{0, math.MaxInt, math.MaxInt}, 0}, {[]int{math.MaxInt, math.MaxInt, math.MaxInt}, math.MaxInt64}, {[]int{50}, 0}, {[]int{1}, 101}, {nil, 101},
	} {
		err := Take(ctx, "them", c.sizes...)
		limit, _ := errors.AsType[*LimitError](err)
		if c.got == 0 != (err == nil) || c.got > 0 && (limit == nil || limit.Got != c.got || limit.Max != 100 || limit.What != "them") {
			t.Errorf("%v: %v", c.sizes, err)
		}
	}
	if err := Take(t.Context(), "them", 1<<30); err != nil {
		t.Error(err)
	}
	if err := Take(t.Context(), "them", 1<<20, 1<<20); err == nil {
		t.Error("a terabyte without a limit")
	}
}
