package ops

import "sampleonnx/onnxrun/internal/kernel"

// lowerReorder changes the layout of a float32 tensor; the attribute layout is
// the one wanted.
func lowerReorder(c *Call) (*Kernel, error) {
	x := c.In[0].Type
	to := x
	to.Layout = Layout(c.Int("layout", int(Plain)))
	if to.Layout > Blocked {
		return nil, c.Invalid("layout %d is not known", to.Layout)
	}
	if to.Layout == x.Layout {
		return &Kernel{Out: []Type{to}, View: true}, nil
	}
	if !IsFloat32(x.DType) || len(x.Shape) < 3 {
		return nil, c.Invalid("%v has no blocked layout", x)
	}
	n, ch, space := x.Shape[0], x.Shape[1], elems(x.Shape[2:])
	blocks := (ch + Block - 1) / Block
	return &Kernel{
		Out:  []Type{to},
		Algo: map[Layout]string{Plain: "to plain", Blocked: "to blocked"}[to.Layout],
		Bind: func(m Memory) []Task {
			src, dst := Data[float32](m.In[0]), Data[float32](m.Out[0])
			// One item is one block of channels of one image.
			parts, step := divide(n*blocks, 0.4*float64(Block*space))
			image, blocked := ch*space, blocks*Block*space
			return []Task{{parts, func(part, _ int) {
				lo, hi := bounds(part, step, n*blocks)
				for i := lo; i < hi; i++ {
					n, b := i/blocks, i%blocks
					if to.Layout == Blocked {
						kernel.ToBlocked(dst[n*blocked:][:blocked], src[n*image:][:image], ch, space, b, b+1)
					} else {
						kernel.FromBlocked(dst[n*image:][:image], src[n*blocked:][:blocked], ch, space, b, b+1)
					}
				}
			}}}
		},
	}, nil
}
