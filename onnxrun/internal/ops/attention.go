package ops

import (
	"math"
	"slices"

	"sampleonnx/onnxrun/internal/kernel"
	"sampleonnx/onnxrun/internal/onnx"
)

// heads is where the heads of a query, key, value or result lie: [batch, heads,
// length, size], or with three axes [batch, length, heads·size].
type heads struct {
	batch, heads, length, size int
	flat                       bool // three axes
}

// at is the first element of row i of a head, whose rows are h.row() apart.
func (h heads) at(batch, head, i int) int {
	if h.flat {
		return ((batch*h.length+i)*h.heads + head) * h.size
	}
	return ((batch*h.heads+head)*h.length + i) * h.size
}

func (h heads) row() int {
	if h.flat {
		return h.heads * h.size
	}
	return h.size
}

func (h heads) shape() []int {
	if h.flat {
		return []int{h.batch, h.length, h.heads * h.size}
	}
	return []int{h.batch, h.heads, h.length, h.size}
}

// attention is scaled dot-product attention as Attention defines it.
type attention struct {
	q, k, v, y     heads // k and v as given, without the past
	pk, pv         heads // k and v with the past
	past, total    int
	scale          float64
	softcap        float32
	causal         bool
	left, right    int // sliding window, −1: without bound
	double         bool
	mode           int // what output 3 shows
	maskFirst      bool
	mask           [4]int
	maskLen        int
	maskBool       bool
	hasMask        bool
	nonpad         bool
	rows           int // query rows in a piece of work
	outs           int
	presentK       bool // k must be gathered, with the past or for an output
	presentV       bool
	scratchK       int // where they are gathered when they are no outputs; −1
	scratchV       int
	packK, packV   int
	packLk, packV1 int
}

// lowerAttention is Attention since opset 23: 24 brought nonpad_kv_seqlen and
// masks shorter than the keys, 25 the sliding window.
//
// As opset 23 came out, and as its tests have it, the mask is added before the
// scores are capped; a later erratum has it the other way. Here 23 is as it came
// out, but a key that is not to be seen is not brought back by the cap.
func lowerAttention(c *Call) (*Kernel, error) {
	a, err := newAttention(c)
	if err != nil {
		return nil, err
	}
	dtype := c.In[0].DType
	out := []Type{
		{DType: dtype, Shape: a.y.shape()},
		{DType: dtype, Shape: a.pk.shape()},
		{DType: dtype, Shape: a.pv.shape()},
		{DType: dtype, Shape: []int{a.q.batch, a.q.heads, a.q.length, a.total}},
	}
	wants := func(i int) bool { return i < len(c.Node.Outputs) && c.Node.Outputs[i] >= 0 }
	k := &Kernel{
		Out:   out[:len(c.Node.Outputs)],
		FLOPs: 2 * float64(elems(out[3].Shape)) * float64(a.q.size+a.v.size),
	}
	size := storageSize(dtype)
	reserve := func(n int) int {
		at := k.Scratch
		k.Scratch = min(k.Scratch+align64(n), unbounded)
		return at
	}
	a.presentK, a.presentV = a.past > 0 || wants(1), a.past > 0 || wants(2)
	a.scratchK, a.scratchV = -1, -1
	if a.presentK && !wants(1) {
		a.scratchK = reserve(size * elems(a.pk.shape()))
	}
	if a.presentV && !wants(2) {
		a.scratchV = reserve(size * elems(a.pv.shape()))
	}
	if a.presentK {
		a.k = a.pk
	}
	if a.presentV {
		a.v = a.pv
	}
	if !IsFloat32(dtype) {
		k.Algo = "loops"
		k.WorkerScratch = room(8, a.total)
		k.Bind = a.loops
		return k, nil
	}
	if t := a.tiled(wants); t != nil {
		t.plan(k)
		return k, nil
	}
	k.Algo = "gemm"
	kv := a.pk.batch * a.pk.heads
	a.packLk, a.packV1 = packedLen(a.q.size, a.total), packedLen(a.total, a.v.size)
	a.packK, a.packV = reserve(room(4, kv, a.packLk)), reserve(room(4, kv, a.packV1))
	// As many rows as keep their scores in the second-level cache.
	a.rows = min(max(1, (64<<10)/max(1, a.total)), 64, max(1, a.q.length))
	k.WorkerScratch = room(4, a.rows, a.total)
	k.Bind = a.bind
	return k, nil
}

