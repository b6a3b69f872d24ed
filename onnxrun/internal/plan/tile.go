package plan

import (
	"context"
	"slices"
	"time"

	"sampleonnx/onnxrun/internal/ops"
)

// A network that works on every row of its inputs alone (a multi-layer
// perceptron, an exact score) need not pass a large batch through memory
// operator by operator: a tile of rows goes through the whole network while it
// is in the cache, and each thread has tiles of its own. The bytes are the same,
// since no kernel's result depends on the batch.

// tileArena bounds the memory of a tile: half of a core's second-level cache,
// as the weights want the rest.
const tileArena = 1 << 19

// tiled is the plan for such a network on large batches: the plan for a tile,
// and how often it runs. It is nil when the network is of another kind or the
// batch is small. build makes the graph for another number of rows.
func (p *Program) tiled(g *graph, inputs []ops.Type, build func(rows int) (*graph, error)) (*Plan, error) {
	rows, ok := g.rowwise()
	if !ok {
		return nil, nil
	}
	for _, most := range []int{448, 224, 112, 56} {
		if rows < 2*most {
			continue
		}
		// Tiles of equal height, as many for each thread, and the height a
		// multiple of the microkernel's.
		tiles := roundUp((rows+most-1)/most, p.Threads())
		n := roundUp((rows+tiles-1)/tiles, 14)
		small, err := build(n)
		if err != nil { // the batch size is written into the graph
			return nil, stopped(g.ctx)
		}
		tile, err := p.finish(small, typesOf(small.in))
		if err != nil {
			return nil, stopped(g.ctx)
		}
		if tile.Arena+tile.Tables > tileArena {
			continue
		}
		pl := &Plan{Inputs: inputs, Graphs: tile.Graphs, program: p, steps: tile.steps, tile: tile}
		for i, v := range g.in {
			pl.shared = append(pl.shared, v.shared)
			if v.shared && !sameType(tile.Inputs[i], v.Type) {
				return nil, nil
			}
		}
		for i, out := range g.out {
			want := slices.Clone(tile.Outputs[i].Shape)
			if want[0] = rows; !slices.Equal(want, out.Shape) {
				return nil, nil
			}
			pl.Outputs = append(pl.Outputs, out.Type)
		}
		pl.Arena, pl.Tables = int64(p.Threads())*tile.Arena, int64(p.Threads())*tile.Tables
		for _, t := range slices.Concat(pl.Inputs, pl.Outputs) {
			pl.Arena += int64(t.Bytes())
		}
		return pl, p.account(pl, 0)
	}
	return nil, nil
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }

// rowwise reports whether row i of every output depends on row i of the inputs
// alone, and the number of rows. It says no when in doubt.
func (g *graph) rowwise() (rows int, ok bool) {
	if len(g.in) == 0 || len(g.in[0].Shape) == 0 {
		return 0, false
	}
	rows = g.in[0].Shape[0]
	carries := map[*value]bool{} // row i of the value belongs to row i of the inputs
	for _, v := range g.in {
		if v.shared {
			continue
		}
		if len(v.Shape) == 0 || v.Shape[0] != rows {
			return 0, false
		}
		carries[v] = true
	}
	for _, n := range g.nodes {
		if len(n.out) != 1 || len(n.out[0].Shape) == 0 || n.out[0].Shape[0] != rows || !n.byRow(carries) {
			return 0, false
		}
		carries[n.out[0]] = true
	}
	for _, v := range g.out {
		if !carries[v] {
			return 0, false
		}
	}
	return rows, true
}

