package plan

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// A sketch is a graph as a test writes it: values are made as they are named.
type sketch struct {
	*onnx.Graph
	names map[string]int
}

func newSketch() *sketch {
	return &sketch{&onnx.Graph{Weights: map[int]*onnx.Tensor{}}, map[string]int{}}
}

func (s *sketch) value(name string) int {
	if name == "" {
		return -1
	}
	v, ok := s.names[name]
	if !ok {
		v = len(s.Values)
		s.names[name] = v
		s.Values = append(s.Values, onnx.Value{Name: name})
	}
	return v
}

func (s *sketch) list(names string) []int {
	var list []int
	for name := range strings.SplitSeq(names, " ") {
		list = append(list, s.value(strings.Trim(name, "_")))
	}
	return list
}

func (s *sketch) in(dtype onnx.DType, names string) {
	for _, v := range s.list(names) {
		s.Values[v].DType = dtype
		s.Inputs = append(s.Inputs, v)
	}
}

func (s *sketch) ints(name string, shape []int, v ...int64) {
	t := &onnx.Tensor{DType: onnx.Int64, Shape: shape}
	for _, x := range v {
		t.Raw = binary.LittleEndian.AppendUint64(t.Raw, uint64(x))
	}
	s.Weights[s.value(name)] = t
}

func (s *sketch) node(op, ins, outs string, attrs map[string]onnx.Attr) {
	s.Nodes = append(s.Nodes, onnx.Node{Name: outs, Op: op, Version: 13, Inputs: s.list(ins), Outputs: s.list(outs), Attrs: attrs})
}

// captures is what a body takes from the graph around it.
func (s *sketch) captures(outer *sketch, names string) {
	for name := range strings.SplitSeq(names, " ") {
		s.Captures = append(s.Captures, onnx.Capture{Outer: outer.value(name), Value: s.value(name)})
	}
}

func (s *sketch) attr() onnx.Attr { return onnx.Attr{Kind: onnx.AttrGraph, Graph: s.Graph} }

// run compiles a sketch for inputs, those of which known says so by value, and
// computes its outputs.
func (s *sketch) run(t *testing.T, known []bool, in ...*ops.Tensor) ([]*ops.Tensor, error) {
	t.Helper()
	p, err := New(t.Context(), &onnx.Model{Graph: s.Graph}, Options{Threads: 1})
	if err != nil {
		return nil, err
	}
	defer p.Close()
	types, values := make([]ops.Type, len(in)), make([]*ops.Tensor, len(in))
	for i, x := range in {
		types[i] = x.Type
		if i < len(known) && known[i] {
			if !p.KeepValue(i, x.Type) {
				t.Fatalf("input %d does not decide a shape", i)
			}
			values[i] = x
		} else if p.KeepValue(i, x.Type) && known != nil {
			t.Fatalf("input %d decides a shape", i)
		}
	}
	pl, err := p.Compile(t.Context(), types, values)
	if err != nil {
		return nil, err
	}
	m, err := pl.Acquire(t.Context())
	if err != nil {
		return nil, err
	}
	for i, x := range in {
		copy(m.In[i].Mem(), x.Mem())
	}
	return m.Out, m.Run(context.Background())
}

// branches: y = x + x, or -x.
func branches() *sketch {
	g := newSketch()
	g.in(onnx.Bool, "cond")
	g.in(onnx.Float, "x")
	then, other := newSketch(), newSketch()
	then.captures(g, "x")
	then.node("Add", "x x", "y", nil)
	then.Outputs = then.list("y")
	other.captures(g, "x")
	other.node("Neg", "x", "y", nil)
	other.Outputs = other.list("y")
	g.node("If", "cond", "y", map[string]onnx.Attr{"then_branch": then.attr(), "else_branch": other.attr()})
	g.Outputs = g.list("y")
	return g
}

func TestIf(t *testing.T) {
	x := ops.Of([]int{2}, []float32{1, 2})
	for _, c := range []bool{true, false} {
		want := []float32{-1, -2}
		if c {
			want = []float32{2, 4}
		}
		for _, shape := range [][]int{{}, {1}} {
			cond := ops.Of(shape, []bool{c})
			for _, known := range [][]bool{{true, false}, nil} { // one branch, or both
				out, err := branches().run(t, known, cond, x)
				if err != nil {
					t.Fatal(err)
				}
				if got := ops.Data[float32](out[0]); !slices.Equal(got, want) {
					t.Errorf("%v, by value %v: %v, want %v", c, known, got, want)
				}
			}
		}
	}
}

