package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sampleonnx/cmd/sampleonnx/internal/bounded"
	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/cmd/sampleonnx/internal/npy"
	"sampleonnx/sampler/stats"
)

// Recorded statistics change by one command alone: verify MODEL STATS.json --record SAMPLES.npy --replace. It replaces the numbers of one entry by
// those of samples that were drawn as the entry's meta says, elsewhere or here, and what is known of how they were drawn; it leaves every other byte of
// the file as it is. Of a file that is not there it makes one.

// origin is how recorded samples came about.
type origin struct {
	Samples string          `json:"samples"`          // a file, or drawn
	SHA256  string          `json:"sha256,omitempty"` // of the file
	Model   string          `json:"model_sha256"`     // of the network at the time
	Seed    *uint64         `json:"seed,omitempty"`   // where they were drawn here
	Run     json.RawMessage `json:"run,omitempty"`    // what the file says of its run
	Card    json.RawMessage `json:"card,omitempty"`   // all settings, of a run here
	N       int             `json:"n"`
	Version string          `json:"version"`
}

// drawnHere stands for samples that are drawn for the purpose.
const drawnHere = "drawn"

// record does that. entry may be "" where only one is the model's.
func (c *comparison) record(ctx context.Context, samples, entry string, replace bool, out io.Writer) error {
	if !strings.EqualFold(filepath.Ext(c.golden), ".json") {
		return usagef("--record: %s is no file of statistics (.json)", c.golden)
	}
	if _, err := os.Stat(c.golden); errors.Is(err, os.ErrNotExist) && entry == "" {
		return c.recordNew(ctx, samples, out)
	}
	entries, err := readStats(ctx, c.golden, filepath.Base(c.path))
	if err != nil {
		return err
	}
	name, err := pickEntry(entries, entry, c.golden)
	if err != nil {
		return err
	}
	old := entries[name]
	if !replace {
		return usagef("--record %s: %s has the statistics of %d samples of a run of %s%s; --replace puts others in their place", samples, name, old.N, old.Meta.Sampler, old.Recorded.told())
	}
	k, r, err := c.recipe(ctx, old.Meta, c.golden)
	if err != nil {
		return err
	}
	x, from, err := c.samplesOf(ctx, samples, k, r, cmp.Or(c.n, old.N))
	if err != nil {
		return err
	}
	if from.N < max(2, old.N) {
		return usagef("--record %s: %d samples, but %s has the statistics of %d", samples, from.N, name, old.N)
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
	told, err := toldIn(text, path, from)
	if err != nil {
		return err
	}
	return c.writeRecord(edited(text, append(edits, told)), name, from, out)
}

// recordNew makes a file of one entry, of the model as its card says it is sampled or as the samples' own meta does.
func (c *comparison) recordNew(ctx context.Context, samples string, out io.Writer) error {
	var k *card.Card
	var r *recipe
	var err error
	if samples == drawnHere {
		k, r, err = resolve(ctx, c.model, c.path, asked{})
	} else {
		k, r, err = c.recipeOf(ctx, samples)
	}
	if err != nil {
		return err
	}
	x, from, err := c.samplesOf(ctx, samples, k, r, c.n)
	if err != nil {
		return err
	}
	if from.N < 2 {
		return usagef("--record %s: want 2 samples or more: --samples N", samples)
	}
	entry := c.numbers(k.Shape, x)
	if len(k.Shape) == 3 { // of images, features
		for _, key := range []string{"mean", "var", "mean_se", "var_se", "cov"} {
			delete(entry, key)
		}
	}
	entry["meta"] = map[string]any{"model": filepath.Base(c.path), "sampler": k.Sampler.Name, "card": json.RawMessage(k.JSON())}
	entry["recorded"] = from
	text, err := json.MarshalIndent(entry, "", " ")
	if err != nil {
		return err
	}
	return c.writeRecord(append(text, '\n'), strings.TrimSuffix(filepath.Base(c.golden), ".json"), from, out)
}

// recipeOf is that of the run that a file of samples says it is of.
func (c *comparison) recipeOf(ctx context.Context, samples string) (*card.Card, *recipe, error) {
	file, err := samplesFile(ctx, samples)
	if err != nil {
		return nil, nil, err
	}
	meta, ok := file["meta"]
	if !ok {
		return nil, nil, usagef("--record %s: %s is new, and the samples' file does not say how they were drawn: want an .npz that this command wrote, or %s", samples, c.golden, drawnHere)
	}
	g, _, err := c.runIn(samples, meta)
	if err != nil {
		return nil, nil, err
	}
	return c.recipe(ctx, g, samples)
}

func (c *comparison) writeRecord(text []byte, name string, from origin, out io.Writer) error {
	if !json.Valid(text) {
		return &npy.FormatError{File: c.golden, Reason: "would not be JSON any more"}
	}
	if err := writeWhole(c.golden, out, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	}); err != nil {
		return err
	}
	return printf(out, "%s: %s now has the statistics of %d samples%s\n", filepath.Base(c.golden), name, from.N, from.told())
}

// told says where samples are from.
func (o *origin) told() string {
	switch {
	case o == nil || o.Samples == "":
		return ""
	case o.Seed != nil:
		return fmt.Sprintf(", drawn here with seed %d by the model %.12s", *o.Seed, o.Model)
	case o.Run != nil:
		var run struct{ Seed uint64 }
		if json.Unmarshal(o.Run, &run) == nil {
			return fmt.Sprintf(" of %s (%.12s), drawn with seed %d", o.Samples, o.SHA256, run.Seed)
		}
	}
	return fmt.Sprintf(" of %s (%.12s), which does not say how they were drawn", o.Samples, o.SHA256)
}

