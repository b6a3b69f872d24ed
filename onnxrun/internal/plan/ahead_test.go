package plan

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// operators are those of a plan that take time.
func (pl *Plan) operators() []string {
	var list []string
	for _, n := range pl.Nodes() {
		if !n.View && n.Op != "Reorder" {
			list = append(list, n.Op)
		}
	}
	return list
}

// sameAhead checks that the plan for samples that share inputs gives the ordinary
// plan's bytes, and gives that plan.
func sameAhead(t *testing.T, what string, p *Program, data []*ops.Tensor, early []int) *Plan {
	t.Helper()
	ctx := context.Background()
	var types []ops.Type
	for _, x := range data {
		types = append(types, x.Type)
	}
	pl, err := p.CompileAhead(ctx, types, early)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if pl == nil {
		return nil
	}
	whole, err := p.Compile(ctx, types, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := pl.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer pl.Release(m)
	for round := range 4 { // the last two from the table
		for _, i := range early {
			x := ops.Data[float32](data[i])
			for j := range x {
				x[j] = float32(i) + 0.25*float32(round%2)
			}
		}
		want := run(t, whole, data)
		for i, x := range data {
			copy(m.In[i].Mem(), x.Mem())
		}
		if err := m.RunAll(); err != nil {
			t.Fatal(err)
		}
		got := ops.Data[float32](m.Out[0])
		if len(got) != len(want) {
			t.Fatalf("%s: %d elements, want %d", what, len(got), len(want))
		}
		for i := range want {
			if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
				t.Fatalf("%s, round %d: element %d is %v, want %v", what, round, i, got[i], want[i])
			}
		}
	}
	if n := testing.AllocsPerRun(3, func() { m.RunAll() }); n != 0 && !raceEnabled {
		t.Errorf("%s: %v allocations a run", what, n)
	}
	return pl
}

// What the shipped networks make of the time is computed ahead.
func TestAheadOfShippedModels(t *testing.T) {
	for name, head := range map[string]string{
		"swissroll.onnx":        "Log",
		"mixture2.onnx":         "Mul",
		"digits_ncsnpp_ve.onnx": "Sin",
		"digits_ncsnv2.onnx":    "GatherND",
	} {
		for _, batch := range []int{1, 3, 8} {
			p := open(t, name, 2)
			types, data := inputs(p, batch)
			var pl *Plan
			if data[1].DType == onnx.Float {
				pl = sameAhead(t, fmt.Sprint(name, " ", batch), p, data, []int{1})
			} else {
				var err error
				if pl, err = p.CompileAhead(context.Background(), types, []int{1}); err != nil {
					t.Fatal(err)
				}
			}
			if pl == nil {
				t.Fatalf("%s: nothing is computed ahead", name)
			}
			if got := pl.ahead.head.operators(); !slices.Contains(got, head) {
				t.Errorf("%s: ahead are %v, want %s among them", name, got, head)
			}
			if got := pl.ahead.body.operators(); slices.Contains(got, head) && head != "Mul" {
				t.Errorf("%s: %s is computed for every sample", name, head)
			}
		}
	}
}

// Large batches of a network that works row by row go in tiles here as well.
func TestAheadInTiles(t *testing.T) {
	p := open(t, "swissroll.onnx", 2)
	_, data := inputs(p, 1003)
	pl := sameAhead(t, "swissroll", p, data, []int{1})
	if pl == nil || pl.ahead.body.tile == nil {
		t.Fatal("not in tiles")
	}
}

