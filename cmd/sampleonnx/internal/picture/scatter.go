package picture

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"slices"
	"strconv"
)

const (
	side   = 560 // of the plot, in pixels
	left   = 60
	right  = 20
	top    = 20
	bottom = 36
)

// Scatter draws the density of points (x, y, x, y, …) on equal axes: counts per pixel, slightly blurred, on a logarithmic colour scale, so that
// a lone point shows and a thousand on one spot do not drown the rest.
func Scatter(points []float32) (image.Image, error) {
	if len(points) == 0 || len(points)%2 != 0 {
		return nil, fmt.Errorf("%d numbers are not points in the plane", len(points))
	}
	v := window(points)
	density := blur(v.count(points), bandwidth(len(points)/2))
	img := image.NewNRGBA(image.Rect(0, 0, left+side+right, top+side+bottom))
	fill(img, img.Bounds(), color.NRGBA{255, 255, 255, 255})
	paint(img, density, bandwidth(len(points)/2))
	v.axes(img)
	return img, nil
}

// view is the square of the plane that is shown.
type view struct{ x, y, size float64 }

// window shows all points but the outermost 1 in 2,000 a side, with a margin.
func window(points []float32) view {
	x0, x1 := extent(points, 0)
	y0, y1 := extent(points, 1)
	size := 1.1 * max(x1-x0, y1-y0)
	if !(size > 0) || math.IsInf(size, 0) {
		size = 1
	}
	return view{(x0+x1)/2 - size/2, (y0+y1)/2 - size/2, size}
}

func extent(points []float32, axis int) (lo, hi float64) {
	var v []float64
	for i := axis; i < len(points); i += 2 {
		if u := float64(points[i]); !math.IsNaN(u) && !math.IsInf(u, 0) {
			v = append(v, u)
		}
	}
	if len(v) == 0 {
		return -1, 1
	}
	slices.Sort(v)
	skip := len(v) / 2000
	return v[skip], v[len(v)-1-skip]
}

func (v view) pixel(x, y float64) (px, py float64) {
	return (x - v.x) / v.size * side, side - (y-v.y)/v.size*side
}

func (v view) count(points []float32) []float64 {
	n := make([]float64, side*side)
	for i := 0; i < len(points); i += 2 {
		px, py := v.pixel(float64(points[i]), float64(points[i+1]))
		if px >= 0 && px < side && py >= 0 && py < side {
			n[int(py)*side+int(px)]++
		}
	}
	return n
}

// bandwidth of the blur in pixels: few points are dots, many are a density.
func bandwidth(n int) float64 { return min(2.5, max(1, 120/math.Sqrt(float64(n)))) }

// blur convolves with a Gaussian, one axis after the other.
func blur(src []float64, sigma float64) []float64 {
	radius := int(math.Ceil(3 * sigma))
	kernel := make([]float64, 2*radius+1)
	sum := 0.0
	for i := range kernel {
		d := float64(i-radius) / sigma
		kernel[i] = math.Exp(-d * d / 2)
		sum += kernel[i]
	}
	for i := range kernel {
		kernel[i] /= sum
	}
	return along(along(src, kernel, 1, side), kernel, side, 1)
}

// along convolves lines whose elements are step apart and which start line apart.
func along(src, kernel []float64, step, line int) []float64 {
	out := make([]float64, len(src))
	radius := len(kernel) / 2
	for l := range side {
		for i := range side {
			v := src[l*line+i*step]
			if v == 0 {
				continue
			}
			for k, w := range kernel {
				if j := i + k - radius; j >= 0 && j < side {
					out[l*line+j*step] += w * v
				}
			}
		}
	}
	return out
}

func paint(img *image.NRGBA, density []float64, sigma float64) {
	one := 1 / (2 * math.Pi * sigma * sigma) // the height of a single point
	most := max(slices.Max(density), 4*one)
	for i, d := range density {
		if d > one/8 {
			img.SetNRGBA(left+i%side, top+i/side, shade(0.08+0.92*math.Log1p(d/one)/math.Log1p(most/one)))
		}
	}
}

// shade runs from pale yellow over red to near black: even steps in lightness, readable without colour vision.
func shade(u float64) color.NRGBA {
	stops := [...][3]float64{{252, 243, 191}, {254, 194, 135}, {251, 135, 97}, {229, 80, 100}, {181, 54, 122}, {129, 37, 129}, {79, 18, 123}, {28, 16, 68}}
	at := min(max(u, 0), 1) * float64(len(stops)-1)
	i := min(int(at), len(stops)-2)
	f := at - float64(i)
	mix := func(k int) uint8 { return uint8(math.Round(stops[i][k]*(1-f) + stops[i+1][k]*f)) }
	return color.NRGBA{mix(0), mix(1), mix(2), 255}
}

func (v view) axes(img *image.NRGBA) {
	ink := color.NRGBA{60, 60, 60, 255}
	x1, y1 := left+side, top+side
	fill(img, image.Rect(left-1, top-1, x1+1, top), ink)
	fill(img, image.Rect(left-1, y1, x1+1, y1+1), ink)
	fill(img, image.Rect(left-1, top-1, left, y1+1), ink)
	fill(img, image.Rect(x1, top-1, x1+1, y1+1), ink)
	for _, t := range ticks(v.x, v.x+v.size) {
		px, _ := v.pixel(t, 0)
		at := left + int(px)
		fill(img, image.Rect(at, y1, at+1, y1+6), ink)
		label := tickLabel(t)
		write(img, at-textWidth(label)/2, y1+11, label, ink)
	}
	for _, t := range ticks(v.y, v.y+v.size) {
		_, py := v.pixel(0, t)
		at := top + int(py)
		fill(img, image.Rect(left-6, at, left, at+1), ink)
		label := tickLabel(t)
		write(img, left-10-textWidth(label), at-glyphHeight*scale/2, label, ink)
	}
}

// ticks are the round numbers between lo and hi, four to nine of them, a power of ten times 1, 2 or 5 apart.
func ticks(lo, hi float64) []float64 {
	raw := (hi - lo) / 8
	step := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5, 10} {
		if m*step >= raw {
			step *= m
			break
		}
	}
	var out []float64
	for k := math.Ceil(lo / step); k*step <= hi && len(out) < 20; k++ {
		out = append(out, k*step)
	}
	return out
}

func tickLabel(t float64) string {
	return strconv.FormatFloat(t+0, 'g', 4, 64) // +0 turns -0 into 0
}
