package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"sampleonnx/onnxrun"
)

// A drawing is a graph of operators: of a file, or of a plan.
type drawing struct {
	nodes []drawnNode
	edges [][2]int // from, to
}

// drawnNode is one box.
type drawnNode struct {
	kind  string   // "input", "output", "operator", "unsupported"
	lines []string // the operator, then shapes and what else is known
}

func (d *drawing) add(kind string, lines ...string) int {
	lines = slices.DeleteFunc(lines, func(s string) bool { return s == "" })
	for i, line := range lines {
		lines[i] = shortened(line, longestLine)
	}
	d.nodes = append(d.nodes, drawnNode{kind, lines})
	return len(d.nodes) - 1
}

const longestLine = 100 // characters in a box

// shortened is text that can be shown, of so many characters at most.
func shortened(text string, most int) string {
	text = printable(text)
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most-1]) + "…"
}

func (d *drawing) join(from, to int) {
	if e := [2]int{from, to}; !slices.Contains(d.edges[max(0, len(d.edges)-64):], e) {
		d.edges = append(d.edges, e)
	}
}

// graphFormat is the suffix that decides how a graph is drawn.
func graphFormat(name string) (func(*drawing, context.Context, io.Writer) error, error) {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".dot", ".gv":
		return (*drawing).dot, nil
	case ".svg":
		return (*drawing).svg, nil
	}
	return nil, usagef("--graph %s: the suffix decides the format, and it must be .dot or .svg", name)
}

// fileDrawing is the graph that a file holds. Shapes are those that were found, or
// else the ones that the file declares.
func fileDrawing(f *onnxrun.Description, found map[string]string) *drawing {
	d := &drawing{}
	shape := func(name string) string {
		if s, ok := found[name]; ok {
			return s
		}
		if v, ok := f.Values[name]; ok && v.Dims != nil {
			return onnxrun.FormatDims(v.Dims)
		}
		return ""
	}
	refused := map[string]bool{}
	for _, u := range f.Unsupported {
		refused[u.Domain+"\t"+u.Op+"\t"+u.Node] = true
	}
	made := map[string]int{}
	for _, in := range f.Inputs {
		made[in.Name] = d.add("input", in.Name, shape(in.Name))
	}
	for _, n := range f.Nodes {
		kind := "operator"
		if refused[n.Domain+"\t"+n.Op+"\t"+n.Name] {
			kind = "unsupported"
		}
		op := strings.TrimPrefix(n.Domain+"."+n.Op, ".")
		if n.Body {
			op += " (in a body)"
		}
		var shapes, constants []string
		for _, out := range n.Outputs {
			if out != "" && shape(out) != "" {
				shapes = append(shapes, shape(out))
			}
		}
		for i, in := range n.Inputs {
			if n.Constant[i] && in != "" && shape(in) != "" && shape(in) != "[]" {
				constants = append(constants, shape(in))
			}
		}
		with := ""
		if len(constants) > 0 {
			with = "with " + strings.Join(constants, " ")
		}
		at := d.add(kind, op, strings.Join(shapes, " "), with)
		for _, in := range n.Inputs {
			if from, ok := made[in]; ok && in != "" {
				d.join(from, at)
			}
		}
		for _, out := range n.Outputs {
			if out != "" {
				made[out] = at
			}
		}
	}
	for _, out := range f.Outputs {
		at := d.add("output", out.Name, shape(out.Name))
		if from, ok := made[out.Name]; ok {
			d.join(from, at)
		}
	}
	return d
}

