package main

import (
	"context"
	"fmt"
	"log"

	"sampleonnx/onnxrun"
	"sampleonnx/sampler"
	"sampleonnx/schedules"
)

// A Go program needs the three packages and about fifteen lines.
func Example_embedding() {
	model, err := onnxrun.Open("../../testdata/models/swissroll.onnx")
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	score, err := model.Field(2) // samples are points in the plane
	if err != nil {
		log.Fatal(err)
	}
	const n = 500
	batch := &sampler.Batch{X: make([]float32, n*2), Dim: 2, Noise: sampler.Philox(1)}
	sigmas := schedules.Geometric(4, 0.01, 20)
	if err := batch.Prior(sigmas[0]); err != nil {
		log.Fatal(err)
	}
	ald := sampler.Annealed{Sigmas: sigmas, Steps: 20, Eps: 1.5e-5, Denoise: true}
	if err := ald.Sample(context.Background(), batch, score); err != nil {
		log.Fatal(err)
	}
	inside := 0
	for i := range n {
		if x, y := batch.X[2*i], batch.X[2*i+1]; x*x+y*y < 2.2*2.2 {
			inside++
		}
	}
	fmt.Printf("%d of %d points lie within the roll's radius\n", inside, n)
	// Output: 500 of 500 points lie within the roll's radius
}
