package ops

import (
	"math"
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
)

// A bilinear is the four pixels around a place and their weights.
type bilinear struct {
	at     [4]int
	weight [4]float64
}

// lowerRoiAlign averages, or takes the maximum of, samples in the cells of a grid
// over each region of interest.
func lowerRoiAlign(c *Call) (*Kernel, error) {
	if err := c.want(0, isFloat, "a float type"); err != nil {
		return nil, err
	}
	x, rois := c.In[0].Type, c.In[1].Type
	if len(x.Shape) != 4 || len(rois.Shape) != 2 || rois.Shape[1] != 4 || rois.DType != x.DType {
		return nil, c.Invalid("takes regions %v of %v, want [n, 4] of 4 axes", rois, x)
	}
	if c.In[2].DType != onnx.Int64 || !slices.Equal(c.In[2].Shape, rois.Shape[:1]) {
		return nil, c.Invalid("the images of the regions are %v, want %d of int64", c.In[2].Type, rois.Shape[0])
	}
	r := &roiAlign{
		height: x.Shape[2], width: x.Shape[3], channels: x.Shape[1],
		rows: c.Int("output_height", 1), cols: c.Int("output_width", 1),
		sampling: c.Int("sampling_ratio", 0), scale: float64(c.Float("spatial_scale", 1)),
	}
	switch mode := c.Str("mode", "avg"); mode {
	case "avg":
	case "max":
		r.maximum = true
	default:
		return nil, c.Invalid("mode is %q, want avg or max", mode)
	}
	def := "half_pixel"
	if c.Version() < 16 {
		def = "output_half_pixel"
	}
	switch mode := c.Str("coordinate_transformation_mode", def); mode {
	case "half_pixel":
		r.half = true
	case "output_half_pixel":
	default:
		return nil, c.Invalid("coordinate_transformation_mode is %q, want half_pixel or output_half_pixel", mode)
	}
	if r.rows < 1 || r.cols < 1 || r.sampling < 0 || r.sampling > 1<<10 || r.height == 0 || r.width == 0 {
		return nil, c.Invalid("samples %d times in %d×%d cells of %v, want 0 to 1024 times, 1×1 cells or more and an image", r.sampling, r.rows, r.cols, x)
	}
	out := Type{DType: x.DType, Shape: []int{rois.Shape[0], r.channels, r.rows, r.cols}}
	if err := c.checkSize(out); err != nil {
		return nil, err
	}
	images := indexer{c.Node.Where(), x.Shape[0], r.channels * r.height * r.width}
	return &Kernel{Out: []Type{out}, FLOPs: 32 * float64(out.Elems()), Bind: func(m Memory) []Task {
		if x.DType == onnx.Double {
			return alignRois[float64](m, r, &images)
		}
		return alignRois[float32](m, r, &images)
	}}, nil
}

type roiAlign struct {
	height, width, channels int
	rows, cols, sampling    int
	scale                   float64
	maximum, half           bool
}

// sample finds the pixels around a place; none outside the image.
func (r *roiAlign) sample(y, x float64) (b bilinear) {
	if !(y >= -1 && y <= float64(r.height) && x >= -1 && x <= float64(r.width)) {
		return b
	}
	y, x = max(y, 0), max(x, 0)
	y0, x0 := min(int(y), r.height-1), min(int(x), r.width-1)
	y1, x1 := min(y0+1, r.height-1), min(x0+1, r.width-1)
	ly, lx := y-float64(y0), x-float64(x0)
	if y1 == y0 {
		ly = 0
	}
	if x1 == x0 {
		lx = 0
	}
	b.at = [4]int{y0*r.width + x0, y0*r.width + x1, y1*r.width + x0, y1*r.width + x1}
	b.weight = [4]float64{(1 - ly) * (1 - lx), (1 - ly) * lx, ly * (1 - lx), ly * lx}
	return b
}

