package main

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"sampleonnx/cmd/sampleonnx/internal/npy"
)

// FuzzPicture reads any bytes as an image: they are one of the wanted shape, or an
// error of those that a user can act on.
func FuzzPicture(f *testing.F) {
	gray, rgb, palette := image.NewGray(image.Rect(0, 0, 4, 3)), image.NewRGBA64(image.Rect(0, 0, 4, 3)), image.NewPaletted(image.Rect(0, 0, 4, 3), color.Palette{color.Black, color.White})
	for _, img := range []image.Image{gray, rgb, palette, image.NewGray(image.Rect(0, 0, 1, 200))} {
		var b bytes.Buffer
		if err := png.Encode(&b, img); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	file := filepath.Join(f.TempDir(), "x.png")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(file, data, 0o666); err != nil {
			t.Fatal(err)
		}
		for _, shape := range [][]int{{1, 3, 4}, {3, 3, 4}, {2, 3, 4}, {4}} {
			v, err := dataPicture(file, shape)
			if err == nil {
				if len(v) != elements(shape) {
					t.Errorf("%d values for shape %v", len(v), shape)
				}
				continue
			}
			_, format := errors.AsType[*npy.FormatError](err)
			_, limit := errors.AsType[*npy.LimitError](err)
			_, usage := errors.AsType[*usageError](err)
			if !format && !limit && !usage {
				t.Errorf("error %T: %v", err, err)
			}
		}
	})
}
