package ops

import (
	"math"
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
)

// The operators of this file know the last two axes as rows and columns.

// lowerTrilu keeps the upper or the lower triangle, from the k-th diagonal on.
func lowerTrilu(c *Call) (*Kernel, error) {
	if err := c.want(0, isStored, "a numeric type or bool"); err != nil {
		return nil, err
	}
	t := c.In[0].Type
	if len(t.Shape) < 2 {
		return nil, c.Invalid("the input has shape %v, want at least 2 axes", t.Shape)
	}
	list, err := c.ConstInts(1)
	if err != nil {
		return nil, err
	}
	diagonal := 0
	if len(list) > 1 {
		return nil, c.Invalid("k is %v, want one number", list)
	} else if len(list) == 1 {
		diagonal = list[0]
	}
	upper := c.Int("upper", 1) != 0
	cols := t.Shape[len(t.Shape)-1]
	// Of row i the columns [first, last) are kept.
	diagonal = max(min(diagonal, 1<<30), -1<<30)
	return &Kernel{Out: []Type{t}, Bind: func(m Memory) []Task {
		rows := t.Shape[len(t.Shape)-2]
		size := storageSize(t.DType)
		dst, src := m.Out[0].mem, m.In[0].mem
		return eachRow(t.Elems()/max(cols, 1), cols, func(r, _ int) {
			first, last := 0, cols
			edge := r%rows + diagonal
			if upper {
				first = min(max(edge, 0), cols)
			} else {
				last = min(max(edge+1, 0), cols)
			}
			d, s := dst[r*cols*size:][:cols*size], src[r*cols*size:][:cols*size]
			clear(d[:first*size])
			copy(d[first*size:last*size], s[first*size:last*size])
			clear(d[last*size:])
		})
	}}, nil
}

// lowerEyeLike: ones on the k-th diagonal of a matrix of the input's shape.
func lowerEyeLike(c *Call) (*Kernel, error) {
	in := c.In[0].Type
	if len(in.Shape) != 2 {
		return nil, c.Invalid("the input has shape %v, want 2 axes", in.Shape)
	}
	to, err := c.DType("dtype", in.DType)
	if err != nil {
		return nil, err
	}
	if !isStored(to) {
		return nil, c.Unsupported("makes elements of %v", to)
	}
	one := New(Type{DType: to, Shape: []int{1}})
	caster(one, Of([]int{1}, []uint8{1}))(0, 1)
	diagonal, rows, cols := c.Int("k", 0), in.Shape[0], in.Shape[1]
	return &Kernel{Out: []Type{{DType: to, Shape: in.Shape}}, Bind: func(m Memory) []Task {
		dst, size := m.Out[0].mem, len(one.mem)
		return eachRow(rows, cols, func(i, _ int) {
			row := dst[i*cols*size:][:cols*size]
			clear(row)
			if j := i + diagonal; j >= 0 && j < cols {
				copy(row[j*size:], one.mem)
			}
		})
	}}, nil
}

