package picture

import (
	"image/color"
	"math"
	"slices"
	"testing"
)

func TestGrid(t *testing.T) {
	x := []float32{-1, 1, 0, float32(math.NaN()), 9, -9, 1, 1, 0, 0, 0, 0}
	img, err := Grid(x, 3, []int{1, 2, 2}, Range{-1, 1})
	if err != nil {
		t.Fatal(err)
	}
	if b := img.Bounds(); b.Dx() != 2*18+2 || b.Dy() != 2*18+2 { // two by two of 2×2 pixels, eight times as large
		t.Fatal(b)
	}
	for _, c := range []struct {
		x, y int
		want uint8
	}{{2, 2, 0}, {10, 2, 255}, {2, 10, 128}, {10, 10, 0}, {20, 2, 255}, {28, 2, 0}, {25, 25, 96}} {
		if got := color.GrayModel.Convert(img.At(c.x, c.y)).(color.Gray).Y; got != c.want {
			t.Errorf("(%d,%d): %d, want %d", c.x, c.y, got, c.want)
		}
	}
	rgb, err := Grid([]float32{1, 0, 0.5}, 1, []int{3, 1, 1}, Range{0, 1})
	if err != nil {
		t.Fatal(err)
	}
	if got := rgb.At(4, 4); got != (color.NRGBA{255, 0, 128, 255}) {
		t.Error(got)
	}
	for _, shape := range [][]int{{2, 2, 2}, {4}, {1, 0, 0}, {1, 3, 3}} {
		if _, err := Grid(x, 3, shape, Range{0, 1}); err == nil {
			t.Errorf("shape %v accepted", shape)
		}
	}
}

// A grid is rounded up to a rectangle, and an image to eight pixels and a gap.
func TestCheck(t *testing.T) {
	for _, c := range []struct {
		n     int
		shape []int
		ok    bool
	}{
		{1, []int{1, 1, 1}, true}, {1 << 21, []int{1, 1, 1}, true}, {1 << 22, []int{1, 1, 1}, false}, {1, []int{3, 1 << 14, 1 << 13}, true}, {1, []int{3, 1 << 14, 1 << 14}, false},
		{math.MaxInt, []int{1, 1 << 30, 1 << 30}, false},
	} {
		if err := Check(c.n, c.shape); (err == nil) != c.ok {
			t.Errorf("%d of %v: %v", c.n, c.shape, err)
		}
	}
}

func TestScatter(t *testing.T) {
	for _, points := range [][]float32{
		{1, 2}, // one point: no extent
		{0, 0, 1, 1, float32(math.NaN()), 0, float32(math.Inf(1)), 2}, // what is not finite is not shown
		{-1e30, 0, 1e30, 1},
		{float32(math.NaN()), float32(math.NaN())},
	} {
		img, err := Scatter(points)
		if err != nil {
			t.Fatal(err)
		}
		if b := img.Bounds(); b.Dx() != left+side+right || b.Dy() != top+side+bottom {
			t.Error(b)
		}
	}
	if _, err := Scatter(nil); err == nil {
		t.Error("no points accepted")
	}
	img, _ := Scatter([]float32{0, 0, 1, 0})
	px, py := window([]float32{0, 0, 1, 0}).pixel(0, 0)
	if img.At(left+int(px), top+int(py)) == (color.NRGBA{255, 255, 255, 255}) {
		t.Error("a lone point does not show")
	}
}

func TestTicks(t *testing.T) {
	if got := ticks(-4.4, 4.4); !slices.Equal(got, []float64{-4, -2, 0, 2, 4}) {
		t.Error(got)
	}
	for _, size := range []float64{1e-6, 0.03, 1, 7, 1234} {
		if n := len(ticks(-size/3, size)); n < 3 || n > 9 {
			t.Errorf("size %g: %d ticks", size, n)
		}
	}
	if got := tickLabel(math.Copysign(0, -1)); got != "0" {
		t.Error(got)
	}
}
