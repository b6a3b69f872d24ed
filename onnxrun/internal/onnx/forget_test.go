package onnx

import (
	"bytes"
	"testing"
)

// Forgotten bytes are still there when they are read again.
func TestForget(t *testing.T) {
	m, err := Open(t.Context(), "../../../testdata/models/digits_ncsnv2.onnx", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, w := range m.Graph.Weights {
		before := bytes.Clone(w.Raw)
		m.Forget(w.Raw)
		if !bytes.Equal(w.Raw, before) {
			t.Fatal("a forgotten weight has changed")
		}
	}
	own := []byte("bytes of one's own")
	m.Forget(own)
	if string(own) != "bytes of one's own" {
		t.Error("forgot bytes outside the file")
	}
}