func alignRois[T float](m Memory, r *roiAlign, images *indexer) []Task {
	dst, src, rois, of := Data[T](m.Out[0]), Data[T](m.In[0]), Data[T](m.In[1]), Data[int64](m.In[2])
	cells := r.rows * r.cols
	plane := r.height * r.width
	return eachRow(len(of)*cells, 16*r.channels*max(4, r.sampling*r.sampling), func(i, _ int) {
		n, row, col := i/cells, i%cells/r.cols, i%r.cols
		image := src[images.offset(of[n]):]
		offset := 0.0
		if r.half {
			offset = 0.5
		}
		x0, y0 := float64(rois[4*n])*r.scale-offset, float64(rois[4*n+1])*r.scale-offset
		w, h := float64(rois[4*n+2])*r.scale-offset-x0, float64(rois[4*n+3])*r.scale-offset-y0
		if !r.half {
			w, h = max(w, 1), max(h, 1)
		}
		cw, ch := w/float64(r.cols), h/float64(r.rows)
		// No more samples than are of use, whatever the region says.
		nx, ny := r.sampling, r.sampling
		if r.sampling == 0 {
			nx, ny = samples(cw, 2*r.width+2), samples(ch, 2*r.height+2)
		}
		pace := m.pace()
		for c := range r.channels {
			p := image[c*plane:][:plane]
			sum, first := 0.0, true
			for sy := range ny {
				if pace.over(16 * (1 + nx)) {
					return
				}
				for sx := range nx {
					b := r.sample(y0+float64(row)*ch+(float64(sy)+0.5)*ch/float64(ny),
						x0+float64(col)*cw+(float64(sx)+0.5)*cw/float64(nx))
					for k, at := range b.at {
						v := b.weight[k] * float64(p[at])
						switch {
						case !r.maximum:
							sum += v
						case first:
							sum, first = v, false
						default:
							sum = max(sum, v)
						}
					}
				}
			}
			if !r.maximum {
				sum /= float64(max(nx*ny, 1))
			}
			dst[(n*r.channels+c)*cells+i%cells] = T(sum)
		}
	})
}

// samples is how many there are across a cell so wide, at most; none of a NaN.
func samples(width float64, most int) int {
	if !(width > 0) {
		return 0
	}
	return int(min(math.Ceil(width), float64(most)))
}

// lowerDeformConv is a convolution whose taps are each moved by an offset, and
// weighted by a mask; between pixels it interpolates, outside there is zero.
func lowerDeformConv(c *Call) (*Kernel, error) {
	if err := c.want(0, isFloat, "a float type"); err != nil {
		return nil, err
	}
	x, w, off := c.In[0].Type, c.In[1].Type, c.In[2].Type
	for i := range c.In {
		if c.Has(i) && c.In[i].DType != x.DType {
			return nil, c.Invalid("input %d has elements of %v, want %v", i, c.In[i].DType, x.DType)
		}
	}
	if len(x.Shape) != 4 {
		return nil, c.Unsupported("convolves %v, want 2 spatial axes", x)
	}
	groups, offGroups := c.Int("group", 1), c.Int("offset_group", 1)
	if len(w.Shape) != 4 || groups < 1 || offGroups < 1 || x.Shape[1]%offGroups != 0 ||
		room(w.Shape[1], groups) != x.Shape[1] || w.Shape[0]%groups != 0 {
		return nil, c.Invalid("convolves %v with %v in %d groups and %d groups of offsets, want two axes and groups that divide the channels", x, w, groups, offGroups)
	}
	if ks := c.Ints("kernel_shape"); ks != nil && !slices.Equal(ks, w.Shape[2:]) {
		return nil, c.Invalid("kernel_shape is %v, the weights are %v", ks, w.Shape)
	}
	win, err := newWindow(c, x.Shape[2:], w.Shape[2:], false)
	if err != nil {
		return nil, err
	}
	if err := win.check(c, x.Shape[0], x.Shape[1], w.Shape[0]); err != nil {
		return nil, err
	}
	taps := win.taps()
	if want := slices.Concat([]int{x.Shape[0], room(offGroups, taps, 2)}, win.out); !slices.Equal(off.Shape, want) {
		return nil, c.Invalid("the offsets have shape %v, want %v", off.Shape, want)
	}
	if want := slices.Concat([]int{x.Shape[0], room(offGroups, taps)}, win.out); c.Has(4) && !slices.Equal(c.In[4].Shape, want) {
		return nil, c.Invalid("the mask has shape %v, want %v", c.In[4].Shape, want)
	}
	if c.Has(3) && !slices.Equal(c.In[3].Shape, w.Shape[:1]) {
		return nil, c.Invalid("the bias has shape %v, want %v", c.In[3].Shape, w.Shape[:1])
	}
	out := Type{DType: x.DType, Shape: slices.Concat([]int{x.Shape[0], w.Shape[0]}, win.out)}
	d := &deform{win: win, channels: x.Shape[1], outs: w.Shape[0], groups: groups, offGroups: offGroups}
	return &Kernel{Out: []Type{out}, FLOPs: 10 * float64(out.Elems()) * float64(taps*w.Shape[1]), Bind: func(m Memory) []Task {
		if x.DType == onnx.Double {
			return deformConv[float64](m, d)
		}
		return deformConv[float32](m, d)
	}}, nil
}

