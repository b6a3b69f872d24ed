package ops

import "sampleonnx/onnxrun/internal/onnx"

// The Go types that operators compute in, beside float32, which has kernels.
type (
	integer interface {
		~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64
	}
	float interface{ ~float32 | ~float64 }

	number interface{ integer | float }
)

func isFloat(d onnx.DType) bool { return IsFloat32(d) || d == onnx.Double }

func isSigned(d onnx.DType) bool {
	switch d {
	case onnx.Int8, onnx.Int16, onnx.Int32, onnx.Int64:
		return true
	}
	return false
}

func isInteger(d onnx.DType) bool {
	switch d {
	case onnx.Uint8, onnx.Uint16, onnx.Uint32, onnx.Uint64:
		return true
	}
	return isSigned(d)
}

func isNumber(d onnx.DType) bool { return isFloat(d) || isInteger(d) }

func isBool(d onnx.DType) bool { return d == onnx.Bool }

// isStored: the type has a form in memory here; strings do not.
func isStored(d onnx.DType) bool { return storageSize(d) > 0 }

// want checks the element type of input i; what says in words which are allowed.
func (c *Call) want(i int, ok func(onnx.DType) bool, what string) error {
	if d := c.In[i].DType; !ok(d) {
		if !isStored(d) {
			return c.Unsupported("input %d has elements of %v", i, d)
		}
		return c.Invalid("input %d has elements of %v, want %s", i, d, what)
	}
	return nil
}

// wantSame checks that the given inputs from i on have the element type of input i.
func (c *Call) wantSame(i int) error {
	for j := i + 1; j < len(c.In); j++ {
		if c.Has(j) && c.In[j].DType != c.In[i].DType {
			return c.Invalid("input %d has elements of %v and input %d of %v, want one type", i, c.In[i].DType, j, c.In[j].DType)
		}
	}
	return nil
}
