package ops

import (
	"math"
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
)

// maxPoolRule: dy goes to where each maximum was, the first place when there are
// several.
func maxPoolRule(g *Grad, _ int) *Ref {
	a := attrs{}
	switch {
	case g.Node.Op == "MaxPool":
		for name, v := range g.Node.Attrs {
			a[name] = v
		}
	case len(g.x().Shape) == 2:
		return g.dy()
	default: // GlobalMaxPool: one window
		a["kernel_shape"] = intsAttr(g.x().Shape[2:])
	}
	return g.fused(a, "MaxPoolGrad", g.whole(), g.x())
}

// maxPoolGrad finds the maxima again: those of the windows' rows first, then
// those of rows one above the other. A maximum and its place are one integer, so
// that finding the larger takes no branch: the bits of the number in an order
// that integers have, then the row of the window, then the place in the row, both
// counted backwards so that the first wins.
type maxPoolGrad struct {
	w               *window
	planes, in, out int
}

const (
	placeBits = 15
	rowBits   = 16
	noPlace   = math.MinInt64 / 2 // below it, there is no maximum
)

func lowerMaxPoolGrad(c *Call) (*Kernel, error) {
	d, x := c.In[0].Type, c.In[1].Type
	if len(x.Shape) < 3 || !isFloat(x.DType) || d.DType != x.DType {
		return nil, c.Invalid("%v is no gradient of a pool of %v", d, x)
	}
	w, err := newWindow(c, x.Shape[2:], c.Ints("kernel_shape"), c.Int("ceil_mode", 0) != 0)
	if err != nil {
		return nil, err
	}
	last := len(w.in) - 1
	if !slices.Equal(d.Shape, slices.Concat(x.Shape[:2], w.out)) || w.kernel[last] > 1<<placeBits || elems(w.kernel[:last]) > 1<<rowBits {
		return nil, c.Unsupported("the gradient %v of a pool of %v", d, x)
	}
	v := &maxPoolGrad{w: w, planes: elems(x.Shape[:2]), in: elems(w.in), out: elems(w.out)}
	k := &Kernel{Out: []Type{x}, Tables: w.rowBytes(), FLOPs: float64(x.Elems()) * float64(w.kernel[last]+elems(w.kernel[:last]))}
	if x.DType == onnx.Double {
		k.Bind = v.loops
		return k, nil
	}
	k.WorkerScratch = room(8, w.in[last]+w.out[last]+room(elems(w.in[:last]), w.out[last]))
	k.Bind = v.bind
	return k, nil
}

func (v *maxPoolGrad) bind(m Memory) []Task {
	dy, src, dst := Data[float32](m.In[0]), Data[float32](m.In[1]), Data[float32](m.Out[0])
	w, last := v.w, len(v.w.in)-1
	offsets, rows, taps := w.rows(&m)
	width, row, stride := w.in[last], w.out[last], w.stride[last]
	parts, step := divide(v.planes, float64(v.in*(2+2*w.kernel[last])+v.out*2*(1+taps)))
	return []Task{{parts, func(part, worker int) {
		keys := scratchOf[int64](m.Worker(worker), width+row+v.in/max(1, width)*row)
		order, best, most := keys[:width], keys[width:][:row], keys[width+row:]
		lo, hi := bounds(part, step, v.planes)
		pace := m.pace()
		for p := lo; p < hi; p++ {
			x, d, y := src[p*v.in:][:v.in], dy[p*v.out:][:v.out], dst[p*v.in:][:v.in]
			clear(y)
			for r := 0; r*width < v.in; r++ {
				for i, f := range x[r*width:][:width] {
					order[i] = int64(ordered(f)) << (rowBits + placeBits)
				}
				out := most[r*row:][:row]
				fill(out, math.MinInt64)
				for k := range w.kernel[last] {
					if pace.over(2 * row) {
						return
					}
					a, b, first := w.span(k)
					at := int64(1<<placeBits - 1 - k)
					for o := a; o < b; o++ {
						out[o] = max(out[o], order[first+o*stride]+at)
					}
				}
			}
			for r := range rows {
				fill(best, math.MinInt64)
				for t := range taps {
					off := offsets[r*taps+t]
					if pace.over(2 * row) {
						return
					}
					if off < 0 {
						continue
					}
					at := int64(1<<rowBits-1-t) << placeBits
					for o, key := range most[int(off)/width*row:][:row] {
						best[o] = max(best[o], key+at)
					}
				}
				for o, key := range best {
					if key >= noPlace {
						t := 1<<rowBits - 1 - int(key>>placeBits)&(1<<rowBits-1)
						k := 1<<placeBits - 1 - int(key)&(1<<placeBits-1)
						y[int(offsets[r*taps+t])+w.at(last, o, k)] += d[r*row+o]
					}
				}
			}
		}
	}}}
}

// ordered is an integer for each number, larger for a larger number. Both zeros
// are one; NaN is the largest.
func ordered(f float32) int32 {
	b := int32(math.Float32bits(f + 0))
	if f != f {
		return math.MaxInt32
	}
	return b ^ int32(uint32(b>>31)>>1) // negative numbers the other way round
}

func (v *maxPoolGrad) loops(m Memory) []Task {
	dy, src, dst := Data[float64](m.In[0]), Data[float64](m.In[1]), Data[float64](m.Out[0])
	w, last := v.w, len(v.w.in)-1
	offsets, rows, taps := w.rows(&m)
	return Serial(func() {
		clear(dst)
		pace := m.pace()
		for i, d := range dy {
			p, r, o := i/v.out, i%v.out/w.out[last]%max(1, rows), i%w.out[last]
			most, at := math.Inf(-1), -1
			for t := range taps {
				off := int(offsets[r*taps+t])
				if pace.over(8 * w.kernel[last]) {
					return
				}
				for k := range w.kernel[last] {
					j := w.at(last, o, k)
					if off < 0 || j < 0 || j >= w.in[last] {
						continue
					}
					if x := src[p*v.in+off+j]; at < 0 || x > most || x != x {
						most, at = x, p*v.in+off+j
					}
				}
			}
			if at >= 0 {
				dst[at] += d
			}
		}
	})
}
