package ops

import (
	"fmt"
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
)

// IndexError is an index outside the tensor that it points into. Indices known
// at compile time are checked by Lower. One that is computed is found while the
// model runs, where a task has no other way to say so than to panic with a
// *IndexError: whoever runs tasks must recover from that and return it.
type IndexError struct {
	Node   string // as onnx.Node.Where prints it
	Index  int64
	Extent int // the index should be in [-Extent, Extent)
}

func (e *IndexError) Error() string {
	return fmt.Sprintf("onnxrun: %s: index %d is outside [%d, %d)", e.Node, e.Index, -e.Extent, e.Extent)
}

// An indexer turns indices into offsets: negative ones count from the end.
type indexer struct {
	node   string
	extent int
	stride int
}

func (x *indexer) offset(i int64) int {
	j := i
	if j < 0 {
		j += int64(x.extent)
	}
	if uint64(j) >= uint64(x.extent) {
		panic(&IndexError{x.node, i, x.extent})
	}
	return int(j) * x.stride
}

func isIndex(d onnx.DType) bool { return d == onnx.Int32 || d == onnx.Int64 }

// wantIndices checks the types of a gathering call, and its indices if they are
// known: index i must be within extents[i mod len(extents)].
func (c *Call) wantIndices(extents ...int) error {
	if err := c.want(0, isStored, "a numeric type or bool"); err != nil {
		return err
	}
	if err := c.want(1, isIndex, "int32 or int64"); err != nil {
		return err
	}
	if c.In[1].Const == nil {
		return nil
	}
	at := indexAt(c.In[1].Const)
	for i := range c.In[1].Elems() {
		e := extents[i%len(extents)]
		if v := at(i); v < -int64(e) || v >= int64(e) {
			return c.Invalid("index %d is outside [%d, %d)", v, -e, e)
		}
	}
	return nil
}

// indexAt reads a tensor of int32 or int64.
func indexAt(t *Tensor) func(i int) int64 {
	if t.DType == onnx.Int32 {
		d := Data[int32](t)
		return func(i int) int64 { return int64(d[i]) }
	}
	d := Data[int64](t)
	return func(i int) int64 { return d[i] }
}

// lowerGather: the input seen as [outer, extent, inner] gives [outer, indices, inner].
func lowerGather(c *Call) (*Kernel, error) {
	in := c.In[0].Type
	axis, err := c.Axis(c.Int("axis", 0), len(in.Shape))
	if err != nil {
		return nil, err
	}
	extent := in.Shape[axis]
	if err := c.wantIndices(extent); err != nil {
		return nil, err
	}
	count, inner := c.In[1].Elems(), elems(in.Shape[axis+1:])
	out := Type{DType: in.DType, Shape: slices.Concat(in.Shape[:axis], c.In[1].Shape, in.Shape[axis+1:])}
	x := indexer{c.Node.Where(), extent, inner}
	return gatherKernel(out, inner, func(m Memory) func(row int) int {
		at := indexAt(m.In[1])
		return func(row int) int { return row/count*extent*inner + x.offset(at(row%count)) }
	}), nil
}

// gatherKernel fills its output row by row, each of run elements, from where
// the function that bind makes says in input 0.
func gatherKernel(out Type, run int, bind func(m Memory) func(row int) int) *Kernel {
	rows := 0
	if run > 0 {
		rows = out.Elems() / run
	}
	s := newSplit(rows, run)
	return &Kernel{Out: []Type{out}, Bind: func(m Memory) []Task {
		from := bind(m)
		switch storageSize(out.DType) {
		case 1:
			return gather[uint8](m, s, from)
		case 2:
			return gather[uint16](m, s, from)
		case 4:
			return gather[uint32](m, s, from)
		}
		return gather[uint64](m, s, from)
	}}
}

func gather[W Elem](m Memory, s split, from func(row int) int) []Task {
	dst, src := Data[W](m.Out[0]), Data[W](m.In[0])
	return []Task{{s.parts, func(part, _ int) {
		r0, r1, lo, hi := s.of(part)
		if s.run == 1 {
			for r := r0; r < r1; r++ {
				dst[r] = src[from(r)]
			}
			return
		}
		for r := r0; r < r1; r++ {
			at := from(r)
			copy(dst[r*s.run+lo:r*s.run+hi], src[at+lo:at+hi])
		}
	}}}
}

