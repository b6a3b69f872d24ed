package onnx

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

func parseOK(t *testing.T, data []byte) *Model {
	t.Helper()
	m, err := Parse(t.Context(), data, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if err := check(m); err != nil {
		t.Fatal(err)
	}
	return m
}

// parseErr wants an error of type T whose one line contains each of parts.
func parseErr[T error](t *testing.T, data []byte, parts ...string) {
	t.Helper()
	_, err := Parse(t.Context(), data, Limits{})
	wantErr[T](t, err, parts...)
}

func wantErr[T error](t *testing.T, err error, parts ...string) {
	t.Helper()
	if _, ok := errors.AsType[T](err); !ok {
		t.Fatalf("got error %v (%T), want a %v", err, err, reflect.TypeFor[T]())
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q does not say %q", err, p)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error %q has more than one line", err)
	}
}

// show writes a graph as text, one node a line, values by name.
func show(g *Graph) string {
	name := func(v int) string {
		if v < 0 {
			return "_"
		}
		return g.Values[v].Name
	}
	var b strings.Builder
	for _, n := range g.Nodes {
		op := n.Op
		if n.Domain != "" {
			op = n.Domain + "." + op
		}
		fmt.Fprint(&b, op)
		for _, v := range n.Inputs {
			fmt.Fprint(&b, " ", name(v))
		}
		fmt.Fprint(&b, " ->")
		for _, v := range n.Outputs {
			fmt.Fprint(&b, " ", name(v))
		}
		b.WriteString("\n")
	}
	return b.String()
}

func wantShow(t *testing.T, g *Graph, lines ...string) {
	t.Helper()
	want := strings.Join(lines, "\n") + "\n"
	if got := show(g); got != want {
		t.Errorf("got nodes\n%swant\n%s", got, want)
	}
}

func weightOf(t *testing.T, g *Graph, name string) *Tensor {
	t.Helper()
	for v, w := range g.Weights {
		if g.Values[v].Name == name {
			return w
		}
	}
	t.Fatalf("no weight %q", name)
	return nil
}

func TestModel(t *testing.T) {
	m := parseOK(t, model(
		graphOf(
			input("x", "batch", 3, nil), input("free"),
			initializer(floats("w", 1, 2, 3)),
			node("Mul", "x w", "y", domain("ai.onnx")),
			node("Twist", "y free", "z", domain("com.acme"),
				attr("alpha", float32(0.5)), attr("axis", -1), attr("mode", "fast"),
				attr("scales", []float32{1, 2}), attr("pads", []int64{0, -1}), attr("names", []string{"a", "b"}),
				attr("table", floats("", 7))),
			info("y", "batch", 3, nil), info("gone", 1),
			output("z"),
		),
		msg(nil).bytes(8, opset("com.acme", 2)),
		msg(nil).bytes(14, msg(nil).text(1, "score.sde").text(2, "vp")),
	))
	if m.IRVersion != 8 || m.Producer != "test" || m.ProducerVersion != "1.0" || m.Name != "g" ||
		m.Metadata["score.sde"] != "vp" || m.Opset[""] != 17 || m.Opset["com.acme"] != 2 {
		t.Errorf("model %+v", m)
	}
	g := m.Graph
	wantShow(t, g, "Mul x w -> y", "com.acme.Twist y free -> z")
	x := g.Values[g.Inputs[0]]
	if want := []Dim{{-1, "batch"}, {Size: 3}, {Size: -1}}; x.Name != "x" || x.DType != Float || !slices.Equal(x.Dims, want) {
		t.Errorf("input %+v", x)
	}
	if free := g.Values[g.Inputs[1]]; free.DType != 0 || free.Dims != nil {
		t.Errorf("input without a type: %+v", free)
	}
	if y := g.Values[g.Nodes[0].Outputs[0]]; len(y.Dims) != 3 || y.DType != Float {
		t.Errorf("value_info of y: %+v", y)
	}
	if w := g.Values[g.Nodes[0].Inputs[1]]; w.DType != Float || !slices.Equal(w.Dims, []Dim{{Size: 3}}) {
		t.Errorf("value of a weight: %+v", w)
	}
	n := g.Nodes[1]
	if n.Name != "n_z" || n.Version != 2 || g.Nodes[0].Version != 17 || g.Nodes[0].Domain != "" {
		t.Errorf("nodes %+v", g.Nodes)
	}
	a := n.Attrs
	if a["alpha"].Float != 0.5 || a["axis"].Int != -1 || a["mode"].String != "fast" ||
		!slices.Equal(a["scales"].Floats, []float32{1, 2}) || !slices.Equal(a["pads"].Ints, []int64{0, -1}) ||
		!slices.Equal(a["names"].Strings, []string{"a", "b"}) || a["table"].Tensor.Elems() != 1 || a["table"].Kind != AttrTensor {
		t.Errorf("attributes %+v", a)
	}
}

