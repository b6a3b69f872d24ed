package ops

import "sampleonnx/onnxrun/internal/kernel"

// winogradTiles is the number of tiles that go through Winograd's three steps
// together: twice the height of the microkernel, so that what they leave behind
// stays in the second-level cache from step to step. The bytes of a result do
// not depend on it.
const winogradTiles = 28

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
	)
	ic, oc := float64(kernel.Blocks(v.ic)), float64(kernel.Blocks(v.oc))
	cost := func(m, batch int) float64 {
		products, work, transform := 9., float64(elems(w.out)), 0.
		if m > 0 {
			g := v.winograd(m)
			g.Init()
			products, work = float64(g.Products()), float64(g.Tiles())
			transform = work * (ic + oc) * float64(m*m) * 6.5
		}
		weights := products * ic * oc * Block * Block
		multiply := 2 * weights * work / flops
		// Reading weights hides behind arithmetic in part.
		read := 4 * weights / stream
		compute := float64(batch) * (multiply + transform)
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
// of its own; or, when there are too few tiles for all workers, each step is a
// task, its parts sharing the channels and the products.
func (v *conv) bindWinograd(k *Kernel, c *Call, m int) {
	k.Algo = map[int]string{2: "winograd 2×2", 4: "winograd 4×4"}[m]
	g := v.winograd(m)
	g.Init()
	tiles := v.n * g.Tiles()
	g.Room = min(tiles, winogradTiles)
	g.Init()
	inLen, productLen := align64(4*g.InputLen())/4, align64(4*g.ProductLen())/4
	k.WorkerScratch = 4 * (inLen + productLen)
	weights, packs := c.In[1].Const, c.Packs
	how := k.Algo
	srcLen := v.x.Len() / max(v.n, 1)
	dstLen := k.Out[0].Len() / max(v.n, 1)
	k.Bind = func(mem Memory) []Task {
		dst := Data[float32](mem.Out[0])
		if len(dst) == 0 {
			return nil
		}
		g := *g
		src := Data[float32](mem.In[0])
		packed := packs.Get(weights, how, g.PackedLen(), func(dst []float32) { g.Pack(dst, Data[float32](weights)) })
		bias, add := v.biasOf(mem), v.post.addend(mem)
		per := g.Tiles()
		ic, oc := kernel.Blocks(v.ic), kernel.Blocks(v.oc)
		// Tiles are numbered through the batch; these take them image by image.
		input := func(to []float32, t0, t1, b0, b1 int) {
			for at := t0; at < t1; {
				n, t := at/per, at%per
				end := min(per, t+t1-at)
				g.Input(to, src[n*srcLen:][:srcLen], at-t0, t, end, b0, b1)
				at += end - t
			}
		}
		output := func(from []float32, t0, t1, b0, b1 int) {
			for at := t0; at < t1; {
				n, t := at/per, at%per
				end := min(per, t+t1-at)
				var plus []float32
				if add != nil {
					plus = add[n*dstLen:][:dstLen]
				}
				g.Output(dst[n*dstLen:][:dstLen], from, bias, plus, v.post.scale, at-t0, t, end, b0, b1, v.post.act)
				at += end - t
			}
		}
		if tiles >= 24*mem.Workers || mem.Workers == 1 {
			parts := ceilDiv(tiles, g.Room)
			parts = ceilDiv(parts, mem.Workers) * mem.Workers
			step := ceilDiv(tiles, parts)
			parts = ceilDiv(tiles, step)
			return []Task{{parts, func(part, worker int) {
				mine := Floats(mem.Worker(worker), inLen+productLen)
				from, to := mine[:inLen], mine[inLen:]
				t0, t1 := bounds(part, step, tiles)
				input(from, t0, t1, 0, ic)
				g.Multiply(to, from, packed, t1-t0, 0, g.Products(), 0, g.Groups())
				output(to, t0, t1, 0, oc)
			}}}
		}
		all := Floats(mem.Worker(0), inLen+productLen) // nobody else uses it
		from, to := all[:inLen], all[inLen:]
		var tasks []Task
		for t0 := 0; t0 < tiles; t0 += g.Room {
			t1 := min(tiles, t0+g.Room)
			items := g.Products() * g.Groups()
			parts, step := divide(items, float64((t1-t0)*v.ic*2*kernel.PanelCols)/100)
			tasks = append(tasks,
				Task{ic, func(b, _ int) { input(from, t0, t1, b, b+1) }},
				Task{parts, func(part, _ int) {
					lo, hi := bounds(part, step, items)
					for lo < hi {
						xi, group := lo/g.Groups(), lo%g.Groups()
						end := min(g.Groups(), group+hi-lo)
						g.Multiply(to, from, packed, t1-t0, xi, xi+1, group, end)
						lo += end - group
					}
				}},
				Task{oc, func(b, _ int) { output(to, t0, t1, b, b+1) }})
		}
		return tasks
	}
}
