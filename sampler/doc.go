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
// A [Sampler] is a struct of settings; the table below has them all.
// A [Batch] is the state: what is being sampled, its noise, its counters, and
// a Trace hook for progress, trajectories and stopping. A [Field] is made from
// what a network really computes by [Relabel] (what it is told) and
// [FromNoise], [FromNormalised], [FromDenoiser], [FromVelocity], [FromFlow]
// (what it answers). Noise is [Philox]; [Torch] is PyTorch's after
// manual_seed, [Jax] JAX's of a key, [Replay] a recorded run's.
//
// Time is the SDE's own t, from T down to ε. For the samplers on a ladder of
// noise levels it is σ, and the state is in VE coordinates, x_t/α: [InVE] and
// [FromPrecond] bring networks of other paths there, [FromVE] brings them back,
// and [schedules.Ladder] has their levels.
//
//	sigmas := append(schedules.Karras(80, 0.002, 7, 18), 0)
//	score := sampler.FromPrecond(net, schedules.EDM(0.5))
//	err := b.Prior(sigmas[0])
//	err = sampler.Heun{Sigmas: sigmas}.Sample(ctx, b, score)
//
// # Samplers
//
// Order is that of the ODE's solution or, of stochastic samplers, of the law, as
// the tests measure it; calls are evaluations of the score.
//
//	sampler                   order  calls a step  noise   from
//	Langevin                  1      1             yes     Song & Ermon 2019
//	Annealed                  –      Steps         yes     Song & Ermon 2019, 2020
//	Consistent                1      1             yes     Jolicoeur-Martineau et al. 2021a
//	PC                        1      1+correctors  yes     Song et al. 2021
//	Flow                      5(4)   6 a try       no      Song et al. 2021; Dormand & Prince 1980
//	Flow, Heun                2(1)   2 a try       no      Song et al. 2021
//	AdaptiveSDE               –      2 a try       yes     Jolicoeur-Martineau et al. 2021b
//	Euler                     1      1             no      Karras et al. 2022; = DDIM, DPM-Solver-1
//	Euler, Eta                1      1             yes     euler_a of k-diffusion; = DDIM(η)
//	Heun                      2      2             no      Karras et al. 2022
//	Euler, Heun, … Churn      –      as without    yes     Karras et al. 2022
//	DPMSolver, Order 1 … 3    1 … 3  Order         no      Lu et al. 2022a; 2 is dpm_2
//	DPMSolver, Eta            2      2             yes     dpm_2_a of k-diffusion
//	DPMSolver, FastOrders     3      3             no      Lu et al. 2022a; dpm_fast of k-diffusion
//	DPMAdaptive, Order        2, 3   Order a try   no      Lu et al. 2022a; dpm_adaptive of k-diffusion
//	LMS, Order 1 … 4          Order  1             no      lms of k-diffusion
//	DPMpp2S                   2      2             no      Lu et al. 2022b
//	DPMpp2S, Eta              2      2             yes     dpmpp_2s_ancestral of k-diffusion
//	DPMpp, Order 1 … 3        1 … 3  1             no      Lu et al. 2022b; 2 is dpmpp_2m
//	DEIS, Order 1 … 3         Order  1             no      Zhang & Chen 2022, tAB in ln ρ
//	PNDM                      2      1, and one    no      Liu et al. 2022; PLMS of latent diffusion
//	PNDM, Middles             2      1, first 4    no      Liu et al. 2022, F-PNDM
//	PNDM, LowerOrders         2      1             no      Zhang & Chen 2022, iPNDM
//	DPMppSDE                  2      2             path    dpmpp_sde of k-diffusion
//	DPMpp2MSDE                2      1             path    dpmpp_2m_sde; Lu et al. 2022b
//	DPMpp3MSDE                2      1             path    dpmpp_3m_sde of k-diffusion
//	UniPC, Order p            p+1    1             no      Zhao et al. 2023
//	DDIM                      1      1             Eta     Song, Meng & Ermon 2021
//	DDPM                      1      1             yes     Ho et al. 2020
//	Straight                  1      1             no      Liu et al. 2023, Lipman et al. 2023; of a velocity
//	Straight, Heun            2      2             no      Heun's method on the same path
//
// [Threshold] is a sampler of any of these on a ladder with x̂_0 thresholded, for
// strong guidance.
//
// Orders above 2 of the multistep samplers are those between their ends: they
// begin, and UniPC ends, in lower order, and one step in order 1 is an error of
// the step's square. "path" is one Brownian path whatever the ladder.
//
// Likelihood runs the probability-flow ODE the other way, from data to noise,
// and integrates the divergence on the way: the exact log p of a datum. Without
// it that is [Flow.Encode], which gives data their codes: Flow.Sample brings
// them back, and [Slerp] goes from one code to another.
//
// Package sampler/stats compares what comes out with what should.
//
// # Conditions
//
// Samples with a property are drawn by what wraps the score or the steps, and
// every sampler serves. [Guided] adds the gradient of ln p(y | x, t), which a
// [Classifier] has; [ClassifierFree] weighs a network that is told the class
// against one that is not. Of what was measured, y = A x_0, a [Measurement]
// makes inpainting, colorization, super-resolution, deblurring, or what else A
// is, an [Operator]:
//
//	known := sampler.Measurement{A: mask, Y: values}
//	pc.Predictor = known.After(sampler.ReverseDiffusion)  // Step → Step
//	score, err := known.Score(b, score, path, 1)          // Field → Field
//
//	method                 needs       exact?                  from
//	After, Before          score       with enough correctors  Song et al. 2021, I.2; Song et al. 2022
//	Annealed.Before        score       with enough steps       Song & Ermon 2020; Held: 2019
//	Measurement.Score      score       no                      Wang, Yu & Zhang 2023, DDNM
//	DPS                    derivative  no                      Chung et al. 2023
//	PiGDM                  derivative  no                      Song, Vahdat, Mardani & Kautz 2023
//	REDdiff                score       no law: an optimum      Mardani et al. 2023
//
// Classes and measurements are lists that samples take in turn, by their index
// in the run: what sample i is asked to be does not depend on its batch either,
// and [Batch.Sample] tells a field which samples it is asked for.
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
// Why have the ladder's samplers no form for VP? In VE coordinates VP's
// equations are the same, since ρ = σ/α is all that they depend on: DDIM is
// Euler's method, DDPM and the ancestral samplers differ from it by how they
// split a step. A step is a sum of arrays with coefficients that the sampler's
// file states, and one kernel adds them up.
//
// Why a Brownian path? To tell the error of a sampler from its noise: with
// twice the steps the samples stay where they are and only become better. And
// an adaptive sampler may look at a step's noise and reject it without a bias
// only if the noise was there before.
//
// Why own logarithm, sine and cosine? Package math has assembly on some
// machines and fused products on others; samples should be the same bits
// everywhere. For the same reason products are rounded, float64(x*y), before
// they are added, by samplers and schedules alike; a test reads what the
// compiler makes of them where it may fuse. The assembly in internal/philox,
// which makes eight blocks at once, rounds what its Go code rounds, and fuses
// nothing either.
//
// Why is the state float32? The networks are, and the published code is;
// coefficients and sums are float64, and each step rounds once. An ODE's
// state is float64 between evaluations, as scipy's is.
//
// How is an algorithm proved? With a Gaussian's score every sampler here is an
// affine map of its start and its draws. The tests measure that map with unit
// impulses, in float64, and compare it to recursions written from the papers,
// to 1e-12. Runs of the authors' programs, replayed with their noise, and
// measured orders of convergence say that the papers were read right.
package sampler
