package picture

import (
	"image"
	"image/color"
	"math"
	"strconv"
)

// Curve is a line of a plot, with standard errors.
type Curve struct {
	Name    string // capitals
	X, Y, E []float64
}

// Add appends a point.
func (c *Curve) Add(x, y, e float64) {
	c.X, c.Y, c.E = append(c.X, x), append(c.Y, y), append(c.E, e)
}

const (
	plotWidth, plotHeight = 600, 340
	plotLeft, plotRight   = 64, 24
	plotTop, plotBottom   = 40, 58
)

// plot maps numbers to pixels: x logarithmic, y linear, or logarithmic where it spans much.
type plot struct {
	img    *image.NRGBA
	x0, x1 float64 // decades
	y0, y1 float64
	log    bool
}

// Curves plots curves over a positive quantity on a logarithmic axis, with bars of two standard errors and a dashed line at 1, which is what a
// network of zeros has. Where values reach 3 or more, the other axis is logarithmic too. What is not finite, or not positive on a logarithmic
// axis, is left out.
func Curves(quantity string, curves []Curve) image.Image {
	p := plot{img: image.NewNRGBA(image.Rect(0, 0, plotLeft+plotWidth+plotRight, plotTop+plotHeight+plotBottom))}
	fill(p.img, p.img.Bounds(), color.NRGBA{255, 255, 255, 255})
	p.window(curves)
	p.axes(quantity)
	p.dashes()
	at := plotLeft
	for k, c := range curves {
		ink := [...]color.NRGBA{{181, 54, 122, 255}, {28, 90, 160, 255}, {200, 120, 20, 255}}[k%3]
		p.curve(c, ink)
		fill(p.img, image.Rect(at, plotTop/2-1, at+20, plotTop/2+2), ink)
		write(p.img, at+26, plotTop/2-glyphHeight*scale/2, c.Name, ink)
		at += 50 + textWidth(c.Name)
	}
	return p.img
}

func good(v float64) bool { return v-v == 0 }

// window finds what is shown: all points, and 0 and 1 on a linear axis.
func (p *plot) window(curves []Curve) {
	p.x0, p.x1 = math.Inf(1), math.Inf(-1)
	lo, hi := math.Inf(1), 1.0
	for _, c := range curves {
		for i, x := range c.X {
			if x > 0 && good(x) {
				p.x0, p.x1 = min(p.x0, math.Log10(x)), max(p.x1, math.Log10(x))
			}
			if y := c.Y[i]; good(y) {
				hi = max(hi, y)
				if y > 0 {
					lo = min(lo, y)
				}
			}
		}
	}
	if !(p.x0 <= p.x1) {
		p.x0, p.x1 = 0, 0
	}
	margin := max(0.02*(p.x1-p.x0), 0.05)
	p.x0, p.x1 = p.x0-margin, p.x1+margin
	p.y1 = 1.08 * hi
	if p.log = hi >= 3; p.log {
		p.y0, p.y1 = math.Log10(min(lo, 1))-0.1, math.Log10(hi)+0.1
	}
}

func (p *plot) px(x float64) int {
	return plotLeft + int(math.Round((math.Log10(x)-p.x0)/(p.x1-p.x0)*plotWidth))
}

func (p *plot) py(y float64) int {
	if p.log {
		y = math.Log10(y)
	}
	u := min(max((y-p.y0)/(p.y1-p.y0), 0), 1)
	return plotTop + plotHeight - int(math.Round(u*plotHeight))
}

func (p *plot) shows(x, y float64) bool {
	return x > 0 && good(x) && good(y) && (y > 0 || !p.log)
}

func (p *plot) axes(quantity string) {
	ink, pale := color.NRGBA{60, 60, 60, 255}, color.NRGBA{232, 232, 232, 255}
	x1, y1 := plotLeft+plotWidth, plotTop+plotHeight
	for d := math.Floor(p.x0); d <= p.x1; d++ {
		for m := 1.0; m < 10; m++ {
			x := m * math.Pow(10, d)
			if l := math.Log10(x); l < p.x0 || l > p.x1 {
				continue
			}
			at, length := p.px(x), 3
			if m == 1 {
				length = 6
				fill(p.img, image.Rect(at, plotTop, at+1, y1), pale)
				label := strconv.FormatFloat(x, 'g', 2, 64)
				write(p.img, at-textWidth(label)/2, y1+11, label, ink)
			}
			fill(p.img, image.Rect(at, y1, at+1, y1+length), ink)
		}
	}
	for _, v := range p.marks() {
		at := p.py(v)
		fill(p.img, image.Rect(plotLeft, at, x1, at+1), pale)
		fill(p.img, image.Rect(plotLeft-6, at, plotLeft, at+1), ink)
		label := tickLabel(v)
		write(p.img, plotLeft-10-textWidth(label), at-glyphHeight*scale/2, label, ink)
	}
	fill(p.img, image.Rect(plotLeft-1, plotTop-1, x1+1, plotTop), ink)
	fill(p.img, image.Rect(plotLeft-1, y1, x1+1, y1+1), ink)
	fill(p.img, image.Rect(plotLeft-1, plotTop-1, plotLeft, y1+1), ink)
	fill(p.img, image.Rect(x1, plotTop-1, x1+1, y1+1), ink)
	write(p.img, (plotLeft+x1-textWidth(quantity))/2, y1+34, quantity, ink)
}

// marks are the ticks of the vertical axis.
func (p *plot) marks() []float64 {
	if !p.log {
		return ticks(p.y0, p.y1)
	}
	var out []float64
	step := max(1, math.Ceil((p.y1-p.y0)/8))
	for d := math.Ceil(p.y0); d <= p.y1; d += step {
		out = append(out, math.Pow(10, d))
	}
	return out
}

func (p *plot) dashes() {
	at := p.py(1)
	for x := plotLeft; x < plotLeft+plotWidth; x += 10 {
		fill(p.img, image.Rect(x, at, x+5, at+1), color.NRGBA{120, 120, 120, 255})
	}
}

func (p *plot) curve(c Curve, ink color.NRGBA) {
	last := -1
	for i, x := range c.X {
		if !p.shows(x, c.Y[i]) {
			last = -1
			continue
		}
		px, py := p.px(x), p.py(c.Y[i])
		low := c.Y[i] - 2*c.E[i]
		if p.log {
			low = max(low, math.Pow(10, p.y0))
		}
		if good(c.E[i]) {
			fill(p.img, image.Rect(px, p.py(c.Y[i]+2*c.E[i]), px+1, p.py(low)+1), ink)
		}
		fill(p.img, image.Rect(px-2, py-2, px+3, py+3), ink)
		if last >= 0 {
			p.line(p.px(c.X[last]), p.py(c.Y[last]), px, py, ink)
		}
		last = i
	}
}

// line joins two points, two pixels thick.
func (p *plot) line(x0, y0, x1, y1 int, ink color.NRGBA) {
	n := max(abs(x1-x0), abs(y1-y0), 1)
	for k := range n + 1 {
		x, y := x0+(x1-x0)*k/n, y0+(y1-y0)*k/n
		fill(p.img, image.Rect(x, y, x+2, y+2), ink)
	}
}

func abs(v int) int { return max(v, -v) }
