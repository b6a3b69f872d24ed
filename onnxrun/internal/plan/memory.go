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

// steps lists the ops of expression graphs in running order.
func (x *expression) steps() []*step {
	var list []*step
	for _, e := range x.graphs {
		for _, n := range e.AllNodes() {
			o, ok := n.Op().(*op)
			if !ok {
				continue
			}
			if o.output > 0 { // of the op before
				list[len(list)-1].out[o.output] = x.slots[n]
				continue
			}
			s := &step{op: o, in: make([]*slot, len(o.src.Inputs)), out: make([]*slot, len(o.kernel.Out))}
			for i, far := range o.far {
				s.in[o.slots[i]] = far
			}
			children := e.From(n.ID())
			for i := 0; children.Next(); i++ {
				s.in[o.slots[i]] = x.slots[children.Node().(*G.Node)]
			}
			s.out[0] = x.slots[n]
			list = append(list, s)
		}
	}
	return list
}

// arena gives every value of the steps its place in one block of memory, so
// that values in use at the same time do not overlap, and returns its size.
func arena(ctx context.Context, list []*step, in, out []*slot, workers int) (int64, error) {
	var regions []*region
	reserve := func(size, first int) *region {
		r := &region{size: (min(size, math.MaxInt-63) + 63) &^ 63, first: first, last: first}
		regions = append(regions, r)
		return r
	}
	lastRead := map[*slot]int{} // by the slot at the root of its views

	// The last step that reads each value, through views as well.
	root := map[*slot]*slot{}
	find := func(s *slot) *slot {
		if r := root[s]; r != nil {
			return r
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
			root[s.out[0]] = find(s.in[0])
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
func pack(ctx context.Context, regions []*region) (int64, error) {
	slices.SortStableFunc(regions, func(a, b *region) int { return cmp.Compare(b.size, a.size) })
	end := 0 // no two regions first meet later
	for _, r := range regions {
		end = max(end, r.first+1)
	}
	c := newChart(end + 1)
	total := 0
	for _, r := range regions {
		if err := stopped(ctx); err != nil {
			return 0, err
		}
		first, last := r.first+1, min(r.last, end-1)+1 // inputs come at −1
		r.offset = c.lowest(first, last, r.size)
		if r.offset > math.MaxInt-r.size {
			return 0, &onnx.LimitError{What: "bytes of memory for one run", Got: math.MaxInt, Max: math.MaxInt - 1}
		}
		c.add(first, last, extent{r.offset, r.offset + r.size})
		total = max(total, r.offset+r.size)
	}
	return int64(total), nil
}

// A chart is which bytes are in use when: a tree whose root is all times, and whose
// leaves are one time each. Regions that lie one on the other are one extent, so that
// there are few of them however many regions there are.
type chart struct {
	times int
	// By node, the children of i being 2i and 2i+1: what is in use during all times of
	// the node, and not of its parent; and what is so at some of them.
	whole, some [][]extent
	found       [][]extent // for lowest
}

type extent struct{ from, to int }

func newChart(times int) *chart {
	n := 1
	for n < times {
		n *= 2
	}
	return &chart{times: n, whole: make([][]extent, 2*n), some: make([][]extent, 2*n)}
}

// lowest is the lowest offset from which so many bytes are free from one time to
// another.
func (c *chart) lowest(first, last, size int) int {
	c.found = c.found[:0]
	c.used(1, 0, c.times-1, first, last)
	at := 0
	for i := 0; i < len(c.found); i++ {
		list := c.found[i]
		k, _ := slices.BinarySearchFunc(list, at+1, func(e extent, to int) int { return cmp.Compare(e.to, to) })
		if k < len(list) && list[k].from-at < size {
			at = list[k].to
			i = -1 // ask all again
		}
	}
	return at
}

// used finds the lists that say what is in use from first to last.
func (c *chart) used(node, lo, hi, first, last int) {
	switch {
	case last < lo || hi < first:
	case first <= lo && hi <= last:
		if len(c.some[node]) > 0 {
			c.found = append(c.found, c.some[node])
		}
	default:
		if len(c.whole[node]) > 0 {
			c.found = append(c.found, c.whole[node])
		}
		mid := (lo + hi) / 2
		c.used(2*node, lo, mid, first, last)
		c.used(2*node+1, mid+1, hi, first, last)
	}
}

// add notes that an extent is in use from first to last.
func (c *chart) add(first, last int, e extent) { c.note(1, 0, c.times-1, first, last, e) }

func (c *chart) note(node, lo, hi, first, last int, e extent) {
	if last < lo || hi < first || e.from == e.to {
		return
	}
	c.some[node] = with(c.some[node], e)
	if first <= lo && hi <= last {
		c.whole[node] = with(c.whole[node], e)
		return
	}
	mid := (lo + hi) / 2
	c.note(2*node, lo, mid, first, last, e)
	c.note(2*node+1, mid+1, hi, first, last, e)
}

// with is a list of extents, in order and apart from each other, and one more.
func with(list []extent, e extent) []extent {
	i, _ := slices.BinarySearchFunc(list, e.from, func(x extent, from int) int { return cmp.Compare(x.to, from) })
	j := i
	for ; j < len(list) && list[j].from <= e.to; j++ {
		e = extent{min(e.from, list[j].from), max(e.to, list[j].to)}
	}
	return slices.Replace(list, i, j, e)
}
