package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/cmd/sampleonnx/internal/npy"
	"sampleonnx/sampler"
)

// goldenMeta is what a golden file says about its run.
type goldenMeta struct {
	Sampler, Model  string
	SDE             string
	Sigmas          []float64
	Steps, N        int
	Eps, SNR        float64
	SigmaMin        float64 `json:"sigma_min"`
	SigmaMax        float64 `json:"sigma_max"`
	BetaMin         float64 `json:"beta_min"`
	BetaMax         float64 `json:"beta_max"`
	TEps            float64 `json:"t_eps"`
	Init            string
	Predictor       string
	Corrector       string
	CorrectorSteps  int    `json:"n_steps"`
	CorrectorNorm   string `json:"corrector_norm"`
	ProbabilityFlow bool   `json:"probability_flow"`
	Denoise         bool
	RTol, ATol      float64
	NFE             int
}

// settings turns what was recorded into fields of the card, which beat the model's own.
func (g goldenMeta) settings(source string) []setting {
	var list []setting
	text := func(key, value string) {
		if value != "" {
			list = append(list, setting{key, value, source})
		}
	}
	number := func(key string, value float64) {
		if value != 0 {
			text(key, strconv.FormatFloat(value, 'g', -1, 64))
		}
	}
	text("sampler.name", g.Sampler)
	text("sde", g.SDE)
	if len(g.Sigmas) > 0 {
		ladder := make([]string, len(g.Sigmas))
		for i, s := range g.Sigmas {
			ladder[i] = strconv.FormatFloat(s, 'g', -1, 64)
		}
		text("sigmas", strings.Join(ladder, ","))
	}
	number("sigma_min", g.SigmaMin)
	number("sigma_max", g.SigmaMax)
	if g.SDE == "vp" || g.SDE == "subvp" {
		number("beta_min", g.BetaMin)
		number("beta_max", g.BetaMax)
	}
	number("t_eps", g.TEps)
	text("prior", map[string]string{"uniform": "uniform", "normal": "gaussian"}[g.Init])
	text("sampler.predictor", g.Predictor)
	text("sampler.corrector", g.Corrector)
	if strings.HasPrefix(g.CorrectorNorm, "batch") {
		text("sampler.corrector_norm", "batch")
	}
	number("sampler.corrector_steps", float64(g.CorrectorSteps))
	number("sampler.n", float64(g.N))
	number("sampler.steps", float64(g.Steps))
	number("sampler.eps", g.Eps)
	number("sampler.snr", g.SNR)
	number("sampler.rtol", g.RTol)
	number("sampler.atol", g.ATol)
	text("sampler.probability_flow", strconv.FormatBool(g.ProbabilityFlow))
	text("sampler.denoise", strconv.FormatBool(g.Denoise))
	if g.Sampler == "ode" {
		text("sampler.coupled", "true")
	}
	return list
}

// recipe resolves the model's card with the recorded settings on top.
func (c *comparison) recipe(g goldenMeta, source string) (*card.Card, *recipe, error) {
	if g.Model != "" && g.Model != filepath.Base(c.path) {
		return nil, nil, usagef("%s was recorded with %s, not with %s", source, g.Model, filepath.Base(c.path))
	}
	if !slices.Contains(card.Samplers(), g.Sampler) {
		return nil, nil, usagef("%s: no run of a sampler that verify knows (sampler is %q, want one of %s)", source, g.Sampler, strings.Join(card.Samplers(), ", "))
	}
	k, err := resolveCard(c.model, c.path, asked{settings: g.settings(source)})
	if err != nil {
		return nil, nil, err
	}
	r, err := newRecipe(k)
	return k, r, err
}