func TestTopology(t *testing.T) {
	for _, c := range []struct {
		name  string
		graph msg
		want  []string
	}{
		{"the same input twice", graphOf(input("x"), node("Mul", "x x", "y"), output("y")),
			[]string{"Mul x x -> y"}},
		{"inputs left out", graphOf(input("x"), input("hi"), node("Clip", "x _ hi", "y"), node("Clip", "y", "z"), node("Resize", "z _ _", "w"), output("w")),
			[]string{"Clip x _ hi -> y", "Clip y -> z", "Resize z _ _ -> w"}},
		{"several outputs", graphOf(input("x"), node("Split", "x x", "a b c"), node("Sub", "c a", "y"), output("y"), output("b")),
			[]string{"Split x x -> a b c", "Sub c a -> y"}},
		{"outputs left out", graphOf(input("x"), node("Drop", "x _ x", "_ m _"), output("m")),
			[]string{"Drop x _ x -> _ m _"}},
		{"no inputs", graphOf(node("RandomNormal", "", "r s"), node("RandomNormal", "", "q"), node("Add", "r q", "y"), output("y")),
			[]string{"RandomNormal -> r s", "RandomNormal -> q", "Add r q -> y"}},
		{"all inputs left out", graphOf(node("Make", "_", "y"), node("Make", "_ _", "z"), output("y")),
			[]string{"Make _ -> y", "Make _ _ -> z"}},
		{"file order kept", graphOf(input("x"), node("B", "x", "b"), node("A", "x", "a"), node("C", "a b", "c"), output("c")),
			[]string{"B x -> b", "A x -> a", "C a b -> c"}},
		{"out of order", graphOf(input("x"), node("C", "a b", "c"), node("B", "x", "b"), node("A", "b", "a"), output("c")),
			[]string{"B x -> b", "A b -> a", "C a b -> c"}},
		{"an output that is an input", graphOf(input("x"), node("A", "x", "a"), output("x"), output("a"), output("a")),
			[]string{"A x -> a"}},
		{"names like the decoder's own", graphOf(input("/input"), input("0"), node("A", "/input 0", "1"), node("B", "", "2"), output("1"), output("2")),
			[]string{"A /input 0 -> 1", "B -> 2"}},
		{"a name like an operator's", graphOf(input("x"), node("A", "x", "y", domain("a::b")), output("y")),
			[]string{"a::b.A x -> y"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := parseOK(t, model(c.graph, msg(nil).bytes(8, opset("a::b", 1))))
			wantShow(t, m.Graph, c.want...)
		})
	}
	t.Run("no nodes", func(t *testing.T) {
		m := parseOK(t, model(graphOf(input("x"), initializer(floats("w", 1)), output("w"), output("x"))))
		if len(m.Graph.Nodes) != 0 || len(m.Graph.Outputs) != 2 {
			t.Errorf("graph %+v", m.Graph)
		}
	})
	t.Run("a long chain, backwards", func(t *testing.T) {
		const n = 20000
		fields := []msg{input("v0"), output(fmt.Sprint("v", n))}
		for i := n; i > 0; i-- {
			fields = append(fields, node("A", fmt.Sprint("v", i-1), fmt.Sprint("v", i)))
		}
		m := parseOK(t, model(graphOf(fields...)))
		if g := m.Graph; len(g.Nodes) != n || g.Values[g.Nodes[n-1].Outputs[0]].Name != fmt.Sprint("v", n) {
			t.Errorf("%d nodes", len(g.Nodes))
		}
	})
}

func TestInvalidGraphs(t *testing.T) {
	for _, c := range []struct {
		name  string
		data  []byte
		parts []string
	}{
		{"dangling input", model(graphOf(node("A", "x", "y"), output("y"))), []string{`node "n_y" (A)`, `"x"`}},
		{"dangling output", model(graphOf(input("x"), node("A", "x", "y"), output("z"))), []string{`"z"`}},
		{"cycle", model(graphOf(node("A", "b", "a"), node("B", "a", "b"), output("a"))), []string{"depends on its own output"}},
		{"own input", model(graphOf(node("A", "a", "a"), output("a"))), []string{"depends on its own output"}},
		{"made twice", model(graphOf(input("x"), node("A", "x", "y"), node("B", "x", "y"), output("y"))), []string{`node "n_y" (B)`, `"y"`, "twice"}},
		{"node without a name", model(graphOf(input("x"), msg(nil).bytes(1, msg(nil).text(1, "x").text(1, "q").text(2, "").text(2, "y").text(4, "A")), output("y"))), []string{`node "y" (A)`, `"q"`}},
		{"node makes an input", model(graphOf(input("x"), node("A", "x", "x"), output("x"))), []string{`"x"`, "twice"}},
		{"node makes a weight", model(graphOf(initializer(floats("w", 1)), node("A", "", "w"), output("w"))), []string{`"w"`, "twice"}},
		{"two weights", model(graphOf(initializer(floats("w", 1)), initializer(floats("w", 2)), output("w"))), []string{`"w"`, "twice"}},
		{"input listed twice", model(graphOf(input("x"), input("x"), node("A", "x", "y"), output("y"))), []string{`"x"`, "twice"}},
		{"input without a name", model(graphOf(input(""), output("x"))), []string{"no name"}},
		{"weight without a name", model(graphOf(initializer(floats("", 1)), output("x"))), []string{"no name"}},
		{"no outputs", model(graphOf(input("x"), node("A", "x", "y"))), []string{"no outputs"}},
		{"node without outputs", model(graphOf(input("x"), node("A", "x", ""), output("x"))), []string{"no outputs"}},
		{"node without operator", model(graphOf(input("x"), node("", "x", "y"), output("y"))), []string{"no operator"}},
		{"standard not imported", msg(nil).int(1, 8).bytes(7, graphOf(input("x"), node("A", "x", "y"), output("y"))).bytes(8, opset("com.acme", 1)), []string{`node "n_y" (A)`, "ai.onnx"}},
		{"no operator set", msg(nil).int(1, 8).bytes(7, graphOf(input("x"), output("x"))), []string{"imports no operator set"}},
		{"operator set 0", model(graphOf(input("x"), output("x")), msg(nil).bytes(8, opset("a", 0))), []string{"version 0"}},
		{"operator set twice", model(graphOf(input("x"), output("x")), msg(nil).bytes(8, opset("ai.onnx", 11))), []string{"17", "11"}},
		{"no ir_version", msg(nil).bytes(7, graphOf(input("x"), output("x"))), []string{"ir_version"}},
		{"two graphs", model(graphOf(input("x"), output("x")), msg(nil).bytes(7, graphOf())), []string{"two graphs"}},
		{"name not UTF-8", model(graphOf(input("\xff"), output("\xff"))), []string{"UTF-8"}},
		{"operator of two lines", model(graphOf(node("A\nB", "", "y"), output("y"))), []string{"control"}},
		{"attribute twice", model(graphOf(node("A", "", "y", attr("a", 1), attr("a", 2)), output("y"))), []string{`"a"`, "twice", "n_y"}},
		{"attribute without a name", model(graphOf(node("A", "", "y", attr("", 1)), output("y"))), []string{"no name"}},
		{"attribute without a value", model(graphOf(node("A", "", "y", msg(nil).bytes(5, msg(nil).text(1, "a"))), output("y"))), []string{`"a"`, "no value"}},
		{"tensor attribute without a value", model(graphOf(node("A", "", "y", msg(nil).bytes(5, msg(nil).text(1, "a").int(20, 4))), output("y"))), []string{`"a"`, "no value"}},
		{"attribute of another type", model(graphOf(node("A", "", "y", msg(nil).bytes(5, msg(nil).text(1, "a").int(3, 1).int(20, 1))), output("y"))), []string{`"a"`}},
		{"attribute type of more than 32 bits", model(graphOf(node("A", "", "y", msg(nil).bytes(5, msg(nil).text(1, "a").int(3, 1).int(20, 1<<32|2))), output("y"))), []string{`"a"`}},
		{"element type of more than 32 bits", model(graphOf(msg(nil).bytes(11, msg(nil).text(1, "x").bytes(2, msg(nil).bytes(1, msg(nil).int(1, 1<<32|1)))), output("x"))), []string{`"x"`, "4294967297"}},
		{"attribute type unknown", model(graphOf(node("A", "", "y", msg(nil).bytes(5, msg(nil).text(1, "a").int(20, 99))), output("y"))), []string{"99"}},
		{"reference outside a function", model(graphOf(node("A", "", "y", attr("a", ref{"b", AttrInt})), output("y"))), []string{`"b"`, "function"}},
		{"wrong wire type", model(graphOf(msg(nil).int(1, 5))), []string{"wire type"}},
		{"group", model(graphOf(msg(nil).append(0x0b))), []string{"wire type"}},
	} {
		t.Run(c.name, func(t *testing.T) { parseErr[*FormatError](t, c.data, c.parts...) })
	}
	t.Run("sparse initializer", func(t *testing.T) {
		parseErr[*UnsupportedError](t, model(graphOf(msg(nil).bytes(15, nil), output("x"))), "sparse")
	})
	t.Run("sequence input", func(t *testing.T) {
		seq := msg(nil).bytes(11, msg(nil).text(1, "x").bytes(2, msg(nil).bytes(4, nil)))
		parseErr[*UnsupportedError](t, model(graphOf(seq, output("x"))), `"x"`, "sequence")
	})
}

