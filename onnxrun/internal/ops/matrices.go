package ops

import (
	"slices"

	"sampleonnx/onnxrun/internal/kernel"
)

// matrices is where the matrices of one operand lie in its memory, one for each
// item of a batch, so that transposed, sliced and regrouped tensors need no copy.
// Element (i, j) of the first is at + i·row + j·col.
type matrices struct {
	at, row, col int
	// Not 0: columns lie in blocks of 16 side by side, the blocks that far apart,
	// as the channels of a Blocked image do; row and col mean nothing then but
	// that rows are 16 apart.
	block       int
	dims, steps []int // of the batch, outermost first
}

// newMatrices reads an attribute: at, row, col, then extent and step of each
// axis of the batch. rows×cols matrices for so many items must lie within n
// elements.
func newMatrices(c *Call, name string, batch, rows, cols, n int) (matrices, error) {
	v := c.Ints(name)
	if len(v) < 3 || len(v)%2 == 0 {
		return matrices{}, c.Invalid("%s has %d elements, want 3 and two for each axis", name, len(v))
	}
	x := matrices{at: v[0], row: v[1], col: v[2]}
	bad := x.at < 0 || x.row < 0 || x.col < 0
	last := min(x.at, unbounded) + room(rows-1, max(x.row, 0)) + room(cols-1, max(x.col, 0))
	items := 1
	for i := 3; i < len(v); i += 2 {
		d, s := v[i], v[i+1]
		bad = bad || d < 1 || s < 0
		items = room(items, max(d, 0))
		last = min(last, unbounded) + room(max(d-1, 0), max(s, 0))
		x.dims, x.steps = append(x.dims, d), append(x.steps, s)
	}
	if bad || items != batch || last >= n {
		return matrices{}, c.Invalid("%s is %v: not %d matrices of %d×%d within %d elements", name, v, batch, rows, cols, n)
	}
	// The step along an axis of one element is free: the one that makes a matrix
	// row-major, or column-major.
	if rows == 1 && x.col == 1 {
		x.row = cols
	} else if rows == 1 {
		x.row = 1
	}
	if cols == 1 && x.row == 1 {
		x.col = rows
	} else if cols == 1 {
		x.col = 1
	}
	return x, nil
}

// of is where the matrix of an item begins.
func (x *matrices) of(item int) int {
	at := x.at
	for d := len(x.dims) - 1; d >= 0; d-- {
		at += item % x.dims[d] * x.steps[d]
		item /= x.dims[d]
	}
	return at
}

// rowMajor: rows as they lie are rows of a matrix for the kernels.
func (x *matrices) rowMajor(cols int) bool {
	return x.block == 0 && (x.col == 1 || cols == 1) && x.row >= cols
}

// colMajor: so are columns.
func (x *matrices) colMajor(rows int) bool { return x.block == 0 && x.row == 1 && x.col >= rows }

// image is x in the memory of the Blocked layout of the same tensor, when the
// columns are channels of an image and the rows its pixels, and every matrix
// begins with a block.
func (x matrices) image(t Type, cols int) (matrices, bool) {
	if len(t.Shape) < 4 || !IsFloat32(t.DType) {
		return x, false
	}
	space, channels := elems(t.Shape[2:]), t.Shape[1]
	if x.row != 1 || x.col != space || space < 2 || x.at%(Block*space) != 0 || x.at >= channels*space {
		return x, false
	}
	x.steps = slices.Clone(x.steps)
	for i, s := range x.steps {
		switch {
		case x.dims[i] == 1:
			x.steps[i] = 0
		case s%(channels*space) == 0:
			x.steps[i] = s / channels * kernel.Blocks(channels) * Block
		case s%(Block*space) != 0 || s > channels*space:
			return x, false
		}
	}
	x.block = Block * space
	return x, true
}

