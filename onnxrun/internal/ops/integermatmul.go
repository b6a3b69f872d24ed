package ops

import (
	"crypto/sha256"
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
	constant, zeros, packs := c.In[p.b].Const, Of([]int{1}, []uint8{0}), c.Packs
	if c.Has(p.zeroB) {
		zeros = c.In[p.zeroB].Const
	}
	const each = 56 // rows of a part
	k.Scratch, k.WorkerScratch, k.Algo = 0, room(4, min(each, rows), depth+cols), "gemm"
	k.Tables = room(4, min(exactDepth, depth)+1, cols)
	k.Bind = func(m Memory) []Task {
		packed := packs.Get(constant, fmt.Sprintf("centred at %v %x", zeros.DType, sha256.Sum256(zeros.mem)), packedLen(depth, cols), func(dst []float32) {
			zero := make([]float32, zeros.Elems())
			widen(zero, zeros, 0)
			b := make([]float32, min(exactDepth, depth)*cols)
			for d := 0; d < depth; d += exactDepth {
				n := min(exactDepth, depth-d)
				widen(b[:n*cols], constant, d*cols)
				for i := range b[:n*cols] {
					b[i] -= zero[i%cols*colStep]
				}
				kernel.PackBPanels(dst, b, n, cols, cols, 0, kernel.Panels(cols))
				dst = dst[kernel.PackedLen(n, cols):]
			}
		})
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
