package main

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// box is a rectangle of a drawing.
type box struct {
	X      float64 `xml:"x,attr"`
	Y      float64 `xml:"y,attr"`
	Width  float64 `xml:"width,attr"`
	Height float64 `xml:"height,attr"`
}

// boxes reads an SVG drawing: the boxes of its operators, and how many edges it has.
func boxes(t *testing.T, name string) (list []box, edges int) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in := xml.NewDecoder(f)
	for {
		token, err := in.Token()
		if err == io.EOF {
			return list, edges
		}
		if err != nil {
			t.Fatal(err)
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		switch at := start.Attr; {
		case start.Name.Local == "rect" && at[0].Name.Local == "x":
			var b box
			if err := in.DecodeElement(&b, &start); err != nil {
				t.Fatal(err)
			}
			list = append(list, b)
		case start.Name.Local == "path" && strings.Contains(fmt.Sprint(at), "marker-end"):
			edges++
		}
	}
}

// TestGraph: the drawings have every operator, none over another, and the same
// edges in both formats.
func TestGraph(t *testing.T) {
	for _, w := range []struct {
		net    string
		joined bool
	}{{"swissroll", false}, {"swissroll", true}, {"digits_ncsnv2", false}, {"digits_ncsnv2", true}, {"digits_ncsnpp_ve", true}} {
		t.Run(fmt.Sprintf("%s joined %v", w.net, w.joined), func(t *testing.T) {
			dir := t.TempDir()
			svg, dot := filepath.Join(dir, "g.svg"), filepath.Join(dir, "g.dot")
			args := []string{"inspect", model(w.net), "--json"}
			if w.joined {
				args = append(args, "--batch", "4")
			}
			var i inspection
			if err := json.Unmarshal([]byte(must(t, append(args, "--graph", svg)...)), &i); err != nil {
				t.Fatal(err)
			}
			must(t, append(args, "--graph", dot)...)
			text, err := os.ReadFile(dot)
			if err != nil {
				t.Fatal(err)
			}
			want := len(i.Inputs) + len(i.Outputs)
			for _, n := range i.Operators {
				if !w.joined {
					want += n
				}
			}
			for _, op := range i.Plan.Operators {
				if w.joined {
					want += op.Count
				}
			}
			list, edges := boxes(t, svg)
			if n := strings.Count(string(text), "[label="); n != want || len(list) != want {
				t.Errorf("%d boxes in the one, %d in the other, want %d", len(list), n, want)
			}
			if n := strings.Count(string(text), " -> "); n != edges || n < want-len(i.Outputs)-2 {
				t.Errorf("%d edges in the one, %d in the other, for %d boxes", edges, n, want)
			}
			for k, a := range list {
				for _, b := range list[:k] {
					if a.X < b.X+b.Width && b.X < a.X+a.Width && a.Y < b.Y+b.Height && b.Y < a.Y+a.Height {
						t.Fatalf("boxes %v and %v overlap", a, b)
					}
				}
			}
			inner := "[batch,2]"
			if w.joined {
				inner = "[4,"
			}
			if w.net == "swissroll" && !strings.Contains(string(text), inner) {
				t.Errorf("no shape %s in\n%s", inner, text)
			}
		})
	}
	if code, _, err := command(t, "inspect", model("swissroll"), "--graph", "g.gif"); code != exitUsage || !strings.Contains(err, ".svg") {
		t.Errorf("exit %d: %s", code, err)
	}
}

// TestInspectUnsupported: a model that cannot run is described all the same.
func TestInspectUnsupported(t *testing.T) {
	g := &graph{}
	x := g.input("x", isFloat, -1, 4)
	net := g.write(t, g.op("Mul", g.op("NonMaxSuppression", g.op("Fancy", g.op("Fancy", x))), x), -1, 4)
	dot := filepath.Join(t.TempDir(), "g.dot")
	code, out, errors := command(t, "inspect", net, "--graph", dot)
	if code != exitModel || !strings.Contains(errors, "3 nodes are not supported") {
		t.Errorf("exit %d: %s", code, errors)
	}
	for _, want := range []string{"Mul-17", "Fancy-17", "[B,4]", "not supported", "no such operator here, in node \"v1\" and 1 more"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	text, err := os.ReadFile(dot)
	if err != nil || strings.Count(string(text), looks["unsupported"].fill) != 3 {
		t.Errorf("%v: %s", err, text)
	}
	code, out, _ = command(t, "inspect", net, "--json")
	var i inspection
	if err := json.Unmarshal([]byte(out), &i); err != nil || code != exitModel || len(i.Refused) != 3 || i.Refused[0].Op != "Fancy" || len(i.Versions) != 4 {
		t.Errorf("exit %d, %v: %s", code, err, out)
	}
	// A file that is no model has nothing to be described.
	if code, out, _ := command(t, "inspect", filepath.Join(models, "swissroll.npz")); code != exitModel || out != "" {
		t.Errorf("exit %d: %s", code, out)
	}
}
