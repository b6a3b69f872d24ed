package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/onnxrun"
)

const inspectHelp = `sampleonnx inspect says what a model is: inputs, outputs, operators, cost for a shape, and the resolved model card.

  sampleonnx inspect MODEL.onnx [--batch B] [--shape x=1,3,64,64] [--json]
  sampleonnx inspect MODEL.onnx --graph OUT.svg [--batch B]
  sampleonnx inspect MODEL.onnx --probe [--data DATA.npy]

The network is not run, unless --probe asks for it. A model that cannot run is described too, with every operator that is not supported and why;
the exit code is then 3. --graph draws the operators of the file with their shapes; with --batch or --shape, those that run, joined ones as one.

--probe asks the network whether the card is right. Noise at the largest level tells most outputs apart; with data the loss of denoising score
matching must be below 1 at every level. Where it is not, other outputs, times, signs and ranges are tried, and the one that fits is named.

Flags:
%s`

// inspection is what inspect finds.
type inspection struct {
	Model      string            `json:"model"`
	Producer   string            `json:"producer,omitempty"`
	Opset      map[string]int64  `json:"opset"`      // domain → version; "" is ai.onnx
	Parameters int64             `json:"parameters"` // elements of the weights
	Weights    int64             `json:"weight_bytes"`
	Operators  map[string]int    `json:"operators"` // in the file
	Versions   []opVersion       `json:"versions"`  // the same, those in bodies as well, with where they come from
	Refused    []refusal         `json:"unsupported,omitempty"`
	Inputs     []value           `json:"inputs"`
	Outputs    []value           `json:"outputs"`
	Metadata   map[string]string `json:"metadata,omitempty"`
	Plan       *planned          `json:"plan,omitempty"`
	PlanError  string            `json:"plan_error,omitempty"`
	Card       []card.Line       `json:"card"`
	CardError  string            `json:"card_error,omitempty"`
	Ignored    []card.Ignored    `json:"ignored,omitempty"` // keys of scheduler_config.json
	HowSampled string            `json:"sampler,omitempty"`
	Warnings   []string          `json:"warnings,omitempty"` // of a card that may not be what was wanted
	Findings   []finding         `json:"findings,omitempty"`
}

// opVersion is an operator of the file.
type opVersion struct {
	Op      string `json:"op"`
	Domain  string `json:"domain"` // "" is ai.onnx
	Version int64  `json:"version"`
	Count   int    `json:"count"`
}

func (o opVersion) String() string {
	return fmt.Sprintf("%s-%d", strings.TrimPrefix(o.Domain+"."+o.Op, "."), o.Version)
}

// refusal is a node that cannot run. Without an operator it is a graph input or output.
type refusal struct {
	Node    string `json:"node"`
	Op      string `json:"op"`
	Domain  string `json:"domain"`
	Version int64  `json:"version"`
	Reason  string `json:"reason"`
}

type value struct {
	Name  string `json:"name"`
	DType string `json:"dtype"`
	Shape string `json:"shape"`
}

// planned is the cost of a run for given input shapes.
type planned struct {
	Shapes      map[string][]int `json:"shapes"`    // of inputs and outputs
	Operators   []opCount        `json:"operators"` // after fusion
	GFLOP       float64          `json:"gflop"`
	MemoryBytes int              `json:"memory_bytes"` // without the weights
}

type opCount struct {
	Op    string  `json:"op"`
	Count int     `json:"count"`
	GFLOP float64 `json:"gflop"`
}

