package onnx

import (
	"fmt"
	"strings"
)

// FormatError reports bytes that are not a valid ONNX model.
type FormatError struct {
	File string // "" when the model came as bytes
	Node string // the node concerned, as Where prints it; "" when none
	Msg  string // what was found and what is wanted
}

func (e *FormatError) Error() string { return message(e.File, e.Node, e.Msg) }

// UnsupportedError reports a valid model that this runtime cannot run. Nodes
// lists every unsupported node, not only the first; Msg says what is not
// supported when it is not a node.
type UnsupportedError struct {
	File  string
	Nodes []Unsupported
	Msg   string
}

// Unsupported is one node that cannot run, and why. Without an Op it is no node: a
// graph input or output, which Reason names.
type Unsupported struct {
	Node    string // the node's name, or that of its first output when it has none
	Op      string
	Domain  string
	Version int64 // 0 when the model imports no operator set of the domain
	Reason  string
}

func (u Unsupported) String() string {
	if u.Op == "" {
		return u.Reason
	}
	op := u.Op
	if u.Domain != "" {
		op = u.Domain + "." + u.Op
	}
	if u.Version > 0 {
		op += fmt.Sprintf(", opset %d", u.Version)
	}
	return fmt.Sprintf("node %q (%s): %s", u.Node, op, u.Reason)
}

func (e *UnsupportedError) Error() string {
	if len(e.Nodes) == 0 {
		return message(e.File, "", "not supported: "+e.Msg)
	}
	parts := make([]string, len(e.Nodes))
	for i, n := range e.Nodes {
		parts[i] = n.String()
	}
	what := "1 node is not supported: "
	if len(parts) != 1 {
		what = fmt.Sprintf("%d nodes are not supported: ", len(parts))
	}
	return message(e.File, "", what+strings.Join(parts, "; "))
}

// LimitError reports a limit that a file or a request would exceed.
type LimitError struct {
	File  string
	Node  string // as in FormatError
	What  string // "elements of a tensor", "nodes", …
	Limit string // the field of Limits that allows more; "" when nothing does
	Got   int64  // what was found, or as much of it as was counted
	Max   int64
}

func (e *LimitError) Error() string {
	msg := fmt.Sprintf("%s: %d is over the limit of %d", e.What, e.Got, e.Max)
	if e.Limit != "" {
		msg += ", which Limits." + e.Limit + " sets"
	}
	return message(e.File, e.Node, msg)
}

// InternalError reports a mistake in this project, found while it worked on a
// model: a panic that was caught. The model and its other runs are as they were.
type InternalError struct {
	File  string
	Node  string // as in FormatError
	Value any    // what was panicked with
	Stack []byte // of the goroutine that caught it
}

func (e *InternalError) Error() string {
	return message(e.File, e.Node, fmt.Sprintf("internal error: %v", e.Value))
}

// Unwrap is the value when it is an error.
func (e *InternalError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// Where names a node in error messages.
func (n *Node) Where() string { return fmt.Sprintf("node %q (%s)", n.Name, n.Op) }

func message(file, node, msg string) string {
	var b strings.Builder
	b.WriteString("onnxrun: ")
	if file != "" {
		b.WriteString(file + ": ")
	}
	if node != "" {
		b.WriteString(node + ": ")
	}
	b.WriteString(msg)
	return b.String()
}
