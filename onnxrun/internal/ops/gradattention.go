package ops

import "slices"

// attentionRule: with S = scale·Q·Kᵀ, perhaps capped and masked,
// P = softmax(S) and y = P·V:
//
//	dV = Pᵀ·dy, dP = dy·Vᵀ, dS = P·(dP − Σ dP·P), dQ = scale·dS·K, dK = scale·dSᵀ·Q
//
// P, K and V with the past come from the operator itself, which can show them. A
// key's head serves several of the query's: the heads are seen as [key heads,
// query heads of each].
func attentionRule(g *Grad, i int) *Ref {
	c := g.call()
	a := must(newAttention(c))
	if len(g.DOut) > 3 && g.DOut[3] != nil {
		g.refuse("of the scores that the operator shows")
	}
	show := func(mode int) []*Ref {
		n := *g.Node
		n.Inputs, n.Outputs = nil, []int{0, 1, 2, 3}
		n.Attrs = attrs{"qk_matmul_output_mode": intAttr(mode)}
		for name, v := range g.Node.Attrs {
			if name != "qk_matmul_output_mode" {
				n.Attrs[name] = v
			}
		}
		return g.emit(&n, g.In...)
	}
	shown := show(3)
	kv, group := a.pk.heads, a.q.heads/a.pk.heads
	fives := []int{a.q.batch, kv, group, a.q.length, a.total}
	p := g.reshape(shown[3], fives)
	key, value := shown[1], shown[2]
	// The letters: batch, key head, query head of it, query, key (l), size (d or e).
	split := func(r *Ref, h heads) (*Ref, string) {
		if h.flat {
			return g.reshape(r, []int{h.batch, h.length, kv, group, h.size}), "bqhgd"
		}
		return g.reshape(r, []int{h.batch, kv, group, h.length, h.size}), "bhgqd"
	}
	einsum := func(equation string, in ...*Ref) *Ref {
		return g.with(attrs{"equation": strAttr(equation)}, "Einsum", in...)
	}
	var dy, ds *Ref
	var ySubs string
	if g.DOut[0] != nil {
		dy, ySubs = split(g.spread(g.DOut[0], g.y().Shape), a.y)
		if i != 2 && i != 5 {
			dp := einsum(ySubs+",bhld->bhgql", dy, value)
			ds = g.mul(p, g.sub(dp, g.sum(g.mul(dp, p), []int{4})))
		}
	}
	// scores is the gradient of the scores before the cap: with c = cap·tanh(s/cap),
	// 1 − (c/cap)² times that of the capped ones.
	scores := func() *Ref {
		if ds == nil || a.softcap <= 0 {
			return ds
		}
		t := g.times(g.reshape(show(1)[3], fives), 1/float64(a.softcap))
		return g.mul(ds, g.sub(g.number(1, t), g.mul(t, t)))
	}
	// add joins what comes through y and what comes through a present output.
	add := func(d *Ref, out int) *Ref {
		if out >= len(g.DOut) || g.DOut[out] == nil {
			return d
		}
		if d == nil {
			return g.spread(g.DOut[out], g.Out[out].Shape)
		}
		return g.add(d, g.DOut[out])
	}
	// part takes the keys of this run, or of the past, from the gradient of all.
	part := func(d *Ref, past bool, shape []int, flat bool) *Ref {
		if d == nil {
			return nil
		}
		switch {
		case a.past > 0 && past:
			d = g.op("Slice", d, g.ints(0), g.ints(a.past), g.ints(2))
		case a.past > 0:
			d = g.op("Slice", d, g.ints(a.past), g.ints(a.total), g.ints(2))
		}
		if flat && !past {
			d = g.transpose(d, []int{0, 2, 1, 3})
		}
		return g.reshape(d, shape)
	}
	switch i {
	case 0:
		if ds == nil {
			return nil
		}
		_, subs := split(g.In[0], a.q)
		d := einsum("bhgql,bhld->"+subs, scores(), key)
		return g.times(g.reshape(d, g.In[0].Shape), float64(a.scale))
	case 1, 4:
		var d *Ref
		if ds != nil {
			q, subs := split(g.In[0], a.q)
			d = g.times(einsum("bhgql,"+subs+"->bhld", scores(), q), float64(a.scale))
		}
		return part(add(d, 1), i == 4, g.In[i].Shape, a.q.flat)
	case 2, 5:
		var d *Ref
		if dy != nil {
			d = einsum("bhgql,"+ySubs+"->bhld", p, dy)
		}
		return part(add(d, 2), i == 5, g.In[i].Shape, a.q.flat)
	case 3:
		if ds == nil || a.maskBool {
			return nil
		}
		shape := []int{a.q.batch, a.q.heads, a.q.length, a.total}
		d := g.reshape(ds, shape)
		if a.maskLen < a.total {
			d = g.op("Slice", d, g.ints(0), g.ints(a.maskLen), g.ints(3))
			shape = append(slices.Clone(shape[:3]), a.maskLen)
		}
		return g.collect(d, shape, g.In[3].Shape)
	}
	return nil
}