// counting: x doubled n times, with every value on the way.
func counting(goOn string) *sketch {
	g := newSketch()
	g.in(onnx.Int64, "n")
	g.in(onnx.Float, "x")
	b := newSketch()
	b.in(onnx.Int64, "i")
	b.in(onnx.Bool, "go")
	b.in(onnx.Float, "v")
	b.ints("three", []int{}, 3)
	b.node("Less", "i three", "below", nil)
	b.node("Add", "v v", "w", nil)
	b.node("ReduceMax", "v", "most", map[string]onnx.Attr{"keepdims": {Kind: onnx.AttrInt}})
	b.node("Less", "most most", "never", nil)
	b.Outputs = b.list(goOn + " w v")
	b.Values[b.value("v")].Dims = []onnx.Dim{{Size: 2}}
	g.node("Loop", "n _ x", "y all", map[string]onnx.Attr{"body": b.attr()})
	g.Outputs = g.list("y all")
	return g
}

func TestLoop(t *testing.T) {
	x := ops.Of([]int{2}, []float32{1, 3})
	n := func(v int64) *ops.Tensor { return ops.Of([]int{}, []int64{v}) }
	for _, c := range []struct {
		goOn  string
		n     int64
		want  []float32
		scans int
	}{
		{"go", 3, []float32{8, 24}, 3},
		{"go", 0, []float32{1, 3}, 0},
		{"go", -1, []float32{1, 3}, 0},
		{"below", 9, []float32{16, 48}, 4}, // after round 3 it does not go on
	} {
		out, err := counting(c.goOn).run(t, []bool{true, false}, n(c.n), x)
		if err != nil {
			t.Fatal(err)
		}
		if got := ops.Data[float32](out[0]); !slices.Equal(got, c.want) {
			t.Errorf("%d rounds: %v, want %v", c.n, got, c.want)
		}
		if !slices.Equal(out[1].Shape, []int{c.scans, 2}) {
			t.Errorf("%d rounds: every value has shape %v, want [%d 2]", c.n, out[1].Shape, c.scans)
		}
		for i, v := range ops.Data[float32](out[1]) {
			if want := float32(math.Ldexp([]float64{1, 3}[i%2], i/2)); v != want {
				t.Errorf("%d rounds: value %d is %v, want %v", c.n, i, v, want)
			}
		}
	}
	var u *onnx.UnsupportedError
	if _, err := counting("go").run(t, nil, n(3), x); !errors.As(err, &u) {
		t.Errorf("a trip count that is not known gives %v", err)
	}
	if _, err := counting("never").run(t, []bool{true, false}, n(3), x); !errors.As(err, &u) {
		t.Errorf("a condition that is not known gives %v", err)
	}
	var l *onnx.LimitError
	if _, err := counting("go").run(t, []bool{true, false}, n(math.MaxInt32), x); !errors.As(err, &l) {
		t.Errorf("too many rounds give %v", err)
	}
	bad := counting("go")
	bad.Nodes[0].Outputs = bad.Nodes[0].Outputs[:1]
	bad.Outputs = bad.Outputs[:1]
	var f *onnx.FormatError
	if _, err := bad.run(t, []bool{true, false}, n(1), x); !errors.As(err, &f) {
		t.Errorf("an output too few gives %v", err)
	}
}