// read copies rows [i0, i0+n) of a matrix to dst, cols apart.
func (x *matrices) read(dst, src []float32, i0, n, cols int) {
	switch {
	case x.block > 0:
		for c := 0; c < cols; c += Block {
			from := src[c/Block*x.block+i0*Block:]
			w := min(Block, cols-c)
			if w < Block {
				for i := range n {
					copy(dst[i*cols+c:][:w], from[i*Block:])
				}
				continue
			}
			for i := range n {
				*(*[Block]float32)(dst[i*cols+c:]) = [Block]float32(from[i*Block:])
			}
		}
	case x.colMajor(n):
		kernel.Transpose(dst, src[i0:], cols, n, cols, x.col)
	default:
		for i := range n {
			from := src[(i0+i)*x.row:]
			for j := range cols {
				dst[i*cols+j] = from[j*x.col]
			}
		}
	}
}

// write copies src, rows cols apart, to rows [i0, i0+n) of a matrix. The spare
// lanes of a block become zero.
func (x *matrices) write(dst, src []float32, i0, n, cols int) {
	switch {
	case x.block > 0:
		for c := 0; c < cols; c += Block {
			to := dst[c/Block*x.block+i0*Block:]
			w := min(Block, cols-c)
			if w < Block {
				for i := range n {
					copy(to[i*Block:], src[i*cols+c:][:w])
					clear(to[i*Block+w : (i+1)*Block])
				}
				continue
			}
			for i := range n {
				*(*[Block]float32)(to[i*Block:]) = [Block]float32(src[i*cols+c:])
			}
		}
	case x.colMajor(n):
		kernel.Transpose(dst[i0:], src, n, cols, x.col, cols)
	default:
		for i := range n {
			to := dst[(i0+i)*x.row:]
			for j := range cols {
				to[j*x.col] = src[i*cols+j]
			}
		}
	}
}

// pack packs rows [i0, i0+n) of a matrix as kernel.PackB does.
func (x *matrices) pack(dst, src []float32, i0, n, cols int) {
	switch {
	case x.block > 0:
		for c := 0; c < cols; c += Block {
			from, w := src[c/Block*x.block+i0*Block:], min(Block, cols-c)
			to := dst[c/kernel.PanelCols*n*kernel.PanelCols+c%kernel.PanelCols:]
			for i := range n {
				y := (*[Block]float32)(to[i*kernel.PanelCols:])
				*y = [Block]float32(from[i*Block:])
				clear(y[w:])
			}
		}
		if odd := cols % kernel.PanelCols; odd > 0 && odd <= Block { // half a panel is empty
			to := dst[cols/kernel.PanelCols*n*kernel.PanelCols:]
			for i := range n {
				clear(to[i*kernel.PanelCols+Block : (i+1)*kernel.PanelCols])
			}
		}
	case x.rowMajor(cols):
		kernel.PackB(dst, src[i0*x.row:], n, cols, x.row)
	case x.colMajor(n):
		kernel.PackBT(dst, src[i0:], n, cols, x.col)
	default:
		for p := range kernel.Panels(cols) {
			for i := range n {
				y := dst[(p*n+i)*kernel.PanelCols:][:kernel.PanelCols]
				for j := range y {
					y[j] = 0
					if col := p*kernel.PanelCols + j; col < cols {
						y[j] = src[(i0+i)*x.row+col*x.col]
					}
				}
			}
		}
	}
}

// packTurned packs the transpose of a whole matrix as kernel.PackB does.
func (x *matrices) packTurned(dst, src []float32, rows, cols int) {
	if x.block == 0 {
		t := matrices{row: x.col, col: x.row}
		t.pack(dst, src, 0, cols, rows)
		return
	}
	for p := range kernel.Panels(rows) {
		i := p * kernel.PanelCols
		n := min(kernel.PanelCols, rows-i)
		panel := dst[i*cols:][:cols*kernel.PanelCols]
		for c := 0; c < cols; c += Block {
			kernel.Transpose(panel[c*kernel.PanelCols:], src[c/Block*x.block+i*Block:], n, min(Block, cols-c), kernel.PanelCols, Block)
		}
		if n < kernel.PanelCols {
			for c := range cols {
				clear(panel[c*kernel.PanelCols+n : (c+1)*kernel.PanelCols])
			}
		}
	}
}
