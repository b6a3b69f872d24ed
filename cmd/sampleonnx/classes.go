package main

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/cmd/sampleonnx/internal/npy"
)

// classFlags say of which class samples and data are. Every verb that follows a score has them.
type classFlags struct {
	class, classifier, classifierTime string
	null                              string
	guidance                          float64
}

// add defines the flags; of says whose class it is.
func (s *classFlags) add(f *pflag.FlagSet, of string) {
	f.StringVar(&s.class, "class", "", "`CLASS` of "+of+", from 0: K, or K1,K2,... or K1-K2 for one after the other, or FILE.npy with one for each (default: none)")
	f.Float64Var(&s.guidance, "guidance", 1, "weight `W` of the classifier's gradient, or of the class without a classifier: uncond + W (cond - uncond)")
	f.StringVar(&s.null, "null-class", "", "class `K` that means none to the network, for --guidance without a classifier")
	f.StringVar(&s.classifier, "classifier", "", "network `FILE.onnx` that tells the class of a noisy sample: logits")
	f.StringVar(&s.classifierTime, "classifier-time", "", "what the classifier is told as the time: `KIND` t, sigma, log_sigma, … as time_kind of a model card")
}

// settings is what the flags ask of the card. It refuses flags that do not go together.
func (s *classFlags) settings(f *pflag.FlagSet) ([]setting, error) {
	switch {
	case math.IsNaN(s.guidance) || math.IsInf(s.guidance, 0):
		return nil, usagef("--guidance %v: want a number", s.guidance)
	case f.Changed("guidance") && s.class == "":
		return nil, usagef("--guidance is of no use without --class")
	case s.classifier != "" && s.class == "":
		return nil, usagef("--classifier %s is of no use without --class", s.classifier)
	case s.classifierTime != "" && s.classifier == "":
		return nil, usagef("--classifier-time %s is of no use without --classifier", s.classifierTime)
	}
	if s.classifierTime != "" {
		if err := oneOf("classifier-time", s.classifierTime, card.TimeKinds()...); err != nil {
			return nil, err
		}
	}
	if !f.Changed("null-class") {
		return nil, nil
	}
	return []setting{{"cond.null", s.null, "--null-class"}}, nil
}

// cardSettings is what --set and the flags of classes ask of the card.
func cardSettings(f *pflag.FlagSet, classes *classFlags, set []string) ([]setting, error) {
	list, err := parseSettings(set)
	if err != nil {
		return nil, err
	}
	more, err := classes.settings(f)
	return append(list, more...), err
}

// meta is what results remember of the classes.
func (s *classFlags) meta() map[string]any {
	all := map[string]any{}
	for name, value := range map[string]string{"class": s.class, "classifier": s.classifier, "classifier-time": s.classifierTime} {
		if value != "" {
			all[name] = value
		}
	}
	if s.class != "" {
		all["guidance"] = s.guidance
	}
	return all
}

// about names the classes and what guides to them: "class 0-9, guidance 2", or "".
func (s *classFlags) about() string {
	if s.class == "" {
		return ""
	}
	text := fmt.Sprintf("class %s, guidance %.4g", s.class, s.guidance)
	if s.classifier != "" {
		text += " by " + filepath.Base(s.classifier)
	}
	return text
}

// ofClass is how a verb's line says of which class the data are.
func ofClass(class string) string {
	if class == "" {
		return ""
	}
	return " of class " + class
}

// fromFile reports whether the classes are in a file, one for each sample or datum.
func (s *classFlags) fromFile() bool { return strings.EqualFold(filepath.Ext(s.class), ".npy") }

// list is the classes that samples take in turn; nil for none.
func (s *classFlags) list(ctx context.Context) ([]int, error) {
	switch {
	case s.class == "":
		return nil, nil
	case s.fromFile():
		return readClasses(ctx, s.class)
	}
	return parseClasses(s.class)
}

const maxClasses = 1 << 16 // in a list: it is about samples that take turns, not about all of them

// parseClasses reads 3, 0,1,2 and 0-9.
func parseClasses(text string) ([]int, error) {
	var list []int
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.ParseUint(first, 10, 31)
		to, err2 := strconv.ParseUint(last, 10, 31)
		if err1 != nil || err2 != nil || from > to {
			return nil, usagef("--class %q: want a class K, a list K1,K2,..., a range K1-K2 or a FILE.npy", text)
		}
		if to-from >= uint64(maxClasses-len(list)) {
			return nil, usagef("--class %q: want at most %d classes, or a FILE.npy", text, maxClasses)
		}
		for k := from; k <= to; k++ {
			list = append(list, int(k))
		}
	}
	return list, nil
}

// readClasses reads a row of whole numbers.
func readClasses(ctx context.Context, name string) ([]int, error) {
	a, err := npy.ReadFile(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("--class: %w", err)
	}
	if len(a.Shape) != 1 || a.Shape[0] < 1 {
		return nil, usagef("--class %s has shape %v, want [n]: a class for each", name, a.Shape)
	}
	values, err := a.Int64s()
	if err != nil {
		return nil, usagef("--class %s: %v", name, err)
	}
	list := make([]int, len(values))
	for i, k := range values {
		if k < 0 || k > math.MaxInt32 {
			return nil, usagef("--class %s: value %d is %d, want a class, from 0", name, i, k)
		}
		list[i] = int(k)
	}
	return list, nil
}

// inRange refuses classes that are not among n.
func inRange(classes []int, n int, whose string) error {
	for _, k := range classes {
		if k >= n {
			return usagef("--class %d: %s knows %d, 0 to %d", k, whose, n, n-1)
		}
	}
	return nil
}
