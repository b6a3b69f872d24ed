package main

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/sampler"
)

// conditionFlags say what samples are to be: of which class, and what is known of them.
type conditionFlags struct {
	class, classifier, classifierTime string
	guidance                          float64

	inpaint, mask, colorize       string
	inverse, measurement, measure string
	method                        string
	strength                      float64
}

// methods solve inverse problems; project is Song et al.'s way to impose what is known, in the form that suits the sampler.
var methods = []string{"project", "dps", "pigdm", "reddiff"}

func (s *conditionFlags) flags() *pflag.FlagSet {
	f := flagSet("")
	f.StringVar(&s.class, "class", "", "`CLASS` of the samples, from 0: K, or K1,K2,... or K1-K2 for one after the other")
	f.Float64Var(&s.guidance, "guidance", 1, "weight `W` of the classifier's gradient, or of the class without a classifier: uncond + W (cond - uncond)")
	f.String("null-class", "", "class `K` that means none to the network, for --guidance without a classifier")
	f.StringVar(&s.classifier, "classifier", "", "network `FILE.onnx` that tells the class of a noisy sample: logits")
	f.StringVar(&s.classifierTime, "classifier-time", "", "what the classifier is told as the time: `KIND` t, sigma, log_sigma, … as time_kind of a model card")
	f.StringVar(&s.inpaint, "inpaint", "", "`IMAGE` .png, .npy or FILE.npz:NAME of which --mask is known: draw the rest")
	f.StringVar(&s.mask, "mask", "", "`MASK` .png or .npy, where it is white or not 0 the image is known; or left, right, top, bottom")
	f.StringVar(&s.colorize, "colorize", "", "grey `IMAGE` .png or .npy to be coloured")
	f.StringVar(&s.inverse, "inverse", "", "what was measured of the samples: `OP` mask (--mask), average:K (means of K×K pixels), blur:S (Gaussian of S pixels), matrix:A.npy")
	f.StringVar(&s.measurement, "measurement", "", "the measurement `Y` .npy or .png, one or several that samples take in turn")
	f.StringVar(&s.measure, "measure", "", "`IMAGE` to measure, in place of --measurement")
	f.StringVar(&s.method, "method", "project", "how a measurement is used: `NAME` "+strings.Join(methods, ", ")+" (all but project with the levels of ddim)")
	f.Float64Var(&s.strength, "strength", 0, "`X` of the method: project's part of the way (default 1), the step of dps (1) and pigdm (1), the network's weight in reddiff (0.25)")
	return f
}

// measured reports whether anything is known of the samples.
func (s *conditionFlags) measured() bool {
	return s.inpaint != "" || s.colorize != "" || s.inverse != ""
}

// settings is what the conditions ask of the card.
func (s *conditionFlags) settings(f *pflag.FlagSet) ([]setting, error) {
	if err := s.check(f); err != nil {
		return nil, err
	}
	if s.method == "project" {
		return nil, nil
	}
	var list []setting
	if name := f.Lookup("sampler"); !name.Changed {
		list = append(list, setting{"sampler.name", "ddim", "--method " + s.method})
	} else if name.Value.String() != "ddim" {
		return nil, usagef("--method %s: it has a sampler of its own, with the levels of ddim, not of --sampler %s", s.method, name.Value)
	}
	if s.method == "reddiff" && f.Changed("eta") {
		return nil, usagef("--eta is of no use to --method reddiff")
	}
	if s.method != "reddiff" && !f.Changed("eta") {
		list = append(list, setting{"sampler.eta", "1", "--method " + s.method})
	}
	return list, nil
}

