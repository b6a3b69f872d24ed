package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"

	"sampleonnx/cmd/sampleonnx/internal/npy"
	"sampleonnx/onnxrun"
)

const runHelp = `sampleonnx run evaluates a network once.

  sampleonnx run MODEL.onnx -i NAME=FILE.npy … [-o FILE]

Flags:
%s
Examples:
  sampleonnx run net.onnx -i x=x.npy -i sigma=sigma.npy -o out.npz
  sampleonnx run net.onnx -i golden.npz -o -          members NAME or in_NAME; the first output as npy on stdout
`

// evaluate is the verb run.
func evaluate(ctx context.Context, args []string, std streams) error {
	f := flagSet("run")
	inputs := f.StringArrayP("input", "i", nil, "an input, `NAME=FILE.npy`, or FILE.npz with all of them; can be repeated")
	output := f.StringP("output", "o", "", "`FILE` .npz (every output) or .npy (the only one), or - for npy on stdout; without it the outputs are described")
	var config runConfig
	configFlags(f, &config)
	if err := parse(f, args, "a model"); err != nil {
		return help(std.out, fmt.Sprintf(runHelp, f.FlagUsagesWrapped(110)), err)
	}
	suffix := strings.ToLower(filepath.Ext(*output))
	if *output == "-" {
		suffix = ".npy"
	}
	if *output != "" && suffix != ".npz" && suffix != ".npy" {
		return usagef("-o %s: the suffix must be .npz or .npy", *output)
	}
	if *output != "" {
		if err := checkWritable(*output); err != nil {
			return err
		}
	}
	ctx, stop := config.begin(ctx)
	defer stop()
	m, err := openModel(ctx, f.Arg(0), config)
	if err != nil {
		return err
	}
	defer m.Close()
	given, err := readInputs(ctx, m, *inputs)
	if err != nil {
		return err
	}
	out, err := m.Run(ctx, given...)
	if err != nil {
		return err
	}
	if *output == "" {
		return describe(std.out, out)
	}
	return saveOutputs(*output, suffix, std.out, out)
}

// readInputs reads NAME=FILE.npy and FILE.npz arguments.
func readInputs(ctx context.Context, m *onnxrun.Model, args []string) ([]onnxrun.Tensor, error) {
	arrays := make(map[string]npy.Array)
	add := func(name string, a npy.Array) error {
		if _, twice := arrays[name]; twice {
			return usagef("input %q given twice", name)
		}
		arrays[name] = a
		return nil
	}
	for _, arg := range args {
		name, file, named := strings.Cut(arg, "=")
		if named {
			a, err := npy.ReadFile(ctx, file)
			if err != nil {
				return nil, err
			}
			if err := add(name, a); err != nil {
				return nil, err
			}
			continue
		}
		if strings.ToLower(filepath.Ext(arg)) != ".npz" {
			return nil, usagef("-i %s: want NAME=FILE.npy or FILE.npz", arg)
		}
		members, err := npy.ReadZipFile(ctx, arg)
		if err != nil {
			return nil, err
		}
		for _, in := range m.Inputs() {
			a, ok := members["in_"+in.Name]
			if !ok {
				a, ok = members[in.Name]
			}
			if ok {
				if err := add(in.Name, a); err != nil {
					return nil, err
				}
			}
		}
	}
	return bindInputs(m, arrays)
}

// bindInputs makes tensors of arrays; names that the model does not have are refused.
func bindInputs(m *onnxrun.Model, arrays map[string]npy.Array) ([]onnxrun.Tensor, error) {
	var list []onnxrun.Tensor
	var names []string
	for _, in := range m.Inputs() {
		names = append(names, fmt.Sprintf("%s %v%s", in.Name, in.DType, onnxrun.FormatDims(in.Dims)))
		a, ok := arrays[in.Name]
		if !ok {
			continue
		}
		t, err := tensor(in, a)
		if err != nil {
			return nil, err
		}
		list = append(list, t)
		delete(arrays, in.Name)
	}
	for name := range arrays {
		return nil, usagef("the model has no input %q; it has %s", name, strings.Join(names, ", "))
	}
	if len(list) < len(names) {
		return nil, usagef("%d of %d inputs given; the model has %s", len(list), len(names), strings.Join(names, ", "))
	}
	return list, nil
}

func saveOutputs(name, suffix string, stdout io.Writer, out []onnxrun.Tensor) error {
	if suffix == ".npy" && len(out) != 1 && name != "-" {
		return usagef("-o %s: the model has %d outputs: use .npz", name, len(out))
	}
	return writeWhole(name, stdout, func(w io.Writer) error {
		if suffix == ".npy" {
			return npy.Write(w, npy.Array{Shape: out[0].Shape, Data: out[0].Data})
		}
		members := make([]npy.Named, len(out))
		for i, t := range out {
			members[i] = npy.Named{Name: t.Name, Array: npy.Array{Shape: t.Shape, Data: t.Data}}
		}
		return npy.WriteZip(w, members)
	})
}

func describe(w io.Writer, out []onnxrun.Tensor) error {
	for _, t := range out {
		line := fmt.Sprintf("%s %T %v", printable(t.Name), t.Data, t.Shape)
		if v, err := (npy.Array{Data: t.Data}).Float64s(); err == nil && len(v) > 0 {
			lo, hi, sum := math.Inf(1), math.Inf(-1), 0.0
			for _, x := range v {
				lo, hi, sum = min(lo, x), max(hi, x), sum+x
			}
			line += fmt.Sprintf("  min %.6g  mean %.6g  max %.6g", lo, sum/float64(len(v)), hi)
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}