func (m msg) append(b ...byte) msg { return append(m, b...) }

func TestNotAModel(t *testing.T) {
	small := model(graphOf(input("x", 1), initializer(floats("w", 1, 2)), node("Add", "x w", "y"), output("y", 1)))
	random := make([]byte, 4096)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(random)
	for _, c := range []struct {
		name string
		data []byte
		part string
	}{
		{"empty", nil, "the file is empty"},
		{"random", random, "not an ONNX model"},
		{"truncated", small[:len(small)/2], "truncated"},
		{"zeros", make([]byte, 100), "not an ONNX model"},
		{"LFS pointer", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"), "a Git LFS pointer, not the model"},
		{"HTML", []byte("\n<!DOCTYPE html><html><body>404</body></html>"), "HTML"},
		{"text", []byte("Entry not found"), "text file"},
		{"long text", bytes.Repeat([]byte("σ is the noise level.\n"), 100), "text file"},
		{"zip", []byte("PK\x03\x04\x00\x00\x00\x00"), "zip"},
		{"NumPy", []byte("\x93NUMPY\x01\x00v\x00"), "NumPy"},
		{"ORT format", []byte("\x20\x00\x00\x00ORTM\x00\x00"), "ORT format"},
		{"only a version", msg(nil).int(1, 8), "no graph"},
	} {
		t.Run(c.name, func(t *testing.T) { parseErr[*FormatError](t, c.data, c.part) })
	}
	for n := range small {
		if _, err := Parse(t.Context(), small[:n], Limits{}); err == nil {
			// Cut between two fields, a file may still be whole; not before
			// its last field, the operator set.
			t.Errorf("the first %d bytes of %d are a model", n, len(small))
		}
	}
}

// TestOldModels: initializers are listed among the inputs, attributes have no
// type, and before IR version 3 there is no operator set.
func TestOldModels(t *testing.T) {
	untyped := msg(nil).bytes(5, msg(nil).text(1, "axis").int(3, 2))
	g := graphOf(input("x"), input("w", 2), initializer(floats("w", 1, 2)), node("Add", "x w", "y", untyped), output("y"))
	m := parseOK(t, msg(nil).int(1, 2).bytes(7, g))
	if m.Opset[""] != 1 || m.Graph.Nodes[0].Version != 1 || m.Graph.Nodes[0].Attrs["axis"].Kind != AttrInt || m.Graph.Nodes[0].Attrs["axis"].Int != 2 {
		t.Errorf("model %+v", m)
	}
	if len(m.Graph.Inputs) != 1 || m.Graph.Values[m.Graph.Inputs[0]].Name != "x" || len(m.Graph.Weights) != 1 {
		t.Errorf("graph %+v", m.Graph)
	}
}

func TestTensors(t *testing.T) {
	le := binary.LittleEndian
	raw := func(b []byte) msg { return msg(nil).bytes(9, b) }
	bits := func(h ...uint16) (b []byte) {
		for _, v := range h {
			b = le.AppendUint16(b, v)
		}
		return b
	}
	double := func(v ...float64) (b []byte) {
		for _, f := range v {
			b = le.AppendUint64(b, math.Float64bits(f))
		}
		return b
	}
	for _, c := range []struct {
		name  string
		dtype DType
		dims  []int64
		data  []msg
		want  []float64
	}{
		{"float raw", Float, []int64{2, 1}, []msg{raw(floatBytes(1.5, -2))}, []float64{1.5, -2}},
		{"float packed", Float, []int64{2}, []msg{msg(nil).bytes(4, floatBytes(1.5, -2))}, []float64{1.5, -2}},
		{"float unpacked", Float, []int64{2}, []msg{msg(nil).float(4, 1.5), msg(nil).float(4, -2)}, []float64{1.5, -2}},
		{"float packed in two", Float, []int64{3}, []msg{msg(nil).bytes(4, floatBytes(1, 2)), msg(nil).float(4, 3)}, []float64{1, 2, 3}},
		{"scalar", Float, nil, []msg{raw(floatBytes(3))}, []float64{3}},
		{"scalar unpacked", Float, nil, []msg{msg(nil).float(4, 3)}, []float64{3}},
		{"empty", Float, []int64{0}, nil, nil},
		{"empty raw", Int64, []int64{3, 0, 2}, []msg{raw(nil)}, nil},
		{"double raw", Double, []int64{2}, []msg{raw(double(math.Pi, 1e300))}, []float64{math.Pi, 1e300}},
		{"double packed", Double, []int64{2}, []msg{msg(nil).bytes(10, double(math.Pi, 2))}, []float64{math.Pi, 2}},
		{"double unpacked", Double, []int64{2}, []msg{msg(nil).double(10, math.Pi), msg(nil).double(10, 2)}, []float64{math.Pi, 2}},
		{"int64 packed", Int64, []int64{3}, []msg{msg(nil).packed(7, 1, -2, 1<<40)}, []float64{1, -2, 1 << 40}},
		{"int64 unpacked", Int64, []int64{2}, []msg{msg(nil).int(7, 1), msg(nil).int(7, -2)}, []float64{1, -2}},
		{"int64 raw", Int64, []int64{1}, []msg{raw(le.AppendUint64(nil, 1<<63))}, []float64{math.MinInt64}},
		{"uint64", Uint64, []int64{2}, []msg{msg(nil).packed(11, 7, -1)}, []float64{7, 1 << 64}},
		{"uint32", Uint32, []int64{2}, []msg{msg(nil).packed(11, 7, 1<<32-1)}, []float64{7, 1<<32 - 1}},
		{"int32", Int32, []int64{2}, []msg{msg(nil).packed(5, math.MinInt32, 5)}, []float64{math.MinInt32, 5}},
		{"int16", Int16, []int64{2}, []msg{msg(nil).packed(5, -5, 5)}, []float64{-5, 5}},
		{"int8", Int8, []int64{2}, []msg{msg(nil).packed(5, -128, 127)}, []float64{-128, 127}},
		{"int8 raw", Int8, []int64{2}, []msg{raw([]byte{0x80, 1})}, []float64{-128, 1}},
		{"uint16", Uint16, []int64{1}, []msg{msg(nil).packed(5, 65535)}, []float64{65535}},
		{"uint8", Uint8, []int64{2}, []msg{msg(nil).int(5, 255), msg(nil).packed(5, 0)}, []float64{255, 0}},
		{"bool", Bool, []int64{3}, []msg{msg(nil).packed(5, 1, 0, 1)}, []float64{1, 0, 1}},
		{"bool raw", Bool, []int64{2}, []msg{raw([]byte{2, 0})}, []float64{1, 0}},
		{"float16", Float16, []int64{2}, []msg{msg(nil).packed(5, 0x3c00, 0xc000)}, []float64{1, -2}},
		{"float16 raw", Float16, []int64{2}, []msg{raw(bits(0x3c00, 1))}, []float64{1, 0x1p-24}},
		{"bfloat16", BFloat16, []int64{2}, []msg{msg(nil).packed(5, 0x3f80, 0xc000)}, []float64{1, -2}},
		{"bfloat16 raw", BFloat16, []int64{1}, []msg{raw(bits(0x4049))}, []float64{3.140625}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := parseOK(t, model(graphOf(initializer(tensor("w", c.dtype, c.dims, c.data...)), output("w"))))
			w := weightOf(t, m.Graph, "w")
			if w.DType != c.dtype || len(w.Shape) != len(c.dims) || w.Elems() != len(c.want) {
				t.Fatalf("tensor %+v", w)
			}
			got := make([]float64, len(c.want))
			if err := w.Float64s(got); err != nil || !slices.Equal(got, c.want) {
				t.Errorf("got %v, %v, want %v", got, err, c.want)
			}
			narrow := make([]float32, len(c.want))
			if err := w.Float32s(narrow); err != nil {
				t.Error(err)
			}
			truth := make([]bool, len(c.want))
			if err := w.Bools(truth); err != nil {
				t.Error(err)
			}
			for i, v := range c.want {
				if narrow[i] != float32(v) || truth[i] != (v != 0) {
					t.Errorf("element %d is %v and %v", i, narrow[i], truth[i])
				}
			}
			ints := make([]int64, len(c.want)+1)
			if err := w.Int64s(ints); err == nil {
				t.Error("a slice too long is accepted")
			}
		})
	}
	t.Run("exact integers", func(t *testing.T) {
		want := []int64{math.MaxInt64, math.MinInt64 + 1}
		m := parseOK(t, model(graphOf(initializer(tensor("w", Int64, []int64{2}, msg(nil).packed(7, want...))), output("w"))))
		got := make([]int64, 2)
		if err := weightOf(t, m.Graph, "w").Int64s(got); err != nil || !slices.Equal(got, want) {
			t.Errorf("got %v, %v", got, err)
		}
	})
	t.Run("raw data is a view", func(t *testing.T) {
		data := model(graphOf(initializer(floats("w", 1, 2)), output("w")))
		w := weightOf(t, parseOK(t, data).Graph, "w")
		at := bytes.Index(data, floatBytes(1, 2))
		if &w.Raw[0] != &data[at] || cap(w.Raw) != 8 {
			t.Error("the weight is a copy, or can be appended to in place")
		}
	})
	t.Run("no numbers", func(t *testing.T) {
		for _, d := range []DType{String, 17, 22} {
			m := parseOK(t, model(graphOf(initializer(tensor("w", d, []int64{2}, raw([]byte{1}))), output("w"))))
			w := weightOf(t, m.Graph, "w")
			if w.DType != d || w.Raw != nil || w.Float32s(make([]float32, 2)) == nil {
				t.Errorf("tensor %+v", w)
			}
		}
	})
	for _, c := range []struct {
		name  string
		t     tensorMsg
		parts []string
	}{
		{"undefined", tensor("w", 0, []int64{1}, raw(nil)), []string{`initializer "w"`, "undefined"}},
		{"no such dtype", tensor("w", 99, nil), []string{"99"}},
		{"dtype beyond 32 bits", tensor("w", Float, nil, msg(nil).int(2, 1<<32+1)), []string{"4294967297"}},
		{"too little", tensor("w", Float, []int64{2, 3}, raw(floatBytes(1))), []string{"4 bytes", "want 24", "[2 3] float32"}},
		{"nothing", tensor("w", Float, []int64{1}), []string{"want 4"}},
		{"too much", tensor("w", Float, []int64{0}, raw(floatBytes(1))), []string{"want 0"}},
		{"too few elements", tensor("w", Int64, []int64{3}, msg(nil).packed(7, 1)), []string{"int64_data has 1", "want 3"}},
		{"in the wrong field", tensor("w", Float, []int64{1}, msg(nil).packed(7, 1)), []string{"float32 data is in int64_data"}},
		{"in two fields", tensor("w", Float, []int64{1}, msg(nil).packed(7, 1), msg(nil).float(4, 1)), []string{"int64_data", "float_data"}},
		{"raw and typed", tensor("w", Float, []int64{1}, raw(floatBytes(1)), msg(nil).float(4, 1)), []string{"raw_data", "float_data"}},
		{"out of range", tensor("w", Uint8, []int64{1}, msg(nil).packed(5, 256)), []string{"256", "uint8"}},
		{"not a bool", tensor("w", Bool, []int64{1}, msg(nil).packed(5, 2)), []string{"2", "bool"}},
		{"ragged floats", tensor("w", Float, []int64{1}, msg(nil).bytes(4, make([]byte, 7))), []string{"damaged"}},
		{"negative dimension", tensor("w", Float, []int64{-1}), []string{"negative"}},
		{"segment", tensor("w", Float, nil, msg(nil).bytes(3, nil)), []string{"segments"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			parseErr[*FormatError](t, model(graphOf(initializer(c.t), output("w"))), c.parts...)
		})
	}
}

