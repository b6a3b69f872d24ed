package main

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"sampleonnx/onnxrun"
)

func TestLimitFlag(t *testing.T) {
	for _, c := range []struct {
		arg  string
		want onnxrun.Limits
	}{
		{"memory=8GiB", onnxrun.Limits{Memory: 8 << 30}},
		{"memory=1.5GB", onnxrun.Limits{Memory: 1_500_000_000}},
		{"memory=4096", onnxrun.Limits{Memory: 4096}},
		{"file-bytes=10M", onnxrun.Limits{FileBytes: 10_000_000}},
		{"elements=1M", onnxrun.Limits{TensorElems: 1_000_000}},
		{"rank=4", onnxrun.Limits{Rank: 4}},
		{"nodes=10k", onnxrun.Limits{Nodes: 10_000}},
		{"depth=3", onnxrun.Limits{Depth: 3}},
		{"attributes=9", onnxrun.Limits{NodeAttrs: 9}},
		{"fields=5e5", onnxrun.Limits{Fields: 500_000}},
		{"name-bytes=1MiB", onnxrun.Limits{NameBytes: 1 << 20}},
		{"files=2", onnxrun.Limits{Files: 2}},
	} {
		var l onnxrun.Limits
		if err := (limitFlag{&l}).Set(c.arg); err != nil || l != c.want {
			t.Errorf("%s: %+v, %v", c.arg, l, err)
		}
	}
	for _, arg := range []string{"memory", "memory=", "memory=0", "memory=-1GiB", "memory=many", "memory=1e300", "memory=inf", "memory=0x10", "speed=1", "nodes=3B", "nodes=0.5"} {
		var l onnxrun.Limits
		if err := (limitFlag{&l}).Set(arg); err == nil {
			t.Errorf("%s: %+v, want an error", arg, l)
		}
	}
	// Every field of Limits has a name here.
	fields := reflect.TypeFor[onnxrun.Limits]()
	for i := range fields.NumField() {
		found := false
		for _, l := range limits {
			var to onnxrun.Limits
			l.set(&to, 7)
			found = found || l.field == fields.Field(i).Name && reflect.ValueOf(to).Field(i).Int() == 7
		}
		if !found {
			t.Errorf("no --limit sets Limits.%s", fields.Field(i).Name)
		}
	}
}

// What is refused says what was found, what is allowed and how to allow it, and
// doing so helps.
func TestLimitsAreRaisedAsTheErrorSays(t *testing.T) {
	const model = "../../testdata/models/digits_ncsnv2.onnx"
	for _, limit := range []string{"memory=100kB", "file-bytes=1MB", "elements=100", "rank=1", "nodes=10", "fields=100", "name-bytes=100", "attributes=1"} {
		args := []string{"inspect", model, "--limit", limit}
		for step := 0; ; step++ {
			var out, e bytes.Buffer
			code := run(t.Context(), args, strings.NewReader(""), &out, &e)
			if code == exitDone && step > 0 {
				break
			}
			_, hint, ok := strings.Cut(e.String(), "(raise it with --limit ")
			if code != exitLimit || !ok || !strings.Contains(e.String(), "is over the limit of") || step > 20 {
				t.Errorf("%v: exit code %d: %s", args, code, e.String())
				break
			}
			args[3] = strings.TrimSuffix(strings.TrimSpace(hint), ")")
		}
	}
	if s := raise(errors.New("some other error")); s != "" {
		t.Error(s)
	}
}