// tiled is the same attention in tiles, when it is nothing but a softmax with
// perhaps a mask that is added; nil otherwise.
func (a *attention) tiled(wants func(output int) bool) *tiledAttention {
	q, kv := a.q, a.k
	group := q.heads / kv.heads
	bare := a.past == 0 && !wants(1) && !wants(2) && !wants(3) && a.softcap <= 0 && !a.causal && a.left < 0 && a.right < 0 &&
		!a.nonpad && !a.maskBool && (!a.hasMask || a.maskLen == a.total) && !a.double && a.scale > 0
	if !bare || q.batch*q.heads*q.length*a.total*q.size*a.v.size == 0 {
		return nil
	}
	where := func(h heads, group int) matrices {
		x := matrices{row: h.row(), col: 1, dims: []int{h.batch, h.heads / group, group}}
		x.steps = []int{h.at(1, 0, 0), group * h.at(0, 1, 0), h.at(0, 1, 0)}
		return x
	}
	shared := func(h heads) matrices {
		x := where(h, 1)
		x.dims[2], x.steps[2] = group, 0
		return x
	}
	t := &tiledAttention{batch: q.batch * q.heads, tq: q.length, tk: a.total, d: q.size, dv: a.v.size, scale: float32(a.scale),
		q: where(q, group), k: shared(kv), v: shared(a.v), y: where(a.y, group), blind: blindZero}
	if a.hasMask {
		t.mask = &matrices{row: a.mask[2], col: a.mask[3], dims: []int{q.batch, kv.heads, group},
			steps: []int{a.mask[0], group * a.mask[1], a.mask[1]}}
	}
	return t
}

func newAttention(c *Call) (*attention, error) {
	a := &attention{
		softcap: c.Float("softcap", 0), causal: c.Int("is_causal", 0) != 0,
		left: c.Int("left_window_size", -1), right: c.Int("right_window_size", -1),
		mode: c.Int("qk_matmul_output_mode", 0), maskFirst: c.Version() < 24,
		past: 0,
	}
	dtype := c.In[0].DType
	if !IsFloat32(dtype) && dtype != onnx.Double {
		return nil, c.Invalid("the query is %v, want a float tensor", dtype)
	}
	for i := 1; i < len(c.In); i++ {
		if i != 3 && i != 6 && c.Has(i) && c.In[i].DType != dtype && !(IsFloat32(c.In[i].DType) && IsFloat32(dtype)) {
			return nil, c.Invalid("input %d is %v, want %v as the query", i, c.In[i].DType, dtype)
		}
	}
	if a.mode < 0 || a.mode > 3 {
		return nil, c.Invalid("qk_matmul_output_mode is %d, want 0 to 3", a.mode)
	}
	if a.left < -1 || a.right < -1 {
		return nil, c.Invalid("the window is %d to the left and %d to the right, want numbers from -1", a.left, a.right)
	}
	precision, err := c.DType("softmax_precision", onnx.Float)
	if err != nil {
		return nil, err
	}
	switch precision {
	case onnx.Float, onnx.Float16, onnx.BFloat16: // float32 is what there is at least
	case onnx.Double:
		a.double = true
	default:
		return nil, c.Invalid("softmax_precision is %v, want a float type", precision)
	}
	if a.q, err = newHeads(c, 0, "q_num_heads"); err != nil {
		return nil, err
	}
	if a.k, err = newHeads(c, 1, "kv_num_heads"); err != nil {
		return nil, err
	}
	if a.v, err = newHeads(c, 2, "kv_num_heads"); err != nil {
		return nil, err
	}
	q, k, v := a.q, a.k, a.v
	if q.flat != k.flat || q.flat != v.flat || q.batch != k.batch || q.batch != v.batch || k.heads != v.heads ||
		k.length != v.length || q.size != k.size || k.heads < 1 || q.heads%k.heads != 0 {
		return nil, c.Invalid("query %v, key %v and value %v do not fit, want one batch, size and number of keys, and heads that divide the query's", c.In[0].Shape, c.In[1].Shape, c.In[2].Shape)
	}
	if a.scale = 1 / math.Sqrt(float64(q.size)); c.Node.Attrs["scale"].Kind != 0 {
		a.scale = float64(c.Float("scale", 0))
	}
	a.pk, a.pv = k, v
	a.pk.flat, a.pv.flat = false, false
	if c.Has(4) != c.Has(5) {
		return nil, c.Invalid("past_key and past_value go together")
	}
	if c.Has(4) {
		ps, vs := c.In[4].Shape, c.In[5].Shape
		if len(ps) != 4 || len(vs) != 4 ||
			!slices.Equal(ps, []int{k.batch, k.heads, ps[2], k.size}) || !slices.Equal(vs, []int{k.batch, k.heads, ps[2], v.size}) {
			return nil, c.Invalid("past_key %v and past_value %v do not fit key %v and value %v", ps, vs, c.In[1].Shape, c.In[2].Shape)
		}
		a.past = ps[2]
	}
	a.total = a.past + k.length
	a.pk.length, a.pv.length = a.total, a.total
	a.y = q
	a.y.size = v.size
	if c.Has(6) {
		if c.Has(4) || c.In[6].DType != onnx.Int64 || !slices.Equal(c.In[6].Shape, []int{q.batch}) {
			return nil, c.Invalid("nonpad_kv_seqlen is %v, want int64[%d] and no past", c.In[6].Type, q.batch)
		}
		a.nonpad = true
	}
	if c.Has(3) {
		m := c.In[3].Type
		a.hasMask, a.maskBool = true, m.DType == onnx.Bool
		if !a.maskBool && m.DType != dtype && !(IsFloat32(m.DType) && IsFloat32(dtype)) {
			return nil, c.Invalid("attn_mask is %v, want bool or %v", m.DType, dtype)
		}
		want := []int{q.batch, q.heads, q.length, a.total}
		if len(m.Shape) > 4 || len(m.Shape) == 0 {
			return nil, c.Invalid("attn_mask has shape %v, want 1 to 4 dimensions", m.Shape)
		}
		n := 1
		a.maskLen = a.total
		for d := len(m.Shape) - 1; d >= 0; d-- {
			to := d + 4 - len(m.Shape)
			switch {
			case m.Shape[d] == want[to]:
				if want[to] != 1 {
					a.mask[to] = n
				}
			case to == 3 && m.Shape[d] < a.total && c.Version() >= 24:
				// The keys beyond a short mask are not seen: so also with a mask
				// of one key, which the standard's reference does not broadcast.
				a.mask[3], a.maskLen = 1, m.Shape[d]
			case m.Shape[d] == 1:
			default:
				return nil, c.Invalid("attn_mask has shape %v, which does not broadcast to %v", m.Shape, want)
			}
			n *= m.Shape[d]
		}
	}
	return a, nil
}

