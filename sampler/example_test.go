package sampler_test

import (
	"context"
	"fmt"
	"math"

	"sampleonnx/sampler"
	"sampleonnx/schedules"
)

// Two Gaussians of weights ¼ and ¾ at −2 and 2, sampled with their exact
// score.
func Example() {
	sde := schedules.VE{SigmaMin: 0.01, SigmaMax: 100}
	score := func(dst, x []float32, t []float64) error {
		for i, x := range x {
			_, sigma := sde.Marginal(t[i])
			v := 0.2*0.2 + sigma*sigma
			p := 1 / (1 + math.Exp(-4*float64(x)/v)/3) // of the mode at 2
			dst[i] = float32((4*p - 2 - float64(x)) / v)
		}
		return nil
	}
	b := &sampler.Batch{X: make([]float32, 10000), Dim: 1, Noise: sampler.Philox(1)}
	if err := b.Prior(sde.Prior()); err != nil {
		panic(err)
	}
	pc := sampler.PC{SDE: sde, N: 400, Predictor: sampler.ReverseDiffusion, Denoise: true}
	if err := pc.Sample(context.Background(), b, score); err != nil {
		panic(err)
	}
	right := 0
	for _, x := range b.X {
		if x > 0 {
			right++
		}
	}
	fmt.Printf("%.2f of the samples are near 2\n", float64(right)/10000)
	// Output:
	// 0.75 of the samples are near 2
}

// ringScore is the exact score of eight Gaussians on a ring of radius 4, of
// weights (1, 2, 1, 3, 1, 2, 1, 1)/12 and standard deviation .2, at noise
// level t.
func ringScore(dst, x []float32, t []float64) error {
	for i, sigma := range t {
		v := 0.2*0.2 + sigma*sigma
		px, py := float64(x[2*i]), float64(x[2*i+1])
		var total, sx, sy float64
		// |x−m|² = |x|²+16−2⟨x,m⟩: only the last term tells modes apart, and
		// it is 4|x| at most.
		top := 4 * math.Hypot(px, py)
		for k, w := range [8]float64{1, 2, 1, 3, 1, 2, 1, 1} {
			mx, my := ringMeans[k][0], ringMeans[k][1]
			p := w * math.Exp((px*mx+py*my-top)/v)
			total, sx, sy = total+p, sx+p*(mx-px), sy+p*(my-py)
		}
		dst[2*i], dst[2*i+1] = float32(sx/total/v), float32(sy/total/v)
	}
	return nil
}

var ringMeans = func() (m [8][2]float64) {
	for k := range m {
		sin, cos := math.Sincos(2 * math.Pi * float64(k) / 8)
		m[k] = [2]float64{4 * cos, 4 * sin}
	}
	return m
}()

// The idea of Song & Ermon (2019). Langevin dynamics at one small noise level
// follows the score faithfully and still gets the weights of separated modes
// wrong: each chain ends in the mode whose basin it started in. Annealed from
// a noise so large that there is one mode only, the chains divide as they
// should.
func ExampleAnnealed() {
	const n = 2000
	b := &sampler.Batch{X: make([]float32, 2*n), Dim: 2, Noise: sampler.Philox(7)}
	show := func(name string, s sampler.Sampler, std float64) {
		if err := b.Prior(std); err != nil {
			panic(err)
		}
		if err := s.Sample(context.Background(), b, ringScore); err != nil {
			panic(err)
		}
		var share [8]float64
		for i := range n {
			turn := math.Atan2(float64(b.X[2*i+1]), float64(b.X[2*i])) / (2 * math.Pi)
			share[int(math.Round(8*turn)+8)%8] += 100. / n
		}
		fmt.Printf("%-9s%3.0f\n", name, share)
	}
	fmt.Printf("%-9s%3.0f\n", "truth", []float64{100. / 12, 200. / 12, 100. / 12, 300. / 12, 100. / 12, 200. / 12, 100. / 12, 100. / 12})
	show("plain", sampler.Langevin{Sigma: 0.05, Alpha: 5e-4, Steps: 400}, 1)
	show("annealed", sampler.Annealed{Sigmas: schedules.Geometric(8, 0.05, 20), Steps: 30, Eps: 3e-4, Denoise: true}, 8)
	// Output:
	// truth    [  8  17   8  25   8  17   8   8]
	// plain    [ 13  13  12  13  11  12  13  13]
	// annealed [  8  16   9  24   8  16  10   9]
}