// replay runs a recorded run again, with its own random numbers.
func (c *comparison) replay(ctx context.Context, file map[string]npy.Array) ([]figure, error) {
	text, err := file["meta"].Text()
	if err != nil {
		return nil, fmt.Errorf("%s:meta: %w", c.golden, err)
	}
	var g goldenMeta
	if err := json.Unmarshal([]byte(text), &g); err != nil {
		return nil, &npy.FormatError{File: c.golden + ":meta", Reason: err.Error()}
	}
	k, r, err := c.recipe(g, c.golden)
	if err != nil {
		return nil, err
	}
	final, err := c.member(file, "x_final", k.Shape)
	if err != nil {
		return nil, err
	}
	n := file["x_final"].Shape[0]
	noise, err := takeNoise(c.golden, file, n, k.Shape)
	if err != nil {
		return nil, err
	}
	score, err := r.score(c.model, k)
	if err != nil {
		return nil, err
	}
	b := &sampler.Batch{X: make([]float32, len(final)), Dim: elements(k.Shape), Noise: noise.replay}
	if noise.start != nil {
		copy(b.X, noise.start)
	} else if err := r.start(b); err != nil {
		return nil, err
	}
	levels, err := c.levels(file, g, k.Shape)
	if err != nil {
		return nil, err
	}
	bar := c.bar(n)
	defer bar.done()
	limit := c.tolerance(c.traceTolerance(g, k))
	var figures []figure
	b.Trace = func(p sampler.Progress) error {
		bar.step(p.Done, p, 0)
		if want, ok := levels[p.Step]; ok && len(want) == len(b.X) {
			figures = append(figures, atMost(fmt.Sprintf("level %d (sigma %.4g): relative RMS", p.Level, p.Sigma), relativeRMS(b.X, want), limit))
		}
		return nil
	}
	if err := r.sampler.Sample(ctx, b, score); err != nil {
		return nil, err
	}
	figures = append(figures, atMost("final state: relative RMS", relativeRMS(b.X, final), limit))
	if g.NFE > 0 {
		figures = append(figures, atMost(fmt.Sprintf("evaluations: %d, recorded %d: difference", b.Calls, g.NFE), float64(max(b.Calls-g.NFE, g.NFE-b.Calls)), 0))
	}
	return figures, nil
}

// traceTolerance is how far a replay may be from its record, by rounding alone: networks of images amplify it more than exact scores do.
func (c *comparison) traceTolerance(g goldenMeta, k *card.Card) float64 {
	_, err := os.Stat(c.lawFile())
	exact := err == nil
	if g.Sampler == "ode" || len(k.Shape) > 1 && !exact {
		return 1e-4
	}
	return 1e-5
}

// lawFile is beside a model whose score is exact, and tells the law that it is the score of.
func (c *comparison) lawFile() string { return strings.TrimSuffix(c.path, ".onnx") + ".law.npz" }

// levels are the recorded states of annealed Langevin dynamics, by the step after which they were recorded.
func (c *comparison) levels(file map[string]npy.Array, g goldenMeta, shape []int) (map[int][]float32, error) {
	trace, ok := file["trace"]
	if !ok {
		return nil, nil
	}
	at, err := file["trace_levels"].Int64s()
	if err != nil {
		return nil, fmt.Errorf("%s:trace_levels: %w", c.golden, err)
	}
	x, err := trace.Float32s()
	if err != nil {
		return nil, fmt.Errorf("%s:trace: %w", c.golden, err)
	}
	if len(trace.Shape) < 2 || trace.Shape[0] != len(at) || elements(trace.Shape[2:]) != elements(shape) {
		return nil, &npy.FormatError{File: c.golden + ":trace", Reason: fmt.Sprintf("shape %v does not fit %d levels of samples of shape %v", trace.Shape, len(at), shape)}
	}
	size := len(x) / max(len(at), 1)
	levels := make(map[int][]float32)
	for i, level := range at {
		levels[(int(level)+1)*g.Steps] = x[i*size : (i+1)*size]
	}
	return levels, nil
}

// member is an array of samples of the given shape.
func (c *comparison) member(file map[string]npy.Array, name string, shape []int) ([]float32, error) {
	a, ok := file[name]
	if !ok {
		return nil, usagef("%s has no %s", c.golden, name)
	}
	if len(a.Shape) < 1 || a.Shape[0] < 1 || elements(a.Shape[1:]) != elements(shape) {
		return nil, &npy.FormatError{File: c.golden + ":" + name, Reason: fmt.Sprintf("shape %v is not samples of shape %v", a.Shape, shape)}
	}
	x, err := a.Float32s()
	if err != nil {
		return nil, fmt.Errorf("%s:%s: %w", c.golden, name, err)
	}
	return x, nil
}
