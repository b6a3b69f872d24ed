package card

import (
	"fmt"
	"slices"
	"strings"
)

// Port is an input or output of a network; a dimension that is not fixed is negative.
type Port struct {
	Name  string
	DType string
	Dims  []int
}

func isFloat(dtype string) bool {
	return slices.Contains([]string{"float32", "float64", "float16", "bfloat16"}, dtype)
}

// Infer fills in what nobody gave and the inputs and outputs tell for certain.
func (c *Card) Infer(inputs, outputs []Port) error {
	if err := c.inferX(inputs); err != nil {
		return err
	}
	if err := c.inferTime(inputs); err != nil {
		return err
	}
	if err := c.inferCond(inputs); err != nil {
		return err
	}
	return c.inferOut(outputs)
}

func (c *Card) infer(key string, value string) error {
	if c.Has(key) {
		return nil
	}
	return c.SetText(key, value, Source{Inferred, "inferred from names and shapes"})
}

func (c *Card) inferX(inputs []Port) error {
	if !c.Has("x") {
		best := -1
		for i, p := range inputs {
			if isFloat(p.DType) && len(p.Dims) >= 2 && (best < 0 || len(p.Dims) > len(inputs[best].Dims)) && p.Name != c.Time {
				best = i
			}
		}
		if best < 0 {
			return &Error{Source{}, "no input looks like samples (float, rank 2 or more); name it with --set x=NAME"}
		}
		if err := c.infer("x", inputs[best].Name); err != nil {
			return err
		}
	}
	x, err := port(inputs, c.X, "x", "input")
	if err != nil {
		return err
	}
	if x.Dims == nil { // the model does not say; the shape must come from elsewhere
		return nil
	}
	if len(x.Dims) < 2 {
		return &Error{Source{}, fmt.Sprintf("input %q has %d dimensions, a batch of samples has at least 2", x.Name, len(x.Dims))}
	}
	if !c.Has("shape") && !slices.ContainsFunc(x.Dims[1:], func(d int) bool { return d < 0 }) {
		return c.infer("shape", join(x.Dims[1:]))
	}
	return c.checkShape(x)
}

// checkShape compares the shape with the dimensions that the network fixes.
func (c *Card) checkShape(x Port) error {
	if !c.Has("shape") {
		return nil
	}
	ok := len(c.Shape) == len(x.Dims)-1
	for i := 0; ok && i < len(c.Shape); i++ {
		ok = x.Dims[i+1] < 0 || x.Dims[i+1] == c.Shape[i]
	}
	if !ok {
		return &Error{c.From["shape"], fmt.Sprintf("shape %v does not fit input %q, which is %s", c.Shape, x.Name, Dims(x.Dims))}
	}
	return nil
}

// inferTime finds the other input of rank 0 or 1, or one of shape [B 1], [B 1 1 1].
func (c *Card) inferTime(inputs []Port) error {
	if !c.Has("time") {
		name := ""
		for _, p := range inputs {
			if p.Name != c.X && p.Name != c.Cond.Name && timeShape(p.Dims) != "" {
				if name != "" {
					return &Error{Source{}, fmt.Sprintf("inputs %q and %q could both be the time; say which with --set time=NAME", name, p.Name)}
				}
				name = p.Name
			}
		}
		if err := c.infer("time", name); err != nil {
			return err
		}
	}
	if c.Time == "" {
		if err := c.infer("time_kind", "none"); err != nil {
			return err
		}
		if c.TimeKind != "none" {
			return &Error{c.From["time_kind"], fmt.Sprintf("time_kind is %q, but the network has no time input", c.TimeKind)}
		}
		return c.infer("output", "score_sigma") // NCSNv2, technique 3: s(x, σ) = s(x)/σ
	}
	if c.TimeKind == "none" {
		return &Error{c.From["time_kind"], fmt.Sprintf("time_kind is none, but the network has a time input, %q", c.Time)}
	}
	p, err := port(inputs, c.Time, "time", "input")
	if err != nil {
		return err
	}
	shape := timeShape(p.Dims)
	if shape == "" && p.Dims != nil {
		return &Error{Source{}, fmt.Sprintf("input %q of shape %s cannot be the time", p.Name, Dims(p.Dims))}
	}
	if c.Has("time_dtype") && c.TimeDType != p.DType {
		return &Error{c.From["time_dtype"], fmt.Sprintf("time_dtype is %s, but input %q is %s", c.TimeDType, p.Name, p.DType)}
	}
	if err := c.infer("time_dtype", p.DType); err != nil {
		return err
	}
	if shape == "" {
		return nil
	}
	return c.infer("time_shape", shape)
}