// A predictor–corrector run with the settings of Song et al. (2021) for VE,
// here on Gaussian data N(.7, .35²).
func ExamplePC() {
	sde := schedules.VE{SigmaMin: 0.01, SigmaMax: 5}
	score := func(dst, x []float32, t []float64) error {
		for i, x := range x {
			_, sigma := sde.Marginal(t[i/4])
			dst[i] = float32((0.7 - float64(x)) / (0.35*0.35 + sigma*sigma))
		}
		return nil
	}
	b := &sampler.Batch{X: make([]float32, 4096), Dim: 4, Noise: sampler.Philox(1)}
	if err := b.Prior(sde.Prior()); err != nil {
		panic(err)
	}
	pc := sampler.PC{
		SDE:       sde,
		N:         200,
		Predictor: sampler.ReverseDiffusion,
		Corrector: sampler.LangevinCorrector{SNR: 0.16}.Step,
		Denoise:   true,
	}
	if err := pc.Sample(context.Background(), b, score); err != nil {
		panic(err)
	}
	mean := 0.0
	for _, x := range b.X {
		mean += float64(x) / float64(len(b.X))
	}
	fmt.Printf("%d evaluations, mean %.1f\n", b.Calls, mean)
	// Output:
	// 400 evaluations, mean 0.7
}

// Trace follows a run: progress, trajectories, and a way to stop it.
func ExampleBatch_trace() {
	b := &sampler.Batch{X: make([]float32, 2), Dim: 2}
	b.Trace = func(p sampler.Progress) error {
		if p.Step%20 == 0 {
			fmt.Printf("step %d of %d: level %d, sigma %g\n", p.Step, p.Steps, p.Level, p.Sigma)
		}
		return nil
	}
	ald := sampler.Annealed{Sigmas: []float64{4, 2, 1}, Steps: 20, Eps: 0.01}
	if err := ald.Sample(context.Background(), b, ringScore); err != nil {
		panic(err)
	}
	// Output:
	// step 20 of 60: level 0, sigma 4
	// step 40 of 60: level 1, sigma 2
	// step 60 of 60: level 2, sigma 1
}

// A network with its own labels and output becomes a score: this one is told
// 999·t and answers with the noise, as networks trained on the VP equation do.
func ExampleFromNoise() {
	net := func(eps, x []float32, label []float64) error {
		fmt.Println("label", label[0])
		eps[0] = 0.5
		return nil
	}
	sde := schedules.VP{}
	score := sampler.FromNoise(sampler.Relabel(net, func(t float64) float64 { return 999 * t }), sde)
	s := make([]float32, 1)
	if err := score(s, []float32{0}, []float64{1}); err != nil {
		panic(err)
	}
	fmt.Printf("score %.4f\n", s[0])
	// Output:
	// label 999
	// score -0.5000
}

