package picture

import (
	"image"
	"image/color"
)

const (
	glyphWidth  = 3
	glyphHeight = 5
	scale       = 2
)

// glyph is the bitmap of one of the characters that numbers are written with, a row a string; letters are those of labels.
func glyph(r rune) [glyphHeight]string {
	switch r {
	case '0':
		return [...]string{"###", "#.#", "#.#", "#.#", "###"}
	case '1':
		return [...]string{".#.", "##.", ".#.", ".#.", "###"}
	case '2':
		return [...]string{"###", "..#", "###", "#..", "###"}
	case '3':
		return [...]string{"###", "..#", ".##", "..#", "###"}
	case '4':
		return [...]string{"#.#", "#.#", "###", "..#", "..#"}
	case '5':
		return [...]string{"###", "#..", "###", "..#", "###"}
	case '6':
		return [...]string{"###", "#..", "###", "#.#", "###"}
	case '7':
		return [...]string{"###", "..#", ".#.", ".#.", ".#."}
	case '8':
		return [...]string{"###", "#.#", "###", "#.#", "###"}
	case '9':
		return [...]string{"###", "#.#", "###", "..#", "###"}
	case '-':
		return [...]string{"...", "...", "###", "...", "..."}
	case '+':
		return [...]string{"...", ".#.", "###", ".#.", "..."}
	case '.':
		return [...]string{"...", "...", "...", "...", ".#."}
	case 'e':
		return [...]string{"...", "###", "###", "#..", "###"}
	}
	if g, ok := letters[r]; ok {
		return g
	}
	return [...]string{"...", "...", "...", "...", "..."}
}

func textWidth(s string) int { return len(s)*(glyphWidth+1)*scale - scale }

func write(img *image.NRGBA, x, y int, s string, c color.NRGBA) {
	for _, r := range s {
		for row, line := range glyph(r) {
			for col, dot := range line {
				if dot == '#' {
					px, py := x+col*scale, y+row*scale
					fill(img, image.Rect(px, py, px+scale, py+scale).Intersect(img.Bounds()), c)
				}
			}
		}
		x += (glyphWidth + 1) * scale
	}
}
