// Command sampleonnx draws samples from score networks in ONNX files.
//
//	sampleonnx MODEL.onnx [flags]            draw samples
//	sampleonnx run MODEL -i x=x.npy -o y.npz evaluate the network once
//	sampleonnx inspect MODEL                 say what the model is
//	sampleonnx bench MODEL                   time it
//	sampleonnx verify MODEL GOLDEN           compare with recorded results
//	sampleonnx likelihood MODEL DATA.npy     log p of data
//	sampleonnx encode MODEL DATA.npy         the codes of data, by the ODE
//	sampleonnx decode MODEL Z.npy            data from their codes
//	sampleonnx interpolate MODEL [DATA.npy]  what lies between data, or random codes
//	sampleonnx loss MODEL DATA.npy           how well it knows the score, by noise level
//	sampleonnx compare A.npy B.npy           test whether samples have one law
//
// This package knows files and flags: a model card says what the network is (recipe.go), the packages onnxrun, sampler and schedules do the
// work, and write.go puts the result into a file. There is one file a verb.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/cmd/sampleonnx/internal/npy"
	"sampleonnx/onnxrun"
)

// Exit codes.
const (
	exitDone        = 0
	exitFailed      = 1 // failed, or did not verify
	exitUsage       = 2
	exitModel       = 3 // the model is invalid or not supported
	exitLimit       = 4
	exitInterrupted = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// streams are the three that a process has.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// run is the whole command; it returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	err := guarded(ctx, args, streams{stdin, stdout, stderr})
	code := exitCode(ctx, err)
	switch {
	case code == exitInterrupted:
		fmt.Fprintln(stderr, "sampleonnx: interrupted")
	case err != nil:
		fmt.Fprintln(stderr, "sampleonnx: "+strings.Join(strings.Fields(err.Error()), " ")+raise(err))
	}
	return code
}

// guarded is dispatch with an error in place of a panic.
func guarded(ctx context.Context, args []string, std streams) (err error) {
	defer func() {
		if r := recover(); r != nil {
			fmt.Fprintf(std.err, "%s\n", debug.Stack())
			err = fmt.Errorf("internal error: %v", r)
		}
	}()
	return dispatch(ctx, args, std)
}

func dispatch(ctx context.Context, args []string, std streams) error {
	if len(args) == 0 {
		return usagef("no model given: sampleonnx MODEL.onnx [flags], or sampleonnx run|inspect|bench|verify|likelihood|encode|decode|interpolate|loss MODEL ..., or sampleonnx compare A B; see sampleonnx --help")
	}
	rest := args[1:]
	switch args[0] {
	case "run":
		return evaluate(ctx, rest, std)
	case "inspect":
		return inspect(ctx, rest, std)
	case "bench":
		return bench(ctx, rest, std)
	case "verify":
		return verify(ctx, rest, std)
	case "likelihood":
		return likelihood(ctx, rest, std)
	case "encode", "decode":
		return passed(ctx, rest, std, args[0] == "encode")
	case "interpolate":
		return interpolate(ctx, rest, std)
	case "loss":
		return loss(ctx, rest, std)
	case "compare":
		return compare(rest, std)
	case "help":
		return dispatch(ctx, append(rest, "--help"), std)
	case "version", "--version":
		_, err := fmt.Fprintln(std.out, version())
		return err
	}
	return sample(ctx, args, std)
}

func version() string {
	v := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		v = info.Main.Version
	}
	return fmt.Sprintf("sampleonnx %s %s %s/%s %s", v, runtime.Version(), runtime.GOOS, runtime.GOARCH, onnxrun.ISA())
}

// usageError is a mistake in how the command was called.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// modelError is anything that keeps a model from being opened.
type modelError struct{ error }

func (e modelError) Unwrap() error { return e.error }

// limitError is a request larger than this machine or command allows.
type limitError struct{ text string }

func (e *limitError) Error() string { return e.text }

func exitCode(ctx context.Context, err error) int {
	if err == nil {
		return exitDone
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	var usage *usageError
	var model modelError
	var unsupported *onnxrun.UnsupportedError
	var format *onnxrun.FormatError
	var tooMuch *limitError
	var limit *onnxrun.LimitError
	var large *npy.LimitError
	var incomplete *card.Error
	switch {
	case errors.As(err, &limit), errors.As(err, &tooMuch), errors.As(err, &large):
		return exitLimit
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &incomplete):
		if r := incomplete.Source.Rank; r == card.Sidecar || r == card.Metadata || r == card.Scheduler {
			return exitModel
		}
		return exitUsage
	case errors.As(err, &unsupported), errors.As(err, &model):
		return exitModel
	case errors.As(err, &format):
		// Without a file or a node it is the input that does not fit, not the model.
		if format.File == "" && format.Node == "" {
			return exitUsage
		}
		return exitModel
	}
	return exitFailed
}

// openModel opens a model.
func openModel(ctx context.Context, name string, c onnxrun.Config) (*onnxrun.Model, error) {
	if c.Threads < 0 {
		return nil, usagef("--threads %d: want 0 (all processors) or more", c.Threads)
	}
	m, err := c.Open(ctx, name)
	if err != nil {
		return nil, unopened(name, err)
	}
	return m, nil
}

// unopened is the error for a model that cannot be read.
func unopened(name string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) && !strings.Contains(err.Error(), name) {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return modelError{err}
}

// configFlags are the flags of how a network runs.
func configFlags(f *pflag.FlagSet, c *onnxrun.Config) {
	f.IntVarP(&c.Threads, "threads", "t", 0, "`T` threads (default: all processors); results do not depend on it")
	f.Var(limitFlag{&c.Limits}, "limit", limitUsage)
	f.BoolVar(&c.Exact, "exact", false, "no algorithm that gives up exactness for speed (Winograd's convolutions)")
}

// flagSet starts the flags of a verb.
func flagSet(verb string) *pflag.FlagSet {
	f := pflag.NewFlagSet(verb, pflag.ContinueOnError)
	f.SortFlags = false
	f.Usage = func() {}
	f.SetOutput(io.Discard)
	return f
}

// parse parses the flags of a verb that takes the named arguments.
func parse(f *pflag.FlagSet, args []string, names ...string) error {
	if err := flagError(f.Parse(args)); err != nil {
		return err
	}
	if f.NArg() != len(names) {
		return usagef("want %s, have %d arguments%s (see --help)", strings.Join(names, " and "), f.NArg(), list(f.Args()))
	}
	return nil
}

// flagError makes what pflag says a mistake of usage, unless it is the wish for help.
func flagError(err error) error {
	if err == nil || errors.Is(err, pflag.ErrHelp) {
		return err
	}
	return usagef("%v (see --help)", err)
}

func list(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return ": " + strings.Join(args, " ")
}

// help prints text when that is what the error of parse asks for.
func help(w io.Writer, text string, err error) error {
	if !errors.Is(err, pflag.ErrHelp) {
		return err
	}
	_, err = io.WriteString(w, text)
	return err
}

// oneOf checks a flag's value against the words it allows.
func oneOf(flag, value string, words ...string) error {
	for _, w := range words {
		if w == value {
			return nil
		}
	}
	return usagef("--%s %q: want one of %s", flag, value, strings.Join(words, ", "))
}
