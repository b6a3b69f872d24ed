// Package card resolves the model card: what a score network expects and returns, and how it wants to be sampled.
//
// The same keys come from five places. A flag beats the sidecar file beside the model, that beats the metadata inside the model, that beats
// diffusers' scheduler_config.json beside the model, and what only the names and shapes of the inputs tell comes last. Each field remembers its source. What a wrong guess would silently spoil (the kind of
// output, the noise range, the direction of an index) is never inferred: Check names the flag that is missing.
//
// Cards come with models and are as little to be trusted: a file is at most 1 MiB long, a regular one of the model's folder, and what it counts
// is at most MaxCount.
package card

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"sampleonnx/cmd/sampleonnx/internal/bounded"
)

// Card is a model card. A field that nobody gave is zero; From tells the difference.
type Card struct {
	Score int // version of the format, 1

	Output       string // what the network returns
	X, Time, Out string // names of inputs and output; Time is "" for a network without one
	Cond         Cond

	TimeKind  string
	TimeScale float64
	TimeDType string
	TimeShape string

	SDE          string
	SigmaMin     float64
	SigmaMax     float64
	Levels       int
	Sigmas       []float64
	BetaMin      float64
	BetaMax      float64
	BetaSchedule string
	Betas        []float64
	ZeroSNR      bool // betas rescaled to a last step without signal
	SigmaData    float64
	Shift        float64 // of flow matching's times, towards noise
	TEps         float64
	CIn          string

	Shape      []int
	Range      []float64
	LogitAlpha float64
	Mean       []float64
	Dequant    string
	Prior      string

	Sampler Sampler

	From    map[string]Source // by key, for the fields that are set
	Ignored []Ignored         // of a scheduler's configuration
}

// Cond is the input that tells a network the class.
type Cond struct {
	Name string
	Kind string // int: the class's index; float: a vector with a 1 at it
	N    int    // classes
	Null int    // the index that means none, where there is one
}

// Sampler is how its author samples the network.
type Sampler struct {
	Name            string
	Eps             float64
	Steps           int // per level, of annealed Langevin
	SNR             float64
	N               int
	Denoise         bool
	Predictor       string
	Corrector       string
	CorrectorNorm   string
	CorrectorSteps  int
	ProbabilityFlow bool // the predictor follows the ODE
	RTol, ATol      float64
	Coupled         bool // the batch is one ODE system, as published

	// Of the samplers on a ladder.
	Schedule string
	Spacing  string  // of the schedule index
	Offset   int     // of the spacing leading
	Variance string  // of ddpm
	Rho      float64 // of the schedule karras
	Order    int
	Eta      float64 // ancestral noise
	SChurn   float64 // EDM's churn, where s_min ≤ σ ≤ s_max
	SMin     float64
	SMax     float64
	SNoise   float64 // factor of the noise
	Clip     float64 // bound of x̂_0

	Solver       string  // of those that there are two of
	Lower        int     // fewer steps than this end in lower orders; -1: none do
	EulerLast    bool    // the last step is of order 1
	Threshold    float64 // dynamic thresholding's quantile of |x̂_0|
	ThresholdMax float64 // what it is at most
}

// Source says where a field comes from. A higher Rank won over a lower one.
type Source struct {
	Rank int
	Name string
}

// Ranks of the sources.
const (
	Default = iota
	Inferred
	Scheduler // diffusers' scheduler_config.json
	Metadata
	Sidecar
	Flag
)

// Has reports whether anybody gave key.
func (c *Card) Has(key string) bool {
	_, ok := c.From[key]
	return ok
}

// Rank is that of the source of key, or -1.
func (c *Card) Rank(key string) int {
	if s, ok := c.From[key]; ok {
		return s.Rank
	}
	return -1
}

// Forget undoes what was set.
func (c *Card) Forget(key string) {
	for _, f := range fields() {
		if f.key != key {
			continue
		}
		switch p := f.at(c).(type) {
		case *string:
			*p = ""
		case *int:
			*p = 0
		case *float64:
			*p = 0
		case *bool:
			*p = false
		case *[]int:
			*p = nil
		case *[]float64:
			*p = nil
		}
	}
	delete(c.From, key)
}

// Error says what is wrong with a card, and in which source. Without a source it is a matter for a flag.
type Error struct {
	Source Source
	Reason string
}

func (e *Error) Error() string {
	if e.Source.Name == "" {
		return e.Reason
	}
	return e.Source.Name + ": " + e.Reason
}

const maxFile = 1 << 20 // bytes of a card, be it a file or in a model's metadata

// File names the sidecar of a model: model.onnx has model.score.json.
func File(model string) string { return strings.TrimSuffix(model, ".onnx") + ".score.json" }

// ReadSidecar sets the fields that a sidecar gives; there need not be one.
func (c *Card) ReadSidecar(name string) error {
	text, err := read(Source{Sidecar, name})
	if text == nil || err != nil {
		return err
	}
	return c.SetJSON(text, Source{Sidecar, name})
}

// read is what a source's file holds, nil where there is none.
func read(from Source) ([]byte, error) {
	f, err := bounded.OpenBeside(context.Background(), from.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if bad, ok := errors.AsType[*bounded.FormatError](err); ok {
		return nil, &Error{from, bad.Reason}
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.Size > maxFile {
		return nil, &Error{from, "larger than 1 MiB"}
	}
	return f.All(maxFile)
}

// SetJSON sets the fields of a card in JSON.
func (c *Card) SetJSON(text []byte, from Source) error {
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber()
	var tree map[string]any
	if err := d.Decode(&tree); err != nil {
		return &Error{from, "not a JSON object: " + strings.TrimPrefix(err.Error(), "json: ")}
	}
	if _, err := d.Token(); err != io.EOF {
		return &Error{from, "something follows the JSON object"}
	}
	flat, err := flatten(tree)
	if err != nil {
		return &Error{from, err.Error()}
	}
	for _, key := range slices.Sorted(maps.Keys(flat)) {
		if err := c.set(key, flat[key], from); err != nil {
			return err
		}
	}
	return nil
}

// flatten turns the two nested objects into dotted keys.
func flatten(tree map[string]any) (map[string]any, error) {
	flat := make(map[string]any)
	for key, v := range tree {
		inner, nested := v.(map[string]any)
		switch {
		case (key == "sampler" || key == "cond") && nested:
			for k, u := range inner {
				flat[key+"."+k] = u
			}
		case key == "cond" && v == nil:
		case key == "sampler" || key == "cond":
			return nil, fmt.Errorf("key %q: want an object", key)
		default:
			flat[key] = v
		}
	}
	return flat, nil
}

// SetMetadata sets the fields that a model carries as score.* in its metadata; other keys are not ours.
func (c *Card) SetMetadata(props map[string]string) error {
	size := 0
	for _, full := range slices.Sorted(maps.Keys(props)) {
		key, ours := strings.CutPrefix(full, "score.")
		if full == "score" {
			key, ours = full, true
		}
		if !ours {
			continue
		}
		if size += len(full) + len(props[full]); size > maxFile {
			return &Error{Source{Metadata, "metadata score.…"}, "larger than 1 MiB"}
		}
		if err := c.SetText(key, props[full], Source{Metadata, "metadata " + full}); err != nil {
			return err
		}
	}
	return nil
}

// SetText sets one field from text: a flag's value, or metadata. Lists are separated by commas, with or without brackets.
func (c *Card) SetText(key, text string, from Source) error {
	return c.set(key, plain(text), from)
}

// plain marks a value that was given as text whatever its type.
type plain string