func inspect(ctx context.Context, args []string, std streams) error {
	f := flagSet("inspect")
	batch := f.IntP("batch", "b", 1, "`B`, what a dimension that the model leaves open becomes")
	shapes := f.StringArray("shape", nil, "shape of an input: `NAME=1,3,32,32`; can be repeated")
	set := f.StringArray("set", nil, "any key of the model card: `KEY=VALUE`; can be repeated")
	probe := f.Bool("probe", false, "check the card against the network: its answer to noise and, with --data, its loss; exit code 1 if it is wrong")
	data := f.StringArray("data", nil, "`FILE` .npy or .png of data for --probe; can be repeated")
	graph := f.String("graph", "", "draw the operators into `FILE` .svg or .dot")
	asJSON := f.Bool("json", false, "print one JSON object")
	var config runConfig
	configFlags(f, &config)
	if err := parse(f, args, "a model"); err != nil {
		return help(std.out, fmt.Sprintf(inspectHelp, f.FlagUsagesWrapped(110)), err)
	}
	if *batch < 1 {
		return usagef("--batch %d: want 1 or more", *batch)
	}
	if len(*data) > 0 && !*probe {
		return usagef("--data is of use to --probe alone")
	}
	settings, err := parseSettings(*set)
	if err != nil {
		return err
	}
	var draw func(*drawing, context.Context, io.Writer) error
	if *graph != "" {
		if draw, err = graphFormat(*graph); err != nil {
			return err
		}
	}
	ctx, stop := config.begin(ctx)
	defer stop()
	file, err := config.Inspect(ctx, f.Arg(0))
	if err != nil {
		return unopened(f.Arg(0), err)
	}
	i := newInspection(filepath.Base(f.Arg(0)), file)
	m, err := openModel(ctx, f.Arg(0), config)
	if unsupported := (*onnxrun.UnsupportedError)(nil); errors.As(err, &unsupported) {
		return errors.Join(i.refused(std.out, unsupported, file, *asJSON), drawTo(ctx, *graph, draw, std.out, func() *drawing { return fileDrawing(file, nil) }), err)
	}
	if err != nil {
		return err
	}
	defer m.Close()
	c, err := resolveCard(ctx, m, f.Arg(0), asked{settings: settings})
	i.Card, i.Ignored = c.Lines(), c.Ignored
	if err == nil {
		var r *recipe
		if r, err = newRecipe(c, false); err == nil {
			i.HowSampled, i.Warnings = r.about, r.warnings
			_, err = network(ctx, m, c) // takes what the card says, but is not run
		}
	}
	if *probe {
		if err != nil {
			return err
		}
		if i.Findings, err = probeCard(ctx, m, c, *data); err != nil {
			return err
		}
	}
	if err != nil {
		i.CardError = oneLine(err) + raise(err)
	}
	var stats *onnxrun.Stats
	if i.Plan, stats, err = plan(ctx, m, c, *batch, *shapes); err != nil {
		if len(*shapes) > 0 {
			return err
		}
		i.PlanError = oneLine(err) + raise(err)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", f.Arg(0), ctx.Err())
	}
	err = drawTo(ctx, *graph, draw, std.out, func() *drawing {
		switch {
		case i.Plan == nil:
			return fileDrawing(file, nil)
		case f.Changed("batch") || len(*shapes) > 0:
			return planDrawing(m, stats, i.Plan.Shapes)
		}
		return fileDrawing(file, symbolicShapes(ctx, m, c))
	})
	if err != nil {
		return err
	}
	if *asJSON {
		err = printJSON(std.out, i)
	} else {
		err = i.print(std.out)
	}
	if err != nil {
		return err
	}
	return wrongCard(i.Model, i.Findings)
}

func newInspection(name string, file *onnxrun.Description) inspection {
	i := inspection{Model: name, Producer: file.Producer, Opset: file.Opset, Parameters: file.Parameters, Weights: file.WeightBytes, Operators: file.Operators,
		Inputs: values(file.Inputs), Outputs: values(file.Outputs), Metadata: file.Metadata}
	counts := map[opVersion]int{}
	for _, n := range file.Nodes {
		counts[opVersion{Op: n.Op, Domain: n.Domain, Version: n.Version}]++
	}
	for o, n := range counts {
		o.Count = n
		i.Versions = append(i.Versions, o)
	}
	slices.SortFunc(i.Versions, func(a, b opVersion) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Op, b.Op), cmp.Compare(a.Version, b.Version))
	})
	return i
}

