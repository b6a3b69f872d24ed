package main

import (
	"context"
	"fmt"
	"image/png"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"sampleonnx/cmd/sampleonnx/internal/bounded"
	"sampleonnx/cmd/sampleonnx/internal/npy"
	"sampleonnx/cmd/sampleonnx/internal/picture"
	"sampleonnx/sampler"
)

const (
	maxFrames  = 64
	stripRows  = 8 // samples in a picture of a trajectory
	stripPlots = 12
)

// film is the record of the states on the way, evenly spaced in steps.
type film struct {
	n, dim int
	mean   []float32 // that the states lack, or nil
	frames []frame
}

type frame struct {
	step     int
	t, sigma float64
	x        []float32 // all samples
}

func newFilm(name string, n, dim int, mean []float32) *film {
	if name == "" {
		return nil
	}
	return &film{n: n, dim: dim, mean: mean}
}

func (j *job) checkTrajectory(ctx context.Context, shape []int) error {
	name := j.flags.trajectory
	suffix := strings.ToLower(filepath.Ext(name))
	if !slices.Contains([]string{".npz", ".npy", ".png"}, suffix) {
		return usagef("--trajectory %s: the suffix must be .npz, .npy or .png", name)
	}
	if suffix == ".png" && len(shape) != 3 || suffix == ".png" && !drawable(shape) {
		return usagef("--trajectory %s: only images have a picture; use .npz", name)
	}
	if _, adaptive := j.recipe.sampler.(sampler.Flow); adaptive {
		return usagef("--trajectory: every sample of an ODE run has times of its own; there is no trajectory to write")
	}
	if err := bounded.Take(ctx, fmt.Sprintf("a trajectory of %d samples of shape %v", j.flags.n, shape), 8*maxFrames, j.flags.n, elements(shape)); err != nil {
		return err
	}
	return checkWritable(name)
}

// record keeps a state if its turn has come; the last always has.
func (f *film) record(x []float32, first int, p sampler.Progress) error {
	if f == nil || p.Steps == 0 {
		return nil
	}
	count := min(maxFrames, p.Steps)
	at := p.Step*count/p.Steps - 1
	if before := (p.Step-1)*count/p.Steps - 1; at == before {
		return nil
	}
	if at >= len(f.frames) { // the first batch makes the frames, the others fill them
		f.frames = append(f.frames, frame{p.Step, p.T, p.Sigma, make([]float32, f.n*f.dim)})
	}
	to := f.frames[at].x[first*f.dim:]
	addMean(to[:copy(to, x)], f.mean, 1)
	return nil
}

func (f *film) save(name string, stdout io.Writer, d drawn) error {
	if f == nil {
		return nil
	}
	return writeWhole(name, stdout, func(w io.Writer) error {
		if strings.ToLower(filepath.Ext(name)) == ".png" {
			return f.strip(w, d)
		}
		return f.arrays(w, strings.ToLower(filepath.Ext(name)), d)
	})
}

func (f *film) arrays(w io.Writer, suffix string, d drawn) error {
	k := len(f.frames)
	x := npy.Array{Shape: append([]int{k, d.n}, d.shape...)}
	var all []float32
	steps, t, sigma := make([]int64, k), make([]float64, k), make([]float64, k)
	for i, v := range f.frames {
		all = append(all, v.x...)
		steps[i], t[i], sigma[i] = int64(v.step), v.t, v.sigma
	}
	x.Data = all
	if suffix == ".npy" {
		return npy.Write(w, x)
	}
	one := []int{k}
	return npy.WriteZip(w, []npy.Named{
		{Name: "x", Array: x}, {Name: "step", Array: npy.Array{Shape: one, Data: steps}},
		{Name: "t", Array: npy.Array{Shape: one, Data: t}}, {Name: "sigma", Array: npy.Array{Shape: one, Data: sigma}},
	})
}

// strip draws a row a sample, time running to the right.
func (f *film) strip(w io.Writer, d drawn) error {
	rows, columns := min(d.n, stripRows), min(len(f.frames), stripPlots)
	var x []float32
	for r := range rows {
		for c := range columns {
			from := f.frames[(c+1)*len(f.frames)/columns-1].x
			x = append(x, from[r*f.dim:(r+1)*f.dim]...)
		}
	}
	x, view := d.view.apply(x)
	img, err := picture.Rows(x, columns, rows, d.shape, view)
	if err != nil {
		return err
	}
	return png.Encode(w, img)
}
