package ops

import "sampleonnx/onnxrun/internal/onnx"

// shapeInputs lists, by operator, the inputs whose values decide a shape, or
// what is computed at all: Lower wants to know them.
var shapeInputs = map[string][]int{
	"AffineGrid":      {1},
	"BlackmanWindow":  {0},
	"CenterCropPad":   {1},
	"Col2Im":          {1, 2},
	"ConstantOfShape": {0},
	"CumProd":         {1},
	"CumSum":          {1},
	"DFT":             {1, 2},
	"Dropout":         {2},
	"Expand":          {1},
	"HammingWindow":   {0},
	"HannWindow":      {0},
	"If":              {0},
	"Loop":            {0, 1},
	"MaxUnpool":       {2},
	"MelWeightMatrix": {0, 1, 2, 3, 4},
	"OneHot":          {1},
	"Pad":             {1, 3},
	"Range":           {0, 1, 2},
	"ReduceL1":        {1},
	"ReduceL2":        {1},
	"ReduceLogSum":    {1},
	"ReduceLogSumExp": {1},
	"ReduceMax":       {1},
	"ReduceMean":      {1},
	"ReduceMin":       {1},
	"ReduceProd":      {1},
	"ReduceSum":       {1},
	"ReduceSumSquare": {1},
	"Reshape":         {1},
	"Resize":          {1, 2, 3},
	"STFT":            {1, 3},
	"Slice":           {1, 2, 3, 4},
	"Split":           {1},
	"Squeeze":         {1},
	"Tile":            {1, 2},
	"TopK":            {1},
	"Trilu":           {1},
	"Unsqueeze":       {1},
	"Upsample":        {1},
}

// ShapeInputs lists the inputs of a node whose values Lower wants to know.
func ShapeInputs(n *onnx.Node) []int {
	if n.Domain != "" && n.Domain != "ai.onnx" {
		return nil
	}
	return shapeInputs[n.Op]
}

// IgnoresData reports whether a node looks at its inputs' types alone.
func IgnoresData(n *onnx.Node) bool {
	return (n.Domain == "" || n.Domain == "ai.onnx") && (n.Op == "Shape" || n.Op == "Size" || n.Op == "EyeLike")
}
