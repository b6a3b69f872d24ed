package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/onnxrun"
)

const inspectHelp = `sampleonnx inspect says what a model is: inputs, outputs, operators, cost for a shape, and the resolved model card.

  sampleonnx inspect MODEL.onnx [--batch B] [--shape x=1,3,64,64] [--json]

Flags:
%s`

// inspection is what inspect finds.
type inspection struct {
	Model      string            `json:"model"`
	Producer   string            `json:"producer,omitempty"`
	Opset      map[string]int64  `json:"opset"`      // domain → version; "" is ai.onnx
	Parameters int64             `json:"parameters"` // elements of the weights
	Operators  map[string]int    `json:"operators"`  // in the file
	Inputs     []value           `json:"inputs"`
	Outputs    []value           `json:"outputs"`
	Metadata   map[string]string `json:"metadata,omitempty"`
	Plan       *planned          `json:"plan,omitempty"`
	PlanError  string            `json:"plan_error,omitempty"`
	Card       []card.Line       `json:"card"`
	CardError  string            `json:"card_error,omitempty"`
	HowSampled string            `json:"sampler,omitempty"`
	Probe      *float64          `json:"probe,omitempty"` // of the score at the largest noise; 1 is right
}

type value struct {
	Name  string `json:"name"`
	DType string `json:"dtype"`
	Shape string `json:"shape"`
}

// planned is the cost of a run for given input shapes.
type planned struct {
	Shapes      map[string][]int `json:"shapes"`
	Operators   []opCount        `json:"operators"` // after fusion
	GFLOP       float64          `json:"gflop"`
	MemoryBytes int              `json:"memory_bytes"` // without the weights
}

type opCount struct {
	Op    string  `json:"op"`
	Count int     `json:"count"`
	GFLOP float64 `json:"gflop"`
}

func inspect(args []string, std streams) error {
	f := flagSet("inspect")
	batch := f.IntP("batch", "b", 1, "`B`, what a dimension that the model leaves open becomes")
	shapes := f.StringArray("shape", nil, "shape of an input: `NAME=1,3,32,32`; can be repeated")
	set := f.StringArray("set", nil, "any key of the model card: `KEY=VALUE`; can be repeated")
	asJSON := f.Bool("json", false, "print one JSON object")
	if err := parse(f, args, "a model"); err != nil {
		return help(std.out, fmt.Sprintf(inspectHelp, f.FlagUsagesWrapped(110)), err)
	}
	if *batch < 1 {
		return usagef("--batch %d: want 1 or more", *batch)
	}
	settings, err := parseSettings(*set)
	if err != nil {
		return err
	}
	m, err := openModel(f.Arg(0), onnxrun.Config{})
	if err != nil {
		return err
	}
	defer m.Close()
	file := m.File()
	i := inspection{Model: filepath.Base(f.Arg(0)), Producer: file.Producer, Opset: file.Opset, Parameters: file.Parameters, Operators: file.Operators,
		Inputs: values(m.Inputs()), Outputs: values(m.Outputs()), Metadata: m.Metadata()}
	c, err := resolveCard(m, f.Arg(0), asked{settings: settings})
	i.Card = c.Lines()
	if err == nil {
		var r *recipe
		if r, err = newRecipe(c, false); err == nil {
			i.HowSampled = r.about
			err = i.try(m, c, r)
		}
	}
	if err != nil {
		i.CardError = err.Error()
	}
	if i.Plan, err = plan(m, c, *batch, *shapes); err != nil {
		if len(*shapes) > 0 {
			return err
		}
		i.PlanError = err.Error()
	}
	if *asJSON {
		return json.NewEncoder(std.out).Encode(i)
	}
	return i.print(std.out)
}

// try compares the network with its card.
func (i *inspection) try(m *onnxrun.Model, c *card.Card, r *recipe) error {
	score, err := r.score(m, c)
	if err != nil {
		return err
	}
	k, err := r.probe(score, elements(c.Shape))
	if err == nil && !math.IsNaN(k) && !math.IsInf(k, 0) {
		i.Probe = &k
	}
	return err
}

func values(list []onnxrun.Info) []value {
	out := make([]value, len(list))
	for i, v := range list {
		out[i] = value{v.Name, v.DType.String(), onnxrun.FormatDims(v.Dims)}
	}
	return out
}

