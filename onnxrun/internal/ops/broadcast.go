package ops

import (
	"slices"
	"unsafe"

	"sampleonnx/onnxrun/internal/kernel"
	"sampleonnx/onnxrun/internal/onnx"
)

// broadcastShape is the shape that the given inputs have together by ONNX's
// rule: aligned at the last dimension, equal or 1.
func (c *Call) broadcastShape(inputs ...int) ([]int, error) {
	rank := 0
	for _, i := range inputs {
		rank = max(rank, len(c.In[i].Shape))
	}
	out := make([]int, rank)
	for k := range out {
		out[k] = 1
	}
	for _, i := range inputs {
		s := c.In[i].Shape
		for k, d := range s {
			o := &out[rank-len(s)+k]
			switch {
			case d == *o || d == 1:
			case *o == 1:
				*o = d
			default:
				return nil, c.Invalid("input %d has shape %v, which does not broadcast with %v", i, s, out)
			}
		}
	}
	return out, nil
}

// allInputs lists the inputs of the call.
func (c *Call) allInputs() []int {
	list := make([]int, len(c.In))
	for i := range list {
		list[i] = i
	}
	return list
}

// broadcastLayouts keeps an element-wise operator in the Blocked layout when an
// operand of the output's shape has it and the others can be seen that way.
func broadcastLayouts(c *Call) []Layout {
	want := make([]Layout, len(c.In))
	shape, err := c.broadcastShape(c.allInputs()...)
	if err != nil || len(shape) < 3 || shape[1] == 1 {
		return want
	}
	full := false
	for i := range c.In {
		if !IsFloat32(c.In[i].DType) {
			return want
		}
		full = full || c.In[i].Layout == Blocked && slices.Equal(c.In[i].Shape, shape)
	}
	if !full {
		return want
	}
	for i := range c.In {
		t := c.In[i].Type
		if len(t.Shape) == len(shape) && t.Shape[1] == shape[1] && !(t.Layout == Plain && isPerChannel(t.Shape, shape)) {
			want[i] = Blocked
		} else if t.Layout = Plain; blockedView(t, shape) == nil {
			return make([]Layout, len(c.In))
		}
	}
	return want
}

// isPerChannel: the operand has a value for each channel and its spatial
// extents are 1, and the channels fill whole blocks. Then Plain and Blocked are
// the same memory.
func isPerChannel(s, shape []int) bool {
	ch := len(s) - len(shape) + 1 // where the channels are
	return ch >= 0 && s[ch] == shape[1] && s[ch]%Block == 0 && elems(s[ch+1:]) == 1
}

// blockedView is the physical shape of an operand of type t in an operation
// whose output is Blocked of the given shape; nil when it cannot be seen so.
func blockedView(t Type, shape []int) []int {
	if t.Layout == Blocked {
		if len(t.Shape) != len(shape) || t.Shape[1] != shape[1] {
			return nil
		}
		return t.Physical()
	}
	ch := len(t.Shape) - len(shape) + 1
	switch {
	case ch < 0 || t.Shape[ch] == 1: // nothing to say about channels: the same for all lanes
		return append(slices.Clone(t.Shape), 1)
	case isPerChannel(t.Shape, shape):
		v := append(slices.Clone(t.Shape), Block)
		v[ch] /= Block
		return v
	}
	return nil
}

// broadcastType is the type of the output of an element-wise operation on the
// given inputs, and the physical shape of each of them.
func (c *Call) broadcastType(d onnx.DType, inputs ...int) (Type, [][]int, error) {
	shape, err := c.broadcastShape(inputs...)
	if err != nil {
		return Type{}, nil, err
	}
	out := Type{DType: d, Shape: shape}
	for _, i := range inputs {
		if c.In[i].Layout == Blocked {
			out.Layout = Blocked
		}
	}
	phys := make([][]int, len(inputs))
	for j, i := range inputs {
		phys[j] = c.In[i].Shape
		if out.Layout == Blocked {
			if phys[j] = blockedView(c.In[i].Type, shape); phys[j] == nil {
				return Type{}, nil, c.Unsupported("operand %v beside a blocked %v", c.In[i].Type, shape)
			}
		}
	}
	return out, phys, nil
}

