package plan

import (
	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// byValue tells which inputs of the model decide a shape, directly or through
// nodes that compute on them: a plan is made for their values, not only for
// their types. Whether a value is one that a plan may be made for is for
// [KeepValue] to say.
func (p *Program) byValue() []bool {
	needed := make([]bool, len(p.graph.Values))
	shapeNeeds(p.graph, p.nodes, needed)
	inputs := make([]bool, len(p.graph.Inputs))
	for k, v := range p.graph.Inputs {
		inputs[k] = needed[v]
	}
	return inputs
}

// shapeNeeds marks the values of a graph that must be known for every shape in
// it, and for the values that are marked already, to be known.
func shapeNeeds(g *onnx.Graph, nodes []*onnx.Node, needed []bool) {
	mark := func(v int) {
		if v >= 0 {
			needed[v] = true
		}
	}
	for i := len(nodes) - 1; i >= 0; i-- {
		n := nodes[i]
		for _, j := range ops.ShapeInputs(n) {
			if j < len(n.Inputs) {
				mark(n.Inputs[j])
			}
		}
		wanted := false
		for _, v := range n.Outputs {
			wanted = wanted || v >= 0 && needed[v]
		}
		if wanted && !ops.IgnoresData(n) {
			for _, v := range n.Inputs {
				mark(v)
			}
		}
		for _, a := range n.Attrs {
			if a.Graph == nil {
				continue
			}
			inner := make([]bool, len(a.Graph.Values))
			if wanted {
				for _, v := range a.Graph.Outputs {
					inner[v] = true
				}
			}
			shapeNeeds(a.Graph, nodesOf(a.Graph), inner)
			for _, c := range a.Graph.Captures {
				if inner[c.Value] {
					mark(c.Outer)
				}
			}
			for k, v := range a.Graph.Inputs { // of a Loop or a Scan, from the end
				j := len(n.Inputs) - len(a.Graph.Inputs) + k
				if inner[v] && j >= 0 {
					mark(n.Inputs[j])
				}
			}
		}
	}
}

func nodesOf(g *onnx.Graph) []*onnx.Node {
	list := make([]*onnx.Node, len(g.Nodes))
	for i := range g.Nodes {
		list[i] = &g.Nodes[i]
	}
	return list
}

// maxByValue is how many elements an input may have whose values a plan is
// made for.
const maxByValue = 4096

// KeepValue reports whether a plan for inputs of these types is made for the
// value of input k too: it decides a shape, and is a list or a single number.
func (p *Program) KeepValue(k int, t ops.Type) bool {
	return p.ByValue[k] && len(t.Shape) <= 1 && t.Elems() <= maxByValue
}