// refused prints what is known of a model that cannot run: err is why.
func (i *inspection) refused(w io.Writer, err *onnxrun.UnsupportedError, file *onnxrun.Description, asJSON bool) error {
	list := file.Unsupported
	if len(list) == 0 { // only the inputs' shapes showed it
		list = err.Nodes
		file.Unsupported = list
	}
	for _, u := range list {
		i.Refused = append(i.Refused, refusal{u.Node, u.Op, u.Domain, u.Version, u.Reason})
	}
	i.PlanError = "not known for a model that cannot run"
	if asJSON {
		return printJSON(w, i)
	}
	return i.print(w)
}

// drawTo writes a drawing into a file, when one is asked for.
func drawTo(ctx context.Context, name string, draw func(*drawing, context.Context, io.Writer) error, stdout io.Writer, make func() *drawing) error {
	if draw == nil {
		return nil
	}
	d := make()
	return writeWhole(name, stdout, func(w io.Writer) error { return draw(d, ctx, w) })
}

func values(list []onnxrun.Info) []value {
	out := make([]value, len(list))
	for i, v := range list {
		out[i] = value{v.Name, "unknown", "unknown"}
		if v.DType != 0 {
			out[i].DType = v.DType.String()
		}
		if v.Dims != nil {
			out[i].Shape = onnxrun.FormatDims(v.Dims)
		}
	}
	return out
}

// plan compiles the model for a batch of samples.
func plan(ctx context.Context, m *onnxrun.Model, c *card.Card, batch int, shapes []string) (*planned, *onnxrun.Stats, error) {
	inputs, shapeOf, err := randomInputs(ctx, m, c, batch, shapes, false)
	if err != nil {
		return nil, nil, err
	}
	stats, err := m.Plan(ctx, inputs...)
	if err != nil {
		return nil, nil, err
	}
	resolved, err := m.Shapes(ctx, inputs...)
	if err != nil {
		return nil, nil, err
	}
	for _, out := range m.Outputs() {
		shapeOf[out.Name] = resolved[out.Name]
	}
	return &planned{shapeOf, countOps(stats.Nodes), stats.FLOPs / 1e9, stats.Memory}, stats, nil
}