// planDrawing is the graph that runs, operators that were joined as one.
func planDrawing(m *onnxrun.Model, s *onnxrun.Stats, inputs map[string][]int) *drawing {
	d := &drawing{}
	k := 0
	for _, in := range m.Inputs() {
		d.add("input", in.Name, shapeText(inputs[in.Name]))
		k++
	}
	at := func(from int) int {
		if from < 0 {
			return -1 - from
		}
		return k + from
	}
	for i, n := range s.Nodes {
		cost := n.Algo
		if n.FLOPs > 0 {
			cost = strings.TrimPrefix(fmt.Sprintf("%s, %s", cost, flopText(n.FLOPs)), ", ")
		}
		d.add("operator", n.Op, shapeText(n.Shape), cost)
		for _, from := range n.From {
			d.join(at(from), k+i)
		}
	}
	for i, out := range m.Outputs() {
		to := d.add("output", out.Name)
		if i < len(s.Out) {
			d.join(at(s.Out[i]), to)
		}
	}
	return d
}

func shapeText(shape []int) string {
	return "[" + strings.Trim(strings.ReplaceAll(fmt.Sprint(shape), " ", ","), "[]") + "]"
}

func flopText(n float64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.3g GFLOP", n/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.3g MFLOP", n/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.3g kFLOP", n/1e3)
	}
	return fmt.Sprintf("%.0f FLOP", n)
}

// look is how a kind of box is filled and outlined.
var looks = map[string]struct{ fill, line string }{
	"input":       {"#e6f2e6", "#3a7d3a"},
	"output":      {"#e6f2e6", "#3a7d3a"},
	"operator":    {"#eef3fa", "#46648c"},
	"unsupported": {"#fbe3e0", "#b3261e"},
}

// dot writes the graph in the language of Graphviz.
func (d *drawing) dot(_ context.Context, w io.Writer) error {
	b := bufio.NewWriter(w)
	b.WriteString("digraph model {\n  rankdir=TB\n  node [shape=box, style=filled, fontname=\"sans-serif\", fontsize=11]\n")
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	for i, n := range d.nodes {
		fmt.Fprintf(b, "  n%d [label=\"%s\", fillcolor=\"%s\", color=\"%s\"]\n", i, quote.Replace(strings.Join(n.lines, "\n")), looks[n.kind].fill, looks[n.kind].line)
	}
	for _, e := range d.edges {
		fmt.Fprintf(b, "  n%d -> n%d\n", e[0], e[1])
	}
	b.WriteString("}\n")
	return b.Flush()
}

// Sizes of what svg draws, in pixels.
const (
	lineHeight = 14.0
	charWidth  = 6.6
	gapX, gapY = 22.0, 34.0
	thread     = 8.0 // room that an edge takes in the layers that it passes

	// Edges pass so many layers in all. In a graph whose edges pass more, the longest ones go straight from end to end, over what is between.
	maxPassed = 1 << 17
)

// spot is a box in its layer, or the place where an edge passes a layer.
type spot struct {
	node      int // −1: an edge passes
	layer     int
	x, w, h   float64 // the middle, and the size
	up, down  []int   // spots in the layers before and after
	preferred float64
}

