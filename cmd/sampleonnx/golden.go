package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/cmd/sampleonnx/internal/npy"
	"sampleonnx/sampler/stats"
)

// Recorded samples, of a run whose settings are recorded with them or beside them, against as many of our own.

// samples draws as the file's samples were drawn, and compares.
func (c *comparison) samples(ctx context.Context, file map[string]npy.Array) (*comparedSamples, error) {
	g, source, err := c.runOf(ctx, file)
	if err != nil {
		return nil, err
	}
	k, r, err := c.recipe(ctx, g, source)
	if err != nil {
		return nil, err
	}
	a, dim := file["x"], elements(k.Shape)
	n, err := countSamples(c.golden, a, k.Shape)
	if err != nil {
		return nil, err
	}
	if n < 4 {
		return nil, usagef("%s holds %d samples, want 4 or more", c.golden, n)
	}
	recorded, err := a.Float64s()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.golden, err)
	}
	for i, v := range recorded {
		if v-v != 0 {
			return nil, &npy.FormatError{File: c.golden, Reason: fmt.Sprintf("value %d is %v", i, v)}
		}
	}
	x, err := c.drawMany(ctx, k, r, cmp.Or(c.n, n))
	if err != nil {
		return nil, err
	}
	if _, bytes := a.Data.([]uint8); bytes { // as pictures: what is beyond black and white is cut off
		x = asBytes(displayOf(k), x)
	}
	compared, err := compareSamples(ctx, recorded[:n*dim], float64s(x), k.Shape, stats.Options{Alpha: c.alpha, Seed: c.seed})
	if err != nil {
		return nil, err
	}
	compared.A, compared.B = filepath.Base(c.golden), fmt.Sprintf("drawn as %s says, seed %d", filepath.Base(source), c.seed)
	return &compared, nil
}

// asBytes is the bytes of the samples' pictures.
func asBytes(v display, x []float32) []float32 {
	values, r := v.apply(x)
	out := make([]float32, len(values))
	for i, u := range values {
		part := (float64(u) - r.Lo) / (r.Hi - r.Lo)
		out[i] = float32(math.Round(255 * min(max(part, 0), 1)))
	}
	return out
}

// runOf finds how the samples of a file were drawn: from its own meta, or that of NAME_stats.json, stats.json or the recorded run NAME.npz beside
// NAME_samples.
func (c *comparison) runOf(ctx context.Context, file map[string]npy.Array) (g goldenMeta, source string, err error) {
	if meta, ok := file["meta"]; ok {
		return c.runIn(c.golden, meta)
	}
	dir, base := filepath.Split(c.golden)
	name := strings.TrimSuffix(strings.TrimSuffix(base, filepath.Ext(base)), "_samples")
	for file, entry := range map[string]string{name + "_stats.json": name + "_stats", "stats.json": name} {
		path := filepath.Join(dir, file)
		if _, err := os.Stat(path); err != nil {
			continue
		}
		entries, err := readStats(ctx, path, filepath.Base(c.path))
		if s, ok := entries[entry]; err == nil && ok {
			return s.Meta, path, nil
		}
	}
	trace := filepath.Join(dir, name+".npz")
	if members, err := npy.ReadZipFile(ctx, trace); err == nil {
		if meta, ok := members["meta"]; ok {
			return c.runIn(trace, meta)
		}
	}
	return g, "", usagef("%s: how its samples were drawn is not known: it has no meta, and there is no run of %s in %s_stats.json, stats.json or %s.npz beside it", c.golden, filepath.Base(c.path), name, name)
}

func (c *comparison) runIn(name string, meta npy.Array) (g goldenMeta, source string, err error) {
	text, err := meta.Text()
	if err == nil {
		err = json.Unmarshal([]byte(text), &g)
	}
	if err != nil {
		return g, "", &npy.FormatError{File: name + ":meta", Reason: err.Error()}
	}
	return g, name, nil
}

// ofCard is the settings of a whole card.
func ofCard(text []byte, source string) ([]setting, error) {
	k := new(card.Card)
	if err := k.SetJSON(text, card.Source{Rank: card.Flag, Name: source}); err != nil {
		return nil, err
	}
	var list []setting
	for _, line := range k.Lines() {
		value := strings.ReplaceAll(strings.Trim(fmt.Sprint(line.Value), "[]"), " ", ",")
		if line.Value == nil {
			value = "null"
		}
		list = append(list, setting{line.Key, value, source})
	}
	return list, nil
}
