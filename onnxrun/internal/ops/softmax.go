package ops

import (
	"math"

	"sampleonnx/onnxrun/internal/kernel"
	"sampleonnx/onnxrun/internal/onnx"
)

// lowerSoftmax is Softmax and LogSoftmax. Before opset 13 the axis, 1 unless
// given, parts the dimensions in two, and a row is all of the second part; since
// then a row is along the axis alone, the last unless given.
func lowerSoftmax(c *Call) (*Kernel, error) {
	if err := c.want(0, isFloat, "a float type"); err != nil {
		return nil, err
	}
	t := c.In[0].Type
	if t.Layout == Blocked {
		return nil, c.Unsupported("takes %v", t)
	}
	rank := len(t.Shape)
	old := c.Version() < 13
	def := -1
	if old {
		def = 1
	}
	a := c.Int("axis", def)
	if old && (a == rank || rank == 0 && a == 1) {
		return softmaxKernel(c, elems(t.Shape), 1, 1), nil // every row is one number
	}
	if rank == 0 && (a == 0 || a == -1) {
		return softmaxKernel(c, 1, 1, 1), nil
	}
	axis, err := c.Axis(a, rank)
	if err != nil {
		return nil, err
	}
	if old {
		return softmaxKernel(c, elems(t.Shape[:axis]), elems(t.Shape[axis:]), 1), nil
	}
	return softmaxKernel(c, elems(t.Shape[:axis]), t.Shape[axis], elems(t.Shape[axis+1:])), nil
}

// softmaxKernel treats the input as [outer, n, inner], the rows along n.
func softmaxKernel(c *Call, outer, n, inner int) *Kernel {
	t := c.In[0].Type
	k := &Kernel{Out: []Type{t}, InPlace: []int{0}, FLOPs: 4 * float64(t.Elems())}
	log := c.Node.Op == "LogSoftmax"
	switch {
	case t.DType == onnx.Double && log:
		softmaxRows(k, outer, n, inner, logSoftmaxRow64)
	case t.DType == onnx.Double:
		softmaxRows(k, outer, n, inner, softmaxRow64)
	case log:
		softmaxRows(k, outer, n, inner, logSoftmaxRow)
	case inner == 1 && n > 0 && n <= kernel.MaxSoftmaxRow:
		each := max(1, grain/n)
		k.Bind = func(m Memory) []Task {
			dst, src := Data[float32](m.Out[0]), Data[float32](m.In[0])
			return []Task{{ceilDiv(outer, each), func(part, _ int) {
				lo, hi := bounds(part, each, outer)
				kernel.SoftmaxRows(dst[lo*n:hi*n], src[lo*n:hi*n], hi-lo, n)
			}}}
		}
	case n > 0 && inner > 0 && n <= kernel.MaxSoftmaxRow:
		softmaxAcross(k, outer, n, inner)
	default:
		softmaxRows(k, outer, n, inner, func(dst, src, _ []float32) { kernel.SoftmaxRow(dst, src) })
	}
	return k
}

// softmaxAcross is for short rows that do not lie along memory, as in linear attention
// (Shen et al. 2021), whose queries are normalised along the channels: the rows are
// turned, some at a time.
func softmaxAcross(k *Kernel, outer, n, inner int) {
	width := min(inner, max(softmaxCols, grain/n/softmaxCols*softmaxCols))
	segs := ceilDiv(inner, width)
	k.WorkerScratch = room(4, width, n)
	k.Bind = func(m Memory) []Task {
		dst, src := Data[float32](m.Out[0]), Data[float32](m.In[0])
		return []Task{{outer * segs, func(part, worker int) {
			tile := scratchOf[float32](m.Worker(worker), width*n)
			lo, hi := bounds(part%segs, width, inner)
			at := part/segs*n*inner + lo
			kernel.Transpose(tile, src[at:], n, hi-lo, n, inner)
			kernel.SoftmaxRows(tile, tile, hi-lo, n)
			kernel.Transpose(dst[at:], tile, hi-lo, n, inner, n)
		}}}
	}
}

// softmaxCols is the number of rows gathered at a time when they do not lie
// along memory: a line of cache of each position.
const softmaxCols = 16

// softmaxRows makes k apply row to every row; tmp is as long as a row.
func softmaxRows[T float](k *Kernel, outer, n, inner int, row func(dst, src, tmp []T)) {
	size := storageSize(k.Out[0].DType)
	if inner == 1 {
		k.WorkerScratch = room(n, size)
		each := max(1, grain/max(n, 1))
		if n == 0 {
			outer = 0
		}
		k.Bind = func(m Memory) []Task {
			dst, src := Data[T](m.Out[0]), Data[T](m.In[0])
			return []Task{{(outer + each - 1) / each, func(part, worker int) {
				tmp := scratchOf[T](m.Worker(worker), n)
				for r := part * each; r < min((part+1)*each, outer); r++ {
					row(dst[r*n:(r+1)*n], src[r*n:(r+1)*n], tmp)
				}
			}}}
		}
		return
	}
	k.WorkerScratch = room(softmaxCols+1, n, size)
	segs := (inner + softmaxCols - 1) / softmaxCols
	units := outer * segs
	if n == 0 {
		units = 0
	}
	each := max(1, grain/max(n*softmaxCols, 1))
	k.Bind = func(m Memory) []Task {
		dst, src := Data[T](m.Out[0]), Data[T](m.In[0])
		return []Task{{(units + each - 1) / each, func(part, worker int) {
			mem := scratchOf[T](m.Worker(worker), (softmaxCols+1)*n)
			tile, tmp := mem[:softmaxCols*n], mem[softmaxCols*n:]
			for u := part * each; u < min((part+1)*each, units); u++ {
				lo := u % segs * softmaxCols
				cols := min(softmaxCols, inner-lo)
				at := u/segs*n*inner + lo
				for i := range n {
					for j, v := range src[at+i*inner:][:cols] {
						tile[j*n+i] = v
					}
				}
				for j := range cols {
					row(tile[j*n:(j+1)*n], tile[j*n:(j+1)*n], tmp)
				}
				for i := range n {
					d := dst[at+i*inner:][:cols]
					for j := range d {
						d[j] = tile[j*n+i]
					}
				}
			}
		}}}
	}
}

// logSoftmaxRow: dst[i] = x[i] - ln Σ exp(x[j]), x = src - max(src).
func logSoftmaxRow(dst, src, tmp []float32) {
	kernel.SubScalar(dst, src, kernel.MaxOf(src))
	kernel.Exp(tmp, dst)
	kernel.SubScalar(dst, dst, float32(math.Log(kernel.Sum(tmp))))
}

func softmaxRow64(dst, src, _ []float64) {
	m, sum := maxOf64(src), 0.0
	for i, x := range src {
		dst[i] = math.Exp(x - m)
		sum += dst[i]
	}
	for i := range dst {
		dst[i] /= sum
	}
}

func logSoftmaxRow64(dst, src, _ []float64) {
	m, sum := maxOf64(src), 0.0
	for _, x := range src {
		sum += math.Exp(x - m)
	}
	log := math.Log(sum)
	for i, x := range src {
		dst[i] = x - m - log
	}
}

func maxOf64(x []float64) float64 {
	m := math.Inf(-1)
	for _, v := range x {
		m = max(m, v)
	}
	return m
}
