package schedules

import "math"

// DDPM's "linear" betas are [Linear] (Ho et al. 2020: from 1e-4 to .02 in 1000).

// ScaledLinear returns n betas whose roots are evenly spaced, the schedule of
// latent diffusion (Rombach et al. 2022: from .00085 to .012 in 1000).
func ScaledLinear(first, last float64, n int) []float64 {
	v := Linear(math.Sqrt(first), math.Sqrt(last), n)
	for i := range v {
		v[i] *= v[i]
	}
	return v
}

// Cosine returns the n betas of Nichol & Dhariwal 2021 (equation 17):
// ᾱ(u) = cos²((u+.008)/1.008·π/2), β_i = 1−ᾱ((i+1)/n)/ᾱ(i/n), at most .999.
func Cosine(n int) []float64 {
	bar := func(i int) float64 {
		_, c := Sincos((float64(i)/float64(n) + 0.008) / 1.008 * math.Pi / 2)
		return c * c
	}
	v := make([]float64, n)
	for i := range v {
		v[i] = min(1-bar(i+1)/bar(i), 0.999)
	}
	return v
}

// ZeroTerminalSNR returns the betas that Lin et al. 2024 ("Common diffusion
// noise schedules and sample steps are flawed", algorithm 1) make of others:
// √ᾱ is shifted and stretched until the last step holds no signal at all. Its
// last β is 1, and the last level of [FromBetas] infinite; diffusers' samplers
// that need a finite one put ᾱ = 2⁻²⁴ there, which is ρ = √(2²⁴−1).
func ZeroTerminalSNR(betas []float64) []float64 {
	n := len(betas)
	root := make([]float64, n) // √ᾱ
	bar := 1.0
	for i, beta := range betas {
		bar *= 1 - beta
		root[i] = math.Sqrt(bar)
	}
	if n < 2 {
		return append([]float64(nil), betas...)
	}
	first, last := root[0], root[n-1]
	v := make([]float64, n)
	before := 1.0
	for i, q := range root {
		q = (q - last) * (first / (first - last))
		v[i] = 1 - q*q/before
		before = q * q
	}
	return v
}

// A Spacing chooses n of T training steps for a sampler, as diffusers' samplers
// do. Steps come highest first.
type Spacing int

const (
	Linspace Spacing = iota // even from the last to the first
	Leading                 // multiples of T/n, and an offset
	Trailing                // multiples of T/n back from the last
)

// DDIM returns the steps of diffusers' DDIM, DDPM, PNDM, Euler and Heun samplers.
// The offset (steps_offset) is of Leading alone. Linspace's steps are not rounded
// in diffusers' Euler, Heun, DPM-Solver-2 and LMS: those are Linear(total−1, 0, n).
func (s Spacing) DDIM(total, n, offset int) []int {
	switch s {
	case Leading:
		return multiples(total/max(n, 1), n, offset)
	case Trailing:
		return trailing(total, n)
	}
	steps := make([]int, n)
	for i, t := range Linear(0, float64(total-1), n) {
		steps[n-1-i] = int(math.RoundToEven(t))
	}
	return steps
}

// DPMSolver returns the steps of diffusers' DPM-Solver and UniPC samplers,
// which leave the lowest of n+1 steps to the end of the ladder.
func (s Spacing) DPMSolver(total, n, offset int) []int {
	switch s {
	case Leading:
		return multiples(total/(n+1), n+1, offset)[:n]
	case Trailing:
		return trailing(total, n)
	}
	return Linspace.DDIM(total, n+1, 0)[:n]
}

func multiples(of, n, offset int) []int {
	steps := make([]int, n)
	for i := range steps {
		steps[n-1-i] = i*of + offset
	}
	return steps
}

// trailing is numpy's round(arange(T, 0, −T/n)) − 1.
func trailing(total, n int) []int {
	gap := -float64(total) / float64(n)
	steps := make([]int, int(math.Ceil(-float64(total)/gap)))
	for i := range steps {
		steps[i] = int(math.RoundToEven(float64(total)+float64(float64(i)*gap))) - 1
	}
	return steps
}
