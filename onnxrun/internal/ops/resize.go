package ops

import (
	"math"

	"sampleonnx/onnxrun/internal/kernel"
	"sampleonnx/onnxrun/internal/onnx"
)

// resizeLayouts: a blocked input stays blocked when only spatial axes change,
// for to every such axis the 16 channels of a block are just more of what lies
// beyond it.
func resizeLayouts(c *Call) []Layout {
	l := make([]Layout, len(c.In))
	if c.In[0].Layout != Blocked {
		return l
	}
	r, err := newResize(c)
	if err == nil && r.blocks() {
		l[0] = Blocked
	}
	return l
}

// lowerResize is Resize from opset 10 on: 11 brought coordinate
// transformations and sizes, 18 axes, antialias and aspect ratios, 19
// half_pixel_symmetric.
func lowerResize(c *Call) (*Kernel, error) { return lowerResized(c) }

// lowerUpsample is Resize before it had that name: scales, nearest or linear.
func lowerUpsample(c *Call) (*Kernel, error) { return lowerResized(c) }

func lowerResized(c *Call) (*Kernel, error) {
	r, err := newResize(c)
	if err != nil {
		return nil, err
	}
	x := c.In[0].Type
	if x.Layout == Blocked && !r.blocks() {
		return nil, c.Invalid("a blocked input to a resize of images or channels")
	}
	out := x
	out.Shape = r.out
	if err := c.checkSize(out); err != nil {
		return nil, err
	}
	k := &Kernel{Out: []Type{out}, Algo: r.mode}
	if r.mode == "nearest" {
		r.bindNearest(k, x)
		return k, nil
	}
	switch {
	case IsFloat32(x.DType):
		bindSeparable[float32](k, r, x)
	case x.DType == onnx.Double:
		bindSeparable[float64](k, r, x)
	default:
		return nil, c.Unsupported("mode %s of %v", r.mode, x.DType)
	}
	return k, nil
}

// resize is what the attributes and inputs of a Resize come to.
type resize struct {
	in, out []int
	scale   []float64 // per axis
	fixed   []bool    // axes that stay as they are
	roi     [][2]float64
	mode    string // nearest, linear, cubic
	coord   string
	nearest string // how nearest rounds; "" is the unwritten rule before opset 11

	cubicA         float64
	excludeOutside bool
	antialias      bool
	extrapolation  float32
	sized          bool // by sizes, not by scales
}

// blocks: images and channels stay, and no element comes from outside.
func (r *resize) blocks() bool {
	return len(r.in) >= 3 && r.fixed[0] && r.fixed[1] && r.coord != "tf_crop_and_resize"
}