type deform struct {
	win               *window
	channels, outs    int
	groups, offGroups int
}

func deformConv[T float](m Memory, d *deform) []Task {
	in := func(i int) []T {
		if i < len(m.In) && m.In[i] != nil {
			return Data[T](m.In[i])
		}
		return nil
	}
	dst, src, weights, offsets, bias, mask := Data[T](m.Out[0]), in(0), in(1), in(2), in(3), in(4)
	w := d.win
	height, width := w.in[0], w.in[1]
	taps, places := w.taps(), elems(w.out)
	depth, perGroup, perOffset := d.channels/d.groups, d.outs/d.groups, d.channels/d.offGroups
	pixel := func(plane []T, y, x float64) T {
		if !(y >= 0 && x >= 0 && y < float64(height) && x < float64(width)) { // NaN is nowhere
			return 0
		}
		return plane[int(y)*width+int(x)]
	}
	return eachRow(len(dst), 10*taps*depth, func(i, _ int) {
		image, oc, o := i/places/d.outs, i/places%d.outs, i%places
		sum := 0.0
		if bias != nil {
			sum = float64(bias[oc])
		}
		p := m.pace()
		for k := range depth {
			ic := oc/perGroup*depth + k
			plane := src[(image*d.channels+ic)*height*width:][:height*width]
			g := image*d.offGroups + ic/perOffset
			for t := range taps {
				if p.over(16) {
					return
				}
				at := offsets[(g*taps+t)*2*places+o:]
				y := float64(w.at(0, o/w.out[1], t/w.kernel[1])) + float64(at[0])
				x := float64(w.at(1, o%w.out[1], t%w.kernel[1])) + float64(at[places])
				y0, x0 := math.Floor(y), math.Floor(x)
				ly, lx := y-y0, x-x0
				v := (1-ly)*((1-lx)*float64(pixel(plane, y0, x0))+lx*float64(pixel(plane, y0, x0+1))) +
					ly*((1-lx)*float64(pixel(plane, y0+1, x0))+lx*float64(pixel(plane, y0+1, x0+1)))
				if math.IsInf(y, 0) || math.IsInf(x, 0) { // outside
					v = 0
				}
				v *= float64(weights[(oc*depth+k)*taps+t])
				if mask != nil {
					v *= float64(mask[(g*taps+t)*places+o])
				}
				sum += v
			}
		}
		dst[i] = T(sum)
	})
}
