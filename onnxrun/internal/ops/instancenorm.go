package ops

import (
	"math"

	"sampleonnx/onnxrun/internal/kernel"
)

// instanceNormPlus is InstanceNorm++ (Song & Ermon 2020, "Improved techniques for
// training score-based generative models", appendix A), of images [n, c, space…]:
//
//	y = act(gamma·(x − μ)/√(σ² + ε) + beta + alpha·(μ − m)/√(r·v + ε'))
//
// with μ and σ² the mean and variance of each channel of an image, m and v the
// mean and variance of an image's c means μ, r the correction (c/(c−1) where v is
// taken without bias), ε the epsilon and ε' the epsilon_means.
type instanceNormPlus struct {
	x                  Type
	n, channels, space int
	eps, epsMeans      float64
	correction         float64
	act                kernel.Act
}

func lowerInstanceNormPlus(c *Call) (*Kernel, error) {
	v, err := newChannelNorm(c)
	if err != nil {
		return nil, err
	}
	if !IsFloat32(v.x.DType) || len(v.x.Shape) < 3 {
		return nil, c.Invalid("the input is %v, want a float image", v.x)
	}
	if err := v.parameters(c, v.channels, 1, 2, 3); err != nil {
		return nil, err
	}
	act, ok := convActs[c.Str("act", "none")]
	if !ok {
		return nil, c.Invalid("act is %q", c.Str("act", ""))
	}
	p := &instanceNormPlus{
		x: v.x, n: v.n, channels: v.channels, space: v.space, act: act, eps: v.eps,
		epsMeans: float64(c.Float("epsilon_means", 1e-5)), correction: float64(c.Float("correction", 1)),
	}
	k := &Kernel{Out: []Type{v.x}, InPlace: []int{0}, FLOPs: 6 * float64(v.x.Elems()), Bind: p.bind}
	if act != kernel.ActNone {
		k.FLOPs += 4 * float64(v.x.Elems())
	}
	k.Scratch = room(2*8, p.n, p.lanes())
	return k, nil
}

// lanes is the number of channels of an image as its layout has them.
func (p *instanceNormPlus) lanes() int {
	if p.x.Layout == Blocked {
		return ceilDiv(p.channels, Block) * Block
	}
	return p.channels
}

// bind: one pass takes the mean and variance of each channel, the next one needs
// those of all channels of an image.
func (p *instanceNormPlus) bind(m Memory) []Task {
	src, dst := Data[float32](m.In[0]), Data[float32](m.Out[0])
	if len(dst) == 0 {
		return nil
	}
	gamma, beta, alpha := Data[float32](m.In[1]), Data[float32](m.In[2]), Data[float32](m.In[3])
	lanes, width := p.lanes(), 1 // channels that lie together
	if p.x.Layout == Blocked {
		width = Block
	}
	stats := scratchOf[float64](m.Shared(), 2*p.n*lanes)
	mu, sigma2 := stats[:p.n*lanes], stats[p.n*lanes:]
	plane, count := p.space*width, float64(p.space)
	units := p.n * lanes / width
	first, few := divide(units, 0.4*float64(plane))
	second, some := divide(units, float64(plane)+float64(lanes))
	return []Task{{first, func(part, _ int) {
		lo, hi := bounds(part, few, units)
		for u := lo; u < hi; u++ {
			x, mean, variance := src[u*plane:][:plane], mu[u*width:][:width], sigma2[u*width:][:width]
			if width == 1 {
				mean[0] = kernel.Sum(x) / count
				variance[0] = kernel.SumSquares(x, mean[0]) / count
				continue
			}
			kernel.MomentsLanes((*[Block]float64)(mean), (*[Block]float64)(variance), x)
			for i := range variance {
				variance[i] /= count
			}
		}
	}}, {second, func(part, _ int) {
		lo, hi := bounds(part, some, units)
		image := -1
		var mean, inverse float64 // of the means of an image's channels
		for u := lo; u < hi; u++ {
			if n := u * width / lanes; n != image {
				var variance float64
				mean, variance = moments(mu[n*lanes:][:p.channels])
				inverse = 1 / math.Sqrt(variance*p.correction+p.epsMeans)
				image = n
			}
			x, y := src[u*plane:][:plane], dst[u*plane:][:plane]
			ch := u * width % lanes
			var scale, shift [Block]float32 // zero in spare lanes
			for l := range min(width, p.channels-ch) {
				at := mu[u*width+l]
				s := float64(gamma[ch+l]) / math.Sqrt(sigma2[u*width+l]+p.eps)
				scale[l] = float32(s)
				shift[l] = float32(float64(beta[ch+l]) + float64(alpha[ch+l])*((at-mean)*inverse) - at*s)
			}
			if width == Block {
				kernel.ScaleShiftLanes(y, x, &scale, &shift, p.act)
				continue
			}
			if p.space == 1 {
				y[0] = float32(x[0]*scale[0]) + shift[0]
			} else {
				kernel.ScaleShift(y, x, scale[0], shift[0])
			}
			p.act.Apply(y)
		}
	}}}
}