func newResize(c *Call) (*resize, error) {
	x := c.In[0].Type
	rank := len(x.Shape)
	r := &resize{
		in: x.Shape, out: append([]int(nil), x.Shape...),
		scale: make([]float64, rank), fixed: make([]bool, rank), roi: make([][2]float64, rank),
		mode:           c.Str("mode", "nearest"),
		coord:          c.Str("coordinate_transformation_mode", "half_pixel"),
		nearest:        c.Str("nearest_mode", "round_prefer_floor"),
		cubicA:         float64(c.Float("cubic_coeff_a", -0.75)),
		excludeOutside: c.Int("exclude_outside", 0) != 0,
		antialias:      c.Int("antialias", 0) != 0,
		extrapolation:  c.Float("extrapolation_value", 0),
	}
	for i := range rank {
		r.scale[i], r.fixed[i], r.roi[i] = 1, true, [2]float64{0, 1}
	}

	axes := make([]int, rank)
	for i := range axes {
		axes[i] = i
	}
	if named := c.Ints("axes"); named != nil {
		axes = axes[:0]
		seen := make([]bool, rank)
		for _, v := range named {
			a, err := c.Axis(v, rank)
			if err != nil {
				return nil, err
			}
			if seen[a] {
				return nil, c.Invalid("axes is %v, which names one axis twice", named)
			}
			seen[a] = true
			axes = append(axes, a)
		}
	}

	var scales []float64
	var sizes []int
	var err error
	switch {
	case c.Node.Op == "Upsample" && c.Version() < 9:
		for _, v := range c.Node.Attrs["scales"].Floats {
			scales = append(scales, float64(v))
		}
		fallthrough
	case c.Version() < 11: // Upsample, Resize-10
		r.coord, r.nearest = "asymmetric", ""
		if c.Has(1) && scales == nil {
			scales, err = constFloats(c, 1)
		}
	default:
		if scales, err = constFloats(c, 2); err != nil {
			return nil, err
		}
		if c.Has(3) && (c.In[3].Const == nil || c.In[3].Elems() > 0) {
			sizes, err = c.ConstInts(3)
		}
	}
	if err != nil {
		return nil, err
	}
	switch r.mode {
	case "nearest", "linear":
	case "bilinear", "trilinear":
		r.mode = "linear" // Upsample as older exporters wrote it
	case "cubic":
		if c.Version() < 11 {
			return nil, c.Invalid("mode cubic exists from opset 11")
		}
	default:
		return nil, c.Invalid("mode %q is not known", r.mode)
	}
	if r.antialias && r.mode == "nearest" {
		return nil, c.Invalid("antialias does not go with mode nearest")
	}
	switch r.nearest {
	case "", "round_prefer_floor", "round_prefer_ceil", "floor", "ceil":
	default:
		return nil, c.Invalid("nearest_mode %q is not known", r.nearest)
	}
	switch r.coord {
	case "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_half_pixel_for_nn":
	case "tf_crop_and_resize":
		roi, err := constFloats(c, 1)
		if err != nil {
			return nil, err
		}
		if len(roi) != 2*len(axes) {
			return nil, c.Invalid("roi has %d elements, want %d", len(roi), 2*len(axes))
		}
		for i, a := range axes {
			r.roi[a] = [2]float64{roi[i], roi[len(axes)+i]}
		}
	default:
		return nil, c.Invalid("coordinate_transformation_mode %q is not known", r.coord)
	}

	switch {
	case (len(scales) > 0) == (len(sizes) > 0) && rank > 0 && len(axes) > 0:
		return nil, c.Invalid("%d scales and %d sizes are given, want one of them", len(scales), len(sizes))
	case len(sizes) > 0:
		if len(sizes) != len(axes) {
			return nil, c.Invalid("sizes has %d elements, want %d", len(sizes), len(axes))
		}
		for i, a := range axes {
			if sizes[i] < 0 || sizes[i] > maxElems || r.in[a] == 0 && sizes[i] > 0 {
				return nil, c.Invalid("sizes is %v for an input of %v, want numbers from 0 to %d", sizes, r.in, maxElems)
			}
			r.out[a] = sizes[i]
			if r.in[a] > 0 {
				r.scale[a] = float64(sizes[i]) / float64(r.in[a])
			}
		}
		r.sized = true
		if err := r.keepAspect(c, axes); err != nil {
			return nil, err
		}
	default:
		if len(scales) != len(axes) {
			return nil, c.Invalid("scales has %d elements, want %d", len(scales), len(axes))
		}
		for i, a := range axes {
			// In float32: 0.7 of 10 is 7, as in every implementation, though
			// the float32 nearest to 0.7 is less than 0.7.
			size := math.Floor(float64(float32(scales[i]) * float32(r.in[a])))
			if !(scales[i] > 0 && size <= maxElems) {
				return nil, c.Invalid("scales is %v, want positive numbers, and an output of at most %d", scales, maxElems)
			}
			r.out[a], r.scale[a] = int(size), scales[i]
		}
	}
	for _, a := range axes {
		r.fixed[a] = r.out[a] == r.in[a] && r.scale[a] == 1 && r.roi[a] == [2]float64{0, 1}
	}
	return r, nil
}

// keepAspect makes the scales of all axes equal: the least or the greatest that
// the sizes ask for.
func (r *resize) keepAspect(c *Call, axes []int) error {
	policy := c.Str("keep_aspect_ratio_policy", "stretch")
	var pick func(a, b float64) float64
	switch policy {
	case "stretch":
		return nil
	case "not_larger":
		pick = math.Min
	case "not_smaller":
		pick = math.Max
	default:
		return c.Invalid("keep_aspect_ratio_policy %q is not known", policy)
	}
	scale := r.scale[axes[0]]
	for _, a := range axes {
		scale = pick(scale, r.scale[a])
	}
	for _, a := range axes {
		size := math.Floor(scale*float64(r.in[a]) + 0.5)
		if !(size <= maxElems) {
			return c.Invalid("an output axis of %v, want at most %d", size, maxElems)
		}
		r.scale[a], r.out[a] = scale, int(size)
	}
	return nil
}

