package plan

import (
	"bytes"
	"context"
	"slices"
	"time"

	"sampleonnx/onnxrun/internal/ops"
)

// The samples of a batch do not depend on each other, and a large batch need not pass
// through memory operator by operator: a tile of a few rows goes through the whole
// network while it is in the cache, and each thread has tiles of its own, so that
// threads wait for each other once a run. The bytes are the same, since no kernel's
// result depends on the batch.

// tileArena bounds the memory of a tile of many rows, as networks for points have
// them: half of a core's second-level cache, as the weights want the rest.
const tileArena = 1 << 19

// tiling is what a plan in tiles is made of: the graph for the whole batch and, for
// another number of rows, as the model has them; what makes the graph to run of such a
// one; and the types of what it takes and gives for the whole batch.
type tiling struct {
	whole   *graph
	build   func(rows int) (*graph, error)
	finish  func(g *graph) error
	in, out []ops.Type
}

// tiled is the plan for a network on a batch of which each row goes its own way: the
// plan for a tile, and how often it runs. It is nil when the network is of another
// kind or nothing is gained.
func (p *Program) tiled(l tiling) (*Plan, error) {
	g := l.whole
	rows, ok := g.rowwise()
	if !ok {
		return nil, nil
	}
	if g.widest()/rows*56 <= tileArena {
		for _, most := range []int{448, 224, 112, 56} {
			if rows < 2*most {
				continue
			}
			// Tiles of equal height, as many for each thread, and the height a
			// multiple of the microkernel's.
			tiles := roundUp((rows+most-1)/most, p.Threads())
			pl, err := p.inTiles(l, rows, roundUp((rows+tiles-1)/tiles, 14))
			if err != nil || pl != nil && pl.tile.Arena+pl.tile.Tables <= tileArena {
				return pl, err
			}
		}
	}
	if n := tileRows(rows, p.Threads()); n > 0 && g.worthwhile(n, rows) {
		return p.inTiles(l, rows, n)
	}
	return nil, nil
}

// worthwhile reports whether a tile of n of the graph's rows does enough with the
// weights, which it reads anew: in operations for each byte, 32 make the products of
// matrices with as many rows as the microkernel likes, and 128 are some ten times what
// a core does while a byte comes from memory.
func (g *graph) worthwhile(n, rows int) bool {
	flops, size := 0., 0.
	seen := map[*ops.Tensor]bool{}
	for _, n := range g.nodes {
		flops += n.kernel.FLOPs
		for _, v := range n.in {
			if v != nil && v.konst != nil && !seen[v.konst] {
				seen[v.konst] = true
				size += float64(v.konst.Bytes())
			}
		}
	}
	least := 128.
	if size <= tileArena {
		least = 32
	}
	return flops*float64(n)/float64(rows) >= least*size
}

// rowsOf is the types of the graph's inputs for another number of rows.
func (g *graph) rowsOf(inputs []ops.Type, rows int) []ops.Type {
	few := slices.Clone(inputs)
	for i, v := range g.in {
		if !v.shared {
			few[i].Shape = slices.Clone(few[i].Shape)
			few[i].Shape[0] = rows
		}
	}
	return few
}

// tileRows is the height of the tiles of a batch: about four rows, which share what it
// takes to read the weights and leave room in the cache, and such that all threads
// have as many to do. It is 0 when that would be much more than their share.
func tileRows(rows, threads int) int {
	best, least := 0, 0
	for _, n := range []int{4, 5, 3, 6, 2, 7, 8} {
		each := roundUp((rows+n-1)/n, threads) / threads * n // rows of a thread, idle ones too
		if n < rows && (best == 0 || 16*each < 15*least) {
			best, least = n, each
		}
	}
	if 10*least*threads > 11*rows {
		return 0
	}
	return best
}

// widest is the size in bytes of the largest inputs and outputs of a node.
func (g *graph) widest() int {
	most := 0
	for _, n := range g.nodes {
		size := 0
		for _, v := range slices.Concat(n.in, n.out) {
			if v != nil && v.konst == nil {
				size += v.Bytes()
			}
		}
		most = max(most, size)
	}
	return most
}

// alike reports whether another graph computes the same for each row: the same
// operators on the same constants, with results that differ in the number of rows.
func (g *graph) alike(other *graph) bool {
	return slices.EqualFunc(g.nodes, other.nodes, func(a, b *node) bool {
		same := a.src == b.src || a.src.Op == b.src.Op && a.src.Attrs == nil && b.src.Attrs == nil // Expand, when time is split off
		return same && slices.EqualFunc(a.in, b.in, a.readsAlike) && slices.EqualFunc(a.out, b.out, func(v, w *value) bool {
			if v == nil || w == nil {
				return v == w
			}
			return len(v.Shape) == len(w.Shape) && (len(v.Shape) == 0 || slices.Equal(v.Shape[1:], w.Shape[1:]))
		})
	})
}

