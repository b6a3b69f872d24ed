package ops

import (
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
)

// rotary is RotaryEmbedding: pairs of a head's first dims elements are turned
// by the angle that belongs to the row's position.
type rotary struct {
	x           heads
	dims        int
	interleaved bool // pairs are neighbours; otherwise half the dims apart
	positions   bool // rows of the caches are looked up; otherwise one for each row of x
	cache       int  // rows of the caches
	node        string
}

func lowerRotary(c *Call) (*Kernel, error) {
	x := c.In[0].Type
	if !IsFloat32(x.DType) && x.DType != onnx.Double || c.In[1].DType != x.DType || c.In[2].DType != x.DType {
		return nil, c.Invalid("the inputs are %v, %v and %v, want one float type", x.DType, c.In[1].DType, c.In[2].DType)
	}
	r := &rotary{dims: c.Int("rotary_embedding_dim", 0), interleaved: c.Int("interleaved", 0) != 0, positions: c.Has(3), node: c.Node.Where()}
	var err error
	if r.x, err = newHeads(c, 0, "num_heads"); err != nil {
		return nil, err
	}
	if r.dims == 0 {
		r.dims = r.x.size
	}
	if r.dims < 0 || r.dims > r.x.size || r.dims%2 != 0 {
		return nil, c.Invalid("rotary_embedding_dim is %d, want an even number up to the %d elements of a head", r.dims, r.x.size)
	}
	cos, sin := c.In[1].Shape, c.In[2].Shape
	want := []int{r.x.batch, r.x.length, r.dims / 2}
	if r.positions {
		if c.In[3].DType != onnx.Int64 || !slices.Equal(c.In[3].Shape, want[:2]) {
			return nil, c.Invalid("position_ids is %v, want int64%v", c.In[3].Type, want[:2])
		}
		if len(cos) != 2 {
			return nil, c.Invalid("cos_cache has shape %v, want two axes", cos)
		}
		want = []int{cos[0], r.dims / 2}
		r.cache = cos[0]
	}
	if !slices.Equal(cos, want) || !slices.Equal(sin, want) {
		return nil, c.Invalid("the caches have shapes %v and %v, want %v", cos, sin, want)
	}
	k := &Kernel{Out: []Type{x}, InPlace: []int{0}, FLOPs: 3 * float64(x.Elems())}
	if x.DType == onnx.Double {
		k.Bind = func(m Memory) []Task { return rotaryTasks[float64](r, m) }
	} else {
		k.Bind = func(m Memory) []Task { return rotaryTasks[float32](r, m) }
	}
	return k, nil
}

func rotaryTasks[T float](r *rotary, m Memory) []Task {
	src, cos, sin, dst := Data[T](m.In[0]), Data[T](m.In[1]), Data[T](m.In[2]), Data[T](m.Out[0])
	var positions []int64
	if r.positions {
		positions = Data[int64](m.In[3])
	}
	half := r.dims / 2
	items := r.x.batch * r.x.heads * r.x.length
	parts, step := divide(items, 10+2*float64(r.x.size))
	return []Task{{parts, func(part, _ int) {
		lo, hi := bounds(part, step, items)
		for i := lo; i < hi; i++ {
			b, h, l := i/r.x.length/r.x.heads, i/r.x.length%r.x.heads, i%r.x.length
			row := b*r.x.length + l
			at := r.x.at(b, h, l)
			x, y := src[at:][:r.x.size], dst[at:][:r.x.size]
			copy(y[r.dims:], x[r.dims:])
			if positions != nil {
				p := positions[row]
				if p < -int64(r.cache) || p >= int64(r.cache) {
					panic(&IndexError{r.node, p, r.cache})
				}
				if row = int(p); row < 0 {
					row += r.cache
				}
			}
			c, s := cos[row*half:][:half], sin[row*half:][:half]
			for j := range half {
				j1, j2 := j, j+half
				if r.interleaved {
					j1, j2 = 2*j, 2*j+1
				}
				x1, x2 := x[j1], x[j2]
				y[j1] = T(c[j]*x1) - T(s[j]*x2)
				y[j2] = T(s[j]*x1) + T(c[j]*x2)
			}
		}
	}}}
}
