package main

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// rooms is the import table of the project: which packages each room may
// import besides the standard library and itself. A package below a listed one
// belongs to the same room unless it is listed itself.
var rooms = map[string][]string{
	"sampleonnx/schedules":               {},
	"sampleonnx/sampler":                 {"sampleonnx/schedules", "sampleonnx/sampler/internal/philox"},
	"sampleonnx/sampler/stats":           {},
	"sampleonnx/sampler/internal/philox": {"golang.org/x/sys/cpu"}, // which vector instructions make the noise; the bits are the same
	"sampleonnx/onnxrun/internal/kernel": {"golang.org/x/sys/cpu"},
	"sampleonnx/onnxrun/internal/onnx":   {"github.com/owulveryck/onnx-go", "google.golang.org/protobuf/encoding/protowire", "golang.org/x/sys", "gonum.org/v1/gonum/graph"},
	"sampleonnx/onnxrun/internal/ops":    {"sampleonnx/onnxrun/internal/kernel", "sampleonnx/onnxrun/internal/onnx"},
	"sampleonnx/onnxrun/internal/plan": {"sampleonnx/onnxrun/internal/ops", "sampleonnx/onnxrun/internal/onnx", "sampleonnx/onnxrun/internal/kernel",
		"gorgonia.org/gorgonia", "gorgonia.org/tensor", "github.com/chewxy/hm", "go4.org/unsafe/assume-no-moving-gc"},
	"sampleonnx/onnxrun": {"sampleonnx/onnxrun/internal/onnx", "sampleonnx/onnxrun/internal/ops", "sampleonnx/onnxrun/internal/plan"},
	"sampleonnx/cmd/sampleonnx": {"sampleonnx/onnxrun", "sampleonnx/sampler", "sampleonnx/sampler/stats", "sampleonnx/schedules",
		"github.com/spf13/pflag", "golang.org/x/term"},
}

// TestRooms holds every package to the table.
func TestRooms(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,Module", "sampleonnx/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := map[string]bool{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		room := p.ImportPath
		for rooms[room] == nil {
			i := strings.LastIndex(room, "/")
			if i < 0 {
				t.Fatalf("package %s is in no room: add it to the table or move it", p.ImportPath)
			}
			room = room[:i]
		}
		seen[room] = true
		for _, imp := range p.Imports {
			if standard(imp) || within(imp, room) && !otherRoom(imp, room) {
				continue
			}
			if !slices.ContainsFunc(rooms[room], func(ok string) bool { return within(imp, ok) && !otherRoom(imp, ok) }) {
				t.Errorf("%s may not import %s", p.ImportPath, imp)
			}
		}
	}
	for room := range rooms {
		if !seen[room] {
			t.Errorf("room %s has no package", room)
		}
	}
}

// standard reports whether a path is of the standard library: its first
// element has no dot.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return first != "sampleonnx" && !strings.Contains(first, ".")
}

func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// otherRoom reports whether path lies below room but is a room of its own.
func otherRoom(path, room string) bool {
	for r := range rooms {
		if r != room && within(r, room) && within(path, r) {
			return true
		}
	}
	return false
}
