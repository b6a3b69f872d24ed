package ops

import (
	"fmt"

	"sampleonnx/onnxrun/internal/kernel"
	"sampleonnx/onnxrun/internal/onnx"
)

// exactDepth is how many products of two centred bytes, each at most 255² in size, have
// sums that float32 holds exactly: 258·255² < 2²⁴.
const exactDepth = 256

// bindConstant makes k, the product of the rows of A with a constant matrix B, one of
// float32 products of at most exactDepth terms, whose sums are added as integers. So
// quantised networks run on the same microkernel as others, and their sums are exact.
// It reports whether it applies: rows is the number of rows of all of A, zeroStep and
// colStep step through the zero points of A and B.
func (p *integerProduct) bindConstant(c *Call, k *Kernel, rows, height, depth, cols, zeroStep, colStep int) bool {
	if p.linear || len(c.In[p.b].Shape) != 2 || c.In[p.b].Const == nil || c.Has(p.zeroB) && c.In[p.zeroB].Const == nil ||
		rows == 0 || depth == 0 || cols == 0 {
		return false
	}
	zero := []float32{0}
	if c.Has(p.zeroB) {
		zero = make([]float32, c.In[p.zeroB].Elems())
		widen(zero, c.In[p.zeroB].Const, 0)
	}
	constant, panels, size := c.In[p.b].Const, kernel.Panels(cols), 0
	for d := 0; d < depth; d += exactDepth {
		size += kernel.PackedLen(min(exactDepth, depth-d), cols)
	}
	packed := c.Packs.Get(constant, fmt.Sprint("centred at ", zero), size, func(dst []float32) {
		b := make([]float32, min(exactDepth, depth)*cols)
		for d := 0; d < depth; d += exactDepth {
			n := min(exactDepth, depth-d)
			widen(b[:n*cols], constant, d*cols)
			for i := range b[:n*cols] {
				b[i] -= zero[i%cols*colStep]
			}
			kernel.PackBPanels(dst, b, n, cols, cols, 0, panels)
			dst = dst[kernel.PackedLen(n, cols):]
		}
	})
	const each = 56 // rows of a part
	k.Scratch, k.WorkerScratch, k.Algo = 0, 4*min(each, rows)*(depth+cols), "gemm"
	k.Bind = func(m Memory) []Task {
		out := Data[int32](m.Out[0])
		return []Task{{ceilDiv(rows, each), func(part, worker int) {
			lo, hi := bounds(part, each, rows)
			mem := scratchOf[float32](m.Worker(worker), min(each, rows)*(depth+cols))
			a, sum, to := mem[:(hi-lo)*depth], mem[min(each, rows)*depth:][:(hi-lo)*cols], out[lo*cols:hi*cols]
			widen(a, m.In[p.a], lo*depth)
			if len(m.In) > p.zeroA && m.In[p.zeroA] != nil {
				for r := lo; r < hi; r++ {
					var z [1]float32
					widen(z[:], m.In[p.zeroA], r%height*zeroStep)
					row := a[(r-lo)*depth:][:depth]
					kernel.SubScalar(row, row, z[0])
				}
			}
			rest := packed
			for d := 0; d < depth; d += exactDepth {
				n := min(exactDepth, depth-d)
				kernel.Gemm(sum, cols, a[d:], depth, rest, hi-lo, cols, n, nil, false)
				rest = rest[kernel.PackedLen(n, cols):]
				if d == 0 {
					for i, v := range sum {
						to[i] = int32(v)
					}
					continue
				}
				for i, v := range sum {
					to[i] += int32(v)
				}
			}
		}}}
	}
	return true
}

// widen writes the bytes of t from element at on to dst.
func widen(dst []float32, t *Tensor, at int) {
	if t.DType == onnx.Int8 {
		for i, v := range Data[int8](t)[at:][:len(dst)] {
			dst[i] = float32(v)
		}
		return
	}
	for i, v := range Data[uint8](t)[at:][:len(dst)] {
		dst[i] = float32(v)
	}
}
