package ops

import (
	"math"

	"sampleonnx/onnxrun/internal/kernel"
	"sampleonnx/onnxrun/internal/onnx"
)

// rowNorm is a normalisation of the trailing axes: each row becomes
// (x − mean)/σ · scale + bias, without the mean for RMSNormalization.
type rowNorm struct {
	x           Type
	axis        int
	rows, size  int
	eps         float64
	rms         bool
	scale, bias *rowParam
}

// rowParam is an input broadcast to the rows: element i of row r is element
// base(r) + at(i). base is the same for each run of rows from a multiple of run on.
type rowParam struct {
	input   int
	shape   []int // leading axes of x
	step    []int // for each of them; 0 where the parameter is broadcast
	at      spread
	follows bool // at(i) = i
	run     int
}

func (p *rowParam) base(row int) int {
	off := 0
	for d := len(p.shape) - 1; d >= 0; d-- {
		off += row % p.shape[d] * p.step[d]
		row /= p.shape[d]
	}
	return off
}

// lowerLayerNorm is LayerNormalization, with the mean and the inverse standard
// deviation as further outputs.
func lowerLayerNorm(c *Call) (*Kernel, error) { return lowerRowNorm(c, false) }

// lowerRMSNorm is RMSNormalization.
func lowerRMSNorm(c *Call) (*Kernel, error) { return lowerRowNorm(c, true) }

func lowerRowNorm(c *Call, rms bool) (*Kernel, error) {
	x := c.In[0].Type
	axis, err := c.Axis(c.Int("axis", -1), len(x.Shape))
	if err != nil {
		return nil, err
	}
	if !IsFloat32(x.DType) && x.DType != onnx.Double {
		return nil, c.Invalid("the input is %v, want a float tensor", x.DType)
	}
	// stash_type asks for float32 (1) at least; everything here has that.
	if stash := c.Int("stash_type", 1); stash != int(onnx.Float) && stash != int(onnx.Double) && stash != int(onnx.BFloat16) && stash != int(onnx.Float16) {
		return nil, c.Invalid("stash_type is %d, want a float type", stash)
	}
	v := &rowNorm{
		x: x, axis: axis, rows: elems(x.Shape[:axis]), size: elems(x.Shape[axis:]),
		eps: float64(c.Float("epsilon", 1e-5)), rms: rms,
	}
	if v.scale, err = v.param(c, 1); err != nil {
		return nil, err
	}
	if v.bias, err = v.param(c, 2); err != nil {
		return nil, err
	}
	stats := Type{DType: onnx.Float, Shape: append([]int(nil), x.Shape...)}
	if x.DType == onnx.Double {
		stats.DType = onnx.Double
	}
	for i := axis; i < len(x.Shape); i++ {
		stats.Shape[i] = 1
	}
	k := &Kernel{Out: []Type{x}, InPlace: []int{0}, FLOPs: 6 * float64(x.Elems())}
	for range c.Node.Outputs[1:] {
		k.Out = append(k.Out, stats)
	}
	if x.DType == onnx.Double {
		k.Bind = v.loops
	} else {
		k.Bind, k.WorkerScratch = v.bind, room(4, v.gathers(), v.size)
	}
	return k, nil
}

// param reads how input i broadcasts to the rows of x.
func (v *rowNorm) param(c *Call, i int) (*rowParam, error) {
	if !c.Has(i) {
		return nil, nil
	}
	t := c.In[i].Type
	if t.DType != v.x.DType && !(IsFloat32(t.DType) && IsFloat32(v.x.DType)) {
		return nil, c.Invalid("input %d is %v, the first %v", i, t.DType, v.x.DType)
	}
	rank := len(v.x.Shape)
	step := make([]int, rank)
	if len(t.Shape) > rank {
		return nil, c.Invalid("input %d has shape %v, which does not broadcast to %v", i, t.Shape, v.x.Shape)
	}
	n := 1
	for d := len(t.Shape) - 1; d >= 0; d-- {
		to := d + rank - len(t.Shape)
		switch t.Shape[d] {
		case v.x.Shape[to]:
			if t.Shape[d] != 1 {
				step[to] = n
			}
		case 1:
		default:
			return nil, c.Invalid("input %d has shape %v, which does not broadcast to %v", i, t.Shape, v.x.Shape)
		}
		n *= t.Shape[d]
	}
	p := &rowParam{input: i, shape: v.x.Shape[:v.axis], step: step[:v.axis], run: 1}
	for d := v.axis - 1; d >= 0 && step[d] == 0; d-- {
		p.run *= v.x.Shape[d]
	}
	p.at = newSpread(v.x.Shape[v.axis:], step[v.axis:])
	p.follows = v.size <= 1 || len(p.at.dims) == 1 && p.at.steps[0] == 1
	return p, nil
}