// constFloats is a float input known at compile time; nil when it is left out
// or empty.
func constFloats(c *Call, i int) ([]float64, error) {
	if !c.Has(i) || c.In[i].Elems() == 0 {
		return nil, nil
	}
	if err := c.wantList(i); err != nil {
		return nil, err
	}
	t := c.In[i].Const
	out := make([]float64, t.Elems())
	switch {
	case IsFloat32(t.DType):
		for i, v := range Data[float32](t) {
			out[i] = float64(v)
		}
	case t.DType == onnx.Double:
		copy(out, Data[float64](t))
	default:
		return nil, c.Invalid("input %d is %v, want floats", i, t.Type)
	}
	return out, nil
}

// source is the input coordinate of output coordinate o on an axis. The
// standard's reference computes it in float64; outside says that it lies beyond
// the input, which matters to tf_crop_and_resize alone.
func (r *resize) source(axis, o int) (x float64, outside bool) {
	in, out := float64(r.in[axis]), float64(r.out[axis])
	scale, y := r.scale[axis], float64(o)
	switch r.coord {
	case "half_pixel":
		return (y+0.5)/scale - 0.5, false
	case "half_pixel_symmetric":
		// scale·in is the length asked for; the output has the whole part of it.
		return in/2*(1-out/(scale*in)) + (y+0.5)/scale - 0.5, false
	case "pytorch_half_pixel":
		if out > 1 {
			return (y+0.5)/scale - 0.5, false
		}
		return 0, false
	case "tf_half_pixel_for_nn":
		return (y + 0.5) / scale, false
	case "align_corners":
		// The standard's reference and its tests take the length that the scale
		// asks for, before it is cut to a whole number. PyTorch and onnxruntime
		// take the length the output has: the same where nothing is cut.
		length := scale * in
		if r.sized {
			length = out
		}
		if out == 1 || length == 1 {
			return 0, false
		}
		return y * (in - 1) / (length - 1), false
	case "asymmetric":
		return y / scale, false
	}
	start, end := r.roi[axis][0], r.roi[axis][1]
	if out > 1 {
		x = y*(end-start)*(in-1)/(out-1) + start*(in-1)
	} else {
		x = 0.5 * (start + end) * (in - 1)
	}
	return x, x < 0 || x > in-1
}

// bindNearest copies, axis by axis.
func (r *resize) bindNearest(k *Kernel, x Type) {
	m := &axisMap{in: x.Physical(), out: k.Out[0].Physical()}
	m.from = make([]func(int) int, len(m.in))
	for a := range r.in {
		if !r.fixed[a] {
			m.from[a] = func(o int) int { return r.nearestTo(a, o) }
		}
	}
	fill := New(Type{DType: x.DType})
	switch {
	case IsFloat32(x.DType):
		Data[float32](fill)[0] = r.extrapolation
	case x.DType == onnx.Double:
		Data[float64](fill)[0] = float64(r.extrapolation)
	}
	k.Tables = m.tables()
	k.Bind = func(mem Memory) []Task { return m.tasks(x.DType, &mem, fill) }
}

func (r *resize) nearestTo(axis, o int) int {
	x, outside := r.source(axis, o)
	if outside {
		return -1
	}
	switch r.nearest {
	case "round_prefer_floor":
		x = math.Ceil(x - 0.5)
	case "round_prefer_ceil":
		x = math.Floor(x + 0.5)
	case "floor":
		x = math.Floor(x)
	case "ceil":
		x = math.Ceil(x)
	default:
		if r.scale[axis] < 1 {
			x = math.Ceil(x)
		} else {
			x = math.Floor(x)
		}
	}
	if !(x > 0) { // NaN is anywhere
		return 0
	}
	return int(min(x, float64(r.in[axis]-1)))
}

// filter is the weights of one axis: output o is the sum over t of
// weight[o·taps+t] times input at[o·taps+t].
type filter struct {
	taps    int
	at      []int32
	weight  []float64
	outside []bool // nil when none is
}

// filterBytes is the memory of a filter of so many outputs and taps, with the weights
// in the type of the elements as well.
func filterBytes(out, taps int) int { return room(4+8+8, out, taps) + room(1, out) + room(16, taps) }

