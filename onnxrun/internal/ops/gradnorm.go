package ops

import (
	"math"

	"sampleonnx/onnxrun/internal/kernel"
	"sampleonnx/onnxrun/internal/onnx"
)

// batchNormRule: with given statistics, y = (x − mean)/√(var + ε)·scale + bias.
func batchNormRule(g *Grad, i int) *Ref {
	if i > 0 {
		g.refuse("by input %d", i)
	}
	x, scale, variance := g.x(), g.cast(g.In[1], g.x().DType), g.cast(g.In[4], g.x().DType)
	shape := append([]int(nil), x.Shape...)
	for a := range shape {
		if a != 1 && len(scale.Shape) == 1 || a == 0 { // before opset 9, perhaps one for each element of an image
			shape[a] = 1
		}
	}
	sigma := g.op("Sqrt", g.add(variance, g.number(float64(g.call().Float("epsilon", 1e-5)), x)))
	return g.mul(g.whole(), g.reshape(g.div(scale, sigma), shape))
}

// channelNormRule is for InstanceNormalization and both group normalisations.
// With x̂ = (x − mean)/σ and y = scale·x̂ + bias:
//
//	dx = NormGrad(dy·scale, x), dscale = Σ dy·x̂, dbias = Σ dy
func channelNormRule(g *Grad, i int) *Ref {
	x, dy := g.x(), g.whole()
	channels := x.Shape[1]
	groups := g.call().Int("groups", g.call().Int("num_groups", channels))
	plain := func(in ...*Ref) *Ref { return g.again(in...) }
	if g.Node.Op == "GroupNorm" {
		plain = func(in ...*Ref) *Ref {
			return g.fused(attrs{"epsilon": g.Node.Attrs["epsilon"], "groups": intAttr(groups)}, "GroupNorm", in...)
		}
		if g.call().Int("silu", 0) != 0 { // y = silu(z)
			dy = g.fused(attrs{"of": strAttr("SiLU")}, "Slope", dy, plain(g.In...))
		}
	}
	// There is a scale and a bias for each channel, or for each group.
	scale := g.cast(g.In[1], x.DType)
	params := scale.Shape[0]
	sum := func(d *Ref) *Ref {
		d = g.reshape(d, []int{x.Shape[0], params, elems(x.Shape[1:]) / max(1, params)})
		return g.cast(g.reshape(g.sum(d, []int{0, 2}), []int{params}), g.In[i].DType)
	}
	switch i {
	case 1:
		ones := g.constant("ones", func() *Tensor { return g.filled(g.In[1].Type, func(int) float64 { return 1 }) })
		return sum(g.mul(dy, plain(x, ones, g.zeros(g.In[1]))))
	case 2:
		return sum(dy)
	}
	shape := make([]int, len(x.Shape)-1)
	for a := range shape {
		shape[a] = 1
	}
	shape[0] = channels
	each := g.spread(g.reshape(scale, []int{params, 1}), []int{params, channels / max(1, params)})
	return g.normGrad(g.mul(dy, g.reshape(each, shape)), attrs{"axis": intAttr(1), "groups": intAttr(groups)})
}

// rowNormRule is for the normalisations of the trailing axes: the same, with a
// scale and a bias that are broadcast to x.
func rowNormRule(g *Grad, i int) *Ref {
	x, dy := g.x(), g.spread(g.dy(), g.y().Shape)
	switch i {
	case 1:
		ones := g.constant("ones", func() *Tensor { return g.filled(g.In[1].Type, func(int) float64 { return 1 }) })
		return g.cast(g.collect(g.mul(dy, g.again(x, ones)), x.Shape, g.In[1].Shape), g.In[1].DType)
	case 2:
		return g.cast(g.collect(dy, x.Shape, g.In[2].Shape), g.In[2].DType)
	}
	axis := must(g.call().Axis(g.call().Int("axis", -1), len(x.Shape)))
	rms := 0
	if g.Node.Op == "RMSNormalization" {
		rms = 1
	}
	return g.normGrad(g.mul(dy, g.cast(g.In[1], x.DType)), attrs{"axis": intAttr(axis), "rms": intAttr(rms)})
}

