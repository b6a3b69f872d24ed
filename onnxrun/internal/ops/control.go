package ops

import "sampleonnx/onnxrun/internal/onnx"

// Controls reports whether a node runs bodies: If, Loop and Scan. Whoever keeps
// the graph puts the nodes of the bodies in place of such a node; Lower never
// sees it.
func Controls(n *onnx.Node) bool {
	if n.Domain != "" && n.Domain != "ai.onnx" {
		return false
	}
	return n.Op == "If" || n.Op == "Loop" || n.Op == "Scan"
}

func lowerControl(c *Call) (*Kernel, error) {
	return nil, c.Unsupported("has bodies that are not in its place")
}
