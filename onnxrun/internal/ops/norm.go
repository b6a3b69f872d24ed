package ops

import (
	"math"
	"slices"

	"sampleonnx/onnxrun/internal/kernel"
	"sampleonnx/onnxrun/internal/onnx"
)

// normLayouts: a normalisation of a blocked image stays blocked; its
// parameters are plain.
func normLayouts(c *Call) []Layout {
	l := make([]Layout, len(c.In))
	if x := c.In[0].Type; x.Layout == Blocked && len(x.Shape) >= 3 && IsFloat32(x.DType) {
		l[0] = Blocked
	}
	return l
}

// channelNorm is a normalisation of images [n, c, space]: every channel of an
// image becomes x·scale + shift, where scale and shift follow from a
// parameter pair of the channel and, unless they are given, from the mean and
// variance over a group of channels of the image.
type channelNorm struct {
	x                  Type
	n, channels, space int
	groups             int // 0: mean and variance are inputs
	eps                float64
	silu               bool // y·sigmoid(y) follows

	gamma, beta, mean, variance int // inputs
	offset                      int // the input that is added to x before; 0: none
	offsets                     int // its images: n, or 1 for all
	perGroup                    bool
}

func newChannelNorm(c *Call) (*channelNorm, error) {
	x := c.In[0].Type
	if len(x.Shape) < 2 {
		return nil, c.Invalid("the input has shape %v, want at least 2 axes", x.Shape)
	}
	if !IsFloat32(x.DType) && x.DType != onnx.Double {
		return nil, c.Invalid("the input is %v, want a float tensor", x.DType)
	}
	return &channelNorm{
		x: x, n: x.Shape[0], channels: x.Shape[1], space: elems(x.Shape[2:]),
		eps: float64(c.Float("epsilon", 1e-5)), gamma: 1, beta: 2,
	}, nil
}

// parameters checks that inputs are vectors of n elements.
func (v *channelNorm) parameters(c *Call, n int, inputs ...int) error {
	for _, i := range inputs {
		t := c.In[i].Type
		if !slices.Equal(t.Shape, []int{n}) {
			return c.Invalid("input %d has shape %v, want [%d]", i, t.Shape, n)
		}
		if t.DType != v.x.DType && !(IsFloat32(t.DType) && IsFloat32(v.x.DType)) {
			return c.Invalid("input %d is %v, want %v as the image", i, t.DType, v.x.DType)
		}
	}
	return nil
}

// lowerBatchNorm is BatchNormalization with the statistics given, as in
// inference. Before opset 9, spatial=0 kept statistics for each element of an
// image; before 14 outputs 1 to 4 belonged to training.
func lowerBatchNorm(c *Call) (*Kernel, error) {
	if c.Int("training_mode", 0) != 0 {
		return nil, c.Unsupported("training_mode 1")
	}
	for i, o := range c.Node.Outputs {
		if i > 0 && o >= 0 {
			return nil, c.Unsupported("output %d exists in training only", i)
		}
	}
	v, err := newChannelNorm(c)
	if err != nil {
		return nil, err
	}
	v.mean, v.variance = 3, 4
	if c.Version() < 9 && c.Int("spatial", 1) == 0 {
		if v.x.Layout != Plain {
			return nil, c.Unsupported("spatial 0 of a blocked image")
		}
		// Statistics for each element: an image of as many channels.
		for i := 1; i <= 4; i++ {
			if !slices.Equal(c.In[i].Shape, v.x.Shape[1:]) || c.In[i].DType != v.x.DType {
				return nil, c.Invalid("input %d is %v, want %v", i, c.In[i].Type, v.x.Shape[1:])
			}
		}
		v.channels, v.space = v.channels*v.space, 1
		return v.kernel(c), nil
	}
	if err := v.parameters(c, v.channels, 1, 2, 3, 4); err != nil {
		return nil, err
	}
	return v.kernel(c), nil
}