// One row of what depends on the time stands for all of them only where that is the
// same, whatever the network does with it.
func TestAheadKeepsTheMeaning(t *testing.T) {
	embedding := `
u = Unsqueeze(t @1)
f = Mul(u ~1,6)
e = Sin(f)
`
	for _, c := range []struct {
		lines        string
		rank         int    // of x; 2: [batch, 6], 4: [batch, 6, 4, 4], 1: [batch]
		ahead, after string // operators of each half; ahead "": there is none
	}{
		{embedding + "y = Add(x e)", 2, "Mul Sin", "Add"},
		{embedding + "r = Reshape(e @0,6,1,1)\ny = Mul(r x)", 4, "Mul Sin", "Mul"},
		{embedding + "r = Unsqueeze(e @2,3)\nz = Expand(r @1,6,4,4)\ny = Mul(z x)", 4, "Mul Sin Expand", "Mul"},
		{embedding + "y = Concat(x e) axis=1", 2, "Mul Sin", "Expand Concat"},
		{embedding + "y = Concat(x e) axis=0", 2, "Mul Sin", "Expand Concat"},
		{embedding + "s = ReduceSum(e @0) keepdims=1\ny = Add(x s)", 2, "Mul Sin", "Expand ReduceSum Add"},
		{embedding + "s = CumSum(e #i0)\ny = Add(x s)", 2, "Mul Sin", "Expand CumSum Add"},
		{embedding + "s = Softmax(e) axis=0\ny = Add(x s)", 2, "Mul Sin", "Expand Softmax Add"},
		{embedding + "s = Softmax(e) axis=1\ny = Add(x s)", 2, "Mul Sin Softmax", "Add"},
		{embedding + "s = Transpose(e) perm=@1,0\nz = Transpose(x) perm=@1,0\ny = Add(z s)", 2, "Mul Sin", "Expand Transpose Transpose Add"},
		{embedding + "s = MatMul(e ~6,6)\ny = Div(x s)", 2, "Mul Sin MatMul", "Div"},
		{embedding + "s = Transpose(x) perm=@1,0\ny = MatMul(s e)", 2, "Mul Sin", "Transpose Expand MatMul"},
		{embedding + "y = Mul(e ~B,6)\nz = Add(y x)\ny = Neg(z)", 2, "Mul Sin", "Mul Add Neg"},
		{embedding + "y = Sub(e e)", 2, "Mul Sin Sub", "Expand"},
		{"s = Exp(t)\ny = Mul(x s)", 1, "Exp", "Mul"},
		// The times lie along the last axis of a product of all samples with all times.
		{"s = Exp(t)\nr = Reshape(x @-1,1)\ny = Mul(r s)", 1, "Exp", "Expand Mul"},
		{"r = Reshape(x @-1,1)\ns = Exp(t)\nz = Mul(r s)\ny = ReduceSum(z @1) keepdims=0", 1, "Exp", "Expand Mul ReduceSum"},
		{"u = Unsqueeze(t @1)\ny = Add(x u)", 2, "", ""},
		{"y = Exp(x)", 2, "", ""},
	} {
		for _, batch := range []int{1, 3, 8} {
			shape := map[int][]int{1: {batch}, 2: {batch, 6}, 4: {batch, 6, 4, 4}}[c.rank]
			lines := strings.NewReplacer("~B", fmt.Sprint("~", batch), "#i0", "@0").Replace(c.lines)
			p, data := written{shape: shape, others: map[string][]int{"t": {batch}}, lines: lines}.build(t)
			pl := sameAhead(t, fmt.Sprint(batch, lines), p, data, []int{1})
			if pl == nil {
				if c.ahead != "" {
					t.Errorf("%snothing is computed ahead", lines)
				}
				continue
			}
			if c.ahead == "" {
				t.Errorf("%sahead are %v", lines, pl.ahead.head.operators())
				continue
			}
			if batch == 1 { // a batch of one needs no rows
				continue
			}
			head, body := strings.Join(pl.ahead.head.operators(), " "), strings.Join(pl.ahead.body.operators(), " ")
			if head != c.ahead || body != c.after {
				t.Errorf("%sruns as %s and %s, want %s and %s", lines, head, body, c.ahead, c.after)
			}
			if rows := pl.Inputs[1].Shape[0]; rows != 1 {
				t.Errorf("%stakes %d times", lines, rows)
			}
		}
	}
}

// A time and a condition that all samples share, and one time without rows.
func TestAheadOfTwoInputs(t *testing.T) {
	lines := `
u = Unsqueeze(t @1)
f = Mul(u ~1,6)
e = Sin(f)
k = MatMul(c ~5,6)
s = Add(e k)
y = Mul(s x)`
	p, data := written{shape: []int{4, 6}, others: map[string][]int{"c": {4, 5}, "t": {4}}, lines: lines}.build(t)
	pl := sameAhead(t, "time and condition", p, data, []int{2, 1})
	if pl == nil || slices.Contains(pl.ahead.body.operators(), "MatMul") || !slices.Equal(pl.Inputs[1].Shape, []int{1, 5}) {
		t.Fatal("the condition is not ahead")
	}
	if pl = sameAhead(t, "time", p, data, []int{2}); pl == nil || slices.Contains(pl.ahead.body.operators(), "Sin") || slices.Contains(pl.ahead.head.operators(), "MatMul") {
		t.Fatal("the time is not ahead of the condition")
	}
	for _, shape := range [][]int{{}, {1}} {
		p, data := written{shape: []int{4, 6}, others: map[string][]int{"t": shape}, lines: "e = Exp(t)\ny = Mul(e x)"}.build(t)
		if pl := sameAhead(t, "one time", p, data, []int{1}); pl == nil || slices.Contains(pl.ahead.body.operators(), "Exp") {
			t.Fatalf("a time of shape %v is not ahead", shape)
		}
	}
}

// The table forgets, and does not mix up.
func TestTableOfLevels(t *testing.T) {
	p := open(t, "digits_ncsnpp_ve.onnx", 1)
	types, _ := inputs(p, 2)
	pl, err := p.CompileAhead(context.Background(), types, []int{1})
	if err != nil {
		t.Fatal(err)
	}
	tab := newTable(pl.ahead.head)
	if len(tab.mem) > tableBytes || tab.slots < 64 {
		t.Fatalf("%d slots in %d bytes", tab.slots, len(tab.mem))
	}
	var values []*ops.Tensor
	for _, typ := range pl.ahead.head.Outputs {
		values = append(values, ops.New(typ))
	}
	key := make([]byte, tab.key)
	level := func(l int) {
		key[0], key[1] = byte(l), byte(l>>8)
		for _, v := range values {
			for i := range ops.Data[float32](v) {
				ops.Data[float32](v)[i] = float32(l)
			}
		}
	}
	hits := 0
	for l := range 3 * tab.slots {
		level(l)
		if tab.read(key, values) {
			t.Fatalf("level %d is there before it was written", l)
		}
		tab.write(key, values)
	}
	for l := range 3 * tab.slots {
		level(l)
		for _, v := range values {
			clear(v.Mem())
		}
		if !tab.read(key, values) {
			continue
		}
		hits++
		for _, v := range values {
			for _, x := range ops.Data[float32](v) {
				if x != float32(l) {
					t.Fatalf("level %d: %v", l, x)
				}
			}
		}
	}
	if hits > tab.slots || hits < tab.slots/2 {
		t.Errorf("%d hits in %d slots", hits, tab.slots)
	}
}
