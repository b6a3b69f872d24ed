package plan

import (
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// A large constant has no values before it is read or all are there, and is filled
// once; a small one has them at once.
func TestLargeConstantsAreFilledLater(t *testing.T) {
	var l later
	fills := map[string]int{}
	add := func(name string, bytes int) *ops.Tensor {
		c := ops.New(ops.Type{DType: onnx.Uint8, Shape: []int{bytes}})
		if err := l.add([]*ops.Tensor{c}, func() error { fills[name]++; return nil }); err != nil {
			t.Fatal(err)
		}
		return c
	}
	small, read, unread := add("small", fillNow), add("read", fillNow+1), add("unread", fillNow+1)
	if fills["small"] != 1 || len(fills) != 1 {
		t.Fatalf("filled %v, want the small one", fills)
	}
	for _, c := range []*ops.Tensor{small, read, read} {
		if err := l.fill(c); err != nil {
			t.Fatal(err)
		}
	}
	if fills["read"] != 1 || fills["unread"] != 0 {
		t.Errorf("filled %v, want the one that is read, once", fills)
	}
	if err := l.fillAll(); err != nil {
		t.Fatal(err)
	}
	if err := l.fill(unread); err != nil {
		t.Fatal(err)
	}
	if fills["small"] != 1 || fills["read"] != 1 || fills["unread"] != 1 {
		t.Errorf("filled %v, want each once", fills)
	}
}
