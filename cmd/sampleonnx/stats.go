package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"sampleonnx/cmd/sampleonnx/internal/bounded"
	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/cmd/sampleonnx/internal/npy"
	"sampleonnx/cmd/sampleonnx/internal/stats"
	"sampleonnx/sampler"
)

// goldenMoments are those of recorded samples.
type goldenMoments struct {
	N         int
	Mean, Var []float64
}

// goldenStats is an entry of a file of statistics: moments of the samples, or of features of images, or how often each of a finite number of
// images came.
type goldenStats struct {
	Meta goldenMeta
	goldenMoments
	Counts     []int
	ImageMean  *goldenMoments `json:"image_mean"`
	ImageStd   *goldenMoments `json:"image_std"`
	GradEnergy *goldenMoments `json:"grad_energy"`
}

// test is one comparison: a z-value, a tail probability, or a value with a limit of its own.
type test struct {
	what  string
	value float64
	tail  bool
	limit float64
}

// statistics draws samples as recorded, but with our own random numbers, and tests them against what was recorded.
func (c *comparison) statistics(ctx context.Context) ([]figure, error) {
	entries, err := readStats(ctx, c.golden, filepath.Base(c.path))
	if err != nil {
		return nil, err
	}
	var tests []test
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		more, err := c.entry(ctx, name, entries[name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		tests = append(tests, more...)
	}
	// Each test has its share of alpha (Bonferroni), so all together fail by chance with at most that probability.
	share := c.alpha / float64(len(tests))
	figures := make([]figure, len(tests))
	for i, t := range tests {
		if t.limit > 0 {
			figures[i] = atMost(t.what, t.value, t.limit)
		} else if t.tail {
			figures[i] = atLeast(t.what, t.value, share)
		} else {
			figures[i] = atMost(t.what, math.Abs(t.value), stats.TwoSided(share))
		}
	}
	return figures, nil
}

// readStats reads the entries of a file that are about a model; a file is one entry or several by name.
func readStats(ctx context.Context, file, model string) (map[string]goldenStats, error) {
	text, err := readText(ctx, file)
	if err != nil {
		return nil, err
	}
	var tree map[string]json.RawMessage
	if err := json.Unmarshal(text, &tree); err != nil {
		return nil, &npy.FormatError{File: file, Reason: err.Error()}
	}
	if _, one := tree["meta"]; one {
		tree = map[string]json.RawMessage{strings.TrimSuffix(filepath.Base(file), ".json"): text}
	}
	out := make(map[string]goldenStats)
	for name, raw := range tree {
		var s goldenStats
		if err := json.Unmarshal(raw, &s); err != nil {
			return nil, &npy.FormatError{File: file + ":" + name, Reason: err.Error()}
		}
		if s.Meta.Model == model {
			out[name] = s
		}
	}
	if len(out) == 0 {
		return nil, usagef("%s has no statistics of %s", file, model)
	}
	return out, nil
}

const maxStatistics = 16 << 20 // bytes of text: those of a million numbers

// readText reads a file of statistics.
func readText(ctx context.Context, name string) ([]byte, error) {
	f, err := bounded.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// The text of a number or of an empty entry is much shorter than what it becomes.
	if err := bounded.Take(ctx, name, 32, int(min(f.Size, maxStatistics))); err != nil {
		return nil, err
	}
	return f.All(maxStatistics)
}

// entry draws for one entry and makes its tests.
func (c *comparison) entry(ctx context.Context, name string, s goldenStats) ([]test, error) {
	if s.N < 2 {
		return nil, &npy.FormatError{File: c.golden, Reason: fmt.Sprintf("n is %d, want 2 or more", s.N)}
	}
	k, r, err := c.recipe(ctx, s.Meta, c.golden)
	if err != nil {
		return nil, err
	}
	n := cmp.Or(c.n, s.N)
	x, err := c.drawMany(ctx, k, r, n)
	if err != nil {
		return nil, err
	}
	dim := elements(k.Shape)
	var tests []test
	if len(s.Mean) > 0 {
		if len(s.Mean) != dim || len(s.Var) != dim {
			return nil, &npy.FormatError{File: c.golden, Reason: fmt.Sprintf("%d means and %d variances for samples of shape %v", len(s.Mean), len(s.Var), k.Shape)}
		}
		tests = append(tests, s.test(name+": ", float64s(x), dim)...)
	}
	if len(s.Counts) > 0 {
		more, err := c.counts(ctx, name, s.Counts, x, dim)
		if err != nil {
			return nil, err
		}
		tests = append(tests, more...)
	}
	if len(k.Shape) == 3 {
		tests = append(tests, featureTests(name, s, x, k.Shape)...)
	}
	if len(tests) == 0 {
		return nil, usagef("%s has no statistics that verify knows", c.golden)
	}
	return tests, nil
}

// test compares means and variances, element by element.
func (g goldenMoments) test(name string, x []float64, dim int) []test {
	m := stats.MomentsOf(x, dim)
	var tests []test
	for k := range dim {
		at := ""
		if dim > 1 {
			at = fmt.Sprintf(" of element %d", k)
		}
		tests = append(tests,
			test{what: name + "mean" + at + ": |z|", value: m.ZMean(k, g.Mean[k], g.Var[k], g.N)},
			test{what: name + "variance" + at + ": |z|", value: m.ZVariance(k, g.Var[k], g.N)})
	}
	return tests
}

func float64s(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

func featureTests(name string, s goldenStats, x []float32, shape []int) []test {
	dim := elements(shape)
	var all [3][]float64
	for i := 0; i < len(x); i += dim {
		for k, v := range features(x[i:i+dim], shape) {
			all[k] = append(all[k], v)
		}
	}
	var tests []test
	names := [...]string{"image mean", "image std", "gradient energy"}
	for k, g := range []*goldenMoments{s.ImageMean, s.ImageStd, s.GradEnergy} {
		if g != nil && len(g.Mean) == 1 && len(g.Var) == 1 && g.N > 1 {
			tests = append(tests, g.test(name+": "+names[k]+", ", all[k], 1)...)
		}
	}
	return tests
}

// counts assigns every sample to the nearest image of the law, and tests the counts against equal probabilities and against those recorded.
func (c *comparison) counts(ctx context.Context, name string, recorded []int, x []float32, dim int) ([]test, error) {
	images, err := lawImages(ctx, c.lawFile(), dim)
	if err != nil {
		return nil, err
	}
	if len(images) != len(recorded)*dim {
		return nil, &npy.FormatError{File: c.lawFile(), Reason: fmt.Sprintf("%d images, but %d counts were recorded", len(images)/dim, len(recorded))}
	}
	counts, farthest := nearestImages(x, images, dim)
	return []test{
		{what: name + ": uniform, chi-square tail", value: stats.UniformTail(counts), tail: true},
		{what: name + ": as recorded, chi-square tail", value: stats.SameTail(counts, recorded), tail: true},
		{what: name + ": farthest from its image, RMS", value: farthest, limit: 0.05},
	}, nil
}

// lawImages are the 8-bit images of an empirical law, on [0,1].
func lawImages(ctx context.Context, file string, dim int) ([]float32, error) {
	f, err := bounded.OpenBeside(ctx, file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	law, err := npy.ReadZip(ctx, file, f, f.Size)
	if err != nil {
		return nil, err
	}
	a, ok := law["digits"]
	if !ok || elements(a.Shape)%dim != 0 {
		return nil, &npy.FormatError{File: file, Reason: "no digits of the samples' size"}
	}
	x, err := a.Float32s()
	if err != nil {
		return nil, fmt.Errorf("%s:digits: %w", file, err)
	}
	for i := range x {
		x[i] /= 255
	}
	return x, nil
}

// nearestImages counts which image each sample is nearest to; farthest is the largest root mean square distance.
func nearestImages(x, images []float32, dim int) (counts []int, farthest float64) {
	counts = make([]int, len(images)/dim)
	for i := 0; i < len(x); i += dim {
		best, at := math.Inf(1), 0
		for k := range counts {
			sum := 0.0
			for j, v := range x[i : i+dim] {
				d := float64(v - images[k*dim+j])
				if sum += d * d; sum > best {
					break
				}
			}
			if sum < best {
				best, at = sum, k
			}
		}
		counts[at]++
		farthest = max(farthest, math.Sqrt(best/float64(dim)))
	}
	return counts, farthest
}

// drawMany draws n samples with our own seed.
func (c *comparison) drawMany(ctx context.Context, k *card.Card, r *recipe, n int) ([]float32, error) {
	j := &job{card: k, model: c.model, recipe: r}
	j.flags = sampleFlags{n: n, seed: c.seed, batch: c.batch, condition: conditionFlags{classFlags: classFlags{guidance: 1}}}
	var err error
	if j.condition, err = j.newCondition(ctx); err != nil {
		return nil, err
	}
	dim := elements(k.Shape)
	if j.flags.batch == 0 {
		j.flags.batch = j.defaultBatch(dim)
	}
	if err := holdSamples(ctx, n, k.Shape); err != nil {
		return nil, err
	}
	if err := holdBatch(ctx, min(j.flags.batch, n), k.Shape); err != nil {
		return nil, err
	}
	bar := c.bar(n)
	defer bar.done()
	x := make([]float32, n*dim)
	_, err = j.batches(ctx, x, func(b *sampler.Batch, part float64, p sampler.Progress) error {
		bar.step(part, p, int(b.First))
		return nil
	})
	return x, err
}