// inferCond finds what is told the class: the one input besides, an integer for each sample or a vector with a value a class.
func (c *Card) inferCond(inputs []Port) error {
	for _, p := range inputs {
		if p.Name == c.X || p.Name == c.Time || p.Name == c.Cond.Name {
			continue
		}
		index := strings.HasPrefix(p.DType, "int") && len(p.Dims) <= 1 && p.Dims != nil
		if c.Has("cond.name") || !index && !(isFloat(p.DType) && len(p.Dims) == 2) {
			return &Error{Source{}, fmt.Sprintf("input %q is %s%s: neither the samples nor the time nor the class, and nothing else can be told to a network", p.Name, p.DType, Dims(p.Dims))}
		}
		if err := c.infer("cond.name", p.Name); err != nil {
			return err
		}
	}
	if c.Cond.Name == "" {
		return nil
	}
	p, err := port(inputs, c.Cond.Name, "cond.name", "input")
	if err != nil {
		return err
	}
	kind := "float"
	if strings.HasPrefix(p.DType, "int") || len(p.Dims) < 2 {
		kind = "int"
	}
	if err := c.infer("cond.kind", kind); err != nil {
		return err
	}
	if c.Cond.Kind != "float" {
		return nil
	}
	if len(p.Dims) != 2 || p.Dims[1] < 1 {
		return &Error{c.From["cond.kind"], fmt.Sprintf("input %q is %s, and a class as a vector is [batch,classes]", p.Name, Dims(p.Dims))}
	}
	if c.Has("cond.n") && c.Cond.N != p.Dims[1] {
		return &Error{c.From["cond.n"], fmt.Sprintf("cond.n is %d, but input %q is %s", c.Cond.N, p.Name, Dims(p.Dims))}
	}
	return c.infer("cond.n", fmt.Sprint(p.Dims[1]))
}

// timeShape classifies an input that could be the time; nil dimensions are unknown ones.
func timeShape(dims []int) string {
	ones := func(d []int) bool { return !slices.ContainsFunc(d, func(n int) bool { return n != 1 }) }
	switch {
	case dims == nil:
		return ""
	case len(dims) == 0:
		return "scalar"
	case len(dims) == 1 && dims[0] == 1:
		return "1"
	case len(dims) == 1:
		return "B"
	case len(dims) == 2 && ones(dims[1:]):
		return "B1"
	case len(dims) == 4 && ones(dims[1:]):
		return "B111"
	}
	return ""
}

func (c *Card) inferOut(outputs []Port) error {
	if !c.Has("out") {
		if len(outputs) != 1 {
			names := make([]string, len(outputs))
			for i, p := range outputs {
				names[i] = p.Name
			}
			return &Error{Source{}, fmt.Sprintf("the network has %d outputs (%s); say which with --set out=NAME", len(outputs), strings.Join(names, ", "))}
		}
		return c.infer("out", outputs[0].Name)
	}
	_, err := port(outputs, c.Out, "out", "output")
	return err
}

func port(ports []Port, name, key, what string) (Port, error) {
	names := make([]string, len(ports))
	for i, p := range ports {
		if p.Name == name {
			return p, nil
		}
		names[i] = p.Name
	}
	return Port{}, &Error{Source{}, fmt.Sprintf("the network has no %s %q (it has %s); correct it with --set %s=NAME", what, name, strings.Join(names, ", "), key)}
}

// Dims prints the dimensions of a port, ? for one that is not fixed.
func Dims(dims []int) string {
	parts := make([]string, len(dims))
	for i, d := range dims {
		if parts[i] = fmt.Sprint(d); d < 0 {
			parts[i] = "?"
		}
	}
	return "[" + strings.Join(parts, " ") + "]"
}

func join(v []int) string { return strings.Trim(strings.ReplaceAll(fmt.Sprint(v), " ", ","), "[]") }