// lowerGatherND: the last dimension of the indices holds coordinates into the
// dimensions of the input that follow the batch dimensions.
func lowerGatherND(c *Call) (*Kernel, error) {
	in, idx := c.In[0].Type, c.In[1].Type
	r, q, b := len(in.Shape), len(idx.Shape), c.Int("batch_dims", 0)
	if r == 0 || q == 0 {
		return nil, c.Invalid("has inputs of shape %v and %v, want no scalars", in.Shape, idx.Shape)
	}
	if b < 0 || b >= min(r, q) {
		return nil, c.Invalid("batch_dims is %d, want less than both ranks, %d and %d", b, r, q)
	}
	if !slices.Equal(in.Shape[:b], idx.Shape[:b]) {
		return nil, c.Invalid("has inputs of shape %v and %v, which differ in the first %d dimensions", in.Shape, idx.Shape, b)
	}
	m := idx.Shape[q-1]
	if m < 1 || m > r-b {
		return nil, c.Invalid("indices have %d coordinates, want 1 to %d", m, r-b)
	}
	extents := in.Shape[b : b+m]
	if err := c.wantIndices(extents...); err != nil {
		return nil, err
	}
	out := Type{DType: in.DType, Shape: slices.Concat(idx.Shape[:q-1], in.Shape[b+m:])}
	st := strides(in.Shape)
	xs := make([]indexer, m)
	for i := range xs {
		xs[i] = indexer{c.Node.Where(), extents[i], st[b+i]}
	}
	perBatch, batch := max(1, elems(idx.Shape[b:q-1])), elems(in.Shape[b:])
	return gatherKernel(out, elems(in.Shape[b+m:]), func(mem Memory) func(row int) int {
		at := indexAt(mem.In[1])
		return func(row int) int {
			off := row / perBatch * batch
			for i := range xs {
				off += xs[i].offset(at(row*m + i))
			}
			return off
		}
	}), nil
}

// lowerGatherElements: each index replaces one coordinate of its own position.
func lowerGatherElements(c *Call) (*Kernel, error) {
	in, idx := c.In[0].Type, c.In[1].Type
	rank := len(in.Shape)
	if len(idx.Shape) != rank {
		return nil, c.Invalid("indices have shape %v, want rank %d", idx.Shape, rank)
	}
	axis, err := c.Axis(c.Int("axis", 0), rank)
	if err != nil {
		return nil, err
	}
	for i, d := range idx.Shape {
		if i != axis && d > in.Shape[i] {
			return nil, c.Invalid("indices have shape %v, want at most that of the input, %v, except on axis %d", idx.Shape, in.Shape, axis)
		}
	}
	if err := c.wantIndices(in.Shape[axis]); err != nil {
		return nil, err
	}
	st := strides(in.Shape)
	x := indexer{c.Node.Where(), in.Shape[axis], st[axis]}
	st[axis] = 0 // the index gives that step
	l := newLattice(idx.Shape, strides(idx.Shape), st)
	out := Type{DType: in.DType, Shape: idx.Shape}
	return &Kernel{Out: []Type{out}, Bind: func(m Memory) []Task {
		switch storageSize(out.DType) {
		case 1:
			return gatherElements[uint8](m, l, x)
		case 2:
			return gatherElements[uint16](m, l, x)
		case 4:
			return gatherElements[uint32](m, l, x)
		}
		return gatherElements[uint64](m, l, x)
	}}, nil
}

func gatherElements[W Elem](m Memory, l lattice, x indexer) []Task {
	dst, src, at := Data[W](m.Out[0]), Data[W](m.In[0]), indexAt(m.In[1])
	k := len(l.dims) - 1
	s := newSplit(l.rows(), l.run())
	return []Task{{s.parts, func(part, _ int) {
		r0, r1, lo, hi := s.of(part)
		w := l.walkTo(k, r0)
		for r := r0; r < r1; r++ {
			for i := lo; i < hi; i++ {
				dst[r*s.run+i] = src[w.off[1]+i*l.str[1][k]+x.offset(at(r*s.run+i))]
			}
			w.next()
		}
	}}}
}