// broadcastStrides are the strides of a row-major operand of the given shape
// walked over a larger one: 0 where it repeats.
func broadcastStrides(shape, over []int) []int {
	out := make([]int, len(over))
	lead := len(over) - len(shape)
	for i, s := range strides(shape) {
		if shape[i] != 1 {
			out[lead+i] = s
		}
	}
	return out
}

const (
	// Below shortRun elements a call for each run would cost more than the work,
	// so the operands are laid out in tiles and computed a tile at a time.
	shortRun = 32
	// tileLen is the length of a tile, in elements: it stays in the first cache.
	tileLen = 1024
)

// A zipper is a function of two numbers, over slices. All three forms give the
// same bits. The scalar forms may be missing: then the scalar is repeated.
type zipper[T, D Elem] struct {
	vv func(dst []D, a, b []T)
	vs func(dst []D, a []T, s T)
	sv func(dst []D, s T, b []T)
}

// zipScratch is the worker scratch of zip.
func zipScratch[T Elem]() int {
	var z T
	return 2 * tileLen * int(unsafe.Sizeof(z))
}

// zip computes out = f(a, b) over the physical shape out, a and b repeated where
// theirs have extent 1.
func zip[T, D Elem](f zipper[T, D], m *Memory, out, aShape, bShape []int, dst *Tensor, a, b *Tensor) Task {
	z := &zipped[T, D]{
		lattice: newLattice(out, broadcastStrides(aShape, out), broadcastStrides(bShape, out)),
		f:       f, m: m, dst: Data[D](dst), in: [2][]T{Data[T](a), Data[T](b)}, spare: spareOf(dst),
	}
	for j := range z.in {
		z.whole[j] = slices.Equal(z.str[j], strides(z.dims))
		z.one[j] = len(z.in[j]) == 1
	}
	z.split = newSplit(z.rows(), z.run())
	if len(z.dims) > 1 && z.run() < shortRun {
		return Task{z.split.parts, z.short}
	}
	return Task{z.split.parts, z.long}
}

type zipped[T, D Elem] struct {
	lattice
	split split
	spare spare
	f     zipper[T, D]
	m     *Memory
	dst   []D
	in    [2][]T
	whole [2]bool // the operand is as large as the output
	one   [2]bool // the operand is a single number
}

// tiles are the worker's two tiles.
func (z *zipped[T, D]) tiles(worker int) (t [2][]T) {
	all := scratchOf[T](z.m.Worker(worker), 2*tileLen)
	return [2][]T{all[:tileLen], all[tileLen:]}
}

// long computes a part of a lattice with long runs: one call for each.
func (z *zipped[T, D]) long(part, worker int) {
	r0, r1, lo, hi := z.split.of(part)
	k, run := len(z.dims)-1, z.run()
	sa, sb := z.str[0][k], z.str[1][k]
	tiles := z.tiles(worker)
	w := z.walkTo(k, r0)
	for r := r0; r < r1; r++ {
		dst := z.dst[r*run+lo : r*run+hi]
		a, b := z.in[0][w.off[0]+sa*lo:], z.in[1][w.off[1]+sb*lo:]
		switch {
		case sa != 0 && sb != 0:
			z.f.vv(dst, a[:len(dst)], b[:len(dst)])
		case sa != 0 && z.f.vs != nil:
			z.f.vs(dst, a[:len(dst)], b[0])
		case sb != 0 && z.f.sv != nil:
			z.f.sv(dst, a[0], b[:len(dst)])
		default:
			z.repeated(dst, a, b, sa, sb, &tiles)
		}
		w.next()
	}
	z.spare.zero(r0*run+lo, (r1-1)*run+hi)
}

