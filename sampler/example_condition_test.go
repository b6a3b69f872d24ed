package sampler_test

import (
	"context"
	"fmt"

	"sampleonnx/sampler"
	"sampleonnx/schedules"
)

// Two values with correlation .9, of which the first is known for every sample:
// inpainting. The measurement wraps predictor and corrector, and Impose starts
// and ends the run.
func ExampleMeasurement() {
	sde := schedules.VE{SigmaMin: 0.01, SigmaMax: 10}
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
	first, err := sampler.Mask([]bool{true, false})
	if err != nil {
		panic(err)
	}
	known := sampler.Measurement{A: first, Y: []float64{1, -1}} // of even samples, and of odd ones
	b := &sampler.Batch{X: make([]float32, 2*4000), Dim: 2, Noise: sampler.Philox(1)}
	if err := b.Prior(sde.Prior()); err != nil {
		panic(err)
	}
	if err := known.Impose(b, 1, sde.Prior(), 1); err != nil {
		panic(err)
	}
	pc := sampler.PC{
		SDE: sde, N: 100, Denoise: true,
		Predictor: known.After(sampler.ReverseDiffusion),
		Corrector: known.After(sampler.AnnealedCorrector{SNR: 0.3, Steps: 8}.Step),
	}
	if err := pc.Sample(context.Background(), b, score); err != nil {
		panic(err)
	}
	var even, odd float64
	for i := 0; i < len(b.X); i += 4 {
		even += float64(b.X[i+1]) / 2000
		odd += float64(b.X[i+3]) / 2000
	}
	fmt.Printf("known %.1f and %.1f, mean of the other %.1f and %.1f\n", b.X[0], b.X[2], even, odd)
	// Output:
	// known 1.0 and -1.0, mean of the other 0.9 and -0.9
}

// Two classes, N(−2, 1) and N(2, 1): with the gradient of a classifier every
// sampler draws from one of them.
func ExampleGuided() {
	score := func(dst, x []float32, t []float64) error { // of both, equally likely
		for i, sigma := range t {
			v := 1 + sigma*sigma
			p := 1 / (1 + schedules.Exp(-4*float64(x[i])/v))
			dst[i] = float32((4*p - 2 - float64(x[i])) / v)
		}
		return nil
	}
	logits := func(dst, x []float32, t []float64) error {
		for i, sigma := range t {
			dst[2*i], dst[2*i+1] = 0, float32(4*float64(x[i])/(1+sigma*sigma))
		}
		return nil
	}
	pull := func(dst, v, x []float32, t []float64) error {
		for i, sigma := range t {
			dst[i] = float32(4 * float64(v[2*i+1]) / (1 + sigma*sigma))
		}
		return nil
	}
	sigmas := append(schedules.Karras(80, 0.01, 7, 30), 0)
	b := &sampler.Batch{X: make([]float32, 3000), Dim: 1, Noise: sampler.Philox(1)}
	// Samples 0, 3, … of the first class, the others of the second.
	gradient, err := sampler.Classifier{Logits: logits, Pull: pull, Classes: 2, Class: []int{0, 1, 1}}.Gradient(b)
	if err != nil {
		panic(err)
	}
	if err := b.Prior(sigmas[0]); err != nil {
		panic(err)
	}
	if err := (sampler.Heun{Sigmas: sigmas}).Sample(context.Background(), b, sampler.Guided(score, gradient, 1)); err != nil {
		panic(err)
	}
	var mean [3]float64
	for i, x := range b.X {
		mean[i%3] += float64(x) / 1000
	}
	fmt.Printf("means %.1f\n", mean)
	// Output:
	// means [-2.0 2.0 2.0]
}

// Means of 2×2 blocks, of super-resolution.
func ExampleAverage() {
	blocks, err := sampler.Average(1, 4, 4, 2)
	if err != nil {
		panic(err)
	}
	y := make([]float64, 4)
	blocks.Apply(y, []float64{
		1, 1, 2, 4,
		1, 1, 2, 4,
		3, 3, 0, 0,
		3, 3, 0, 8,
	})
	fmt.Println(y)
	// Output:
	// [1 3 3 2]
}
