package ops

import (
	"fmt"
	"slices"

	"sampleonnx/onnxrun/internal/kernel"
	"sampleonnx/onnxrun/internal/onnx"
)

// fewChannels is the number of input channels below which a blocked input would
// be mostly padding: the direct convolution then reads a plain one.
const fewChannels = 8

// lowerConv is Conv over any number of spatial axes, and the fused Conv, which
// has an addend, a factor and an activation besides. There are seven ways to do
// it, and which is taken depends on the shapes of the weights and of one image
// and on the input's layout alone, never on the batch:
//
//   - direct: up to three spatial axes, constant weights. It gives a
//     blocked output, from a blocked input or from a plain one; or a plain
//     output, where that has so few channels that blocks are waste;
//   - winograd: 3×3, stride 1, one group, otherwise as direct, where it is cheaper;
//   - gemm: gather the windows into a matrix and multiply. Everything in float32;
//   - pointwise: windows of one element are such a matrix as they lie;
//   - lanewise: a filter for every channel, or groups of two or four, on blocks
//     of channels;
//   - depthwise: groups of one input channel otherwise, which a matrix product
//     would spend on padding;
//   - loops: float64.
func lowerConv(c *Call) (*Kernel, error) {
	v, err := newConv(c)
	if err != nil {
		return nil, err
	}
	x := c.In[0].Type
	out := v.outType()
	k := &Kernel{
		Out:   []Type{out},
		FLOPs: 2 * float64(out.Elems()) * float64(v.ic/v.groups) * float64(v.w.taps()),
	}
	if x.Layout == Blocked && !v.direct() && !v.lanewise() {
		return nil, c.Invalid("a blocked input to a convolution that is not direct")
	}
	switch {
	case !IsFloat32(x.DType):
		v.bindLoops(k)
	case out.Layout == Blocked:
		if v.post.add {
			k.InPlace = []int{3}
		}
		switch m := v.algorithm(c.Exact); {
		case v.lanewise():
			v.bindLanewise(k, c)
		case m > 0:
			v.bindWinograd(k, c, m)
		default:
			v.bindDirect(k, c)
		}
		return k, nil
	case v.direct():
		v.bindFewOutputs(k, c)
	case v.depthwise():
		v.bindDepthwise(k)
	case v.pointwise():
		v.bindPointwise(k)
	default:
		v.bindGather(k, func(w *Tensor, _ []byte) ([]float32, []Task) { return Data[float32](w), nil })
	}
	v.post.after(k)
	return k, nil
}

// outType is the type of the output.
func (v *conv) outType() Type {
	out := Type{DType: v.x.DType, Shape: append([]int{v.n, v.oc}, v.w.out...)}
	if IsFloat32(v.x.DType) && (v.lanewise() || v.direct() && !v.fewOutputs()) {
		out.Layout = Blocked
	}
	return out
}

// convLayouts asks for a blocked input where the convolution is direct, unless
// the channels are so few that blocks are waste, or the input is plain and has
// to be copied into a padded frame anyway, which reorders it on the way. What a
// fused convolution adds has the output's layout.
func convLayouts(c *Call) []Layout {
	l := make([]Layout, len(c.In))
	v, err := newConv(c)
	if err != nil || !IsFloat32(v.x.DType) {
		return l
	}
	asked := v.x.Layout
	v.x.Layout = Plain
	if v.directShape() && v.ic >= fewChannels {
		v.x.Layout = Blocked
		if asked != Blocked && (v.pointwise() || v.padded()) && v.algorithm(c.Exact) == 0 {
			v.x.Layout = Plain
		}
	}
	if v.lanewise() && (asked == Blocked || !v.padded()) {
		v.x.Layout = Blocked
	}
	l[0] = v.x.Layout
	if len(l) > 3 {
		l[3] = v.outType().Layout
	}
	return l
}

