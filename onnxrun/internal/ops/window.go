package ops

import "sampleonnx/onnxrun/internal/kernel"

// window is the geometry of a sliding window over the spatial axes: what
// convolutions and pools have in common. All slices have one element for each
// spatial axis.
type window struct {
	in, out                  []int
	kernel, stride, dilation []int
	begin, end               []int // padding
}

// newWindow reads the attributes strides, dilations, pads and auto_pad. The
// output takes ceil instead of floor when asked to.
func newWindow(c *Call, in, kernel []int, ceil bool) (*window, error) {
	n := len(in)
	w := &window{in: in, out: make([]int, n), kernel: kernel}
	var err error
	if w.stride, err = positives(c, "strides", n); err != nil {
		return nil, err
	}
	if w.dilation, err = positives(c, "dilations", n); err != nil {
		return nil, err
	}
	for _, k := range kernel {
		if k < 1 {
			return nil, c.Invalid("kernel_shape is %v, want positive numbers", kernel)
		}
	}
	if err := c.checkTaps(kernel); err != nil {
		return nil, err
	}
	auto := c.Str("auto_pad", "NOTSET")
	if auto == "" {
		auto = "NOTSET"
	}
	if w.begin, w.end, err = padding(c, n, auto); err != nil {
		return nil, err
	}
	for i := range in {
		extent := room(kernel[i]-1, w.dilation[i]) + 1
		switch auto {
		case "SAME_UPPER", "SAME_LOWER":
			w.out[i] = ceilDiv(in[i], w.stride[i])
			total := max(0, (w.out[i]-1)*w.stride[i]+extent-in[i])
			w.begin[i] = total / 2
			if auto == "SAME_LOWER" {
				w.begin[i] = total - total/2
			}
			w.end[i] = total - w.begin[i]
			continue
		}
		slack := in[i] + w.begin[i] + w.end[i] - extent
		if slack < 0 {
			return nil, c.Invalid("a window of %d does not fit into axis %d of %d with pads %d and %d",
				extent, i+2, in[i], w.begin[i], w.end[i])
		}
		w.out[i] = slack/w.stride[i] + 1
		if ceil && auto == "NOTSET" && slack%w.stride[i] != 0 {
			// One window more, but only if it starts inside the input or the
			// padding before it.
			if w.out[i]*w.stride[i] < in[i]+w.begin[i] {
				w.out[i]++
			}
		}
	}
	return w, nil
}

// check refuses a padded input or an output beyond the limits.
func (w *window) check(c *Call, n, in, out int) error {
	padded := []int{n, in}
	for i := range w.in {
		padded = append(padded, w.in[i]+w.begin[i]+w.end[i])
	}
	if err := c.checkSize(Type{Shape: padded}); err != nil {
		return err
	}
	return c.checkSize(Type{Shape: append([]int{n, out}, w.out...)})
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// positives is a list attribute of n positive numbers, by default ones.
func positives(c *Call, name string, n int) ([]int, error) {
	v := c.Ints(name)
	if len(v) == 0 {
		v = make([]int, n)
		for i := range v {
			v[i] = 1
		}
	}
	if len(v) != n {
		return nil, c.Invalid("%s has %d elements, want %d", name, len(v), n)
	}
	for _, x := range v {
		if x < 1 || x > maxElems {
			return nil, c.Invalid("%s is %v, want numbers from 1 to %d", name, v, maxElems)
		}
	}
	return v, nil
}

// padding is the attribute pads, as the amounts before and after each axis.
func padding(c *Call, n int, auto string) (begin, end []int, err error) {
	v := c.Ints("pads")
	switch auto {
	case "NOTSET":
	case "VALID", "SAME_UPPER", "SAME_LOWER":
		v = nil
	default:
		return nil, nil, c.Invalid("auto_pad %q is not known", auto)
	}
	if v == nil {
		v = make([]int, 2*n)
	}
	if len(v) != 2*n {
		return nil, nil, c.Invalid("pads has %d elements, want %d", len(v), 2*n)
	}
	for _, p := range v {
		if p < 0 || p > maxElems {
			return nil, nil, c.Invalid("pads is %v, want numbers from 0 to %d", v, maxElems)
		}
	}
	return append([]int(nil), v[:n]...), append([]int(nil), v[n:]...), nil
}

// inside reports whether every window lies in the input.
func (w *window) inside() bool {
	for i, size := range w.in {
		if w.begin[i] > 0 || w.out[i] > 0 && w.at(i, w.out[i]-1, w.kernel[i]-1) >= size {
			return false
		}
	}
	return true
}

// frame is the size of the padded input.
func (w *window) frame() (depth, height, width int) {
	size := make([]int, len(w.in))
	for i := range size {
		size[i] = w.in[i] + w.begin[i] + w.end[i]
	}
	return volume(size, 1)
}

// kernels is the geometry, of one to three axes, for the kernels, whose source is
// padded.
func (w *window) kernels() (g kernel.Window) {
	g.KD, g.KH, g.KW = volume(w.kernel, 1)
	g.StrideD, g.StrideH, g.StrideW = volume(w.stride, 1)
	g.DilD, g.DilH, g.DilW = volume(w.dilation, 1)
	g.OD, g.OH, g.OW = volume(w.out, 1)
	g.PD, g.PH, g.PW = w.frame()
	return g
}

// volume is the sizes of a window over one to three axes, as three: depth,
// rows, columns.
func volume(v []int, one int) (d, h, w int) {
	full := [3]int{one, one, one}
	copy(full[3-len(v):], v)
	return full[0], full[1], full[2]
}

// taps is the number of elements of one window.
func (w *window) taps() int { return elems(w.kernel) }

// at is the input coordinate on axis i that tap k of the window at output
// coordinate o reads; it may lie in the padding.
func (w *window) at(i, o, k int) int {
	return o*w.stride[i] - w.begin[i] + k*w.dilation[i]
}

// rows describes the windows of w row by row, a row being the last spatial
// axis: for each output row (all axes but the last) and each tap of those axes,
// the first element of the input row it reads, −1 where it lies in the padding.
func (w *window) rows(m *Memory) (offsets []int32, rows, taps int) {
	last := len(w.in) - 1
	rows, taps = elems(w.out[:last]), elems(w.kernel[:last])
	step, pace := strides(w.in), m.pace()
	offsets = make([]int32, rows*taps)
	for r := range rows {
		for t := range taps {
			if pace.over(16) {
				return
			}
			off, ro, to := 0, r, t
			for d := last - 1; d >= 0; d-- {
				p := w.at(d, ro%w.out[d], to%w.kernel[d])
				ro /= w.out[d]
				to /= w.kernel[d]
				if p < 0 || p >= w.in[d] {
					off = -1
					break
				}
				off += p * step[d]
			}
			offsets[r*taps+t] = int32(off)
		}
	}
	return offsets, rows, taps
}

// rowBytes is the memory of the list that rows gives.
func (w *window) rowBytes() int {
	last := len(w.in) - 1
	return room(4, elems(w.out[:last]), elems(w.kernel[:last]))
}

// span is the range [lo, hi) of output coordinates on the last axis whose tap k
// reads inside the input, and the input coordinate that output 0 would read.
func (w *window) span(k int) (lo, hi, first int) {
	last := len(w.in) - 1
	first = w.at(last, 0, k)
	s := w.stride[last]
	if first < 0 {
		lo = ceilDiv(-first, s)
	}
	if first < w.in[last] {
		hi = (w.in[last]-1-first)/s + 1
	}
	hi = min(hi, w.out[last])
	return min(lo, hi), hi, first
}
