// Package schedules knows the numbers of score-based sampling: how noise
// grows with time, at which levels a sampler stops, and how large its steps
// may be. It has no vectors and imports nothing but the standard library.
//
// Three stochastic differential equations carry data to noise (Song et al.
// 2021, "Score-Based Generative Modeling through Stochastic Differential
// Equations"): [VE] (variance exploding), [VP] (variance preserving) and
// [SubVP]. All are linear in x, so each is a handful of functions of time:
//
//	dx = f(t)·x dt + g(t) dw        Coeffs
//	x_t | x_0 ~ N(α(t) x_0, σ(t)²I)  Marginal
//	x_{k+1} = (1+f_k) x_k + g_k z    Discretize
//
// A ladder is a plain []float64 of noise levels, highest first: [Geometric],
// [Linear], [Karras], [PolyExponential]; [Ladder] reads one off a path. The same
// functions make time grids. [Index] and [Level] go from levels to a network's
// indices and back.
//
// A network of DDPM's kind is described by its betas, [Linear], [ScaledLinear]
// or [Cosine], perhaps with [ZeroTerminalSNR]: [FromBetas] makes their path,
// whose time is the index, and a [Spacing] chooses the steps as diffusers does.
// [Rectified] is the path of flow matching. A [Precond] says how a raw network
// becomes a denoiser: [EDM] and others.
//
// [MaxDistance], [Gamma], [Levels] and [Eps] are the "techniques" 1, 2 and 4
// of NCSNv2 (Song & Ermon 2020), which choose σ_1, the ladder's ratio and the
// step size from the data's diameter and dimension.
//
// # Design
//
// Why does Discretize take k and n next to t? The published code looks its
// tables up at k = trunc(t(N−1)) in float32. In exact arithmetic that is
// N−1−i at step i; passing the integer leaves nothing to round. The sub-VP
// equation has no table of its own and needs t.
//
// Why are exp and log written out here? math.Exp and math.Log are assembly on
// some machines, and Go may fuse x*y+z on others. The ones here round the same
// way everywhere, so a schedule has the same bits on every machine; but Cosine
// and KDiffusionV's label take package math's functions.
//
// Why −expm1 everywhere? 1−α² near t=0 loses all its digits when subtracted;
// at t=1e-5 the VP σ would keep 10 of 16.
//
// Why does the zero VP work and the zero VE not? β from 0.1 to 20 is what
// every published VP network was trained with. σ_max is a property of the data
// (technique 1) and nobody should guess it.
package schedules
