package ops

import "sampleonnx/onnxrun/internal/kernel"

// winogradTiles is the number of tiles that go through Winograd's steps together:
// enough that transforming the filters for them is little work beside multiplying by
// them, and few enough that they stay in the second-level cache. The bytes of a result
// do not depend on it.
const winogradTiles = 64

// algorithm is how a direct convolution is computed: 4 or 2, the size of
// Winograd's tiles, or 0, by its definition. It depends on the shapes of one
// image and of the weights; not on the batch, since a sample must not depend on
// how many others there are, nor on anything measured.
//
// The costs, in ns, are those of a batch of one and of eight together, each
// relative to the direct convolution, so that both count alike. Weights come
// from memory: those of a whole network do not fit a cache.
func (v *conv) algorithm(exact bool) int {
	w := v.w
	if exact || v.groups != 1 || v.x.Layout != Blocked || len(w.in) != 2 || elems(w.stride) != 1 || w.kernel[0] != 3 || w.kernel[1] != 3 || elems(w.out) == 0 {
		return 0
	}
	const (
		flops  = 110 // a ns, of the microkernel; on slower machines all is slower alike
		stream = 14  // bytes a ns, of weights
		move   = 2.1 // ns, for a vector of a transform of the source or the products
		spread = 1.5 // ns, for a vector of transformed filters
		few    = 8   // tiles, below which the microkernel is no faster
	)
	ic, oc := float64(kernel.Blocks(v.ic)), float64(kernel.Blocks(v.oc))
	products := 2 * ic * oc * Block * Block / flops // of a pixel or tile
	filters := ic * oc * Block                      // vectors of taps
	read := 9 * 4 * Block * filters / stream
	cost := func(m, batch int) float64 {
		compute := 9 * products * float64(batch*elems(w.out))
		if m > 0 {
			g := v.winograd(m)
			g.Init()
			xis, tiles := float64(g.Products()), batch*g.Tiles()
			compute = xis * (products*float64(max(tiles, few)) + move*(ic+oc)*float64(tiles) + spread*filters*float64(ceilDiv(tiles, winogradTiles)))
		}
		// Reading weights hides behind arithmetic in part.
		return max(compute, read) + min(compute, read)/2
	}
	best, least := 0, 2.
	for _, m := range []int{2, 4} {
		if c := cost(m, 1)/cost(0, 1) + cost(m, 8)/cost(0, 8); c < least {
			best, least = m, c
		}
	}
	return best
}

// winograd is the convolution for the kernels.
func (v *conv) winograd(m int) *kernel.Winograd {
	w := v.w
	return &kernel.Winograd{M: m, IC: v.ic, OC: v.oc, H: w.in[0], W: w.in[1], OH: w.out[0], OW: w.out[1],
		Top: w.begin[0], Left: w.begin[1], DilH: w.dilation[0], DilW: w.dilation[1]}
}

// bindWinograd: either every part takes some tiles through all steps in memory
// of its own; or, when there are too few tiles for all workers, the transform of the
// source is a task for all of them, and then each part takes some outputs.
func (v *conv) bindWinograd(k *Kernel, c *Call, m int) {
	k.Algo = map[int]string{2: "winograd 2×2", 4: "winograd 4×4"}[m]
	g := v.winograd(m)
	g.Init()
	tiles := v.n * g.Tiles()
	g.Room = min(tiles, winogradTiles)
	g.Init()
	inLen, weightLen, productLen := align64(4*g.InputLen())/4, align64(4*g.WeightLen())/4, align64(4*g.ProductLen())/4
	k.WorkerScratch = 4 * (inLen + weightLen + productLen)
	weights, packs := c.In[1].Const, c.Packs
	srcLen := v.x.Len() / max(v.n, 1)
	dstLen := k.Out[0].Len() / max(v.n, 1)
	k.Bind = func(mem Memory) []Task {
		dst := Data[float32](mem.Out[0])
		if len(dst) == 0 {
			return nil
		}
		g := *g
		src := Data[float32](mem.In[0])
		packed := packs.Get(weights, "winograd", g.PackedLen(), func(dst []float32) { g.Pack(dst, Data[float32](weights)) })
		bias, add := v.biasOf(mem), v.post.addend(mem)
		per := g.Tiles()
		ic := kernel.Blocks(v.ic)
		// images calls f for tiles [t0,t1) of the batch, image by image.
		images := func(t0, t1 int, f func(image, at, tile0, tile1 int)) {
			for at := t0; at < t1; {
				n, t := at/per, at%per
				end := min(per, t+t1-at)
				f(n, at-t0, t, end)
				at += end - t
			}
		}
		input := func(to []float32, t0, t1, b0, b1 int) {
			images(t0, t1, func(n, at, tile0, tile1 int) {
				g.Input(to, src[n*srcLen:][:srcLen], at, tile0, tile1, b0, b1)
			})
		}
		// output computes tiles [t0,t1) of a group, transformed from place at of from on.
		output := func(from, work []float32, at0, t0, t1, group int) {
			u, m := work[:weightLen], work[weightLen:]
			g.Multiply(m, u, from, packed, at0, at0+t1-t0, group)
			images(t0, t1, func(n, at, tile0, tile1 int) {
				var plus []float32
				if add != nil {
					plus = add[n*dstLen:][:dstLen]
				}
				g.Output(dst[n*dstLen:][:dstLen], m, bias, plus, v.post.scale, at0+at, tile0, tile1, group, v.post.act)
			})
		}
		work := func(worker int) (in, rest []float32) {
			mine := Floats(mem.Worker(worker), inLen+weightLen+productLen)
			return mine[:inLen], mine[inLen:]
		}
		if tiles >= 48*mem.Workers || mem.Workers == 1 {
			parts := ceilDiv(tiles, g.Room)
			parts = ceilDiv(parts, mem.Workers) * mem.Workers
			step := ceilDiv(tiles, parts)
			return []Task{{ceilDiv(tiles, step), func(part, worker int) {
				in, rest := work(worker)
				t0, t1 := bounds(part, step, tiles)
				input(in, t0, t1, 0, ic)
				for group := range g.Groups() {
					output(in, rest, 0, t0, t1, group)
				}
			}}}
		}
		in, _ := work(0) // nobody else uses this part of it
		var tasks []Task
		for t0 := 0; t0 < tiles; t0 += g.Room {
			t1 := min(tiles, t0+g.Room)
			pieces, step := divide(t1-t0, partNanos/32)
			tasks = append(tasks,
				Task{ic, func(b, _ int) { input(in, t0, t1, b, b+1) }},
				Task{pieces * g.Groups(), func(part, worker int) {
					_, rest := work(worker)
					lo, hi := bounds(part%pieces, step, t1-t0)
					output(in, rest, lo, t0+lo, t0+hi, part/pieces)
				}})
		}
		return tasks
	}
}