func TestConstants(t *testing.T) {
	for _, c := range []struct {
		attr  string
		v     any
		dtype DType
		shape []int
		want  []float32
	}{
		{"value", floats("", 1, 2), Float, []int{2}, []float32{1, 2}},
		{"value_float", float32(1.5), Float, []int{}, []float32{1.5}},
		{"value_floats", []float32{1, 2}, Float, []int{2}, []float32{1, 2}},
		{"value_floats", []float32{}, Float, []int{0}, nil},
		{"value_int", -3, Int64, []int{}, []float32{-3}},
		{"value_ints", []int64{4, 5}, Int64, []int{2}, []float32{4, 5}},
		{"value_ints", []int64{}, Int64, []int{0}, nil},
	} {
		m := parseOK(t, model(graphOf(input("x"), node("Add", "x c", "y"), node("Constant", "", "c", attr(c.attr, c.v)), output("y"))))
		wantShow(t, m.Graph, "Add x c -> y")
		w := weightOf(t, m.Graph, "c")
		got := make([]float32, len(c.want))
		if err := w.Float32s(got); err != nil || !slices.Equal(got, c.want) || w.DType != c.dtype || !slices.Equal(w.Shape, c.shape) {
			t.Errorf("%s is %+v: %v, %v", c.attr, w, got, err)
		}
	}
	for _, v := range []msg{attr("value_string", "s"), attr("value_strings", []string{"a", "b"})} {
		m := parseOK(t, model(graphOf(node("Constant", "", "c", v), output("c"))))
		if w := weightOf(t, m.Graph, "c"); w.DType != String || w.Raw != nil {
			t.Errorf("string constant %+v", w)
		}
	}
	bad := func(ins string, attrs ...msg) []byte {
		return model(graphOf(input("x"), node("Constant", ins, "c", attrs...), output("c")))
	}
	parseErr[*FormatError](t, bad(""), "value")
	parseErr[*FormatError](t, bad("", attr("value_int", 1), attr("value_float", float32(1))), "2 attributes")
	parseErr[*FormatError](t, bad("x", attr("value_int", 1)), "1 inputs")
	parseErr[*FormatError](t, bad("", attr("value_int", float32(1))), "value_int")
	parseErr[*FormatError](t, bad("", attr("other", 1)), "other")
	sparse := msg(nil).bytes(5, msg(nil).text(1, "sparse_value").bytes(22, nil).int(20, 11))
	parseErr[*UnsupportedError](t, model(graphOf(
		node("Constant", "", "c", sparse), node("Constant", "", "d", sparse), output("c"), output("d"))),
		"2 nodes", `"n_c"`, `"n_d"`, "sparse")
}