// conv is a convolution with its shapes checked.
type conv struct {
	x              Type
	n, ic, oc      int
	groups         int
	w              *window
	constant, bias bool
	post           convPost
}

func newConv(c *Call) (*conv, error) {
	x, w := c.In[0].Type, c.In[1].Type
	rank := len(x.Shape)
	if rank < 3 || len(w.Shape) != rank {
		return nil, c.Invalid("the input has shape %v and the weights %v, want equal ranks of at least 3", x.Shape, w.Shape)
	}
	if !IsFloat32(x.DType) && x.DType != onnx.Double {
		return nil, c.Invalid("the input is %v, want a float tensor", x.DType)
	}
	if w.DType != x.DType || c.Has(2) && c.In[2].DType != x.DType {
		return nil, c.Invalid("the input is %v, the weights %v, want one type for all inputs", x.DType, w.DType)
	}
	v := &conv{
		x: x, n: x.Shape[0], ic: x.Shape[1], oc: w.Shape[0],
		groups: c.Int("group", 1), constant: c.In[1].Const != nil, bias: c.Has(2),
	}
	if v.groups < 1 || v.ic%v.groups != 0 || v.oc%v.groups != 0 || w.Shape[1] != v.ic/v.groups {
		return nil, c.Invalid("group is %d, want one that divides the %d channels of the input and fits weights of shape %v", v.groups, v.ic, w.Shape)
	}
	if v.bias && !slices.Equal(c.In[2].Shape, []int{v.oc}) {
		return nil, c.Invalid("the bias has shape %v, want [%d]", c.In[2].Shape, v.oc)
	}
	kernel := w.Shape[2:]
	if given := c.Ints("kernel_shape"); given != nil && !slices.Equal(given, kernel) {
		return nil, c.Invalid("kernel_shape is %v, the weights have %v", given, kernel)
	}
	var err error
	if v.w, err = newWindow(c, x.Shape[2:], kernel, false); err != nil {
		return nil, err
	}
	if err := v.w.check(c, v.n, (v.ic+Block-1)&^(Block-1), (v.oc+Block-1)&^(Block-1)); err != nil {
		return nil, err
	}
	if v.post, err = newConvPost(c, append([]int{v.n, v.oc}, v.w.out...)); err != nil {
		return nil, err
	}
	return v, nil
}

// directShape reports whether the direct convolution takes the shapes.
func (v *conv) directShape() bool {
	if !v.constant || len(v.w.in) > 3 || v.ic < 1 || v.oc < 1 || v.depthwise() {
		return false
	}
	// A block of outputs that are a group each would multiply mostly by zeros.
	return v.groups == 1 || v.oc > v.groups
}

func (v *conv) direct() bool {
	if !v.directShape() {
		return false
	}
	// A plain input of many channels, one window an element, is a matrix as it
	// lies, and stays plain.
	return v.x.Layout == Blocked || v.ic < fewChannels || !v.pointwise()
}

// fewOutputs: all taps of all output channels together fill fewer vectors than
// each tap's output channels would, padded to a block.
func (v *conv) fewOutputs() bool {
	taps := v.w.taps()
	return len(v.w.in) <= 2 && v.groups == 1 && v.oc < fewChannels && v.ic >= fewChannels && kernel.Panels(v.oc*taps)*kernel.PanelCols < Block*taps &&
		v.rowNanos() <= longRow
}

// depthwise: one input channel for each group, and few output channels.
func (v *conv) depthwise() bool { return v.ic == v.groups && v.oc <= 4*v.groups }

// lanewise: every channel has one filter of its own, or every two or four as many,
// and there are enough of them to fill the lanes of a block.
func (v *conv) lanewise() bool {
	width := v.ic / v.groups
	return v.constant && (width == 1 || kernel.Grouped(width)) && v.oc == v.ic && v.ic >= fewChannels && len(v.w.in) <= 3 && IsFloat32(v.x.DType)
}

