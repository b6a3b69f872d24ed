package ops

import (
	"slices"

	"sampleonnx/onnxrun/internal/kernel"
)

func firLayouts(c *Call) []Layout {
	l := make([]Layout, len(c.In))
	if IsFloat32(c.In[0].DType) {
		l[0] = Blocked
	}
	return l
}

// lowerFIR is the fused operator FIR: the input with up−1 zeros after each
// element of the last two axes, then pads (top, left, bottom, right; negative:
// cut off), then a convolution of every channel with the one filter w, of which
// every down'th result is kept. It is how score networks resample: as exporters
// write it, a dozen nodes.
func lowerFIR(c *Call) (*Kernel, error) {
	x, w := c.In[0].Type, c.In[1].Type
	if len(x.Shape) != 4 || !IsFloat32(x.DType) {
		return nil, c.Invalid("the input is %v, want float32 with 4 axes", x)
	}
	rank := len(w.Shape)
	if rank < 2 || elems(w.Shape) != elems(w.Shape[rank-2:]) || !IsFloat32(w.DType) {
		return nil, c.Invalid("the filter is %v, want one filter of two axes", w)
	}
	filter := c.In[1].Const
	if filter == nil {
		return nil, c.Unsupported("a filter that is not constant")
	}
	up, down, pads := c.Int("up", 1), c.Int("down", 1), c.Ints("pads")
	if pads == nil {
		pads = make([]int, 4)
	}
	if len(pads) != 4 || up < 1 || down < 1 || slices.Min(pads) < -maxElems || slices.Max(pads) > maxElems {
		return nil, c.Invalid("up is %d, down %d, pads %v", up, down, pads)
	}
	g := kernel.FIR{KH: w.Shape[rank-2], KW: w.Shape[rank-1], Up: up, Down: down, H: x.Shape[2], W: x.Shape[3], Top: pads[0], Left: pads[1]}
	g.OH = room(g.H, up) + pads[0] + pads[2] - g.KH
	g.OW = room(g.W, up) + pads[1] + pads[3] - g.KW
	if g.KH < 1 || g.KW < 1 || g.OH < 0 || g.OW < 0 {
		return nil, c.Invalid("a filter of %v does not fit into %v with pads %v", w.Shape, x.Shape, pads)
	}
	g.OH, g.OW = g.OH/down+1, g.OW/down+1
	out := Type{DType: x.DType, Shape: []int{x.Shape[0], x.Shape[1], g.OH, g.OW}, Layout: Blocked}
	if err := c.checkSize(out); err != nil {
		return nil, err
	}
	if err := c.checkSize(Type{Shape: []int{Block, g.H + max(0, pads[0]) + max(0, pads[2]), g.W + max(0, pads[1]) + max(0, pads[3])}}); err != nil {
		return nil, err
	}
	// A part is a plane, which must not take long, and each phase of the output has a
	// list of its taps.
	period := up / gcd(up, down)
	if phases := room(min(period, g.OH), min(period, g.OW), g.KH, g.KW); phases > 1<<16 || room(g.OH, g.OW, g.KH, g.KW) > 1<<29 {
		return nil, c.Unsupported("a filter of %v on %v by %d/%d", w.Shape, x, up, down)
	}
	g.Init()
	blocks := kernel.Blocks(x.Shape[1])
	planes := x.Shape[0] * blocks
	inLen, outLen := g.H*g.W*Block, g.OH*g.OW*Block
	k := &Kernel{
		Out: []Type{out}, Algo: "fir", WorkerScratch: 4 * g.FrameLen(),
		FLOPs: 2 * float64(out.Elems()) * float64(g.KH*g.KW) / float64(up) / float64(up), Tables: room(4, g.PackedLen()),
	}
	if x.Layout == Plain {
		k.Scratch = room(4, planes, inLen)
	}
	k.Bind = func(m Memory) []Task {
		src, dst := Data[float32](m.In[0]), Data[float32](m.Out[0])
		if len(dst) == 0 {
			return nil
		}
		var tasks []Task
		if x.Layout == Plain {
			given := src
			src = Floats(m.Shared(), planes*inLen)
			ch, hw := x.Shape[1], g.H*g.W
			tasks = append(tasks, Task{planes, func(p, _ int) {
				n, b := p/blocks, p%blocks
				kernel.ToBlocked(src[n*blocks*inLen:][:blocks*inLen], given[n*ch*hw:][:ch*hw], ch, hw, b, b+1)
			}})
		}
		packed := Floats(AlignedBytes(4*g.PackedLen()), g.PackedLen())
		g.Pack(packed, Data[float32](filter))
		parts, step := divide(planes, float64(g.FrameLen())/10+float64(g.OH*g.OW*g.KH*g.KW)/2)
		return append(tasks, Task{parts, func(part, worker int) {
			lo, hi := bounds(part, step, planes)
			for p := lo; p < hi; p++ {
				g.Run(dst[p*outLen:][:outLen], src[p*inLen:][:inLen], packed, Floats(m.Worker(worker), g.FrameLen()))
			}
		}})
	}
	return k, nil
}
