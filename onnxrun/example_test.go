package onnxrun_test

import (
	"context"
	"fmt"
	"log"

	"sampleonnx/onnxrun"
)

// A network is opened once and evaluated as often as needed.
func ExampleModel_Run() {
	m, err := onnxrun.Open("../testdata/models/gaussian4.onnx")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	out, err := m.Run(context.Background(),
		onnxrun.Tensor{Name: "x", Shape: []int{1, 4}, Data: []float32{2, -2, 0.5, 3}},
		onnxrun.Tensor{Name: "sigma", Shape: []int{1}, Data: []float32{8}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s%v: %.4f\n", out[0].Name, out[0].Shape, out[0].Data.([]float32)[0])
	// Output: score[1 4]: -0.0156
}

// A field evaluates many samples, each at its own noise level.
func ExampleModel_Field() {
	m, err := onnxrun.Open("../testdata/models/gaussian4.onnx")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	score, err := m.Field(4)
	if err != nil {
		log.Fatal(err)
	}
	x := []float32{1, -2, 0.5, 3, 2, -2, 0.5, 3}
	dst := make([]float32, len(x))
	if err := score(dst, x, []float64{0.1, 8}); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.4f\n", dst[4]) // a step away from the mean, at σ = 8
	// Output: -0.0156
}

// A pullback is the derivative of a field: here, of a Gaussian's score, which is
// the same everywhere.
func ExampleModel_Pullback() {
	m, err := onnxrun.Open("../testdata/models/gaussian4.onnx")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	pullback, err := m.Pullback(4)
	if err != nil {
		log.Fatal(err)
	}
	// The divergence of the score at σ = 8, one unit vector after the other: the
	// trace of -(Σ + σ²)⁻¹.
	x := []float32{1, -2, 0.5, 3}
	row, divergence := make([]float32, 4), 0.0
	for i := range x {
		v := make([]float32, 4)
		v[i] = 1
		if err := pullback(row, v, x, []float64{8}); err != nil {
			log.Fatal(err)
		}
		divergence += float64(row[i])
	}
	fmt.Printf("%.4f\n", divergence)
	// Output: -0.0613
}
