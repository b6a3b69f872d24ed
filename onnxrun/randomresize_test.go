package onnxrun_test

import (
	"math"
	"math/rand/v2"
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
)

// resizing is how Resize treats one axis.
type resizing struct {
	in, out            int
	scale              float64 // as given, or out/in
	bySize             bool    // the length is given, not the scale
	start, end         float64 // the region of tf_crop_and_resize
	coord, mode        string
	nearest            string
	antialias, exclude bool
	cubic              float64
}

// from is the coordinate in the input of element o.
func (a resizing) from(o int) float64 {
	x, in, out := float64(o), float64(a.in), float64(a.out)
	if a.in == a.out && a.scale == 1 && a.coord != "tf_crop_and_resize" {
		return x // also with tf_half_pixel_for_nn, which would move it by half an element
	}
	switch a.coord {
	case "half_pixel_symmetric":
		return in/2*(1-out/(a.scale*in)) + (x+0.5)/a.scale - 0.5
	case "pytorch_half_pixel":
		if a.out <= 1 {
			return 0
		}
	case "align_corners":
		if a.out <= 1 {
			return 0
		}
		if !a.bySize {
			out = a.scale * in // not cut to a whole number, as the standard's own data have it
		}
		return x * (in - 1) / (out - 1)
	case "asymmetric":
		return x / a.scale
	case "tf_half_pixel_for_nn":
		return (x + 0.5) / a.scale
	case "tf_crop_and_resize":
		if a.out > 1 {
			return a.start*(in-1) + x*(a.end-a.start)*(in-1)/(out-1)
		}
		return 0.5 * (a.start + a.end) * (in - 1)
	}
	return (x+0.5)/a.scale - 0.5
}

// near reports whether rounding errors could move a coordinate to another element.
func (a resizing) near() bool {
	for o := range a.out {
		x := 2 * a.from(o)
		if d := math.Abs(x - math.Round(x)); d > 0 && d < 1e-4 {
			return true
		}
	}
	return false
}

// A weighted is an element of an axis and its part in the result.
type weighted struct {
	i int
	w float64
}

// weights are what element o is made of; outside: the extrapolation value takes
// its place.
func (a resizing) weights(o int) (list []weighted, outside bool) {
	x := a.from(o)
	outside = a.coord == "tf_crop_and_resize" && (x < 0 || x > float64(a.in-1))
	if a.mode == "nearest" {
		i := math.Floor(x)
		up := x - i
		switch {
		case a.nearest == "simple" && a.scale < 1 && up > 0, a.nearest == "ceil" && up > 0, a.nearest == "round_prefer_ceil" && up >= 0.5, a.nearest == "round_prefer_floor" && up > 0.5:
			i++
		}
		return []weighted{{min(max(int(i), 0), a.in-1), 1}}, outside
	}
	stretch, reach := 1.0, 1.0
	if a.antialias && a.scale < 1 {
		stretch = a.scale
	}
	if a.mode == "cubic" {
		reach = 2
	}
	total := 0.0
	for i := int(math.Floor(x - reach/stretch)); float64(i) <= x+reach/stretch; i++ {
		d := math.Abs(float64(i)-x) * stretch
		w := 1 - d
		if a.mode == "cubic" { // Keys 1981, equation 4
			if d <= 1 {
				w = (a.cubic+2)*d*d*d - (a.cubic+3)*d*d + 1
			} else {
				w = a.cubic * (d*d*d - 5*d*d + 8*d - 4)
			}
		}
		if d >= reach || a.exclude && (i < 0 || i >= a.in) {
			continue
		}
		list = append(list, weighted{min(max(i, 0), a.in-1), w})
		total += w
	}
	for i := range list {
		list[i].w /= total
	}
	return list, outside
}

