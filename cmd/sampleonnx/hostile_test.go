package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"sampleonnx/cmd/sampleonnx/internal/npy"
)

// evil commands a terminal, in each of the ways that there are, and forges a line.
const evil = "\x1b]0;pwned\x07\u009b31m\u202e\r\nfake: <&>\"'\\\x7f"

// evilModel has such names, metadata and dimensions.
func evilModel(op string) []byte {
	node := new(message).text(1, "x"+evil).text(2, "y"+evil).text(3, "n"+evil).text(4, op)
	dims := new(message).bytes(1, new(message).text(2, "b"+evil).b)
	tensor := new(message).number(1, 1).bytes(2, dims.b)
	port := func(name string) []byte {
		return new(message).text(1, name+evil).bytes(2, new(message).bytes(1, tensor.b).b).b
	}
	graph := new(message).bytes(1, node.b).text(2, "g").bytes(11, port("x")).bytes(12, port("y"))
	m := new(message).number(1, 8).text(2, "producer"+evil).bytes(7, graph.b).bytes(8, new(message).number(2, 17).b)
	return m.bytes(14, new(message).text(1, "k"+evil).text(2, "v"+evil).b).b
}

// What files say of themselves is shown as text and nothing else.
func TestNamesAreText(t *testing.T) {
	dir := t.TempDir()
	put := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	valid, refused := put("m.onnx", evilModel("Relu")), put("r.onnx", evilModel("Fancy"))
	var array, pair bytes.Buffer
	one := npy.Array{Shape: []int{1}, Data: []float32{1}}
	if err := errors.Join(npy.Write(&array, one), npy.WriteZip(&pair, []npy.Named{{Name: "in_x" + evil, Array: one}, {Name: "out_y" + evil, Array: one}})); err != nil {
		t.Fatal(err)
	}
	x, pairs := put("x.npy", array.Bytes()), put("pairs.npz", pair.Bytes())
	svg, dot := filepath.Join(dir, "g.svg"), filepath.Join(dir, "g.dot")
	carded := put("carded.onnx", tinyModel("Mul", "", map[string]string{"score." + evil: "1"}))
	for _, c := range []struct {
		code int
		args []string
	}{
		{exitDone, []string{"inspect", valid}}, {exitDone, []string{"inspect", valid, "--graph", svg}}, {exitDone, []string{"inspect", valid, "--graph", dot}},
		{exitDone, []string{"inspect", valid, "--batch", "2", "--graph", svg}}, {exitDone, []string{"inspect", valid, "--json"}},
		{exitModel, []string{"inspect", refused}}, {exitModel, []string{"inspect", refused, "--graph", svg}}, {exitModel, []string{"inspect", refused, "--json"}},
		{exitDone, []string{"inspect", carded}}, {exitModel, []string{carded}}, {exitUsage, []string{valid}}, {exitUsage, []string{valid, "--sampler", "s" + evil}},
		{exitDone, []string{"run", valid, "-i", "x" + evil + "=" + x}}, {exitUsage, []string{"run", valid, "-i", "z\xff=" + x}}, {exitUsage, []string{"run", valid}},
		{exitDone, []string{"verify", valid, pairs}}, {exitDone, []string{"verify", valid, pairs, "--json"}}, {exitModel, []string{"run", filepath.Join(dir, "none"+evil)}},
	} {
		args := c.args
		code, out, stderr := command(t, args...)
		if code != c.code {
			t.Errorf("%q: exit %d, want %d: %s", args, code, c.code, stderr)
		}
		for _, file := range []string{svg, dot} {
			if text, err := os.ReadFile(file); err == nil {
				out += string(text)
				os.Remove(file)
			}
		}
		at := strings.Index(out, "<svg")
		for in := xml.NewDecoder(strings.NewReader(out[max(at, 0):])); at >= 0; {
			_, err := in.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%.0q: no XML: %v", args, err)
			}
		}
		if args[len(args)-1] == "--json" {
			var v any
			if err := json.Unmarshal([]byte(out), &v); err != nil && out != "" || !strings.Contains(out+stderr, `\u009b`) {
				t.Errorf("%q: %v: %s", args, err, out)
			}
		}
		for _, line := range strings.Split(out+stderr, "\n") {
			if at := strings.IndexFunc(line, func(r rune) bool { return !unicode.IsPrint(r) && r != '\t' }); at >= 0 || !utf8.ValidString(line) || strings.HasPrefix(line, "fake") {
				t.Errorf("%q: %q", args, line)
			}
		}
		if out+stderr == "" {
			t.Errorf("%q says nothing", args)
		}
	}
}

