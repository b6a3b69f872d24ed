package plan

import (
	"cmp"
	"context"
	"math"
	"slices"

	G "gorgonia.org/gorgonia"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// slot is where the value of a graph node lies: a constant, or a region of the
// arena.
type slot struct {
	ops.Type
	konst  *ops.Tensor
	region *region
}

// region is a piece of the arena with the span of steps during which it is in
// use. Views, and results computed in place, share the region of their input.
type region struct {
	size        int
	first, last int
	offset      int
}

// step is one op of the graph, in running order.
type step struct {
	op      *op
	in, out []*slot // by the kernel's inputs and outputs; nil: left out
	scratch *region
}

// forever is the last use of what must outlive the run: the outputs.
const forever = int(^uint(0) >> 1)

// steps lists the ops of an expression graph in running order.
func steps(e *G.ExprGraph, slots map[*G.Node]*slot) []*step {
	var list []*step
	byNode := map[*G.Node]*step{}
	for _, n := range e.AllNodes() {
		o, ok := n.Op().(*op)
		if !ok {
			continue
		}
		children := e.From(n.ID())
		if o.output > 0 {
			children.Next()
			byNode[children.Node().(*G.Node)].out[o.output] = slots[n]
			continue
		}
		s := &step{op: o, in: make([]*slot, len(o.src.Inputs)), out: make([]*slot, len(o.kernel.Out))}
		for i := 0; children.Next(); i++ {
			s.in[o.slots[i]] = slots[children.Node().(*G.Node)]
		}
		s.out[0] = slots[n]
		byNode[n] = s
		list = append(list, s)
	}
	return list
}

// arena gives every value of the steps its place in one block of memory, so
// that values in use at the same time do not overlap, and returns its size.
func arena(ctx context.Context, list []*step, in, out []*slot, workers int) (int, error) {
	var regions []*region
	reserve := func(size, first int) *region {
		r := &region{size: (size + 63) &^ 63, first: first, last: first}
		regions = append(regions, r)
		return r
	}
	lastRead := map[*slot]int{} // by the slot at the root of its views

	// The last step that reads each value, through views as well.
	root := map[*slot]*slot{}
	find := func(s *slot) *slot {
		for root[s] != nil {
			s = root[s]
		}
		return s
	}
	for i, s := range list {
		for _, v := range s.in {
			if v != nil {
				lastRead[find(v)] = i
			}
		}
		if s.op.kernel.View {
			root[s.out[0]] = s.in[0]
		}
	}
	for _, v := range out {
		lastRead[find(v)] = forever
	}

	for _, v := range in {
		v.region = reserve(v.Bytes(), -1)
		v.region.last = max(lastRead[v], -1)
	}
	for i, s := range list {
		k := s.op.kernel
		for j, v := range s.out {
			switch {
			case v == nil:
				continue
			case j == 0 && k.View && s.in[0].konst != nil:
				v.konst = s.in[0].konst.As(v.Type)
				continue
			case j == 0 && k.View:
				v.region = s.in[0].region
				continue
			case j == 0:
				v.region = inPlace(s, i)
			}
			if v.region == nil {
				v.region = reserve(v.Bytes(), i)
			}
			v.region.last = max(v.region.last, lastRead[v], i)
		}
		if n := ops.ScratchBytes(k, workers); n > 0 {
			s.scratch = reserve(n, i)
		}
	}
	return pack(ctx, regions)
}

// inPlace is the region of an input that the first output may take over at
// step i: one that the kernel allows and that nobody reads afterwards.
func inPlace(s *step, i int) *region {
	for _, j := range s.op.kernel.InPlace {
		v := s.in[j]
		if v == nil || v.region == nil || v.region.last != i || v.Bytes() != s.out[0].Bytes() {
			continue
		}
		shared := false
		for k, w := range s.in {
			shared = shared || k != j && w != nil && w != v && w.region == v.region
		}
		if !shared {
			return v.region
		}
	}
	return nil
}

// pack places regions, largest first, each at the lowest offset where it does
// not overlap one already placed that is in use at the same time.
func pack(ctx context.Context, regions []*region) (int, error) {
	slices.SortStableFunc(regions, func(a, b *region) int { return cmp.Compare(b.size, a.size) })
	var placed []*region // by offset
	total := 0
	for _, r := range regions {
		if err := stopped(ctx); err != nil {
			return 0, err
		}
		at := 0
		for _, p := range placed {
			if p.last < r.first || r.last < p.first || p.offset+p.size <= at {
				continue
			}
			if p.offset-at >= r.size {
				break
			}
			at = p.offset + p.size
		}
		if at > math.MaxInt-r.size {
			return 0, &onnx.LimitError{What: "bytes of memory for one run", Got: math.MaxInt, Max: math.MaxInt}
		}
		r.offset = at
		total = max(total, at+r.size)
		i, _ := slices.BinarySearchFunc(placed, at, func(p *region, at int) int { return cmp.Compare(p.offset, at) })
		placed = slices.Insert(placed, i, r)
	}
	return total, nil
}
