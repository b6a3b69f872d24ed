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
func (c *comparison) recipe(ctx context.Context, g goldenMeta, source string) (*card.Card, *recipe, error) {
	if g.Model != "" && g.Model != filepath.Base(c.path) {
		return nil, nil, usagef("%s was recorded with %s, not with %s", source, g.Model, filepath.Base(c.path))
	}
	if known := []string{"ald", "langevin", "pc", "ode"}; !slices.Contains(known, g.Sampler) {
		return nil, nil, usagef("%s: no run of a sampler that verify knows (sampler is %q, want one of %s)", source, g.Sampler, strings.Join(known, ", "))
	}
	k, err := resolveCard(ctx, c.model, c.path, asked{settings: g.settings(source)})
	if err != nil {
		return nil, nil, err
	}
	r, err := newRecipe(k, false)
	return k, r, err
}

// recordedRun is a recorded run, ready to be run again.
type recordedRun struct {
	meta   goldenMeta
	recipe *recipe
	score  sampler.Field
	noise  recorded
	dim    int
	final  []float32
	levels map[int][]float32 // recorded states, by the step after which they were recorded
}

// replay runs a recorded run again, with its own random numbers.
func (c *comparison) replay(ctx context.Context, file map[string]npy.Array) ([]figure, error) {
	run, k, err := c.recordedRun(ctx, file)
	if err != nil {
		return nil, err
	}
	bar := c.bar(len(run.final) / run.dim)
	defer bar.done()
	limit := c.tolerance(c.traceTolerance(run.meta, k))
	var figures []figure
	b, err := run.again(ctx, 0, func(b *sampler.Batch, p sampler.Progress) {
		bar.step(p.Done, p, 0)
		if want, ok := run.levels[p.Step]; ok && len(want) == len(b.X) {
			figures = append(figures, atMost(fmt.Sprintf("level %d (sigma %.4g): relative RMS", p.Level, p.Sigma), relativeRMS(b.X, want), limit))
		}
	})
	if err != nil {
		return nil, err
	}
	nfe := run.meta.NFE
	end := atMost("final state: relative RMS", relativeRMS(b.X, run.final), limit)
	calls := atMost(fmt.Sprintf("evaluations: %d, recorded %d: difference", b.Calls, nfe), float64(max(b.Calls-nfe, nfe-b.Calls)), 0)
	if run.meta.Sampler == "ode" && !(end.OK && calls.OK) {
		// Step control can make an ODE chaotic: then only the recording machine's own roundings lead to its end. Whether this is
		// such a run is worth knowing; it does not excuse the failure.
		if end.Rounding, err = run.amplification(ctx, b); err != nil {
			return nil, err
		}
		end.What += fmt.Sprintf(" (rounding the start moves it by %.2g)", end.Rounding)
	}
	figures = append(figures, end)
	if nfe > 0 {
		figures = append(figures, calls)
	}
	return figures, nil
}

// recordedRun reads what a golden file holds, and builds its sampler.
func (c *comparison) recordedRun(ctx context.Context, file map[string]npy.Array) (*recordedRun, *card.Card, error) {
	text, err := file["meta"].Text()
	if err != nil {
		return nil, nil, fmt.Errorf("%s:meta: %w", c.golden, err)
	}
	r := new(recordedRun)
	if err := json.Unmarshal([]byte(text), &r.meta); err != nil {
		return nil, nil, &npy.FormatError{File: c.golden + ":meta", Reason: err.Error()}
	}
	var k *card.Card
	if k, r.recipe, err = c.recipe(ctx, r.meta, c.golden); err != nil {
		return nil, nil, err
	}
	r.dim = elements(k.Shape)
	if r.final, err = c.member(file, "x_final", k.Shape); err != nil {
		return nil, nil, err
	}
	if r.noise, err = takeNoise(c.golden, file, len(r.final)/r.dim, k.Shape); err != nil {
		return nil, nil, err
	}
	if r.levels, err = c.levels(file, r.meta, k.Shape); err != nil {
		return nil, nil, err
	}
	r.score, err = r.recipe.score(ctx, c.model, k)
	return r, k, err
}

// again runs from a start whose elements are off by about nudge, relatively.
func (r *recordedRun) again(ctx context.Context, nudge float64, trace func(*sampler.Batch, sampler.Progress)) (*sampler.Batch, error) {
	b := &sampler.Batch{X: make([]float32, len(r.final)), Dim: r.dim, Noise: r.noise.replay}
	if r.noise.start != nil {
		copy(b.X, r.noise.start)
	} else if err := r.recipe.start(b); err != nil {
		return nil, err
	}
	if err := disturb(b.X, nudge); err != nil {
		return nil, err
	}
	b.Trace = func(p sampler.Progress) error {
		trace(b, p)
		return nil
	}
	return b, r.recipe.sampler.Sample(ctx, b, r.score)
}

// amplification is how far a run ends from where b ended when its start is off by a rounding error.
func (r *recordedRun) amplification(ctx context.Context, b *sampler.Batch) (float64, error) {
	const rounding = 1e-7 // of a float32, relative
	most := 0.0
	// Of a chaotic run, one nudge may happen to lead back to the same steps.
	for _, nudge := range []float64{rounding, -rounding, 2 * rounding, -2 * rounding} {
		other, err := r.again(ctx, nudge, func(*sampler.Batch, sampler.Progress) {})
		if err != nil {
			return 0, err
		}
		most = max(most, relativeRMS(other.X, b.X))
	}
	return most, nil
}

// disturb multiplies every element by 1 + size·z.
func disturb(x []float32, size float64) error {
	if size == 0 {
		return nil
	}
	z := make([]float32, len(x))
	if err := sampler.Philox(0).Normal(z, sampler.Draw{Dim: len(x)}); err != nil {
		return err
	}
	for i := range x {
		x[i] = float32(float64(x[i]) * (1 + size*float64(z[i])))
	}
	return nil
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
