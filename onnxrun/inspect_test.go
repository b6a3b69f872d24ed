package onnxrun_test

import (
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sampleonnx/onnxrun"
	"sampleonnx/onnxrun/internal/onnx"
)

// inDomain is a node of a domain.
func inDomain(domain, op string, in, out []string, attrs map[string]any) message {
	return nodeProto(op, in, out, attrs).text(7, domain)
}

// withGraph adds a body as an attribute.
func withGraph(n message, name string, body message) message {
	return n.with(5, message(nil).text(1, name).with(6, body).number(20, int(onnx.AttrGraph)))
}

// functionProto is a function of the model, of the nodes given.
func functionProto(domain, name string, in, out []string, nodes ...message) message {
	f := message(nil).text(1, name).text(10, domain)
	for _, s := range in {
		f = f.text(4, s)
	}
	for _, s := range out {
		f = f.text(5, s)
	}
	for _, n := range nodes {
		f = f.with(7, n)
	}
	return f
}

// xToY is a graph from x, float32[4], to y.
func xToY(nodes ...message) message {
	g := message(nil).with(11, valueInfo("x", onnx.Float, []int{4})).with(12, valueInfo("y", onnx.Float, nil))
	for _, n := range nodes {
		g = g.with(1, n)
	}
	return g
}

// describe writes a model into a file and inspects that.
func describe(t *testing.T, model []byte) (*onnxrun.Description, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := os.WriteFile(path, model, 0o666); err != nil {
		t.Fatal(err)
	}
	return onnxrun.Inspect(t.Context(), path)
}

