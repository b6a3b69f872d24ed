package ops

import "sampleonnx/onnxrun/internal/kernel"

// lowerRotate is the fused operator Rotary, rotary position embedding (Su et al.
// 2021) as exporters spell it out: for each row of the matrices of x
//
//	y = x·cos + turned(x)·sin
//	turned(x) = (-x[d/2:], x[:d/2]), or when interleaved (-x[1], x[0], -x[3], x[2] …)
//
// Its inputs are x, cos and sin, its attributes sizes (batch, t, d), where the
// matrices of each lie (newMatrices; columns side by side), interleaved, and the
// output's shape; the output is [batch, t, d] in memory.
func lowerRotate(c *Call) (*Kernel, error) {
	size := c.Ints("sizes")
	if len(size) != 3 || size[0] < 1 || size[1] < 1 || size[2] < 2 || size[2]%2 != 0 {
		return nil, c.Invalid("sizes are %v, want a batch, rows and an even number of columns", size)
	}
	batch, t, d := size[0], size[1], size[2]
	out := Type{DType: c.In[0].DType, Shape: c.Ints("shape")}
	if err := c.checkSize(out); err != nil {
		return nil, err
	}
	if out.Elems() != room(batch, t, d) {
		return nil, c.Invalid("the output of shape %v is not %d matrices of %d×%d", out.Shape, batch, t, d)
	}
	var at [3]matrices
	for i, name := range []string{"x", "cos", "sin"} {
		if in := c.In[i].Type; !IsFloat32(in.DType) || in.Layout == Blocked {
			return nil, c.Invalid("input %d is %v, want plain float32", i, in)
		}
		var err error
		if at[i], err = newMatrices(c, name, batch, t, d, c.In[i].Elems()); err != nil {
			return nil, err
		}
		if at[i].col != 1 {
			return nil, c.Invalid("columns of %s are %d apart, want 1", name, at[i].col)
		}
	}
	interleaved := c.Int("interleaved", 0) != 0
	k := &Kernel{Out: []Type{out}, FLOPs: 3 * float64(out.Elems()), WorkerScratch: room(4, d)}
	k.Bind = func(m Memory) []Task {
		x, cos, sin, y := Data[float32](m.In[0]), Data[float32](m.In[1]), Data[float32](m.In[2]), Data[float32](m.Out[0])
		parts, step := divide(batch*t, 20+0.3*float64(d))
		return []Task{{parts, func(part, worker int) {
			tmp := Floats(m.Worker(worker), d)
			lo, hi := bounds(part, step, batch*t)
			for r := lo; r < hi; r++ {
				row := func(data []float32, m *matrices) []float32 { return data[m.of(r/t)+r%t*m.row:][:d] }
				rotate(y[r*d:][:d], row(x, &at[0]), row(cos, &at[1]), row(sin, &at[2]), tmp, interleaved)
			}
		}}}
	}
	return k, nil
}

func rotate(y, x, cos, sin, tmp []float32, interleaved bool) {
	if interleaved {
		for j := 0; j+1 < len(y); j += 2 {
			a, b := x[j], x[j+1]
			y[j] = float32(a*cos[j]) - float32(b*sin[j])
			y[j+1] = float32(b*cos[j+1]) + float32(a*sin[j+1])
		}
		return
	}
	half := len(y) / 2
	kernel.Mul(y, x, cos)
	kernel.Mul(tmp[:half], x[half:], sin)
	kernel.Mul(tmp[half:], x, sin[half:])
	kernel.Sub(y[:half], y, tmp)
	kernel.Add(y[half:], y[half:], tmp[half:])
}
