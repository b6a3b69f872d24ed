package onnxrun_test

import (
	"math"
	"math/rand/v2"

	"sampleonnx/onnxrun/internal/onnx"
)

// epsilon draws the attribute: small, as it is by default, or large enough to be
// seen in the result.
func epsilon(r *rand.Rand, attrs map[string]any) float64 {
	if one(r, 3) {
		return float64(float32(1e-5))
	}
	e := pick[float32](r, 1e-3, 1e-2, 0.5)
	attrs["epsilon"] = e
	return float64(e)
}

// moments are the mean and the variance of numbers.
func moments(x []float64) (mean, variance float64) {
	for _, v := range x {
		mean += v
	}
	mean /= float64(len(x))
	for _, v := range x {
		variance += (v - mean) * (v - mean)
	}
	return mean, variance / float64(len(x))
}

func positive(a *array) *array {
	for i, v := range a.data {
		a.data[i] = math.Abs(v) + 0.125
		if a.dtype == onnx.Float {
			a.data[i] = float64(float32(a.data[i]))
		}
	}
	return a
}

func randomBatchNorm(r *rand.Rand) *randomNode {
	dtype := floatType(r)
	shape := image(r, 1+r.IntN(3))
	if one(r, 5) {
		shape = shape[:2]
	}
	ch := shape[1]
	attrs := map[string]any{}
	eps := epsilon(r, attrs)
	opset := pick(r, 6, 7, 9, 14, 15, 17)
	if opset == 6 {
		attrs["is_test"] = 1
	}
	constant := one(r, 2)
	return &randomNode{op: "BatchNormalization", opset: opset, attrs: attrs, fixed: []bool{false, constant, constant, constant, constant},
		in: []*array{normals(r, dtype, shape...), normals(r, dtype, ch), normals(r, dtype, ch), normals(r, dtype, ch), positive(normals(r, dtype, ch))},
		want: func(in []*array) []*array {
			return []*array{made(dtype, shape, func(idx []int) float64 {
				c := idx[1]
				return (in[0].at(idx)-in[3].data[c])/math.Sqrt(in[4].data[c]+eps)*in[1].data[c] + in[2].data[c]
			})}
		}}
}

// randomGroupNorm draws GroupNormalization and InstanceNormalization, which has a
// group for each channel.
func randomGroupNorm(r *rand.Rand) *randomNode {
	dtype := floatType(r)
	shape := image(r, 1+r.IntN(3))
	ch := shape[1]
	attrs := map[string]any{}
	eps := epsilon(r, attrs)
	node := &randomNode{op: "InstanceNormalization", opset: pick(r, 6, 17, 22), attrs: attrs, tol: 1e-4}
	groups, params := ch, ch
	if one(r, 2) {
		for groups = 1 + r.IntN(8); ch%groups != 0; groups-- {
		}
		node.op, node.opset = "GroupNormalization", pick(r, 18, 21)
		attrs["num_groups"] = groups
		if node.opset == 18 {
			params = groups
		}
	}
	if elements(shape[2:])*ch/groups < 4 && attrs["epsilon"] == nil {
		return nil // the variance of so few is often as small as rounding errors
	}
	constant := one(r, 2)
	node.in, node.fixed = []*array{normals(r, dtype, shape...), normals(r, dtype, params), normals(r, dtype, params)}, []bool{false, constant, constant}
	node.want = func(in []*array) []*array {
		length := elements(shape[1:]) / groups
		return []*array{made(dtype, shape, func(idx []int) float64 {
			start := offset(shape, idx) / length * length
			mean, variance := moments(in[0].data[start : start+length])
			p := idx[1] * params / ch
			return (in[0].at(idx)-mean)/math.Sqrt(variance+eps)*in[1].data[p] + in[2].data[p]
		})}
	}
	return node
}

// randomLayerNorm draws LayerNormalization and RMSNormalization.
func randomLayerNorm(r *rand.Rand) *randomNode {
	dtype := floatType(r)
	shape := extents(r, 1+r.IntN(4), 1, pick(r, 3, 9, 20))
	attrs := map[string]any{}
	eps := epsilon(r, attrs)
	axis := len(shape) - 1
	if one(r, 2) {
		axis = r.IntN(len(shape))
		attrs["axis"] = axis - pick(r, 0, len(shape))
	}
	if elements(shape[axis:]) < 4 && attrs["epsilon"] == nil {
		return nil
	}
	scale := append([]int{}, shape[axis:]...)
	if one(r, 4) { // broadcast
		scale[r.IntN(len(scale))] = 1
	}
	rms := one(r, 2)
	node := &randomNode{op: "LayerNormalization", opset: pick(r, 17, 22), attrs: attrs, tol: 1e-4,
		in: []*array{normals(r, dtype, shape...), normals(r, dtype, scale...)}}
	if rms {
		node.op, node.opset = "RMSNormalization", 23
	} else {
		if one(r, 2) {
			node.in = append(node.in, normals(r, dtype, scale...))
		}
		node.outs = pick(r, 1, 1, 3)
		if dtype != onnx.Float {
			node.outs = 1 // of the stashed type
		}
	}
	constant := one(r, 2)
	node.fixed = []bool{false, constant, constant}
	node.want = func(in []*array) []*array {
		length := elements(shape[axis:])
		means, inverse := newArray(dtype, append(append([]int{}, shape[:axis]...), ones(len(shape)-axis)...)...), (*array)(nil)
		inverse = newArray(dtype, means.shape...)
		y := made(dtype, shape, func(idx []int) float64 {
			group := offset(shape, idx) / length
			mean, variance := moments(in[0].data[group*length:][:length])
			if rms {
				mean, variance = 0, variance+mean*mean
			}
			means.data[group], inverse.data[group] = mean, 1/math.Sqrt(variance+eps)
			v := (in[0].at(idx) - mean) * inverse.data[group] * in[1].broadcast(idx)
			if len(in) > 2 {
				v += in[2].broadcast(idx)
			}
			return v
		})
		return []*array{y, means, inverse}[:max(node.outs, 1)]
	}
	if dtype == onnx.Double { // the first stage is computed in float32
		return nil
	}
	return node
}