// plan compiles the model for a batch of samples; the card's shape fills in what the model leaves open.
func plan(m *onnxrun.Model, c *card.Card, batch int, shapes []string) (*planned, error) {
	asked, err := parseShapes(shapes)
	if err != nil {
		return nil, err
	}
	p := &planned{Shapes: make(map[string][]int)}
	r := rand.New(rand.NewPCG(1, 2))
	var inputs []onnxrun.Tensor
	for _, in := range m.Inputs() {
		shape, ok := asked[in.Name]
		delete(asked, in.Name)
		if !ok && in.Name == c.X && c.Has("shape") {
			shape, ok = append([]int{batch}, c.Shape...), true
		}
		if !ok {
			shape = []int{}
			for _, d := range in.Dims {
				if d.Size < 0 {
					d.Size = batch
				}
				shape = append(shape, d.Size)
			}
		}
		t, err := tensor(in, randomArray(r, in.DType.String(), shape))
		if err != nil {
			return nil, err
		}
		inputs, p.Shapes[in.Name] = append(inputs, t), shape
	}
	for name := range asked {
		return nil, usagef("--shape %s: the model has no such input", name)
	}
	stats, err := m.Plan(inputs...)
	if err != nil {
		return nil, err
	}
	p.GFLOP, p.MemoryBytes, p.Operators = stats.FLOPs/1e9, stats.Memory, countOps(stats.Nodes)
	return p, nil
}

func countOps(nodes []onnxrun.NodeStats) []opCount {
	by := make(map[string]*opCount)
	for _, n := range nodes {
		if by[n.Op] == nil {
			by[n.Op] = &opCount{Op: n.Op}
		}
		by[n.Op].Count++
		by[n.Op].GFLOP += n.FLOPs / 1e9
	}
	var list []opCount
	for _, op := range slices.Sorted(maps.Keys(by)) {
		list = append(list, *by[op])
	}
	slices.SortStableFunc(list, func(a, b opCount) int { return cmp.Compare(b.Count, a.Count) })
	return list
}

func (i inspection) print(w io.Writer) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tab, "%s: %s, %d parameters, %s\n\ninputs\n", i.Model, i.opsetText(), i.Parameters, cmp.Or(i.Producer, "producer unknown"))
	for _, v := range i.Inputs {
		fmt.Fprintf(tab, "  %s\t%s\t%s\n", v.Name, v.DType, v.Shape)
	}
	fmt.Fprintln(tab, "outputs")
	for _, v := range i.Outputs {
		fmt.Fprintf(tab, "  %s\t%s\t%s\n", v.Name, v.DType, v.Shape)
	}
	if len(i.Metadata) > 0 {
		fmt.Fprintln(tab, "metadata")
		for _, k := range slices.Sorted(maps.Keys(i.Metadata)) {
			fmt.Fprintf(tab, "  %s\t%s\n", k, i.Metadata[k])
		}
	}
	fmt.Fprintln(tab, "operators in the file")
	for _, op := range byCount(i.Operators) {
		fmt.Fprintf(tab, "  %s\t%d\n", op, i.Operators[op])
	}
	i.printPlan(tab)
	fmt.Fprintln(tab, "\nmodel card")
	for _, l := range i.Card {
		text, _ := json.Marshal(l.Value)
		if len(text) > 60 {
			text = append(text[:57], "..."...)
		}
		fmt.Fprintf(tab, "  %s\t%s\t%s\n", l.Key, text, filepath.Base(l.From))
	}
	if i.CardError != "" {
		fmt.Fprintf(tab, "  incomplete: %s\n", i.CardError)
	} else {
		fmt.Fprintf(tab, "sampled by default with %s\n", i.HowSampled)
		if i.Probe != nil {
			fmt.Fprintf(tab, "score of pure noise: %.3g times what is expected at the largest noise (about 1 when the card is right)\n", *i.Probe)
		}
	}
	return tab.Flush()
}

// opsetText names the operator sets: opset 17, com.example 1.
func (i inspection) opsetText() string {
	var parts []string
	for _, domain := range slices.Sorted(maps.Keys(i.Opset)) {
		name := cmp.Or(domain, "opset")
		parts = append(parts, fmt.Sprintf("%s %d", name, i.Opset[domain]))
	}
	return strings.Join(parts, ", ")
}

// byCount lists names, the most frequent first.
func byCount(counts map[string]int) []string {
	return slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
}

func (i inspection) printPlan(w io.Writer) {
	if i.Plan == nil {
		fmt.Fprintf(w, "\ncost: %s\n", i.PlanError)
		return
	}
	var shapes []string
	for _, v := range i.Inputs {
		shapes = append(shapes, fmt.Sprintf("%s %v", v.Name, i.Plan.Shapes[v.Name]))
	}
	fmt.Fprintf(w, "\ncost of a run with %s\n  %.4g GFLOP, %s of memory beside the weights\n", strings.Join(shapes, ", "), i.Plan.GFLOP, bytesText(i.Plan.MemoryBytes))
	fmt.Fprintln(w, "operators as they run, joined ones as one")
	for _, op := range i.Plan.Operators {
		fmt.Fprintf(w, "  %s\t%d\t%.4g GFLOP\n", op.Op, op.Count, op.GFLOP)
	}
}

func bytesText(n int) string {
	switch {
	case n < 1<<20:
		return fmt.Sprintf("%.4g KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.4g MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.4g GiB", float64(n)/(1<<30))
}
