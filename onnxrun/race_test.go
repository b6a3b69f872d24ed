//go:build race

package onnxrun_test

// raceEnabled: the race detector makes sync.Pool forget at random, which allocates.
const raceEnabled = true
