//go:build !race

package onnxrun_test

const raceEnabled = false