func lowerInstanceNorm(c *Call) (*Kernel, error) {
	v, err := newChannelNorm(c)
	if err != nil {
		return nil, err
	}
	if len(v.x.Shape) < 3 {
		return nil, c.Invalid("the input has shape %v, want at least 3 axes", v.x.Shape)
	}
	v.groups = v.channels
	if err := v.parameters(c, v.channels, 1, 2); err != nil {
		return nil, err
	}
	return v.kernel(c), nil
}

// lowerGroupNorm is GroupNormalization: until opset 20 with a scale and a bias
// for each group, since 21 for each channel.
func lowerGroupNorm(c *Call) (*Kernel, error) {
	v, err := newChannelNorm(c)
	if err != nil {
		return nil, err
	}
	v.groups = c.Int("num_groups", 0)
	if v.groups < 1 || v.channels%v.groups != 0 {
		return nil, c.Invalid("num_groups is %d, want a number that divides the %d channels", v.groups, v.channels)
	}
	n := v.channels
	if c.Version() < 21 {
		v.perGroup, n = true, v.groups
	}
	if err := v.parameters(c, n, 1, 2); err != nil {
		return nil, err
	}
	return v.kernel(c), nil
}

// lowerFusedGroupNorm is group normalisation as plans find it spread over many
// nodes: scale and bias for each channel, perhaps followed by SiLU.
func lowerFusedGroupNorm(c *Call) (*Kernel, error) {
	v, err := newChannelNorm(c)
	if err != nil {
		return nil, err
	}
	return v.fusedGroups(c)
}

func (v *channelNorm) fusedGroups(c *Call) (*Kernel, error) {
	v.groups, v.silu = c.Int("groups", 0), c.Int("silu", 0) != 0
	if v.groups < 1 || v.channels%v.groups != 0 {
		return nil, c.Invalid("%d groups of %d channels", v.groups, v.channels)
	}
	if err := v.parameters(c, v.channels, 1, 2); err != nil {
		return nil, err
	}
	return v.kernel(c), nil
}

// lowerAddGroupNorm is lowerFusedGroupNorm of x + e, where e has one number for
// each channel of an image: [n, c, 1, …] or [1, c, 1, …], an embedding of the time.
// The sum is never written: it moves a channel's mean and not its variance.
func lowerAddGroupNorm(c *Call) (*Kernel, error) {
	k, err := newChannelNorm(c)
	if err != nil {
		return nil, err
	}
	e := c.In[3].Type
	one := slices.Repeat([]int{1}, len(k.x.Shape))
	one[1] = k.channels
	each := slices.Clone(one)
	each[0] = k.n
	if !IsFloat32(k.x.DType) || !IsFloat32(e.DType) || !slices.Equal(e.Shape, one) && !slices.Equal(e.Shape, each) {
		return nil, c.Invalid("input 3 is %v, which is no number for each channel of %v", e, k.x)
	}
	k.offset, k.offsets = 3, e.Shape[0]
	return k.fusedGroups(c)
}

func (v *channelNorm) kernel(c *Call) *Kernel {
	k := &Kernel{Out: make([]Type, len(c.Node.Outputs)), InPlace: []int{0}, FLOPs: 2 * float64(v.x.Elems())}
	if v.groups > 0 {
		k.FLOPs *= 3
	}
	if v.silu {
		k.FLOPs += 4 * float64(v.x.Elems())
	}
	k.Out[0] = v.x
	for i := range k.Out[1:] {
		k.Out[1+i] = Type{DType: v.x.DType, Shape: []int{0}} // left out
	}
	switch {
	case v.x.DType == onnx.Double:
		k.Bind = v.loops
	case v.x.Layout == Blocked:
		v.bindBlocked(k)
	default:
		k.Bind = v.bindPlain
	}
	return k
}

// affine is the scale and shift of one channel.
func (v *channelNorm) affine(ch int, mean, variance float64, gamma, beta []float32) (scale, shift float32) {
	p := ch
	if v.perGroup {
		p = ch / (v.channels / v.groups)
	}
	s := float64(gamma[p]) / math.Sqrt(variance+v.eps)
	return float32(s), float32(float64(beta[p]) - mean*s)
}

