package ops

import (
	"bufio"
	"cmp"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

// ahead are attributes that no version of the standard has yet that is known here.
var ahead = map[string][]string{"Attention": {"left_window_size", "right_window_size"}}

// text is what the table says of an operator for an opset, as the lines of
// schemas.tsv write it.
func (o *operator) text(opset int64) string {
	v := o.at(opset)
	if v == nil {
		return ""
	}
	count := func(of [2]int) string {
		switch {
		case v.gone:
			return "-"
		case of[0] == of[1]:
			return fmt.Sprint(of[0])
		case of[1] == math.MaxInt:
			return fmt.Sprintf("%d-*", of[0])
		}
		return fmt.Sprintf("%d-%d", of[0], of[1])
	}
	var attrs []string
	for name, rule := range v.attrs {
		if slices.Contains(ahead[o.op], name) {
			continue
		}
		for kind, k := range kindNames {
			if k == rule.kind {
				name += ":" + kind
			}
		}
		if rule.required {
			name += "!"
		}
		attrs = append(attrs, name)
	}
	slices.Sort(attrs)
	return strings.Join([]string{count(v.in), count(v.out), strings.Join(attrs, " ")}, "\t")
}

// TestTableIsTheStandard compares the table with the operator schemas of the
// standard, for every opset.
func TestTableIsTheStandard(t *testing.T) {
	f, err := os.Open("../../../testdata/conformance/schemas.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	type fact struct {
		since int64
		text  string
	}
	facts := map[string][]fact{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		var op string
		var fact fact
		op, rest, _ := strings.Cut(lines.Text(), "\t")
		number, text, _ := strings.Cut(rest, "\t")
		if _, err := fmt.Sscan(number, &fact.since); err != nil {
			t.Fatal(err)
		}
		fact.text = text
		facts[op] = append(facts[op], fact)
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		o := byName[name]
		if len(facts[name]) == 0 {
			t.Errorf("the standard has no operator %s", name)
			continue
		}
		for opset := o.since; opset <= maxOpset; opset++ {
			want := ""
			for _, f := range facts[name] {
				if f.since <= opset {
					want = f.text
				}
			}
			if got := o.text(opset); got != want {
				t.Errorf("%s-%d: the table has %q, the standard %q", name, opset, got, want)
				break
			}
		}
	}
}

// TestCheckKnowsVersions: what can be said of a node without its inputs' shapes is
// said when a model is loaded.
func TestCheckKnowsVersions(t *testing.T) {
	none := map[string]onnx.Attr(nil)
	one := func(name string, a onnx.Attr) map[string]onnx.Attr { return map[string]onnx.Attr{name: a} }
	for _, c := range []struct {
		op      string
		version int64
		in, out int
		attrs   map[string]onnx.Attr
		want    string // part of the error; "" for none
	}{
		{"Cast", 17, 1, 1, none, `"to" is missing`},
		{"Concat", 17, 2, 1, none, `"axis" is missing`},
		{"Concat", 3, 2, 1, none, ""},
		{"Einsum", 17, 2, 1, none, `"equation" is missing`},
		{"MaxPool", 17, 1, 1, none, `"kernel_shape" is missing`},
		{"LpPool", 17, 1, 1, none, `"kernel_shape" is missing`},
		{"LpPool", 1, 1, 1, none, ""},
		{"DepthToSpace", 17, 1, 1, none, `"blocksize" is missing`},
		{"GroupNormalization", 21, 3, 1, none, `"num_groups" is missing`},
		{"If", 17, 1, 1, none, "_branch"},
		{"Loop", 17, 3, 1, none, `"body" is missing`},
		{"Scan", 17, 1, 1, none, " is missing"},
		{"Clip", 6, 3, 1, none, "has 3 inputs, want at most 1"},
		{"Clip", 11, 3, 1, none, ""},
		{"Clip", 17, 1, 1, one("min", attrFloat(0)), `"min" does not exist in opset 17`},
		{"Unsqueeze", 17, 1, 1, one("axes", ints(0)), "has 1 inputs, want at least 2"},
		{"ReduceMean", 11, 2, 1, none, "has 2 inputs"},
		{"ReduceMean", 18, 2, 1, none, ""},
		{"Pad", 17, 1, 1, one("pads", ints(0, 0)), "has 1 inputs"},
		{"TopK", 17, 1, 2, one("k", attrInt(1)), "has 1 inputs"},
		{"Slice", 17, 1, 1, none, "has 1 inputs"},
		{"Dropout", 17, 1, 1, one("ratio", attrFloat(0.5)), `"ratio" does not exist in opset 17`},
		{"Upsample", 11, 2, 1, none, "ended with opset 9"},
		{"Scatter", 17, 3, 1, none, "ended with opset 10"},
		{"Resize", 10, 4, 1, none, "has 4 inputs, want at most 2"},
		{"Reshape", 1, 2, 1, none, "has 2 inputs, want at most 1"},
		{"Gemm", 7, 2, 1, none, "has 2 inputs, want at least 3"},
		{"Gemm", 11, 2, 1, none, ""},
		{"BatchNormalization", 17, 5, 4, none, "has 4 outputs, want at most 3"},
		{"Cast", 5, 1, 1, one("to", attrInt(1)), `"to" has kind int, want string`},
		{"Relu", 17, 1, 1, one("foo", attrInt(1)), `"foo" is not known`},
		{"Mish", 17, 1, 1, none, "exists from opset 18"},
	} {
		n := &onnx.Node{Name: "n", Op: c.op, Version: c.version, Inputs: make([]int, c.in), Outputs: make([]int, c.out), Attrs: c.attrs}
		err := Check(n)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s-%d with %d inputs and attributes %v: got %v, want %q", c.op, c.version, c.in, c.attrs, err, cmp.Or(c.want, "none"))
		}
	}
	if err := Check(&onnx.Node{Op: "MatMul", Version: 17, Inputs: []int{0, -1}, Outputs: []int{1}}); err == nil {
		t.Error("a required input may be left out")
	}
}
