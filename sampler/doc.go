// Package sampler draws samples with a score network: it turns noise into data
// by following s(x, t) = ∇ ln p_t(x). It knows vectors and nothing of tensors,
// files or networks; a network is a [Field], any function of the right form.
//
//	b := &sampler.Batch{X: make([]float32, n*dim), Dim: dim, Noise: sampler.Philox(seed)}
//	err := b.Prior(sde.Prior())             // X = σ_max z
//	err = sampler.PC{                       // the algorithm and its settings
//		SDE:       sde,
//		N:         1000,
//		Predictor: sampler.ReverseDiffusion,
//		Corrector: sampler.LangevinCorrector{SNR: 0.16}.Step,
//		Denoise:   true,
//	}.Sample(ctx, b, score)                 // b.X holds the samples
//
// A [Sampler] is a struct of settings: [Langevin], [Annealed], [PC] or [Flow].
// A [Batch] is the state: what is being sampled, its noise, its counters, and
// a Trace hook for progress, trajectories and stopping. A [Field] is made from
// what a network really computes by [Relabel] (what it is told) and
// [FromNoise], [FromNormalised], [FromDenoiser], [FromVelocity] (what it
// answers). Noise is [Philox], or [Replay] for a recorded run.
//
// Time is the SDE's own t, from T down to ε; for [Langevin] and [Annealed] it
// is σ.
//
// # Design
//
// On what does a sample depend? On the model, the settings, the seed and its
// own index: not on the batch it is drawn in, nor on threads or interruption.
// So noise is a function of the sample's index, norms and step sizes are taken
// sample by sample, and adaptive solvers keep a time for each. Where the
// published code couples the batch, that is a setting ([NormBatch],
// Flow.Coupled).
//
// Why is starting a run (Prior, Uniform) not part of Sample? Because X may
// come from elsewhere: a recorded state, a datum to encode, another sampler.
// A second Sample on the same batch draws on from where the first stopped;
// Prior and Uniform rewind.
//
// Why are predictors and correctors of one type? So that what wraps one wraps
// the other: imposing known pixels is a Step → Step, guidance a Field → Field,
// and no loop is written twice.
//
// Why does Tick carry k and n? The published chains look tables up by an
// integer that float time can miss.
//
// Why own logarithm, sine and cosine? Package math has assembly on some
// machines and fused products on others; noise should be the same bits
// everywhere. For the same reason products are rounded, float64(x*y), before
// they are added.
//
// Why is the state float32? The networks are, and the published code is;
// coefficients and sums are float64, and each step rounds once. An ODE's
// state is float64 between evaluations, as scipy's is.
//
// How is an algorithm proved? With a Gaussian's score every sampler here is an
// affine map of its start and its draws. The tests measure that map with unit
// impulses, in float64, and compare it to recursions written from the papers,
// to 1e-12.
package sampler
