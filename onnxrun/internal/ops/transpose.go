package ops

import (
	"fmt"

	"sampleonnx/onnxrun/internal/kernel"
)

func lowerTranspose(c *Call) (*Kernel, error) {
	t := c.In[0].Type
	if err := c.want(0, isStored, "a numeric type or bool"); err != nil {
		return nil, err
	}
	rank := len(t.Shape)
	perm := c.Ints("perm")
	if perm == nil {
		for i := range rank {
			perm = append(perm, rank-1-i)
		}
	}
	if len(perm) != rank {
		return nil, c.Invalid("perm has %d elements, want %d", len(perm), rank)
	}
	out := Type{DType: t.DType, Shape: make([]int, rank)}
	src, seen := make([]int, rank), make([]bool, rank)
	from := strides(t.Shape)
	for i, p := range perm {
		if p < 0 || p >= rank || seen[p] {
			return nil, c.Invalid("perm is %v, want each of 0 to %d once", perm, rank-1)
		}
		seen[p] = true
		out.Shape[i], src[i] = t.Shape[p], from[p]
	}
	return moveKernel(t, out, newMove(out.Shape, strides(out.Shape), src, 0, 0)), nil
}

// Turned is a constant matrix [m, n] as its transpose, under a shape of n·m
// elements. It is made once for a model.
func (p *Packs) Turned(t *Tensor, shape []int) *Tensor {
	return p.derived(t, fmt.Sprint("turned to ", shape), Type{DType: t.DType, Shape: shape}, func(out *Tensor) {
		if m, n := t.Shape[0], t.Shape[1]; m*n > 0 {
			kernel.Transpose(Data[float32](out), Data[float32](t), m, n, m, n)
		}
	})
}

// Permuted is a constant float32 tensor with its axes in another order, under a shape
// of as many elements. It is made once for a model.
func (p *Packs) Permuted(t *Tensor, perm, shape []int) *Tensor {
	return p.derived(t, fmt.Sprint("permuted by ", perm, " to ", shape), Type{DType: t.DType, Shape: shape}, func(out *Tensor) {
		from, order := strides(t.Shape), make([]int, len(perm))
		size := make([]int, len(perm))
		for i, a := range perm {
			size[i], order[i] = t.Shape[a], from[a]
		}
		dst, src, at, index := Data[float32](out), Data[float32](t), 0, make([]int, len(perm))
		for i := range dst {
			dst[i] = src[at]
			for a := len(index) - 1; a >= 0; a-- {
				index[a]++
				at += order[a]
				if index[a] < size[a] {
					break
				}
				at -= index[a] * order[a]
				index[a] = 0
			}
		}
	})
}
