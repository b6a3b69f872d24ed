package ops

import (
	"fmt"

	"sampleonnx/onnxrun/internal/kernel"
)

// A transposed convolution with strides s is s·s convolutions without: the outputs
// at one place of every s read the input by the same taps, those whose distance is
// right, and no other's. Each such phase is a direct convolution that writes every
// s'th pixel of every s'th row.

// phase is one of them along one axis.
type phase struct {
	first, size int // outputs first, first+stride, …: so many
	taps        []int
	dilation    int // of the taps' places in the input
	from        int // place of the first output's first tap in the input; may be negative
}

// mostPhases bounds the phases of all axes, mostTaps what is looked through for those
// of one.
const mostPhases, mostTaps = 256, 1 << 20

// phases is what an axis divides into; nil when an output reads nothing at all, or when
// that is much to find out.
func (w *window) phases(axis int) []phase {
	s, d, k := w.stride[axis], w.dilation[axis], w.kernel[axis]
	if n := min(s, w.out[axis]); n > mostPhases || n*k > mostTaps {
		return nil
	}
	var list []phase
	for first := range min(s, w.out[axis]) {
		at := first + w.begin[axis] // = s·input + d·tap for every tap that is read
		p := phase{first: first, size: (w.out[axis]-first-1)/s + 1, dilation: 1}
		// From the last tap to the first the places in the input rise.
		places := make([]int, 0, k)
		for t := k - 1; t >= 0; t-- {
			if (at-t*d)%s == 0 {
				p.taps, places = append(p.taps, t), append(places, (at-t*d)/s)
			}
		}
		if len(places) == 0 {
			return nil
		}
		p.from = places[0]
		if len(places) > 1 {
			p.dilation = places[1] - places[0]
		}
		list = append(list, p)
	}
	return list
}

// margin is how far the phases of an axis read before the input and past it.
func (w *window) margin(axis int, list []phase) (before, after int) {
	for _, p := range list {
		before = max(before, -p.from)
		after = max(after, p.from+(len(p.taps)-1)*p.dilation+p.size-w.in[axis])
	}
	return before, after
}

// phased is a transposed convolution by phases.
type phased struct {
	conv // its window has what the phases read beside the input as padding
	axes [3][]phase
}

// newPhased is v by phases; nil where that does not do.
func newPhased(v *conv) *phased {
	axes := len(v.w.in)
	if axes > 3 || !v.constant || v.ic < fewChannels || v.oc < fewChannels || !IsFloat32(v.x.DType) || elems(v.w.out) == 0 || elems(v.w.in) == 0 {
		return nil
	}
	p := &phased{conv: *v}
	w := &window{in: v.w.in, kernel: v.w.kernel, stride: v.w.stride, dilation: v.w.dilation, out: v.w.out, begin: make([]int, axes), end: make([]int, axes)}
	count := 1
	for i := range p.axes {
		p.axes[i] = []phase{{size: 1, taps: []int{0}, dilation: 1}}
		if i < 3-axes {
			continue
		}
		axis := i - (3 - axes)
		list := v.w.phases(axis)
		if list == nil {
			return nil
		}
		w.begin[axis], w.end[axis] = v.w.margin(axis, list)
		p.axes[i] = list
		count *= len(list)
	}
	p.w = w
	// Far-spread taps make a frame that is mostly padding.
	if d, h, wide := p.w.frame(); count > mostPhases || room(d, h, wide) > 1<<12+4*(elems(w.in)+elems(w.out)) {
		return nil
	}
	return p
}

// taken is the weights of a phase, [oc][ic/groups] and its taps, of
// [ic][oc/groups] and all.
func (v *phased) taken(weights []float32, at [3]phase) []float32 {
	_, kh, kw := volume(v.w.kernel, 1)
	taps, icg, ocg := v.w.taps(), v.ic/v.groups, v.oc/v.groups
	dst := make([]float32, 0, v.oc*icg*len(at[0].taps)*len(at[1].taps)*len(at[2].taps))
	for o := range v.oc {
		for i := range icg {
			w := weights[((o/ocg*icg+i)*ocg+o%ocg)*taps:]
			for _, z := range at[0].taps {
				for _, y := range at[1].taps {
					for _, x := range at[2].taps {
						dst = append(dst, w[(z*kh+y)*kw+x])
					}
				}
			}
		}
	}
	return dst
}

// convTransposeLayouts asks for a blocked input where phases read one, unless it is
// plain and has to be copied into a padded frame anyway.
func convTransposeLayouts(c *Call) []Layout {
	l := make([]Layout, len(c.In))
	v, err := newConvTranspose(c)
	if err != nil {
		return l
	}
	if p := newPhased(v); p != nil && (v.x.Layout == Blocked || !p.padded()) {
		l[0] = Blocked
	}
	return l
}