func TestBodies(t *testing.T) {
	inner := graphOf(node("Mul", "a k", "q"), node("Constant", "", "k", attr("value_int", 2)), output("q"))
	then := graphOf(initializer(floats("w", 1)), node("If", "c", "p", attr("then_branch", inner), attr("else_branch", graphOf(node("Neg", "w", "r"), output("r")))), node("Add", "p b", "t"), output("t"))
	els := graphOf(output("b"))
	m := parseOK(t, model(graphOf(
		input("x"), input("c"),
		node("If", "c", "y", attr("then_branch", then), attr("else_branch", els)),
		node("Exp", "x", "b"), node("Log", "b", "a"),
		output("y"))))
	// The If comes after what its branches capture.
	wantShow(t, m.Graph, "Exp x -> b", "Log b -> a", "If c -> y")
	captured := func(outer, g *Graph) (names []string) {
		for _, c := range g.Captures {
			if outer.Values[c.Outer].Name != g.Values[c.Value].Name {
				t.Errorf("capture %v joins different names", c)
			}
			names = append(names, g.Values[c.Value].Name)
		}
		slices.Sort(names)
		return names
	}
	tb := m.Graph.Nodes[2].Attrs["then_branch"].Graph
	wantShow(t, tb, "If c -> p", "Add p b -> t")
	if got := captured(m.Graph, tb); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("the branch captures %v", got)
	}
	in := tb.Nodes[0].Attrs["then_branch"].Graph
	wantShow(t, in, "Mul a k -> q")
	if got := captured(tb, in); !slices.Equal(got, []string{"a"}) || len(in.Weights) != 1 {
		t.Errorf("the inner branch captures %v", got)
	}
	eb := m.Graph.Nodes[2].Attrs["else_branch"].Graph
	if got := captured(m.Graph, eb); !slices.Equal(got, []string{"b"}) || eb.Outputs[0] != eb.Captures[0].Value {
		t.Errorf("the other branch captures %v", got)
	}
	parseErr[*FormatError](t, model(graphOf(input("c"), node("If", "c", "y",
		attr("then_branch", graphOf(node("A", "nowhere", "q"), output("q")))), output("y"))), `"nowhere"`, `"n_q"`)
	parseErr[*FormatError](t, model(graphOf(input("c"), node("If", "c", "y",
		attr("then_branch", graphOf(node("A", "y", "q"), output("q")))), output("y"))), "depends on its own output")
}

