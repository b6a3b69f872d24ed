package onnx

import (
	"fmt"
	"slices"
)

// check says what is wrong with a model that the parser delivered: its
// promises to the rest of the runtime, on any input bytes.
func check(m *Model) error { return checkGraph(m.Graph, nil) }

func checkGraph(g, outer *Graph) error {
	made := make([]bool, len(g.Values))
	make1 := func(v int, what string) error {
		if v < 0 || v >= len(g.Values) {
			return fmt.Errorf("%s has value %d of %d", what, v, len(g.Values))
		}
		if made[v] {
			return fmt.Errorf("%s %q is made twice", what, g.Values[v].Name)
		}
		made[v] = true
		return nil
	}
	for v, t := range g.Weights {
		if err := make1(v, "weight"); err != nil {
			return err
		}
		if err := checkTensor(t); err != nil {
			return fmt.Errorf("weight %q: %w", g.Values[v].Name, err)
		}
	}
	for _, v := range g.Inputs {
		if err := make1(v, "input"); err != nil {
			return err
		}
	}
	for _, c := range g.Captures {
		if outer == nil || c.Outer < 0 || c.Outer >= len(outer.Values) {
			return fmt.Errorf("capture %v of no value", c)
		}
		if err := make1(c.Value, "capture"); err != nil {
			return err
		}
	}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		for _, v := range n.Inputs {
			if v < -1 || v >= len(g.Values) || v >= 0 && !made[v] {
				return fmt.Errorf("%s uses value %d before it is made", n.Where(), v)
			}
		}
		for name, a := range n.Attrs {
			switch {
			case a.Kind == AttrGraph && a.Graph == nil, a.Kind == AttrTensor && a.Tensor == nil:
				return fmt.Errorf("%s: attribute %q has no value", n.Where(), name)
			case a.Tensor != nil:
				if err := checkTensor(a.Tensor); err != nil {
					return fmt.Errorf("%s: %w", n.Where(), err)
				}
			case a.Graph != nil:
				for _, c := range a.Graph.Captures {
					if c.Outer < 0 || c.Outer >= len(made) || !made[c.Outer] {
						return fmt.Errorf("%s: the body captures a value before it is made", n.Where())
					}
				}
				if err := checkGraph(a.Graph, g); err != nil {
					return err
				}
			}
		}
		if n.Version < 1 && n.Domain == "" || n.Op == "" || len(n.Outputs) == 0 {
			return fmt.Errorf("%s has opset %d and %d outputs", n.Where(), n.Version, len(n.Outputs))
		}
		for _, v := range n.Outputs {
			if v == -1 {
				continue
			}
			if err := make1(v, "output"); err != nil {
				return err
			}
		}
	}
	if len(g.Outputs) == 0 {
		return fmt.Errorf("no outputs")
	}
	for _, v := range g.Outputs {
		if v < 0 || v >= len(g.Values) || !made[v] {
			return fmt.Errorf("graph output %d is not made", v)
		}
	}
	if i := slices.Index(made, false); i >= 0 {
		return fmt.Errorf("value %q is never made", g.Values[i].Name)
	}
	return nil
}

func checkTensor(t *Tensor) error {
	if t.DType < 1 || t.DType > lastDType {
		return fmt.Errorf("dtype %d", t.DType)
	}
	for _, d := range t.Shape {
		if d < 0 {
			return fmt.Errorf("shape %v", t.Shape)
		}
	}
	if want := t.Elems() * t.DType.Size(); len(t.Raw) != want {
		return fmt.Errorf("%v %s in %d bytes", t.Shape, t.DType, len(t.Raw))
	}
	return nil
}