func newHeads(c *Call, i int, attr string) (heads, error) {
	s := c.In[i].Shape
	switch len(s) {
	case 4:
		return heads{batch: s[0], heads: s[1], length: s[2], size: s[3]}, nil
	case 3:
		n := c.Int(attr, 0)
		if n < 1 || s[2]%n != 0 {
			return heads{}, c.Invalid("%s is %d, want a number that divides the %d of input %d", attr, n, s[2], i)
		}
		return heads{batch: s[0], heads: n, length: s[1], size: s[2] / n, flat: true}, nil
	}
	return heads{}, c.Invalid("input %d has shape %v, want 3 or 4 axes", i, s)
}

// joinPast joins the past and what is new: [batch, heads, past+new, size].
func joinPast[T float](dst, past, now []T, to, from heads, pastLen int) Task {
	items := to.batch * to.heads
	parts, step := divide(items, 0.3*float64(to.length*to.size))
	return Task{parts, func(part, _ int) {
		lo, hi := bounds(part, step, items)
		for i := lo; i < hi; i++ {
			y := dst[i*to.length*to.size:][:to.length*to.size]
			n := pastLen * to.size
			if n > 0 {
				copy(y, past[i*n:][:n])
			}
			for j := range from.length {
				copy(y[n+j*to.size:][:to.size], now[from.at(i/to.heads, i%to.heads, j):])
			}
		}
	}}
}

// gathered is the keys and values the products read, and the tasks that gather
// them where that is needed.
func gathered[T float](a *attention, m Memory) (k, v []T, tasks []Task) {
	k, v = Data[T](m.In[1]), Data[T](m.In[2])
	var pastK, pastV []T
	if a.past > 0 {
		pastK, pastV = Data[T](m.In[4]), Data[T](m.In[5])
	}
	get := func(out, scratch int, h heads) []T {
		if scratch >= 0 {
			return scratchOf[T](m.Shared()[scratch:], elems(h.shape()))
		}
		return Data[T](m.Out[out])
	}
	if a.presentK {
		from, to := a.pk, get(1, a.scratchK, a.pk)
		from.length -= a.past
		from.flat = a.q.flat
		tasks = append(tasks, joinPast(to, pastK, k, a.pk, from, a.past))
		k = to
	}
	if a.presentV {
		from, to := a.pv, get(2, a.scratchV, a.pv)
		from.length -= a.past
		from.flat = a.q.flat
		tasks = append(tasks, joinPast(to, pastV, v, a.pv, from, a.past))
		v = to
	}
	return k, v, tasks
}

