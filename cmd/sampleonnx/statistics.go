package main

import "math"

// relativeRMS is the root mean square of got−want over that of want.
func relativeRMS(got, want []float32) float64 {
	var diff, size float64
	for i, w := range want {
		d := float64(got[i]) - float64(w)
		diff += d * d
		size += float64(w) * float64(w)
	}
	if size == 0 {
		size = 1
	}
	return math.Sqrt(diff / size)
}

var featureNames = [...]string{"image mean", "image std", "gradient energy"}

// features are three numbers of an image: mean, standard deviation, and the mean square of vertical differences. Comparing few features of
// many images is more telling than comparing every pixel.
func features[T float32 | float64](x []T, shape []int) [3]float64 {
	n := float64(len(x))
	var mean, sq, grad float64
	for _, v := range x {
		mean += float64(v) / n
	}
	for _, v := range x {
		d := float64(v) - mean
		sq += d * d / n
	}
	w := shape[len(shape)-1]
	plane := w * shape[len(shape)-2]
	pairs := 0
	for i := range x {
		if i%plane >= w {
			d := float64(x[i]) - float64(x[i-w])
			grad += d * d
			pairs++
		}
	}
	return [3]float64{mean, math.Sqrt(sq), grad / float64(max(pairs, 1))}
}