// svg draws the graph in layers: every box is one below the lowest that it reads
// from, and an edge that passes layers bends around their boxes.
func (d *drawing) svg(ctx context.Context, w io.Writer) error {
	spots, layers, paths := d.layered()
	if err := arrange(ctx, spots, layers); err != nil {
		return err
	}
	if err := place(ctx, spots, layers); err != nil {
		return err
	}
	left, right := 0.0, 0.0
	for i, s := range spots {
		if i == 0 || s.x-s.w/2 < left {
			left = s.x - s.w/2
		}
		right = max(right, s.x+s.w/2)
	}
	tops := make([]float64, len(layers))
	y := gapX
	for l, layer := range layers {
		tops[l] = y
		high := 0.0
		for _, s := range layer {
			high = max(high, spots[s].h)
		}
		y += high + gapY
	}
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" font-family="sans-serif" font-size="11">`+"\n",
		right-left+2*gapX, y-gapY+gapX, right-left+2*gapX, y-gapY+gapX)
	b.WriteString(`<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="6" markerHeight="6" orient="auto"><path d="M0 0L8 4L0 8z" fill="#777"/></marker></defs>` + "\n")
	b.WriteString(`<rect width="100%" height="100%" fill="white"/>` + "\n" + `<g fill="none" stroke="#999" stroke-width="1">` + "\n")
	for _, path := range paths {
		for k, i := range path {
			s := spots[i]
			x, top := s.x-left+gapX, tops[s.layer]
			switch {
			case k == 0:
				fmt.Fprintf(b, `<path d="M%.1f %.1f`, x, top+s.h)
				continue
			default:
				last := spots[path[k-1]]
				lastX, lastY := last.x-left+gapX, tops[last.layer]+last.h
				half := (top - lastY) / 2
				fmt.Fprintf(b, "C%.1f %.1f %.1f %.1f %.1f %.1f", lastX, lastY+half, x, top-half, x, top)
			}
			if k < len(path)-1 {
				fmt.Fprintf(b, "V%.1f", top+s.h)
			}
		}
		b.WriteString(`" marker-end="url(#tip)"/>` + "\n")
	}
	b.WriteString("</g>\n")
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	for _, s := range spots {
		if s.node < 0 {
			continue
		}
		n, x, top := d.nodes[s.node], s.x-left+gapX, tops[s.layer]
		round := 2.0
		if n.kind == "input" || n.kind == "output" {
			round = 10
		}
		fmt.Fprintf(b, `<g><rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="%.0f" fill="%s" stroke="%s"/><text text-anchor="middle">`,
			x-s.w/2, top, s.w, s.h, round, looks[n.kind].fill, looks[n.kind].line)
		for k, line := range n.lines {
			style := ""
			if k == 0 {
				style = ` font-weight="bold"`
			}
			fmt.Fprintf(b, `<tspan x="%.1f" y="%.1f"%s>%s</tspan>`, x, top+lineHeight*(float64(k)+1)+1, style, escape.Replace(line))
		}
		b.WriteString("</text></g>\n")
	}
	b.WriteString("</svg>\n")
	return b.Flush()
}

// layered puts every node into a layer, by the longest path to it, and threads every
// edge through the layers that it passes, but for the longest of very many.
func (d *drawing) layered() (spots []spot, layers [][]int, paths [][]int) {
	below := make([]int, len(d.nodes)) // nodes and edges come in an order in which what is read comes first
	for _, e := range d.edges {
		below[e[1]] = max(below[e[1]], below[e[0]]+1)
	}
	deepest := slices.Max(append([]int{0}, below...))
	reads, read := make([]int, len(d.nodes)), make([][]int, len(d.nodes))
	for _, e := range d.edges {
		reads[e[1]]++
		read[e[0]] = append(read[e[0]], e[1])
	}
	for i, n := range slices.Backward(d.nodes) {
		if n.kind == "output" {
			below[i] = deepest
		}
		// Down to the first that reads it, where that makes edges no longer.
		if len(read[i]) >= max(1, reads[i]) {
			first := deepest
			for _, to := range read[i] {
				first = min(first, below[to]-1)
			}
			below[i] = first
		}
	}
	layers = make([][]int, deepest+1)
	put := func(s spot) int {
		spots = append(spots, s)
		layers[s.layer] = append(layers[s.layer], len(spots)-1)
		return len(spots) - 1
	}
	for i, n := range d.nodes {
		longest := 0.0
		for k, line := range n.lines {
			width := charWidth * float64(len([]rune(line)))
			if k == 0 {
				width *= 1.15 // bold
			}
			longest = max(longest, width)
		}
		put(spot{node: i, layer: below[i], w: longest + 14, h: lineHeight*float64(len(n.lines)) + 8})
	}
	passed := make([]int, len(d.edges))
	for i, e := range d.edges {
		passed[i] = below[e[1]] - below[e[0]] - 1
	}
	longest := longestThreaded(passed)
	for i, e := range d.edges {
		path := []int{e[0]}
		first := below[e[0]] + 1
		if passed[i] > longest {
			first = below[e[1]]
		}
		for l := first; l <= below[e[1]]; l++ {
			next := e[1]
			if l < below[e[1]] {
				next = put(spot{node: -1, layer: l, w: thread, h: lineHeight + 8})
			}
			last := path[len(path)-1]
			spots[last].down, spots[next].up = append(spots[last].down, next), append(spots[next].up, last)
			path = append(path, next)
		}
		paths = append(paths, path)
	}
	return spots, layers, paths
}