// TestOperatorsOfPlansAreNotForFiles: what plans make by joining nodes trusts its
// attributes, which may be any strides. A file that names such an operator, wherever
// it does, is refused.
func TestOperatorsOfPlansAreNotForFiles(t *testing.T) {
	far := math.MaxInt64 - 1000
	product := func(from, to string) message {
		return inDomain("sampleonnx", "Product", []string{from, from}, []string{to}, map[string]any{
			"a": []int{0, far, 1, 1, 0}, "b": []int{0, 4, 1, 1, 0}, "c": []int{0, 4, 1, 1, 0}, "sizes": []int{1, 1, 4, 4}, "shape": []int{4}})
	}
	imports := message(nil).text(1, "sampleonnx").number(2, 1)
	branch := message(nil).with(1, product("x", "z")).with(12, message(nil).text(1, "z"))
	for name, data := range map[string][]byte{
		"node":     append(modelProto(17, xToY(product("x", "y"))), message(nil).with(8, imports)...),
		"imported": modelProto(17, xToY(product("x", "y"))),
		"body": modelProto(17, xToY(withGraph(withGraph(nodeProto("If", []string{"c"}, []string{"y"}, nil), "then_branch", branch), "else_branch", branch)).
			with(11, valueInfo("c", onnx.Bool, []int{}))),
		"function": append(modelProto(17, xToY(inDomain("local", "F", []string{"x"}, []string{"y"}, nil))),
			message(nil).with(25, functionProto("local", "F", []string{"u"}, []string{"v"}, product("u", "v")))...),
		"function of the domain": append(modelProto(17, xToY(inDomain("sampleonnx", "F", []string{"x"}, []string{"y"}, nil))),
			message(nil).with(25, functionProto("sampleonnx", "F", []string{"u"}, []string{"v"}, nodeProto("Neg", []string{"u"}, []string{"v"}, nil)))...),
	} {
		m, err := onnxrun.Parse(data)
		if err == nil {
			_, err = m.Run(t.Context(), onnxrun.Tensor{Shape: []int{4}, Data: make([]float32, 4)})
			m.Close()
		}
		if u, ok := errors.AsType[*onnxrun.UnsupportedError](err); !ok || u.Nodes[0].Domain != "sampleonnx" {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestContribOperatorWithoutImport: an operator of somebody's is refused by its
// name, also where the file forgets to say which version it means.
func TestContribOperatorWithoutImport(t *testing.T) {
	_, err := onnxrun.Parse(modelProto(17, xToY(inDomain("com.microsoft", "MatMulNBits", []string{"x"}, []string{"y"}, nil))))
	if u, ok := errors.AsType[*onnxrun.UnsupportedError](err); !ok || !strings.Contains(u.Error(), `"MatMulNBits" (com.microsoft.MatMulNBits)`) {
		t.Errorf("got %v", err)
	}
}

// TestFunctionInPlaceOfAnOperator: a function of the model goes before the
// operator whose name it has.
func TestFunctionInPlaceOfAnOperator(t *testing.T) {
	f := functionProto("", "Neg", []string{"u"}, []string{"v"}, nodeProto("Add", []string{"u", "u"}, []string{"v"}, nil))
	m, err := onnxrun.Parse(append(modelProto(17, xToY(nodeProto("Neg", []string{"x"}, []string{"y"}, nil))), message(nil).with(25, f)...))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	out, err := m.Run(t.Context(), onnxrun.Tensor{Shape: []int{4}, Data: []float32{1, 2, 3, 4}})
	if err != nil || !slices.Equal(out[0].Data.([]float32), []float32{2, 4, 6, 8}) {
		t.Errorf("got %v, %v", out, err)
	}
	if ops := m.File().Operators; !maps.Equal(ops, map[string]int{"Add": 1}) {
		t.Errorf("operators %v", ops)
	}
}

// TestInspectCountsBodies: the operators and weights of bodies count, a constant of
// a function once for all its calls.
func TestInspectCountsBodies(t *testing.T) {
	w := func(name string, n int) message { return tensorProto(name, newArray(onnx.Float, n)) }
	branch := func(n int) message {
		return message(nil).with(1, nodeProto("Add", []string{"x", "w"}, []string{"z"}, nil)).with(5, w("w", n)).with(12, message(nil).text(1, "z"))
	}
	constant := nodeProto("Constant", nil, []string{"k"}, nil).with(5, message(nil).text(1, "value").with(5, w("", 100)).number(20, int(onnx.AttrTensor)))
	f := functionProto("local", "F", []string{"u"}, []string{"v"}, constant, nodeProto("Mul", []string{"u", "k"}, []string{"v"}, nil))
	g := xToY(inDomain("local", "F", []string{"x"}, []string{"a"}, nil), inDomain("local", "F", []string{"a"}, []string{"b"}, nil),
		withGraph(withGraph(nodeProto("If", []string{"c"}, []string{"y"}, nil), "then_branch", branch(4)), "else_branch", branch(1))).
		with(11, valueInfo("c", onnx.Bool, []int{})).with(5, w("unused", 1000))
	d, err := describe(t, append(modelProto(17, g), message(nil).with(25, f)...))
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]int{"Mul": 2, "If": 1, "Add": 2}; !maps.Equal(d.Operators, want) || d.Parameters != 1105 || d.WeightBytes != 4420 {
		t.Errorf("operators %v, %d parameters, %d bytes; want %v, 1105, 4420", d.Operators, d.Parameters, d.WeightBytes, want)
	}
}

// TestInspectWhatIsDamaged: what could be read of a file is told beside the error.
func TestInspectWhatIsDamaged(t *testing.T) {
	contrib := inDomain("com.acme", "Twist", []string{"x"}, []string{"a"}, nil)
	for name, bad := range map[string]message{
		"format":   nodeProto("Neg", []string{"none"}, []string{"y"}, nil),
		"standard": nodeProto("Neg", []string{"a", "a"}, []string{"y"}, nil),
		"limit":    nodeProto("Neg", []string{"a"}, []string{strings.Repeat("y", 1<<20)}, nil),
	} {
		d, err := describe(t, modelProto(17, xToY(contrib, bad)))
		if err == nil || d == nil {
			t.Fatalf("%s: got %v, %v", name, d, err)
		}
		if d.Operators["Twist"] != 1 || len(d.Inputs) != 1 || len(d.Nodes) == 0 || len(d.Unsupported) != 1 || d.Unsupported[0].Op != "Twist" || d.Opset[""] != 17 {
			t.Errorf("%s: got %+v", name, d)
		}
	}
	if d, err := describe(t, []byte("no model")); err == nil || d != nil {
		t.Errorf("got %v, %v", d, err)
	}
}