// given is the memory of the inputs that may hold statistics.
func (v *channelNorm) given(m Memory) (gamma, beta, mean, variance []float32) {
	gamma, beta = Data[float32](m.In[v.gamma]), Data[float32](m.In[v.beta])
	if v.groups == 0 {
		mean, variance = Data[float32](m.In[v.mean]), Data[float32](m.In[v.variance])
	}
	return
}

// bindPlain: a group of channels of an image is contiguous, and one part does
// all passes over it.
func (v *channelNorm) bindPlain(m Memory) []Task {
	src, dst := Data[float32](m.In[0]), Data[float32](m.Out[0])
	if len(dst) == 0 {
		return nil
	}
	gamma, beta, mean, variance := v.given(m)
	groups := v.groups
	if groups == 0 {
		groups = v.channels
	}
	size := v.channels / groups
	parts, step := divide(v.n*groups, v.nanos(size*v.space))
	return []Task{{parts, func(part, _ int) {
		lo, hi := bounds(part, step, v.n*groups)
		for i := lo; i < hi; i++ {
			group := i % groups
			x, y := src[i*size*v.space:][:size*v.space], dst[i*size*v.space:][:size*v.space]
			offset := v.added(m, i/groups, group*size, size)
			var mu, sigma2 float64
			switch {
			case v.groups == 0:
				mu, sigma2 = float64(mean[group]), float64(variance[group])
			case offset == nil:
				mu = kernel.Sum(x) / float64(len(x))
				sigma2 = kernel.SumSquares(x, mu) / float64(len(x))
			default:
				mu = kernel.Sum(x)
				for _, e := range offset {
					mu += float64(e) * float64(v.space)
				}
				mu /= float64(len(x))
				for ch, e := range offset {
					sigma2 += kernel.SumSquares(x[ch*v.space:][:v.space], mu-float64(e))
				}
				sigma2 /= float64(len(x))
			}
			for ch := range size {
				at := mu
				if offset != nil {
					at -= float64(offset[ch])
				}
				scale, shift := v.affine(group*size+ch, at, sigma2, gamma, beta)
				if v.space == 1 {
					y[ch] = float32(x[ch]*scale) + shift
					continue
				}
				kernel.ScaleShift(y[ch*v.space:][:v.space], x[ch*v.space:][:v.space], scale, shift)
			}
			if v.silu {
				kernel.SiLU(y, y)
			}
		}
	}}}
}

// nanos is about how long n elements take.
func (v *channelNorm) nanos(n int) float64 {
	per := 0.2
	if v.groups > 0 {
		per += 0.4
	}
	if v.silu {
		per += 0.5
	}
	return per * float64(n)
}

// bindBlocked: one part is as many blocks as hold whole groups, so that it can
// do all passes while the data is near; the spare lanes are scaled by zero.
func (v *channelNorm) bindBlocked(k *Kernel) {
	size := 1
	if v.groups > 0 {
		size = v.channels / v.groups
	}
	blocks := (v.channels + Block - 1) / Block
	unit := min(blocks, size/gcd(size, Block)) // blocks in a part: lcm(size, 16)/16
	units := ceilDiv(max(blocks, 1), max(unit, 1))
	// The mean and variance of each channel of a unit.
	statsLen := 2 * unit * Block
	k.WorkerScratch = 8 * statsLen
	act := kernel.ActNone
	if v.silu {
		act = kernel.ActSiLU
	}
	k.Bind = func(m Memory) []Task {
		src, dst := Data[float32](m.In[0]), Data[float32](m.Out[0])
		if len(dst) == 0 {
			return nil
		}
		gamma, beta, mean, variance := v.given(m)
		plane := v.space * Block
		parts, step := divide(v.n*units, v.nanos(unit*plane))
		return []Task{{parts, func(part, worker int) {
			stats := scratchOf[float64](m.Worker(worker), statsLen)
			mu, sigma2 := stats[:unit*Block], stats[unit*Block:]
			lo, hi := bounds(part, step, v.n*units)
			for i := lo; i < hi; i++ {
				n, b0 := i/units, i%units*unit
				b1 := min(blocks, b0+unit)
				x, y := src[(n*blocks+b0)*plane:][:(b1-b0)*plane], dst[(n*blocks+b0)*plane:][:(b1-b0)*plane]
				c0, c1 := b0*Block, min(v.channels, b1*Block)
				if v.groups > 0 {
					v.blockedStats(x, mu, sigma2, size, v.added(m, n, c0, c1-c0), c1-c0)
				} else {
					for ch := c0; ch < c1; ch++ {
						mu[ch-c0], sigma2[ch-c0] = float64(mean[ch]), float64(variance[ch])
					}
				}
				for b := b0; b < b1; b++ {
					var scale, shift [Block]float32
					for l := range min(Block, v.channels-b*Block) {
						j := (b-b0)*Block + l
						scale[l], shift[l] = v.affine(b*Block+l, mu[j], sigma2[j], gamma, beta)
					}
					kernel.ScaleShiftLanes(y[(b-b0)*plane:][:plane], x[(b-b0)*plane:][:plane], &scale, &shift, act)
				}
			}
		}}}
	}
}