// bind: pack every head's keys and values, then piece by piece of the queries:
// scores, mask, softmax, and their product with the values. The scores of a
// piece are the only ones in memory.
func (a *attention) bind(m Memory) []Task {
	y := Data[float32](m.Out[0])
	k, v, tasks := gathered[float32](a, m)
	q := Data[float32](m.In[0])
	var shown []float32
	if len(m.Out) > 3 && m.Out[3] != nil {
		shown = Data[float32](m.Out[3])
	}
	if len(y) == 0 && len(shown) == 0 {
		return tasks
	}
	kv, group := a.pk.batch*a.pk.heads, a.q.heads/a.pk.heads
	packedK := Floats(m.Shared()[a.packK:], kv*a.packLk)
	packedV := Floats(m.Shared()[a.packV:], kv*a.packV1)
	size, vsize := a.q.size, a.v.size
	parts, step := divide(2*kv, 0.3*float64(a.total*(size+vsize)))
	tasks = append(tasks, Task{parts, func(part, _ int) {
		lo, hi := bounds(part, step, 2*kv)
		for i := lo; i < hi; i++ {
			j := i / 2
			b, h := j/a.pk.heads, j%a.pk.heads
			if a.total == 0 {
				continue
			}
			if i%2 == 0 && size > 0 {
				kernel.PackBT(packedK[j*a.packLk:][:a.packLk], k[a.k.at(b, h, 0):], size, a.total, a.k.row())
			} else if i%2 == 1 && vsize > 0 {
				kernel.PackB(packedV[j*a.packV1:][:a.packV1], v[a.v.at(b, h, 0):], a.total, vsize, a.v.row())
			}
		}
	}})
	mask := newMask[float32](a, m)
	pieces := ceilDiv(a.q.length, a.rows)
	items := a.q.batch * a.q.heads * pieces
	parts2, step2 := divide(items, float64(a.rows*a.total)*(2+float64(size+vsize)/30))
	return append(tasks, Task{parts2, func(part, worker int) {
		scores := Floats(m.Worker(worker), a.rows*a.total)
		lo, hi := bounds(part, step2, items)
		for i := lo; i < hi; i++ {
			bh, i0 := i/pieces, i%pieces*a.rows
			b, h := bh/a.q.heads, bh%a.q.heads
			j := b*a.pk.heads + h/group
			n := min(a.rows, a.q.length-i0)
			s := scores[:n*a.total]
			if a.total > 0 {
				kernel.Gemm(s, a.total, q[a.q.at(b, h, i0):], a.q.row(), packedK[j*a.packLk:][:a.packLk], n, a.total, size, nil, false)
			}
			for r := range n {
				row := s[r*a.total:][:a.total]
				var show []float32
				if shown != nil {
					show = shown[(bh*a.q.length+i0+r)*a.total:][:a.total]
				}
				kernel.MulScalar(row, row, float32(a.scale))
				a.show(0, show, row)
				empty := false
				if a.maskFirst {
					empty = mask.add(row, b, h, i0+r)
					a.show(1, show, row)
				}
				if a.softcap > 0 && a.maskFirst {
					capSeen(row, float64(a.softcap))
				} else if a.softcap > 0 {
					kernel.DivScalar(row, row, a.softcap)
					kernel.Tanh(row, row)
					kernel.MulScalar(row, row, a.softcap)
				}
				if !a.maskFirst {
					a.show(1, show, row)
					empty = mask.add(row, b, h, i0+r)
				}
				a.show(2, show, row)
				switch {
				case empty:
					clear(row)
				case a.double:
					softmax64(row)
				default:
					kernel.SoftmaxRow(row, row)
				}
				a.show(3, show, row)
			}
			if vsize > 0 {
				kernel.Gemm(y[a.y.at(b, h, i0):], a.y.row(), s, a.total, packedV[j*a.packV1:][:a.packV1], n, vsize, a.total, nil, false)
			}
		}
	}})
}

// capSeen brings the scores smoothly into ±most, but for those of keys that are
// not to be seen.
func capSeen[T float](row []T, most float64) {
	for j, v := range row {
		if !math.IsInf(float64(v), -1) {
			row[j] = T(math.Tanh(float64(v)/most) * most)
		}
	}
}

func (a *attention) show(mode int, to, row []float32) {
	if to != nil && mode == a.mode {
		copy(to, row)
	}
}