func TestFunctions(t *testing.T) {
	call := func(op, ins, outs string, fields ...msg) msg {
		return node(op, ins, outs, append(fields, domain("local"))...)
	}
	inBody := func(op, ins, outs string, fields ...msg) msg {
		return body(op, ins, outs, append(fields, domain("local"))...)
	}
	dom := msg(nil).bytes(8, opset("local", 1))
	t.Run("nested, called twice", func(t *testing.T) {
		m := parseOK(t, model(
			graphOf(input("x"), call("F", "x", "a"), call("F", "a", "b"), output("b")), dom,
			function("F", "u", "v", inBody("G", "h u", "v"), body("Exp", "u", "h")),
			function("G", "p q", "r", body("Mul", "p p", "t"), body("Add", "t q", "r")),
		))
		wantShow(t, m.Graph,
			"Exp x -> n_a/h", "Mul n_a/h n_a/h -> n_a/n_v/t", "Add n_a/n_v/t x -> a",
			"Exp a -> n_b/h", "Mul n_b/h n_b/h -> n_b/n_v/t", "Add n_b/n_v/t a -> b")
		if n := m.Graph.Nodes[1]; n.Name != "n_a/n_v/n_t" || n.Version != 18 {
			t.Errorf("node %+v", n)
		}
	})
	t.Run("attributes", func(t *testing.T) {
		f := function("F", "u", "v",
			body("A", "u c", "v", attr("axis", ref{"axis", AttrInt}), attr("to", ref{"to", AttrInt}), attr("keep", 7), attr("absent", ref{"absent", AttrFloat})),
			body("Constant", "", "c", attr("value_ints", ref{"list", AttrInts})),
			msg(nil).text(6, "axis").text(6, "absent").text(6, "list"),
			msg(nil).bytes(11, attrMsg("to", 1)))
		m := parseOK(t, model(graphOf(input("x"),
			call("F", "x", "a", attr("axis", 3), attr("list", []int64{1, 2})),
			call("F", "a", "b", attr("axis", 4), attr("to", 5), attr("list", []int64{})),
			output("b")), dom, f))
		first, second := m.Graph.Nodes[0].Attrs, m.Graph.Nodes[1].Attrs
		if len(first) != 3 || first["axis"].Int != 3 || first["to"].Int != 1 || first["keep"].Int != 7 {
			t.Errorf("attributes %+v", first)
		}
		if len(second) != 3 || second["axis"].Int != 4 || second["to"].Int != 5 {
			t.Errorf("attributes %+v", second)
		}
		if w := weightOf(t, m.Graph, "n_a/c"); !slices.Equal(w.Shape, []int{2}) {
			t.Errorf("constant %+v", w)
		}
		parseErr[*FormatError](t, model(graphOf(input("x"), call("F", "x", "a", attr("axis", "no")), output("a")), dom, f), `"axis"`)
	})
	t.Run("left out, passed on, unused", func(t *testing.T) {
		m := parseOK(t, model(
			graphOf(input("x"), call("F", "x", "a _ c"), node("Add", "a c", "y"), output("y")), dom,
			function("F", "u opt", "r s u", body("Clip", "u opt", "r"), body("Exp", "r", "s")),
		))
		wantShow(t, m.Graph, "Identity x -> c", "Clip x _ -> a", "Exp a -> n_a _ c/s", "Add a c -> y")
	})
	t.Run("one of the same name as an operator", func(t *testing.T) {
		m := parseOK(t, model(
			graphOf(input("x"), node("Add", "x x", "y"), call("Add", "x", "z"), output("y"), output("z")), dom,
			function("Add", "u", "v", body("Neg", "u", "v"))))
		wantShow(t, m.Graph, "Add x x -> y", "Neg x -> z")
	})
	t.Run("overloads", func(t *testing.T) {
		m := parseOK(t, model(
			graphOf(input("x"), call("F", "x", "y", msg(nil).text(8, "two")), output("y")), dom,
			function("F", "u", "v", body("One", "u", "v")),
			function("F", "u", "v", body("Two", "u", "v"), msg(nil).text(13, "two"))))
		wantShow(t, m.Graph, "Two x -> y")
	})
	t.Run("in and with a body", func(t *testing.T) {
		branch := graphOf(call("G", "h u", "w"), node("Scale", "w", "o", attr("by", ref{"by", AttrInt})), output("o"))
		m := parseOK(t, model(
			graphOf(input("x"), call("F", "x", "y", attr("by", 2)), output("y")), dom,
			function("F", "u", "v", body("Exp", "u", "h"), body("If", "u", "v", attr("then_branch", branch))),
			function("G", "p q", "r", body("Mul", "p q", "r"))))
		wantShow(t, m.Graph, "Exp x -> n_y/h", "If x -> y")
		b := m.Graph.Nodes[1].Attrs["then_branch"].Graph
		wantShow(t, b, "Mul n_y/h x -> w", "Scale w -> o")
		if b.Nodes[1].Attrs["by"].Int != 2 {
			t.Errorf("node %+v", b.Nodes[1])
		}
	})
	bad := func(c msg, fns ...msg) []byte {
		return model(graphOf(input("x"), c, output("y")), append(fns, dom)...)
	}
	f := function("F", "u", "v", body("Exp", "u", "v"))
	for _, c := range []struct {
		name  string
		data  []byte
		parts []string
	}{
		{"calls itself", bad(call("F", "x", "y"), function("F", "u", "v", inBody("G", "u", "v")), function("G", "u", "v", inBody("F", "u", "v"))), []string{"calls itself", "local.F"}},
		{"defined twice", bad(call("F", "x", "y"), f, f), []string{"local.F", "twice"}},
		{"too many inputs", bad(call("F", "x x", "y"), f), []string{"2 inputs", `"n_y"`}},
		{"too many outputs", bad(call("F", "x", "y z"), f), []string{"2 outputs"}},
		{"output not computed", bad(call("F", "x", "y"), function("F", "u", "v", body("Exp", "u", "w"))), []string{`"v"`, "does not compute"}},
		{"sees no outer names", bad(call("F", "x", "y"), function("F", "u", "v", body("Exp", "x", "v"))), []string{`"x"`, "in function local.F"}},
		{"two inputs alike", bad(call("F", "x x", "y"), function("F", "u u", "v", body("Exp", "u", "v"))), []string{"two inputs"}},
		{"two outputs alike", bad(call("F", "x", "y z"), function("F", "u", "v v", body("Exp", "u", "v"))), []string{"two outputs"}},
		{"makes its input", bad(call("F", "x", "y"), function("F", "u", "v", body("Exp", "u", "u"), body("Exp", "u", "v"))), []string{`"u"`, "twice"}},
		{"output left out of the call", bad(call("F", "", "y"), function("F", "u", "u")), []string{`"u"`, "left out"}},
		{"no name", bad(call("F", "x", "y"), function("", "u", "v")), []string{"no name"}},
	} {
		t.Run(c.name, func(t *testing.T) { parseErr[*FormatError](t, c.data, c.parts...) })
	}
	t.Run("a graph as argument", func(t *testing.T) {
		parseErr[*UnsupportedError](t, bad(call("F", "x", "y", attr("body", graphOf(output("x")))), f), `"n_y"`, "body")
	})
}

