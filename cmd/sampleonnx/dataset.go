package main

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"path/filepath"
	"strings"

	"sampleonnx/cmd/sampleonnx/internal/bounded"
	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/cmd/sampleonnx/internal/npy"
	"sampleonnx/sampler"
)

// Purposes of random numbers that no sampler draws.
const (
	purposeNoising    sampler.Purpose = 128 + iota // z of x_t = α x_0 + σ z
	purposeProbe                                   // v of sliced score matching
	purposeDequantise                              // what is under the steps of 8-bit data
)

// readData reads at most `most` data as a network of the card sees them: readSamples less the card's mean.
func readData(ctx context.Context, c *card.Card, names []string, most int, seed uint64) (x []float32, n int, err error) {
	if x, err = readSamples(ctx, c, names, most, seed); err != nil {
		return nil, 0, err
	}
	mean, err := meanOf(c)
	addMean(x, mean, -1)
	return x, len(x) / elements(c.Shape), err
}

// readSamples reads at most `most` data on the card's scale. Files are one array of samples, or images. Bytes, and so all images, are put on the
// card's range (dequantised first, where the card says so) or its logits. Floats are on the card's scale already, as samples are that this command
// writes.
func readSamples(ctx context.Context, c *card.Card, names []string, most int, seed uint64) ([]float32, error) {
	dim := elements(c.Shape)
	if strings.EqualFold(filepath.Ext(names[0]), ".png") {
		var bytes []uint8
		for _, name := range names[:min(len(names), most)] {
			one, err := dataPicture(ctx, name, c.Shape)
			if err != nil {
				return nil, err
			}
			bytes = append(bytes, one...)
		}
		return scaleBytes(c, bytes, dim, seed)
	}
	if len(names) > 1 {
		return nil, usagef("%s and %d more: want one file of samples, or images that all end in .png", names[0], len(names)-1)
	}
	a, err := readArray(ctx, names[0], dim)
	if err != nil {
		return nil, err
	}
	if b, ok := a.Data.([]uint8); ok {
		n, err := countSamples(names[0], a, c.Shape)
		if err != nil {
			return nil, err
		}
		return scaleBytes(c, b[:min(n, most)*dim], dim, seed)
	}
	return floatSamples(names[0], a, c.Shape, most)
}

// countSamples is how many samples of a shape an array has, one or more.
func countSamples(name string, a npy.Array, shape []int) (int, error) {
	if len(a.Shape) < 1 || a.Shape[0] < 1 || elements(a.Shape[1:]) != elements(shape) {
		return 0, usagef("%s has shape %v, samples have %v", name, a.Shape, shape)
	}
	return a.Shape[0], nil
}

// floatSamples is the numbers of at most `most` samples of a shape, all finite.
func floatSamples(name string, a npy.Array, shape []int, most int) ([]float32, error) {
	n, err := countSamples(name, a, shape)
	if err != nil {
		return nil, err
	}
	x, err := a.Float32s()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	x = x[:min(n, most)*elements(shape)]
	for i, v := range x {
		if v-v != 0 {
			return nil, &npy.FormatError{File: name, Reason: fmt.Sprintf("value %d is %v, want a finite float32", i, v)}
		}
	}
	return x, nil
}

// readArray reads an .npy file, or of an .npz x or the only array of samples of dim values.
func readArray(ctx context.Context, name string, dim int) (npy.Array, error) {
	if !strings.EqualFold(filepath.Ext(name), ".npz") {
		return npy.ReadFile(ctx, name)
	}
	file, err := npy.ReadZipFile(ctx, name)
	if err != nil {
		return npy.Array{}, err
	}
	a, ok := file["x"]
	var fit []npy.Array
	for _, other := range file {
		if len(other.Shape) > 1 && elements(other.Shape[1:]) == dim {
			fit = append(fit, other)
		}
	}
	switch {
	case ok:
		return a, nil
	case len(fit) == 1:
		return fit[0], nil
	}
	return a, usagef("%s has no x, and %d arrays of samples of %d values", name, len(fit), dim)
}

// dataPicture reads an image of a sample's shape, channel after channel.
func dataPicture(ctx context.Context, name string, shape []int) ([]uint8, error) {
	f, err := bounded.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	bad := func(err error) error {
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", name, ctx.Err())
		}
		return &npy.FormatError{File: name, Reason: fmt.Sprintf("not a PNG image: %v", err)}
	}
	config, err := png.DecodeConfig(f)
	if err != nil {
		return nil, bad(err)
	}
	if len(shape) != 3 || shape[0] != 1 && shape[0] != 3 || config.Width != shape[2] || config.Height != shape[1] {
		return nil, usagef("%s is an image of %d by %d pixels, samples have shape %v", name, config.Height, config.Width, shape)
	}
	// Decoded, up to four channels of 16 bits, and twice while it is interlaced; and as bytes and numbers after.
	if err := bounded.Take(ctx, name, 16+8*shape[0], config.Width, config.Height); err != nil {
		return nil, err
	}
	if err := f.Rewind(); err != nil {
		return nil, err
	}
	img, err := png.Decode(f)
	if err != nil {
		return nil, bad(err)
	}
	return channels(img, shape[0]), nil
}

func channels(img image.Image, n int) []uint8 {
	b := img.Bounds()
	plane := b.Dx() * b.Dy()
	out := make([]uint8, n*plane)
	for i := range plane {
		at := img.At(b.Min.X+i%b.Dx(), b.Min.Y+i/b.Dx())
		if n == 1 {
			out[i] = color.GrayModel.Convert(at).(color.Gray).Y
			continue
		}
		c := color.NRGBAModel.Convert(at).(color.NRGBA)
		out[i], out[plane+i], out[2*plane+i] = c.R, c.G, c.B
	}
	return out
}

// scaleBytes puts 8-bit data where the card has them.
func scaleBytes(c *card.Card, bytes []uint8, dim int, seed uint64) ([]float32, error) {
	if len(c.Range) != 2 && c.LogitAlpha == 0 {
		return nil, &card.Error{Reason: "the model card does not say on which range the network has its images: give --set range=0,1 or --set range=-1,1"}
	}
	x := make([]float32, len(bytes))
	top := 255.0
	if c.Dequant == "uniform" {
		top = 256
		if err := sampler.Philox(seed).Uniform(x, sampler.Draw{Purpose: purposeDequantise, Dim: dim}); err != nil {
			return nil, err
		}
	}
	for i, b := range bytes {
		u := (float64(b) + float64(x[i])) / top
		if a := c.LogitAlpha; a != 0 {
			u = a + (1-2*a)*u
			x[i] = float32(math.Log(u) - math.Log1p(-u))
			continue
		}
		x[i] = float32(c.Range[0] + (c.Range[1]-c.Range[0])*u)
	}
	return x, nil
}