func TestShortened(t *testing.T) {
	for text, want := range map[string]string{"": "", "σ": "σ", "abcde": "abcde", "abcdef": "abcd…", "σσσσσσ": "σσσσ…", "a\x1b": `a\x1b`, "\xff": `\xff`} {
		if got := shortened(text, 5); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// Every node of a ladder reads the input too: with n nodes the edges pass n²/2 layers.
func TestLongEdges(t *testing.T) {
	ladder := func(n int) *drawing {
		d := &drawing{}
		x := d.add("input", "x")
		last := x
		for range n {
			at := d.add("operator", "Add")
			d.join(x, at)
			d.join(last, at)
			last = at
		}
		d.join(last, d.add("output", "y"))
		return d
	}
	for _, n := range []int{100, 3000} {
		d := ladder(n)
		spots, _, paths := d.layered()
		if len(spots) > len(d.nodes)+maxPassed || n == 100 && len(spots) != 1+n+1+n*(n-1)/2 || len(paths) != len(d.edges) {
			t.Errorf("%d nodes: %d spots for %d edges, %d of which are drawn", n, len(spots), len(d.edges), len(paths))
		}
		for i, path := range paths {
			if ends := [2]int{path[0], path[len(path)-1]}; ends != d.edges[i] {
				t.Fatalf("edge %v goes from %d to %d", d.edges[i], ends[0], ends[1])
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := d.svg(ctx, io.Discard); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	wide := &drawing{}
	if n := len([]rune(wide.nodes[wide.add("operator", strings.Repeat("[1,2] ", 1_000_000))].lines[0])); n > longestLine {
		t.Errorf("a line of %d characters", n)
	}
}

// inspect says what a run would cost, and does not run: this network has no answer.
func TestInspectDoesNotRun(t *testing.T) {
	g := &graph{}
	x, level := g.input("x", isFloat, -1, 2), g.input("level", isInt64, -1)
	net := g.write(t, g.op("Add", x, g.column(g.op("Gather", g.c(1, 2), level), 2)), -1, 2)
	args := []string{"inspect", net}
	for _, set := range []string{"output=score", "sde=ve", "sigma_min=1", "sigma_max=2", "time_kind=index_desc", "levels=80"} {
		args = append(args, "--set", set)
	}
	out := must(t, args...)
	if strings.Contains(out, "incomplete") || !strings.Contains(out, "sampled by default with") || !strings.Contains(out, "GFLOP") {
		t.Error(out)
	}
	if code, _, stderr := command(t, append(args, "--probe")...); code != exitFailed || !strings.Contains(stderr, "79") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

// Whatever a file is for, it must be one.
func TestOnlyFiles(t *testing.T) {
	dir := t.TempDir()
	special := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.Symlink(os.DevNull, path); err != nil {
			t.Skip(err)
		}
		return path
	}
	good, digits := model("gaussian4"), model("digits_ncsnv2")
	array, archive, png, text := special("s.npy"), special("s.npz"), special("s.png"), special("s.json")
	for _, args := range [][]string{
		{"run", good, "-i", "x=" + array}, {"run", good, "-i", archive}, {"verify", good, archive}, {"verify", good, text},
		{"verify", good, text, "--record", array}, {"likelihood", good, array}, {"likelihood", good, archive}, {"likelihood", digits, png}, {"loss", good, array},
		{"encode", good, array}, {"decode", good, array}, {"interpolate", good, array}, {"compare", array, array}, {"compare", archive, array},
		{"inspect", good, "--probe", "--data", array}, {good, "--noise", archive}, {good, "--inpaint", array, "--mask", array}, {digits, "--inpaint", png, "--mask", "left"},
		{digits, "--inpaint", png, "--mask", png}, {good, "--inverse", "matrix:" + array, "--measurement", array}, {"likelihood", good, array, "--class", array},
	} {
		code, _, stderr := command(t, args...)
		if code != exitFailed || !strings.Contains(stderr, "a pipe or a device, want a regular file") {
			t.Errorf("%v: exit %d: %s", args, code, stderr)
		}
	}
}

// What files hold is counted before it is in memory, and so is what is made of it; the error says which limit to raise, and doing so helps.
func TestDataIsBounded(t *testing.T) {
	dir := t.TempDir()
	const n = 1 << 14
	data := writeNPY(t, npy.Array{Shape: []int{n, 4}, Data: make([]float32, 4*n)})
	var b bytes.Buffer
	if err := npy.WriteZip(&b, []npy.Named{{Name: "x", Array: npy.Array{Shape: []int{n, 4}, Data: make([]float32, 4*n)}}, {Name: "sigma", Array: npy.Array{Shape: []int{n}, Data: make([]float32, n)}}}); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(dir, "x.npz")
	if err := os.WriteFile(archive, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	good, out := model("gaussian4"), filepath.Join(dir, "o.npy")
	for _, args := range [][]string{
		{"run", good, "-i", archive}, {"loss", good, data, "-n", "10", "--levels", "2"}, {"compare", data, data, "--points", "50"},
		{good, "-n", "20000", "--sampler", "euler", "--steps", "2", "-o", out}, {"interpolate", good, "-n", "4000", "--rows", "2", "-o", out, "--rtol", "0.1", "--atol", "0.1"},
		{"bench", good, "-b", "10000", "--min-time", "1ns"}, {good, "-n", "600", "--sampler", "euler", "--steps", "2", "-o", out, "--trajectory", filepath.Join(dir, "t.npz")},
		{"verify", good, filepath.Join(golden, "stats.json"), "-n", "20000", "--alpha", "1e-9"},
	} {
		args = append(args, "--limit", "data=60kB")
		for step := 0; ; step++ {
			code, _, stderr := command(t, args...)
			if code == exitDone && step > 0 {
				break
			}
			_, hint, ok := strings.Cut(stderr, "(raise it with --limit ")
			if code != exitLimit || !ok || !strings.Contains(hint, "data=") || step > 20 {
				t.Errorf("%v: exit %d: %s", args, code, stderr)
				break
			}
			args[len(args)-1], _, _ = strings.Cut(hint, ")")
		}
	}
}

// A run ends when its time does, whatever it is doing.
func TestTimeLimit(t *testing.T) {
	good, data := model("gaussian4"), writeNPY(t, npy.Array{Shape: []int{100, 4}, Data: make([]float32, 400)})
	for _, args := range [][]string{
		{good}, {"run", good, "-i", "x=" + data}, {"inspect", good}, {"bench", good}, {"verify", good, filepath.Join(golden, "stats.json")}, {"likelihood", good, data}, {"loss", good, data},
		{"encode", good, data}, {"decode", good, data}, {"interpolate", good}, {"compare", data, data},
	} {
		code, out, stderr := command(t, append(args, "--limit", "time=1ns")...)
		if code != exitLimit || out != "" || !strings.Contains(stderr, "not done within the limit of time") || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: exit %d, %q, %q", args, code, out, stderr)
		}
	}
	dir := t.TempDir()
	code, _, stderr := command(t, good, "--sampler", "pc", "--steps", "1000000", "-n", "64", "-q", "-o", filepath.Join(dir, "x.npy"), "--limit", "time=300ms")
	if code != exitLimit || !strings.Contains(stderr, "not done within the limit of time") || len(files(t, dir)) != 0 {
		t.Errorf("exit %d: %q, %v", code, stderr, files(t, dir))
	}
	if code, _, stderr := command(t, "inspect", good, "--limit", "time=1h"); code != exitDone {
		t.Error(fmt.Sprint(code, stderr))
	}
}
