package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	models = "../../testdata/models"
	golden = "../../testdata/golden"
)

// command runs sampleonnx as a process would.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return commandIn(t.Context(), args...)
}

func commandIn(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = run(ctx, args, strings.NewReader(""), &out, &err)
	return code, out.String(), err.String()
}

// must runs sampleonnx and wants it to succeed.
func must(t *testing.T, args ...string) (stdout string) {
	t.Helper()
	code, out, err := command(t, args...)
	if code != exitDone {
		t.Fatalf("sampleonnx %s: exit %d: %s", strings.Join(args, " "), code, err)
	}
	return out
}

func model(name string) string { return filepath.Join(models, name+".onnx") }

// files lists what is in a directory.
func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o666); err != nil {
		t.Fatal(err)
	}
}

// What the help offers is there, and it reads as a sentence.
func TestHelpTells(t *testing.T) {
	for want, args := range map[string][]string{
		".npz or .npy, or of images .png, for the states": {"--help"},
		"CLASS of the rows, each of one, from 0":          {"interpolate", "--help"},
	} {
		out := strings.Join(strings.Fields(must(t, args...)), " ")
		if !strings.Contains(out, want) {
			t.Errorf("%v: no %q", args, want)
		}
	}
}

func TestHelpAndVersion(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"help"}, {"run", "--help"}, {"inspect", "-h"}, {"bench", "--help"}, {"help", "verify"}, {"likelihood", "--help"}} {
		code, out, err := command(t, args...)
		if code != exitDone || !strings.Contains(out, "MODEL") || err != "" {
			t.Errorf("%v: exit %d, %q", args, code, err)
		}
		for line := range strings.Lines(out) {
			if n := len([]rune(line)); n > 145 {
				t.Errorf("%v: line of %d characters: %s", args, n, line)
			}
		}
	}
	for _, args := range [][]string{{"--version"}, {"version"}, {"x.onnx", "--version"}} {
		if code, out, _ := command(t, args...); code != exitDone || !strings.HasPrefix(out, "sampleonnx ") {
			t.Errorf("%v: exit %d, %q", args, code, out)
		}
	}
}

// A failing writer stands for a full disk.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestStdoutThatFails(t *testing.T) {
	var err bytes.Buffer
	if code := run(t.Context(), []string{model("gaussian4"), "-n", "2", "-o", "-"}, nil, failing{}, &err); code != exitFailed {
		t.Errorf("exit %d: %s", code, &err)
	}
}