// lowerOneHot: out has, along a new axis, the second of values where the index
// says and the first elsewhere. An index outside the depth is nowhere.
func lowerOneHot(c *Call) (*Kernel, error) {
	if err := c.want(0, isNumber, "a numeric type"); err != nil {
		return nil, err
	}
	if err := c.want(2, isStored, "a numeric type or bool"); err != nil {
		return nil, err
	}
	if c.In[1].Const == nil || c.In[1].Elems() != 1 || !isNumber(c.In[1].DType) {
		if c.In[1].Const == nil {
			return nil, c.Unsupported("input 1 decides a shape but depends on the data of this run")
		}
		return nil, c.Invalid("depth is %v, want one number", c.In[1].Type)
	}
	if c.In[2].Elems() != 2 {
		return nil, c.Invalid("values are %v, want two", c.In[2].Type)
	}
	d := New(Type{DType: onnx.Int64, Shape: []int{1}})
	caster(d, c.In[1].Const)(0, 1)
	depth := Data[int64](d)[0]
	if depth < 0 || depth > maxElems {
		return nil, c.Invalid("depth is %d, want 0 to %d", depth, maxElems)
	}
	in := c.In[0].Type
	axis, err := c.Axis(c.Int("axis", -1), len(in.Shape)+1)
	if err != nil {
		return nil, err
	}
	out := Type{DType: c.In[2].DType, Shape: slices.Insert(slices.Clone(in.Shape), axis, int(depth))}
	wide := Type{DType: onnx.Int64, Shape: in.Shape}
	inner := elems(in.Shape[axis:])
	return &Kernel{Out: []Type{out}, Scratch: wide.Bytes(), Bind: func(m Memory) []Task {
		at := View(wide, m.Shared())
		tasks := eachPart(in.Elems(), caster(at, m.In[0]))
		switch storageSize(out.DType) {
		case 1:
			return append(tasks, oneHot[uint8](m, at, int(depth), inner)...)
		case 2:
			return append(tasks, oneHot[uint16](m, at, int(depth), inner)...)
		case 4:
			return append(tasks, oneHot[uint32](m, at, int(depth), inner)...)
		}
		return append(tasks, oneHot[uint64](m, at, int(depth), inner)...)
	}}, nil
}

func oneHot[W Elem](m Memory, at *Tensor, depth, inner int) []Task {
	dst, values, index := Data[W](m.Out[0]), Data[W](m.In[2]), Data[int64](at)
	return eachPart(len(dst), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			want := index[i/(depth*inner)*inner+i%inner]
			if want < 0 {
				want += int64(depth)
			}
			dst[i] = values[0]
			if int64(i/inner%depth) == want {
				dst[i] = values[1]
			}
		}
	})
}

// lowerDet is the determinant of each matrix, by elimination with pivots.
func lowerDet(c *Call) (*Kernel, error) {
	if err := c.want(0, isFloat, "a float type"); err != nil {
		return nil, err
	}
	t := c.In[0].Type
	rank := len(t.Shape)
	if rank < 2 || t.Shape[rank-1] != t.Shape[rank-2] {
		return nil, c.Invalid("the input has shape %v, want square matrices", t.Shape)
	}
	n := t.Shape[rank-1]
	out := Type{DType: t.DType, Shape: slices.Clone(t.Shape[:rank-2])}
	if err := c.checkSize(Type{Shape: []int{n, n, 8}}); err != nil {
		return nil, err
	}
	return &Kernel{Out: []Type{out}, WorkerScratch: room(8, n, n), FLOPs: float64(t.Elems()) * float64(n), Bind: func(m Memory) []Task {
		if t.DType == onnx.Double {
			return det[float64](m, n)
		}
		return det[float32](m, n)
	}}, nil
}

func det[T float](m Memory, n int) []Task {
	dst, src := Data[T](m.Out[0]), Data[T](m.In[0])
	return eachRow(len(dst), n*n*n, func(r, worker int) {
		a := scratchOf[float64](m.Worker(worker), n*n)
		for i, v := range src[r*n*n : (r+1)*n*n] {
			a[i] = float64(v)
		}
		d := 1.0
		pace := m.pace()
		for i := range n {
			p := i
			for j := i + 1; j < n; j++ {
				if math.Abs(a[j*n+i]) > math.Abs(a[p*n+i]) {
					p = j
				}
			}
			if p != i {
				d = -d
				for j := range n {
					a[i*n+j], a[p*n+j] = a[p*n+j], a[i*n+j]
				}
			}
			pivot := a[i*n+i]
			d *= pivot
			if pivot == 0 {
				break
			}
			for j := i + 1; j < n; j++ {
				if pace.over(4 + n - i) {
					return
				}
				f := a[j*n+i] / pivot
				for k := i; k < n; k++ {
					a[j*n+k] -= f * a[i*n+k]
				}
			}
		}
		dst[r] = T(d)
	})
}
