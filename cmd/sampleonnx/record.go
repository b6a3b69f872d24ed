package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"sampleonnx/cmd/sampleonnx/internal/npy"
	"sampleonnx/cmd/sampleonnx/internal/stats"
)

// Recorded statistics change by one command alone: verify MODEL STATS.json --record SAMPLES.npy. It replaces the numbers of one entry by those of
// samples that were drawn as the entry's meta says, and leaves every other byte of the file as it is.

// record does that. entry may be "" where only one is the model's.
func (c *comparison) record(ctx context.Context, samples, entry string, out io.Writer) error {
	if !strings.EqualFold(filepath.Ext(c.golden), ".json") {
		return usagef("--record: %s is no file of statistics (.json)", c.golden)
	}
	entries, err := readStats(ctx, c.golden, filepath.Base(c.path))
	if err != nil {
		return err
	}
	name, err := pickEntry(entries, entry, c.golden)
	if err != nil {
		return err
	}
	k, _, err := c.recipe(ctx, entries[name].Meta, c.golden)
	if err != nil {
		return err
	}
	x, n, err := readData(ctx, k, []string{samples}, math.MaxInt32, 0)
	if err != nil {
		return err
	}
	if n < max(2, entries[name].N) {
		return usagef("--record %s: %d samples, but %s has the statistics of %d", samples, n, name, entries[name].N)
	}
	text, err := readText(ctx, c.golden)
	if err != nil {
		return err
	}
	path := []string{name}
	if _, err := span(text, []string{"meta"}); err == nil {
		path = nil // the file is the entry
	}
	edits, err := c.newNumbers(ctx, text, path, k.Shape, x)
	if err != nil {
		return err
	}
	if text = edited(text, edits); !json.Valid(text) {
		return &npy.FormatError{File: c.golden, Reason: "would not be JSON any more"}
	}
	if err := writeWhole(c.golden, out, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	}); err != nil {
		return err
	}
	return printf(out, "%s: %s now has the statistics of %d samples of %s\n", filepath.Base(c.golden), name, n, filepath.Base(samples))
}

func pickEntry(entries map[string]goldenStats, asked, file string) (string, error) {
	var names []string
	for name := range entries {
		names = append(names, name)
	}
	slices.Sort(names)
	switch {
	case asked != "" && slices.Contains(names, asked):
		return asked, nil
	case asked == "" && len(names) == 1:
		return names[0], nil
	}
	return "", usagef("--entry %q: %s has, of this model, %s", asked, file, strings.Join(names, ", "))
}

// edit replaces a part of a file.
type edit struct {
	from, to int
	text     []byte
}

// edited is text with edits, which do not overlap.
func edited(text []byte, edits []edit) []byte {
	slices.SortFunc(edits, func(a, b edit) int { return b.from - a.from })
	for _, e := range edits {
		text = slices.Concat(text[:e.from], e.text, text[e.to:])
	}
	return text
}

// span finds the value at a path of keys in JSON text.
func span(text []byte, path []string) (edit, error) {
	at := edit{from: 0, to: len(text)}
	for _, key := range path {
		d := json.NewDecoder(bytes.NewReader(text[at.from:at.to]))
		if t, err := d.Token(); err != nil || t != json.Delim('{') {
			return edit{}, fmt.Errorf("no object around %q", key)
		}
		found := false
		for d.More() && !found {
			name, err := d.Token()
			if err != nil {
				return edit{}, err
			}
			var raw json.RawMessage
			if err := d.Decode(&raw); err != nil {
				return edit{}, err
			}
			if found = name == key; found {
				end := at.from + int(d.InputOffset())
				at = edit{from: end - len(raw), to: end}
			}
		}
		if !found {
			return edit{}, fmt.Errorf("no key %q", key)
		}
	}
	return at, nil
}

// newNumbers are the edits of an entry: a new value for each of its statistics.
func (c *comparison) newNumbers(ctx context.Context, text []byte, path []string, shape []int, x []float32) ([]edit, error) {
	dim := elements(shape)
	values := moments(float64s(x), dim)
	if len(shape) == 3 {
		var all [3][]float64
		for i := 0; i < len(x); i += dim {
			for k, v := range features(x[i:i+dim], shape) {
				all[k] = append(all[k], v)
			}
		}
		for k, name := range []string{"image_mean", "image_std", "grad_energy"} {
			values[name] = moments(all[k], 1)
		}
		// Images of one channel are recorded as rows.
		h, w := shape[1], shape[2]
		var rows [][]float64
		mean := values["mean"].([]float64)
		for i := 0; i < h && shape[0] == 1; i++ {
			rows = append(rows, mean[i*w:(i+1)*w])
		}
		values["pixel_mean"] = rows
	}
	at, err := span(text, path)
	if err != nil {
		return nil, &npy.FormatError{File: c.golden, Reason: err.Error()}
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(text[at.from:at.to], &keys); err != nil {
		return nil, &npy.FormatError{File: c.golden, Reason: err.Error()}
	}
	if _, ok := keys["counts"]; ok {
		images, err := lawImages(ctx, c.lawFile(), dim)
		if err != nil {
			return nil, err
		}
		values["counts"], _ = nearestImages(x, images, dim)
	}
	return c.replace(text, path, keys, values)
}

// replace writes values in place of those at their keys, and at no others; a key of which there is no value is an error, but for meta.
func (c *comparison) replace(text []byte, path []string, keys map[string]json.RawMessage, values map[string]any) ([]edit, error) {
	var edits []edit
	for key, raw := range keys {
		if key == "meta" {
			continue
		}
		v, ok := values[key]
		if !ok {
			return nil, usagef("%s has the statistic %q, which cannot be computed here", c.golden, key)
		}
		here := append(slices.Clone(path), key)
		if inner, nested := v.(map[string]any); nested {
			var more map[string]json.RawMessage
			if err := json.Unmarshal(raw, &more); err != nil {
				return nil, &npy.FormatError{File: c.golden + ":" + key, Reason: err.Error()}
			}
			list, err := c.replace(text, here, more, inner)
			if err != nil {
				return nil, err
			}
			edits = append(edits, list...)
			continue
		}
		e, err := span(text, here)
		if err != nil {
			return nil, &npy.FormatError{File: c.golden, Reason: err.Error()}
		}
		if e.text, err = json.Marshal(v); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", c.golden, key, err)
		}
		edits = append(edits, e)
	}
	return edits, nil
}

// moments are the statistics of samples as files of statistics have them; standard errors are those of normals.
func moments(x []float64, dim int) map[string]any {
	m := stats.MomentsOf(x, dim)
	n := float64(m.N)
	meanError, varianceError, cov := make([]float64, dim), make([]float64, dim), make([][]float64, dim)
	for i := range dim {
		meanError[i], varianceError[i] = math.Sqrt(m.Variance[i]/n), m.Variance[i]*math.Sqrt(2/(n-1))
	}
	if dim <= 64 { // larger samples have none
		for i := range dim {
			cov[i] = make([]float64, dim)
			for j := range dim {
				for k := range m.N {
					cov[i][j] += (x[k*dim+i] - m.Mean[i]) * (x[k*dim+j] - m.Mean[j]) / (n - 1)
				}
			}
		}
	}
	return map[string]any{"n": m.N, "mean": m.Mean, "var": m.Variance, "mean_se": meanError, "var_se": varianceError, "cov": cov}
}
