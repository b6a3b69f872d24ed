package onnx

import "fmt"

// Model is what an ONNX file says: its graph and weights, nothing interpreted.
// Weights are views of the mapped file; they are valid until Close.
type Model struct {
	IRVersion       int64
	Opset           map[string]int64 // domain → version; "" is ai.onnx
	Producer        string
	ProducerVersion string
	Name            string // the main graph's name
	Metadata        map[string]string
	Graph           *Graph
	Unsupported     []Unsupported // what the model has and the rest of it does not show; none in one from Open, Load or Parse

	closers []func() error
	mapped  [][]byte // the files in memory that Raw may be a view of
}

// Graph is a main graph or the body of an If, Loop or Scan. Values are indices
// into Values; nodes are in an order in which every input precedes its use.
type Graph struct {
	Nodes   []Node
	Values  []Value
	Inputs  []int // graph inputs that are not initializers, in file order
	Outputs []int
	Weights map[int]*Tensor // initializers and Constant nodes, by value

	// Captures are the values that a body takes from the graph around it. A
	// body two levels down reaches the main graph through the one between.
	Captures []Capture
}

// Capture is a value of the enclosing graph seen from inside a body.
type Capture struct {
	Outer int // index into the enclosing graph's Values
	Value int // index into this graph's Values
}

// Value is one tensor of a graph: what the file declares of it.
type Value struct {
	Name  string
	DType DType // 0 when the file does not say
	Dims  []Dim // nil when the file does not say
}

// Dim is a declared dimension: a number, a name ("batch"), or neither.
type Dim struct {
	Size  int // -1 when not a number
	Param string
}

// Node is one operator call.
type Node struct {
	Name    string // of its first output, when the file gives the node none
	Op      string
	Domain  string // "" is ai.onnx
	Version int64  // the opset version the file imports for Domain; 0 for none
	Inputs  []int  // -1: an optional input left out
	Outputs []int  // -1: an optional output left out
	Attrs   map[string]Attr
}

// Tensor is a constant as stored: Raw holds the elements in little-endian
// order, without padding, and may have any alignment. Raw must not be written.
type Tensor struct {
	DType DType
	Shape []int
	Raw   []byte
}

// AttrKind says which field of an Attr holds its value; the numbers are those
// of onnx.AttributeProto.AttributeType.
type AttrKind int32

const (
	AttrFloat   AttrKind = 1
	AttrInt     AttrKind = 2
	AttrString  AttrKind = 3
	AttrTensor  AttrKind = 4
	AttrGraph   AttrKind = 5
	AttrFloats  AttrKind = 6
	AttrInts    AttrKind = 7
	AttrStrings AttrKind = 8
)

func (k AttrKind) String() string {
	names := [...]string{"", "float", "int", "string", "tensor", "graph", "floats", "ints", "strings"}
	if k < 1 || int(k) >= len(names) {
		return fmt.Sprintf("kind %d", int32(k))
	}
	return names[k]
}

// Attr is one attribute of a node.
type Attr struct {
	Kind    AttrKind
	Float   float32
	Int     int64
	String  string
	Tensor  *Tensor
	Graph   *Graph
	Floats  []float32
	Ints    []int64
	Strings []string
}