// symbolicShapes are the shapes of a model's values in terms of the batch size, found
// by following two batch sizes through the model. Where that cannot be done there
// are none.
func symbolicShapes(ctx context.Context, m *onnxrun.Model, c *card.Card) map[string]string {
	batch := "batch"
	for _, in := range m.Inputs() {
		if len(in.Dims) > 0 && in.Dims[0].Param != "" {
			batch = in.Dims[0].Param
			break
		}
	}
	var of [2]map[string][]int
	for i := range of {
		inputs, _, err := randomInputs(ctx, m, c, 2+i, nil, false)
		if err == nil {
			of[i], err = m.Shapes(ctx, inputs...)
		}
		if err != nil {
			return nil
		}
	}
	texts := make(map[string]string)
	for name, two := range of[0] {
		three := of[1][name]
		if len(two) != len(three) {
			continue
		}
		dims := make([]string, len(two))
		for i, d := range two {
			switch k := three[i] - d; {
			case k == 0:
				dims[i] = strconv.Itoa(d)
			case d == 2*k && k == 1:
				dims[i] = batch
			case d == 2*k:
				dims[i] = fmt.Sprintf("%d·%s", k, batch)
			case k == 1:
				dims[i] = fmt.Sprintf("%s%+d", batch, d-2)
			default:
				dims[i] = fmt.Sprintf("%d·%s%+d", k, batch, d-2*k)
			}
		}
		texts[name] = "[" + strings.Join(dims, ",") + "]"
	}
	return texts
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
	printf(tab, "%s: %s, %d parameters, %s\n\ninputs\n", i.Model, i.opsetText(), i.Parameters, cmp.Or(i.Producer, "producer unknown"))
	for _, v := range i.Inputs {
		printf(tab, "  %s\t%s\t%s\n", v.Name, v.DType, v.Shape)
	}
	fmt.Fprintln(tab, "outputs")
	for _, v := range i.Outputs {
		printf(tab, "  %s\t%s\t%s\n", v.Name, v.DType, v.Shape)
	}
	if len(i.Metadata) > 0 {
		fmt.Fprintln(tab, "metadata")
		for _, k := range slices.Sorted(maps.Keys(i.Metadata)) {
			printf(tab, "  %s\t%s\n", k, i.Metadata[k])
		}
	}
	fmt.Fprintln(tab, "operators in the file")
	for _, op := range i.Versions {
		printf(tab, "  %v\t%d\n", op, op.Count)
	}
	if len(i.Refused) > 0 {
		i.printRefused(tab)
		return tab.Flush()
	}
	i.printPlan(tab)
	fmt.Fprintln(tab, "\nmodel card")
	for _, l := range i.Card {
		text, _ := json.Marshal(l.Value)
		printf(tab, "  %s\t%s\t%s\n", l.Key, shortened(string(text), 60), filepath.Base(l.From))
	}
	for _, k := range i.Ignored {
		text, _ := json.Marshal(k.Value)
		printf(tab, "  ignored of %s: %s %s %s\n", card.SchedulerFile, k.Key, text, k.Why)
	}
	if i.CardError != "" {
		printf(tab, "  incomplete: %s\n", i.CardError)
	} else {
		printf(tab, "sampled by default with %s\n", i.HowSampled)
		for _, text := range i.Warnings {
			printf(tab, "warning: %s\n", text)
		}
		for _, f := range i.Findings {
			verdict := "ok"
			if !f.OK {
				verdict = "WRONG"
			}
			printf(tab, "probe by %s: %s: %s\n", f.Check, verdict, f.Text)
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

// printRefused lists what is not supported: one line for each operator and reason.
func (i inspection) printRefused(w io.Writer) {
	fmt.Fprintln(w, "not supported")
	type kind struct{ op, reason string }
	nodes := map[kind][]string{}
	var kinds []kind
	for _, r := range i.Refused {
		k := kind{reason: r.Reason}
		if r.Op != "" {
			k.op = opVersion{Op: r.Op, Domain: r.Domain, Version: r.Version}.String()
		}
		if nodes[k] == nil {
			kinds = append(kinds, k)
		}
		nodes[k] = append(nodes[k], r.Node)
	}
	for _, k := range kinds {
		where := ""
		switch first, n := nodes[k][0], len(nodes[k]); {
		case k.op == "":
		case n > 1:
			where = fmt.Sprintf(", in node %q and %d more", first, n-1)
		default:
			where = fmt.Sprintf(", in node %q", first)
		}
		printf(w, "  %s\t%s%s\n", cmp.Or(k.op, "the graph"), k.reason, where)
	}
}

func (i inspection) printPlan(w io.Writer) {
	if i.Plan == nil {
		printf(w, "\ncost: %s\n", i.PlanError)
		return
	}
	var shapes, outs []string
	for _, v := range i.Inputs {
		shapes = append(shapes, fmt.Sprintf("%s %v", v.Name, i.Plan.Shapes[v.Name]))
	}
	for _, v := range i.Outputs {
		outs = append(outs, fmt.Sprintf("%s %v", v.Name, i.Plan.Shapes[v.Name]))
	}
	printf(w, "\ncost of a run with %s, which gives %s\n  %.4g GFLOP, %s of memory beside %s of weights\n",
		strings.Join(shapes, ", "), strings.Join(outs, ", "), i.Plan.GFLOP, bytesText(i.Plan.MemoryBytes), bytesText(int(i.Weights)))
	fmt.Fprintln(w, "operators as they run, joined ones as one")
	for _, op := range i.Plan.Operators {
		printf(w, "  %s\t%d\t%.4g GFLOP\n", op.Op, op.Count, op.GFLOP)
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
