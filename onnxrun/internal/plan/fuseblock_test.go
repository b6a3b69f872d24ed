package plan

import (
	"strings"
	"testing"
)

// Splitting an image into blocks of pixels, to scale it.
func TestBlocksOfPixelsAreJoined(t *testing.T) {
	const conv = "c = Conv(x ~20,20,1,1)\n"
	for _, c := range []struct {
		written
		want string
	}{
		{written{"means", []int{3, 20, 6, 8}, nil, "r = Reshape(x @3,20,3,2,4,2)\ny = ReduceMean(r) axes=@3,5 keepdims=0"}, "AveragePool"},
		{written{"means, in blocks", []int{3, 20, 6, 8}, nil, conv + "r = Reshape(c @3,20,2,3,4,2)\ny = ReduceMean(r) axes=@-1,-3 keepdims=0"}, "Conv AveragePool"},
		{written{"means along one axis", []int{3, 20, 6, 8}, nil, "r = Reshape(x @3,20,6,1,4,2)\ny = ReduceMean(r) axes=@3,5 keepdims=0"}, "AveragePool"},
		{written{"repeated by Tile", []int{3, 20, 3, 4}, nil, conv + "r = Reshape(c @3,20,3,1,4,1)\nt = Tile(r @1,1,1,2,1,3)\ny = Reshape(t @3,20,6,12)"}, "Conv Resize"},
		{written{"repeated by Expand", []int{3, 20, 3, 4}, nil, "r = Reshape(x @3,20,3,1,4,1)\nt = Expand(r @3,20,3,2,4,2)\ny = Reshape(t @-1,20,6,8)"}, "Resize"},
		{written{"repeated, as PyTorch's exporter writes it", []int{3, 20, 3, 4}, nil,
			"r = Reshape(x @3,20,3,1,4,1)\ne = Expand(r @1,1,1,1,1,1)\nt = Tile(e @1,1,1,2,1,3)\ny = Reshape(t @3,20,6,12)"}, "Resize"},
		{written{"unsqueezed", []int{3, 20, 3, 4}, nil, "r = Unsqueeze(x @3,5)\nt = Expand(r @1,1,1,2,1,1)\ny = Reshape(t @3,20,6,4)"}, "Resize"},

		{written{"means of other pixels", []int{3, 20, 6, 8}, nil, "r = Reshape(x @3,20,3,2,4,2)\ny = ReduceMean(r) axes=@2,4 keepdims=0"}, "ReduceMean"},
		{written{"means kept apart", []int{3, 20, 6, 8}, nil, "r = Reshape(x @3,20,3,2,4,2)\ny = ReduceMean(r) axes=@3,5 keepdims=1"}, "ReduceMean"},
		{written{"split otherwise", []int{3, 20, 6, 8}, nil, "r = Reshape(x @3,10,6,2,4,2)\ny = ReduceMean(r) axes=@3,5 keepdims=0"}, "ReduceMean"},
		{written{"copies side by side", []int{3, 20, 3, 4}, nil, "r = Reshape(x @3,20,1,3,1,4)\nt = Tile(r @1,1,2,1,2,1)\ny = Reshape(t @3,20,6,8)"}, "Tile"},
		{written{"repeated into channels", []int{3, 20, 3, 4}, nil, "r = Reshape(x @3,20,3,1,4,1)\nt = Tile(r @1,1,1,2,1,2)\ny = Reshape(t @3,40,6,4)"}, "Tile"},
		{written{"repeats read twice", []int{3, 20, 3, 4}, nil,
			"r = Reshape(x @3,20,3,1,4,1)\nt = Tile(r @1,1,1,2,1,2)\nb = Reshape(t @3,20,6,8)\ns = ReduceSum(t @1,2,3,4,5)\nz = Reshape(s @3,1,1,1)\ny = Add(b z)"},
			"Tile ReduceSum Add"},
	} {
		plain, joined, operators := c.both(t)
		if got := strings.Join(operators, " "); got != c.want {
			t.Errorf("%s runs as %s, want %s", c.name, got, c.want)
		}
		if d := distance(joined, plain); !(d <= 3e-6) {
			t.Errorf("%s: joining changes the output by %.2g of its maximum", c.name, d)
		}
		plain, joined = c.gradients(t)
		if d := distance(joined, plain); !(d <= 3e-6) {
			t.Errorf("%s: joining changes the derivative by %.2g of its maximum", c.name, d)
		}
	}
}
