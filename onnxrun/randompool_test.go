package onnxrun_test

import (
	"math"
	"math/rand/v2"

	"sampleonnx/onnxrun/internal/onnx"
)

// pooling is a window that moves over images.
type pooling struct {
	kernel []int
	convolution
	out []int
}

// randomWindow draws the attributes of a pooling operator. versions are the
// opsets that brought ceil_mode and dilations.
func randomWindow(r *rand.Rand, in []int, attrs map[string]any, opset, ceilSince, dilatedSince int) (p pooling, ok bool) {
	n := len(in)
	kernel, c, auto := window(r, in, attrs, opset >= dilatedSince)
	p = pooling{kernel, c, make([]int, n)}
	attrs["kernel_shape"] = kernel
	ceil := opset >= ceilSince && one(r, 2)
	if ceil {
		attrs["ceil_mode"] = 1
	}
	for i := range n {
		reach := (kernel[i]-1)*c.dilations[i] + 1
		room := in[i] + c.pads[i] + c.pads[n+i] - reach
		if room < 0 || c.pads[i] >= kernel[i] || c.pads[n+i] >= kernel[i] {
			return p, false
		}
		p.out[i] = room/c.strides[i] + 1
		if ceil && auto != "SAME_UPPER" && auto != "SAME_LOWER" {
			p.out[i] = (room+c.strides[i]-1)/c.strides[i] + 1
			if (p.out[i]-1)*c.strides[i] >= in[i]+c.pads[i] {
				p.out[i]-- // it would start in the padding on the right
			}
			if auto == "VALID" {
				p.out[i] = (in[i] - reach + 1 + c.strides[i] - 1) / c.strides[i]
			}
		}
		if auto == "SAME_UPPER" || auto == "SAME_LOWER" {
			p.out[i] = (in[i] + c.strides[i] - 1) / c.strides[i]
		}
	}
	return p, true
}

// over calls f for the elements of the window of output idx that are in the
// image; padded is how many more taps lie in the padding asked for.
func (p pooling) over(x *array, idx []int, f func(at []int, v float64)) (padded int) {
	n := len(p.kernel)
	at := append([]int{idx[0], idx[1]}, make([]int, n)...)
	each(p.kernel, func(k []int) {
		for i := range n {
			at[2+i] = idx[2+i]*p.strides[i] + k[i]*p.dilations[i] - p.pads[i]
			if at[2+i] >= x.shape[2+i]+p.pads[n+i] {
				return // beyond the padding
			}
		}
		if inside(x.shape, at) {
			f(at, x.at(at))
		} else {
			padded++
		}
	})
	return padded
}

func (p pooling) shape(x *array) []int { return append([]int{x.shape[0], x.shape[1]}, p.out...) }

// full reports whether every window has an element of the image in it.
func (p pooling) full(x *array) bool {
	ok := true
	each(append([]int{1, 1}, p.out...), func(idx []int) {
		any := false
		p.over(&array{shape: append([]int{1, 1}, x.shape[2:]...), data: make([]float64, elements(x.shape[2:]))}, idx, func([]int, float64) { any = true })
		ok = ok && any
	})
	return ok
}

func randomMaxPool(r *rand.Rand) *randomNode {
	n := 1 + r.IntN(3)
	opset := pick(r, 1, 8, 10, 11, 12, 17, 22)
	dtype := floatType(r)
	if opset >= 12 && one(r, 6) {
		dtype = pick(r, onnx.Int8, onnx.Uint8)
	}
	x := normals(r, dtype, image(r, n)...)
	attrs := map[string]any{}
	p, ok := randomWindow(r, x.shape[2:], attrs, opset, 10, 10)
	if !ok || !p.full(x) {
		return nil
	}
	node := &randomNode{op: "MaxPool", opset: opset, attrs: attrs, in: []*array{x}}
	columns := false
	if opset >= 8 && one(r, 3) {
		node.outs, node.noPre = 2, true // ties are broken by the first element; rounding before makes and unmakes them
		if one(r, 3) {
			attrs["storage_order"], columns = 1, true
		}
	}
	node.want = func(in []*array) []*array {
		x := in[0]
		indices := newArray(onnx.Int64, p.shape(x)...)
		k := 0
		y := made(x.dtype, p.shape(x), func(idx []int) float64 {
			most := math.Inf(-1)
			p.over(x, idx, func(at []int, v float64) {
				if v <= most {
					return
				}
				most = v
				place := 0
				if columns {
					for i := len(at) - 1; i >= 2; i-- {
						place = place*x.shape[i] + at[i]
					}
				} else {
					place = offset(x.shape[2:], at[2:])
				}
				indices.data[k] = float64((at[0]*x.shape[1]+at[1])*elements(x.shape[2:]) + place)
			})
			k++
			return most
		})
		if node.outs == 2 {
			return []*array{y, indices}
		}
		return []*array{y}
	}
	return node
}

