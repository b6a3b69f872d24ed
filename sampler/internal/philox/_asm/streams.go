package main

import "github.com/mmcloughlin/avo/ir"

// beside emits streams of instructions that need nothing of one another, all
// together: what waits in one of them is filled by the others. A machine that
// looks ahead would do the same, but does not look that far.
func (e *em) beside(streams ...func()) {
	for _, emit := range streams {
		e.Comment(stream)
		emit()
	}
	e.Comment(together)
}

// The marks between streams, until merge.
const stream, together = "stream", "together"

// merge carries out what beside has marked in a function.
func merge(f *ir.Function) {
	var nodes []ir.Node
	var streams [][]ir.Node
	for _, n := range f.Nodes {
		c, ok := n.(*ir.Comment)
		switch {
		case ok && c.Lines[0] == stream:
			streams = append(streams, nil)
		case ok && c.Lines[0] == together:
			nodes = append(nodes, inTurns(streams)...)
			streams = nil
		case streams != nil:
			streams[len(streams)-1] = append(streams[len(streams)-1], n)
		default:
			nodes = append(nodes, n)
		}
	}
	f.Nodes = nodes
}

// inTurns is the streams merged, all at the same part of their lengths.
func inTurns(streams [][]ir.Node) (all []ir.Node) {
	at := make([]int, len(streams))
	for {
		least, next := 1., -1
		for k, s := range streams {
			if part := float64(at[k]) / float64(len(s)); part < least {
				least, next = part, k
			}
		}
		if next < 0 {
			return all
		}
		all = append(all, streams[next][at[next]])
		at[next]++
	}
}