func (g *Grad) normGrad(d *Ref, a attrs) *Ref {
	a["epsilon"] = floatAttr(g.call().Float("epsilon", 1e-5))
	return g.fused(a, "NormGrad", d, g.x())
}

// normGrad is the backward step of normalising rows, without scale and bias: of
// x̂ = (x − mean)/σ, with d the gradient of x̂,
//
//	dx = (d − mean(d) − x̂·mean(d·x̂))/σ,
//
// where for RMSNormalization both means of d and x themselves are left out. A row
// is a group of channels of an image, or all axes from some axis on.
type normGrad struct {
	x          Type
	rows, size int
	eps        float64
	rms        bool
	unit       int // Blocked: the channels that are treated together
}

// normGradLayouts: groups of channels can be in blocks.
func normGradLayouts(c *Call) []Layout {
	l := make([]Layout, 2)
	x := c.In[1].Type
	if c.Int("axis", 0) == 1 && len(x.Shape) >= 3 && IsFloat32(x.DType) && (x.Layout == Blocked || c.In[0].Layout == Blocked) {
		l[0], l[1] = Blocked, Blocked
	}
	return l
}

func lowerNormGrad(c *Call) (*Kernel, error) {
	d, x := c.In[0].Type, c.In[1].Type
	axis, groups := c.Int("axis", 0), c.Int("groups", 1)
	v := &normGrad{x: x, eps: float64(c.Float("epsilon", 1e-5)), rms: c.Int("rms", 0) != 0}
	if axis < 0 || axis >= len(x.Shape) || groups < 1 || x.Shape[axis]%groups != 0 {
		return nil, c.Invalid("%d groups on axis %d of %v", groups, axis, x.Shape)
	}
	if !isFloat(x.DType) || d.DType != x.DType || d.Layout != x.Layout || elems(d.Shape) != elems(x.Shape) {
		return nil, c.Invalid("%v is no gradient of %v", d, x)
	}
	v.rows = elems(x.Shape[:axis]) * groups
	v.size = elems(x.Shape[axis:]) / groups
	k := &Kernel{Out: []Type{x}, InPlace: []int{0, 1}, FLOPs: 10 * float64(x.Elems())}
	switch {
	case x.DType == onnx.Double:
		k.Bind = v.loops
	case x.Layout == Blocked:
		if axis != 1 {
			return nil, c.Unsupported("normalises axis %d of %v", axis, x)
		}
		size := x.Shape[1] / groups
		v.unit = size / gcd(size, Block) * Block
		k.WorkerScratch = 4*tileLen + room(8, min(v.unit, (x.Shape[1]+Block-1)/Block*Block), elems(x.Shape[2:]))
		k.Bind = v.bindBlocked
	default:
		k.WorkerScratch = 4 * tileLen
		k.Bind = v.bindPlain
	}
	return k, nil
}

// row computes one row; tmp holds tileLen floats. dst may be d or x.
func (v *normGrad) row(dst, d, x, tmp []float32) {
	n := float64(len(x))
	var mean, dMean float64
	if !v.rms {
		mean, dMean = kernel.Sum(x)/n, kernel.Sum(d)/n
	}
	inverse := 1 / math.Sqrt(kernel.SumSquares(x, mean)/n+v.eps)
	scale, shift := float32(inverse), float32(-mean*inverse)
	along := 0.0 // mean(d·x̂)
	for i := 0; i < len(x); i += len(tmp) {
		j := min(i+len(tmp), len(x))
		t := tmp[:j-i]
		kernel.ScaleShift(t, x[i:j], scale, shift)
		kernel.Mul(t, t, d[i:j])
		along += kernel.Sum(t)
	}
	along /= n
	for i := 0; i < len(x); i += len(tmp) {
		j := min(i+len(tmp), len(x))
		t := tmp[:j-i]
		kernel.ScaleShift(t, x[i:j], scale, shift)
		kernel.ScaleShift(dst[i:j], d[i:j], float32(inverse), float32(-dMean*inverse))
		kernel.Axpy(dst[i:j], t, float32(-along*inverse))
	}
}

