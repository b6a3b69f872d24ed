package onnxrun_test

import (
	"math/rand/v2"
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
)

// convolution is the attributes of Conv and ConvTranspose, resolved.
type convolution struct {
	group              int
	strides, dilations []int
	pads               []int // the first of each axis, then the last
}

// convolve is Conv by its definition.
func convolve(x, w, b *array, c convolution) *array {
	n := len(x.shape) - 2
	shape := []int{x.shape[0], w.shape[0]}
	for i := range n {
		reach := (w.shape[2+i]-1)*c.dilations[i] + 1
		shape = append(shape, (x.shape[2+i]+c.pads[i]+c.pads[n+i]-reach)/c.strides[i]+1)
	}
	channels, perGroup := w.shape[1], w.shape[0]/c.group
	taps, at := elements(w.shape[2:]), elements(x.shape[2:])
	return made(x.dtype, shape, func(idx []int) float64 {
		sum := 0.0
		if b != nil {
			sum = b.data[idx[1]]
		}
		from := make([]int, n)
		tap := 0
		each(w.shape[2:], func(k []int) {
			for i := range n {
				from[i] = idx[2+i]*c.strides[i] + k[i]*c.dilations[i] - c.pads[i]
			}
			if inside(x.shape[2:], from) {
				off := offset(x.shape[2:], from)
				first := idx[1] / perGroup * channels
				for j := range channels {
					sum += x.data[(idx[0]*x.shape[1]+first+j)*at+off] * w.data[(idx[1]*channels+j)*taps+tap]
				}
			}
			tap++
		})
		return sum
	})
}

// samePads are the pads of auto_pad SAME_UPPER and SAME_LOWER, which make the
// output ⌈in/stride⌉ long.
func samePads(in, kernel, strides, dilations []int, lower bool) []int {
	n := len(in)
	pads := make([]int, 2*n)
	for i := range n {
		out := (in[i] + strides[i] - 1) / strides[i]
		total := max(0, (out-1)*strides[i]+(kernel[i]-1)*dilations[i]+1-in[i])
		pads[i], pads[n+i] = total/2, total-total/2
		if lower {
			pads[i], pads[n+i] = pads[n+i], pads[i]
		}
	}
	return pads
}

// floatType is mostly float32.
func floatType(r *rand.Rand) onnx.DType {
	return pick(r, onnx.Float, onnx.Float, onnx.Float, onnx.Float, onnx.Float, onnx.Float, onnx.Double, onnx.Float16)
}

// image is the shape of a batch of images with n axes of space.
func image(r *rand.Rand, n int) []int {
	shape := []int{1 + r.IntN(3), pick(r, 1, 2, 3, 4, 5, 8, 15, 16, 17, 32, 33)}
	if one(r, 40) {
		shape[0] = 0
	}
	return append(shape, extents(r, n, 1, []int{40, 14, 6}[n-1])...)
}

