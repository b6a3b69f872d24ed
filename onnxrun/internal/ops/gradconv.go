package ops

import (
	"fmt"
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
)

// convRule: dx = dy * w turned round. With strides that is a transposed
// convolution with the same weights. Without, it is a convolution with the
// weights' taps in reverse and their channels exchanged, and as fast as the
// forward one; the turned weights are kept with the packed ones.
func convRule(g *Grad, i int) *Ref {
	c := g.call()
	v := must(newConv(c))
	switch i {
	case 1:
		g.refuse("by the weights")
	case 2:
		return g.biasGrad()
	}
	dy, w, rank := g.whole(), v.w, len(v.w.in)
	a := attrs{"dilations": intsAttr(w.dilation), "group": intAttr(v.groups)}
	pads, same := make([]int, 2*rank), c.In[1].Const != nil
	for d := range rank {
		reach := (w.kernel[d] - 1) * w.dilation[d]
		pads[d], pads[rank+d] = reach-w.begin[d], reach-w.end[d]
		same = same && w.stride[d] == 1 && pads[d] >= 0 && pads[rank+d] >= 0
	}
	if same {
		a["pads"] = intsAttr(pads)
		return g.with(a, "Conv", dy, g.turned(v))
	}
	extra := make([]int, rank)
	for d := range rank {
		reach := (w.kernel[d] - 1) * w.dilation[d]
		extra[d] = w.in[d] + w.begin[d] + w.end[d] - ((w.out[d]-1)*w.stride[d] + reach + 1)
	}
	a["strides"], a["output_padding"] = intsAttr(w.stride), intsAttr(extra)
	a["pads"] = intsAttr(slices.Concat(w.begin, w.end))
	return g.with(a, "ConvTranspose", dy, g.In[1])
}

// turned is the constant weights [groups·oc, ic, taps…] of a convolution as
// [groups·ic, oc, taps…], the taps in reverse.
func (g *Grad) turned(v *conv) *Ref {
	w := g.In[1].Const
	oc, ic, taps := v.oc/v.groups, v.ic/v.groups, v.w.taps()
	t := Type{DType: w.DType, Shape: append([]int{v.ic, oc}, v.w.kernel...)}
	out := g.Packs.derived(w, fmt.Sprint("turned, groups ", v.groups), t, func(out *Tensor) {
		if t.DType == onnx.Double {
			turn(Data[float64](out), Data[float64](w), v.groups, oc, ic, taps)
		} else {
			turn(Data[float32](out), Data[float32](w), v.groups, oc, ic, taps)
		}
	})
	return g.constant(fmt.Sprintf("turned %p", w), func() *Tensor { return out })
}

func turn[T float](dst, src []T, groups, oc, ic, taps int) {
	for g := range groups {
		for o := range oc {
			for i := range ic {
				from, to := src[((g*oc+o)*ic+i)*taps:][:taps], dst[((g*ic+i)*oc+o)*taps:][:taps]
				for t, v := range from {
					to[taps-1-t] = v
				}
			}
		}
	}
}

// biasGrad: a bias has the gradient of everything it is added to.
func (g *Grad) biasGrad() *Ref {
	axes := []int{0}
	for a := 2; a < len(g.y().Shape); a++ {
		axes = append(axes, a)
	}
	return g.reshape(g.sum(g.whole(), axes), g.In[2].Shape)
}

// convTransposeRule: the transpose of the transpose, with the same weights.
func convTransposeRule(g *Grad, i int) *Ref {
	v := must(newConvTranspose(g.call()))
	switch i {
	case 1:
		g.refuse("by the weights")
	case 2:
		return g.biasGrad()
	}
	w, rank := v.w, len(v.w.in)
	d := g.with(attrs{"strides": intsAttr(w.stride), "dilations": intsAttr(w.dilation), "group": intAttr(v.groups),
		"pads": intsAttr(slices.Concat(w.begin, w.end))}, "Conv", g.whole(), g.In[1])
	if slices.Equal(d.Shape, g.x().Shape) {
		return d
	}
	// An output padded by a stride or more has windows of padding alone.
	starts, axes := make([]int, rank), make([]int, rank)
	for k := range axes {
		axes[k] = k + 2
	}
	return g.op("Slice", d, g.ints(starts...), g.ints(w.in...), g.ints(axes...))
}

// firRule: what was inserted is left out and what was left out is inserted, and
// the filter is turned round.
func firRule(g *Grad, i int) *Ref {
	if i > 0 {
		g.refuse("by the filter")
	}
	c, w := g.call(), g.In[1]
	up, down, pads := c.Int("up", 1), c.Int("down", 1), c.Ints("pads")
	if pads == nil {
		pads = make([]int, 4)
	}
	taps := w.Shape[len(w.Shape)-2:]
	back := make([]int, 4)
	for d, k := range taps {
		in, out := g.x().Shape[2+d], g.y().Shape[2+d]
		back[d] = k - 1 - pads[d]
		back[2+d] = (in-1)*up + k - back[d] - out*down
	}
	filter := g.constant(fmt.Sprintf("turned %p", w), func() *Tensor {
		t := New(w.Type)
		turn(Data[float32](t), Data[float32](w.Const), 1, 1, 1, elems(taps))
		return t
	})
	return g.fused(attrs{"up": intAttr(down), "down": intAttr(up), "pads": intsAttr(back)}, "FIR", g.whole(), filter)
}