// mask adds what a query must not see to its row of scores.
type mask[T float] struct {
	a      *attention
	floats []T
	bools  []bool
	nonpad []int64
}

func newMask[T float](a *attention, m Memory) *mask[T] {
	k := &mask[T]{a: a}
	switch {
	case a.hasMask && a.maskBool:
		k.bools = Data[bool](m.In[3])
	case a.hasMask:
		k.floats = Data[T](m.In[3])
	}
	if a.nonpad {
		k.nonpad = Data[int64](m.In[6])
	}
	return k
}

// add makes row i of a head's scores: −Inf for keys that are not to be seen,
// the float mask added to the others. It reports whether nothing is to be seen.
func (k *mask[T]) add(row []T, batch, head, i int) (empty bool) {
	a := k.a
	lo, hi := 0, len(row)
	// The query's place among the keys: after those of the past, or at the end
	// of those that are no padding.
	at := i + a.past
	if k.nonpad != nil {
		n := int(min(max(k.nonpad[batch], 0), int64(len(row))))
		hi = n
		at = i + int(k.nonpad[batch]) - a.q.length
	}
	if a.causal {
		hi = min(hi, at+1)
	}
	if a.left >= 0 {
		lo = max(lo, at-a.left)
	}
	if a.right >= 0 {
		hi = min(hi, at+a.right+1)
	}
	hi = min(max(hi, 0), len(row))
	lo = min(max(lo, 0), hi)
	never := T(math.Inf(-1))
	for j := range row[:lo] {
		row[j] = never
	}
	for j := range row[hi:] {
		row[hi+j] = never
	}
	if !a.hasMask {
		return lo == hi
	}
	base := batch*a.mask[0] + head*a.mask[1] + i*a.mask[2]
	empty = true
	for j := lo; j < hi; j++ {
		if j >= a.maskLen {
			row[j] = never
			continue
		}
		if k.bools != nil {
			if k.bools[base+j*a.mask[3]] {
				empty = false
			} else {
				row[j] = never
			}
			continue
		}
		w := k.floats[base+j*a.mask[3]]
		row[j] += w
		if w != never {
			empty = false
		}
	}
	return empty
}

// softmax64 is the softmax of a row computed in float64.
func softmax64[T float](row []T) {
	top := math.Inf(-1)
	for _, v := range row {
		top = max(top, float64(v))
	}
	sum := 0.0
	for _, v := range row {
		sum += math.Exp(float64(v) - top)
	}
	for i, v := range row {
		row[i] = T(math.Exp(float64(v)-top) / sum)
	}
}

// loops is the attention of float64.
func (a *attention) loops(m Memory) []Task {
	y := Data[float64](m.Out[0])
	k, v, tasks := gathered[float64](a, m)
	q := Data[float64](m.In[0])
	var shown []float64
	if len(m.Out) > 3 && m.Out[3] != nil {
		shown = Data[float64](m.Out[3])
	}
	mask := newMask[float64](a, m)
	group := a.q.heads / a.pk.heads
	items := a.q.batch * a.q.heads * a.q.length
	parts, step := divide(items, float64(a.total*(20+a.q.size+a.v.size)))
	return append(tasks, Task{parts, func(part, worker int) {
		row := scratchOf[float64](m.Worker(worker), a.total)
		lo, hi := bounds(part, step, items)
		for i := lo; i < hi; i++ {
			b, h, r := i/a.q.length/a.q.heads, i/a.q.length%a.q.heads, i%a.q.length
			var show []float64
			if shown != nil {
				show = shown[i*a.total:][:a.total]
			}
			see := func(mode int) {
				if mode == a.mode {
					copy(show, row)
				}
			}
			for j := range row {
				sum := 0.0
				x, w := q[a.q.at(b, h, r):][:a.q.size], k[a.k.at(b, h/group, j):]
				for l, v := range x {
					sum += v * w[l]
				}
				row[j] = sum * a.scale
			}
			see(0)
			empty := false
			if a.maskFirst {
				empty = mask.add(row, b, h, r)
				see(1)
			}
			if a.softcap > 0 {
				capSeen(row, float64(a.softcap))
			}
			if !a.maskFirst {
				see(1)
				empty = mask.add(row, b, h, r)
			}
			see(2)
			if empty {
				clear(row)
			} else {
				softmax64(row)
			}
			see(3)
			out := y[a.y.at(b, h, r):][:a.v.size]
			clear(out)
			for j, p := range row {
				for l, x := range v[a.v.at(b, h/group, j):][:a.v.size] {
					out[l] += p * x
				}
			}
		}
	}})
}