// window is a random kernel with strides, dilations and padding: the attributes
// as written, and what they come to.
func window(r *rand.Rand, in []int, attrs map[string]any, dilated bool) (kernel []int, c convolution, auto string) {
	n := len(in)
	kernel = extents(r, n, 1, pick(r, 1, 3, 3, 3, 4, 5))
	c.strides, c.dilations, c.pads = ones(n), ones(n), make([]int, 2*n)
	if one(r, 2) {
		c.strides = extents(r, n, 1, 3)
	}
	if dilated && one(r, 3) {
		c.dilations = extents(r, n, 1, 3)
	}
	if !slices.Equal(c.strides, ones(n)) || one(r, 2) {
		attrs["strides"] = c.strides
	}
	if !slices.Equal(c.dilations, ones(n)) || dilated && one(r, 2) {
		attrs["dilations"] = c.dilations
	}
	auto = pick(r, "", "", "", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
	if auto != "" {
		attrs["auto_pad"] = auto
	}
	switch auto {
	case "SAME_UPPER", "SAME_LOWER":
		c.pads = samePads(in, kernel, c.strides, c.dilations, auto == "SAME_LOWER")
	case "VALID":
	default:
		if one(r, 3) {
			break
		}
		for i := range n {
			c.pads[i], c.pads[n+i] = r.IntN(kernel[i]+1), r.IntN(kernel[i]+1)
			if one(r, 2) {
				c.pads[n+i] = c.pads[i]
			}
		}
		attrs["pads"] = c.pads
	}
	return kernel, c, auto
}

// fits reports whether every window starts inside the padded input.
func (c convolution) fits(in, kernel []int) bool {
	for i := range in {
		if in[i]+c.pads[i]+c.pads[len(in)+i] < (kernel[i]-1)*c.dilations[i]+1 {
			return false
		}
	}
	return true
}

// groups draws the channels of a grouped convolution: of input and output in
// each group.
func groups(r *rand.Rand, channels int) (group, in, out int) {
	group = 1
	switch r.IntN(4) {
	case 0:
		group = channels // depthwise
	case 1:
		for group = 1 + r.IntN(4); channels%group != 0; group-- {
		}
	}
	out = pick(r, 1, 2, 3, 5, 8, 16, 17, 32)
	if group > 4 {
		out = 1 + r.IntN(2)
	}
	return group, channels / group, out
}

func randomConv(r *rand.Rand) *randomNode {
	n := 1 + r.IntN(3)
	dtype := floatType(r)
	x := normals(r, dtype, image(r, n)...)
	attrs := map[string]any{}
	kernel, c, _ := window(r, x.shape[2:], attrs, true)
	if !c.fits(x.shape[2:], kernel) {
		return nil
	}
	var in, out int
	c.group, in, out = groups(r, x.shape[1])
	if c.group > 1 || one(r, 2) {
		attrs["group"] = c.group
	}
	if one(r, 2) {
		attrs["kernel_shape"] = kernel
	}
	w := normals(r, dtype, append([]int{c.group * out, in}, kernel...)...)
	node := &randomNode{op: "Conv", opset: pick(r, 1, 11, 17, 22), attrs: attrs, in: []*array{x, w}, fixed: []bool{false, !one(r, 4), !one(r, 4)}}
	if one(r, 2) {
		node.in = append(node.in, normals(r, dtype, c.group*out))
	}
	node.want = func(in []*array) []*array {
		var b *array
		if len(in) > 2 {
			b = in[2]
		}
		return []*array{convolve(in[0], in[1], b, c)}
	}
	return node
}

// transposedConvolve is ConvTranspose by its definition: every element of the
// input adds the weights, times itself, to the output.
func transposedConvolve(x, w, b *array, c convolution, out []int) *array {
	n := len(out)
	outChannels := w.shape[1]
	y := newArray(x.dtype, append([]int{x.shape[0], c.group * outChannels}, out...)...)
	if b != nil {
		y = made(x.dtype, y.shape, func(idx []int) float64 { return b.data[idx[1]] })
	}
	perGroup := x.shape[1] / c.group
	to := make([]int, n)
	each(x.shape, func(idx []int) {
		v := x.at(idx)
		each(w.shape[2:], func(k []int) {
			for i := range n {
				to[i] = idx[2+i]*c.strides[i] + k[i]*c.dilations[i] - c.pads[i]
			}
			if !inside(out, to) {
				return
			}
			tap := offset(w.shape[2:], k)
			for j := range outChannels {
				m := idx[1]/perGroup*outChannels + j
				y.data[(idx[0]*y.shape[1]+m)*elements(out)+offset(out, to)] += v * w.data[(idx[1]*outChannels+j)*elements(w.shape[2:])+tap]
			}
		})
	})
	return y
}

func randomConvTranspose(r *rand.Rand) *randomNode {
	n := 1 + r.IntN(3)
	dtype := floatType(r)
	x := normals(r, dtype, append(image(r, 1)[:2], extents(r, n, 1, []int{20, 8, 4}[n-1])...)...)
	attrs := map[string]any{}
	kernel, c, auto := window(r, x.shape[2:], attrs, true)
	var in, outChannels int
	c.group, in, outChannels = groups(r, x.shape[1])
	attrs["group"] = c.group
	if one(r, 2) {
		attrs["kernel_shape"] = kernel
	}
	extra := make([]int, n)
	if one(r, 3) {
		for i := range extra {
			extra[i] = r.IntN(max(c.strides[i], c.dilations[i]))
		}
		attrs["output_padding"] = extra
	}
	out := make([]int, n)
	full := make([]int, n) // without padding
	for i := range out {
		full[i] = c.strides[i]*(x.shape[2+i]-1) + extra[i] + (kernel[i]-1)*c.dilations[i] + 1
		out[i] = full[i] - c.pads[i] - c.pads[n+i]
		if auto == "SAME_UPPER" || auto == "SAME_LOWER" {
			out[i] = x.shape[2+i] * c.strides[i]
		}
	}
	asked := one(r, 5)
	if asked {
		delete(attrs, "pads")
		for i := range out {
			out[i] = max(1, full[i]-r.IntN(kernel[i]+1))
		}
		attrs["output_shape"] = out
	}
	if asked || auto == "SAME_UPPER" || auto == "SAME_LOWER" {
		for i := range out {
			total := full[i] - out[i]
			if total < 0 {
				return nil // the standard does not say what padding below nothing means
			}
			c.pads[i], c.pads[n+i] = total-total/2, total/2
			if auto == "SAME_UPPER" {
				c.pads[i], c.pads[n+i] = total/2, total-total/2
			}
		}
	}
	if slices.Min(out) < 1 {
		return nil
	}
	w := normals(r, dtype, append([]int{c.group * in, outChannels}, kernel...)...)
	node := &randomNode{op: "ConvTranspose", opset: pick(r, 1, 11, 17, 22), attrs: attrs, in: []*array{x, w}, fixed: []bool{false, !one(r, 4), !one(r, 4)}}
	if one(r, 2) {
		node.in = append(node.in, normals(r, dtype, c.group*outChannels))
	}
	node.want = func(in []*array) []*array {
		var b *array
		if len(in) > 2 {
			b = in[2]
		}
		return []*array{transposedConvolve(in[0], in[1], b, c, out)}
	}
	return node
}
