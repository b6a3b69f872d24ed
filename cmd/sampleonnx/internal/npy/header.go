package npy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// header is what the dictionary at the start of an .npy file says.
type header struct {
	order   byte // '<', '>' or '|'
	kind    byte // f i u b U S
	size    int  // bytes an element
	fortran bool
	shape   []int
}

const maxRank = 32

// parseHeader reads the Python dictionary literal that numpy writes: three keys, in any order.
func parseHeader(text string) (header, error) {
	p := literal{s: text}
	var h header
	var seen [3]bool
	if err := p.want('{'); err != nil {
		return h, err
	}
	for !p.take('}') {
		key, err := p.str()
		if err != nil {
			return h, err
		}
		if err := p.want(':'); err != nil {
			return h, err
		}
		switch key {
		case "descr":
			seen[0] = true
			err = p.descr(&h)
		case "fortran_order":
			seen[1] = true
			h.fortran, err = p.boolean()
		case "shape":
			seen[2] = true
			h.shape, err = p.tuple()
		default:
			err = fmt.Errorf("unknown header key %q", key)
		}
		if err != nil {
			return h, err
		}
		if !p.take(',') {
			if err := p.want('}'); err != nil {
				return h, err
			}
			break
		}
	}
	if p.skip(); p.i < len(p.s) {
		return h, fmt.Errorf("header goes on after its dictionary")
	}
	for i, name := range []string{"descr", "fortran_order", "shape"} {
		if !seen[i] {
			return h, fmt.Errorf("header has no %q", name)
		}
	}
	return h, nil
}

// literal is a cursor over the few Python literals that occur in a header.
type literal struct {
	s string
	i int
}

func (p *literal) skip() {
	for p.i < len(p.s) && strings.IndexByte(" \t\r\n\x00", p.s[p.i]) >= 0 {
		p.i++
	}
}

func (p *literal) take(c byte) bool {
	p.skip()
	if p.i < len(p.s) && p.s[p.i] == c {
		p.i++
		return true
	}
	return false
}

func (p *literal) want(c byte) error {
	if p.take(c) {
		return nil
	}
	return fmt.Errorf("malformed header: want %q at byte %d", c, p.i)
}

func (p *literal) str() (string, error) {
	p.skip()
	if p.i >= len(p.s) || p.s[p.i] != '\'' && p.s[p.i] != '"' {
		return "", fmt.Errorf("malformed header: want a string at byte %d", p.i)
	}
	rest := p.s[p.i+1:]
	n := strings.IndexByte(rest, p.s[p.i])
	if n < 0 {
		return "", fmt.Errorf("malformed header: string without an end")
	}
	p.i += n + 2
	return rest[:n], nil
}

func (p *literal) boolean() (bool, error) {
	p.skip()
	for _, w := range []string{"True", "False"} {
		if strings.HasPrefix(p.s[p.i:], w) {
			p.i += len(w)
			return w == "True", nil
		}
	}
	return false, fmt.Errorf("malformed header: want True or False at byte %d", p.i)
}

func (p *literal) tuple() ([]int, error) {
	if err := p.want('('); err != nil {
		return nil, err
	}
	shape := []int{}
	for !p.take(')') {
		p.skip()
		end := p.i
		for end < len(p.s) && p.s[end] >= '0' && p.s[end] <= '9' {
			end++
		}
		d, err := strconv.Atoi(p.s[p.i:end])
		if errors.Is(err, strconv.ErrRange) {
			return nil, fmt.Errorf("the dimension at byte %d is too large", p.i)
		}
		if err != nil {
			return nil, fmt.Errorf("malformed header: want a dimension at byte %d", p.i)
		}
		if p.i = end; p.i < len(p.s) && p.s[p.i] == 'L' { // Python 2 long
			p.i++
		}
		if shape = append(shape, d); len(shape) > maxRank {
			return nil, fmt.Errorf("more than %d dimensions", maxRank)
		}
		if !p.take(',') {
			if err := p.want(')'); err != nil {
				return nil, err
			}
			break
		}
	}
	return shape, nil
}

func (p *literal) descr(h *header) error {
	if p.skip(); p.i < len(p.s) && p.s[p.i] == '[' {
		return fmt.Errorf("structured arrays are not supported")
	}
	d, err := p.str()
	if err != nil {
		return err
	}
	if len(d) < 3 || strings.IndexByte("<>|", d[0]) < 0 {
		return fmt.Errorf("unknown element type %q", d)
	}
	n, err := strconv.Atoi(d[2:])
	if err != nil || n < 0 {
		return fmt.Errorf("unknown element type %q", d)
	}
	h.order, h.kind, h.size = d[0], d[1], n
	ok := false
	switch h.kind {
	case 'f':
		ok = n == 2 || n == 4 || n == 8
	case 'i', 'u':
		ok = n == 1 || n == 2 || n == 4 || n == 8
	case 'b':
		ok = n == 1
	case 'U', 'S':
		ok = n <= maxString
		if h.kind == 'U' {
			h.size = 4 * n
		}
	}
	if !ok {
		return fmt.Errorf("element type %q is not supported (have f2 f4 f8, i1 to i8, u1 to u8, b1, U, S)", d)
	}
	if h.order == '|' && h.size > 1 && h.kind != 'S' {
		return fmt.Errorf("element type %q has no byte order", d)
	}
	return nil
}