func (v *normGrad) bindPlain(m Memory) []Task {
	d, x, dst := Data[float32](m.In[0]), Data[float32](m.In[1]), Data[float32](m.Out[0])
	if len(dst) == 0 {
		return nil
	}
	parts, step := divide(v.rows, 60+0.8*float64(v.size))
	return []Task{{parts, func(part, worker int) {
		tmp := Floats(m.Worker(worker), tileLen)
		lo, hi := bounds(part, step, v.rows)
		for r := lo; r < hi; r++ {
			at := r * v.size
			v.row(dst[at:][:v.size], d[at:][:v.size], x[at:][:v.size], tmp)
		}
	}}}
}

// bindBlocked: a unit of whole blocks and whole groups is made plain, where its
// groups lie side by side, and blocked again.
func (v *normGrad) bindBlocked(m Memory) []Task {
	d, x, dst := Data[float32](m.In[0]), Data[float32](m.In[1]), Data[float32](m.Out[0])
	if len(dst) == 0 {
		return nil
	}
	channels, space := v.x.Shape[1], elems(v.x.Shape[2:])
	units, image := ceilDiv(channels, v.unit), v.x.Len()/v.x.Shape[0]
	most := min(v.unit, (channels+Block-1)/Block*Block) * space
	parts, step := divide(v.x.Shape[0]*units, 60+1.5*float64(v.unit*space))
	return []Task{{parts, func(part, worker int) {
		scratch := m.Worker(worker)
		tmp, flatD, flatX := Floats(scratch, tileLen), Floats(scratch[4*tileLen:], most), Floats(scratch[4*(tileLen+most):], most)
		lo, hi := bounds(part, step, v.x.Shape[0]*units)
		for i := lo; i < hi; i++ {
			c0 := i % units * v.unit
			n := min(v.unit, channels-c0)
			blocks := (n + Block - 1) / Block
			at, end := i/units*image+c0*space, i/units*image+c0*space+blocks*Block*space
			kernel.FromBlocked(flatD, d[at:end], n, space, 0, blocks)
			kernel.FromBlocked(flatX, x[at:end], n, space, 0, blocks)
			for r := 0; r < n*space; r += v.size {
				v.row(flatD[r:][:v.size], flatD[r:][:v.size], flatX[r:][:v.size], tmp)
			}
			kernel.ToBlocked(dst[at:end], flatD, n, space, 0, blocks)
		}
	}}}
}

func (v *normGrad) loops(m Memory) []Task {
	d, x, dst := Data[float64](m.In[0]), Data[float64](m.In[1]), Data[float64](m.Out[0])
	parts, step := divide(v.rows, 5*float64(v.size))
	return []Task{{parts, func(part, _ int) {
		lo, hi := bounds(part, step, v.rows)
		for r := lo; r < hi; r++ {
			at := r * v.size
			d, x, y := d[at:][:v.size], x[at:][:v.size], dst[at:][:v.size]
			mean, variance := moments(x)
			dMean, _ := moments(d)
			if v.rms {
				variance += mean * mean
				mean, dMean = 0, 0
			}
			inverse := 1 / math.Sqrt(variance+v.eps)
			along := 0.0
			for i := range x {
				along += d[i] * (x[i] - mean) * inverse
			}
			along /= float64(v.size)
			for i := range x {
				y[i] = (d[i] - dMean - (x[i]-mean)*inverse*along) * inverse
			}
		}
	}}}
}
