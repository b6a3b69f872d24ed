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
// This package knows files and flags; the packages onnxrun, sampler and schedules do the work. The way is the same for every verb that follows a
// score: flags and files make a model card of what the network is (resolve.go), the card makes a sampler (recipe.go) and the score that it wants of
// what the network returns (score.go), for the classes that are asked for (guided.go), and write.go puts the result into a file. There is one file
// a verb.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"sampleonnx/cmd/sampleonnx/internal/bounded"
	"sampleonnx/cmd/sampleonnx/internal/card"
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
		fmt.Fprintln(stderr, "sampleonnx: "+oneLine(err)+raise(err))
	}
	return code
}

// oneLine is an error's text, of which nobody reads more than a page.
func oneLine(err error) string {
	text := strings.Replace(err.Error(), context.DeadlineExceeded.Error(), "not done within the limit of time", 1)
	return shortened(strings.Join(strings.Fields(text), " "), 2000)
}

// printable is text with what is no visible character written out, as \x1b: names come from files, and must not command the terminal that shows them.
func printable(text string) string {
	var b strings.Builder
	for text != "" {
		r, n := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
		text = text[n:]
	}
	return b.String()
}

// printf is fmt.Fprintf whose strings are printable.
func printf(w io.Writer, format string, args ...any) error {
	for i, a := range args {
		switch a := a.(type) {
		case string:
			args[i] = printable(a)
		case []byte:
			args[i] = printable(string(a))
		case fmt.Stringer:
			args[i] = printable(a.String())
		}
	}
	_, err := fmt.Fprintf(w, format, args...)
	return err
}

// printJSON writes v as one line of JSON, in which strings are printable too.
func printJSON(w io.Writer, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, r := range string(text) { // what is no ASCII is in strings
		if r < 0x7f || unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		for _, half := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, half)
		}
	}
	_, err = fmt.Fprintln(w, b.String())
	return err
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
	if verb, ok := verbs()[args[0]]; ok {
		return verb(ctx, args[1:], std)
	}
	return sample(ctx, args, std)
}

// verbs are all but the main one, which begins with a model.
func verbs() map[string]func(ctx context.Context, args []string, std streams) error {
	return map[string]func(context.Context, []string, streams) error{
		"run": evaluate, "inspect": inspect, "bench": bench, "verify": verify, "likelihood": likelihood, "interpolate": interpolate, "loss": loss,
		"encode":  func(ctx context.Context, args []string, std streams) error { return passed(ctx, args, std, true) },
		"decode":  func(ctx context.Context, args []string, std streams) error { return passed(ctx, args, std, false) },
		"compare": compare, "help": helpVerb, "version": printVersion, "--version": printVersion,
	}
}

// helpVerb is the help of a verb, or that of the main one.
func helpVerb(ctx context.Context, args []string, std streams) error {
	if len(args) == 0 {
		return sample(ctx, []string{"--help"}, std)
	}
	all := verbs()
	for _, name := range []string{"help", "version", "--version"} {
		delete(all, name)
	}
	verb, ok := all[args[0]]
	if !ok || len(args) > 1 {
		return usagef("help %s: want one of %s, or none for how to draw samples", strings.Join(args, " "), strings.Join(slices.Sorted(maps.Keys(all)), ", "))
	}
	return verb(ctx, []string{"--help"}, std)
}

func printVersion(_ context.Context, _ []string, std streams) error {
	_, err := fmt.Fprintln(std.out, version())
	return err
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
	var limit *onnxrun.LimitError
	var data *bounded.LimitError
	var incomplete *card.Error
	switch {
	case errors.As(err, &limit), errors.As(err, &data), errors.Is(err, context.DeadlineExceeded):
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

const maxThreads = 1024 // more than processors only get in each other's way

// openModel opens a model.
func openModel(ctx context.Context, name string, c runConfig) (*onnxrun.Model, error) {
	if c.Threads < 0 || c.Threads > maxThreads {
		return nil, usagef("--threads %d: want 0 (all processors) to %d", c.Threads, maxThreads)
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
func configFlags(f *pflag.FlagSet, c *runConfig) {
	f.IntVarP(&c.Threads, "threads", "t", 0, "`T` threads (default: all processors); results do not depend on it")
	f.Var(limitFlag{c}, "limit", limitUsage)
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
	if bad, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		if want := wanted[bad.GetFlag().Value.Type()]; want != "" {
			return usagef("--%s %s: want %s (see --help)", bad.GetFlag().Name, bad.GetValue(), want)
		}
	}
	return usagef("%v (see --help)", err)
}

// wanted is what flags take, by their type, where the parser's error says no more than that this is none.
var wanted = map[string]string{
	"int": "a whole number", "uint64": "a whole number from 0 to 18446744073709551615", "float64": "a number", "bool": "true or false", "duration": "a time as 500ms or 2s",
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
	known := slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "" })
	return usagef("--%s %q: want one of %s", flag, value, strings.Join(known, ", "))
}
