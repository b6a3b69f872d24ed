package onnxrun

import (
	"context"
	"maps"
	"slices"
	"strings"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
	"sampleonnx/onnxrun/internal/plan"
)

// FileInfo is what a model's file says of itself.
type FileInfo struct {
	IRVersion   int64
	Producer    string           // name and version of what wrote the file
	Graph       string           // name of the graph
	Opset       map[string]int64 // domain → version; "" is ai.onnx
	Operators   map[string]int   // how often each occurs, in bodies and in functions where they are called as well; constants left out
	Parameters  int64            // elements of the floating-point weights, those of bodies as well
	WeightBytes int64            // of all constants, as the file stores them
}

// A Description is what can be said of a model without running it, and of one
// that cannot run as well.
type Description struct {
	FileInfo
	Metadata        map[string]string
	Inputs, Outputs []Info
	Values          map[string]Info // what the file declares of the main graph's values, by name; the constants among them
	Nodes           []FileNode
	Unsupported     []Unsupported // every node that cannot run, with the reason; what depends on the inputs' shapes is not known yet
}

// FileNode is a node of a model's file, in an order in which every value is made
// before it is used; functions of the model are written out.
type FileNode struct {
	Name, Op, Domain string
	Version          int64    // the version of the operator set that the file imports for Domain
	Inputs, Outputs  []string // names of values; "" is one left out
	Constant         []bool   // the inputs that are constants
	Body             bool     // in the body of the If, Loop or Scan before it
}

// Inspect describes the model at path, whether it can run or not. Nothing is
// computed, and no memory is taken for weights. Errors are a *FormatError, a
// *LimitError or one of package os; beside one of the first two there is a
// description all the same, as far as the file could be read.
func Inspect(ctx context.Context, path string) (*Description, error) {
	return Config{}.Inspect(ctx, path)
}

// Inspect is the function Inspect within this configuration's limits.
func (c Config) Inspect(ctx context.Context, path string) (*Description, error) {
	file, err := onnx.Describe(ctx, path, onnx.Limits(c.Limits))
	if file == nil {
		return nil, err
	}
	defer file.Close()
	d := &Description{FileInfo: fileInfo(file), Metadata: maps.Clone(file.Metadata), Values: map[string]Info{}}
	var invalid error
	if d.Unsupported, invalid = plan.Unsupported(file); err == nil {
		err = inFile(invalid, path)
	}
	g := file.Graph
	list := func(of []int) []Info {
		var infos []Info
		for _, v := range of {
			infos = append(infos, Info{g.Values[v].Name, g.Values[v].DType, g.Values[v].Dims})
		}
		return infos
	}
	d.Inputs, d.Outputs = list(g.Inputs), list(g.Outputs)
	for _, v := range g.Values {
		d.Values[v.Name] = Info{v.Name, v.DType, v.Dims}
	}
	d.nodes(g, false)
	return d, err
}

// nodes lists the nodes of a graph, each with those of its bodies after it.
func (d *Description) nodes(g *onnx.Graph, body bool) {
	names := func(of []int) []string {
		list := make([]string, len(of))
		for i, v := range of {
			if v >= 0 {
				list[i] = g.Values[v].Name
			}
		}
		return list
	}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		f := FileNode{n.Name, n.Op, n.Domain, n.Version, names(n.Inputs), names(n.Outputs), make([]bool, len(n.Inputs)), body}
		for j, v := range n.Inputs {
			f.Constant[j] = g.Weights[v] != nil
		}
		d.Nodes = append(d.Nodes, f)
		for _, name := range slices.Sorted(maps.Keys(n.Attrs)) {
			if inner := n.Attrs[name].Graph; inner != nil {
				d.nodes(inner, true)
			}
		}
	}
}

// File says what the model's file says of itself, before anything was folded
// or joined.
func (m *Model) File() FileInfo { return fileInfo(m.file) }

func fileInfo(file *onnx.Model) FileInfo {
	f := FileInfo{
		IRVersion: file.IRVersion,
		Producer:  strings.TrimSpace(file.Producer + " " + file.ProducerVersion),
		Graph:     file.Name,
		Opset:     maps.Clone(file.Opset),
		Operators: map[string]int{},
	}
	f.count(file.Graph, map[*onnx.Tensor]bool{})
	return f
}

// count adds the operators of a graph and its bodies, and their weights: one that a
// function has once for all its calls is one.
func (f *FileInfo) count(g *onnx.Graph, seen map[*onnx.Tensor]bool) {
	for _, w := range g.Weights {
		if seen[w] {
			continue
		}
		seen[w] = true
		if ops.IsFloat32(w.DType) || w.DType == onnx.Double {
			f.Parameters += int64(w.Elems())
		}
		f.WeightBytes += int64(w.Elems() * w.DType.Size())
	}
	for i := range g.Nodes {
		f.Operators[g.Nodes[i].Op]++
		for _, a := range g.Nodes[i].Attrs {
			if a.Graph != nil {
				f.count(a.Graph, seen)
			}
		}
	}
}

// Shapes follows the shapes of inputs through the model: the shape of every value
// of the main graph, by its name. Of the data, only those that decide shapes are
// looked at.
func (m *Model) Shapes(ctx context.Context, inputs ...Tensor) (map[string][]int, error) {
	bound, types, err := m.bind(inputs)
	if err != nil {
		return nil, err
	}
	var known []*ops.Tensor
	for i := range bound {
		if !m.program.KeepValue(i, types[i]) {
			continue
		}
		if known == nil {
			known = make([]*ops.Tensor, len(bound))
		}
		known[i] = ops.New(types[i])
		fill(known[i], bound[i].Data)
	}
	if err := m.enter(); err != nil {
		return nil, err
	}
	defer m.leave()
	found, err := m.program.Shapes(ctx, types, known)
	if err != nil {
		return nil, err
	}
	shapes := map[string][]int{}
	for v, t := range found {
		shapes[m.file.Graph.Values[v].Name] = t.Shape
	}
	return shapes, nil
}