// TestScan sums rows from both ends: cumulative sums, stacked along axis 1.
func TestScan(t *testing.T) {
	g := newSketch()
	g.in(onnx.Float, "s x")
	b := newSketch()
	b.in(onnx.Float, "sum row")
	b.node("Add", "sum row", "next", nil)
	b.node("Identity", "next", "out", nil)
	b.Outputs = b.list("next out")
	one := func(v int64) onnx.Attr { return onnx.Attr{Kind: onnx.AttrInts, Ints: []int64{v}} }
	attrs := map[string]onnx.Attr{"body": b.attr(), "num_scan_inputs": {Kind: onnx.AttrInt, Int: 1}}
	g.node("Scan", "s x", "end all", attrs)
	g.Outputs = g.list("end all")
	s, x := ops.Of([]int{2}, []float32{100, 200}), ops.Of([]int{3, 2}, []float32{1, 2, 3, 4, 5, 6})
	check := func(what string, all ...float32) {
		t.Helper()
		out, err := g.run(t, nil, s, x)
		if err != nil {
			t.Fatal(err)
		}
		if got := ops.Data[float32](out[0]); !slices.Equal(got, []float32{109, 212}) {
			t.Errorf("%s: the end is %v", what, got)
		}
		if got := ops.Data[float32](out[1]); !slices.Equal(got, all) {
			t.Errorf("%s: %v, want %v", what, got, all)
		}
	}
	check("forwards", 101, 202, 104, 206, 109, 212)
	attrs["scan_input_directions"] = one(1)
	check("backwards", 105, 206, 108, 210, 109, 212)
	attrs["scan_output_directions"] = one(1)
	check("written backwards", 109, 212, 108, 210, 105, 206)
	attrs["scan_output_axes"] = one(-1)
	check("along the last axis", 109, 108, 105, 212, 210, 206)
	attrs["num_scan_inputs"] = onnx.Attr{Kind: onnx.AttrInt, Int: 3}
	if _, err := g.run(t, nil, s, x); err == nil {
		t.Error("scans more inputs than there are")
	}
}

// TestBodiesAreChecked: what a body cannot do is refused with the rest.
func TestBodiesAreChecked(t *testing.T) {
	g := branches()
	g.Nodes[0].Attrs["then_branch"].Graph.Nodes[0].Op = "NoSuch"
	var u *onnx.UnsupportedError
	if _, err := New(t.Context(), &onnx.Model{Graph: g.Graph}, Options{Threads: 1}); !errors.As(err, &u) || len(u.Nodes) != 1 || u.Nodes[0].Op != "NoSuch" {
		t.Errorf("got %v", err)
	}
}

// TestByValue: a shape may come from inputs through nodes, and from bodies.
func TestByValue(t *testing.T) {
	g := newSketch()
	g.in(onnx.Float, "x")
	g.in(onnx.Int64, "rows unused")
	g.ints("rest", []int{1}, -1)
	g.node("Concat", "rows rest", "shape", map[string]onnx.Attr{"axis": {Kind: onnx.AttrInt}})
	g.node("Reshape", "x shape", "y", nil)
	g.node("Shape", "x", "size", nil)
	g.node("ConstantOfShape", "size", "z", nil) // the shape of x, not its data
	g.Outputs = g.list("y unused")
	x := ops.Of([]int{6}, make([]float32, 6))
	for rows := range int64(4) {
		out, err := g.run(t, []bool{false, true, false}, x, ops.Of([]int{1}, []int64{rows + 1}), ops.Of([]int{1}, []int64{7}))
		if rows+1 == 4 {
			if err == nil {
				t.Error("6 elements in 4 rows")
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if want := []int{int(rows + 1), 6 / int(rows+1)}; !slices.Equal(out[0].Shape, want) || ops.Data[int64](out[1])[0] != 7 {
			t.Errorf("%v and %v, want %v and 7", out[0].Shape, ops.Data[int64](out[1]), want)
		}
	}
}

// TestUnreadOutputs: outputs that the file names and nobody reads cost nothing
// and are missed by nobody.
func TestUnreadOutputs(t *testing.T) {
	g := newSketch()
	g.in(onnx.Float, "x")
	g.node("MaxPool", "x", "y places", map[string]onnx.Attr{"kernel_shape": {Kind: onnx.AttrInts, Ints: []int64{2}}})
	g.node("Neg", "y", "z", nil)
	g.Outputs = g.list("z")
	out, err := g.run(t, nil, ops.Of([]int{1, 1, 3}, []float32{1, 3, 2}))
	if err != nil {
		t.Fatal(err)
	}
	if got := ops.Data[float32](out[0]); !slices.Equal(got, []float32{-3, -3}) {
		t.Error(got)
	}
}