// readsAlike is alike for two values that a node reads. Shapes may differ where nothing
// else than the shape of a result comes of them, and so may the number of equal rows.
func (n *node) readsAlike(v, w *value) bool {
	switch {
	case v == nil || w == nil:
		return v == w
	case v.konst == w.konst:
		return true
	case v.konst == nil || w.konst == nil || v.DType != w.DType:
		return false
	case sameType(v.Type, w.Type) && bytes.Equal(v.konst.Mem(), w.konst.Mem()):
		return true
	case isFloat(v.DType):
		return v.uniform() && all(w, ops.Data[float32](v.konst)[0])
	}
	return slices.Contains([]string{"Reshape", "Expand", "Resize"}, n.src.Op)
}

// inTiles is a plan in tiles of n rows for a batch; nil where the tile's values are not
// rows of the batch's.
func (p *Program) inTiles(l tiling, rows, n int) (*Plan, error) {
	small, err := l.build(n)
	if err != nil || !l.whole.alike(small) { // the batch size is written into the graph
		return nil, stopped(l.whole.ctx)
	}
	if few, ok := small.rowwise(); !ok || few != n { // sizes are
		return nil, nil
	}
	small.alone = true
	if err = l.finish(small); err != nil {
		return nil, stopped(l.whole.ctx)
	}
	tile, err := p.finish(small, typesOf(small.in))
	if err != nil {
		return nil, stopped(l.whole.ctx)
	}
	pl := &Plan{Inputs: l.in, Outputs: l.out, Graphs: tile.Graphs, program: p, steps: tile.steps, tile: tile, shared: make([]bool, len(l.in))}
	for i, v := range l.whole.in {
		if pl.shared[i] = v.shared; v.shared && !sameType(tile.Inputs[i], v.Type) {
			return nil, nil
		}
	}
	for i, out := range l.out {
		want := tile.Outputs[i].Shape
		if len(want) == 0 || !slices.Equal(append([]int{rows}, want[1:]...), out.Shape) {
			return nil, nil
		}
	}
	for range p.Threads() {
		pl.Arena, pl.Tables = sum(pl.Arena, tile.Arena), sum(pl.Tables, tile.Tables)
	}
	for _, t := range slices.Concat(pl.Inputs, pl.Outputs) {
		pl.Arena = sum(pl.Arena, int64(t.Bytes()))
	}
	return pl, p.account(pl, 0)
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }

// newTiled is a machine with one machine for a tile for each worker.
func (pl *Plan) newTiled(ctx context.Context) (*Machine, error) {
	m := &Machine{pool: pl.program.pool, plan: pl}
	for _, t := range pl.Inputs {
		m.In = append(m.In, ops.New(t))
	}
	for _, t := range pl.Outputs {
		m.Out = append(m.Out, ops.New(t))
	}
	workers := make([]*Machine, m.pool.Threads())
	for i := range workers {
		w, err := pl.tile.newMachine(ctx)
		if err != nil {
			return nil, err
		}
		workers[i] = w
	}
	rows, n := pl.Outputs[0].Shape[0], pl.tile.Outputs[0].Shape[0]
	m.tasks = []task{m.untilDone(ops.Task{Parts: (rows + n - 1) / n, Run: func(part, worker int) {
		workers[worker].tile(m, part*n, min(n, rows-part*n))
	}}, 0)}
	m.tiles = workers
	return m, nil
}

// tile computes n rows of another machine's outputs, from row on.
func (m *Machine) tile(of *Machine, row, n int) {
	m.takeRows(of, row, n)
	m.done = of.done
	at := 0
	defer func() {
		if m.done = nil; at < len(m.tasks) { // a panic
			of.stuck.CompareAndSwap(nil, m.src(at))
		}
	}()
	for ; at < len(m.tasks); at++ {
		t := &m.tasks[at]
		for part := range t.parts {
			t.run(part, 0)
		}
		if m.stopped() {
			at = len(m.tasks)
			return
		}
	}
	for i, t := range m.Out {
		copyRows(of.Out[i], row, t, 0, n)
	}
}

// takeRows fills the inputs with n rows of another machine's, from row on. Where
// they have room for more, in the last tile, they get the last row again: nobody
// reads what comes of it, but it must be possible to compute it, and what lies there
// may be no index of a table.
func (m *Machine) takeRows(of *Machine, row, n int) {
	for i, t := range m.In {
		if of.plan.shared[i] {
			copy(t.Mem(), of.In[i].Mem())
		} else {
			copyRows(t, 0, of.In[i], row, n)
			for r := n; r < t.Shape[0]; r++ {
				copyRows(t, r, of.In[i], row+n-1, 1)
			}
		}
	}
}

func copyRows(dst *ops.Tensor, to int, src *ops.Tensor, from, n int) {
	size := len(src.Mem()) / src.Shape[0]
	copy(dst.Mem()[to*size:(to+n)*size], src.Mem()[from*size:])
}

// profileTiles is Profile for a tiled machine: one worker's time for all rows.
func (m *Machine) profileTiles(ctx context.Context, times []time.Duration) error {
	w := m.tiles[0]
	rows, n := m.Out[0].Shape[0], w.Out[0].Shape[0]
	for row := 0; row < rows; row += n {
		if err := ctx.Err(); err != nil {
			return err
		}
		w.takeRows(m, row, min(n, rows-row))
		if err := w.Profile(ctx, times); err != nil {
			return err
		}
	}
	return nil
}