// meta is what the .npz output remembers of the conditions; nil for none.
func (s *conditionFlags) meta() map[string]any {
	all := map[string]any{}
	for name, value := range map[string]string{
		"class": s.class, "classifier": s.classifier, "classifier-time": s.classifierTime, "inpaint": s.inpaint, "mask": s.mask, "colorize": s.colorize,
		"inverse": s.inverse, "measurement": s.measurement, "measure": s.measure,
	} {
		if value != "" {
			all[name] = value
		}
	}
	if s.class != "" {
		all["guidance"] = s.guidance
	}
	if s.measured() {
		all["method"], all["strength"] = s.method, s.strength
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

// check refuses flags that do not go together.
func (s *conditionFlags) check(f *pflag.FlagSet) error {
	alone := func(flag, value, needs string, there bool) error {
		if value != "" && !there {
			return usagef("--%s %s is of no use without %s", flag, value, needs)
		}
		return nil
	}
	one := 0
	for _, given := range []string{s.inpaint, s.colorize, s.inverse} {
		if given != "" {
			one++
		}
	}
	byMask := s.inpaint != "" || s.inverse == "mask"
	switch {
	case math.IsNaN(s.guidance) || math.IsInf(s.guidance, 0):
		return usagef("--guidance %v: want a number", s.guidance)
	case f.Changed("guidance") && s.class == "":
		return usagef("--guidance is of no use without --class")
	case one > 1:
		return usagef("--inpaint, --colorize and --inverse: want one of them")
	case byMask && s.mask == "":
		return usagef("--mask is missing: which part of the image is known?")
	case s.inverse != "" && (s.measurement == "") == (s.measure == ""):
		return usagef("--inverse %s: give what was measured with --measurement, or an image with --measure", s.inverse)
	case f.Changed("strength") && !(s.strength > 0 && !math.IsInf(s.strength, 1)):
		return usagef("--strength %v: want more than 0", s.strength)
	case f.Changed("strength") && s.method == "project" && s.strength > 1:
		return usagef("--strength %v: --method project goes a part of the way to the measurement, at most 1", s.strength)
	case (f.Changed("method") || f.Changed("strength")) && !s.measured():
		return usagef("--method and --strength are of no use without --inpaint, --colorize or --inverse")
	case s.classifier != "" && s.measured() && (s.method == "dps" || s.method == "pigdm"):
		return usagef("--method %s: it needs the derivative of the score, which is not there with --classifier: try project", s.method)
	}
	for _, err := range []error{
		oneOf("method", s.method, methods...),
		alone("classifier", s.classifier, "--class", s.class != ""),
		alone("classifier-time", s.classifierTime, "--classifier", s.classifier != ""),
		alone("mask", s.mask, "--inpaint or --inverse mask", byMask),
		alone("measurement", s.measurement, "--inverse", s.inverse != ""),
		alone("measure", s.measure, "--inverse", s.inverse != ""),
	} {
		if err != nil {
			return err
		}
	}
	if s.classifierTime != "" {
		return oneOf("classifier-time", s.classifierTime, card.TimeKinds()...)
	}
	return nil
}

// condition is what samples are to be, ready for use; nothing, if zero.
type condition struct {
	classes    []int
	guidance   float64
	network    conditional // of a network that is told the class
	classifier *classifier
	known      *known
}

// newCondition reads what the flags name, and checks it against the model.
func (j *job) newCondition(ctx context.Context) (condition, error) {
	s := &j.flags.condition
	c := condition{guidance: s.guidance}
	var err error
	if s.class != "" {
		if c.classes, err = parseClasses(s.class); err != nil {
			return c, err
		}
	}
	if j.card.Cond.Name != "" {
		if c.network, err = newConditional(ctx, j.model, j.card); err != nil {
			return c, err
		}
		weight := s.guidance
		if s.classifier != "" {
			weight = 1
		}
		if err := c.network.check(c.classes, weight); err != nil {
			return c, err
		}
	}
	switch {
	case j.card.Cond.Name == "" && j.card.Rank("cond.null") == card.Flag:
		return c, usagef("--null-class: the network is told no class (its card has no cond)")
	case s.classifier != "":
		if j.recipe.velocity {
			return c, usagef("--classifier: --sampler %s follows a velocity, which has no guidance: try pc or ode", j.card.Sampler.Name)
		}
		if c.classifier, err = j.newClassifier(ctx, c.classes); err != nil {
			return c, err
		}
	case s.class != "" && j.card.Cond.Name == "":
		return c, usagef("--class %s: the network is told no class (its card has no cond); with --classifier another network says which it is", s.class)
	}
	if s.measured() {
		c.known, err = j.newKnown(ctx, c.classes)
	}
	return c, err
}

func (c *condition) close() {
	if c.classifier != nil {
		c.classifier.model.Close()
	}
}

// score is the conditional score for a batch.
func (j *job) score(ctx context.Context, b *sampler.Batch) (sampler.Field, error) {
	c, r := j.condition, *j.recipe
	if c.classifier != nil {
		gradient, err := c.classifier.gradient(b, c.classes)
		if err != nil {
			return nil, err
		}
		r.guide = func(score sampler.Field) sampler.Field { return sampler.Guided(score, gradient, c.guidance) }
	}
	var score sampler.Field
	var err error
	if c.network.raw == nil {
		if score, err = r.score(ctx, j.model, j.card); err != nil {
			return nil, err
		}
	} else {
		weight := c.guidance
		if c.classifier != nil {
			weight = 1
		}
		score = r.convert(c.network.field(b, c.classes, weight), j.card)
	}
	if c.known == nil || !c.known.inScore {
		return score, nil
	}
	return c.known.Score(b, score, r.samplers(), c.known.lambda)
}

// about says what the samples are to be.
func (c *condition) about(s *conditionFlags) string {
	var parts []string
	if len(c.classes) > 0 {
		part := fmt.Sprintf("class %s, guidance %.4g", s.class, c.guidance)
		if c.classifier != nil {
			part += " by " + filepath.Base(s.classifier)
		}
		parts = append(parts, part)
	}
	if c.known != nil {
		parts = append(parts, c.known.about)
	}
	return strings.Join(parts, "; ")
}

// probed is the score that is looked at before the run: without what is imposed on the samples.
func (j *job) probed(ctx context.Context) (sampler.Field, error) {
	plain := *j
	plain.condition = condition{classes: j.condition.classes, guidance: 1, network: j.condition.network}
	return plain.score(ctx, nil)
}
