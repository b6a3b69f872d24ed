package main

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"sampleonnx/onnxrun"
)

func TestLimitFlag(t *testing.T) {
	of := func(l onnxrun.Limits) runConfig { return runConfig{Config: onnxrun.Config{Limits: l}} }
	for _, c := range []struct {
		arg  string
		want runConfig
	}{
		{"memory=8GiB", of(onnxrun.Limits{Memory: 8 << 30})},
		{"memory=1.5GB", of(onnxrun.Limits{Memory: 1_500_000_000})},
		{"memory=4096", of(onnxrun.Limits{Memory: 4096})},
		{"data=1GiB", runConfig{Data: 1 << 30}},
		{"time=1m30s", runConfig{Time: 90 * time.Second}},
		{"file-bytes=10M", of(onnxrun.Limits{FileBytes: 10_000_000})},
		{"elements=1M", of(onnxrun.Limits{TensorElems: 1_000_000})},
		{"rank=4", of(onnxrun.Limits{Rank: 4})},
		{"nodes=10k", of(onnxrun.Limits{Nodes: 10_000})},
		{"depth=3", of(onnxrun.Limits{Depth: 3})},
		{"attributes=9", of(onnxrun.Limits{NodeAttrs: 9})},
		{"fields=5e5", of(onnxrun.Limits{Fields: 500_000})},
		{"name-bytes=1MiB", of(onnxrun.Limits{NameBytes: 1 << 20})},
		{"files=2", of(onnxrun.Limits{Files: 2})},
	} {
		var l runConfig
		if err := (limitFlag{&l}).Set(c.arg); err != nil || l != c.want {
			t.Errorf("%s: %+v, %v", c.arg, l, err)
		}
	}
	for _, arg := range []string{"memory", "memory=", "memory=0", "memory=-1GiB", "memory=many", "memory=1e300", "memory=inf", "memory=0x10", "speed=1", "nodes=3B", "nodes=0.5",
		"time=5", "time=0s", "time=-1s", "time=1e9h", "time=inf", "data=NaN"} {
		var l runConfig
		if err := (limitFlag{&l}).Set(arg); err == nil {
			t.Errorf("%s: %+v, want an error", arg, l)
		}
	}
	// Every field of Limits, and the two others, has a name here.
	fields := reflect.VisibleFields(reflect.TypeFor[onnxrun.Limits]())
	for _, name := range []string{"Data", "Time"} {
		field, _ := reflect.TypeFor[runConfig]().FieldByName(name)
		fields = append(fields, field)
	}
	if len(limits) != len(fields) {
		t.Errorf("%d limits for %d fields", len(limits), len(fields))
	}
	for _, field := range fields {
		found := false
		for _, l := range limits {
			var to runConfig
			l.set(&to, 7)
			in := reflect.ValueOf(to)
			if l.field == field.Name {
				if l.field != "Data" && l.field != "Time" {
					in = in.FieldByName("Limits")
				}
				found = found || in.FieldByName(field.Name).Int() == 7
			}
		}
		if !found {
			t.Errorf("no --limit sets %s", field.Name)
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