// added is what is added to channels of image n, from channel ch on; nil: nothing.
func (v *channelNorm) added(m Memory, n, ch, channels int) []float32 {
	if v.offset == 0 {
		return nil
	}
	return Data[float32](m.In[v.offset])[n%v.offsets*v.channels+ch:][:channels]
}

// blockedStats computes the mean and variance of every channel's group; x holds
// whole groups of size channels, blocked. Moments are taken channel by channel, and
// those of a group put together in the order of its channels. What is added to a channel
// beforehand, offset, counts in its group's mean and is then taken off it again.
func (v *channelNorm) blockedStats(x []float32, mu, sigma2 []float64, size int, offset []float32, channels int) {
	plane := v.space * Block
	for i := 0; i*v.space < len(x); i += Block {
		kernel.MomentsLanes((*[Block]float64)(mu[i:]), (*[Block]float64)(sigma2[i:]), x[i*v.space:][:plane])
	}
	for i, e := range offset {
		mu[i] += float64(e)
	}
	for g := 0; g < channels; g += size {
		// The variance is the mean of the channels' own and that of their means.
		mean, variance := moments(mu[g : g+size])
		within := 0.0
		for _, squares := range sigma2[g : g+size] {
			within += squares
		}
		variance += within / float64(size*v.space)
		for i := g; i < g+size; i++ {
			mu[i], sigma2[i] = mean, variance
		}
	}
	for i, e := range offset {
		mu[i] -= float64(e)
	}
}

// loops is the normalisation of float64.
func (v *channelNorm) loops(m Memory) []Task {
	src, dst := Data[float64](m.In[0]), Data[float64](m.Out[0])
	if len(dst) == 0 {
		return nil
	}
	gamma, beta := Data[float64](m.In[v.gamma]), Data[float64](m.In[v.beta])
	groups := v.groups
	var mean, variance []float64
	if groups == 0 {
		groups = v.channels
		mean, variance = Data[float64](m.In[v.mean]), Data[float64](m.In[v.variance])
	}
	size := v.channels / groups
	parts, step := divide(v.n*groups, 4*float64(size*v.space))
	return []Task{{parts, func(part, _ int) {
		lo, hi := bounds(part, step, v.n*groups)
		for i := lo; i < hi; i++ {
			group := i % groups
			x, y := src[i*size*v.space:][:size*v.space], dst[i*size*v.space:][:size*v.space]
			var mu, sigma2 float64
			if v.groups == 0 {
				mu, sigma2 = mean[group], variance[group]
			} else {
				mu, sigma2 = moments(x)
			}
			for j, w := range x {
				ch := group*size + j/v.space
				if v.perGroup {
					ch = group
				}
				z := (w-mu)/math.Sqrt(sigma2+v.eps)*gamma[ch] + beta[ch]
				if v.silu {
					z /= 1 + math.Exp(-z)
				}
				y[j] = z
			}
		}
	}}}
}

// moments is the mean and the variance of x.
func moments(x []float64) (mean, variance float64) {
	for _, v := range x {
		mean += v
	}
	mean /= float64(len(x))
	for _, v := range x {
		variance += float64((v - mean) * (v - mean))
	}
	return mean, variance / float64(len(x))
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