// taps is how many weights each output of an axis has.
func (r *resize) taps(axis int) int {
	if r.out[axis] == 0 {
		return 0
	}
	first, end := r.reach(r.scale[axis])
	return int(min(end-first, maxElems))
}

// filter makes the filter of an axis, as far as p lets it go on: nil when that is not
// to the end.
func (r *resize) filter(axis int, p *pace) *filter {
	n, out, taps := r.in[axis], r.out[axis], r.taps(axis)
	f := &filter{taps: taps, at: make([]int32, 0, out*taps), weight: make([]float64, 0, out*taps)}
	w := make([]float64, 0, taps)
	for o := range out {
		if p.over(32 * taps) {
			return nil
		}
		x, outside := r.source(axis, o)
		if outside && r.coord == "tf_crop_and_resize" {
			if f.outside == nil {
				f.outside = make([]bool, out)
			}
			f.outside[o] = true
			x = 0
		}
		// The pixel to the left, never x itself: the ratio is in (0, 1].
		base := math.Ceil(x) - 1
		var first int
		w, first = r.weights(w[:0], x-base, r.scale[axis])
		left := 0 // as far outside as matters
		if base == base {
			left = int(min(max(base, -4*maxElems), 4*maxElems))
		}
		sum := 0.0
		for t := range w {
			i := left + first + t
			if i < 0 || i >= n {
				if r.excludeOutside {
					w[t] = 0
				}
				i = min(max(i, 0), n-1) // the edge goes on outside
			}
			f.at = append(f.at, int32(i))
			sum += w[t]
		}
		for _, v := range w {
			if r.excludeOutside && sum != 0 {
				v /= sum
			}
			f.weight = append(f.weight, v)
		}
	}
	return f
}

// weights appends the weights of the pixels from first on, counted from the
// pixel to the left, for a point ratio to the right of that pixel.
func (r *resize) weights(w []float64, ratio, scale float64) ([]float64, int) {
	a := r.cubicA
	from, end := r.reach(scale)
	first := int(from)
	if !r.antialias {
		if r.mode == "linear" {
			return append(w, 1-ratio, ratio), first
		}
		for i := first; i < int(end); i++ {
			w = append(w, cubic(float64(i)-ratio, a))
		}
		return w, first
	}
	scale = min(scale, 1)
	sum := 0.0
	for i := first; i < int(end); i++ {
		x := (float64(i) - ratio) * scale
		v := max(0, 1-math.Abs(x))
		if r.mode == "cubic" {
			v = cubic(x, a)
		}
		w = append(w, v)
		sum += v
	}
	for i := range w {
		w[i] /= sum
	}
	return w, first
}

// reach is the pixels that have a weight, counted from the pixel to the left.
func (r *resize) reach(scale float64) (first, end float64) {
	radius := 1.0
	if r.mode == "cubic" {
		radius = 2
	}
	if r.antialias { // a filter widened by what the image shrinks
		radius /= min(scale, 1)
	}
	first = math.Floor(-radius) + 1
	return first, 2 - first
}

// cubic is Keys' convolution kernel (1981, equation 4).
func cubic(x, a float64) float64 {
	x = math.Abs(x)
	switch {
	case x <= 1:
		return ((a+2)*x-(a+3))*x*x + 1
	case x < 2:
		return ((x-5)*x+8)*a*x - 4*a
	}
	return 0
}