// repeated computes a run in which an operand is one number and f has no form
// for that.
func (z *zipped[T, D]) repeated(dst []D, a, b []T, sa, sb int, tiles *[2][]T) {
	for len(dst) > 0 {
		n := min(len(dst), tileLen)
		x, y := tiles[0][:n], tiles[1][:n]
		if sa == 0 {
			fill(x, a[0])
		} else {
			x, a = a[:n], a[n:]
		}
		if sb == 0 {
			fill(y, b[0])
		} else {
			y, b = b[:n], b[n:]
		}
		z.f.vv(dst[:n], x, y)
		dst = dst[n:]
	}
}

// short computes a part of a lattice with short runs, tile by tile: operands
// that are not contiguous there are first copied into a tile.
//
// The last two dimensions, M rows of one run each, matter most: [N·C/16, HW, 16]
// with one operand per channel is the pattern of every bias and scale of a
// blocked network. When a tile does not hold all M rows, tiles end where M does
// and an operand that repeats over M is copied once only.
func (z *zipped[T, D]) short(part, worker int) {
	r0, r1, _, _ := z.split.of(part)
	k, run := len(z.dims)-2, z.run()
	M, most := z.dims[k], tileLen/run
	within := M >= most
	tiles := z.tiles(worker)
	var in [2][]T
	valid := false // the tiles of operands that repeat over M hold this outer position

	w := z.walkTo(k, r0/M)
	m := r0 % M
	for r := r0; r < r1; {
		n := min(most, r1-r)
		if within {
			n = min(n, M-m)
		}
		for done := 0; done < n; {
			seg := min(n-done, M-m)
			for j := range in {
				s2, s1, at := z.str[j][k], z.str[j][k+1], w.off[j]
				switch {
				case z.whole[j]:
					in[j] = z.in[j][r*run : (r+n)*run]
				case z.one[j]:
					in[j] = z.in[j]
				case within && s1 == 1 && s2 == run:
					in[j] = z.in[j][at+m*s2:][:n*run]
				default:
					if !(valid && s2 == 0) {
						layOut(tiles[j][done*run:(done+seg)*run], z.in[j][at+m*s2:], seg, run, s2, s1)
					}
					in[j] = tiles[j][:n*run]
				}
			}
			valid = within
			done += seg
			if m += seg; m == M {
				m, valid = 0, false
				w.next()
			}
		}
		dst := z.dst[r*run : (r+n)*run]
		switch {
		case z.one[1] && z.f.vs != nil && len(in[0]) == len(dst):
			z.f.vs(dst, in[0], in[1][0])
		case z.one[0] && z.f.sv != nil && len(in[1]) == len(dst):
			z.f.sv(dst, in[0][0], in[1])
		default:
			for j := range in {
				if z.one[j] {
					fill(tiles[j][:len(dst)], in[j][0])
					in[j] = tiles[j][:len(dst)]
				}
			}
			z.f.vv(dst, in[0], in[1])
		}
		r += n
	}
	z.spare.zero(r0*run, r1*run)
}

// layOut writes rows of run elements each to dst, read with the strides s2
// between rows and s1, 0 or 1, within.
func layOut[T Elem](dst, src []T, rows, run, s2, s1 int) {
	if d, ok := any(dst).([]float32); ok && s1 == 0 && s2 == 1 {
		kernel.Repeat(d, any(src).([]float32)[:rows], run)
		return
	}
	switch {
	case s1 == 0 && s2 == 0:
		fill(dst, src[0])
	case s1 == 0:
		for r := range rows {
			fill(dst[r*run:][:run], src[r*s2])
		}
	case s2 == 0:
		copy(dst, src[:run])
		for n := run; n < len(dst); n *= 2 {
			copy(dst[n:], dst[:n])
		}
	default:
		for r := range rows {
			copy(dst[r*run:][:run], src[r*s2:])
		}
	}
}

// scratchOf is n elements over scratch memory, which must have room.
func scratchOf[T any](mem []byte, n int) []T {
	if n == 0 {
		return nil
	}
	var z T
	_ = mem[n*int(unsafe.Sizeof(z))-1]
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(mem))), n)
}

func fill[T any](dst []T, v T) {
	n := min(len(dst), 16)
	for i := range dst[:n] {
		dst[i] = v
	}
	for ; n < len(dst); n *= 2 {
		copy(dst[n:], dst[:n])
	}
}