func randomLRN(r *rand.Rand) *randomNode {
	dtype := floatType(r)
	shape := image(r, 1+r.IntN(3))
	length := 1 + r.IntN(6)
	attrs := map[string]any{"size": length}
	alpha, beta, bias := float32(1e-4), float32(0.75), float32(1)
	if one(r, 2) {
		alpha, beta, bias = pick[float32](r, 0.5, 2), pick[float32](r, 0.5, 1, 1.25), pick[float32](r, 0.5, 2)
		attrs["alpha"], attrs["beta"], attrs["bias"] = alpha, beta, bias
	}
	return &randomNode{op: "LRN", opset: pick(r, 1, 13), attrs: attrs, in: []*array{normals(r, dtype, shape...)}, want: func(in []*array) []*array {
		at := make([]int, len(shape))
		return []*array{made(dtype, shape, func(idx []int) float64 {
			copy(at, idx)
			sum := 0.0
			for i := max(0, idx[1]-(length-1)/2); i <= min(shape[1]-1, idx[1]+length/2); i++ {
				at[1] = i
				sum += in[0].at(at) * in[0].at(at)
			}
			return in[0].at(idx) / math.Pow(float64(bias)+float64(alpha)/float64(length)*sum, float64(beta))
		})}
	}}
}

// along are the elements of x that differ from the one at idx in axis alone.
func along(x *array, idx []int, axis int) []float64 {
	at := append([]int{}, idx...)
	list := make([]float64, x.shape[axis])
	for i := range list {
		at[axis] = i
		list[i] = x.at(at)
	}
	return list
}

func randomLpNorm(r *rand.Rand) *randomNode {
	dtype := floatType(r)
	shape := extents(r, 1+r.IntN(4), 1, 7)
	axis, p := len(shape)-1, 2
	attrs := map[string]any{}
	if one(r, 2) {
		axis = r.IntN(len(shape))
		attrs["axis"] = axis - pick(r, 0, len(shape))
	}
	if one(r, 2) {
		p = 1 + r.IntN(2)
		attrs["p"] = p
	}
	x := normals(r, dtype, shape...)
	if one(r, 8) {
		clear(x.data)
	}
	return &randomNode{op: "LpNormalization", opset: pick(r, 1, 22), attrs: attrs, in: []*array{x}, noPre: true, want: func(in []*array) []*array {
		return []*array{made(dtype, shape, func(idx []int) float64 {
			norm := 0.0
			for _, v := range along(in[0], idx, axis) {
				norm += math.Pow(math.Abs(v), float64(p))
			}
			if norm == 0 {
				return 0
			}
			return in[0].at(idx) / math.Pow(norm, 1/float64(p))
		})}
	}}
}

func randomMeanVariance(r *rand.Rand) *randomNode {
	dtype := pick(r, onnx.Float, onnx.Float, onnx.Double)
	shape := extents(r, 4, 2, 6)
	attrs := map[string]any{}
	axes := []int{0, 2, 3}
	if one(r, 2) {
		axes = axes[:1+r.IntN(3)]
		attrs["axes"] = axes
	}
	x := normals(r, dtype, shape...)
	return &randomNode{op: "MeanVarianceNormalization", opset: pick(r, 9, 13), attrs: attrs, in: []*array{x}, tol: 1e-4, noPre: true, want: func(in []*array) []*array {
		return []*array{made(dtype, shape, func(idx []int) float64 {
			mean, variance := moments(gathered(in[0], idx, axes))
			return (in[0].at(idx) - mean) / (math.Sqrt(variance) + 1e-9)
		})}
	}}
}

// gathered are the elements of x that differ from the one at idx in axes alone,
// in memory order.
func gathered(x *array, idx []int, axes []int) []float64 {
	shape := make([]int, len(axes))
	for i, a := range axes {
		shape[i] = x.shape[a]
	}
	at := append([]int{}, idx...)
	var list []float64
	each(shape, func(k []int) {
		for i, a := range axes {
			at[a] = k[i]
		}
		list = append(list, x.at(at))
	})
	return list
}