// pointwise: each output element reads the input element at its place.
func (v *conv) pointwise() bool {
	return v.w.taps() == 1 && elems(v.w.stride) == 1 && !v.padded()
}

func (v *conv) padded() bool {
	for i := range v.w.in {
		if v.w.begin[i] != 0 || v.w.end[i] != 0 {
			return true
		}
	}
	return false
}

// source is the input of a direct convolution, images next to each other: where
// it is padded, or has another layout than it needs, a copy in scratch memory.
type source struct {
	v        *conv
	few      bool // plain planes, for few channels; otherwise blocks
	copied   bool
	planes   int // planes of an image: channels or blocks
	lanes    int
	imageLen int
	slack    int // floats behind the last image, for who starts inside of one
}

func (v *conv) source(k *Kernel) *source {
	s := &source{v: v, few: v.x.Layout == Plain && v.ic < fewChannels}
	s.copied = v.padded() || v.x.Layout == Plain && !s.few
	s.planes, s.lanes = kernel.Blocks(v.ic), Block
	if s.few {
		s.planes, s.lanes = v.ic, 1
	}
	pd, ph, pw := v.w.frame()
	s.imageLen = room(s.planes, s.lanes, pd, ph, pw)
	s.slacken(k, 0)
	return s
}

// slacken makes room behind the last image.
func (s *source) slacken(k *Kernel, slack int) {
	s.copied, s.slack = s.copied || slack > 0, slack
	if s.copied {
		k.Scratch = min(room(4, s.v.n, s.imageLen)+room(4, slack), unbounded)
	}
}

// longRow is the time, in ns, that a row of a direct convolution may take: an axis alone
// is one row, and may be long. Longer ones are cut into pieces of pieceNanos, which only
// tests change, to see that results do not.
const longRow = 4e6

var pieceNanos = longRow

// columns is the piece of a row of so many outputs that one run of the kernel computes,
// when the whole row takes so many ns.
func columns(width int, nanos float64) int {
	if nanos <= pieceNanos || width == 0 {
		return width
	}
	return min(width, max(Block, int(float64(width)*pieceNanos/nanos)))
}

// rowNanos is about the time for a row of two blocks of outputs of a direct convolution.
func (v *conv) rowNanos() float64 {
	last := len(v.w.out) - 1
	return 2 * float64(v.ic/v.groups) * float64(v.w.taps()) * kernel.PanelCols / 80 * float64(v.w.out[last])
}

// places says where the outputs lie that a run for a piece of a row writes.
func places(w *kernel.Window) kernel.Strides {
	return kernel.Strides{Col: 1, Row: w.OW, Slice: w.OH * w.OW, Plane: max(1, w.OD) * w.OH * w.OW}
}

// bind gives the images and the task that copies them, if they are a copy.
func (s *source) bind(m Memory) ([]float32, []Task) {
	from := Data[float32](m.In[0])
	if !s.copied {
		return from, nil
	}
	v := s.v
	to := Floats(m.Shared(), v.n*s.imageLen+s.slack)
	fromLen := v.x.Len() / v.n
	d, h, w := volume(v.w.in, 1)
	front, top, left := volume(v.w.begin, 0)
	pd, ph, pw := v.w.frame()
	items, slice := v.n*s.planes*pd, ph*pw*s.lanes
	parts, step := divide(items, 0.2*float64(slice))
	return to, []Task{{parts, func(part, _ int) {
		lo, hi := bounds(part, step, items)
		for i := lo; i < hi; i++ {
			n, p, z := i/(s.planes*pd), i/pd%s.planes, i%pd-front
			dst, src := to[i*slice:][:slice], from[n*fromLen:][:fromLen]
			switch {
			case z < 0 || z >= d:
				clear(dst)
			case s.few:
				kernel.PadPlanes(dst, src[(p*d+z)*h*w:], h, w, top, left, ph, pw, 0, 1)
			case v.x.Layout == Plain:
				kernel.ToBlockedSlice(dst, src[(p*Block*d+z)*h*w:], min(Block, v.ic-p*Block), d*h*w, h, w, top, left, ph, pw)
			default:
				kernel.PadBlocked(dst, src[(p*d+z)*h*w*Block:], h, w, top, left, ph, pw, 0, 1)
			}
		}
	}}}
}