// bindSeparable filters one axis after the other, the first axis first, through
// scratch memory.
func bindSeparable[T float](k *Kernel, r *resize, x Type) {
	shape := append([]int(nil), x.Physical()...)
	type pass struct {
		axis, outer, inner, in, out int
	}
	var passes []pass
	most := 0
	for a := range r.in {
		if r.fixed[a] {
			continue
		}
		p := pass{a, elems(shape[:a]), elems(shape[a+1:]), r.in[a], r.out[a]}
		shape[a] = r.out[a]
		passes = append(passes, p)
		most = max(most, elems(shape))
	}
	if len(passes) == 0 {
		r.bindNearest(k, x)
		return
	}
	size := align64(room(most, storageSize(x.DType)))
	k.Scratch = room(size, min(2, len(passes)-1))
	for _, p := range passes {
		k.Tables = min(k.Tables+filterBytes(p.out, r.taps(p.axis)), unbounded)
	}
	k.Bind = func(m Memory) []Task {
		if m.Out[0].Elems() == 0 {
			return nil
		}
		var tasks []Task
		pace := m.pace()
		src := m.In[0].mem
		outside := make([][]bool, len(r.in))
		some := false
		for i, p := range passes {
			dst := m.Out[0].mem
			if i < len(passes)-1 {
				dst = m.Shared()[i%2*size:][:size]
			}
			f := r.filter(p.axis, &pace)
			if f == nil {
				return nil
			}
			if f.outside != nil {
				outside[p.axis], some = f.outside, true
			}
			tasks = append(tasks, filterTask(f, scratchOf[T](dst, p.outer*p.out*p.inner), scratchOf[T](src, p.outer*p.in*p.inner), p.outer, p.in, p.out, p.inner, m.Stopped))
			src = dst
		}
		if some {
			tasks = append(tasks, outsideTask(Data[T](m.Out[0]), r.out, outside, T(r.extrapolation)))
		}
		return tasks
	}
	for _, p := range passes {
		k.FLOPs += 4 * float64(p.outer*p.out*p.inner)
	}
}

// filterTask filters the middle axis of [outer, in, inner].
func filterTask[T float](f *filter, dst, src []T, outer, in, out, inner int, stopped func() bool) Task {
	weight := make([]T, len(f.weight))
	for i, w := range f.weight {
		weight[i] = T(w)
	}
	taps := f.taps
	if inner == 1 {
		parts, step := divide(outer, 1.5*float64(out*taps))
		return Task{parts, func(part, _ int) {
			p := pace{stopped, paceWork}
			lo, hi := bounds(part, step, outer)
			for i := lo; i < hi; i++ {
				x, y := src[i*in:][:in], dst[i*out:][:out]
				if taps == 2 {
					for o := range y {
						if o%paceBlock == 0 && p.over(2*paceBlock) {
							return
						}
						w, at := weight[2*o:][:2], f.at[2*o:][:2]
						y[o] = T(w[0]*x[at[0]]) + T(w[1]*x[at[1]])
					}
					continue
				}
				for o := range y {
					if p.over(2 * taps) {
						return
					}
					at, w := f.at[o*taps:][:taps], weight[o*taps:][:taps]
					sum := w[0] * x[at[0]]
					for t := 1; t < len(w); t++ {
						sum += T(w[t] * x[at[t]])
					}
					y[o] = sum
				}
			}
		}}
	}
	rows := outer * out
	parts, step := divide(rows, float64(taps)*(6+0.2*float64(inner)))
	return Task{parts, func(part, _ int) {
		p := pace{stopped, paceWork}
		lo, hi := bounds(part, step, rows)
		for i := lo; i < hi; i++ {
			plane, o := src[i/out*in*inner:][:in*inner], i%out
			at, w := f.at[o*taps:][:taps], weight[o*taps:][:taps]
			y := dst[i*inner:][:inner]
			scaleRow(y, plane[int(at[0])*inner:][:inner], w[0])
			for t := 1; t < taps; t++ {
				if p.over(6 + inner/4) {
					return
				}
				addRow(y, plane[int(at[t])*inner:][:inner], w[t])
			}
		}
	}}
}

// scaleRow is y = w·x; addRow is y += w·x.
func scaleRow[T float](y, x []T, w T) {
	if y, ok := any(y).([]float32); ok {
		kernel.MulScalar(y, any(x).([]float32), float32(w))
		return
	}
	for i, v := range x {
		y[i] = w * v
	}
}

func addRow[T float](y, x []T, w T) {
	if y, ok := any(y).([]float32); ok {
		kernel.Axpy(y, any(x).([]float32), float32(w))
		return
	}
	for i, v := range x {
		y[i] += T(w * v)
	}
}

// outsideTask writes the extrapolation value wherever a coordinate on any axis
// lies outside the input.
func outsideTask[T float](dst []T, shape []int, outside [][]bool, value T) Task {
	parts, step := divide(len(dst), 2*float64(len(shape)))
	return Task{parts, func(part, _ int) {
		lo, hi := bounds(part, step, len(dst))
		for i := lo; i < hi; i++ {
			rest := i
			for d := len(shape) - 1; d >= 0; d-- {
				o := rest % shape[d]
				rest /= shape[d]
				if outside[d] != nil && outside[d][o] {
					dst[i] = value
					break
				}
			}
		}
	}}
}
