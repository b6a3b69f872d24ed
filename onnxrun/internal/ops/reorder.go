package ops

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
			run := func(part, _ int) {
				lo, hi := bounds(part, step, n*blocks)
				for i := lo; i < hi; i++ {
					first := i % blocks * Block
					lanes := min(Block, ch-first)
					flat := (i/blocks*ch + first) * space
					if to.Layout == Blocked {
						toBlocked(dst[i*space*Block:][:space*Block], src[flat:][:lanes*space], lanes, space)
					} else {
						fromBlocked(dst[flat:][:lanes*space], src[i*space*Block:][:space*Block], lanes, space)
					}
				}
			}
			return []Task{{parts, run}}
		},
	}, nil
}

// toBlocked interleaves lanes rows of space elements; the spare lanes get zeros.
func toBlocked(dst, src []float32, lanes, space int) {
	if lanes < Block {
		clear(dst)
	}
	for l := range lanes {
		row := src[l*space:][:space]
		for i, v := range row {
			dst[i*Block+l] = v
		}
	}
}

// fromBlocked is the inverse.
func fromBlocked(dst, src []float32, lanes, space int) {
	for l := range lanes {
		row := dst[l*space:][:space]
		for i := range row {
			row[i] = src[i*Block+l]
		}
	}
}