// A Step wraps a Step. This one knows the first value of every sample: after
// each step it puts there the datum with the noise of the time (Song et al.
// 2021, appendix I.2).
func ExampleStep() {
	sde := schedules.VE{SigmaMin: 0.01, SigmaMax: 10}
	const known, purpose = 1.0, 128
	impose := func(inner sampler.Step) sampler.Step {
		var z []float32
		return func(b *sampler.Batch, score sampler.Field, at sampler.Tick) error {
			if err := inner(b, score, at); err != nil {
				return err
			}
			z = append(z[:0], b.X...)
			if err := b.Normal(z, purpose); err != nil {
				return err
			}
			alpha, sigma := at.SDE.Marginal(at.T)
			for i := 0; i < len(b.X); i += b.Dim {
				b.X[i] = float32(alpha*known + sigma*float64(z[i]))
				b.Mean[i] = float32(alpha * known)
			}
			return nil
		}
	}
	// Two values with correlation .9: given the first, the second's mean is
	// 0.9.
	score := func(dst, x []float32, t []float64) error {
		for i := range t {
			_, sigma := sde.Marginal(t[i])
			v := 1 + sigma*sigma
			p, q := float64(x[2*i]), float64(x[2*i+1])
			det := v*v - 0.81
			dst[2*i], dst[2*i+1] = float32((0.9*q-v*p)/det), float32((0.9*p-v*q)/det)
		}
		return nil
	}
	b := &sampler.Batch{X: make([]float32, 2*2000), Dim: 2, Noise: sampler.Philox(1)}
	if err := b.Prior(sde.Prior()); err != nil {
		panic(err)
	}
	pc := sampler.PC{
		SDE: sde, N: 100, Denoise: true,
		Predictor: impose(sampler.ReverseDiffusion),
		Corrector: impose(sampler.AnnealedCorrector{SNR: 0.3, Steps: 5}.Step),
	}
	if err := pc.Sample(context.Background(), b, score); err != nil {
		panic(err)
	}
	mean := 0.0
	for i := 1; i < len(b.X); i += 2 {
		mean += float64(b.X[i]) / 2000
	}
	fmt.Printf("first %.2f, mean of the second %.1f\n", b.X[0], mean)
	// Output:
	// first 1.00, mean of the second 0.9
}

// Forty levels of Karras et al. (2022) on a raw network F with their
// preconditioning: here the F that a perfect denoiser of N(.7, .35²) would have.
func ExampleHeun() {
	edm := schedules.EDM(0.5)
	net := func(dst, x []float32, cNoise []float64) error {
		for i, x := range x {
			sigma := math.Exp(4 * cNoise[i])
			skip, out, in, _ := edm(sigma)
			y := float64(x) / in
			denoised := y + sigma*sigma*(0.7-y)/(0.35*0.35+sigma*sigma)
			dst[i] = float32((denoised - skip*y) / out)
		}
		return nil
	}
	sigmas := append(schedules.Karras(80, 0.002, 7, 40), 0)
	b := &sampler.Batch{X: make([]float32, 4096), Dim: 1, Noise: sampler.Philox(1)}
	if err := b.Prior(sigmas[0]); err != nil {
		panic(err)
	}
	err := sampler.Heun{Sigmas: sigmas}.Sample(context.Background(), b, sampler.FromPrecond(net, edm))
	if err != nil {
		panic(err)
	}
	fmt.Printf("%d calls, spread %.2f\n", b.Calls, spread(b.X))
	// Output:
	// 79 calls, spread 0.36
}

// A DDPM network, which takes an index and predicts the noise of a
// variance-preserving path, in DPM-Solver++(2M) with diffusers' steps.
func ExampleDPMpp() {
	path := schedules.FromBetas(schedules.Linear(1e-4, 0.02, 1000))
	eps := func(dst, x []float32, index []float64) error { // of N(.7, .35²)
		for i, x := range x {
			a, sigma := path.Marginal(index[i])
			dst[i] = float32(sigma * (float64(x) - a*0.7) / (a*a*0.35*0.35 + sigma*sigma))
		}
		return nil
	}
	var sigmas []float64
	for _, i := range schedules.Trailing.DPMSolver(1000, 50, 0) {
		sigmas = append(sigmas, path[i])
	}
	sigmas = append(sigmas, 0)
	b := &sampler.Batch{X: make([]float32, 4096), Dim: 1, Noise: sampler.Philox(1)}
	if err := b.Prior(sigmas[0]); err != nil {
		panic(err)
	}
	score := sampler.InVE(sampler.FromNoise(eps, path), path)
	if err := (sampler.DPMpp{Sigmas: sigmas}).Sample(context.Background(), b, score); err != nil {
		panic(err)
	}
	fmt.Printf("%d calls, spread %.2f\n", b.Calls, spread(b.X))
	// Output:
	// 50 calls, spread 0.35
}

func spread(x []float32) float64 {
	var sum, squares float64
	for _, v := range x {
		sum += float64(v)
		squares += float64(v) * float64(v)
	}
	n := float64(len(x))
	return math.Sqrt(squares/n - sum*sum/n/n)
}
