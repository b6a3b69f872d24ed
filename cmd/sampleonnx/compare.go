package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"sampleonnx/cmd/sampleonnx/internal/bounded"
	"sampleonnx/cmd/sampleonnx/internal/npy"
	"sampleonnx/sampler/stats"
)

const compareHelp = `sampleonnx compare tests whether two files of samples come from one law.

  sampleonnx compare A.npy B.npy [flags]

Elements (or, of more than 16, projections onto random directions, and onto the 8 principal ones of both files together) are compared by mean,
variance and Kolmogorov-Smirnov, and so are mean, standard deviation and gradient energy of images; the laws as a whole by energy distance, unbiased
MMD² and sliced Wasserstein distance, with probabilities from permutations, and by C2ST, how often the nearest known samples tell the file of
another. Probabilities are corrected for the number of tests. The exit code is 1 if the smallest is below --alpha.

Flags:
%s`

// comparedSamples is the result of the verb.
type comparedSamples struct {
	A        string         `json:"a"`
	B        string         `json:"b"`
	SamplesA int            `json:"samples_a"`
	SamplesB int            `json:"samples_b"`
	OK       bool           `json:"ok"`
	P        float64        `json:"p"`
	Alpha    float64        `json:"alpha"`
	Tests    []stats.Result `json:"tests"`
}

func compare(ctx context.Context, args []string, std streams) error {
	f := flagSet("compare")
	alpha := f.Float64("alpha", 1e-3, "probability `P` of failing by chance, of all tests together")
	points := f.Int("points", stats.DefaultPoints, "at most `N` samples of each file in the distances, whose time is quadratic")
	lines := f.Int("directions", stats.DefaultDirections, "`K` random directions")
	seed := f.Uint64P("seed", "s", 0, "`SEED` of directions and permutations")
	asJSON := f.Bool("json", false, "print one JSON object")
	var config runConfig
	f.Var(limitFlag{&config}, "limit", "what the run may take: `NAME=VALUE`, data, the memory of the files (a quarter of the machine's), or time")
	if err := parse(f, args, "a file of samples", "another"); err != nil {
		return help(std.out, fmt.Sprintf(compareHelp, f.FlagUsagesWrapped(110)), err)
	}
	switch {
	case !(*alpha >= 1e-6 && *alpha < 1):
		return usagef("--alpha %v: want 1e-6 or more, and less than 1", *alpha)
	case *points < 50 || *points > 20000:
		return usagef("--points %d: want 50 to 20000", *points)
	case *lines < 1 || *lines > 10000:
		return usagef("--directions %d: want 1 to 10000", *lines)
	}
	ctx, stop := config.begin(ctx)
	defer stop()
	a, shape, err := readSet(ctx, f.Arg(0))
	if err != nil {
		return err
	}
	b, other, err := readSet(ctx, f.Arg(1))
	if err != nil {
		return err
	}
	if !slices.Equal(shape, other) {
		return usagef("samples of %s have shape %v, those of %s %v", f.Arg(0), shape, f.Arg(1), other)
	}
	r, err := compareSamples(ctx, a, b, shape, stats.Options{Alpha: *alpha, Points: *points, Directions: *lines, Seed: *seed})
	if err != nil {
		return err
	}
	r.A, r.B = filepath.Base(f.Arg(0)), filepath.Base(f.Arg(1))
	if *asJSON {
		err = printJSON(std.out, r)
	} else {
		err = r.text(std.out)
	}
	if err == nil && !r.OK {
		err = fmt.Errorf("%s and %s are not samples of one law (p = %.2g)", r.A, r.B, r.P)
	}
	return err
}

// compareSamples compares samples of a shape, images by their features too.
func compareSamples(ctx context.Context, a, b []float64, shape []int, o stats.Options) (comparedSamples, error) {
	dim := elements(shape)
	o.Points, o.Directions = cmp.Or(o.Points, stats.DefaultPoints), cmp.Or(o.Directions, stats.DefaultDirections)
	n := min(o.Points, len(a)/dim) + min(o.Points, len(b)/dim)
	if err := bounded.Take(ctx, fmt.Sprintf("the distances of %d samples from each other", n), 32, n, n); err != nil {
		return comparedSamples{}, err
	}
	if err := bounded.Take(ctx, fmt.Sprintf("%d directions of samples of shape %v", o.Directions, shape), o.Directions, 8*dim+12*n); err != nil {
		return comparedSamples{}, err
	}
	o.Principal = 8
	if len(shape) > 1 && dim > 1 {
		o.Names = featureNames[:]
		o.Coordinates = func(x []float64) []float64 {
			f := features(x, shape)
			return f[:]
		}
	}
	r := comparedSamples{SamplesA: len(a) / dim, SamplesB: len(b) / dim, Alpha: o.Alpha}
	var err error
	r.Tests, r.P, err = stats.Compare(ctx, a, b, dim, o)
	r.OK = r.P >= o.Alpha
	return r, err
}

// readSamplesFile reads an .npy file, or the x of an .npz.
func readSamplesFile(ctx context.Context, name string) (npy.Array, error) {
	if !strings.EqualFold(filepath.Ext(name), ".npz") {
		return npy.ReadFile(ctx, name)
	}
	file, err := npy.ReadZipFile(ctx, name)
	if err != nil {
		return npy.Array{}, err
	}
	a, ok := file["x"]
	if !ok {
		return a, usagef("%s has no x", name)
	}
	return a, nil
}

// readSet reads samples, 50 or more, all finite.
func readSet(ctx context.Context, name string) (x []float64, shape []int, err error) {
	a, err := readSamplesFile(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	if len(a.Shape) < 1 || a.Shape[0] < 50 || elements(a.Shape[1:]) < 1 {
		return nil, nil, usagef("%s has shape %v, want 50 samples or more", name, a.Shape)
	}
	if x, err = a.Float64s(); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	for i, v := range x {
		if v-v != 0 {
			return nil, nil, fmt.Errorf("%s: value %d is not finite", name, i)
		}
	}
	return x, a.Shape[1:], nil
}

func (r comparedSamples) text(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d samples, %s: %d samples\n  %-38s %-24s %-24s %10s %10s\n", r.A, r.SamplesA, r.B, r.SamplesB, "", "A", "B", "statistic", "p adjusted")
	for _, t := range r.Tests {
		var va, vb string
		if t.A != nil {
			va, vb = fmt.Sprintf("%.5g ± %.2g", t.A.Value, t.A.Error), fmt.Sprintf("%.5g ± %.2g", t.B.Value, t.B.Error)
		}
		mark := ""
		if t.Adjusted < r.Alpha {
			mark = "  DIFFERS"
		}
		fmt.Fprintf(&b, "  %-38s %-24s %-24s %10.4g %10.3g%s\n", t.What, va, vb, t.Statistic, t.Adjusted, mark)
	}
	fmt.Fprintf(&b, "  all together: p = %.3g, alpha %.3g\n", r.P, r.Alpha)
	_, err := io.WriteString(w, b.String())
	return err
}