// bindDirect: every part is one group of output channels of some rows of an image, or of
// a piece of a row.
func (v *conv) bindDirect(k *Kernel, c *Call) {
	s := v.source(k)
	given := kernel.Conv{IC: v.ic, OC: v.oc, Group: v.groups, Window: v.w.kernels(), Plain: s.few, Scale: v.post.scale}
	given.Dst = places(&given.Window)
	given.Add = given.Dst
	width := given.OW
	given.OW = columns(width, v.rowNanos())
	if given.OW < width {
		s.slacken(k, width*given.StrideW*s.lanes)
	}
	k.Algo, k.Tables = "direct", room(8, v.ic, v.w.taps())
	weights, packs := c.In[1].Const, c.Packs
	how := fmt.Sprintf("direct, plain %v, groups %d", s.few, v.groups)
	outLen := 0
	if v.n > 0 {
		outLen = k.Out[0].Len() / v.n
	}
	k.Bind = func(m Memory) []Task {
		dst := Data[float32](m.Out[0])
		if len(dst) == 0 {
			return nil
		}
		g, last := given, given
		last.OW -= ceilDiv(width, g.OW)*g.OW - width // the last piece of a row
		g.Init()
		if last.OW != g.OW {
			last.Init()
		}
		packed := packs.Get(weights, how, g.PackedLen(), func(dst []float32) { g.Pack(dst, Data[float32](weights)) })
		bias, add := v.biasOf(m), v.post.addend(m)
		src, tasks := s.bind(m)
		groups := g.Groups()
		rowNanos := 2 * float64(g.PackedLen()/groups) * float64(g.OW) / 80
		_, rows := divide(g.Rows(), rowNanos/4) // parts of about 64 µs: each reads its group's weights anew
		across := ceilDiv(width, g.OW)
		pieces := ceilDiv(g.Rows(), rows) * across
		// One group of output channels after the other, so that a worker meets
		// the same weights again in the next image.
		parts, step := divide(groups*v.n*pieces, float64(rows)*rowNanos)
		return append(tasks, Task{parts, func(part, _ int) {
			lo, hi := bounds(part, step, groups*v.n*pieces)
			for i := lo; i < hi; i++ {
				group, n, y, x := i/(v.n*pieces), i/pieces%v.n, i%pieces/across*rows, i%across*g.OW
				run := &g
				if x+g.OW > width {
					run = &last
				}
				var plus []float32
				if add != nil {
					plus = add[n*outLen+x*Block : (n+1)*outLen]
				}
				run.Run(dst[n*outLen+x*Block:(n+1)*outLen], src[n*s.imageLen+x*g.StrideW*s.lanes:][:s.imageLen], packed, bias, plus,
					group, group+1, y, min(g.Rows(), y+rows), v.post.act)
			}
		}})
	}
}