func randomResize(r *rand.Rand) *randomNode {
	opset := pick(r, 10, 11, 13, 18, 19)
	attrs := map[string]any{}
	dtype := pick(r, onnx.Float, onnx.Float, onnx.Float, onnx.Double, onnx.Float16)
	a := resizing{coord: "half_pixel", mode: pick(r, "nearest", "linear", "cubic"), nearest: "round_prefer_floor", cubic: -0.75}
	if opset == 10 {
		a.coord, a.nearest = "asymmetric", "simple" // up when shrinking, down when growing, as the standard's own data have it
		a.mode = pick(r, "nearest", "linear")
	} else {
		if one(r, 8) {
			a.coord = pick(r, "tf_crop_and_resize", "half_pixel")
		} else {
			a.coord = pick(r, "half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
			switch {
			case opset == 11 && one(r, 5):
				a.coord = "tf_half_pixel_for_nn"
			case opset == 19 && one(r, 4):
				a.coord = "half_pixel_symmetric"
			}
		}
		if a.coord != "half_pixel" || one(r, 2) {
			attrs["coordinate_transformation_mode"] = a.coord
		}
		if one(r, 2) || a.coord == "asymmetric" {
			a.nearest = pick(r, "round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
			attrs["nearest_mode"] = a.nearest
		}
		if a.mode == "cubic" && one(r, 2) {
			attrs["cubic_coeff_a"], a.cubic = float32(-0.5), -0.5
		}
		if a.mode != "nearest" && a.coord != "tf_crop_and_resize" {
			a.exclude = one(r, 4)
			a.antialias = opset >= 18 && one(r, 3)
		}
		if a.exclude {
			attrs["exclude_outside"] = 1
		}
		if a.antialias {
			attrs["antialias"] = 1
		}
	}
	if a.mode != "nearest" || one(r, 2) {
		attrs["mode"] = a.mode
	}

	// The axes that are resized: those of space, or any.
	rank := 3 + r.IntN(2)
	shape := append([]int{1 + r.IntN(2), 1 + r.IntN(20)}, extents(r, rank-2, 1, 12)...)
	axes := []int{}
	for d := 2; d < rank; d++ {
		axes = append(axes, d)
	}
	if one(r, 5) {
		rank = 1 + r.IntN(4)
		shape, axes = extents(r, rank, 1, 6), nil
		for d := range rank {
			axes = append(axes, d)
		}
	}
	listed := opset >= 18 && one(r, 2)
	if listed {
		r.Shuffle(len(axes), func(i, j int) { axes[i], axes[j] = axes[j], axes[i] })
		written := slices.Clone(axes)
		for i := range written {
			written[i] -= pick(r, 0, rank)
		}
		attrs["axes"] = written
	} else {
		axes = axes[:0]
		for d := range rank {
			axes = append(axes, d)
		}
	}
	bySize := opset > 10 && (one(r, 2) || a.coord == "tf_crop_and_resize")
	per := make([]resizing, rank)
	for d := range per {
		per[d] = a
		per[d].bySize = bySize
		per[d].in, per[d].out, per[d].scale, per[d].end = shape[d], shape[d], 1, 1
	}
	scales, sizes, roi := newArray(onnx.Float, len(axes)), newArray(onnx.Int64, len(axes)), newArray(onnx.Float, 2*len(axes))
	policy := opset >= 18 && bySize && a.coord != "tf_crop_and_resize" && listed && one(r, 3)
	for i, d := range axes {
		p := &per[d]
		if !(rank > 2 && d < 2) {
			s := pick(r, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 2, 2, 2, 2.5, 3, 4)
			if one(r, 3) {
				s = float64(float32(0.3 + 3*r.Float64()))
			}
			length := s * float64(p.in)
			if length < 1 || math.Abs(length-math.Round(length)) < 1e-3 && length != math.Round(length) {
				return nil
			}
			p.out, p.scale = int(length), s
			if bySize {
				p.scale = float64(p.out) / float64(p.in)
			}
		}
		if a.coord == "tf_crop_and_resize" {
			p.start, p.end = pick(r, 0, 0.25, -0.125), pick(r, 1, 0.75, 1.25)
			if rank > 2 && d < 2 {
				p.start, p.end = 0, 1
			}
		}
		scales.data[i], sizes.data[i] = p.scale, float64(p.out)
		roi.data[i], roi.data[len(axes)+i] = p.start, p.end
	}
	if policy {
		name := pick(r, "not_larger", "not_smaller")
		attrs["keep_aspect_ratio_policy"] = name
		scale := per[axes[0]].scale
		for _, d := range axes {
			if name == "not_larger" {
				scale = min(scale, per[d].scale)
			} else {
				scale = max(scale, per[d].scale)
			}
		}
		for _, d := range axes {
			length := scale * float64(shape[d])
			if math.Abs(length-math.Floor(length)-0.5) < 1e-3 || math.Floor(length+0.5) < 1 {
				return nil
			}
			per[d].out, per[d].scale = int(math.Floor(length+0.5)), scale
		}
	}
	extrapolated := 0.0
	if a.coord == "tf_crop_and_resize" && one(r, 2) {
		extrapolated = 2.5
		attrs["extrapolation_value"] = float32(extrapolated)
	}
	out := make([]int, rank)
	for d := range per {
		out[d] = per[d].out
		if a.mode == "nearest" && per[d].near() || a.coord == "align_corners" && per[d].out > 1 && per[d].scale*float64(per[d].in) < 1.25 {
			return nil
		}
		if a.coord == "tf_crop_and_resize" && per[d].near() { // it could be outside or not
			return nil
		}
	}
	if elements(out) > 60000 {
		return nil
	}
	node := &randomNode{op: "Resize", opset: opset, attrs: attrs, in: []*array{normals(r, dtype, shape...), nil, scales}, fixed: []bool{false, true, true, true}, tol: 1e-4}
	switch {
	case opset == 10:
		node.in = []*array{node.in[0], scales}
	case bySize:
		node.in = append(node.in, sizes)
		node.in[2] = nil
		if opset == 11 {
			node.in[2] = newArray(onnx.Float, 0)
		}
	}
	if a.coord == "tf_crop_and_resize" || opset == 11 {
		node.in[1] = roi
	}
	node.want = func(in []*array) []*array {
		return []*array{made(dtype, out, func(idx []int) float64 {
			part := make([][]weighted, rank)
			lengths := make([]int, rank)
			for d := range per {
				var outside bool
				if part[d], outside = per[d].weights(idx[d]); outside {
					return extrapolated
				}
				lengths[d] = len(part[d])
			}
			sum := 0.0
			at := make([]int, rank)
			each(lengths, func(k []int) {
				w := 1.0
				for d := range k {
					at[d] = part[d][k[d]].i
					w *= part[d][k[d]].w
				}
				sum += w * in[0].at(at)
			})
			return sum
		})}
	}
	return node
}