// samplesOf reads samples, or draws n.
func (c *comparison) samplesOf(ctx context.Context, name string, k *card.Card, r *recipe, n int) ([]float32, origin, error) {
	from := origin{Samples: name, Version: version()}
	var err error
	if from.Model, err = sha256Of(ctx, c.path); err != nil {
		return nil, from, err
	}
	dim := elements(k.Shape)
	var x []float32
	if name == drawnHere {
		from.Seed, from.Card = &c.seed, k.JSON()
		x, err = c.drawMany(ctx, k, r, n)
	} else {
		from.Samples = filepath.Base(name)
		if from.Run, err = c.runSaid(ctx, name, k); err == nil {
			from.SHA256, err = sha256Of(ctx, name)
		}
		if err == nil {
			x, _, err = readSamples(ctx, k, []string{name}, math.MaxInt32, 0)
		}
	}
	from.N = len(x) / dim
	return x, from, err
}

// runSaid is the meta of a file of samples, or nil: it must be of this model and its sampler.
func (c *comparison) runSaid(ctx context.Context, name string, k *card.Card) (json.RawMessage, error) {
	file, err := samplesFile(ctx, name)
	meta, ok := file["meta"]
	if err != nil || !ok {
		return nil, err
	}
	g, _, err := c.runIn(name, meta)
	if err != nil {
		return nil, err
	}
	var of struct{ Sampler struct{ Name string } }
	if g.Card != nil && json.Unmarshal(g.Card, &of) == nil {
		g.Sampler = of.Sampler.Name
	}
	if g.Model != filepath.Base(c.path) || g.Sampler != k.Sampler.Name {
		return nil, usagef("--record %s: it was drawn from %s with --sampler %s, not from %s with %s", name, g.Model, g.Sampler, filepath.Base(c.path), k.Sampler.Name)
	}
	text, err := meta.Text()
	return json.RawMessage(text), err
}

// samplesFile is what an .npz holds; an .npy holds nothing besides samples.
func samplesFile(ctx context.Context, name string) (map[string]npy.Array, error) {
	if !strings.EqualFold(filepath.Ext(name), ".npz") {
		return nil, nil
	}
	file, err := npy.ReadZipFile(ctx, name)
	if err != nil {
		return nil, ofFlag("record", err)
	}
	return file, nil
}

func sha256Of(ctx context.Context, name string) (string, error) {
	f, err := bounded.Open(ctx, name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// toldIn puts where samples are from at the end of an entry, or in the place of what was there.
func toldIn(text []byte, path []string, from origin) (edit, error) {
	told, err := json.Marshal(from)
	if err != nil {
		return edit{}, err
	}
	if e, err := span(text, append(slices.Clone(path), "recorded")); err == nil {
		e.text = told
		return e, nil
	}
	e, err := span(text, path)
	if err != nil {
		return e, err
	}
	inside := bytes.TrimRight(bytes.TrimSuffix(bytes.TrimRight(text[e.from:e.to], " \n\r\t"), []byte("}")), " \n\r\t")
	e.from += len(inside)
	e.to = e.from
	e.text = slices.Concat([]byte(", \"recorded\": "), told)
	return e, nil
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

// numbers are the statistics of samples.
func (c *comparison) numbers(shape []int, x []float32) map[string]any {
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
		if shape[0] == 1 { // as rows
			values["pixel_mean"] = slices.Collect(slices.Chunk(values["mean"].([]float64), shape[2]))
		}
	}
	return values
}

// newNumbers are the edits of an entry: a new value for each of its statistics.
func (c *comparison) newNumbers(ctx context.Context, text []byte, path []string, shape []int, x []float32) ([]edit, error) {
	values := c.numbers(shape, x)
	at, err := span(text, path)
	if err != nil {
		return nil, &npy.FormatError{File: c.golden, Reason: err.Error()}
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(text[at.from:at.to], &keys); err != nil {
		return nil, &npy.FormatError{File: c.golden, Reason: err.Error()}
	}
	if _, ok := keys["counts"]; ok {
		images, err := lawImages(ctx, c.lawFile(), elements(shape))
		if err != nil {
			return nil, err
		}
		values["counts"], _ = nearestImages(x, images, elements(shape))
	}
	return c.replace(text, path, keys, values)
}

// replace writes values in place of those at their keys, and at no others; a key of which there is no value is an error, but for those that are no
// statistics.
func (c *comparison) replace(text []byte, path []string, keys map[string]json.RawMessage, values map[string]any) ([]edit, error) {
	var edits []edit
	for key, raw := range keys {
		if key == "meta" || key == "recorded" {
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
	values := map[string]any{"n": m.N, "mean": m.Mean, "var": m.Variance, "mean_se": meanError, "var_se": varianceError}
	if dim > 64 { // larger samples have no covariance
		return values
	}
	for i := range dim {
		cov[i] = make([]float64, dim)
		for j := range dim {
			for k := range m.N {
				cov[i][j] += (x[k*dim+i] - m.Mean[i]) * (x[k*dim+j] - m.Mean[j]) / (n - 1)
			}
		}
	}
	values["cov"] = cov
	return values
}
