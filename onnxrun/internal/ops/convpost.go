package ops

import (
	"slices"

	"sampleonnx/onnxrun/internal/kernel"
)

// convPost is what a fused convolution does to its result:
//
//	act((conv + add)·scale)
type convPost struct {
	add   bool // input 3, of the output's shape and layout
	scale float32
	act   kernel.Act
}

var convActs = map[string]kernel.Act{
	"none": kernel.ActNone, "relu": kernel.ActRelu, "silu": kernel.ActSiLU, "elu": kernel.ActElu, "tanh": kernel.ActTanh, "gelu": kernel.ActGelu,
}

// newConvPost reads what the fused convolution has besides Conv's inputs and
// attributes; shape is that of the output.
func newConvPost(c *Call, shape []int) (p convPost, err error) {
	p.scale = 1
	if c.Node.Domain != Fused {
		return p, nil
	}
	if !IsFloat32(c.In[0].DType) {
		return p, c.Invalid("the input is %v, want float32", c.In[0].DType)
	}
	p.add, p.scale = c.Has(3), c.Float("out_scale", 1)
	act, ok := convActs[c.Str("act", "none")]
	if !ok {
		return p, c.Invalid("act is %q", c.Str("act", ""))
	}
	p.act = act
	if p.add && (!slices.Equal(c.In[3].Shape, shape) || !IsFloat32(c.In[3].DType)) {
		return p, c.Invalid("what is added is %v, the output has shape %v", c.In[3].Type, shape)
	}
	return p, nil
}

// addend is the memory of what is added, nil when nothing is.
func (p *convPost) addend(m Memory) []float32 {
	if !p.add {
		return nil
	}
	return Data[float32](m.In[3])
}

// after lets k do its work in passes of their own, over the whole output.
func (p *convPost) after(k *Kernel) {
	if !p.add && p.scale == 1 && p.act == kernel.ActNone {
		return
	}
	bind := k.Bind
	k.Bind = func(m Memory) []Task {
		dst, add := Data[float32](m.Out[0]), p.addend(m)
		parts, step := divide(len(dst), 1)
		return append(bind(m), Task{parts, func(part, _ int) {
			lo, hi := bounds(part, step, len(dst))
			y := dst[lo:hi]
			if add != nil {
				kernel.Add(y, y, add[lo:hi])
			}
			if p.scale != 1 {
				kernel.MulScalar(y, y, p.scale)
			}
			p.act.Apply(y)
		}})
	}
}