func TestLimits(t *testing.T) {
	deep := graphOf(output("x"))
	for range 5 {
		deep = graphOf(node("If", "x", "y", attr("then_branch", deep)), output("y"))
	}
	for _, c := range []struct {
		name string
		data []byte
		lim  Limits
		what string
	}{
		{"file", model(graphOf(input("x"), output("x"))), Limits{FileBytes: 10}, "bytes of the model"},
		{"weights", model(graphOf(initializer(floats("w", 1, 2)), initializer(floats("v", 1, 2)), output("w"))), Limits{Memory: 15}, "bytes of constants"},
		{"elements", model(graphOf(initializer(floats("w", 1, 2, 3)), output("w"))), Limits{TensorElems: 2}, "elements"},
		{"product", model(graphOf(initializer(tensor("w", Float, []int64{1 << 20, 1 << 20})), output("w"))), Limits{}, "elements"},
		{"overflow", model(graphOf(initializer(tensor("w", Float, []int64{1 << 62, 1 << 62, 4})), output("w"))), Limits{}, "elements"},
		{"overflow beside a 0", model(graphOf(initializer(tensor("w", Float, []int64{0, 1 << 31, 1 << 31})), output("w"))), Limits{}, "elements"},
		{"declared dimension", model(graphOf(input("x", int64(1)<<40), output("x"))), Limits{}, "dimension"},
		{"rank", model(graphOf(initializer(tensor("w", Float, make([]int64, 33))), output("w"))), Limits{}, "dimensions"},
		{"declared rank", model(graphOf(input("x", 1, 2, 3), output("x"))), Limits{Rank: 2}, "dimensions"},
		{"nodes", model(graphOf(input("x"), node("A", "x", "y"), node("A", "y", "z"), output("z"))), Limits{Nodes: 1}, "nodes"},
		{"depth", model(deep), Limits{Depth: 4}, "depth"},
		{"attributes", model(graphOf(node("A", "", "y", attr("a", 1), attr("b", 2)), output("y"))), Limits{NodeAttrs: 1}, "attributes"},
		{"fields", model(graphOf(input("x"), output("x"))), Limits{Fields: 5}, "protobuf fields"},
		{"names", model(graphOf(input("a long name"), output("a long name"))), Limits{NameBytes: 10}, "names"},
		{"one name", model(graphOf(input("x"), output(strings.Repeat("x", 20_000)))), Limits{}, "a name"},
		{"doublings", model(graphOf(input("x"), node("F0", "x", "y", domain("local")), output("y")), doublings(30)...), Limits{}, "nodes"},
		{"long names", model(graphOf(input("x"), node("F0", "x", "y", domain("local")), output("y")), doublings(12)...), Limits{NameBytes: 10_000}, "names"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse(t.Context(), c.data, c.lim)
			wantErr[*LimitError](t, err, c.what)
		})
	}
	t.Run("elements not read are not counted as fields", func(t *testing.T) {
		var data msg
		for i := range 1000 {
			data = data.float(4, float32(i))
		}
		_, err := Parse(t.Context(), model(graphOf(initializer(tensor("w", Float, []int64{1000}, data)), output("w"))), Limits{Fields: 100})
		if err != nil {
			t.Error(err)
		}
	})
}

// TestListsAreBounded: a list takes more memory than the bytes that it is packed
// into. It is refused before it is unpacked.
func TestListsAreBounded(t *testing.T) {
	zeros := make([]byte, 8<<20)
	list := func(num protowire.Number) msg {
		return node("A", "", "y", msg(nil).bytes(5, msg(nil).text(1, "a").bytes(num, zeros)))
	}
	one := graphOf(input("x"), output("x"))
	for _, c := range []struct {
		name string
		data []byte
		lim  Limits
		what string
	}{
		{"dims", model(graphOf(msg(nil).bytes(5, msg(nil).bytes(1, zeros)))), Limits{}, "dimensions of a tensor"},
		{"integers of an attribute", model(graphOf(list(8))), Limits{}, "protobuf fields"},
		{"floats of an attribute", model(graphOf(list(7), list(7))), Limits{}, "protobuf fields"},
		{"text of an attribute", model(graphOf(list(4))), Limits{NameBytes: 1 << 20}, "text"},
		{"texts of an attribute", model(graphOf(list(9))), Limits{NameBytes: 1 << 20}, "text"},
		{"metadata", model(one, msg(nil).bytes(14, msg(nil).text(1, "k").bytes(2, zeros))), Limits{NameBytes: 1 << 20}, "text"},
		{"external data", model(graphOf(initializer(tensor("w", Float, []int64{2}, external("location", string(zeros)))))), Limits{NameBytes: 1 << 20}, "text"},
		{"elements", model(graphOf(initializer(tensor("w", Int64, []int64{8 << 20}, msg(nil).bytes(7, zeros))))), Limits{Memory: 32 << 20}, "bytes of constants"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var err error
			if took := allocated(func() { _, err = Parse(t.Context(), c.data, c.lim) }); took > 10<<20 {
				t.Errorf("%d bytes allocated", took)
			}
			wantErr[*LimitError](t, err, c.what)
		})
	}
	t.Run("narrow elements", func(t *testing.T) {
		data := model(graphOf(initializer(tensor("w", Uint8, []int64{8 << 20}, msg(nil).bytes(5, zeros))), output("w")))
		var err error
		if took := allocated(func() { _, err = Parse(t.Context(), data, Limits{}) }); took > 10<<20 || err != nil {
			t.Errorf("%d bytes allocated, %v", took, err)
		}
	})
}

// allocated is the bytes that f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestAdvice: an error names the limit to raise where raising it is of help.
func TestAdvice(t *testing.T) {
	for _, c := range []struct {
		data []byte
		lim  Limits
		want string
	}{
		{model(graphOf(initializer(floats("w", 1, 2, 3)), output("w"))), Limits{TensorElems: 2}, "TensorElems"},
		{model(graphOf(initializer(tensor("w", Float, []int64{1 << 40})), output("w"))), Limits{}, ""},
		{model(graphOf(input("x", int64(1)<<40), output("x"))), Limits{TensorElems: 2}, ""},
		{model(graphOf(input("x", 1, 2, 3), output("x"))), Limits{Rank: 2}, "Rank"},
		{model(graphOf(initializer(tensor("w", Float, make([]int64, 40))), output("w"))), Limits{}, ""},
		{model(graphOf(initializer(tensor("w", Float, make([]int64, 9))), output("w"))), Limits{Rank: 3}, ""},
	} {
		_, err := Parse(t.Context(), c.data, c.lim)
		if over, ok := errors.AsType[*LimitError](err); !ok || over.Limit != c.want || strings.Contains(err.Error(), "Limits.") != (c.want != "") {
			t.Errorf("got %v, want one that names %q", err, c.want)
		}
	}
}

