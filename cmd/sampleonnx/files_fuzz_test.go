package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"sampleonnx/cmd/sampleonnx/internal/npy"
)

// FuzzFiles reads any bytes as an image: they are one of the wanted shape, or an
// error of those that a user can act on. And as recorded statistics, which stay
// what they are but for the numbers that are recorded anew.
func FuzzFiles(f *testing.F) {
	gray, rgb, palette := image.NewGray(image.Rect(0, 0, 4, 3)), image.NewRGBA64(image.Rect(0, 0, 4, 3)), image.NewPaletted(image.Rect(0, 0, 4, 3), color.Palette{color.Black, color.White})
	for _, img := range []image.Image{gray, rgb, palette, image.NewGray(image.Rect(0, 0, 1, 200))} {
		var b bytes.Buffer
		if err := png.Encode(&b, img); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	for _, name := range []string{"stats.json", "digits_ncsnv2_ald_stats.json"} {
		text, err := os.ReadFile(filepath.Join(golden, name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"meta": {"model": "m.onnx", "sigmas": [2, 1]}, "n": 4, "mean": [[0]], "image_mean": {"n": 1, "mean": [0]}, "n": 5, "N": 6}`))
	file := filepath.Join(f.TempDir(), "x")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(file, data, 0o666); err != nil {
			t.Fatal(err)
		}
		for _, shape := range [][]int{{1, 3, 4}, {3, 3, 4}, {2, 3, 4}, {4}} {
			v, err := dataPicture(t.Context(), file, shape)
			if err == nil {
				if len(v) != elements(shape) {
					t.Errorf("%d values for shape %v", len(v), shape)
				}
				continue
			}
			expected(t, err)
		}
		rerecord(t, file, data)
	})
}

// rerecord reads statistics and records others in the place of each entry.
func rerecord(t *testing.T, file string, text []byte) {
	c := comparison{path: "m.onnx", golden: file}
	var tree map[string]json.RawMessage
	model := c.path
	if json.Unmarshal(text, &tree) == nil { // the model of an entry, whatever it is
		for _, raw := range tree {
			var s goldenStats
			if json.Unmarshal(raw, &s) == nil && s.Meta.Model != "" {
				model = s.Meta.Model
			}
		}
	}
	entries, err := readStats(t.Context(), file, model)
	if err != nil {
		expected(t, err)
		return
	}
	for name, s := range entries {
		s.Meta.settings(file)
		path := []string{name}
		if _, err := span(text, []string{"meta"}); err == nil {
			path = nil
		}
		edits, err := c.newNumbers(t.Context(), text, path, []int{1, 2, 2}, []float32{1, 2, 3, 4, 5, 6, 7, 8})
		if err != nil {
			expected(t, err)
			continue
		}
		if after := edited(text, edits); !json.Valid(after) {
			t.Errorf("no JSON any more:\n%s\n%s", text, after)
		}
	}
}

// expected is an error that says what is wrong with a file.
func expected(t *testing.T, err error) {
	t.Helper()
	_, format := errors.AsType[*npy.FormatError](err)
	_, limit := errors.AsType[*npy.LimitError](err)
	_, usage := errors.AsType[*usageError](err)
	if !format && !limit && !usage {
		t.Errorf("error %T: %v", err, err)
	}
}