// bind: every part is one group of output channels of some rows of a phase of an
// image.
func (v *phased) bind(k *Kernel, c *Call) {
	s := v.source(k)
	type job struct {
		g        kernel.Conv // of a piece of a row
		width    int         // of a row
		from, to int         // offset in the padded input, and in the output
		at       [3]phase
	}
	var jobs []job
	slack := 0
	pd, ph, pw := v.w.frame()
	front, top, left := volume(v.w.begin, 0)
	od, oh, ow := volume(v.w.out, 1)
	strideD, strideH, strideW := volume(v.w.stride, 1)
	for _, z := range v.axes[0] {
		for _, y := range v.axes[1] {
			for _, x := range v.axes[2] {
				from := (((z.from+front)*ph+y.from+top)*pw + x.from + left) * s.lanes
				width := columns(x.size, 2*float64(v.ic/v.groups*len(z.taps)*len(y.taps)*len(x.taps))*kernel.PanelCols/80*float64(x.size))
				slack = max(slack, from)
				if width < x.size {
					slack = max(slack, from+x.size*s.lanes)
				}
				jobs = append(jobs, job{width: x.size, from: from, to: ((z.first*oh+y.first)*ow + x.first) * Block, at: [3]phase{z, y, x},
					g: kernel.Conv{IC: v.ic, OC: v.oc, Group: v.groups, Window: kernel.Window{PD: pd, PH: ph, PW: pw, OD: z.size, OH: y.size, OW: width,
						KD: len(z.taps), KH: len(y.taps), KW: len(x.taps), DilD: z.dilation, DilH: y.dilation, DilW: x.dilation},
						Dst: kernel.Strides{Col: strideW, Row: strideH * ow, Slice: strideD * oh * ow, Plane: od * oh * ow}}})
			}
		}
	}
	// A phase that starts inside the frame looks past its end, without reading there.
	s.slacken(k, slack)
	k.Tables = room(8, v.ic, v.w.taps())
	k.Algo = "direct, phases"
	weights, packs := c.In[1].Const, c.Packs
	outLen := k.Out[0].Len() / max(1, v.n)
	k.Bind = func(m Memory) []Task {
		dst := Data[float32](m.Out[0])
		if len(dst) == 0 {
			return nil
		}
		src, tasks := s.bind(m)
		bias := v.biasOf(m)
		runs := make([][2]*kernel.Conv, len(jobs)) // of a piece of a row, and of the last piece
		packed := make([][]float32, len(jobs))
		most, across, deepest := 0, 0, 0.
		for i, j := range jobs {
			g, last := j.g, j.g
			n := ceilDiv(j.width, g.OW)
			last.OW = j.width - (n-1)*g.OW
			g.Init()
			if last.OW != g.OW {
				last.Init()
			}
			runs[i] = [2]*kernel.Conv{&g, &last}
			most, across, deepest = max(most, g.Rows()), max(across, n), max(deepest, float64(g.PackedLen())*float64(g.OW))
			packed[i] = packs.Get(weights, fmt.Sprint("phase ", v.groups, j.at[0].taps, j.at[1].taps, j.at[2].taps), g.PackedLen(), func(dst []float32) {
				g.Pack(dst, v.taken(Data[float32](weights), j.at))
			})
		}
		groups := runs[0][0].Groups()
		rowNanos := 2 * deepest / float64(groups) / 80
		_, rows := divide(most, rowNanos/4)
		pieces := ceilDiv(most, rows) * across
		items := len(jobs) * groups * v.n * pieces
		parts, step := divide(items, float64(rows)*rowNanos)
		return append(tasks, Task{parts, func(part, _ int) {
			lo, hi := bounds(part, step, items)
			for i := lo; i < hi; i++ {
				at, group, n, y := i/(groups*v.n*pieces), i/(v.n*pieces)%groups, i/pieces%v.n, i%pieces/across*rows
				g, j := runs[at][0], jobs[at]
				x := i % across * g.OW
				if y >= g.Rows() || x >= j.width {
					continue
				}
				if x+g.OW > j.width {
					g = runs[at][1]
				}
				g.Run(dst[n*outLen+j.to+x*strideW*Block:(n+1)*outLen], src[n*s.imageLen+j.from+x*s.lanes:], packed[at], bias, nil, group, group+1, y, min(g.Rows(), y+rows), kernel.ActNone)
			}
		}})
	}
}
