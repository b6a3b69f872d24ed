package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"

	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/cmd/sampleonnx/internal/npy"
	"sampleonnx/sampler"
)

// readValues reads one or several arrays of n values. Pictures, and bytes, are put on the card's range; other numbers are on it already, as samples
// are that this command writes.
func (j *job) readValues(ctx context.Context, flag, name string, n int, shape []int) ([]float64, error) {
	named := func(format string, args ...any) error { return usagef("--"+flag+" "+name+": "+format, args...) }
	var bytes []uint8
	var v []float64
	if strings.EqualFold(filepath.Ext(name), ".png") {
		if shape == nil {
			return nil, named("this measurement is no picture; want .npy")
		}
		var err error
		if bytes, err = dataPicture(ctx, name, shape); err != nil {
			return nil, ofFlag(flag, err)
		}
	} else {
		a, err := readNumbers(ctx, flag, name)
		if err != nil {
			return nil, err
		}
		// One of them, or a first dimension that counts them.
		if one := elements(a.Shape) == n; !one && (len(a.Shape) == 0 || elements(a.Shape[1:]) != n || a.Shape[0] < 1) {
			return nil, named("it has shape %v, want %d values%s, or several times as many with a first dimension that counts them", a.Shape, n, shaped(shape))
		}
		if b, ok := a.Data.([]uint8); ok {
			bytes = b
		} else if v, err = a.Float64s(); err != nil {
			return nil, named("%v", err)
		}
	}
	if bytes != nil {
		c := *j.card
		c.Dequant = "" // what is known is not made uncertain
		x, err := scaleBytes(&c, bytes, n, 0)
		if err != nil {
			return nil, ofFlag(flag, err)
		}
		v = make([]float64, len(x))
		for i, u := range x {
			v[i] = float64(u)
		}
	}
	for i, x := range v {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil, named("value %d is %v", i, x)
		}
	}
	return v, nil
}

// ofFlag makes a mistake in a file's contents the flag's that named it.
func ofFlag(flag string, err error) error {
	var usage *usageError
	var missing *card.Error
	if errors.As(err, &usage) || errors.As(err, &missing) {
		return usagef("--%s: %v", flag, err)
	}
	return err
}

func shaped(shape []int) string {
	if shape == nil {
		return ""
	}
	return fmt.Sprintf(" of shape %v", shape)
}

// readNumbers reads FILE.npy, or FILE.npz:NAME.
func readNumbers(ctx context.Context, flag, name string) (npy.Array, error) {
	if at := strings.LastIndex(name, ".npz:"); at >= 0 {
		file, key := name[:at+4], name[at+5:]
		members, err := npy.ReadZipFile(ctx, file)
		if err != nil {
			return npy.Array{}, err
		}
		a, ok := members[key]
		if !ok {
			return a, usagef("--%s %s: there is no array %q in the file", flag, name, key)
		}
		return a, nil
	}
	if !strings.EqualFold(filepath.Ext(name), ".npy") {
		return npy.Array{}, usagef("--%s %s: want a file .png or .npy, or FILE.npz:NAME", flag, name)
	}
	return npy.ReadFile(ctx, name)
}

// readMask says for every value of a sample whether it is known: a half, or where a file is white or not 0. A mask of one channel goes for all.
func readMask(ctx context.Context, name string, shape []int) ([]bool, error) {
	dim := elements(shape)
	known := make([]bool, dim)
	switch name {
	case "left", "right", "top", "bottom":
		if len(shape) != 3 {
			return nil, usagef("--mask %s: samples of shape %v have no sides; want .npy", name, shape)
		}
		h, w := shape[1], shape[2]
		for i := range known {
			row, column := i/w%h, i%w
			known[i] = map[string]bool{"left": column < w/2, "right": column >= w/2, "top": row < h/2, "bottom": row >= h/2}[name]
		}
		return known, nil
	}
	var v []float64
	if strings.EqualFold(filepath.Ext(name), ".png") {
		if len(shape) != 3 {
			return nil, usagef("--mask %s: samples of shape %v are no pictures; want .npy", name, shape)
		}
		bytes, err := dataPicture(ctx, name, []int{1, shape[1], shape[2]})
		if err != nil {
			return nil, ofFlag("mask", err)
		}
		for _, b := range bytes {
			v = append(v, float64(b>>7))
		}
	} else {
		a, err := readNumbers(ctx, "mask", name)
		if err != nil {
			return nil, err
		}
		plane := dim
		if len(shape) == 3 {
			plane = dim / shape[0]
		}
		if n := elements(a.Shape); n != dim && n != plane {
			return nil, usagef("--mask %s: it has shape %v, want that of a sample, %v", name, a.Shape, shape)
		}
		if v, err = a.Float64s(); err != nil {
			return nil, usagef("--mask %s: %v", name, err)
		}
	}
	any := false
	for i := range known {
		known[i] = v[i%len(v)] != 0
		any = any || known[i]
	}
	if !any {
		return nil, usagef("--mask %s: nothing is known: where the mask is white, or not 0, the image is", name)
	}
	return known, nil
}

// readMatrix reads the matrix of a measurement.
func readMatrix(ctx context.Context, name string, dim int) (sampler.Operator, error) {
	a, err := readNumbers(ctx, "inverse matrix", name)
	if err != nil {
		return nil, err
	}
	if len(a.Shape) != 2 || a.Shape[1] != dim {
		return nil, usagef("--inverse matrix:%s: it has shape %v, want a row of %d values for each value that is measured", name, a.Shape, dim)
	}
	v, err := a.Float64s()
	if err != nil {
		return nil, usagef("--inverse matrix:%s: %v", name, err)
	}
	op, err := sampler.Matrix(v, dim)
	if err != nil {
		return nil, usagef("--inverse matrix:%s: %s", name, strings.TrimPrefix(err.Error(), "sampler: "))
	}
	return op, nil
}
