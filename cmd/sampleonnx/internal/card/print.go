package card

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Line is one field of a resolved card, for printing.
type Line struct {
	Key   string `json:"key"`
	Value any    `json:"value"`
	From  string `json:"from"`
}

// Lines lists the fields that are set, with their sources.
func (c *Card) Lines() []Line {
	var lines []Line
	for _, f := range fields() {
		if from, ok := c.From[f.key]; ok {
			lines = append(lines, Line{f.key, c.value(f), from.Name})
		}
	}
	return lines
}

func (c *Card) value(f field) any {
	switch p := f.at(c).(type) {
	case *string:
		if f.null && *p == "" {
			return nil
		}
		return *p
	case *int:
		return *p
	case *float64:
		return *p
	case *bool:
		return *p
	case *[]int:
		return *p
	case *[]float64:
		return *p
	}
	return nil
}

// JSON prints the card as a sidecar: read again, it gives the same fields.
func (c *Card) JSON() []byte {
	var b bytes.Buffer
	b.WriteString("{\n \"score\": 1")
	group := ""
	for _, f := range fields() {
		if f.key == "score" || !c.Has(f.key) {
			continue
		}
		head, name, nested := strings.Cut(f.key, ".")
		if !nested {
			head, name = "", f.key
		}
		separator := ",\n "
		if head != group {
			if group != "" {
				b.WriteString("\n }")
			}
			if head != "" {
				b.WriteString(",\n " + text(head) + ": {")
				separator = "\n "
			}
			group = head
		}
		if nested {
			separator += " "
		}
		b.WriteString(separator + text(name) + ": " + text(c.value(f)))
	}
	if group != "" {
		b.WriteString("\n }")
	}
	b.WriteString("\n}\n")
	return b.Bytes()
}

// text is JSON for a value that always has one.
func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "null"
	}
	return string(b)
}