func (v *rowNorm) bind(m Memory) []Task {
	src, dst := Data[float32](m.In[0]), Data[float32](m.Out[0])
	var means, inverses []float32
	if len(m.Out) > 1 && m.Out[1] != nil {
		means = Data[float32](m.Out[1])
	}
	if len(m.Out) > 2 && m.Out[2] != nil {
		inverses = Data[float32](m.Out[2])
	}
	scale := Data[float32](m.In[1])
	var bias []float32
	if v.bias != nil {
		bias = Data[float32](m.In[2])
	}
	// Rows that share scale and bias go together; of two runs the shorter divides
	// the longer.
	run := v.scale.run
	if v.bias != nil {
		run = min(run, v.bias.run)
	}
	parts, step := divide(v.rows, 20+0.25*float64(v.size))
	return []Task{{parts, func(part, worker int) {
		room := Floats(m.Worker(worker), v.gathers()*v.size)
		lo, hi := bounds(part, step, v.rows)
		for r, next := lo, 0; r < hi; r = next {
			next = min(hi, r-r%run+run)
			free := room
			gamma := v.scale.row(scale, r, v.size, &free)
			var beta []float32
			if v.bias != nil {
				beta = v.bias.row(bias, r, v.size, &free)
			}
			kernel.NormRows(dst[r*v.size:], src[r*v.size:], gamma, beta, from(means, r), from(inverses, r), next-r, v.size, v.eps, !v.rms)
		}
	}}}
}

// gathers is how many of the parameters need room for a row of theirs.
func (v *rowNorm) gathers() (n int) {
	for _, p := range []*rowParam{v.scale, v.bias} {
		if p != nil && !p.follows {
			n++
		}
	}
	return n
}

// row is the parameter of row r, from all its data; elements that do not follow each
// other are brought together in room, which shrinks by the row.
func (p *rowParam) row(all []float32, r, size int, room *[]float32) []float32 {
	all = all[p.base(r):]
	if p.follows {
		return all[:size]
	}
	row := (*room)[:size]
	*room = (*room)[size:]
	for i := range row {
		row[i] = all[p.at.at(i)]
	}
	return row
}

// from is what follows the first r elements of x; nil for nil.
func from(x []float32, r int) []float32 {
	if x == nil {
		return nil
	}
	return x[r:]
}

// loops is the normalisation of float64.
func (v *rowNorm) loops(m Memory) []Task {
	src, dst := Data[float64](m.In[0]), Data[float64](m.Out[0])
	scale := Data[float64](m.In[1])
	var bias []float64
	if v.bias != nil {
		bias = Data[float64](m.In[2])
	}
	parts, step := divide(v.rows, 5*float64(v.size))
	return []Task{{parts, func(part, _ int) {
		lo, hi := bounds(part, step, v.rows)
		for r := lo; r < hi; r++ {
			x, y := src[r*v.size:][:v.size], dst[r*v.size:][:v.size]
			mean, variance := moments(x)
			if v.rms {
				variance += mean * mean
				mean = 0
			}
			inverse := 1 / math.Sqrt(variance+v.eps)
			if len(m.Out) > 1 && m.Out[1] != nil {
				Data[float64](m.Out[1])[r] = mean
			}
			if len(m.Out) > 2 && m.Out[2] != nil {
				Data[float64](m.Out[2])[r] = inverse
			}
			for i := range x {
				z := (x[i] - mean) * inverse * scale[v.scale.base(r)+v.scale.at.at(i)]
				if bias != nil {
					z += bias[v.bias.base(r)+v.bias.at.at(i)]
				}
				y[i] = z
			}
		}
	}}}
}