// longestThreaded is how many layers an edge may pass for all such edges to pass maxPassed together; passed counts those of each.
func longestThreaded(passed []int) int {
	sum := 0
	for _, n := range slices.Sorted(slices.Values(passed)) {
		if sum += max(n, 0); sum > maxPassed {
			return n - 1
		}
	}
	return math.MaxInt
}

// arrange orders the layers, each by the mean place of what its spots are joined to
// in the one before or after, back and forth (Sugiyama, Tagawa, Toda 1981).
func arrange(ctx context.Context, spots []spot, layers [][]int) error {
	rank := make([]float64, len(spots))
	number := func(layer []int) {
		for i, s := range layer {
			rank[s] = float64(i) / float64(max(1, len(layer)-1))
		}
	}
	for _, layer := range layers {
		number(layer)
	}
	sort := func(layer []int, beside func(*spot) []int) {
		mean := make(map[int]float64, len(layer))
		for _, s := range layer {
			mean[s] = rank[s]
			if list := beside(&spots[s]); len(list) > 0 {
				sum := 0.0
				for _, o := range list {
					sum += rank[o]
				}
				mean[s] = sum / float64(len(list))
			}
		}
		slices.SortStableFunc(layer, func(a, b int) int { return cmp.Compare(mean[a], mean[b]) })
		number(layer)
	}
	for range 12 {
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, layer := range layers {
			sort(layer, func(s *spot) []int { return s.up })
		}
		for _, layer := range slices.Backward(layers) {
			sort(layer, func(s *spot) []int { return s.down })
		}
	}
	return nil
}

// place moves the spots of each layer, in their order, towards the mean place of
// what they are joined to.
func place(ctx context.Context, spots []spot, layers [][]int) error {
	for _, layer := range layers {
		x := 0.0
		for _, s := range layer {
			spots[s].x = x + spots[s].w/2
			x += spots[s].w + gapX
		}
		for _, s := range layer { // around a common middle
			spots[s].x -= (x - gapX) / 2
		}
	}
	move := func(layer []int, beside func(*spot) []int) {
		for _, s := range layer {
			spots[s].preferred = spots[s].x
			if list := beside(&spots[s]); len(list) > 0 {
				sum := 0.0
				for _, o := range list {
					sum += spots[o].x
				}
				spots[s].preferred = sum / float64(len(list))
			}
		}
		pack(spots, layer)
	}
	for range 20 {
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, layer := range layers {
			move(layer, func(s *spot) []int { return s.up })
		}
		for _, layer := range slices.Backward(layers) {
			move(layer, func(s *spot) []int { return s.down })
		}
	}
	return nil
}

// pack gives the spots of a layer the places nearest to the preferred ones at which
// they do not touch: neighbours that would are moved as one block, whose place is
// the mean of what its spots prefer.
func pack(spots []spot, layer []int) {
	type block struct {
		first, n  int
		sum, span float64 // of the preferred places of its left edge, and its length
	}
	var blocks []block
	for i, s := range layer {
		b := block{i, 1, spots[s].preferred - spots[s].w/2, spots[s].w + gapX}
		for len(blocks) > 0 {
			last := blocks[len(blocks)-1]
			if last.sum/float64(last.n)+last.span <= b.sum/float64(b.n) {
				break
			}
			b = block{last.first, last.n + b.n, last.sum + b.sum - float64(b.n)*last.span, last.span + b.span}
			blocks = blocks[:len(blocks)-1]
		}
		blocks = append(blocks, b)
	}
	for _, b := range blocks {
		x := b.sum / float64(b.n)
		for _, s := range layer[b.first:][:b.n] {
			spots[s].x = x + spots[s].w/2
			x += spots[s].w + gapX
		}
	}
}