// Check refuses a card that leaves open what must not be guessed, naming the flag that settles it.
func (c *Card) Check() error {
	missing := func(what, flag string) error {
		for _, i := range c.Ignored {
			if i.Key == "_class_name" {
				what += fmt.Sprintf(" (%s: %s %v %s)", SchedulerFile, i.Key, i.Value, i.Why)
			}
		}
		return &Error{Source{}, fmt.Sprintf("the model card does not say %s: give %s", what, flag)}
	}
	switch {
	case !c.Has("output"):
		return missing("what the network returns", "--set output="+strings.Join(Outputs(), "|"))
	case !c.Has("shape"):
		return missing("how large a sample is", "--set shape=3,32,32")
	case !c.Has("time_kind") && strings.HasPrefix(c.TimeDType, "int"):
		return missing("in which direction the integer input "+c.Time+" counts", "--set time_kind=index (0 is the largest noise) or --set time_kind=index_desc")
	case !c.Has("time_kind"):
		return missing("what the input "+c.Time+" wants", "--set time_kind="+TimesOfInput())
	case c.TimeKind == "t_scaled" && !c.Has("time_scale"):
		return missing("by what t is scaled", "--set time_scale=999")
	case !c.Has("sde"):
		return missing("which process noised the data", "--sde "+strings.Join(SDEs(), "|"))
	}
	if strings.HasPrefix(c.TimeKind, "index") && !c.Has("levels") && !c.Has("sigmas") && !c.Has("betas") {
		return missing("how many levels the network's index counts", "--set levels=N")
	}
	if c.Cond.Name != "" && !c.Has("cond.n") {
		return missing("how many classes the input "+c.Cond.Name+" tells apart", "--set cond.n=10")
	}
	if (c.Output == "edm_F" || c.CIn == "edm") && !c.Has("sigma_data") {
		return missing("the data's standard deviation that scales the network", "--set sigma_data=0.5 (EDM's; k-diffusion's default is 1)")
	}
	return c.checkNoise(missing)
}

func (c *Card) checkNoise(missing func(what, flag string) error) error {
	switch c.SDE {
	case "flow":
	case "ddpm":
		return c.checkChain(missing)
	case "ve", "edm":
		if !c.Has("sigmas") && !c.Has("sigma_min") {
			return missing("the smallest noise", "--sigma-min (or --sigmas)")
		}
		if !c.Has("sigmas") && !c.Has("sigma_max") {
			return missing("the largest noise", "--sigma-max (or --sigmas)")
		}
		if c.Has("sigma_min") && c.Has("sigma_max") && c.SigmaMin >= c.SigmaMax {
			return &Error{Source{}, fmt.Sprintf("sigma_min %v is not below sigma_max %v", c.SigmaMin, c.SigmaMax)}
		}
	case "vp", "subvp":
		if !c.Has("beta_min") || !c.Has("beta_max") {
			return missing("the range of beta", "--set beta_min=0.1 and --set beta_max=20 (Song 2021's values)")
		}
		if c.BetaMin < 0 || c.BetaMin > c.BetaMax {
			return &Error{Source{}, fmt.Sprintf("beta_min %v and beta_max %v are not a range", c.BetaMin, c.BetaMax)}
		}
	}
	return nil
}

// checkChain checks the betas of DDPM's chain.
func (c *Card) checkChain(missing func(what, flag string) error) error {
	if c.Has("betas") && c.Rank("betas") >= c.Rank("beta_schedule") {
		if !c.Has("levels") {
			c.Levels = len(c.Betas)
			c.From["levels"] = c.From["betas"]
		}
		if c.Levels != len(c.Betas) {
			return &Error{c.From["levels"], fmt.Sprintf("levels is %d, but there are %d betas", c.Levels, len(c.Betas))}
		}
		return nil
	}
	if !c.Has("levels") {
		return missing("how many steps the chain has", "--set levels=1000")
	}
	if c.BetaSchedule == "squaredcos_cap_v2" {
		return nil
	}
	if !c.Has("beta_min") || !c.Has("beta_max") {
		return missing("the first and the last beta of the chain", "--set beta_min=0.0001 and --set beta_max=0.02 (Ho et al. 2020's values)")
	}
	if !(c.BetaMin > 0 && c.BetaMin <= c.BetaMax && c.BetaMax < 1) {
		return &Error{c.From["beta_max"], fmt.Sprintf("beta_min %v and beta_max %v are not the first and the last beta of a chain, which are between 0 and 1; those of sde vp are %d times as large", c.BetaMin, c.BetaMax, c.Levels)}
	}
	return nil
}
