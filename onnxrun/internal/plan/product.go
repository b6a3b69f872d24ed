package plan

import (
	"slices"
	"strings"
)

// A product is a node that multiplies batches of matrices, MatMul or Einsum,
// with a label for each axis: the same label is the same subscript.
type product struct {
	in  [2][]int
	out []int
	dim map[int]int
}

// productOf reads a node; nil when it is no product of two tensors.
func productOf(n *node) *product {
	if n == nil || n.src.Domain != "" || len(n.in) != 2 {
		return nil
	}
	p := &product{dim: map[int]int{}}
	switch n.src.Op {
	case "MatMul":
		const row, col, depth, batch = 0, 1, 2, 3 // batch axes from the right
		for i := range 2 {
			rank := len(n.in[i].Shape)
			if rank < 2 {
				return nil
			}
			for d := rank - 3; d >= 0; d-- {
				p.in[i] = append(p.in[i], batch+d)
			}
		}
		p.in[0] = append(p.in[0], row, depth)
		p.in[1] = append(p.in[1], depth, col)
		for d := len(n.out[0].Shape) - 3; d >= 0; d-- {
			p.out = append(p.out, batch+d)
		}
		p.out = append(p.out, row, col)
	case "Einsum":
		equation := strings.ReplaceAll(n.src.Attrs["equation"].String, " ", "")
		from, to, ok := strings.Cut(equation, "->")
		a, b, two := strings.Cut(from, ",")
		if !ok || !two || strings.ContainsAny(equation, ".") || strings.Contains(b, ",") {
			return nil
		}
		for i, s := range []string{a, b, to} {
			var list []int
			for _, c := range s {
				if slices.Contains(list, int(c)) {
					return nil
				}
				list = append(list, int(c))
			}
			if i < 2 {
				p.in[i] = list
			} else {
				p.out = list
			}
		}
	default:
		return nil
	}
	for i, labels := range [][]int{p.in[0], p.in[1], p.out} {
		shape := n.out[0].Shape
		if i < 2 {
			shape = n.in[i].Shape
		}
		if len(shape) != len(labels) {
			return nil
		}
		for k, l := range labels {
			p.dim[l] = max(p.dim[l], shape[k])
		}
	}
	return p
}

// only is the labels of a that are in all of b's lists, and none of c's.
func only(a []int, b [][]int, c ...[]int) []int {
	var list []int
	for _, l := range a {
		has := func(s []int) bool { return slices.Contains(s, l) }
		if !slices.ContainsFunc(c, has) && !slices.ContainsFunc(b, func(s []int) bool { return !has(s) }) {
			list = append(list, l)
		}
	}
	return list
}

// size is the number of elements of axes with these labels.
func (p *product) size(labels []int) int {
	n := 1
	for _, l := range labels {
		n *= p.dim[l]
	}
	return n
}

// matrices is where the matrices of an operand lie that is seen through w and
// has these labels, as ops.newMatrices reads it; nil when their rows or columns
// do not lie evenly.
func (p *product) matrices(w view, labels, batch, rows, cols []int) []int {
	joined := func(of []int) (all axis) {
		for _, l := range of {
			i := slices.Index(labels, l)
			if i >= 0 && len(w.axes[i]) > 0 {
				all = append(all, w.axes[i]...)
			} else if n := p.dim[l]; n != 1 { // broadcast
				all = append(all, stride{n, 0})
			}
		}
		return all
	}
	return w.matrices(joined(batch), joined(rows), joined(cols))
}

func (w view) matrices(batch, rows, cols axis) []int {
	_, row, ok1 := rows.even()
	_, col, ok2 := cols.even()
	if !ok1 || !ok2 {
		return nil
	}
	list := []int{w.at, row, col}
	for _, s := range batch {
		list = append(list, s.n, s.step)
	}
	return list
}
