package onnx

import "maps"

// call is one use of a model-local function.
type call struct {
	fn     *protoFunction
	prefix string // of the names of the values and nodes it makes
	attrs  map[string]Attr
	parent *call
}

// inline puts the body of fn in place of the node n that calls it. The body
// has a scope of its own, in which the function's inputs and outputs stand for
// the caller's values.
func (s *scope) inline(fn *protoFunction, n *protoNode, i int, inputs, outputs []int) error {
	where := s.where(n, i)
	leave, err := s.b.enter()
	if err != nil {
		return err
	}
	defer leave()
	for c := s.call; c != nil; c = c.parent {
		if c.fn == fn {
			return formatError(where, "function %s calls itself", fn)
		}
	}
	if len(inputs) > len(fn.in) || len(outputs) > len(fn.out) {
		return formatError(where, "%d inputs and %d outputs, and function %s has %d and %d",
			len(inputs), len(outputs), fn, len(fn.in), len(fn.out))
	}
	attrs, err := s.attrs(n, i)
	if err != nil {
		return err
	}
	for name, a := range attrs {
		// A body is built against the scope it stands in, not the function's.
		if a.Kind == AttrGraph {
			s.b.unsupported = append(s.b.unsupported, Unsupported{
				Node: n.name, Op: n.op, Domain: n.domain, Version: s.b.model.opset[n.domain],
				Reason: "attribute " + name + " passes a graph to a function",
			})
			return nil
		}
	}
	attrs, err = withDefaults(fn, attrs, where)
	if err != nil {
		return err
	}
	prefix := n.name + "/"
	if s.call != nil {
		prefix = s.call.prefix + prefix
	}
	if !s.b.p.chargeName(len(prefix)) {
		return s.b.p.err
	}
	inner := &scope{
		b: s.b, g: s.g,
		names:   map[string]int{},
		results: map[string]int{},
		call:    &call{fn: fn, prefix: prefix, attrs: attrs, parent: s.call},
	}
	if !s.b.p.charge(len(fn.in) + len(fn.out)) {
		return s.b.p.err
	}
	for j, name := range fn.in {
		if _, ok := inner.names[name]; ok || name == "" {
			return formatError(where, "function %s has two inputs called %q", fn, name)
		}
		inner.names[name] = -1
		if j < len(inputs) {
			inner.names[name] = inputs[j]
		}
	}
	for j, name := range fn.out {
		if j >= len(outputs) || outputs[j] < 0 {
			continue
		}
		if _, ok := inner.results[name]; ok {
			return formatError(where, "function %s has two outputs called %q", fn, name)
		}
		if v, ok := inner.names[name]; ok {
			if v < 0 {
				return formatError(where, "output %q of function %s is an input left out", name, fn)
			}
			if err := inner.copyValue(v, outputs[j], name, where); err != nil {
				return err
			}
			continue
		}
		inner.results[name] = outputs[j]
	}
	if err := inner.nodes(fn.nodes); err != nil {
		return err
	}
	for _, name := range fn.out {
		if _, ok := inner.results[name]; ok {
			return formatError(where, "function %s does not compute its output %q", fn, name)
		}
	}
	return nil
}

// copyValue adds an Identity node.
func (s *scope) copyValue(from, to int, name, where string) error {
	version, err := s.version("")
	if err != nil {
		return formatError(where, "%v", err)
	}
	s.g.Nodes = append(s.g.Nodes, Node{
		Name: s.call.prefix + name, Op: "Identity", Version: version,
		Inputs: []int{from}, Outputs: []int{to},
	})
	s.b.nodes++
	return nil
}

// withDefaults adds the attributes that a call leaves to the function.
func withDefaults(fn *protoFunction, attrs map[string]Attr, where string) (map[string]Attr, error) {
	if len(fn.defaults) == 0 {
		return attrs, nil
	}
	all := make(map[string]Attr, len(fn.defaults)+len(attrs))
	for i := range fn.defaults {
		d := &fn.defaults[i]
		if d.ref != "" || d.graph != nil {
			return nil, formatError(where, "the default of attribute %q of function %s is not a plain value", d.name, fn)
		}
		all[d.name] = d.val
	}
	maps.Copy(all, attrs)
	return all, nil
}