// TestDescribeWhatWasRead: of a file that breaks off in an error there is what stood
// before.
func TestDescribeWhatWasRead(t *testing.T) {
	body := graphOf(node("Exp", "x", "z"), initializer(floats("v", 1)), output("z"))
	fields := []msg{input("x", "n", 4), output("y", 1), initializer(floats("w", 1, 2)), node("Add", "x w", "a"), node("If", "a", "y", attr("then_branch", body))}
	for name, bad := range map[string]msg{
		"cycle":    node("Neg", "b", "b"),
		"twice":    node("Neg", "x", "a"),
		"dangling": node("Neg", "none", "b"),
		"limit":    initializer(tensor("big", Float, []int64{1 << 40})),
		"damaged":  node("Neg", "x", "b", msg(nil).bytes(5, msg(nil).text(1, "a"))),
	} {
		file := filepath.Join(t.TempDir(), "m.onnx")
		write(t, file, model(graphOf(append(fields, bad)...), msg(nil).bytes(14, msg(nil).text(1, "k").text(2, "v"))))
		m, err := Describe(t.Context(), file, Limits{})
		if m == nil || err == nil || !strings.Contains(err.Error(), file) {
			t.Fatalf("%s: got %v and %v", name, m, err)
		}
		if got := show(m.Graph); !strings.HasPrefix(got, "Add x w -> a\nIf a -> y\n") {
			t.Errorf("%s: got nodes %s", name, got)
		}
		g := m.Graph
		if w := weightOf(t, g, "w"); w.Elems() != 2 || len(g.Inputs) != 1 || len(g.Outputs) != 1 || len(g.Values[g.Inputs[0]].Dims) != 2 || g.Nodes[0].Version != 17 {
			t.Errorf("%s: got %+v", name, g)
		}
		if b := g.Nodes[1].Attrs["then_branch"].Graph; b == nil || len(b.Nodes) != 1 || weightOf(t, b, "v").Elems() != 1 {
			t.Errorf("%s: got body %+v", name, b)
		}
		if m.Metadata["k"] != "v" {
			t.Errorf("%s: got metadata %v", name, m.Metadata)
		}
		if m, err := Open(t.Context(), file, Limits{}); m != nil || err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

// doublings are n functions, each of which calls the next one twice.
func doublings(n int) []msg {
	fns := []msg{msg(nil).bytes(8, opset("local", 1))}
	for i := range n {
		next := fmt.Sprint("F", i+1)
		fns = append(fns, function(fmt.Sprint("F", i), "u", "v",
			body(next, "u", "t", domain("local")), body(next, "t", "v", domain("local"))))
	}
	return append(fns, function(fmt.Sprint("F", n), "u", "v", body("Neg", "u", "v")))
}

// modelFiles are the models of the repository and, where there are any, the
// larger ones outside it.
func modelFiles(t testing.TB) []string {
	files, err := filepath.Glob(filepath.Join("..", "..", "..", "testdata", "models", "*.onnx"))
	if err != nil || len(files) == 0 {
		t.Fatal("no models in testdata/models")
	}
	if dir := os.Getenv("SAMPLEONNX_SHARED"); dir != "" {
		for _, sub := range []string{"models", "perf"} {
			more, _ := filepath.Glob(filepath.Join(dir, sub, "*.onnx"))
			files = append(files, more...)
		}
	}
	return files
}

func TestModelFiles(t *testing.T) {
	if os.Getenv("SAMPLEONNX_SHARED") == "" {
		t.Run("shared", func(t *testing.T) { t.Skip("SAMPLEONNX_SHARED names no folder with models/ and perf/") })
	}
	for _, file := range modelFiles(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			m, err := Open(t.Context(), file, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if err := check(m); err != nil {
				t.Fatal(err)
			}
			for v, w := range m.Graph.Weights {
				if err := w.Float32s(make([]float32, w.Elems())); err != nil {
					t.Errorf("%s: %v", m.Graph.Values[v].Name, err)
				}
			}
			// The three ways in agree.
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			parsed, err := Parse(t.Context(), data, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			loaded, err := Load(t.Context(), os.DirFS(filepath.Dir(file)), filepath.Base(file), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(m.Graph, parsed.Graph) || !reflect.DeepEqual(parsed, loaded) {
				t.Error("Open, Parse and Load disagree")
			}
		})
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	_, err := Open(t.Context(), filepath.Join(dir, "none.onnx"), Limits{})
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "none.onnx") {
		t.Errorf("missing file: %v", err)
	}
	_, err = Open(t.Context(), dir, Limits{})
	wantErr[*FormatError](t, err, dir, "directory")
	_, err = Load(t.Context(), os.DirFS(dir), ".", Limits{})
	wantErr[*FormatError](t, err, "directory")
	_, err = Load(t.Context(), os.DirFS(dir), "none.onnx", Limits{})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	for name, content := range map[string]string{"empty.onnx": "", "page.onnx": "<html>", "half.onnx": string(model(graphOf(input("x"))))[:12]} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := Open(t.Context(), file, Limits{})
		wantErr[*FormatError](t, err, name)
		_, err = Load(t.Context(), os.DirFS(dir), name, Limits{})
		wantErr[*FormatError](t, err, name)
	}
	_, err = Open(t.Context(), filepath.Join(dir, "page.onnx"), Limits{FileBytes: 3})
	wantErr[*LimitError](t, err, "page.onnx")
	_, err = Load(t.Context(), os.DirFS(dir), "page.onnx", Limits{FileBytes: 3})
	wantErr[*LimitError](t, err, "page.onnx")
}

func TestClose(t *testing.T) {
	m, err := Open(t.Context(), modelFiles(t)[0], Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestConcurrentOpen(t *testing.T) {
	files := modelFiles(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			m, err := Open(t.Context(), files[i%len(files)], Limits{})
			if err != nil {
				t.Error(err)
				return
			}
			defer m.Close()
			if err := check(m); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func BenchmarkOpen(b *testing.B) {
	for _, file := range modelFiles(b) {
		b.Run(strings.TrimSuffix(filepath.Base(file), ".onnx"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m, err := Open(b.Context(), file, Limits{})
				if err != nil {
					b.Fatal(err)
				}
				m.Close()
			}
		})
	}
}

// BenchmarkParse4000 is a graph of 4,000 nodes, as the legacy exporter makes
// of a large U-Net.
func BenchmarkParse4000(b *testing.B) {
	const n = 4000
	fields := []msg{input("v0", "batch", 128, 32, 32), output(fmt.Sprint("v", n))}
	for i := range n {
		fields = append(fields, node("Conv", fmt.Sprintf("v%d v%d", i, max(0, i-5)), fmt.Sprint("v", i+1),
			attr("pads", []int64{1, 1, 1, 1}), attr("group", 1)))
	}
	data := model(graphOf(fields...))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(b.Context(), data, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFloat32s(b *testing.B) {
	for _, d := range []DType{Float, Float16, BFloat16} {
		b.Run(d.String(), func(b *testing.B) {
			t := &Tensor{DType: d, Shape: []int{1 << 16}, Raw: make([]byte, 1<<16*d.Size()+1)[1:]}
			dst := make([]float32, 1<<16)
			b.SetBytes(4 << 16)
			for b.Loop() {
				if err := t.Float32s(dst); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