// bindLanewise: every part is some rows of a block of channels, or a piece of a row.
func (v *conv) bindLanewise(k *Kernel, c *Call) {
	s := v.source(k)
	given := kernel.Depthwise{C: v.oc, Width: v.ic / v.groups, Window: v.w.kernels(), Scale: v.post.scale}
	given.Dst = places(&given.Window)
	width := given.OW
	given.OW = columns(width, float64(v.w.taps())*float64(given.Width)*float64(width)/2)
	if given.OW < width {
		s.slacken(k, width*given.StrideW*s.lanes)
	}
	k.Algo, k.Tables = "lanewise", room(40, v.w.taps())
	weights, packs := c.In[1].Const, c.Packs
	outLen := 0
	if v.n > 0 {
		outLen = k.Out[0].Len() / v.n
	}
	k.Bind = func(m Memory) []Task {
		dst := Data[float32](m.Out[0])
		if len(dst) == 0 {
			return nil
		}
		g, last := given, given
		last.OW -= ceilDiv(width, g.OW)*g.OW - width
		g.Init()
		if last.OW != g.OW {
			last.Init()
		}
		packed := packs.Get(weights, fmt.Sprint("lanewise ", g.Width), g.PackedLen(), func(dst []float32) { g.Pack(dst, Data[float32](weights)) })
		bias, add := v.biasOf(m), v.post.addend(m)
		src, tasks := s.bind(m)
		blocks := kernel.Blocks(v.oc)
		rowNanos := float64(g.Taps()*g.Width) * float64(g.OW) / 2
		_, rows := divide(g.Rows(), rowNanos)
		across := ceilDiv(width, g.OW)
		pieces := ceilDiv(g.Rows(), rows) * across
		parts, step := divide(v.n*blocks*pieces, float64(rows)*rowNanos)
		return append(tasks, Task{parts, func(part, _ int) {
			lo, hi := bounds(part, step, v.n*blocks*pieces)
			for i := lo; i < hi; i++ {
				n, b, y, x := i/(blocks*pieces), i/pieces%blocks, i%pieces/across*rows, i%across*g.OW
				run := &g
				if x+g.OW > width {
					run = &last
				}
				var plus []float32
				if add != nil {
					plus = add[n*outLen+x*Block : (n+1)*outLen]
				}
				run.Run(dst[n*outLen+x*Block:(n+1)*outLen], src[n*s.imageLen+x*g.StrideW*s.lanes:][:s.imageLen], packed, bias, plus,
					b, b+1, y, min(g.Rows(), y+rows), v.post.act)
			}
		}})
	}
}

// bindFewOutputs is the direct convolution into a few plain channels: every part
// is some rows of an image.
func (v *conv) bindFewOutputs(k *Kernel, c *Call) {
	s := v.source(k)
	g := &kernel.ConvOut{IC: v.ic, OC: v.oc, Window: v.w.kernels()}
	g.Init()
	k.Algo, k.WorkerScratch, k.Tables = "direct, few outputs", room(4, g.WorkLen()), room(4, v.ic)
	weights, packs := c.In[1].Const, c.Packs
	outLen := 0
	if v.n > 0 {
		outLen = k.Out[0].Len() / v.n
	}
	k.Bind = func(m Memory) []Task {
		dst := Data[float32](m.Out[0])
		if len(dst) == 0 {
			return nil
		}
		packed := packs.Get(weights, "few outputs", g.PackedLen(), func(dst []float32) { g.Pack(dst, Data[float32](weights)) })
		bias := v.biasOf(m)
		src, tasks := s.bind(m)
		// A part starts by multiplying the rows above its first: not too few rows.
		rowNanos := 2 * float64(v.ic*kernel.Panels(v.oc*g.KH*g.KW)*kernel.PanelCols*g.PW*g.StrideH) / 60
		_, rows := divide(g.OH, rowNanos/4)
		rows = max(rows, min(g.OH, 2*g.KH*g.DilH))
		pieces := ceilDiv(g.OH, rows)
		parts, step := divide(v.n*pieces, float64(rows)*rowNanos)
		return append(tasks, Task{parts, func(part, worker int) {
			work := Floats(m.Worker(worker), g.WorkLen())
			lo, hi := bounds(part, step, v.n*pieces)
			for i := lo; i < hi; i++ {
				n, y := i/pieces, i%pieces*rows
				g.Run(dst[n*outLen:][:outLen], src[n*s.imageLen:][:s.imageLen], packed, bias, work,
					y, min(g.OH, y+rows), kernel.ActNone)
			}
		}})
	}
}

// biasOf is the bias, nil when there is none.
func (v *conv) biasOf(m Memory) []float32 {
	if !v.bias {
		return nil
	}
	return Data[float32](m.In[2])
}
