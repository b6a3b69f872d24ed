//go:build !unix

package main

import "runtime"

// peakMemory is what the Go runtime has obtained from the system, in bytes: memory that is mapped from files is not in it.
func peakMemory() float64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.Sys)
}