func randomAveragePool(r *rand.Rand) *randomNode {
	n := 1 + r.IntN(3)
	opset := pick(r, 1, 7, 10, 11, 17, 19, 22)
	x := normals(r, floatType(r), image(r, n)...)
	attrs := map[string]any{}
	p, ok := randomWindow(r, x.shape[2:], attrs, opset, 10, 19)
	if !ok || !p.full(x) {
		return nil
	}
	include := opset >= 7 && one(r, 2)
	if include {
		attrs["count_include_pad"] = 1
	}
	return &randomNode{op: "AveragePool", opset: opset, attrs: attrs, in: []*array{x}, want: func(in []*array) []*array {
		return []*array{made(in[0].dtype, p.shape(in[0]), func(idx []int) float64 {
			sum, count := 0.0, 0
			padded := p.over(in[0], idx, func(_ []int, v float64) { sum += v; count++ })
			if include {
				count += padded
			}
			return sum / float64(count)
		})}
	}}
}

func randomLpPool(r *rand.Rand) *randomNode {
	n := 1 + r.IntN(3)
	opset := pick(r, 2, 11, 18, 22)
	x := normals(r, floatType(r), image(r, n)...)
	attrs := map[string]any{}
	p, ok := randomWindow(r, x.shape[2:], attrs, opset, 18, 18)
	if !ok {
		return nil
	}
	power := 2
	if one(r, 2) {
		power = 1 + r.IntN(4)
		attrs["p"] = power
	}
	return &randomNode{op: "LpPool", opset: opset, attrs: attrs, in: []*array{x}, want: func(in []*array) []*array {
		return []*array{made(in[0].dtype, p.shape(in[0]), func(idx []int) float64 {
			sum := 0.0
			p.over(in[0], idx, func(_ []int, v float64) { sum += math.Pow(math.Abs(v), float64(power)) })
			return math.Pow(sum, 1/float64(power))
		})}
	}}
}

func randomGlobalPool(r *rand.Rand) *randomNode {
	x := normals(r, floatType(r), image(r, 1+r.IntN(3))...)
	op := pick(r, "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
	node := &randomNode{op: op, opset: pick(r, 2, 17, 22), attrs: map[string]any{}, in: []*array{x}}
	power := 2.0
	if op == "GlobalLpPool" && one(r, 2) {
		node.attrs["p"] = 1 + r.IntN(3)
		power = float64(node.attrs["p"].(int))
	}
	node.want = func(in []*array) []*array {
		x := in[0]
		space := elements(x.shape[2:])
		shape := append([]int{x.shape[0], x.shape[1]}, ones(len(x.shape)-2)...)
		return []*array{made(x.dtype, shape, func(idx []int) float64 {
			sum, most := 0.0, math.Inf(-1)
			for _, v := range x.data[offset(shape, idx)*space:][:space] {
				most = max(most, v)
				if op == "GlobalLpPool" {
					v = math.Pow(math.Abs(v), power)
				}
				sum += v
			}
			switch op {
			case "GlobalMaxPool":
				return most
			case "GlobalLpPool":
				return math.Pow(sum, 1/power)
			}
			return sum / float64(space)
		})}
	}
	return node
}
