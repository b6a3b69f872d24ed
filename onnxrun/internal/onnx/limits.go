package onnx

import "math"

const (
	// Reserved is the domain of the operators that plans make by joining nodes. They
	// trust their attributes: no file may name them.
	Reserved = "sampleonnx"
	// MaxRank is the number of dimensions that operators take.
	MaxRank = 8
)

// Limits bounds what a file may ask for, so that no file can exhaust the
// program that reads it. A field left 0 means its default. Going over a limit
// is a *LimitError.
type Limits struct {
	FileBytes   int64 // bytes of the model file and of each external data file; default 16 GiB
	Memory      int64 // bytes of the constants, of their packed forms, and of what one run works in; default: see DefaultMemory
	TensorElems int64 // elements of one tensor, and any one dimension; default and at most 2³¹-1
	Rank        int   // dimensions that a file may give a tensor; default 32
	Nodes       int   // nodes, with subgraphs and inlined functions counted out; default 100,000
	Depth       int   // subgraphs inside subgraphs plus calls inside calls; default 32
	NodeAttrs   int   // attributes of one node; default 256
	Fields      int   // protobuf fields and elements of attributes' lists, which bound every list of the file; default 2,000,000
	NameBytes   int64 // bytes of all names and other text (metadata, attributes' strings) together; default 64 MiB
	Files       int   // external data files; default 4,096
}

// WithDefaults is l with its defaults in place.
func (l Limits) WithDefaults() Limits {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def64 := func(v *int64, d int64) {
		if *v <= 0 {
			*v = d
		}
	}
	if l.Memory <= 0 {
		l.Memory = DefaultMemory()
	}
	def64(&l.FileBytes, 16<<30)
	def64(&l.TensorElems, math.MaxInt32)
	def(&l.Rank, 32)
	def(&l.Nodes, 100_000)
	def(&l.Depth, 32)
	def(&l.NodeAttrs, 256)
	def(&l.Fields, 2_000_000)
	def64(&l.NameBytes, 64<<20)
	def(&l.Files, 4096)

	// Sizes in bytes of anything within these fit an int, on every machine.
	l.FileBytes = min(l.FileBytes, math.MaxInt)
	l.Memory = min(l.Memory, math.MaxInt)
	l.TensorElems = min(l.TensorElems, mostOf["TensorElems"])
	return l
}

// mostOf is what a limit can be raised to, where that is less than any number is:
// more has no place in memory, or nothing takes it.
var mostOf = map[string]int64{
	"TensorElems": min(math.MaxInt32, math.MaxInt/16), "Rank": MaxRank, "Memory": math.MaxInt, "FileBytes": math.MaxInt,
}

// Over is the error for got where the field of Limits that is named, "" for none,
// allows most. It does not name a field that raising is no help with.
func Over(what, limit string, got, most int64) *LimitError {
	if highest, ok := mostOf[limit]; ok && got > highest {
		limit = ""
	}
	return &LimitError{What: what, Limit: limit, Got: got, Max: most}
}

// elements is the number of elements of a shape. The product of the dimensions
// other than 0 stays within limit too, so that partial products (strides)
// cannot overflow later. ok is false when limit is exceeded.
func elements(dims []int64, limit int64) (n, got int64, ok bool) {
	product, zero := int64(1), false
	for _, d := range dims {
		switch {
		case d == 0:
			zero = true
		case d > limit:
			return 0, d, false
		case product > limit/d:
			if product > math.MaxInt64/d {
				return 0, math.MaxInt64, false
			}
			return 0, product * d, false
		default:
			product *= d
		}
	}
	if zero {
		return 0, 0, true
	}
	return product, product, true
}
