// Package picture draws samples: a grid of images, or the density of points in the plane.
package picture

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"math"
)

const gap = 2 // pixels between images

// Range maps the model's numbers to brightness: Lo is black, Hi is white.
type Range struct{ Lo, Hi float64 }

// Grid lays n images of the given shape (channels 1 or 3, height, width) out in rows, as square as it goes. Small images are magnified by a
// whole number, so that every pixel of the sample stays a square.
func Grid(x []float32, n int, shape []int, r Range) (image.Image, error) {
	columns := int(math.Ceil(math.Sqrt(float64(n))))
	return lay(x, n, columns, shape, r)
}

// Rows is Grid with the number of images in a row given.
func Rows(x []float32, columns, rows int, shape []int, r Range) (image.Image, error) {
	return lay(x, columns*rows, columns, shape, r)
}

const maxPixels = 1 << 28

// Check refuses n images that are too large for a picture, before there are any.
func Check(n int, shape []int) error {
	zoom := zoomOf(shape)
	pixels := float64(n) // which are many, not exact
	for _, d := range shape[1:] {
		pixels *= float64(d*zoom + gap)
	}
	if pixels > maxPixels {
		return fmt.Errorf("a picture of %d images of shape %v has %.2g pixels, and may have %d", n, shape, pixels, maxPixels)
	}
	return nil
}

// zoomOf is by how much images are magnified.
func zoomOf(shape []int) int { return max(1, min(8, 64/max(shape[1], shape[2]))) }

func lay(x []float32, n, columns int, shape []int, r Range) (image.Image, error) {
	if len(shape) != 3 || shape[0] != 1 && shape[0] != 3 {
		return nil, fmt.Errorf("a picture needs samples of shape [1 height width] or [3 height width], not %v", shape)
	}
	c, h, w := shape[0], shape[1], shape[2]
	if n < 1 || h < 1 || w < 1 || len(x) != n*c*h*w {
		return nil, fmt.Errorf("%d numbers are not %d images of shape %v", len(x), n, shape)
	}
	rows := (n + columns - 1) / columns
	if err := Check(n, shape); err != nil {
		return nil, err
	}
	zoom := zoomOf(shape)
	bounds := image.Rect(0, 0, columns*(w*zoom+gap)+gap, rows*(h*zoom+gap)+gap)
	var img draw.Image = image.NewNRGBA(bounds)
	if c == 1 { // a third less to store
		img = image.NewGray(bounds)
	}
	draw.Draw(img, bounds, image.NewUniform(color.Gray{96}), image.Point{}, draw.Src)
	for i := range n {
		one := x[i*c*h*w : (i+1)*c*h*w]
		x0, y0 := gap+i%columns*(w*zoom+gap), gap+i/columns*(h*zoom+gap)
		for py := range h * zoom {
			for px := range w * zoom {
				img.Set(x0+px, y0+py, pixel(one, c, h*w, py/zoom*w+px/zoom, r))
			}
		}
	}
	return img, nil
}

// pixel is the colour at one place of one image; plane is the distance between its channels.
func pixel(x []float32, channels, plane, at int, r Range) color.NRGBA {
	red := level(x[at], r)
	if channels == 1 {
		return color.NRGBA{red, red, red, 255}
	}
	return color.NRGBA{red, level(x[plane+at], r), level(x[2*plane+at], r), 255}
}

func level(v float32, r Range) uint8 {
	u := (float64(v) - r.Lo) / (r.Hi - r.Lo)
	if !(u > 0) { // NaN is black
		return 0
	}
	return uint8(math.Round(255 * min(u, 1)))
}

func fill(img *image.NRGBA, area image.Rectangle, c color.NRGBA) {
	for y := area.Min.Y; y < area.Max.Y; y++ {
		for x := area.Min.X; x < area.Max.X; x++ {
			img.SetNRGBA(x, y, c)
		}
	}
}