// byRow reports whether row i of a node's output depends on row i of those of
// its inputs that carry rows; the others are constants, or inputs, that all rows
// share.
func (n *node) byRow(carries map[*value]bool) bool {
	out := n.out[0]
	for _, v := range n.in {
		if v != nil && v.konst == nil && !carries[v] && !v.shared {
			return false
		}
	}
	shared := func(i int) bool { return len(n.in) <= i || n.in[i] == nil || !carries[n.in[i]] }
	op := n.src.Op
	if n.src.Domain == ops.Fused && op != "SiLU" && op != "Linear" {
		return false
	}
	switch op {
	case "Abs", "Cast", "Clip", "Cos", "Elu", "Erf", "Exp", "Gelu", "Identity", "LeakyRelu", "Log", "Neg", "Reciprocal",
		"Relu", "SiLU", "Sigmoid", "Sin", "Softplus", "Sqrt", "Tanh",
		"Ceil", "Floor", "Round", "Sign", "Not",
		"Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Where", "Mod", "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual":
		return eachByRow(n.in, carries, len(out.Shape))
	case "Gemm":
		a, transposed := n.src.Attrs["transA"]
		return !(transposed && a.Int != 0) && carries[n.in[0]] && shared(1) && shared(2) &&
			(len(n.in) < 3 || n.in[2] == nil || len(n.in[2].Shape) < 2 || n.in[2].Shape[0] == 1)
	case "Linear":
		return carries[n.in[0]] && shared(1) && shared(2) && eachByRow(n.in[min(3, len(n.in)):], carries, len(out.Shape))
	case "MatMul":
		return carries[n.in[0]] && shared(1) && len(n.in[0].Shape) >= 2 && len(n.in[1].Shape) == 2
	case "Concat":
		for _, v := range n.in {
			if !carries[v] {
				return false
			}
		}
		return !axisZero(n, len(out.Shape))
	case "Softmax":
		return n.src.Version >= 13 && !axisZero(n, len(out.Shape))
	case "Expand":
		v := n.in[0]
		return shared(1) && len(v.Shape) == len(out.Shape) && (carries[v] || v.Shape[0] == 1)
	case "Split":
		_, ok := n.src.Attrs["axis"]
		return carries[n.in[0]] && shared(1) && ok && !axisZero(n, len(n.in[0].Shape))
	case "Gather": // rows of a table
		_, ok := n.src.Attrs["axis"]
		return n.in[0].konst != nil && carries[n.in[1]] && (!ok || axisZero(n, len(n.in[0].Shape)))
	case "GatherND":
		return n.in[0].konst != nil && carries[n.in[1]] && len(n.in[1].Shape) > 1 && n.src.Attrs["batch_dims"].Int == 0
	case "Reshape", "Unsqueeze", "Squeeze", "Flatten":
		// Same first dimension, same order in memory: the rows stay apart.
		return carries[n.in[0]] && shared(1)
	}
	return false
}

// eachByRow reports whether the operands of an element-wise operation, whose
// output has that many axes, go row with row.
func eachByRow(in []*value, carries map[*value]bool, rank int) bool {
	for _, v := range in {
		switch {
		case v == nil:
		case carries[v] && len(v.Shape) != rank:
			return false // its rows lie along another axis of the output
		case !carries[v] && len(v.Shape) == rank && v.Shape[0] != 1:
			return false // a constant with a row for each row
		}
	}
	return true
}

// axisZero reports whether a node's axis attribute, −1 when left out, is 0.
func axisZero(n *node, rank int) bool {
	axis := int64(-1)
	if a, ok := n.src.Attrs["axis"]; ok {
		axis = a.Int
	}
	return axis == 0 || axis == int64(-rank)
}

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
	rows, n := pl.Inputs[0].Shape[0], pl.tile.Inputs[0].Shape[0]
	m.tasks = []task{{parts: (rows + n - 1) / n, run: m.untilDone(func(part, worker int) {
		workers[worker].tile(m, part*n, min(n, rows-part*n))
	})}}
	m.tiles = workers[0]
	return m, nil
}

// tile computes n rows of another machine's outputs, from row on.
func (m *Machine) tile(of *Machine, row, n int) {
	m.takeRows(of, row, n)
	for i := range m.tasks {
		t := &m.tasks[i]
		for part := range t.parts {
			t.run(part, 0)
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
	w := m.tiles
	rows, n := m.In[0].Shape[0], w.In[0].Shape[0]
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
